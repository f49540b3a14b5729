package rowset

import (
	"database/sql/driver"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tableOf is rows of ten columns, as of an ordinary table.
func tableOf(rows int) ([]column, [][]driver.Value) {
	columns := make([]column, 10)
	for i := range columns {
		columns[i] = column{name: fmt.Sprintf("column_%d", i), databaseType: "VARCHAR", scan: 16}
	}
	at := time.Date(2025, 1, 2, 3, 4, 5, 678901000, time.UTC)
	table := make([][]driver.Value, rows)
	for i := range table {
		table[i] = []driver.Value{
			int64(i + 1000), "some name of a row", "somebody@example.com", int64(42), true,
			12.75, nil, at, at.Local(), []byte(`{"a": [1, 2, 3], "b": "text"}`),
		}
	}
	return columns, table
}

func benchmarkSizes(b *testing.B, run func(b *testing.B, columns []column, rows [][]driver.Value, payload []byte)) {
	for _, n := range []int{0, 1, 100} {
		b.Run(fmt.Sprintf("%dx10", n), func(b *testing.B) {
			columns, rows := tableOf(n)
			payload, err := encode(columns, rows)
			require.NoError(b, err)
			b.ReportAllocs()
			run(b, columns, rows, payload)
		})
	}
}

// BenchmarkDecode is the codec alone.
func BenchmarkDecode(b *testing.B) {
	benchmarkSizes(b, func(b *testing.B, columns []column, rows [][]driver.Value, payload []byte) {
		b.SetBytes(int64(len(payload)))
		dest := make([]driver.Value, len(columns))
		for b.Loop() {
			src, err := Decode(payload)
			if err != nil {
				b.Fatal(err)
			}
			for range rows {
				if err := src.Next(dest); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkEncode is what a tee adds to the reading of rows, but for the scan.
func BenchmarkEncode(b *testing.B) {
	benchmarkSizes(b, func(b *testing.B, columns []column, rows [][]driver.Value, payload []byte) {
		b.SetBytes(int64(len(payload)))
		for b.Loop() {
			if _, err := encode(columns, rows); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkReplay is decoding and scanning through database/sql.
func BenchmarkReplay(b *testing.B) {
	benchmarkSizes(b, func(b *testing.B, columns []column, rows [][]driver.Value, payload []byte) {
		b.SetBytes(int64(len(payload)))
		for b.Loop() {
			src, err := Decode(payload)
			if err != nil {
				b.Fatal(err)
			}
			drain(b, src)
		}
	})
}

// BenchmarkReplayParallel shows what concurrent hits share.
func BenchmarkReplayParallel(b *testing.B) {
	benchmarkSizes(b, func(b *testing.B, columns []column, rows [][]driver.Value, payload []byte) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				src, err := Decode(payload)
				if err != nil {
					b.Error(err)
					return
				}
				drain(b, src)
			}
		})
	})
}

// BenchmarkLoop is BenchmarkReplay's floor: database/sql over values that are there already.
func BenchmarkLoop(b *testing.B) {
	benchmarkSizes(b, func(b *testing.B, columns []column, rows [][]driver.Value, payload []byte) {
		names := make([]string, len(columns))
		for b.Loop() {
			drain(b, &ready{names: names, rows: rows})
		}
	})
}

func drain(b *testing.B, src driver.Rows) {
	rows, err := Rows(src)
	if err != nil {
		b.Fatal(err)
	}
	var values [10]any
	var dest [10]any
	for i := range dest {
		dest[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest[:]...); err != nil {
			b.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}
}

// ready is rows without a codec.
type ready struct {
	names []string
	rows  [][]driver.Value
	bare
}

func (r *ready) Columns() []string { return r.names }

func (r *ready) Next(dest []driver.Value) error {
	if len(r.rows) == 0 {
		return r.bare.Next(dest)
	}
	copy(dest, r.rows[0])
	r.rows = r.rows[1:]
	return nil
}

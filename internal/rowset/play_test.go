package rowset

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func decodeRows(t testing.TB, payload []byte) *sql.Rows {
	t.Helper()
	src, err := Decode(payload)
	require.NoError(t, err)
	rows, err := Rows(src)
	require.NoError(t, err)
	return rows
}

func TestRowsNestWithoutBound(t *testing.T) {
	payload := samplePayload(t)
	open := make([]*sql.Rows, 500)
	for i := range open {
		open[i] = decodeRows(t, payload)
		require.True(t, open[i].Next())
	}
	for _, rows := range open {
		read := 1
		for rows.Next() {
			read++
		}
		require.NoError(t, rows.Err())
		require.Equal(t, 4, read)
	}
}

func TestReadersOfOnePayloadDoNotSeeEachOther(t *testing.T) {
	payload, err := encode([]column{{name: "a"}, {name: "b"}}, [][]driver.Value{{[]byte("bytes"), "text"}, {[]byte("more"), "text"}})
	require.NoError(t, err)
	original := append([]byte(nil), payload...)
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for range 200 {
				src, err := Decode(payload)
				if err != nil {
					t.Error(err)
					return
				}
				rows, err := Rows(src)
				if err != nil {
					t.Error(err)
					return
				}
				overwrite(t, rows)
			}
		})
	}
	readers.Wait()
	require.Equal(t, original, payload)
}

// overwrite reads in the ways that hand out a driver's own memory, and writes into what it gets.
func overwrite(t *testing.T, rows *sql.Rows) {
	names, err := rows.Columns()
	if err != nil || names[0] != "a" {
		t.Error(names, err)
	}
	names[0] = "overwritten"
	for _, want := range []string{"bytes", "more"} {
		var grabbed grabber
		var raw sql.RawBytes
		if !rows.Next() {
			t.Error("no row", rows.Err())
			return
		}
		if err := rows.Scan(&grabbed, &raw); err != nil || string(grabbed.bytes) != want || string(raw) != "text" {
			t.Errorf("%s %s %v", grabbed.bytes, raw, err)
		}
		for _, b := range [][]byte{grabbed.bytes, raw} {
			for i := range b {
				b[i] = '?'
			}
		}
	}
	if rows.Next() || rows.Err() != nil {
		t.Error("not at the end", rows.Err())
	}
}

// grabber is a Scanner that keeps the bytes it is given.
type grabber struct{ bytes []byte }

func (g *grabber) Scan(src any) error {
	g.bytes = src.([]byte)
	return nil
}

func TestRowErrorReturnsTheVeryError(t *testing.T) {
	for _, failure := range []error{
		errors.New("syntax error"), driver.ErrBadConn, fmt.Errorf("wrapped: %w", driver.ErrBadConn), driver.ErrSkip,
		sql.ErrNoRows, context.Canceled,
	} {
		row := RowError(failure)
		requireIdentical(t, failure, row.Err())
		requireIdentical(t, failure, row.Scan(new(int)))
	}
}

func TestSessionSurvivesErrorsOfItsRows(t *testing.T) {
	for range 100 {
		rows, err := Rows(&scripted{sets: values(int64(1)), closeErr: driver.ErrBadConn})
		require.NoError(t, err)
		require.ErrorIs(t, rows.Close(), driver.ErrBadConn)
		requireReplays(t, samplePayloadOf(t, int64(7)), int64(7))
	}
}

func samplePayloadOf(t *testing.T, v driver.Value) []byte {
	payload, err := encode([]column{{name: "v"}}, [][]driver.Value{{v}})
	require.NoError(t, err)
	return payload
}

// bare is rows with none of the optional interfaces.
type bare struct{}

func (bare) Columns() []string         { return []string{"a"} }
func (bare) Close() error              { return nil }
func (bare) Next([]driver.Value) error { return io.EOF }

// bareConn answers every query with bare rows, without us in between.
type bareConn struct{ memory }

func (bareConn) Connect(context.Context) (driver.Conn, error) { return bareConn{}, nil }
func (bareConn) Driver() driver.Driver                        { return memory{} }
func (bareConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return bare{}, nil
}

func TestRowsWithoutColumnTypesLookAsWithTheirDriver(t *testing.T) {
	db := sql.OpenDB(bareConn{})
	defer db.Close()
	want, err := db.Query("")
	require.NoError(t, err)
	defer want.Close()
	got, err := Rows(bare{})
	require.NoError(t, err)
	defer got.Close()
	wantTypes, err := want.ColumnTypes()
	require.NoError(t, err)
	gotTypes, err := got.ColumnTypes()
	require.NoError(t, err)
	require.Equal(t, wantTypes, gotTypes)
	require.Equal(t, reflect.TypeFor[any](), gotTypes[0].ScanType())
	require.False(t, got.NextResultSet())
	require.NoError(t, got.Err())
}

func TestInMemoryDriverPlaysNothingElse(t *testing.T) {
	conn, err := session()
	require.NoError(t, err)
	_, err = conn.QueryContext(context.Background(), "SELECT 1") //nolint:rowserrcheck // there are none
	require.ErrorIs(t, err, errPlaysOnly)
	_, err = conn.ExecContext(context.Background(), "DELETE FROM t")
	require.ErrorIs(t, err, errPlaysOnly)
	_, err = conn.BeginTx(context.Background(), nil)
	require.ErrorIs(t, err, errPlaysOnly)
	require.NoError(t, conn.Close())
	_, err = memory{}.Open("")
	require.ErrorIs(t, err, errPlaysOnly)
}

package rowset

import (
	"database/sql/driver"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestLayoutsDecodeAsDecodeDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var layouts Layouts
		pool := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(drawColumn), 0, 3), 1, 3).Draw(t, "layouts")
		for range rapid.IntRange(1, 8).Draw(t, "payloads") {
			columns := rapid.SampledFrom(pool).Draw(t, "columns")
			row := make([]driver.Value, len(columns))
			for i := range row {
				row[i] = drawValue(t)
			}
			payload, err := encode(columns, [][]driver.Value{row})
			require.NoError(t, err)
			want, err := Decode(payload)
			require.NoError(t, err)
			got, err := layouts.Decode(payload)
			require.NoError(t, err)
			requireSame(t, want, got)
		}
	})
}

// requireSame compares rows but for whether their layout is remembered.
func requireSame(t require.TestingT, want, got driver.Rows) {
	if w, ok := want.(*replay); ok {
		require.False(t, w.layout.kept)
		if g, ok := got.(*replay); ok {
			require.True(t, g.layout.kept)
			w.layout.kept = true
		}
	}
	require.Equal(t, want, got)
}

func TestLayoutsRefuseWhatDecodeRefuses(t *testing.T) {
	var layouts Layouts
	payload := samplePayload(t)
	_, err := layouts.Decode(payload)
	require.NoError(t, err)
	for bit := range 8 * len(payload) {
		altered := append([]byte(nil), payload...)
		altered[bit/8] ^= 1 << (bit % 8)
		want, wantErr := Decode(altered)
		rows, err := layouts.Decode(altered)
		require.Equal(t, wantErr, err)
		requireSame(t, want, rows)
	}
}

func TestLayoutsShareColumnsWhateverTheirReadersDo(t *testing.T) {
	var layouts Layouts
	payload := samplePayload(t)
	first, err := layouts.Decode(payload)
	require.NoError(t, err)
	first.Columns()[0] = "spoilt"
	clear(payload[columnsAt:]) // as if its memory were used again
	second, err := layouts.Decode(samplePayload(t))
	require.NoError(t, err)
	require.Equal(t, []string{"id", "name", "price", "note"}, second.Columns())
	require.Same(t, first.(*replay).layout, second.(*replay).layout)
}

func TestOneLayoutServesAllWhoMeetItTogether(t *testing.T) {
	payload := samplePayload(t)
	var (
		layouts Layouts
		all     sync.WaitGroup
		met     [8]*Layout
	)
	for i := range met {
		all.Go(func() {
			rows, err := layouts.Decode(payload)
			if err != nil {
				t.Error(err)
				return
			}
			met[i] = rows.(*replay).layout
		})
	}
	all.Wait()
	for _, l := range met {
		require.Same(t, met[0], l)
	}
}

func TestLayoutsAreBounded(t *testing.T) {
	var layouts Layouts
	decode := func(name string) {
		payload, err := encode([]column{{name: name}}, nil)
		require.NoError(t, err)
		rows, err := layouts.Decode(payload)
		require.NoError(t, err)
		require.Equal(t, []string{name}, rows.Columns())
	}
	decode(strings.Repeat("x", maxLayout))
	require.Nil(t, layouts.known.Load(), "too long")
	for i := range maxLayouts + 10 {
		decode(fmt.Sprint("column", i))
	}
	require.Len(t, *layouts.known.Load(), maxLayouts)
}

func TestLayoutsKeepWhatManyMeetTogether(t *testing.T) {
	var (
		layouts Layouts
		all     sync.WaitGroup
	)
	for i := range 64 {
		payload, err := encode([]column{{name: fmt.Sprint("column", i%16)}}, nil)
		require.NoError(t, err)
		all.Go(func() {
			_, err := layouts.Decode(payload)
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Len(t, *layouts.known.Load(), 16)
}

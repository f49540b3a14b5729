package rowset

import (
	"database/sql/driver"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPackedRowsAreTheRows(t *testing.T) {
	at := time.Date(2026, 3, 29, 1, 59, 0, 7, time.UTC)
	east := at.In(time.FixedZone("EAST", 5400))
	all := [][]driver.Value{{int64(1), "a", at}, {int64(2), nil, east}, {nil, []byte("c"), at.In(time.Local)}}
	e := newEncoder([]column{{name: "id"}, {name: "name"}, {name: "at"}})
	for _, row := range all {
		require.NoError(t, e.add([]any{row[0], row[1], row[2]}))
	}
	src, err := Decode(e.finish())
	require.NoError(t, err)
	live, err := Rows(src)
	require.NoError(t, err)
	defer live.Close() //nolint:errcheck // read to the end

	rows, packed, err := Pack(live, "id")
	require.NoError(t, err)
	require.Equal(t, all, allOf(t, rows))
	require.Empty(t, packed.Reason)
	require.Equal(t, []bool{false, false, true}, packed.Nulls)
	require.Len(t, packed.Rows, 3)

	some, err := Unpack(packed.Layout, []string{packed.Rows[2], packed.Rows[0]})
	require.NoError(t, err)
	require.Equal(t, []string{"id", "name", "at"}, some.Columns())
	require.Equal(t, [][]driver.Value{all[2], all[0]}, allOf(t, some))

	_, err = Unpack("x", nil)
	require.ErrorIs(t, err, ErrCorrupt)
	for _, broken := range []string{"", packed.Rows[0] + "x", packed.Rows[1][:9], packed.Rows[0][:3]} {
		some, err = Unpack(packed.Layout, []string{broken})
		require.NoError(t, err)
		require.ErrorIs(t, some.Next(make([]driver.Value, 3)), ErrCorrupt)
	}
}

func allOf(t *testing.T, rows driver.Rows) [][]driver.Value {
	t.Helper()
	all, err := readAll(rows)
	require.NoError(t, err)
	require.NoError(t, rows.Close())
	return all
}

package rowset

import (
	"database/sql/driver"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSameComparesRowsAsValuesInAnyOrder(t *testing.T) {
	columns := []column{{name: "a"}, {name: "b"}}
	now := time.Now()
	pay := func(rows ...[]driver.Value) []byte {
		payload, err := encode(columns, rows)
		require.NoError(t, err)
		return payload
	}
	sum := 0.1
	sum += 0.2
	for _, c := range []struct {
		a, b []driver.Value
		same bool
	}{
		{[]driver.Value{int64(1), "x"}, []driver.Value{int64(1), []byte("x")}, true},
		{[]driver.Value{int64(1), now}, []driver.Value{int64(1), now.UTC()}, true},
		{[]driver.Value{0.3, 0.0}, []driver.Value{sum, math.Copysign(0, -1)}, true},
		{[]driver.Value{math.NaN(), nil}, []driver.Value{math.NaN(), nil}, true},
		{[]driver.Value{int64(1), "x"}, []driver.Value{int64(2), "x"}, false},
		{[]driver.Value{"1", "x"}, []driver.Value{int64(1), "x"}, false},
		{[]driver.Value{nil, ""}, []driver.Value{"", nil}, false},
		{[]driver.Value{"ab", "c"}, []driver.Value{"a", "bc"}, false},
		{[]driver.Value{0.3, nil}, []driver.Value{0.30001, nil}, false},
	} {
		same, err := Same(pay(c.a), pay(c.b))
		require.NoError(t, err)
		require.Equal(t, c.same, same, "%v %v", c.a, c.b)
	}
	one, two := []driver.Value{int64(1), nil}, []driver.Value{int64(2), nil}
	for _, c := range []struct {
		a, b []byte
		same bool
	}{
		{pay(one, two), pay(two, one), true},
		{pay(one, one, two), pay(one, two, two), false},
		{pay(one), pay(one, one), false},
		{pay(), pay(), true},
	} {
		same, err := Same(c.a, c.b)
		require.NoError(t, err)
		require.Equal(t, c.same, same)
	}
	other, err := encode([]column{{name: "a"}, {name: "c"}}, nil)
	require.NoError(t, err)
	same, err := Same(pay(), other)
	require.NoError(t, err)
	require.False(t, same, "other columns")
	_, err = Same(pay(), []byte("foreign"))
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestAResultIsTheSameAsItselfInAnotherOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns := make([]column, rapid.IntRange(0, 3).Draw(t, "columns"))
		rows := make([][]driver.Value, rapid.IntRange(0, 6).Draw(t, "rows"))
		for i := range rows {
			rows[i] = make([]driver.Value, len(columns))
			for j := range rows[i] {
				rows[i][j] = drawValue(t)
			}
		}
		a, err := encode(columns, rows)
		require.NoError(t, err)
		rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		b, err := encode(columns, rows)
		require.NoError(t, err)
		same, err := Same(a, b)
		require.NoError(t, err)
		require.True(t, same)
	})
}

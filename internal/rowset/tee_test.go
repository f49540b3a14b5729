package rowset

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3" // the sqlite3 driver
	"github.com/stretchr/testify/require"
)

// scripted is a driver's rows: result sets of one column, then an error.
type scripted struct {
	sets     [][]driver.Value
	nextErr  error // after the last row, in place of io.EOF
	closeErr error
	scanType reflect.Type

	calls  int // of Next
	closed int
}

func (s *scripted) Columns() []string                       { return []string{"v"} }
func (s *scripted) Close() error                            { s.closed++; return s.closeErr }
func (s *scripted) HasNextResultSet() bool                  { return len(s.sets) > 1 }
func (s *scripted) ColumnTypeScanType(int) reflect.Type     { return s.scanType }
func (s *scripted) ColumnTypeNullable(int) (null, ok bool)  { return true, true }
func (s *scripted) ColumnTypeLength(int) (n int64, ok bool) { return 7, true }

func (s *scripted) NextResultSet() error {
	if !s.HasNextResultSet() {
		return io.EOF
	}
	s.sets = s.sets[1:]
	return nil
}

func (s *scripted) Next(dest []driver.Value) error {
	s.calls++
	if len(s.sets) == 0 || len(s.sets[0]) == 0 {
		if s.nextErr != nil && len(s.sets) <= 1 {
			return s.nextErr
		}
		return io.EOF
	}
	dest[0], s.sets[0] = s.sets[0][0], s.sets[0][1:]
	return nil
}

func values(v ...driver.Value) [][]driver.Value { return [][]driver.Value{v} }

// teed runs live through a tee and returns the reader's rows and where the recordings go.
func teed(t *testing.T, live driver.Rows, o TeeOptions) (*sql.Rows, *[]Recording) {
	t.Helper()
	liveRows, err := Rows(live)
	require.NoError(t, err)
	return teedRows(t, liveRows, o)
}

func teedRows(t *testing.T, live *sql.Rows, o TeeOptions) (*sql.Rows, *[]Recording) {
	t.Helper()
	recordings := new([]Recording)
	o.Done = func(r Recording) { *recordings = append(*recordings, r) }
	src, err := Tee(live, o)
	require.NoError(t, err)
	rows, err := Rows(src)
	require.NoError(t, err)
	return rows, recordings
}

// scanAll reads one column to the end of a result set.
func scanAll(t *testing.T, rows *sql.Rows) []driver.Value {
	t.Helper()
	all := []driver.Value{}
	for rows.Next() {
		var v any
		require.NoError(t, rows.Scan(&v))
		all = append(all, v)
	}
	return all
}

func requireReplays(t *testing.T, payload []byte, want ...driver.Value) {
	t.Helper()
	src, err := Decode(payload)
	require.NoError(t, err)
	rows, err := Rows(src)
	require.NoError(t, err)
	defer rows.Close()
	got := scanAll(t, rows)
	require.NoError(t, rows.Err())
	require.True(t, sameRows([][]driver.Value{want}, [][]driver.Value{got}), "want %#v, got %#v", want, got)
}

func TestTeePassesValuesOnAndKeepsThem(t *testing.T) {
	want := []driver.Value{
		nil, int64(-1), uint64(1 << 63), 1.5, float32(2.5), true, "s", []byte("b"), []byte{}, []byte(nil), time.Unix(1, 2).UTC(),
	}
	rows, recordings := teed(t, &scripted{sets: values(want...)}, TeeOptions{})
	got := scanAll(t, rows)
	require.NoError(t, rows.Err())
	require.True(t, sameRows([][]driver.Value{want}, [][]driver.Value{got}), "want %#v, got %#v", want, got)

	require.Len(t, *recordings, 1, "done is called at the end, before Close")
	require.NoError(t, rows.Close())
	require.Len(t, *recordings, 1)
	r := (*recordings)[0]
	require.True(t, r.Complete)
	require.Empty(t, r.Reason)
	require.Equal(t, len(want), r.Rows)
	requireReplays(t, r.Payload, want...)
}

func TestTeeKeepsAnEmptyResult(t *testing.T) {
	rows, recordings := teed(t, &scripted{sets: values()}, TeeOptions{})
	require.False(t, rows.Next())
	require.NoError(t, rows.Err())
	require.True(t, (*recordings)[0].Complete)
	requireReplays(t, (*recordings)[0].Payload)

	src, err := Decode((*recordings)[0].Payload)
	require.NoError(t, err)
	require.ErrorIs(t, Row(src).Scan(new(int)), sql.ErrNoRows)
}

func TestTeeKeepsRowsWithoutColumns(t *testing.T) {
	payload, err := encode(nil, [][]driver.Value{{}, {}, {}})
	require.NoError(t, err)
	src, err := Decode(payload)
	require.NoError(t, err)
	live, err := Rows(src)
	require.NoError(t, err)
	rows, recordings := teedRows(t, live, TeeOptions{})
	for range 3 {
		require.True(t, rows.Next())
		require.NoError(t, rows.Scan())
	}
	require.False(t, rows.Next())
	require.NoError(t, rows.Err())
	require.Equal(t, Recording{Payload: payload, Rows: 3, Complete: true}, (*recordings)[0])
}

func TestTeeKeepsColumnTypes(t *testing.T) {
	rows, recordings := teed(t, &scripted{sets: values(), scanType: reflect.TypeFor[sql.NullInt64]()}, TeeOptions{})
	want := &sql.ColumnType{}
	types, err := rows.ColumnTypes()
	require.NoError(t, err)
	require.Len(t, types, 1)
	require.IsType(t, want, types[0])
	require.Equal(t, reflect.TypeFor[sql.NullInt64](), types[0].ScanType())
	length, ok := types[0].Length()
	require.True(t, ok)
	require.EqualValues(t, 7, length)

	require.False(t, rows.Next())
	src, err := Decode((*recordings)[0].Payload)
	require.NoError(t, err)
	replayed, err := Rows(src)
	require.NoError(t, err)
	defer replayed.Close()
	replayedTypes, err := replayed.ColumnTypes()
	require.NoError(t, err)
	require.Equal(t, types, replayedTypes)
}

func TestTeeWithoutDrainKeepsNothingOfAResultClosedEarly(t *testing.T) {
	live := &scripted{sets: values(int64(1))}
	rows, recordings := teed(t, live, TeeOptions{})
	require.True(t, rows.Next())
	require.NoError(t, rows.Close())
	require.Equal(t, []Recording{{Reason: ReasonClosedEarly}}, *recordings)
	require.Equal(t, 1, live.calls)
	require.Equal(t, 1, live.closed)
}

func TestTeeWithDrainCompletesTheCopyOnClose(t *testing.T) {
	for read := range 3 {
		t.Run(fmt.Sprintf("after %d rows", read), func(t *testing.T) {
			live := &scripted{sets: values(int64(1), int64(2))}
			rows, recordings := teed(t, live, TeeOptions{Drain: true})
			for range read {
				require.True(t, rows.Next())
			}
			require.NoError(t, rows.Close())
			require.True(t, (*recordings)[0].Complete)
			requireReplays(t, (*recordings)[0].Payload, int64(1), int64(2))
			require.Equal(t, 1, live.closed)
		})
	}
}

func TestTeeWithDrainCompletesTheCopyOfASingleRow(t *testing.T) {
	live, err := Rows(&scripted{sets: values("x")})
	require.NoError(t, err)
	var recording Recording
	src, err := Tee(live, TeeOptions{Drain: true, Done: func(r Recording) { recording = r }})
	require.NoError(t, err)
	var s string
	require.NoError(t, Row(src).Scan(&s))
	require.Equal(t, "x", s)
	requireReplays(t, recording.Payload, "x")
}

func TestTeeDrainsNoFurtherThanTheCopyGoes(t *testing.T) {
	many := make([]driver.Value, 100)
	for i := range many {
		many[i] = int64(i)
	}
	live := &scripted{sets: values(many...)}
	rows, recordings := teed(t, live, TeeOptions{Drain: true, Limits: Limits{Rows: 3}})
	require.True(t, rows.Next())
	require.NoError(t, rows.Close())
	require.Equal(t, []Recording{{Reason: ReasonTooManyRows}}, *recordings)
	require.Equal(t, 4, live.calls)

	live = &scripted{sets: values(struct{}{}, 1, 2)}
	rows, recordings = teed(t, live, TeeOptions{Drain: true})
	require.True(t, rows.Next())
	require.NoError(t, rows.Close())
	require.Equal(t, []Recording{{Reason: "unknown type struct {}"}}, *recordings)
	require.Equal(t, 1, live.calls)
}

func TestTeeLimits(t *testing.T) {
	text := strings.Repeat("x", 100)
	full, err := encode([]column{{name: "v", flags: hasNullable | isNullable | hasLength, length: 7, scan: 1}},
		[][]driver.Value{{text}, {text}, {text}})
	require.NoError(t, err)
	cases := []struct {
		name   string
		limits Limits
		reason string
	}{
		{"defaults", Limits{}, ""},
		{"as many rows as allowed", Limits{Rows: 3}, ""},
		{"a row too many", Limits{Rows: 2}, ReasonTooManyRows},
		{"as many bytes as allowed", Limits{Bytes: len(full)}, ""},
		{"a byte too many", Limits{Bytes: len(full) - 1}, ReasonTooLarge},
		{"far too large", Limits{Bytes: 1}, ReasonTooLarge},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rows, recordings := teed(t, &scripted{sets: values(text, text, text)}, TeeOptions{Limits: c.limits})
			require.Len(t, scanAll(t, rows), 3, "the reader gets all of it")
			require.NoError(t, rows.Err())
			r := (*recordings)[0]
			require.Equal(t, c.reason, r.Reason)
			if c.reason == "" {
				require.Equal(t, full, r.Payload)
			} else {
				require.Equal(t, Recording{Reason: c.reason}, r)
			}
		})
	}
}

func TestTeePassesOnWhatItCannotKeep(t *testing.T) {
	type point struct{ x, y int }
	t.Run("value", func(t *testing.T) {
		rows, recordings := teed(t, &scripted{sets: values(int64(1), point{1, 2}, "x")}, TeeOptions{})
		require.Equal(t, []driver.Value{int64(1), point{1, 2}, "x"}, scanAll(t, rows))
		require.NoError(t, rows.Err())
		require.Equal(t, []Recording{{Reason: "unknown type rowset.point"}}, *recordings)
	})
	t.Run("scan type", func(t *testing.T) {
		rows, recordings := teed(t, &scripted{sets: values(int64(1)), scanType: reflect.TypeFor[point]()}, TeeOptions{})
		types, err := rows.ColumnTypes()
		require.NoError(t, err)
		require.Equal(t, reflect.TypeFor[point](), types[0].ScanType())
		require.Equal(t, []driver.Value{int64(1)}, scanAll(t, rows))
		require.Equal(t, []Recording{{Reason: "unknown scan type rowset.point"}}, *recordings)
	})
	t.Run("cursor", func(t *testing.T) {
		rows, recordings := teed(t, &scripted{sets: values(&scripted{sets: values("inner")})}, TeeOptions{})
		require.True(t, rows.Next())
		var inner sql.Rows
		require.NoError(t, rows.Scan(&inner))
		require.Equal(t, []driver.Value{"inner"}, scanAll(t, &inner))
		require.NoError(t, rows.Close())
		require.Equal(t, []Recording{{Reason: "unknown type *rowset.scripted"}}, *recordings)
	})
}

func TestErrorsOfLiveRowsSurfaceAsTheyAre(t *testing.T) {
	for _, failure := range []error{
		errors.New("server gone"), driver.ErrBadConn, fmt.Errorf("wrapped: %w", driver.ErrBadConn), context.DeadlineExceeded,
		driver.ErrSkip,
	} {
		t.Run("of Next: "+failure.Error(), func(t *testing.T) {
			live := &scripted{sets: values(int64(1)), nextErr: failure}
			rows, recordings := teed(t, live, TeeOptions{})
			require.Len(t, scanAll(t, rows), 1)
			requireIdentical(t, failure, rows.Err())
			require.Equal(t, []Recording{{Reason: ReasonError}}, *recordings)
			require.Equal(t, 1, live.closed)
		})
		t.Run("of Close: "+failure.Error(), func(t *testing.T) {
			rows, recordings := teed(t, &scripted{sets: values(int64(1)), closeErr: failure}, TeeOptions{})
			require.True(t, rows.Next())
			requireIdentical(t, failure, rows.Close())
			require.Equal(t, []Recording{{Reason: ReasonError}}, *recordings)
		})
		t.Run("of closing at the end: "+failure.Error(), func(t *testing.T) {
			rows, recordings := teed(t, &scripted{sets: values(int64(1)), closeErr: failure}, TeeOptions{})
			require.Len(t, scanAll(t, rows), 1)
			requireIdentical(t, failure, rows.Err())
			require.Equal(t, []Recording{{Reason: ReasonError}}, *recordings)
		})
		t.Run("of draining: "+failure.Error(), func(t *testing.T) {
			rows, recordings := teed(t, &scripted{sets: values(int64(1)), nextErr: failure}, TeeOptions{Drain: true})
			require.True(t, rows.Next())
			requireIdentical(t, failure, rows.Close())
			require.Equal(t, []Recording{{Reason: ReasonError}}, *recordings)
		})
		t.Run("of peeking: "+failure.Error(), func(t *testing.T) {
			rows, recordings := teed(t, &scripted{sets: values(int64(1)), nextErr: failure}, TeeOptions{Peek: true})
			require.True(t, rows.Next())
			requireIdentical(t, failure, rows.Close())
			require.Equal(t, []Recording{{Reason: ReasonError}}, *recordings)
		})
		t.Run("of peeking, where Close doesn't read on: "+failure.Error(), func(t *testing.T) {
			rows, recordings := teed(t, &scripted{sets: values(int64(1)), nextErr: failure}, TeeOptions{Peek: true, Stops: true})
			require.True(t, rows.Next())
			require.NoError(t, rows.Close())
			require.NoError(t, rows.Err())
			require.Equal(t, []Recording{{Reason: ReasonError}}, *recordings)
		})
		t.Run("of peeking, where the reader comes to it: "+failure.Error(), func(t *testing.T) {
			rows, recordings := teed(t, &scripted{sets: values(int64(1)), nextErr: failure}, TeeOptions{Peek: true, Stops: true})
			require.Len(t, scanAll(t, rows), 1)
			requireIdentical(t, failure, rows.Err())
			require.Equal(t, []Recording{{Reason: ReasonError}}, *recordings)
		})
		t.Run("of Close after peeking: "+failure.Error(), func(t *testing.T) {
			for _, n := range []int{1, 2} {
				live := &scripted{sets: values([]driver.Value{int64(1), int64(2)}[:n]...), closeErr: failure}
				rows, recordings := teed(t, live, TeeOptions{Peek: true})
				require.True(t, rows.Next())
				requireIdentical(t, failure, rows.Close())
				require.Equal(t, []Recording{{Reason: ReasonError}}, *recordings)
				require.Equal(t, 1, live.closed)
			}
		})
		t.Run("of a single row: "+failure.Error(), func(t *testing.T) {
			live, err := Rows(&scripted{sets: values(), nextErr: failure})
			require.NoError(t, err)
			src, err := Tee(live, TeeOptions{})
			require.NoError(t, err)
			row := Row(src)
			require.NoError(t, row.Err())
			requireIdentical(t, failure, row.Scan(new(int)))
		})
	}
}

func TestTeePeeksOneRowAhead(t *testing.T) {
	for n, want := range []Recording{
		{Reason: ReasonClosedEarly}, // nothing was read
		{Rows: 1, Complete: true},
		{Reason: ReasonClosedEarly},
		{Reason: ReasonClosedEarly},
	} {
		list := make([]driver.Value, n)
		for i := range list {
			list[i] = int64(i)
		}
		live := &scripted{sets: values(list...)}
		rows, recordings := teed(t, live, TeeOptions{Peek: true})
		if n > 0 {
			require.True(t, rows.Next())
			var got int64
			require.NoError(t, rows.Scan(&got))
			require.Zero(t, got)
		}
		require.NoError(t, rows.Close())
		require.LessOrEqual(t, live.calls, 2)
		got := (*recordings)[0]
		require.Equal(t, want.Complete, got.Payload != nil)
		got.Payload = nil
		require.Equal(t, want, got, n)

		again := &scripted{sets: values(append([]driver.Value{}, list...)...)}
		rows, recordings = teed(t, again, TeeOptions{Peek: true})
		require.Len(t, scanAll(t, rows), n)
		require.True(t, (*recordings)[0].Complete)
		require.Equal(t, n, (*recordings)[0].Rows)
	}
	t.Run("of several result sets", func(t *testing.T) {
		rows, recordings := teed(t, &scripted{sets: [][]driver.Value{{int64(1)}, {int64(2)}}}, TeeOptions{Peek: true})
		require.True(t, rows.Next())
		require.NoError(t, rows.Close())
		require.Equal(t, []Recording{{Reason: ReasonSeveralResultSets}}, *recordings)
	})
}

func TestTeeKeepsNothingOfSeveralResultSets(t *testing.T) {
	sets := func() [][]driver.Value { return [][]driver.Value{{int64(1)}, {int64(2), int64(3)}} }
	t.Run("read in full", func(t *testing.T) {
		rows, recordings := teed(t, &scripted{sets: sets()}, TeeOptions{})
		require.Equal(t, []driver.Value{int64(1)}, scanAll(t, rows))
		require.True(t, rows.NextResultSet())
		require.Equal(t, []driver.Value{int64(2), int64(3)}, scanAll(t, rows))
		require.False(t, rows.NextResultSet())
		require.NoError(t, rows.Err())
		require.Equal(t, []Recording{{Reason: ReasonSeveralResultSets}}, *recordings)
	})
	t.Run("only the first read", func(t *testing.T) {
		rows, recordings := teed(t, &scripted{sets: sets()}, TeeOptions{Drain: true})
		scanAll(t, rows)
		require.Empty(t, *recordings, "there is more to read")
		require.NoError(t, rows.Close())
		require.Equal(t, []Recording{{Reason: ReasonSeveralResultSets}}, *recordings)
	})
	t.Run("first skipped", func(t *testing.T) {
		rows, recordings := teed(t, &scripted{sets: sets()}, TeeOptions{})
		require.True(t, rows.NextResultSet())
		require.Equal(t, []driver.Value{int64(2), int64(3)}, scanAll(t, rows))
		require.Equal(t, []Recording{{Reason: ReasonSeveralResultSets}}, *recordings)
	})
	t.Run("error in the second", func(t *testing.T) {
		failure := errors.New("second failed")
		rows, recordings := teed(t, &scripted{sets: sets(), nextErr: failure}, TeeOptions{})
		scanAll(t, rows)
		require.True(t, rows.NextResultSet())
		scanAll(t, rows)
		requireIdentical(t, failure, rows.Err())
		require.Equal(t, ReasonSeveralResultSets, (*recordings)[0].Reason)
	})
	t.Run("asked for without need", func(t *testing.T) {
		rows, recordings := teed(t, &scripted{sets: values(int64(1))}, TeeOptions{})
		require.False(t, rows.NextResultSet())
		require.NoError(t, rows.Err())
		require.False(t, (*recordings)[0].Complete)
	})
}

func openSQLite(t testing.TB) *sql.DB {
	db, err := sql.Open("sqlite3", ":memory:")
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestLiveConnectionIsFreeWhenDoneIsCalled(t *testing.T) {
	db := openSQLite(t) // with one connection
	live, err := db.Query("SELECT 1 UNION SELECT 2")
	require.NoError(t, err)
	answered := false
	src, err := Tee(live, TeeOptions{Done: func(Recording) {
		answered = db.QueryRow("SELECT true").Scan(&answered) == nil && answered
	}})
	require.NoError(t, err)
	rows, err := Rows(src)
	require.NoError(t, err)
	require.Len(t, scanAll(t, rows), 2)
	require.True(t, answered)
}

func TestCancelledContextStopsTheReader(t *testing.T) {
	db := openSQLite(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	live, err := db.QueryContext(ctx, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i FROM n")
	require.NoError(t, err)
	rows, recordings := teedRows(t, live, TeeOptions{Drain: true})
	require.True(t, rows.Next())
	cancel()
	scanAll(t, rows)
	require.Equal(t, context.Canceled, rows.Err())
	require.Equal(t, []Recording{{Reason: ReasonError}}, *recordings)
	require.NoError(t, db.Ping(), "the connection is free")
}

func TestEndOfTheTransactionStopsTheReader(t *testing.T) {
	db := openSQLite(t)
	for range 5 { // at whatever moment of the reading the rows are closed
		ctx, cancel := context.WithCancel(context.Background())
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		live, err := tx.Query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i FROM n")
		require.NoError(t, err)
		rows, recordings := teedRows(t, live, TeeOptions{})
		require.True(t, rows.Next())
		cancel()
		scanAll(t, rows)
		require.Equal(t, context.Canceled, rows.Err())
		require.Equal(t, []Recording{{Reason: ReasonError}}, *recordings)
	}
}

func TestTeeOfRowsThatAreGoneFails(t *testing.T) {
	live, err := Rows(&scripted{})
	require.NoError(t, err)
	require.NoError(t, live.Close())
	_, err = Tee(live, TeeOptions{Done: func(Recording) { t.Error("done called") }})
	require.Error(t, err)
}

func TestTeeClosesOnce(t *testing.T) {
	live, err := Rows(&scripted{sets: values(int64(1))})
	require.NoError(t, err)
	calls := 0
	src, err := Tee(live, TeeOptions{Done: func(Recording) { calls++ }})
	require.NoError(t, err)
	require.NoError(t, src.Close())
	require.NoError(t, src.Close())
	require.Equal(t, 1, calls)
}

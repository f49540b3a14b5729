package history_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/checker/internal/history"
)

func records() *rapid.Generator[history.Record] {
	number := rapid.Uint32()
	state := rapid.Custom(func(t *rapid.T) history.State {
		return history.State{
			Row:     history.Row{Table: history.Table(rapid.IntRange(0, 1).Draw(t, "table")), ID: number.Draw(t, "id")},
			Version: number.Draw(t, "version"), Group: number.Draw(t, "group"), Present: rapid.Bool().Draw(t, "present"),
		}
	})
	return rapid.Custom(func(t *rapid.T) history.Record {
		r := history.Record{
			Start:  rapid.Int64Range(0, 1<<60).Draw(t, "start"),
			States: rapid.SliceOfN(state, 0, 5).Draw(t, "states"),
		}
		if rapid.Bool().Draw(t, "read") {
			r.Kind = history.Kind(rapid.IntRange(int(history.ReadItem), int(history.CountFeed)).Draw(t, "kind"))
			r.End = r.Start + rapid.Int64Range(0, 1<<40).Draw(t, "took")
			r.A, r.B, r.Count = number.Draw(t, "a"), number.Draw(t, "b"), number.Draw(t, "count")
			r.Source = history.Source(rapid.IntRange(0, 2).Draw(t, "source"))
			return r
		}
		r.Kind = history.Kind(rapid.IntRange(int(history.WriteBegin), int(history.FollowTold)).Draw(t, "kind"))
		r.Seq, r.Untold, r.Place = number.Draw(t, "seq"), rapid.Bool().Draw(t, "untold"), rapid.Uint64().Draw(t, "place")
		return r
	})
}

func TestARecordIsReadAsItWasWrittenAndACutOffOneIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "client")
		want := rapid.SliceOfN(records(), 1, 20).Draw(t, "records")
		w, err := history.Create(path)
		require.NoError(t, err)
		for i := range want {
			require.NoError(t, w.Add(&want[i]))
		}
		require.NoError(t, w.Close())
		read := func() (got []history.Record) {
			require.NoError(t, history.Read(path, func(r *history.Record) error {
				c := *r
				c.States = append([]history.State{}, r.States...)
				got = append(got, c)
				return nil
			}))
			return got
		}
		require.Equal(t, want, read())

		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, whole[:len(whole)-1], 0o600))
		require.Equal(t, want[:len(want)-1], append([]history.Record{}, read()...))
	})
}

func TestWhatNoWriterHasWrittenIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "client")
	for _, garbage := range [][]byte{{1, 0}, {3, 99, 0, 0}, {0xff, 0xff, 0xff, 0x7f, 1}, {5, 1, 0, 0, 0, 0}} {
		require.NoError(t, os.WriteFile(path, garbage, 0o600))
		require.ErrorIs(t, history.Read(path, func(*history.Record) error { return nil }), history.ErrCorrupt)
	}
}

func TestTheRecordsOfWritesAreInTheFileAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "client")
	w, err := history.Create(path)
	require.NoError(t, err)
	defer w.Close()
	count := func() (n int) {
		require.NoError(t, history.Read(path, func(*history.Record) error { n++; return nil }))
		return n
	}
	require.NoError(t, w.Add(&history.Record{Kind: history.ReadItem, A: 1}))
	require.NoError(t, w.Add(&history.Record{Kind: history.WriteBegin, Seq: 1}))
	require.Equal(t, 2, count())
}

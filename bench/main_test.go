package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// open starts the servers that the counting tests need.
func open(tb testing.TB) *environment {
	tb.Helper()
	env, err := start([]string{testenv.SQLite})
	require.NoError(tb, err)
	tb.Cleanup(env.stop)
	return env
}

// plugged is the plugin on SQLite and a real Redis.
func plugged(tb testing.TB, env *environment, v variant) setup {
	tb.Helper()
	s, err := env.plugged(env.databases[0], v)
	require.NoError(tb, err)
	tb.Cleanup(s.close)
	return s
}

var variants = []variant{setsVariant, stampsVariant, setsStrict, stampsStrict, setsDirect, stampsDirect}

func TestRoundTripsOfReads(t *testing.T) {
	env := open(t)
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			s := plugged(t, env, v)
			for _, w := range readWorks {
				queries := map[string]int64{"Preload": 3}[w.name]
				if queries == 0 {
					queries = 1
				}
				ask := func() int64 {
					before := s.trips.Load()
					_, err := w.run(s.db, 1)
					require.NoError(t, err)
					return s.trips.Load() - before
				}
				ask() // the first look at the tables, connections and scripts
				require.Equal(t, queries, ask(), "a hit of %s", w.name)
			}
		})
	}
}

func TestRoundTripsOfWrites(t *testing.T) {
	env := open(t)
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			s := plugged(t, env, v)
			require.NoError(t, fill(s.db, 10, true))
			require.NoError(t, update(s.db, 1)) // learns the schemes
			commit := int64(1)
			if strings.Contains(v.name, "strict") {
				commit = 2 // the fence before
			}
			for name, write := range map[string]func(tx *gorm.DB) error{
				"one row": func(tx *gorm.DB) error { return update(tx, 2) },
				"500 rows of two tables": func(tx *gorm.DB) error {
					if err := create(tx, 500); err != nil {
						return err
					}
					return update(tx, 3)
				},
			} {
				require.NoError(t, s.db.Transaction(write)) // may learn of tables
				before := s.trips.Load()
				require.NoError(t, s.db.Transaction(write))
				require.Equal(t, commit, s.trips.Load()-before, name)
			}
			before := s.trips.Load()
			require.Error(t, s.db.Transaction(func(tx *gorm.DB) error {
				require.NoError(t, update(tx, 4))
				return gorm.ErrInvalidTransaction
			}))
			require.Zero(t, s.trips.Load()-before, "a rolled back transaction")
		})
	}
}

func TestASmallRunIsReported(t *testing.T) {
	out := t.TempDir()
	var text bytes.Buffer
	env := open(t)
	report := newReport(&text, out, "results", describe(context.Background(), env, nil))
	o, err := parse([]string{"-rounds", "2", "-slice", "2ms"})
	require.NoError(t, err)
	for _, s := range suites {
		if s.name != "limits" {
			continue
		}
		results, err := env.runSuite(context.Background(), o, s, env.databases[0])
		require.NoError(t, err)
		report.add(results...)
	}
	require.NoError(t, report.write())
	require.Contains(t, text.String(), "hit: plugin, sets")

	f, err := os.Open(filepath.Join(out, "results.csv"))
	require.NoError(t, err)
	defer f.Close()
	table := csv.NewReader(f)
	table.Comment = '#'
	rows, err := table.ReadAll()
	require.NoError(t, err)
	require.Greater(t, len(rows), 20)

	lines, err := os.ReadFile(filepath.Join(out, "results.txt"))
	require.NoError(t, err)
	require.Regexp(t, `(?m)^Benchmarklimits/work=First_by_key/database=-/contender=GET 1 [0-9.]+ ns/op`, string(lines))
	chart, err := os.ReadFile(filepath.Join(out, "limits.svg"))
	require.NoError(t, err)
	require.Contains(t, string(chart), "<svg")
}

func TestMedianAndSpread(t *testing.T) {
	require.InDelta(t, 3, median([]float64{5, 1, 3}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 1, 3, 2}), 0)
	low, high := spread([]float64{8, 1, 2, 3, 4, 5, 6, 7})
	require.InDelta(t, 3, low, 0)
	require.InDelta(t, 6, high, 0)
}

func TestWrongFlagsAreNamed(t *testing.T) {
	_, err := parse([]string{"-works", "("})
	require.ErrorContains(t, err, "-works")
	_, err = parse([]string{"-rounds", "0"})
	require.ErrorContains(t, err, "-rounds")
	_, err = start([]string{"oracle"})
	require.ErrorContains(t, err, `"oracle"`)
	o, err := parse(nil)
	require.NoError(t, err)
	require.Equal(t, 60*time.Millisecond, o.slice)
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// sample is the results of two suites.
func sample() []result {
	var all []result
	for _, database := range []string{"postgres", "sqlite"} {
		for i, contender := range []string{"GORM", setsVariant.name} {
			ratio := []float64{1, 0.5}[i]
			all = append(all, result{
				suite: "reads", work: "Count", database: database, contender: contender, baseline: "GORM",
				ns: []float64{2000 * ratio, 2000 * ratio}, ratios: []float64{ratio, ratio}, allocs: 60, trips: float64(i),
			})
		}
	}
	all[1].extra = map[string]float64{"hit %": 100}
	return append(all, result{
		suite: "memory", work: "1 row", database: "-", contender: setsVariant.name,
		extra: map[string]float64{"bytes": 900, "budget": 500},
	})
}

func TestTheTablesLeaveOutEmptyColumns(t *testing.T) {
	r := newReport(new(bytes.Buffer), "", "results", []string{"a machine"})
	r.add(sample()...)
	var page bytes.Buffer
	require.NoError(t, r.markdown(&page))
	require.Contains(t, page.String(), "    a machine\n")
	require.Contains(t, page.String(), `### reads: PostgreSQL

| work | contender | median | ratio | range | ops/s | allocs | trips | hit % |
|---|---|--:|--:|--:|--:|--:|--:|--:|
| Count | GORM | 2 µs | 1.00 | 1.00..1.00 | 500000 | 60 | 0 | - |
|  | plugin, sets | 1 µs | 0.50 | 0.50..0.50 | 1000000 | 60 | 1 | 100 |
`)
	require.Contains(t, page.String(), `| work | contender | budget | bytes |
|---|---|--:|--:|
| 1 row | plugin, sets | 500 | 900 |
`)
}

func TestAChartShowsDatabasesSideBySide(t *testing.T) {
	all := sample()
	c := chartOf(all[:4])
	require.Equal(t, []string{"PostgreSQL", "SQLite"}, c.panels)
	require.Equal(t, []string{"Count"}, c.labels)
	require.Equal(t, []string{"GORM", setsVariant.name}, c.series)
	require.Equal(t, dot{panel: 1, series: 1, at: 0.5, low: 0.5, high: 0.5}, c.dots[3])

	c = chartOf(all[4:])
	require.InDelta(t, 1.8, c.dots[0].at, 1e-9)
	all[4].extra = nil
	require.Nil(t, chartOf(all[4:]), "nothing to draw")
}

func TestTheContendersOfOneDatabaseAreLabels(t *testing.T) {
	var all []result
	for _, work := range []string{"a", "b"} {
		for contender := range len(colors) + 1 {
			all = append(all, result{suite: "limits", work: work, database: "-", contender: string(rune('A' + contender)), ratios: []float64{1}})
		}
	}
	c := chartOf(all)
	require.Equal(t, []string{"a", "b"}, c.panels)
	require.Len(t, c.labels, len(colors)+1)

	for i := range all {
		all[i].suite, all[i].work = "scale", []string{"sets: ", "stamps: "}[i%2]+"work "+all[i].work
	}
	all = append(all, result{suite: "scale", work: "sets: another", database: "-", contender: "A", ratios: []float64{1}})
	c = chartOf(all)
	require.Equal(t, []string{"sets", "stamps"}, c.panels)
	require.Contains(t, c.labels, "another: A")
}

func TestTheFilesOfAScaleRunHaveTheirOwnName(t *testing.T) {
	out := t.TempDir()
	r := newReport(new(bytes.Buffer), out, "scale", nil)
	require.NoError(t, r.write(), "nothing was measured")
	x := sample()[0]
	x.suite, x.database = "scale", "-"
	r.add(x)
	require.NoError(t, r.write())
	for _, name := range []string{"scale.csv", "scale.txt", "scale.md", "scale.svg"} {
		info, err := os.Stat(filepath.Join(out, name))
		require.NoError(t, err)
		require.NotZero(t, info.Size(), name)
	}
}

func TestTicksAreRoundAndHaveRoom(t *testing.T) {
	var labels []string
	for _, tick := range ticks(0.15, 30) {
		labels = append(labels, tick.Label)
	}
	require.Equal(t, []string{"0.2", "0.5", "1", "2", "5", "10", "20"}, labels)
	require.Len(t, ticks(1e-4, 20), 6)
	require.InDelta(t, 1e-4, ticks(1e-4, 20)[0].Value, 1e-12)
}

func TestTheSummaryOfAPageIsReplaced(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	r := newReport(new(bytes.Buffer), "", "results", []string{"the command", "a machine"})
	r.add(sample()...)
	require.ErrorContains(t, r.summarize(page), "-summary")
	require.NoError(t, os.WriteFile(page, []byte("# Before\n"), 0o600))
	require.ErrorContains(t, r.summarize(page), "has no lines")

	require.NoError(t, os.WriteFile(page, []byte("# Before\n"+summaryBegin+"\nold\n"+summaryEnd+"\nAfter\n"), 0o600))
	for range 2 {
		require.NoError(t, r.summarize(page))
	}
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, "# Before\n"+summaryBegin+`

A hit of `+"`plugin, sets`"+` in relation to GORM alone, everything on one host:

| | PostgreSQL | SQLite |
|---|--:|--:|
| Count | 0.50 (0.50..0.50) | 0.50 (0.50..0.50) |

Medians and ranges of the ratios; measured by `+"`the command`"+` on a machine.
`+summaryEnd+"\nAfter\n", string(text))
}

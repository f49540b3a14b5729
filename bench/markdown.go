package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// titles are the databases' names for people.
var titles = map[string]string{testenv.Postgres: "PostgreSQL", testenv.MariaDB: "MariaDB", testenv.SQLite: "SQLite"}

// markdown writes a page with a table for each suite and database.
func (r *report) markdown(out io.Writer) error {
	var page strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&page, format+"\n", args...) }
	line("# Results of the benchmarks\n")
	line("Written by the command below; [benchmarks.md](../benchmarks.md) says what is measured and how")
	line("to read it. `ratio` and `range` are to the first row of each work, as the median of the")
	line("rounds and their middle half; `trips` are round trips to Redis for one operation.\n")
	for _, m := range r.machine {
		line("    %s", m)
	}
	if len(r.times) > 0 {
		line("\nThe suites took: %s.", strings.Join(r.times, ", "))
	}
	for _, s := range parts(r.results, func(x result) string { return x.suite }) {
		suite := s[0].suite
		line("\n## %s: %s\n", suite, named(suite).title)
		if drawn(s) {
			line("![%s](%s.svg)", named(suite).title, suite)
		}
		databases := parts(s, func(x result) string { return x.database })
		if len(databases) > 1 {
			beside := slices.DeleteFunc(slices.Clone(s), func(x result) bool { return x.contender == x.baseline })
			page.WriteString("\n" + pivot(beside, func(x result) string { return x.work + ": " + x.contender }, byDatabase))
		}
		for _, d := range databases {
			if title := titles[d[0].database]; title != "" {
				line("\n### %s: %s", suite, title)
			}
			page.WriteString("\n" + table(d))
		}
	}
	_, err := io.WriteString(out, page.String())
	return err
}

// table is the Markdown of results of one suite and database. A column is left
// out where nothing is in it.
func table(results []result) string {
	var names []string // of the additional figures
	for _, x := range results {
		for _, name := range slices.Sorted(maps.Keys(x.extra)) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	head := []string{"work", "contender", "median", "ratio", "range", "ops/s", "allocs", "trips"}
	lines := [][]string{append(head, names...)}
	last := ""
	for _, x := range results {
		work := x.work
		if work == last {
			work = ""
		}
		last = x.work
		cells := append([]string{work, x.contender}, x.cells()...)
		cells = append(cells, x.tripCell())
		for _, name := range names {
			cell := "-"
			if f, ok := x.extra[name]; ok {
				cell = digits(f)
			}
			cells = append(cells, cell)
		}
		lines = append(lines, cells)
	}
	var b strings.Builder
	for i, cells := range lines {
		b.WriteString("|")
		for column, cell := range cells {
			if !empty(lines[1:], column) {
				b.WriteString(" " + cell + " |")
			}
		}
		b.WriteString("\n")
		if i == 0 {
			for column := range cells {
				if !empty(lines[1:], column) {
					b.WriteString(map[bool]string{true: "|---", false: "|--:"}[column < 2])
				}
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

func empty(lines [][]string, column int) bool {
	return !slices.ContainsFunc(lines, func(cells []string) bool { return cells[column] != "-" })
}

// parts splits results by what of makes of them, in the order of its first
// appearance.
func parts(results []result, of func(result) string) [][]result {
	var (
		order []string
		byKey = map[string][]result{}
	)
	for _, x := range results {
		k := of(x)
		if _, ok := byKey[k]; !ok {
			order = append(order, k)
		}
		byKey[k] = append(byKey[k], x)
	}
	all := make([][]result, len(order))
	for i, k := range order {
		all[i] = byKey[k]
	}
	return all
}

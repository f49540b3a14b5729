package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Between these lines of a page the summary stands.
const (
	summaryBegin = "<!-- summary, written by the command -->"
	summaryEnd   = "<!-- end of the summary -->"
)

// summarize replaces the summary in a page.
func (r *report) summarize(path string) error {
	if path == "" {
		return nil
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("-summary: %w", err)
	}
	before, rest, begun := strings.Cut(string(old), summaryBegin)
	_, after, ended := strings.Cut(rest, summaryEnd)
	if !begun || !ended {
		return errors.New("-summary: " + path + " has no lines " + summaryBegin + " and " + summaryEnd)
	}
	return os.WriteFile(path, []byte(before+summaryBegin+"\n"+r.summary()+summaryEnd+after), 0o644)
}

// summary is what most readers look for: what a hit takes in relation to GORM
// alone, and to what no cache below GORM can beat; and what a write takes.
func (r *report) summary() string {
	of := func(suite string) []result {
		return slices.DeleteFunc(slices.Clone(r.results), func(x result) bool { return x.suite != suite })
	}
	var b strings.Builder
	for _, part := range []struct {
		head    string
		results []result
		across  func(result) string
		row     func(result) string
	}{
		{
			"A hit of `" + setsVariant.name + "` in relation to GORM alone, everything on one host:",
			with(of("reads"), setsVariant.name), byDatabase, byWork,
		},
		{
			"Hits of `" + setsVariant.name + "` and a write, with database and Redis 0.5 ms away:",
			with(of("afar"), setsVariant.name), byDatabase, byWork,
		},
		{
			"Hits in relation to what no cache below GORM can beat, a `GET` of the same bytes with GORM's build and scan:",
			starting(of("limits"), "hit: "), byWork, byContender,
		},
		{
			"Writes of `" + setsVariant.name + "` in relation to GORM alone, everything on one host:",
			with(of("writes"), setsVariant.name), byDatabase, byWork,
		},
	} {
		if len(part.results) > 0 {
			fmt.Fprintf(&b, "\n%s\n\n%s", part.head, pivot(part.results, part.row, part.across))
		}
	}
	fmt.Fprintf(&b, "\nMedians and ranges of the ratios; measured by `%s` on %s.\n", r.machine[0], strings.Join(r.machine[1:], "; "))
	return b.String()
}

func byDatabase(x result) string  { return titles[x.database] }
func byWork(x result) string      { return x.work }
func byContender(x result) string { return x.contender }

func with(results []result, contender string) []result {
	return slices.DeleteFunc(results, func(x result) bool { return x.contender != contender })
}

func starting(results []result, prefix string) []result {
	return slices.DeleteFunc(results, func(x result) bool { return !strings.HasPrefix(x.contender, prefix) })
}

// pivot is a table of ratios and their ranges.
func pivot(results []result, row, across func(result) string) string {
	columns := parts(results, across)
	var b strings.Builder
	b.WriteString("| |")
	for _, c := range columns {
		b.WriteString(" " + across(c[0]) + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(columns)) + "\n")
	for _, line := range parts(results, row) {
		b.WriteString("| " + row(line[0]) + " |")
		for _, c := range columns {
			cell := ""
			for _, x := range line {
				if across(x) == across(c[0]) && len(x.ratios) > 0 {
					low, high := spread(x.ratios)
					cell = fmt.Sprintf(" %.2f (%.2f..%.2f)", median(x.ratios), low, high)
				}
			}
			b.WriteString(cell + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

// defaultSample is the number of keys that stats and inspect look at.
const defaultSample = 100_000

func (a *app) statsCommand() *cobra.Command {
	var sample int64
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Tell how much is cached, by table",
		Long: `Tell how many results are cached and how much memory they take, by table. It goes
through the keys with SCAN, which does not hold Redis up. On a large Redis it
looks at a part of them only and multiplies: such numbers begin with ~.`,
		Example: "  cacheplugin stats\n  cacheplugin stats --sample 0 --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.connect(cmd.Context()); err != nil {
				return err
			}
			return a.stats(cmd.Context(), sample)
		},
	}
	cmd.Flags().Int64Var(&sample, "sample", defaultSample, "how many keys to look at; 0: all")
	return cmd
}

// statistics are the outcome of the command.
type statistics struct {
	Prefixes []prefixStatistics `json:"prefixes"`
	// Others are prefixes in this Redis, if nothing is cached under this one.
	Others []string `json:"other_prefixes,omitempty"`
}

type prefixStatistics struct {
	Prefix string `json:"prefix"`
	// Complete is false if the numbers are estimates.
	Complete bool  `json:"complete"`
	Scanned  int64 `json:"scanned_keys"`
	Keys     int64 `json:"keys_of_redis"`

	Results      amount        `json:"results"`
	Leases       amount        `json:"leases"`
	Dropped      amount        `json:"dropped_not_expired"`
	Conjunctions amount        `json:"conjunctions"`
	Tables       amount        `json:"tables"`
	Lists        amount        `json:"lists"`
	ByTable      []tableAmount `json:"results_by_table"`
	ManyTables   amount        `json:"results_of_many_tables"`
}

type amount struct {
	Count int64 `json:"count"`
	Bytes int64 `json:"bytes"`
}

type tableAmount struct {
	Table string `json:"table"`
	amount
}

// scale makes an estimate of what a survey has seen.
func scale(s store.Survey, u store.Usage) amount {
	if s.Complete || s.Scanned == 0 {
		return amount{u.Keys, u.Bytes}
	}
	factor := float64(s.Keys) / float64(s.Scanned)
	return amount{int64(float64(u.Keys) * factor), int64(float64(u.Bytes) * factor)}
}

func (a *app) stats(ctx context.Context, sample int64) error {
	names, stores, err := a.stores(ctx)
	if err != nil {
		return err
	}
	var result statistics
	empty := true
	for i, s := range stores {
		survey, err := s.Survey(ctx, sample)
		if err != nil {
			return a.connection(err)
		}
		tables, err := s.Tables(ctx)
		if err != nil {
			return a.connection(err)
		}
		p := prefixStatistics{
			Prefix: names[i], Complete: survey.Complete, Scanned: survey.Scanned, Keys: survey.Keys,
			Results: scale(survey, survey.Entries), Leases: scale(survey, survey.Leases), Dropped: scale(survey, survey.Invalid),
			Conjunctions: scale(survey, survey.Conjunctions), Tables: scale(survey, survey.Tables), Lists: scale(survey, survey.Lists),
			ManyTables: scale(survey, survey.ManyTables), ByTable: []tableAmount{},
		}
		p.Tables.Count = int64(len(tables))
		for _, table := range slices.Sorted(maps.Keys(survey.ByTable)) {
			p.ByTable = append(p.ByTable, tableAmount{table, scale(survey, survey.ByTable[table])})
		}
		slices.SortStableFunc(p.ByTable, func(x, y tableAmount) int { return cmp.Compare(y.Bytes, x.Bytes) })
		empty = empty && len(tables) == 0
		result.Prefixes = append(result.Prefixes, p)
	}
	if empty {
		if result.Others, err = store.Namespaces(ctx, a.client, ""); err != nil {
			return a.connection(err)
		}
		result.Others = slices.DeleteFunc(result.Others, func(name string) bool { return slices.Contains(names, name) })
	}
	return a.print(&result)
}

func (r *statistics) text(w io.Writer) {
	for _, p := range r.Prefixes {
		about := ""
		if !p.Complete {
			about = "~"
		}
		_, _ = fmt.Fprintf(w, "prefix %s\n", p.Prefix)
		t := tabwriter.NewWriter(w, 2, 0, 2, ' ', 0)
		row := func(name string, n amount) {
			_, _ = fmt.Fprintf(t, "  %s\t%s%d\t%s%s\n", name, about, n.Count, about, size(n.Bytes))
		}
		row("results", p.Results)
		for _, table := range p.ByTable {
			row("  of "+table.Table, table.amount)
		}
		if p.ManyTables.Count > 0 {
			row("  of many tables", p.ManyTables)
		}
		row("being read (leases)", p.Leases)
		row("dropped, not expired yet", p.Dropped)
		row("conjunctions", p.Conjunctions)
		row("tables", p.Tables)
		if p.Lists.Count > 0 {
			row("lists of rows, keys of", p.Lists)
		}
		_ = t.Flush()
		if !p.Complete {
			_, _ = fmt.Fprintf(w, "  estimated from %d of %d keys; --sample 0 looks at all\n", p.Scanned, p.Keys)
		}
	}
	if len(r.Others) > 0 {
		_, _ = fmt.Fprintf(w, "nothing is cached under this prefix; others in this Redis: %s (--prefix)\n", strings.Join(r.Others, ", "))
	}
}

// size writes a number of bytes for people.
func size(bytes int64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprintf("%d B", bytes)
	}
	value, units := float64(bytes)/unit, "KMGT"
	for value >= unit && len(units) > 1 {
		value, units = value/unit, units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, units[0])
}

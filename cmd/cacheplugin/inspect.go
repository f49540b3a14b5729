package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

func (a *app) inspectCommand() *cobra.Command {
	var sample int64
	cmd := &cobra.Command{
		Use:   "inspect table [column=value...]",
		Short: "Tell what is cached of a table, and on which of its columns it depends",
		Long: `Tell on which columns of a table results depend (the schemes), how many there are
and how much memory they take. With columns and values, also which results a
change of such a row would drop.`,
		Example: "  cacheplugin inspect articles\n  cacheplugin inspect articles tag_id=2",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, rows, err := parseTargets(args)
			if err != nil {
				return err
			}
			if len(targets) > 1 {
				return usage(fmt.Errorf("%d tables", len(targets)), "give one table or a glob")
			}
			if err := a.connect(cmd.Context()); err != nil {
				return err
			}
			return a.inspect(cmd.Context(), targets[0], rows, sample)
		},
	}
	cmd.Flags().Int64Var(&sample, "sample", defaultSample, "how many keys to look at for the number of results; 0: all")
	return cmd
}

// inspection is the outcome of the command.
type inspection struct {
	Target string            `json:"-"`
	Tables []inspectionTable `json:"tables"`
	Known  []string          `json:"known_tables,omitempty"`
}

type inspectionTable struct {
	Prefix string `json:"prefix"`
	Table  string `json:"table"`
	// Valid is false if the table was dropped since it was last read.
	Valid   bool               `json:"valid"`
	TTL     float64            `json:"ttl_seconds"`
	Results amount             `json:"results"`
	Exact   bool               `json:"complete"`
	Schemes []inspectionScheme `json:"schemes"`
}

type inspectionScheme struct {
	// Columns are the columns that results depend on; none: on any row.
	Columns []inspectionColumn `json:"columns"`
	// Lists says that it is one of lists of rows, which are asked for by the columns.
	Lists bool `json:"lists,omitempty"`
	// Conjunctions are those of the values that were given.
	Conjunctions []inspectionConjunction `json:"conjunctions,omitempty"`
	// Reason says why there are none.
	Reason string `json:"reason,omitempty"`
}

type inspectionColumn struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

type inspectionConjunction struct {
	Key   string   `json:"redis_key"`
	Count int64    `json:"count"`
	TTL   float64  `json:"ttl_seconds"`
	Names []string `json:"results"`
}

func (a *app) inspect(ctx context.Context, target string, rows condition, sample int64) error {
	names, stores, err := a.stores(ctx)
	if err != nil {
		return err
	}
	result := inspection{Target: target, Tables: []inspectionTable{}}
	for i, s := range stores {
		tables, err := s.Tables(ctx)
		if err != nil {
			return a.connection(err)
		}
		var survey *store.Survey
		for _, table := range tables {
			if !matches(target, table) {
				continue
			}
			if survey == nil {
				seen, err := s.Survey(ctx, sample)
				if err != nil {
					return a.connection(err)
				}
				survey = &seen
			}
			t := inspectionTable{Prefix: names[i], Table: table, Exact: survey.Complete, Results: scale(*survey, survey.ByTable[table])}
			if err := t.read(ctx, s, rows); err != nil {
				return a.connection(err)
			}
			result.Tables = append(result.Tables, t)
		}
		result.Known = append(result.Known, tables...)
	}
	if len(result.Tables) > 0 {
		result.Known = nil
	}
	return a.print(&result)
}

// read asks for the table's schemes, and for the conjunctions of rows.
func (t *inspectionTable) read(ctx context.Context, s *store.Store, rows condition) error {
	info, err := s.TableInfo(ctx, t.Table)
	if err != nil {
		return err
	}
	t.Valid, t.TTL = info.Known, info.TTL.Seconds()
	for _, scheme := range info.Schemes {
		one := inspectionScheme{Columns: []inspectionColumn{}}
		columns, ok := scheme.Typed()
		if scheme.Lists() {
			columns, ok = scheme.ListedBy()
			one.Lists = true
		}
		if !ok {
			one.Columns = append(one.Columns, inspectionColumn{string(scheme), "unknown"})
		}
		for _, c := range columns {
			one.Columns = append(one.Columns, inspectionColumn{c.Name, c.Kind.String()})
		}
		if len(rows) > 0 && !one.Lists {
			var keys []conj.Key
			keys, one.Reason = rows.schemeKeys(t.Table, scheme)
			for _, key := range keys {
				info, err := s.ConjunctionInfo(ctx, t.Table, key)
				if err != nil {
					return err
				}
				if info.Known {
					one.Conjunctions = append(one.Conjunctions, inspectionConjunction{s.ConjunctionName(t.Table, key), info.Size, info.TTL.Seconds(), info.Entries})
				}
			}
		}
		t.Schemes = append(t.Schemes, one)
	}
	return nil
}

func (r *inspection) text(w io.Writer) {
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	if len(r.Tables) == 0 {
		line("nothing is cached of %s", r.Target)
		if len(r.Known) == 0 {
			line("nothing is cached of any table: is the prefix right? See cacheplugin stats")
		} else {
			line("tables of which something is: %s", strings.Join(r.Known, ", "))
		}
		return
	}
	for _, t := range r.Tables {
		line("%s (prefix %s)", t.Table, t.Prefix)
		if !t.Valid {
			line("  dropped, and not read since")
			continue
		}
		about := ""
		if !t.Exact {
			about = "~"
		}
		line("  results that read it: %s%d, %s%s", about, t.Results.Count, about, size(t.Results.Bytes))
		line("  they depend on:")
		for _, s := range t.Schemes {
			s.text(line)
		}
		line("  kept for %s more if nothing is read", time.Duration(t.TTL*float64(time.Second)).Round(time.Second))
	}
}

func (s *inspectionScheme) text(line func(string, ...any)) {
	var columns []string
	for _, c := range s.Columns {
		columns = append(columns, c.Name+" ("+c.Kind+")")
	}
	if len(columns) == 0 {
		columns = []string{"any row"}
	}
	if s.Lists {
		line("    lists by %s", strings.Join(columns, ", "))
		return
	}
	line("    %s", strings.Join(columns, ", "))
	switch {
	case s.Reason != "":
		line("      can't tell: %s", s.Reason)
	case len(s.Conjunctions) > 0:
		for _, c := range s.Conjunctions {
			line("      %d results depend on such a row (%s)", c.Count, c.Key)
			for _, name := range c.Names {
				line("        %s", name)
			}
		}
	}
}

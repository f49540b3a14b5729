package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

func (a *app) invalidateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "invalidate (all | table... | table column=value...)",
		Short: "Drop what is cached of rows, tables, or everything",
		Long: `Drop what is cached. A table is named as the plugin knows it (public.users), by
its bare name (users), or by a glob ('auth_*').

With columns and values, what results depend on rows with these values is
dropped: those that exist now, and those that would. Give every column whose
value you know, twice where it has changed (tag_id=1 tag_id=2). If results depend
on a column that is not given, any of them may be concerned: then the table is
dropped as a whole. cacheplugin inspect says on which columns they depend.

What a program keeps in its own memory, by a NearCache, it drops when it is told.`,
		Example: `  cacheplugin invalidate users id=34
  cacheplugin invalidate articles id=7 tag_id=1 tag_id=2
  cacheplugin invalidate sessions user_id=null
  cacheplugin invalidate users public.orders
  cacheplugin invalidate 'auth_*'
  cacheplugin invalidate all`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, rows, err := parseTargets(args)
			if err != nil {
				return err
			}
			if err := a.connect(cmd.Context()); err != nil {
				return err
			}
			if slices.Equal(targets, []string{"all"}) {
				return a.invalidateAll(cmd.Context())
			}
			return a.invalidateTables(cmd.Context(), targets, rows)
		},
	}
}

// parseTargets reads tables and conditions.
func parseTargets(args []string) (targets []string, rows condition, err error) {
	first := slices.IndexFunc(args, func(arg string) bool { return strings.Contains(arg, "=") })
	if first < 0 {
		first = len(args)
	}
	targets = args[:first]
	if rows, err = parseCondition(args[first:]); err != nil {
		return nil, nil, err
	}
	switch {
	case len(targets) == 0:
		return nil, nil, usage(fmt.Errorf("%q: of which table?", args[0]), "write the table first: cacheplugin invalidate users id=34")
	case len(rows) > 0 && len(targets) > 1:
		return nil, nil, usage(errors.New("values can be given for one table at a time"), "call it once for each table")
	case slices.Contains(targets, "all") && (len(targets) > 1 || len(rows) > 0):
		return nil, nil, usage(errors.New("all stands alone"), "a table of that name is called by its schema as well, such as public.all")
	}
	for _, t := range targets {
		if _, err := path.Match(t, ""); err != nil {
			return nil, nil, usage(fmt.Errorf("%q is not a pattern: %w", t, err), "quote the characters *?[ by a backslash")
		}
	}
	return targets, rows, nil
}

// invalidated is the outcome of the command.
type invalidated struct {
	Tables []invalidatedTable `json:"tables"`
	// Unknown are the names that nothing is cached of.
	Unknown []string `json:"nothing_cached,omitempty"`
	// Known are the tables that there are, if a name is unknown.
	Known []string `json:"known_tables,omitempty"`
}

type invalidatedTable struct {
	Prefix string `json:"prefix"`
	Table  string `json:"table"` // "*" for all of the prefix
	Whole  bool   `json:"whole"`
	// Reason says why a table was dropped whole although values were given.
	Reason       string `json:"reason,omitempty"`
	Conjunctions int    `json:"conjunctions"`
	// Dropped is the number of results; of a whole table it is not known.
	Dropped int `json:"dropped"`
}

func (r *invalidated) text(w io.Writer) {
	for _, t := range r.Tables {
		switch {
		case t.Table == "*":
			_, _ = fmt.Fprintf(w, "dropped everything of prefix %s\n", t.Prefix)
		case t.Whole && t.Reason != "":
			_, _ = fmt.Fprintf(w, "dropped all results that read %s (prefix %s): %s\n", t.Table, t.Prefix, t.Reason)
		case t.Whole:
			_, _ = fmt.Fprintf(w, "dropped all results that read %s (prefix %s)\n", t.Table, t.Prefix)
		default:
			_, _ = fmt.Fprintf(w, "dropped %d results that depend on such rows of %s (prefix %s)\n", t.Dropped, t.Table, t.Prefix)
		}
	}
	for _, name := range r.Unknown {
		_, _ = fmt.Fprintf(w, "nothing is cached of %s\n", name)
	}
	if len(r.Unknown) > 0 {
		if len(r.Known) == 0 {
			_, _ = fmt.Fprintln(w, "nothing is cached of any table: is the prefix right? See cacheplugin stats")
		} else {
			_, _ = fmt.Fprintf(w, "tables of which something is: %s\n", strings.Join(r.Known, ", "))
		}
	}
}

func (a *app) invalidateAll(ctx context.Context) error {
	names, stores, err := a.stores(ctx)
	if err != nil {
		return err
	}
	result := invalidated{Tables: []invalidatedTable{}}
	for i, s := range stores {
		if err := s.InvalidateAll(ctx); err != nil {
			return a.connection(err)
		}
		result.Tables = append(result.Tables, invalidatedTable{Prefix: names[i], Table: "*", Whole: true})
	}
	return a.print(&result)
}

func (a *app) invalidateTables(ctx context.Context, targets []string, rows condition) error {
	names, stores, err := a.stores(ctx)
	if err != nil {
		return err
	}
	result := invalidated{Tables: []invalidatedTable{}}
	met := map[string]bool{}
	for i, s := range stores {
		tables, err := s.Tables(ctx)
		if err != nil {
			return a.connection(err)
		}
		result.Known = append(result.Known, tables...)
		reasons := map[string]string{}
		var changes []store.Change
		for _, table := range tables {
			target, ok := matching(targets, table)
			if !ok {
				continue
			}
			met[target] = true
			change := store.Change{Table: table}
			if len(rows) > 0 {
				change.Keys = func(schemes []conj.Scheme) ([]conj.Key, bool) {
					keys, reason := rows.keys(table, schemes)
					reasons[table] = reason
					return keys, reason == ""
				}
			}
			changes = append(changes, change)
		}
		reports, err := s.Invalidate(ctx, changes)
		s.Close(ctx) // which waits for what is being freed
		if err != nil {
			return a.connection(err)
		}
		for _, r := range reports {
			t := invalidatedTable{Prefix: names[i], Table: r.Table, Whole: r.Whole, Conjunctions: r.Keys, Dropped: r.Dropped}
			if r.Whole {
				t.Reason = reasons[r.Table]
			}
			result.Tables = append(result.Tables, t)
		}
	}
	slices.SortFunc(result.Tables, func(x, y invalidatedTable) int {
		return strings.Compare(x.Prefix+"\x00"+x.Table, y.Prefix+"\x00"+y.Table)
	})
	result.unknown(targets, met)
	return a.print(&result)
}

func (r *invalidated) unknown(targets []string, met map[string]bool) {
	for _, target := range targets {
		if !met[target] {
			r.Unknown = append(r.Unknown, target)
		}
	}
	if len(r.Unknown) == 0 {
		r.Known = nil
	}
	slices.Sort(r.Known)
	r.Known = slices.Compact(r.Known)
}

// matching returns the first of the patterns that means a table.
func matching(patterns []string, table string) (string, bool) {
	for _, p := range patterns {
		if matches(p, table) {
			return p, true
		}
	}
	return "", false
}

// matches reports whether a pattern means a table, by its identity or by what is
// left of it without the schema. Case does not matter: to drop one table too
// many is better than one too few.
func matches(pattern, table string) bool {
	pattern, table = strings.ToLower(pattern), strings.ToLower(table)
	for {
		if ok, err := path.Match(pattern, table); ok && err == nil || pattern == table {
			return true
		}
		_, rest, ok := strings.Cut(table, ".")
		if !ok {
			return false
		}
		table = rest
	}
}

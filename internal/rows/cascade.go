package rows

import (
	"context"
	"fmt"
	"slices"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/change"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
)

// maxDepth is how many foreign keys in a row are followed row by row.
const maxDepth = 8

// cascade finds the rows that foreign keys will change along with those of a
// write, which are locked: no row can come to reference them any more. The rows
// are read and locked one key after the other, level by level.
type cascade struct {
	statement *Statement
	reach     *reach

	followed   bool // each table of the closure is among the dependents, or touched
	dependents []*dependents
}

// step is rows of one table that are deleted or updated, as foreign keys are
// followed from them.
type step struct {
	table   *catalog.Table
	lead    []int   // the columns by which foreign keys lead on
	rows    [][]any // their values, row by row
	deleted bool    // else updated
	depth   int

	// Of an update:
	set     conj.Image // what the changed columns become, as far as is known
	changed []bool     // the columns that change
}

// worthFollowing reports whether it is worth finding out which rows foreign keys
// lead to: whether some query depends on single rows of such a table, or may.
func (c *cascade) worthFollowing(ctx context.Context) bool {
	if !c.statement.options.InTransaction {
		return false
	}
	return slices.ContainsFunc(c.reach.closure, func(table *catalog.Table) bool {
		if c.uncached(table) {
			return false
		}
		need, known := c.statement.needed(ctx, table, nil)
		return !known || slices.Contains(need, true)
	})
}

// uncached reports whether nothing of a table is cached.
func (c *cascade) uncached(table *catalog.Table) bool {
	return table.Uncacheable != "" || c.statement.session.Forbids(table.Table)
}

// follow reads the rows that foreign keys will change along with those of the
// statement.
func (c *cascade) follow(ctx context.Context, first *step) {
	c.followed = true
	seen := map[string]bool{}
	for queue := []*step{first}; len(queue) > 0; queue = queue[1:] {
		from := queue[0]
		for _, key := range from.table.ForeignKeys {
			if !key.Acts(from.deleted) {
				continue
			}
			parents, known := parentColumns(c.statement.options.Dialect, from.table, key)
			if known && !from.changes(parents) {
				continue
			}
			next, ok := c.followKey(ctx, from, key, parents, seen)
			switch {
			case !ok:
				c.giveUp(ctx, key, from.deleted)
			case next != nil:
				c.dependents = append(c.dependents, next)
				queue = append(queue, &next.step)
			}
		}
	}
	c.widenShared(first)
}

// changes reports whether rows that reference the step's by some columns are
// affected.
func (s *step) changes(columns []int) bool {
	return s.deleted || slices.ContainsFunc(columns, func(i int) bool { return s.changed[i] })
}

// followKey reads the rows that one foreign key leads to; ok is false if they
// can't be had, and next nil if there are none.
func (c *cascade) followKey(ctx context.Context, from *step, key *catalog.ForeignKey, parents []int, seen map[string]bool) (next *dependents, ok bool) {
	table, err := c.statement.session.Table(ctx, key.Child.Name)
	if err != nil || table == nil || parents == nil || !key.Readable || from.depth == maxDepth {
		return nil, false
	}
	if c.uncached(table) || c.reach.firesBelow(table) {
		return nil, false
	}
	d := c.statement.options.Dialect
	children, ok := childColumns(d, table, key, from.table, parents)
	if !ok {
		return nil, false
	}
	lists := from.values(d, parents)
	if len(lists) == 0 {
		return nil, true
	}
	if len(lists) > c.statement.options.MaxImages || len(lists)*len(children) > dialect.MaxParameters {
		return nil, false
	}
	next = newDependents(c.statement, from, key, table)
	if !next.deleted {
		next.becomes(from, key, parents, children)
	}
	need, known := c.statement.needed(ctx, table, nil)
	next.lead = leadColumns(d, table, next.deleted, next.changed)
	if known && !slices.Contains(need, true) && len(next.lead) == 0 {
		return nil, false // nothing depends on single rows of it
	}
	if !next.readOld(ctx, children, lists) {
		return nil, false
	}
	next.leaveOut(seen, fmt.Sprint(from.table.ID, key.Columns, key.ChildColumns))
	next.addNew(need, children)
	return next, true
}

// giveUp drops a child and all below it whole.
func (c *cascade) giveUp(ctx context.Context, key *catalog.ForeignKey, deleted bool) {
	for _, table := range c.reach.closure {
		if table.ID != key.Child.ID {
			continue
		}
		c.reach.touched = append(c.reach.touched, touched{table, ledTo})
		if deleted && key.OnDelete == catalog.Cascade {
			c.reach.follow(ctx, table.DeleteTouches)
		} else {
			c.reach.follow(ctx, table.UpdateTouches)
		}
	}
}

// widenShared gives up the images of rows that are updated more than once: by
// several foreign keys, or by the statement and one of them. Each knows what
// becomes of its own columns, and none what becomes of the row.
func (c *cascade) widenShared(first *step) {
	by := map[string]int{}
	for i, d := range c.dependents {
		if d.deleted || len(d.rows) == 0 {
			continue
		}
		if !first.deleted && d.table.ID == first.table.ID {
			c.reach.scope.widen(change.Table, "foreign keys of the table change its rows as well")
			return
		}
		for _, key := range d.keys {
			if len(d.table.Members) > 0 { // which may have keys of their own
				key = nil
			}
			name := listName(append([]any{d.table.ID}, key...))
			if other, met := by[name]; met && other != i {
				d.widen("several foreign keys change a row")
			}
			by[name] = i
		}
	}
}

// complete reads the new images that were not known before the statement.
func (c *cascade) complete(ctx context.Context) {
	for _, d := range c.dependents {
		d.complete(ctx)
	}
}

// note passes on what foreign keys change. wide says that the statement's own
// rows are not known, so that those that depend on them aren't either.
func (c *cascade) note(sink Sink, wide bool) {
	if !wide && c.followed {
		for _, d := range c.dependents {
			d.note(sink)
		}
		return
	}
	for _, table := range c.reach.closure {
		if !c.statement.session.Forbids(table.Table) {
			sink.Table(table.Table, "foreign keys to "+c.reach.own.Name)
		}
	}
}

package commit

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/change"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/txn"
)

// Journal collects what a transaction, or a statement outside of one, has
// changed: row images per table, or the table as a whole, or everything in a
// namespace. Images are kept at a rollback to a savepoint: dropping too much is
// safe. It is safe for concurrent use.
type Journal struct {
	committer *Committer
	dialect   conj.Dialect

	mu        sync.Mutex
	changes   map[changeKey]*changes
	version   int                    // counts what was recorded
	redefined map[Redefined]struct{} // what DDL has changed
	after     []func(context.Context)

	announced *Fence // nil if there is none
	unsure    bool   // what became of COMMIT is not known

	outboxed  int         // the version that the outbox has; 0 if none
	rows      []rowHandle // in the outbox
	committed bool        // COMMIT has said so
}

// Redefined is told that DDL may have changed what it knows of a database. Its
// values are compared by ==.
type Redefined interface{ Redefined() }

var _ txn.OutcomeJournal = (*Journal)(nil)

// AddRows records changes of a table's rows. More than twice MaxImages images count
// as the whole table.
func (j *Journal) AddRows(ns *namespace.Namespace, table *conj.Table, rows ...conj.Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.changesLocked(changeKey{ns, table.ID})
	c.addRows(table, rows, 2*j.committer.options.MaxImages)
}

// AddTable records that any row of a table may have changed.
func (j *Journal) AddTable(ns *namespace.Namespace, tableID string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.changesLocked(changeKey{ns, tableID}).widen(change.Table)
}

// AddEverything records that any row of any table may have changed in some
// namespaces.
func (j *Journal) AddEverything(namespaces ...*namespace.Namespace) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, ns := range namespaces {
		j.changesLocked(changeKey{namespace: ns}).widen(change.Everything)
	}
}

// Blame says which statement has changed a table, by its shape, and why its rows are
// not known, if so: for people. The first one counts. An empty table stands for all.
func (j *Journal) Blame(ns *namespace.Namespace, tableID, writer, reason string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.changes[changeKey{ns, tableID}]
	if c == nil {
		return
	}
	c.writer, c.reason = cmp.Or(c.writer, writer), cmp.Or(c.reason, reason)
}

// changesLocked returns the changes of a table, to which something is added.
func (j *Journal) changesLocked(key changeKey) *changes {
	j.version++
	c, ok := j.changes[key]
	if !ok {
		c = &changes{table: key.table}
		j.changes[key] = c
	}
	return c
}

// Then records what is to be done when the changes have been invalidated: soon
// after, in the background.
func (j *Journal) Then(do func(context.Context)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.after = append(j.after, do)
}

// Redefine records that DDL has changed a database: d is told at each flush.
func (j *Journal) Redefine(d Redefined) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.redefined == nil {
		j.redefined = map[Redefined]struct{}{}
	}
	j.redefined[d] = struct{}{}
}

// Merge adds what another journal has collected, which nothing may be added to
// any longer.
func (j *Journal) Merge(other *Journal) {
	other.mu.Lock()
	defer other.mu.Unlock()
	for key, c := range other.changes {
		switch c.extent {
		case change.Nothing:
		case change.Rows:
			j.AddRows(key.namespace, c.layout, c.rows...)
		case change.Table:
			j.AddTable(key.namespace, key.table)
		case change.Everything:
			j.AddEverything(key.namespace)
		}
		j.Blame(key.namespace, key.table, c.writer, c.reason)
	}
	for d := range other.redefined {
		j.Redefine(d)
	}
	for _, do := range other.after {
		j.Then(do)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unsure = j.unsure || other.unsure
	if other.committed {
		j.rows, j.committed = append(j.rows, other.rows...), true
	}
}

// Empty reports whether there is nothing to flush.
func (j *Journal) Empty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.changes) == 0 && len(j.redefined) == 0 && len(j.after) == 0
}

// Flush implements txn.Journal: it invalidates what was collected, or leaves
// that to the journal of the context (Postponed). What could not be invalidated
// is queued; the error is returned under Options.ReturnErrors, or if nothing is
// going to carry out the queue.
func (j *Journal) Flush(ctx context.Context) error {
	if outer := Postponed(ctx); outer != nil {
		outer.Merge(j)
		return nil
	}
	err := j.committer.Flush(ctx, j)
	if err == nil || j.committer.options.ReturnErrors || errors.Is(err, store.ErrClosed) {
		return err
	}
	return nil
}

// Outcome implements txn.OutcomeJournal. Where it is not known what became of a
// COMMIT the fence is not dropped: COMMIT may take effect yet, after the
// invalidation. Where it has failed and the transaction goes on, the outbox gets
// another row.
func (j *Journal) Outcome(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.committed = err == nil
	if err != nil {
		j.outboxed = 0 // what goes on may be undone to before the row
	}
	// An embedded database is part of this process, so that what became of a
	// COMMIT is always known.
	if err != nil && !dialect.Refused(err, j.dialect == conj.SQLite) {
		j.unsure = true
	}
}

// MarkUnsure notes that what became of a statement that commits by itself is not
// known: the flush leaves its fence to run out, as after such an Outcome.
func (j *Journal) MarkUnsure() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unsure = true
}

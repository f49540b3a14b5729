package commit

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/background"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/shapes"
	"github.com/cacheplugin/cacheplugin/txn"
)

// Options configure a Committer. The root package documents what its users set
// of them, and sets the defaults.
type Options struct {
	// Namespaces are where results are kept. Required.
	Namespaces *namespace.Set
	// Report takes what happens. Required.
	Report *report.Reporter
	// Shapes takes what was invalidated. Required.
	Shapes *shapes.Set
	// Prefix is what rows of the outbox are marked with: processes see those of
	// their own prefix only.
	Prefix string

	// MaxImages is the number of rows that a write may change in a table to be
	// recorded row by row, each with an old and a new image. More of them count
	// as the whole table.
	MaxImages int

	// Strict sets a fence before each COMMIT, for FenceTTL; a COMMIT that has
	// taken effect by then reaches the replicas within ReplicaLag.
	Strict               bool
	FenceTTL, ReplicaLag time.Duration
	// FenceFallback lets a write be committed whose fence can't be set.
	FenceFallback bool

	// ReturnErrors has Journal.Flush return what could not be invalidated and
	// was queued. Else it is only reported.
	ReturnErrors bool
	// FlushTimeout bounds the invalidations of FlushAgain.
	FlushTimeout time.Duration

	// Outbox configures the outbox; nil: there is none.
	Outbox *OutboxOptions
}

// OutboxOptions configure the outbox.
type OutboxOptions struct {
	// Table is the table's name, with a schema or without.
	Table string
	// After is how old a row must be to be taken for a dead process's.
	After time.Duration
	// Poll is how often such rows are looked for.
	Poll time.Duration
}

// Committer does what the transactions of a process owe. It is safe for
// concurrent use and must be closed.
type Committer struct {
	options Options
	report  *report.Reporter
	group   background.Group // of the outboxes, and of what is flushed again
	after   afterQueue

	mu       sync.Mutex
	outboxes map[*sql.DB]*outbox
}

// New returns a Committer. It starts nothing until there is something to do.
func New(o Options) *Committer {
	c := &Committer{options: o, report: o.Report, outboxes: map[*sql.DB]*outbox{}}
	c.after.group = &c.group
	return c
}

// NewJournal returns an empty journal of a transaction, or of a statement outside
// of one, on a database of a dialect.
func (c *Committer) NewJournal(d conj.Dialect) *Journal {
	return &Journal{committer: c, dialect: d, changes: map[changeKey]*changes{}}
}

// BeforeCommit does what comes right before the COMMIT of a transaction that has
// changed something: it writes the row in the outbox, in the transaction, and
// sets the fence. An error, which wraps ErrOutboxWrite or ErrNotFenced, means that
// nothing may be committed. It may be called repeatedly.
func (c *Committer) BeforeCommit(ctx context.Context, tx *txn.Tx, j *Journal) error {
	if err := c.writeToOutbox(ctx, tx, j); err != nil {
		return err
	}
	return c.Fence(ctx, j) // last: it runs out
}

// repeatAfter is how much later the writes of a transaction that the plugin
// can't see the end of are invalidated again.
const repeatAfter = time.Second

// FlushAgain flushes a journal once more in a second, or at Close: for the writes
// of a transaction whose end isn't seen.
func (c *Committer) FlushAgain(ctx context.Context, j *Journal) {
	c.group.After(repeatAfter, func(life context.Context) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.options.FlushTimeout)
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		_ = c.Flush(ctx, j) // reported and queued by Flush
	})
}

// Close ends what runs in the background, as long as the context allows: it
// flushes what FlushAgain has put off, and deletes rows of the outbox that are
// done with. It must come before the guards of the namespaces are closed, which
// report what is left in their queues.
func (c *Committer) Close(ctx context.Context) error {
	if err := c.group.Close(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.outboxes {
		o.deleteDone(ctx)
	}
	return nil
}

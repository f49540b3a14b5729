package callbacks

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/rows"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/txn"
)

// noteEarly notes the tables of a statement whose rows the caller reads itself:
// a transaction may be committed before it has closed them.
func (s *statement) noteEarly(ctx context.Context) {
	if !s.reading {
		return
	}
	s.widen("read by the caller")
	if s.tx != nil && !s.ignored {
		s.record(ctx)
	}
}

// announce tells of a statement that is going to commit, by itself or what its
// transaction has done before it: Redis under Strict, and the outbox. If it
// returns an error the statement must not be sent, and has changed nothing.
func (s *statement) announce(ctx context.Context) error {
	if err := s.lost(); err != nil {
		s.concluded = true
		return err
	}
	if trialOf(ctx) != nil && s.outlives() {
		s.concluded = true
		return errNotUndone
	}
	if !s.handlers.Strict && !s.handlers.Outbox {
		return nil
	}
	err := s.announceCommit(ctx)
	s.concluded = err != nil
	return err
}

func (s *statement) announceCommit(ctx context.Context) error {
	if s.tx != nil {
		return s.announceInTransaction(ctx)
	}
	if s.passive || s.ignored {
		return nil
	}
	j := s.newJournal()
	s.noteRows(ctx, j)
	if err := s.handlers.Commit.Fence(ctx, j); err != nil {
		return err
	}
	if s.where != txn.Foreign {
		// Of a transaction that others have begun the end isn't seen: its
		// fence is left to run out.
		s.fence = j.Fenced()
	}
	return nil
}

// announceInTransaction notes what a statement commits that ends its transaction;
// the connection announces it.
func (s *statement) announceInTransaction(ctx context.Context) error {
	if !s.commits {
		return nil
	}
	if s.passive || s.ignored {
		return nil
	}
	// MySQL's DDL commits itself with what was done before.
	return s.tx.Record(ctx, func(j txn.Journal) { s.noteRows(ctx, journal(j)) })
}

// lost is the error by which a query of ours has ended the transaction.
func (s *statement) lost() error {
	if s.rows == nil {
		return nil
	}
	return s.rows.Lost()
}

// sent notes that the statement was sent.
func (s *statement) sent(err error) {
	s.err = err
	if err != nil {
		s.reading = false
	}
}

// count passes on a statement's rows and counts them.
func (s *statement) count(ctx context.Context, from *sql.Rows) (driver.Rows, error) {
	src, err := rowset.Tee(from, rowset.TeeOptions{
		Limits: rowset.Limits{Rows: s.handlers.MaxRows, Bytes: s.handlers.MaxBytes},
		Drain:  !s.reading,
		Done: func(rec rowset.Recording) {
			if rec.Complete {
				s.affected = int64(rec.Rows)
			}
			if s.reading {
				s.conclude(ctx)
			}
		},
	})
	if err != nil {
		s.reading = false // nobody will close them: the handler's end concludes
	}
	return src, err
}

// conclude turns what is known into changes, and sends them where no
// transaction holds them back.
func (s *statement) conclude(ctx context.Context) {
	s.concluded = true
	defer s.flushCommitted(ctx)
	if s.passive {
		return
	}
	if s.redefines() {
		s.database.Redefined()
	}
	t := trialOf(ctx)
	if s.ignored && t != nil {
		s.try(ctx, t)
	}
	if s.ignored || s.undone() {
		return
	}
	s.complete(ctx)
	if t != nil {
		s.try(ctx, t)
	}
	if s.tx != nil {
		s.record(ctx)
		return
	}
	s.flush(ctx)
}

// undone reports whether the statement has failed in a way that leaves nothing
// behind. Outside of a transaction a failure may be one of the answer only;
// MySQL keeps what a statement did to tables of its older engines, SQLite the
// rows before the one that failed under ON CONFLICT FAIL.
func (s *statement) undone() bool {
	return s.err != nil && s.tx != nil && s.handlers.Dialect == conj.PostgreSQL
}

// complete completes the images.
func (s *statement) complete(ctx context.Context) {
	if s.rows == nil {
		return
	}
	o := rows.Outcome{Affected: s.affected, LastInsertID: s.lastID, Err: s.err}
	if stmt := s.db.Statement; len(s.owner.statements) == 1 {
		o.WrittenKeys = func(table *catalog.Table, columns []int) [][]any {
			return writtenKeys(ctx, stmt, table, columns)
		}
	}
	s.rows.Complete(ctx, o)
	if err := s.rows.Lost(); err != nil {
		_ = s.db.AddError(err)
	}
}

// flush invalidates the changes of a statement outside of a transaction.
func (s *statement) flush(ctx context.Context) {
	h := s.handlers
	j := s.newJournal()
	s.note(ctx, j)
	s.adoptFence(j)
	if j.Empty() {
		return
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.FlushTimeout)
	defer cancel()
	if err := j.Flush(bounded); err != nil {
		_ = s.db.AddError(err)
	}
	h.warnUncovered(ctx)
	if s.where == txn.Foreign {
		h.Commit.FlushAgain(ctx, j)
		h.Report.Warn(ctx, "foreign", "a write on a connection whose transactions are not seen: it is invalidated now and once more in a moment, and what is read between that and its commit may be stale; call db.Use right after gorm.Open, and leave out XA and SET autocommit")
	}
}

// adoptFence makes the flush of a statement's journal drop its fence.
func (s *statement) adoptFence(j *commit.Journal) {
	if s.fence == nil {
		return
	}
	j.Adopt(s.fence)
	if s.interrupted || s.err != nil && !dialect.Refused(s.err, s.handlers.Dialect == conj.SQLite) {
		j.MarkUnsure()
	}
}

// flushCommitted flushes the transaction's journal after a statement that has
// committed it, such as DDL on MySQL.
func (s *statement) flushCommitted(ctx context.Context) {
	if !s.commits {
		return
	}
	if err := s.tx.FlushCommitted(ctx, s.err); err != nil {
		_ = s.db.AddError(err)
	}
}

// record notes the changes in the transaction's journal.
func (s *statement) record(ctx context.Context) {
	if err := s.tx.Record(ctx, func(j txn.Journal) { s.note(ctx, journal(j)) }); err != nil {
		_ = s.db.AddError(err)
	}
}

// journal is a transaction's journal as what it is.
func journal(j txn.Journal) *commit.Journal {
	return j.(*commit.Journal) //nolint:forcetypeassert // all journals are the plugin's
}

func (s *statement) newJournal() *commit.Journal {
	return s.handlers.Commit.NewJournal(s.handlers.Dialect)
}

// note writes the changes into a journal.
func (s *statement) note(ctx context.Context, j *commit.Journal) {
	if s.redefines() {
		j.Redefine(s.database)
	}
	s.noteRows(ctx, j)
	if s.everything == "" {
		s.noteSaved(ctx, j)
	}
}

// noteRows notes the rows that the statement changes, as far as is known yet.
func (s *statement) noteRows(ctx context.Context, j *commit.Journal) {
	if s.everything != "" {
		s.everythingIn(ctx, j, s.everything)
		return
	}
	if s.rows != nil {
		s.rows.Note(sink{s, ctx, j})
	}
}

// everythingIn notes that any row of any table may have changed.
func (s *statement) everythingIn(ctx context.Context, j *commit.Journal, reason string) {
	for _, n := range s.handlers.reached(ctx, s.pool) {
		j.AddEverything(n)
		j.Blame(n, "", s.shape(), reason)
	}
}

// shape is the statement's text without its values, for people.
func (s *statement) shape() string {
	if s.fingerprint == "" {
		s.fingerprint = conj.Fingerprint(s.handlers.Dialect, s.text)
	}
	return s.fingerprint
}

// sink puts what a statement changes into a journal, for the length of a call.
type sink struct {
	*statement
	ctx     context.Context //nolint:containedctx // lives in one call
	journal *commit.Journal
}

// Rows implements rows.Sink.
func (k sink) Rows(table *conj.Table, changes ...conj.Change) {
	if n := k.space(table); n != nil {
		k.journal.AddRows(n, table, changes...)
		k.journal.Blame(n, table.ID, k.shape(), "")
	}
}

// Table implements rows.Sink.
func (k sink) Table(table *conj.Table, reason string) {
	if n := k.space(table); n != nil {
		if k.tx == nil && rows.NeedsTransaction(reason) {
			k.handlers.Report.Hint(k.ctx, "no transaction "+table.ID, "writes outside of a transaction drop all that is cached of the table: leave SkipDefaultTransaction off, or write in db.Transaction, so that single rows can be told", "table", table.ID)
		}
		k.journal.AddTable(n, table.ID)
		k.journal.Blame(n, table.ID, k.shape(), reason)
	}
}

// Everything implements rows.Sink.
func (k sink) Everything(reason string) {
	k.everythingIn(k.ctx, k.journal, reason)
}

// space returns the namespace of a table's results; if it can't be told, nil,
// and all are dropped.
func (k sink) space(table *conj.Table) *namespace.Namespace {
	n, _, err := k.handlers.Namespaces.Of(k.ctx, k.database, k.pool, table.Name)
	if err != nil {
		k.handlers.Report.Failed(k.ctx, "a namespace could not be told", table.Name, err)
		k.Everything("")
		return nil
	}
	return n
}

package callbacks

import (
	"context"
	"slices"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/lookup"
	"github.com/cacheplugin/cacheplugin/internal/rows"
	"github.com/cacheplugin/cacheplugin/txn"
)

// statement is one statement on its way: what it may change, and what is known
// of that.
type statement struct {
	handlers *Handlers
	owner    *writePool
	pool     gorm.ConnPool // for statements of our own
	db       *gorm.DB
	text     string
	database *database.Database
	where    txn.Where
	tx       *txn.Tx
	plan     *conj.Plan // nil if it could not be made

	passive bool            // it writes nothing that is ours to know
	ignored bool            // nothing is to be invalidated: cache.WithoutInvalidation
	reading bool            // the caller reads the rows, and concludes when it closes them
	commits bool            // it ends a transaction, or commits by itself
	calls   string          // a function that may write
	rows    *rows.Statement // nil where everything is dropped, or nothing
	// everything says why all that is cached must be dropped.
	everything string

	err         error
	affected    int64 // -1 if not known
	lastID      int64
	fence       *commit.Fence // set before a statement outside of a transaction
	fingerprint string        // of the text; see shape
	interrupted bool          // by a panic
	concluded   bool
}

// begin looks at a statement before it is sent.
func (w *writePool) begin(ctx context.Context, query string, args []any) *statement {
	h := w.handlers
	s := &statement{
		handlers: h, owner: w, pool: txn.Own(w.ConnPool), db: w.db, text: query, database: h.Databases.At(w.place),
		where: w.place.Where, tx: w.place.Tx, affected: -1, lastID: -1,
		reading: w.row, ignored: cache.IsWithoutInvalidation(ctx),
	}
	w.statements = append(w.statements, s)
	if !s.understand(ctx, query) || s.passive {
		return s
	}
	s.markDirty()
	if s.database.SessionTainted() {
		s.everything = "session settings decide which tables the statement means"
	}
	if !s.ignored && s.everything == "" {
		s.takeImages(ctx, args)
	}
	s.noteEarly(ctx)
	return s
}

// understand finds out what the text does; false if it can't.
func (s *statement) understand(ctx context.Context, query string) bool {
	h := s.handlers
	s.reserveSQLite(ctx, query)
	plan, err := s.database.Plan(ctx, s.pool, query, database.Lasting(s.tx))
	if err != nil {
		h.Report.Failed(ctx, "a write could not be looked up in the catalog", s.db.Statement.Table, err)
		s.markDirty()
		s.everything = "the catalog could not be read"
		return false
	}
	s.plan = plan
	if s.tx != nil {
		s.commits = s.tx.Observe(query)
	}
	// The catalog is read for it, and PostgreSQL takes SET TRANSACTION only as a
	// transaction's first statement.
	if plan.Statement != conj.Set {
		s.calls = s.database.WritingFunction(ctx, s.pool, s.tx, query)
	}
	s.inspect(ctx, query)
	if s.calls != "" && s.everything == "" {
		s.unknownWrite(ctx, query, "a statement calls a function that may write: "+s.calls)
	}
	return true
}

// reserveSQLite takes SQLite's write lock before the catalog is read for a
// transaction's first write; see rows.Reserve. It takes the table from the text
// alone; where there is no such table its error is the statement's own, which
// comes next.
func (s *statement) reserveSQLite(ctx context.Context, query string) {
	if s.tx == nil || s.handlers.Dialect != conj.SQLite || s.tx.Dirty() || s.database.Planned(query) {
		return
	}
	if plan, err := s.database.BarePlan(query); err == nil && len(plan.Writes) > 0 {
		rows.Reserve(ctx, s.pool, plan.Writes[0].Name)
	}
}

// inspect decides by the kind of a statement what there is to do.
func (s *statement) inspect(ctx context.Context, query string) {
	// What CALL has done on MySQL it has committed, or nothing is known of it.
	if s.tx != nil && s.redefines() && (s.plan.Statement == conj.DDL || s.handlers.Dialect != conj.MySQL) {
		s.tx.MarkDDL()
	}
	s.database.NoteSettings(ctx, s.pool, s.plan.Settings, query)
	if s.plan.TwoPhase == conj.TwoPhaseEnd {
		// It makes visible what was invalidated at the first phase.
		s.everything = "a prepared transaction ends"
		return
	}
	switch s.plan.Statement {
	case conj.Insert, conj.Update, conj.Delete, conj.Replace, conj.Merge, conj.Truncate:
	case conj.DDL:
		if len(s.plan.Writes) == 0 {
			s.everything = "a definition that names no table"
		}
	case conj.Call, conj.Unknown:
		s.passive = true
		s.unknownWrite(ctx, query, "a statement is not understood")
	case conj.Select:
		s.inspectSelect()
	default:
		s.passive = true
	}
}

// inspectSelect looks at a SELECT, which may write in a CTE.
func (s *statement) inspectSelect() {
	if len(s.plan.Writes) > 0 {
		return
	}
	s.passive = true
	if s.plan.HasSideEffects || s.plan.Volatile != "" || s.plan.CallsUnknown() {
		s.markDirty()
	}
}

// unknownWrite notes that nobody knows what a statement writes, besides what it
// may be known to.
func (s *statement) unknownWrite(ctx context.Context, query, why string) {
	s.markDirty()
	if s.handlers.IgnoreUnknownWrites {
		s.handlers.Report.Warn(ctx, why, why+"; what it changes stays cached until its timeout", "statement", conj.Mask(s.handlers.Dialect, query))
		return
	}
	s.passive, s.everything = false, why
	s.handlers.Report.Warn(ctx, why, why+"; everything cached is dropped", "statement", conj.Mask(s.handlers.Dialect, query))
}

func (s *statement) markDirty() {
	if s.tx != nil {
		s.tx.MarkDirty()
	}
}

// takeImages takes the old images of the rows that will change.
func (s *statement) takeImages(ctx context.Context, args []any) {
	given := rows.Args{Sent: args}
	var reason string
	if given.Normal, reason = lookup.Normalize(args); reason != "" {
		given = rows.Args{Unknown: true}
	}
	o := rows.Options{Dialect: s.handlers.Dialect, MaxImages: s.handlers.MaxImages, InTransaction: s.where == txn.InTx}
	if s.tx != nil {
		o.IsolationUnknown = s.tx.Opaque()
		if begun := s.tx.Options(); begun != nil {
			o.Isolation = begun.Isolation
		}
	}
	s.rows = rows.Begin(ctx, session{s.handlers.Report, s}, o, s.plan, given)
}

// counted notes how many rows the database says that the statement has changed.
// Only PostgreSQL counts those of a statement whose RETURNING nobody has read; the
// others say 0.
func (s *statement) counted(rows int64) {
	if s.handlers.Dialect == conj.PostgreSQL || !s.returning() {
		s.affected = rows
	}
}

// widen gives up the images.
func (s *statement) widen(reason string) {
	if s.rows != nil {
		s.rows.Widen(reason)
	}
}

// returning reports whether the statement gives rows.
func (s *statement) returning() bool {
	return s.plan != nil && slices.ContainsFunc(s.plan.Writes, func(w conj.Write) bool { return w.HasReturning })
}

// redefines reports whether the statement may change definitions.
func (s *statement) redefines() bool {
	if s.plan == nil {
		return false
	}
	switch s.plan.Statement {
	case conj.DDL, conj.Unknown, conj.Call:
		return true
	}
	if s.calls != "" && !s.handlers.IgnoreUnknownWrites {
		return true
	}
	return slices.ContainsFunc(s.plan.Writes, func(w conj.Write) bool { return w.Statement == conj.DDL }) // SELECT INTO
}

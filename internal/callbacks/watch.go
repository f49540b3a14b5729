package callbacks

import (
	"context"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/txn"
)

// Watch is txn.Options.Watch: it looks at a statement that did not come through
// GORM's handlers, as these look at raw SQL.
func (h *Handlers) Watch(ctx context.Context, st txn.Statement) txn.Watched {
	place := h.Databases.Place(st.Pool)
	d := h.Databases.At(place)
	if h.reads(ctx, d, st) {
		return nil
	}
	db := h.DB.Session(&gorm.Session{NewDB: true, Context: ctx})
	db.Statement.ConnPool = st.Pool
	w := &writePool{ConnPool: st.Pool, place: place, handlers: h, db: db}
	s := w.begin(ctx, st.Query, st.Args)
	if s.passive && !s.commits {
		return nil
	}
	return watched{s}
}

// reads reports whether a statement is a query that neither writes nor changes
// what later ones see. A transaction's later reads must not come from the cache if
// a function that it calls may have written.
func (h *Handlers) reads(ctx context.Context, d *database.Database, st txn.Statement) bool {
	if !conj.IsSelect(h.Dialect, st.Query) || len(conj.SettingsOf(h.Dialect, st.Query)) > 0 {
		return false
	}
	if d.WritingFunction(ctx, st.Pool, st.Tx, st.Query) != "" {
		return false
	}
	if st.Tx == nil || st.Tx.Dirty() {
		return true
	}
	plan, err := d.Plan(ctx, st.Pool, st.Query, database.Lasting(st.Tx))
	if err != nil || plan.HasSideEffects || plan.Volatile != "" || plan.CallsUnknown() || plan.Statement != conj.Select {
		st.Tx.MarkDirty()
	}
	return true
}

// watched is a statement that the connection tells of.
type watched struct{ *statement }

// Announce implements txn.Watched.
func (w watched) Announce(ctx context.Context) error { return w.announce(ctx) }

// Done implements txn.Watched.
func (w watched) Done(ctx context.Context, o txn.Outcome) error {
	w.sent(o.Err)
	switch {
	case o.Returned >= 0:
		w.affected = o.Returned
	case o.Affected >= 0:
		w.counted(o.Affected)
	}
	w.lastID = o.LastInsertID
	if !w.concluded {
		w.conclude(ctx)
	}
	if o.Begun != nil && !w.ignored {
		o.Begun.MarkDirty()
		if err := o.Begun.Record(ctx, func(j txn.Journal) { w.note(ctx, journal(j)) }); err != nil {
			_ = w.db.AddError(err)
		}
	}
	return w.db.Error
}

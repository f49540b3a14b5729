package lookup

import (
	"context"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// bypassed tells who asks that a query was not looked up, and why.
func (q *Query) bypassed(table string, op cache.Op, reason string) {
	q.info.Answered(cache.Answer{Outcome: cache.Bypassed, Reason: reason, Table: table, Op: op})
}

// informUninvited tells who asks why nobody has asked for a query to be cached. It is
// found out for them alone.
func (h *Handle) informUninvited(ctx context.Context, q *Query) {
	if q.info == nil {
		return
	}
	d, reason, err := h.decide(ctx, q)
	switch {
	case err != nil:
		reason = err.Error()
	case reason == "":
		reason = d.admit().reason
	}
	table := d.table
	if table == "" {
		table = q.table
	}
	q.bypassed(table, d.op, reason)
}

// inform tells who asks what became of a read.
func (r *Read) inform(outcome cache.Outcome, reason string) {
	if r.info == nil {
		return
	}
	a := r.answer(outcome)
	a.Reason = reason
	r.unstored = r.info.Answered(a)
}

// informHit tells of a hit, and asks Redis how old it is.
func (r *Read) informHit(ctx context.Context, payload []byte, version string, near bool) {
	if r.info == nil {
		return
	}
	a := r.answer(cache.Hit)
	a.Near, a.Bytes = near, len(payload)
	if r.query != "" { // a computation's value has no rows
		a.Rows = rowset.Count(payload)
	}
	if version != "" { // of what another one of this process has just read there is none
		remaining, err := r.space.Store.Remaining(ctx, r.key)
		if err == nil && remaining > 0 {
			a.Remaining, a.Age = remaining, max(r.timeout-remaining, 0)
		}
	}
	r.info.Answered(a)
}

// informUnstored tells why the result of a miss is not stored.
func (r *Read) informUnstored(reason string) {
	if r.unstored != nil {
		r.unstored(reason)
	}
}

func (r *Read) answer(outcome cache.Outcome) cache.Answer {
	return cache.Answer{Outcome: outcome, Op: r.op, Table: r.table, Tables: r.tables, Key: r.key.String()}
}

// keptFrom says why a result that was missed won't be stored; empty if it may be.
func (r *Read) keptFrom(state store.State) string {
	switch {
	case r.peek:
		return "what a transaction reads is not stored"
	case state != store.Leased:
		return "another one has begun to read it"
	}
	return ""
}

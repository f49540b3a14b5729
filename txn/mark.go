package txn

import "context"

// markKey marks the context of a statement for the connection that it reaches.
type markKey struct{}

// mark is what the context says: that somebody knows of the statement, or that it
// is a probe, which the connection answers.
type mark struct {
	probes  bool
	assumes Where // what somebody who knows of the statement takes for granted
	reads   bool  // it is a query of which is asked whether it strayed
	strayed bool  // it came to a connection that is in a transaction
	found   *Conn // by a probe
	where   Where
	tx      *Tx
}

// The marks of statements that somebody knows of.
var (
	known           = &mark{}
	knownAutocommit = &mark{assumes: Autocommit}
)

// answer answers a probe, and reports whether it was one.
func (m *mark) answer(c *Conn) bool {
	if m == nil || !m.probes {
		return false
	}
	m.found = c
	m.where, m.tx = c.where()
	return true
}

// Known returns a context for statements that Options.Watch is not shown: those
// that GORM's handlers have seen, and the plugin's own. One that is known at a place
// of Autocommit, and comes to a connection that is in a transaction, is shown all the
// same, and so is one on a connection that may still be in one: what it changes may not
// be committed yet when it is done.
//
// A query of Reading stays one.
func Known(ctx context.Context, at Where) context.Context {
	if m := markOf(ctx); m != nil && m.reads {
		return ctx
	}
	if at == Autocommit {
		return context.WithValue(ctx, markKey{}, knownAutocommit)
	}
	return context.WithValue(ctx, markKey{}, known)
}

// Reading returns a context for a query that is known, and whose result shall be what
// is committed; and a function that reports, once it was sent, that it strayed: it
// came to a connection that is in a transaction, begun by text, which may have written.
func Reading(ctx context.Context) (reading context.Context, strayed func() bool) {
	m := &mark{reads: true}
	return context.WithValue(ctx, markKey{}, m), func() bool { return m.strayed }
}

// arrive notes where a query was sent.
func (m *mark) arrive(c *Conn) {
	if m != nil && m.reads {
		m.strayed = c.tx != nil || c.unsure
	}
}

// knows reports whether somebody knows of a statement on a connection.
func (m *mark) knows(c *Conn) bool {
	return m != nil && c.left == nil && (m.assumes != Autocommit || c.tx == nil && !c.unsure)
}

// markOf returns the mark of a context; nil if it has none.
func markOf(ctx context.Context) *mark {
	m, _ := ctx.Value(markKey{}).(*mark)
	return m
}

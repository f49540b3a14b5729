package store

import (
	"context"
	"sync/atomic"
	"time"
)

// deadlines makes the contexts of calls on the caller's goroutine. A context of
// package context with a deadline takes five allocations and a timer of its own,
// on every hit; go-redis looks at it only where it has to wait: for a connection
// from its pool, for a new one, before it tries again. Those who begin at about
// the same time therefore share a timer.
type deadlines struct {
	after  time.Duration
	shared atomic.Pointer[alarm]
}

// alarm closes over at a time, or a little later.
type alarm struct {
	at   time.Time
	over chan struct{}
}

// rung is over already.
var rung = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// slack is the part of the timeout by which an alarm may be late.
const slack = 8

// begin returns a context that ends with the caller's if that comes first by its
// deadline, else after the timeout.
//
// Where the caller's may be cancelled, which a server that hangs keeps it from
// noticing anyway, it goes on to the end of the timeout.
func (d *deadlines) begin(caller context.Context) context.Context {
	at := time.Now().Add(d.after)
	if own, ok := caller.Deadline(); ok && own.Before(at) {
		return caller
	}
	a := d.shared.Load()
	if a == nil || a.at.Before(at) {
		a = &alarm{at: at.Add(d.after / slack), over: make(chan struct{})}
		time.AfterFunc(time.Until(a.at), func() { close(a.over) })
		d.shared.Store(a)
	}
	return &deadline{Context: caller, at: at, over: a.over}
}

// deadline is a context with the values of the caller's.
type deadline struct {
	context.Context
	at   time.Time
	over chan struct{}
}

// Deadline implements context.Context.
func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

// Done implements context.Context. Its channel may be closed late, but whoever
// asks for it after the deadline, as go-redis does before it tries again, gets
// one that is closed.
func (d *deadline) Done() <-chan struct{} {
	if !time.Now().Before(d.at) {
		return rung
	}
	return d.over
}

// Err implements context.Context.
func (d *deadline) Err() error {
	if err := d.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(d.at) {
		return context.DeadlineExceeded
	}
	return nil
}

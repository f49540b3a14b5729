package decorators

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/decorators/internal/exact"
)

// exchange is one request.
type exchange struct {
	views *Views
	w     http.ResponseWriter
	r     *http.Request
	next  func(http.ResponseWriter, *http.Request) error

	rewritten []byte // what middlewares have made of the URI; empty: nothing
	extra     []byte // of ExtraOf
	sent      bool   // the response has gone out; there is nothing to cache
	failed    error  // of next
}

// serve looks the URI up, and the request's variant if the URI has several. The
// index carries the response that it was made from, so that a URI without
// variants takes one round trip.
func (x *exchange) serve() {
	v, ctx := x.views, x.r.Context()
	var err error
	if x.extra, err = x.extraOf(ctx); err != nil {
		x.fail(err)
		return
	}
	uri, rewritten := v.key(x.r)
	x.rewritten = rewritten
	c := v.index(uri)
	if v.samplesOf != nil {
		c.Samples = append(append([]any(nil), c.Samples...), v.samplesOf(x.r)...)
	}
	e, hit, err := fetch(ctx, v.backend, c, v.decodeIndex, func(ctx context.Context) (entry, []byte, error) {
		p, err := x.run(ctx)
		if err != nil {
			return entry{}, nil, err
		}
		return encoded(x.newEntry(p, p.vary()))
	})
	if x.done(err) {
		return
	}
	variant := x.variant(e)
	if e.Page != nil && variant == e.Variant {
		x.answer(e.Page, hit)
		return
	}
	x.serveVariant(c, e, variant)
}

func (x *exchange) serveVariant(index cacheplugin.Computation, e entry, variant string) {
	v, ctx := x.views, x.r.Context()
	c := index
	c.Key = appendField(appendField(append([]byte(nil), index.Key...), e.Stamp), variant)
	var wider []string
	found, hit, err := fetch(ctx, v.backend, c, v.decodeVariant, func(ctx context.Context) (entry, []byte, error) {
		p, err := x.run(ctx)
		if err != nil {
			return entry{}, nil, err
		}
		if names := headerNames(append(slices.Clone(e.Vary), p.vary()...)); len(names) > len(e.Vary) {
			wider = names
			return entry{Page: p}, nil, &cacheplugin.NotStoredError{Reason: "it varies by more headers"}
		}
		return encoded(entry{Page: p})
	})
	if wider != nil {
		// The response varies by what the index doesn't name: begin anew with
		// all names. What was kept under the old stamp can't be reached then.
		next := x.newEntry(nil, wider)
		if _, payload, err := encoded(next); err == nil {
			if err := v.backend.set(ctx, index, payload); err != nil {
				v.report(x.r, err)
			}
		}
	}
	if x.done(err) {
		return
	}
	if found.Page == nil { // an index where a page should be: not of our making
		x.fail(errForeign)
		return
	}
	x.answer(found.Page, hit)
}

// extraOf encodes what ExtraOf returns.
func (x *exchange) extraOf(ctx context.Context) ([]byte, error) {
	if x.views.extraOf == nil {
		return nil, nil
	}
	key, err := exact.AppendKey(nil, x.views.extraOf(ctx, x.r))
	if err != nil {
		return nil, fmt.Errorf("decorators: %s: no key can be made of what ExtraOf returns: %w", x.views.what, err)
	}
	return key, nil
}

// done reports whether the response has gone out, and sends it if the cache could
// not even be asked.
func (x *exchange) done(err error) bool {
	if x.sent {
		return true
	}
	if err != nil {
		x.fail(err)
		return true
	}
	return false
}

// fail reports why the cache could not be asked, and lets the handler answer.
func (x *exchange) fail(err error) {
	if !errors.Is(err, context.Canceled) {
		x.views.report(x.r, err)
	}
	x.views.status(x.w, "skip")
	x.failed = x.next(x.w, x.r)
}

// run lets the handler answer. A page is returned if it may be stored, and is
// then still to be sent.
func (x *exchange) run(ctx context.Context) (*page, error) {
	r := x.r // and no copy with ctx, which is its own: routers write into it
	if r.Method == http.MethodHead {
		// A handler need not write a body for HEAD, so there is nothing to store.
		x.sent = true
		x.views.status(x.w, "skip")
		x.failed = x.next(x.w, r)
		return nil, &cacheplugin.NotStoredError{Reason: "the response to HEAD"}
	}
	rec := newRecorder(x.w, x.views.options.view.maxBody, x.views.now)
	rec.passed = func() { x.sent = true; x.views.status(x.w, "skip") }
	x.failed = x.next(rec, r)
	switch {
	case x.failed != nil:
		rec.pass("the handler failed")
	case ctx.Err() != nil:
		rec.pass("the request was cancelled")
	}
	p := rec.finish()
	if p == nil {
		return nil, &cacheplugin.NotStoredError{Reason: rec.reason}
	}
	return p, nil
}

// answer sends a page.
func (x *exchange) answer(p *page, hit bool) {
	status := "miss"
	if hit {
		status = "hit"
	}
	x.views.status(x.w, status)
	p.write(x.w, x.r, hit, x.views.now())
}

// newEntry makes the index of a URI from its first response.
func (x *exchange) newEntry(p *page, vary []string) entry {
	e := entry{
		Page: p, Vary: headerNames(append(slices.Clone(vary), x.views.options.view.headers...)),
		HasExtra: x.extra != nil, Stamp: rand.Text(),
	}
	e.Variant = x.variant(e)
	return e
}

// variant encodes what tells the request from others of its URI: what middlewares
// have made of the URI, the headers that the responses vary by, and ExtraOf.
func (x *exchange) variant(e entry) string {
	b := appendField(nil, x.rewritten)
	for _, name := range e.Vary {
		values := x.r.Header.Values(name)
		if name == "Host" {
			values = []string{x.r.Host}
		}
		b = appendField(b, strconv.Itoa(len(values)))
		for _, v := range values {
			b = appendField(b, textproto.TrimString(v))
		}
	}
	if e.HasExtra {
		b = appendField(b, x.extra)
	}
	return string(b)
}

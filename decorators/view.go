package decorators

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/decorators/internal/exact"
)

// defaultMaxBody is the default of MaxBody.
const defaultMaxBody = 1 << 20

// Headers names request headers, in addition to those that responses name in
// Vary, that responses are kept apart by. Handlers only.
func Headers(names ...string) Option {
	return option("Headers", func(o *options) { o.view.headers = append(o.view.headers, names...) })
}

// KeyBy makes the key of a request in place of its absolute URI, and of what
// middlewares have made of that. What it returns is what Views.Invalidate takes
// then. Handlers only.
func KeyBy(key func(*http.Request) string) Option {
	return option("KeyBy", func(o *options) { o.view.keyBy = key })
}

// MaxBody sets how many bytes the body of a cached response may have; a larger
// one is streamed. The configuration's MaxBytes bounds it, too. Defaults to 1
// MiB. Handlers only.
func MaxBody(bytes int) Option {
	return option("MaxBody", func(o *options) { o.view.maxBody = bytes })
}

// WithAuthorization caches the responses to requests with an Authorization
// header, too. They are not kept apart by it: if they differ, add
// Headers("Authorization"). Handlers only.
func WithAuthorization() Option {
	return option("WithAuthorization", func(o *options) { o.view.authorization = true })
}

// StatusHeader adds a header of the given name, such as X-Cache, to responses:
// hit, miss, or skip for what is not cached. Handlers only.
func StatusHeader(name string) Option {
	return option("StatusHeader", func(o *options) { o.view.statusHeader = name })
}

// OnError is told why a request could not be looked up: samples that can't be
// followed, Redis' errors under OnReadError: Return. The handler answers the
// request then. Defaults to a line in the configuration's Logger. Handlers only.
func OnError(report func(*http.Request, error)) Option {
	return option("OnError", func(o *options) { o.view.onError = report })
}

// Views caches the responses of handlers: its Wrap is a middleware.
//
// Cached are responses to GET, which answer HEAD, too, with status 200, 203 or
// 204, where RFC 9111 lets a shared cache keep them: not those that set a cookie,
// say no-store, no-cache or private in Cache-Control or no-cache in Pragma, are
// stale from the start (s-maxage=0, else max-age=0, else an Expires that is past
// or no date), or vary by everything. Nor are those with trailers, or larger than
// MaxBody. Requests with Range, Authorization, If-Match, If-Unmodified-Since,
// Upgrade or a body go to the handler. How long a response is kept is Timeout,
// or s-maxage where that is shorter.
//
// The key is the absolute URI: scheme, host, path and raw query, whoever the
// client is. Where a middleware has given the request another path or query, its
// responses are kept apart by those, too. A response with a Content-Encoding
// varies by Accept-Encoding even if it doesn't say so. A handler whose response depends on a header must name it in Vary,
// or by Headers; one that depends on who is logged in must say Vary: Cookie or
// Cache-Control: private, as for every other cache.
//
// A response that may be cached is held back until the handler returns, and
// carries an ETag, by which 304 is answered. A handler that flushes, hijacks or
// writes more than MaxBody streams from then on. Hits carry Age. Only the
// headers that the handler sets are stored, not those that were there before.
type Views struct {
	what      string
	name      string
	options   options
	backend   backend
	extra     []byte
	samplesOf func(*http.Request) []any
	extraOf   func(context.Context, *http.Request) any
	report    func(*http.Request, error)
	now       func() time.Time
}

// View caches responses for a time. name tells the handlers that it wraps from
// those of others: two that answer one URI differently must not share it. A name
// that is taken is ErrNameTaken.
func View(db *gorm.DB, name string, opts ...Option) (*Views, error) {
	return newViews("View", false, db, name, opts)
}

// ViewAs caches responses until what its samples stand for is written, or for a
// time, whichever is shorter. The samples must cover all that the handlers read.
// Without samples it returns ErrNoSamples.
func ViewAs(db *gorm.DB, name string, opts ...Option) (*Views, error) {
	return newViews("ViewAs", true, db, name, opts)
}

func newViews(kind string, sampled bool, db *gorm.DB, name string, opts []Option) (*Views, error) {
	what := fmt.Sprintf("%s %q", kind, name)
	o, err := collect(what, opts, "Timeout", "Version", "Lock", "Extra", "ExtraOf", "Samples", "SamplesOf", "On",
		"Headers", "KeyBy", "MaxBody", "WithAuthorization", "StatusHeader", "OnError")
	if err != nil {
		return nil, err
	}
	switch {
	case name == "":
		return nil, fmt.Errorf("%w: %s: the name is empty", ErrOption, what)
	case o.view.maxBody < 0:
		return nil, fmt.Errorf("%w: %s: MaxBody is %d: use a positive number", ErrOption, what, o.view.maxBody)
	case o.view.maxBody == 0:
		o.view.maxBody = defaultMaxBody
	}
	if err := o.checkSampled(what, sampled); err != nil {
		return nil, err
	}
	if err := o.checkHandle(what, db, sampled); err != nil {
		return nil, err
	}
	v := &Views{what: what, name: "view/" + name, options: o, backend: o.backend(db), report: o.view.onError, now: time.Now}
	if v.extra, err = extraKey(what, o.extra); err != nil {
		return nil, err
	}
	if v.samplesOf, v.extraOf, err = typed[*http.Request](what, &o); err != nil {
		return nil, err
	}
	v.options.view.headers = headerNames(o.view.headers)
	if v.report == nil {
		logger := slog.Default()
		if isHandle(db) {
			if config, err := cacheplugin.ConfigOf(db); err == nil && config.Logger != nil {
				logger = config.Logger
			}
		}
		v.report = func(r *http.Request, err error) {
			logger.ErrorContext(r.Context(), "cacheplugin: a response is not cached", "view", name, "url", r.URL.Redacted(), "error", err)
		}
	}
	if err := o.claim(what, db, v.name); err != nil {
		return nil, err
	}
	return v, nil
}

// Wrap returns a handler that answers from the cache what it may, and asks next
// for the rest. It panics if next is nil, as http.Handle does.
func (v *Views) Wrap(next http.Handler) http.Handler {
	if isNil(next) {
		panic("decorators: " + v.what + ": Wrap: the handler is nil")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if bypass(r, v.options.view.authorization) {
			v.status(w, "skip")
			next.ServeHTTP(w, r)
			return
		}
		(&exchange{views: v, w: w, r: r, next: next}).serve()
	})
}

// Invalidate drops the responses, of all variants, to requests of an absolute
// URI, such as "https://example.com/news?page=2", or, with KeyBy, of what that
// returns. Those that are being computed meanwhile are not stored.
func (v *Views) Invalidate(ctx context.Context, uri string) error {
	if v.options.view.keyBy != nil {
		return v.backend.discard(ctx, v.index(appendField(nil, uri)))
	}
	key, err := parseURI(uri)
	if err != nil {
		return fmt.Errorf("decorators: %s: invalidate: %w", v.what, err)
	}
	return v.backend.discard(ctx, v.index(key))
}

// InvalidateRequest drops the responses, of all variants, to requests of r's
// URI.
func (v *Views) InvalidateRequest(r *http.Request) error {
	key, _ := v.key(r)
	return v.backend.discard(r.Context(), v.index(key))
}

// key is what a request's responses are kept by: its URI, and under that what
// middlewares have made of the URI.
func (v *Views) key(r *http.Request) (uri, rewritten []byte) {
	if v.options.view.keyBy != nil {
		return appendField(nil, v.options.view.keyBy(r)), nil
	}
	return requestURI(r)
}

// index describes what is kept by URI: a response, or what the URI's responses
// vary by.
func (v *Views) index(uri []byte) cacheplugin.Computation {
	return cacheplugin.Computation{
		Name:    v.name,
		Key:     appendField(appendField(appendField(nil, v.options.version), v.extra), uri),
		Samples: v.options.samples, Timeout: v.options.timeout, Lock: v.options.lock,
	}
}

func (v *Views) status(w http.ResponseWriter, status string) {
	if v.options.view.statusHeader != "" {
		w.Header().Set(v.options.view.statusHeader, status)
	}
}

// exchange is one request.
type exchange struct {
	views *Views
	w     http.ResponseWriter
	r     *http.Request
	next  http.Handler

	rewritten []byte // what middlewares have made of the URI; empty: nothing
	extra     []byte // of ExtraOf
	sent      bool   // the response has gone out; there is nothing to cache
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
	x.next.ServeHTTP(x.w, x.r)
}

// run lets the handler answer. A page is returned if it may be stored, and is
// then still to be sent.
func (x *exchange) run(ctx context.Context) (*page, error) {
	r := x.r // and no copy with ctx, which is its own: routers write into it
	if r.Method == http.MethodHead {
		// A handler need not write a body for HEAD, so there is nothing to store.
		x.sent = true
		x.views.status(x.w, "skip")
		x.next.ServeHTTP(x.w, r)
		return nil, &cacheplugin.NotStoredError{Reason: "the response to HEAD"}
	}
	rec := newRecorder(x.w, x.views.options.view.maxBody, x.views.now)
	rec.passed = func() { x.sent = true; x.views.status(x.w, "skip") }
	x.next.ServeHTTP(rec, r)
	if ctx.Err() != nil {
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

// decodeIndex refuses what was stored when the responses were not yet kept apart
// by all that they are now.
func (v *Views) decodeIndex(payload []byte) (entry, error) {
	e, err := v.decodeVariant(payload)
	if err != nil {
		return e, err
	}
	for _, name := range v.options.view.headers {
		if !slices.Contains(e.Vary, name) {
			return entry{}, errForeign
		}
	}
	if e.HasExtra != (v.extraOf != nil) {
		return entry{}, errForeign
	}
	return e, nil
}

// decodeVariant refuses a response that its handler has bounded by s-maxage.
func (v *Views) decodeVariant(payload []byte) (entry, error) {
	e, err := decodeEntry(payload)
	if err == nil && e.Page.stale(v.now()) {
		return entry{}, errStale
	}
	return e, err
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

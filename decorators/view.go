package decorators

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
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
	answer := func(w http.ResponseWriter, r *http.Request) error {
		next.ServeHTTP(w, r)
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = v.Serve(w, r, answer) })
}

// Serve answers one request as the handlers of Wrap do, for middlewares of routers
// whose handlers can fail: it returns the error of next. What next wrote before it
// failed is sent, and nothing is stored. If it wrote nothing, nothing is sent, so
// that who called Serve can answer. A next that was not called, for a response out
// of the cache, has no error.
func (v *Views) Serve(w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter, *http.Request) error) error {
	if bypass(r, v.options.view.authorization) {
		v.status(w, "skip")
		return next(w, r)
	}
	x := exchange{views: v, w: w, r: r, next: next}
	x.serve()
	return x.failed
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

// Package fiberviews is the middleware of cached views, of package decorators, for
// Fiber v3:
//
//	news, err := decorators.ViewAs(db, "news", decorators.Samples(&Article{}))
//	app.Get("/news", fiberviews.Cached(news), handler)
//
// What is cached, by which key, and what drops it is as [decorators.Views] says.
// Options that are given the request get a copy of Fiber's as a net/http request,
// whose context is c.Context().
package fiberviews

import (
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/gofiber/fiber/v3"

	"github.com/cacheplugin/cacheplugin/decorators"
)

// errStreams says that the response has no body yet.
var errStreams = errors.New("fiberviews: the response is streamed")

// Cached returns a middleware that answers out of the cache what it may, and
// stores what the handlers after it answer. They don't run on a hit. Nothing is
// stored if they return an error, which the middleware returns, or stream: a body
// that is set by SendStream, SendStreamWriter or SendFile goes to the client as it
// comes.
//
// What handlers leave in the context for middlewares before it (c.Locals) is not
// there on a hit. It panics if views is nil.
func Cached(views *decorators.Views) fiber.Handler {
	if views == nil {
		panic("fiberviews: Cached: the views are nil")
	}
	return func(c fiber.Ctx) error {
		r, err := request(c)
		if err != nil {
			return c.Next() // it has no URI that could be a key
		}
		out := newResponse(c)
		err = views.Serve(out, r, func(w http.ResponseWriter, _ *http.Request) error {
			if err := c.Next(); err != nil {
				return err
			}
			native := c.Response()
			if native.IsBodyStream() || c.RequestCtx().Hijacked() {
				return errStreams
			}
			out.load()
			w.WriteHeader(native.StatusCode())
			if body := native.Body(); len(body) > 0 {
				_, _ = w.Write(body)
			}
			return nil
		})
		out.apply()
		if errors.Is(err, errStreams) {
			return nil
		}
		return err
	}
}

// response is Fiber's response to those who write one of net/http.
type response struct {
	c      fiber.Ctx
	header http.Header
	known  http.Header // as Fiber's response has them
	status int         // 0: not written
	body   []byte
}

func newResponse(c fiber.Ctx) *response {
	w := &response{c: c}
	w.load()
	return w
}

// load takes over the headers of Fiber's response, and leaves those that have been
// set here.
func (w *response) load() {
	set := w.header
	was := w.known
	w.header = headers(w.c)
	w.known = w.header.Clone()
	for name, values := range set {
		if !slices.Equal(values, was[name]) {
			w.header[name] = values
		}
	}
}

// headers copies the headers of Fiber's response. A length is not told before the
// body is sent.
func headers(c fiber.Ctx) http.Header {
	h := http.Header{}
	for name, value := range c.Response().Header.All() {
		h.Add(string(name), string(value))
	}
	h.Del(fiber.HeaderContentLength)
	return h
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.body = append(w.body, b...)
	return len(b), nil
}

// apply gives Fiber's response what was written: headers that differ, and the
// status and body, if there are any.
func (w *response) apply() {
	native := w.c.Response()
	for name := range w.known {
		if _, ok := w.header[name]; !ok {
			native.Header.Del(name)
		}
	}
	for name, values := range w.header {
		if name == fiber.HeaderContentLength || slices.Equal(values, w.known[name]) {
			continue
		}
		native.Header.Del(name)
		for _, value := range values {
			native.Header.Add(name, value)
		}
	}
	if w.status == 0 {
		return
	}
	native.SetStatusCode(w.status)
	native.SetBodyRaw(w.body)
	if length, err := strconv.Atoi(w.header.Get(fiber.HeaderContentLength)); err == nil {
		native.Header.SetContentLength(length) // that of HEAD, which has no body
	}
}

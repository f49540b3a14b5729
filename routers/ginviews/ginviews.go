// Package ginviews is the middleware of cached views, of package decorators, for
// Gin:
//
//	news, err := decorators.ViewAs(db, "news", decorators.Samples(&Article{}))
//	router.GET("/news", ginviews.Cached(news), handler)
//
// What is cached, by which key, and what drops it is as [decorators.Views] says.
package ginviews

import (
	"bufio"
	"errors"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/cacheplugin/cacheplugin/decorators"
)

// errOpen says that the handlers have failed, or left the response to others.
var errOpen = errors.New("ginviews: the response is not the handlers' own")

// Cached returns a middleware that answers out of the cache what it may, and
// stores what the handlers after it answer. They don't run on a hit, and the
// context is aborted then. Nothing is stored if they add to c.Errors, or write
// nothing: middlewares before it may answer then.
//
// What handlers leave in the context for middlewares before it (c.Set) is not there
// on a hit. It panics if views is nil.
func Cached(views *decorators.Views) gin.HandlerFunc {
	if views == nil {
		panic("ginviews: Cached: the views are nil")
	}
	return func(c *gin.Context) {
		outer := c.Writer
		if outer.Written() {
			return // by a middleware before it
		}
		var inner *writer // nil: a hit
		_ = views.Serve(outer, c.Request, func(w http.ResponseWriter, _ *http.Request) error {
			inner = &writer{ResponseWriter: w, outer: outer, status: outer.Status(), size: unwritten}
			c.Writer = inner
			defer func() { c.Writer = outer }() // that of who recovers from a panic
			known := len(c.Errors)
			c.Next()
			if len(c.Errors) > known || !inner.Written() {
				return errOpen
			}
			return nil
		})
		switch {
		case inner == nil:
			c.Abort()
			outer.WriteHeaderNow()
		case inner.Written():
			outer.WriteHeaderNow() // of a response without a body
		case !outer.Written():
			outer.WriteHeader(inner.status) // which Gin sends at the end, or others change
		}
	}
}

// unwritten is the size of a response of which nothing has been written.
const unwritten = -1

// writer gives handlers, on top of the cache's own, what Gin's writers can do: the
// status is not written before the body.
type writer struct {
	http.ResponseWriter
	outer  gin.ResponseWriter
	status int
	size   int
}

var _ gin.ResponseWriter = (*writer)(nil)

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) Status() int   { return w.status }
func (w *writer) Size() int     { return w.size }
func (w *writer) Written() bool { return w.size != unwritten }

func (w *writer) WriteHeader(status int) {
	if status > 0 && !w.Written() {
		w.status = status
	}
}

func (w *writer) WriteHeaderNow() {
	if !w.Written() {
		w.size = 0
		w.ResponseWriter.WriteHeader(w.status)
	}
}

func (w *writer) Write(b []byte) (int, error) {
	w.WriteHeaderNow()
	n, err := w.ResponseWriter.Write(b)
	w.size += n
	return n, err
}

func (w *writer) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

func (w *writer) Flush() {
	w.WriteHeaderNow()
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.size > 0 {
		return nil, nil, errors.New("ginviews: the body has been written already")
	}
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.size = 0
	}
	return conn, rw, err
}

func (w *writer) CloseNotify() <-chan bool { return w.outer.CloseNotify() }
func (w *writer) Pusher() http.Pusher      { return w.outer.Pusher() }

// Package echoviews is the middleware of cached views, of package decorators, for
// Echo v5; its package echo4 is for Echo v4:
//
//	news, err := decorators.ViewAs(db, "news", decorators.Samples(&Article{}))
//	e.GET("/news", handler, echoviews.Cached(news))
//
// What is cached, by which key, and what drops it is as [decorators.Views] says.
package echoviews

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/cacheplugin/cacheplugin/decorators"
)

// errOpen says that the handler has left the response to others.
var errOpen = errors.New("echoviews: the response is left to others")

// Cached returns a middleware that answers out of the cache what it may, and
// stores what the handler after it answers. That doesn't run on a hit. Nothing is
// stored if it returns an error, which the middleware returns, or writes nothing:
// middlewares before it may answer then.
//
// echo.WrapMiddleware(views.Wrap) is no replacement: it would store an empty
// response for a handler that returns an error.
//
// What the handler leaves in the context for middlewares before it (c.Set) is not
// there on a hit. It panics if views is nil.
func Cached(views *decorators.Views) echo.MiddlewareFunc {
	if views == nil {
		panic("echoviews: Cached: the views are nil")
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			outer := c.Response()
			err := views.Serve(outer, c.Request(), func(w http.ResponseWriter, _ *http.Request) error {
				inner := echo.NewResponse(w, c.Logger())
				c.SetResponse(inner)
				defer c.SetResponse(outer) // that of who handles the error, or recovers from a panic
				if err := next(c); err != nil {
					return err
				}
				if !inner.Committed {
					return errOpen
				}
				return nil
			})
			if errors.Is(err, errOpen) {
				return nil
			}
			return err
		}
	}
}

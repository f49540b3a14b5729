package echo4_test

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testviews"
	"github.com/cacheplugin/cacheplugin/routers/echoviews/echo4"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestPagesAreCached(t *testing.T) { testviews.Run(t, serve) }

func serve(t *testing.T, site *testviews.Site) string {
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	e.Use(outer(site), middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true}))
	var chain []echo.MiddlewareFunc
	if site.Views != nil {
		chain = append(chain, echo4.Cached(site.Views))
	}
	page := func(path string, handler echo.HandlerFunc) {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			e.Add(method, path, func(c echo.Context) error { site.Ran(); return handler(c) }, chain...)
		}
	}
	text := func(c echo.Context) error { return c.String(http.StatusOK, "hello") }
	page("/text", func(c echo.Context) error { c.Response().Header().Set("Inner", "yes"); return text(c) })
	e.POST("/text", text, chain...)
	page("/json", func(c echo.Context) error { return c.JSON(http.StatusOK, map[string]int{"a": 1}) })
	page("/created", func(c echo.Context) error { return c.JSON(http.StatusCreated, map[string]int{"a": 1}) })
	page("/empty", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	page("/missing", func(echo.Context) error { return echo.NewHTTPError(http.StatusNotFound, "no such page") })
	page("/error", func(echo.Context) error { return errors.New("failed") })
	page("/late", func(c echo.Context) error { return errors.Join(text(c), errors.New("failed")) })
	page("/panic", func(echo.Context) error { panic("a panic") })
	page("/stream", func(c echo.Context) error {
		_, _ = c.Response().Write([]byte("one"))
		_ = http.NewResponseController(c.Response()).Flush()
		site.Hold()
		_, err := c.Response().Write([]byte("two"))
		return err
	})
	page("/vary", func(c echo.Context) error {
		c.Response().Header().Set("Vary", "Accept-Language")
		return c.String(http.StatusOK, c.Request().Header.Get("Accept-Language"))
	})
	page("/cookie", func(c echo.Context) error { c.SetCookie(&http.Cookie{Name: "a", Value: "b"}); return text(c) })
	page("/moved", func(c echo.Context) error { return c.Redirect(http.StatusFound, "/text") })
	page("/nothing", func(echo.Context) error { return nil })
	page("/articles", func(c echo.Context) error {
		titles, err := site.Titles(c.Request().Context())
		if err != nil {
			return err
		}
		return c.String(http.StatusOK, titles)
	})
	return testviews.Handler(t, e)
}

// outer is a middleware outside of the cache. It handles errors, as those that log
// do.
func outer(site *testviews.Site) echo.MiddlewareFunc {
	var requests atomic.Int64
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Response().Header().Set(testviews.Outer, strconv.FormatInt(requests.Add(1), 10))
			if err := next(c); err != nil {
				c.Error(err)
			}
			site.Saw(c.Response().Status)
			return nil
		}
	}
}

func TestCachedNeedsViews(t *testing.T) {
	require.PanicsWithValue(t, "echo4: Cached: the views are nil", func() { echo4.Cached(nil) })
}

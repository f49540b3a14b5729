package fiberviews_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/recover"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testviews"
	"github.com/cacheplugin/cacheplugin/routers/fiberviews"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestPagesAreCached(t *testing.T) { testviews.Run(t, serve) }

func serve(t *testing.T, site *testviews.Site) string {
	app := fiber.New()
	app.Use(outer(site), recover.New())
	page := func(path string, handler fiber.Handler) {
		run := func(c fiber.Ctx) error { site.Ran(); return handler(c) }
		if site.Views != nil {
			app.Get(path, fiberviews.Cached(site.Views), run)
			return
		}
		app.Get(path, run)
	}
	text := func(c fiber.Ctx) error { return c.SendString("hello") }
	page("/text", func(c fiber.Ctx) error { c.Set("Inner", "yes"); return text(c) })
	if site.Views != nil {
		app.Post("/text", fiberviews.Cached(site.Views), text)
	} else {
		app.Post("/text", text)
	}
	page("/json", func(c fiber.Ctx) error { return c.JSON(fiber.Map{"a": 1}) })
	page("/created", func(c fiber.Ctx) error { return c.Status(http.StatusCreated).JSON(fiber.Map{"a": 1}) })
	page("/empty", func(c fiber.Ctx) error { c.Status(http.StatusNoContent); return nil })
	page("/missing", func(fiber.Ctx) error { return fiber.NewError(http.StatusNotFound, "no such page") })
	page("/error", func(fiber.Ctx) error { return errors.New("failed") })
	page("/late", func(c fiber.Ctx) error { return errors.Join(text(c), errors.New("failed")) })
	page("/panic", func(fiber.Ctx) error { panic("a panic") })
	page("/stream", func(c fiber.Ctx) error {
		return c.SendStreamWriter(func(w *bufio.Writer) {
			_, _ = w.WriteString("one")
			_ = w.Flush()
			site.Hold()
			_, _ = w.WriteString("two")
		})
	})
	page("/vary", func(c fiber.Ctx) error {
		c.Vary("Accept-Language")
		return c.SendString(c.Get("Accept-Language"))
	})
	page("/cookie", func(c fiber.Ctx) error { c.Cookie(&fiber.Cookie{Name: "a", Value: "b"}); return text(c) })
	page("/moved", func(c fiber.Ctx) error { return c.Redirect().Status(http.StatusFound).To("/text") })
	page("/nothing", func(fiber.Ctx) error { return nil })
	page("/articles", func(c fiber.Ctx) error {
		titles, err := site.Titles(c.Context())
		if err != nil {
			return err
		}
		return c.SendString(titles)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- app.Listener(listener, fiber.ListenConfig{DisableStartupMessage: true}) }()
	t.Cleanup(func() {
		require.NoError(t, app.Shutdown())
		require.NoError(t, <-done)
	})
	return "http://" + listener.Addr().String()
}

// outer is a middleware outside of the cache. It handles errors, as those that log
// do.
func outer(site *testviews.Site) fiber.Handler {
	var requests atomic.Int64
	return func(c fiber.Ctx) error {
		c.Set(testviews.Outer, strconv.FormatInt(requests.Add(1), 10))
		if err := c.Next(); err != nil {
			if err := c.App().ErrorHandler(c, err); err != nil {
				return err
			}
		}
		site.Saw(c.Response().StatusCode())
		return nil
	}
}

func TestCachedNeedsViews(t *testing.T) {
	require.PanicsWithValue(t, "fiberviews: Cached: the views are nil", func() { fiberviews.Cached(nil) })
}

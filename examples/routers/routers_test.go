package routers_test

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/gofiber/fiber/v3"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/decorators"
	"github.com/cacheplugin/cacheplugin/examples/routers"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testviews"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func open(t *testing.T) *gorm.DB {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	db, err := gorm.Open(sqlite.Open("file:"+t.TempDir()+"/articles.db"), &gorm.Config{})
	require.NoError(t, err)
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis:    client,
		Profiles: cacheplugin.Profiles{"*": {Timeout: time.Hour}},
	})
	require.NoError(t, db.Use(plugin))
	t.Cleanup(func() {
		require.NoError(t, plugin.Close(context.Background()))
		sqlDB, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, sqlDB.Close())
	})
	require.NoError(t, db.AutoMigrate(&routers.Article{}))
	require.NoError(t, db.Create(&routers.Article{Title: "one"}).Error)
	return db
}

// chiPages are the pages of package testviews under chi, whose users need no more
// than Views.Wrap.
func chiPages(t *testing.T, site *testviews.Site) string {
	var requests atomic.Int64
	router := chi.NewRouter()
	router.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(testviews.Outer, strconv.FormatInt(requests.Add(1), 10))
			seen := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			next.ServeHTTP(seen, r)
			site.Saw(cmp.Or(seen.Status(), http.StatusOK))
		})
	}, recovered)
	page := func(path string, handler http.HandlerFunc) {
		var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { site.Ran(); handler(w, r) })
		if site.Views != nil {
			h = site.Views.Wrap(h)
		}
		router.Method(http.MethodGet, path, h)
		router.Method(http.MethodHead, path, h)
		if path == "/text" {
			router.Method(http.MethodPost, path, h)
		}
	}
	text := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }
	object := func(w http.ResponseWriter, status int) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"a":1}`)
	}
	failed := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "failed", http.StatusInternalServerError) }
	page("/text", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Inner", "yes"); text(w, r) })
	page("/json", func(w http.ResponseWriter, _ *http.Request) { object(w, http.StatusOK) })
	page("/created", func(w http.ResponseWriter, _ *http.Request) { object(w, http.StatusCreated) })
	page("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	page("/missing", http.NotFound)
	page("/error", failed)
	page("/late", failed) // a handler of net/http can't fail but by its response
	page("/panic", func(http.ResponseWriter, *http.Request) { panic("a panic") })
	page("/stream", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one")
		_ = http.NewResponseController(w).Flush()
		site.Hold()
		_, _ = io.WriteString(w, "two")
	})
	page("/vary", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Language")
		_, _ = io.WriteString(w, r.Header.Get("Accept-Language"))
	})
	page("/cookie", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		text(w, r)
	})
	page("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/text", http.StatusFound) })
	page("/nothing", func(http.ResponseWriter, *http.Request) {})
	page("/articles", func(w http.ResponseWriter, r *http.Request) {
		titles, err := site.Titles(r.Context())
		if err != nil {
			failed(w, r)
			return
		}
		_, _ = io.WriteString(w, titles)
	})
	return testviews.Handler(t, router)
}

func recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func TestChiTakesTheMiddlewareAsItIs(t *testing.T) { testviews.Run(t, chiPages) }

func TestPagesAreCachedAndDroppedUnderEachRouter(t *testing.T) {
	gin.SetMode(gin.TestMode)
	for name, site := range map[string]func(*gorm.DB, *decorators.Views) func(*http.Request) *http.Response{
		"chi": served(routers.Chi), "gin": served(routers.Gin), "echo": served(routers.Echo),
		"fiber": func(db *gorm.DB, views *decorators.Views) func(*http.Request) *http.Response {
			app := routers.Fiber(db, views)
			return func(r *http.Request) *http.Response {
				response, err := app.Test(r, fiber.TestConfig{Timeout: time.Minute})
				require.NoError(t, err)
				return response
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			views, err := routers.Views(db)
			require.NoError(t, err)
			ask := site(db, views)
			get := func(status, body string) {
				t.Helper()
				response := ask(httptest.NewRequest(http.MethodGet, "/articles", nil))
				defer func() { require.NoError(t, response.Body.Close()) }()
				got, err := io.ReadAll(response.Body)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, response.StatusCode)
				require.Equal(t, body, string(got))
				require.Equal(t, status, response.Header.Get("X-Cache"))
			}
			get("miss", `["one"]`)
			get("hit", `["one"]`)
			require.NoError(t, db.Create(&routers.Article{Title: "two"}).Error)
			get("miss", `["one" "two"]`)
		})
	}
}

// served asks handlers of net/http.
func served(site func(*gorm.DB, *decorators.Views) http.Handler) func(*gorm.DB, *decorators.Views) func(*http.Request) *http.Response {
	return func(db *gorm.DB, views *decorators.Views) func(*http.Request) *http.Response {
		handler := site(db, views)
		return func(r *http.Request) *http.Response {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w.Result()
		}
	}
}

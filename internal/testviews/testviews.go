// Package testviews holds the middlewares of cached views for several routers to
// the same: what a client sees with one is what it sees without, but for the
// headers of the cache. Each router's test serves the same pages its own way.
package testviews

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/decorators"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// Article is what the page of articles shows.
type Article struct {
	ID    uint
	Title string
}

// Site is what a router's pages do. It has to serve, with a middleware outside of
// the cache that sets Outer, calls Saw with the status when the page is done, and
// turns panics and errors into a 500:
//
//	/text      "hello", with the header Inner: yes
//	/json      the object {"a":1}
//	/created   the same, with status 201
//	/empty     status 204
//	/missing   what the router answers where a handler finds nothing: a 404 by an error
//	/error     an error, before anything is written
//	/late      "hello", and an error then
//	/panic     a panic
//	/stream    "one", a flush, a call of Hold, "two"
//	/vary      the request's Accept-Language, with Vary: Accept-Language
//	/cookie    "hello", with a cookie
//	/moved     a redirect to /text
//	/nothing   a handler that writes nothing
//	/articles  what Titles returns for the request's context
//
// Each handler calls Ran first.
type Site struct {
	// Views are the cached views; nil for a site without.
	Views *decorators.Views

	db   *gorm.DB
	hold chan struct{}

	mu   sync.Mutex
	ran  int
	seen []int
}

// Outer is the header of the middleware outside. Its value is one of each
// response's own.
const Outer = "X-Outer"

// Ran counts the calls of handlers.
func (s *Site) Ran() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ran++
}

// Saw is told of the status that the middleware outside has seen.
func (s *Site) Saw(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, status)
}

// take returns what was counted and seen since the last call.
func (s *Site) take() (ran int, seen []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ran, seen = s.ran, s.seen
	s.ran, s.seen = 0, nil
	return ran, seen
}

// Hold blocks the page that streams until its client has read the first part.
func (s *Site) Hold() { <-s.hold }

// Titles lists the articles.
func (s *Site) Titles(ctx context.Context) (string, error) {
	var titles []string
	err := decorators.Handle(ctx, s.db).Model(&Article{}).Order("id").Pluck("title", &titles).Error
	return join(titles), err
}

func join(titles []string) string {
	var b bytes.Buffer
	for _, t := range titles {
		b.WriteString(t + ";")
	}
	return b.String()
}

// Serve starts a server with the pages of a site, and returns its address such as
// "http://127.0.0.1:8080". It ends with the test.
type Serve func(t *testing.T, site *Site) string

// Handler starts a server of net/http.
func Handler(t *testing.T, h http.Handler) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// Run holds a router's middleware to what all have in common.
func Run(t *testing.T, serve Serve) {
	f := &fixture{}
	f.open(t)
	f.plain = &Site{db: f.db, hold: make(chan struct{})}
	f.cached = &Site{db: f.db, hold: make(chan struct{}), Views: f.views(t)}
	f.plainAddress, f.cachedAddress = serve(t, f.plain), serve(t, f.cached)
	t.Run("clients see what they see without", f.transparent)
	t.Run("what may be cached is", f.counted)
	t.Run("responses vary", f.varies)
	t.Run("writes drop", f.dropped)
	t.Run("clients are told that nothing has changed", f.unchanged)
	t.Run("bodies are streamed", f.streams)
	t.Run("requests bypass the cache", f.bypassed)
}

type fixture struct {
	db                          *gorm.DB
	plain, cached               *Site
	plainAddress, cachedAddress string
}

func (f *fixture) open(t *testing.T) {
	f.db = testenv.NeedSQLite(t).Open(t, &gorm.Config{Logger: logger.Discard})
	require.NoError(t, f.db.AutoMigrate(&Article{}))
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis: testenv.Redis(t), Prefix: "test-" + rand.Text(),
		Profiles: cacheplugin.Profiles{"*": {Timeout: time.Hour}},
		// The machine that runs the tests may be busy.
		RedisTimeout: 10 * time.Second, LeaseTTL: time.Minute,
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, f.db.Use(plugin))
	t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
	require.NoError(t, f.db.Create(&Article{Title: "one"}).Error)
}

const status = "X-Cache"

func (f *fixture) views(t *testing.T) *decorators.Views {
	views, err := decorators.ViewAs(f.db, "site", decorators.Samples(&Article{}), decorators.StatusHeader(status))
	require.NoError(t, err)
	return views
}

// answer is what a client sees.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

func ask(t *testing.T, method, url string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	// No connections are left over, and no redirects are followed.
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	response, err := transport.RoundTrip(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answer{response.StatusCode, response.Header, string(body)}
}

// comparable leaves out what the cache, or the time, adds: the cache knows the
// length of a body that a handler hasn't written for HEAD. Chi lists methods in any order.
func (a answer) comparable() answer {
	a.Header = a.Header.Clone()
	for _, name := range []string{"Date", "Age", "Etag", "Content-Length", "Allow", status, Outer} {
		a.Header.Del(name)
	}
	return a
}

func (f *fixture) get(t *testing.T, path string, headers ...string) answer {
	t.Helper()
	return ask(t, http.MethodGet, f.cachedAddress+path, headers...)
}

func (f *fixture) transparent(t *testing.T) {
	for _, path := range []string{
		"/text", "/json", "/created", "/empty", "/missing", "/error", "/late", "/panic", "/vary", "/cookie", "/moved", "/nothing", "/articles", "/nowhere",
	} {
		for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodGet, http.MethodHead, http.MethodPost} {
			want, got := ask(t, method, f.plainAddress+path), ask(t, method, f.cachedAddress+path)
			require.Equal(t, want.comparable(), got.comparable(), "%s %s", method, path)
			require.Equal(t, len(want.Header.Values(Outer)), len(got.Header.Values(Outer)), "%s %s", method, path)
		}
		_, want := f.plain.take()
		_, got := f.cached.take()
		require.Equal(t, want, got, "%s: what the middleware outside has seen", path)
	}
}

func (f *fixture) counted(t *testing.T) {
	require.NoError(t, f.db.Create(&Article{Title: "two"}).Error) // which drops all
	for path, want := range map[string]struct {
		first, second string
		runs          int
	}{
		"/text": {"miss", "hit", 1}, "/json": {"miss", "hit", 1}, "/empty": {"miss", "hit", 1}, "/articles": {"miss", "hit", 1},
		"/created": {"skip", "skip", 2}, "/missing": {"skip", "skip", 2}, "/error": {"skip", "skip", 2}, "/late": {"skip", "skip", 2},
		"/cookie": {"skip", "skip", 2}, "/moved": {"skip", "skip", 2},
	} {
		f.cached.take()
		require.Equal(t, want.first, f.get(t, path).Header.Get(status), path)
		require.Equal(t, want.second, f.get(t, path).Header.Get(status), path)
		ran, _ := f.cached.take()
		require.Equal(t, want.runs, ran, path)
	}
	hit := f.get(t, "/text")
	require.NotEmpty(t, hit.Header.Get("Age"))
	require.Equal(t, "yes", hit.Header.Get("Inner"))
	require.NotEqual(t, hit.Header.Get(Outer), f.get(t, "/text").Header.Get(Outer), "headers of middlewares outside are not stored")
	require.NoError(t, f.cached.Views.Invalidate(t.Context(), f.cachedAddress+"/text"))
	require.Equal(t, "miss", f.get(t, "/text").Header.Get(status))
	require.Equal(t, "miss", f.get(t, "/text?page=2").Header.Get(status))
}

func (f *fixture) varies(t *testing.T) {
	for _, language := range []string{"en", "de", "en", "de"} {
		require.Equal(t, language, f.get(t, "/vary", "Accept-Language", language).Body)
	}
	require.Equal(t, "hit", f.get(t, "/vary", "Accept-Language", "de").Header.Get(status))
}

func (f *fixture) dropped(t *testing.T) {
	before := f.get(t, "/articles").Body
	require.Equal(t, "hit", f.get(t, "/articles").Header.Get(status))
	require.NoError(t, f.db.Create(&Article{Title: "three"}).Error)
	after := f.get(t, "/articles")
	require.Equal(t, "miss", after.Header.Get(status))
	require.Equal(t, before+"three;", after.Body)
}

func (f *fixture) unchanged(t *testing.T) {
	tag := f.get(t, "/json").Header.Get("Etag")
	require.NotEmpty(t, tag)
	for range 2 {
		r := f.get(t, "/json", "If-None-Match", `"other"`, "If-None-Match", tag)
		require.Equal(t, http.StatusNotModified, r.Status)
		require.Empty(t, r.Body)
		require.Empty(t, r.Header.Get("Content-Type"))
		require.Equal(t, tag, r.Header.Get("Etag"))
	}
}

func (f *fixture) streams(t *testing.T) {
	for range 2 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.cachedAddress+"/stream", nil)
		require.NoError(t, err)
		response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		require.NoError(t, err)
		first := make([]byte, len("one"))
		_, err = io.ReadFull(response.Body, first)
		require.NoError(t, err)
		f.cached.hold <- struct{}{} // it has come before the handler was done
		rest, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, "onetwo", string(first)+string(rest))
		require.Equal(t, "skip", response.Header.Get(status))
	}
}

func (f *fixture) bypassed(t *testing.T) {
	require.Equal(t, "hit", f.get(t, "/json").Header.Get(status))
	for name, value := range map[string]string{"Authorization": "Basic eDp5", "Range": "bytes=0-1", "If-Match": "*"} {
		got := f.get(t, "/json", name, value)
		require.Equal(t, "skip", got.Header.Get(status), name)
		want := ask(t, http.MethodGet, f.plainAddress+"/json", name, value)
		require.Equal(t, want.comparable(), got.comparable(), name)
	}
	require.Equal(t, "skip", ask(t, http.MethodPost, f.cachedAddress+"/text").Header.Get(status))
}

package decorators

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/decorators"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// get asks a handler by a request that headers (name, value, ...) are added to.
func get(h http.Handler, uri string, headers ...string) *http.Response {
	return ask(h, http.MethodGet, uri, headers...)
}

func ask(h http.Handler, method, uri string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, uri, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(b)
}

// byTime wraps a handler by View, with X-Cache, under a name of its own.
func byTime(t testing.TB, f *fixture, h http.HandlerFunc, opts ...decorators.Option) (*decorators.Views, http.Handler) {
	t.Helper()
	return named(t, f, t.Name()+" "+rand.Text(), h, opts...)
}

func named(t testing.TB, f *fixture, name string, h http.HandlerFunc, opts ...decorators.Option) (*decorators.Views, http.Handler) {
	t.Helper()
	v, err := decorators.View(f.db, name, append(opts, decorators.StatusHeader("X-Cache"))...)
	require.NoError(t, err)
	return v, v.Wrap(h)
}

// VIEW-01.
func TestResponsesAreKeyedByAbsoluteURI(t *testing.T) {
	f := onSQLite(t)
	var runs counter
	_, h := byTime(t, f, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "run %d", runs.add())
	})
	ask := func(uri string, change ...func(*http.Request)) string {
		r := httptest.NewRequest(http.MethodGet, uri, nil)
		for _, c := range change {
			c(r)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Body.String()
	}
	require.Equal(t, "run 1", ask("http://example.com/a?x=1"))
	require.Equal(t, "run 1", ask("http://example.com/a?x=1", func(r *http.Request) { r.RemoteAddr = "10.0.0.9:1"; r.Header.Set("Cookie", "a=b") }))
	require.Equal(t, "run 1", ask("http://EXAMPLE.com:80/a?x=1"))
	for n, uri := range []string{
		"http://example.com/a?x=2", "http://example.com/a", "http://example.com/b?x=1", "https://example.com/a?x=1",
		"http://other.com/a?x=1", "http://example.com/a%2f?x=1", "http://example.com/a/?x=1", "http://example.com/A?x=1",
	} {
		require.Equal(t, fmt.Sprintf("run %d", n+2), ask(uri), uri)
	}
	mounted := http.NewServeMux()
	mounted.Handle("/one/", http.StripPrefix("/one", h))
	mounted.Handle("/two/", http.StripPrefix("/two", h))
	require.NotEqual(t, body(t, get(mounted, "/one/x")), body(t, get(mounted, "/two/x")))
}

// VIEW-02, VIEW-03.
func TestResponsesAreDroppedBySamplesRequestAndURI(t *testing.T) {
	onDatabases(t, func(t *testing.T, f *fixture) {
		v, err := decorators.ViewAs(f.db, "posts",
			decorators.SamplesOf(func(r *http.Request) []any {
				return []any{f.db.Model(&testmodel.Post{}).Where("category_id = ?", r.URL.Query().Get("category"))}
			}), decorators.StatusHeader("X-Cache"))
		require.NoError(t, err)
		h := v.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			category := 1
			_, _ = fmt.Sscan(r.URL.Query().Get("category"), &category)
			text, err := titles(f.db.WithContext(r.Context()), category)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_, _ = io.WriteString(w, text)
		}))
		show := func(uri, status, want string) {
			t.Helper()
			r := get(h, uri)
			require.Equal(t, status, r.Header.Get("X-Cache"))
			require.Equal(t, want, body(t, r))
		}
		const one, two = "https://example.com/posts?category=1", "https://example.com/posts?category=2"
		show(one, "miss", "x")
		show(one, "hit", "x")
		show(two, "miss", "y")
		f.retitle(t, 1, "changed")
		show(one, "miss", "changed")
		show(one, "hit", "changed")
		show(two, "hit", "y")

		require.NoError(t, v.Invalidate(t.Context(), "HTTPS://Example.com:443/posts?category=1"))
		show(one, "miss", "changed")
		show(two, "hit", "y")
		require.NoError(t, v.InvalidateRequest(httptest.NewRequest(http.MethodPost, two, nil)))
		show(two, "miss", "y")
		show(one, "hit", "changed")
		require.ErrorContains(t, v.Invalidate(t.Context(), "/posts"), "not absolute")
	})
}

func TestHitsRepeatWhatTheHandlerSaid(t *testing.T) {
	f := onSQLite(t)
	_, h := byTime(t, f, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Own", "own")
		w.Header().Add("Link", "a")
		w.Header().Add("Link", "b")
		w.WriteHeader(http.StatusOK)
		w.Header().Set("X-Late", "too late")
		_, _ = io.WriteString(w, "<html>")
		_, _ = io.WriteString(w, "text")
	})
	requests := 0
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.Header().Set("X-Request-Id", fmt.Sprint(requests))
		h.ServeHTTP(w, r)
	})
	miss, hit := get(outer, "/"), get(outer, "/")
	require.Equal(t, "miss", miss.Header.Get("X-Cache"))
	require.Equal(t, "hit", hit.Header.Get("X-Cache"))
	require.Equal(t, "2", hit.Header.Get("X-Request-Id"), "another's headers are not stored")
	require.NotEmpty(t, hit.Header.Get("Age"))
	require.Empty(t, miss.Header.Get("Age"))
	for _, r := range []*http.Response{miss, hit} {
		require.Equal(t, "<html>text", body(t, r))
		require.Equal(t, []string{"a", "b"}, r.Header["Link"])
		require.Equal(t, "own", r.Header.Get("X-Own"))
		require.Empty(t, r.Header.Get("X-Late"))
		require.Equal(t, "text/html; charset=utf-8", r.Header.Get("Content-Type"))
		require.Equal(t, "10", r.Header.Get("Content-Length"))
		require.NotEmpty(t, r.Header.Get("Etag"))
		require.Equal(t, miss.Header.Get("Etag"), r.Header.Get("Etag"))
	}
	head := ask(outer, http.MethodHead, "/")
	require.Equal(t, "hit", head.Header.Get("X-Cache"))
	require.Equal(t, "10", head.Header.Get("Content-Length"))
	require.Empty(t, body(t, head))
	require.Equal(t, "skip", ask(outer, http.MethodHead, "/unknown").Header.Get("X-Cache"))
	require.Equal(t, "miss", get(outer, "/unknown").Header.Get("X-Cache"))
}

func TestConditionalRequestsGet304(t *testing.T) {
	f := onSQLite(t)
	_, h := byTime(t, f, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/own" {
			w.Header().Set("ETag", `W/"v,1"`)
			w.Header().Set("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
		}
		_, _ = io.WriteString(w, "text")
	})
	tag := get(h, "/").Header.Get("Etag")
	for name, c := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"the tag":              {"/", []string{"If-None-Match", tag}, 304},
		"weak":                 {"/", []string{"If-None-Match", "W/" + tag}, 304},
		"in a list":            {"/", []string{"If-None-Match", `"x", ` + tag}, 304},
		"in another line":      {"/", []string{"If-None-Match", `"x"`, "If-None-Match", tag}, 304},
		"any":                  {"/", []string{"If-None-Match", "*"}, 304},
		"another":              {"/", []string{"If-None-Match", `"x"`}, 200},
		"no tag":               {"/", []string{"If-None-Match", "x"}, 200},
		"not closed":           {"/", []string{"If-None-Match", `"x`}, 200},
		"the handler's tag":    {"/own", []string{"If-None-Match", `"v,1"`}, 304},
		"since":                {"/own", []string{"If-Modified-Since", "Wed, 21 Oct 2015 07:28:00 GMT"}, 304},
		"since before":         {"/own", []string{"If-Modified-Since", "Wed, 21 Oct 2015 07:27:59 GMT"}, 200},
		"the tag counts first": {"/own", []string{"If-None-Match", `"x"`, "If-Modified-Since", "Wed, 21 Oct 2015 07:28:00 GMT"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			uri := c.path + "?" + strings.ReplaceAll(name, " ", "")
			for _, status := range []string{"miss", "hit"} {
				r := get(h, uri, c.header...)
				require.Equal(t, status, r.Header.Get("X-Cache"))
				require.Equal(t, c.want, r.StatusCode)
				if c.want == http.StatusNotModified {
					require.Empty(t, body(t, r))
					require.Empty(t, r.Header.Get("Content-Length"))
					require.NotEmpty(t, r.Header.Get("Etag"))
				} else {
					require.Equal(t, "text", body(t, r))
				}
			}
		})
	}
}

func TestVariantsAreKeptApart(t *testing.T) {
	f := onSQLite(t)
	var runs counter
	v, h := byTime(t, f, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Language")
		if r.Header.Get("Accept-Language") == "fr" {
			w.Header().Add("Vary", "Cookie, Accept-Language")
		}
		_, _ = fmt.Fprintf(w, "%d %s %s", runs.add(), r.Header.Get("Accept-Language"), r.Header.Get("Cookie"))
	})
	const uri = "http://example.com/"
	show := func(want string, headers ...string) {
		t.Helper()
		require.Equal(t, want, body(t, get(h, uri, headers...)))
	}
	show("1 en ", "Accept-Language", "en")
	show("1 en ", "Accept-Language", "en")
	show("2 de ", "Accept-Language", "de")
	show("2 de ", "Accept-Language", "de")
	show("1 en ", "Accept-Language", "en", "Cookie", "c")
	show("3  ")
	show("3  ")
	// A response that varies by more begins anew.
	show("4 fr c", "Accept-Language", "fr", "Cookie", "c")
	show("5 fr c", "Accept-Language", "fr", "Cookie", "c")
	show("5 fr c", "Accept-Language", "fr", "Cookie", "c")
	show("6 fr d", "Accept-Language", "fr", "Cookie", "d")
	show("7 en ", "Accept-Language", "en")
	show("7 en ", "Accept-Language", "en")
	require.NoError(t, v.Invalidate(t.Context(), uri))
	show("8 en ", "Accept-Language", "en")
	show("9 de ", "Accept-Language", "de")
}

func TestChosenHeadersAndExtrasKeepResponsesApart(t *testing.T) {
	f := onSQLite(t)
	var runs counter
	handler := func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, runs.add()) }
	opts := []decorators.Option{
		decorators.Headers("x-tenant"),
		decorators.ExtraOf(func(_ context.Context, r *http.Request) any { return r.Header.Get("X-Staff") == "" }),
		decorators.KeyBy(func(r *http.Request) string { return r.URL.Path }),
	}
	_, plain := named(t, f.process(t), "chosen", handler, opts[2])
	v, h := named(t, f, "chosen", handler, opts...)
	require.Equal(t, "1", body(t, get(plain, "/")))
	require.Equal(t, "1", body(t, get(plain, "/?x=1")), "KeyBy")
	require.Equal(t, "2", body(t, get(h, "/", "X-Tenant", "a")), "stored before responses were kept apart")
	require.Equal(t, "2", body(t, get(h, "/?x=1", "X-Tenant", "a")))
	require.Equal(t, "3", body(t, get(h, "/", "X-Tenant", "b")))
	require.Equal(t, "4", body(t, get(h, "/", "X-Tenant", "b", "X-Staff", "1")))
	require.Equal(t, "3", body(t, get(h, "/", "X-Tenant", "b")))
	require.NoError(t, v.Invalidate(t.Context(), "/"))
	require.Equal(t, "5", body(t, get(h, "/", "X-Tenant", "b")))
}

func TestResponsesThatMustNotBeStoredAreNot(t *testing.T) {
	f := onSQLite(t)
	handler := func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		switch r.URL.Path {
		case "/cookie":
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		case "/no-store":
			h.Set("Cache-Control", "max-age=1, No-Store")
		case "/private":
			h.Set("Cache-Control", `private="x"`)
		case "/vary":
			h.Set("Vary", "Accept, *")
		case "/error":
			w.WriteHeader(http.StatusInternalServerError)
		case "/redirect":
			http.Redirect(w, r, "/", http.StatusFound)
			return
		case "/trailer":
			h.Set("Trailer", "X-Sum")
		case "/late-trailer":
			defer h.Set(http.TrailerPrefix+"X-Sum", "1")
		case "/large":
			_, _ = io.WriteString(w, strings.Repeat("x", 60))
			_, _ = io.WriteString(w, strings.Repeat("x", 60))
		case "/short":
			h.Set("Content-Length", "50")
		case "/flush":
			w.(http.Flusher).Flush()
		}
		_, _ = io.WriteString(w, "text")
	}
	_, h := byTime(t, f, handler, decorators.MaxBody(100))
	for _, path := range []string{"/cookie", "/no-store", "/private", "/vary", "/error", "/redirect", "/trailer", "/late-trailer", "/large", "/short", "/flush"} {
		plain := httptest.NewRecorder()
		handler(plain, httptest.NewRequest(http.MethodGet, path, nil))
		for range 2 {
			r := get(h, path)
			require.Equal(t, "skip", r.Header.Get("X-Cache"), path)
			require.Equal(t, plain.Code, r.StatusCode, path)
			require.Equal(t, plain.Body.String(), body(t, r), path)
			require.Empty(t, r.Header.Get("Etag"), path)
			require.Equal(t, plain.Result().Trailer, r.Trailer, path)
		}
	}
	for name, headers := range map[string][]string{
		"range": {"Range", "bytes=0-1"}, "authorization": {"Authorization", "Bearer x"}, "upgrade": {"Upgrade", "websocket"}, "if-match": {"If-Match", "*"},
	} {
		for range 2 {
			require.Equal(t, "skip", get(h, "/"+name, headers...).Header.Get("X-Cache"), name)
		}
	}
	require.Equal(t, "skip", ask(h, http.MethodPost, "/").Header.Get("X-Cache"))
	_, open := byTime(t, f, handler, decorators.WithAuthorization())
	require.Equal(t, "miss", get(open, "/open", "Authorization", "x").Header.Get("X-Cache"))
	require.Equal(t, "hit", get(open, "/open", "Authorization", "y").Header.Get("X-Cache"))
	// No content is a success without a body.
	_, empty := byTime(t, f, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	require.Equal(t, "miss", get(empty, "/empty").Header.Get("X-Cache"))
	r := get(empty, "/empty")
	require.Equal(t, "hit", r.Header.Get("X-Cache"))
	require.Equal(t, http.StatusNoContent, r.StatusCode)
	require.Empty(t, r.Header.Get("Content-Length"))
}

func TestHandlersThatPanicOrAreCancelledAreNotStored(t *testing.T) {
	f := onSQLite(t)
	boom := true
	_, h := byTime(t, f, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "par")
		if boom {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "tial")
	}, decorators.Lock())
	w := httptest.NewRecorder()
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil)) })
	require.Empty(t, w.Body.String(), "nothing was sent, so that an error can be")
	boom = false
	r := get(h, "/")
	require.Equal(t, "miss", r.Header.Get("X-Cache"))
	require.Equal(t, "partial", body(t, r))

	ctx, cancel := context.WithCancel(t.Context())
	_, cut := byTime(t, f, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "par")
		cancel()
	})
	cut.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/cut", nil).WithContext(ctx))
	require.Equal(t, "miss", get(cut, "/cut").Header.Get("X-Cache"))
}

func TestStreamsAndConnectionsReachTheClient(t *testing.T) {
	f := onSQLite(t)
	release := make(chan struct{})
	_, h := byTime(t, f, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		switch r.URL.Path {
		case "/stream":
			_, _ = io.WriteString(w, "first\n")
			if err := control.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Error(err)
			}
			if err := control.Flush(); err != nil {
				t.Error(err)
			}
			<-release
			_, _ = io.WriteString(w, "second\n")
		case "/hijack":
			conn, rw, err := control.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = rw.WriteString("HTTP/1.1 204 No Content\r\nX-Hijacked: yes\r\n\r\n")
			_ = rw.Flush()
			_ = conn.Close()
		case "/early":
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "text")
		}
	})
	server := httptest.NewServer(h)
	defer server.Close()
	fetch := func(path string) *http.Response {
		t.Helper()
		r, err := server.Client().Get(server.URL + path)
		require.NoError(t, err)
		return r
	}
	r := fetch("/stream")
	lines := bufio.NewReader(r.Body)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "first\n", line)
	close(release)
	line, err = lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "second\n", line)
	require.NoError(t, r.Body.Close())

	for range 2 {
		r = fetch("/hijack")
		require.Equal(t, "yes", r.Header.Get("X-Hijacked"))
		require.NoError(t, r.Body.Close())
	}
	for _, status := range []string{"miss", "hit"} {
		r = fetch("/early")
		require.Equal(t, status, r.Header.Get("X-Cache"))
		require.Equal(t, "text", body(t, r))
		require.NoError(t, r.Body.Close())
	}
}

func TestLockedHandlersRunOnce(t *testing.T) {
	f := onSQLite(t)
	var runs counter
	_, h := byTime(t, f, func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, runs.add()) }, decorators.Lock())
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			if w.Body.String() != "1" {
				t.Errorf("got %q", w.Body.String())
			}
		})
	}
	wait.Wait()
	require.Equal(t, 1, runs.ran())
}

func TestHandlersAnswerWhereTheCacheCantBeAsked(t *testing.T) {
	f := onSQLite(t)
	var reported []error
	v, err := decorators.ViewAs(f.db, "broken", decorators.Samples("no_such_table"), decorators.StatusHeader("X-Cache"),
		decorators.OnError(func(_ *http.Request, err error) { reported = append(reported, err) }))
	require.NoError(t, err)
	r := get(v.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "text") })), "/")
	require.Equal(t, "text", body(t, r))
	require.Equal(t, "skip", r.Header.Get("X-Cache"))
	require.Len(t, reported, 1)
	require.ErrorIs(t, reported[0], cacheplugin.ErrUnknownTable)
	_, err = decorators.ViewAs(f.db, "unsampled")
	require.ErrorIs(t, err, decorators.ErrNoSamples)
	_, err = decorators.View(f.db, "negative", decorators.MaxBody(-1))
	require.ErrorIs(t, err, decorators.ErrOption)
}

func TestResponsesInFiles(t *testing.T) {
	c, err := decorators.NewFileCache(cacheDir(t))
	require.NoError(t, err)
	var runs counter
	v, err := decorators.View(nil, "files", decorators.On(c), decorators.Timeout(time.Minute))
	require.NoError(t, err)
	h := v.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, runs.add()) }))
	require.Equal(t, "1", body(t, get(h, "http://example.com/")))
	require.Equal(t, "1", body(t, get(h, "http://example.com/")))
	require.NoError(t, v.Invalidate(t.Context(), "http://example.com"))
	require.Equal(t, "2", body(t, get(h, "http://example.com/")))
}

func TestTLSIsAnotherScheme(t *testing.T) {
	f := onSQLite(t)
	v, h := byTime(t, f, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "text") })
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.TLS = &tls.ConnectionState{}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.NoError(t, v.Invalidate(t.Context(), "http://example.com/"))
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, "hit", w.Header().Get("X-Cache"))
	require.NoError(t, v.Invalidate(t.Context(), "https://example.com/"))
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, "miss", w.Header().Get("X-Cache"))
}

func TestServeStoresNothingOfAHandlerThatFails(t *testing.T) {
	f := onSQLite(t)
	v, err := decorators.View(f.db, "failing", decorators.StatusHeader("X-Cache"))
	require.NoError(t, err)
	failure := errors.New("failed")
	var runs counter
	serve := func(method string, write string, err error) (*httptest.ResponseRecorder, error) {
		w := httptest.NewRecorder()
		return w, v.Serve(w, httptest.NewRequest(method, "/", nil), func(w http.ResponseWriter, _ *http.Request) error {
			runs.add()
			if write != "" {
				_, _ = io.WriteString(w, write)
			}
			return err
		})
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		for _, text := range []string{"", "half"} {
			w, err := serve(method, text, failure)
			require.Equal(t, failure, err)
			require.Equal(t, text, w.Body.String(), "what was written is sent, and nothing else")
			require.Equal(t, "skip", w.Header().Get("X-Cache"))
		}
	}
	require.Equal(t, 6, runs.ran())
	for _, status := range []string{"miss", "hit"} {
		w, err := serve(http.MethodGet, "whole", nil)
		require.NoError(t, err)
		require.Equal(t, "whole", w.Body.String())
		require.Equal(t, status, w.Header().Get("X-Cache"))
	}
	_, err = serve(http.MethodGet, "", failure)
	require.NoError(t, err, "the handler of a hit does not run")
	require.Equal(t, 1, runs.ran())
}

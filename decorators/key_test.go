package decorators_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/decorators"
)

// echoTarget answers with the path and the query that it sees.
func echoTarget(w http.ResponseWriter, r *http.Request) {
	_, _ = fmt.Fprintf(w, "%s|%s", r.URL.Path, r.URL.RawQuery)
}

// toAdmin gives those who say so another path, as a middleware does by a cookie.
func toAdmin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := r.Header.Get("X-Rewrite"); path != "" {
			r.URL.Path = path
		}
		next.ServeHTTP(w, r)
	})
}

func TestRawSpaceInAQueryIsNotARewrittenPath(t *testing.T) {
	f := onSQLite(t)
	_, h := byTime(t, f, echoTarget)
	server := httptest.NewUnstartedServer(toAdmin(h))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	ask := func(query string, headers ...string) string {
		t.Helper()
		u, err := url.Parse(server.URL)
		require.NoError(t, err)
		u.Path, u.RawQuery = "/s", query
		r := &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		answer, err := server.Client().Do(r)
		require.NoError(t, err)
		require.Equal(t, 2, answer.ProtoMajor)
		defer answer.Body.Close()
		return body(t, answer)
	}
	require.Equal(t, "/admin|x", ask("x", "X-Rewrite", "/admin"))
	require.Equal(t, "/s|x /admin?x", ask("x /admin?x"))
	require.Equal(t, "/s|x", ask("x"))
}

func TestURIsPartsAreKeptApart(t *testing.T) {
	f := onSQLite(t)
	for name, pair := range map[string][2]func(*http.Request){
		"a host that ends in a path": {
			func(r *http.Request) { r.Host = "example.com/a"; setTarget(r, "/b") },
			func(r *http.Request) { r.Host = "example.com"; setTarget(r, "/a/b") },
		},
		"a host that ends in a query": {
			func(r *http.Request) { r.Host = "example.com/a?x="; setTarget(r, "/b") },
			func(r *http.Request) { r.Host = "example.com"; setTarget(r, "/a?x=/b") },
		},
		"a scheme in the host": {
			func(r *http.Request) { r.Host = "http://example.com"; setTarget(r, "/") },
			func(r *http.Request) { r.Host = "example.com"; setTarget(r, "/") },
		},
		"an escaped question mark": {
			func(r *http.Request) { setTarget(r, "/a%3Fb") },
			func(r *http.Request) { setTarget(r, "/a?b") },
		},
		"a length": {
			func(r *http.Request) { setTarget(r, "/a1:b") },
			func(r *http.Request) { setTarget(r, "/a?1:b") },
		},
		"a rewritten path": {
			func(r *http.Request) { setTarget(r, "/s?x"); r.URL.Path = "/admin" },
			func(r *http.Request) { setTarget(r, "/s?x6:/admin1:x") },
		},
		"a part of the path that is cut off": {
			func(r *http.Request) { setTarget(r, "/public/admin"); r.URL.Path = "/admin" },
			func(r *http.Request) { setTarget(r, "/public/admin") },
		},
		"a query that is cut off": {
			func(r *http.Request) { setTarget(r, "/a?admin=1"); r.URL.RawQuery = "" },
			func(r *http.Request) { setTarget(r, "/a?admin=1") },
		},
		"a path that is cut off whole": {
			func(r *http.Request) { setTarget(r, "/a"); r.URL.Path = "" },
			func(r *http.Request) { setTarget(r, "/a") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			for first := range 2 {
				var runs counter
				_, h := byTime(t, f, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, runs.add()) })
				ask := func(change func(*http.Request)) string {
					r := httptest.NewRequest(http.MethodGet, "/", nil)
					change(r)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					return w.Body.String()
				}
				require.Equal(t, "1", ask(pair[first]))
				require.Equal(t, "2", ask(pair[1-first]))
				require.Equal(t, "1", ask(pair[first]))
				require.Equal(t, "2", ask(pair[1-first]))
			}
		})
	}
}

// setTarget sets what a server makes of a request's line.
func setTarget(r *http.Request, target string) {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		panic(err)
	}
	r.RequestURI, r.URL = target, u
}

func TestInvalidateDropsRewrittenRequests(t *testing.T) {
	f := onSQLite(t)
	var runs counter
	v, h := byTime(t, f, func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprintf(w, "%s %d", r.URL.Path, runs.add()) })
	rewritten := toAdmin(h)
	const uri = "http://example.com/news?x=1"
	show := func(want string, headers ...string) {
		t.Helper()
		require.Equal(t, want, body(t, get(rewritten, uri, headers...)))
	}
	show("/de 1", "X-Rewrite", "/de")
	show("/news 2")
	show("/de 1", "X-Rewrite", "/de")
	show("/news 2")
	require.NoError(t, v.Invalidate(t.Context(), uri))
	show("/news 3")
	show("/de 4", "X-Rewrite", "/de")
	require.NoError(t, v.InvalidateRequest(httptest.NewRequest(http.MethodPost, uri, nil)))
	show("/news 5")
	show("/de 6", "X-Rewrite", "/de")
	show("/de 6", "X-Rewrite", "/de")
}

func TestHeadersValuesAreKeptApart(t *testing.T) {
	f := onSQLite(t)
	var runs counter
	_, h := byTime(t, f, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Vary", "X-A, X-B")
		_, _ = fmt.Fprint(w, runs.add())
	})
	for n, headers := range [][]string{
		{},
		{"X-A", ""},
		{"X-A", "1"},
		{"X-B", "1"},
		{"X-A", "1", "X-B", "1"},
		{"X-A", "1", "X-A", "1"},
		{"X-A", "1, 1"},
		{"X-A", "1,1"},
		{"X-A", "11:11:1"},
		{"X-A", "1:11:1"},
		{"X-A", "1", "X-B", "1:11:1"},
		{"X-A", "1\x001"},
		{"X-A", "1 1"},
		{"X-A", "11"},
		{"X-A", "\"1\""},
	} {
		require.Equal(t, fmt.Sprint(n+1), body(t, get(h, "/", headers...)), "%q", headers)
		require.Equal(t, fmt.Sprint(n+1), body(t, get(h, "/", headers...)), "%q", headers)
	}
}

func TestKeysOfFunctionsAreKeptApart(t *testing.T) {
	f := onSQLite(t)
	files, err := decorators.NewFileCache(cacheDir(t))
	require.NoError(t, err)
	type argument struct {
		A, B string
		C    []string
	}
	type extra struct{}
	for name, on := range map[string][]decorators.Option{"plugin": nil, "files": {decorators.On(foreignCache{files})}} {
		t.Run(name, func(t *testing.T) {
			var runs counter
			type call struct {
				process *fixture
				opts    []decorators.Option
				name    string
				arg     argument
				vary    []string
				extra   any
			}
			withExtra := []decorators.Option{decorators.ExtraOf(func(ctx context.Context, _ argument) any { return ctx.Value(extra{}) })}
			one, two, three, four := f.process(t), f.process(t), f.process(t), f.process(t)
			made := map[string]*decorators.Func[argument, int]{}
			ask := func(n int, c call) int {
				fn := made[fmt.Sprint(n)]
				if fn == nil {
					opts := append(append(append([]decorators.Option{}, on...), c.opts...), decorators.Timeout(time.Hour))
					var err error
					fn, err = decorators.Cached(c.process.db, c.name, func(context.Context, argument) (int, error) { return runs.add(), nil }, opts...)
					require.NoError(t, err)
					made[fmt.Sprint(n)] = fn
				}
				ctx := context.WithValue(t.Context(), extra{}, c.extra)
				for _, v := range c.vary {
					ctx = cache.Vary(ctx, v)
				}
				v, err := fn.Call(ctx, c.arg)
				require.NoError(t, err)
				return v
			}
			versioned := []decorators.Option{decorators.Version("1:a")}
			calls := []call{
				{process: one, name: "f"},
				{process: f.process(t), name: "f", arg: argument{A: "ab"}},
				{process: f.process(t), name: "f", arg: argument{A: "a", B: "b"}},
				{process: f.process(t), name: "f", arg: argument{A: "a", C: []string{"b"}}},
				{process: f.process(t), name: "f", arg: argument{C: []string{"a", "b"}}},
				{process: f.process(t), name: "f", arg: argument{C: []string{"ab"}}},
				{process: f.process(t), name: "f", arg: argument{C: []string{"a\x01b"}}},
				{process: f.process(t), name: "f", arg: argument{C: []string{}}},
				{process: f.process(t), name: "f", vary: []string{"a", "b"}},
				{process: f.process(t), name: "f", vary: []string{"ab"}},
				{process: f.process(t), name: "f", vary: []string{"a1:b"}},
				{process: f.process(t), name: "f", vary: []string{"1:a1:b"}},
				{process: two, name: "f", opts: []decorators.Option{decorators.Extra("a", "b")}},
				{process: f.process(t), name: "f", opts: []decorators.Option{decorators.Extra("ab")}},
				{process: f.process(t), name: "f", opts: []decorators.Option{decorators.Extra("a"), decorators.Extra([]string{"b"})}},
				{process: three, name: "f", opts: withExtra},
				{process: f.process(t), name: "f", opts: withExtra, extra: "a"},
				{process: f.process(t), name: "f", opts: append([]decorators.Option{decorators.Extra("a")}, withExtra...)},
				{process: four, name: "f", opts: versioned},
				{process: f.process(t), name: "f", opts: []decorators.Option{decorators.Version("a")}},
				{process: f.process(t), name: "f1:a"},
				{process: f.process(t), name: "f/1"},
			}
			for n, c := range calls {
				require.Equal(t, n+1, ask(n, c), "%+v", c)
			}
			for n, c := range calls {
				require.Equal(t, n+1, ask(n, c), "%+v", c)
			}
		})
	}
}

func TestKeysOfFragmentsAreKeptApart(t *testing.T) {
	f := onSQLite(t)
	var runs counter
	show := func(set, name string, opts []decorators.Option, extras ...any) string {
		t.Helper()
		fragments, err := decorators.NewFragments(f.process(t).db, set, opts...)
		require.NoError(t, err)
		fragments.Bind(template.Must(template.New(name).Funcs(template.FuncMap{"ran": runs.add}).Parse(`{{ran}}`)))
		out, err := fragments.Render(t.Context(), name, nil, decorators.Fragment{Extra: extras})
		require.NoError(t, err)
		return string(out)
	}
	for range 2 { // each is found again
		for n, c := range []struct {
			set, name string
			opts      []decorators.Option
			extras    []any
		}{
			{set: "s", name: "n"},
			{set: "s", name: "n", extras: []any{"a", "b"}},
			{set: "s", name: "n", extras: []any{"ab"}},
			{set: "s", name: "n", extras: []any{"a,b"}},
			{set: "s", name: "n", extras: []any{"a", "b", ""}},
			{set: "s", name: "n", extras: []any{[]any{"a", "b"}}},
			{set: "s", name: "n", extras: []any{"1:a1:b"}},
			{set: "s", name: "n", opts: []decorators.Option{decorators.Extra("a")}, extras: []any{"b"}},
			{set: "s", name: "n", opts: []decorators.Option{decorators.Extra("a", "b")}},
			{set: "s", name: "n", opts: []decorators.Option{decorators.Version("a")}},
			{set: "s", name: "sn"},
			{set: "ss", name: "n"},
			{set: "s1:s", name: "n"},
			{set: "s", name: "1:sn"},
			{set: "s", name: "n1:a"},
		} {
			require.Equal(t, fmt.Sprint(n+1), show(c.set, c.name, c.opts, c.extras...), "%+v", c)
		}
	}
}

func TestFileNamesAreOfOneKey(t *testing.T) {
	c, err := decorators.NewFileCache(cacheDir(t))
	require.NoError(t, err)
	keys := []string{"", "a", "a/b", "a/../b", "b", "a\x00b", "a\nb", "A", "..", "/", "1:a", "a1:"}
	for _, key := range keys {
		require.NoError(t, c.Set(t.Context(), key, []byte("of "+key), 0))
	}
	for _, key := range keys {
		got, err := c.Get(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, "of "+key, string(got))
	}
}

// What KeyBy returns is one part, whatever is in it.
func TestKeyByIsNotReadAsAURI(t *testing.T) {
	f := onSQLite(t)
	v, h := byTime(t, f, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("X-Key")) },
		decorators.KeyBy(func(r *http.Request) string { return r.Header.Get("X-Key") }))
	for _, key := range []string{"", "a", "1:a", "0:1:a", "http://example.com/", "4:http11:example.com1:/0:"} {
		require.Equal(t, key, body(t, get(h, "/", "X-Key", key)))
		require.Equal(t, "hit", get(h, "/other", "X-Key", key).Header.Get("X-Cache"))
		require.NoError(t, v.Invalidate(t.Context(), key))
		require.Equal(t, "miss", get(h, "/", "X-Key", key).Header.Get("X-Cache"))
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.TLS = &tls.ConnectionState{}
	r.Header.Set("X-Key", "a")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, "hit", w.Header().Get("X-Cache"))
}

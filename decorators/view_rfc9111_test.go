package decorators_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/decorators"
)

// TestRFC9111 goes through section 3, what a shared cache may store, and through
// what of section 4.2 and 5 that leans on.
func TestRFC9111(t *testing.T) {
	f := onSQLite(t)
	type headers = http.Header
	cacheControl := func(values ...string) headers { return headers{"Cache-Control": values} }
	past := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	future := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	const yes, no = "hit", "skip"
	for _, c := range []struct {
		name    string
		status  int // 0 is 200
		request headers
		answer  headers
		options []decorators.Option
		want    string
	}{
		{name: "nothing said", want: yes},
		{name: "public", answer: cacheControl("public"), want: yes},
		{name: "max-age", answer: cacheControl("max-age=60"), want: yes},
		{name: "s-maxage", answer: cacheControl("s-maxage=60"), want: yes},
		{name: "s-maxage quoted", answer: cacheControl(`s-maxage="60"`), want: yes},
		{name: "s-maxage before max-age=0", answer: cacheControl("max-age=0, s-maxage=60"), want: yes},
		{name: "s-maxage beyond all numbers", answer: cacheControl("s-maxage=99999999999999999999"), want: yes},
		{name: "must-revalidate", answer: cacheControl("must-revalidate, proxy-revalidate"), want: yes},
		{name: "must-understand of a known status", answer: cacheControl("must-understand"), want: yes},
		{name: "an extension", answer: cacheControl("immutable, stale-while-revalidate=0, x-s-maxage=0"), want: yes},
		{name: "Expires in the future", answer: headers{"Expires": {future}}, want: yes},
		{name: "max-age before Expires", answer: headers{"Cache-Control": {"max-age=60"}, "Expires": {past}}, want: yes},
		{name: "another Pragma", answer: headers{"Pragma": {"x"}}, want: yes},
		{name: "an Age below max-age", answer: headers{"Cache-Control": {"max-age=60"}, "Age": {"59"}}, want: yes},
		{name: "Vary", answer: headers{"Vary": {"Accept"}}, want: yes},
		{name: "203", status: 203, want: yes},
		{name: "204", status: 204, want: yes},

		{name: "s-maxage=0", answer: cacheControl("s-maxage=0"), want: no},
		{name: "s-maxage=0 before max-age", answer: cacheControl("max-age=60, s-maxage=0"), want: no},
		{name: "s-maxage=0 in capitals", answer: cacheControl("Max-Age=60, S-MaxAge=0"), want: no},
		{name: "s-maxage=0 quoted", answer: cacheControl(`s-maxage="0"`), want: no},
		{name: "s-maxage=0 with spaces", answer: cacheControl("s-maxage = 0"), want: no},
		{name: "s-maxage=0 in a second line", answer: cacheControl("max-age=60", "s-maxage=0"), want: no},
		{name: "s-maxage=0 before Expires", answer: headers{"Cache-Control": {"s-maxage=0"}, "Expires": {future}}, want: no},
		{name: "s-maxage that is no number", answer: cacheControl("s-maxage=soon"), want: no},
		{name: "s-maxage below zero", answer: cacheControl("s-maxage=-1"), want: no},
		{name: "s-maxage with a fraction", answer: cacheControl("s-maxage=1.5"), want: no},
		{name: "s-maxage without a value", answer: cacheControl("s-maxage"), want: no},
		{name: "s-maxage twice", answer: cacheControl("s-maxage=60, s-maxage=0"), want: no},
		{name: "max-age=0", answer: cacheControl("max-age=0"), want: no},
		{name: "max-age=0 before Expires", answer: headers{"Cache-Control": {"max-age=0"}, "Expires": {future}}, want: no},
		{name: "an Age of max-age", answer: headers{"Cache-Control": {"max-age=60"}, "Age": {"60"}}, want: no},
		{name: "Expires in the past", answer: headers{"Expires": {past}}, want: no},
		{name: "Expires: 0", answer: headers{"Expires": {"0"}}, want: no},
		{name: "Expires: -1", answer: headers{"Expires": {"-1"}}, want: no},
		{name: "an empty Expires", answer: headers{"Expires": {""}}, want: no},
		{name: "Expires that is no date", answer: headers{"Expires": {"tomorrow"}}, want: no},
		{name: "Expires twice", answer: headers{"Expires": {future, past}}, want: no},
		{name: "Pragma: no-cache", answer: headers{"Pragma": {"no-cache"}}, want: no},
		{name: "Pragma: no-cache in a list", answer: headers{"Pragma": {"x, No-Cache"}}, want: no},
		{name: "Pragma: no-cache beside max-age", answer: headers{"Pragma": {"no-cache"}, "Cache-Control": {"max-age=60"}}, want: no},
		{name: "no-store", answer: cacheControl("no-store"), want: no},
		{name: "no-store beside public", answer: cacheControl("public, max-age=60", "no-store"), want: no},
		{name: "no-store beside must-understand", answer: cacheControl("must-understand, no-store"), want: no},
		{name: "no-cache", answer: cacheControl("no-cache"), want: no},
		{name: "no-cache of a field", answer: cacheControl(`no-cache="X-A"`), want: no},
		{name: "private", answer: cacheControl("private, max-age=60"), want: no},
		{name: "private of fields", answer: cacheControl(`private="X-A, X-B"`), want: no},
		{name: "Set-Cookie", answer: headers{"Set-Cookie": {"a=b"}}, want: no},
		{name: "Set-Cookie beside public", answer: headers{"Set-Cookie": {"a=b"}, "Cache-Control": {"public"}}, want: no},
		{name: "Vary: *", answer: headers{"Vary": {"*"}}, want: no},
		{name: "Vary: * in a second line", answer: headers{"Vary": {"Accept", "Cookie, *"}}, want: no},
		{name: "set-cookie in lower case", answer: headers{"set-cookie": {"a=b"}}, want: no},
		{name: "cache-control in lower case", answer: headers{"cache-control": {"no-store"}}, want: no},
		{name: "vary in lower case", answer: headers{"vary": {"Cookie"}}, want: no},
		{name: "ETag in the registered form", answer: headers{"ETag": {`"x"`}}, want: no},
		{name: "a header of the handler's own form", answer: headers{"X-REQUEST-ID": {"1"}}, want: yes},

		{name: "206", status: 206, answer: headers{"Content-Range": {"bytes 0-3/8"}}, want: no},
		{name: "206 of several parts", status: 206, answer: headers{"Content-Type": {"multipart/byteranges; boundary=x"}}, want: no},
		{name: "200 with Content-Range", answer: headers{"Content-Range": {"bytes 0-3/8"}}, want: no},
		{name: "200 with an empty Content-Range", answer: headers{"Content-Range": {""}}, want: no},
		{name: "201", status: 201, want: no},
		{name: "300", status: 300, answer: cacheControl("max-age=60"), want: no},
		{name: "301", status: 301, answer: cacheControl("max-age=60"), want: no},
		{name: "304", status: 304, want: no},
		{name: "404", status: 404, answer: cacheControl("max-age=60"), want: no},
		{name: "410", status: 410, want: no},
		{name: "501", status: 501, want: no},
		{name: "299 with must-understand", status: 299, answer: cacheControl("must-understand, public, max-age=60"), want: no},

		{name: "Range", request: headers{"Range": {"bytes=0-1"}}, want: no},
		{name: "If-Range", request: headers{"If-Range": {`"x"`}}, want: no},
		{name: "Authorization", request: headers{"Authorization": {"Bearer x"}}, want: no},
		{name: "an empty Authorization", request: headers{"Authorization": {""}}, want: no},
		{name: "Authorization and public", request: headers{"Authorization": {"Bearer x"}}, answer: cacheControl("public"), want: no},
		{
			name: "Authorization, allowed", request: headers{"Authorization": {"Bearer x"}},
			options: []decorators.Option{decorators.WithAuthorization()}, want: yes,
		},
		{
			name: "Authorization, allowed, and private", request: headers{"Authorization": {"Bearer x"}}, answer: cacheControl("private"),
			options: []decorators.Option{decorators.WithAuthorization()}, want: no,
		},
		{name: "a client's Cache-Control", request: headers{"Cache-Control": {"no-cache"}, "Pragma": {"no-cache"}}, want: yes},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, h := byTime(t, f, func(w http.ResponseWriter, _ *http.Request) {
				for name, values := range c.answer {
					w.Header()[name] = values
				}
				w.WriteHeader(max(c.status, http.StatusOK))
				_, _ = io.WriteString(w, "text")
			}, c.options...)
			var ask []string
			for name, values := range c.request {
				ask = append(ask, name, values[0])
			}
			first, second := get(h, "/", ask...), get(h, "/", ask...)
			require.Equal(t, c.want, second.Header.Get("X-Cache"))
			for name, values := range c.answer {
				if name != "Age" {
					require.Equal(t, values, first.Header[name])
					require.Equal(t, values, second.Header[name])
				}
			}
			require.Equal(t, first.StatusCode, second.StatusCode)
			require.Equal(t, body(t, first), body(t, second))
		})
	}
}

// A client that did not ask for gzip must not get it.
func TestEncodedResponsesVaryByAcceptEncoding(t *testing.T) {
	f := onSQLite(t)
	for _, vary := range []string{"", "Accept-Encoding", "Accept"} {
		t.Run("Vary: "+vary, func(t *testing.T) {
			_, h := byTime(t, f, func(w http.ResponseWriter, r *http.Request) {
				if vary != "" {
					w.Header().Set("Vary", vary)
				}
				if coding := r.Header.Get("Accept-Encoding"); coding != "" {
					w.Header().Set("Content-Encoding", coding)
				}
				_, _ = io.WriteString(w, "in "+r.Header.Get("Accept-Encoding"))
			})
			show := func(status, want string, headers ...string) {
				t.Helper()
				r := get(h, "/", headers...)
				require.Equal(t, status, r.Header.Get("X-Cache"))
				require.Equal(t, want, body(t, r))
			}
			show("miss", "in gzip", "Accept-Encoding", "gzip")
			show("hit", "in gzip", "Accept-Encoding", "gzip")
			show("miss", "in ")
			show("hit", "in ")
			show("miss", "in br", "Accept-Encoding", "br")
			show("hit", "in gzip", "Accept-Encoding", "gzip")
			head := ask(h, http.MethodHead, "/", "Accept-Encoding", "br")
			require.Equal(t, "hit", head.Header.Get("X-Cache"))
			require.Equal(t, "br", head.Header.Get("Content-Encoding"))
		})
	}
}

func TestAgeGrowsFromTheHandlersOwn(t *testing.T) {
	f := onSQLite(t)
	_, h := byTime(t, f, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Age", "100")
		_, _ = io.WriteString(w, "text")
	})
	require.Equal(t, "100", get(h, "/").Header.Get("Age"))
	age, err := strconv.Atoi(get(h, "/").Header.Get("Age"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, age, 100)
}

// HEAD is answered from what GET has stored, and stores nothing itself.
func TestHeadStoresNothing(t *testing.T) {
	f := onSQLite(t)
	var runs counter
	_, h := byTime(t, f, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Run", fmt.Sprint(runs.add()))
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, "text")
		}
	})
	for _, want := range []string{"1", "2"} {
		r := ask(h, http.MethodHead, "/")
		require.Equal(t, "skip", r.Header.Get("X-Cache"))
		require.Equal(t, want, r.Header.Get("X-Run"))
	}
	r := get(h, "/")
	require.Equal(t, "miss", r.Header.Get("X-Cache"))
	require.Equal(t, "text", body(t, r))
	r = ask(h, http.MethodHead, "/")
	require.Equal(t, "hit", r.Header.Get("X-Cache"))
	require.Equal(t, "3", r.Header.Get("X-Run"))
	require.Equal(t, "4", r.Header.Get("Content-Length"))
	require.Empty(t, body(t, r))
}

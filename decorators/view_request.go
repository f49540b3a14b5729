package decorators

import (
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// bypass reports whether a request is none of the cache's.
func bypass(r *http.Request, authorization bool) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return true
	}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		return true // a body is no part of the key
	}
	for _, name := range []string{"Range", "If-Match", "If-Unmodified-Since", "If-Range", "Upgrade"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return !authorization && len(r.Header.Values("Authorization")) > 0
}

// requestURI encodes the absolute URI of a request, as the client sent it, and
// what middlewares have made of its path and query, empty if nothing. They may
// have chosen it by what is not in the URI; that of http.StripPrefix is the same
// for each request.
func requestURI(r *http.Request) (uri, rewritten []byte) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	asked := r.URL
	if r.RequestURI != "" {
		if u, err := url.ParseRequestURI(r.RequestURI); err == nil {
			asked = u
		}
	}
	if asked.Scheme != "" { // a request to a proxy, or one made by hand
		scheme = asked.Scheme
	}
	host := r.Host
	if host == "" {
		host = asked.Host
	}
	if path := r.URL.EscapedPath(); path != asked.EscapedPath() || r.URL.RawQuery != asked.RawQuery {
		rewritten = appendField(appendField(nil, path), r.URL.RawQuery)
	}
	return absoluteURI(scheme, host, asked), rewritten
}

// parseURI brings an absolute URI to the form of requestURI.
func parseURI(uri string) ([]byte, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "" || u.Host == "" {
		return nil, fmt.Errorf("%q is not absolute: it needs a scheme and a host, such as https://example.com/news", uri)
	}
	return absoluteURI(u.Scheme, u.Host, u), nil
}

// absoluteURI keeps the parts of a URI apart, since over HTTP/2 each may contain
// what separates them in a text.
func absoluteURI(scheme, host string, u *url.URL) []byte {
	scheme, host = strings.ToLower(scheme), strings.ToLower(host)
	switch scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return appendField(appendField(appendField(appendField(nil, scheme), host), path), u.RawQuery)
}

// headerNames brings names to their canonical form, sorted, each once.
func headerNames(names []string) []string {
	var out []string
	for _, n := range names {
		if n = textproto.TrimString(n); n != "" {
			out = append(out, http.CanonicalHeaderKey(n))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// tokens are the elements of a header that is a list, in lower case.
func tokens(h http.Header, name string) []string {
	var out []string
	for _, line := range h.Values(name) {
		for _, token := range strings.Split(line, ",") {
			if token = textproto.TrimString(token); token != "" {
				out = append(out, strings.ToLower(token))
			}
		}
	}
	return out
}

package decorators

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cacheplugin/cacheplugin"
)

// page is a response as it is kept. Its fields are exported for the codec.
type page struct {
	Status int
	Header map[string][]string // what the handler set
	Body   []byte
	Made   int64 // in seconds since 1970
	Stale  int64 // likewise, when it must not be served any more; 0 is never
}

// errStale says that a response has outlived its s-maxage.
var errStale = errors.New("the response is stale")

// stale reports whether a page, if there is one, must not be served any more.
func (p *page) stale(now time.Time) bool {
	return p != nil && p.Stale != 0 && now.Unix() >= p.Stale
}

// entry is what is kept by URI. Its stamp is a part of the keys of the URI's other
// variants: what is under an older stamp can't be reached.
type entry struct {
	Vary     []string
	HasExtra bool
	Stamp    string
	Page     *page  // the first variant, if it may be served
	Variant  string // which one that is
}

// entries is the codec of entries.
func entries() (payloads[entry], error) { return newPayloads[entry]("view", Exact{}, nil) }

func encoded(e entry) (entry, []byte, error) {
	p, err := entries()
	if err != nil {
		return e, nil, err
	}
	b, err := p.encode(e)
	if err != nil {
		err = &cacheplugin.NotStoredError{Reason: "it can't be encoded: " + err.Error()}
	}
	return e, b, err
}

func decodeEntry(payload []byte) (entry, error) {
	p, err := entries()
	if err != nil {
		return entry{}, err
	}
	o, err := p.decode(payload)
	if err == nil && o.value.Page != nil && (o.value.Page.Status < 200 || o.value.Page.Status > 299) {
		return entry{}, errForeign
	}
	return o.value, err
}

// vary names the headers that the response varies by. One that is encoded was so
// for a client that accepts it, whether it says so or not.
func (p *page) vary() []string {
	names := tokens(p.Header, "Vary")
	if len(p.Header["Content-Encoding"]) > 0 {
		names = append(names, "Accept-Encoding")
	}
	return headerNames(names)
}

// write sends the page, or that it has not changed.
func (p *page) write(w http.ResponseWriter, r *http.Request, hit bool, now time.Time) {
	h := w.Header()
	for name, values := range p.Header {
		h[name] = slices.Clone(values)
	}
	if hit {
		h.Set("Age", strconv.FormatInt(max(0, now.Unix()-p.Made)+age(p.Header), 10))
	}
	if notModified(r, h) {
		// A 304 has no representation, and so no headers of one.
		for _, name := range []string{"Content-Type", "Content-Length", "Content-Encoding"} {
			h.Del(name)
		}
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead && len(p.Body) > 0 {
		_, _ = w.Write(p.Body) // the client is gone: nothing to be done
	}
}

// notModified reports whether the client has the response already (RFC 9110,
// section 13.2.2).
func notModified(r *http.Request, h http.Header) bool {
	if lines := r.Header.Values("If-None-Match"); len(lines) > 0 {
		tag := strings.TrimPrefix(h.Get("Etag"), "W/")
		return tag != "" && matchesTag(lines, tag)
	}
	since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
	if err != nil {
		return false
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	return err == nil && !modified.After(since)
}

// matchesTag compares weakly. Tags may contain commas.
func matchesTag(lines []string, tag string) bool {
	for _, line := range lines {
		rest := textproto.TrimString(line)
		if rest == "*" {
			return true
		}
		for rest != "" {
			rest = strings.TrimLeft(rest, " \t,")
			rest = strings.TrimPrefix(rest, "W/")
			if !strings.HasPrefix(rest, `"`) {
				break // not a list of tags
			}
			end := strings.IndexByte(rest[1:], '"')
			if end < 0 {
				break
			}
			if rest[:end+2] == tag {
				return true
			}
			rest = rest[end+2:]
		}
	}
	return false
}

// hopByHop are the headers that belong to a connection, or that promise
// something after the body.
var hopByHop = [...]string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// decisive are the other headers that are looked for.
var decisive = [...]string{
	"Age", "Cache-Control", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Etag", "Expires",
	"Last-Modified", "Pragma", "Set-Cookie", "Vary",
}

// uncacheable says why a response must not be stored (RFC 9111, section 3, for a
// shared cache); empty if it may.
func uncacheable(status int, h http.Header, now time.Time) string {
	switch status {
	// The successes that RFC 9110 lets caches keep without being told to, but
	// 206.
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent:
	default:
		return "status " + strconv.Itoa(status)
	}
	for name := range h {
		if canonical := http.CanonicalHeaderKey(name); canonical != name && (slices.Contains(decisive[:], canonical) || slices.Contains(hopByHop[:], canonical)) {
			return "the header " + name + " is not in its canonical form" // and would be overlooked
		}
	}
	if len(h.Values("Set-Cookie")) > 0 {
		return "it sets a cookie"
	}
	for _, directive := range tokens(h, "Cache-Control") {
		name, _, _ := strings.Cut(directive, "=")
		switch name = textproto.TrimString(name); name {
		case "no-store", "no-cache", "private":
			return "Cache-Control: " + name
		}
	}
	if slices.ContainsFunc(tokens(h, "Pragma"), func(s string) bool { return strings.HasPrefix(s, "no-cache") }) {
		return "Pragma: no-cache"
	}
	if by, left, ok := freshness(h, now); ok && left <= 0 {
		return "it is stale by " + by
	}
	if slices.Contains(tokens(h, "Vary"), "*") {
		return "Vary: *"
	}
	for _, name := range hopByHop {
		if _, ok := h[name]; ok {
			return "it has " + name
		}
	}
	if len(h.Values("Content-Range")) > 0 {
		return "a part"
	}
	return ""
}

// newPage makes a page of what a handler wrote. before are the headers that were
// there when it began.
func newPage(status int, header, before http.Header, body []byte, now time.Time) *page {
	p := &page{Status: status, Header: map[string][]string{}, Body: body, Made: now.Unix()}
	if by, left, ok := freshness(header, now); ok && by == sharedMaxAge {
		p.Stale = p.Made + left
	}
	for name, values := range header {
		if old, ok := before[name]; !ok || !slices.Equal(old, values) {
			p.Header[name] = slices.Clone(values)
		}
	}
	// All of Vary decides about variants, whoever has set it.
	if values, ok := header["Vary"]; ok {
		p.Header["Vary"] = slices.Clone(values)
	}
	if status == http.StatusNoContent {
		return p
	}
	if header.Get("Etag") == "" {
		sum := sha256.Sum256(body)
		p.Header["Etag"] = []string{`"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
	}
	_, typed := header["Content-Type"]
	if !typed && len(body) > 0 && header.Get("Content-Encoding") == "" {
		p.Header["Content-Type"] = []string{http.DetectContentType(body)}
	}
	p.Header["Content-Length"] = []string{strconv.Itoa(len(body))}
	return p
}

// restore gives a response the headers that it had when its status was written.
// Trailers that were set since stay.
func restore(live, then http.Header) {
	maps.DeleteFunc(live, func(name string, _ []string) bool { return !strings.HasPrefix(name, http.TrailerPrefix) })
	maps.Copy(live, then)
}

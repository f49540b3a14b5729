package decorators

import (
	"crypto/sha256"
	"encoding/base64"
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
}

// entry is what is kept by URI. A URI whose responses vary by headers has a
// stamp, which is a part of the keys of its variants: what is under an older
// stamp can't be reached.
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

// variant encodes the values of the headers that the responses vary by, and of
// ExtraOf.
func (e entry) variant(r *http.Request, extra []byte) string {
	if e.Stamp == "" {
		return ""
	}
	var b []byte
	for _, name := range e.Vary {
		values := r.Header.Values(name)
		if name == "Host" {
			values = []string{r.Host}
		}
		b = appendField(b, strconv.Itoa(len(values)))
		for _, v := range values {
			b = appendField(b, textproto.TrimString(v))
		}
	}
	if e.HasExtra {
		b = appendField(b, string(extra))
	}
	return string(b)
}

// vary names the headers that the response says it varies by.
func (p *page) vary() []string { return headerNames(tokens(p.Header, "Vary")) }

// write sends the page, or that it has not changed.
func (p *page) write(w http.ResponseWriter, r *http.Request, hit bool, now time.Time) {
	h := w.Header()
	for name, values := range p.Header {
		h[name] = slices.Clone(values)
	}
	if hit {
		h.Set("Age", strconv.FormatInt(max(0, now.Unix()-p.Made), 10))
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

// notModified tells whether the client has the response already (RFC 9110,
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

// uncacheable says why a response must not be stored; empty if it may.
func uncacheable(status int, h http.Header) string {
	switch status {
	// The successes that RFC 9110 lets caches keep without being told to, but
	// 206.
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent:
	default:
		return "status " + strconv.Itoa(status)
	}
	if len(h.Values("Set-Cookie")) > 0 {
		return "it sets a cookie"
	}
	for _, directive := range tokens(h, "Cache-Control") {
		name, _, _ := strings.Cut(directive, "=")
		switch textproto.TrimString(name) {
		case "no-store", "no-cache", "private":
			return "Cache-Control: " + name
		}
	}
	if slices.Contains(tokens(h, "Vary"), "*") {
		return "Vary: *"
	}
	for _, name := range hopByHop {
		if _, ok := h[name]; ok {
			return "it has " + name
		}
	}
	if h.Get("Content-Range") != "" {
		return "a part"
	}
	return ""
}

// newPage makes a page of what a handler wrote. before are the headers that were
// there when it began.
func newPage(status int, header, before http.Header, body []byte, now time.Time) *page {
	p := &page{Status: status, Header: map[string][]string{}, Body: body, Made: now.Unix()}
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

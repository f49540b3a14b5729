package decorators

import (
	"bufio"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// recorder keeps what a handler writes, and passes it on as soon as it can't be
// cached. The headers are the response's own, so that a handler sees and changes
// those of the middlewares around it.
type recorder struct {
	w      http.ResponseWriter
	limit  int
	before http.Header // when the handler began
	passed func()      // called once, before anything is passed on
	now    func() time.Time

	status int
	header http.Header // when the status was written; nil before
	body   []byte
	reason string // why everything is passed on; empty while it is kept
}

var (
	_ http.Flusher  = (*recorder)(nil)
	_ http.Hijacker = (*recorder)(nil)
)

func newRecorder(w http.ResponseWriter, limit int, now func() time.Time) *recorder {
	return &recorder{w: w, limit: limit, before: w.Header().Clone(), now: now}
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.w }

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.w.Header() }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.passing() || status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		r.w.WriteHeader(status)
		return
	}
	if r.header != nil {
		return // superfluous
	}
	r.status, r.header = status, r.w.Header().Clone()
	if r.header == nil {
		r.header = http.Header{}
	}
	if reason := uncacheable(status, r.header, r.now()); reason != "" {
		r.pass(reason)
	}
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if !r.passing() && r.header == nil {
		r.WriteHeader(http.StatusOK)
	}
	switch {
	case r.passing():
	case r.status == http.StatusNoContent:
		return 0, http.ErrBodyNotAllowed
	case len(b) > r.limit-len(r.body):
		r.pass("too large")
	default:
		r.body = append(r.body, b...)
		return len(b), nil
	}
	return r.w.Write(b)
}

// Flush implements http.Flusher.
func (r *recorder) Flush() { _ = r.FlushError() }

// FlushError is for http.ResponseController.
func (r *recorder) FlushError() error {
	r.pass("flushed")
	return http.NewResponseController(r.w).Flush()
}

// Hijack implements http.Hijacker.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.w).Hijack()
	if err == nil && !r.passing() {
		r.reason = "hijacked"
		r.passed()
	}
	return conn, rw, err
}

func (r *recorder) passing() bool { return r.reason != "" }

// pass sends what there is so far, and everything else from now on as it comes.
func (r *recorder) pass(reason string) {
	if r.passing() {
		return
	}
	r.reason = reason
	if r.header != nil {
		restore(r.w.Header(), r.header)
	}
	r.passed()
	if r.header != nil {
		r.w.WriteHeader(r.status)
	}
	if len(r.body) > 0 {
		_, _ = r.w.Write(r.body) // the handler learns of it at its next write
		r.body = nil
	}
}

// finish ends the recording: it returns the page, or nil if the response has
// been passed on.
func (r *recorder) finish() *page {
	if !r.passing() && r.header == nil {
		r.WriteHeader(http.StatusOK)
	}
	if r.passing() {
		return nil
	}
	for name := range r.w.Header() {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			r.pass("it has a trailer")
			return nil
		}
	}
	if length := r.header.Get("Content-Length"); length != "" && length != strconv.Itoa(len(r.body)) {
		r.pass("it is not as long as it says")
		return nil
	}
	restore(r.w.Header(), r.header)
	return newPage(r.status, r.header, r.before, r.body, r.now())
}

package decorators

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

const sharedMaxAge = "s-maxage"

// maxSeconds is what larger numbers of seconds are taken for (RFC 9111, section
// 1.2.2).
const maxSeconds = 1 << 31

// freshness returns for how many seconds a response says that a shared cache may
// serve it, and what says so; ok is false if nothing does (RFC 9111, section
// 4.2.1). What can't be read counts as stale.
func freshness(h http.Header, now time.Time) (by string, left int64, ok bool) {
	for _, by := range []string{sharedMaxAge, "max-age"} {
		if seconds, ok := directiveSeconds(h, by); ok {
			return by, seconds - age(h), true
		}
	}
	lines := h.Values("Expires")
	if len(lines) == 0 {
		return "", 0, false
	}
	for i, line := range lines {
		var seconds int64
		if t, err := http.ParseTime(line); err == nil {
			seconds = t.Unix() - now.Unix()
		}
		if i == 0 || seconds < left {
			left = seconds
		}
	}
	return "Expires", left, true
}

// directiveSeconds returns the argument of a directive of Cache-Control, the
// smallest if it is there more than once, and zero if it is no number.
func directiveSeconds(h http.Header, name string) (seconds int64, ok bool) {
	for _, directive := range tokens(h, "Cache-Control") {
		n, value, _ := strings.Cut(directive, "=")
		if textproto.TrimString(n) != name {
			continue
		}
		s := parseSeconds(strings.Trim(textproto.TrimString(value), `"`))
		if !ok || s < seconds {
			seconds = s
		}
		ok = true
	}
	return seconds, ok
}

// age is how old a response was when its handler passed it on.
func age(h http.Header) int64 {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0
	}
	return parseSeconds(textproto.TrimString(lines[0]))
}

// parseSeconds returns zero for what is no number of seconds.
func parseSeconds(s string) int64 {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return maxSeconds
	}
	return min(n, maxSeconds)
}

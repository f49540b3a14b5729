package decorators

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSMaxAgeBoundsWhatTimeoutAllows(t *testing.T) {
	for name, c := range map[string]struct {
		header   http.Header
		kept     time.Duration // the last time that it is served
		replaced bool          // a second later
	}{
		"s-maxage":                  {http.Header{"Cache-Control": {"s-maxage=10"}}, 9 * time.Second, true},
		"s-maxage above max-age":    {http.Header{"Cache-Control": {"max-age=1, s-maxage=10"}}, 9 * time.Second, true},
		"s-maxage of an old one":    {http.Header{"Cache-Control": {"s-maxage=10"}, "Age": {"4"}}, 5 * time.Second, true},
		"s-maxage of a variant":     {http.Header{"Cache-Control": {"s-maxage=10"}, "Vary": {"Accept"}}, 9 * time.Second, true},
		"max-age is the client's":   {http.Header{"Cache-Control": {"max-age=10"}}, time.Hour, false},
		"and so is what has no age": {http.Header{}, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := NewFileCache(filepath.Join(t.TempDir(), "cache"))
			require.NoError(t, err)
			v, err := View(nil, "view", On(files), Timeout(48*time.Hour), StatusHeader("X-Cache"))
			require.NoError(t, err)
			now := time.Now()
			v.now = func() time.Time { return now }
			runs := 0
			h := v.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for name, values := range c.header {
					w.Header()[name] = values
				}
				runs++
				_, _ = fmt.Fprint(w, runs)
			}))
			show := func(status, want string, accept string) {
				t.Helper()
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header.Set("Accept", accept)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				require.Equal(t, status, w.Header().Get("X-Cache"))
				require.Equal(t, want, w.Body.String())
			}
			if _, varies := c.header["Vary"]; varies {
				show("miss", "1", "one") // the index has this one, and the other is beside it
				runs = 0
				show("miss", "1", "two")
				show("hit", "1", "two")
			} else {
				show("miss", "1", "two")
			}
			now = now.Add(c.kept)
			show("hit", "1", "two")
			now = now.Add(time.Second)
			if c.replaced {
				show("miss", "2", "two")
				show("hit", "2", "two")
			} else {
				show("hit", "1", "two")
			}
		})
	}
}

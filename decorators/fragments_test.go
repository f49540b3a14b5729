package decorators_test

import (
	"context"
	"fmt"
	"html/template"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/decorators"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

type pageData struct {
	Ctx   context.Context
	Name  string
	Lang  string
	Query *gorm.DB
}

const templates = `
{{define "page"}}<p>{{cached "greeting" .Ctx "10m" . .Lang}}</p>{{end}}
{{define "greeting"}}<b>{{.Name}}</b> {{ran}}{{end}}
{{define "list"}}{{cachedAs "menu" .Ctx (samples .Query "categories") "" .}}{{end}}
{{define "one"}}{{cachedAs "menu" .Ctx .Query nil .}}{{end}}
{{define "menu"}}<i>{{titles}}</i>{{end}}
{{define "staff"}}{{own .Ctx .}}{{end}}
{{define "attribute"}}<a title="{{cached "greeting" .Ctx "10m" . "attribute"}}">x</a><script>var x = {{cached "greeting" .Ctx "10m" . "script"}}</script>{{end}}
{{define "unknown"}}{{cached "nothing" .Ctx "10m" .}}{{end}}
{{define "timeout"}}{{cached "greeting" .Ctx "soon" .}}{{end}}
{{define "timeouts"}}{{cached "greeting" .Ctx 10 .}}{{end}}
{{define "samples"}}{{cachedAs "menu" .Ctx (samples) "" .}}{{end}}
{{define "extras"}}{{cached "greeting" .Ctx "" . .Query}}{{end}}
{{define "context"}}{{cached "greeting" nil "" .}}{{end}}
{{define "failing"}}{{cached "broken" .Ctx "" .}}{{end}}
{{define "broken"}}{{.Nothing}}{{end}}
`

type site struct {
	fixture   *fixture
	fragments *decorators.Fragments
	set       *template.Template
	runs      counter
}

type staffKey struct{}

func newSite(t *testing.T, f *fixture) *site {
	t.Helper()
	fragments, err := decorators.NewFragments(f.db, "site")
	require.NoError(t, err)
	s := &site{fixture: f, fragments: fragments}
	s.set, err = template.New("site").Funcs(fragments.FuncMap()).Funcs(template.FuncMap{
		"ran":    s.runs.add,
		"titles": func() (string, error) { s.runs.add(); return titles(f.db, 1) },
		"own": func(ctx context.Context, data any) (template.HTML, error) {
			return fragments.Render(ctx, "menu", data, decorators.Fragment{
				Off: ctx.Value(staffKey{}) != nil, Samples: []any{&testmodel.Post{}}, Extra: []any{"own"},
			})
		},
	}).Parse(templates)
	require.NoError(t, err)
	fragments.Bind(s.set)
	return s
}

func (s *site) render(t testing.TB, name string, data pageData) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, s.set.ExecuteTemplate(&b, name, data))
	return b.String()
}

// TPL-01.
func TestFragmentsShareByNameAndExtras(t *testing.T) {
	s := newSite(t, onSQLite(t))
	ctx := t.Context()
	data := pageData{Ctx: ctx, Name: "<Ann>", Lang: "en"}
	require.Equal(t, "<p><b>&lt;Ann&gt;</b> 1</p>", s.render(t, "page", data), "escaped once")
	data.Name = "Bob"
	require.Equal(t, "<p><b>&lt;Ann&gt;</b> 1</p>", s.render(t, "page", data))
	data.Lang = "de"
	require.Equal(t, "<p><b>Bob</b> 2</p>", s.render(t, "page", data))
	require.NoError(t, s.fragments.InvalidateFragment(ctx, "greeting", "en"))
	require.Equal(t, "<p><b>Bob</b> 2</p>", s.render(t, "page", data))
	data.Lang = "en"
	require.Equal(t, "<p><b>Bob</b> 3</p>", s.render(t, "page", data))
}

func TestFragmentsInOtherContextsAreEscapedForThem(t *testing.T) {
	s := newSite(t, onSQLite(t))
	out := s.render(t, "attribute", pageData{Ctx: t.Context(), Name: `"><script>`})
	require.NotContains(t, out, `"><script>`+" 1")
	require.NotContains(t, out, "<b>")
	require.Equal(t, out[strings.Index(out, ">x"):], s.render(t, "attribute", pageData{Ctx: t.Context(), Name: "other"})[strings.Index(out, ">x"):])
}

// TPL-02.
func TestFragmentsAreDroppedBySamples(t *testing.T) {
	s := newSite(t, onSQLite(t))
	data := pageData{Ctx: t.Context(), Query: s.fixture.db.Model(&testmodel.Post{}).Where("category_id = ?", 1)}
	for _, name := range []string{"list", "one"} {
		s.fixture.retitle(t, 1, "x")
		require.NoError(t, s.fragments.InvalidateFragment(t.Context(), "menu"))
		s.runs.ran()
		for range 2 {
			require.Equal(t, "<i>x</i>", s.render(t, name, data))
		}
		s.fixture.retitle(t, 2, "elsewhere")
		require.Equal(t, "<i>x</i>", s.render(t, name, data))
		require.Equal(t, 1, s.runs.ran())
		s.fixture.retitle(t, 1, "changed")
		require.Equal(t, "<i>changed</i>", s.render(t, name, data))
	}
}

// TPL-03.
func TestFunctionsOfOnesOwnDecideByContext(t *testing.T) {
	s := newSite(t, onSQLite(t))
	for range 2 {
		require.Equal(t, "<i>x</i>", s.render(t, "staff", pageData{Ctx: t.Context()}))
	}
	require.Equal(t, 1, s.runs.ran())
	for range 2 {
		s.render(t, "staff", pageData{Ctx: context.WithValue(t.Context(), staffKey{}, true)})
	}
	require.Equal(t, 2, s.runs.ran())
}

func TestFragmentErrorsSayWhatIsWrong(t *testing.T) {
	s := newSite(t, onSQLite(t))
	data := pageData{Ctx: t.Context(), Query: s.fixture.db}
	for name, want := range map[string]string{
		"unknown":  `fragment "nothing": there is no template of this name`,
		"timeout":  `"soon" is no duration such as 10m`,
		"timeouts": "the timeout is a int",
		"samples":  "no samples",
		"extras":   "no key can be made of its extras",
		"context":  "the context is nil",
		"failing":  "Nothing",
	} {
		err := s.set.ExecuteTemplate(&strings.Builder{}, name, data)
		require.ErrorContains(t, err, want, name)
	}
	unbound, err := decorators.NewFragments(s.fixture.db, "unbound")
	require.NoError(t, err)
	_, err = unbound.Render(t.Context(), "x", nil, decorators.Fragment{})
	require.ErrorContains(t, err, "Fragments.Bind")
	_, err = unbound.Render(t.Context(), "x", nil, decorators.Fragment{Samples: []any{nil}})
	require.ErrorContains(t, err, "a sample is nil")
	_, err = decorators.NewFragments(s.fixture.db, "")
	require.ErrorIs(t, err, decorators.ErrOption)
}

func TestFragmentsAreSafeForConcurrentUse(t *testing.T) {
	s := newSite(t, onSQLite(t))
	var wait sync.WaitGroup
	for n := range 8 {
		wait.Go(func() {
			for i := range 5 {
				var b strings.Builder
				data := pageData{Ctx: context.Background(), Name: "x", Lang: fmt.Sprint(n % 2)}
				if err := s.set.ExecuteTemplate(&b, []string{"page", "staff"}[i%2], data); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

func TestFragmentsInFiles(t *testing.T) {
	c, err := decorators.NewFileCache(cacheDir(t))
	require.NoError(t, err)
	fragments, err := decorators.NewFragments(nil, "files", decorators.On(c), decorators.Timeout(time.Minute))
	require.NoError(t, err)
	var runs counter
	set := template.Must(template.New("x").Funcs(fragments.FuncMap()).Funcs(template.FuncMap{"ran": runs.add}).Parse(`{{ran}}`))
	fragments.Bind(set)
	for range 2 {
		out, err := fragments.Render(t.Context(), "x", nil, decorators.Fragment{})
		require.NoError(t, err)
		require.Equal(t, template.HTML("1"), out)
	}
	_, err = fragments.Render(t.Context(), "x", nil, decorators.Fragment{Samples: []any{"posts"}})
	require.ErrorContains(t, err, "On goes by time")
}

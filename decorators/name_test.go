package decorators_test

import (
	"context"
	"html/template"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/decorators"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// foreignCache is a Cache that this package knows nothing of.
type foreignCache struct{ decorators.Cache }

func returns(text string) func(context.Context, int) (string, error) {
	return func(context.Context, int) (string, error) { return text, nil }
}

func TestNamesAreTakenOnce(t *testing.T) {
	f := onSQLite(t)
	files, err := decorators.NewFileCache(cacheDir(t))
	require.NoError(t, err)
	simple, err := decorators.NewRedisCache(f.db)
	require.NoError(t, err)
	again, err := decorators.NewRedisCache(f.db.Session(&gorm.Session{}))
	require.NoError(t, err)
	foreign := &foreignCache{files}
	time1 := decorators.Timeout(time.Minute)

	cached := func(db *gorm.DB, opts ...decorators.Option) error {
		_, err := decorators.Cached(db, "dup", returns("x"), append(opts, time1)...)
		return err
	}
	cachedAs := func(db *gorm.DB, opts ...decorators.Option) error {
		_, err := decorators.CachedAs(db, "dup", returns("x"), append(opts, decorators.Samples(&testmodel.Post{}))...)
		return err
	}
	view := func(db *gorm.DB, opts ...decorators.Option) error {
		_, err := decorators.View(db, "dup", append(opts, time1)...)
		return err
	}
	viewAs := func(db *gorm.DB, opts ...decorators.Option) error {
		_, err := decorators.ViewAs(db, "dup", append(opts, decorators.Samples(&testmodel.Post{}))...)
		return err
	}
	fragments := func(db *gorm.DB, opts ...decorators.Option) error {
		_, err := decorators.NewFragments(db, "dup", append(opts, time1)...)
		return err
	}
	type register = func(*gorm.DB, ...decorators.Option) error
	for _, c := range []struct {
		name          string
		first, second register
		one, two      *gorm.DB
		on, other     decorators.Cache
	}{
		{name: "functions", first: cachedAs, second: cachedAs, one: f.db, two: f.db},
		{name: "views", first: viewAs, second: view, one: f.db, two: f.db},
		{name: "fragments", first: fragments, second: fragments, one: f.db, two: f.db},
		{name: "functions in files", first: cached, second: cached, on: files, other: files},
		{name: "views in files", first: view, second: view, on: files, other: files},
		{name: "fragments in files", first: fragments, second: fragments, on: files, other: files},
		{name: "functions in the simple cache", first: cached, second: cached, on: simple, other: again},
		{name: "views in the simple cache", first: view, second: view, on: simple, other: again},
		{name: "fragments in the simple cache", first: fragments, second: fragments, on: simple, other: again},
		{name: "functions in another cache", first: cached, second: cached, one: f.db, two: f.db, on: foreign, other: foreign},
	} {
		t.Run(c.name, func(t *testing.T) {
			var first, second []decorators.Option
			if c.on != nil {
				first, second = append(first, decorators.On(c.on)), append(second, decorators.On(c.other))
			}
			require.NoError(t, c.first(c.one, first...))
			err := c.second(c.two, second...)
			require.ErrorIs(t, err, decorators.ErrNameTaken)
			require.ErrorIs(t, err, decorators.ErrOption)
			require.ErrorContains(t, err, `"dup"`)
			require.ErrorContains(t, err, "a name of its own")
			require.ErrorIs(t, c.second(c.two, append(second, decorators.Version("2"))...), decorators.ErrNameTaken)
		})
	}
	t.Run("by time and by samples", func(t *testing.T) { require.ErrorIs(t, cached(f.db), decorators.ErrNameTaken) })
	t.Run("other handles of the plugin", func(t *testing.T) {
		require.ErrorIs(t, cachedAs(f.db.Session(&gorm.Session{})), decorators.ErrNameTaken)
	})
	t.Run("another plugin", func(t *testing.T) {
		other := f.process(t)
		for _, register := range []register{cachedAs, viewAs, fragments} {
			require.NoError(t, register(other.db))
		}
	})
	t.Run("a disabled plugin", func(t *testing.T) {
		off := onSQLite(t, func(c *cacheplugin.Config) { c.Disabled = true })
		require.NoError(t, cachedAs(off.db))
		require.ErrorIs(t, cachedAs(off.db), decorators.ErrNameTaken, "what is wrong in production is wrong here")
	})
	t.Run("a registration that fails leaves the name free", func(t *testing.T) {
		_, err := decorators.CachedAs(f.db, "later", returns("x"))
		require.ErrorIs(t, err, decorators.ErrNoSamples)
		_, err = decorators.CachedAs(f.db, "later", func(context.Context, func()) (int, error) { return 0, nil }, decorators.Samples("posts"))
		require.ErrorIs(t, err, decorators.ErrOption)
		_, err = decorators.CachedAs(f.db, "later", returns("x"), decorators.Samples("posts"))
		require.NoError(t, err)
	})
	t.Run("one of many at a time gets it", func(t *testing.T) {
		var got atomic.Int32
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				if _, err := decorators.CachedAs(f.db, "crowd", returns("x"), decorators.Samples("posts")); err == nil {
					got.Add(1)
				}
			})
		}
		wait.Wait()
		require.EqualValues(t, 1, got.Load())
	})
}

func TestVersionKeepsProcessesApart(t *testing.T) {
	f := onSQLite(t)
	one, two := f, f.process(t)
	ctx := t.Context()
	files, err := decorators.NewFileCache(cacheDir(t))
	require.NoError(t, err)

	t.Run("functions", func(t *testing.T) {
		call := func(f *fixture, text string, opts ...decorators.Option) string {
			fn, err := decorators.CachedAs(f.db, "price", returns(text), append(opts, decorators.Samples("posts"))...)
			require.NoError(t, err)
			got, err := fn.Call(ctx, 1)
			require.NoError(t, err)
			return got
		}
		require.Equal(t, "A", call(one, "A"))
		require.Equal(t, "B", call(two, "B", decorators.Version("2")))
		require.Equal(t, "B", call(f.process(t), "C", decorators.Version("2")), "the same version shares")
	})
	t.Run("functions in files", func(t *testing.T) {
		call := func(f *fixture, text string, opts ...decorators.Option) string {
			fn, err := decorators.Cached(f.db, "price", returns(text), append(opts, decorators.On(foreignCache{files}), decorators.Timeout(time.Minute))...)
			require.NoError(t, err)
			got, err := fn.Call(ctx, 1)
			require.NoError(t, err)
			return got
		}
		require.Equal(t, "A", call(one, "A"))
		require.Equal(t, "B", call(two, "B", decorators.Version("2")))
	})
	t.Run("views", func(t *testing.T) {
		show := func(f *fixture, text string, opts ...decorators.Option) string {
			_, h := named(t, f, "page", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }, opts...)
			return body(t, get(h, "/"))
		}
		require.Equal(t, "A", show(one, "A"))
		require.Equal(t, "B", show(two, "B", decorators.Version("2")))
	})
	t.Run("fragments", func(t *testing.T) {
		show := func(f *fixture, text string, opts ...decorators.Option) string {
			fragments, err := decorators.NewFragments(f.db, "site", opts...)
			require.NoError(t, err)
			fragments.Bind(template.Must(template.New("x").Parse(text)))
			out, err := fragments.Render(ctx, "x", nil, decorators.Fragment{})
			require.NoError(t, err)
			return string(out)
		}
		require.Equal(t, "A", show(one, "A"))
		require.Equal(t, "B", show(two, "B", decorators.Version("2")))
	})
}

func TestRegistrationErrors(t *testing.T) {
	f := onSQLite(t)
	files, err := decorators.NewFileCache(cacheDir(t))
	require.NoError(t, err)
	number := func(context.Context, int) (int, error) { return 0, nil }
	samples := decorators.Samples(&testmodel.Post{})
	function := func(db *gorm.DB, name string, opts ...decorators.Option) error {
		_, err := decorators.CachedAs(db, name, number, opts...)
		return err
	}
	view := func(db *gorm.DB, name string, opts ...decorators.Option) error {
		_, err := decorators.ViewAs(db, name, opts...)
		return err
	}
	fragments := func(db *gorm.DB, name string, opts ...decorators.Option) error {
		_, err := decorators.NewFragments(db, name, opts...)
		return err
	}
	var noCache *decorators.FileCache
	var noPost *testmodel.Post
	for name, c := range map[string]struct {
		err  error
		is   error
		want string
	}{
		"function without samples":    {function(f.db, "x"), decorators.ErrNoSamples, "no samples"},
		"view without samples":        {view(f.db, "x"), decorators.ErrNoSamples, "no samples"},
		"function without a name":     {function(f.db, "", samples), decorators.ErrOption, "the name is empty"},
		"view without a name":         {view(f.db, "", samples), decorators.ErrOption, "the name is empty"},
		"fragments without a name":    {fragments(f.db, ""), decorators.ErrOption, "the name is empty"},
		"function without a handle":   {function(nil, "x", samples), decorators.ErrOption, "the handle is nil"},
		"view without a handle":       {view(nil, "x", samples), decorators.ErrOption, "the handle is nil"},
		"fragments without a handle":  {fragments(nil, "x"), decorators.ErrOption, "the handle is nil"},
		"function with an empty one":  {function(&gorm.DB{}, "x", samples), decorators.ErrOption, "the handle is nil"},
		"view with an empty one":      {view(&gorm.DB{}, "x", samples), decorators.ErrOption, "the handle is nil"},
		"fragments with an empty one": {fragments(&gorm.DB{}, "x"), decorators.ErrOption, "the handle is nil"},
		"nil option":                  {function(f.db, "x", samples, nil), decorators.ErrOption, "option 2 is nil"},
		"nil SamplesOf":               {function(f.db, "x", decorators.SamplesOf[int](nil)), decorators.ErrOption, "SamplesOf is nil"},
		"nil ExtraOf":                 {function(f.db, "x", samples, decorators.ExtraOf[int](nil)), decorators.ErrOption, "ExtraOf is nil"},
		"nil SamplesOf of a view":     {view(f.db, "x", decorators.SamplesOf[*http.Request](nil)), decorators.ErrOption, "SamplesOf is nil"},
		"nil KeyBy":                   {view(f.db, "x", samples, decorators.KeyBy(nil)), decorators.ErrOption, "KeyBy is nil"},
		"nil OnError":                 {view(f.db, "x", samples, decorators.OnError(nil)), decorators.ErrOption, "OnError is nil"},
		"nil On":                      {fragments(f.db, "x", decorators.On(nil)), decorators.ErrOption, "On is nil"},
		"nil FileCache":               {fragments(f.db, "x", decorators.On(noCache)), decorators.ErrOption, "On is nil"},
		"nil sample of a type":        {function(f.db, "x", decorators.Samples(noPost)), decorators.ErrOption, "sample 1 is nil"},
		"empty header":                {view(f.db, "x", samples, decorators.Headers("Accept", " ")), decorators.ErrOption, "name 2 of Headers is empty"},
		"empty status header":         {view(f.db, "x", samples, decorators.StatusHeader("")), decorators.ErrOption, "StatusHeader is empty"},
		"empty version":               {function(f.db, "x", samples, decorators.Version("")), decorators.ErrOption, "Version is empty"},
		"version of SetAs": {
			decorators.SetAs(t.Context(), files, "key", 1, 0, decorators.Version("2")), decorators.ErrOption, "Version means nothing here",
		},
		"SetAs without a cache": {decorators.SetAs(t.Context(), nil, "key", 1, 0), decorators.ErrOption, "the cache is nil"},
		"GetAs without a cache": {
			func() error { _, err := decorators.GetAs[int](t.Context(), noCache, "key"); return err }(), decorators.ErrOption, "the cache is nil",
		},
		"simple cache without a handle": {
			func() error { _, err := decorators.NewRedisCache(nil); return err }(), decorators.ErrOption, "the handle is nil",
		},
		"file cache without a directory": {
			func() error { _, err := decorators.NewFileCache(""); return err }(), decorators.ErrOption, "name one",
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, c.err, c.is)
			require.ErrorContains(t, c.err, c.want)
		})
	}
	t.Run("nil handler", func(t *testing.T) {
		v, err := decorators.ViewAs(f.db, "nil handler", samples)
		require.NoError(t, err)
		require.PanicsWithValue(t, `decorators: ViewAs "nil handler": Wrap: the handler is nil`, func() { v.Wrap(nil) })
		require.Panics(t, func() { v.Wrap(http.HandlerFunc(nil)) })
	})
	t.Run("all names are still free", func(t *testing.T) {
		require.NoError(t, function(f.db, "x", samples))
		require.NoError(t, view(f.db, "x", samples))
		require.NoError(t, fragments(f.db, "x"))
	})
}

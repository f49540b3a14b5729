package decorators

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/decorators/internal/exact"
)

// Fragments caches parts of HTML templates. It is made before the templates are
// parsed, since parsing needs its functions, and told of them afterwards:
//
//	fragments, err := decorators.NewFragments(db, "site")
//	t, err := template.New("page").Funcs(fragments.FuncMap()).ParseFS(files, "*.html")
//	fragments.Bind(t)
//
// In a template, a named template of the same set is rendered through the cache:
//
//	{{ cached "sidebar" .Ctx "10m" . .User.Lang }}
//	{{ cachedAs "menu" .Ctx (samples .MenuQuery) "" . }}
//
// The key is the set's name and version, the fragment's name, and the values after
// its data. What a cached
// fragment shows must follow from them, and from the samples.
type Fragments struct {
	set     string
	options options
	extra   []byte
	backend backend
	code    payloads[string]
	t       *template.Template
}

// NewFragments returns the fragments of a set of templates. name tells the set
// from all others that share the plugin's prefix, or the cache of On; one that is
// taken there is ErrNameTaken. The options are Timeout, Version, Lock, Extra and
// On, for all fragments.
func NewFragments(db *gorm.DB, name string, opts ...Option) (*Fragments, error) {
	what := fmt.Sprintf("NewFragments %q", name)
	o, err := collect(what, opts, "Timeout", "Version", "Lock", "Extra", "On")
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, fmt.Errorf("%w: %s: the name is empty", ErrOption, what)
	}
	if err := o.checkHandle(what, db, true); err != nil {
		return nil, err
	}
	extra, err := extraKey(what, o.extra)
	if err != nil {
		return nil, err
	}
	code, err := newPayloads[string](what, Exact{}, nil)
	if err != nil {
		return nil, err
	}
	if err := o.claim(what, db, "fragments/"+name); err != nil {
		return nil, err
	}
	return &Fragments{set: name, options: o, extra: extra, backend: o.backend(db), code: code}, nil
}

// FuncMap returns the functions for the templates' Funcs:
//
//	cached   name context timeout data extras...          by time
//	cachedAs name context samples timeout data extras...  by samples
//	samples  sample...                                    a list of samples
//
// A timeout is a time.Duration, or a text such as "10m"; "" takes the default:
// that of [NewFragments], or of the samples' profiles, or of the configuration.
// samples is one sample or a list of them.
func (f *Fragments) FuncMap() template.FuncMap {
	return template.FuncMap{
		"cached": func(name string, ctx context.Context, timeout, data any, extras ...any) (template.HTML, error) { //nolint:revive // the order of a template's call
			d, err := duration(timeout)
			if err != nil {
				return "", fmt.Errorf("cached %q: %w", name, err)
			}
			return f.Render(ctx, name, data, Fragment{Timeout: d, Extra: extras})
		},
		"cachedAs": func(name string, ctx context.Context, samples, timeout, data any, extras ...any) (template.HTML, error) { //nolint:revive // the order of a template's call
			d, err := duration(timeout)
			if err != nil {
				return "", fmt.Errorf("cachedAs %q: %w", name, err)
			}
			list, ok := samples.([]any)
			if !ok {
				list = []any{samples}
			}
			if len(list) == 0 || samples == nil {
				return "", fmt.Errorf("cachedAs %q: %w", name, ErrNoSamples)
			}
			return f.Render(ctx, name, data, Fragment{Samples: list, Timeout: d, Extra: extras})
		},
		"samples": func(samples ...any) []any { return samples },
	}
}

// Bind says which set of templates the fragments are in. Call it once, after
// parsing and before executing. A clone of the set needs Fragments of its own.
func (f *Fragments) Bind(t *template.Template) { f.t = t }

// Fragment is how one fragment is cached; see Render.
type Fragment struct {
	// Off renders without the cache.
	Off bool
	// Samples are what of the database the fragment shows; see Samples.
	// Without any it goes by time.
	Samples []any
	// Timeout and Lock default to those of NewFragments.
	Timeout time.Duration
	Lock    bool
	// Extra are the values that the fragment depends on beside its name.
	Extra []any
}

// errUnbound is for fragments that are rendered too early.
var errUnbound = errors.New("no templates: call Fragments.Bind after parsing them")

// Render renders the template called name through the cache. It is what programs
// build template functions of their own with, which decide by context whether
// and how to cache:
//
//	funcs["menu"] = func(ctx context.Context, data Page) (template.HTML, error) {
//		return fragments.Render(ctx, "menu", data, decorators.Fragment{
//			Off:     IsStaff(ctx),
//			Samples: []any{&MenuItem{}},
//			Extra:   []any{Language(ctx)},
//		})
//	}
//
// The result is what html/template has escaped for the text of a page; in an
// attribute or a script it is escaped again.
func (f *Fragments) Render(ctx context.Context, name string, data any, how Fragment) (template.HTML, error) {
	if ctx == nil {
		return "", fmt.Errorf("decorators: fragment %q: the context is nil", name)
	}
	if how.Off {
		return f.execute(name, data)
	}
	c, err := f.computation(name, how.Extra)
	if err != nil {
		return "", err
	}
	c.Samples, c.Lock = how.Samples, how.Lock || f.options.lock
	if how.Timeout > 0 {
		c.Timeout = how.Timeout
	}
	for _, s := range how.Samples {
		if s == nil {
			return "", fmt.Errorf("decorators: fragment %q: a sample is nil", name)
		}
	}
	if len(how.Samples) > 0 && f.options.on != nil {
		return "", fmt.Errorf("decorators: fragment %q: On goes by time: leave it or the samples out", name)
	}
	decode := func(payload []byte) (template.HTML, error) {
		o, err := f.code.decode(payload)
		return template.HTML(o.value), err // what execute has escaped
	}
	out, _, err := fetch(ctx, f.backend, c, decode, func(context.Context) (template.HTML, []byte, error) {
		out, err := f.execute(name, data)
		if err != nil {
			return "", nil, err
		}
		payload, err := f.code.encode(string(out))
		return out, payload, err
	})
	return out, err
}

func (f *Fragments) execute(name string, data any) (template.HTML, error) {
	if f.t == nil {
		return "", fmt.Errorf("decorators: fragment %q: %w", name, errUnbound)
	}
	if f.t.Lookup(name) == nil {
		return "", fmt.Errorf("decorators: fragment %q: there is no template of this name in the set of %q", name, f.t.Name())
	}
	var b bytes.Buffer
	if err := f.t.ExecuteTemplate(&b, name, data); err != nil {
		return "", fmt.Errorf("decorators: fragment %q: %w", name, err)
	}
	return template.HTML(b.String()), nil // html/template has escaped it
}

// InvalidateFragment drops a fragment with the given extras.
func (f *Fragments) InvalidateFragment(ctx context.Context, name string, extras ...any) error {
	c, err := f.computation(name, extras)
	if err != nil {
		return err
	}
	return f.backend.discard(ctx, c)
}

func (f *Fragments) computation(name string, extras []any) (cacheplugin.Computation, error) {
	if extras == nil {
		extras = []any{}
	}
	own, err := exact.AppendKey(nil, extras)
	if err != nil {
		return cacheplugin.Computation{}, fmt.Errorf("decorators: fragment %q: no key can be made of its extras: %w", name, err)
	}
	var key []byte
	for _, field := range [][]byte{[]byte(f.set), []byte(f.options.version), []byte(name), f.extra, own} {
		key = appendField(key, field)
	}
	return cacheplugin.Computation{Name: "fragment/" + name, Key: key, Timeout: f.options.timeout}, nil
}

// duration reads a template's timeout.
func duration(timeout any) (time.Duration, error) {
	switch d := timeout.(type) {
	case nil:
		return 0, nil
	case time.Duration:
		if d < 0 {
			return 0, fmt.Errorf("the timeout %s is negative", d)
		}
		return d, nil
	case string:
		if d == "" {
			return 0, nil
		}
		parsed, err := time.ParseDuration(d)
		if err != nil || parsed < 0 {
			return 0, fmt.Errorf("the timeout %q is no duration such as 10m", d)
		}
		return parsed, nil
	}
	return 0, fmt.Errorf("the timeout is a %T: pass a time.Duration, or a text such as \"10m\"", timeout)
}

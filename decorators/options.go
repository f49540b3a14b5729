package decorators

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"reflect"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
)

// Errors about how something is decorated.
var (
	// ErrOption is wrapped by the errors of Cached, CachedAs, View, ViewAs and
	// NewFragments. The message says what to do.
	ErrOption = errors.New("decorators: wrong option")
	// ErrNameTaken is returned for a name that the plugin, or the cache of On,
	// knows already: the two would answer for each other.
	ErrNameTaken = fmt.Errorf("%w: the name is taken: give each function, view and set of fragments a name of its own, and make each once", ErrOption)
	// ErrNoSamples is returned by CachedAs and ViewAs without samples.
	ErrNoSamples = fmt.Errorf("%w: no samples: pass Samples or SamplesOf, or use the variant that goes by time", ErrOption)
)

// Option is an option of [Cached], [CachedAs], [View], [ViewAs], [NewFragments], [GetAs] and
// [SetAs]. Not all options mean something everywhere; one that doesn't is an
// error.
type Option func(*options)

type options struct {
	timeout     time.Duration
	version     string
	lock        bool
	extra       []any
	extraOf     any // func(context.Context, A) any
	samples     []any
	samplesOf   any // func(A) []any
	codec       Codec
	cacheErrors []error
	on          Cache
	view        viewOptions
	// set are the names of the options that were given.
	set map[string]bool
}

func option(name string, apply func(*options)) Option {
	return func(o *options) {
		if o.set == nil {
			o.set = map[string]bool{}
		}
		o.set[name] = true
		apply(o)
	}
}

// Timeout sets how long a value may live. Without it a value lives as long as
// the smallest timeout of its samples' profiles says, or the configuration's
// Defaults if there are no samples.
func Timeout(d time.Duration) Option {
	return option("Timeout", func(o *options) { o.timeout = d })
}

// Version tells the values of this version of the program from those that other
// processes, which run another one, keep under the same name. Change it with what
// the function computes or the handler shows. The name stays the plugin's own:
// one process can't have two versions of it.
func Version(version string) Option {
	return option("Version", func(o *options) { o.version = version })
}

// Lock makes one process compute a missing value while the others wait for it,
// up to the configuration's LockWait (dog-pile prevention).
func Lock() Option { return option("Lock", func(o *options) { o.lock = true }) }

// Extra adds values to the key: what the value depends on beside the argument
// and the database. They may be of every type that an argument may be of.
func Extra(values ...any) Option {
	return option("Extra", func(o *options) { o.extra = append(o.extra, values...) })
}

// ExtraOf adds to the key what a function makes of the context and the argument:
// a language, a tenant. A is the argument's type, *http.Request for handlers.
func ExtraOf[A any](extra func(ctx context.Context, arg A) any) Option {
	return option("ExtraOf", func(o *options) { o.extraOf = extra })
}

// Samples are what of the database the value depends on, in any mixture: a model
// (a zero struct or a pointer to one) or a table's name for a whole table; an
// object (a struct with its primary key set), or a slice of them, for their
// rows; a query (a *gorm.DB that has not been run) for what it reads.
func Samples(samples ...any) Option {
	return option("Samples", func(o *options) { o.samples = append(o.samples, samples...) })
}

// SamplesOf computes samples, in addition to those of Samples, from the
// argument. They must follow from the argument, and from what else is in the
// key, alone. A is the argument's type, *http.Request for handlers.
func SamplesOf[A any](samples func(arg A) []any) Option {
	return option("SamplesOf", func(o *options) { o.samplesOf = samples })
}

// WithCodec sets how the function's values are encoded; see Codec.
func WithCodec(c Codec) Option { return option("WithCodec", func(o *options) { o.codec = c }) }

// CacheErrors stores the given errors, too, and what wraps them: a call that
// failed with one of them fails with it again, without running, until the entry
// is dropped. Other errors are never stored. The cached error is the one given
// here, without what wrapped it, and the value that comes with it is zero.
func CacheErrors(sentinels ...error) Option {
	return option("CacheErrors", func(o *options) { o.cacheErrors = append(o.cacheErrors, sentinels...) })
}

// On keeps the values in a cache such as a [FileCache], by time only, instead of
// the plugin's. Samples and Lock can't be had then, and nothing is looked up or
// stored under a context of In. Names need to differ within the cache. That they
// do is checked for the caches of this package, and for another one among those
// that pass the same plugin's handle with it.
func On(c Cache) Option { return option("On", func(o *options) { o.on = c }) }

// collect applies options and refuses those that are not allowed where they are
// given.
func collect(what string, opts []Option, allowed ...string) (options, error) {
	o := options{codec: Exact{}}
	for i, opt := range opts {
		if opt == nil {
			return o, fmt.Errorf("%w: %s: option %d is nil: leave it out", ErrOption, what, i+1)
		}
		opt(&o)
	}
	for name := range o.set {
		if !slices.Contains(allowed, name) {
			return o, fmt.Errorf("%w: %s: %s means nothing here: leave it out", ErrOption, what, name)
		}
	}
	for name, value := range map[string]any{
		"WithCodec": o.codec, "On": o.on, "SamplesOf": o.samplesOf, "ExtraOf": o.extraOf,
		"KeyBy": o.view.keyBy, "OnError": o.view.onError,
	} {
		if o.set[name] && isNil(value) {
			return o, fmt.Errorf("%w: %s: %s is nil: leave it out or pass one", ErrOption, what, name)
		}
	}
	for name, value := range map[string]string{"Version": o.version, "StatusHeader": o.view.statusHeader} {
		if o.set[name] && value == "" {
			return o, fmt.Errorf("%w: %s: %s is empty: leave it out or pass a text", ErrOption, what, name)
		}
	}
	return o, o.checkValues(what)
}

func (o *options) checkValues(what string) error {
	switch {
	case o.timeout < 0:
		return fmt.Errorf("%w: %s: Timeout is %s: use a positive duration", ErrOption, what, o.timeout)
	case o.on != nil && o.lock:
		return fmt.Errorf("%w: %s: Lock needs the plugin's cache: leave On or Lock out", ErrOption, what)
	case o.on != nil && o.timeout == 0:
		return fmt.Errorf("%w: %s: On needs a Timeout", ErrOption, what)
	}
	for i, e := range o.cacheErrors {
		if isNil(e) {
			return fmt.Errorf("%w: %s: error %d of CacheErrors is nil", ErrOption, what, i+1)
		}
	}
	for i, s := range o.samples {
		if isNil(s) {
			return fmt.Errorf("%w: %s: sample %d is nil", ErrOption, what, i+1)
		}
	}
	for i, name := range o.view.headers {
		if textproto.TrimString(name) == "" {
			return fmt.Errorf("%w: %s: name %d of Headers is empty", ErrOption, what, i+1)
		}
	}
	return nil
}

// isNil reports whether there is nothing in a value, or a nil of some type.
func isNil(value any) bool {
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return v.IsNil()
	}
	return false
}

// checkSampled keeps the variant by samples apart from that by time.
func (o *options) checkSampled(what string, sampled bool) error {
	has := len(o.samples) > 0 || o.samplesOf != nil
	switch {
	case sampled && !has:
		return fmt.Errorf("%s: %w", what, ErrNoSamples)
	case sampled && o.on != nil:
		return fmt.Errorf("%w: %s: On goes by time: leave it or the samples out", ErrOption, what)
	case !sampled && has:
		return fmt.Errorf("%w: %s goes by time: use the variant with As for samples", ErrOption, what)
	}
	return nil
}

// checkHandle finds out early what every call would fail with.
func (o *options) checkHandle(what string, db *gorm.DB, sampled bool) error {
	if o.on != nil {
		return nil
	}
	if !isHandle(db) {
		return fmt.Errorf("%w: %s: the handle is nil: pass the one that the plugin is installed on", ErrOption, what)
	}
	config, err := cacheplugin.ConfigOf(db)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if !sampled && !config.Disabled && o.timeout == 0 && config.Defaults.Timeout == 0 {
		return fmt.Errorf("%w: %s: no Timeout, and the configuration's Defaults have none", ErrOption, what)
	}
	return nil
}

// isHandle reports whether a handle is one that gorm.Open has returned, or was
// made from one.
func isHandle(db *gorm.DB) bool { return db != nil && db.Config != nil && db.Statement != nil }

// typed returns the functions among the options for arguments of type A.
func typed[A any](what string, o *options) (samplesOf func(A) []any, extraOf func(context.Context, A) any, err error) {
	if o.samplesOf != nil {
		f, ok := o.samplesOf.(func(A) []any)
		if !ok {
			return nil, nil, fmt.Errorf("%w: %s: SamplesOf is %T: its argument must be a %s", ErrOption, what, o.samplesOf, reflect.TypeFor[A]())
		}
		samplesOf = f
	}
	if o.extraOf != nil {
		f, ok := o.extraOf.(func(context.Context, A) any)
		if !ok {
			return nil, nil, fmt.Errorf("%w: %s: ExtraOf is %T: its argument must be a %s", ErrOption, what, o.extraOf, reflect.TypeFor[A]())
		}
		extraOf = f
	}
	return samplesOf, extraOf, nil
}

// viewOptions are the options of View and ViewAs only.
type viewOptions struct {
	headers       []string
	keyBy         func(*http.Request) string
	maxBody       int
	authorization bool
	statusHeader  string
	onError       func(*http.Request, error)
}

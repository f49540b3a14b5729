package cacheplugin

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/internal/misconfig"
)

// withDefaults validates the configuration and fills its defaults.
func (c Config) withDefaults() (Config, error) {
	for _, step := range []func(*Config) error{
		(*Config).checkClients,
		(*Config).fillDurations,
		(*Config).fillNumbers,
		(*Config).fillPolicies,
		(*Config).checkCombinations,
		(*Config).fillOutbox,
	} {
		if err := step(&c); err != nil {
			return c, err
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

// checkClients finds what is missing, and pointers to nothing, which only the
// first use would find.
func (c *Config) checkClients() error {
	if isNil(c.Redis) {
		return misconfig.New("Redis", "nil", "pass a client, such as redis.NewClient(&redis.Options{Addr: \"localhost:6379\"})")
	}
	if c.Observer != nil && isNil(c.Observer) {
		return misconfig.New("Observer", fmt.Sprintf("a nil %T", c.Observer), "pass one that is there, or leave it out")
	}
	if c.Prefix == "" {
		c.Prefix = "cacheplugin"
	}
	if strings.ContainsAny(c.Prefix, "{}") {
		return misconfig.New("Prefix", c.Prefix, "braces mark a Redis Cluster slot and are added by the plugin: leave them out")
	}
	return nil
}

// isNil reports whether an interface holds nothing, or nothing behind a type.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return r.IsNil()
	}
	return false
}

func (c *Config) fillDurations() error {
	for _, f := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
		least    time.Duration // below which the unit was forgotten
	}{
		{"LeaseTTL", &c.LeaseTTL, 10 * time.Second, time.Millisecond},
		{"LockWait", &c.LockWait, time.Second, time.Millisecond},
		{"RedisTimeout", &c.RedisTimeout, 500 * time.Millisecond, time.Millisecond},
		{"RetryFor", &c.RetryFor, time.Second, time.Millisecond},
		{"FenceTTL", &c.FenceTTL, 5 * time.Second, 0},
		{"ShadowDelay", &c.ShadowDelay, time.Second, 0},
	} {
		if err := fill(f.name, f.value, f.fallback, "use a positive duration, or zero for the default"); err != nil {
			return err
		}
		if *f.value < f.least {
			return misconfig.New(f.name, *f.value, "use a millisecond at least; give the unit, such as 10 * time.Second")
		}
	}
	if c.ReportEvery == 0 {
		c.ReportEvery = 10 * time.Second
	}
	if c.ReportEvery > 0 && c.ReportEvery < time.Millisecond {
		return misconfig.New("ReportEvery", c.ReportEvery, "use a millisecond at least, give the unit, such as 10 * time.Second; or a negative duration to publish nothing")
	}
	if c.ReplicaLag < 0 {
		return misconfig.New("ReplicaLag", c.ReplicaLag, "use how far replicas may lag behind, or zero to read from sources")
	}
	return nil
}

func (c *Config) fillNumbers() error {
	for _, f := range []struct {
		name     string
		value    *int
		fallback int
	}{
		{"MaxInValues", &c.MaxInValues, 128},
		{"MaxRows", &c.MaxRows, 10_000},
		{"MaxBytes", &c.MaxBytes, 4 << 20},
		{"MaxImages", &c.MaxImages, 1000},
	} {
		if err := fill(f.name, f.value, f.fallback, "use a positive number, or zero for the default"); err != nil {
			return err
		}
	}
	if !(c.ShadowReads >= 0 && c.ShadowReads <= 1) { // NaN is neither
		return misconfig.New("ShadowReads", c.ShadowReads, "use a share from 0 to 1, such as 1e-4")
	}
	if c.StoreQueue < 0 {
		return misconfig.New("StoreQueue", c.StoreQueue, "use the number of results that may wait, or zero to store each at once")
	}
	return nil
}

// fill sets a field that is zero, and refuses one that is negative.
func fill[T int | time.Duration](name string, value *T, fallback T, remedy string) error {
	if *value < 0 {
		return misconfig.New(name, *value, remedy)
	}
	if *value == 0 {
		*value = fallback
	}
	return nil
}

func (c *Config) fillPolicies() error {
	for _, f := range []struct {
		name            string
		value           *ErrorPolicy
		fallback, other ErrorPolicy
		remedy          string
	}{
		{"OnReadError", &c.OnReadError, Fallback, Return, "use Fallback or Return"},
		{"OnInvalidateError", &c.OnInvalidateError, Queue, Return, "use Queue or Return"},
		{"OnFenceError", &c.OnFenceError, Return, Fallback, "use Return or Fallback"},
	} {
		switch *f.value {
		case 0:
			*f.value = f.fallback
		case f.fallback, f.other:
		default:
			return misconfig.New(f.name, *f.value, f.remedy)
		}
	}
	switch {
	case c.Mode > InsideOut:
		return misconfig.New("Mode", c.Mode, "use ConjunctionSets or InsideOut")
	case c.Consistency > Strict:
		return misconfig.New("Consistency", c.Consistency, "use Returned or Strict")
	case c.OnUnknownWrite > Warn:
		return misconfig.New("OnUnknownWrite", c.OnUnknownWrite, "use InvalidateEverything or Warn")
	}
	return nil
}

func (c *Config) checkCombinations() error {
	for pattern, p := range c.Profiles {
		if p != nil && p.MaxStale > 0 && c.NearCache == nil {
			return misconfig.New(fmt.Sprintf("Profiles[%q].MaxStale", pattern), p.MaxStale, "it is about results in the process's memory: set NearCache, or leave it out")
		}
	}
	if c.Spread && c.Mode != InsideOut {
		return misconfig.New("Spread", c.Spread, "set Mode to InsideOut, or leave Spread out")
	}
	if !c.DirectConnections {
		return nil
	}
	if _, ok := c.Redis.(*redis.Client); !ok {
		return misconfig.New("DirectConnections", fmt.Sprintf("true, with a %T", c.Redis), "it needs a *redis.Client of one server or of Sentinel: leave it out")
	}
	if c.Spread {
		return misconfig.New("DirectConnections", true, "leave it or Spread out")
	}
	return nil
}

func (c *Config) fillOutbox() error {
	if c.Outbox == nil {
		return nil
	}
	o, err := c.Outbox.withDefaults()
	c.Outbox = &o
	return err
}

// withoutEffect lists the fields of a configuration, as it was given, that do
// nothing without another one, and says which.
func (c Config) withoutEffect() []string {
	var list []string
	note := func(set bool, field, without string) {
		if set {
			list = append(list, field+" has no effect without "+without)
		}
	}
	note(c.FenceTTL != 0 && c.Consistency != Strict, "FenceTTL", "Consistency: Strict")
	note(c.OnFenceError != 0 && c.Consistency != Strict, "OnFenceError", "Consistency: Strict")
	note(c.ShadowDelay != 0 && c.ShadowReads == 0, "ShadowDelay", "ShadowReads")
	note(len(c.Profiles) == 0, "the plugin", "Profiles, but for queries with cache.Cache that give a timeout")
	return list
}

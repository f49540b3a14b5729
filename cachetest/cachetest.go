// Package cachetest is for the tests of programs that use the plugin: a plugin
// with a Redis inside of the test's process, and assertions of what is cached and
// what a write drops.
//
// It is a module of its own, so that the embedded Redis is no part of a program.
// The assertions work with any handle that has the plugin, and any Redis. They
// report failures by [testing.TB.Errorf], and return whether they hold.
package cachetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
)

// Call is what a program does with a handle: a query, or a write. It has to use
// the handle that it gets, or that handle's context.
type Call func(db *gorm.DB) error

// closeTimeout bounds the end of a plugin.
const closeTimeout = 10 * time.Second

// Use installs a plugin with the given configuration on a handle, closed when the
// test ends:
//
//	cachetest.Use(t, db, cacheplugin.Config{Profiles: profiles})
//
// Without Config.Redis it has a Redis inside of the process, of this test alone;
// in a given Redis it has a Prefix of this test alone, unless one is set. In the
// embedded Redis no time passes: nothing runs out. Results are stored at once,
// whatever StoreQueue says, as the assertions need it. An error of the
// configuration ends the test.
func Use(tb testing.TB, db *gorm.DB, config cacheplugin.Config) *cacheplugin.Plugin {
	tb.Helper()
	switch {
	case config.Disabled:
	case config.Redis == nil:
		client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(tb).Addr()})
		tb.Cleanup(func() { _ = client.Close() })
		config.Redis = client
	case config.Prefix == "":
		config.Prefix = "cachetest-" + rand.Text()
	}
	config.StoreQueue = 0
	plugin := cacheplugin.New(config)
	if err := db.Use(plugin); err != nil {
		tb.Fatalf("cachetest: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := plugin.Close(ctx); err != nil {
			tb.Errorf("cachetest: close the plugin: %v", err)
		}
	})
	return plugin
}

// AssertHit asserts that all queries of a call are answered from the cache, those
// of preloads included, and that there is one.
func AssertHit(tb testing.TB, db *gorm.DB, query Call) bool {
	tb.Helper()
	info, ok := run(tb, db, query)
	if ok && !info.AllHits() {
		tb.Errorf("cachetest: not answered from the cache:%s", describe(info))
		return false
	}
	return ok
}

// AssertMiss asserts that a query of a call is looked up in the cache and not
// found there. One is enough, such as that of a preload. A query that bypasses the
// cache is no miss.
func AssertMiss(tb testing.TB, db *gorm.DB, query Call) bool {
	tb.Helper()
	info, ok := run(tb, db, query)
	if ok && !missed(info) {
		tb.Errorf("cachetest: no query missed the cache:%s", describe(info))
		return false
	}
	return ok
}

// AssertDropped asserts that a write drops what a query has cached: the query is
// answered from the cache before, and a miss after it. With preloads it is enough
// that one of their results is dropped. The query is made three times.
func AssertDropped(tb testing.TB, db *gorm.DB, write, query Call) bool {
	tb.Helper()
	info, ok := around(tb, db, write, query)
	if ok && !missed(info) {
		tb.Errorf("cachetest: the write has dropped nothing of the query:%s", describe(info))
		return false
	}
	return ok
}

// AssertKept asserts that a write drops nothing of what a query has cached: all of
// its queries are answered from the cache before and after it. The query is made
// three times.
func AssertKept(tb testing.TB, db *gorm.DB, write, query Call) bool {
	tb.Helper()
	info, ok := around(tb, db, write, query)
	if ok && !info.AllHits() {
		tb.Errorf("cachetest: the write has dropped what was cached:%s", describe(info))
		return false
	}
	return ok
}

// around makes a query until it is cached, then a write, and tells how the query
// is answered after it.
func around(tb testing.TB, db *gorm.DB, write, query Call) (*cache.Info, bool) {
	tb.Helper()
	if _, ok := run(tb, db, query); !ok {
		return nil, false
	}
	info, ok := run(tb, db, query)
	if !ok {
		return nil, false
	}
	if !info.AllHits() {
		tb.Errorf("cachetest: the query is not cached, before the write:%s", describe(info))
		return nil, false
	}
	if err := write(db); err != nil {
		tb.Errorf("cachetest: the write: %v", err)
		return nil, false
	}
	return run(tb, db, query)
}

// run makes a query, and tells how it was answered.
func run(tb testing.TB, db *gorm.DB, query Call) (*cache.Info, bool) {
	tb.Helper()
	config, err := cacheplugin.ConfigOf(db)
	if err != nil {
		tb.Errorf("cachetest: %v", err)
		return nil, false
	}
	if config.StoreQueue > 0 {
		tb.Errorf("cachetest: Config.StoreQueue is %d, and a result may be stored after the next query: install the plugin by cachetest.Use, or leave StoreQueue out in tests", config.StoreQueue)
		return nil, false
	}
	info := new(cache.Info)
	if err := query(db.WithContext(cache.ContextWithInfo(db.Statement.Context, info))); err != nil {
		tb.Errorf("cachetest: the query: %v", err)
		return nil, false
	}
	return info, true
}

func missed(info *cache.Info) bool {
	for _, a := range answers(info) {
		if a.Outcome == cache.Miss {
			return true
		}
	}
	return false
}

func answers(info *cache.Info) []cache.Answer {
	return append([]cache.Answer{info.Answer}, info.Further...)
}

// describe lists how queries were answered, a line each.
func describe(info *cache.Info) string {
	if info.Outcome == cache.Unasked {
		return " no query came to the plugin: use the handle, or the context of the handle, that the function is given"
	}
	var b strings.Builder
	for _, a := range answers(info) {
		fmt.Fprintf(&b, "\n  %s: %s", a.Table, a.Outcome)
		if a.Reason != "" {
			fmt.Fprintf(&b, ": %s", a.Reason)
		}
	}
	return b.String()
}

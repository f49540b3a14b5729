package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	rediscache "github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
)

// setup is one way to reach a database: GORM alone, or with a cache.
type setup struct {
	name   string
	db     *gorm.DB
	plugin *cacheplugin.Plugin
	manual *rediscache.Cache // a cache by hand beside GORM
	trips  *atomic.Int64
	close  func()
}

// variant is a configuration of the plugin.
type variant struct {
	name        string
	mode        cacheplugin.Mode
	consistency cacheplugin.Consistency
	embedded    bool
	prefix      string // shared with other processes; empty: one of its own
	// change, if set, changes the rest of the configuration. Its profile is
	// that of all tables.
	change func(*cacheplugin.Config, *cacheplugin.Profile)
}

var (
	setsVariant     = variant{name: "plugin, sets", mode: cacheplugin.ConjunctionSets}
	stampsVariant   = variant{name: "plugin, stamps", mode: cacheplugin.InsideOut}
	setsDirect      = variant{name: "plugin, sets, direct", mode: cacheplugin.ConjunctionSets, change: direct}
	stampsDirect    = variant{name: "plugin, stamps, direct", mode: cacheplugin.InsideOut, change: direct}
	nearValidated   = variant{name: "plugin, sets, near, validated", mode: cacheplugin.ConjunctionSets, change: validated}
	nearBounded     = variant{name: "plugin, sets, near, bounded", mode: cacheplugin.ConjunctionSets, change: bounded}
	setsStrict      = variant{name: "plugin, sets, strict", mode: cacheplugin.ConjunctionSets, consistency: cacheplugin.Strict}
	stampsStrict    = variant{name: "plugin, stamps, strict", mode: cacheplugin.InsideOut, consistency: cacheplugin.Strict}
	queueVariant    = variant{name: "plugin, sets, store queue", mode: cacheplugin.ConjunctionSets, change: queue}
	embeddedVariant = variant{name: "plugin, sets, embedded Redis", mode: cacheplugin.ConjunctionSets, embedded: true}
)

func direct(c *cacheplugin.Config, _ *cacheplugin.Profile) { c.DirectConnections = true }
func validated(c *cacheplugin.Config, _ *cacheplugin.Profile) {
	c.NearCache = new(cacheplugin.NearCache)
}
func bounded(c *cacheplugin.Config, p *cacheplugin.Profile) {
	validated(c, p)
	p.MaxStale = time.Minute
}

func queue(c *cacheplugin.Config, _ *cacheplugin.Profile) { c.StoreQueue = 1000 }

// allVariants are what the suites choose from.
var allVariants = []variant{setsVariant, stampsVariant, setsDirect, stampsDirect, setsStrict, stampsStrict, nearValidated, nearBounded, queueVariant, embeddedVariant}

// plain is GORM alone.
func (env *environment) plain(d *database) (setup, error) {
	db, err := d.open()
	if err != nil {
		return setup{}, err
	}
	return setup{name: "GORM", db: db, close: func() { closeDB(db) }}, nil
}

// hitVariants are the ways to answer a hit, for the suites of hits.
var hitVariants = []variant{setsVariant, stampsVariant, setsDirect, stampsDirect, nearValidated, nearBounded}

// missVariants are the ways to keep what is missing.
var missVariants = []variant{setsVariant, stampsVariant, stampsDirect, queueVariant}

// mixedVariants are those that read and write.
var mixedVariants = []variant{setsVariant, stampsVariant, stampsDirect, setsStrict, queueVariant, nearValidated, nearBounded}

var prefixes atomic.Int64

// prefix returns a namespace that nothing else uses.
func prefix() string { return fmt.Sprintf("bench-%d-%d", time.Now().UnixNano(), prefixes.Add(1)) }

// config is the plugin's configuration: every query is cached.
func (v variant) config(client redis.UniversalClient, prefix string) cacheplugin.Config {
	profile := cacheplugin.Profile{Ops: cache.All, Timeout: time.Hour}
	c := cacheplugin.Config{
		Redis: client, Prefix: prefix, Mode: v.mode, Consistency: v.consistency,
	}
	if v.change != nil {
		v.change(&c, &profile)
	}
	c.Profiles = cacheplugin.Profiles{"*": &profile}
	return c
}

// plugged is GORM with the plugin, which caches every query, in a namespace of
// its own.
func (env *environment) plugged(d *database, v variant) (setup, error) {
	db, err := d.open()
	if err != nil {
		return setup{}, err
	}
	o := *env.redis
	if v.embedded {
		o = redis.Options{Addr: env.embedded.Addr()}
	}
	client, trips := countedAt(o, d.distance)
	plugin := cacheplugin.New(v.config(client, cmp.Or(v.prefix, prefix())))
	if err := db.Use(plugin); err != nil {
		return setup{}, errors.Join(err, client.Close())
	}
	return setup{name: v.name, db: db, plugin: plugin, trips: trips, close: func() {
		_ = plugin.Close(context.Background())
		_ = client.Close()
		closeDB(db)
	}}, nil
}

const byHandName = "by hand, go-redis/cache"

// byHand is the cache that programs write themselves: look up by a key of
// one's own, msgpack, never invalidated but by time. It promises nothing, and
// so is a limit more than a peer.
func (env *environment) byHand(d *database) (setup, error) {
	db, err := d.open()
	if err != nil {
		return setup{}, err
	}
	client, trips := countedAt(*env.redis, d.distance)
	return setup{
		name: byHandName, db: db, trips: trips, manual: rediscache.New(&rediscache.Options{Redis: client}),
		close: func() { _ = client.Close(); closeDB(db) },
	}, nil
}

// setups opens GORM alone and the plugin's variants.
func (env *environment) setups(d *database, open *opened, variants ...variant) ([]setup, error) {
	s, err := open.setup(env.plain(d))
	all := []setup{s}
	for _, v := range variants {
		if err != nil {
			break
		}
		s, err = open.setup(env.plugged(d, v))
		all = append(all, s)
	}
	return all, err
}

// contender is one that reports how many of its queries hit.
func (s setup) contender(run func(context.Context, *lap) error) contender {
	c := contender{name: s.name, trips: s.trips, run: run}
	if s.plugin == nil {
		return c
	}
	var before cacheplugin.Stats
	c.begin = func() { before = s.plugin.Stats() }
	c.figures = func() map[string]float64 { return hits(before, s.plugin.Stats()) }
	return c
}

// hits returns the share of queries that the cache answered between two looks
// at the counters.
func hits(before, after cacheplugin.Stats) map[string]float64 {
	// A miss whose result isn't stored counts as a skip, too.
	h, m := after.Hits-before.Hits, after.Misses-before.Misses
	if h+m == 0 {
		return nil
	}
	return map[string]float64{"hit %": 100 * float64(h) / float64(h+m)}
}

package main

import (
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
}

var (
	setsVariant     = variant{name: "plugin, sets", mode: cacheplugin.ConjunctionSets}
	stampsVariant   = variant{name: "plugin, stamps", mode: cacheplugin.InsideOut}
	setsStrict      = variant{name: "plugin, sets, strict", mode: cacheplugin.ConjunctionSets, consistency: cacheplugin.Strict}
	stampsStrict    = variant{name: "plugin, stamps, strict", mode: cacheplugin.InsideOut, consistency: cacheplugin.Strict}
	embeddedVariant = variant{name: "plugin, sets, embedded Redis", mode: cacheplugin.ConjunctionSets, embedded: true}
)

// plain is GORM alone.
func (env *environment) plain(d *database) (setup, error) {
	db, err := d.open()
	if err != nil {
		return setup{}, err
	}
	return setup{name: "GORM", db: db, close: func() { closeDB(db) }}, nil
}

var prefixes atomic.Int64

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
	client, trips := counted(o)
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis:       client,
		Prefix:      fmt.Sprintf("bench-%d-%d", time.Now().UnixNano(), prefixes.Add(1)),
		Profiles:    cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}},
		Mode:        v.mode,
		Consistency: v.consistency,
	})
	if err := db.Use(plugin); err != nil {
		return setup{}, errors.Join(err, client.Close())
	}
	return setup{name: v.name, db: db, plugin: plugin, trips: trips, close: func() {
		_ = cacheplugin.InvalidateAll(db)
		_ = plugin.Close(context.Background())
		_ = client.Close()
		closeDB(db)
	}}, nil
}

// byHand is the cache that programs write themselves: look up by a key of
// one's own, msgpack, never invalidated but by time. It promises nothing, and
// so is a limit more than a peer.
func (env *environment) byHand(d *database) (setup, error) {
	db, err := d.open()
	if err != nil {
		return setup{}, err
	}
	client, trips := counted(*env.redis)
	return setup{
		name: "by hand, go-redis/cache", db: db, trips: trips, manual: rediscache.New(&rediscache.Options{Redis: client}),
		close: func() { _ = client.Close(); closeDB(db) },
	}, nil
}

// setups opens GORM alone, the plugin's variants and the cache by hand.
func (env *environment) setups(d *database, manual bool, variants ...variant) (all []setup, err error) {
	add := func(s setup, err error) error {
		if err == nil {
			all = append(all, s)
		}
		return err
	}
	if err := add(env.plain(d)); err != nil {
		return all, err
	}
	for _, v := range variants {
		if err := add(env.plugged(d, v)); err != nil {
			return all, err
		}
	}
	if manual {
		return all, add(env.byHand(d))
	}
	return all, nil
}

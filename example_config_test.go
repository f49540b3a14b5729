package cacheplugin_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
)

// configured opens a database in memory with an article, and a plugin with the
// given configuration on a Redis inside of the process.
func configured(name string, config cacheplugin.Config) (db *gorm.DB, plugin *cacheplugin.Plugin, closeAll func()) {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	db, err := gorm.Open(sqlite.Open("file:/" + name + "?vfs=memdb"))
	if err != nil {
		log.Fatal(err)
	}
	if err := db.AutoMigrate(&Article{}); err != nil {
		log.Fatal(err)
	}
	if config.Outbox != nil {
		if err := cacheplugin.MigrateOutbox(db, *config.Outbox); err != nil {
			log.Fatal(err)
		}
	}
	config.Redis = client
	plugin = cacheplugin.New(config)
	if err := db.Use(plugin); err != nil {
		log.Fatal(err)
	}
	if err := db.Create(&Article{ID: 1, TagID: 1, Title: "Hydrogen"}).Error; err != nil {
		log.Fatal(err)
	}
	return db, plugin, func() {
		_ = plugin.Close(context.Background())
		if pool, err := db.DB(); err == nil {
			_ = pool.Close()
		}
		_ = client.Close()
		server.Close()
	}
}

// firstArticle reads the article by its key.
func firstArticle(db *gorm.DB) {
	if err := db.First(&Article{}, 1).Error; err != nil {
		log.Fatal(err)
	}
}

// An observer is told why queries are not cached.
func ExampleObserver() {
	db, _, closeAll := configured("observer", cacheplugin.Config{
		Profiles: allCached,
		Observer: cacheplugin.ObserverFunc(func(_ context.Context, e cacheplugin.Event) {
			switch e.Kind {
			case cacheplugin.EventSkip:
				fmt.Println(e.Kind, e.Table, e.Reason)
			case cacheplugin.EventInvalidate:
				fmt.Println(e.Kind, e.Table, e.Dropped)
			default:
				fmt.Println(e.Kind, e.Table)
			}
		}),
	})
	defer closeAll()

	firstArticle(db)
	firstArticle(db)
	firstArticle(db.WithContext(cache.WithoutCache(context.Background())))
	db.Model(&Article{}).Where("id = ?", 1).Update("title", "Deuterium")
	// Output:
	// invalidate main.articles 0
	// miss articles
	// store articles
	// hit articles
	// skip articles WithoutCache
	// invalidate main.articles 1
}

func ExampleObservers() {
	counter := func(n *int) cacheplugin.Observer {
		return cacheplugin.ObserverFunc(func(context.Context, cacheplugin.Event) { *n++ })
	}
	var metrics, traces int
	both := cacheplugin.Observers(counter(&metrics), counter(&traces))
	both.Observe(context.Background(), cacheplugin.Event{Kind: cacheplugin.EventHit})
	fmt.Println(metrics, traces)
	// Output: 1 1
}

func ExamplePlugin_Stats() {
	db, plugin, closeAll := configured("stats", cacheplugin.Config{Profiles: allCached})
	defer closeAll()

	firstArticle(db)
	firstArticle(db)
	firstArticle(db)
	stats := plugin.Stats()
	fmt.Println(stats.Hits, "hits,", stats.Misses, "miss,", stats.Stores, "stored")
	// Output: 2 hits, 1 miss, 1 stored
}

// The most exact pattern applies; a nil profile forbids caching.
func ExampleProfiles() {
	db, _, closeAll := configured("profiles", cacheplugin.Config{Profiles: cacheplugin.Profiles{
		"articles": {Ops: cache.Get, Timeout: 15 * time.Minute},
		"secrets":  nil,
		"*":        {Timeout: time.Hour}, // opt-in per query
	}})
	defer closeAll()
	db.Exec("CREATE TABLE secrets (id integer PRIMARY KEY)")

	for _, query := range []*gorm.DB{
		db.Model(&Article{}).Where("id = ?", 1).Limit(1),
		db.Model(&Article{}).Where("tag_id = ?", 1),
		db.Model(&Article{}).Scopes(cache.Cache()).Where("tag_id = ?", 1),
		db.Table("secrets").Scopes(cache.Cache()),
	} {
		x, err := cacheplugin.Explain(query)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%t %q\n", x.Cached, x.Reason)
	}
	// Output:
	// true ""
	// false "fetch is not among the operations to cache: get"
	// true ""
	// false "forbidden: the profile of secrets is nil"
}

// Tenants share a Redis, and neither read nor drop each other's results.
func ExampleQueryInfo() {
	type tenant struct{}
	db, plugin, closeAll := configured("tenants", cacheplugin.Config{
		Profiles: allCached,
		PrefixFunc: func(ctx context.Context, _ cacheplugin.QueryInfo) string {
			name, _ := ctx.Value(tenant{}).(string)
			return name
		},
	})
	defer closeAll()

	for _, name := range []string{"a", "b", "a"} {
		firstArticle(db.WithContext(context.WithValue(context.Background(), tenant{}, name)))
	}
	stats := plugin.Stats()
	fmt.Println(stats.Misses, "misses,", stats.Hits, "hit")
	// Output: 2 misses, 1 hit
}

// Under Strict a commit drops what it changes before and after COMMIT: two
// invalidations for the same promise that a killed writer can't break.
func ExampleConsistency() {
	db, plugin, closeAll := configured("strict", cacheplugin.Config{
		Profiles: allCached, Consistency: cacheplugin.Strict, FenceTTL: 10 * time.Second,
	})
	defer closeAll()

	firstArticle(db)
	err := db.Model(&Article{}).Where("id = ?", 1).Update("title", "Deuterium").Error
	if errors.Is(err, cacheplugin.ErrNotFenced) {
		fmt.Println("Redis is gone: rolled back")
	}
	firstArticle(db)
	fmt.Println(plugin.Stats().Misses, "misses")
	// Output: 2 misses
}

// What a transaction changes is kept in a table until Redis has been told.
func ExampleMigrateOutbox() {
	db, plugin, closeAll := configured("outbox", cacheplugin.Config{
		Profiles: allCached, Outbox: &cacheplugin.Outbox{Table: "cache_outbox"},
	})
	defer closeAll()

	firstArticle(db)
	db.Model(&Article{}).Where("id = ?", 1).Update("title", "Deuterium")
	firstArticle(db)
	fmt.Println(db.Migrator().HasTable("cache_outbox"), plugin.Stats().Misses, "misses")
	// Output: true 2 misses
}

func ExampleConfigOf() {
	db, _, closeAll := configured("configof", cacheplugin.Config{Profiles: allCached})
	defer closeAll()

	config, err := cacheplugin.ConfigOf(db)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(config.Prefix, config.MaxRows, config.LeaseTTL)
	// Output: cacheplugin 10000 10s
}

// Compute caches bytes; package decorators has forms for values.
func ExampleCompute() {
	db, _, closeAll := configured("compute", cacheplugin.Config{Profiles: allCached})
	defer closeAll()

	titles := func() {
		value, hit, err := cacheplugin.Compute(db,
			cacheplugin.Computation{Name: "titles", Samples: []any{&Article{}}},
			func(ctx context.Context) ([]byte, error) {
				var title string
				err := db.WithContext(ctx).Model(&Article{}).Pluck("title", &title).Error
				return []byte(title), err
			})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %t\n", value, hit)
	}
	titles()
	titles()
	db.Model(&Article{}).Where("id = ?", 1).Update("title", "Deuterium")
	titles()
	// Output:
	// Hydrogen false
	// Hydrogen true
	// Deuterium false
}

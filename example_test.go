package cacheplugin_test

import (
	"context"
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

// Article is the model of the examples.
type Article struct {
	ID    uint
	TagID int
	Title string
}

// open opens a database in memory with the plugin and two articles, and a
// Redis inside of the process. last tells how the last query was answered.
func open(name string, profiles cacheplugin.Profiles) (db *gorm.DB, last *string, closeAll func()) {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	db, err := gorm.Open(sqlite.Open("file:/" + name + "?vfs=memdb"))
	if err != nil {
		log.Fatal(err)
	}
	last = new(string)
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis:    client,
		Profiles: profiles,
		Observer: cacheplugin.ObserverFunc(func(_ context.Context, e cacheplugin.Event) {
			if e.Kind == cacheplugin.EventHit || e.Kind == cacheplugin.EventMiss {
				*last = e.Kind.String()
			}
		}),
	})
	if err := db.Use(plugin); err != nil {
		log.Fatal(err)
	}
	if err := db.AutoMigrate(&Article{}); err != nil {
		log.Fatal(err)
	}
	if err := db.Create(&[]Article{{TagID: 1, Title: "Hydrogen"}, {TagID: 2, Title: "Helium"}}).Error; err != nil {
		log.Fatal(err)
	}
	return db, last, func() {
		_ = plugin.Close(context.Background())
		if pool, err := db.DB(); err == nil {
			_ = pool.Close()
		}
		_ = client.Close()
		server.Close()
	}
}

func ExampleNew() {
	db, last, closeAll := open("new", cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}})
	defer closeAll()

	list := func(tag int) {
		var articles []Article
		if err := db.Where("tag_id = ?", tag).Find(&articles).Error; err != nil {
			log.Fatal(err)
		}
		fmt.Println("tag", tag, articles[0].Title, *last)
	}
	list(1)
	list(1)
	list(2)
	db.Model(&Article{}).Where("id = ?", 1).Update("title", "Deuterium")
	list(1)
	list(2)
	// Output:
	// tag 1 Hydrogen miss
	// tag 1 Hydrogen hit
	// tag 2 Helium miss
	// tag 1 Deuterium miss
	// tag 2 Helium hit
}

func ExampleExplain() {
	db, _, closeAll := open("explain", cacheplugin.Profiles{"*": {Ops: cache.Get, Timeout: time.Hour}})
	defer closeAll()

	x, err := cacheplugin.Explain(db.Model(&Article{}).Where("tag_id IN ? AND title LIKE ?", []int{1, 2}, "H%"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(x.Op, x.Cached)
	fmt.Println(x.Reason)
	for _, d := range x.Dependencies {
		fmt.Println(d.Table, d.Conjunctions)
	}
	// Output:
	// fetch false
	// fetch is not among the operations to cache: get
	// main.articles [tag_id = 1 tag_id = 2]
}

// What a write would drop, and how its queries are cached, without doing it.
func ExampleExplainFunc() {
	db, _, closeAll := open("explainfunc", cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}})
	defer closeAll()
	var articles []Article
	db.Find(&articles, "tag_id = ?", 2)

	list, err := cacheplugin.ExplainFunc(db, func(tx *gorm.DB) error {
		if err := tx.Model(&Article{}).Where("id = ?", 1).Update("title", "Deuterium").Error; err != nil {
			return err
		}
		return tx.Model(&Article{}).Where("id = ?", 2).Update("title", "Tritium").Error
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, x := range list {
		for _, d := range x.Drops {
			fmt.Println(d.Table, "results:", len(d.Keys))
		}
	}
	// Output:
	// main.articles results: 0
	// main.articles results: 1
}

func ExampleInvalidateObj() {
	db, last, closeAll := open("invalidate", cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}})
	defer closeAll()

	list := func(tag int) {
		if err := db.Where("tag_id = ?", tag).Find(&[]Article{}).Error; err != nil {
			log.Fatal(err)
		}
		fmt.Println("tag", tag, *last)
	}
	list(1)
	list(2)
	// Something else than this program has changed an article of tag 1.
	if err := cacheplugin.InvalidateObj(db, Article{ID: 1, TagID: 1, Title: "Hydrogen"}); err != nil {
		log.Fatal(err)
	}
	list(1)
	list(2)
	// Output:
	// tag 1 miss
	// tag 2 miss
	// tag 1 miss
	// tag 2 hit
}

func Example_byHand() {
	// No operations: queries are cached where they ask for it.
	db, last, closeAll := open("cache", cacheplugin.Profiles{"*": {Timeout: time.Hour}})
	defer closeAll()

	for range 2 {
		var n int64
		err := db.Model(&Article{}).Scopes(cache.Cache(cache.Timeout(time.Minute), cache.Lock())).Where("tag_id = ?", 1).Count(&n).Error
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(n, *last)
	}
	// Output:
	// 1 miss
	// 1 hit
}

func ExampleNearCache() {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()
	db, err := gorm.Open(sqlite.Open("file:/near?vfs=memdb"))
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if pool, err := db.DB(); err == nil {
			_ = pool.Close()
		}
	}()
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis:     client,
		NearCache: &cacheplugin.NearCache{MaxBytes: 128 << 20},
		Profiles: cacheplugin.Profiles{
			"articles":  {Ops: cache.All, Timeout: time.Hour},                            // Redis confirms what is kept
			"countries": {Ops: cache.All, Timeout: time.Hour, MaxStale: 5 * time.Second}, // for 5 seconds it isn't asked
		},
	})
	if err := db.Use(plugin); err != nil {
		log.Fatal(err)
	}
	defer func() { _ = plugin.Close(context.Background()) }()
	if err := db.AutoMigrate(&Article{}); err != nil {
		log.Fatal(err)
	}
	if err := db.Create(&Article{ID: 1, Title: "Hydrogen"}).Error; err != nil {
		log.Fatal(err)
	}
	for range 3 {
		if err := db.First(&Article{}, 1).Error; err != nil {
			log.Fatal(err)
		}
	}
	stats := plugin.Stats()
	fmt.Println(stats.Misses, "miss;", stats.NearHits, "hits out of memory,", stats.NearValidated, "of them confirmed by Redis")
	// Output: 1 miss; 2 hits out of memory, 2 of them confirmed by Redis
}

package cache_test

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

// Order and Item are the models of the examples.
type Order struct {
	ID     uint
	UserID int
	Total  int
}

type Item struct {
	ID      uint
	OrderID uint
}

// shop opens a database in memory in which queries are cached by hand, with an
// order of one item, and a Redis inside of the process. last tells how the last
// query was answered.
func shop(name string) (db *gorm.DB, last *string, closeAll func()) {
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
		Profiles: cacheplugin.Profiles{"*": {Timeout: time.Hour}},
		Observer: cacheplugin.ObserverFunc(func(_ context.Context, e cacheplugin.Event) {
			if e.Kind == cacheplugin.EventHit || e.Kind == cacheplugin.EventMiss {
				*last = e.Kind.String()
			}
		}),
	})
	if err := db.Use(plugin); err != nil {
		log.Fatal(err)
	}
	if err := db.AutoMigrate(&Order{}, &Item{}); err != nil {
		log.Fatal(err)
	}
	if err := db.Create(&Order{ID: 1, UserID: 5, Total: 100}).Error; err != nil {
		log.Fatal(err)
	}
	if err := db.Create(&Item{OrderID: 1}).Error; err != nil {
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

func ExampleOn() {
	db, last, closeAll := shop("on")
	defer closeAll()

	list := func(when string) {
		var orders []Order
		err := db.Scopes(cache.Cache(cache.On("orders.user_id"))).
			Joins("JOIN items ON items.order_id = orders.id").
			Where("orders.user_id = ? AND orders.total > ?", 5, 10).
			Find(&orders).Error
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(when+":", len(orders), *last)
	}
	list("first")
	db.Create(&Order{UserID: 6, Total: 100})
	list("after an order of another user")
	db.Create(&Item{OrderID: 1})
	list("after an item, which is not seen")
	db.Model(&Order{}).Where("id = ?", 1).Update("total", 101)
	list("after a change of the order")
	// Output:
	// first: 1 miss
	// after an order of another user: 1 hit
	// after an item, which is not seen: 1 hit
	// after a change of the order: 2 miss
}

func ExampleDependsOn() {
	db, last, closeAll := shop("depends")
	defer closeAll()
	if err := db.Exec("CREATE VIEW sizes AS SELECT order_id, COUNT(*) AS items FROM items GROUP BY order_id").Error; err != nil {
		log.Fatal(err)
	}

	size := func() {
		var items int
		err := db.Table("sizes").Scopes(cache.Cache(cache.DependsOn(&Item{}))).Where("order_id = ?", 1).Select("items").Find(&items).Error
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(items, *last)
	}
	size()
	size()
	db.Create(&Item{OrderID: 1})
	size()
	// Output:
	// 1 miss
	// 1 hit
	// 2 miss
}

func ExampleAllowVolatile() {
	db, last, closeAll := shop("volatile")
	defer closeAll()

	for range 2 {
		var n int64
		err := db.Model(&Order{}).Scopes(cache.Cache(cache.AllowVolatile())).
			Where("datetime('now') > ?", "2000-01-01").Count(&n).Error
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(n, *last)
	}
	// Output:
	// 1 miss
	// 1 hit
}

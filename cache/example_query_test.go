package cache_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
)

// count counts the orders of user 5 and shows how that was answered.
func count(db *gorm.DB, last *string) {
	var n int64
	*last = "database"
	if err := db.Model(&Order{}).Where("user_id = ?", 5).Count(&n).Error; err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, *last)
}

func ExampleCache() {
	db, last, closeAll := shop("cache")
	defer closeAll()

	cached := db.Scopes(cache.Cache(cache.Timeout(time.Minute))).Session(&gorm.Session{})
	count(db, last) // the profile lists no operation
	count(cached, last)
	count(cached, last)
	db.Create(&Order{UserID: 5, Total: 7})
	count(cached, last)
	// Output:
	// 1 database
	// 1 miss
	// 1 hit
	// 2 miss
}

func ExampleNoCache() {
	db, last, closeAll := shop("nocache")
	defer closeAll()

	cached := db.Scopes(cache.Cache()).Session(&gorm.Session{})
	count(cached, last)
	count(cached, last)
	count(cached.Scopes(cache.NoCache()), last)
	// Output:
	// 1 miss
	// 1 hit
	// 1 database
}

func ExampleWith() {
	db, last, closeAll := shop("with")
	defer closeAll()

	for range 2 {
		orders, err := gorm.G[Order](db, cache.With()).Where("user_id = ?", 5).Find(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(orders), *last)
	}
	// Output:
	// 1 miss
	// 1 hit
}

func ExampleWithout() {
	db, last, closeAll := shop("without")
	defer closeAll()

	// The last clause counts.
	orders, err := gorm.G[Order](db, cache.With(), cache.Without()).Where("user_id = ?", 5).Find(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d, looked up: %t\n", len(orders), *last != "")
	// Output: 1, looked up: false
}

// One goroutine asks the database; the others wait for its result.
func ExampleLock() {
	db, last, closeAll := shop("lock")
	defer closeAll()

	cached := db.Scopes(cache.Cache(cache.Lock())).Session(&gorm.Session{})
	count(cached, last)
	count(cached, last)
	// Output:
	// 1 miss
	// 1 hit
}

// A scope that a page and its count share caches the count alone.
func ExampleOps() {
	db, last, closeAll := shop("ops")
	defer closeAll()

	paginator := db.Scopes(cache.Cache(cache.Ops(cache.Count))).Session(&gorm.Session{})
	count(paginator, last)
	count(paginator, last)
	*last = "database"
	if err := paginator.Where("user_id = ?", 5).Limit(10).Find(&[]Order{}).Error; err != nil {
		log.Fatal(err)
	}
	fmt.Println("page:", *last)
	// Output:
	// 1 miss
	// 1 hit
	// page: database
}

func ExampleTimeout() {
	db, last, closeAll := shop("timeout")
	defer closeAll()

	hour := db.Scopes(cache.Cache(cache.Timeout(time.Hour))).Session(&gorm.Session{})
	count(hour, last)
	count(hour, last)
	// Output:
	// 1 miss
	// 1 hit
}

func ExampleExtra() {
	db, last, closeAll := shop("extra")
	defer closeAll()

	for _, locale := range []string{"de", "en", "de"} {
		count(db.Scopes(cache.Cache(cache.Extra(locale))), last)
	}
	// Output:
	// 1 miss
	// 1 miss
	// 1 hit
}

// Without Config.NearCache the option does nothing.
func ExampleMaxStale() {
	db, last, closeAll := shop("maxstale")
	defer closeAll()

	cached := db.Scopes(cache.Cache(cache.MaxStale(5 * time.Second))).Session(&gorm.Session{})
	count(cached, last)
	count(cached, last)
	// Output:
	// 1 miss
	// 1 hit
}

func ExampleVary() {
	db, last, closeAll := shop("vary")
	defer closeAll()

	cached := db.Scopes(cache.Cache()).Session(&gorm.Session{})
	seven := cache.Vary(context.Background(), "tenant-7")
	eight := cache.Vary(context.Background(), "tenant-8")
	count(cached.WithContext(seven), last)
	count(cached.WithContext(eight), last)
	count(cached.WithContext(seven), last)
	db.Create(&Order{UserID: 5, Total: 7}) // drops all variants
	count(cached.WithContext(seven), last)
	// Output:
	// 1 miss
	// 1 miss
	// 1 hit
	// 2 miss
}

func ExampleWithoutCache() {
	db, last, closeAll := shop("withoutcache")
	defer closeAll()

	cached := db.Scopes(cache.Cache()).Session(&gorm.Session{})
	count(cached, last)
	count(cached.WithContext(cache.WithoutCache(context.Background())), last)
	// Output:
	// 1 miss
	// 1 database
}

// The caller takes the promise on itself.
func ExampleWithoutInvalidation() {
	db, last, closeAll := shop("withoutinvalidation")
	defer closeAll()

	cached := db.Scopes(cache.Cache()).Session(&gorm.Session{})
	count(cached, last)
	silent := db.WithContext(cache.WithoutInvalidation(context.Background()))
	silent.Create(&Order{UserID: 5, Total: 7})
	count(cached, last)
	// Output:
	// 1 miss
	// 1 hit
}

func ExampleWithInfo() {
	db, _, closeAll := shop("info")
	defer closeAll()

	read := func(db *gorm.DB) {
		var info cache.Info
		if err := db.Scopes(cache.WithInfo(&info)).Where("user_id = ?", 5).Find(&[]Order{}).Error; err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %v %q\n", info.Outcome, info.Tables, info.Reason)
	}
	cached := db.Scopes(cache.Cache()).Session(&gorm.Session{})
	read(cached)
	read(cached)
	read(db)
	// Output:
	// miss [main.orders] ""
	// hit [main.orders] ""
	// bypassed [] "the profile of orders lists no operations"
}

// A context tells of all its queries.
func ExampleContextWithInfo() {
	db, _, closeAll := shop("contextinfo")
	defer closeAll()

	var info cache.Info
	ctx := cache.ContextWithInfo(context.Background(), &info)
	for range 2 {
		if _, err := gorm.G[Order](db, cache.With()).Where("user_id = ?", 5).Find(ctx); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(info.Outcome, info.Further[0].Outcome, info.AllHits())
	// Output: miss hit false
}

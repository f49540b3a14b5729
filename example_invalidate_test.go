package cacheplugin_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
)

// allCached caches all operations on all tables.
var allCached = cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}}

// showTag asks for the articles of a tag and shows how that was answered.
func showTag(db *gorm.DB, last *string, tag int) {
	*last = "database"
	var articles []Article
	if err := db.Where("tag_id = ?", tag).Find(&articles).Error; err != nil {
		log.Fatal(err)
	}
	fmt.Println("tag", tag, len(articles), *last)
}

func ExampleInvalidateValues() {
	db, last, closeAll := open("invalidatevalues", allCached)
	defer closeAll()

	showTag(db, last, 1)
	showTag(db, last, 2)
	// Another program has changed articles of tag 1.
	if err := cacheplugin.InvalidateValues(db, &Article{}, map[string]any{"tag_id": 1}); err != nil {
		log.Fatal(err)
	}
	showTag(db, last, 1)
	showTag(db, last, 2)
	// Output:
	// tag 1 1 miss
	// tag 2 1 miss
	// tag 1 1 miss
	// tag 2 1 hit
}

func ExampleInvalidateModel() {
	db, last, closeAll := open("invalidatemodel", allCached)
	defer closeAll()

	showTag(db, last, 1)
	if err := cacheplugin.InvalidateModel(db, &Article{}); err != nil {
		log.Fatal(err)
	}
	showTag(db, last, 1)
	// Output:
	// tag 1 1 miss
	// tag 1 1 miss
}

func ExampleInvalidatePattern() {
	db, last, closeAll := open("invalidatepattern", allCached)
	defer closeAll()

	showTag(db, last, 1)
	if err := cacheplugin.InvalidatePattern(db, "auth_*"); err != nil { // not this table
		log.Fatal(err)
	}
	showTag(db, last, 1)
	if err := cacheplugin.InvalidatePattern(db, "art*"); err != nil {
		log.Fatal(err)
	}
	showTag(db, last, 1)
	// Output:
	// tag 1 1 miss
	// tag 1 1 hit
	// tag 1 1 miss
}

func ExampleInvalidateAll() {
	db, last, closeAll := open("invalidateall", allCached)
	defer closeAll()

	showTag(db, last, 1)
	showTag(db, last, 2)
	if err := cacheplugin.InvalidateAll(db); err != nil {
		log.Fatal(err)
	}
	showTag(db, last, 1)
	showTag(db, last, 2)
	// Output:
	// tag 1 1 miss
	// tag 2 1 miss
	// tag 1 1 miss
	// tag 2 1 miss
}

// An import of many transactions is invalidated once, at the end.
func ExamplePostpone() {
	db, last, closeAll := open("postpone", allCached)
	defer closeAll()

	showTag(db, last, 1)
	err := cacheplugin.Postpone(db, func(tx *gorm.DB) error {
		for _, title := range []string{"Deuterium", "Tritium"} {
			if err := tx.Create(&Article{TagID: 1, Title: title}).Error; err != nil {
				return err
			}
		}
		showTag(tx, last, 1) // has written: reads the database
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	showTag(db, last, 1)
	// Output:
	// tag 1 1 miss
	// tag 1 3 database
	// tag 1 3 miss
}

// Reads before a transaction's first write may come from the cache, and what it
// changes is invalidated by its commit; a rollback drops nothing. (Not on SQLite,
// whose transactions see one snapshot: they read the database.)
func Example_transaction() {
	db, last, closeAll := open("transaction", allCached)
	defer closeAll()

	move := func(err error) {
		_ = db.Transaction(func(tx *gorm.DB) error {
			tx.Model(&Article{}).Where("id = ?", 2).Update("tag_id", 1)
			showTag(tx, last, 1)
			return err
		})
	}
	showTag(db, last, 1)
	move(errors.New("no"))
	showTag(db, last, 1)
	move(nil)
	showTag(db, last, 1)
	// Output:
	// tag 1 1 miss
	// tag 1 2 database
	// tag 1 1 hit
	// tag 1 2 database
	// tag 1 2 miss
}

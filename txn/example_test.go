package txn_test

import (
	"context"
	"fmt"
	"log"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/txn"
)

// changes is a journal of texts.
type changes struct{ made []string }

// Flush implements txn.Journal.
func (c *changes) Flush(context.Context) error {
	fmt.Println("committed:", c.made)
	return nil
}

// What a transaction has noted is flushed when COMMIT has been tried, before
// Commit returns; a rollback drops it.
func ExamplePools_Install() {
	db, err := gorm.Open(sqlite.Open("file:/install?vfs=memdb"))
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if pool, err := db.DB(); err == nil {
			_ = pool.Close()
		}
	}()
	var pools txn.Pools
	if err := pools.Install(db, txn.Options{NewJournal: func() txn.Journal { return &changes{} }}); err != nil {
		log.Fatal(err)
	}

	note := func(change string, result error) {
		_ = db.Transaction(func(tx *gorm.DB) error {
			where, open := pools.Of(tx.Statement.ConnPool)
			fmt.Println(change, where == txn.InTx, open.Dirty())
			open.MarkDirty()
			if err := open.Record(context.Background(), func(j txn.Journal) {
				j.(*changes).made = append(j.(*changes).made, change)
			}); err != nil {
				return err
			}
			return result
		})
	}
	note("one", nil)
	note("another", gorm.ErrInvalidData)
	// Output:
	// one true false
	// committed: [one]
	// another true false
}

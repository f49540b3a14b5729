package cacheplugin_test

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
)

// errTwinUndo rolls a transaction back.
var errTwinUndo = errors.New("undo")

// change writes once, or runs a transaction. It returns what differs in it.
func (tw *twin) change() (difference string) {
	db := tw.db.WithContext(tw.ctx)
	if tw.steps%50 == 0 {
		tw.prune(db)
	}
	switch tw.IntN(10) {
	case 0, 1:
		tw.note("transaction")
		return tw.transaction(db)
	case 2:
		return tw.manual(db)
	case 3:
		db = db.Session(&gorm.Session{SkipDefaultTransaction: true})
		tw.note("without the default transaction:")
	case 4:
		db = db.Session(&gorm.Session{PrepareStmt: true})
		tw.note("in a prepared session:")
	}
	_ = tw.do(db)
	return ""
}

// prune bounds the number of rows, by writes like any other.
func (tw *twin) prune(db *gorm.DB) {
	tw.note("prune")
	db.Exec("DELETE FROM twin_books WHERE id > ?", maxTwinID+2)
	db.Unscoped().Where("id > ?", maxTwinID+2).Delete(&twinAuthor{})
}

// do draws a write and runs it.
func (tw *twin) do(db *gorm.DB) error {
	w := tw.write()
	err := w.run(db)
	tw.stats.writes++
	if err != nil {
		tw.stats.failed++
	}
	tw.note("%s -> %v", w.name, err)
	return err
}

// transaction runs writes in nested transactions of random ends.
func (tw *twin) transaction(db *gorm.DB) (difference string) {
	undo, panics := tw.chance(3), tw.chance(10)
	defer func() {
		if r := recover(); r != nil && r != errTwinUndo {
			panic(r)
		}
	}()
	err := db.Transaction(func(tx *gorm.DB) error {
		if difference = tw.inside(tx, 2); difference != "" {
			return errTwinUndo
		}
		if undo && panics {
			tw.note("panic")
			panic(errTwinUndo)
		}
		if undo {
			return errTwinUndo
		}
		return nil
	})
	tw.note("end of transaction -> %v", err)
	return difference
}

// inside writes and reads in an open transaction.
func (tw *twin) inside(tx *gorm.DB, depth int) (difference string) {
	for range 1 + tw.IntN(3) {
		switch tw.IntN(8) {
		case 0, 1, 2:
			// PostgreSQL ends a transaction by its first error.
			err := tx.Transaction(func(tx *gorm.DB) error { return tw.do(tx) })
			if err != nil && tw.dialect == "mysql" {
				tw.note("savepoint -> %v", err)
			}
		case 3:
			if depth > 0 {
				tw.note("nested transaction")
				err := tx.Transaction(func(tx *gorm.DB) error {
					if difference = tw.inside(tx, depth-1); difference != "" {
						return errTwinUndo
					}
					return pick(tw.twinGen, nil, errTwinUndo)
				})
				tw.note("end of nested transaction -> %v", err)
			}
		case 4:
			name := fmt.Sprintf("sp%d", tw.IntN(100))
			tx.SavePoint(name)
			err := tw.do(tx)
			if err != nil || tw.chance(2) {
				tw.note("rollback to %s -> %v", name, tx.RollbackTo(name).Error)
			}
		}
		if difference == "" {
			difference = tw.look(tx)
		}
		if difference != "" {
			return difference
		}
	}
	return ""
}

// look compares some queries in the transaction, and outside of it.
func (tw *twin) look(tx *gorm.DB) string {
	for range 3 {
		q := pick(tw.twinGen, tw.queries...)
		if q.last.err != "" && q.last.err != gorm.ErrRecordNotFound.Error() || q.last.dest == nil {
			continue // would end the transaction
		}
		truth := q.ask(tx.WithContext(cache.WithoutCache(context.Background())))
		got := q.ask(tx.WithContext(context.Background()))
		tw.stats.inside++
		if !truth.equal(got) {
			return tw.report(q.twinQuery, "a difference inside of the transaction", truth, got)
		}
	}
	if !tw.env.ReadsDuringWrite {
		return ""
	}
	for range 2 {
		if d := tw.compare(pick(tw.twinGen, tw.queries...)); d != "" {
			return d + "\n(outside of the open transaction)"
		}
	}
	return ""
}

// manual begins and ends a transaction by hand.
func (tw *twin) manual(db *gorm.DB) (difference string) {
	tw.note("begin")
	tx := db.Begin()
	if difference = tw.inside(tx, 1); difference != "" {
		tx.Rollback()
		return difference
	}
	if tw.chance(3) {
		tw.note("rollback -> %v", tx.Rollback().Error)
	} else {
		tw.note("commit -> %v", tx.Commit().Error)
	}
	return ""
}

package twin

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
)

// errTwinUndo rolls a transaction back.
var errTwinUndo = errors.New("undo")

// change writes once, or runs a transaction. It returns what differs in it.
func (tw *twin) change() (difference string) {
	h := tw.handle()
	db := h.db.WithContext(tw.ctx)
	if tw.steps%30 == 0 {
		tw.prune(db)
	}
	switch tw.IntN(12) {
	case 0, 1:
		tw.note("transaction")
		return tw.transaction(db)
	case 2:
		return tw.manual(db)
	case 5:
		return tw.reader(h)
	case 7:
		return tw.duel()
	case 6:
		if tw.ddl && tw.chance(4) {
			tw.define(db)
			return ""
		}
	case 3:
		db = db.Session(&gorm.Session{SkipDefaultTransaction: true})
		tw.note("without the default transaction:")
	case 4:
		db = db.Session(&gorm.Session{PrepareStmt: tw.sessions})
		tw.note("in a session, prepared %v:", tw.sessions)
	}
	tw.wrapped(db)
	for tw.focus != nil && !tw.chance(3) {
		tw.wrapped(db) // most change nothing that is asked for
	}
	return ""
}

// wrapped runs one write, mostly in a transaction of its own: there more is
// known of a raw one.
func (tw *twin) wrapped(db *gorm.DB) {
	w := tw.write()
	if tw.chance(3) {
		_ = tw.run(db, w)
		return
	}
	if err := db.Transaction(func(tx *gorm.DB) error { return tw.run(tx, w) }); err != nil {
		tw.note("rolled back")
	}
}

// prune bounds the number of rows from both sides, by writes like any other.
func (tw *twin) prune(db *gorm.DB) {
	tw.note("prune")
	for _, t := range []string{"twin_books", "twin_profiles", "twin_badges", "twin_marks", "twin_items", "twin_sorts", "twin_events"} {
		db.Exec("DELETE FROM "+t+" WHERE id > ?", maxTwinID+2)
	}
	db.Unscoped().Where("id > ?", maxTwinID+2).Delete(&twinAuthor{})
	for range 6 {
		row := tw.row(tw.table(twinModelled...))
		tw.note("refill %s -> %v", showRows(row), db.Create(row).Error)
	}
	if tw.dialect == "sqlite" {
		db.Exec("UPDATE twin_authors SET grp = 1, flag = 0, level = 2, name = 'a' WHERE typeof(grp) <> 'integer' OR typeof(level) NOT IN ('integer', 'null') OR flag NOT IN (0, 1)")
		db.Exec("UPDATE twin_books SET stars = 1 WHERE typeof(stars) NOT IN ('integer', 'null')")
	} else {
		db.Exec("UPDATE twin_authors SET flag = true WHERE flag NOT IN (true, false)")
	}
}

// define changes a table's definition.
func (tw *twin) define(db *gorm.DB) {
	texts := []string{
		fmt.Sprintf("ALTER TABLE twin_books ADD COLUMN extra%d int DEFAULT %d", tw.steps, tw.IntN(3)),
		"CREATE INDEX twin_extra ON twin_books (stars)",
		"CREATE TABLE twin_other (id int)",
		"DROP TABLE twin_other",
	}
	if tw.dialect != "sqlite" {
		texts = append(texts, "TRUNCATE twin_slots", "TRUNCATE TABLE twin_slots")
	}
	text := pick(tw.twinGen, texts...)
	tw.note("%s -> %v", text, db.Exec(text).Error)
	if tw.dialect == "sqlite" {
		tw.refresh()
	}
}

// refresh makes all connections know the tables anew. SQLite's driver gives the
// columns of before to the first query of a connection after a change that
// another has made.
func (tw *twin) refresh() {
	for _, h := range tw.handles {
		for _, db := range []*gorm.DB{h.db, h.truth} {
			pool, err := db.DB()
			if err != nil {
				panic(err)
			}
			var held []*sql.Conn
			for range pool.Stats().Idle {
				c, err := pool.Conn(context.Background())
				if err != nil {
					panic(err)
				}
				held = append(held, c)
				var n int
				if err := c.QueryRowContext(context.Background(), "SELECT count(*) FROM twin_tags").Scan(&n); err != nil {
					panic(err)
				}
			}
			for _, c := range held {
				_ = c.Close()
			}
		}
	}
}

// reader reads in a transaction while others write.
func (tw *twin) reader(h twinHandle) (difference string) {
	db := h.db.WithContext(tw.ctx)
	if !tw.env.ReadsDuringWrite || h.immediate {
		_ = tw.do(db)
		return ""
	}
	level := sql.LevelDefault
	if tw.dialect != "sqlite" {
		level = pick(tw.twinGen, sql.LevelDefault, sql.LevelReadCommitted, sql.LevelRepeatableRead)
	}
	tw.note("reader, %s", level)
	tx := db.Begin(&sql.TxOptions{Isolation: level})
	defer func() { tw.note("end of reader -> %v", tx.Rollback().Error) }()
	for range 1 + tw.IntN(2) {
		if difference = tw.look(tx); difference != "" {
			return difference
		}
		_ = tw.do(tw.handle().db.WithContext(tw.ctx))
	}
	return tw.look(tx)
}

// duel lets two transactions write at the same time. The second waits where it
// meets the rows of the first, and must not take them for what they were before.
func (tw *twin) duel() (difference string) {
	if !tw.env.ReadsDuringWrite {
		_ = tw.do(tw.handle().db.WithContext(tw.ctx))
		return ""
	}
	first, second := tw.polite(), tw.polite()
	if tw.focus != nil || tw.chance(2) {
		first, second = tw.rivals()
	}
	level := sql.LevelDefault
	if tw.dialect != "sqlite" {
		level = pick(tw.twinGen, sql.LevelDefault, sql.LevelReadCommitted, sql.LevelRepeatableRead)
	}
	options := &sql.TxOptions{Isolation: level}
	a, b := tw.handle().db.WithContext(tw.ctx), tw.handle().db.WithContext(context.WithValue(tw.ctx, rival{}, true))
	undoFirst, undoSecond, between := tw.chance(5), tw.chance(5), tw.chance(2)
	tw.stats.writes += 2

	tx := a.Begin(options)
	tw.note("duel, %s: first %s -> %v", level, first.name, first.run(tx))
	type outcome struct {
		tx  *gorm.DB
		err error
	}
	done := make(chan outcome, 1)
	tw.dueling = true
	go func() {
		tx := b.Begin(options)
		done <- outcome{tx, second.run(tx)}
	}()
	for range 2 {
		if difference == "" {
			difference = tw.compare(pick(tw.twinGen, tw.queries...))
		}
	}
	if undoFirst {
		tw.note("first rolled back -> %v", tx.Rollback().Error)
	} else {
		tw.note("first committed -> %v", tx.Commit().Error)
	}
	o := <-done
	tw.dueling = false
	tw.note("second %s -> %v", second.name, o.err)
	if between {
		for _, q := range tw.queries {
			if difference == "" {
				difference = tw.compare(q)
			}
		}
	}
	if undoSecond {
		tw.note("second rolled back -> %v", o.tx.Rollback().Error)
	} else {
		tw.note("second committed -> %v", o.tx.Commit().Error)
	}
	return difference
}

// rivals are two writes of one row.
func (tw *twin) rivals() (first, second twinWrite) {
	t := tw.table(twinPlain...)
	key := tw.keyCond(t)
	one := func() twinWrite {
		set := pick(tw.twinGen, t.writable(false)...)
		if focus := tw.focus[t]; len(focus) > 0 {
			if c := pick(tw.twinGen, focus...); slices.Contains(t.writable(false), c) {
				set = c
			}
		}
		value := tw.value(set)
		c := key
		if tw.chance(4) {
			c = tw.term(t, "")
		}
		if tw.chance(8) {
			return twinWrite{fmt.Sprintf("delete from %s where %v", t.name, c), func(db *gorm.DB) error { return db.Where(c.sql, c.args...).Delete(t.one()).Error }}
		}
		return twinWrite{fmt.Sprintf("update %s set %s = %s where %v", t.name, set.name, showValue(value), c), func(db *gorm.DB) error {
			return db.Model(t.one()).Where(c.sql, c.args...).Update(set.name, value).Error
		}}
	}
	return one(), one()
}

// do draws a write and runs it.
func (tw *twin) do(db *gorm.DB) error {
	w := tw.polite()
	return tw.run(db, w)
}

// polite draws a write that others can read next to.
func (tw *twin) polite() twinWrite {
	for {
		if w := tw.write(); !w.exclusive() {
			return w
		}
	}
}

func (tw *twin) run(db *gorm.DB, w twinWrite) error {
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
	var options []*sql.TxOptions
	if tw.chance(3) && tw.dialect != "sqlite" {
		level := pick(tw.twinGen, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable)
		tw.note("%s", level)
		options = append(options, &sql.TxOptions{Isolation: level})
	}
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
	}, options...)
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
		case 5:
			name := fmt.Sprintf("raw%d", tw.IntN(3))
			tw.note("savepoint %s -> %v", name, tx.Exec("SAVEPOINT "+name).Error)
			err := tw.do(tx)
			if err != nil || tw.chance(2) {
				tw.note("rollback to %s -> %v", name, tx.Exec("ROLLBACK TO "+pick(tw.twinGen, "", "SAVEPOINT ")+name).Error)
			}
			if tw.chance(2) {
				tw.note("release %s -> %v", name, tx.Exec("RELEASE SAVEPOINT "+name).Error)
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
		if q.refused() {
			continue // would end the transaction
		}
		truth := q.ask(tx.WithContext(cache.WithoutCache(context.Background())))
		if tw.dialect == "postgres" && truth.refused() {
			return "" // nothing more can be read in it
		}
		got := q.ask(tx.WithContext(context.Background()))
		tw.stats.inside++
		if !truth.equal(got) {
			return tw.report(q, "a difference inside of the transaction", truth, got)
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

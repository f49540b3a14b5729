package work

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/checker/internal/history"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
)

// writer is one client that writes.
type writer struct {
	job    Job
	db     *gorm.DB
	beside *gorm.DB // on the same pool, without the plugin
	random *rand.Rand
	log    *history.Writer
	seq    uint32
}

// transaction is a writer's present transaction, as the hook and the Observer
// see it.
type transaction struct {
	log     *history.Writer
	seq     uint32
	begun   bool // COMMIT is about to be sent
	noted   bool // the answer to COMMIT
	untold  bool // the invalidation was queued
	failure error
}

// answered notes the answer to COMMIT, at the first invalidation after it was sent.
// Before there may be some, where the database has ended the transaction by an error.
func (t *transaction) answered() {
	if t.begun && !t.noted {
		t.noted = true
		t.note(history.Record{Kind: history.WriteDone, Start: history.Now()})
	}
}

func (t *transaction) observe(e cacheplugin.Event) {
	if e.Kind == cacheplugin.EventError && e.Reason == "an invalidation did not get through" {
		t.untold = true
	}
}

func (t *transaction) note(r history.Record) {
	r.Seq = t.seq
	t.failure = errors.Join(t.failure, t.log.Add(&r))
}

// errNothing makes a transaction roll back: there was nothing to be done, or
// another one was in the way.
var errNothing = errors.New("nothing to do")

// outcome is what became of a transaction.
type outcome uint8

const (
	committed outcome = iota
	rolledBack
	failed
)

// one does and writes down one transaction. An error is one of the history; the
// database's count as failed.
func (w *writer) one() (outcome, error) {
	w.seq++
	t := &transaction{log: w.log, seq: w.seq}
	ctx := context.WithValue(context.Background(), transactionKey{}, t)
	open, err := w.begin(ctx)
	if err != nil {
		return failed, nil
	}
	states, err := w.change(open.tx)
	if err == nil && (len(states) == 0 || w.random.IntN(12) == 0) {
		err = errNothing // or all is taken back
	}
	if err != nil {
		_ = open.rollback() // what it has done is not asked for
		if errors.Is(err, errNothing) {
			return rolledBack, nil
		}
		return failed, nil
	}
	t.begun = true
	t.note(history.Record{Kind: history.WriteBegin, Start: history.Now(), States: states})
	err = open.commit()
	switch {
	case err == nil:
		t.note(history.Record{Kind: history.WriteReturn, Start: history.Now(), Untold: t.untold || w.job.Foreign})
		if w.job.Foreign {
			// If the database is gone by now, nobody can say when it was told.
			if place, err := testdb.LogEnd(w.db); err == nil {
				t.note(history.Record{Kind: history.WriteLogged, Start: history.Now(), Place: place})
			}
		}
		return committed, t.failure
	case errors.Is(err, cacheplugin.ErrNotFenced):
		t.note(history.Record{Kind: history.WriteAborted, Start: history.Now()})
	}
	return failed, t.failure // and maybe committed
}

// change does one of the things that a transaction does to rows, and returns
// what becomes of these.
func (w *writer) change(tx *gorm.DB) ([]history.State, error) {
	id := uint32(1 + w.random.IntN(w.job.Items))
	group := uint32(1 + w.random.IntN(w.job.Groups))
	switch w.random.IntN(20) {
	case 0: // raw
		return w.updated(tx, tx.Exec("UPDATE items SET ver = ver + 1, grp = ? WHERE id = ?", group, id), id)
	case 1, 2, 3: // several rows, in an order that makes no deadlock
		var states []history.State
		ids := []uint32{id, uint32(1 + w.random.IntN(w.job.Items)), uint32(1 + w.random.IntN(w.job.Items))}
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			s, err := w.updated(tx, w.update(tx, id, group), id)
			if errors.Is(err, errNothing) {
				continue
			}
			if err != nil {
				return nil, err
			}
			states = append(states, s...)
		}
		return states, nil
	case 4: // some of it is taken back
		states, err := w.updated(tx, w.update(tx, id, group), id)
		if err != nil {
			return nil, err
		}
		other := id%uint32(w.job.Items) + 1
		err = errors.Join(tx.SavePoint("here").Error, w.update(tx, other, group).Error, tx.RollbackTo("here").Error)
		return states, err
	case 5, 6:
		return w.bury(tx, history.Row{Table: history.Items, ID: id})
	case 7, 8, 9:
		return w.revive(tx, history.Row{Table: history.Items, ID: id}, group)
	case 10: // it goes and comes back
		if _, err := w.bury(tx, history.Row{Table: history.Items, ID: id}); err != nil {
			return nil, err
		}
		states, err := w.revive(tx, history.Row{Table: history.Items, ID: id}, group)
		if err != nil {
			return nil, err
		}
		// One transaction makes one version.
		states[0].Version--
		return states, tx.Model(&Item{}).Where("id = ?", id).Update("ver", states[0].Version).Error
	case 11:
		return w.updateGroup(tx, group)
	case 12, 13: // the table that is joined
		var team Team
		if err := affected(tx.Model(&Team{}).Where("id = ?", group).Update("ver", gorm.Expr("ver + 1"))); err != nil {
			return nil, err
		}
		err := tx.Take(&team, group).Error
		return []history.State{team.state()}, err
	case 14:
		return w.bury(tx, history.Row{Table: history.Groups, ID: group})
	case 15:
		return w.revive(tx, history.Row{Table: history.Groups, ID: group}, 0)
	default:
		return w.updated(tx, w.update(tx, id, group), id)
	}
}

// update gives an item its next version, and half of the time a group.
func (w *writer) update(tx *gorm.DB, id, group uint32) *gorm.DB {
	set := map[string]any{"ver": gorm.Expr("ver + 1")}
	if w.random.IntN(2) == 0 {
		set["grp"] = group
	}
	return tx.Model(&Item{}).Where("id = ?", id).Updates(set)
}

// affected is an error if a statement failed, or has changed nothing.
func affected(db *gorm.DB) error {
	if db.Error == nil && db.RowsAffected == 0 {
		return errNothing
	}
	return db.Error
}

// updated is the state of an item that a statement has updated.
func (w *writer) updated(tx, statement *gorm.DB, id uint32) ([]history.State, error) {
	if err := affected(statement); err != nil {
		return nil, err
	}
	var item Item
	if err := tx.Take(&item, id).Error; err != nil {
		return nil, err
	}
	return []history.State{item.state()}, nil
}

// updateGroup updates all items of a group by one statement.
func (w *writer) updateGroup(tx *gorm.DB, group uint32) ([]history.State, error) {
	var before, after []Item
	if err := w.locked(tx).Where("grp = ?", group).Order("id").Find(&before).Error; err != nil {
		return nil, err
	}
	changed := tx.Model(&Item{}).Where("grp = ?", group).Update("ver", gorm.Expr("ver + 1"))
	if err := affected(changed); err != nil {
		return nil, err
	}
	ids := make([]uint32, len(before))
	for i := range before {
		ids[i] = before[i].ID
	}
	if err := tx.Where("id IN ?", ids).Order("id").Find(&after).Error; err != nil {
		return nil, err
	}
	// Rows that came in between are not known here: leave it.
	if int(changed.RowsAffected) != len(before) || len(after) != len(before) {
		return nil, errNothing
	}
	states := make([]history.State, len(after))
	for i, item := range after {
		if item.Ver != before[i].Ver+1 {
			return nil, errNothing
		}
		states[i] = item.state()
	}
	return states, nil
}

// locked locks what is read. SQLite's transactions lock everything from their
// start, see open.
func (w *writer) locked(tx *gorm.DB) *gorm.DB {
	if w.job.Dialect == "sqlite" {
		return tx
	}
	return tx.Clauses(clause.Locking{Strength: "UPDATE"})
}

// bury deletes a row and keeps its version.
func (w *writer) bury(tx *gorm.DB, row history.Row) ([]history.State, error) {
	var (
		item Item
		team Team
		err  error
	)
	gone := history.State{Row: row}
	if row.Table == history.Items {
		err = affected(w.locked(tx).Find(&item, row.ID))
		gone.Version = item.Ver + 1
		if err == nil {
			err = affected(tx.Delete(&Item{}, row.ID))
		}
	} else {
		err = affected(w.locked(tx).Find(&team, row.ID))
		gone.Version = team.Ver + 1
		if err == nil {
			err = affected(tx.Delete(&Team{}, row.ID))
		}
	}
	if err != nil {
		return nil, err
	}
	return []history.State{gone}, tx.Create(&Tomb{ID: tombOf(row), Ver: gone.Version}).Error
}

// revive makes a deleted row anew.
func (w *writer) revive(tx *gorm.DB, row history.Row, group uint32) ([]history.State, error) {
	var tomb Tomb
	if err := affected(w.locked(tx).Find(&tomb, tombOf(row))); err != nil {
		return nil, err
	}
	if err := affected(tx.Delete(&Tomb{}, tombOf(row))); err != nil {
		return nil, err
	}
	if row.Table == history.Groups {
		team := Team{ID: row.ID, Ver: tomb.Ver + 1}
		return []history.State{team.state()}, tx.Create(&team).Error
	}
	item := Item{ID: row.ID, Grp: group, Ver: tomb.Ver + 1}
	return []history.State{item.state()}, tx.Create(&item).Error
}

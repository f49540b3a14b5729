package lists

import (
	"fmt"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

const followers, followees, keys = 3, 30, 120

func (w *twin) follow() Follow {
	f := Follow{
		FollowerID: w.rand.IntN(followers), FolloweeID: w.rand.IntN(followees),
		Enabled: w.rand.IntN(2) == 0, CreatedAt: at(w.rand.IntN(6) * 600),
	}
	if w.rand.IntN(3) == 0 {
		note := fmt.Sprint("note ", w.rand.IntN(9))
		f.Note = &note
	}
	if w.rand.IntN(5) == 0 {
		f.DeletedAt = gorm.DeletedAt{Time: at(0), Valid: true}
	}
	return f
}

// write writes something, or fails at it, and says what.
func (w *twin) write(db *gorm.DB) string {
	forms := writes()
	n := w.rand.IntN(len(forms) + 4)
	if n >= len(forms) {
		return w.transaction(db)
	}
	f := forms[n]
	write := func(tx *gorm.DB) error { return f.write(w, tx) }
	var err error
	if strings.Contains(f.name, "raw") && w.rand.IntN(4) > 0 { // else which rows it writes isn't known
		err = db.Transaction(write)
	} else {
		err = write(db)
	}
	if err != nil {
		w.failed++
		return f.name + ", which failed"
	}
	return f.name
}

// transaction writes something in a transaction, or in a savepoint of the one that there
// is, and commits it or takes it back, all of it or a part.
func (w *twin) transaction(db *gorm.DB) string {
	text := "["
	_ = db.Transaction(func(tx *gorm.DB) error {
		for range 1 + w.rand.IntN(3) {
			text += " " + w.write(tx)
		}
		if w.rand.IntN(4) == 0 {
			tx.SavePoint("here")
			text += " savepoint " + w.write(tx)
			if w.rand.IntN(2) == 0 {
				tx.RollbackTo("here")
				text += " undone"
			}
		}
		if w.rand.IntN(3) == 0 {
			text += " rolled back"
			return gorm.ErrInvalidTransaction
		}
		return nil
	})
	return text + "]"
}

// form is a form of a write.
type form struct {
	name  string
	write func(w *twin, db *gorm.DB) error
}

func writes() []form {
	key := func(w *twin) int { return 1 + w.rand.IntN(keys) }
	byKey := func(w *twin, db *gorm.DB) *gorm.DB { return db.Model(&Follow{}).Where("id = ?", key(w)) }
	some := func(w *twin, db *gorm.DB) *gorm.DB {
		return db.Model(&Follow{}).Where("follower_id = ? AND followee_id < ?", w.rand.IntN(followers), w.rand.IntN(followees)/6)
	}
	one := func(w *twin, db *gorm.DB) *gorm.DB {
		return db.Where("follower_id = ? AND followee_id = ?", w.rand.IntN(followers), w.rand.IntN(followees))
	}
	pair := []clause.Column{{Name: "follower_id"}, {Name: "followee_id"}}
	return []form{
		{"create", func(w *twin, db *gorm.DB) error { f := w.follow(); return db.Create(&f).Error }},
		{"create several", func(w *twin, db *gorm.DB) error { return db.Create([]Follow{w.follow(), w.follow()}).Error }},
		{"create in batches", func(w *twin, db *gorm.DB) error {
			return db.CreateInBatches([]Follow{w.follow(), w.follow(), w.follow()}, 2).Error
		}},
		{"create from a map", func(w *twin, db *gorm.DB) error {
			f := w.follow()
			return db.Model(&Follow{}).Create(map[string]any{"follower_id": f.FollowerID, "followee_id": f.FolloweeID, "enabled": f.Enabled, "created_at": f.CreatedAt}).Error
		}},
		{"first or create", func(w *twin, db *gorm.DB) error {
			var f Follow
			return one(w, db).Attrs(Follow{FollowerID: 1, FolloweeID: w.rand.IntN(followees), CreatedAt: at(60)}).FirstOrCreate(&f).Error
		}},
		{"upsert", func(w *twin, db *gorm.DB) error {
			f := w.follow()
			return db.Clauses(clause.OnConflict{Columns: pair, UpdateAll: true}).Create(&f).Error
		}},
		{"upsert of some columns", func(w *twin, db *gorm.DB) error {
			f := w.follow()
			return db.Clauses(clause.OnConflict{Columns: pair, DoUpdates: clause.AssignmentColumns([]string{"created_at", "deleted_at"})}).Create(&f).Error
		}},
		{"create or leave", func(w *twin, db *gorm.DB) error {
			f := w.follow()
			return db.Clauses(clause.OnConflict{DoNothing: true}).Create(&f).Error
		}},
		{"raw insert", func(w *twin, db *gorm.DB) error {
			f := w.follow()
			return db.Exec("INSERT INTO follows (follower_id, followee_id, enabled, created_at) VALUES (?, ?, ?, ?)", f.FollowerID, f.FolloweeID, f.Enabled, f.CreatedAt).Error
		}},
		{"update by key", func(w *twin, db *gorm.DB) error {
			f := w.follow()
			return byKey(w, db).Updates(map[string]any{"enabled": f.Enabled, "created_at": f.CreatedAt}).Error
		}},
		{"update of what no list is told by", func(w *twin, db *gorm.DB) error {
			return byKey(w, db).UpdateColumn("note", fmt.Sprint("note ", w.rand.IntN(9))).Error
		}},
		{"update some", func(w *twin, db *gorm.DB) error { return some(w, db).Update("created_at", w.follow().CreatedAt).Error }},
		{"disable some", func(w *twin, db *gorm.DB) error { return some(w, db).Update("enabled", false).Error }},
		{"move", func(w *twin, db *gorm.DB) error {
			return byKey(w, db).Update("follower_id", w.rand.IntN(followers)).Error
		}},
		{"raw update", func(w *twin, db *gorm.DB) error {
			return db.Exec("UPDATE follows SET followee_id = followee_id + 20 WHERE follower_id = ? AND followee_id = ?", w.rand.IntN(followers), w.rand.IntN(followees)).Error
		}},
		{"raw move", func(w *twin, db *gorm.DB) error {
			return db.Exec("UPDATE follows SET follower_id = (follower_id + 1) % 3 WHERE id = ?", key(w)).Error
		}},
		{"raw update of the key", func(w *twin, db *gorm.DB) error {
			return db.Exec("UPDATE follows SET id = ? WHERE id = ?", key(w), key(w)).Error
		}},
		{"save", func(w *twin, db *gorm.DB) error {
			f := w.follow()
			f.ID = uint(key(w))
			return db.Save(&f).Error
		}},
		{"find and save", func(w *twin, db *gorm.DB) error {
			var f Follow
			if err := one(w, db).First(&f).Error; err != nil {
				return err
			}
			f.CreatedAt = w.follow().CreatedAt
			return db.Save(&f).Error
		}},
		{"soft delete", func(w *twin, db *gorm.DB) error { return db.Delete(&Follow{}, key(w)).Error }},
		{"soft delete some", func(w *twin, db *gorm.DB) error { return some(w, db).Delete(&Follow{}).Error }},
		{"restore", func(w *twin, db *gorm.DB) error { return byKey(w, db.Unscoped()).Update("deleted_at", nil).Error }},
		{"delete", func(w *twin, db *gorm.DB) error { return one(w, db.Unscoped()).Delete(&Follow{}).Error }},
		{"raw delete", func(w *twin, db *gorm.DB) error { return db.Exec("DELETE FROM follows WHERE id = ?", key(w)).Error }},
		{"raw delete of many", func(w *twin, db *gorm.DB) error {
			if w.rand.IntN(4) > 0 {
				return nil
			}
			return db.Exec("DELETE FROM follows WHERE followee_id > 25").Error
		}},
	}
}

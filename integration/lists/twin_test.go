package lists

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/lists"
)

// twinWrites is how many writes each database gets; CACHEPLUGIN_TEST_LISTS sets another
// number.
func twinWrites(t *testing.T) int {
	text := os.Getenv("CACHEPLUGIN_TEST_LISTS")
	if text == "" {
		return 150
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// TestListsAreTheDatabases compares lists with the database after random writes of all
// forms: those of all rows, those of some, and windows.
func TestListsAreTheDatabases(t *testing.T) {
	writes := twinWrites(t)
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&Follow{}}}, func(t *testing.T, f *fixture.Fixture) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		w := &twin{Fixture: f, rand: rand.New(rand.NewPCG(seed, 0))}
		for _, o := range [][]lists.Option{
			declared(),
			declared(lists.Keep(6)),
			declared(lists.Where("enabled = ?", true)),
			declared(lists.WithDeleted()),
			{lists.By("FollowerID"), lists.Order("CreatedAt", lists.Ascending), lists.Keep(9), lists.Timeout(time.Hour)},
			{lists.By("FollowerID"), lists.Order("FolloweeID", lists.Descending), lists.Timeout(time.Hour)},
		} {
			l, err := lists.New[Follow](f.DB, fmt.Sprint(len(w.lists)), o...)
			require.NoError(t, err)
			w.lists = append(w.lists, l)
		}
		for i := range writes {
			write := w.write(w.DB)
			for range 1 + w.rand.IntN(2) {
				w.compare(t, fmt.Sprintf("after write %d, %s", i, write))
			}
		}
	})
}

type twin struct {
	*fixture.Fixture
	rand  *rand.Rand
	lists []*lists.List[Follow]
}

const followers, followees = 3, 14

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
	f := w.follow()
	id := 1 + w.rand.IntN(60)
	some := db.Model(&Follow{}).Where("follower_id = ? AND followee_id < ?", f.FollowerID, f.FolloweeID/3)
	switch w.rand.IntN(16) {
	case 0, 1, 2:
		db.Create(&f)
		return "create"
	case 3:
		db.Create([]Follow{w.follow(), w.follow()})
		return "create several"
	case 4:
		db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "follower_id"}, {Name: "followee_id"}}, UpdateAll: true}).Create(&f)
		return "upsert"
	case 5:
		db.Clauses(clause.OnConflict{DoNothing: true}).Create(&f)
		return "create or leave"
	case 6:
		db.Model(&Follow{}).Where("id = ?", id).Updates(map[string]any{"enabled": f.Enabled, "created_at": f.CreatedAt})
		return "update by key"
	case 7:
		some.Update("created_at", f.CreatedAt)
		return "update some"
	case 8:
		db.Model(&Follow{}).Where("id = ?", id).Update("follower_id", f.FollowerID)
		return "move"
	case 9:
		db.Exec("UPDATE follows SET followee_id = followee_id + 20 WHERE follower_id = ? AND followee_id = ?", f.FollowerID, f.FolloweeID)
		return "raw update"
	case 10:
		db.Delete(&Follow{}, id)
		return "soft delete"
	case 11:
		db.Unscoped().Where("follower_id = ? AND followee_id = ?", f.FollowerID, f.FolloweeID).Delete(&Follow{})
		return "delete"
	case 12:
		db.Unscoped().Model(&Follow{}).Where("id = ?", id).Update("deleted_at", nil)
		return "restore"
	case 13:
		if w.rand.IntN(4) == 0 {
			db.Exec("DELETE FROM follows WHERE followee_id > 13")
		}
		return "delete many"
	case 14:
		f.ID = uint(id)
		db.Save(&f)
		return "save"
	}
	text := "transaction:"
	_ = db.Transaction(func(tx *gorm.DB) error {
		for range 1 + w.rand.IntN(3) {
			text += " " + w.write(tx)
			if tx.Error != nil {
				return tx.Error
			}
		}
		if w.rand.IntN(3) == 0 {
			text += " rolled back"
			return gorm.ErrInvalidTransaction
		}
		return nil
	})
	return text
}

// compare requires that the lists of a follower are the database's.
func (w *twin) compare(t *testing.T, when string) {
	t.Helper()
	follower := w.rand.IntN(followers)
	for i, l := range w.lists {
		tx := w.Plain.Where("follower_id = ?", follower)
		order := "created_at DESC, id DESC"
		switch i {
		case 2:
			tx = tx.Where("enabled = ?", true)
		case 3:
			tx = tx.Unscoped()
		case 4:
			order = "created_at, id"
		case 5:
			order = "followee_id DESC, id DESC"
		}
		var want []Follow
		require.NoError(t, tx.Order(order).Find(&want).Error)
		msg := fmt.Sprintf("list %d of %d %s", i, follower, when)
		offset, limit := w.rand.IntN(4), 1+w.rand.IntN(10)
		got, err := l.Get(t.Context(), of(follower)).Page(offset, limit)
		require.NoError(t, err, msg)
		require.Equal(t, append([]Follow{}, want[min(len(want), offset):min(len(want), offset+limit)]...), got, msg)
		n, err := l.Count(t.Context(), of(follower))
		require.NoError(t, err, msg)
		require.EqualValues(t, len(want), n, msg)
		id := uint(1 + w.rand.IntN(60))
		has, err := l.Contains(t.Context(), of(follower), id)
		require.NoError(t, err, msg)
		require.Equal(t, contains(want, id), has, msg)
		if i == 5 {
			continue
		}
		buckets, err := l.CountsBy(t.Context(), of(follower), lists.Day, at(0), at(3600))
		require.NoError(t, err, msg)
		for _, b := range buckets {
			days := int64(0)
			for _, f := range want {
				if !f.CreatedAt.Before(b.Start) && f.CreatedAt.Before(b.Start.AddDate(0, 0, 1)) {
					days++
				}
			}
			require.Equal(t, days, b.Count, "%s on %s", msg, b.Start)
		}
	}
}

func contains(all []Follow, id uint) bool {
	for _, f := range all {
		if f.ID == id {
			return true
		}
	}
	return false
}

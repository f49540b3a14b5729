package lists

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/lists"
)

// TestWritesMaintainLists: each form of write is an add, a removal or a change.
func TestWritesMaintainLists(t *testing.T) {
	onEveryDatabase(t, declared(), func(t *testing.T, s *subject) {
		for i := range 5 {
			require.NoError(t, s.DB.Create(&Follow{FollowerID: 1, FolloweeID: 10 + i, CreatedAt: at(i)}).Error)
		}
		require.NoError(t, s.DB.Create(&Follow{FollowerID: 2, FolloweeID: 1, CreatedAt: at(0)}).Error)
		s.kept(t, 1)
		s.kept(t, 2)
		note := "a note"
		for _, write := range []struct {
			name string
			do   func() error
		}{
			{"create", func() error { return s.DB.Create(&Follow{FollowerID: 1, FolloweeID: 20, CreatedAt: at(7)}).Error }},
			{"create_in_between", func() error { return s.DB.Create(&Follow{FollowerID: 1, FolloweeID: 21, CreatedAt: at(2)}).Error }},
			{"create_several", func() error {
				return s.DB.Create([]Follow{{FollowerID: 1, FolloweeID: 22, CreatedAt: at(2)}, {FollowerID: 1, FolloweeID: 23, CreatedAt: at(9)}}).Error
			}},
			{"update", func() error { return s.DB.Model(&Follow{ID: 1}).Update("note", &note).Error }},
			{"update_of_the_order", func() error { return s.DB.Model(&Follow{ID: 2}).Update("created_at", at(30)).Error }},
			{"update_by_condition", func() error {
				return s.DB.Model(&Follow{}).Where("follower_id = ? AND followee_id > ?", 1, 20).Update("enabled", true).Error
			}},
			{"save", func() error {
				return s.DB.Save(&Follow{ID: 3, FollowerID: 1, FolloweeID: 12, CreatedAt: at(3)}).Error
			}},
			{"soft_delete", func() error { return s.DB.Where("followee_id = ?", 13).Delete(&Follow{}).Error }},
			{"restore", func() error {
				return s.DB.Unscoped().Model(&Follow{}).Where("followee_id = ?", 13).Update("deleted_at", nil).Error
			}},
			{"delete", func() error { return s.DB.Unscoped().Delete(&Follow{}, 5).Error }},
			{"move_in", func() error { return s.DB.Model(&Follow{}).Where("follower_id = ?", 2).Update("follower_id", 1).Error }},
			{"raw", func() error {
				return s.DB.Exec("UPDATE follows SET enabled = ? WHERE id = ?", true, 1).Error
			}},
			{"upsert", func() error {
				return s.DB.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"note"})}).
					Create(&Follow{ID: 1, FollowerID: 1, FolloweeID: 10, Note: nil, CreatedAt: at(0)}).Error
			}},
			{"a_transaction", func() error {
				return s.DB.Transaction(func(tx *gorm.DB) error {
					if err := tx.Create(&Follow{FollowerID: 1, FolloweeID: 40, CreatedAt: at(50)}).Error; err != nil {
						return err
					}
					return tx.Unscoped().Where("followee_id = ?", 20).Delete(&Follow{}).Error
				})
			}},
		} {
			t.Run(write.name, func(t *testing.T) {
				s.maintained(t, 1, func() { require.NoError(t, write.do()) })
				s.same(t, 2)
			})
		}
	})
}

func TestALeftListIsMaintained(t *testing.T) {
	onEveryDatabase(t, declared(), func(t *testing.T, s *subject) {
		require.NoError(t, s.DB.Create([]Follow{{FollowerID: 1, FolloweeID: 2, CreatedAt: at(0)}, {FollowerID: 1, FolloweeID: 3, CreatedAt: at(1)}}).Error)
		s.kept(t, 1)
		s.kept(t, 2)
		s.maintained(t, 1, func() {
			require.NoError(t, s.DB.Model(&Follow{ID: 1}).Update("follower_id", 2).Error)
		})
		require.Equal(t, 1, s.same(t, 2))
		s.kept(t, 2)
	})
}

func TestARollbackChangesNoList(t *testing.T) {
	onEveryDatabase(t, declared(), func(t *testing.T, s *subject) {
		require.NoError(t, s.DB.Create(&Follow{FollowerID: 1, FolloweeID: 2, CreatedAt: at(0)}).Error)
		s.kept(t, 1)
		undo := errors.New("undo")
		err := s.DB.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Create(&Follow{FollowerID: 1, FolloweeID: 3, CreatedAt: at(1)}).Error)
			page, err := s.follows.On(tx).Get(t.Context(), of(1)).Page(0, 10)
			require.NoError(t, err)
			require.Len(t, page, 2, "a transaction sees what it has written")
			return undo
		})
		require.ErrorIs(t, err, undo)
		require.Zero(t, s.same(t, 1))
	})
}

func TestWhatCanNotBePinnedDownDropsLists(t *testing.T) {
	onEveryDatabase(t, declared(), func(t *testing.T, s *subject) {
		require.NoError(t, s.DB.Create(&Follow{FollowerID: 1, FolloweeID: 2, CreatedAt: at(0)}).Error)
		s.kept(t, 1)
		require.NoError(t, s.DB.Session(&gorm.Session{AllowGlobalUpdate: true}).Exec("DELETE FROM follows").Error)
		s.same(t, 1)
		s.kept(t, 1)
		require.NoError(t, s.Plain.Create(&Follow{FollowerID: 1, FolloweeID: 9, CreatedAt: at(0)}).Error)
		require.NoError(t, s.InvalidateAll())
		s.same(t, 1)
		s.kept(t, 1)
	})
}

func TestPagesAndCursors(t *testing.T) {
	for _, d := range []lists.Direction{lists.Ascending, lists.Descending} {
		onEveryDatabase(t, []lists.Option{lists.By("FollowerID"), lists.Order("CreatedAt", d), lists.Timeout(time.Hour)}, func(t *testing.T, s *subject) {
			order := "created_at, id"
			if d == lists.Descending {
				order = "created_at DESC, id DESC"
			}
			for i := range 25 {
				require.NoError(t, s.DB.Create(&Follow{FollowerID: 1, FolloweeID: i, CreatedAt: at(i / 3)}).Error)
			}
			var want []Follow
			require.NoError(t, s.Plain.Order(order).Find(&want).Error)
			r := s.follows.Get(t.Context(), of(1))
			for range 2 {
				for _, page := range [][2]int{{0, 10}, {10, 10}, {20, 10}, {30, 10}, {3, 1}} {
					got, err := r.Page(page[0], page[1])
					require.NoError(t, err)
					require.Equal(t, append([]Follow{}, want[min(25, page[0]):min(25, page[0]+page[1])]...), got)
				}
				for _, i := range []int{0, 1, 2, 11, 24} {
					got, err := r.After(want[i], 4)
					require.NoError(t, err)
					require.Equal(t, append([]Follow{}, want[i+1:min(25, i+5)]...), got)
				}
				s.selects()
			}
			all := []Follow{}
			for item, err := range r.All() {
				require.NoError(t, err)
				all = append(all, item)
			}
			require.Equal(t, want, all)
			require.Zero(t, s.selects())
			_, err := r.Page(-1, 3)
			require.ErrorContains(t, err, "not negative")
		})
	}
}

// TestALongListIsAWindow: what lies beyond Keep is the database's to tell.
func TestALongListIsAWindow(t *testing.T) {
	onEveryDatabase(t, declared(lists.Keep(8)), func(t *testing.T, s *subject) {
		for i := range 20 {
			require.NoError(t, s.DB.Create(&Follow{FollowerID: 1, FolloweeID: i, CreatedAt: at(i)}).Error)
		}
		check := func() {
			t.Helper()
			want := s.truth(t, 1)
			for _, page := range [][2]int{{0, 4}, {2, 5}, {6, 4}, {0, 100}, {15, 3}} {
				got, err := s.follows.Get(t.Context(), of(1)).Page(page[0], page[1])
				require.NoError(t, err)
				require.Equal(t, append([]Follow{}, want[min(len(want), page[0]):min(len(want), page[0]+page[1])]...), got)
			}
			for i := range want {
				got, err := s.follows.Get(t.Context(), of(1)).After(want[i], 3)
				require.NoError(t, err)
				require.Equal(t, append([]Follow{}, want[i+1:min(len(want), i+4)]...), got)
				ok, err := s.follows.Contains(t.Context(), of(1), want[i].ID)
				require.NoError(t, err)
				require.True(t, ok)
			}
			n, err := s.follows.Count(t.Context(), of(1))
			require.NoError(t, err)
			require.EqualValues(t, len(want), n)
		}
		check()
		for i := range 12 { // beyond the window, at its end, within it, and so many that it is cut
			require.NoError(t, s.DB.Create(&Follow{FollowerID: 1, FolloweeID: 100 + i, CreatedAt: at(i * 3)}).Error)
			check()
		}
		for i := range 10 {
			require.NoError(t, s.DB.Unscoped().Where("followee_id = ?", 111-i).Delete(&Follow{}).Error)
			check()
		}
		s.selects()
		_, err := s.follows.Get(t.Context(), of(1)).Page(0, 1)
		require.NoError(t, err)
		require.Zero(t, s.selects())
	})
}

func TestConditionsAndDeletedRows(t *testing.T) {
	onEveryDatabase(t, declared(lists.Where("enabled = ?", true)), func(t *testing.T, s *subject) {
		withDeleted, err := lists.New[Follow](s.DB, "all", declared(lists.WithDeleted())...)
		require.NoError(t, err)
		require.NoError(t, s.DB.Create([]Follow{
			{FollowerID: 1, FolloweeID: 2, CreatedAt: at(0), Enabled: true}, {FollowerID: 1, FolloweeID: 3, CreatedAt: at(1)},
		}).Error)
		count := func(enabled, all int64) {
			t.Helper()
			for range 2 {
				n, err := s.follows.Count(t.Context(), of(1))
				require.NoError(t, err)
				require.Equal(t, enabled, n)
				n, err = withDeleted.Count(t.Context(), of(1))
				require.NoError(t, err)
				require.Equal(t, all, n)
			}
		}
		count(1, 2)
		require.NoError(t, s.DB.Model(&Follow{ID: 2}).Update("enabled", true).Error)
		count(2, 2)
		require.NoError(t, s.DB.Model(&Follow{ID: 1}).Update("enabled", false).Error)
		count(1, 2)
		require.NoError(t, s.DB.Delete(&Follow{ID: 2}).Error)
		count(0, 2)
		require.NoError(t, s.DB.Unscoped().Delete(&Follow{ID: 2}).Error)
		count(0, 1)
		s.selects()
		count(0, 1)
		require.Zero(t, s.selects())
	})
}

func TestContains(t *testing.T) {
	onEveryDatabase(t, declared(), func(t *testing.T, s *subject) {
		f := Follow{FollowerID: 1, FolloweeID: 2, CreatedAt: at(0)}
		require.NoError(t, s.DB.Create(&f).Error)
		has := func(k lists.KeyValues, id any) bool {
			t.Helper()
			ok, err := s.follows.Contains(t.Context(), k, id)
			require.NoError(t, err)
			return ok
		}
		pair := lists.Key("followee_id", 2, "FollowerID", 1)
		for range 2 {
			require.True(t, has(of(1), f.ID))
			require.True(t, has(pair, f.ID))
			require.False(t, has(of(2), f.ID))
			require.False(t, has(of(1), f.ID+1))
			s.selects()
		}
		require.True(t, has(of(1), f.ID))
		require.Zero(t, s.selects())
		require.NoError(t, s.DB.Delete(&f).Error)
		require.False(t, has(of(1), f.ID))
		require.False(t, has(pair, f.ID))
	})
}

// TestCountsByTime: days are those of a time zone, and have 23 and 25 hours.
func TestCountsByTime(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	onEveryDatabase(t, declared(), func(t *testing.T, s *subject) {
		begin := time.Date(2026, 3, 27, 0, 0, 0, 0, zone)
		rows := []Follow{}
		for i := range 24 * 5 { // one an hour, over the night when clocks go forward
			rows = append(rows, Follow{FollowerID: 1, FolloweeID: i, CreatedAt: begin.Add(time.Duration(i) * time.Hour).UTC()})
		}
		require.NoError(t, s.DB.Create(&rows).Error)
		counts := func(u lists.Unit, from, to time.Time) []int64 {
			t.Helper()
			buckets, err := s.follows.CountsBy(t.Context(), of(1), u, from, to)
			require.NoError(t, err)
			var n []int64
			for _, b := range buckets {
				require.Equal(t, zone, b.Start.Location())
				n = append(n, b.Count)
			}
			return n
		}
		check := func() {
			t.Helper()
			end := begin.Add(100 * time.Hour)
			require.Equal(t, []int64{24, 24, 23, 24, 24}, counts(lists.Day, begin, end))
			require.Equal(t, []int64{71, 49}, counts(lists.Week, begin, end))
			require.Equal(t, []int64{119, 1}, counts(lists.Month, begin, end.Add(30*time.Hour)))
			require.Equal(t, []int64{0, 120}, counts(lists.Year, begin.AddDate(-1, 0, 0), end))
			require.Empty(t, counts(lists.Day, end, begin))
		}
		check()
		s.selects()
		check()
		require.Zero(t, s.selects())
		s.follows = s.follows.On(s.DB.WithContext(cache.WithoutCache(t.Context())))
		ctx := cache.WithoutCache(t.Context())
		buckets, err := s.follows.CountsBy(ctx, of(1), lists.Day, begin, begin.Add(100*time.Hour))
		require.NoError(t, err)
		require.EqualValues(t, 23, buckets[2].Count, "the database says the same")
		require.Equal(t, 1, s.selects())
	})
}

package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/lists"
)

// Post has what Listy asks of a model: a time, a field that deletes, one that enables.
type Post struct {
	ID        uint
	UserID    int
	TopicID   int
	Enabled   bool
	CreatedAt time.Time
	DeletedAt gorm.DeletedAt
}

// TableName implements GORM's Tabler.
func (Post) TableName() string { return "feed_posts" }

// decoded counts the posts that were decoded.
type decoded struct{ n *int }

// AfterFind counts posts.
func (*Post) AfterFind(tx *gorm.DB) error {
	if d, ok := tx.Statement.Context.Value(decoded{}).(decoded); ok {
		*d.n++
	}
	return nil
}

var monday = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// TestListy has a test of each feature of Listy, by its name there.
func TestListy(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, s *listy){
		"look-up by pk, by one key and by several": func(t *testing.T, s *listy) {
			s.write(t, Post{ID: 7, UserID: 1, TopicID: 1}, Post{UserID: 1, TopicID: 2}, Post{UserID: 2, TopicID: 2})
			l := s.list(t, lists.By("ID"), lists.By("UserID"), lists.By("UserID", "TopicID"))
			require.EqualValues(t, 1, s.count(t, l, lists.Key("ID", 7)))
			require.EqualValues(t, 2, s.count(t, l, lists.Key("UserID", 1)))
			require.EqualValues(t, 1, s.count(t, l, lists.Key("UserID", 1, "TopicID", 2)))
		},
		"in sync by updating, not by timeouts": func(t *testing.T, s *listy) {
			l := s.list(t, lists.By("UserID"))
			s.write(t, Post{UserID: 1})
			require.EqualValues(t, 1, s.count(t, l, lists.Key("UserID", 1)))
			s.write(t, Post{UserID: 1})
			require.EqualValues(t, 2, s.count(t, l, lists.Key("UserID", 1)))
			require.NoError(t, s.db.Model(&Post{}).Where("id = ?", 1).Update("user_id", 2).Error)
			require.EqualValues(t, 1, s.count(t, l, lists.Key("UserID", 1)))
			require.EqualValues(t, 1, s.count(t, l, lists.Key("UserID", 2)))
		},
		"fast adds": func(t *testing.T, s *listy) {
			l := s.list(t, lists.By("UserID"))
			s.write(t, make([]Post, 500)...)
			require.EqualValues(t, 500, s.count(t, l, lists.Key("UserID", 0)))
			s.asked = nil
			s.write(t, Post{})
			require.EqualValues(t, 501, s.count(t, l, lists.Key("UserID", 0)))
			require.Len(t, s.asked, 1)
			require.NotContains(t, s.asked[0], "LIMIT", "one row is read by its key, not the list")
		},
		"on-demand deserialization": func(t *testing.T, s *listy) {
			l := s.list(t, lists.By("UserID"), lists.Order("CreatedAt", lists.Descending))
			s.write(t, make([]Post, 500)...)
			s.count(t, l, lists.Key("UserID", 0))
			n := 0
			ctx := context.WithValue(t.Context(), decoded{}, decoded{&n})
			page, err := l.Get(ctx, lists.Key("UserID", 0)).Page(0, 20)
			require.NoError(t, err)
			require.Len(t, page, 20)
			require.Equal(t, 20, n)
		},
		"a generator": func(t *testing.T, s *listy) {
			l := s.list(t, lists.By("UserID"))
			s.write(t, make([]Post, 450)...)
			n := uint(0)
			for post, err := range l.Get(t.Context(), lists.Key("UserID", 0)).All() {
				require.NoError(t, err)
				n++
				require.Equal(t, n, post.ID)
			}
			require.EqualValues(t, 450, n)
		},
		"total, yearly, monthly, weekly and daily counts": func(t *testing.T, s *listy) {
			l := s.list(t, lists.By("UserID"), lists.Order("CreatedAt", lists.Descending))
			for day := range 40 {
				s.write(t, Post{UserID: 1, CreatedAt: monday.AddDate(0, 0, day)})
			}
			end := monday.AddDate(0, 0, 40)
			for unit, want := range map[lists.Unit][]int64{
				lists.Year: {40}, lists.Month: {30, 10}, lists.Week: {7, 7, 7, 7, 7, 5},
			} {
				require.Equal(t, want, counts(t, l, unit, monday, end), unit)
			}
			require.Len(t, counts(t, l, lists.Day, end.AddDate(0, 0, -100), end), 101, "the last day has begun")
			require.EqualValues(t, 40, s.count(t, l, lists.Key("UserID", 1)))
			s.write(t, Post{UserID: 1, CreatedAt: monday})
			require.Equal(t, []int64{2, 1}, counts(t, l, lists.Day, monday, monday.AddDate(0, 0, 1)))
		},
		"soft deletes, filtered out and not": func(t *testing.T, s *listy) {
			visible, all := s.list(t, lists.By("UserID")), s.list(t, lists.By("UserID"), lists.WithDeleted())
			s.write(t, Post{UserID: 1}, Post{UserID: 1})
			count := func(wantVisible, wantAll int64) {
				t.Helper()
				require.Equal(t, wantVisible, s.count(t, visible, lists.Key("UserID", 1)))
				require.Equal(t, wantAll, s.count(t, all, lists.Key("UserID", 1)))
			}
			count(2, 2)
			require.NoError(t, s.db.Delete(&Post{ID: 1}).Error)
			count(1, 2)
			page, err := all.Get(t.Context(), lists.Key("UserID", 1)).Page(0, 1)
			require.NoError(t, err)
			require.True(t, page[0].DeletedAt.Valid, "with the time when it was deleted")
			require.NoError(t, s.db.Unscoped().Model(&Post{}).Where("id = ?", 1).Update("deleted_at", nil).Error)
			count(2, 2)
		},
		"an enabled field": func(t *testing.T, s *listy) {
			l := s.list(t, lists.By("UserID"), lists.Where("enabled = ?", true))
			s.write(t, Post{UserID: 1, Enabled: true}, Post{UserID: 1})
			require.EqualValues(t, 1, s.count(t, l, lists.Key("UserID", 1)))
			require.NoError(t, s.db.Model(&Post{}).Where("id = ?", 1).Update("enabled", false).Error)
			require.Zero(t, s.count(t, l, lists.Key("UserID", 1)))
		},
		"disable_cache": func(t *testing.T, s *listy) {
			l := s.list(t, lists.By("UserID"))
			s.write(t, Post{UserID: 1})
			for range 2 {
				n, err := l.Count(cache.WithoutCache(t.Context()), lists.Key("UserID", 1))
				require.NoError(t, err)
				require.EqualValues(t, 1, n)
			}
			require.Len(t, s.asked, 2)
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, newListy(t)) })
	}
}

// listy is a database with a table of posts.
type listy struct {
	db    *gorm.DB
	asked []string // the queries for lists
}

func newListy(t *testing.T) *listy {
	t.Helper()
	db, closeAll, err := open("", "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, closeAll()) })
	s := &listy{db: db}
	require.NoError(t, db.AutoMigrate(&Post{}))
	t.Cleanup(func() { require.NoError(t, db.Migrator().DropTable(&Post{})) })
	note := func(db *gorm.DB) {
		if !db.DryRun {
			s.asked = append(s.asked, db.Statement.SQL.String())
		}
	}
	require.NoError(t, db.Callback().Query().After("gorm:query").Register("asked", note))
	require.NoError(t, db.Callback().Row().After("gorm:row").Register("asked", note))
	return s
}

func (s *listy) write(t *testing.T, posts ...Post) {
	t.Helper()
	require.NoError(t, s.db.Create(&posts).Error)
}

func (s *listy) list(t *testing.T, o ...lists.Option) *lists.List[Post] {
	t.Helper()
	l, err := lists.New[Post](s.db, "posts", append(o, lists.Timeout(time.Hour))...)
	require.NoError(t, err)
	s.asked = nil
	return l
}

// count requires that a list is counted by Redis alone, once it was asked for.
func (s *listy) count(t *testing.T, l *lists.List[Post], k lists.KeyValues) int64 {
	t.Helper()
	n, err := l.Count(t.Context(), k)
	require.NoError(t, err)
	before := len(s.asked)
	again, err := l.Count(t.Context(), k)
	require.NoError(t, err)
	require.Equal(t, n, again)
	require.Len(t, s.asked, before)
	return n
}

func counts(t *testing.T, l *lists.List[Post], unit lists.Unit, from, to time.Time) []int64 {
	t.Helper()
	buckets, err := l.CountsBy(t.Context(), lists.Key("UserID", 1), unit, from, to)
	require.NoError(t, err)
	n := make([]int64, len(buckets))
	for i, b := range buckets {
		n[i] = b.Count
	}
	return n
}

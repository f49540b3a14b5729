package lists

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/lists"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// Follow is the model of the tests.
type Follow struct {
	ID         uint
	FollowerID int `gorm:"uniqueIndex:pair"`
	FolloweeID int `gorm:"uniqueIndex:pair"`
	Enabled    bool
	Note       *string   `gorm:"size:50"`
	CreatedAt  time.Time `gorm:"precision:6"`
	DeletedAt  gorm.DeletedAt
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is a time some minutes after the first.
func at(minutes int) time.Time { return epoch.Add(time.Duration(minutes) * time.Minute) }

// subject is lists of follows and what the database says without the plugin.
type subject struct {
	*fixture.Fixture
	follows *lists.List[Follow]
	selects func() int // sent to the database with the plugin, since the last call
}

// declared are options that most tests use.
func declared(more ...lists.Option) []lists.Option {
	return append([]lists.Option{
		lists.By("FollowerID"), lists.By("FollowerID", "FolloweeID"),
		lists.Order("CreatedAt", lists.Descending), lists.Timeout(time.Hour),
	}, more...)
}

func onEveryDatabase(t *testing.T, options []lists.Option, test func(t *testing.T, s *subject)) {
	t.Helper()
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&Follow{}}}, func(t *testing.T, f *fixture.Fixture) {
		test(t, newSubject(t, f, options))
	})
}

func newSubject(t *testing.T, f *fixture.Fixture, options []lists.Option) *subject {
	t.Helper()
	s := &subject{Fixture: f}
	n := 0
	require.NoError(t, f.DB.Callback().Row().Before("gorm:row").Register("count", func(*gorm.DB) { n++ }))
	require.NoError(t, f.DB.Callback().Query().Before("gorm:query").Register("count", func(db *gorm.DB) {
		if !db.DryRun {
			n++
		}
	}))
	s.selects = func() int {
		defer func() { n = 0 }()
		return n
	}
	var err error
	s.follows, err = lists.New[Follow](f.DB, "follows", options...)
	require.NoError(t, err)
	s.selects()
	return s
}

func of(follower int) lists.KeyValues { return lists.Key("FollowerID", follower) }

// truth is a list as the database has it.
func (s *subject) truth(t *testing.T, follower int) []Follow {
	t.Helper()
	all := []Follow{}
	require.NoError(t, s.Plain.Where("follower_id = ?", follower).Order("created_at DESC, id DESC").Find(&all).Error)
	return all
}

// same requires that all answers on a list are the database's, and returns how many
// queries that took.
func (s *subject) same(t *testing.T, follower int) int {
	t.Helper()
	want := s.truth(t, follower)
	s.selects()
	got, err := s.follows.Get(t.Context(), of(follower)).Page(0, 1000)
	require.NoError(t, err)
	require.Equal(t, want, got)
	n, err := s.follows.Count(t.Context(), of(follower))
	require.NoError(t, err)
	require.EqualValues(t, len(want), n)
	return s.selects()
}

// kept requires that a list is answered without the database.
func (s *subject) kept(t *testing.T, follower int) {
	t.Helper()
	s.same(t, follower)
	require.Zero(t, s.same(t, follower), "the list should be in the cache")
}

// maintained requires that a list which is kept takes one query, of the rows that have
// changed, after a write.
func (s *subject) maintained(t *testing.T, follower int, write func()) {
	t.Helper()
	s.kept(t, follower)
	write()
	require.Equal(t, 1, s.same(t, follower), "rows that were changed should be read again, once")
	require.Zero(t, s.same(t, follower))
}

// InvalidateAll drops everything that is cached.
func (s *subject) InvalidateAll() error { return cacheplugin.InvalidateAll(s.DB) }

package lists

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/lists"
)

// twinWrites is how many writes each database gets; CACHEPLUGIN_TEST_LISTS sets another
// number.
func twinWrites(t *testing.T) int {
	text := os.Getenv("CACHEPLUGIN_TEST_LISTS")
	if text == "" {
		return testenv.Times(150, 60)
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// kind is a kind of lists, and which rows of a follower's they hold, in which order.
type kind struct {
	name    string
	options []lists.Option
	holds   func(Follow) bool
	before  func(a, b Follow) int
}

func byTime(a, b Follow) int {
	if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
		return c
	}
	return int(a.ID) - int(b.ID)
}

func byFollowee(a, b Follow) int {
	if c := a.FolloweeID - b.FolloweeID; c != 0 {
		return c
	}
	return int(a.ID) - int(b.ID)
}

func backwards(order func(a, b Follow) int) func(a, b Follow) int {
	return func(a, b Follow) int { return order(b, a) }
}

func kinds() []kind {
	there := func(f Follow) bool { return !f.DeletedAt.Valid }
	asked, kept := lists.By("FollowerID"), lists.Timeout(time.Hour)
	newest, oldest := lists.Order("CreatedAt", lists.Descending), lists.Order("CreatedAt", lists.Ascending)
	return []kind{
		{"newest", []lists.Option{asked, newest, kept}, there, backwards(byTime)},
		{"a window of the newest", []lists.Option{asked, newest, kept, lists.Keep(6)}, there, backwards(byTime)},
		{"enabled", []lists.Option{asked, newest, kept, lists.Where("enabled = ?", true)}, func(f Follow) bool { return there(f) && f.Enabled }, backwards(byTime)},
		{"deleted, too", []lists.Option{asked, newest, kept, lists.WithDeleted()}, func(Follow) bool { return true }, backwards(byTime)},
		{"a window of the oldest", []lists.Option{asked, oldest, kept, lists.Keep(9)}, there, byTime},
		{"by a number", []lists.Option{asked, kept, lists.Order("FolloweeID", lists.Descending)}, there, backwards(byFollowee)},
	}
}

// TestListsAreTheDatabases compares lists with the database after random writes of all
// forms, of two processes that take turns: those of all rows, those of some, and windows.
func TestListsAreTheDatabases(t *testing.T) {
	writes := twinWrites(t)
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&Follow{}}}, func(t *testing.T, f *fixture.Fixture) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		twins := []*twin{newTwin(t, f, random), newTwin(t, fixture.NewOn(t, f), random)}
		for i := range writes {
			one := twins[random.IntN(len(twins))]
			write := one.write(one.DB)
			for range 1 + random.IntN(2) {
				one = twins[random.IntN(len(twins))]
				one.compare(t, random.IntN(followers), random.IntN(len(one.lists)), fmt.Sprintf("after write %d, %s", i, write))
			}
			for n := range twins[0].lists {
				for follower := range followers {
					if i%50 == 0 || i == writes-1 {
						twins[i%2].compare(t, follower, n, fmt.Sprintf("after write %d, %s", i, write))
					}
				}
			}
		}
		a, b := twins[0], twins[1]
		t.Logf("%d writes, of which %d failed; %d comparisons, for which lists were read %d times, and rows of lists %d times",
			writes, a.failed+b.failed, a.compared+b.compared, a.filled+b.filled, a.repaired+b.repaired)
		require.Positive(t, a.repaired+b.repaired)
	})
}

// twin is a process that writes and reads.
type twin struct {
	*fixture.Fixture
	rand  *rand.Rand
	kinds []kind
	lists []*lists.List[Follow]

	compared, failed int
	filled, repaired int // lists, and rows of lists that were read again
}

func newTwin(t *testing.T, f *fixture.Fixture, random *rand.Rand) *twin {
	w := &twin{Fixture: f, rand: random, kinds: kinds()}
	for _, k := range w.kinds {
		l, err := lists.New[Follow](f.DB, k.name, k.options...)
		require.NoError(t, err)
		w.lists = append(w.lists, l)
	}
	require.NoError(t, f.DB.Callback().Row().Before("gorm:row").Register("count", func(db *gorm.DB) {
		if _, limited := db.Statement.Clauses["LIMIT"]; limited {
			w.filled++
		} else {
			w.repaired++
		}
	}))
	return w
}

// compare requires that a list of a follower is the database's.
func (w *twin) compare(t *testing.T, follower, n int, when string) {
	t.Helper()
	w.compared++
	k, l := w.kinds[n], w.lists[n]
	var want []Follow
	require.NoError(t, w.Plain.Unscoped().Where("follower_id = ?", follower).Find(&want).Error)
	want = slices.DeleteFunc(want, func(f Follow) bool { return !k.holds(f) })
	slices.SortFunc(want, k.before)
	part := func(from, n int) []Follow {
		return append([]Follow{}, want[min(len(want), from):min(len(want), from+n)]...)
	}
	msg := fmt.Sprintf("%s of %d %s", k.name, follower, when)
	rows := l.Get(t.Context(), of(follower))
	offset, limit := w.rand.IntN(4), 1+w.rand.IntN(10)
	got, err := rows.Page(offset, limit)
	require.NoError(t, err, msg)
	require.Equal(t, part(offset, limit), got, msg)
	if len(want) > 0 {
		last := w.rand.IntN(len(want))
		got, err = rows.After(want[last], limit)
		require.NoError(t, err, msg)
		require.Equal(t, part(last+1, limit), got, "%s following %d", msg, last)
	}
	count, err := l.Count(t.Context(), of(follower))
	require.NoError(t, err, msg)
	require.EqualValues(t, len(want), count, msg)
	id := uint(1 + w.rand.IntN(keys))
	has, err := l.Contains(t.Context(), of(follower), id)
	require.NoError(t, err, msg)
	require.Equal(t, slices.ContainsFunc(want, func(f Follow) bool { return f.ID == id }), has, msg)
	if k.name == "by a number" {
		return
	}
	from := at(w.rand.IntN(3) * 1440)
	buckets, err := l.CountsBy(t.Context(), of(follower), lists.Day, from, at(3600))
	require.NoError(t, err, msg)
	for _, b := range buckets {
		day := int64(0)
		for _, f := range want {
			if !f.CreatedAt.Before(b.Start) && f.CreatedAt.Before(b.Start.AddDate(0, 0, 1)) {
				day++
			}
		}
		require.Equal(t, day, b.Count, "%s on %s", msg, b.Start)
	}
}

// TestListsAreTheDatabasesUnderConcurrentWriters: several write to the same list, each from
// a process of its own, and each finds after its write what it has written.
func TestListsAreTheDatabasesUnderConcurrentWriters(t *testing.T) {
	writes := twinWrites(t) / 3
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&Follow{}}}, func(t *testing.T, f *fixture.Fixture) {
		var group sync.WaitGroup
		for n := range 4 {
			g := fixture.NewOn(t, f)
			l, err := lists.New[Follow](g.DB, "shared", declared()...)
			require.NoError(t, err)
			group.Go(func() {
				w := &author{db: g.DB, list: l, number: n, rand: rand.New(rand.NewPCG(uint64(n), 1)), mine: map[int]time.Time{}}
				for range writes {
					if err := w.write(t); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		newSubject(t, f, declared()).same(t, 1)
	})
}

// author writes rows that nobody else writes, in a list of all authors.
type author struct {
	db     *gorm.DB
	list   *lists.List[Follow]
	number int
	rand   *rand.Rand
	mine   map[int]time.Time // by followee
}

// write writes a row, and returns an error if the list isn't as it was written then.
func (w *author) write(t *testing.T) error {
	followee, created := w.number*100+w.rand.IntN(5), at(w.rand.IntN(5))
	row := w.db.Model(&Follow{}).Where("follower_id = ? AND followee_id = ?", 1, followee)
	var err error
	switch _, there := w.mine[followee]; {
	case !there:
		err = w.db.Create(&Follow{FollowerID: 1, FolloweeID: followee, CreatedAt: created}).Error
		w.mine[followee] = created
	case w.rand.IntN(2) == 0:
		err = row.Update("created_at", created).Error
		w.mine[followee] = created
	default:
		err = row.Unscoped().Delete(&Follow{}).Error
		delete(w.mine, followee)
	}
	if err != nil {
		return err
	}
	page, err := w.list.Get(t.Context(), of(1)).Page(0, 1000)
	if err != nil {
		return err
	}
	found := map[int]time.Time{}
	for _, row := range page {
		if row.FolloweeID/100 == w.number {
			found[row.FolloweeID] = row.CreatedAt
		}
	}
	if fmt.Sprint(found) != fmt.Sprint(w.mine) {
		return fmt.Errorf("author %d reads %v and has written %v", w.number, found, w.mine)
	}
	return nil
}

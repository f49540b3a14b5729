package lists

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/lists"
)

// listed is a list of some rows, and the same rows as cached queries read them.
type listed struct {
	*fixture.Fixture
	follows *lists.List[Follow]
	next    int
}

func newListed(b *testing.B, rows int) *listed {
	b.Helper()
	f := fixture.New(b, testdb.Need(b, testenv.Postgres), fixture.Options{Models: []any{&Follow{}}})
	l := &listed{Fixture: f}
	var err error
	l.follows, err = lists.New[Follow](f.DB, "follows", declared(lists.Keep(200_000))...)
	require.NoError(b, err)
	all := make([]Follow, rows)
	for i := range all {
		all[i] = l.row()
	}
	require.NoError(b, f.Plain.CreateInBatches(all, 1000).Error)
	return l
}

func (l *listed) row() Follow {
	l.next++
	return Follow{FollowerID: 1, FolloweeID: l.next, CreatedAt: epoch.Add(time.Duration(l.next) * 20 * time.Minute)}
}

func (l *listed) add(b *testing.B, db *gorm.DB) {
	f := l.row()
	require.NoError(b, db.Create(&f).Error)
}

func (l *listed) page(b *testing.B) {
	page, err := l.follows.Get(b.Context(), of(1)).Page(0, 50)
	require.NoError(b, err)
	require.Len(b, page, 50)
}

func (l *listed) count(b *testing.B) {
	_, err := l.follows.Count(b.Context(), of(1))
	require.NoError(b, err)
}

// ways to read the first page of a list and how long the list is.
func (l *listed) ways(b *testing.B) map[string]func() {
	all := func(db *gorm.DB) *gorm.DB {
		return db.WithContext(b.Context()).Where("follower_id = ?", 1).Order("created_at DESC, id DESC")
	}
	var rows []Follow
	var n int64
	return map[string]func(){
		"list": func() { l.page(b); l.count(b) },
		"query of all": func() {
			rows = nil
			require.NoError(b, all(l.DB).Find(&rows).Error)
		},
		"query of a page, and count": func() {
			rows = nil
			require.NoError(b, all(l.DB).Limit(50).Find(&rows).Error)
			require.NoError(b, l.DB.WithContext(b.Context()).Model(&Follow{}).Where("follower_id = ?", 1).Count(&n).Error)
		},
	}
}

// BenchmarkShares reads a list of 5,000 and adds to it, at three shares of writes, beside
// queries whose results are dropped and read anew.
func BenchmarkShares(b *testing.B) {
	for _, writes := range []int{1, 10, 50} {
		for _, way := range []string{"list", "query of a page, and count", "query of all"} {
			b.Run(fmt.Sprintf("%d writes of 100/%s", writes, way), func(b *testing.B) {
				l := newListed(b, 5000)
				read := l.ways(b)[way]
				read()
				random := rand.New(rand.NewPCG(1, 1))
				b.ResetTimer()
				for range b.N {
					if random.IntN(100) < writes {
						l.add(b, l.DB)
					} else {
						read()
					}
				}
			})
		}
	}
}

// BenchmarkSteps measures each of what a list does, beside what it is to be held against.
func BenchmarkSteps(b *testing.B) {
	l := newListed(b, 5000)
	client := testenv.Redis(b)
	l.page(b)
	var bytes int
	for _, key := range l.keys(b, client) {
		if strings.Contains(key, ":r:") {
			rows, err := client.HVals(b.Context(), key).Result()
			require.NoError(b, err)
			for _, row := range rows[:50] {
				bytes += len(row)
			}
		}
	}
	require.NoError(b, client.Set(b.Context(), l.Config.Prefix+"-text", strings.Repeat("x", bytes), time.Minute).Err())
	pages, day := l.follows.Get(b.Context(), of(1)), epoch.AddDate(0, 0, 60)
	for _, step := range []struct {
		name string
		run  func()
	}{
		{"GET of a page's bytes", func() { require.NoError(b, client.Get(b.Context(), l.Config.Prefix+"-text").Err()) }},
		{"page of 50", func() { l.page(b) }},
		{"page of 50, at 4,000", func() { _, err := pages.Page(4000, 50); require.NoError(b, err) }},
		{"count", func() { l.count(b) }},
		{"contains", func() { _, err := l.follows.Contains(b.Context(), of(1), 77); require.NoError(b, err) }},
		{"counts of 100 days", func() {
			_, err := l.follows.CountsBy(b.Context(), of(1), lists.Day, day.AddDate(0, 0, -99), day)
			require.NoError(b, err)
		}},
		{"add without the plugin", func() { l.add(b, l.Plain) }},
		{"add", func() { l.add(b, l.DB) }},
		{"add, and the next page", func() { l.add(b, l.DB); l.page(b) }},
	} {
		b.Run(step.name, func(b *testing.B) {
			for range b.N {
				step.run()
			}
		})
	}
	none := newListed(b, 5000)
	b.Run("add, without lists", func(b *testing.B) {
		for range b.N {
			none.add(b, none.DB)
		}
	})
}

// keys are the keys of the list.
func (l *listed) keys(b *testing.B, client redis.UniversalClient) []string {
	keys, err := client.Keys(b.Context(), "{"+l.Config.Prefix+"*}l:*").Result()
	require.NoError(b, err)
	return keys
}

// BenchmarkMemory reports what a list and the result of the same query take.
func BenchmarkMemory(b *testing.B) {
	client := testenv.Redis(b)
	for _, rows := range []int{5000, 100_000} {
		b.Run(fmt.Sprint(rows, " rows"), func(b *testing.B) {
			l := newListed(b, rows)
			for range b.N {
				l.page(b)
			}
			used := int64(0)
			for _, key := range l.keys(b, client) {
				n, err := client.MemoryUsage(b.Context(), key, 0).Result()
				require.NoError(b, err)
				used += n
			}
			var packed int64
			for _, key := range l.keys(b, client) {
				if strings.Contains(key, ":r:") {
					values, err := client.HVals(b.Context(), key).Result()
					require.NoError(b, err)
					for _, v := range values {
						packed += int64(len(v))
					}
				}
			}
			l.ways(b)["query of all"]()
			entries, err := client.Keys(b.Context(), "{"+l.Config.Prefix+"*}e:*").Result()
			require.NoError(b, err)
			result := int64(0)
			for _, key := range entries {
				n, err := client.MemoryUsage(b.Context(), key, 0).Result()
				require.NoError(b, err)
				result += n
			}
			b.ReportMetric(float64(used)/float64(rows), "B/row")
			b.ReportMetric(float64(packed)/float64(rows), "packed-B/row")
			b.ReportMetric(float64(result)/float64(rows), "result-B/row")
		})
	}
}

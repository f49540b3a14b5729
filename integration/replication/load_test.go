package replication

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// written are the numbers that have been written to a row, in order, each with a
// position of the log behind its commit.
type written struct {
	mu  sync.Mutex
	all [][2]uint64 // position, number
}

// owed is the number that a reader must see, given the position that was told of.
func (w *written) owed(told uint64) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	owed := uint64(0)
	for _, one := range w.all {
		if one[0] <= told {
			owed = max(owed, one[1])
		}
	}
	return owed
}

// What a follower says to have told of is seen by every read that starts later, whatever
// writes, reads and changes of followers are under way.
func TestNo_read_is_older_than_what_was_told(t *testing.T) {
	onEach(t, fixture.Options{}, func(t *testing.T, s subject) {
		const rows = 8
		for n := range rows {
			execute(t, s.Fixture, "INSERT INTO articles VALUES (?, ?, '0', '')", n+1, n%3)
		}
		followers := []follower{s.make(t, sibling(t, s.Fixture, nil)), s.make(t, sibling(t, s.Fixture, nil))}
		stop := run(t, followers[0])
		told := func() uint64 {
			return max(testdb.LogPlace(followers[0].Status().Position), testdb.LogPlace(followers[1].Status().Position))
		}
		var (
			wait  sync.WaitGroup
			over  = time.Now().Add(time.Duration(length(60, 15, 6)) * time.Second)
			log   [rows]written
			reads atomic.Int64
			hits  = s.Plugin.Stats().Hits
		)
		for w := range 2 { // without the plugin
			wait.Go(func() {
				for number := uint64(1); time.Now().Before(over); number++ {
					row := 2*rand.IntN(rows/2) + w // each has rows of its own
					if err := s.Plain.Exec("UPDATE articles SET title = ?, tag_id = ? WHERE id = ?", strconv.FormatUint(number, 10), rand.IntN(3), row+1).Error; err != nil {
						t.Errorf("write: %v", err)
						return
					}
					at, err := testdb.LogEnd(s.Plain)
					if err != nil {
						t.Errorf("the end of the log: %v", err)
						return
					}
					log[row].mu.Lock()
					log[row].all = append(log[row].all, [2]uint64{at, number})
					log[row].mu.Unlock()
					time.Sleep(2 * time.Millisecond)
				}
			})
		}
		wait.Go(func() { // with it, in other columns
			for time.Now().Before(over) {
				if err := s.DB.Model(&article{}).Where("id = ?", 1+rand.IntN(rows)).Update("text", strconv.Itoa(rand.IntN(100))).Error; err != nil {
					t.Errorf("write: %v", err)
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
		for range 3 {
			wait.Go(func() {
				for time.Now().Before(over) {
					at := told()
					var owed [rows]uint64
					for n := range owed {
						owed[n] = log[n].owed(at)
					}
					var found []article
					q := s.DB.Order("id")
					if n := rand.IntN(rows + 1); n < rows {
						q = q.Where("id = ?", n+1)
					}
					if err := q.Find(&found).Error; err != nil {
						t.Errorf("read: %v", err)
						return
					}
					for _, a := range found {
						if n, _ := strconv.ParseUint(a.Title, 10, 64); n < owed[a.ID-1] {
							t.Errorf("row %d is %d, and must be %d at least", a.ID, n, owed[a.ID-1])
							return
						}
					}
					reads.Add(1)
				}
			})
		}
		wait.Go(func() { // one follower after the other
			for n := 1; time.Now().Before(over); n++ {
				time.Sleep(time.Second)
				stop()
				stop = run(t, followers[n%2])
			}
		})
		wait.Wait()
		require.Positive(t, s.Plugin.Stats().Hits-hits)
		t.Logf("%d reads, %d hits", reads.Load(), s.Plugin.Stats().Hits-hits)
	})
}

// figures are times, in order.
type figures []time.Duration

func (f figures) at(share float64) time.Duration {
	return f[min(len(f)-1, int(share*float64(len(f))))].Round(10 * time.Microsecond)
}

// The lag at a thousand changes a second, as they are told of.
func TestThe_lag_is_measured(t *testing.T) {
	onEach(t, fixture.Options{}, func(t *testing.T, s subject) {
		if s.Env.Name == testenv.Postgres {
			execute(t, s.Fixture, "SET synchronous_commit = on") // else the log is written later
		}
		for n := range 100 {
			execute(t, s.Fixture, "INSERT INTO articles VALUES (?, ?, '', '')", n+1, n)
		}
		p := s.make(t, sibling(t, s.Fixture, nil))
		run(t, p)
		execute(t, s.Fixture, "UPDATE articles SET text = 'x'")
		s.told(t, s.Fixture, p)
		count := length(30_000, 5_000, 2_000)
		base := p.Status().Transactions
		returned := make([]time.Time, count)
		lags := make(figures, count)
		var wait sync.WaitGroup
		var sent atomic.Int64
		wait.Go(func() {
			for n := 0; n < count; {
				for told := p.Status().Transactions - base; int64(n) < min(told, sent.Load()); n++ {
					lags[n] = max(0, time.Since(returned[n]))
				}
				time.Sleep(50 * time.Microsecond)
			}
		})
		require.NoError(t, s.Plain.Connection(func(tx *gorm.DB) error {
			if s.Env.Name == testenv.Postgres {
				if err := tx.Exec("SET synchronous_commit = on").Error; err != nil {
					return err
				}
			}
			began := time.Now()
			for n := range count {
				time.Sleep(time.Until(began.Add(time.Duration(n) * time.Millisecond)))
				if err := tx.Exec("UPDATE articles SET title = ? WHERE id = ?", strconv.Itoa(n), 1+n%100).Error; err != nil {
					return err
				}
				returned[n] = time.Now()
				sent.Add(1)
			}
			t.Logf("%d changes in %v", count, time.Since(began).Round(time.Millisecond))
			return nil
		}))
		wait.Wait()
		slices.Sort(lags)
		t.Logf("lag: p50 %v, p90 %v, p99 %v, most %v", lags.at(0.5), lags.at(0.9), lags.at(0.99), lags[len(lags)-1])
	})
}

// A follower must not cost hits, though each of the program's own writes comes back
// through it.
func TestOwn_writes_that_come_back_cost_few_hits(t *testing.T) {
	onEach(t, fixture.Options{}, func(t *testing.T, s subject) {
		const rows = 200
		for n := range rows {
			execute(t, s.Fixture, "INSERT INTO articles VALUES (?, ?, '', '')", n+1, n)
		}
		load := func() float64 {
			before := s.Plugin.Stats()
			over := time.Now().Add(time.Duration(length(20, 6, 3)) * time.Second)
			var wait sync.WaitGroup
			for range 4 {
				wait.Go(func() {
					for time.Now().Before(over) {
						titles(t, s.Fixture, int64(rand.IntN(rows)))()
					}
				})
			}
			wait.Go(func() {
				for time.Now().Before(over) {
					if err := s.DB.Model(&article{}).Where("id = ?", 1+rand.IntN(rows)).Update("title", strconv.Itoa(rand.IntN(1000))).Error; err != nil {
						t.Error(err)
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
			wait.Wait()
			after := s.Plugin.Stats()
			hits, misses := float64(after.Hits-before.Hits), float64(after.Misses-before.Misses)
			t.Logf("%.0f reads, %d tables told by the writers", hits+misses, after.Invalidations-before.Invalidations)
			return 100 * hits / (hits + misses)
		}
		load() // fills the cache
		without := load()
		p := s.make(t, sibling(t, s.Fixture, nil))
		run(t, p)
		load()
		with := load()
		t.Logf("hits: %.2f %% without a follower, %.2f %% with one", without, with)
		require.Less(t, without-with, 2.0)
		require.Positive(t, p.Status().Transactions)
	})
}

package cacheplugin_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/lua"
)

// sluice is on a client's way to Redis and holds up what stores results.
type sluice struct {
	mu      sync.Mutex
	shut    chan struct{} // closed to let through; nil: open
	reached chan struct{} // gets one value for each result that is held up
}

// gated returns a client of the shared Redis, and its sluice, which is open.
func gated(t testing.TB) (redis.UniversalClient, *sluice) {
	t.Helper()
	g := &sluice{reached: make(chan struct{}, 1000)}
	o := testenv.RedisOptions(t)
	var dialer net.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		return gatedConn{conn, g}, err
	}
	client := redis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	return client, g
}

// shutUp holds up what comes, until the returned function is called.
func (g *sluice) shutUp() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	shut := make(chan struct{})
	g.shut = shut
	return sync.OnceFunc(func() {
		g.mu.Lock()
		g.shut = nil
		g.mu.Unlock()
		close(shut)
	})
}

type gatedConn struct {
	net.Conn
	gate *sluice
}

func (c gatedConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(lua.Save.Hash())) || bytes.Contains(b, []byte(lua.SaveJoined.Hash())) {
		c.gate.mu.Lock()
		shut := c.gate.shut
		c.gate.mu.Unlock()
		if shut != nil {
			c.gate.reached <- struct{}{}
			<-shut
		}
	}
	return c.Conn.Write(b)
}

// queueing is a fixture on SQLite, or each database, whose results are queued.
func queueing(t *testing.T, size int, test func(t *testing.T, f *fixture, g *sluice)) {
	t.Helper()
	client, g := gated(t)
	o := patience(client)
	o.config.StoreQueue = size
	onEveryDatabase(t, o, func(t *testing.T, f *fixture) {
		var brands []brand
		for kind := 1; kind <= 9; kind++ {
			brands = append(brands, brand{Name: fmt.Sprint("brand ", kind), Kind: kind})
		}
		require.NoError(t, f.plain.Create(&brands).Error)
		test(t, f, g)
	})
}

// becomesHit requires that a result is stored some time.
func becomesHit(t testing.TB, f *fixture, read func()) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for f.outcome(read) != "hit" {
		require.True(t, time.Now().Before(deadline), "it is not stored")
	}
}

func TestAQueuedResultIsStoredBehindItsReadersBack(t *testing.T) {
	queueing(t, 10, func(t *testing.T, f *fixture, g *sluice) {
		open := g.shutUp()
		defer open()
		read := f.brands(t, f.db, 1)
		f.misses(t, read)
		<-g.reached
		f.misses(t, read, "it is not stored yet, and another has the lease")
		open()
		becomesHit(t, f, read)
		require.NoError(t, f.db.Model(&brand{}).Where("kind = ?", 1).Update("name", "new").Error)
		f.misses(t, read)
		becomesHit(t, f, read)
	})
}

func TestAFullStoreQueueHoldsNobodyUpAndGivesTheLeaseBack(t *testing.T) {
	queueing(t, 2, func(t *testing.T, f *fixture, g *sluice) {
		open := g.shutUp()
		defer open()
		f.misses(t, f.brands(t, f.db, 1))
		<-g.reached // one is being sent, the next two wait
		f.misses(t, f.brands(t, f.db, 2))
		f.misses(t, f.brands(t, f.db, 3))
		for kind := 4; kind <= 9; kind++ {
			require.Equal(t, "miss, skip: "+cacheplugin.ReasonQueueFull, f.outcome(f.brands(t, f.db, kind)))
		}
		require.EqualValues(t, 6, f.plugin.Stats().Overflowed)
		open()
		for kind := 1; kind <= 5; kind++ {
			becomesHit(t, f, f.brands(t, f.db, kind)) // 4 and 5 for want of another's lease
		}
	})
}

func TestTheStoreQueueIsBoundedInBytes(t *testing.T) {
	client, g := gated(t)
	o := patience(client)
	o.config.StoreQueue, o.config.MaxBytes = 1000, 2000
	f := newFixture(t, testenv.NeedSQLite(t), o)
	name := string(bytes.Repeat([]byte("x"), 1500))
	for kind := 1; kind <= 9; kind++ {
		require.NoError(t, f.plain.Create(&brand{Name: name, Kind: kind}).Error)
	}
	open := g.shutUp()
	defer open()
	for kind := 1; kind <= 5; kind++ {
		f.misses(t, f.brands(t, f.db, kind))
	}
	require.Equal(t, "miss, skip: "+cacheplugin.ReasonQueueFull, f.outcome(f.brands(t, f.db, 6)), "8,000 bytes are full")
	open()
	for kind := 1; kind <= 6; kind++ {
		becomesHit(t, f, f.brands(t, f.db, kind))
	}
}

func TestAQueuedResultThatIsInvalidatedIsNotStored(t *testing.T) {
	queueing(t, 10, func(t *testing.T, f *fixture, g *sluice) {
		open := g.shutUp()
		defer open()
		read := f.brands(t, f.db, 1)
		f.misses(t, read)
		<-g.reached
		second := f.brands(t, f.db, 2)
		f.misses(t, second)
		require.NoError(t, f.db.Model(&brand{}).Where("id > ?", 0).Update("name", "new").Error)
		open()
		require.Eventually(t, func() bool { return f.plugin.Stats().Refused == 2 }, time.Minute, time.Millisecond)
		f.misses(t, read)
		f.misses(t, second)
		becomesHit(t, f, read)
		becomesHit(t, f, second)
	})
}

func TestAQueuedResultIsNotStoredAfterAChangeOfDefinitions(t *testing.T) {
	queueing(t, 10, func(t *testing.T, f *fixture, g *sluice) {
		open := g.shutUp()
		defer open()
		f.misses(t, f.brands(t, f.db, 1))
		<-g.reached
		f.misses(t, f.brands(t, f.db, 2)) // waits
		require.NoError(t, f.db.Exec("CREATE TABLE others (id integer)").Error)
		f.events.take()
		open()
		var reasons []string
		require.Eventually(t, func() bool {
			for _, e := range f.events.take() {
				if e.Kind == cacheplugin.EventSkip {
					reasons = append(reasons, e.Reason)
				}
			}
			return len(reasons) > 0
		}, time.Minute, time.Millisecond)
		require.Equal(t, []string{"definitions have changed meanwhile"}, reasons)
		becomesHit(t, f, f.brands(t, f.db, 2)) // its lease was given back
	})
}

func TestCloseStoresWhatIsQueued(t *testing.T) {
	queueing(t, 10, func(t *testing.T, f *fixture, g *sluice) {
		if f.env.Name == testenv.SQLite {
			return // a database in memory is cached for one plugin alone
		}
		other := newSibling(t, f, gorm.Config{PrepareStmt: f.db.PrepareStmt})
		open := g.shutUp()
		defer open()
		for kind := 1; kind <= 4; kind++ {
			f.misses(t, f.brands(t, f.db, kind))
		}
		<-g.reached
		closed := make(chan error, 1)
		go func() { closed <- f.plugin.Close(context.Background()) }()
		open()
		require.NoError(t, <-closed)
		for kind := 1; kind <= 4; kind++ {
			other.hits(t, other.brands(t, other.db, kind))
		}
		f.misses(t, f.brands(t, f.db, 5))
		other.hits(t, other.brands(t, other.db, 5), "a closed plugin stores at once")
	})
}

func TestCloseLeavesOutWhatItsContextDoesNotAllow(t *testing.T) {
	client, g := gated(t)
	o := patience(client)
	o.config.StoreQueue = 10
	f := newFixture(t, testenv.NeedSQLite(t), o)
	open := g.shutUp()
	defer open()
	f.misses(t, f.brands(t, f.db, 1))
	<-g.reached
	f.misses(t, f.brands(t, f.db, 2))
	f.misses(t, f.brands(t, f.db, 3))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := f.plugin.Close(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "2 results")
}

func TestThoseWhoWaitGetAQueuedResultAtOnce(t *testing.T) {
	queueing(t, 10, func(t *testing.T, f *fixture, g *sluice) {
		_, err := names(f.db) // reads the catalog
		require.NoError(t, err)
		becomesHit(t, f, func() { _, err = names(f.db) })
		require.NoError(t, cacheplugin.InvalidateModel(f.db, &brand{}))
		open := g.shutUp()
		defer open()
		held, err := locked(f.db).Select("name").Rows()
		require.NoError(t, err)
		got := make(chan []string, 1)
		go func() {
			all, _ := names(f.db)
			got <- all
		}()
		for held.Next() {
		}
		require.NoError(t, held.Close())
		<-g.reached
		require.Equal(t, []string{"brand 1"}, <-got)
	})
}

func TestQueuedResultsWithJoinedRowsAndSpreadAreDroppedByTheirRows(t *testing.T) {
	client, _ := gated(t)
	for name, config := range map[string]cacheplugin.Config{
		"ConjunctionSets":        {},
		"InsideOut":              {Mode: cacheplugin.InsideOut},
		"InsideOut/Spread":       {Mode: cacheplugin.InsideOut, Spread: true},
		"ConjunctionSets/Strict": {Consistency: cacheplugin.Strict},
	} {
		t.Run(name, func(t *testing.T) {
			config.Redis, config.StoreQueue = client, 10
			f := newFixture(t, testenv.NeedSQLite(t), options{config: config, models: []any{&owner{}, &firm{}, &worker{}, &badge{}}})
			require.NoError(t, f.plain.Create(&firm{ID: 1, Name: "one"}).Error)
			require.NoError(t, f.plain.Create(&worker{ID: 1, Name: "ann", FirmID: new(uint(1))}).Error)
			want := "one"
			read := func() {
				var all []worker
				require.NoError(t, f.db.Joins("Firm").Where("workers.id = ?", 1).Find(&all).Error)
				require.Equal(t, want, all[0].Firm.Name)
			}
			becomesHit(t, f, read)
			want = "two"
			require.NoError(t, f.db.Model(&firm{}).Where("id = ?", 1).Update("name", want).Error)
			f.misses(t, read)
			becomesHit(t, f, read)
		})
	}
}

func BenchmarkMiss(b *testing.B) {
	for _, size := range []int{0, 1000} {
		b.Run(fmt.Sprint("StoreQueue=", size), func(b *testing.B) {
			f := newFixture(b, testenv.NeedSQLite(b), options{models: []any{&brand{}}, config: cacheplugin.Config{StoreQueue: size}})
			require.NoError(b, f.plain.Create(&brand{Name: "a", Kind: 1}).Error)
			kind := 0
			for b.Loop() {
				kind++
				var all []brand
				require.NoError(b, f.db.Where("kind = ?", kind).Find(&all).Error)
			}
		})
	}
}

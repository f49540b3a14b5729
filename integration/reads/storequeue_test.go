package reads

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
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
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
func queueing(t *testing.T, size int, test func(t *testing.T, f *fixture.Fixture, g *sluice)) {
	t.Helper()
	client, g := gated(t)
	o := patience(client)
	o.Config.StoreQueue = size
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		var brands []fixture.Brand
		for kind := 1; kind <= 9; kind++ {
			brands = append(brands, fixture.Brand{Name: fmt.Sprint("brand ", kind), Kind: kind})
		}
		require.NoError(t, f.Plain.Create(&brands).Error)
		test(t, f, g)
	})
}

// becomesHit requires that a result is stored some time.
func becomesHit(t testing.TB, f *fixture.Fixture, read func()) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for f.Outcome(read) != "hit" {
		require.True(t, time.Now().Before(deadline), "it is not stored")
	}
}

func TestAQueuedResultIsStoredBehindItsReadersBack(t *testing.T) {
	queueing(t, 10, func(t *testing.T, f *fixture.Fixture, g *sluice) {
		open := g.shutUp()
		defer open()
		read := f.Brands(t, f.DB, 1)
		f.Misses(t, read)
		<-g.reached
		f.Misses(t, read, "it is not stored yet, and another has the lease")
		open()
		becomesHit(t, f, read)
		require.NoError(t, f.DB.Model(&fixture.Brand{}).Where("kind = ?", 1).Update("name", "new").Error)
		f.Misses(t, read)
		becomesHit(t, f, read)
	})
}

func TestAFullStoreQueueHoldsNobodyUpAndGivesTheLeaseBack(t *testing.T) {
	queueing(t, 2, func(t *testing.T, f *fixture.Fixture, g *sluice) {
		open := g.shutUp()
		defer open()
		f.Misses(t, f.Brands(t, f.DB, 1))
		<-g.reached // one is being sent, the next two wait
		f.Misses(t, f.Brands(t, f.DB, 2))
		f.Misses(t, f.Brands(t, f.DB, 3))
		for kind := 4; kind <= 9; kind++ {
			require.Equal(t, "miss, skip: "+cacheplugin.ReasonQueueFull, f.Outcome(f.Brands(t, f.DB, kind)))
		}
		require.EqualValues(t, 6, f.Plugin.Stats().Overflowed)
		open()
		for kind := 1; kind <= 5; kind++ {
			becomesHit(t, f, f.Brands(t, f.DB, kind)) // 4 and 5 for want of another's lease
		}
	})
}

func TestTheStoreQueueIsBoundedInBytes(t *testing.T) {
	client, g := gated(t)
	o := patience(client)
	o.Config.StoreQueue, o.Config.MaxBytes = 1000, 2000
	f := fixture.New(t, testenv.NeedSQLite(t), o)
	name := string(bytes.Repeat([]byte("x"), 1500))
	for kind := 1; kind <= 9; kind++ {
		require.NoError(t, f.Plain.Create(&fixture.Brand{Name: name, Kind: kind}).Error)
	}
	open := g.shutUp()
	defer open()
	for kind := 1; kind <= 5; kind++ {
		f.Misses(t, f.Brands(t, f.DB, kind))
	}
	require.Equal(t, "miss, skip: "+cacheplugin.ReasonQueueFull, f.Outcome(f.Brands(t, f.DB, 6)), "8,000 bytes are full")
	open()
	for kind := 1; kind <= 6; kind++ {
		becomesHit(t, f, f.Brands(t, f.DB, kind))
	}
}

func TestAQueuedResultThatIsInvalidatedIsNotStored(t *testing.T) {
	queueing(t, 10, func(t *testing.T, f *fixture.Fixture, g *sluice) {
		open := g.shutUp()
		defer open()
		read := f.Brands(t, f.DB, 1)
		f.Misses(t, read)
		<-g.reached
		second := f.Brands(t, f.DB, 2)
		f.Misses(t, second)
		require.NoError(t, f.DB.Model(&fixture.Brand{}).Where("id > ?", 0).Update("name", "new").Error)
		open()
		require.Eventually(t, func() bool { return f.Plugin.Stats().Refused == 2 }, time.Minute, time.Millisecond)
		f.Misses(t, read)
		f.Misses(t, second)
		becomesHit(t, f, read)
		becomesHit(t, f, second)
	})
}

func TestAQueuedResultIsNotStoredAfterAChangeOfDefinitions(t *testing.T) {
	queueing(t, 10, func(t *testing.T, f *fixture.Fixture, g *sluice) {
		open := g.shutUp()
		defer open()
		f.Misses(t, f.Brands(t, f.DB, 1))
		<-g.reached
		f.Misses(t, f.Brands(t, f.DB, 2)) // waits
		require.NoError(t, f.DB.Exec("CREATE TABLE others (id integer)").Error)
		f.Events.Take()
		open()
		var reasons []string
		require.Eventually(t, func() bool {
			for _, e := range f.Events.Take() {
				if e.Kind == cacheplugin.EventSkip {
					reasons = append(reasons, e.Reason)
				}
			}
			return len(reasons) > 0
		}, time.Minute, time.Millisecond)
		require.Equal(t, []string{"definitions have changed meanwhile"}, reasons)
		becomesHit(t, f, f.Brands(t, f.DB, 2)) // its lease was given back
	})
}

func TestCloseStoresWhatIsQueued(t *testing.T) {
	queueing(t, 10, func(t *testing.T, f *fixture.Fixture, g *sluice) {
		if f.Env.Name == testenv.SQLite {
			return // a database in memory is cached for one plugin alone
		}
		other := fixture.NewSibling(t, f, gorm.Config{PrepareStmt: f.DB.PrepareStmt})
		open := g.shutUp()
		defer open()
		for kind := 1; kind <= 4; kind++ {
			f.Misses(t, f.Brands(t, f.DB, kind))
		}
		<-g.reached
		closed := make(chan error, 1)
		go func() { closed <- f.Plugin.Close(context.Background()) }()
		open()
		require.NoError(t, <-closed)
		for kind := 1; kind <= 4; kind++ {
			other.Hits(t, other.Brands(t, other.DB, kind))
		}
		f.Misses(t, f.Brands(t, f.DB, 5))
		other.Hits(t, other.Brands(t, other.DB, 5), "a closed plugin stores at once")
	})
}

func TestCloseLeavesOutWhatItsContextDoesNotAllow(t *testing.T) {
	client, g := gated(t)
	o := patience(client)
	o.Config.StoreQueue = 10
	f := fixture.New(t, testenv.NeedSQLite(t), o)
	open := g.shutUp()
	defer open()
	f.Misses(t, f.Brands(t, f.DB, 1))
	<-g.reached
	f.Misses(t, f.Brands(t, f.DB, 2))
	f.Misses(t, f.Brands(t, f.DB, 3))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := f.Plugin.Close(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "2 results")
}

func TestThoseWhoWaitGetAQueuedResultAtOnce(t *testing.T) {
	queueing(t, 10, func(t *testing.T, f *fixture.Fixture, g *sluice) {
		_, err := names(f.DB) // reads the catalog
		require.NoError(t, err)
		becomesHit(t, f, func() { _, err = names(f.DB) })
		require.NoError(t, cacheplugin.InvalidateModel(f.DB, &fixture.Brand{}))
		open := g.shutUp()
		defer open()
		held, err := locked(f.DB).Select("name").Rows()
		require.NoError(t, err)
		got := make(chan []string, 1)
		go func() {
			all, _ := names(f.DB)
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
			f := fixture.New(t, testenv.NeedSQLite(t), fixture.Options{Config: config, Models: []any{&fixture.Owner{}, &fixture.Firm{}, &fixture.Worker{}, &fixture.Badge{}}})
			require.NoError(t, f.Plain.Create(&fixture.Firm{ID: 1, Name: "one"}).Error)
			require.NoError(t, f.Plain.Create(&fixture.Worker{ID: 1, Name: "ann", FirmID: new(uint(1))}).Error)
			want := "one"
			read := func() {
				var all []fixture.Worker
				require.NoError(t, f.DB.Joins("Firm").Where("workers.id = ?", 1).Find(&all).Error)
				require.Equal(t, want, all[0].Firm.Name)
			}
			becomesHit(t, f, read)
			want = "two"
			require.NoError(t, f.DB.Model(&fixture.Firm{}).Where("id = ?", 1).Update("name", want).Error)
			f.Misses(t, read)
			becomesHit(t, f, read)
		})
	}
}

func BenchmarkMiss(b *testing.B) {
	for _, size := range []int{0, 1000} {
		b.Run(fmt.Sprint("StoreQueue=", size), func(b *testing.B) {
			f := fixture.New(b, testenv.NeedSQLite(b), fixture.Options{Models: []any{&fixture.Brand{}}, Config: cacheplugin.Config{StoreQueue: size}})
			require.NoError(b, f.Plain.Create(&fixture.Brand{Name: "a", Kind: 1}).Error)
			kind := 0
			for b.Loop() {
				kind++
				var all []fixture.Brand
				require.NoError(b, f.DB.Where("kind = ?", kind).Find(&all).Error)
			}
		})
	}
}

//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
)

// BenchmarkHit measures what a hit costs this process: Redis answers out of
// memory, so that neither the kernel nor a server is in the figures. In slices
// of some milliseconds it takes turns with GORM over the same rows in
// memory, which no cache below GORM can beat, and with a GET of the same bytes
// by the same client; all of them are the medians of their slices.
//
// With -cpuprofile, pprof -tagfocus hit shows the hits alone.
func BenchmarkHit(b *testing.B) {
	env := open(b)
	for _, w := range readWorks[:3] {
		size := 1000 // a few collections of garbage are in each slice
		if w.name == "Find 1000 rows" {
			size = 50
		}
		for _, v := range []variant{setsVariant, stampsVariant} {
			b.Run(w.name+"/"+v.name, func(b *testing.B) {
				gorm, err := inMemory(env, env.databases[0], w)
				require.NoError(b, err)
				b.Cleanup(gorm.close)
				still := &stillness{}
				client := still.client(b, env)
				db, err := env.databases[0].open()
				require.NoError(b, err)
				b.Cleanup(func() { closeDB(db) })
				plugin := cacheplugin.New(cacheplugin.Config{
					Redis: still.client(b, env), Mode: v.mode, Prefix: "bench-still-" + rand.Text(),
					Profiles: cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}},
				})
				require.NoError(b, db.Use(plugin))
				b.Cleanup(func() { require.NoError(b, plugin.Close(context.Background())) })
				payload, _, err := record(gorm.db, w)
				require.NoError(b, err)
				ctx := context.Background()
				require.NoError(b, client.Set(ctx, "bench:still", payload, time.Hour).Err())

				all := []*sliced{
					{name: "gorm", run: func() error { _, err := w.run(gorm.db.WithContext(ctx), 0); return err }},
					{name: "hit", run: func() error { _, err := w.run(db.WithContext(ctx), 0); return err }},
					{name: "get", run: func() error { return client.Get(ctx, "bench:still").Err() }},
				}
				for range 3 { // a miss, then hits; the last reply is kept
					for _, c := range all {
						require.NoError(b, c.run())
					}
				}
				still.on.Store(true)
				takeTurns(b, all, size)
				still.on.Store(false) // for what is sent at the end
				require.LessOrEqual(b, plugin.Stats().Misses, int64(1), "all but the first are hits")
				above := make([]float64, len(all[0].ns))
				for i, ns := range all[0].ns {
					above[i] = all[1].ns[i] - ns
				}
				b.ReportMetric(median(above), "above-ns")
				for _, c := range all {
					b.ReportMetric(median(c.ns), c.name+"-ns")
					b.ReportMetric(c.allocations, c.name+"-allocs")
				}
				b.ReportMetric(all[1].allocations-all[0].allocations, "above-allocs")
				b.ReportMetric(0, "ns/op") // of all of them together
			})
		}
	}
}

// sliced is one of those that take turns.
type sliced struct {
	name        string
	run         func() error
	ns          []float64 // per operation, one for each slice
	allocations float64   // per operation
}

// takeTurns runs each of them in a slice of the given size for each thousand of b.N.
func takeTurns(b *testing.B, all []*sliced, size int) {
	for _, c := range all {
		c.allocations = testing.AllocsPerRun(100, func() { require.NoError(b, c.run()) })
	}
	runtime.GC()
	b.ResetTimer()
	for done := 0; done < b.N; done += 1000 {
		for _, c := range all {
			pprof.Do(context.Background(), pprof.Labels("contender", c.name), func(context.Context) {
				start := processorTime(b)
				for range size {
					if err := c.run(); err != nil {
						b.Fatal(err)
					}
				}
				c.ns = append(c.ns, float64(processorTime(b)-start)/float64(size))
			})
		}
	}
	b.StopTimer()
}

// processorTime is what the process has used so far, the collector's share of it
// included: of a machine that others use, too, it tells more than the clock does.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// stillness makes connections that, once it is on, answer whatever they are
// sent with the last reply that came before, without asking the server.
type stillness struct{ on atomic.Bool }

// client returns a client that has one such connection.
func (s *stillness) client(b *testing.B, env *environment) *redis.Client {
	o := *env.redis
	o.PoolSize = 1
	o.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &stillConn{Conn: conn, stillness: s}, nil
	}
	client := redis.NewClient(&o)
	b.Cleanup(func() { _ = client.Close() })
	return client
}

type stillConn struct {
	net.Conn
	*stillness
	reply []byte // the last one
	rest  []byte // what of it is to be read
}

var errStill = errors.New("nothing is to be read")

func (c *stillConn) Write(b []byte) (int, error) {
	if c.on.Load() {
		c.rest = c.reply
		return len(b), nil
	}
	c.reply = c.reply[:0]
	return c.Conn.Write(b)
}

func (c *stillConn) Read(b []byte) (int, error) {
	if !c.on.Load() {
		n, err := c.Conn.Read(b)
		c.reply = append(c.reply, b[:n]...)
		return n, err
	}
	if len(c.rest) == 0 {
		return 0, errStill
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *stillConn) SetDeadline(t time.Time) error {
	if c.on.Load() {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

func (c *stillConn) SetReadDeadline(t time.Time) error {
	if c.on.Load() {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *stillConn) SetWriteDeadline(t time.Time) error {
	if c.on.Load() {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

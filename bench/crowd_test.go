//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
)

// BenchmarkCrowd measures hits by many goroutines at a time, on a real Redis:
// by a client with a pool of connections, and by go-redis' automatic pipeline
// handed over in its place. cpu-us is this process's share alone.
func BenchmarkCrowd(b *testing.B) {
	env := open(b)
	for name, through := range map[string]func(*redis.Client) (redis.UniversalClient, error){
		"pool": func(c *redis.Client) (redis.UniversalClient, error) { return c, nil },
		"automatic pipeline": func(c *redis.Client) (redis.UniversalClient, error) {
			o := redis.DefaultBlockingAutoPipelineOptions()
			o.MaxConcurrentBatches, o.Unordered = 4, true
			return c.AutoPipelineWithOptions(o)
		},
	} {
		o := *env.redis
		o.PoolSize = 32
		pool := redis.NewClient(&o)
		b.Cleanup(func() { _ = pool.Close() })
		client, err := through(pool)
		require.NoError(b, err)
		db, err := env.databases[0].open()
		require.NoError(b, err)
		b.Cleanup(func() { closeDB(db) })
		plugin := cacheplugin.New(cacheplugin.Config{
			Redis: client, Prefix: "bench-crowd-" + rand.Text(),
			Profiles: cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}},
		})
		require.NoError(b, db.Use(plugin))
		b.Cleanup(func() { require.NoError(b, plugin.Close(context.Background())) })
		ask := func(i int) error {
			_, err := readWorks[0].run(db.WithContext(context.Background()), i)
			return err
		}
		for i := range 100 {
			require.NoError(b, ask(i))
		}
		for _, goroutines := range []int{1, 20, 100} {
			b.Run(fmt.Sprintf("%s/%d", name, goroutines), func(b *testing.B) { crowd(b, goroutines, ask) })
		}
	}
}

// crowd asks b.N times, so many at a time.
func crowd(b *testing.B, goroutines int, ask func(i int) error) {
	var (
		next atomic.Int64
		took = make([][]time.Duration, goroutines)
		all  sync.WaitGroup
	)
	before := processorTime(b)
	b.ResetTimer()
	for g := range goroutines {
		all.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				start := time.Now()
				if err := ask(int(i)); err != nil {
					b.Error(err)
					return
				}
				took[g] = append(took[g], time.Since(start))
			}
		})
	}
	all.Wait()
	b.StopTimer()
	every := slices.Concat(took...)
	slices.Sort(every)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "hits/s")
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-us")
	b.ReportMetric(float64(every[len(every)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(every[len(every)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(0, "ns/op")
}

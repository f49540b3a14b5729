package store_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// serverCost reports what an operation takes of Redis' main thread, which is what
// bounds how many of them a server can do.
func serverCost(b *testing.B, client redis.UniversalClient) (done func()) {
	used := func() (seconds float64) {
		text := client.Info(context.Background(), "cpu").Val()
		for _, name := range []string{"used_cpu_user_main_thread", "used_cpu_sys_main_thread"} {
			part, err := strconv.ParseFloat(redisField(text, name), 64)
			require.NoError(b, err)
			seconds += part
		}
		return seconds
	}
	before := used()
	return func() { b.ReportMetric((used()-before)*1e6/float64(b.N), "redis-µs/op") }
}

// What a hit costs over a bare GET of the same bytes. With -cpu 20 twenty clients
// ask at a time.
func BenchmarkHit(b *testing.B) {
	ctx := context.Background()
	client := realRedis(b)
	payload := strings.Repeat("x", 1000)
	require.NoError(b, client.Set(ctx, "{bench}get", payload, 0).Err())
	b.Run("GET", func(b *testing.B) {
		b.ReportAllocs()
		defer serverCost(b, client)()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if v, err := client.Get(ctx, "{bench}get").Bytes(); err != nil || len(v) != len(payload) {
					b.Error(len(v), err)
				}
			}
		})
	})
	for _, mode := range modes {
		for _, conjunctions := range []int{1, 2, 10} {
			b.Run(fmt.Sprintf("%v/%d conjunctions", mode, conjunctions), func(b *testing.B) {
				s := backend{client: client, mode: mode}.open(b)
				dep := store.Dependency{Table: "a", Schemes: on("a", "").Schemes}
				for i := range conjunctions {
					dep.Keys = append(dep.Keys, key("a", byGroup, fmt.Sprint(i)))
				}
				deps := []store.Dependency{dep}
				fill(b, s, "q", payload, dep)
				b.ReportAllocs()
				b.ResetTimer()
				defer serverCost(b, client)()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if l, err := s.Acquire(ctx, entry("q"), deps, ttl); err != nil || l.State != store.Hit {
							b.Error(l.State, err)
						}
					}
				})
			})
		}
	}
}

// What a hit costs that verifies the conjunctions of joined rows.
func BenchmarkHitWithJoinedRows(b *testing.B) {
	ctx := context.Background()
	for _, mode := range modes {
		for _, rows := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("%v/%d rows", mode, rows), func(b *testing.B) {
				s := backend{client: realRedis(b), mode: mode}.open(b)
				deps := []store.Dependency{on("a", "1"), joinedTo("b")}
				var keys []conj.Key
				for i := range rows {
					keys = append(keys, key("b", byID, fmt.Sprint(i)))
				}
				require.True(b, saveJoined(b, s, lease(b, s, "q", deps...), strings.Repeat("x", 1000), keys))
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if l, err := s.Acquire(ctx, entry("q"), deps, ttl); err != nil || l.State != store.Hit {
							b.Error(l.State, err)
						}
					}
				})
			})
		}
	}
}

func BenchmarkMissAndSave(b *testing.B) {
	ctx := context.Background()
	for _, mode := range modes {
		b.Run(mode.String(), func(b *testing.B) {
			s := backend{client: realRedis(b), mode: mode}.open(b)
			payload := []byte(strings.Repeat("x", 1000))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				deps := []store.Dependency{on("a", fmt.Sprint(i%1000))}
				l, err := s.Acquire(ctx, entry(fmt.Sprint(i)), deps, ttl)
				if err != nil || l.State != store.Leased {
					b.Fatal(l.State, err)
				}
				if _, err := s.Save(ctx, l.Lease, payload, ttl); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkInvalidate(b *testing.B) {
	ctx := context.Background()
	for _, mode := range modes {
		for _, rows := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%v/%d rows", mode, rows), func(b *testing.B) {
				s := backend{client: realRedis(b), mode: mode}.open(b)
				fill(b, s, "q", "", on("a", "1"))
				var images []row
				for i := range rows {
					images = append(images, row{fmt.Sprint(i), fmt.Sprint(i)})
				}
				changes := []store.Change{changed("a", images...)}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.Invalidate(ctx, changes); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

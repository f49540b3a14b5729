package store_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

// BenchmarkModes compares the modes in turns: the medians in µs of a hit, of a
// miss with its store, and of a write on whose one conjunction that many entries
// of 1 kB depend, and the bytes that an entry takes in Redis. docs/operations.md
// has the figures.
func BenchmarkModes(b *testing.B) {
	ctx := context.Background()
	payload := []byte(strings.Repeat("x", 1000))
	for _, dependents := range []int{0, 10, 10_000} {
		b.Run(fmt.Sprintf("%d dependents", dependents), func(b *testing.B) {
			figures := map[string][]float64{}
			took := func(mode variant, what string, f func()) {
				start := time.Now()
				f()
				name := strings.ReplaceAll(mode.String(), " ", "-") + "-" + what
				figures[name] = append(figures[name], float64(time.Since(start).Nanoseconds())/1000)
			}
			stores := map[variant]*store.Store{}
			for _, mode := range modes {
				stores[mode] = backend{client: realRedis(b), mode: mode}.open(b)
			}
			deps := []store.Dependency{on("a", "1")}
			for b.Loop() {
				for _, mode := range modes {
					s := stores[mode]
					for i := range dependents {
						fill(b, s, "d"+strconv.Itoa(i), string(payload), deps...)
					}
					other := []store.Dependency{on("a", "2")}
					require.NoError(b, s.Forget(ctx, entry("other")))
					took(mode, "miss-µs", func() { fill(b, s, "other", string(payload), other...) })
					took(mode, "hit-µs", func() { requireHit(b, s, "other", string(payload), other...) })
					if dependents == 0 {
						name := strings.ReplaceAll(mode.String(), " ", "-") + "-B"
						bytes := int64(0)
						for _, k := range []string{s.EntryName(entry("other")), s.ConjunctionName("a", other[0].Keys[0])} {
							n, err := realRedis(b).MemoryUsage(ctx, k).Result()
							require.NoError(b, err)
							bytes += n
						}
						figures[name] = []float64{float64(bytes)}
					}
					took(mode, "write-µs", func() { invalidate(b, s, changed("a", row{"1", "1"})) })
				}
			}
			for name, values := range figures {
				b.ReportMetric(median(values), name)
			}
			b.ReportMetric(0, "ns/op") // all together: means nothing
		})
	}
}

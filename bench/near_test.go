//go:build unix

package main

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// settled reads until hits come out of memory without a round trip: at first the
// process listens to the others, and has Redis confirm what it has kept.
func settled(s setup, w readWork) error {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		before, near := s.trips.Load(), s.plugin.Stats()
		for range 100 {
			if _, err := w.run(s.db, 0); err != nil {
				return err
			}
		}
		now := s.plugin.Stats()
		if s.trips.Load() == before && now.NearHits-near.NearHits == 100 && now.NearValidated == near.NearValidated {
			return nil
		}
	}
	return errors.New("the results go on being validated")
}

// BenchmarkNearHit is BenchmarkHit for a bounded hit: nothing but this process is
// in it.
func BenchmarkNearHit(b *testing.B) {
	env := open(b)
	for _, w := range readWorks[:2] {
		b.Run(w.name, func(b *testing.B) {
			gorm, err := inMemory(env, env.databases[0], w)
			require.NoError(b, err)
			b.Cleanup(gorm.close)
			s := plugged(b, env, nearBounded)
			require.NoError(b, settled(s, w))
			all := []*sliced{
				{name: "gorm", run: func() error { _, err := w.run(gorm.db, 0); return err }},
				{name: "near", run: func() error { _, err := w.run(s.db, 0); return err }},
			}
			takeTurns(b, all, 1000)
			above := make([]float64, len(all[0].ns))
			for i, ns := range all[0].ns {
				above[i] = all[1].ns[i] - ns
			}
			b.ReportMetric(median(above), "above-ns")
			for _, c := range all {
				b.ReportMetric(median(c.ns), c.name+"-ns")
				b.ReportMetric(c.allocations, c.name+"-allocs")
			}
			b.ReportMetric(0, "ns/op") // of both together
		})
	}
}

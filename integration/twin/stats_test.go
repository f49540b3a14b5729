package twin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// twinStats count what a run has done.
type twinStats struct {
	rounds, steps, writes int
	failed                int // writes that the database refused
	reads, inside, errors int // reads in transactions; reads that are errors
	hits, misses, skips   int
	unasked               int // reads that were not looked up
	dropped, changed      int // stored answers that were gone, and those of them that were another then
	invalidations, whole  int // of tables; of whole ones
	queries, cacheable    int // drawn; of these cached
	tables, narrowed      int // tables that cacheable queries read; of these not by any row
	reasons               map[string]int
}

func (s *twinStats) skip(reason string) {
	if s.reasons == nil {
		s.reasons = map[string]int{}
	}
	s.reasons[reason]++
}

// looked counts a read.
func (s *twinStats) looked(o twinOutcome) {
	s.reads++
	s.hits += o.hits
	s.misses += o.misses
	s.skips += len(o.skips)
	for _, reason := range o.skips {
		s.skip(reason)
	}
	if o.hits+o.misses == 0 {
		s.unasked++
	}
}

func (s *twinStats) add(o twinStats) {
	s.rounds += o.rounds
	s.steps += o.steps
	s.writes += o.writes
	s.failed += o.failed
	s.reads += o.reads
	s.inside += o.inside
	s.errors += o.errors
	s.hits += o.hits
	s.misses += o.misses
	s.skips += o.skips
	s.unasked += o.unasked
	s.dropped += o.dropped
	s.changed += o.changed
	s.invalidations += o.invalidations
	s.whole += o.whole
	s.queries += o.queries
	s.cacheable += o.cacheable
	s.tables += o.tables
	s.narrowed += o.narrowed
	for reason, n := range o.reasons {
		s.skip(reason)
		s.reasons[reason] += n - 1
	}
}

func share(part, whole int) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

// rate is a number per second.
func rate(n int, since time.Time) string {
	return fmt.Sprintf("%.0f/s", float64(n)/max(time.Since(since).Seconds(), 1e-3))
}

func (s *twinStats) String() string {
	return fmt.Sprintf("%d reads checked (+%d in transactions, %d errors), hit ratio %s, %d not looked up; "+
		"%d rounds, %d steps, %d writes (%d refused); "+
		"precision %s (%d of %d dropped results had changed), %s of the invalidated tables dropped whole; "+
		"%s of %d queries cacheable, %s of their tables narrowed",
		s.reads, s.inside, s.errors, share(s.hits, s.hits+s.misses), s.unasked,
		s.rounds, s.steps, s.writes, s.failed,
		share(s.changed, s.dropped), s.changed, s.dropped, share(s.whole, s.invalidations),
		share(s.cacheable, s.queries), s.queries, share(s.narrowed, s.tables))
}

// skipped lists why queries were not cached, most frequent first.
func (s *twinStats) skipped() string {
	reasons := slices.SortedFunc(maps.Keys(s.reasons), func(a, b string) int { return s.reasons[b] - s.reasons[a] })
	var b strings.Builder
	for _, r := range reasons[:min(len(reasons), 12)] {
		fmt.Fprintf(&b, "\n  %6d %s", s.reasons[r], r)
	}
	return b.String()
}

package shapes

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheplugin/cacheplugin/cache"
)

// timedEvery is how many hits there are for one whose time is taken: the clock
// would cost each as much as the counting.
const timedEvery = 16

// maxReasons bounds the reasons of skips and the causes of drops that are told
// apart in a shape.
const maxReasons = 32

// Others stands for all reasons, causes or texts beyond what is told apart.
const Others = "(others)"

// Shape is what is counted of one shape. Its methods are safe for concurrent use.
type Shape struct {
	ID   string // of eight digits; the same in all processes
	Text string
	Op   cache.Op

	hits, nearHits, misses, stores, refused atomic.Int64
	rows, bytes                             atomic.Int64 // of what was stored
	hitNanos, timedHits, askedNanos, asked  atomic.Int64
	dropped, droppedInVain, droppedWhole    atomic.Int64

	mu     sync.Mutex
	table  string
	skips  map[string]int64
	causes map[Cause]int64
}

// Cause is what has dropped a result, as far as this process knows.
type Cause struct {
	Table  string // that was written; empty if nobody in this process has
	Writer string // the statement's shape
	Whole  bool   // the table was dropped whole
	Why    string // it was
}

// Timed reports whether the time of the next hit should be taken.
func (s *Shape) Timed() bool { return s.hits.Load()%timedEvery == 0 }

// Hit counts a hit, and its time unless that is zero.
func (s *Shape) Hit(near bool, took time.Duration) {
	s.hits.Add(1)
	if near {
		s.nearHits.Add(1)
	}
	if took > 0 {
		s.hitNanos.Add(int64(took))
		s.timedHits.Add(1)
	}
}

// Asked counts how long the database took to answer, the reading included.
func (s *Shape) Asked(took time.Duration) {
	s.askedNanos.Add(int64(took))
	s.asked.Add(1)
}

// Refused counts a result that was invalidated while it was read.
func (s *Shape) Refused() { s.refused.Add(1) }

// Skip counts a query that was not looked up, or whose result was not stored.
func (s *Shape) Skip(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.skips, reason, Others, 1)
}

// drop counts a result that was dropped before it was read again.
func (s *Shape) drop(c Cause) {
	s.dropped.Add(1)
	if c.Whole {
		s.droppedWhole.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.causes, c, otherCauses, 1)
}

// otherCauses stands for all beyond what is told apart.
var otherCauses = Cause{Writer: Others}

func add[K comparable](to *map[K]int64, key, others K, n int64) {
	if *to == nil {
		*to = map[K]int64{}
	}
	if _, known := (*to)[key]; !known && len(*to) >= maxReasons {
		key = others
	}
	(*to)[key] += n
}

// fold adds the numbers of a shape to another.
func (s *Shape) fold(into *Shape) {
	for _, f := range []struct{ from, to *atomic.Int64 }{
		{&s.hits, &into.hits}, {&s.nearHits, &into.nearHits}, {&s.misses, &into.misses}, {&s.stores, &into.stores}, {&s.refused, &into.refused},
		{&s.rows, &into.rows}, {&s.bytes, &into.bytes}, {&s.hitNanos, &into.hitNanos}, {&s.timedHits, &into.timedHits},
		{&s.askedNanos, &into.askedNanos}, {&s.asked, &into.asked}, {&s.dropped, &into.dropped}, {&s.droppedInVain, &into.droppedInVain},
		{&s.droppedWhole, &into.droppedWhole},
	} {
		f.to.Add(f.from.Swap(0))
	}
	s.mu.Lock()
	skips, causes := s.skips, s.causes
	s.skips, s.causes = nil, nil
	s.mu.Unlock()
	into.mu.Lock()
	defer into.mu.Unlock()
	for reason, n := range skips {
		add(&into.skips, reason, Others, n)
	}
	for cause, n := range causes {
		add(&into.causes, cause, otherCauses, n)
	}
}

package shapes

import (
	"hash/maphash"
	"sync"
	"time"
)

// maxStored bounds the results of which it is remembered that they were stored.
const maxStored = 4096

// Entry names a result in a namespace.
type Entry struct {
	Namespace string
	Key       [16]byte
}

// stored remembers what this process has stored lately, so that it shows at the
// next miss what was dropped, and at the next store whether that was in vain.
type stored struct {
	seed maphash.Seed

	mu    sync.Mutex
	known map[Entry]*trace
	ring  []Entry // in the order in which they came
	next  int
}

type trace struct {
	digest    uint64
	at, until time.Time
	dropped   bool
}

// Miss counts a miss on some tables, and returns how many there are by now. If the
// result was stored by this process and has not expired, it was dropped.
func (s *Set) Miss(shape *Shape, e Entry, tables []string, now time.Time) (misses int64) {
	misses = shape.misses.Add(1)
	s.stored.mu.Lock()
	t := s.stored.known[e]
	lost := t != nil && !t.dropped && now.Before(t.until)
	var since time.Time
	if lost {
		t.dropped, since = true, t.at
	}
	s.stored.mu.Unlock()
	if lost {
		shape.drop(s.writes.cause(tables, since))
	}
	return misses
}

// Store counts a result that was stored.
func (s *Set) Store(shape *Shape, e Entry, payload []byte, rows int, life time.Duration, now time.Time) {
	shape.stores.Add(1)
	shape.rows.Add(int64(rows))
	shape.bytes.Add(int64(len(payload)))
	digest := maphash.Bytes(s.stored.seed, payload)
	s.stored.mu.Lock()
	defer s.stored.mu.Unlock()
	m := &s.stored
	if t := m.known[e]; t != nil {
		if t.dropped && t.digest == digest {
			shape.droppedInVain.Add(1)
		}
		*t = trace{digest: digest, at: now, until: now.Add(life)}
		return
	}
	if len(m.ring) < maxStored {
		m.ring = append(m.ring, e)
	} else {
		delete(m.known, m.ring[m.next])
		m.ring[m.next] = e
		m.next = (m.next + 1) % maxStored
	}
	m.known[e] = &trace{digest: digest, at: now, until: now.Add(life)}
}

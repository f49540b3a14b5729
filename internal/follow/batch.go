package follow

import (
	"slices"
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// maxUnseen is how many transactions of a batch are known one by one, before those that
// have been seen since are left out.
const maxUnseen = 4096

// batch is what has been read and not been told yet. It is bounded by what a journal
// keeps in detail.
type batch struct {
	journal  *commit.Journal
	position string
	unseen   []uint64     // transactions that a view must show
	seen     store.Moment // since when the others can be seen
	changes  int64
	commits  int64
	oldest   time.Time // of the commits
}

// empty reports whether nothing has to be told.
func (b *batch) empty() bool { return b.commits == 0 }

// add adds a transaction that was collected.
func (b *batch) add(c Commit, from *Collector) {
	b.position = c.Position
	if c.ID == 0 {
		return
	}
	if b.journal == nil {
		b.journal = from.journal
	} else {
		b.journal.Merge(from.journal)
	}
	b.unseen = append(b.unseen, c.ID)
	b.changes += int64(c.Changes)
	b.commits++
	if b.oldest.IsZero() {
		b.oldest = c.Time
	}
}

// mark is a view of the database, and a moment by Redis' clock that came after it.
type mark struct {
	view  View
	clock store.Moment
}

// maxMarks is how many marks are remembered. With fewer less is spared.
const maxMarks = 2048

// marks are the marks of a follower, in order.
type marks struct {
	mu  sync.Mutex
	all []mark
}

func (m *marks) add(one mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.all) >= maxMarks {
		// Every other of them, the last included.
		kept := m.all[:0]
		for i := 1; i < len(m.all); i += 2 {
			kept = append(kept, m.all[i])
		}
		clear(m.all[len(kept):])
		m.all = kept
	}
	m.all = append(m.all, one)
}

// first returns the first moment by which transactions could be seen, all of them. What
// comes later in the log is asked for later, so that earlier marks are forgotten.
func (m *marks) first(ids []uint64) (store.Moment, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, mark := range m.all {
		if !slices.ContainsFunc(ids, func(id uint64) bool { return !mark.view.Shows(id) }) {
			m.all = append(m.all[:0], m.all[i:]...)
			return mark.clock, true
		}
	}
	return 0, false
}

// last returns the latest mark.
func (m *marks) last() (mark, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.all) == 0 {
		return mark{}, false
	}
	return m.all[len(m.all)-1], true
}

// prune leaves out those of a batch's transactions that have been seen.
func (m *marks) prune(b *batch) {
	if len(b.unseen) < maxUnseen {
		return
	}
	latest, ok := m.last()
	if !ok {
		return
	}
	before := len(b.unseen)
	b.unseen = slices.DeleteFunc(b.unseen, latest.view.Shows)
	if len(b.unseen) < before {
		b.seen = max(b.seen, latest.clock)
	}
}

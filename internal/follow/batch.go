package follow

import (
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// maxBatches is how many batches wait that could be seen from different moments on. What
// comes on top joins the last of them, and then counts as seen when all of it could be.
const maxBatches = 32

// maxUnseen is how many transactions of a batch are known one by one, before those that
// have been seen since are left out.
const maxUnseen = 4096

// batch is what has been read and not been told yet. It is bounded by what a journal
// keeps in detail.
type batch struct {
	journal  *commit.Journal // nil if only the position has moved
	position string
	unseen   []uint64     // transactions that a view must show
	seen     store.Moment // since when the others can be seen
	changes  int64
	commits  int64
	oldest   time.Time // of the commits
}

// empty reports whether nothing has to be told.
func (b *batch) empty() bool { return b.commits == 0 }

// pending are the batches that wait, in order.
type pending []batch

// add adds a transaction that was collected. If it can be seen already, the moment is
// since when.
func (p *pending) add(c Commit, from *Collector, seen store.Moment) {
	last := len(*p) - 1
	if c.ID == 0 {
		if last < 0 {
			*p = append(*p, batch{})
			last = 0
		}
		(*p)[last].position = c.Position
		return
	}
	one := batch{journal: from.journal, position: c.Position, seen: seen, changes: int64(c.Changes), commits: 1, oldest: c.Time}
	if seen == 0 {
		one.unseen = []uint64{c.ID}
	}
	if last >= 0 && ((*p)[last].empty() || (*p)[last].alike(&one) || len(*p) >= maxBatches) {
		(*p)[last].join(one)
		return
	}
	*p = append(*p, one)
}

// alike reports whether two batches can be seen since the same moment, as far as is
// known.
func (b *batch) alike(other *batch) bool {
	return b.seen == other.seen && (len(b.unseen) == 0) == (len(other.unseen) == 0)
}

// join adds a later batch.
func (b *batch) join(later batch) {
	if b.journal == nil {
		b.journal, b.oldest = later.journal, later.oldest
	} else {
		b.journal.Merge(later.journal)
	}
	b.position = later.position
	b.unseen = append(b.unseen, later.unseen...)
	b.seen = max(b.seen, later.seen)
	b.changes += later.changes
	b.commits += later.commits
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

// first returns the first moment by which transactions could be seen, all of them.
func (m *marks) first(ids ...uint64) (store.Moment, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// What one of them shows the later ones show, too.
	i := sort.Search(len(m.all), func(i int) bool {
		return !slices.ContainsFunc(ids, func(id uint64) bool { return !m.all[i].view.Shows(id) })
	})
	if i == len(m.all) {
		return 0, false
	}
	return m.all[i].clock, true
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

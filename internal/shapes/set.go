package shapes

import (
	"encoding/hex"
	"hash/fnv"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
)

const (
	maxShapes = 1000 // the least used beyond are folded into one
	maxTexts  = 8192 // whose shapes are remembered; then all are found anew
	maxLength = 4096 // of these texts, in bytes: the shape of a longer one is found each time
)

// Set holds the shapes of a process. It is safe for concurrent use.
type Set struct {
	plans sync.Map // *conj.Plan -> *forms
	texts sync.Map // string -> *forms
	known atomic.Int64

	mu     sync.Mutex
	byID   map[string]*Shape
	others *Shape

	stored stored
	writes writes
}

// forms are the shapes of one text, by operation: that of none, and one for each bit.
type forms [9]atomic.Pointer[Shape]

// NewSet returns an empty Set.
func NewSet() *Set {
	return &Set{byID: map[string]*Shape{}, others: &Shape{ID: Others, Text: Others}, stored: stored{seed: maphash.MakeSeed(), known: map[Entry]*trace{}}}
}

// OfPlan returns the shape of a text whose plan is given, without a lock or an
// allocation if it has been asked for before.
func (s *Set) OfPlan(d conj.Dialect, plan *conj.Plan, text string, op cache.Op, table string) *Shape {
	f, ok := s.plans.Load(plan)
	if !ok {
		s.bound()
		f, _ = s.plans.LoadOrStore(plan, new(forms))
	}
	return s.of(f.(*forms), d, text, op, table) //nolint:forcetypeassert // only forms are stored
}

// OfText is OfPlan for a text without a plan. It allocates.
func (s *Set) OfText(d conj.Dialect, text string, op cache.Op, table string) *Shape {
	if len(text) > maxLength {
		return s.find(conj.Fingerprint(d, text), op, table)
	}
	f, ok := s.texts.Load(text)
	if !ok {
		s.bound()
		f, _ = s.texts.LoadOrStore(text, new(forms))
	}
	return s.of(f.(*forms), d, text, op, table) //nolint:forcetypeassert // only forms are stored
}

// Computed returns the shape of the values that a program computes under a name.
func (s *Set) Computed(name string) *Shape {
	f, ok := s.texts.Load("computed/" + name)
	if !ok {
		s.bound()
		f, _ = s.texts.LoadOrStore("computed/"+name, new(forms))
	}
	slot := &f.(*forms)[0] //nolint:forcetypeassert // only forms are stored
	if known := slot.Load(); known != nil {
		return known
	}
	shape := s.find(name, 0, name)
	slot.Store(shape)
	return shape
}

func (s *Set) of(f *forms, d conj.Dialect, text string, op cache.Op, table string) *Shape {
	slot := &f[bits.Len8(uint8(op))%len(f)]
	if known := slot.Load(); known != nil {
		return known
	}
	shape := s.find(conj.Fingerprint(d, text), op, table)
	slot.Store(shape)
	return shape
}

// bound forgets which shape a text has when there are too many: texts hold values,
// and plans are made anew when definitions change.
func (s *Set) bound() {
	if s.known.Add(1) > maxTexts {
		s.known.Store(0)
		s.plans.Clear()
		s.texts.Clear()
	}
}

// find returns the shape of a text that is normalised.
func (s *Set) find(text string, op cache.Op, table string) *Shape {
	sum := fnv.New32a()
	_, _ = sum.Write(append([]byte(text), byte(op)))
	id := hex.EncodeToString(sum.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.byID[id]; ok {
		return known
	}
	if len(s.byID) >= maxShapes {
		s.foldLocked()
	}
	shape := &Shape{ID: id, Text: text, Op: op, table: table}
	s.byID[id] = shape
	return shape
}

// foldLocked folds the least used quarter into one. What is counted of these
// meanwhile is lost.
func (s *Set) foldLocked() {
	all := make([]*Shape, 0, len(s.byID))
	for _, shape := range s.byID {
		all = append(all, shape)
	}
	uses := func(s *Shape) int64 { return s.hits.Load() + s.misses.Load() }
	slices.SortFunc(all, func(a, b *Shape) int { return int(min(max(uses(a)-uses(b), -1), 1)) })
	for _, shape := range all[:len(all)/4] {
		shape.fold(s.others)
		delete(s.byID, shape.ID)
	}
	s.plans.Clear()
	s.texts.Clear()
}

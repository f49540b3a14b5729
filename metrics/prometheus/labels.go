package prometheus

import (
	"sync"
	"sync/atomic"
)

// otherLabel stands for all values beyond the bound of a label.
const otherLabel = "other"

// labels lets the first values of a label through, up to a number, and makes
// one of all that follow.
type labels struct {
	max   int64
	count atomic.Int64
	known sync.Map // string -> struct{}
}

func (l *labels) value(name string) string {
	if _, ok := l.known.Load(name); ok {
		return name
	}
	if l.count.Add(1) > l.max {
		l.count.Add(-1)
		return otherLabel
	}
	if _, twice := l.known.LoadOrStore(name, struct{}{}); twice {
		l.count.Add(-1)
	}
	return name
}

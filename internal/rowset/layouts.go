package rowset

import (
	"database/sql/driver"
	"maps"
	"sync"
	"sync/atomic"
)

// The bounds of Layouts, which together are a few megabytes.
const (
	maxLayouts = 1024
	maxLayout  = 4 << 10 // bytes, encoded
)

// Layouts remember the columns of payloads that they have decoded: a program's results have few different ones, and
// those of one row are most of what is to be decoded of it. The first thousand that are met are kept, without an end.
// The zero value is ready for use, and safe for concurrent use.
type Layouts struct {
	known atomic.Pointer[map[string][]column] // by their encoded form; replaced, never changed
	mu    sync.Mutex                          // held while it is replaced
}

// Decode is as the function [Decode].
func (l *Layouts) Decode(payload []byte) (driver.Rows, error) { return decode(payload, l.columns) }

// columns decodes columns that are not known yet.
func (l *Layouts) columns(b []byte) ([]column, error) {
	if known := l.known.Load(); known != nil {
		if columns, ok := (*known)[string(b)]; ok {
			return columns, nil
		}
	}
	columns, err := decodeColumns(b)
	if err == nil && len(b) <= maxLayout {
		l.keep(string(b), columns)
	}
	return columns, err
}

func (l *Layouts) keep(encoded string, columns []column) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := map[string][]column{}
	if known := l.known.Load(); known != nil {
		if len(*known) >= maxLayouts {
			return
		}
		next = maps.Clone(*known)
	}
	next[encoded] = columns
	l.known.Store(&next)
}

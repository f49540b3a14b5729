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

// Layout is the columns of a payload.
type Layout struct {
	columns []column
	kept    bool // by Layouts
}

// Names returns the names of the columns, in a slice of the caller's own.
func (l *Layout) Names() []string {
	names := make([]string, len(l.columns))
	for i := range l.columns {
		names[i] = l.columns[i].name
	}
	return names
}

// Layouts remember the columns of payloads that they have decoded: a program's results have few different ones, and
// those of one row are most of what is to be decoded of it. The first thousand that are met are kept, without an end.
// The zero value is ready for use, and safe for concurrent use.
type Layouts struct {
	known atomic.Pointer[map[string]*Layout] // by their encoded form; replaced, never changed
	mu    sync.Mutex                         // held while it is replaced
}

// Decode is as the function [Decode].
func (l *Layouts) Decode(payload []byte) (driver.Rows, error) { return decode(payload, l.layout) }

// layout decodes columns that are not known yet.
func (l *Layouts) layout(b []byte) (*Layout, error) {
	if known := l.known.Load(); known != nil {
		if layout, ok := (*known)[string(b)]; ok {
			return layout, nil
		}
	}
	layout, err := decodeLayout(b)
	if err == nil && len(b) <= maxLayout {
		layout = l.keep(string(b), layout)
	}
	return layout, err
}

// keep returns the layout that is kept of these columns, or the given one if there is no room.
func (l *Layouts) keep(encoded string, layout *Layout) *Layout {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := map[string]*Layout{}
	if known := l.known.Load(); known != nil {
		if kept, ok := (*known)[encoded]; ok {
			return kept
		}
		if len(*known) >= maxLayouts {
			return layout
		}
		next = maps.Clone(*known)
	}
	layout.kept = true
	next[encoded] = layout
	l.known.Store(&next)
	return layout
}

package rowset

import (
	"sync"
	"time"
)

// zone is a time zone by content. Drivers make a new *time.Location for each value they parse (SQLite's does), so
// pointers can't tell zones apart.
type zone struct {
	kind   uint8
	name   string
	offset int // seconds east of UTC, of a fixed zone
}

// zoneOf finds how t's location, which is neither time.UTC nor time.Local, can be made again. known is false where it
// can't: a location read from a private copy of the time zone database.
func zoneOf(t time.Time) (z zone, known bool) {
	name := t.Location().String()
	abbreviation, offset := t.Zone()
	if start, end := t.ZoneBounds(); start.IsZero() && end.IsZero() && name == abbreviation {
		return zone{kind: zoneFixed, name: name, offset: offset}, true
	}
	loc, ok := loadZone(name)
	if !ok {
		return zone{}, false
	}
	if a, o := t.In(loc).Zone(); a != abbreviation || o != offset {
		return zone{}, false
	}
	return zone{kind: zoneNamed, name: name}, true
}

func (z zone) location() (*time.Location, bool) {
	if z.kind == zoneFixed {
		return time.FixedZone(z.name, z.offset), true
	}
	return loadZone(z.name)
}

// zones remembers the locations of the time zone database, since time.LoadLocation reads a file each time and a
// session with a TimeZone has its zone in every result. What a name stands for does not change while a process runs,
// and only names that exist are kept.
var zones sync.Map // string -> *time.Location

func loadZone(name string) (*time.Location, bool) {
	if loc, ok := zones.Load(name); ok {
		return loc.(*time.Location), true
	}
	switch name {
	case "", "UTC", "Local": // LoadLocation's names for what has tags of its own
		return nil, false
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, false
	}
	zones.Store(name, loc)
	return loc, true
}

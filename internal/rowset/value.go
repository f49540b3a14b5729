package rowset

import (
	"bytes"
	"database/sql/driver"
	"encoding/binary"
	"math"
	"time"
)

// Kind is a value's Go type, as its driver gave it.
type Kind uint8

// The kinds of values.
const (
	Nil Kind = iota
	Bool
	Int64
	Uint64
	Float64
	Float32
	String
	Bytes
	Time
)

// Value is one value of a payload. Which of its fields hold is for its kind to say.
type Value struct {
	Kind  Kind
	Bool  bool
	Int   int64   // of Int64; the seconds of a Time
	Uint  uint64  // of Uint64; the nanoseconds of a Time
	Float float64 // of Float64 and Float32

	// Raw is the text of a String or of Bytes. It is a part of the payload, and must be copied.
	Raw []byte

	zone *time.Location
	at   int // where Raw begins in the rows
}

// Time returns the time of a Time.
func (v *Value) Time() time.Time { return time.Unix(v.Int, int64(v.Uint)).In(v.zone) }

// Any returns the value as the driver gave it. Nobody else has its memory.
func (v *Value) Any() driver.Value {
	switch v.Kind {
	case Bool:
		return v.Bool
	case Int64:
		return v.Int
	case Uint64:
		return v.Uint
	case Float64:
		return v.Float
	case Float32:
		return float32(v.Float)
	case String:
		return string(v.Raw)
	case Bytes:
		return bytes.Clone(v.Raw)
	case Time:
		return v.Time()
	}
	return nil
}

// value takes a value, and says what is wrong with it if it is none. That bytes are missing is for r.bad to say.
func (r *reader) value(v *Value, zones []*time.Location) (problem string) {
	switch r.byte() {
	case tagNil:
		v.Kind = Nil
	case tagFalse:
		v.Kind, v.Bool = Bool, false
	case tagTrue:
		v.Kind, v.Bool = Bool, true
	case tagInt:
		v.Kind, v.Int = Int64, r.varint()
	case tagUint:
		v.Kind, v.Uint = Uint64, r.uvarint()
	case tagFloat64:
		v.Kind = Float64
		if b := r.bytes(8); b != nil {
			v.Float = math.Float64frombits(binary.LittleEndian.Uint64(b))
		}
	case tagFloat32:
		v.Kind = Float32
		if b := r.bytes(4); b != nil {
			v.Float = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
	case tagString:
		v.Kind, v.Raw = String, r.bytes(r.uvarint())
	case tagBytes:
		v.Kind, v.Raw = Bytes, r.bytes(r.uvarint())
	case tagNilBytes:
		v.Kind, v.Raw = Bytes, nil
	case tagUTC:
		r.time(v, time.UTC)
	case tagLocal:
		r.time(v, time.Local)
	case tagZoned:
		z := r.uvarint()
		if z >= uint64(len(zones)) {
			return "zone of a value"
		}
		r.time(v, zones[z])
	default:
		return "tag of a value"
	}
	return ""
}

func (r *reader) time(v *Value, zone *time.Location) {
	v.Kind, v.Int, v.Uint, v.zone = Time, r.varint(), r.uvarint(), zone
}

// Values are the rows of a payload for a reader that takes them value by value, without a driver.Value for each.
type Values struct {
	layout *Layout
	zones  []*time.Location
	in     reader
	size   int // of all rows, in bytes
	rows   int
	bad    bool
	last   Value // what Next has returned

	window string // a copy of what the strings read last are parts of
	from   int    // where it begins in the rows
	used   int    // how much of it is strings that were read
	next   int    // how long the next one is to be
}

// ValuesOf returns the rows of src, if that is a payload whose columns are remembered; src itself keeps them.
func ValuesOf(src driver.Rows) (*Values, bool) {
	r, ok := src.(*replay)
	if !ok || !r.layout.kept || len(r.layout.columns) == 0 {
		return nil, false
	}
	return &Values{layout: r.layout, zones: r.zones, in: reader{rest: r.rest}, size: len(r.rest), rows: int(r.left), next: firstWindow}, true
}

// Layout returns the columns. All payloads that [Layouts] decode with the same columns share it.
func (s *Values) Layout() *Layout { return s.layout }

// Rows returns the number of rows.
func (s *Values) Rows() int { return s.rows }

// Next returns the next value, of the next row after a row's last, which holds until Next is called again. It is nil if
// there is none.
func (s *Values) Next() *Value {
	v := &s.last
	if s.in.value(v, s.zones) != "" || s.in.bad {
		s.bad = true
		return nil
	}
	v.at = s.size - len(s.in.rest) - len(v.Raw)
	return v
}

// Done reports whether everything has been read, and was sound.
func (s *Values) Done() bool { return !s.bad && len(s.in.rest) == 0 }

// The sizes of windows, in bytes. One is twice as long as the last if most of that was strings, else half as long.
const (
	firstWindow = 512
	minWindow   = 64
	maxWindow   = 4 << 10 // what a short string that is kept may keep with it
	longText    = 1 << 10 // what is copied alone
)

// Text returns the text of a String or of Bytes that Next took last. Short texts share their memory with those around
// them, of a few kilobytes at the most: one copy of a part of the payload serves them all.
func (s *Values) Text() string {
	v := &s.last
	n := len(v.Raw)
	switch {
	case n == 0:
		return ""
	case n >= longText:
		return string(v.Raw)
	}
	if v.at+n > s.from+len(s.window) {
		s.moveWindow(v)
	}
	s.used += n
	begin := v.at - s.from
	return s.window[begin : begin+n]
}

// moveWindow makes a text the first in a new window.
func (s *Values) moveWindow(v *Value) {
	switch {
	case s.window == "":
	case 2*s.used >= len(s.window):
		s.next = min(2*s.next, maxWindow)
	default:
		s.next = max(s.next/2, minWindow)
	}
	n := len(v.Raw)
	around := v.Raw[:min(n+len(s.in.rest), max(n, s.next))] // what is to be read follows
	s.window, s.from, s.used = string(around), v.at, 0
}

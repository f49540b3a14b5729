package rowset

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"
)

// encoder writes a payload row by row.
type encoder struct {
	buf   []byte
	width int // number of columns
	rows  uint32
	zones []zone

	// The zone met last: values of one session mostly share one location.
	lastLocation *time.Location
	lastZone     int
}

// newEncoder begins a payload for rows of these columns.
func newEncoder(columns []column) *encoder {
	e := &encoder{buf: make([]byte, columnsAt, 64+32*len(columns)), width: len(columns)}
	copy(e.buf, magic)
	e.buf[len(magic)] = version
	e.buf = binary.AppendUvarint(e.buf, uint64(len(columns)))
	for i := range columns {
		c := &columns[i]
		e.buf = appendString(e.buf, c.name)
		e.buf = appendString(e.buf, c.databaseType)
		e.buf = append(e.buf, c.scan, c.flags)
		if c.flags&hasLength != 0 {
			e.buf = binary.AppendVarint(e.buf, c.length)
		}
		if c.flags&hasPrecision != 0 {
			e.buf = binary.AppendVarint(e.buf, c.precision)
			e.buf = binary.AppendVarint(e.buf, c.scale)
		}
	}
	binary.LittleEndian.PutUint32(e.buf[rowsAt:], uint32(len(e.buf)))
	return e
}

// add appends a row. After an error, which says why a value can't be kept, the encoder is of no more use.
func (e *encoder) add(values []any) error {
	b := e.buf
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			b = append(b, tagNil)
		case bool:
			if v {
				b = append(b, tagTrue)
			} else {
				b = append(b, tagFalse)
			}
		case int64:
			b = binary.AppendVarint(append(b, tagInt), v)
		case uint64:
			b = binary.AppendUvarint(append(b, tagUint), v)
		case float64:
			b = binary.LittleEndian.AppendUint64(append(b, tagFloat64), math.Float64bits(v))
		case float32:
			b = binary.LittleEndian.AppendUint32(append(b, tagFloat32), math.Float32bits(v))
		case string:
			b = appendString(append(b, tagString), v)
		case []byte:
			if v == nil {
				b = append(b, tagNilBytes)
			} else {
				b = binary.AppendUvarint(append(b, tagBytes), uint64(len(v)))
				b = append(b, v...)
			}
		case time.Time:
			switch v.Location() {
			case time.UTC:
				b = append(b, tagUTC)
			case time.Local:
				b = append(b, tagLocal)
			default:
				z, ok := e.zone(v)
				if !ok {
					return fmt.Errorf("unknown time zone %q", v.Location())
				}
				b = binary.AppendUvarint(append(b, tagZoned), uint64(z))
			}
			b = binary.AppendVarint(b, v.Unix())
			b = binary.AppendUvarint(b, uint64(v.Nanosecond()))
		default:
			return fmt.Errorf("unknown type %T", v)
		}
	}
	if e.width == 0 {
		b = append(b, 0)
	}
	e.buf = b
	e.rows++
	return nil
}

// zone is the index in the zone table of t's location, which is added where it is new.
func (e *encoder) zone(t time.Time) (index int, known bool) {
	if t.Location() == e.lastLocation {
		return e.lastZone, true
	}
	z, ok := zoneOf(t)
	if !ok {
		return 0, false
	}
	index = slices.Index(e.zones, z)
	if index < 0 {
		index = len(e.zones)
		e.zones = append(e.zones, z)
	}
	e.lastLocation, e.lastZone = t.Location(), index
	return index, true
}

// size is the number of bytes so far; finish adds a few for each zone.
func (e *encoder) size() int { return len(e.buf) }

// finish completes and returns the payload. It must be no longer than fits an uint32.
func (e *encoder) finish() []byte {
	binary.LittleEndian.PutUint32(e.buf[countAt:], e.rows)
	binary.LittleEndian.PutUint32(e.buf[zonesAt:], uint32(len(e.buf)))
	e.buf = appendZones(e.buf, e.zones)
	return e.buf
}

func appendZones(b []byte, zones []zone) []byte {
	b = binary.AppendUvarint(b, uint64(len(zones)))
	for _, z := range zones {
		b = append(b, z.kind)
		b = appendString(b, z.name)
		if z.kind == zoneFixed {
			b = binary.AppendVarint(b, int64(z.offset))
		}
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

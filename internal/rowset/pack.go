package rowset

import (
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"math"
	"time"
)

// Packed is a result whose rows are encoded one by one, so that any of them can be
// kept, replaced and decoded without the others: [Unpack] makes rows of some. A row is
// the length of its zone table (uvarint), which is nothing if it has no zones, the table,
// and its values as in a payload.
type Packed struct {
	Layout string   // the columns, which all rows share
	Rows   []string // in the result's order
	// Nulls says of each row whether the column that Pack was told to watch is NULL.
	Nulls []bool
	// Reason says why the result can't be kept; empty if it is whole. See Recording.
	Reason string
}

// Pack returns rows that read from live, and what they are packed into, which is whole
// when they have been read to the end and closed. Watched is the name of a column. It
// fails as [Tee] does.
func Pack(live *sql.Rows, watched string) (driver.Rows, *Packed, error) {
	p := &Packed{}
	at := -1
	rows, err := Tee(live, TeeOptions{
		Limits: Limits{Rows: math.MaxInt32, Bytes: math.MaxUint32},
		Row: func(values []any) {
			p.Rows = append(p.Rows, pack(values))
			p.Nulls = append(p.Nulls, at >= 0 && values[at] == nil)
		},
		Done: func(r Recording) {
			if p.Reason = r.Reason; r.Complete {
				p.Layout = string(r.Payload[columnsAt:binary.LittleEndian.Uint32(r.Payload[rowsAt:])])
			}
		},
	})
	if err != nil {
		return nil, nil, err
	}
	for i, name := range rows.Columns() {
		if name == watched {
			at = i
		}
	}
	return rows, p, nil
}

// pack encodes a row, which a tee has been able to encode.
func pack(values []any) string {
	e := &encoder{width: len(values)}
	_ = e.add(values)
	var zones []byte
	if len(e.zones) > 0 {
		zones = appendZones(nil, e.zones)
	}
	b := binary.AppendUvarint(make([]byte, 0, 5+len(zones)+len(e.buf)), uint64(len(zones)))
	return string(append(append(b, zones...), e.buf...))
}

// Unpack returns packed rows as the result that they are. The error wraps [ErrCorrupt].
func Unpack(layout string, packed []string) (driver.Rows, error) {
	l, err := decodeLayout([]byte(layout))
	if err != nil {
		return nil, err
	}
	rows := &unpacked{replay: replay{layout: l}, packed: packed}
	return rows, nil
}

// unpacked is packed rows, each of which is decoded when it is read.
type unpacked struct {
	replay
	packed []string
}

// Next decodes a row into dest.
func (u *unpacked) Next(dest []driver.Value) error {
	u.rest, u.zones, u.left = nil, nil, 0
	if len(u.packed) > 0 {
		in := reader{rest: []byte(u.packed[0])}
		zones := in.bytes(in.uvarint())
		if in.bad {
			return corrupt("row")
		}
		var err error
		if u.zones, err = zonesOf(zones); err != nil {
			return err
		}
		u.rest, u.left, u.packed = in.rest, 1, u.packed[1:]
		if err := u.replay.Next(dest); err != nil {
			return err
		}
		if len(u.rest) > 0 {
			return corrupt("bytes after a row")
		}
		return nil
	}
	return u.replay.Next(dest)
}

// Close implements driver.Rows.
func (u *unpacked) Close() error {
	u.packed = nil
	return u.replay.Close()
}

func zonesOf(table []byte) ([]*time.Location, error) {
	if len(table) == 0 {
		return nil, nil
	}
	return decodeZones(table)
}

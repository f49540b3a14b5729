package rowset

// A payload is laid out as follows; integers of fixed width are little endian, "varint" and "uvarint" are those of
// encoding/binary, a string is its length as uvarint and its bytes.
//
//	offset  0  magic, 3 bytes
//	        3  version, 1 byte
//	        4  number of rows, uint32
//	        8  offset of the first row, uint32
//	       12  offset of the zone table, uint32
//	       16  number of columns (uvarint), then per column: name, database type name, scan type (1 byte),
//	           flags (1 byte) and, as the flags say, length (varint), precision and scale (varint)
//	        -  the rows, one after the other: per column a tag (1 byte) and what the tag asks for;
//	           a row without columns is one zero byte, so that no row is free
//	        -  zone table: number of zones (uvarint), then per zone: kind (1 byte), name, offset (varint) if fixed
//
// The zone table comes last because zones are met while rows are written, and is found by its offset so that Decode
// can refuse a payload whose zones this machine does not have before the first row is handed out.
//
// It has no checksum: who stores it makes sure that what comes back is what was stored, as package store does.
//
// Every change of the layout, of a tag or of a scan type's code needs another version.
const (
	magic   = "\xc7rs"
	version = 2

	countAt   = 4
	rowsAt    = 8
	zonesAt   = 12
	columnsAt = 16
)

// Tags of values.
const (
	tagNil      = iota // nil
	tagFalse           // bool
	tagTrue            // bool
	tagInt             // int64: varint
	tagUint            // uint64: uvarint
	tagFloat64         // float64: its bits, 8 bytes
	tagFloat32         // float32: its bits, 4 bytes
	tagString          // string
	tagBytes           // []byte that is not nil: a string
	tagNilBytes        // []byte(nil)
	tagUTC             // time.Time in UTC: seconds since 1970 (varint), nanoseconds (uvarint)
	tagLocal           // time.Time in time.Local, likewise
	tagZoned           // time.Time in a zone of the zone table: its index (uvarint), then likewise
)

// Kinds of zones.
const (
	zoneFixed = iota // one offset at all times: time.FixedZone(name, offset)
	zoneNamed        // of the time zone database: time.LoadLocation(name)
)

// Flags of columns.
const (
	hasNullable = 1 << iota
	isNullable
	hasLength
	hasPrecision
)

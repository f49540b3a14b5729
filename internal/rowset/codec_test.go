package rowset

import (
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawTime(t *rapid.T) time.Time {
	seconds := rapid.OneOf(
		rapid.Int64(), // far beyond every calendar
		rapid.Int64Range(-62135596800, 253402300799), // years 1 to 9999
		rapid.Int64Range(0, 4e9),
	).Draw(t, "seconds")
	v := time.Unix(seconds, rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
	switch rapid.SampledFrom([]string{"UTC", "local", "unnamed", "fixed", "named"}).Draw(t, "kind of zone") {
	case "UTC":
		return v.UTC()
	case "local":
		return v.Local()
	case "unnamed":
		return v.In(time.FixedZone("", rapid.IntRange(-64800, 64800).Draw(t, "offset")))
	case "fixed":
		name := rapid.SampledFrom([]string{"CET", "UTC", "Local", "GMT", "EST", "Europe/Berlin", "x"}).Draw(t, "fixed zone")
		return v.In(time.FixedZone(name, rapid.IntRange(-64800, 64800).Draw(t, "offset")))
	default:
		name := rapid.SampledFrom([]string{
			"Europe/Berlin", "America/New_York", "Asia/Kolkata", "Etc/GMT+5", "Australia/Lord_Howe", "CET", "EST",
		}).Draw(t, "named zone")
		loc, err := time.LoadLocation(name) // another pointer each time
		require.NoError(t, err)
		return v.In(loc)
	}
}

func drawValue(t *rapid.T) driver.Value {
	switch rapid.IntRange(0, 9).Draw(t, "type") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Int64().Draw(t, "int64")
	case 3:
		return rapid.Uint64().Draw(t, "uint64")
	case 4:
		return math.Float64frombits(rapid.Uint64().Draw(t, "float64"))
	case 5:
		return math.Float32frombits(rapid.Uint32().Draw(t, "float32"))
	case 6:
		return string(rapid.SliceOf(rapid.Byte()).Draw(t, "string"))
	case 7:
		return rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
	case 8:
		return rapid.SampledFrom([]driver.Value{[]byte(nil), []byte{}, "", math.NaN(), math.Copysign(0, -1), 0.0,
			math.Inf(1), math.Inf(-1), int64(math.MinInt64), uint64(math.MaxUint64), time.Time{}, time.Time{}.Local(),
		}).Draw(t, "edge")
	default:
		return drawTime(t)
	}
}

func drawColumn(t *rapid.T) column {
	c := column{
		name:         string(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "name")),
		databaseType: rapid.SampledFrom([]string{"", "INT4", "VARCHAR", "x'\x00"}).Draw(t, "database type"),
		scan:         uint8(rapid.IntRange(0, len(scanTypes)-1).Draw(t, "scan type")),
	}
	if rapid.Bool().Draw(t, "has nullable") {
		c.flags |= hasNullable
		if rapid.Bool().Draw(t, "nullable") {
			c.flags |= isNullable
		}
	}
	if rapid.Bool().Draw(t, "has length") {
		c.flags |= hasLength
		c.length = rapid.Int64().Draw(t, "length")
	}
	if rapid.Bool().Draw(t, "has precision") {
		c.flags |= hasPrecision
		c.precision, c.scale = rapid.Int64().Draw(t, "precision"), rapid.Int64().Draw(t, "scale")
	}
	return c
}

func TestDecodeGivesBackWhatWasEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.SliceOfN(rapid.Custom(drawColumn), 0, 5).Draw(t, "columns")
		rows := make([][]driver.Value, rapid.IntRange(0, 8).Draw(t, "rows"))
		for i := range rows {
			rows[i] = make([]driver.Value, len(columns))
			for j := range rows[i] {
				rows[i][j] = drawValue(t)
			}
		}
		payload, err := encode(columns, rows)
		require.NoError(t, err)

		require.Equal(t, len(rows), Count(payload))

		decoded, err := Decode(payload)
		require.NoError(t, err)
		require.Equal(t, columns, decoded.(*replay).layout.columns)
		again, err := readAll(decoded)
		require.NoError(t, err)
		require.True(t, sameRows(rows, again), "%#v\n%#v", rows, again)
		require.NoError(t, decoded.Close())
		require.ErrorIs(t, decoded.Next(make([]driver.Value, len(columns))), io.EOF)
	})
}

// What is altered and can be read all the same is for package store to find.
func TestAnAlteredPayloadIsCorruptOrReadToItsEnd(t *testing.T) {
	payload := samplePayload(t)
	for n := range len(payload) {
		requireCorrupt(t, payload[:n], "truncated to %d", n)
	}
	for bit := range 8 * len(payload) {
		altered := append([]byte(nil), payload...)
		altered[bit/8] ^= 1 << (bit % 8)
		check(t, altered)
	}
	requireCorrupt(t, append(append([]byte(nil), payload...), 0), "a byte too many")
	requireCorrupt(t, nil, "nothing")
	requireCorrupt(t, []byte(`{"rows": [[1, 2, 3]]}, and more of it`), "foreign")
}

func TestPayloadOfAnotherVersionIsCorrupt(t *testing.T) {
	payload := samplePayload(t)
	payload[len(magic)]++
	requireCorrupt(t, payload, "other version")
}

func TestPayloadWithAZoneUnknownHereIsCorrupt(t *testing.T) {
	e := newEncoder([]column{{name: "at"}})
	e.zones = []zone{{kind: zoneNamed, name: "Atlantis/Capital"}}
	requireCorrupt(t, e.finish(), "unknown zone")
}

func TestBogusLengthsAreRefusedWithoutAllocation(t *testing.T) {
	columns := []column{{name: "a"}}
	huge := binary.AppendUvarint(nil, math.MaxUint64)
	bodies := map[string][]byte{
		"string": append([]byte{tagString}, huge...),
		"bytes":  append([]byte{tagBytes}, huge...),
		"zone":   append([]byte{tagZoned}, huge...),
		"tag":    {0xff},
		"float":  {tagFloat64, 1, 2},
		"time":   {tagUTC, 1},
		"spare":  {tagNil, tagNil},
	}
	for name, body := range bodies {
		t.Run("in a value: "+name, func(t *testing.T) {
			e := newEncoder(columns)
			e.buf = append(e.buf, body...)
			e.rows = 1
			rows, err := Decode(e.finish())
			require.NoError(t, err)
			_, err = readAll(rows)
			require.ErrorIs(t, err, ErrCorrupt)
		})
	}
	t.Run("number of rows", func(t *testing.T) {
		e := newEncoder(nil)
		e.rows = math.MaxUint32
		requireCorrupt(t, e.finish(), "rows")
	})
	t.Run("number of columns", func(t *testing.T) {
		e := newEncoder(nil)
		e.buf = append(e.buf[:columnsAt], huge...)
		binary.LittleEndian.PutUint32(e.buf[rowsAt:], uint32(len(e.buf)))
		requireCorrupt(t, e.finish(), "columns")
	})
	t.Run("number of zones", func(t *testing.T) {
		payload := newEncoder(nil).finish()
		payload = append(payload[:len(payload)-1], huge...)
		requireCorrupt(t, payload, "zones")
	})
	for _, offset := range []uint32{0, columnsAt - 1, math.MaxUint32} {
		payload := samplePayload(t)
		binary.LittleEndian.PutUint32(payload[zonesAt:], offset)
		requireCorrupt(t, payload, "zone table at %d", offset)
		payload = samplePayload(t)
		binary.LittleEndian.PutUint32(payload[rowsAt:], offset)
		requireCorrupt(t, payload, "rows at %d", offset)
	}
}

func TestValuesThatTheFormatDoesNotKnow(t *testing.T) {
	private, err := time.LoadLocationFromTZData("Europe/Berlin", foreignZone(t))
	require.NoError(t, err)
	unheardOf, err := time.LoadLocationFromTZData("Atlantis/Capital", foreignZone(t))
	require.NoError(t, err)
	for _, v := range []any{
		int32(1), 1, uint(1), []string{"a"}, struct{}{}, new(int64), sql.RawBytes("a"), &replay{}, sql.NullInt64{},
		time.Unix(0, 0).In(private), time.Unix(0, 0).In(unheardOf),
	} {
		require.Error(t, newEncoder([]column{{}}).add([]any{v}), "%T", v)
	}
}

func TestScanTypesHaveOneCodeEach(t *testing.T) {
	for i, typ := range scanTypes {
		code, known := scanTypeCode(typ)
		require.True(t, known)
		require.Equal(t, i, int(code), "%v", typ)
	}
	_, known := scanTypeCode(reflect.TypeFor[struct{}]())
	require.False(t, known)
}

// TestFormatIsStable fails when the bytes of the format change: then the version has to as well.
func TestFormatIsStable(t *testing.T) {
	require.Equal(t, uint32(0x5bff2b34), crc32.ChecksumIEEE(samplePayload(t)),
		"the format has changed: raise version, then put the checksum here")
}

// foreignZone is the data of a zone which isn't that of Berlin.
func foreignZone(t *testing.T) []byte {
	for _, dir := range []string{"/usr/share/zoneinfo/", "/usr/lib/zoneinfo/", "/usr/share/lib/zoneinfo/"} {
		if data, err := os.ReadFile(dir + "Asia/Tokyo"); err == nil {
			return data
		}
	}
	t.Fatal("no time zone database")
	return nil
}

func samplePayload(t testing.TB) []byte {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	at := time.Date(2024, 2, 29, 12, 30, 0, 123456789, time.UTC)
	columns := []column{
		{name: "id", databaseType: "INT8", scan: 8},
		{name: "name", databaseType: "VARCHAR", scan: 16, flags: hasLength, length: 200},
		{name: "price", databaseType: "NUMERIC", scan: 15, flags: hasPrecision, precision: 10, scale: 2},
		{name: "note", databaseType: "TEXT", scan: 26, flags: hasNullable | isNullable},
	}
	payload, err := encode(columns, [][]driver.Value{
		{int64(1), "first", "12.50", nil},
		{uint64(2), []byte("second"), 12.5, []byte(nil)},
		{true, false, float32(1.5), []byte{}},
		{at, at.Local(), at.In(time.FixedZone("", 7200)), at.In(berlin)},
	})
	require.NoError(t, err)
	return payload
}

func requireCorrupt(t testing.TB, payload []byte, what string, args ...any) {
	t.Helper()
	rows, err := Decode(payload)
	require.ErrorIs(t, err, ErrCorrupt, append([]any{what}, args...)...)
	require.Nil(t, rows)
}

// FuzzDecode reads arbitrary bytes, as they are and as the body of an otherwise intact payload.
func FuzzDecode(f *testing.F) {
	f.Add(samplePayload(f))
	f.Add(newEncoder(nil).finish())
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		check(t, data)
		if len(data) > columnsAt {
			intact := append([]byte(nil), data...)
			copy(intact, magic)
			intact[len(magic)] = version
			check(t, intact)
		}
	})
}

func check(t *testing.T, payload []byte) {
	count := Count(payload)
	decoded, err := Decode(payload)
	if err != nil {
		require.ErrorIs(t, err, ErrCorrupt)
		return
	}
	columns := decoded.(*replay).layout.columns
	rows, err := readAll(decoded)
	if err != nil {
		require.ErrorIs(t, err, ErrCorrupt)
		return
	}
	require.Len(t, rows, count)
	again, err := encode(columns, rows)
	require.NoError(t, err)
	decoded, err = Decode(again)
	require.NoError(t, err)
	require.Equal(t, columns, decoded.(*replay).layout.columns)
	rowsAgain, err := readAll(decoded)
	require.NoError(t, err)
	require.True(t, sameRows(rows, rowsAgain), "%#v\n%#v", rows, rowsAgain)
}

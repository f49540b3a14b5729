package conj

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Value is the canonical form of a column's value: two values that the
// database deems equal have the same Value, whatever their spelling. The
// converse need not hold; values that share a Value without being equal cost
// an invalidation, nothing else. The zero Value means unknown.
type Value string

const (
	// Null stands for SQL NULL, in a column of any kind.
	Null Value = "n"
	// NotNull stands for a value that is only known not to be null. It is all
	// that is needed of an Opaque column, since only IS NULL narrows by one.
	NotNull Value = "!"
)

// Text shows the value to people: as it is, quoted where it isn't plain, or by
// its hash where it is long.
func (v Value) Text() string {
	switch {
	case v == Null:
		return "null"
	case v == NotNull || v == "":
		return "unknown"
	case v[0] == '#':
		return "sha256:" + hex.EncodeToString([]byte(v[1:]))
	}
	text := string(v[1:])
	if utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl) {
		return text
	}
	return strconv.Quote(text)
}

// Unreadable columns hold values whose canonical form this process cannot
// tell though others may (text that the connection transcodes with a loss):
// unlike an Opaque column's, their rows are unknown and not just [NotNull].
const Unreadable Kind = 255

// hashAbove is the length in bytes above which a value is kept as its SHA-256.
const hashAbove = 64

// exactDouble is the first integer magnitude from which on a float64 no longer
// tells neighbours apart.
const exactDouble = 1 << 53

// FromRow returns the canonical form of a value as the driver returned it
// from a row: nil, int64, uint64, float64, bool, []byte, string or time.Time.
// MySQL's text protocol gives []byte for everything.
//
// FromRow and FromParam obey one law: when the database deems
// "column = param" true for a row, then FromRow of the row or FromParam of
// the parameter is unknown, or both are equal.
func (c Column) FromRow(d Dialect, v any) Value {
	if v == nil {
		return Null
	}
	switch c.Kind {
	case Opaque:
		return NotNull
	case Integer:
		return integerRow(d, v)
	case Boolean:
		return booleanRow(v)
	case Decimal:
		return decimalRow(d, v)
	case Text, Label:
		return textRow(d, v)
	case PaddedText:
		return padded(v)
	case FoldedText:
		return folded(v)
	case UUID:
		return uuidRow(v)
	case Bytes:
		return bytesValue(v)
	}
	return ""
}

// FromParam returns the canonical form of a query's parameter or literal
// after [NormalizeArg]; empty if the equality can't narrow. Null is returned for
// nil: "column = NULL" is never true, "column IS NULL" is the caller's to tell.
func (c Column) FromParam(d Dialect, v any) Value {
	if s, ok := v.(Stringer); ok {
		if v, ok = s.sent(d); !ok {
			return ""
		}
	}
	if v == nil {
		return Null
	}
	switch c.Kind {
	case Integer:
		return integerParam(d, v)
	case Boolean:
		return booleanParam(d, v)
	case Decimal:
		return decimalParam(d, v)
	case Text, Label:
		if s, ok := v.(string); ok {
			return textRow(d, s)
		}
	case PaddedText:
		return padded(v)
	case FoldedText:
		return folded(v)
	case UUID:
		return uuidParam(d, v)
	case Bytes:
		return bytesValue(v)
	}
	return ""
}

// known makes a Value of canonical text. Long ones are hashed: the entry and
// the row hash alike, and plans stay small.
func known(s string) Value {
	if len(s) > hashAbove {
		sum := sha256.Sum256([]byte(s))
		return Value("#" + string(sum[:]))
	}
	return Value("=" + s)
}

func integerRow(d Dialect, v any) Value {
	switch v := v.(type) {
	case int64:
		return known(strconv.FormatInt(v, 10))
	case uint64:
		return known(strconv.FormatUint(v, 10))
	case bool:
		return bit(v)
	case float64:
		return sqliteReal(d, v)
	case string:
		return integerRowText(d, v)
	case []byte:
		if d != SQLite { // there it is a BLOB, equal to no number and no text
			return integerRowText(d, string(v))
		}
	}
	return ""
}

// integerRowText reads a number in text as MySQL's text protocol sends it,
// ZEROFILL's zeros included. SQLite keeps a text that is no number in a
// numeric column as it is.
func integerRowText(d Dialect, s string) Value {
	if d == SQLite {
		return sqliteWord(s)
	}
	digits, negative := strings.CutPrefix(s, "-")
	if !isDigits(digits) {
		return ""
	}
	digits = strings.TrimLeft(digits, "0")
	switch {
	case digits == "":
		return known("0")
	case negative:
		return known("-" + digits)
	}
	return known(digits)
}

func integerParam(d Dialect, v any) Value {
	switch v := v.(type) {
	case int64:
		return known(strconv.FormatInt(v, 10))
	case uint64:
		if d == SQLite && v > math.MaxInt64 {
			return "" // beyond its integers: the driver's affair
		}
		return known(strconv.FormatUint(v, 10))
	case bool:
		if d != PostgreSQL { // both others send 1 and 0
			return bit(v)
		}
	case float64:
		return sqliteReal(d, v)
	case string:
		if d == SQLite && !canonicalInteger(v) {
			return sqliteWord(v)
		}
		return integerParamText(d, v)
	}
	return ""
}

// integerParamText takes the one spelling of an integer that each database
// reads as that integer. MySQL compares a number with a text as float64, so
// that beyond 2^53 one text equals several integers; SQLite turns a text
// beyond int64 into a float64.
func integerParamText(d Dialect, s string) Value {
	if !canonicalInteger(s) {
		return ""
	}
	if d != PostgreSQL {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n <= -exactDouble || n >= exactDouble {
			return ""
		}
	}
	return known(s)
}

// sqliteReal canonicalises a float64 in a column of INTEGER or NUMERIC
// affinity, where SQLite compares numbers exactly, whatever their types.
func sqliteReal(d Dialect, f float64) Value {
	if d != SQLite || math.IsNaN(f) || math.Abs(f) >= exactDouble {
		return ""
	}
	if f == math.Trunc(f) {
		return known(strconv.FormatInt(int64(f), 10))
	}
	return known(strconv.FormatFloat(f, 'g', -1, 64))
}

// sqliteWord canonicalises a text in a column of numeric affinity (GORM's
// uuid ends there). A text that holds a byte which no number can hold is left
// as it is on both sides of a comparison and compares byte by byte.
func sqliteWord(s string) Value {
	if !utf8.ValidString(s) {
		return ""
	}
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case b >= '0' && b <= '9', b <= ' ', b == '+', b == '-', b == '.', b == 'e', b == 'E', b >= 0x7f:
		default:
			return known("'" + s)
		}
	}
	return ""
}

// booleanRow folds whatever SQLite keeps in a boolean column as its drivers
// do: they read 2 as true, some read -1 as false. Only 0 and 1 can be asked for.
func booleanRow(v any) Value {
	switch v := v.(type) {
	case bool:
		return bit(v)
	case int64:
		return bit(v > 0)
	}
	return ""
}

func booleanParam(d Dialect, v any) Value {
	switch v := v.(type) {
	case bool:
		return bit(v)
	case int64:
		if d == SQLite && (v == 0 || v == 1) {
			return bit(v == 1)
		}
	}
	return ""
}

func bit(b bool) Value {
	if b {
		return known("1")
	}
	return known("0")
}

func decimalRow(d Dialect, v any) Value {
	switch v := v.(type) {
	case int64:
		return decimal(d, strconv.FormatInt(v, 10))
	case uint64:
		return decimal(d, strconv.FormatUint(v, 10))
	case string:
		return decimal(d, v)
	case []byte:
		return decimal(d, string(v))
	}
	return ""
}

func decimalParam(d Dialect, v any) Value {
	switch v := v.(type) {
	case int64:
		return decimal(d, strconv.FormatInt(v, 10))
	case uint64:
		return decimal(d, strconv.FormatUint(v, 10))
	case string:
		return decimal(d, v)
	}
	return ""
}

// decimal strips the zeros that do not count. MySQL compares a decimal with a
// text as float64, which tells numbers of up to 15 digits apart; longer ones
// have no canonical form there.
func decimal(d Dialect, s string) Value {
	s, negative := strings.CutPrefix(s, "-")
	whole, fraction, point := strings.Cut(s, ".")
	if !isDigits(whole) || point && !isDigits(fraction) {
		return ""
	}
	whole = strings.TrimLeft(whole, "0")
	fraction = strings.TrimRight(fraction, "0")
	if d == MySQL && len(whole)+len(fraction) > 15 {
		return ""
	}
	if whole == "" {
		whole = "0"
	}
	canonical := whole
	if fraction != "" {
		canonical += "." + fraction
	}
	if negative && canonical != "0" {
		canonical = "-" + canonical
	}
	return known(canonical)
}

// textRow takes text as it is. A []byte in SQLite is a BLOB, which equals no
// text; any other type has been made of the text by the driver. Malformed
// UTF-8 is replaced on its way into a SQLite database of UTF-16.
func textRow(d Dialect, v any) Value {
	switch v := v.(type) {
	case string:
		if d == SQLite && !utf8.ValidString(v) {
			return ""
		}
		return known(v)
	case []byte:
		if d != SQLite {
			return known(string(v))
		}
	}
	return ""
}

func padded(v any) Value {
	s, ok := characters(v)
	if !ok || !utf8.ValidString(s) {
		return ""
	}
	return known(strings.TrimRight(s, " "))
}

// folded takes printable ASCII only: among those the collations ignore case
// and trailing blanks, while any other character may equal a letter or nothing.
func folded(v any) Value {
	s, ok := characters(v)
	if !ok {
		return ""
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return ""
		}
	}
	return known(strings.ToLower(strings.TrimRight(s, " ")))
}

// characters returns text as MySQL's driver gives and takes it.
func characters(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

// uuidRow reads what a row holds: text, or the 16 bytes themselves.
func uuidRow(v any) Value {
	switch v := v.(type) {
	case [16]byte:
		return known(string(v[:]))
	case string:
		return uuidText(v)
	case []byte:
		return uuidText(string(v))
	}
	return ""
}

// uuidParam leaves bytes alone that are not certain to be taken as they are:
// MariaDB swaps the parts of a binary string, pgx cuts a longer one to 16.
func uuidParam(d Dialect, v any) Value {
	switch v := v.(type) {
	case [16]byte:
		if d == PostgreSQL {
			return known(string(v[:]))
		}
	case []byte:
		if d == PostgreSQL && len(v) == 16 {
			return known(string(v))
		}
	case string:
		return uuidText(v)
	}
	return ""
}

// uuidText reads 32 hexadecimal digits, with dashes and braces wherever a
// database may allow them.
func uuidText(text string) Value {
	if strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") {
		text = text[1 : len(text)-1]
	}
	var id [16]byte
	n := 0
	for i := 0; i < len(text); i++ {
		if text[i] == '-' {
			continue
		}
		digit, ok := hexDigit(text[i])
		if !ok || n == 32 {
			return ""
		}
		id[n/2] = id[n/2]<<4 | digit
		n++
	}
	if n != 32 {
		return ""
	}
	return known(string(id[:]))
}

func hexDigit(b byte) (byte, bool) {
	switch {
	case b >= '0' && b <= '9':
		return b - '0', true
	case b >= 'a' && b <= 'f':
		return b - 'a' + 10, true
	case b >= 'A' && b <= 'F':
		return b - 'A' + 10, true
	}
	return 0, false
}

func bytesValue(v any) Value {
	if b, ok := v.([]byte); ok {
		return known(string(b))
	}
	return ""
}

func isDigits(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// canonicalInteger reports whether s is an integer as strconv would print it.
func canonicalInteger(s string) bool {
	digits, negative := strings.CutPrefix(s, "-")
	if !isDigits(digits) {
		return false
	}
	return digits[0] != '0' || digits == "0" && !negative
}

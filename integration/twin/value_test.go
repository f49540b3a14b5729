package twin

import (
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// twinGen draws values, conditions, queries and writes.
type twinGen struct {
	*rand.Rand
	dialect string
	// focus, where it is set, is what columns conditions are on: few, and
	// mostly compared so that they narrow. Then few schemes are registered,
	// writes know their rows from the text, and little is dropped by accident.
	focus map[*twinTable][]twinColumn
	// tame makes most parameters of the column's own type: where many stand in
	// a text, few of them may be refused.
	tame bool
	// words are the groups of texts that most are drawn from.
	words [][]string
	// theme, where it is set, is which tables queries and writes prefer.
	theme map[*twinTable]bool
	// strict leaves one column of each table, and queries on one table.
	strict bool
}

// aim draws what a round is about.
func (g *twinGen) aim() {
	if !g.chance(4) {
		g.choose()
	}
	if !g.chance(3) {
		g.gather()
	}
	switch g.IntN(6) {
	case 0, 1:
		g.narrow()
	case 2, 3:
		g.sharpen()
	case 4:
		g.pair()
	}
}

// narrow sets a focus.
func (g *twinGen) narrow() {
	g.focus, g.strict = map[*twinTable][]twinColumn{}, g.chance(2)
	for _, t := range twinTables {
		if g.strict {
			g.focus[t] = []twinColumn{pick(g, t.only(twinInt, twinText, twinBool)...)}
			continue
		}
		g.focus[t] = []twinColumn{pick(g, t.cols...), pick(g, t.cols...)}
		if g.chance(2) {
			g.focus[t] = append(g.focus[t], t.cols[0])
		}
	}
}

// sharpen sets a focus of one column on each of two tables, and texts that are
// all nearly equal: what is wrong with one type shows at once.
func (g *twinGen) sharpen() {
	g.focus, g.strict, g.theme = map[*twinTable][]twinColumn{}, true, map[*twinTable]bool{}
	for _, t := range twinTables {
		c := pick(g, t.cols...)
		for slices.Contains(t.key, c.name) && !g.chance(4) && len(t.cols) > len(t.key) {
			c = pick(g, t.cols...)
		}
		g.focus[t] = []twinColumn{c}
	}
	for range 2 {
		g.theme[pick(g, twinTables...)] = true
	}
	g.choose()
	g.words = g.words[:1]
}

// pair sets a focus on two tables that refer to each other, and the columns by
// which they do.
func (g *twinGen) pair() {
	g.narrow()
	g.strict, g.theme = false, map[*twinTable]bool{}
	kin := pick(g, twinKin...)
	for _, end := range kin {
		name, column, _ := strings.Cut(end, ".")
		for _, t := range twinTables {
			if t.name != name {
				continue
			}
			g.theme[t] = true
			g.focus[t] = []twinColumn{pick(g, t.cols...)}
			for _, c := range t.cols {
				if c.name == column {
					g.focus[t] = append(g.focus[t], c)
					break
				}
			}
		}
	}
}

// choose draws the few texts that most of a round's are.
func (g *twinGen) choose() {
	g.words = nil
	for range 2 {
		group := slices.Clone(pick(g, twinWords...))
		g.Shuffle(len(group), func(i, j int) { group[i], group[j] = group[j], group[i] })
		g.words = append(g.words, group[:2+g.IntN(2)])
	}
}

// gather draws the few tables that most of a round is about, so that writes
// meet queries.
func (g *twinGen) gather() {
	g.theme = map[*twinTable]bool{}
	for range 4 {
		g.theme[pick(g, twinTables...)] = true
	}
}

// table draws one of some tables, of the theme if it can.
func (g *twinGen) table(of ...*twinTable) *twinTable {
	t := pick(g, of...)
	for range 12 {
		if g.theme == nil || g.theme[t] {
			break
		}
		t = pick(g, of...)
	}
	return t
}

func pick[T any](g *twinGen, of ...T) T { return of[g.IntN(len(of))] }

// chance is true once in n times.
func (g *twinGen) chance(n int) bool { return g.IntN(n) == 0 }

// maxTwinID bounds the keys that conditions name.
const maxTwinID = 12

func (g *twinGen) int(column string) int {
	switch column {
	case "id", "author_id", "twin_author_id":
		return 1 + g.IntN(maxTwinID)
	case "shelf", "pos":
		return 1 + g.IntN(3)
	}
	return g.IntN(4)
}

// twinWords are texts that some collation, conversion or parser takes for one
// another, in groups. A round draws most of its texts from two of them.
var twinWords = [][]string{
	{"a", "A", "a ", "á", " a", "A ", "a\u0301", "\u00e1", "a\u200b", "a\u00a0", "a\t"},
	{"1", "01", "1.0", "1e0", "1a", "+1", " 1", "1 ", "-1", "true", "t"},
	{"0", "-0", "", " ", "false", "\t", "0x0", "00", "NULL"},
	{"ss", "ß", "SS", "\u1e9e", "s", "fi", "\ufb01"},
	{"i", "I", "\u0130", "\u0131", "\u212b", "\u00c5", "A\u030a"},
	{"b", "B", "b ", "b  ", "'\\", "a%", "x_y", "\U0001f600", "\U0001f601"},
	{"12345678901234567890", "12345678901234567890 ", "1234567890123456789", "12345678901234567891"}, // as long as the columns, and a blank more
	{"9007199254740993", "9007199254740992", "9.007199254740993e15", "9007199254740993.0"},
}

func (g *twinGen) text(column string) string {
	if column == "txt" && g.chance(6) {
		return pick(g, strings.Repeat("a", 65), strings.Repeat("a", 65)+" ", strings.Repeat("A", 65), strings.Repeat("a", 3000))
	}
	switch column {
	case "state", "kind", "pick":
		return pick(g, "open", "OPEN", "done", "a", "")
	case "code":
		return pick(g, "ab", "AB", "ab  ", "abcd", "1", "")
	}
	if g.words == nil || g.chance(4) {
		return pick(g, pick(g, twinWords...)...)
	}
	return pick(g, pick(g, g.words...)...)
}

var twinEpoch = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func (g *twinGen) time() time.Time {
	t := twinEpoch.Add(time.Duration(g.IntN(4)) * 500 * time.Millisecond)
	if g.chance(6) {
		t = t.Add(pick(g, time.Microsecond, 400*time.Nanosecond, 600*time.Nanosecond)) // finer than some columns
	}
	if g.chance(3) {
		return t.In(time.FixedZone("", 3600))
	}
	return t
}

func (g *twinGen) float() float64 { return pick(g, 0, 1, 1.5, -0.25) }

func (g *twinGen) bytes() []byte {
	return pick(g, nil, []byte{}, []byte("a"), []byte("A"), []byte{0, 255}, []byte("a\x00"))
}

func (g *twinGen) decimal() string {
	return pick(g, "0.00", "0", "-0", "1.50", "1.5", "1.500", "01.5", "2", "2.00", "-1.25", "10.00", "1e1", "1.504", "1.496")
}

// big is an integer near where some types end.
func (g *twinGen) big() int64 {
	return pick[int64](g, 0, 1, -1, 1<<53, 1<<53+1, 1<<53-1, math.MaxInt64, math.MaxInt64-1, math.MinInt64, 1<<31, 1<<32)
}

func (g *twinGen) day() time.Time { return twinEpoch.Truncate(24*time.Hour).AddDate(0, 0, g.IntN(3)) }

func (g *twinGen) uuid() string {
	return fmt.Sprintf("0a1b2c3d-0000-4000-8000-00000000000%d", g.IntN(6))
}

func maybe[T any](g *twinGen, v T) *T {
	if g.chance(3) {
		return nil
	}
	return &v
}

// value is a Go value for a column, as a program would store it.
func (g *twinGen) value(c twinColumn) any {
	if c.null && g.chance(4) {
		return nil
	}
	switch c.kind {
	case twinBool:
		return g.chance(2)
	case twinText:
		return g.text(c.name)
	case twinDecimal:
		return g.decimal()
	case twinTime:
		return g.time()
	case twinUUID:
		return g.uuid()
	case twinFloat:
		return g.float()
	case twinBytes:
		return g.bytes()
	case twinBig:
		return g.big()
	case twinDay:
		return g.day()
	}
	return g.int(c.name)
}

type (
	twinNamedInt    int16
	twinNamedString string
	twinNamedBool   bool
)

// param is a parameter to compare a column with, of a type that a program
// might use: mostly the plain one.
func (g *twinGen) param(c twinColumn) any {
	odd := g.chance(3)
	if g.focus != nil || g.tame {
		odd = g.chance(6)
	}
	if g.tame {
		odd = odd && g.chance(3)
	}
	switch c.kind {
	case twinBool:
		b := g.chance(2)
		if !odd {
			return b
		}
		n := 0
		if b {
			n = 1
		}
		return pick[any](g, &b, sql.NullBool{Bool: b, Valid: true}, sql.NullBool{}, twinNamedBool(b), n, fmt.Sprint(b), fmt.Sprint(n), (*bool)(nil))
	case twinText:
		s := g.text(c.name)
		if !odd {
			return s
		}
		return pick[any](g, &s, sql.NullString{String: s, Valid: true}, sql.NullString{}, twinNamedString(s), []byte(s), g.IntN(2), (*string)(nil), strings.ToUpper(s), s+" ")
	case twinDecimal:
		d := g.decimal()
		if !odd {
			return d
		}
		return pick[any](g, 1.5, 2, "1.500", &d, float32(-1.25), []byte(d), " 1.5", "1.5 ", 1.25, math.Copysign(0, -1), true)
	case twinTime:
		t := g.time()
		if !odd {
			return t
		}
		return pick[any](g, &t, sql.NullTime{Time: t, Valid: true}, t.Format("2006-01-02 15:04:05.000"), t.Local())
	case twinUUID:
		s := g.uuid()
		if !odd {
			return s
		}
		return pick[any](g, strings.ToUpper(s), strings.ReplaceAll(s, "-", ""), "{"+s+"}", testmodel.UUID(s), []byte(s), "no uuid")
	}
	switch c.kind {
	case twinFloat:
		return pick[any](g, g.float(), g.float(), 1, "1.5", "1", float32(1.5), true)
	case twinBytes:
		return pick[any](g, g.bytes(), g.bytes(), "a", "A", 1)
	case twinBig:
		n := g.big()
		if !odd {
			return n
		}
		return pick[any](g, &n, fmt.Sprint(n), float64(n), uint64(n), uint64(1<<63), fmt.Sprint(n)+".0", "9223372036854775808", "9007199254740993", 9007199254740993.0)
	case twinDay:
		d := g.day()
		if !odd {
			return d
		}
		return pick[any](g, d.Format("2006-01-02"), d.Format("20060102"), d.Add(time.Hour), d.Format("2006-01-02 15:04:05"), d.In(time.FixedZone("", -3600)))
	}
	n := g.int(c.name)
	if !odd {
		return n
	}
	u := uint(n)
	return pick[any](g, int64(n), uint8(n), &n, &u, sql.NullInt64{Int64: int64(n), Valid: true}, sql.NullInt64{}, twinNamedInt(n),
		fmt.Sprint(n), fmt.Sprintf("0%d", n), fmt.Sprintf("%d.0", n), fmt.Sprintf("%da", n), fmt.Sprintf(" %d", n), fmt.Sprintf("%de0", n), "", float64(n), float64(n)+0.5, n == 1, []byte(fmt.Sprint(n)), (*int)(nil), -n)
}

// literal is a parameter's value written into the text.
func (g *twinGen) literal(c twinColumn) string {
	switch c.kind {
	case twinBool:
		if g.dialect == "postgres" {
			return pick(g, "true", "false", "'t'", "NULL")
		}
		return pick(g, "true", "false", "1", "0", "NULL")
	case twinInt:
		n := g.int(c.name)
		return pick(g, fmt.Sprint(n), fmt.Sprint(n), fmt.Sprintf("'%d'", n), fmt.Sprintf("%d.0", n), fmt.Sprintf("+%d", n), "NULL", fmt.Sprintf("0%d", n))
	case twinText:
		s := g.text(c.name)
		if strings.ContainsAny(s, `'\?`) {
			s = "a"
		}
		return "'" + s + "'"
	case twinDecimal:
		return pick(g, "1.5", "1.50", "2", "'1.5'", "-1.25")
	case twinUUID:
		return "'" + g.uuid() + "'"
	case twinFloat:
		return pick(g, "1", "1.5", "-0.25", "1e0")
	case twinBytes:
		return "'a'"
	case twinBig:
		n := fmt.Sprint(g.big())
		return pick(g, n, n, "'"+n+"'", n+".0", "9223372036854775808", "9007199254740993")
	case twinDay:
		return "'" + g.day().Format("2006-01-02") + "'"
	}
	return "'" + g.time().Format("2006-01-02 15:04:05") + "'"
}

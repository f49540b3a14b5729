package twin

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
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
	// strict leaves one column of each table, and queries on one table.
	strict bool
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

var twinTexts = []string{"a", "A", "á", "a ", " a", "b", "B", "ß", "ss", "", "1", "01", "1.0", "0", "NULL", "a%", "x_y", "'\\",
	"12345678901234567890", "12345678901234567890 "} // as long as the columns, and a blank more

func (g *twinGen) text(column string) string {
	if g.focus != nil && g.chance(2) {
		return pick(g, "a", "A", "á", "a ")
	}
	switch column {
	case "state":
		return pick(g, "open", "OPEN", "done", "")
	case "code":
		return pick(g, "ab", "AB", "ab  ", "abcd", "1", "")
	case "twin_tag_code":
		return pick(g, twinTexts[:8]...)
	}
	return pick(g, twinTexts...)
}

var twinEpoch = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func (g *twinGen) time() time.Time {
	t := twinEpoch.Add(time.Duration(g.IntN(4)) * 500 * time.Millisecond)
	if g.chance(3) {
		return t.In(time.FixedZone("", 3600))
	}
	return t
}

func (g *twinGen) float() float64 { return pick(g, 0, 1, 1.5, -0.25) }

func (g *twinGen) bytes() []byte {
	return pick(g, nil, []byte{}, []byte("a"), []byte("A"), []byte{0, 255}, []byte("a\x00"))
}

func (g *twinGen) decimal() string { return pick(g, "0.00", "1.50", "1.5", "2", "-1.25", "10.00") }

func (g *twinGen) uuid() string {
	id := fmt.Sprintf("0a1b2c3d-0000-4000-8000-00000000000%d", g.IntN(6))
	return id
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
	if g.focus != nil {
		odd = g.chance(6)
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
		return pick[any](g, 1.5, 2, "1.500", &d, float32(-1.25), []byte(d))
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
	}
	n := g.int(c.name)
	if !odd {
		return n
	}
	u := uint(n)
	return pick[any](g, int64(n), uint8(n), &n, &u, sql.NullInt64{Int64: int64(n), Valid: true}, sql.NullInt64{}, twinNamedInt(n),
		fmt.Sprint(n), fmt.Sprintf("0%d", n), fmt.Sprintf("%d.0", n), float64(n), n == 1, []byte(fmt.Sprint(n)), (*int)(nil), -n)
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
	}
	return "'" + g.time().Format("2006-01-02 15:04:05") + "'"
}

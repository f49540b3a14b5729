package twin

import (
	"fmt"
	"strings"
)

// twinCond is a condition as text with parameters.
type twinCond struct {
	sql  string
	args []any
}

func (c twinCond) and(o twinCond) twinCond {
	return twinCond{"(" + c.sql + " AND " + o.sql + ")", append(append([]any(nil), c.args...), o.args...)}
}

// cond draws a condition on a table's columns. alias ends in a dot, or is
// empty.
func (g *twinGen) cond(t *twinTable, alias string, depth int) twinCond {
	if depth > 0 && (g.focus == nil || g.chance(2)) {
		switch g.IntN(8) {
		case 6:
			if len(t.only(twinInt)) > 1 && g.chance(2) {
				return g.product(t, alias)
			}
		case 0, 1, 2:
			return g.cond(t, alias, depth-1).and(g.cond(t, alias, depth-1))
		case 3, 4:
			a, b := g.cond(t, alias, depth-1), g.cond(t, alias, depth-1)
			return twinCond{"(" + a.sql + " OR " + b.sql + ")", append(append([]any(nil), a.args...), b.args...)}
		case 5:
			c := g.cond(t, alias, depth-1)
			return twinCond{"NOT (" + c.sql + ")", c.args}
		}
	}
	return g.term(t, alias)
}

// term draws one comparison: half of them are of the kinds that narrow.
func (g *twinGen) term(t *twinTable, alias string) twinCond {
	c, kinds := pick(g, t.cols...), 16
	if len(g.focus[t]) > 0 {
		c, kinds = pick(g, g.focus[t]...), 10
		if g.chance(25) {
			kinds = 16
		}
	}
	col := alias + c.name
	switch g.IntN(kinds) {
	case 0, 1, 2, 3, 4:
		return twinCond{col + " = ?", []any{g.param(c)}}
	case 5:
		return twinCond{"? = " + col, []any{g.param(c)}}
	case 6:
		return twinCond{col + " = " + g.literal(c), nil}
	case 7:
		return g.in(c, col)
	case 8:
		return twinCond{col + pick(g, " IS NULL", " IS NULL", " IS NOT NULL"), nil}
	case 9:
		if g.chance(2) {
			return g.castTerm(c, col)
		}
		return g.sameTerm(c, col)
	}
	return g.oddTerm(t, c, alias)
}

func (g *twinGen) in(c twinColumn, col string) twinCond {
	list := make([]any, g.IntN(4))
	for i := range list {
		list[i] = g.value(c)
	}
	if g.chance(8) {
		list = g.longList(c)
	}
	not := pick(g, "", "", "NOT ")
	switch g.IntN(3) {
	case 0:
		marks := make([]string, 1+g.IntN(3))
		var args []any
		for i := range marks {
			if marks[i] = "?"; g.chance(3) {
				marks[i] = g.literal(c)
				continue
			}
			args = append(args, g.param(c))
		}
		return twinCond{fmt.Sprintf("%s %sIN (%s)", col, not, strings.Join(marks, ", ")), args}
	case 1:
		if c.kind == twinInt {
			return twinCond{col + " " + not + "IN ?", []any{[]int{g.int(c.name), g.int(c.name)}}}
		}
	}
	return twinCond{col + " " + not + "IN ?", []any{list}}
}

// sameTerm is equality by the operator that knows NULL.
func (g *twinGen) sameTerm(c twinColumn, col string) twinCond {
	op := map[string]string{"mysql": " <=> ", "postgres": " IS NOT DISTINCT FROM ", "sqlite": " IS "}[g.dialect]
	switch g.IntN(4) {
	case 0:
		return twinCond{col + op + "NULL", nil}
	case 1:
		return twinCond{"? " + strings.TrimSpace(op) + " " + col, []any{g.value(c)}}
	}
	return twinCond{col + op + "?", []any{g.param(c)}}
}

// castTerm compares with a parameter that the database converts first: to the
// column's type, to one that holds less, or to another.
func (g *twinGen) castTerm(c twinColumn, col string) twinCond {
	var types []string
	switch c.kind {
	case twinInt, twinBig:
		types = map[string][]string{
			"postgres": {"int", "bigint", "smallint", "numeric", "int4"}, "mysql": {"SIGNED", "UNSIGNED", "CHAR", "DECIMAL(4,1)"},
			"sqlite": {"INTEGER", "TEXT", "NUMERIC", "REAL"},
		}[g.dialect]
	case twinText:
		types = map[string][]string{
			"postgres": {"text", "varchar", "varchar(2)", "char(3)"}, "mysql": {"CHAR", "CHAR(1)", "BINARY"}, "sqlite": {"TEXT", "BLOB", "VARCHAR(1)"},
		}[g.dialect]
	case twinDecimal:
		types = map[string][]string{
			"postgres": {"numeric", "numeric(8,1)", "float8"}, "mysql": {"DECIMAL(8,1)", "DECIMAL(10,4)", "CHAR"}, "sqlite": {"NUMERIC", "TEXT", "INTEGER"},
		}[g.dialect]
	case twinBool:
		types = map[string][]string{"postgres": {"boolean", "bool"}, "mysql": {"SIGNED"}, "sqlite": {"BOOLEAN", "INTEGER"}}[g.dialect]
	case twinUUID:
		types = map[string][]string{"postgres": {"uuid", "text"}, "mysql": {"CHAR"}, "sqlite": {"TEXT"}}[g.dialect]
	case twinTime, twinDay:
		types = map[string][]string{"postgres": {"timestamptz", "timestamp", "date"}, "mysql": {"DATETIME", "DATE"}, "sqlite": {"TEXT"}}[g.dialect]
	default:
		return twinCond{col + " = ?", []any{g.param(c)}}
	}
	what, args := "?", []any{g.value(c)}
	if g.chance(3) {
		what, args = g.literal(c), nil
	}
	if g.dialect == "postgres" && g.chance(2) {
		return twinCond{col + " = " + what + "::" + pick(g, types...), args}
	}
	return twinCond{col + " = CAST(" + what + " AS " + pick(g, types...) + ")", args}
}

// longList draws more values than some limits allow, few of which are in a row.
func (g *twinGen) longList(c twinColumn) []any {
	list := make([]any, 4+g.IntN(18))
	for i := range list {
		if list[i] = g.value(c); c.kind == twinInt && i < len(list)-2 && !g.chance(8) {
			list[i] = 20 + i // those that are in rows come last, where a limit would cut
		}
	}
	return list
}

// product is a conjunction of more combinations than are kept.
func (g *twinGen) product(t *twinTable, alias string) twinCond {
	ints := t.only(twinInt)
	c := twinCond{"1 = 1", nil}
	for range 2 {
		col := pick(g, ints...)
		long := append(g.longList(col), g.longList(col)...)
		for i := range len(long) / 2 {
			long[i] = 50 + i
		}
		c = c.and(twinCond{alias + col.name + " IN ?", []any{long}})
	}
	return c
}

// oddTerm draws a comparison that mostly can't narrow.
func (g *twinGen) oddTerm(t *twinTable, c twinColumn, alias string) twinCond {
	col := alias + c.name
	switch g.IntN(12) {
	case 0:
		return twinCond{col + pick(g, " <> ?", " < ?", " >= ?", " > ?"), []any{g.param(c)}}
	case 1:
		return twinCond{col + " BETWEEN ? AND ?", []any{g.value(twinColumn{c.name, c.kind, false}), g.param(c)}}
	case 2:
		if c.kind == twinText {
			return twinCond{col + pick(g, " LIKE ?", " NOT LIKE ?"), []any{pick(g, "a%", "%", "_", "A", "%1%", "b")}}
		}
	case 3:
		if c.kind == twinText {
			return twinCond{pick(g, "lower(", "upper(", "trim(", "length(") + col + ") = ?", []any{g.param(c)}}
		}
		if c.kind == twinInt {
			return twinCond{pick(g, "abs("+col+")", col+" + 1", "-"+col, "coalesce("+col+", 1)", col+" % 2", "(("+col+"))") + " = ?", []any{g.int(c.name)}}
		}
	case 4:
		ints := t.only(twinInt)
		if len(ints) > 1 {
			return twinCond{alias + pick(g, ints...).name + pick(g, " = ", " < ", " <> ") + alias + pick(g, ints...).name + pick(g, "", " + 1"), nil}
		}
	case 5:
		ints := t.only(twinInt)
		if len(ints) > 1 {
			a, b := pick(g, ints...), pick(g, ints...)
			if g.chance(2) {
				return twinCond{fmt.Sprintf("(%s%s, %s%s) = (?, ?)", alias, a.name, alias, b.name), []any{g.int(a.name), g.int(b.name)}}
			}
			return twinCond{
				fmt.Sprintf("(%s%s, %s%s) IN ((?, ?), (?, ?))", alias, a.name, alias, b.name),
				[]any{g.int(a.name), g.int(b.name), g.int(a.name), g.int(b.name)},
			}
		}
	case 6:
		switch g.dialect {
		case "mysql":
			return twinCond{col + " <=> ?", []any{g.param(c)}}
		case "postgres":
			if c.kind == twinInt {
				return twinCond{col + " = ANY(?::int[])", []any{pick(g, "{1,2}", "{}", "{NULL,3}")}}
			}
			return twinCond{col + pick(g, " IS NOT DISTINCT FROM ?", " IS DISTINCT FROM ?"), []any{g.param(c)}}
		default:
			return twinCond{col + pick(g, " IS ?", " IS NOT ?", " == ?"), []any{g.param(c)}}
		}
	case 7:
		if c.kind == twinBool {
			return twinCond{pick(g, col, "NOT "+col, col+" IS TRUE", col+" IS NOT TRUE", col+" IS FALSE"), nil}
		}
	case 8:
		return twinCond{pick(g, "1 = 1", "1 = 0", "TRUE", "NULL IS NULL", "1 <> 1"), nil}
	case 9:
		if c.kind == twinInt {
			return twinCond{"CASE WHEN " + col + " = ? THEN 1 ELSE 0 END = 1", []any{g.int(c.name)}}
		}
	case 10:
		if c.kind == twinInt {
			return twinCond{col + " = CAST(? AS " + pick(g, "CHAR(3)", "DECIMAL(4,1)") + ")", []any{g.int(c.name)}}
		}
	case 11:
		if c.kind == twinText {
			switch g.dialect {
			case "mysql":
				return twinCond{pick(g, "BINARY "+col, col+" COLLATE utf8mb4_bin", col+" COLLATE utf8mb4_general_ci") + " = ?", []any{g.text(c.name)}}
			case "sqlite":
				return twinCond{col + pick(g, " COLLATE NOCASE", " COLLATE BINARY", " COLLATE RTRIM") + " = ?", []any{g.text(c.name)}}
			default:
				return twinCond{pick(g, col+`::text`, col+` COLLATE "C"`) + " = ?", []any{g.text(c.name)}}
			}
		}
	}
	return twinCond{col + " = ?", []any{g.param(c)}}
}

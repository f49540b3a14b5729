package twin

import (
	"fmt"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
)

// twinSource is a table under an alias in a FROM.
type twinSource struct {
	alias string
	t     *twinTable
}

func (s twinSource) column(c twinColumn) string { return s.alias + "." + c.name }

// key lists the columns that tell the source's rows apart.
func (s twinSource) key() []string {
	parts := make([]string, len(s.t.key))
	for i, k := range s.t.key {
		parts[i] = s.alias + "." + k
	}
	return parts
}

// add appends text and parameters.
func (c *twinCond) add(sql string, args ...any) { c.sql, c.args = c.sql+sql, append(c.args, args...) }

func (c *twinCond) append(o twinCond) { c.add(o.sql, o.args...) }

// composer makes up a SELECT: joins of all kinds, with conditions and
// subqueries at every place that has some.
type composer struct {
	*twinGen
	aliases int
	with    twinCond // the common table expressions so far
}

// compose draws a query.
func (g *twinGen) compose() *twinQuery {
	tame := g.tame
	g.tame = true
	defer func() { g.tame = tame }()
	c := &composer{twinGen: g}
	q, loose := c.statement()
	q = twinCond{c.with.sql + q.sql, append(append([]any(nil), c.with.args...), q.args...)}
	byHand := g.chance(6)
	return &twinQuery{name: "composed " + q.sql + " " + showValue(q.args), loose: loose, run: func(db *gorm.DB) (any, *gorm.DB) {
		dest := []map[string]any{}
		if byHand {
			return &dest, db.Scopes(cache.Cache()).Raw(q.sql, q.args...).Scan(&dest)
		}
		return &dest, db.Raw(q.sql, q.args...).Find(&dest)
	}}
}

func (c *composer) alias() string {
	c.aliases++
	return "q" + string(rune('a'+(c.aliases-1)%26))
}

// relation draws a table to read from.
func (c *composer) relation() *twinTable {
	if c.chance(10) {
		if c.dialect == "postgres" && c.chance(2) {
			return pick(c.twinGen, twinFrozen, twinRares, twinPart)
		}
		return pick(c.twinGen, twinViews...)
	}
	return c.table(twinTables...)
}

// source draws what stands in a FROM. outer are what a LATERAL can name.
func (c *composer) source(outer []twinSource) (twinCond, twinSource) {
	s := twinSource{c.alias(), c.relation()}
	as := pick(c.twinGen, " ", " AS ") + s.alias
	columns := make([]string, 0, len(s.t.cols))
	for _, col := range s.t.cols {
		if !strings.Contains(strings.Join(columns, ",")+",", col.name+",") {
			columns = append(columns, col.name)
		}
	}
	body := func(correlated bool) twinCond {
		in := twinSource{c.alias(), s.t}
		sub := twinCond{sql: "SELECT " + in.alias + "." + strings.Join(columns, ", "+in.alias+".") + " FROM " + s.t.name + " " + in.alias + " WHERE "}
		sub.append(c.cond(s.t, in.alias+".", 1))
		if correlated {
			sub.add(" AND ")
			sub.append(c.link(pick(c.twinGen, outer...), in))
			if c.chance(2) {
				sub.add(" ORDER BY " + strings.Join(in.key(), ", ") + fmt.Sprintf(" LIMIT %d", 1+c.IntN(2)))
			}
		}
		return sub
	}
	switch c.IntN(12) {
	case 0:
		b := body(false)
		return twinCond{"(" + b.sql + ")" + as, b.args}, s
	case 1:
		name := "w" + c.alias()
		b := body(false)
		word := pick(c.twinGen, "", "", "MATERIALIZED ", "NOT MATERIALIZED ")
		if c.dialect == "mysql" {
			word = ""
		}
		if c.with.sql == "" {
			c.with.add("WITH ")
		} else {
			c.with.sql = strings.TrimSuffix(c.with.sql, " ")
			c.with.add(", ")
		}
		c.with.add(name+" AS "+word+"("+b.sql+") ", b.args...)
		return twinCond{name + as, nil}, s
	case 2:
		if c.dialect == "postgres" && len(outer) > 0 {
			b := body(true)
			return twinCond{"LATERAL (" + b.sql + ")" + as, b.args}, s
		}
	}
	return twinCond{s.t.name + as, nil}, s
}

// twinKin are the columns by which the tables refer to one another.
var twinKin = [][2]string{
	{"twin_books.author_id", "twin_authors.id"}, {"twin_slots.author_id", "twin_authors.id"}, {"twin_devices.author_id", "twin_authors.id"},
	{"twin_events.author_id", "twin_authors.id"}, {"twin_profiles.author_id", "twin_authors.id"}, {"twin_badges.profile_id", "twin_profiles.id"},
	{"twin_marks.badge_id", "twin_badges.id"}, {"twin_marks.up_id", "twin_marks.id"}, {"twin_author_tags.twin_author_id", "twin_authors.id"},
	{"twin_author_tags.twin_tag_code", "twin_tags.code"}, {"twin_open_books.author_id", "twin_authors.id"},
}

// link draws a comparison of two sources' columns.
func (c *composer) link(a, b twinSource) twinCond {
	if !c.chance(4) {
		for _, kin := range twinKin {
			ft, fc, _ := strings.Cut(kin[0], ".")
			tt, tc, _ := strings.Cut(kin[1], ".")
			x, y := a, b
			if x.t.name == tt && y.t.name == ft {
				x, y = y, x
			}
			if x.t.name == ft && y.t.name == tt {
				if c.chance(2) {
					return twinCond{x.alias + "." + fc + " = " + y.alias + "." + tc, nil}
				}
				return twinCond{y.alias + "." + tc + " = " + x.alias + "." + fc, nil}
			}
		}
	}
	kinds := []twinKind{twinInt, twinInt, twinInt, twinBool, twinText}
	for range 8 {
		kind := pick(c.twinGen, kinds...)
		ca, cb := a.t.only(kind), b.t.only(kind)
		if len(ca) == 0 || len(cb) == 0 {
			continue
		}
		x, y := a.column(pick(c.twinGen, ca...)), b.column(pick(c.twinGen, cb...))
		op := " = "
		if c.chance(5) {
			op = pick(c.twinGen, " < ", " <> ", c.same())
		}
		return twinCond{x + op + y, nil}
	}
	return twinCond{"1 = 1", nil}
}

// same is the operator of equality that knows NULL.
func (c *composer) same() string {
	switch c.dialect {
	case "mysql":
		return " <=> "
	case "postgres":
		return " IS NOT DISTINCT FROM "
	}
	return " IS "
}

// from draws joins of up to n sources.
func (c *composer) from(n int, outer []twinSource) (twinCond, []twinSource) {
	text, first := c.source(outer)
	sources := []twinSource{first}
	where := twinCond{} // of comma joins
	for len(sources) < n {
		item, s := c.source(sources)
		if strings.HasPrefix(item.sql, "LATERAL") {
			text.add(pick(c.twinGen, " LEFT JOIN ", " JOIN "))
			text.append(item)
			text.add(" ON true")
			sources = append(sources, s)
			continue
		}
		if len(sources)+2 <= n && c.chance(5) { // a joined pair in brackets
			other, o := c.source(nil)
			pair := twinCond{}
			pair.add("(")
			pair.append(item)
			pair.add(pick(c.twinGen, " JOIN ", " LEFT JOIN "))
			pair.append(other)
			pair.add(" ON ")
			pair.append(c.on(s, o))
			pair.add(")")
			text.add(pick(c.twinGen, " LEFT JOIN ", " JOIN "))
			text.append(pair)
			text.add(" ON ")
			text.append(c.on(pick(c.twinGen, sources...), pick(c.twinGen, s, o)))
			sources = append(sources, s, o)
			continue
		}
		left := pick(c.twinGen, sources...)
		kind := pick(c.twinGen, "JOIN", "INNER JOIN", "LEFT JOIN", "LEFT JOIN", "LEFT OUTER JOIN", "RIGHT JOIN", "RIGHT OUTER JOIN", "FULL JOIN", "FULL OUTER JOIN", ",", "CROSS JOIN")
		if strings.HasPrefix(kind, "FULL") && c.dialect == "mysql" {
			kind = "LEFT JOIN"
		}
		switch {
		case kind == ",":
			// The comma binds weaker than JOIN: brackets keep all aliases known.
			if strings.Contains(text.sql, "JOIN") {
				text = twinCond{"(" + text.sql + ")", text.args}
			}
			text.add(", ")
			text.append(item)
		case kind == "CROSS JOIN":
			text.add(" CROSS JOIN ")
			text.append(item)
		case len(sources) == 1 && c.chance(3) && has(left.t, "author_id") && has(s.t, "author_id"):
			text.add(" " + kind + " ")
			text.append(item)
			text.add(" USING (author_id)")
			if c.chance(2) { // the merged column, which is neither table's own
				where = twinCond{"author_id" + pick(c.twinGen, " = ?", " = ?", " IN (?)"), []any{c.int("author_id")}}
			}
			sources = append(sources, s)
			continue
		default:
			text.add(" " + kind + " ")
			text.append(item)
			text.add(" ON ")
			text.append(c.on(left, s))
			sources = append(sources, s)
			continue
		}
		sources = append(sources, s)
		if where.sql != "" {
			where.add(" AND ")
		}
		where.append(c.link(left, s))
	}
	if where.sql != "" {
		text.add(" WHERE ")
		text.append(where)
	}
	return text, sources
}

func has(t *twinTable, column string) bool {
	for _, c := range t.cols {
		if c.name == column {
			return true
		}
	}
	return false
}

// on draws a join's condition.
func (c *composer) on(left, right twinSource) twinCond {
	on := c.link(left, right)
	for range 2 {
		if c.chance(3) {
			s := pick(c.twinGen, left, right, right)
			on = on.and(c.term(s.t, s.alias+"."))
		}
	}
	return on
}

// block draws FROM and WHERE.
func (c *composer) block(n, depth int, outer []twinSource) (twinCond, []twinSource) {
	text, sources := c.from(n, outer)
	if c.chance(8) {
		return text, sources
	}
	// from may have a WHERE of its own, which the outermost level ends with.
	word := " WHERE "
	if endsInWhere(text.sql) {
		word = " AND "
	}
	text.add(word)
	if len(outer) > 0 && !c.chance(4) {
		text.append(c.link(pick(c.twinGen, outer...), pick(c.twinGen, sources...)))
		text.add(" AND ")
	}
	text.append(c.predicate(sources, outer, depth))
	return text, sources
}

// endsInWhere reports whether a FROM has a WHERE outside of brackets.
func endsInWhere(sql string) bool {
	depth, quoted := 0, false
	for i := range len(sql) {
		switch {
		case sql[i] == '\'':
			quoted = !quoted
		case quoted:
		case sql[i] == '(':
			depth++
		case sql[i] == ')':
			depth--
		case depth == 0 && strings.HasPrefix(sql[i:], " WHERE "):
			return true
		}
	}
	return false
}

// predicate draws a condition on sources, with subqueries.
func (c *composer) predicate(sources, outer []twinSource, depth int) twinCond {
	if c.chance(2) {
		a, b := c.predicate1(sources, outer, depth), c.predicate1(sources, outer, depth)
		switch c.IntN(5) {
		case 0, 1:
			return a.and(b)
		case 2, 3:
			return twinCond{"(" + a.sql + " OR " + b.sql + ")", append(append([]any(nil), a.args...), b.args...)}
		}
		return twinCond{"NOT (" + a.sql + ")", a.args}
	}
	return c.predicate1(sources, outer, depth)
}

func (c *composer) predicate1(sources, outer []twinSource, depth int) twinCond {
	s := pick(c.twinGen, sources...)
	if depth > 0 && c.chance(3) {
		return c.nested(s, append(append([]twinSource(nil), sources...), outer...), depth-1)
	}
	if len(sources) > 1 && c.chance(8) {
		return c.link(sources[0], sources[1])
	}
	if c.chance(8) {
		return twinCond{s.key()[0] + pick(c.twinGen, " IS NULL", " IS NOT NULL"), nil} // the anti-join
	}
	if len(sources) == 1 && c.chance(4) {
		return c.cond(s.t, "", c.IntN(2)) // names that an inner table hides from an outer one
	}
	return c.cond(s.t, s.alias+".", c.IntN(2))
}

// nested draws a condition with a subquery.
func (c *composer) nested(s twinSource, around []twinSource, depth int) twinCond {
	kind := pick(c.twinGen, twinInt, twinInt, twinInt, twinText)
	cols := s.t.only(kind)
	var outer []twinSource
	if c.chance(2) {
		outer = around
	}
	block, sources := c.block(1+c.IntN(2), depth, outer)
	inner := sources[0]
	icols := inner.t.only(kind)
	if c.chance(3) || len(cols) == 0 || len(icols) == 0 {
		return twinCond{pick(c.twinGen, "", "NOT ") + "EXISTS (SELECT " + pick(c.twinGen, "1", "*", inner.key()[0]) + " FROM " + block.sql + ")", block.args}
	}
	left, right := s.column(pick(c.twinGen, cols...)), inner.column(pick(c.twinGen, icols...))
	all := "(SELECT " + right + " FROM " + block.sql + ")"
	switch c.IntN(8) {
	case 0, 1, 2:
		return twinCond{left + pick(c.twinGen, " IN ", " NOT IN ") + all, block.args}
	case 3:
		if c.dialect != "sqlite" {
			return twinCond{left + pick(c.twinGen, " = ANY ", " <> ALL ", " = SOME ", " >= ALL ") + all, block.args}
		}
	case 4:
		keys := make([]string, 0, 2*len(sources))
		for _, s := range sources {
			keys = append(keys, s.key()...)
		}
		return twinCond{left + " = (SELECT " + right + " FROM " + block.sql + " ORDER BY " + strings.Join(keys, ", ") + " LIMIT 1)", block.args}
	case 5:
		ints, iints := s.t.only(twinInt), inner.t.only(twinInt)
		if len(ints) > 1 && len(iints) > 1 {
			return twinCond{
				fmt.Sprintf("(%s, %s)%s(SELECT %s, %s FROM %s)", s.column(ints[0]), s.column(ints[1]), pick(c.twinGen, " IN ", " NOT IN "),
					inner.column(iints[0]), inner.column(iints[1]), block.sql),
				block.args,
			}
		}
	}
	return twinCond{left + pick(c.twinGen, " = ", " < ", " <> ") + "(SELECT " + pick(c.twinGen, "max(", "min(") + right + ") FROM " + block.sql + ")", block.args}
}

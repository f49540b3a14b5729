package twin

import (
	"fmt"
	"slices"
	"strings"
)

// statement draws a whole SELECT. loose is true of one without an order.
func (c *composer) statement() (text twinCond, loose bool) {
	n := pick(c.twinGen, 1, 1, 2, 2, 2, 3, 3, 4)
	if c.focus != nil {
		n = pick(c.twinGen, 1, 2, 2, 3)
	}
	switch c.IntN(12) {
	case 0:
		return c.grouped(n), false
	case 1:
		return c.setOperation(), false
	case 2:
		return c.counted(n), false
	case 3:
		return c.distinct(n), false
	case 4:
		if t := c.recursive(); c.chance(2) {
			return t, false
		}
	}
	return c.rows(n)
}

// rows selects the keys of all sources, and more.
func (c *composer) rows(n int) (text twinCond, loose bool) {
	block, sources := c.block(n, 2, nil)
	var list, order []string
	for i, s := range sources {
		for j, k := range s.key() {
			list = append(list, fmt.Sprintf("%s AS k%d%d", k, i, j))
			order = append(order, k+pick(c.twinGen, "", "", " DESC"))
		}
		col := pick(c.twinGen, s.t.cols...)
		list = append(list, fmt.Sprintf("%s AS c%d", s.column(col), i))
	}
	if c.chance(4) {
		// What comes first may be of a joined row, and not unique.
		s := pick(c.twinGen, sources...)
		if ints := s.t.only(twinInt); len(ints) > 0 {
			order = slices.Insert(order, 0, s.column(pick(c.twinGen, ints...))+pick(c.twinGen, "", " DESC"))
		}
	}
	head := twinCond{sql: "SELECT " + strings.Join(list, ", ")}
	if c.chance(6) {
		inner, is := c.block(1, 0, sources)
		head.add(", (SELECT "+pick(c.twinGen, "count(*)", "max("+is[0].key()[0]+")")+" FROM "+inner.sql+") AS sub", inner.args...)
	}
	if c.chance(8) {
		s := pick(c.twinGen, sources...)
		if ints := s.t.only(twinInt); len(ints) > 0 {
			fn := pick(c.twinGen, "rank()", "count(*)", "max("+s.column(ints[0])+")", "dense_rank()")
			head.add(", " + fn + " OVER (PARTITION BY " + s.column(pick(c.twinGen, ints...)) + " ORDER BY " + s.column(pick(c.twinGen, ints...)) + ") AS win")
		}
	}
	if c.chance(10) {
		s := pick(c.twinGen, sources...)
		t := c.term(s.t, s.alias+".")
		head.add(", CASE WHEN "+t.sql+" THEN 1 ELSE 0 END AS chosen", t.args...)
	}
	head.add(" FROM ")
	head.append(block)
	if c.chance(4) {
		return head, true
	}
	head.add(" ORDER BY " + strings.Join(order, ", "))
	if c.chance(3) {
		head.add(fmt.Sprintf(" LIMIT %d", 1+c.IntN(4)))
		if c.chance(3) {
			head.add(fmt.Sprintf(" OFFSET %d", c.IntN(3)))
		}
	}
	if c.dialect == "postgres" && c.chance(12) {
		distinct := strings.Split(order[0], " DESC")[0]
		head.sql = "SELECT DISTINCT ON (" + distinct + ") " + strings.TrimPrefix(head.sql, "SELECT ")
	}
	return head, false
}

// grouped selects groups by a number, whose spelling is one.
func (c *composer) grouped(n int) twinCond {
	block, sources := c.block(n, 1, nil)
	s, o := pick(c.twinGen, sources...), pick(c.twinGen, sources...)
	ints, others := s.t.only(twinInt), o.t.only(twinInt)
	if len(ints) == 0 || len(others) == 0 {
		return twinCond{"SELECT count(*) AS n FROM " + block.sql, block.args}
	}
	by, of := s.column(pick(c.twinGen, ints...)), o.column(pick(c.twinGen, others...))
	fn := pick(c.twinGen, "count("+of+")", "sum("+of+")", "min("+of+")", "max("+of+")", "count(DISTINCT "+of+")")
	text := twinCond{"SELECT " + by + " AS g, count(*) AS n, " + fn + " AS v FROM " + block.sql + " GROUP BY " + by, block.args}
	if c.chance(2) {
		text.add(" HAVING count(*) > ?", c.IntN(3))
		if c.chance(3) {
			inner, _ := c.block(1, 0, nil)
			text.add(" AND count(*) >= (SELECT count(*) FROM "+inner.sql+")", inner.args...)
		}
	}
	text.add(" ORDER BY 1")
	if c.chance(3) {
		text.add(" LIMIT 2")
	}
	return text
}

func (c *composer) counted(n int) twinCond {
	block, sources := c.block(n, 2, nil)
	what := pick(c.twinGen, "count(*)", "count("+pick(c.twinGen, sources...).key()[0]+")", "count(*) > 0", "max("+sources[0].key()[0]+")")
	if c.chance(4) {
		return twinCond{"SELECT EXISTS (SELECT 1 FROM " + block.sql + ") AS e", block.args}
	}
	return twinCond{"SELECT " + what + " AS n FROM " + block.sql, block.args}
}

func (c *composer) distinct(n int) twinCond {
	block, sources := c.block(n, 1, nil)
	var list []string
	for _, s := range sources {
		if ints := s.t.only(twinInt, twinBool); len(ints) > 0 {
			list = append(list, s.column(pick(c.twinGen, ints...)))
		}
	}
	if len(list) == 0 {
		list = []string{"1"}
	}
	positions := make([]string, len(list))
	for i := range list {
		list[i] += fmt.Sprintf(" AS d%d", i)
		positions[i] = fmt.Sprint(i + 1)
	}
	return twinCond{"SELECT DISTINCT " + strings.Join(list, ", ") + " FROM " + block.sql + " ORDER BY " + strings.Join(positions, ", "), block.args}
}

func (c *composer) setOperation() twinCond {
	arm := func() twinCond {
		block, sources := c.block(1+c.IntN(2), 1, nil)
		for _, s := range sources {
			if ints := s.t.only(twinInt); len(ints) > 0 {
				return twinCond{"SELECT " + s.column(pick(c.twinGen, ints...)) + " AS k FROM " + block.sql, block.args}
			}
		}
		return twinCond{"SELECT 1 AS k FROM " + block.sql, block.args}
	}
	text := arm()
	for range 1 + c.IntN(2) {
		text.add(pick(c.twinGen, " UNION ", " UNION ALL ", " EXCEPT ", " INTERSECT "))
		text.append(arm())
	}
	if c.chance(3) {
		text = twinCond{"SELECT x.k, count(*) AS n FROM (" + text.sql + ") AS x WHERE x.k IS NOT NULL GROUP BY x.k", text.args}
	}
	text.add(" ORDER BY 1")
	return text
}

// recursive walks the marks, which refer to each other, or from table to table.
func (c *composer) recursive() twinCond {
	start, next := c.term(twinMarks, "m."), c.term(twinMarks, "m.")
	if c.chance(2) {
		start = twinCond{"m.up_id IS NULL", nil}.and(start)
	}
	if c.chance(2) {
		next = twinCond{"1 = 1", nil}
	}
	text := twinCond{sql: "WITH RECURSIVE tree(id, depth) AS (SELECT m.id, 1 FROM twin_marks m WHERE "}
	text.append(start)
	text.add(pick(c.twinGen, " UNION ALL ", " UNION "))
	text.add("SELECT m.id, t.depth + 1 FROM twin_marks m JOIN tree t ON m.up_id = t.id WHERE t.depth < 4 AND ")
	text.append(next)
	text.add(") ")
	if c.chance(2) {
		text.add("SELECT id, depth FROM tree ORDER BY 1, 2")
		return text
	}
	text.add("SELECT b.id, t.depth FROM tree t LEFT JOIN twin_badges b ON b.id = t.id AND ")
	text.append(c.term(twinBadges, "b."))
	text.add(" ORDER BY 1, 2")
	return text
}

package twin

import (
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"
)

// Raw writes of all forms, with conditions and subqueries like the queries'.

// writable are a table's columns that a statement may assign.
func (t *twinTable) writable(key bool) []twinColumn {
	var out []twinColumn
	for _, c := range t.cols {
		if c.name == "odd" || c.name == "deleted_at" || !key && slices.Contains(t.key, c.name) {
			continue
		}
		if !slices.ContainsFunc(out, func(o twinColumn) bool { return o.name == c.name }) {
			out = append(out, c)
		}
	}
	return out
}

// rawWrite is a text with parameters.
func rawWrite(c twinCond) twinWrite {
	return twinWrite{"raw " + c.sql + " " + showValue(c.args), func(db *gorm.DB) error { return db.Exec(c.sql, c.args...).Error }}
}

// composeWrite draws a raw statement.
func (g *twinGen) composeWrite() twinWrite {
	tame := g.tame
	g.tame = true
	defer func() { g.tame = tame }()
	c := &composer{twinGen: g}
	switch c.IntN(8) {
	case 0, 1, 2:
		return rawWrite(c.update())
	case 3, 4:
		return rawWrite(c.remove())
	case 5, 6:
		return rawWrite(c.insert())
	}
	return rawWrite(c.special())
}

// target draws the table that a statement writes.
func (c *composer) target() *twinTable {
	if c.dialect == "postgres" && c.chance(8) {
		return pick(c.twinGen, twinRares, twinPart, twinOpen)
	}
	if c.dialect == "mysql" && c.chance(16) {
		return twinOpen
	}
	return c.table(twinPlain...)
}

// operand draws what a column is set to. other may name what else is joined.
func (c *composer) operand(col twinColumn, self string, other *twinSource) twinCond {
	switch c.IntN(12) {
	case 0:
		if col.kind == twinInt {
			return twinCond{self + col.name + pick(c.twinGen, " + 1", " - 1", " * 1", " % 3"), nil}
		}
	case 1:
		return twinCond{c.literal(col), nil}
	case 2:
		if c.dialect != "sqlite" {
			return twinCond{"DEFAULT", nil}
		}
	case 3:
		if col.kind == twinInt {
			inner, sources := c.block(1, 0, nil)
			if ints := sources[0].t.only(twinInt); len(ints) > 0 {
				return twinCond{"(SELECT max(" + sources[0].column(pick(c.twinGen, ints...)) + ") FROM " + inner.sql + ")", inner.args}
			}
		}
	case 4:
		if col.kind == twinInt || col.kind == twinText {
			v, w := c.value(col), c.value(col)
			return twinCond{"CASE WHEN " + self + col.name + " = ? THEN ? ELSE " + self + col.name + " END", []any{w, v}}
		}
	case 5, 6:
		if other != nil {
			if same := other.t.only(col.kind); len(same) > 0 {
				return twinCond{other.column(pick(c.twinGen, same...)), nil}
			}
		}
	case 7:
		if col.null {
			return twinCond{"NULL", nil}
		}
	}
	return twinCond{"?", []any{c.value(col)}}
}

// assign draws a SET's list.
func (c *composer) assign(t *twinTable, prefix, self string, other *twinSource) twinCond {
	cols := t.writable(c.chance(8))
	var set twinCond
	for i := range 1 + c.IntN(2) {
		col := pick(c.twinGen, cols...)
		if focus := c.focus[t]; len(focus) > 0 && c.chance(2) {
			if f := pick(c.twinGen, focus...); slices.Contains(cols, f) {
				col = f
			}
		}
		if strings.Contains(set.sql, prefix+col.name+" = ") {
			continue
		}
		if i > 0 {
			set.add(", ")
		}
		set.add(prefix + col.name + " = ")
		set.append(c.operand(col, self, other))
	}
	return set
}

// condition draws a WHERE: mostly one that matches few rows.
func (c *composer) condition(s twinSource, bare bool) twinCond {
	prefix := s.alias + "."
	if bare {
		prefix = ""
	}
	switch c.IntN(6) {
	case 0:
		return c.predicate([]twinSource{s}, nil, 1)
	case 1, 2:
		return c.cond(s.t, prefix, 1)
	}
	cond := twinCond{}
	for _, col := range s.t.cols {
		if slices.Contains(s.t.key, col.name) && !strings.Contains(cond.sql, prefix+col.name+" ") {
			if cond.sql != "" {
				cond.add(" AND ")
			}
			cond.add(prefix+col.name+" = ?", c.value(col))
		}
	}
	if c.chance(3) {
		cond = cond.and(c.term(s.t, prefix))
	}
	return cond
}

func (c *composer) update() twinCond {
	t := c.target()
	bare := c.chance(2)
	s := twinSource{"u", t}
	if bare {
		s.alias = t.name
	}
	head := "UPDATE " + t.name
	if !bare {
		head += " AS u"
	}
	if c.chance(4) {
		item, o := c.source(nil)
		link := c.link(s, o)
		set, where := c.assign(t, "", s.alias+".", &o), c.condition(s, false)
		text := c.with
		if c.dialect == "mysql" {
			set = c.assign(t, s.alias+".", s.alias+".", &o)
			text.add(head + pick(c.twinGen, " JOIN ", " LEFT JOIN "))
			text.append(item)
			text.add(" ON ")
			text.append(link)
			text.add(" SET ")
			text.append(set)
			text.add(" WHERE ")
		} else {
			text.add(head + " SET ")
			text.append(set)
			text.add(" FROM ")
			text.append(item)
			text.add(" WHERE ")
			text.append(link)
			text.add(" AND ")
		}
		text.append(where)
		return text
	}
	set, where := c.assign(t, "", "", nil), c.condition(s, bare)
	text := c.with
	text.add(head + " SET ")
	text.append(set)
	text.add(" WHERE ")
	text.append(where)
	if c.dialect == "mysql" && c.chance(8) {
		text.add(" ORDER BY " + strings.Join(t.key, ", ") + " LIMIT 1")
	}
	return text
}

func (c *composer) remove() twinCond {
	t := c.target()
	s := twinSource{t.name, t}
	if c.chance(4) {
		item, o := c.source(nil)
		link, where := c.link(s, o), c.condition(s, false)
		switch c.dialect {
		case "postgres":
			text := c.with
			text.add("DELETE FROM " + t.name + " USING ")
			text.append(item)
			text.add(" WHERE ")
			text.append(link)
			text.add(" AND ")
			text.append(where)
			return text
		case "mysql":
			text := c.with
			text.add("DELETE " + t.name + " FROM " + t.name + " JOIN ")
			text.append(item)
			text.add(" ON ")
			text.append(link)
			text.add(" WHERE ")
			text.append(where)
			return text
		}
	}
	where := c.condition(s, c.chance(2))
	text := c.with
	text.add("DELETE FROM " + t.name + " WHERE ")
	text.append(where)
	if c.dialect == "mysql" && c.chance(8) {
		text.add(" ORDER BY " + strings.Join(t.key, ", ") + " LIMIT 1")
	}
	return text
}

// insert draws an INSERT with each of the dialect's ways out of a conflict.
func (c *composer) insert() twinCond {
	t := c.target()
	cols := t.writable(true)
	for len(cols) > 3 && c.chance(2) {
		i := c.IntN(len(cols))
		if !slices.Contains(t.key, cols[i].name) {
			cols = slices.Delete(slices.Clone(cols), i, i+1)
		}
	}
	if t.key[0] == "id" && c.chance(2) { // let the database number it
		cols = slices.DeleteFunc(slices.Clone(cols), func(col twinColumn) bool { return col.name == "id" })
	}
	names := make([]string, len(cols))
	for i, col := range cols {
		names[i] = col.name
	}
	verb := "INSERT INTO "
	conflict := c.IntN(4)
	switch {
	case conflict == 1 && c.dialect == "mysql":
		verb = pick(c.twinGen, "INSERT IGNORE INTO ", "REPLACE INTO ")
	case conflict == 1 && c.dialect == "sqlite":
		verb = pick(c.twinGen, "INSERT OR IGNORE INTO ", "INSERT OR REPLACE INTO ", "REPLACE INTO ")
	}
	text := twinCond{sql: verb + t.name + " (" + strings.Join(names, ", ") + ") "}
	if c.chance(4) {
		s := twinSource{"s", t}
		list := make([]string, len(cols))
		for i, col := range cols {
			list[i] = "s." + col.name
			if t.key[0] == "id" && col.name == "id" {
				list[i] = fmt.Sprintf("s.id + %d", c.IntN(3))
			}
		}
		text.add("SELECT " + strings.Join(list, ", ") + " FROM " + t.name + " s WHERE ")
		text.append(c.condition(s, false))
		if c.dialect == "sqlite" && conflict > 1 {
			text.add(" AND true") // its grammar takes ON for a join's
		}
	} else {
		text.add("VALUES ")
		for i := range 1 + c.IntN(3) {
			if i > 0 {
				text.add(", ")
			}
			text.add("(")
			for j, col := range cols {
				if j > 0 {
					text.add(", ")
				}
				if c.chance(8) {
					text.add(c.literal(col))
				} else {
					text.add("?", c.value(col))
				}
			}
			text.add(")")
		}
	}
	if conflict > 1 && c.dialect == "mysql" {
		col := pick(c.twinGen, t.writable(c.chance(6))...)
		text.add(" ON DUPLICATE KEY UPDATE " + col.name + " = ")
		if c.chance(2) {
			text.add("VALUES(" + col.name + ")")
		} else {
			text.append(c.operand(col, "", nil))
		}
		return text
	}
	if conflict > 1 || conflict == 1 && c.dialect == "postgres" {
		target := " (" + strings.Join(t.key, ", ") + ")"
		if conflict != 3 {
			if c.chance(2) {
				target = ""
			}
			text.add(" ON CONFLICT" + target + " DO NOTHING")
		} else {
			col := pick(c.twinGen, t.writable(c.chance(6))...)
			text.add(" ON CONFLICT" + target + " DO UPDATE SET " + col.name + " = ")
			if c.chance(2) {
				text.add("excluded." + col.name)
			} else {
				text.append(c.operand(col, t.name+".", nil))
			}
			if c.chance(3) {
				text.add(" WHERE ")
				text.append(c.term(t, t.name+"."))
			}
		}
	}
	return text
}

// special draws statements that only one database has.
func (c *composer) special() twinCond {
	t, id := c.table(twinPlain...), c.int("id")
	switch c.dialect {
	case "postgres":
		set := c.assign(t, "", "", nil)
		where := c.condition(twinSource{t.name, t}, true)
		switch c.IntN(8) {
		case 0:
			return twinCond{"WITH gone AS (DELETE FROM twin_badges WHERE id = ? RETURNING profile_id) UPDATE twin_profiles SET rank = rank + 1 WHERE id IN (SELECT profile_id FROM gone)", []any{id}}
		case 1:
			return twinCond{"MERGE INTO twin_items AS i USING twin_authors AS a ON i.id = a.id WHEN MATCHED AND a.grp = ? THEN UPDATE SET grp = a.grp WHEN MATCHED AND a.grp = 3 THEN DELETE WHEN NOT MATCHED AND a.grp = 1 THEN INSERT (id, grp, name) VALUES (a.id, a.grp, a.name)", []any{c.IntN(4)}}
		case 2:
			return twinCond{"REFRESH MATERIALIZED VIEW twin_frozen", nil}
		case 3:
			return twinCond{pick(c.twinGen, "TRUNCATE twin_marks", "TRUNCATE twin_badges CASCADE", "TRUNCATE twin_events_a", "TRUNCATE ONLY twin_items", "DELETE FROM ONLY twin_items WHERE grp = 1"), nil}
		case 4:
			return twinCond{"INSERT INTO twin_rares (id, grp, name, extra) VALUES (?, ?, 'a', 1)", []any{id, c.IntN(4)}}
		case 5:
			return twinCond{"UPDATE twin_events SET kind = ? WHERE id = ?", []any{c.text("kind"), id}}
		}
		text := twinCond{sql: "UPDATE " + t.name + " SET "}
		text.append(set)
		text.add(" WHERE ")
		text.append(where)
		text.add(" RETURNING *")
		return text
	case "mysql":
		return pick(c.twinGen,
			twinCond{"DELETE b, m FROM twin_badges b LEFT JOIN twin_marks m ON m.badge_id = b.id WHERE b.id = ?", []any{id}},
			twinCond{"UPDATE twin_badges b, twin_profiles p SET b.points = 1, p.rank = 2 WHERE b.profile_id = p.id AND p.id = ?", []any{id}},
			twinCond{"INSERT INTO twin_items SET id = ?, grp = 1, name = 'a' ON DUPLICATE KEY UPDATE grp = grp + 1", []any{id}},
			twinCond{"DELETE FROM twin_marks USING twin_marks JOIN twin_badges b ON b.id = twin_marks.badge_id WHERE b.points = ?", []any{c.IntN(4)}},
			twinCond{"REPLACE INTO twin_items (id, grp, name) SELECT id, grp, name FROM twin_authors WHERE grp = ?", []any{c.IntN(4)}},
		)
	}
	return pick(c.twinGen,
		twinCond{"UPDATE OR IGNORE twin_items SET id = id + 1 WHERE id = ?", []any{id}},
		twinCond{"UPDATE OR REPLACE twin_items SET id = id + 1 WHERE id = ?", []any{id}},
		twinCond{"INSERT INTO twin_items (id, grp, name) SELECT id, grp, name FROM twin_authors WHERE grp = ? ON CONFLICT (id) DO UPDATE SET grp = excluded.grp", []any{c.IntN(4)}},
		twinCond{"WITH g AS (SELECT profile_id FROM twin_badges WHERE id = ?) DELETE FROM twin_profiles WHERE id IN (SELECT profile_id FROM g)", []any{id}},
		twinCond{"INSERT INTO twin_items DEFAULT VALUES", nil},
	)
}

package twin

import (
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin/cache"
)

// twinQuery is a query that can be asked again and again, through any handle.
// run returns the destination and the handle that holds the outcome.
type twinQuery struct {
	name  string
	loose bool // no order: rows are compared as a set
	run   func(db *gorm.DB) (dest any, tx *gorm.DB)
}

// query draws a query.
func (g *twinGen) query() *twinQuery {
	shapes := []func() *twinQuery{
		g.findRows, g.findRows, g.findRows, g.findOne, g.findOne, g.intoMaps, g.pluck, g.count, g.count, g.aggregate,
		g.exists, g.joinRaw, g.joinRaw, g.joinRelation, g.subquery, g.subquery, g.correlated, g.union, g.preload, g.preload,
		g.association, g.structCondition, g.generic, g.byHand, g.rawRows, g.derived, g.batches, g.selfJoin, g.throughLinks,
		g.template, g.template, g.template,
	}
	if g.strict {
		return pick(g, g.findRows, g.findRows, g.count, g.pluck, g.intoMaps)()
	}
	if g.focus != nil && g.chance(2) {
		return pick(g, g.findRows, g.findOne, g.count, g.pluck, g.joinRaw)()
	}
	return pick(g, shapes...)()
}

// where applies a condition in one of GORM's ways.
func (g *twinGen) where(t *twinTable, alias string) (func(db *gorm.DB) *gorm.DB, string) {
	a, b := g.cond(t, alias, g.IntN(3)), g.cond(t, alias, g.IntN(2))
	text := fmt.Sprintf("%s %v", a.sql, a.args)
	both := fmt.Sprintf("%s / %s %v", text, b.sql, b.args)
	switch g.IntN(8) {
	case 0:
		return func(db *gorm.DB) *gorm.DB { return db.Where(a.sql, a.args...).Where(b.sql, b.args...) }, "and " + both
	case 1:
		return func(db *gorm.DB) *gorm.DB { return db.Where(a.sql, a.args...).Or(b.sql, b.args...) }, "or " + both
	case 2:
		return func(db *gorm.DB) *gorm.DB { return db.Not(a.sql, a.args...) }, "not " + text
	case 3:
		return func(db *gorm.DB) *gorm.DB {
			group := db.Session(&gorm.Session{NewDB: true})
			return db.Where(group.Where(a.sql, a.args...).Or(b.sql, b.args...)).Where("1 = 1")
		}, "group " + both
	case 4:
		return func(db *gorm.DB) *gorm.DB {
			return db.Scopes(func(db *gorm.DB) *gorm.DB { return db.Where(a.sql, a.args...) })
		}, "scope " + text
	}
	return func(db *gorm.DB) *gorm.DB { return db.Where(a.sql, a.args...) }, text
}

func (g *twinGen) window() (func(db *gorm.DB) *gorm.DB, string) {
	switch g.IntN(4) {
	case 0:
		limit := 1 + g.IntN(3)
		return func(db *gorm.DB) *gorm.DB { return db.Limit(limit) }, fmt.Sprintf(" limit %d", limit)
	case 1:
		limit, offset := 1+g.IntN(3), g.IntN(3)
		return func(db *gorm.DB) *gorm.DB { return db.Limit(limit).Offset(offset) }, fmt.Sprintf(" limit %d offset %d", limit, offset)
	}
	return func(db *gorm.DB) *gorm.DB { return db }, ""
}

func (g *twinGen) findRows() *twinQuery {
	t := pick(g, twinTables...)
	where, text := g.where(t, "")
	window, wtext := g.window()
	order := t.order("", pick(g, "", " DESC"))
	unscoped, few := g.chance(4), g.chance(6)
	loose := wtext == "" && g.chance(4)
	if t == twinAuthors && g.chance(6) {
		return &twinQuery{"rows of briefs " + text + wtext, false, func(db *gorm.DB) (any, *gorm.DB) {
			dest := &[]twinBrief{}
			return dest, window(where(db.Model(&twinAuthor{})).Order(order)).Find(dest)
		}}
	}
	return &twinQuery{"rows of " + t.name + " " + text + wtext, loose, func(db *gorm.DB) (any, *gorm.DB) {
		dest := t.slice()
		db = where(db)
		if !loose {
			db = db.Order(order)
		}
		if unscoped {
			db = db.Unscoped()
		}
		if few {
			db = db.Select(t.key[0])
		}
		return dest, window(db).Find(dest)
	}}
}

func (g *twinGen) findOne() *twinQuery {
	t := pick(g, twinTables[:8]...) // First needs a model with a key
	where, text := g.where(t, "")
	by := twinCond{"1 = 1", nil}
	if g.chance(2) {
		c := g.keyCond(t)
		by, where, text = c, func(db *gorm.DB) *gorm.DB { return db }, fmt.Sprintf("%s %v", c.sql, c.args)
	}
	how := g.IntN(5)
	return &twinQuery{fmt.Sprintf("one %d of %s %s", how, t.name, text), false, func(db *gorm.DB) (any, *gorm.DB) {
		dest := t.one()
		db = where(db.Where(by.sql, by.args...))
		switch how {
		case 0:
			return dest, db.Last(dest)
		case 1:
			return dest, db.Order(t.order("", "")).Take(dest)
		case 2:
			return dest, db.Order(t.order("", " DESC")).Find(dest)
		case 3:
			return dest, db.FirstOrInit(dest)
		}
		return dest, db.First(dest)
	}}
}

// keyCond is equality on the whole key.
func (g *twinGen) keyCond(t *twinTable) twinCond {
	var parts []string
	var args []any
	for _, k := range t.key {
		for _, c := range t.cols {
			if c.name == k {
				parts, args = append(parts, k+" = ?"), append(args, g.param(c))
				break
			}
		}
	}
	return twinCond{strings.Join(parts, " AND "), args}
}

func (g *twinGen) intoMaps() *twinQuery {
	t := pick(g, twinTables...)
	where, text := g.where(t, "")
	one, table := g.chance(3), g.chance(2)
	return &twinQuery{fmt.Sprintf("maps (one %v, table %v) of %s %s", one, table, t.name, text), false, func(db *gorm.DB) (any, *gorm.DB) {
		if db = where(db).Order(t.order("", "")); table {
			db = db.Table(t.name)
		} else {
			db = db.Model(t.one())
		}
		if one {
			dest := map[string]any{}
			return &dest, db.Take(&dest)
		}
		dest := []map[string]any{}
		return &dest, db.Find(&dest)
	}}
}

func (g *twinGen) pluck() *twinQuery {
	t := pick(g, twinTables...)
	where, text := g.where(t, "")
	c := pick(g, t.cols...)
	distinct := g.chance(4) && (c.kind == twinInt || c.kind == twinBool)
	return &twinQuery{fmt.Sprintf("pluck %s of %s %s", c.name, t.name, text), false, func(db *gorm.DB) (any, *gorm.DB) {
		db = where(db.Model(t.one()))
		if distinct {
			db = db.Distinct().Order(c.name)
		} else {
			db = db.Order(t.order("", ""))
		}
		switch {
		case c.kind == twinInt:
			dest := []*int{}
			return &dest, db.Pluck(c.name, &dest)
		case c.kind == twinTime:
			dest := []*time.Time{}
			return &dest, db.Pluck(c.name, &dest)
		case c.kind == twinBool:
			dest := []*bool{}
			return &dest, db.Pluck(c.name, &dest)
		}
		dest := []*string{}
		return &dest, db.Pluck(c.name, &dest)
	}}
}

func (g *twinGen) count() *twinQuery {
	t := pick(g, twinTables...)
	where, text := g.where(t, "")
	how, c := g.IntN(4), pick(g, t.cols...)
	unscoped := g.chance(4)
	return &twinQuery{fmt.Sprintf("count %d %s of %s %s", how, c.name, t.name, text), false, func(db *gorm.DB) (any, *gorm.DB) {
		var n int64
		db = where(db.Model(t.one()))
		if unscoped {
			db = db.Unscoped()
		}
		switch how {
		case 0:
			db = db.Distinct(c.name)
		case 1:
			db = db.Group(c.name)
		}
		return &n, db.Count(&n)
	}}
}

func (g *twinGen) aggregate() *twinQuery {
	t := pick(g, twinAuthors, twinAuthors, twinBooks, twinTags, twinSlots)
	where, text := g.where(t, "")
	c := pick(g, t.only(twinInt, twinDecimal)...)
	by := pick(g, t.only(twinInt, twinBool)...)
	fn := pick(g, "sum", "min", "max", "avg", "count")
	how := g.IntN(4)
	return &twinQuery{fmt.Sprintf("%s %d %s of %s %s", fn, how, c.name, t.name, text), false, func(db *gorm.DB) (any, *gorm.DB) {
		db = where(db.Model(t.one()))
		switch how {
		case 0:
			var dest *float64
			return &dest, db.Select(fn + "(" + c.name + ")").Find(&dest)
		case 1:
			dest := []map[string]any{}
			return &dest, db.Select(by.name + ", " + fn + "(" + c.name + ") AS v, count(*) AS n").Group(by.name).Order(by.name).Find(&dest)
		case 2:
			dest := []struct {
				V *float64
				N int
			}{}
			return &dest, db.Select(fn+"("+c.name+") AS v, count(*) AS n").Group(by.name).Having("count(*) > ?", 1).Order(by.name).Find(&dest)
		}
		dest := map[string]any{}
		return &dest, db.Select("count(*) AS n, " + fn + "(" + c.name + ") AS v").Take(&dest)
	}}
}

func (g *twinGen) exists() *twinQuery {
	t := pick(g, twinTables...)
	where, text := g.where(t, "")
	c := g.cond(t, "", 1)
	how := g.IntN(3)
	return &twinQuery{fmt.Sprintf("exists %d of %s %s", how, t.name, text), false, func(db *gorm.DB) (any, *gorm.DB) {
		switch how {
		case 0:
			var n *int
			return &n, where(db.Model(t.one())).Select("1").Limit(1).Find(&n)
		case 1:
			var b bool
			return &b, where(db.Model(t.one())).Select("count(*) > 0").Find(&b)
		}
		var b bool
		return &b, db.Scopes(cache.Cache()).Raw("SELECT EXISTS(SELECT 1 FROM "+t.name+" WHERE "+c.sql+")", c.args...).Scan(&b)
	}}
}

func (g *twinGen) joinRaw() *twinQuery {
	kind := pick(g, "JOIN", "LEFT JOIN", "LEFT JOIN", "INNER JOIN", "CROSS JOIN", "RIGHT JOIN")
	other := pick(g, twinBooks, twinSlots, twinDevices)
	on := twinCond{"o.author_id = a.id", nil}
	if g.chance(3) {
		on = on.and(g.term(other, "o."))
	} else if g.chance(4) {
		on = on.and(g.term(twinAuthors, "a."))
	}
	onText := " ON " + on.sql
	if kind == "CROSS JOIN" {
		kind, onText = ",", ""
	}
	conds := []twinCond{}
	if g.chance(2) {
		conds = append(conds, g.cond(twinAuthors, "a.", 1))
	}
	if g.chance(2) {
		conds = append(conds, g.cond(other, "o.", 1))
	}
	if kind == "LEFT JOIN" && g.chance(3) {
		conds = []twinCond{{"o." + other.key[0] + " IS NULL", nil}}
	}
	if kind == "," {
		conds = append(conds, twinCond{"a.id = o.author_id", nil}, g.term(twinAuthors, "a."))
	}
	name := fmt.Sprintf("%s %s %v %v", kind, other.name, on, conds)
	how := g.IntN(4)
	order := "a.id, " + other.order("o.", "")
	return &twinQuery{name, false, func(db *gorm.DB) (any, *gorm.DB) {
		if kind == "," {
			db = db.Table("twin_authors AS a, " + other.name + " AS o")
		} else {
			db = db.Table("twin_authors AS a").Joins(kind+" "+other.name+" AS o"+onText, on.args...)
		}
		for _, c := range conds {
			db = db.Where(c.sql, c.args...)
		}
		switch how {
		case 0:
			var n int64
			return &n, db.Count(&n)
		case 1:
			dest := []map[string]any{}
			return &dest, db.Select("a.id, a.name, o.*").Order(order).Find(&dest)
		case 2:
			dest := []map[string]any{}
			return &dest, db.Select("a.id, count(o." + other.key[0] + ") AS n").Group("a.id").Order("a.id").Find(&dest)
		}
		dest := []twinAuthor{}
		return &dest, db.Select("a.*").Order(order).Find(&dest)
	}}
}

func (g *twinGen) joinRelation() *twinQuery {
	c := g.cond(twinBooks, "twin_books.", 1)
	related := g.term(twinAuthors, `"Author".`)
	if g.dialect == "mysql" {
		related.sql = strings.ReplaceAll(related.sql, `"`, "`")
	}
	on := g.term(twinAuthors, "")
	how := g.IntN(5)
	return &twinQuery{fmt.Sprintf("relation %d %v %v %v", how, c, related, on), false, func(db *gorm.DB) (any, *gorm.DB) {
		dest := []twinBook{}
		fresh := db.Session(&gorm.Session{NewDB: true})
		switch how {
		case 0:
			db = db.Joins("Author")
		case 1:
			db = db.InnerJoins("Author")
		case 2:
			db = db.Joins("Author").Where(related.sql, related.args...)
		case 3:
			db = db.Joins("Author", fresh.Where(on.sql, on.args...))
		case 4:
			db = db.Joins("Author", fresh.Where(&twinAuthor{Grp: 1, Flag: true})).Preload("Author.Tags", func(db *gorm.DB) *gorm.DB { return db.Order("code") })
		}
		return &dest, db.Where(c.sql, c.args...).Order("twin_books.id").Find(&dest)
	}}
}

func (g *twinGen) subquery() *twinQuery {
	inner := pick(g, twinBooks, twinSlots, twinDevices)
	ic, oc := g.cond(inner, "", 1), g.cond(twinAuthors, "", 1)
	op := pick(g, "IN", "NOT IN", "IN")
	guard := pick(g, "", " AND author_id IS NOT NULL")
	how := g.IntN(3)
	limit := g.chance(4)
	return &twinQuery{fmt.Sprintf("subquery %d %s %s %v %v", how, op, inner.name, ic, oc), false, func(db *gorm.DB) (any, *gorm.DB) {
		fresh := db.Session(&gorm.Session{NewDB: true})
		sub := fresh.Model(inner.one()).Select("author_id").Where(ic.sql+guard, ic.args...)
		if limit {
			sub = fresh.Table("(?) AS l", sub.Order(inner.order("", "")).Limit(2)).Select("author_id")
		}
		db = db.Where("id "+op+" (?)", sub)
		switch how {
		case 0:
			var n int64
			return &n, db.Model(&twinAuthor{}).Where(oc.sql, oc.args...).Count(&n)
		case 1:
			dest := []twinAuthor{}
			return &dest, db.Where(oc.sql, oc.args...).Order("id").Find(&dest)
		}
		dest := []twinBrief{}
		return &dest, db.Or(oc.sql, oc.args...).Order("id").Find(&dest)
	}}
}

func (g *twinGen) correlated() *twinQuery {
	inner := pick(g, twinBooks, twinSlots, twinDevices)
	ic, oc := g.cond(inner, "i.", 1), g.cond(twinAuthors, "twin_authors.", 1)
	not := pick(g, "", "NOT ")
	how := g.IntN(3)
	name := fmt.Sprintf("correlated %d %s %s %v %v", how, not, inner.name, ic, oc)
	exists := "SELECT 1 FROM " + inner.name + " AS i WHERE i.author_id = twin_authors.id AND " + ic.sql
	return &twinQuery{name, false, func(db *gorm.DB) (any, *gorm.DB) {
		switch how {
		case 0:
			dest := []map[string]any{}
			return &dest, db.Model(&twinAuthor{}).Select("id, (SELECT count(*) FROM "+inner.name+" AS i WHERE i.author_id = twin_authors.id AND "+ic.sql+") AS n", ic.args...).
				Where(oc.sql, oc.args...).Order("id").Find(&dest)
		case 1:
			dest := []twinAuthor{}
			return &dest, db.Where(oc.sql, oc.args...).Or(not+"EXISTS ("+exists+")", ic.args...).Order("id").Find(&dest)
		}
		dest := []twinAuthor{}
		return &dest, db.Where(oc.sql, oc.args...).Where(not+"EXISTS ("+exists+")", ic.args...).Order("id").Find(&dest)
	}}
}

func (g *twinGen) union() *twinQuery {
	a, b := pick(g, twinAuthors, twinBooks, twinSlots), pick(g, twinAuthors, twinBooks, twinSlots, twinDevices)
	ca, cb := g.cond(a, "", 1), g.cond(b, "", 1)
	ka, kb := "id", "author_id"
	if a == twinSlots {
		ka = "shelf"
	}
	if b == twinAuthors {
		kb = "grp"
	}
	op := pick(g, "UNION", "UNION ALL", "UNION", "EXCEPT", "INTERSECT")
	text := fmt.Sprintf("SELECT %s AS k FROM %s WHERE %s %s SELECT %s FROM %s WHERE %s ORDER BY 1", ka, a.name, ca.sql, op, kb, b.name, cb.sql)
	with := g.chance(3)
	if with {
		text = fmt.Sprintf("WITH x AS (SELECT %s AS k FROM %s WHERE %s), y AS (SELECT %s AS k FROM %s WHERE %s) SELECT x.k, count(*) AS n FROM x JOIN y ON x.k = y.k GROUP BY x.k ORDER BY x.k",
			ka, a.name, ca.sql, kb, b.name, cb.sql)
	}
	args := append(append([]any(nil), ca.args...), cb.args...)
	return &twinQuery{fmt.Sprintf("raw %s %v", text, args), false, func(db *gorm.DB) (any, *gorm.DB) {
		dest := []map[string]any{}
		return &dest, db.Raw(text, args...).Find(&dest)
	}}
}

func (g *twinGen) preload() *twinQuery {
	c, bc := g.cond(twinAuthors, "", 1), g.cond(twinBooks, "", 1)
	oc := g.cond(twinBooks, "", 1)
	how := g.IntN(5)
	by := func(order string) func(db *gorm.DB) *gorm.DB {
		return func(db *gorm.DB) *gorm.DB { return db.Order(order) }
	}
	return &twinQuery{fmt.Sprintf("preload %d %v %v %v", how, c, bc, oc), false, func(db *gorm.DB) (any, *gorm.DB) {
		switch how {
		case 0:
			dest := []twinBook{}
			return &dest, db.Preload("Author").Where(oc.sql, oc.args...).Order("id").Find(&dest)
		case 1:
			dest := []twinAuthor{}
			return &dest, db.Preload("Books", by("id")).Preload("Tags", by("code")).Where(c.sql, c.args...).Order("id").Find(&dest)
		case 2:
			dest := []twinAuthor{}
			return &dest, db.Preload("Books", func(db *gorm.DB) *gorm.DB { return db.Where(bc.sql, bc.args...).Order("id") }).Where(c.sql, c.args...).Order("id").Find(&dest)
		case 3:
			dest := []twinTag{}
			return &dest, db.Preload("Authors", by("id")).Preload("Authors.Devices", by("id")).Order("code").Find(&dest)
		}
		dest := []twinBook{}
		return &dest, db.Preload("Author", func(db *gorm.DB) *gorm.DB { return db.Unscoped() }).Preload("Author.Books", by("id DESC")).Where(oc.sql, oc.args...).Order("id").Find(&dest)
	}}
}

func (g *twinGen) association() *twinQuery {
	id, how := g.int("id"), g.IntN(3)
	bc := g.term(twinBooks, "")
	return &twinQuery{fmt.Sprintf("association %d of %d %v", how, id, bc), false, func(db *gorm.DB) (any, *gorm.DB) {
		owner := &twinAuthor{ID: id}
		switch how {
		case 0:
			dest := []twinTag{}
			err := db.Model(owner).Order("code").Association("Tags").Find(&dest)
			return &dest, &gorm.DB{Error: err}
		case 1:
			a := db.Model(owner).Association("Tags")
			n := a.Count()
			return &n, &gorm.DB{Error: a.Error}
		}
		dest := []twinBook{}
		err := db.Model(owner).Order("id").Where(bc.sql, bc.args...).Association("Books").Find(&dest)
		return &dest, &gorm.DB{Error: err}
	}}
}

func (g *twinGen) structCondition() *twinQuery {
	a := twinAuthor{Grp: g.IntN(4), Flag: g.chance(2), Level: maybe(g, g.IntN(3)), Name: pick(g, "", "a", "A", "á")}
	m := map[string]any{"grp": g.param(twinColumn{"grp", twinInt, false}), "level": pick[any](g, nil, 1, []int{1, 2}), "flag": g.chance(2)}
	how := g.IntN(6)
	return &twinQuery{fmt.Sprintf("struct %d %+v %v", how, a, m), false, func(db *gorm.DB) (any, *gorm.DB) {
		dest := []twinAuthor{}
		db = db.Order("id")
		switch how {
		case 0:
			return &dest, db.Where(&a).Find(&dest)
		case 1:
			return &dest, db.Where(&a, "Grp", "Flag").Find(&dest)
		case 2:
			return &dest, db.Where(m).Find(&dest)
		case 3:
			return &dest, db.Not(m).Find(&dest)
		case 4:
			return &dest, db.Find(&dest, []int{a.Grp, a.Grp + 1, a.Grp + 2})
		}
		return &dest, db.Clauses(clause.Or(clause.Eq{Column: "grp", Value: a.Grp}, clause.IN{Column: "level", Values: []any{1, 2}}, clause.Neq{Column: "name", Value: "a"})).Find(&dest)
	}}
}

func (g *twinGen) generic() *twinQuery {
	c, how := g.cond(twinAuthors, "", 1), g.IntN(4)
	return &twinQuery{fmt.Sprintf("generic %d %v", how, c), false, func(db *gorm.DB) (any, *gorm.DB) {
		q := gorm.G[twinAuthor](db).Where(c.sql, c.args...)
		ctx := db.Statement.Context
		switch how {
		case 0:
			n, err := q.Count(ctx, "*")
			return &n, &gorm.DB{Error: err}
		case 1:
			a, err := q.First(ctx)
			return &a, &gorm.DB{Error: err}
		case 2:
			a, err := q.Preload("Books", func(db gorm.PreloadBuilder) error { db.Order("id"); return nil }).Order("id").Find(ctx)
			return &a, &gorm.DB{Error: err}
		}
		a, err := q.Order("id").Find(ctx)
		return &a, &gorm.DB{Error: err}
	}}
}

// byHand asks the row processor, which is cached on request.
func (g *twinGen) byHand() *twinQuery {
	t := pick(g, twinTables...)
	where, text := g.where(t, "")
	how := g.IntN(4)
	return &twinQuery{fmt.Sprintf("by hand %d of %s %s", how, t.name, text), false, func(db *gorm.DB) (any, *gorm.DB) {
		db = where(db.Scopes(cache.Cache(cache.Timeout(time.Minute))).Model(t.one())).Order(t.order("", ""))
		switch how {
		case 0:
			dest := []map[string]any{}
			return &dest, db.Scan(&dest)
		case 1:
			var dest any
			row := db.Select("count(*)").Session(&gorm.Session{}).Order(clause.OrderBy{}).Row()
			err := row.Scan(&dest)
			return &dest, &gorm.DB{Error: err}
		case 2:
			dest := [][]any{}
			rows, err := db.Rows()
			if err != nil {
				return &dest, &gorm.DB{Error: err}
			}
			defer rows.Close()
			columns, _ := rows.Columns()
			for rows.Next() {
				values, pointers := make([]any, len(columns)), make([]any, len(columns))
				for i := range values {
					pointers[i] = &values[i]
				}
				if err := rows.Scan(pointers...); err != nil {
					return &dest, &gorm.DB{Error: err}
				}
				dest = append(dest, values)
			}
			return &dest, &gorm.DB{Error: rows.Err()}
		}
		dest := t.slice()
		return dest, db.Find(dest)
	}}
}

func (g *twinGen) rawRows() *twinQuery {
	t := pick(g, twinTables...)
	c := g.cond(t, "t.", 2)
	text := "SELECT t.* FROM " + t.name + " AS t WHERE " + c.sql + " ORDER BY " + t.order("t.", "")
	if g.chance(3) {
		text = "select /* x */ t.* from " + t.name + " t -- where\n WHERE (" + c.sql + ")\n order by " + t.order("t.", "") + " LIMIT 3"
	}
	maps := g.chance(2)
	return &twinQuery{fmt.Sprintf("raw %s %v", text, c.args), false, func(db *gorm.DB) (any, *gorm.DB) {
		if maps {
			dest := []map[string]any{}
			return &dest, db.Raw(text, c.args...).Find(&dest)
		}
		dest := t.slice()
		return dest, db.Scopes(cache.Cache()).Raw(text, c.args...).Scan(dest)
	}}
}

func (g *twinGen) derived() *twinQuery {
	c, outer := g.cond(twinAuthors, "", 1), g.term(twinAuthors, "d.")
	left := g.chance(2)
	bc := g.term(twinBooks, "b.")
	return &twinQuery{fmt.Sprintf("derived %v %v %v %v", left, c, outer, bc), false, func(db *gorm.DB) (any, *gorm.DB) {
		dest := []map[string]any{}
		sub := db.Session(&gorm.Session{NewDB: true}).Model(&twinAuthor{}).Where(c.sql, c.args...)
		if left {
			return &dest, db.Table("twin_books AS b").Joins("LEFT JOIN (?) AS d ON d.id = b.author_id", sub).
				Where(bc.sql, bc.args...).Select("b.id, d.name").Order("b.id").Find(&dest)
		}
		return &dest, db.Table("(?) AS d", sub).Where(outer.sql, outer.args...).Order("d.id").Find(&dest)
	}}
}

func (g *twinGen) batches() *twinQuery {
	c, size := g.cond(twinAuthors, "", 1), 1+g.IntN(4)
	return &twinQuery{fmt.Sprintf("batches %d %v", size, c), false, func(db *gorm.DB) (any, *gorm.DB) {
		all, batch := []twinAuthor{}, []twinAuthor{}
		tx := db.Where(c.sql, c.args...).FindInBatches(&batch, size, func(*gorm.DB, int) error {
			all = append(all, batch...)
			return nil
		})
		return &all, tx
	}}
}

func (g *twinGen) selfJoin() *twinQuery {
	a, b := g.cond(twinAuthors, "a.", 1), g.cond(twinAuthors, "b.", 1)
	on := pick(g, "a.grp = b.grp", "a.grp = b.level", "a.id = b.level AND a.grp = 1", "a.flag = b.flag AND b.grp = 2")
	kind := pick(g, "JOIN", "LEFT JOIN")
	return &twinQuery{fmt.Sprintf("self %s %s %v %v", kind, on, a, b), false, func(db *gorm.DB) (any, *gorm.DB) {
		dest := []map[string]any{}
		return &dest, db.Table("twin_authors AS a").Joins(kind+" twin_authors AS b ON "+on).Select("a.id, b.id AS other, b.name").
			Where(a.sql, a.args...).Where(b.sql, b.args...).Order("a.id, b.id").Find(&dest)
	}}
}

func (g *twinGen) throughLinks() *twinQuery {
	a, tag := g.cond(twinAuthors, "a.", 1), g.cond(twinTags, "t.", 1)
	kind := pick(g, "JOIN", "LEFT JOIN")
	using := g.chance(3)
	how := g.IntN(2)
	return &twinQuery{fmt.Sprintf("links %s %v %v", kind, a, tag), false, func(db *gorm.DB) (any, *gorm.DB) {
		db = db.Table("twin_authors AS a").Joins(kind + " twin_author_tags AS l ON l.twin_author_id = a.id")
		if using {
			db = db.Joins(kind + " (SELECT code AS twin_tag_code, label, weight, code FROM twin_tags) AS t USING (twin_tag_code)")
		} else {
			db = db.Joins(kind + " twin_tags AS t ON t.code = l.twin_tag_code")
		}
		db = db.Where(a.sql, a.args...).Where(tag.sql, tag.args...)
		if how == 0 {
			var n int64
			return &n, db.Count(&n)
		}
		dest := []map[string]any{}
		return &dest, db.Select("a.id, t.code, t.weight").Order("a.id, t.code").Find(&dest)
	}}
}

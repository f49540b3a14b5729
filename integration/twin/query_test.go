package twin

import (
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

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
		g.relations, g.relations, g.relations, g.relations,
		g.compose, g.compose, g.compose, g.compose, g.compose, g.compose, g.compose, g.compose, g.compose, g.compose,
	}
	if g.strict {
		return pick(g, g.findRows, g.findRows, g.count, g.pluck, g.intoMaps)()
	}
	if g.focus != nil && g.chance(2) {
		return pick(g, g.findRows, g.findOne, g.count, g.pluck, g.joinRaw, g.relations, g.relations, g.compose, g.compose, g.compose)()
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
	t := g.table(twinTables...)
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
	t := g.table(twinModelled...) // First needs a model with a key
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
	t := g.table(twinTables...)
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
	t := g.table(twinTables...)
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
	t := g.table(twinTables...)
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
	t := g.table(twinTables...)
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

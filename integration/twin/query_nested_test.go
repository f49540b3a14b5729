package twin

import (
	"fmt"

	"gorm.io/gorm"
)

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

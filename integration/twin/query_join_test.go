package twin

import (
	"fmt"
	"strings"

	"gorm.io/gorm"
)

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

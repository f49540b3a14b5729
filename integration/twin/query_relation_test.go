package twin

import (
	"fmt"
	"strings"

	"gorm.io/gorm"
)

// twinRelation is a relation that GORM joins, by its path from a model.
type twinRelation struct {
	path string
	t    *twinTable
}

// twinRelated are the models that GORM joins others to.
var twinRelated = []struct {
	t     *twinTable
	paths [][]twinRelation
}{
	{twinBooks, [][]twinRelation{{{"Author", twinAuthors}}, {{"Author", twinAuthors}, {"Author.Profile", twinProfiles}}}},
	{twinSlots, [][]twinRelation{{{"Author", twinAuthors}}}},
	{twinDevices, [][]twinRelation{{{"Author", twinAuthors}}, {{"Author", twinAuthors}, {"Author.Profile", twinProfiles}}}},
	{twinProfiles, [][]twinRelation{{{"Author", twinAuthors}}}},
	{twinBadges, [][]twinRelation{{{"Profile", twinProfiles}}, {{"Profile", twinProfiles}, {"Profile.Author", twinAuthors}}}},
	{twinMarks, [][]twinRelation{{{"Badge", twinBadges}}, {{"Up", twinMarks}}, {{"Badge", twinBadges}, {"Badge.Profile", twinProfiles}}, {{"Badge", twinBadges}, {"Up", twinMarks}}}},
	{twinAuthors, [][]twinRelation{{{"Profile", twinProfiles}}}},
}

// relationColumn is how a joined relation's column is written.
func (g *twinGen) relationAlias(path string) string {
	quote := `"`
	if g.dialect == "mysql" {
		quote = "`"
	}
	return quote + strings.ReplaceAll(path, ".", "__") + quote + "."
}

// relations joins what a model belongs to or has, nested, with conditions on
// all levels, ordered by what is joined, in part.
func (g *twinGen) relations() *twinQuery {
	r := pick(g, twinRelated...)
	for range 8 {
		if g.theme == nil || g.theme[r.t] {
			break
		}
		r = pick(g, twinRelated...)
	}
	path := pick(g, r.paths...)
	inner := make([]bool, len(path))
	on := make([]twinCond, len(path))
	name := "relations of " + r.t.name
	for i, p := range path {
		inner[i] = g.chance(3)
		if g.chance(4) {
			on[i] = g.term(p.t, g.relationAlias(p.path))
		}
		name += fmt.Sprintf(" %s (inner %v) %v", p.path, inner[i], on[i])
	}
	where := twinCond{"1 = 1", nil}
	if !g.chance(4) {
		where = g.cond(r.t, r.t.name+".", g.IntN(2))
	}
	last := path[len(path)-1]
	if g.chance(3) {
		where = where.and(g.cond(last.t, g.relationAlias(last.path), g.IntN(2)))
	} else if g.chance(6) {
		where = where.and(twinCond{g.relationAlias(last.path) + last.t.key[0] + " IS NULL", nil})
	}
	order := r.t.order(r.t.name+".", pick(g, "", " DESC"))
	if ints := last.t.only(twinInt); g.chance(3) {
		order = g.relationAlias(last.path) + pick(g, ints...).name + ", " + order
	}
	limit, unscoped, how := g.IntN(4), g.chance(6), g.IntN(6)
	return &twinQuery{name: fmt.Sprintf("%s where %v order %s limit %d how %d", name, where, order, limit, how), run: func(db *gorm.DB) (any, *gorm.DB) {
		fresh := db.Session(&gorm.Session{NewDB: true})
		if unscoped {
			db = db.Unscoped()
		}
		for i, p := range path {
			var args []any
			if on[i].sql != "" {
				args = append(args, fresh.Where(on[i].sql, on[i].args...))
			}
			if inner[i] {
				db = db.InnerJoins(p.path, args...)
			} else {
				db = db.Joins(p.path, args...)
			}
		}
		db = db.Where(where.sql, where.args...)
		switch how {
		case 0:
			dest := r.t.one()
			return dest, db.Order(order).Take(dest)
		case 1:
			dest := r.t.one()
			return dest, db.First(dest)
		case 2:
			var n int64
			return &n, db.Model(r.t.one()).Count(&n)
		}
		dest := r.t.slice()
		db = db.Order(order)
		if limit > 0 {
			db = db.Limit(limit)
		}
		return dest, db.Find(dest)
	}}
}

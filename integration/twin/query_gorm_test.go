package twin

import (
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin/cache"
)

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
	t := g.table(twinTables...)
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
	t := g.table(twinTables...)
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

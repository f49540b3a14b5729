package twin

import (
	"fmt"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// twinWrite is one write, which may fail: a duplicate key is as good a test.
type twinWrite struct {
	name string
	run  func(db *gorm.DB) error
}

// exclusive reports whether a write keeps readers out until its transaction ends,
// or waits for those that read.
func (w twinWrite) exclusive() bool {
	return strings.HasPrefix(w.name, "raw TRUNCATE") || strings.HasPrefix(w.name, "raw REFRESH")
}

// write draws a write.
func (g *twinGen) write() twinWrite {
	if g.focus != nil && !g.chance(3) {
		return g.plain()
	}
	return pick(g,
		g.create, g.create, g.create, g.createBatch, g.createMap, g.upsert, g.save, g.update, g.update, g.updateMass, g.updateMass,
		g.remove, g.remove, g.restore, g.many, g.misfit, g.associate, g.associate, g.firstOrCreate, g.rawInsert, g.rawUpdate, g.rawUpdate, g.rawDelete, g.changeKey,
		g.returning, g.cascade, g.cascade, g.family, g.family, g.family,
		g.composeWrite, g.composeWrite, g.composeWrite, g.composeWrite, g.composeWrite, g.composeWrite, g.composeWrite,
	)()
}

// plain assigns to the columns that conditions are on, where conditions on
// them hold.
func (g *twinGen) plain() twinWrite {
	t := g.table(twinPlain...) // a change of the rest writes by triggers
	c, set := g.cond(t, "", g.IntN(2)), pick(g, g.focus[t]...)
	if g.chance(4) {
		c = g.keyCond(t)
	}
	if set.name == "odd" { // follows qty
		set = twinColumn{"qty", twinInt, false}
	}
	value := g.value(set)
	if set.name == "deleted_at" || g.chance(6) {
		return twinWrite{fmt.Sprintf("delete from %s where %v", t.name, c), func(db *gorm.DB) error { return db.Where(c.sql, c.args...).Delete(t.one()).Error }}
	}
	return twinWrite{fmt.Sprintf("update %s set %s = %s where %v", t.name, set.name, showValue(value), c), func(db *gorm.DB) error {
		return db.Model(t.one()).Where(c.sql, c.args...).Update(set.name, value).Error
	}}
}

func (g *twinGen) author() twinAuthor {
	return twinAuthor{
		ID: pick(g, 0, g.int("id")), Grp: g.IntN(4), Level: maybe(g, g.IntN(4)), Flag: g.chance(2), Vote: maybe(g, g.chance(2)),
		Name: g.text("name"), Alias: maybe(g, g.text("alias")), Nick: twinNick(g.text("nick")), Code: g.text("code"),
		Price: g.decimal(), Born: g.time(), Seen: maybe(g, g.time()), Ratio: g.float(), Data: g.bytes(),
	}
}

func (g *twinGen) book() twinBook {
	return twinBook{
		ID: pick(g, 0, g.int("id")), AuthorID: maybe(g, g.int("author_id")), Title: g.text("title"), Stars: maybe(g, g.IntN(4)), State: g.text("state"),
	}
}

func (g *twinGen) tag() twinTag {
	return twinTag{Code: g.text("twin_tag_code"), Label: maybe(g, g.text("label")), Weight: g.IntN(4)}
}

func (g *twinGen) slot() twinSlot {
	return twinSlot{Shelf: g.int("shelf"), Pos: g.int("pos"), AuthorID: maybe(g, g.int("author_id")), Note: maybe(g, g.text("note")), Qty: g.IntN(4)}
}

func (g *twinGen) device() twinDevice {
	return twinDevice{ID: testmodel.UUID(g.uuid()), State: g.text("state"), AuthorID: maybe(g, g.int("author_id"))}
}

func (g *twinGen) sort() *twinSort {
	day := g.day()
	return &twinSort{
		ID: pick(g, 0, g.int("id")), Small: int16(g.IntN(4)), Big: maybe(g, g.big()), Num: maybe(g, g.decimal()), Txt: maybe(g, g.text("txt")),
		UID: maybe(g, g.uuid()), Stamp: maybe(g, g.time()), Day: maybe(g, day), Pick: maybe(g, g.text("state")), Group: g.text("state"),
	}
}

// row is a pointer to a new row of a table that has a model.
func (g *twinGen) row(t *twinTable) any {
	switch t {
	case twinBooks:
		v := g.book()
		return &v
	case twinTags:
		v := g.tag()
		return &v
	case twinSlots:
		v := g.slot()
		return &v
	case twinDevices:
		v := g.device()
		return &v
	case twinProfiles:
		return &twinProfile{ID: pick(g, 0, g.int("id")), AuthorID: maybe(g, g.int("author_id")), Label: twinNick(g.text("label")), Rank: g.IntN(4)}
	case twinBadges:
		return &twinBadge{ID: pick(g, 0, g.int("id")), ProfileID: maybe(g, g.int("id")), Kind: g.text("state"), Points: maybe(g, g.IntN(4))}
	case twinMarks:
		return &twinMark{ID: pick(g, 0, g.int("id")), BadgeID: maybe(g, g.int("id")), UpID: maybe(g, g.int("id")), State: g.text("state")}
	case twinEvents:
		return &twinEvent{ID: g.int("id"), Kind: g.text("kind"), AuthorID: maybe(g, g.int("author_id")), Qty: g.IntN(4)}
	case twinItems:
		return &twinItem{ID: pick(g, 0, g.int("id")), Grp: g.IntN(4), Name: twinNick(g.text("name"))}
	case twinSorts:
		return g.sort()
	case twinLinks:
		return &twinLink{TwinAuthorID: g.int("id"), TwinTagCode: g.text("twin_tag_code")}
	}
	v := g.author()
	return &v
}

func (g *twinGen) create() twinWrite {
	row := g.row(g.table(twinTables...))
	switch g.IntN(6) {
	case 0:
		a := g.author()
		a.Books = []twinBook{g.book(), {Title: "a"}}
		a.Tags = []twinTag{g.tag()}
		row = &a
	case 1:
		b, a := g.book(), g.author()
		b.Author = &a
		row = &b
	}
	omit := g.chance(5)
	return twinWrite{fmt.Sprintf("create %s", showRows(row)), func(db *gorm.DB) error {
		if omit {
			db = db.Omit("Flag", "State", "Note", "Label")
		}
		return db.Create(row).Error
	}}
}

func (g *twinGen) createBatch() twinWrite {
	authors, books := []twinAuthor{}, []*twinBook{}
	for range 1 + g.IntN(3) {
		a, b := g.author(), g.book()
		if g.chance(2) {
			a.ID, b.ID = 0, 0
		}
		authors, books = append(authors, a), append(books, &b)
	}
	size := 1 + g.IntN(3)
	switch g.IntN(4) {
	case 0:
		return twinWrite{"create batches of authors " + showRows(authors), func(db *gorm.DB) error { return db.CreateInBatches(&authors, size).Error }}
	case 1:
		return twinWrite{"create books " + showRows(books), func(db *gorm.DB) error { return db.Create(&books).Error }}
	case 2:
		slots := []twinSlot{g.slot(), g.slot()}
		return twinWrite{"create slots " + showRows(slots), func(db *gorm.DB) error { return db.Create(&slots).Error }}
	}
	return twinWrite{"create authors " + showRows(authors), func(db *gorm.DB) error { return db.Create(&authors).Error }}
}

func (g *twinGen) createMap() twinWrite {
	m := func() map[string]any {
		v := map[string]any{"title": g.text("title"), "state": g.text("state"), "stars": pick[any](g, nil, 1, gorm.Expr("1 + ?", 1), "2")}
		if g.chance(2) {
			v["id"] = g.int("id")
		}
		if g.chance(2) {
			v["AuthorID"] = g.int("author_id")
		}
		return v
	}
	one, many := m(), []map[string]any{m()}
	if g.chance(2) {
		delete(one, "id")
		return twinWrite{fmt.Sprintf("create map %v", one), func(db *gorm.DB) error { return db.Model(&twinBook{}).Create(one).Error }}
	}
	if g.chance(2) {
		return twinWrite{fmt.Sprintf("create map by table %v", one), func(db *gorm.DB) error {
			delete(one, "AuthorID")
			return db.Table("twin_books").Create(one).Error
		}}
	}
	return twinWrite{fmt.Sprintf("create maps %v", many), func(db *gorm.DB) error { return db.Model(&twinBook{}).Create(many).Error }}
}

func (g *twinGen) upsert() twinWrite {
	t := g.table(twinModelled...)
	row := g.row(t)
	c := clause.OnConflict{DoNothing: true}
	switch g.IntN(4) {
	case 0:
		c = clause.OnConflict{UpdateAll: true}
	case 1:
		columns := make([]clause.Column, len(t.key))
		for i, k := range t.key {
			columns[i] = clause.Column{Name: k}
		}
		var names []string
		for _, col := range t.cols {
			if col.kind != twinUUID && !strings.Contains(strings.Join(t.key, ","), col.name) {
				names = append(names, col.name)
			}
		}
		c = clause.OnConflict{Columns: columns, DoUpdates: clause.AssignmentColumns([]string{pick(g, names...)})}
	}
	return twinWrite{fmt.Sprintf("upsert %v %s", c, showRows(row)), func(db *gorm.DB) error { return db.Clauses(c).Create(row).Error }}
}

func (g *twinGen) save() twinWrite {
	row := g.row(g.table(twinModelled...))
	return twinWrite{"save " + showRows(row), func(db *gorm.DB) error { return db.Save(row).Error }}
}

// changes draws assignments to columns other than the key.
func (g *twinGen) changes(t *twinTable) map[string]any {
	m := map[string]any{}
	for range 1 + g.IntN(3) {
		c := pick(g, t.cols...)
		if strings.Contains(","+strings.Join(t.key, ",")+",", ","+c.name+",") {
			continue
		}
		switch {
		case c.kind == twinInt && c.name != "author_id" && g.chance(3):
			m[c.name] = pick[any](g, gorm.Expr(c.name+" + ?", 1), gorm.Expr("? - "+c.name, 3), gorm.Expr("? % 4", 5), fmt.Sprint(g.int(c.name)))
		case c.kind == twinText && g.chance(4):
			m[c.name] = pick[any](g, gorm.Expr("upper("+c.name+")"), gorm.Expr("'b'"), []byte("a"))
		case c.kind == twinBool && g.chance(3):
			m[c.name] = pick[any](g, gorm.Expr("NOT "+c.name), 1, "true")
		case c.name == "deleted_at", c.name == "odd":
		default:
			m[c.name] = g.value(c)
		}
	}
	return m
}

func (g *twinGen) update() twinWrite {
	id := g.int("id")
	a, b := g.author(), g.book()
	a.ID, b.ID = 0, 0
	m := g.changes(twinAuthors)
	bm := g.changes(twinBooks)
	c := g.term(twinAuthors, "")
	grp := g.IntN(4)
	switch g.IntN(10) {
	case 0:
		return twinWrite{fmt.Sprintf("updates author %d %s", id, showRows(a)), func(db *gorm.DB) error { return db.Model(&twinAuthor{ID: id}).Updates(a).Error }}
	case 1:
		return twinWrite{fmt.Sprintf("updates book %d %s", id, showRows(b)), func(db *gorm.DB) error { return db.Model(&twinBook{ID: id}).Updates(&b).Error }}
	case 2:
		return twinWrite{fmt.Sprintf("updates author %d %v", id, m), func(db *gorm.DB) error { return db.Model(&twinAuthor{ID: id}).Updates(m).Error }}
	case 3:
		return twinWrite{fmt.Sprintf("update columns author %d %v", id, m), func(db *gorm.DB) error { return db.Model(&twinAuthor{ID: id}).UpdateColumns(m).Error }}
	case 4:
		return twinWrite{fmt.Sprintf("update author %d grp %d", id, grp), func(db *gorm.DB) error { return db.Model(&twinAuthor{ID: id}).Update("grp", grp).Error }}
	case 5:
		return twinWrite{fmt.Sprintf("update author %d grp + 1 where %v", id, c), func(db *gorm.DB) error {
			return db.Model(&twinAuthor{ID: id}).Where(c.sql, c.args...).Update("grp", gorm.Expr("(grp + ?) % 4", 1)).Error
		}}
	case 6:
		return twinWrite{fmt.Sprintf("read, change, save author %d %d", id, grp), func(db *gorm.DB) error {
			var found twinAuthor
			if err := db.First(&found, id).Error; err != nil {
				return nil // nothing to change
			}
			found.Grp, found.Name = grp, a.Name
			return db.Save(&found).Error
		}}
	case 7:
		return twinWrite{fmt.Sprintf("select grp, level of author %d %s", id, showRows(a)), func(db *gorm.DB) error {
			return db.Model(&twinAuthor{ID: id}).Select("Grp", "Level").Updates(a).Error
		}}
	case 8:
		return twinWrite{fmt.Sprintf("generic update author %d %d", id, grp), func(db *gorm.DB) error {
			_, err := gorm.G[twinAuthor](db).Where("id = ?", id).Update(db.Statement.Context, "grp", grp)
			return err
		}}
	}
	return twinWrite{fmt.Sprintf("updates book %d %v", id, bm), func(db *gorm.DB) error { return db.Model(&twinBook{ID: id}).Updates(bm).Error }}
}

func (g *twinGen) updateMass() twinWrite {
	t := g.table(twinModelled...)
	m := g.changes(t)
	if len(m) == 0 {
		t, m = twinAuthors, map[string]any{"grp": g.IntN(4)}
	}
	c := g.cond(t, "", g.IntN(2))
	how := g.IntN(5)
	return twinWrite{fmt.Sprintf("mass update %d of %s %v where %v", how, t.name, m, c), func(db *gorm.DB) error {
		switch how {
		case 0:
			return db.Table(t.name).Where(c.sql, c.args...).Updates(m).Error
		case 1:
			return db.Unscoped().Model(t.one()).Where(c.sql, c.args...).UpdateColumns(m).Error
		case 2:
			return db.Session(&gorm.Session{AllowGlobalUpdate: true}).Model(t.one()).Where(c.sql, c.args...).Updates(m).Error
		}
		return db.Model(t.one()).Where(c.sql, c.args...).Updates(m).Error
	}}
}

func (g *twinGen) remove() twinWrite {
	t := g.table(twinModelled...)
	c := g.keyCond(t)
	if g.chance(3) {
		c = g.term(t, "").and(g.term(t, ""))
	}
	unscoped := g.chance(3)
	id := g.int("id")
	if g.chance(4) {
		return twinWrite{fmt.Sprintf("delete author %d (unscoped %v) with books", id, unscoped), func(db *gorm.DB) error {
			if unscoped {
				db = db.Unscoped()
			}
			return db.Select("Books").Delete(&twinAuthor{ID: id}).Error
		}}
	}
	if g.chance(4) {
		return twinWrite{fmt.Sprintf("delete author %d (unscoped %v)", id, unscoped), func(db *gorm.DB) error {
			if unscoped {
				db = db.Unscoped()
			}
			return db.Delete(&twinAuthor{}, id).Error
		}}
	}
	return twinWrite{fmt.Sprintf("delete from %s (unscoped %v) where %v", t.name, unscoped, c), func(db *gorm.DB) error {
		if unscoped {
			db = db.Unscoped()
		}
		return db.Where(c.sql, c.args...).Delete(t.one()).Error
	}}
}

func (g *twinGen) restore() twinWrite {
	id, grp := g.int("id"), g.IntN(4)
	if g.chance(2) {
		return twinWrite{fmt.Sprintf("restore grp %d", grp), func(db *gorm.DB) error {
			return db.Unscoped().Model(&twinAuthor{}).Where("grp = ? AND deleted_at IS NOT NULL", grp).Update("deleted_at", nil).Error
		}}
	}
	return twinWrite{fmt.Sprintf("restore author %d", id), func(db *gorm.DB) error {
		return db.Unscoped().Model(&twinAuthor{ID: id}).Update("deleted_at", nil).Error
	}}
}

func (g *twinGen) firstOrCreate() twinWrite {
	tag, weight := g.tag(), g.IntN(4)
	id, name := g.int("id"), g.text("name")
	if g.chance(2) {
		return twinWrite{fmt.Sprintf("first or create tag %s, weight %d", showRows(tag), weight), func(db *gorm.DB) error {
			return db.Where(twinTag{Code: tag.Code}).Assign(map[string]any{"weight": weight}).FirstOrCreate(&twinTag{}).Error
		}}
	}
	return twinWrite{fmt.Sprintf("first or create author %d %q", id, name), func(db *gorm.DB) error {
		return db.Where("id = ?", id).Attrs(twinAuthor{ID: id, Name: name, Price: "2", Born: twinEpoch}).FirstOrCreate(&twinAuthor{}).Error
	}}
}

// many writes slices.
func (g *twinGen) many() twinWrite {
	authors, m, grp := []twinAuthor{g.author(), g.author()}, g.changes(twinAuthors), g.IntN(4)
	ids := []twinAuthor{{ID: g.int("id")}, {ID: g.int("id")}}
	slots := []twinSlot{g.slot(), g.slot()}
	switch g.IntN(6) {
	case 0:
		return twinWrite{"save authors " + showRows(authors), func(db *gorm.DB) error { return db.Save(&authors).Error }}
	case 1:
		return twinWrite{fmt.Sprintf("update authors %s %v", showRows(ids), m), func(db *gorm.DB) error { return db.Model(&ids).Updates(m).Error }}
	case 2:
		return twinWrite{"delete authors " + showRows(ids), func(db *gorm.DB) error { return db.Delete(&ids).Error }}
	case 3:
		return twinWrite{"delete slots " + showRows(slots), func(db *gorm.DB) error { return db.Delete(&slots).Error }}
	case 4:
		return twinWrite{fmt.Sprintf("update by case %d", grp), func(db *gorm.DB) error {
			return db.Model(&twinAuthor{}).Where("grp IN ?", []int{grp, grp + 1}).
				Update("level", gorm.Expr("CASE grp WHEN ? THEN 1 ELSE 2 END", grp)).Error
		}}
	}
	return twinWrite{fmt.Sprintf("update devices %d", grp), func(db *gorm.DB) error {
		return db.Model(&twinDevice{}).Where("author_id = ?", ids[0].ID).Update("state", "open").Error
	}}
}

// seed fills the tables through the plain handle.
func (g *twinGen) seed(db *gorm.DB) error {
	for id := 1; id <= 8; id++ {
		a, b, s := g.author(), g.book(), g.slot()
		a.ID, b.ID, b.AuthorID = 0, 0, maybe(g, id)
		s.Shelf, s.Pos = 1+(id-1)/3, 1+(id-1)%3
		a.Tags = []twinTag{g.tag()}
		for _, row := range []any{&a, &b, &s} {
			if err := db.Clauses(clause.OnConflict{DoNothing: true}).Create(row).Error; err != nil {
				return err
			}
		}
	}
	for _, t := range []*twinTable{twinProfiles, twinBadges, twinMarks, twinEvents, twinItems, twinSorts} {
		for range 6 {
			// A parent may be missing.
			_ = db.Clauses(clause.OnConflict{DoNothing: true}).Create(g.row(t)).Error
		}
	}
	for range 4 {
		d := g.device()
		if err := db.Clauses(clause.OnConflict{DoNothing: true}).Create(&d).Error; err != nil {
			return err
		}
	}
	return nil
}

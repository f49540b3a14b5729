package twin

import (
	"fmt"

	"gorm.io/gorm"
)

func (g *twinGen) associate() twinWrite {
	owner := twinAuthor{ID: g.int("id")}
	field := pick(g, "Tags", "Books", "Tags")
	how := g.IntN(4)
	tags, books := []twinTag{g.tag(), g.tag()}, []twinBook{g.book()}
	back := g.chance(4)
	name := fmt.Sprintf("association %d %s of %d %s %s, back %v", how, field, owner.ID, showRows(tags), showRows(books), back)
	return twinWrite{name, func(db *gorm.DB) error {
		var values any = tags
		model := any(&owner)
		if field == "Books" {
			values = books
		}
		if back {
			model, field, values = &tags[0], "Authors", []twinAuthor{owner}
		}
		a := db.Model(model).Association(field)
		switch how {
		case 0:
			return a.Append(values)
		case 1:
			return a.Replace(values)
		case 2:
			return a.Delete(values)
		}
		return a.Clear()
	}}
}

func (g *twinGen) changeKey() twinWrite {
	from, to := g.int("id"), g.int("id")
	a, b := g.text("twin_tag_code"), g.text("twin_tag_code")
	switch g.IntN(4) {
	case 0:
		return twinWrite{fmt.Sprintf("tag %q becomes %q", a, b), func(db *gorm.DB) error {
			return db.Model(&twinTag{Code: a}).Update("code", b).Error
		}}
	case 1:
		return twinWrite{fmt.Sprintf("book %d becomes %d", from, to), func(db *gorm.DB) error {
			return db.Model(&twinBook{}).Where("id = ?", from).Update("id", to).Error
		}}
	case 2:
		return twinWrite{fmt.Sprintf("slots of shelf %d go to %d", 1+from%3, 1+to%3), func(db *gorm.DB) error {
			return db.Exec("UPDATE twin_slots SET shelf = ? WHERE shelf = ? AND pos = ?", 1+to%3, 1+from%3, 1+from%2).Error
		}}
	}
	return twinWrite{fmt.Sprintf("author %d becomes %d", from, to), func(db *gorm.DB) error {
		return db.Exec("UPDATE twin_authors SET id = ? WHERE id = ?", to, from).Error
	}}
}

// cascade writes what the database carries on to other tables.
func (g *twinGen) cascade() twinWrite {
	id, to, code := g.int("id"), g.int("id"), g.text("twin_tag_code")
	state := g.text("state")
	switch g.IntN(5) {
	case 0:
		return twinWrite{fmt.Sprintf("hard delete author %d", id), func(db *gorm.DB) error { return db.Unscoped().Delete(&twinAuthor{ID: id}).Error }}
	case 1:
		return twinWrite{fmt.Sprintf("raw delete author %d", id), func(db *gorm.DB) error { return db.Exec("DELETE FROM twin_authors WHERE id = ?", id).Error }}
	case 2:
		return twinWrite{fmt.Sprintf("move author %d to %d", id, 1+(id+to)%maxTwinID), func(db *gorm.DB) error {
			return db.Exec("UPDATE twin_authors SET id = ? WHERE id = ?", 1+(id+to)%maxTwinID, id).Error
		}}
	case 3:
		return twinWrite{fmt.Sprintf("delete tag %q", code), func(db *gorm.DB) error { return db.Delete(&twinTag{Code: code}).Error }}
	}
	return twinWrite{fmt.Sprintf("touch devices %q", state), func(db *gorm.DB) error {
		return db.Session(&gorm.Session{AllowGlobalUpdate: true}).Model(&twinDevice{}).Update("state", state).Error
	}}
}

// family writes rows that others hang on, by models.
func (g *twinGen) family() twinWrite {
	id, to := g.int("id"), g.int("id")
	profile, badge, mark := g.row(twinProfiles).(*twinProfile), g.row(twinBadges).(*twinBadge), g.row(twinMarks).(*twinMark)
	switch g.IntN(11) {
	case 0:
		return twinWrite{fmt.Sprintf("replace the profile of author %d by %s", id, showRows(profile)), func(db *gorm.DB) error {
			return db.Model(&twinAuthor{ID: id}).Association("Profile").Replace(profile)
		}}
	case 1:
		return twinWrite{fmt.Sprintf("clear the profile of author %d", id), func(db *gorm.DB) error {
			return db.Model(&twinAuthor{ID: id}).Association("Profile").Clear()
		}}
	case 2:
		badge.Profile = profile
		mark.Badge = badge
		return twinWrite{"create a mark with all above " + showRows(mark), func(db *gorm.DB) error { return db.Create(mark).Error }}
	case 3:
		return twinWrite{fmt.Sprintf("delete profile %d", id), func(db *gorm.DB) error { return db.Delete(&twinProfile{}, id).Error }}
	case 4:
		return twinWrite{fmt.Sprintf("delete badge %d", id), func(db *gorm.DB) error { return db.Delete(&twinBadge{ID: id}).Error }}
	case 5:
		return twinWrite{fmt.Sprintf("delete mark %d and what is below", id), func(db *gorm.DB) error { return db.Delete(&twinMark{ID: id}).Error }}
	case 6:
		return twinWrite{fmt.Sprintf("profile %d becomes %d", id, to), func(db *gorm.DB) error {
			return db.Model(&twinProfile{ID: id}).Update("id", to).Error
		}}
	case 7:
		return twinWrite{fmt.Sprintf("badge %d becomes %d", id, to), func(db *gorm.DB) error {
			return db.Exec("UPDATE twin_badges SET id = ? WHERE id = ?", to, id).Error
		}}
	case 8:
		return twinWrite{fmt.Sprintf("all columns of profile %d %s", id, showRows(profile)), func(db *gorm.DB) error {
			return db.Model(&twinProfile{ID: id}).Select("*").Omit("id", "Author").Updates(profile).Error
		}}
	case 9:
		a := g.author()
		a.Profile = profile
		return twinWrite{"create or change an author with a profile " + showRows(&a), func(db *gorm.DB) error {
			return db.Session(&gorm.Session{FullSaveAssociations: true}).Save(&a).Error
		}}
	}
	return twinWrite{fmt.Sprintf("hang mark %d below %d", id, to), func(db *gorm.DB) error {
		return db.Model(&twinMark{ID: id}).Update("up_id", to).Error
	}}
}

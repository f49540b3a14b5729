package twin

import (
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

func (g *twinGen) rawInsert() twinWrite {
	id, author, stars := g.int("id"), g.int("author_id"), g.IntN(4)
	title := g.text("title")
	switch g.IntN(5) {
	case 0:
		return twinWrite{fmt.Sprintf("raw insert-select %d", stars), func(db *gorm.DB) error {
			return db.Exec("INSERT INTO twin_books (author_id, title, stars, state) SELECT id, name, grp, 'open' FROM twin_authors WHERE grp = ? AND id <= 4", stars).Error
		}}
	case 1:
		return twinWrite{fmt.Sprintf("raw insert of slot %d", id), func(db *gorm.DB) error {
			return db.Exec("INSERT INTO twin_slots (pos, shelf, author_id, note, qty) VALUES (?, ?, ?, ?, ?)", 1+id%3, 1+author%3, author, title, stars).Error
		}}
	case 2:
		return twinWrite{fmt.Sprintf("raw insert literals %d", id), func(db *gorm.DB) error {
			return db.Exec(fmt.Sprintf("INSERT INTO twin_books (title, state, stars) VALUES ('a', 'open', %d), (?, 'done', '%d')", stars, stars), title).Error
		}}
	case 3:
		return twinWrite{fmt.Sprintf("raw link %d %q", author, title), func(db *gorm.DB) error {
			return db.Exec("INSERT INTO twin_author_tags (twin_tag_code, twin_author_id) SELECT code, ? FROM twin_tags WHERE weight = ?", author, stars).Error
		}}
	}
	return twinWrite{fmt.Sprintf("raw insert %d %d %q", id, author, title), func(db *gorm.DB) error {
		return db.Exec("insert into twin_books(id,author_id,title,stars,state) values(?,?,?,?,?)", id, author, title, stars, "open").Error
	}}
}

func (g *twinGen) rawUpdate() twinWrite {
	id, grp := g.int("id"), g.IntN(4)
	bc, ac := g.cond(twinBooks, "", 1), g.cond(twinAuthors, "", 1)
	switch g.IntN(8) {
	case 0:
		return twinWrite{fmt.Sprintf("raw update by subquery %v", ac), func(db *gorm.DB) error {
			return db.Exec("UPDATE twin_books SET stars = ? WHERE author_id IN (SELECT id FROM twin_authors WHERE "+ac.sql+")", append([]any{grp}, ac.args...)...).Error
		}}
	case 1:
		return twinWrite{fmt.Sprintf("raw update with alias %d", grp), func(db *gorm.DB) error {
			return db.Exec("UPDATE twin_authors AS a SET grp = (a.grp + 1) % 4 WHERE a.grp = ?", grp).Error
		}}
	case 2:
		return twinWrite{fmt.Sprintf("raw update from %d", grp), func(db *gorm.DB) error {
			if g.dialect == "mysql" {
				return db.Exec("UPDATE twin_books b JOIN twin_authors a ON a.id = b.author_id SET b.stars = a.grp, a.level = 1 WHERE a.grp = ?", grp).Error
			}
			return db.Exec("UPDATE twin_books SET stars = a.grp FROM twin_authors AS a WHERE a.id = twin_books.author_id AND a.grp = ?", grp).Error
		}}
	case 3:
		return twinWrite{fmt.Sprintf("raw update books %v", bc), func(db *gorm.DB) error {
			return db.Exec("UPDATE twin_books SET state = 'open', stars = ? WHERE "+bc.sql, append([]any{grp}, bc.args...)...).Error
		}}
	case 4:
		return twinWrite{fmt.Sprintf("raw swap of author %d", id), func(db *gorm.DB) error {
			return db.Exec("UPDATE twin_authors SET grp = coalesce(level, 0), level = grp, name = 'b' WHERE id IN (?, ?)", id, id+1).Error
		}}
	case 5:
		if g.dialect != "mysql" {
			return twinWrite{fmt.Sprintf("raw writing CTE %d", grp), func(db *gorm.DB) error {
				if g.dialect == "sqlite" {
					return db.Exec("WITH x AS (SELECT id FROM twin_authors WHERE grp = ?) UPDATE twin_authors SET level = 2 WHERE id IN (SELECT id FROM x)", grp).Error
				}
				return db.Exec("WITH x AS (UPDATE twin_authors SET level = 2 WHERE grp = ? RETURNING id) DELETE FROM twin_books WHERE author_id IN (SELECT id FROM x) AND stars = 3", grp).Error
			}}
		}
		return twinWrite{fmt.Sprintf("raw update ordered %d", grp), func(db *gorm.DB) error {
			return db.Exec("UPDATE twin_authors SET level = 2 WHERE grp = ? ORDER BY id LIMIT 1", grp).Error
		}}
	}
	return twinWrite{fmt.Sprintf("raw update authors %d %v", grp, ac), func(db *gorm.DB) error {
		return db.Exec("/* hint */ update twin_authors set grp=? where "+ac.sql, append([]any{grp}, ac.args...)...).Error
	}}
}

func (g *twinGen) rawDelete() twinWrite {
	t := g.table(twinTables...)
	c := g.term(t, "").and(g.term(t, ""))
	return twinWrite{fmt.Sprintf("raw delete from %s %v", t.name, c), func(db *gorm.DB) error {
		return db.Exec("DELETE FROM "+t.name+" WHERE "+c.sql, c.args...).Error
	}}
}

// misfit stores values of types other than the column's, where the database
// does.
func (g *twinGen) misfit() twinWrite {
	id := g.int("id")
	column, value := "code", "'b '"
	switch g.dialect {
	case "sqlite":
		column = pick(g, "grp", "name", "flag", "level", "price", "nick", "data", "ratio")
		value = pick(g, "'1'", "'01'", "'1 '", "1.0", "1.5", "x'31'", "1e0", "'1x'", "2", "'t'", "'true'", "' 1'")
	case "mysql":
		column = pick(g, "grp", "flag", "level", "ratio")
		value = pick(g, "'1'", "'01'", "'1 '", "1.0", "1.5", "0x31", "1e0", "2", "true", "' 1'", "1.4")
	case "postgres":
		column = pick(g, "grp", "level", "ratio", "price", "code")
		value = pick(g, "'1'", "'01'", "'1 '", "1.0", "1.5", "1e0", "2", "1.4", "' 1'", "'+1'")
	}
	text := fmt.Sprintf("UPDATE twin_authors SET %s = %s WHERE id = %d", column, value, id)
	if g.chance(3) {
		text = fmt.Sprintf("INSERT INTO twin_books (id, title, stars, state) VALUES (%d, %s, %s, 'open')", id, value, value)
	}
	return twinWrite{text, func(db *gorm.DB) error { return db.Exec(text).Error }}
}

// returning writes by statements that give rows.
func (g *twinGen) returning() twinWrite {
	grp, id := g.IntN(4), g.int("id")
	if g.dialect == "mysql" {
		return twinWrite{fmt.Sprintf("replace slot %d", id), func(db *gorm.DB) error {
			return db.Exec("REPLACE INTO twin_slots (shelf, pos, author_id, qty) VALUES (?, ?, ?, ?)", 1+id%3, 1+id%2, id, grp).Error
		}}
	}
	switch g.IntN(3) {
	case 0:
		return twinWrite{fmt.Sprintf("update returning %d", grp), func(db *gorm.DB) error {
			var rows []twinAuthor
			return db.Model(&rows).Clauses(clause.Returning{}).Where("grp = ?", grp).Update("level", 3).Error
		}}
	case 1:
		return twinWrite{fmt.Sprintf("raw update returning %d", id), func(db *gorm.DB) error {
			var ids []int
			return db.Raw("UPDATE twin_authors SET grp = ? WHERE id = ? RETURNING id", grp, id).Scan(&ids).Error
		}}
	}
	return twinWrite{fmt.Sprintf("delete returning %d", id), func(db *gorm.DB) error {
		var rows []twinBook
		return db.Clauses(clause.Returning{}).Where("id = ?", id).Delete(&rows).Error
	}}
}

package twin

import (
	"fmt"
	"time"

	"gorm.io/gorm"
)

// What hangs on the twins' tables beyond plain rows: foreign keys that the
// database follows over several levels, views, partitions, inheritance, and a
// table of unusual types.

// twinProfile belongs to one author, and goes where its author's key goes.
type twinProfile struct {
	ID       int         `gorm:"primaryKey"`
	AuthorID *int        `gorm:"uniqueIndex"`
	Author   *twinAuthor `gorm:"constraint:OnUpdate:CASCADE,OnDelete:CASCADE"`
	Label    twinNick    `gorm:"size:20"`
	Rank     int         `gorm:"default:1"`
}

// twinBadge is a profile's, the second level below an author.
type twinBadge struct {
	ID        int `gorm:"primaryKey"`
	ProfileID *int
	Profile   *twinProfile `gorm:"constraint:OnUpdate:CASCADE,OnDelete:CASCADE"`
	Kind      string       `gorm:"size:20"`
	Points    *int         `gorm:"default:1"`
}

// twinMark is a badge's, the third level, and outlives it; below another mark
// it does not.
type twinMark struct {
	ID      int `gorm:"primaryKey"`
	BadgeID *int
	Badge   *twinBadge `gorm:"constraint:OnUpdate:CASCADE,OnDelete:SET NULL"`
	UpID    *int
	Up      *twinMark `gorm:"constraint:OnUpdate:RESTRICT,OnDelete:CASCADE"`
	State   string    `gorm:"size:20"`
}

// twinEvent lies in partitions where the database has any. Nothing keeps its
// author from being gone.
type twinEvent struct {
	ID       int    `gorm:"primaryKey;autoIncrement:false"`
	Kind     string `gorm:"primaryKey;size:20"`
	AuthorID *int
	Qty      int
}

// twinItem has an heir in PostgreSQL: twin_rares.
type twinItem struct {
	ID   int `gorm:"primaryKey"`
	Grp  int
	Name twinNick `gorm:"size:20"`
}

// twinSort has columns of the types that others have not. Kind is a word of
// SQL, and Group, too.
type twinSort struct {
	ID    int `gorm:"primaryKey"`
	Small int16
	Big   *int64
	Num   *string    `gorm:"type:numeric(30,6)"`
	Txt   *string    `gorm:"type:text"`
	UID   *string    `gorm:"column:uid;type:uuid"`
	Stamp *time.Time `gorm:"precision:6"`
	Day   *time.Time `gorm:"type:date"`
	Pick  *string    `gorm:"type:varchar(10)"`
	Group string     `gorm:"size:40;not null;default:'a'"`
}

var (
	twinProfiles = twinTableOf[twinProfile]("twin_profiles", false, "id",
		twinColumn{"id", twinInt, false}, twinColumn{"author_id", twinInt, true}, twinColumn{"label", twinText, false}, twinColumn{"rank", twinInt, false})
	twinBadges = twinTableOf[twinBadge]("twin_badges", false, "id",
		twinColumn{"id", twinInt, false}, twinColumn{"profile_id", twinInt, true}, twinColumn{"kind", twinText, false}, twinColumn{"points", twinInt, true})
	twinMarks = twinTableOf[twinMark]("twin_marks", false, "id",
		twinColumn{"id", twinInt, false}, twinColumn{"badge_id", twinInt, true}, twinColumn{"up_id", twinInt, true}, twinColumn{"state", twinText, false})
	twinEvents = twinTableOf[twinEvent]("twin_events", false, "id,kind",
		twinColumn{"id", twinInt, false}, twinColumn{"kind", twinText, false}, twinColumn{"author_id", twinInt, true}, twinColumn{"qty", twinInt, false})
	twinItems = twinTableOf[twinItem]("twin_items", false, "id",
		twinColumn{"id", twinInt, false}, twinColumn{"grp", twinInt, false}, twinColumn{"name", twinText, false})
	twinSorts = twinTableOf[twinSort]("twin_sorts", false, "id",
		twinColumn{"id", twinInt, false}, twinColumn{"small", twinInt, false}, twinColumn{"big", twinBig, true}, twinColumn{"num", twinDecimal, true},
		twinColumn{"txt", twinText, true}, twinColumn{"uid", twinUUID, true}, twinColumn{"stamp", twinTime, true}, twinColumn{"day", twinDay, true},
		twinColumn{"pick", twinText, true})

	// Views: what reads them depends on the tables below.
	twinOpen = twinViewOf("twin_open_books", "id",
		twinColumn{"id", twinInt, false}, twinColumn{"author_id", twinInt, true}, twinColumn{"title", twinText, false}, twinColumn{"stars", twinInt, true})
	twinSums = twinViewOf("twin_author_sums", "id",
		twinColumn{"id", twinInt, false}, twinColumn{"grp", twinInt, false}, twinColumn{"n", twinInt, false}, twinColumn{"top", twinInt, true})
	twinBusy = twinViewOf("twin_busy", "id",
		twinColumn{"id", twinInt, false}, twinColumn{"grp", twinInt, false}, twinColumn{"n", twinInt, false})
	twinFrozen = twinViewOf("twin_frozen", "id",
		twinColumn{"id", twinInt, false}, twinColumn{"grp", twinInt, false}, twinColumn{"name", twinText, false})

	// PostgreSQL has these besides.
	twinRares = twinViewOf("twin_rares", "id",
		twinColumn{"id", twinInt, false}, twinColumn{"grp", twinInt, false}, twinColumn{"name", twinText, false}, twinColumn{"extra", twinInt, true})
	twinPart = twinViewOf("twin_events_a", "id,kind",
		twinColumn{"id", twinInt, false}, twinColumn{"kind", twinText, false}, twinColumn{"author_id", twinInt, true}, twinColumn{"qty", twinInt, false})

	twinViews = []*twinTable{twinOpen, twinSums, twinBusy}
)

// twinViewOf describes what has no model: rows are read into maps.
func twinViewOf(name, key string, cols ...twinColumn) *twinTable {
	return twinTableOf[map[string]any](name, false, key, cols...)
}

// twinFamily makes what AutoMigrate does not.
func twinFamily(db *gorm.DB) error {
	var texts []string
	if db.Name() == "postgres" {
		texts = append(texts,
			"CREATE TABLE twin_events (id int, kind varchar(20), author_id int, qty int NOT NULL DEFAULT 0, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind)",
			"CREATE TABLE twin_events_a PARTITION OF twin_events FOR VALUES IN ('a', 'open')",
			"CREATE TABLE twin_events_rest PARTITION OF twin_events DEFAULT",
			"CREATE TABLE twin_rares (extra int) INHERITS (twin_items)",
			"CREATE MATERIALIZED VIEW twin_frozen AS SELECT id, grp, name FROM twin_authors WHERE flag",
		)
	} else {
		texts = append(texts,
			"CREATE TABLE twin_events (id int, kind varchar(20), author_id int, qty int NOT NULL DEFAULT 0, PRIMARY KEY (id, kind))")
	}
	texts = append(texts,
		"CREATE VIEW twin_open_books AS "+twinOpenBody("open"),
		"CREATE VIEW twin_author_sums AS SELECT a.id, a.grp, count(b.id) AS n, max(b.stars) AS top FROM twin_authors a LEFT JOIN twin_books b ON b.author_id = a.id GROUP BY a.id, a.grp",
		"CREATE VIEW twin_busy AS SELECT id, grp, n FROM twin_author_sums WHERE n > 0",
	)
	for _, text := range texts {
		if err := db.Exec(text).Error; err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

func twinOpenBody(state string) string {
	return "SELECT id, author_id, title, stars FROM twin_books WHERE state = '" + state + "'"
}

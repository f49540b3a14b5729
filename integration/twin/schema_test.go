package twin

import (
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// The models of the twin test. Each column has a handful of values, so that
// random conditions match some rows and random writes meet random conditions.

// twinAuthor is deleted softly.
type twinAuthor struct {
	ID        int `gorm:"primaryKey"`
	Grp       int
	Level     *int
	Flag      bool
	Vote      *bool
	Name      string   `gorm:"size:20"`
	Alias     *string  `gorm:"size:20"`
	Nick      twinNick `gorm:"size:20"`
	Code      string   `gorm:"type:char(4)"`
	Price     string   `gorm:"type:decimal(8,2)"`
	Born      time.Time
	Seen      *time.Time
	Ratio     float64
	Data      []byte
	DeletedAt gorm.DeletedAt
	Books     []twinBook   `gorm:"foreignKey:AuthorID;constraint:OnUpdate:CASCADE,OnDelete:SET NULL"`
	Tags      []twinTag    `gorm:"many2many:twin_author_tags;constraint:OnUpdate:CASCADE,OnDelete:CASCADE"`
	Devices   []twinDevice `gorm:"foreignKey:AuthorID;constraint:-"`
	Profile   *twinProfile `gorm:"foreignKey:AuthorID;constraint:OnUpdate:CASCADE,OnDelete:CASCADE"`
}

// twinBook belongs to an author or to none.
type twinBook struct {
	ID       int `gorm:"primaryKey"`
	AuthorID *int
	Author   *twinAuthor `gorm:"constraint:OnUpdate:CASCADE,OnDelete:SET NULL"`
	Title    string      `gorm:"size:20"`
	Stars    *int
	State    string `gorm:"size:20"`
}

// twinTag has a key of text.
type twinTag struct {
	Code    string       `gorm:"primaryKey;size:20"`
	Label   *string      `gorm:"size:20"`
	Weight  int          `gorm:"default:2"`
	Authors []twinAuthor `gorm:"many2many:twin_author_tags;constraint:OnUpdate:CASCADE,OnDelete:CASCADE"`
}

// twinSlot has a key of two columns.
type twinSlot struct {
	Shelf    int `gorm:"primaryKey;autoIncrement:false"`
	Pos      int `gorm:"primaryKey;autoIncrement:false"`
	AuthorID *int
	Author   *twinAuthor `gorm:"constraint:-"` // may be gone
	Note     *string     `gorm:"size:20"`
	Qty      int
	Odd      int `gorm:"->;type:int GENERATED ALWAYS AS (qty % 2) STORED"`
}

// twinDevice has a key that a database may take in several spellings, and a
// trigger that writes tags.
type twinDevice struct {
	ID       testmodel.UUID `gorm:"primaryKey"`
	State    string         `gorm:"size:20"`
	AuthorID *int
	Author   *twinAuthor `gorm:"constraint:-"` // may be gone
}

// twinLink is the join table of authors and tags.
type twinLink struct {
	TwinAuthorID int
	TwinTagCode  string
}

func (twinLink) TableName() string { return "twin_author_tags" }

// twinBrief is another Go type for authors' rows, without soft delete.
type twinBrief struct {
	ID   int
	Grp  int64
	Name string
	Flag bool
}

func (twinBrief) TableName() string { return "twin_authors" }

// twinNick is text under an unusual collation: one that folds case where the
// default does not, and the other way round.
type twinNick string

// GormDataType makes it text to GORM.
func (twinNick) GormDataType() string { return string(schema.String) }

// GormDBDataType is the column's type in db.
func (twinNick) GormDBDataType(db *gorm.DB, _ *schema.Field) string {
	switch db.Name() {
	case "postgres":
		return `varchar(20) COLLATE "C"`
	case "mysql":
		return "varchar(20) COLLATE utf8mb4_bin"
	}
	return "text COLLATE NOCASE"
}

func twinModels() []any {
	return []any{&twinAuthor{}, &twinBook{}, &twinTag{}, &twinSlot{}, &twinDevice{}, &twinProfile{}, &twinBadge{}, &twinMark{}, &twinItem{}, &twinSort{}}
}

// twinTrigger makes each change of a device write a tag.
func twinTrigger(db *gorm.DB) error {
	const body = "UPDATE twin_tags SET weight = 3 - weight"
	switch db.Name() {
	case "postgres":
		return db.Exec("CREATE FUNCTION twin_touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + body + "; RETURN NULL; END $$; " +
			"CREATE TRIGGER twin_touch AFTER UPDATE ON twin_devices FOR EACH ROW EXECUTE FUNCTION twin_touch()").Error
	case "mysql":
		return db.Exec("CREATE TRIGGER twin_touch AFTER UPDATE ON twin_devices FOR EACH ROW " + body).Error
	}
	return db.Exec("CREATE TRIGGER twin_touch AFTER UPDATE ON twin_devices BEGIN " + body + "; END").Error
}

// twinFlavours are driver and session options by which handles on one database
// differ. Each run has handles of two of them.
var twinFlavours = map[string][]string{
	"postgres": {"", "default_query_exec_mode=simple_protocol&TimeZone=Asia/Tokyo", "default_query_exec_mode=exec", "TimeZone=Asia/Tokyo"},
	"mysql":    {"", "sql_mode=%27%27&clientFoundRows=true", "loc=Asia%2FTokyo", "interpolateParams=true"},
	"sqlite":   {"", "_txlock=immediate", "", "_txlock=immediate"},
}

func twinDSN(dsn, flavour string) string {
	if flavour == "" {
		return dsn
	}
	if strings.Contains(dsn, "?") {
		return dsn + "&" + flavour
	}
	return dsn + "?" + flavour
}

// twinKind is a class of columns that take the same conditions.
type twinKind int

const (
	twinInt twinKind = iota
	twinBool
	twinText
	twinDecimal
	twinTime
	twinUUID
	twinFloat
	twinBytes
	twinBig
	twinDay
)

type twinColumn struct {
	name string
	kind twinKind
	null bool
}

// twinTable is what the generator knows of a table.
type twinTable struct {
	name  string
	soft  bool
	key   []string
	cols  []twinColumn
	one   func() any // pointer to a new model
	slice func() any // pointer to a new slice of it
}

func twinTableOf[T any](name string, soft bool, key string, cols ...twinColumn) *twinTable {
	return &twinTable{
		name: name, soft: soft, key: strings.Split(key, ","), cols: cols,
		one: func() any { return new(T) }, slice: func() any { return new([]T) },
	}
}

// order is a total order of the table's rows.
func (t *twinTable) order(alias, direction string) string {
	parts := make([]string, len(t.key))
	for i, k := range t.key {
		parts[i] = alias + k + direction
	}
	return strings.Join(parts, ", ")
}

func (t *twinTable) only(kind ...twinKind) []twinColumn {
	var out []twinColumn
	for _, c := range t.cols {
		for _, k := range kind {
			if c.kind == k {
				out = append(out, c)
			}
		}
	}
	return out
}

var (
	twinAuthors = twinTableOf[twinAuthor]("twin_authors", true, "id",
		twinColumn{"id", twinInt, false}, twinColumn{"grp", twinInt, false}, twinColumn{"grp", twinInt, false}, twinColumn{"level", twinInt, true},
		twinColumn{"flag", twinBool, false}, twinColumn{"vote", twinBool, true}, twinColumn{"name", twinText, false},
		twinColumn{"alias", twinText, true}, twinColumn{"nick", twinText, false}, twinColumn{"code", twinText, false},
		twinColumn{"price", twinDecimal, false}, twinColumn{"born", twinTime, false}, twinColumn{"seen", twinTime, true},
		twinColumn{"ratio", twinFloat, false}, twinColumn{"data", twinBytes, true}, twinColumn{"deleted_at", twinTime, true})
	twinBooks = twinTableOf[twinBook]("twin_books", false, "id",
		twinColumn{"id", twinInt, false}, twinColumn{"author_id", twinInt, true}, twinColumn{"author_id", twinInt, true},
		twinColumn{"title", twinText, false}, twinColumn{"stars", twinInt, true}, twinColumn{"state", twinText, false})
	twinTags = twinTableOf[twinTag]("twin_tags", false, "code",
		twinColumn{"code", twinText, false}, twinColumn{"label", twinText, true}, twinColumn{"weight", twinInt, false})
	twinSlots = twinTableOf[twinSlot]("twin_slots", false, "shelf,pos",
		twinColumn{"shelf", twinInt, false}, twinColumn{"pos", twinInt, false}, twinColumn{"author_id", twinInt, true},
		twinColumn{"note", twinText, true}, twinColumn{"qty", twinInt, false}, twinColumn{"odd", twinInt, false}, twinColumn{"odd", twinInt, false})
	twinDevices = twinTableOf[twinDevice]("twin_devices", false, "id",
		twinColumn{"id", twinUUID, false}, twinColumn{"state", twinText, false}, twinColumn{"author_id", twinInt, true})
	twinLinks = twinTableOf[twinLink]("twin_author_tags", false, "twin_author_id,twin_tag_code",
		twinColumn{"twin_author_id", twinInt, false}, twinColumn{"twin_tag_code", twinText, false})

	// twinPlain have a model with a key, and their writes reach other tables by
	// foreign keys at most; twinModelled have a model; twinTables are what
	// queries are drawn on: each as often as it stands there.
	twinPlain = []*twinTable{
		twinAuthors, twinAuthors, twinAuthors, twinBooks, twinBooks, twinTags, twinSlots, twinProfiles, twinBadges, twinMarks, twinItems, twinSorts, twinSorts, twinEvents,
	}
	twinModelled = append(slices.Clip(twinPlain), twinDevices)
	twinTables   = append(slices.Clip(twinModelled), twinLinks)
)

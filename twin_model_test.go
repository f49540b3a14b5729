package cacheplugin_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
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
	Note     *string `gorm:"size:20"`
	Qty      int
	Odd      int `gorm:"->;type:int GENERATED ALWAYS AS (qty % 2) STORED"`
}

// twinDevice has a key that a database may take in several spellings, and a
// trigger that writes tags.
type twinDevice struct {
	ID       testmodel.UUID `gorm:"primaryKey"`
	State    string         `gorm:"size:20"`
	AuthorID *int
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
	return []any{&twinAuthor{}, &twinBook{}, &twinTag{}, &twinSlot{}, &twinDevice{}}
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
		twinColumn{"note", twinText, true}, twinColumn{"qty", twinInt, false}, twinColumn{"odd", twinInt, false})
	twinDevices = twinTableOf[twinDevice]("twin_devices", false, "id",
		twinColumn{"id", twinUUID, false}, twinColumn{"state", twinText, false}, twinColumn{"author_id", twinInt, true})
	twinLinks = twinTableOf[twinLink]("twin_author_tags", false, "twin_author_id,twin_tag_code",
		twinColumn{"twin_author_id", twinInt, false}, twinColumn{"twin_tag_code", twinText, false})

	twinTables = []*twinTable{twinAuthors, twinAuthors, twinAuthors, twinBooks, twinBooks, twinTags, twinSlots, twinDevices, twinLinks}
)

// twinGen draws values, conditions, queries and writes.
type twinGen struct {
	*rand.Rand
	dialect string
	// focus, where it is set, is what columns conditions are on: few, and
	// mostly compared so that they narrow. Then few schemes are registered,
	// writes know their rows from the text, and little is dropped by accident.
	focus map[*twinTable][]twinColumn
	// strict leaves one column of each table, and queries on one table.
	strict bool
}

// narrow sets a focus.
func (g *twinGen) narrow() {
	g.focus, g.strict = map[*twinTable][]twinColumn{}, g.chance(2)
	for _, t := range twinTables {
		if g.strict {
			g.focus[t] = []twinColumn{pick(g, t.only(twinInt, twinText, twinBool)...)}
			continue
		}
		g.focus[t] = []twinColumn{pick(g, t.cols...), pick(g, t.cols...)}
		if g.chance(2) {
			g.focus[t] = append(g.focus[t], t.cols[0])
		}
	}
}

func pick[T any](g *twinGen, of ...T) T { return of[g.IntN(len(of))] }

// chance is true once in n times.
func (g *twinGen) chance(n int) bool { return g.IntN(n) == 0 }

// maxTwinID bounds the keys that conditions name.
const maxTwinID = 12

func (g *twinGen) int(column string) int {
	switch column {
	case "id", "author_id", "twin_author_id":
		return 1 + g.IntN(maxTwinID)
	case "shelf", "pos":
		return 1 + g.IntN(3)
	}
	return g.IntN(4)
}

var twinTexts = []string{"a", "A", "á", "a ", " a", "b", "B", "ß", "ss", "", "1", "01", "1.0", "0", "NULL", "a%", "x_y", "'\\",
	"12345678901234567890", "12345678901234567890 "} // as long as the columns, and a blank more

func (g *twinGen) text(column string) string {
	if g.focus != nil && g.chance(2) {
		return pick(g, "a", "A", "á", "a ")
	}
	switch column {
	case "state":
		return pick(g, "open", "OPEN", "done", "")
	case "code":
		return pick(g, "ab", "AB", "ab  ", "abcd", "1", "")
	case "twin_tag_code":
		return pick(g, twinTexts[:8]...)
	}
	return pick(g, twinTexts...)
}

var twinEpoch = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func (g *twinGen) time() time.Time {
	t := twinEpoch.Add(time.Duration(g.IntN(4)) * 500 * time.Millisecond)
	if g.chance(3) {
		return t.In(time.FixedZone("", 3600))
	}
	return t
}

func (g *twinGen) float() float64 { return pick(g, 0, 1, 1.5, -0.25) }

func (g *twinGen) bytes() []byte {
	return pick(g, nil, []byte{}, []byte("a"), []byte("A"), []byte{0, 255}, []byte("a\x00"))
}

func (g *twinGen) decimal() string { return pick(g, "0.00", "1.50", "1.5", "2", "-1.25", "10.00") }

func (g *twinGen) uuid() string {
	id := fmt.Sprintf("0a1b2c3d-0000-4000-8000-00000000000%d", g.IntN(6))
	return id
}

func maybe[T any](g *twinGen, v T) *T {
	if g.chance(3) {
		return nil
	}
	return &v
}

// value is a Go value for a column, as a program would store it.
func (g *twinGen) value(c twinColumn) any {
	if c.null && g.chance(4) {
		return nil
	}
	switch c.kind {
	case twinBool:
		return g.chance(2)
	case twinText:
		return g.text(c.name)
	case twinDecimal:
		return g.decimal()
	case twinTime:
		return g.time()
	case twinUUID:
		return g.uuid()
	case twinFloat:
		return g.float()
	case twinBytes:
		return g.bytes()
	}
	return g.int(c.name)
}

type (
	twinNamedInt    int16
	twinNamedString string
	twinNamedBool   bool
)

// param is a parameter to compare a column with, of a type that a program
// might use: mostly the plain one.
func (g *twinGen) param(c twinColumn) any {
	odd := g.chance(3)
	if g.focus != nil {
		odd = g.chance(6)
	}
	switch c.kind {
	case twinBool:
		b := g.chance(2)
		if !odd {
			return b
		}
		n := 0
		if b {
			n = 1
		}
		return pick[any](g, &b, sql.NullBool{Bool: b, Valid: true}, sql.NullBool{}, twinNamedBool(b), n, fmt.Sprint(b), fmt.Sprint(n), (*bool)(nil))
	case twinText:
		s := g.text(c.name)
		if !odd {
			return s
		}
		return pick[any](g, &s, sql.NullString{String: s, Valid: true}, sql.NullString{}, twinNamedString(s), []byte(s), g.IntN(2), (*string)(nil), strings.ToUpper(s), s+" ")
	case twinDecimal:
		d := g.decimal()
		if !odd {
			return d
		}
		return pick[any](g, 1.5, 2, "1.500", &d, float32(-1.25), []byte(d))
	case twinTime:
		t := g.time()
		if !odd {
			return t
		}
		return pick[any](g, &t, sql.NullTime{Time: t, Valid: true}, t.Format("2006-01-02 15:04:05.000"), t.Local())
	case twinUUID:
		s := g.uuid()
		if !odd {
			return s
		}
		return pick[any](g, strings.ToUpper(s), strings.ReplaceAll(s, "-", ""), "{"+s+"}", testmodel.UUID(s), []byte(s), "no uuid")
	}
	switch c.kind {
	case twinFloat:
		return pick[any](g, g.float(), g.float(), 1, "1.5", "1", float32(1.5), true)
	case twinBytes:
		return pick[any](g, g.bytes(), g.bytes(), "a", "A", 1)
	}
	n := g.int(c.name)
	if !odd {
		return n
	}
	u := uint(n)
	return pick[any](g, int64(n), uint8(n), &n, &u, sql.NullInt64{Int64: int64(n), Valid: true}, sql.NullInt64{}, twinNamedInt(n),
		fmt.Sprint(n), fmt.Sprintf("0%d", n), fmt.Sprintf("%d.0", n), float64(n), n == 1, []byte(fmt.Sprint(n)), (*int)(nil), -n)
}

// literal is a parameter's value written into the text.
func (g *twinGen) literal(c twinColumn) string {
	switch c.kind {
	case twinBool:
		if g.dialect == "postgres" {
			return pick(g, "true", "false", "'t'", "NULL")
		}
		return pick(g, "true", "false", "1", "0", "NULL")
	case twinInt:
		n := g.int(c.name)
		return pick(g, fmt.Sprint(n), fmt.Sprint(n), fmt.Sprintf("'%d'", n), fmt.Sprintf("%d.0", n), fmt.Sprintf("+%d", n), "NULL", fmt.Sprintf("0%d", n))
	case twinText:
		s := g.text(c.name)
		if strings.ContainsAny(s, `'\?`) {
			s = "a"
		}
		return "'" + s + "'"
	case twinDecimal:
		return pick(g, "1.5", "1.50", "2", "'1.5'", "-1.25")
	case twinUUID:
		return "'" + g.uuid() + "'"
	case twinFloat:
		return pick(g, "1", "1.5", "-0.25", "1e0")
	case twinBytes:
		return "'a'"
	}
	return "'" + g.time().Format("2006-01-02 15:04:05") + "'"
}

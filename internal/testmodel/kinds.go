package testmodel

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"
)

// Kinds has a column of every kind that travels through a cache: what a codec
// or a key could bend.
type Kinds struct {
	ID uint `gorm:"primaryKey"`

	Small    int8
	Big      int64
	Unsigned uint32
	Ratio    float64
	Price    string `gorm:"type:decimal(12,4)"`
	Flag     bool

	Word   string `gorm:"size:100"`
	Letter string `gorm:"type:char(5)"`
	Story  string `gorm:"type:text"`
	Blob   []byte
	Secret string `gorm:"size:100" json:"-"` // a codec by JSON would lose it

	At  time.Time
	Day time.Time `gorm:"type:date"`

	WordPointer *string `gorm:"size:100"`
	BigPointer  *int64
	FlagPointer *bool
	AtPointer   *time.Time

	NullWord  sql.NullString `gorm:"size:100"`
	NullBig   sql.NullInt64
	NullRatio sql.NullFloat64
	NullFlag  sql.NullBool
	NullAt    sql.NullTime

	Home  Address        `gorm:"embedded;embeddedPrefix:home_"`
	Tags  []string       `gorm:"serializer:json;size:200"`
	Extra map[string]any `gorm:"serializer:json;type:text"`
	Color Color          `gorm:"size:7"`
	UUID  UUID
}

// TableName is the type's name, which is a plural already.
func (Kinds) TableName() string { return "kinds" }

// Address is embedded in Kinds.
type Address struct {
	Street string `gorm:"size:100"`
	City   string `gorm:"size:100"`
}

// Color is stored as "#rrggbb" by methods of its own. The zero Color is NULL.
type Color struct {
	R, G, B uint8
	Valid   bool
}

// RGB returns a valid color.
func RGB(r, g, b uint8) Color { return Color{R: r, G: g, B: b, Valid: true} }

// Value implements driver.Valuer.
func (c Color) Value() (driver.Value, error) {
	if !c.Valid {
		return nil, nil
	}
	return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B), nil
}

// Scan implements sql.Scanner.
func (c *Color) Scan(src any) error {
	*c = Color{}
	var text string
	switch v := src.(type) {
	case nil:
		return nil
	case string:
		text = v
	case []byte:
		text = string(v)
	default:
		return fmt.Errorf("color: scan %T", src)
	}
	if _, err := fmt.Sscanf(text, "#%02x%02x%02x", &c.R, &c.G, &c.B); err != nil {
		return fmt.Errorf("color: scan %q: %w", text, err)
	}
	c.Valid = true
	return nil
}

// GormDataType makes it text to GORM.
func (Color) GormDataType() string { return string(schema.String) }

// UUID is a column of the database's own UUID type where it has one
// (PostgreSQL), else of 36 characters.
type UUID string

// GormDataType makes it text to GORM.
func (UUID) GormDataType() string { return string(schema.String) }

// GormDBDataType is the column's type in db.
func (UUID) GormDBDataType(db *gorm.DB, _ *schema.Field) string {
	if db.Name() == "postgres" {
		return "uuid"
	}
	return "char(36)"
}

package testmodel

import (
	"database/sql"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// Epoch is the time of everything in the seed: whole milliseconds, which every
// database keeps.
var Epoch = time.Date(2024, time.February, 29, 13, 14, 15, 678_000_000, time.UTC)

// Data are the rows of the seed, in the order of their keys: 1, 2, 3 and so on
// where keys are numbers, in every database.
type Data struct {
	Companies  []Company  // Acme, Globex, and Empty, which has no users
	Users      []User     // ann, bob, cid of Acme; dan of Globex; eve of none; ages 20, 30, ... 60
	Accounts   []Account  // of ann and bob
	Pets       []Pet      // rex and tom of ann, kit of bob, and stray of nobody
	Toys       []Toy      // ball of ann, bone of rex: their owners have the same id
	Languages  []Language // en, de, fr; ann speaks en and de, bob en
	Groups     []Group    // staff (ann, bob), guests (eve)
	Categories []Category // news, sports
	Posts      []Post     // three of news, two of sports; the second is not visible; tags 1 to 5
	Reviews    []Review   // of posts 1, 1, 4
	Comments   []Comment  // of posts 1, 2, 4 by ann, bob, nobody
	Brands     []Brand    // 1 with labels 1 and 2, 2 with labels 2 and 3
	Labels     []Label    // 1, 2, 3
	OrderLines []OrderLine
	Stocks     []Stock
	Devices    []Device
	Kinds      []Kinds // everything set, everything NULL or zero, awkward text
}

// Seed fills the tables of All, which must be fresh, and returns what it put in.
// The same rows get the same keys on every database.
func Seed(db *gorm.DB) (*Data, error) {
	data := newData()
	err := db.Session(&gorm.Session{NowFunc: func() time.Time { return Epoch }}).Transaction(func(tx *gorm.DB) error {
		// One insert a table, in the order of dependencies.
		for _, rows := range []any{
			&data.Companies, &data.Users, &data.Accounts, &data.Pets, &data.Toys, &data.Languages, &data.Groups,
			&data.Categories, &data.Posts, &data.Reviews, &data.Comments,
			&data.Brands, &data.Labels, &data.OrderLines, &data.Stocks, &data.Devices, &data.Kinds,
		} {
			if err := tx.Omit("Languages", "Groups", "Members", "Labels", "Users").Create(rows).Error; err != nil {
				return fmt.Errorf("seed %T: %w", rows, err)
			}
		}
		return data.join(tx)
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// join fills the join tables by text: associations would also touch, and
// return, rows of the tables on their sides.
func (d *Data) join(tx *gorm.DB) error {
	for _, rows := range []struct {
		table string
		rows  []map[string]any
	}{
		{"user_languages", []map[string]any{
			{"user_id": 1, "language_code": "en"}, {"user_id": 1, "language_code": "de"}, {"user_id": 2, "language_code": "en"},
		}},
		{"memberships", []map[string]any{
			{"group_id": 1, "user_id": 1, "role": "owner", "created_at": Epoch},
			{"group_id": 1, "user_id": 2, "role": "member", "created_at": Epoch},
			{"group_id": 2, "user_id": 5, "role": "guest", "created_at": Epoch},
		}},
		{"brand_labels", []map[string]any{
			{"brand_id": 1, "label_id": 1},
			{"brand_id": 1, "label_id": 2},
			{"brand_id": 2, "label_id": 2},
			{"brand_id": 2, "label_id": 3},
		}},
	} {
		if err := tx.Table(rows.table).Create(rows.rows).Error; err != nil {
			return fmt.Errorf("seed %s: %w", rows.table, err)
		}
	}
	return nil
}

func newData() *Data {
	return &Data{
		Companies: []Company{{Name: "Acme", Country: "DE"}, {Name: "Globex", Country: "US"}, {Name: "Empty", Country: "DE"}},
		Users: []User{
			{Name: "ann", Age: 20, Active: true, CompanyID: ptr(uint(1))},
			{Name: "bob", Age: 30, Active: true, CompanyID: ptr(uint(1)), ManagerID: ptr(uint(1))},
			{Name: "cid", Age: 40, Active: false, CompanyID: ptr(uint(1)), ManagerID: ptr(uint(1))},
			{Name: "dan", Age: 50, Active: true, CompanyID: ptr(uint(2))},
			{Name: "eve", Age: 60, Active: false},
		},
		Accounts:   []Account{{UserID: 1, Number: "A-1"}, {UserID: 2, Number: "B-2"}},
		Pets:       []Pet{{UserID: ptr(uint(1)), Name: "rex", Kind: "dog"}, {UserID: ptr(uint(1)), Name: "tom", Kind: "cat"}, {UserID: ptr(uint(2)), Name: "kit", Kind: "cat"}, {Name: "stray", Kind: "dog"}},
		Toys:       []Toy{{Name: "ball", OwnerID: 1, OwnerType: "users"}, {Name: "bone", OwnerID: 1, OwnerType: "pets"}},
		Languages:  []Language{{Code: "en", Name: "English"}, {Code: "de", Name: "Deutsch"}, {Code: "fr", Name: "français"}},
		Groups:     []Group{{Name: "staff"}, {Name: "guests"}},
		Categories: []Category{{Title: "news"}, {Title: "sports"}},
		Posts: []Post{
			{CategoryID: 1, Title: "first", Visible: true, Tag: 1},
			{CategoryID: 1, Title: "draft", Visible: false, Tag: 2},
			{CategoryID: 1, Title: "third", Visible: true, Tag: 3},
			{CategoryID: 2, Title: "match", Visible: true, Tag: 4},
			{CategoryID: 2, Title: "table", Visible: true, Tag: 5},
		},
		Reviews:  []Review{{PostID: 1, Stars: 5}, {PostID: 1, Stars: 3}, {PostID: 4, Stars: 1}},
		Comments: []Comment{{PostID: 1, UserID: ptr(uint(1)), Text: "good"}, {PostID: 2, UserID: ptr(uint(2)), Text: "when?"}, {PostID: 4, Text: "anonymous"}},
		Brands:   []Brand{{Name: "north"}, {Name: "south"}},
		Labels:   []Label{{Text: "new"}, {Text: "green"}, {Text: "cheap"}},
		OrderLines: []OrderLine{
			{OrderID: 1, Line: 1, Product: "pen", Quantity: 10, Price: "1.5000"},
			{OrderID: 1, Line: 2, Product: "ink", Quantity: 1, Price: "12.2500"},
			{OrderID: 2, Line: 1, Product: "pen", Quantity: 5, Price: "1.4000"},
		},
		Stocks: []Stock{{Article: "P-1", Amount: 7, Place: "cellar"}, {Article: "P-2", Amount: 0, Place: "attic"}},
		Devices: []Device{
			{ID: "0a1b2c3d-0000-4000-8000-00000000000a", Name: "lamp", State: "on"},
			{ID: "0a1b2c3d-0000-4000-8000-00000000000b", Name: "door", State: "off"},
		},
		Kinds: []Kinds{fullKinds(), emptyKinds(), awkwardKinds()},
	}
}

// fullKinds has a value in every column, at the far end of its range where it
// has one.
func fullKinds() Kinds {
	day := time.Date(2024, time.February, 29, 0, 0, 0, 0, time.UTC)
	return Kinds{
		Small: -128, Big: -1 << 63, Unsigned: 1<<32 - 1, Ratio: 0.1, Price: "-12345678.0001", Flag: true,
		Word: "word", Letter: "abcde", Story: "once upon a time", Blob: []byte{0, 1, 0xff, '\''}, Secret: "hidden",
		At: Epoch, Day: day,
		WordPointer: ptr("pointed"), BigPointer: ptr(int64(1)<<62 + 1), FlagPointer: ptr(true), AtPointer: ptr(Epoch),
		NullWord:  sql.NullString{String: "valid", Valid: true},
		NullBig:   sql.NullInt64{Int64: 9007199254740993, Valid: true}, // no float64 holds it
		NullRatio: sql.NullFloat64{Float64: -2.5, Valid: true},
		NullFlag:  sql.NullBool{Bool: true, Valid: true},
		NullAt:    sql.NullTime{Time: Epoch, Valid: true},
		Home:      Address{Street: "Hauptstraße 1", City: "Köln"},
		Tags:      []string{"a", "b"}, Extra: map[string]any{"k": "v", "n": 1.5},
		Color: RGB(255, 128, 0), UUID: "11111111-2222-4333-8444-555555555555",
	}
}

// emptyKinds has NULL wherever there may be one, and zero values elsewhere.
func emptyKinds() Kinds {
	return Kinds{Price: "0.0000", At: Epoch, Day: Epoch.Truncate(24 * time.Hour), UUID: "00000000-0000-0000-0000-000000000000"}
}

// awkwardKinds has text that keys and codecs like to stumble over, and pointers
// to zero values, which are not NULL.
func awkwardKinds() Kinds {
	k := emptyKinds()
	k.Word = "NULL"
	k.Letter = "a" // padded to five by some
	k.Story = "'; DROP TABLE users; -- \"\\ ? $1 %_ \n\t 🙂"
	k.Blob = []byte{}
	k.WordPointer, k.BigPointer, k.FlagPointer = ptr(""), ptr(int64(0)), ptr(false)
	k.NullWord = sql.NullString{Valid: true}
	k.Tags = []string{}
	return k
}

func ptr[T any](v T) *T { return &v }

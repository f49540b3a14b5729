package fidelity

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// into reads into a fresh T by a finisher.
func into[T any](name string, finish func(db *gorm.DB, dest *T) *gorm.DB) reading {
	return reading{name, func(db *gorm.DB) (any, int64, error) {
		var dest T
		result := finish(db, &dest)
		return dest, result.RowsAffected, result.Error
	}}
}

// generic reads through GORM's generics.
func generic[T any](name string, read func(ctx context.Context, g gorm.Interface[T]) (any, error)) reading {
	return reading{name, func(db *gorm.DB) (any, int64, error) {
		v, err := read(db.Statement.Context, gorm.G[T](db, cache.With()))
		return v, 0, err
	}}
}

type (
	user   = testmodel.User
	kinds  = testmodel.Kinds
	post   = testmodel.Post
	smalls struct {
		Name string
		Age  int8
	}
	nameAndCount struct {
		CategoryID uint
		N          int
		Total      float64
	}
	embedding struct {
		testmodel.UserSummary
		Note string `gorm:"-"`
	}
	ownKinds struct { // other Go types for the same columns
		ID     uint
		Price  sql.NullString
		Blob   string
		At     sql.NullTime
		Big    *int64
		Flag   sql.NullBool
		Color  testmodel.Color
		Extra  []byte
		Secret []byte
	}
)

// readings are the ways of gorm.md's table of calls, with the kinds of
// destinations that GORM knows.
func readings() []reading {
	var all []reading
	for _, part := range [][]reading{finisherReadings(), destinationReadings(), usedReadings(), rowReadings(), relationReadings(), genericReadings()} {
		all = append(all, part...)
	}
	return all
}

func finisherReadings() []reading {
	return []reading{
		into("First", func(db *gorm.DB, d *user) *gorm.DB { return db.First(d) }),
		into("First by key", func(db *gorm.DB, d *user) *gorm.DB { return db.First(d, 3) }),
		into("First of a filled struct", func(db *gorm.DB, d *user) *gorm.DB { d.ID = 2; return db.First(d) }),
		into("First not found", func(db *gorm.DB, d *user) *gorm.DB { return db.First(d, 999) }),
		into("Take", func(db *gorm.DB, d *user) *gorm.DB { return db.Where("name = ?", "bob").Take(d) }),
		into("Take not found", func(db *gorm.DB, d *user) *gorm.DB { return db.Where("name = ?", "nobody").Take(d) }),
		into("Last", func(db *gorm.DB, d *user) *gorm.DB { return db.Last(d) }),
		into("Last not found", func(db *gorm.DB, d *user) *gorm.DB { return db.Last(d, "age > ?", 999) }),
		into("First with hook", func(db *gorm.DB, d *hooked) *gorm.DB { return db.First(d, 1) }),
		into("Find with hooks", func(db *gorm.DB, d *[]hooked) *gorm.DB { return db.Order("id").Find(d) }),
		into("Scan runs no hook", func(db *gorm.DB, d *[]hooked) *gorm.DB { return db.Model(&hooked{}).Order("id").Scan(d) }),
		into("Find nothing", func(db *gorm.DB, d *[]user) *gorm.DB { return db.Where("name = ?", "nobody").Find(d) }),
		into("Find a struct that is not there", func(db *gorm.DB, d *user) *gorm.DB { return db.Where("name = ?", "nobody").Find(d) }),
		into("FirstOrInit found", func(db *gorm.DB, d *user) *gorm.DB { return db.Where(user{Name: "bob"}).FirstOrInit(d) }),
		into("FirstOrInit not found", func(db *gorm.DB, d *user) *gorm.DB {
			return db.Where(user{Name: "new"}).Attrs(user{Age: 7}).FirstOrInit(d)
		}),
		into("FirstOrCreate found", func(db *gorm.DB, d *testmodel.Company) *gorm.DB {
			return db.Where(testmodel.Company{Name: "Acme"}).FirstOrCreate(d)
		}),
		into("Count", func(db *gorm.DB, d *int64) *gorm.DB { return db.Model(&user{}).Where("active = ?", true).Count(d) }),
		into("Count distinct", func(db *gorm.DB, d *int64) *gorm.DB { return db.Model(&post{}).Distinct("category_id").Count(d) }),
		into("Count of groups", func(db *gorm.DB, d *int64) *gorm.DB { return db.Model(&post{}).Group("category_id").Count(d) }),
		into("Distinct", func(db *gorm.DB, d *[]post) *gorm.DB { return db.Distinct("category_id").Order("category_id").Find(d) }),
		into("Group and Having", func(db *gorm.DB, d *[]nameAndCount) *gorm.DB {
			return db.Model(&post{}).Select("category_id, count(*) AS n, sum(tag) AS total").Group("category_id").Having("count(*) > ?", 1).Order("category_id").Find(d)
		}),
		into("Select with expressions", func(db *gorm.DB, d *[]map[string]any) *gorm.DB {
			return db.Model(&user{}).Select("name, age * 2 AS twice, coalesce(company_id, 0) AS company, ? AS x, age > 30 AS old", "lit").Order("id").Find(d)
		}),
		into("Exists", func(db *gorm.DB, d *bool) *gorm.DB {
			return db.Model(&user{}).Select("count(*) > 0").Where("age > ?", 30).Find(d)
		}),
		into("Sum", func(db *gorm.DB, d *sql.NullInt64) *gorm.DB { return db.Model(&user{}).Select("sum(age)").Find(d) }),
		into("Sum of nothing", func(db *gorm.DB, d *sql.NullFloat64) *gorm.DB {
			return db.Model(&user{}).Select("sum(age)").Where("age > 999").Find(d)
		}),
		into("NULL into a plain number fails", func(db *gorm.DB, d *int) *gorm.DB {
			return db.Model(&user{}).Select("sum(age)").Where("age > 999").Find(d)
		}),
		into("MapColumns", func(db *gorm.DB, d *testmodel.Post) *gorm.DB {
			return db.Model(&testmodel.Category{}).Select("id", "title").MapColumns(map[string]string{"id": "tag"}).Order("id").Limit(1).Find(d)
		}),
		into("Raw Scan", func(db *gorm.DB, d *[]smalls) *gorm.DB {
			return db.Raw("SELECT name, age FROM users WHERE age >= ? ORDER BY id", 30).Scan(d)
		}),
		into("Raw Scan of nothing", func(db *gorm.DB, d *smalls) *gorm.DB {
			return db.Raw("SELECT name, age FROM users WHERE age > 999").Scan(d)
		}),
		into("Raw Find", func(db *gorm.DB, d *[]user) *gorm.DB { return db.Raw("SELECT * FROM users ORDER BY id").Find(d) }),
		into("Raw First", func(db *gorm.DB, d *user) *gorm.DB { return db.Raw("SELECT * FROM users WHERE id = ?", 2).First(d) }),
		into("Raw First not found", func(db *gorm.DB, d *user) *gorm.DB { return db.Raw("SELECT * FROM users WHERE id = ?", 999).First(d) }),
		{"FindInBatches", func(db *gorm.DB) (any, int64, error) {
			var batch, all []user
			result := db.FindInBatches(&batch, 2, func(tx *gorm.DB, n int) error {
				all = append(all, batch...)
				return nil
			})
			return all, result.RowsAffected, result.Error
		}},
		{"FindInBatches that stops", func(db *gorm.DB) (any, int64, error) {
			var batch []user
			result := db.FindInBatches(&batch, 2, func(tx *gorm.DB, n int) error { return errors.New("enough") })
			return batch, result.RowsAffected, result.Error
		}},
		{"Pluck into a filled slice", func(db *gorm.DB) (any, int64, error) {
			names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
			result := db.Model(&user{}).Order("id").Pluck("name", &names)
			return names, result.RowsAffected, result.Error
		}},
	}
}

func destinationReadings() []reading {
	byID := func(db *gorm.DB) *gorm.DB { return db.Model(&user{}).Order("id") }
	all := func(db *gorm.DB) *gorm.DB { return db.Model(&kinds{}).Order("id") }
	bare := func(db *gorm.DB) *gorm.DB { return db.Table("kinds").Order("id") }
	return []reading{
		into("struct", func(db *gorm.DB, d *user) *gorm.DB { return db.Order("id").Find(d) }),
		into("pointer to struct", func(db *gorm.DB, d **user) *gorm.DB { return db.Order("id").First(d) }),
		into("slice of structs", func(db *gorm.DB, d *[]user) *gorm.DB { return db.Order("id").Find(d) }),
		into("slice of pointers", func(db *gorm.DB, d *[]*user) *gorm.DB { return db.Order("id").Find(d) }),
		into("array", func(db *gorm.DB, d *[5]user) *gorm.DB { return db.Order("id").Find(d) }),
		into("array that is too short", func(db *gorm.DB, d *[2]user) *gorm.DB { return db.Order("id").Find(d) }),
		into("any with a struct in it", func(db *gorm.DB, d *any) *gorm.DB { *d = &user{}; return db.Order("id").Find(*d) }),
		into("pointer to any", func(db *gorm.DB, d *any) *gorm.DB { *d = &user{}; return db.Order("id").Find(d) }),
		into("map with model", func(db *gorm.DB, d *map[string]any) *gorm.DB { return db.Model(&kinds{}).Order("id").First(d) }),
		into("map without model", func(db *gorm.DB, d *map[string]any) *gorm.DB { return bare(db).Take(d) }),
		into("maps with model", func(db *gorm.DB, d *[]map[string]any) *gorm.DB { return all(db).Find(d) }),
		into("maps without model", func(db *gorm.DB, d *[]map[string]any) *gorm.DB { return bare(db).Find(d) }),
		into("maps without model and parameters", func(db *gorm.DB, d *[]map[string]any) *gorm.DB {
			return bare(db).Where("id > ?", 0).Find(d)
		}),
		into("maps of a raw query", func(db *gorm.DB, d *[]map[string]any) *gorm.DB {
			return db.Raw("SELECT * FROM kinds ORDER BY id").Scan(d)
		}),
		into("every kind of column", func(db *gorm.DB, d *[]kinds) *gorm.DB { return db.Order("id").Find(d) }),
		into("every kind of column, one row", func(db *gorm.DB, d *kinds) *gorm.DB { return db.First(d) }),
		into("other types for the same columns", func(db *gorm.DB, d *[]ownKinds) *gorm.DB { return all(db).Find(d) }),
		into("a smaller struct", func(db *gorm.DB, d *[]smalls) *gorm.DB { return byID(db).Find(d) }),
		into("a smaller struct by Scan", func(db *gorm.DB, d *[]smalls) *gorm.DB { return byID(db).Scan(d) }),
		into("an embedding struct", func(db *gorm.DB, d *[]embedding) *gorm.DB { return byID(db).Find(d) }),
		into("struct by Scan", func(db *gorm.DB, d *smalls) *gorm.DB { return byID(db).Scan(d) }),
		into("number by Scan", func(db *gorm.DB, d *int) *gorm.DB { return byID(db).Select("age").Limit(1).Scan(d) }),
		into("text by Scan", func(db *gorm.DB, d *string) *gorm.DB { return byID(db).Select("name").Limit(1).Scan(d) }),
		into("time by Scan", func(db *gorm.DB, d *time.Time) *gorm.DB { return byID(db).Select("created_at").Limit(1).Scan(d) }),
		into("pluck text", func(db *gorm.DB, d *[]string) *gorm.DB { return byID(db).Pluck("name", d) }),
		into("pluck int8", func(db *gorm.DB, d *[]int8) *gorm.DB { return byID(db).Pluck("age", d) }),
		into("pluck uint", func(db *gorm.DB, d *[]uint) *gorm.DB { return byID(db).Pluck("id", d) }),
		into("pluck bool", func(db *gorm.DB, d *[]bool) *gorm.DB { return byID(db).Pluck("active", d) }),
		into("pluck pointers", func(db *gorm.DB, d *[]*uint) *gorm.DB { return byID(db).Pluck("company_id", d) }),
		into("pluck nullable", func(db *gorm.DB, d *[]sql.NullInt64) *gorm.DB { return byID(db).Pluck("company_id", d) }),
		into("pluck NULL into plain numbers", func(db *gorm.DB, d *[]int64) *gorm.DB { return byID(db).Pluck("company_id", d) }),
		into("pluck times", func(db *gorm.DB, d *[]time.Time) *gorm.DB { return byID(db).Pluck("created_at", d) }),
		into("pluck bytes", func(db *gorm.DB, d *[][]byte) *gorm.DB { return all(db).Pluck("blob", d) }),
		into("pluck any", func(db *gorm.DB, d *[]any) *gorm.DB { return all(db).Pluck("price", d) }),
		into("pluck a Scanner", func(db *gorm.DB, d *[]testmodel.Color) *gorm.DB { return all(db).Pluck("color", d) }),
		into("pluck decimals as text", func(db *gorm.DB, d *[]string) *gorm.DB { return all(db).Pluck("price", d) }),
		into("pluck decimals as floats", func(db *gorm.DB, d *[]float64) *gorm.DB { return all(db).Pluck("price", d) }),
	}
}

func rowReadings() []reading {
	return []reading{
		{"Row", func(db *gorm.DB) (any, int64, error) {
			var name string
			var company *int
			err := db.Model(&user{}).Select("name", "company_id").Where("id = ?", 5).Row().Scan(&name, &company)
			return []any{name, company}, 0, err
		}},
		{"Row of nothing", func(db *gorm.DB) (any, int64, error) {
			var name string
			err := db.Model(&user{}).Select("name").Where("id = ?", 999).Row().Scan(&name)
			return name, 0, err
		}},
		{"Row into any", func(db *gorm.DB) (any, int64, error) {
			values := make([]any, 8)
			err := db.Model(&kinds{}).Select("small", "big", "ratio", "price", "flag", "word", "blob", "at").Where("id = 1").Row().
				Scan(&values[0], &values[1], &values[2], &values[3], &values[4], &values[5], &values[6], &values[7])
			return values, 0, err
		}},
		{"Row into too few", func(db *gorm.DB) (any, int64, error) {
			var v any
			err := db.Model(&kinds{}).Select("small", "big").Where("id = 1").Row().Scan(&v)
			return v, 0, err
		}},
		{"Row of a wrong type", func(db *gorm.DB) (any, int64, error) {
			var v int
			err := db.Model(&user{}).Select("name").Where("id = 1").Row().Scan(&v)
			return v, 0, err
		}},
		{"Rows with ScanRows", func(db *gorm.DB) (any, int64, error) {
			rows, err := db.Model(&kinds{}).Order("id").Rows()
			if err != nil {
				return nil, 0, err
			}
			var all []kinds
			for rows.Next() {
				var k kinds
				if err := db.ScanRows(rows, &k); err != nil {
					return nil, 0, err
				}
				all = append(all, k)
			}
			return all, 0, errors.Join(rows.Err(), rows.Close())
		}},
		{"Rows into any", func(db *gorm.DB) (any, int64, error) {
			return everything(db.Table("kinds").Order("id").Rows())
		}},
		{"Rows of Raw", func(db *gorm.DB) (any, int64, error) {
			return everything(db.Raw("SELECT u.name, c.name FROM users u LEFT JOIN companies c ON c.id = u.company_id WHERE u.age > ? ORDER BY u.id", 20).Rows())
		}},
		{"ColumnTypes", func(db *gorm.DB) (any, int64, error) {
			rows, err := db.Table("kinds").Rows()
			if err != nil {
				return nil, 0, err
			}
			var seen []any
			types, err := rows.ColumnTypes()
			for _, ct := range types {
				length, hasLength := ct.Length()
				precision, scale, decimal := ct.DecimalSize()
				nullable, known := ct.Nullable()
				seen = append(seen, []any{ct.Name(), ct.DatabaseTypeName(), typeName(ct.ScanType()), length, hasLength, precision, scale, decimal, nullable, known})
			}
			for rows.Next() {
			}
			return seen, 0, errors.Join(err, rows.Err(), rows.Close())
		}},
	}
}

func typeName(t reflect.Type) string {
	if t == nil {
		return "nil"
	}
	return t.String()
}

// everything reads all rows as the driver gives them.
func everything(rows *sql.Rows, err error) (any, int64, error) {
	if err != nil {
		return nil, 0, err
	}
	columns, err := rows.Columns()
	all := []any{columns}
	for rows.Next() {
		values, dest := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, 0, err
		}
		all = append(all, values)
	}
	return all, int64(len(all)), errors.Join(err, rows.Err(), rows.Close())
}

func relationReadings() []reading {
	return []reading{
		into("Joins", func(db *gorm.DB, d *[]user) *gorm.DB { return db.Joins("Company").Order("users.id").Find(d) }),
		into("nested Joins", func(db *gorm.DB, d *[]testmodel.Pet) *gorm.DB {
			return db.Joins("User").Joins("User.Company").Order("pets.id").Find(d)
		}),
		into("InnerJoins with condition", func(db *gorm.DB, d *[]user) *gorm.DB {
			return db.InnerJoins("Company", db.Session(&gorm.Session{NewDB: true}).Where(&testmodel.Company{Name: "Acme"})).Order("users.id").Find(d)
		}),
		into("Preload", func(db *gorm.DB, d *[]user) *gorm.DB {
			return db.Preload("Company").Preload("Account").Preload("Manager").Preload("Team").Preload("Toys").Order("id").Find(d)
		}),
		into("nested Preload", func(db *gorm.DB, d *[]testmodel.Company) *gorm.DB {
			return db.Preload("Users.Pets.Toys").Preload("Users.Languages").Order("id").Find(d)
		}),
		into("Preload many to many", func(db *gorm.DB, d *[]user) *gorm.DB {
			return db.Preload("Languages").Preload("Groups").Order("id").Find(d)
		}),
		into("Preload with condition", func(db *gorm.DB, d *[]user) *gorm.DB {
			return db.Preload("Pets", "kind = ?", "cat").Preload("Pets.Toys").Order("id").Find(d)
		}),
		{"Association Find", func(db *gorm.DB) (any, int64, error) {
			var pets []testmodel.Pet
			err := db.Model(&user{ID: 1}).Order("id").Association("Pets").Find(&pets)
			return pets, 0, err
		}},
		{"Association Find many to many", func(db *gorm.DB) (any, int64, error) {
			var languages []testmodel.Language
			err := db.Model(&user{ID: 1}).Association("Languages").Find(&languages, "code <> ?", "fr")
			return languages, 0, err
		}},
		{"Association Count", func(db *gorm.DB) (any, int64, error) {
			a := db.Model(&user{ID: 1}).Association("Pets")
			n := a.Count()
			return n, 0, a.Error
		}},
		into("subquery", func(db *gorm.DB, d *[]user) *gorm.DB {
			return db.Where("company_id IN (?)", db.Session(&gorm.Session{NewDB: true}).Model(&testmodel.Company{}).Select("id").Where("country = ?", "DE")).Order("id").Find(d)
		}),
	}
}

func genericReadings() []reading {
	return []reading{
		generic("generic First", func(ctx context.Context, g gorm.Interface[user]) (any, error) { return g.Where("id = ?", 2).First(ctx) }),
		generic("generic First not found", func(ctx context.Context, g gorm.Interface[user]) (any, error) {
			return g.Where("id = ?", 999).First(ctx)
		}),
		generic("generic Take", func(ctx context.Context, g gorm.Interface[user]) (any, error) { return g.Take(ctx) }),
		generic("generic Last", func(ctx context.Context, g gorm.Interface[user]) (any, error) { return g.Last(ctx) }),
		generic("generic Find", func(ctx context.Context, g gorm.Interface[user]) (any, error) { return g.Order("id").Find(ctx) }),
		generic("generic Find with hooks", func(ctx context.Context, g gorm.Interface[hooked]) (any, error) { return g.Order("id").Find(ctx) }),
		generic("generic Count", func(ctx context.Context, g gorm.Interface[user]) (any, error) {
			return g.Where("age > ?", 25).Count(ctx, "*")
		}),
		generic("generic Scan", func(ctx context.Context, g gorm.Interface[user]) (any, error) {
			var names []smalls
			err := g.Select("name", "age").Order("id").Scan(ctx, &names)
			return names, err
		}),
		generic("generic Row", func(ctx context.Context, g gorm.Interface[user]) (any, error) {
			var name string
			err := g.Select("name").Where("id = ?", 1).Row(ctx).Scan(&name)
			return name, err
		}),
		generic("generic Rows", func(ctx context.Context, g gorm.Interface[user]) (any, error) {
			rows, err := g.Select("name", "age").Order("id").Rows(ctx)
			all, _, err := everything(rows, err)
			return all, err
		}),
		generic("generic FindInBatches", func(ctx context.Context, g gorm.Interface[user]) (any, error) {
			var all []user
			err := g.FindInBatches(ctx, 2, func(data []user, batch int) error { all = append(all, data...); return nil })
			return all, err
		}),
		generic("generic Preload", func(ctx context.Context, g gorm.Interface[user]) (any, error) {
			return g.Preload("Pets", nil).Order("id").Find(ctx)
		}),
		generic("generic Raw", func(ctx context.Context, g gorm.Interface[user]) (any, error) {
			return g.Raw("SELECT * FROM users WHERE age > ? ORDER BY id", 25).Find(ctx)
		}),
	}
}

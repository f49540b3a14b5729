package rowset

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"

	"github.com/cacheplugin/cacheplugin/internal/rowset"
)

// seen is a Scanner and a Valuer, of what it was given.
type seen struct{ was string }

func (s *seen) Scan(src any) error {
	s.was = exactly(src)
	return nil
}

func (s seen) Value() (driver.Value, error) { return s.was, nil }

type sqliteTypes struct {
	ID  int64
	I   seen
	Big seen
	B   *bool `gorm:"column:b"`
	R   seen
	N   seen
	Dec seen
	T   *string
	VC  sql.NullString `gorm:"column:vc"`
	Bl  []byte
	Dt  *time.Time
	Da  sql.NullTime
	J   seen
}

type postgresTypes struct {
	ID   uint
	I2   *int16
	I8   sql.NullInt64
	F4   *float32
	F8   seen
	N    *string
	B    *bool `gorm:"column:b"`
	C    string
	By   []byte
	D    seen
	Ts   seen
	Tstz seen
	U    *string
	J    json.RawMessage
	Jb   map[string]any `gorm:"serializer:json"`
	Ia   seen
	M    *string `gorm:"column:m"`
	Tm   *string
}

type mysqlTypes struct {
	ID  uint64
	I1  *int8
	I4  int
	I8u *uint64
	F   *float32
	D   seen
	De  *string
	Bi  []byte
	VC  sql.NullString `gorm:"column:vc"`
	J   map[string]any `gorm:"serializer:json"`
	Da  seen
	Dt  seen
	Ts6 seen
	Tm  *string
	Po  []byte
}

func models(dialect string) (slice, single any) {
	switch dialect {
	case "sqlite":
		return &[]sqliteTypes{}, &sqliteTypes{}
	case "postgres":
		return &[]postgresTypes{}, &postgresTypes{}
	default:
		return &[]mysqlTypes{}, &mysqlTypes{}
	}
}

// route makes GORM's queries take the way that how points at.
func route(t *testing.T, db *gorm.DB, how *string, payload *[]byte) {
	err := db.Callback().Query().Replace("gorm:query", func(db *gorm.DB) {
		if db.Error != nil {
			return
		}
		callbacks.BuildQuerySQL(db)
		if *how == "replayed" {
			scan(db, replay(t, *payload))
			return
		}
		rows, err := db.Statement.ConnPool.QueryContext(db.Statement.Context, db.Statement.SQL.String(), db.Statement.Vars...)
		if err != nil {
			_ = db.AddError(err)
			return
		}
		if *how == "live" {
			scan(db, rows)
			return
		}
		src, err := rowset.Tee(rows, rowset.TeeOptions{Drain: true, Done: func(r rowset.Recording) { *payload = r.Payload }})
		if err != nil {
			_ = db.AddError(err)
			return
		}
		rows, err = rowset.Rows(src)
		if err != nil {
			_ = db.AddError(err)
			return
		}
		scan(db, rows)
	})
	require.NoError(t, err)
}

func scan(db *gorm.DB, rows *sql.Rows) {
	gorm.Scan(rows, db, 0)
	_ = db.AddError(rows.Close())
}

// TestGORMScansTeedAndReplayedRowsAsLiveOnes runs GORM's own scanning into every kind of destination.
func TestGORMScansTeedAndReplayedRowsAsLiveOnes(t *testing.T) {
	each(t, func(t *testing.T, db *gorm.DB, types table) {
		var how string
		var payload []byte
		route(t, db, &how, &payload)
		slice, single := models(db.Name())
		fresh := func(dest any) any { return reflect.New(reflect.TypeOf(dest).Elem()).Interface() }
		table := func() *gorm.DB { return db.Table("types").Order("id").Where("id < ?", 6) }
		finds := map[string]func() (any, *gorm.DB){
			"structs":              func() (any, *gorm.DB) { dest := fresh(slice); return dest, table().Find(dest) },
			"first":                func() (any, *gorm.DB) { dest := fresh(single); return dest, table().First(dest) },
			"take":                 func() (any, *gorm.DB) { dest := fresh(single); return dest, table().Take(dest, "id = ?", 3) },
			"struct without limit": func() (any, *gorm.DB) { dest := fresh(single); return dest, table().Find(dest) },
			"not found":            func() (any, *gorm.DB) { dest := fresh(single); return dest, table().First(dest, "id < ?", 0) },
			"maps":                 func() (any, *gorm.DB) { var dest []map[string]any; tx := table().Find(&dest); return dest, tx },
			"maps of a model": func() (any, *gorm.DB) {
				var dest []map[string]any
				tx := table().Model(single).Find(&dest)
				return dest, tx
			},
			"map": func() (any, *gorm.DB) { dest := map[string]any{}; tx := table().Take(&dest); return dest, tx },
			"ids": func() (any, *gorm.DB) { var dest []int64; tx := table().Pluck("id", &dest); return dest, tx },
			"count": func() (any, *gorm.DB) {
				var n int64
				tx := db.Table("types").Count(&n)
				return n, tx
			},
			"mapped columns": func() (any, *gorm.DB) {
				var dest []map[string]any
				tx := table().MapColumns(map[string]string{"id": "renamed"}).Find(&dest)
				return dest, tx
			},
		}
		columns, err := db.Migrator().ColumnTypes("types")
		require.NoError(t, err)
		for _, column := range columns {
			finds["pluck any "+column.Name()] = func() (any, *gorm.DB) {
				var dest []any
				tx := table().Pluck(column.Name(), &dest)
				return dest, tx
			}
			finds["pluck text "+column.Name()] = func() (any, *gorm.DB) {
				var dest []sql.NullString
				tx := table().Pluck(column.Name(), &dest)
				return dest, tx
			}
		}
		for name, find := range finds {
			how = "live"
			want, live := find()
			if !strings.HasPrefix(name, "map") && name != "not found" { // a map's types are the scan types, which may not fit
				require.NoError(t, live.Error, name)
			}
			for _, how = range []string{"teed", "replayed"} {
				got, tx := find()
				if live.Error == nil { // else GORM leaves values of earlier scans, from its pools, in what it could not fill
					require.Equal(t, text(want), text(got), "%s, %s", name, how)
				}
				require.Equal(t, live.RowsAffected, tx.RowsAffected, "%s, %s", name, how)
				require.Equal(t, fmt.Sprint(live.Error), fmt.Sprint(tx.Error), "%s, %s", name, how)
				require.NotNil(t, payload, "%s, %s", name, how)
			}
			payload = nil
		}
	})
}

// text tells everything of a destination, through pointers, slices, maps and structs.
func text(dest any) string { return textOf(reflect.ValueOf(dest)) }

func textOf(v reflect.Value) string {
	if !v.IsValid() {
		return "nil"
	}
	if v.CanInterface() && v.Type() == reflect.TypeFor[time.Time]() {
		return exactly(v.Interface())
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return v.Type().String() + " nil"
		}
		return v.Type().String() + " to " + textOf(v.Elem())
	case reflect.Struct:
		s := v.Type().String() + "{"
		for i := range v.NumField() {
			s += v.Type().Field(i).Name + ": " + textOf(v.Field(i)) + "\n"
		}
		return s + "}"
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return fmt.Sprintf("%s %q nil=%t", v.Type(), v.Bytes(), v.IsNil())
		}
		s := v.Type().String() + "["
		for i := range v.Len() {
			s += textOf(v.Index(i)) + "\n"
		}
		return s + "]"
	case reflect.Map:
		keys := make([]string, 0, v.Len())
		for _, k := range v.MapKeys() {
			keys = append(keys, k.String()+": "+textOf(v.MapIndex(k)))
		}
		slices.Sort(keys)
		return v.Type().String() + strings.Join(keys, "\n")
	default:
		if v.CanInterface() {
			return exactly(v.Interface())
		}
		return fmt.Sprintf("%s %v", v.Type(), v)
	}
}

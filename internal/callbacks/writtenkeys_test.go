package callbacks

import (
	"database/sql/driver"
	"errors"
	"reflect"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
)

type seat struct {
	Row   int   `gorm:"primaryKey"`
	Place place `gorm:"primaryKey"`
	Guest string
}

type place int

// unsendable is a value that can't be sent.
type unsendable struct{ N int }

func (unsendable) Value() (driver.Value, error) { return nil, errors.New("unsendable") }

type broken struct {
	ID unsendable `gorm:"primaryKey"`
}

// gormStatement is what GORM has made of a model and of a value for it.
func gormStatement(t *testing.T, model, value any) *gorm.Statement {
	t.Helper()
	stmt := &gorm.Statement{ReflectValue: reflect.Indirect(reflect.ValueOf(value))}
	if model != nil {
		var err error
		stmt.Schema, err = schema.Parse(model, &sync.Map{}, schema.NamingStrategy{})
		require.NoError(t, err)
	}
	return stmt
}

func TestWrittenKeys(t *testing.T) {
	table := func(name string, columns ...string) *catalog.Table {
		all := make([]conj.Column, len(columns))
		for i, c := range columns {
			all[i] = conj.Column{Name: c, Kind: conj.Integer}
		}
		return &catalog.Table{Table: conj.NewTable("main."+name, name, all)}
	}
	seats := table("seats", "guest", "place", "row")
	key := []int{2, 1}
	for name, test := range map[string]struct {
		model, value any
		table        *catalog.Table
		want         [][]any
	}{
		"of_a_struct":                 {&seat{}, &seat{Row: 1, Place: 2}, seats, [][]any{{int64(1), int64(2)}}},
		"of_a_slice":                  {&seat{}, &[]seat{{Row: 1, Place: 2}, {Row: 3, Place: 4}}, seats, [][]any{{int64(1), int64(2)}, {int64(3), int64(4)}}},
		"of_an_array_of_pointers":     {&seat{}, &[1]*seat{{Row: 1, Place: 2}}, seats, [][]any{{int64(1), int64(2)}}},
		"of_a_row_that_lacks_a_value": {&seat{}, &[]seat{{Row: 1}, {Row: 3, Place: 4}}, seats, [][]any{nil, {int64(3), int64(4)}}},
		"without_a_model":             {nil, &seat{Row: 1, Place: 2}, seats, nil},
		"of_another_table":            {&seat{}, &seat{Row: 1, Place: 2}, table("chairs", "guest", "place", "row"), nil},
		"of_a_column_without_a_field": {&seat{}, &seat{Row: 1, Place: 2}, table("seats", "guest", "place", "line"), nil},
		"of_a_map":                    {&seat{}, &map[string]any{"row": 1, "place": 2}, seats, nil},
		"of_structs_of_another_type":  {&seat{}, &[]broken{{}}, seats, nil},
		"of_a_nil_pointer":            {&seat{}, &[]*seat{nil}, seats, nil},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, writtenKeys(t.Context(), gormStatement(t, test.model, test.value), test.table, key))
		})
	}
	t.Run("of_a_value_that_can_not_be_sent", func(t *testing.T) {
		stmt := gormStatement(t, &broken{}, &broken{ID: unsendable{1}})
		require.Equal(t, [][]any{nil}, writtenKeys(t.Context(), stmt, table("brokens", "id"), []int{0}))
	})
}

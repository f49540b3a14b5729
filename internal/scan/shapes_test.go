package scan

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/rowset"
)

type (
	article struct {
		ID        uint
		Slug      string
		Words     *int
		Published bool
		Score     float32
		Seen      sql.NullInt64
		CreatedAt time.Time
		DeletedAt gorm.DeletedAt
		Tags      []string `gorm:"serializer:json"`
		Embedded  embedded `gorm:"embedded"`
	}
	slugged struct {
		Slug string
		ID   int64
	}
	odd struct {
		ID    int
		Bare  []uint16 `gorm:"type:text"`
		Rough sql.RawBytes
	}
)

// The destinations that must not fall back to GORM's way by accident, and those that
// must take it.
func TestWhichDestinationsHaveAPlan(t *testing.T) {
	all := []driver.Value{int64(1), "slug", int64(3), true, 0.5, nil, instant, nil, `["a"]`, int64(7), "note", "word"}
	names := []string{"id", "slug", "words", "published", "score", "seen", "created_at", "deleted_at", "tags", "inner", "note", "word"}
	for _, c := range []struct {
		name    string
		model   any
		dest    func() any
		names   []string
		row     []driver.Value
		planned bool
	}{
		{"struct", nil, func() any { return new(article) }, names, all, true},
		{"structs", nil, func() any { return new([]article) }, names, all, true},
		{"pointers", nil, func() any { return new([]*article) }, names, all, true},
		{"pointer to pointer", nil, func() any { return new(*article) }, names, all, true},
		{"some columns", nil, func() any { return new([]article) }, names[:2], all[:2], true},
		{"names of fields", nil, func() any { return new([]article) }, []string{"Slug", "Words"}, all[1:3], true},
		{"of another model", &article{}, func() any { return new([]slugged) }, names[:2], all[:2], true},
		{"one struct of another model", &article{}, func() any { return new(slugged) }, names[:2], all[:2], true},
		{"number", &article{}, func() any { return new(int64) }, names[:1], all[:1], true},
		{"text", &article{}, func() any { return new(string) }, names[1:2], all[1:2], true},
		{"numbers", &article{}, func() any { return new([]uint8) }, names[:1], all[:1], true},
		{"small numbers", &article{}, func() any { return new([]int8) }, names[:1], all[:1], true},
		{"texts", &article{}, func() any { return new([]string) }, names[1:2], all[1:2], true},
		{"times", &article{}, func() any { return new([]time.Time) }, names[6:7], all[6:7], true},
		{"nullable", &article{}, func() any { return new([]sql.NullInt64) }, names[5:6], all[5:6], false},
		{"a column that is no field", nil, func() any { return new([]article) }, []string{"id", "count"}, []driver.Value{int64(1), int64(2)}, false},
		{"a column twice", nil, func() any { return new([]article) }, []string{"id", "id"}, []driver.Value{int64(1), int64(2)}, false},
		{"of a relation", nil, func() any { return new([]article) }, []string{"id", "Author__id"}, []driver.Value{int64(1), int64(2)}, false},
		{"map", &article{}, func() any { return new(map[string]any) }, names, all, false},
		{"maps", &article{}, func() any { return new([]map[string]any) }, names, all, false},
		{"array", nil, func() any { return new([3]article) }, names, all, false},
		{"any", &article{}, func() any { return new([]any) }, names[:1], all[:1], false},
		{"text for a number", nil, func() any { return new([]odd) }, []string{"id"}, []driver.Value{"12"}, true},
		{"a slice that is no bytes", nil, func() any { return new([]odd) }, []string{"bare"}, []driver.Value{"12"}, false},
		{"raw bytes", nil, func() any { return new([]odd) }, []string{"rough"}, []driver.Value{"12"}, false},
		{"overflow", nil, func() any { return new([]slugged) }, []string{"id"}, []driver.Value{"9223372036854775808"}, false},
		{"NULL into a number", &article{}, func() any { return new(int) }, names[:1], []driver.Value{nil}, false},
		{"NULLs into numbers", &article{}, func() any { return new([]int) }, names[:1], []driver.Value{nil}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := open(t)
			kept := payload(t, c.names, [][]driver.Value{c.row, c.row})
			var plans Plans
			var layouts rowset.Layouts
			for range 2 {
				first, second := statement(db, c.model, c.dest()), statement(db, c.model, c.dest())
				want := run(first, byGORM(t, kept))
				var planned bool
				require.Equal(t, want, run(second, byPlan(t, &plans, &layouts, kept, &planned)))
				require.Equal(t, c.planned, planned)
			}
		})
	}
}

func TestNamesThatAreMappedHaveNoPlan(t *testing.T) {
	kept := payload(t, []string{"id"}, [][]driver.Value{{int64(1)}})
	tx := statement(open(t), nil, new([]article))
	tx.Statement.ColumnMapping = map[string]string{"id": "slug"}
	var planned bool
	run(tx, byPlan(t, new(Plans), new(rowset.Layouts), kept, &planned))
	require.False(t, planned)
	require.Equal(t, &[]article{{Slug: "1"}}, tx.Statement.Dest)
}

// What a field was set with by others is none of ours to know.
func TestAFieldWithASetterOfItsOwnHasNoPlan(t *testing.T) {
	kept := payload(t, []string{"slug"}, [][]driver.Value{{"slug"}})
	tx := statement(open(t), nil, new([]slugged))
	field := tx.Statement.Schema.FieldsByDBName["slug"]
	set, called := field.Set, 0
	field.Set = func(ctx context.Context, row reflect.Value, v any) error {
		called++
		return set(ctx, row, v)
	}
	var planned bool
	run(tx, byPlan(t, new(Plans), new(rowset.Layouts), kept, &planned))
	require.False(t, planned)
	require.Equal(t, 1, called)
	require.Equal(t, &[]slugged{{Slug: "slug"}}, tx.Statement.Dest)
}

// Elements are written where the caller made room, and only there.
func TestASliceIsUsedAgain(t *testing.T) {
	kept := payload(t, []string{"id"}, [][]driver.Value{{int64(1)}, {int64(2)}})
	scan := func(dest *[]slugged) {
		var planned bool
		run(statement(open(t), nil, dest), byPlan(t, new(Plans), new(rowset.Layouts), kept, &planned))
		require.True(t, planned)
	}
	room := []slugged{{"a", 7}, {"b", 8}, {"c", 9}}
	dest := room[:1]
	scan(&dest)
	require.Equal(t, []slugged{{"", 1}, {"", 2}}, dest)
	require.Equal(t, []slugged{{"", 1}, {"", 2}, {"c", 9}}, room)

	tight := []slugged{{"a", 7}}
	dest = tight
	scan(&dest)
	require.Equal(t, []slugged{{"", 1}, {"", 2}}, dest)
	require.Equal(t, []slugged{{"", 1}}, tight)
}

// A payload that is damaged is left to the replay, which has the error.
func TestADamagedPayloadIsLeftToTheReplay(t *testing.T) {
	whole := payload(t, []string{"id", "slug"}, [][]driver.Value{{int64(1), "first"}, {int64(2), "second"}})
	for at := range whole {
		for _, b := range []byte{0, 0xff, whole[at] + 1} {
			damaged := append([]byte(nil), whole...)
			damaged[at] = b
			if _, err := rowset.Decode(damaged); err != nil {
				continue // not even a hit
			}
			want := run(statement(open(t), nil, new([]slugged)), byGORM(t, damaged))
			var planned bool
			got := run(statement(open(t), nil, new([]slugged)), byPlan(t, new(Plans), new(rowset.Layouts), damaged, &planned))
			require.Equal(t, want, got, "byte %d", at)
		}
	}
}

func TestPlansAreForManyAtOnce(t *testing.T) {
	db := open(t)
	var plans Plans
	var layouts rowset.Layouts
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				slug := fmt.Sprint(i, "-", j)
				kept := payload(t, []string{"id", "slug"}, [][]driver.Value{{int64(i), slug}, {int64(j), slug}})
				dest := new([]slugged)
				var planned bool
				run(statement(db, nil, dest), byPlan(t, &plans, &layouts, kept, &planned))
				if !planned || len(*dest) != 2 || (*dest)[0] != (slugged{slug, int64(i)}) || (*dest)[1] != (slugged{slug, int64(j)}) {
					t.Errorf("planned: %v, %v", planned, *dest)
				}
			}
		})
	}
	wg.Wait()
}

// Beyond the bound everything is scanned as ever.
func TestPlansAreBounded(t *testing.T) {
	kept := payload(t, []string{"id"}, [][]driver.Value{{int64(1)}})
	var plans Plans
	plans.count.Store(maxPlans)
	dest := new([]slugged)
	var planned bool
	run(statement(open(t), nil, dest), byPlan(t, &plans, new(rowset.Layouts), kept, &planned))
	require.False(t, planned)
	require.Equal(t, &[]slugged{{ID: 1}}, dest)
}

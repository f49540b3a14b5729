package scan

import (
	"database/sql/driver"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/utils/tests"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/internal/rowset"
)

// list is a driver's rows.
type list struct {
	names []string
	rows  [][]driver.Value
}

func (l *list) Columns() []string { return l.names }
func (l *list) Close() error      { return nil }

func (l *list) Next(dest []driver.Value) error {
	if len(l.rows) == 0 {
		return io.EOF
	}
	copy(dest, l.rows[0])
	l.rows = l.rows[1:]
	return nil
}

// payload is what a hit finds of a result.
func payload(t require.TestingT, names []string, rows [][]driver.Value) []byte {
	live, err := rowset.Rows(&list{names, rows})
	require.NoError(t, err)
	require.NoError(t, live.Err())
	var kept rowset.Recording
	tee, err := rowset.Tee(live, rowset.TeeOptions{Drain: true, Done: func(r rowset.Recording) { kept = r }})
	require.NoError(t, err)
	require.NoError(t, tee.Close())
	require.True(t, kept.Complete, kept.Reason)
	return kept.Payload
}

func open(t require.TestingT) *gorm.DB {
	db, err := gorm.Open(tests.DummyDialector{}, &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	return db
}

// statement is a handle in the middle of a query into dest; nil if there is none.
func statement(db *gorm.DB, model, dest any) *gorm.DB {
	tx := db.Session(&gorm.Session{NewDB: true}).Table("things")
	stmt := tx.Statement
	stmt.Dest, stmt.Model = dest, model
	if model == nil {
		stmt.Model = dest
	}
	if err := stmt.Parse(stmt.Model); err != nil && stmt.Schema != nil {
		return nil // GORM does not come to ask
	}
	stmt.ReflectValue = reflect.ValueOf(dest)
	for stmt.ReflectValue.Kind() == reflect.Pointer {
		if stmt.ReflectValue.IsNil() && stmt.ReflectValue.CanAddr() {
			stmt.ReflectValue.Set(reflect.New(stmt.ReflectValue.Type().Elem()))
		}
		stmt.ReflectValue = stmt.ReflectValue.Elem()
	}
	return tx
}

// outcome is what a program sees of a scan.
type outcome struct {
	dest  any
	rows  int64
	err   string
	panic string
}

// run scans, and catches what panics.
func run(tx *gorm.DB, scan func(*gorm.DB)) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			o.panic = fmt.Sprint(p)
		}
		o.dest, o.rows = tx.Statement.Dest, tx.RowsAffected
		if tx.Error != nil {
			// After an error GORM goes on with what its pools have, in the destination and
			// in the errors that follow.
			o.err, _, _ = strings.Cut(tx.Error.Error(), "; ")
			o.dest = nil
		}
	}()
	scan(tx)
	return o
}

// byGORM scans a payload as every result was scanned once.
func byGORM(t require.TestingT, payload []byte) func(*gorm.DB) {
	return func(tx *gorm.DB) {
		src, err := rowset.Decode(payload)
		require.NoError(t, err)
		rows, err := rowset.Rows(src)
		require.NoError(t, err)
		gorm.Scan(rows, tx, 0)
		_ = tx.AddError(rows.Close()) // which does not return after a panic
	}
}

// byPlan scans a payload as callbacks do, and notes whether there was a plan for it.
func byPlan(t require.TestingT, plans *Plans, layouts *rowset.Layouts, payload []byte, planned *bool) func(*gorm.DB) {
	return func(tx *gorm.DB) {
		src, err := layouts.Decode(payload)
		require.NoError(t, err)
		if *planned = plans.Into(tx, src); *planned {
			return
		}
		rows, err := rowset.Rows(src)
		require.NoError(t, err)
		gorm.Scan(rows, tx, 0)
		_ = tx.AddError(rows.Close()) // which does not return after a panic
	}
}

func TestAPlanDoesWhatGORMDoes(t *testing.T) {
	db := open(t)
	tried, planned := 0, 0
	for range 20 { // of a hundred each
		rapid.Check(t, func(t *rapid.T) {
			compare(t, db, func(direct bool) {
				tried++
				if direct {
					planned++
				}
			})
		})
	}
	t.Logf("%d of %d had a plan", planned, tried)
	require.Greater(t, planned, tried/5, "or nothing was compared")
}

func FuzzPlan(f *testing.F) {
	db := open(f)
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { compare(t, db, func(bool) {}) }))
}

// compare scans what it draws both ways.
func compare(t *rapid.T, db *gorm.DB, done func(direct bool)) {
	var element reflect.Type
	var columns []col
	if rapid.IntRange(0, 3).Draw(t, "scalar") == 0 {
		element = rapid.SampledFrom(fieldTypes).Draw(t, "type")
		columns = []col{{"n", element}}
	} else {
		element, columns = drawStruct(t)
	}
	names := namesOf(columns)
	kept := payload(t, names, drawRows(t, columns))
	dest := drawDest(t, element)
	var model any
	if rapid.IntRange(0, 3).Draw(t, "other model") == 0 {
		model = &embedded{}
	}
	oneRow := rapid.Bool().Draw(t, "must be found")
	var plans Plans
	var layouts rowset.Layouts
	for range 2 { // compiled, and remembered
		first, second := statement(db, model, dest()), statement(db, model, dest())
		if first == nil {
			t.Skip("no model")
		}
		first.Statement.RaiseErrorOnNotFound, second.Statement.RaiseErrorOnNotFound = oneRow, oneRow
		want := run(first, byGORM(t, kept))
		var direct bool
		got := run(second, byPlan(t, &plans, &layouts, kept, &direct))
		if want.panic != "" && (want.err != "" || strings.HasPrefix(want.panic, "what is")) {
			// In the middle of database/sql, which programs do not survive: it keeps a
			// lock that closing the rows waits for.
			require.NotEmpty(t, got.panic)
			done(direct)
			continue
		}
		require.Equal(t, want, got, "columns %v, plan: %v", names, direct)
		requireSameCapacity(t, want.dest, got.dest)
		done(direct)
	}
}

// requireSameCapacity holds where the caller had made room: what is behind the end of
// a slice is its, too.
func requireSameCapacity(t require.TestingT, want, got any) {
	w, g := reflect.ValueOf(want), reflect.ValueOf(got)
	if !w.IsValid() || w.Elem().Kind() != reflect.Slice {
		return
	}
	w, g = w.Elem(), g.Elem()
	if w.Len() < g.Cap() && w.Cap() == g.Cap() {
		require.Equal(t, w.Slice(0, w.Cap()).Interface(), g.Slice(0, g.Cap()).Interface())
	}
}

package callbacks

import (
	"context"
	"reflect"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/commit"
)

// noteSaved has the instances that a statement created or updated read into
// the cache when the change is committed, where their profile asks for it.
// They are read back, not written from memory: the row may differ from the
// struct by what the database or another transaction did to it.
func (s *statement) noteSaved(ctx context.Context, j *commit.Journal) {
	stmt := s.db.Statement
	if stmt.Schema == nil || s.rows == nil || len(s.plan.Writes) != 1 || s.err != nil {
		return
	}
	if s.plan.Statement != conj.Insert && s.plan.Statement != conj.Update {
		return
	}
	h := s.handlers
	p := h.Policies.Of(stmt.Schema.Table, stmt.Schema.ModelType)
	if p.CacheOnSave == "" {
		return
	}
	field := stmt.Schema.LookUpField(p.CacheOnSave)
	if field == nil {
		h.Report.Failed(ctx, "CacheOnSave names a column that the model lacks", stmt.Schema.Table, gorm.ErrInvalidField)
		return
	}
	for _, value := range savedValues(ctx, stmt, field) {
		model := stmt.Schema.ModelType
		j.Then(func(ctx context.Context) { h.warm(ctx, model, field, value, p.Timeout) })
	}
}

// savedValues returns the field's values in the instances of a statement.
func savedValues(ctx context.Context, stmt *gorm.Statement, field *schema.Field) []any {
	var values []any
	add := func(row reflect.Value) {
		row = reflect.Indirect(row)
		if row.Kind() == reflect.Struct && row.Type() == stmt.Schema.ModelType {
			if v, zero := field.ValueOf(ctx, row); !zero {
				values = append(values, v)
			}
		}
	}
	switch v := stmt.ReflectValue; v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			add(v.Index(i))
		}
	case reflect.Struct:
		add(v)
	}
	return values
}

// warm asks the query that First sends for a value of a field.
func (h *Handlers) warm(ctx context.Context, model reflect.Type, field *schema.Field, value any, timeout time.Duration) {
	tx := h.DB.Session(&gorm.Session{NewDB: true, Context: ctx, SkipHooks: true})
	err := tx.Scopes(cache.Cache(cache.Timeout(timeout))).
		Where(map[string]any{field.DBName: value}).
		First(reflect.New(model).Interface()).Error
	if err != nil {
		h.Report.Failed(ctx, "a saved instance could not be read into the cache", field.Schema.Table, err)
	}
}

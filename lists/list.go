package lists

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/lookup"
	"github.com/cacheplugin/cacheplugin/internal/misconfig"
)

// List is a kind of lists of rows of a model. It is safe for concurrent use.
type List[T any] struct {
	db    *gorm.DB
	reads *lookup.Handle // nil: everything is read from the database
	name  string
	options
	schema *schema.Schema
	key    *schema.Field
	order  *schema.Field
	by     [][]*schema.Field // sorted
	text   string            // of the query of all rows, with what Where was given
	given  []byte
}

// New declares lists of rows of a model, a struct that GORM knows, in a database that has
// its table. The name is for people, and tells lists apart that are declared alike. An
// error wraps cacheplugin.ErrConfig and names the option and the remedy.
func New[T any](db *gorm.DB, name string, opts ...Option) (*List[T], error) {
	reads, err := cacheplugin.LookupsOf(db)
	if err != nil {
		return nil, err
	}
	l := &List[T]{db: db.Session(&gorm.Session{NewDB: true}), reads: reads, name: name, options: options{keep: 10_000}}
	for _, o := range opts {
		o(&l.options)
	}
	for _, check := range []func() error{l.checkValues, l.findFields, l.checkQuery} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *List[T]) checkValues() error {
	switch {
	case len(l.options.by) == 0:
		return misconfig.New("lists.By", "missing", "name the fields that the lists are asked for by, such as lists.By(\"UserID\")")
	case l.timeout < time.Millisecond:
		return misconfig.New("lists.Timeout", l.timeout, "say for how long a list is kept, a millisecond at least, such as lists.Timeout(time.Hour)")
	case l.keep < 1:
		return misconfig.New("lists.Keep", l.keep, "keep one row at least, or leave it out for 10,000")
	}
	return nil
}

func (l *List[T]) findFields() error {
	stmt := &gorm.Statement{DB: l.db}
	if err := stmt.Parse(new(T)); err != nil {
		return fmt.Errorf("cacheplugin: lists of %T: %w", *new(T), err)
	}
	l.schema = stmt.Schema
	model := l.schema.Name
	switch keys := l.schema.PrimaryFields; {
	case len(keys) == 0:
		return misconfig.New("lists.New", model, "the model has no primary key, by which a list tells its rows apart: give it one")
	case len(keys) > 1:
		return misconfig.New("lists.New", model, "the model's primary key has several columns: lists need one that is a whole number; make the others a unique index")
	case !wholeNumber(keys[0].FieldType):
		return misconfig.New("lists.New", model, "the primary key "+keys[0].Name+" is a "+keys[0].FieldType.String()+": lists need a whole number")
	default:
		l.key = keys[0]
	}
	l.order = l.key
	if l.options.order != "" {
		if l.order = l.field(l.options.order); l.order == nil {
			return l.unknown("lists.Order", l.options.order)
		}
	}
	if l.order.FieldType != timeType && !wholeNumber(l.order.FieldType) {
		return misconfig.New("lists.Order", l.order.Name, "it is a "+l.order.FieldType.String()+": order by a time.Time or a whole number that is never NULL; rows that agree in it follow each other by "+l.key.Name)
	}
	for _, names := range l.options.by {
		var fields []*schema.Field
		for _, name := range names {
			f := l.field(name)
			if f == nil {
				return l.unknown("lists.By", name)
			}
			fields = append(fields, f)
		}
		if sortFields(fields); len(fields) == 0 || len(slices.Compact(slices.Clone(fields))) != len(fields) {
			return misconfig.New("lists.By", strings.Join(names, ", "), "name each field once, and one at least")
		}
		l.by = append(l.by, fields)
	}
	return nil
}

func sortFields(fields []*schema.Field) {
	slices.SortFunc(fields, func(a, b *schema.Field) int { return strings.Compare(a.DBName, b.DBName) })
}

func wholeNumber(t reflect.Type) bool { return t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 }

// field returns a field that has a column; nil if there is none of the name.
func (l *List[T]) field(name string) *schema.Field {
	if f := l.schema.LookUpField(name); f != nil && f.DBName != "" {
		return f
	}
	return nil
}

func (l *List[T]) unknown(option, name string) error {
	return misconfig.New(option, name, "it is no column of "+l.schema.Name+": use one of "+strings.Join(l.schema.DBNames, ", "))
}

// checkQuery asks the database's description of the table whether it can be maintained.
func (l *List[T]) checkQuery() error {
	if l.reads == nil {
		return nil
	}
	stmt := l.query(l.db.Statement.Context, nil).Session(&gorm.Session{DryRun: true}).Find(new([]T)).Statement
	if stmt.Error != nil {
		return fmt.Errorf("cacheplugin: lists of %s: %w", l.schema.Name, stmt.Error)
	}
	l.text = stmt.SQL.String()
	for _, v := range stmt.Vars {
		n, err := conj.NormalizeArg(v)
		ok := err == nil
		if ok {
			l.given, ok = conj.AppendArg(l.given, n)
		}
		if !ok {
			return misconfig.New("lists.Where", fmt.Sprint(v), "a value of this type has no stable form: use text, a number or a time")
		}
	}
	table, err := l.reads.ListTable(l.db, l.schema.Table)
	if err != nil {
		return err
	}
	if err := l.reads.DecidedByRows(stmt.Context, l.db, l.schema.Table, l.text); err != nil {
		return err
	}
	for _, fields := range l.by {
		for _, f := range fields {
			i := table.Index(l.reads.Dialect(), f.DBName)
			if i < 0 {
				return misconfig.New("lists.By", f.Name, "the table has no column "+f.DBName+": migrate it first")
			}
			if table.Columns()[i].Kind == conj.Opaque {
				return misconfig.New("lists.By", f.Name, "equality on the column "+f.DBName+" can't be told by its type: use one of a type that docs/sql.md lists")
			}
		}
	}
	if i := table.Index(l.reads.Dialect(), l.key.DBName); i < 0 || table.Columns()[i].Kind != conj.Integer {
		return misconfig.New("lists.New", l.schema.Name, "the primary key's column "+l.key.DBName+" is not a whole number in the database")
	}
	return nil
}

// On returns the same lists read through another handle. In a transaction they are read
// from the database.
func (l *List[T]) On(db *gorm.DB) *List[T] {
	other := *l
	other.db = db.Session(&gorm.Session{NewDB: true})
	return &other
}

// query is the query of the rows of a list, in no order.
func (l *List[T]) query(ctx context.Context, of []term) *gorm.DB {
	tx := l.db.Session(&gorm.Session{NewDB: true, Context: ctx}).Model(new(T)).Clauses(cache.Without())
	if l.deleted {
		tx = tx.Unscoped()
	}
	for _, t := range of {
		tx = tx.Where(clause.Eq{Column: column(t.field), Value: t.value})
	}
	for _, w := range l.where {
		tx = tx.Where(w.query, w.args...)
	}
	return tx
}

// ordered is a query in the list's order.
func (l *List[T]) ordered(tx *gorm.DB) *gorm.DB {
	columns := []clause.OrderByColumn{{Column: column(l.order), Desc: bool(l.direction)}}
	if l.order != l.key {
		columns = append(columns, clause.OrderByColumn{Column: column(l.key), Desc: bool(l.direction)})
	}
	return tx.Clauses(clause.OrderBy{Columns: columns})
}

func column(f *schema.Field) clause.Column {
	return clause.Column{Table: clause.CurrentTable, Name: f.DBName}
}

// term is a field of a list's key, with its value.
type term struct {
	field *schema.Field
	value any
}

// terms are the fields of a key, sorted as in by.
func (l *List[T]) terms(k KeyValues) ([]term, error) {
	var terms []term
	var fields []*schema.Field
	for i := 0; i < len(k.pairs); i += 2 {
		name, ok := k.pairs[i].(string)
		if !ok || i+1 == len(k.pairs) {
			return nil, misconfig.New("lists.Key", k.pairs[i], "give each field's name, followed by its value")
		}
		f := l.field(name)
		if f == nil {
			return nil, l.unknown("lists.Key", name)
		}
		if n, err := conj.NormalizeArg(k.pairs[i+1]); err != nil || n == nil {
			return nil, misconfig.New("lists.Key", name, "its value is NULL or none at all: a list is asked for by values")
		}
		terms, fields = append(terms, term{f, k.pairs[i+1]}), append(fields, f)
	}
	slices.SortFunc(terms, func(a, b term) int { return strings.Compare(a.field.DBName, b.field.DBName) })
	sortFields(fields)
	for _, by := range l.by {
		if slices.Equal(by, fields) {
			return terms, nil
		}
	}
	return nil, misconfig.New("lists.Key", fmt.Sprint(k.pairs...), "no lists.By of "+l.name+" names just these fields: add it, or ask by those of one")
}

// scheme is the scheme under which writers find the list of a key. Lists that differ in
// anything have another one.
func (l *List[T]) scheme(place lookup.ListPlace, of []term) (conj.Scheme, bool) {
	d := l.reads.Dialect()
	by := make([]int, len(of))
	for i, t := range of {
		if by[i] = place.Table.Index(d, t.field.DBName); by[i] < 0 {
			return "", false
		}
	}
	key := place.Table.Index(d, l.key.DBName)
	if key < 0 || place.Table.Columns()[key].Kind != conj.Integer {
		return "", false
	}
	h := sha256.New()
	for _, part := range []string{l.name, place.Identity, l.text, string(l.given), l.order.DBName} {
		_ = binary.Write(h, binary.BigEndian, int64(len(part)))
		h.Write([]byte(part))
	}
	_ = binary.Write(h, binary.BigEndian, int64(l.keep))
	_ = binary.Write(h, binary.BigEndian, bool(l.direction))
	id := base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
	return place.Table.ListScheme(id, by, key), true
}

// values are the canonical forms of a key's values in a scheme's order; false if they
// have none, so that no write could be found to touch the list.
func (l *List[T]) values(table *catalog.Table, scheme conj.Scheme, of []term) ([]conj.Value, bool) {
	columns, _, ok := table.ListColumns(scheme)
	if !ok {
		return nil, false
	}
	values := make([]conj.Value, len(columns))
	for n, i := range columns {
		c := table.Columns()[i]
		for _, t := range of {
			if table.Index(l.reads.Dialect(), t.field.DBName) != i {
				continue
			}
			v, err := conj.NormalizeArg(t.value)
			if err != nil {
				return nil, false
			}
			values[n] = c.FromParam(l.reads.Dialect(), v)
		}
		if values[n] == "" || values[n] == conj.Null || values[n] == conj.NotNull {
			return nil, false
		}
	}
	return values, true
}

package lists

import "time"

// Direction is the direction of an order.
type Direction bool

// The directions.
const (
	Ascending  Direction = false
	Descending Direction = true
)

// Option is an option of New.
type Option func(*options)

type options struct {
	by        [][]string
	order     string
	direction Direction
	where     []condition
	deleted   bool
	keep      int
	timeout   time.Duration
}

type condition struct {
	query any
	args  []any
}

// By has lists asked for by the values of some fields. There must be one at least, and
// there may be several. A field is named as in the model or as its column; its column must be one that results narrow by (docs/sql.md).
func By(fields ...string) Option { return func(o *options) { o.by = append(o.by, fields) } }

// Order is the order of the rows: by a field that holds a time.Time or a whole number and
// is never NULL. Rows that agree in it follow each other by the primary key, in the same
// direction. Defaults to the primary key, ascending.
func Order(field string, d Direction) Option {
	return func(o *options) { o.order, o.direction = field, d }
}

// Where has lists hold only the rows that a condition permits, as in GORM's Where. It
// must be one that a row itself decides: no subqueries, no clock. Several must all hold.
func Where(query any, args ...any) Option {
	return func(o *options) { o.where = append(o.where, condition{query, args}) }
}

// WithDeleted has lists hold softly deleted rows, too.
func WithDeleted() Option { return func(o *options) { o.deleted = true } }

// Keep is the number of rows of a list that are kept, the first in its order. What lies
// beyond is read from the database. Defaults to 10,000.
func Keep(rows int) Option { return func(o *options) { o.keep = rows } }

// Timeout is for how long a list is maintained until it is read anew. It bounds how old
// an answer may be whatever fails, and is required.
func Timeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// KeyValues says which list is meant.
type KeyValues struct{ pairs []any }

// Key returns the key of a list: fields, as in By, each followed by its value.
func Key(fieldsAndValues ...any) KeyValues { return KeyValues{fieldsAndValues} }

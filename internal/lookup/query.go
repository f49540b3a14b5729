package lookup

import (
	"reflect"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/txn"
)

// Query is a query as GORM is about to send it.
type Query struct {
	Text string
	Args []any
	// Pool is what the query would be sent to, DB the handle that built it.
	Pool gorm.ConnPool
	DB   *gorm.DB
	// Streams is set if the caller may read the rows as they come: Row, Rows,
	// Scan and the migrator.
	Streams bool
	// Scans is set if it is GORM's Scan, which reads all rows or the first.
	Scans bool
	// Alone, if set, is the place by which it is decided whether the query may come
	// from the cache, in place of a transaction that was begun only to explain it.
	Alone *txn.Place

	info       *cache.Recorder // nil if nobody asks how the query is answered
	settings   *cache.Settings // of the call site, nil if it says nothing
	table      string          // that the statement names
	modelTable string          // of the statement's model
	model      reflect.Type    // nil without
	where      txn.Where
	tx         *txn.Tx
}

// NewQuery reads from a statement what it says of its query. place is that of the
// pool.
func NewQuery(db *gorm.DB, pool gorm.ConnPool, place txn.Place, text string, args []any, streams bool) Query {
	stmt := db.Statement
	q := Query{Text: text, Args: args, Pool: pool, DB: db, Streams: streams, settings: cache.Of(stmt), table: stmt.Table}
	if stmt.Schema != nil {
		q.model, q.modelTable = stmt.Schema.ModelType, stmt.Schema.Table
	}
	q.where, q.tx = place.Where, place.Tx
	// Scan has its SQL recorded, as it traces the query itself.
	q.Scans = streams && reflect.TypeOf(db.Logger) == reflect.TypeOf(logger.Recorder.New())
	return q
}

// byHand reports whether the statement's text was given by the program, not
// built by GORM.
func (q *Query) byHand() bool {
	_, built := q.DB.Statement.Clauses["FROM"]
	return !built && q.DB.Statement.SQL.Len() > 0
}

// modelOf is the query's model if it is that of a table.
func (q *Query) modelOf(table string) reflect.Type {
	if q.modelTable == table {
		return q.model
	}
	return nil
}

// takesOne reports whether the caller takes one row.
func (q *Query) takesOne() bool {
	stmt := q.DB.Statement
	if stmt.RaiseErrorOnNotFound {
		return true
	}
	if c, ok := stmt.Clauses["LIMIT"]; ok {
		if l, ok := c.Expression.(clause.Limit); ok && l.Limit != nil && *l.Limit == 1 {
			return true
		}
	}
	if q.Streams {
		return false // the destination is not known: it is given after the query, or that of Scan hidden
	}
	switch stmt.ReflectValue.Kind() {
	case reflect.Struct, reflect.Map:
		return true
	}
	return false
}

// operation classifies a query by its text first and by its destination then.
func (q *Query) operation(plan *conj.Plan, args []any) cache.Op {
	switch plan.Shape {
	case conj.Exists:
		return cache.Exists
	case conj.Count:
		return cache.Count
	case conj.Aggregate:
		return cache.Aggregate
	}
	if plan.Single {
		return cache.Get
	}
	if i := plan.LimitParam; i >= 0 && i < len(args) && args[i] == int64(1) {
		return cache.Get
	}
	if q.takesOne() {
		return cache.Get
	}
	return cache.Fetch
}

// mainTable is the table whose profile applies: the statement's own if the
// query reads it, else the first, else the function or table that stands for it.
func (q *Query) mainTable(plan *conj.Plan, declared []*conj.Table) string {
	if len(plan.Tables) == 0 {
		if len(plan.Hidden) > 0 && plan.Hidden[0].Kind == conj.HiddenTableFunction {
			return plan.Hidden[0].Name
		}
		return declared[0].Name
	}
	for _, name := range [...]string{q.table, q.modelTable} {
		for _, t := range plan.Tables {
			if t.Name == name {
				return name
			}
		}
	}
	return plan.Tables[0].Name
}

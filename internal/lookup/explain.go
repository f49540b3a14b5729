package lookup

import (
	"context"
	"reflect"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
)

// Explanation says how a query would be cached, and what drops it. The root
// package documents the fields.
type Explanation struct {
	Op            cache.Op
	Reason        string // empty if it is looked up
	Table, Key    string
	Dependencies  []Dependency
	On, DependsOn []string
	Volatile      string
	LongLists     []string
	Writes        bool // it is no query
}

// Dependency is a table that a query reads, and the conjunctions one of which a
// row must satisfy to drop the result.
type Dependency struct {
	Table        string
	Conjunctions []string
	Columns      []string
}

// BuildQuery builds the query that a handle stands for, without running it. It
// is taken as a Find into a slice of its model, or as the Count that it has made.
func BuildQuery(db *gorm.DB) *gorm.DB {
	tx := db.Session(&gorm.Session{DryRun: true})
	if tx.Statement.SQL.Len() > 0 {
		return tx
	}
	if counted(tx.Statement) {
		return tx.Count(new(int64))
	}
	return tx.Find(destination(tx.Statement.Model))
}

// counted reports whether a statement was a Count, which takes its SELECT away when
// it is done.
func counted(stmt *gorm.Statement) bool {
	_, selects := stmt.Clauses["SELECT"]
	_, from := stmt.Clauses["FROM"]
	_, number := stmt.Dest.(*int64)
	return number && from && !selects
}

// Written reports whether a statement was a Create, an Update or a Delete: what is
// left of it is no query.
func Written(stmt *gorm.Statement) bool {
	for _, name := range [...]string{"INSERT", "UPDATE", "DELETE"} {
		if _, ok := stmt.Clauses[name]; ok {
			return true
		}
	}
	return false
}

// destination makes a destination for the query of a model.
func destination(model any) any {
	if model == nil {
		return &[]map[string]any{}
	}
	t := reflect.TypeOf(model)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		t = t.Elem()
	}
	return reflect.New(reflect.SliceOf(t)).Interface()
}

// Explain says how a query would be cached.
func (h *Handle) Explain(ctx context.Context, q Query) (Explanation, error) {
	d, reason, err := h.decide(ctx, &q)
	if err != nil {
		return Explanation{}, err
	}
	x := Explanation{Op: d.op, Table: d.table, Reason: reason}
	if reason == "" {
		x.Key = d.key.String()
		x.Reason = d.admit().reason
	}
	if x.Reason == "" && q.Streams && !q.Scans && q.settings == nil {
		x.Reason = reasonStream
	}
	if d.plan != nil {
		x.Writes = len(d.plan.Writes) > 0
		x.On = d.plan.On
		for _, list := range d.plan.LongLists {
			x.LongLists = append(x.LongLists, longList(list))
		}
		for _, volatile := range [...]string{d.unknown, d.plan.Volatile, d.volatile} {
			if volatile != "" {
				x.Volatile = volatile
			}
		}
	}
	for _, t := range d.declared {
		x.DependsOn = append(x.DependsOn, t.ID)
	}
	for _, dep := range d.deps {
		x.Dependencies = append(x.Dependencies, explainDependency(dep, d.joinedTo(dep.Table)))
	}
	return x, nil
}

func explainDependency(dep conj.Dependency, joined *conj.Joined) Dependency {
	out := Dependency{Table: dep.Table.ID}
	if joined != nil {
		out.Conjunctions = []string{"keys of joined rows: " + strings.Join(joined.Columns(), ", ")}
		out.Columns = dep.Table.Used(joined.Scheme)
		return out
	}
	out.Columns = dep.Used()
	for _, c := range dep.Conjunctions {
		var terms []string
		for _, t := range c.Terms {
			terms = append(terms, explainTerm(t))
		}
		if len(terms) == 0 {
			terms = []string{"any value"}
		}
		out.Conjunctions = append(out.Conjunctions, strings.Join(terms, " and "))
	}
	return out
}

func explainTerm(t conj.BoundTerm) string {
	if t.Value == conj.Null {
		return t.Column + " is null"
	}
	return t.Column + " = " + t.Value.Text()
}

package cacheplugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/txn"
)

// declare finds the tables that a query is said to depend on beyond those that
// its text shows, and whether somebody vouches for what the text hides. It
// returns why the query can't be cached, if so; an error is the call site's.
func (e *engine) declare(ctx context.Context, d *decision, db *gorm.DB, settings *cache.Settings) (reason string, err error) {
	stmt := db.Statement
	byOption := settings != nil && settings.DependsOn != nil
	if byOption {
		for _, given := range settings.DependsOn {
			name, err := tableNameOf(db, given)
			if err != nil {
				return "", configError("cache.DependsOn", fmt.Sprintf("%T", given), "pass a table's name or a model: "+err.Error())
			}
			problem, err := e.declareTable(ctx, d, name)
			if err != nil {
				return "", err
			}
			if problem != "" {
				return "", configError("cache.DependsOn", name, problem)
			}
		}
	}
	functions := byOption // somebody vouches for them
	for _, t := range d.plan.Tables {
		model := modelType(stmt)
		if model != nil && stmt.Schema.Table != t.Name {
			model = nil
		}
		p := e.profile(t.Name, model).profile
		if p != nil && p.DependsOn != nil {
			functions = true
			if reason, err = e.declareAll(ctx, d, t.Name, p); reason != "" || err != nil {
				return reason, err
			}
		}
	}
	for _, h := range d.plan.Hidden {
		vouched := byOption
		for _, name := range []string{h.Name, h.Via} {
			if name == "" {
				continue
			}
			if p := e.profile(name, nil).profile; p != nil && p.DependsOn != nil {
				vouched = true
				if reason, err = e.declareAll(ctx, d, name, p); reason != "" || err != nil {
					return reason, err
				}
			}
		}
		switch {
		case vouched, functions && h.Kind != conj.HiddenTable:
		case h.Kind == conj.HiddenFunction:
			d.unknown = h.Reason
		case h.Kind == conj.HiddenTable:
			return h.Reason + "; list the tables behind it in DependsOn", nil
		default:
			return h.Reason + "; list the tables that it reads in DependsOn", nil
		}
	}
	return "", nil
}

// declareAll adds the tables of a profile's DependsOn.
func (e *engine) declareAll(ctx context.Context, d *decision, of string, p *Profile) (reason string, err error) {
	for _, name := range p.DependsOn {
		problem, err := e.declareTable(ctx, d, name)
		if err != nil {
			return "", err
		}
		if problem != "" {
			err := configError("DependsOn in the profile of "+of, name, problem)
			e.failed(ctx, "a profile's DependsOn is wrong; its queries are not cached", of, err)
			return err.Error(), nil
		}
	}
	return "", nil
}

// declareTable adds a table of which any row may matter.
func (e *engine) declareTable(ctx context.Context, d *decision, name string) (problem string, err error) {
	n := conj.TableName{Name: name}
	if schema, rest, ok := strings.Cut(name, "."); ok {
		n = conj.TableName{Schema: schema, Name: rest}
	}
	table, err := e.database(d.pool).catalog.Table(ctx, d.pool, n, keep(d.tx))
	switch {
	case err != nil:
		return "", err
	case table == nil:
		return "the database has no such table: correct the name, or create the table first", nil
	case table.Uncacheable != "":
		return "it " + table.Uncacheable + ", so that its changes can't be followed: name the tables behind it", nil
	case e.forbidden(table.Table):
		return nothingDropped, nil
	}
	if !slices.ContainsFunc(d.declared, func(t *conj.Table) bool { return t.ID == table.ID }) {
		d.declared = append(d.declared, table.Table)
	}
	return "", nil
}

// tableNameOf is the table of a name or a model.
func tableNameOf(db *gorm.DB, given any) (string, error) {
	if name, ok := given.(string); ok {
		return name, nil
	}
	stmt := &gorm.Statement{DB: db}
	if err := stmt.Parse(given); err != nil {
		return "", err
	}
	return stmt.Table, nil
}

// dependOnDeclared adds the declared tables, of which any row matters.
func (d *decision) dependOnDeclared() {
	for _, t := range d.declared {
		whole := []conj.Conjunction{t.Conjunction(nil, nil)}
		if i := slices.IndexFunc(d.deps, func(dep conj.Dependency) bool { return dep.Table.ID == t.ID }); i >= 0 {
			d.deps[i].Conjunctions = whole
			continue
		}
		d.deps = append(d.deps, conj.Dependency{Table: t, Conjunctions: whole})
	}
}

// scope is what the call site and the profiles add to what a query depends on
// or take from it: a result that was stored under another is not to be found.
func (d *decision) scope() []string {
	if len(d.plan.On) == 0 && len(d.declared) == 0 {
		return nil
	}
	ids := make([]string, len(d.declared))
	for i, t := range d.declared {
		ids[i] = t.ID
	}
	slices.Sort(ids)
	return append(append(ids, "on"), d.plan.On...)
}

// pinned compiles a query that cache.On limits.
func (e *engine) pinned(ctx context.Context, base *database, pool gorm.ConnPool, tx *txn.Tx, query string, on []string) (*conj.Plan, error) {
	plan, err := base.planOn(ctx, pool, query, keep(tx), on)
	if err == nil {
		return plan, nil
	}
	var pin *conj.PinError
	if errors.As(err, &pin) {
		return nil, configError("cache.On", pin.Column, pin.Problem+": "+pin.Remedy)
	}
	return nil, err
}

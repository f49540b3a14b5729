package lookup

import (
	"context"
	"fmt"
	"slices"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
	"github.com/cacheplugin/cacheplugin/internal/misconfig"
	"github.com/cacheplugin/cacheplugin/internal/policy"
)

// declare finds the tables that a query is said to depend on beyond those that
// its text shows, and whether somebody vouches for what the text hides. It
// returns why the query can't be cached, if so; an error is the call site's.
func (h *Handle) declare(ctx context.Context, d *decision) (reason string, err error) {
	byOption := d.query.settings != nil && d.query.settings.DependsOn != nil
	if byOption {
		if err := h.declareByOption(ctx, d); err != nil {
			return "", err
		}
	}
	functions := byOption // somebody vouches for them
	for _, t := range d.plan.Tables {
		vouched, reason, err := h.declareByPolicy(ctx, d, t.Name, h.Policies.Of(t.Name, d.query.modelOf(t.Name)))
		if reason != "" || err != nil {
			return reason, err
		}
		functions = functions || vouched
	}
	for _, hidden := range d.plan.Hidden {
		vouched := byOption
		for _, name := range [...]string{hidden.Name, hidden.Via} {
			if name == "" {
				continue
			}
			by, reason, err := h.declareByPolicy(ctx, d, name, h.Policies.Of(name, nil))
			if reason != "" || err != nil {
				return reason, err
			}
			vouched = vouched || by
		}
		switch {
		case vouched, functions && hidden.Kind != conj.HiddenTable:
		case hidden.Kind == conj.HiddenFunction:
			d.unknown = hidden.Reason
		case hidden.Kind == conj.HiddenTable:
			return hidden.Reason + "; list the tables behind it in DependsOn", nil
		default:
			return hidden.Reason + "; list the tables that it reads in DependsOn", nil
		}
	}
	return "", nil
}

// declareByOption adds the tables of cache.DependsOn.
func (h *Handle) declareByOption(ctx context.Context, d *decision) error {
	for _, given := range d.query.settings.DependsOn {
		name, err := tableNameOf(d.query.DB, given)
		if err != nil {
			return misconfig.New("cache.DependsOn", fmt.Sprintf("%T", given), "pass a table's name or a model: "+err.Error())
		}
		problem, err := h.declareTable(ctx, d, name)
		if err != nil {
			return err
		}
		if problem != "" {
			return misconfig.New("cache.DependsOn", name, problem)
		}
	}
	return nil
}

// declareByPolicy adds the tables of a profile's DependsOn, and reports whether
// it has one.
func (h *Handle) declareByPolicy(ctx context.Context, d *decision, of string, p *policy.Policy) (vouched bool, reason string, err error) {
	if p.DependsOn == nil {
		return false, "", nil
	}
	for _, name := range p.DependsOn {
		problem, err := h.declareTable(ctx, d, name)
		if err != nil {
			return true, "", err
		}
		if problem != "" {
			err := misconfig.New("DependsOn in the profile of "+of, name, problem)
			h.Report.Failed(ctx, "a profile's DependsOn is wrong; its queries are not cached", of, err)
			return true, err.Error(), nil
		}
	}
	return true, "", nil
}

// declareTable adds a table of which any row may matter.
func (h *Handle) declareTable(ctx context.Context, d *decision, name string) (problem string, err error) {
	table, err := d.database.Catalog.Table(ctx, d.pool, dialect.SplitName(name), database.Lasting(d.query.tx))
	switch {
	case err != nil:
		return "", err
	case table == nil:
		return "the database has no such table: correct the name, or create the table first", nil
	case table.Uncacheable != "":
		return "it " + table.Uncacheable + ", so that its changes can't be followed: name the tables behind it", nil
	case h.Policies.Forbid(table.Table):
		return policy.DropsNothing, nil
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

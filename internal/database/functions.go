package database

import (
	"context"
	"slices"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/txn"
)

// WritingFunction returns the name of a stored function that a text calls and that may
// write tables; empty if there is none. Most databases have no such function,
// and then the text isn't looked at. tx is the transaction of the pool, nil if none.
func (d *Database) WritingFunction(ctx context.Context, pool gorm.ConnPool, tx *txn.Tx, text string) string {
	if tx != nil && tx.Err() != nil {
		return ""
	}
	functions, err := d.Catalog.Functions(ctx, pool, Lasting(tx))
	if err != nil {
		d.report.Failed(ctx, "the functions that write could not be read from the catalog", "", err)
		return ""
	}
	if len(functions.Writers) == 0 {
		return ""
	}
	return conj.CallsOneOf(d.Dialect, text, functions.Writers)
}

// hideAdded notes the stored functions that a query calls, itself or in a view,
// by names that conj takes for functions which read no table: somebody's own may
// be called so.
func (d *Database) hideAdded(ctx context.Context, q catalog.Querier, text string, remember bool, p *conj.Plan) error {
	texts := []string{text}
	for _, t := range p.Tables {
		if t.View != nil {
			texts = append(texts, t.View.Query)
		}
	}
	var names []string
	for _, text := range texts {
		calls, _ := conj.Calls(d.Dialect, text)
		names = append(names, calls...)
		for _, field := range conj.Fields(d.Dialect, text) {
			if !slices.ContainsFunc(p.Tables, func(t *conj.Table) bool { return t.Index(d.Dialect, field) >= 0 }) {
				names = append(names, field)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	functions, err := d.Catalog.Functions(ctx, q, remember)
	if err != nil {
		return err
	}
	for _, name := range names {
		if functions.Added[name] && !slices.ContainsFunc(p.Hidden, func(h conj.Hidden) bool { return h.Name == name }) {
			p.Hidden = append(p.Hidden, conj.Hidden{Kind: conj.HiddenFunction, Name: name, Reason: "function " + name + "() is not known to be stable"})
		}
	}
	return nil
}

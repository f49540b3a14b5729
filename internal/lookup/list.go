package lookup

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/misconfig"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/txn"
)

// ListPlace is where the lists of a table are kept, and what is known of the table.
type ListPlace struct {
	Table *catalog.Table
	Space *namespace.Namespace
	// Identity tells the database from all others, as in the key of a result.
	Identity string
}

// Dialect is that of the handle's databases.
func (h *Handle) Dialect() conj.Dialect { return h.dialect }

// ListPlace returns where the lists of a table are kept that is read through a handle, or
// the reason why they must not be read from the cache now. In a transaction they never
// are: what it reads is not stored.
func (h *Handle) ListPlace(db *gorm.DB, table string) (p ListPlace, reason string, err error) {
	ctx, pool := db.Statement.Context, db.Statement.ConnPool
	at := h.databases.Place(pool)
	if at.Where == txn.InTx {
		return p, "in a transaction", nil
	}
	if reason := h.gate(ctx, pool, at.Where, at.Tx); reason != "" {
		return p, reason, nil
	}
	pool = h.Source(db, pool)
	d := h.databases.Of(pool)
	if h.OnSource != nil {
		h.OnSource(d, pool)
	}
	if d.SessionTainted() {
		return p, "a statement has changed a pooled session's settings", nil
	}
	if p.Table, err = d.Table(ctx, pool, table); err != nil {
		return p, "", err
	}
	if name := d.Temporary([]conj.TableName{{Name: p.Table.Name}}); name != "" {
		return p, "a temporary table " + name + " was made on one of the connections", nil
	}
	if h.Policies.Forbid(p.Table.Table) {
		return p, forbidden(p.Table.Name), nil
	}
	if p.Space, _, err = h.Namespaces.Of(ctx, d, pool, p.Table.Name); err != nil {
		return p, "", err
	}
	if p.Identity, err = d.Identity(ctx, pool); err != nil {
		return p, "", err
	}
	return p, p.Space.Unreadable([]string{p.Table.ID}), nil
}

// ListTable returns a table, or says why lists of it can't be kept.
func (h *Handle) ListTable(db *gorm.DB, name string) (*catalog.Table, error) {
	pool := db.Statement.ConnPool
	table, err := h.databases.Of(pool).Table(db.Statement.Context, pool, name)
	remedy := ""
	switch {
	case err != nil:
		return nil, fmt.Errorf("cacheplugin: lists of %s, which must be there: %w", name, err)
	case h.Spread:
		remedy = "lists are not kept under Spread: leave Config.Spread out"
	case !table.Base || table.Uncacheable != "" || table.View != nil:
		remedy = "it is no table but a view, or what else can't be cached: make lists of the table behind it"
	case h.Policies.Forbid(table.Table):
		remedy = forbidden(table.Name) + ": give the table a profile that is not nil, or leave it out"
	default:
		return table, nil
	}
	return nil, misconfig.New("lists.New", name, remedy)
}

// FromSource returns a handle whose query a source answers: what a list is filled with
// must not be older than what Redis was told. strayed reports, once it was sent, that it
// came to a connection that is in a transaction: what it gives is not to be kept.
func FromSource(db *gorm.DB) (source *gorm.DB, strayed func() bool) {
	ctx, strayed := txn.Reading(db.Statement.Context)
	return db.Set(resolverWrite, struct{}{}).WithContext(ctx), strayed
}

var selects = regexp.MustCompile(`(?i)\bselect\b`)

// DecidedByRows returns an error if a row of a table alone doesn't decide whether the query of
// a list has it.
func (h *Handle) DecidedByRows(ctx context.Context, db *gorm.DB, table, text string) error {
	pool := db.Statement.ConnPool
	plan, err := h.databases.Of(pool).Plan(ctx, pool, text, database.Lasting(nil))
	why := ""
	switch {
	case err != nil:
		return fmt.Errorf("cacheplugin: understand the query of a list: %w", err)
	case plan.Skip != "":
		why = plan.Skip
	case plan.Volatile != "":
		why = plan.Volatile + " is not stable"
	case len(plan.Tables) != 1 || len(selects.FindAllString(text, -1)) > 1:
		why = "it reads other rows"
	case len(plan.Hidden) > 0:
		names := make([]string, len(plan.Hidden))
		for i, hidden := range plan.Hidden {
			names[i] = hidden.Name
		}
		why = "nobody vouches for what it calls: " + strings.Join(names, ", ")
	default:
		return nil
	}
	return misconfig.New("lists.Where", text, "a row alone must decide whether a list has it, and here "+why+": compare columns of "+table+" with values")
}

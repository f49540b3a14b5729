// Package database holds what a process knows of a database behind a handle:
// its catalog, the plans of the texts that were sent to it, who it is, and what
// statements have done to its pooled sessions.
package database

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/txn"
)

// rememberedPlans is how many texts' plans are kept for each database.
const rememberedPlans = 4096

// ErrUnknownTable is returned for a table that the database doesn't know.
var ErrUnknownTable = errors.New("cacheplugin: unknown table")

// Set holds the databases behind one handle: its own, and under dbresolver the
// other sources and the replicas.
type Set struct {
	dialect conj.Dialect
	limits  conj.Limits
	report  *report.Reporter
	// instance identifies databases that have no identity of their own: those
	// in memory, which no other process sees.
	instance string
	options  string // of the handle's DSN, part of the identity

	registry *Registry
	main     *Database
}

// Registry holds the databases behind all handles of a plugin: what a statement
// through one handle changes of a database all know. Its zero value is ready for
// use.
type Registry struct {
	Pools  txn.Pools
	byPool sync.Map // *sql.DB -> *Database
}

// NewSet returns the databases of a handle. It is to be bound to the handle's pool.
func NewSet(db *gorm.DB, d conj.Dialect, limits conj.Limits, r *report.Reporter, registry *Registry) *Set {
	s := &Set{dialect: d, limits: limits, report: r, instance: rand.Text(), options: dsnOptions(db.Dialector, d), registry: registry}
	s.main = s.open()
	return s
}

// Bind has the set's own database be the one behind the handle's pool, unless
// another handle has been bound to that.
func (s *Set) Bind(db *gorm.DB) {
	if pool, err := db.DB(); err == nil {
		d, _ := s.registry.byPool.LoadOrStore(pool, s.main)
		s.main = d.(*Database) //nolint:forcetypeassert // only databases are stored
	}
}

// Place says what stands behind a pool.
func (s *Set) Place(pool gorm.ConnPool) txn.Place { return s.registry.Pools.Place(pool) }

// Beneath is Place that looks through pools of somebody else's type, too.
func (s *Set) Beneath(pool gorm.ConnPool) txn.Place { return s.registry.Pools.Beneath(pool) }

func (s *Set) open() *Database {
	c := catalog.New(s.dialect)
	c.Own = own
	return &Database{
		Dialect: s.dialect, Catalog: c, pools: &s.registry.Pools,
		limits: s.limits, report: s.report, instance: s.instance, options: s.options, plans: conj.NewPlanCache(rememberedPlans),
	}
}

// Of returns the database behind a pool. Connections and transactions that
// don't tell theirs belong to the handle's own.
func (s *Set) Of(pool gorm.ConnPool) *Database { return s.At(s.Place(pool)) }

// At is Of for a pool whose place is known.
func (s *Set) At(p txn.Place) *Database {
	if p.DB == nil {
		return s.main
	}
	if d, ok := s.registry.byPool.Load(p.DB); ok {
		return d.(*Database) //nolint:forcetypeassert // only databases are stored
	}
	d, _ := s.registry.byPool.LoadOrStore(p.DB, s.open())
	return d.(*Database) //nolint:forcetypeassert // only databases are stored
}

// Database is what is known of one physical database. It is safe for
// concurrent use.
type Database struct {
	Dialect conj.Dialect
	Catalog *catalog.Catalog

	limits   conj.Limits
	report   *report.Reporter
	instance string
	options  string
	pools    *txn.Pools
	plans    *conj.PlanCache

	identity atomic.Pointer[string] // part of every entry's key
	settings atomic.Pointer[string] // of its sessions, part of the identity
	// sessionTainted is set when a statement changed a pooled session in a way
	// that may change what texts mean (search_path, role): which connection it
	// was is unknown, so that nothing is cached from then on.
	sessionTainted atomic.Bool
	// temporary are the lower-case names of temporary tables that were made on
	// some connection of the pool: what they mean differs from then on.
	temporary sync.Map // string -> struct{}
	// absent are the IDs of the tables in which a row was looked for that wasn't
	// there, by a number that the program has chosen.
	absent sync.Map // string -> struct{}
}

// Lasting reports whether what is read of the catalog may be remembered: not
// in a transaction that has changed tables and may be rolled back.
func Lasting(tx *txn.Tx) bool { return tx == nil || !tx.DDL() }

// Plan returns the plan of a text, from memory or compiled. The catalog is read
// through q, the statement's own connection, so that a transaction's own tables
// are seen and a pool of one connection doesn't wait for itself. A plan that is
// not to be remembered is compiled anew.
func (d *Database) Plan(ctx context.Context, q catalog.Querier, text string, remember bool) (*conj.Plan, error) {
	return d.PlanOn(ctx, q, text, remember, nil)
}

// PlanOn is Plan for a query that depends on rows by some columns only.
func (d *Database) PlanOn(ctx context.Context, q catalog.Querier, text string, remember bool, on []string) (*conj.Plan, error) {
	key := text
	if len(on) > 0 {
		key += "\x00" + strings.Join(on, "\x00")
	}
	known, epoch := d.plans.Get(key)
	if known != nil && remember {
		return known, nil
	}
	unknown := false
	p, err := conj.CompileOn(d.Dialect, text, func(name conj.TableName) (*conj.Table, error) {
		t, err := d.Catalog.Table(ctx, q, name, remember)
		if err != nil {
			return nil, err
		}
		if t == nil {
			unknown = true
			return nil, nil
		}
		return t.Table, nil
	}, d.limits, on)
	if err != nil {
		return nil, err
	}
	if p.Statement == conj.Select && p.Skip == "" {
		if err := d.hideAdded(ctx, q, text, remember, p); err != nil {
			return nil, err
		}
	}
	// A table that is unknown now may be made by another process.
	if remember && !unknown {
		d.plans.Put(key, p, epoch)
	}
	return p, nil
}

// Planned reports whether the plan of a text is remembered.
func (d *Database) Planned(text string) bool {
	known, _ := d.plans.Get(text)
	return known != nil
}

// BarePlan compiles a text without the catalog: no table is known.
func (d *Database) BarePlan(text string) (*conj.Plan, error) {
	return conj.Compile(d.Dialect, text, func(conj.TableName) (*conj.Table, error) { return nil, nil }, d.limits)
}

// Redefined forgets what DDL may have changed.
func (d *Database) Redefined() {
	d.Catalog.Drop()
	d.plans.Drop()
}

// NoteAbsent notes that a row was looked for in a table by a number that the
// program has chosen, and wasn't there.
func (d *Database) NoteAbsent(id string) { d.absent.Store(id, struct{}{}) }

// Absent reports whether NoteAbsent was called for a table.
func (d *Database) Absent(id string) bool {
	_, absent := d.absent.Load(id)
	return absent
}

// NoteTemporary notes a temporary table that a statement has made.
func (d *Database) NoteTemporary(name string) {
	d.temporary.Store(strings.ToLower(name), struct{}{})
}

// Temporary returns a name among some that a temporary table may have taken;
// empty if there is none.
func (d *Database) Temporary(names []conj.TableName) string {
	for _, n := range names {
		if _, ok := d.temporary.Load(strings.ToLower(n.Name)); ok {
			return n.Name
		}
	}
	return ""
}

// Table finds a table by the name that GORM knows it by.
func (d *Database) Table(ctx context.Context, pool gorm.ConnPool, name string) (*catalog.Table, error) {
	_, tx := d.pools.Of(pool)
	table, err := d.Catalog.Table(ctx, pool, dialect.SplitName(name), Lasting(tx))
	if err != nil {
		return nil, fmt.Errorf("cacheplugin: look up table %s: %w", name, err)
	}
	if table == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknownTable, name)
	}
	return table, nil
}

// Package policy holds what the profiles say of tables, resolved and
// remembered.
package policy

import (
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
)

// Policy is what a profile says of a table. The zero value is that of a table
// that no profile matches.
type Policy struct {
	// Found is set if a profile matches the table.
	Found bool
	// Forbids is set if that profile is nil: queries that read the table must
	// not be cached.
	Forbids bool
	// Err says what is wrong with a profile that a model carries.
	Err error

	Ops         cache.Op
	Timeout     time.Duration
	Lock        bool
	MaxStale    time.Duration
	CacheOnSave string
	Touches     []string // nil if nothing is said of the table's triggers
	DependsOn   []string // nil if nobody vouches for what queries hide
}

// rememberedTables bounds what is remembered: queries can make up names of
// tables (db.Table with an expression).
const rememberedTables = 4096

// Policies finds the policies of tables. It is safe for concurrent use.
type Policies struct {
	find    func(table string, model reflect.Type) Policy
	forbids func(tables []string) bool

	known sync.Map // of
	count atomic.Int64
}

type of struct {
	table string
	model reflect.Type
}

// New returns Policies that asks find for each table and model once. The
// function forbids reports whether a pattern other than the catch-all forbids
// the caching of one of some tables.
func New(find func(table string, model reflect.Type) Policy, forbids func(tables []string) bool) *Policies {
	return &Policies{find: find, forbids: forbids}
}

// Of returns the policy of a table; model may be nil. It is not to be changed.
func (p *Policies) Of(table string, model reflect.Type) *Policy {
	key := of{table, model}
	if known, ok := p.known.Load(key); ok {
		return known.(*Policy) //nolint:forcetypeassert // only policies are stored
	}
	found := p.find(table, model)
	if p.count.Add(1) <= rememberedTables {
		p.known.Store(key, &found)
	}
	return &found
}

// Forbid reports whether a table's profile forbids caching, whatever model the
// query uses. A family goes by the profile of its root; a pattern that names
// another member, and is not the catch-all, can forbid it, too.
func (p *Policies) Forbid(table *conj.Table) bool {
	return p.Of(table.Name, nil).Forbids || p.forbids(table.Members)
}

// DropsNothing says why nothing may depend on a table that a nil profile
// forbids.
const DropsNothing = "its profile is nil, so that writes to it drop nothing: give it a profile, without Ops if its own queries are not to be cached"

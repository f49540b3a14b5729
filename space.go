package cacheplugin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/near"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// QueryInfo is what Config.PrefixFunc is told of a query, or of a write's
// table.
type QueryInfo struct {
	// Database identifies the database, as the server and its name. Empty for
	// one in memory.
	Database string
	// Tables are the names of the tables that are read, each once, or the one
	// that is written. There are none when all is to be dropped.
	Tables []string

	several *bool
}

// Table is the one table of the query, for a prefix by table. A query that
// reads several has no such prefix: it is not cached, and Explain and the
// Observer's skip event say so.
func (q QueryInfo) Table() string {
	if len(q.Tables) == 1 {
		return q.Tables[0]
	}
	if q.several != nil {
		*q.several = true
	}
	return ""
}

// space is one namespace in Redis: that of Prefix, or of what PrefixFunc and
// DBSpecific make of it.
type space struct {
	id    string // what its name adds to Prefix
	store *store.Store
	guard *store.Guard
	near  *near.Space
	// followed: the process is told of what others invalidate in it.
	followed atomic.Bool
	// strict has every read try, however long Redis has been away: who asked
	// for its errors is to get one from each.
	strict bool
}

// spaces are the namespaces that the process has met.
type spaces struct {
	mu   sync.Mutex
	byID map[string]*space
}

// newSpace makes the store of a namespace.
func newSpace(c Config, namespace string, kept *near.Cache) (*space, error) {
	s, err := store.New(store.Options{
		Client:    c.Redis,
		Namespace: namespace,
		Mode:      c.Mode,
		Spread:    c.Spread,
		LeaseTTL:  c.LeaseTTL,
		Timeout:   c.RedisTimeout,
		Settle:    c.ReplicaLag,

		DirectConnections: c.DirectConnections,
	})
	if err != nil {
		return nil, err
	}
	return &space{
		store: s, guard: store.NewGuard(s, store.GuardOptions{RetryFor: c.RetryFor, Logger: c.Logger}),
		near:   kept.Space(),
		strict: c.OnReadError == Return,
	}, nil
}

// spaceOf returns the namespace of an ID, made at its first use.
func (p *Plugin) spaceOf(id string) (*space, error) {
	p.spaces.mu.Lock()
	defer p.spaces.mu.Unlock()
	if s, ok := p.spaces.byID[id]; ok {
		return s, nil
	}
	s, err := newSpace(p.config, p.config.Prefix+id, p.near)
	if err != nil {
		return nil, err
	}
	s.id = id
	p.spaces.byID[id] = s
	return s, nil
}

// allSpaces returns every namespace that the process has met.
func (p *Plugin) allSpaces() []*space {
	p.spaces.mu.Lock()
	defer p.spaces.mu.Unlock()
	all := make([]*space, 0, len(p.spaces.byID))
	for _, s := range p.spaces.byID {
		all = append(all, s)
	}
	return all
}

// escapeSpace keeps the braces, which mark a slot, and the marks of this
// package out of what PrefixFunc returns.
var escapeSpace = strings.NewReplacer("%", "%25", "{", "%7b", "}", "%7d", "@", "%40")

// only returns the one namespace of all tables, nil where the configuration
// makes several.
func (e *engine) only() *space {
	if e.config.PrefixFunc == nil && !e.config.DBSpecific {
		return e.home
	}
	return nil
}

// space returns the namespace of a query on some tables of the database behind
// a pool. several says that PrefixFunc asked for the one table of several.
func (e *engine) space(ctx context.Context, pool gorm.ConnPool, tables ...string) (s *space, several bool, err error) {
	if s := e.only(); s != nil {
		return s, false, nil
	}
	d := e.database(pool)
	// All handles on one database must agree on its namespace. Two in one
	// memory do by the empty name.
	server, err := d.catalog.Server(ctx, pool)
	if err != nil {
		return nil, false, err
	}
	identity := server.Database
	id := ""
	if e.config.DBSpecific {
		sum := sha256.Sum256([]byte(identity))
		id = "@" + hex.EncodeToString(sum[:8])
	}
	if e.config.PrefixFunc != nil {
		if prefix := e.config.PrefixFunc(ctx, QueryInfo{Database: identity, Tables: tables, several: &several}); prefix != "" {
			id += ":" + escapeSpace.Replace(prefix)
		}
	}
	s, err = e.spaceOf(id)
	if err != nil {
		return nil, false, fmt.Errorf("open the namespace %q: %w", id, err)
	}
	return s, several, nil
}

// everySpace returns the namespaces that a write reaches of which nothing more
// is known: that of its context, or, where PrefixFunc goes by tables, all that
// this process has met.
func (e *engine) everySpace(ctx context.Context, pool gorm.ConnPool) []*space {
	s, several, err := e.space(ctx, pool)
	if several || err != nil {
		return e.allSpaces()
	}
	return []*space{s}
}

// reason says why reads of some tables must not be looked up now.
func (s *space) reason(tables []string) string {
	if s.guard.Bypass(tables...) {
		return "an invalidation is pending"
	}
	if !s.strict && !s.guard.Available() {
		return "Redis does not answer"
	}
	return ""
}

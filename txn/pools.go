package txn

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"gorm.io/gorm"
)

// Pools knows the pools that one plugin watches. Its zero value is ready for use. It
// is safe for concurrent use, but for Install.
type Pools struct {
	connectors sync.Map // *sql.DB -> *Connector
	over       sync.Map // *sql.DB that GORM had opened -> the *sql.DB over it
}

// Where says what stands behind a Statement.ConnPool.
type Where uint8

const (
	// Foreign is anything whose transactions are not seen: a pool that nobody
	// watches, a session made before Install, a connection of which it can't be
	// told whether it is in a transaction. It is the answer in doubt.
	Foreign Where = iota
	// Autocommit is a pool or connection on which each statement commits by
	// itself.
	Autocommit
	// InTx is a transaction.
	InTx
	// Unsettled is a pool that has connections in transactions which were begun
	// by text: which one a statement comes to shows when it is sent.
	Unsettled
	// Rewritten is a pool of somebody else's type, such as one that chooses shards:
	// what comes to the database may be another statement.
	Rewritten
)

// AtConnection reports whether a statement can only be looked at when it comes to
// its connection, which shows it to Options.Watch.
func (w Where) AtConnection() bool { return w == Unsettled || w == Rewritten }

// String says it in words.
func (w Where) String() string {
	switch w {
	case Autocommit:
		return "autocommit"
	case InTx:
		return "in transaction"
	case Unsettled:
		return "unsettled"
	case Rewritten:
		return "rewritten"
	}
	return "foreign"
}

// Wrapper is a pool that stands before another one, such as a pool that
// replaces Statement.ConnPool during one callback.
type Wrapper interface {
	Unwrap() gorm.ConnPool
}

// maxLayers bounds Bare where wrappers form a cycle. GORM's own nest three deep.
const maxLayers = 32

// Bare looks through GORM's prepared statements, and through every Wrapper. It
// returns nil for a pool that isn't there.
func Bare(pool gorm.ConnPool) gorm.ConnPool {
	for range maxLayers {
		switch p := pool.(type) {
		case nil:
			return nil
		case *gorm.PreparedStmtTX:
			if p == nil {
				return nil
			}
			pool = p.Tx
		case *gorm.PreparedStmtDB:
			if p == nil {
				return nil
			}
			pool = p.ConnPool
		case Wrapper:
			pool = p.Unwrap()
		default:
			if v := reflect.ValueOf(pool); v.Kind() == reflect.Pointer && v.IsNil() {
				return nil
			}
			return pool
		}
	}
	return nil
}

// Place is what stands behind a Statement.ConnPool.
type Place struct {
	Where Where
	Tx    *Tx     // nil unless InTx
	DB    *sql.DB // nil if it is not known
}

// Of finds what stands behind a connection pool.
func (p *Pools) Of(pool gorm.ConnPool) (Where, *Tx) {
	place := p.Place(pool)
	return place.Where, place.Tx
}

// Place is Of that also tells the pool.
func (p *Pools) Place(pool gorm.ConnPool) Place {
	switch bare := Bare(pool).(type) {
	case nil:
		return Place{}
	case *sql.DB:
		return p.placeOf(bare)
	case *Direct:
		where, tx := bare.conn.where()
		return Place{where, tx, bare.conn.connector.DB()}
	case *sql.Tx, *sql.Conn:
		return probe(bare)
	}
	return Place{Where: Rewritten}
}

// Beneath is Place that looks through pools of somebody else's type, too.
func (p *Pools) Beneath(pool gorm.ConnPool) Place {
	place := p.Place(pool)
	if place.Where == Rewritten {
		return probe(Bare(pool))
	}
	return place
}

func (p *Pools) placeOf(db *sql.DB) Place {
	c, ok := p.connectors.Load(db)
	switch {
	case !ok:
		return Place{DB: db}
	case c.(*Connector).unsettled.Load() > 0: //nolint:forcetypeassert // only these are stored
		return Place{Where: Unsettled, DB: db}
	}
	return Place{Where: Autocommit, DB: db}
}

// probeText is what a probe comes to where nobody answers it.
const probeText = "SELECT 1"

// probe asks the connection behind a pool where it is.
func probe(pool gorm.ConnPool) Place {
	m := &mark{probes: true}
	_, err := pool.ExecContext(context.WithValue(context.Background(), markKey{}, m), probeText)
	switch {
	case m.found != nil:
		return Place{m.where, m.tx, m.found.connector.DB()}
	case errors.Is(err, sql.ErrTxDone), errors.Is(err, sql.ErrConnDone):
		return Place{Where: InTx, Tx: over()}
	}
	return Place{}
}

// Install puts a Connector under the pool of db, and has it watched: under its
// prepared statements, in a new *sql.DB that takes its connections, its settings and
// its place from the one that is there; the one that is there goes on under it. A
// pool whose connections come from a Connector already stays as it is.
//
// Installing again is a no-op, also for another *gorm.DB on the same pool: dbresolver
// opens its sources and replicas with a copy of the configuration, plugins included.
// A *gorm.DB without a pool (dry runs), or opened on a transaction or a connection,
// is left as it is.
//
// Sessions made before keep the old pool, except that those with prepared statements
// of the configuration share the new one. So Install belongs right after gorm.Open,
// and is not safe for use concurrent with statements.
//
// With both plugins in gorm.Config.Plugins, a map, GORM initializes them in any
// order: use db.Use.
//
// Errors: [ErrResolverFirst], [ErrOwner], [ErrHidden], [ErrNoJournal].
func (p *Pools) Install(db *gorm.DB, o Options) error {
	if o.NewJournal == nil {
		return ErrNoJournal
	}
	if o.Dialect == "" && db.Dialector != nil {
		o.Dialect = db.Name()
	}
	// The innermost pool, and the prepared layer right above it.
	var prepared *gorm.PreparedStmtDB
	inner := db.ConnPool
	for range maxLayers {
		layer, ok := inner.(*gorm.PreparedStmtDB)
		if !ok || layer == nil {
			break
		}
		prepared, inner = layer, layer.ConnPool
	}
	opened, ok := inner.(*sql.DB)
	if !ok || opened == nil {
		return p.installed(inner)
	}
	pool, err := p.installOn(db, opened, &o)
	if err != nil {
		return fmt.Errorf("install in gorm: %w", err)
	}
	switch {
	case pool == opened:
	case prepared != nil:
		prepared.Close() // what was prepared is on the pool that is there
		prepared.ConnPool = pool
	default:
		if db.Statement != nil && same(db.Statement.ConnPool, inner) {
			db.Statement.ConnPool = pool
		}
		db.ConnPool = pool
	}
	return nil
}

// installed reports whether nothing can, and need, be done for a pool that is no
// *sql.DB.
func (p *Pools) installed(pool gorm.ConnPool) error {
	switch bare := Bare(pool).(type) {
	case nil, *sql.Conn, gorm.TxCommitter:
		return nil
	default:
		if probe(bare).DB == nil {
			return fmt.Errorf("install in gorm: %w: %T", ErrHidden, bare)
		}
		return nil
	}
}

// resolverCallback is the name under which dbresolver registers its callbacks.
const resolverCallback = "gorm:db_resolver"

// installOn returns the pool that is watched in the place of one.
func (p *Pools) installOn(db *gorm.DB, opened *sql.DB, o *Options) (*sql.DB, error) {
	if over, ok := p.over.Load(opened); ok {
		opened = over.(*sql.DB) //nolint:forcetypeassert // only these are stored
	}
	if c, ok := p.connectors.Load(opened); ok {
		return opened, c.(*Connector).watch(opened, o) //nolint:forcetypeassert // only these are stored
	}
	// Not by db.Plugins: sources that dbresolver opens share that map.
	if db.Callback().Query().Get(resolverCallback) != nil {
		return nil, ErrResolverFirst
	}
	if c := connectorOf(db.Statement.Context, opened); c != nil {
		if err := c.watch(opened, o); err != nil {
			return nil, err
		}
		p.connectors.Store(opened, c)
		return opened, nil
	}
	return p.cover(opened, o), nil
}

// lookTimeout bounds the wait for a connection at Install.
const lookTimeout = 5 * time.Second

// connectorOf returns the Connector that a pool's connections come from; nil if there
// is none, or the database doesn't answer.
func connectorOf(ctx context.Context, db *sql.DB) *Connector {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	c, err := db.Conn(ctx)
	if err != nil {
		return nil
	}
	defer c.Close() //nolint:errcheck // it goes back to the pool
	raw, err := driverConn(c)
	if err != nil {
		return nil
	}
	if ours, ok := raw.(*Conn); ok {
		return ours.connector
	}
	return nil
}

// same compares pools, which may be of a type that == panics on.
func same(a, b gorm.ConnPool) bool {
	return a != nil && reflect.TypeOf(a).Comparable() && a == b
}

package lookup

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"reflect"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/near"
	"github.com/cacheplugin/cacheplugin/internal/policy"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/shapes"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/txn"
)

type user struct {
	ID     int64
	TeamID int64
}

// forgetful is a journal of writes that need not be invalidated.
type forgetful struct{}

func (forgetful) Flush(context.Context) error { return nil }

// fixture is a Handle on SQLite in memory and a Redis in the process.
type fixture struct {
	*Handle
	db     *gorm.DB
	server *miniredis.Miniredis

	mu     sync.Mutex
	events []report.Event
}

func newFixture(t *testing.T, configure func(*Options)) *fixture {
	t.Helper()
	f := &fixture{server: miniredis.RunT(t)}
	db, err := gorm.Open(sqlite.Open(":memory:"))
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	require.NoError(t, db.AutoMigrate(&user{}))
	registry := &database.Registry{}
	require.NoError(t, registry.Pools.Install(db, txn.Options{NewJournal: func() txn.Journal { return forgetful{} }}))
	pool, err = db.DB() // the one over it
	require.NoError(t, err)
	f.db = db

	client := redis.NewClient(&redis.Options{Addr: f.server.Addr(), MaxRetries: -1})
	kept, err := near.New(near.Options{})
	require.NoError(t, err)
	quiet := slog.New(slog.DiscardHandler)
	spaces, err := namespace.NewSet(namespace.Options{
		Store: store.Options{Client: client, Namespace: "app"}, Near: kept, Guard: store.GuardOptions{Logger: quiet},
	})
	require.NoError(t, err)
	r := report.New(quiet, func(_ context.Context, e report.Event) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.events = append(f.events, e)
	})
	o := Options{
		Shapes:     shapes.NewSet(),
		Namespaces: spaces, Report: r,
		Policies: policy.New(func(string, reflect.Type) policy.Policy {
			return policy.Policy{Found: true, Ops: cache.All, Timeout: time.Hour}
		}, func([]string) bool { return false }),
		LockWait: time.Second, MaxRows: 1000, MaxBytes: 1 << 20,
	}
	if configure != nil {
		configure(&o)
	}
	databases := database.NewSet(db, conj.SQLite, conj.Limits{}, r, registry)
	databases.Bind(db)
	f.Handle = New(o).On(conj.SQLite, databases)
	t.Cleanup(func() {
		ctx := context.Background()
		require.NoError(t, f.Close(ctx))
		for _, n := range spaces.All() {
			require.NoError(t, n.Guard.Close(ctx))
		}
		require.NoError(t, client.Close())
		require.NoError(t, pool.Close())
	})
	return f
}

// kinds are the kinds of the events since the last call.
func (f *fixture) kinds() []report.Kind {
	f.mu.Lock()
	defer f.mu.Unlock()
	var kinds []report.Kind
	for _, e := range f.events {
		kinds = append(kinds, e.Kind)
	}
	f.events = nil
	return kinds
}

// query is what a handle would send.
func (f *fixture) query(t *testing.T, db *gorm.DB) Query {
	t.Helper()
	tx := BuildQuery(db)
	require.NoError(t, tx.Error)
	return NewQuery(tx, f.db.ConnPool, f.databases.Place(f.db.ConnPool), tx.Statement.SQL.String(), tx.Statement.Vars, false)
}

// ask runs a query through the cache, and returns the events.
func (f *fixture) ask(t *testing.T, db *gorm.DB) []report.Kind {
	t.Helper()
	r, err := f.Prepare(t.Context(), f.query(t, db))
	require.NoError(t, err)
	if r == nil {
		return f.kinds()
	}
	rows, err := r.Open(t.Context())
	require.NoError(t, err)
	if rows != nil {
		require.NoError(t, rows.Close())
	}
	return f.kinds()
}

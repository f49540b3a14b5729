package namespace

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/near"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

func newSet(t *testing.T, configure func(*Options)) *Set {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	kept, err := near.New(near.Options{})
	require.NoError(t, err)
	o := Options{Store: store.Options{Client: client, Namespace: "app"}, Near: kept}
	if configure != nil {
		configure(&o)
	}
	s, err := NewSet(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, n := range s.All() {
			require.NoError(t, n.Guard.Close(context.Background()))
		}
	})
	return s
}

func openFile(t *testing.T, name string) (*gorm.DB, *database.Database) {
	t.Helper()
	db, err := gorm.Open(sqlite.Open(filepath.Join(t.TempDir(), name)))
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	return db, database.NewSet(db, conj.SQLite, conj.Limits{}, report.New(slog.New(slog.DiscardHandler), nil), &database.Registry{}).Of(pool)
}

func TestWithoutTenantsThereIsOneNamespace(t *testing.T) {
	s := newSet(t, nil)
	db, d := openFile(t, "a")
	n, several, err := s.Of(t.Context(), d, db.ConnPool, "users")
	require.NoError(t, err)
	require.False(t, several)
	require.Same(t, s.Home(), n)
	require.Same(t, s.Home(), s.Sole())
	require.Equal(t, []*Namespace{s.Home()}, s.Reached(t.Context(), d, db.ConnPool))
}

type tenantKey struct{}

func TestTenantsHaveNamespacesOfTheirOwn(t *testing.T) {
	s := newSet(t, func(o *Options) {
		o.Suffix = func(ctx context.Context, _ string, _ []string) (string, bool) {
			tenant, _ := ctx.Value(tenantKey{}).(string)
			return tenant, false
		}
	})
	db, d := openFile(t, "a")
	of := func(tenant string) *Namespace {
		n, _, err := s.Of(context.WithValue(t.Context(), tenantKey{}, tenant), d, db.ConnPool, "users")
		require.NoError(t, err)
		return n
	}
	require.Nil(t, s.Sole())
	require.Same(t, of("a"), of("a"))
	require.NotSame(t, of("a"), of("b"))
	require.Same(t, s.Home(), of(""))
	require.Equal(t, ":%7bx%7d%40", of("{x}@").ID, "what marks a slot or a database is escaped")
	require.Len(t, s.All(), 4)
}

func TestAPrefixByTableReachesAllNamespacesWithAnUnknownWrite(t *testing.T) {
	s := newSet(t, func(o *Options) {
		o.Suffix = func(_ context.Context, _ string, tables []string) (string, bool) {
			if len(tables) != 1 {
				return "", true
			}
			return tables[0], false
		}
	})
	db, d := openFile(t, "a")
	users, _, err := s.Of(t.Context(), d, db.ConnPool, "users")
	require.NoError(t, err)
	_, several, err := s.Of(t.Context(), d, db.ConnPool, "users", "orders")
	require.NoError(t, err)
	require.True(t, several)
	require.ElementsMatch(t, []*Namespace{s.Home(), users}, s.Reached(t.Context(), d, db.ConnPool))
}

func TestDatabasesCanBeKeptApart(t *testing.T) {
	s := newSet(t, func(o *Options) { o.PerDatabase = true })
	first, d1 := openFile(t, "a")
	second, d2 := openFile(t, "b")
	one, _, err := s.Of(t.Context(), d1, first.ConnPool, "users")
	require.NoError(t, err)
	two, _, err := s.Of(t.Context(), d2, second.ConnPool, "users")
	require.NoError(t, err)
	require.NotSame(t, one, two)
}

func TestUnreadable(t *testing.T) {
	server := miniredis.RunT(t)
	s := newSet(t, func(o *Options) {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		o.Store.Client = client
		o.Guard = store.GuardOptions{RetryFor: -1, Logger: slog.New(slog.DiscardHandler)}
	})
	n := s.Home()
	require.Empty(t, n.Unreadable([]string{"main.users"}))
	server.SetError("LOADING")
	_, err := n.Guard.Invalidate(t.Context(), []store.Change{{Table: "main.users"}})
	require.ErrorIs(t, err, store.ErrQueued)
	require.Equal(t, "an invalidation is pending", n.Unreadable([]string{"main.users"}))
	server.SetError("")
	require.Eventually(t, func() bool { return n.Unreadable([]string{"main.users"}) == "" }, time.Minute, time.Millisecond)
}

func TestFollowCallsOnce(t *testing.T) {
	n := newSet(t, nil).Home()
	calls := 0
	for range 3 {
		n.Follow(func(*store.Store, *near.Space) { calls++ })
	}
	require.Equal(t, 1, calls)
}

package cost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/lua"
)

// trips counts what a client asks of Redis: round trips, and calls of the script
// that invalidates or fences a table.
type trips struct{ rounds, tables atomic.Int64 }

// travels returns a client of the shared Redis that counts.
func travels(t testing.TB) (redis.UniversalClient, *trips) {
	t.Helper()
	n := &trips{}
	o := testenv.RedisOptions(t)
	var dialer net.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		return &travelConn{Conn: conn, trips: n}, err
	}
	client := redis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	return client, n
}

// travelConn counts the answers that are waited for, however many writes their
// questions took.
type travelConn struct {
	net.Conn
	trips *trips
	asked atomic.Bool
}

func (c *travelConn) Write(b []byte) (int, error) {
	c.trips.tables.Add(int64(bytes.Count(b, []byte(lua.Invalidate.Hash()))))
	c.asked.Store(true)
	return c.Conn.Write(b)
}

func (c *travelConn) Read(b []byte) (int, error) {
	if c.asked.Swap(false) {
		c.trips.rounds.Add(1)
	}
	return c.Conn.Read(b)
}

// of counts what a write takes.
func (n *trips) of(t testing.TB, write func() error) (rounds, tables int) {
	t.Helper()
	r, c := n.rounds.Load(), n.tables.Load()
	require.NoError(t, write())
	return int(n.rounds.Load() - r), int(n.tables.Load() - c)
}

type (
	// secret may not be cached.
	secret struct {
		ID    uint
		Shelf int
		Wares []secretWare `gorm:"constraint:OnDelete:CASCADE"`
	}
	// secretWare belongs to one, and is.
	secretWare struct {
		ID       uint
		SecretID uint
		Shelf    int
	}
	// casket may be cached, and what belongs to it may not.
	casket struct {
		ID      uint
		Letters []letter `gorm:"constraint:OnDelete:CASCADE"`
	}
	letter struct {
		ID       uint
		CasketID uint
	}
)

// travelling runs a test on each database in both grades, with the number of
// round trips that a commit takes.
func travelling(t *testing.T, test func(t *testing.T, f *fixture.Fixture, n *trips, commit int)) {
	t.Helper()
	client, n := travels(t)
	for _, env := range testdb.Databases(t) {
		for commit, grade := range map[int]cacheplugin.Consistency{1: cacheplugin.Returned, 2: cacheplugin.Strict} {
			t.Run(env.Name+"/"+grade.String(), func(t *testing.T) {
				f := fixture.New(t, env, fixture.Options{
					Models: []any{&ware{}, &stocked{}, &retired{}, &crate{}, &lot{}, &secret{}, &secretWare{}, &casket{}, &letter{}},
					Config: cacheplugin.Config{
						Redis: client, Consistency: grade, FenceTTL: time.Hour,
						Profiles: cacheplugin.Profiles{
							"wares": {Ops: cache.All, Timeout: time.Hour}, "stockeds": {Ops: cache.All, Timeout: time.Hour},
							"secret_wares": {Ops: cache.All, Timeout: time.Hour}, "caskets": {Ops: cache.All, Timeout: time.Hour},
							"secrets": nil, "letters": nil,
						},
					},
				})
				test(t, f, n, commit)
			})
		}
	}
}

// know has the process learn what queries narrow by.
func know(t testing.TB, f *fixture.Fixture) {
	t.Helper()
	for range 2 {
		for _, table := range []string{"wares", "stockeds", "secret_wares", "caskets"} {
			var rows []map[string]any
			require.NoError(t, f.DB.Table(table).Where("id = ?", 1).Find(&rows).Error)
		}
		require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
			for _, row := range []any{&ware{Code: fmt.Sprint(time.Now().UnixNano())}, &stocked{}, &secret{Wares: []secretWare{{}}}, &casket{Letters: []letter{{}}}} {
				if err := tx.Create(row).Error; err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

func TestACommitTakesOneRoundTripHoweverMuchItChanges(t *testing.T) {
	travelling(t, func(t *testing.T, f *fixture.Fixture, n *trips, commit int) {
		know(t, f)
		next := 0
		create := func(db *gorm.DB, rows int) error {
			all := make([]ware, rows)
			for i := range all {
				next++
				all[i] = ware{Code: fmt.Sprint(next), Shelf: next}
			}
			return db.Create(&all).Error
		}
		for _, rows := range []int{1, 100, 1000} {
			f.Events.Take()
			rounds, tables := n.of(t, func() error { return create(f.DB, rows) })
			for _, e := range f.Events.Take() {
				if e.Kind == cacheplugin.EventInvalidate {
					require.False(t, e.Whole, "%d rows", rows)
				}
			}
			require.Equal(t, commit, rounds, "%d rows", rows)
			if rows <= 100 { // longer ones are cut up, so that others get a turn
				require.Equal(t, commit, tables, "one call of the script for each table: %d rows", rows)
			}
		}
		rounds, tables := n.of(t, func() error {
			return f.DB.Transaction(func(tx *gorm.DB) error {
				if err := create(tx, 100); err != nil {
					return err
				}
				if err := tx.Model(&ware{}).Where("id = ?", 1).Update("price", 7).Error; err != nil {
					return err
				}
				if err := tx.Create(&[]stocked{{Shelf: 1}, {Shelf: 2}}).Error; err != nil {
					return err
				}
				return tx.Create(&secretWare{SecretID: 1}).Error
			})
		})
		require.Equal(t, commit, rounds, "three tables")
		require.Equal(t, 3*commit, tables, "three tables")

		rounds, _ = n.of(t, func() error {
			err := f.DB.Transaction(func(tx *gorm.DB) error {
				require.NoError(t, create(tx, 10))
				return errUndo
			})
			if !errors.Is(err, errUndo) {
				return err
			}
			return nil
		})
		require.Zero(t, rounds, "a rollback")
	})
}

var errUndo = errors.New("undo")

func TestAWriteToATableThatMayNotBeCachedAsksNothingOfRedis(t *testing.T) {
	travelling(t, func(t *testing.T, f *fixture.Fixture, n *trips, commit int) {
		know(t, f)
		require.NoError(t, f.Plain.Create(&secret{ID: 500}).Error)
		require.NoError(t, f.Plain.Create(&letter{ID: 500, CasketID: 1}).Error)
		for _, w := range []struct {
			name   string
			rounds int
			write  func(db *gorm.DB) error
		}{
			{"create", 0, func(db *gorm.DB) error { return db.Create(&secret{ID: 600}).Error }},
			{"batch", 0, func(db *gorm.DB) error { return db.Create(&[]secret{{ID: 601}, {ID: 602}}).Error }},
			{"update", 0, func(db *gorm.DB) error { return db.Model(&secret{ID: 500}).Update("shelf", 3).Error }},
			{"upsert", 0, func(db *gorm.DB) error {
				return db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&letter{ID: 500, CasketID: 1}).Error
			}},
			{"raw", 0, func(db *gorm.DB) error { return db.Exec("UPDATE secrets SET shelf = 4 WHERE id > 1").Error }},
			{"raw insert", 0, func(db *gorm.DB) error { return db.Exec("INSERT INTO letters (id, casket_id) VALUES (700, 1)").Error }},
			{"raw delete", 0, func(db *gorm.DB) error { return db.Exec("DELETE FROM letters WHERE id = 700").Error }},
			{"delete", 0, func(db *gorm.DB) error { return db.Delete(&letter{ID: 500}).Error }},
			{"by association", 0, func(db *gorm.DB) error {
				return db.Model(&casket{ID: 1}).Association("Letters").Append(&letter{})
			}},
			{"created by association with one that may be", commit, func(db *gorm.DB) error {
				return db.Create(&casket{Letters: []letter{{}, {}}}).Error
			}},
			{"with another table", commit, func(db *gorm.DB) error {
				return db.Transaction(func(tx *gorm.DB) error {
					if err := tx.Create(&secret{ID: 603}).Error; err != nil {
						return err
					}
					return tx.Model(&ware{}).Where("id = ?", 1).Update("price", 7).Error
				})
			}},
			{"a parent of one", commit, func(db *gorm.DB) error { return db.Delete(&casket{ID: 1}).Error }},
			{"one that leads to another table", commit, func(db *gorm.DB) error { return db.Delete(&secret{ID: 1}).Error }},
		} {
			rounds, tables := n.of(t, func() error { return w.write(f.DB) })
			require.Equal(t, w.rounds, rounds, w.name)
			require.Equal(t, w.rounds, tables, "calls of the script: %s", w.name)
		}
	})
}

func TestACascadeFromATableThatMayNotBeCachedDropsWhatMayBe(t *testing.T) {
	travelling(t, func(t *testing.T, f *fixture.Fixture, n *trips, _ int) {
		require.NoError(t, f.Plain.Create(&[]secret{{ID: 1, Wares: []secretWare{{ID: 1}}}, {ID: 2}}).Error)
		read := func() {
			var got, want []secretWare
			require.NoError(t, f.DB.Where("secret_id = ?", 1).Find(&got).Error)
			require.NoError(t, f.Plain.Where("secret_id = ?", 1).Find(&want).Error)
			require.Equal(t, want, got)
		}
		f.Cached(t, read)
		require.NoError(t, f.DB.Delete(&secret{ID: 1}).Error)
		f.Misses(t, read)
	})
}

func TestAWriteIsToldToRedisWhateverThisProcessKnowsOfTheTable(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		if env.Name == testenv.SQLite {
			continue // one process alone caches it
		}
		t.Run(env.Name, func(t *testing.T) {
			client, n := travels(t)
			f := fixture.New(t, env, fixture.Options{Models: []any{&ware{}}, Config: cacheplugin.Config{
				Redis: client, Profiles: cacheplugin.Profiles{"others": {Ops: cache.All, Timeout: time.Hour}},
			}})
			require.NoError(t, f.Plain.Create(&ware{Code: "a", Shelf: 1}).Error)
			reader := fixture.NewSibling(t, f, gorm.Config{})
			read := func(what string) {
				var got ware
				require.NoError(t, reader.DB.Scopes(cache.Cache(cache.Timeout(time.Hour))).Take(&got, 1).Error)
				require.Equal(t, what, got.Text)
			}
			reader.Cached(t, func() { read("") }) // by hand, without a profile
			rounds, _ := n.of(t, func() error { return f.DB.Model(&ware{}).Where("id = ?", 1).Update("text", "new").Error })
			require.Positive(t, rounds)
			reader.Misses(t, func() { read("new") })
		})
	}
}

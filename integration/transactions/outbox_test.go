package transactions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/plugin/dbresolver"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// left is a row of the outbox.
type left struct {
	ID, Prefix, Namespaces, Format, Changes string
	Created                                 int64
}

func (left) TableName() string { return "cache_outbox" }

// waiting counts the rows in the outbox.
func waiting(t testing.TB, f *fixture.Fixture) (n int64) {
	t.Helper()
	require.NoError(t, f.Plain.Model(&left{}).Count(&n).Error)
	return n
}

// patient is an outbox that nobody drains: its rows are deleted by Close.
func patient() *cacheplugin.Outbox {
	return &cacheplugin.Outbox{After: time.Hour, Poll: time.Hour}
}

// eager is one that is drained at once.
func eager() *cacheplugin.Outbox {
	return &cacheplugin.Outbox{After: time.Millisecond, Poll: 5 * time.Millisecond}
}

func posting(o *cacheplugin.Outbox) fixture.Options {
	return fixture.Options{Models: []any{&fixture.Brand{}}, Config: cacheplugin.Config{Outbox: o}}
}

func TestTheOutboxHasARowOfEachTransactionThatChangesSomething(t *testing.T) {
	fixture.OnEveryDatabase(t, posting(patient()), func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&[]fixture.Brand{{Kind: 1}, {Kind: 2}, {Kind: 3}}).Error)
		one, two := f.Brands(t, f.DB, 1), f.Brands(t, f.DB, 2)
		f.Cached(t, one)
		f.Cached(t, two)
		rows := waiting(t, f)
		require.Zero(t, rows)
		for _, way := range fixture.Ways[:6] {
			require.NoError(t, f.Plain.Model(&fixture.Brand{}).Where("id = ?", 1).Update("name", "old").Error)
			require.NoError(t, way.Write(f.DB), way.Name)
			rows++
			require.Equal(t, rows, waiting(t, f), way.Name)
			require.Equal(t, "miss", f.Outcome(one), way.Name)
			f.Hits(t, one)
			f.Hits(t, two, "as narrowly as ever")
		}
		f.Hits(t, f.Brands(t, f.DB, 1))

		roll := errors.New("roll back")
		require.ErrorIs(t, f.DB.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Create(&fixture.Brand{}).Error)
			return roll
		}), roll)
		require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
			return tx.First(&fixture.Brand{}).Error
		}))
		require.Error(t, f.DB.Exec("INSERT INTO brands (nowhere) VALUES (1)").Error)
		if f.Env.Dialect == "postgres" {
			require.Equal(t, rows, waiting(t, f), "nothing was changed")
		}
		require.Zero(t, f.Plugin.Stats().Repaired)
		require.NoError(t, f.Plugin.Close(context.Background()))
		require.Zero(t, waiting(t, f), "they are deleted when Redis has been told")
	})
}

func TestTheOutboxIsPartOfTheTransaction(t *testing.T) {
	fixture.OnEveryDatabase(t, posting(patient()), func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
		read := f.Brands(t, f.DB, 1)
		f.Cached(t, read)
		require.NoError(t, f.Plain.Exec("DROP TABLE cache_outbox").Error)
		for _, way := range fixture.Ways[:6] {
			require.ErrorIs(t, way.Write(f.DB), cacheplugin.ErrOutboxWrite, way.Name)
			f.Hits(t, read)
		}
		var n int64
		require.NoError(t, f.Plain.Model(&fixture.Brand{}).Where("name = ?", "old").Count(&n).Error)
		require.EqualValues(t, 1, n)
	})
}

// A definition on MySQL commits what was done before it, and the row is written
// before. One that the database does not even understand commits nothing, and the
// row may be undone with what came after a savepoint.
func TestTheOutboxHasARowAfterADefinitionThatWasRefused(t *testing.T) {
	fixture.OnEveryDatabase(t, posting(patient()), func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
		require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Model(&fixture.Brand{}).Where("id = ?", 1).Update("name", "new").Error)
			require.NoError(t, tx.SavePoint("sp").Error)
			require.Error(t, tx.Exec("ALTER TABLE brands ADD COLUMN").Error)
			require.NoError(t, tx.RollbackTo("sp").Error)
			return nil
		}))
		require.EqualValues(t, 1, waiting(t, f))
	})
}

func TestAMissingOutboxIsToldAtUse(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			c := cacheplugin.Config{Redis: testenv.Redis(t), Profiles: fixture.CacheAll(), Outbox: &cacheplugin.Outbox{Table: "my_outbox"}}
			plain := env.Open(t, nil)
			db := env.Reopen(t, plain, nil)
			plugin := cacheplugin.New(c)
			t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
			err := db.Use(plugin)
			require.ErrorIs(t, err, cacheplugin.ErrConfig)
			require.ErrorContains(t, err, "my_outbox")
			require.ErrorContains(t, err, "MigrateOutbox")
			require.NoError(t, cacheplugin.MigrateOutbox(plain, *c.Outbox))
			require.NoError(t, cacheplugin.MigrateOutbox(plain, *c.Outbox), "twice")
			require.NoError(t, env.Reopen(t, plain, nil).Use(plugin))
		})
	}
}

func TestTheOutboxsOwnTableIsNeitherCachedNorInvalidated(t *testing.T) {
	fixture.OnEveryDatabase(t, posting(patient()), func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, fixture.Ways[2].Write(f.DB))
		read := func() {
			var rows []left
			require.NoError(t, f.DB.Find(&rows).Error)
			require.Len(t, rows, 1)
		}
		require.NotContains(t, f.Outcome(read), "miss")
		f.Events.Take()
		require.NoError(t, f.DB.Model(&left{}).Where("created > 0").Update("created", 0).Error)
		for _, e := range f.Events.Take() {
			require.NotEqual(t, cacheplugin.EventInvalidate, e.Kind)
		}
		require.EqualValues(t, 1, waiting(t, f))
	})
}

// A writer is killed between its COMMIT and its invalidation. With an outbox
// another process makes up for it; without, the old state stays.
func TestAWriterThatIsKilledIsRepairedFromTheOutbox(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		if env.Name == testenv.SQLite {
			continue // another process has no way to it
		}
		for i, way := range []int{0, 3, 4} {
			for _, outbox := range []*cacheplugin.Outbox{nil, eager()} {
				t.Run(fmt.Sprintf("%s/%s/%v", env.Name, fixture.Ways[way].Name, outbox != nil), func(t *testing.T) {
					o := posting(outbox)
					o.Config.Mode = cacheplugin.Mode(i % 2)
					f := fixture.New(t, env, o)
					require.NoError(t, f.Plain.Create(&[]fixture.Brand{{Name: "old", Kind: 1}, {Kind: 2}}).Error)
					one, two := f.Brands(t, f.DB, 1), f.Brands(t, f.DB, 2)
					f.Cached(t, one)
					f.Cached(t, two)
					d := doomed{Mode: o.Config.Mode, Way: way}
					if outbox != nil {
						d.Outbox = patient()
					}
					killWriter(t, f, d)
					if outbox == nil {
						var stale, truth []fixture.Brand
						f.Hits(t, func() { require.NoError(t, f.DB.Where("kind = ?", 1).Order("id").Find(&stale).Error) })
						require.NoError(t, f.Plain.Where("kind = ?", 1).Order("id").Find(&truth).Error)
						require.NotEqual(t, truth, stale, "the hazard")
						return
					}
					require.Eventually(t, func() bool { return waiting(t, f) == 0 }, time.Minute, time.Millisecond)
					f.Cached(t, one)
					f.Hits(t, two, "as narrowly as the writer would have")
					require.Positive(t, f.Plugin.Stats().Repaired)
				})
			}
		}
	}
}

// cut is a hook of the Redis client that lets nothing through while it is set.
type cut struct{ atomic.Bool }

var errCut = errors.New("cut off")

func (c *cut) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *cut) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if c.Load() {
			cmd.SetErr(errCut)
			return errCut
		}
		return next(ctx, cmd)
	}
}

func (c *cut) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if c.Load() {
			for _, cmd := range cmds {
				cmd.SetErr(errCut)
			}
			return errCut
		}
		return next(ctx, cmds)
	}
}

// A process that has committed can't reach Redis any longer. With an outbox the
// others are protected, too.
func TestWhatAProcessCantTellRedisAnotherTellsFromTheOutbox(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		for _, outbox := range []*cacheplugin.Outbox{nil, eager()} {
			t.Run(fmt.Sprintf("%s/%v", env.Name, outbox != nil), func(t *testing.T) {
				client := redis.NewClient(testenv.RedisOptions(t))
				t.Cleanup(func() { _ = client.Close() })
				broken := &cut{}
				client.AddHook(broken)
				o := posting(outbox)
				o.Config.Redis, o.Config.RetryFor = client, time.Millisecond
				f := fixture.New(t, env, o)
				other := *f
				other.Config.Redis = testenv.Redis(t)
				reader := fixture.NewSibling(t, &other, gorm.Config{})
				t.Cleanup(func() { broken.Store(false) }) // Close drains the queue
				require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
				read := func() string {
					var b fixture.Brand
					require.NoError(t, reader.DB.Where("kind = ?", 1).First(&b).Error)
					return b.Name
				}
				reader.Cached(t, func() { read() })

				broken.Store(true)
				require.NoError(t, fixture.Ways[0].Write(f.DB), "it is queued")
				require.EqualValues(t, 1, f.Plugin.Stats().Queued)
				if outbox == nil {
					require.Equal(t, "old", read(), "the hazard")
					return
				}
				require.Eventually(t, func() bool { return waiting(t, f) == 0 }, time.Minute, time.Millisecond)
				require.Equal(t, "new", read())
			})
		}
	}
}

func TestSeveralProcessesDrainAtOnce(t *testing.T) {
	fixture.OnEveryDatabase(t, posting(patient()), func(t *testing.T, f *fixture.Fixture) {
		rows := make([]fixture.Brand, 40)
		for i := range rows {
			rows[i].Kind = i
		}
		require.NoError(t, f.Plain.Create(&rows).Error)
		var reads []func()
		for kind := range rows {
			reads = append(reads, f.Brands(t, f.DB, kind))
			f.Cached(t, reads[kind])
		}
		// 40 writers have died.
		for kind := range rows {
			require.NoError(t, f.Plain.Model(&fixture.Brand{}).Where("kind = ?", kind).Update("name", "new").Error)
			changes := fmt.Sprintf(`[{"n":0,"t":%q,"e":"table"}]`, tableID(t, f))
			require.NoError(t, f.Plain.Create(&left{
				ID: fmt.Sprint(kind), Prefix: f.Config.Prefix, Namespaces: `[""]`, Format: formatOf(t, f), Changes: changes,
			}).Error)
		}
		drainers := *f
		drainers.Config.Outbox = eager()
		for range 3 {
			fixture.NewSibling(t, &drainers, gorm.Config{})
		}
		require.Eventually(t, func() bool { return waiting(t, f) == 0 }, time.Minute, time.Millisecond)
		for _, read := range reads {
			read() // the truth; whether a hit is up to the drainers that come last
		}
	})
}

// tableID is how the brands are named in events, and formatOf the rows' format.
func tableID(t testing.TB, f *fixture.Fixture) string {
	t.Helper()
	f.Events.Take()
	require.NoError(t, cacheplugin.InvalidateModel(f.DB, &fixture.Brand{}))
	for _, e := range f.Events.Take() {
		if e.Kind == cacheplugin.EventInvalidate {
			return e.Table
		}
	}
	t.Fatal("no event")
	return ""
}

func formatOf(t testing.TB, f *fixture.Fixture) string {
	t.Helper()
	own := *f
	own.Config.Outbox, own.Config.Prefix = patient(), f.Config.Prefix+"-format"
	writer := fixture.NewSibling(t, &own, gorm.Config{})
	require.NoError(t, writer.DB.Transaction(func(tx *gorm.DB) error { return cacheplugin.InvalidateModel(tx, &fixture.Brand{}) }))
	var row left
	require.NoError(t, f.Plain.Where("prefix = ?", own.Config.Prefix).First(&row).Error)
	require.NoError(t, writer.Plugin.Close(context.Background()))
	return row.Format
}

// Rows that another version has written drop everything in the namespaces that
// they name; those of other programs are left alone.
func TestRowsOfAnotherFormDropEverything(t *testing.T) {
	names := func(ids ...string) string {
		text, err := json.Marshal(ids)
		require.NoError(t, err)
		return string(text)
	}
	o := posting(patient())
	o.Config.PrefixFunc = fixture.TenantOf
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&fixture.Brand{Kind: 1}).Error)
		of := map[string]func(){}
		for _, name := range []string{"a", "b"} {
			of[name] = f.Brands(t, fixture.Tenant(f.DB, name), 1)
			f.Cached(t, of[name])
		}
		format := formatOf(t, f)
		drainer := *f
		drainer.Config.Outbox = eager()
		fixture.NewSibling(t, &drainer, gorm.Config{})
		for i, c := range []struct {
			row         left
			drops, keep string
		}{
			{left{Prefix: f.Config.Prefix, Namespaces: names(":a"), Format: "99", Changes: "?"}, "a", "b"},
			{left{Prefix: f.Config.Prefix, Namespaces: names(":b"), Format: format, Changes: `[{"n":0,"t":"x","e":"rows","c":[["id","quantum"]]}]`}, "b", "a"},
			{left{Prefix: f.Config.Prefix, Namespaces: names(":b"), Format: format, Changes: `[{"n":0,"surprise":1}]`}, "b", "a"},
			{left{Prefix: f.Config.Prefix, Namespaces: names(":a"), Format: format, Changes: `[{"n":7,"t":"x","e":"table"}]`}, "a", "b"},
			{left{Prefix: f.Config.Prefix, Namespaces: names(":a"), Format: format, Changes: `[{"n":0,"e":"everything"}]`}, "a", "b"},
			{left{Prefix: f.Config.Prefix, Namespaces: "not JSON", Format: format, Changes: "[]"}, "ab", ""},
			{left{Prefix: f.Config.Prefix, Namespaces: names(":a{b}"), Format: format, Changes: `[{"n":0,"t":"x","e":"table"}]`}, "ab", ""},
			{left{Prefix: f.Config.Prefix, Namespaces: names(":%a"), Format: "99", Changes: "[]"}, "ab", ""},
		} {
			c.row.ID = fmt.Sprint("row ", i)
			require.NoError(t, f.Plain.Create(&c.row).Error)
			require.Eventually(t, func() bool { return waiting(t, f) == 0 }, time.Minute, time.Millisecond)
			for _, name := range c.keep {
				f.Hits(t, of[string(name)], c.row)
			}
			for _, name := range c.drops {
				require.Equal(t, "miss", f.Outcome(of[string(name)]), c.row)
				f.Hits(t, of[string(name)])
			}
		}
		require.NoError(t, f.Plain.Create(&left{ID: "not ours", Prefix: "another", Namespaces: names(""), Format: "1", Changes: "[]"}).Error)
		require.NoError(t, fixture.Ways[0].Write(fixture.Tenant(f.DB, "a")))
		require.Eventually(t, func() bool { return waiting(t, f) == 1 }, time.Minute, time.Millisecond)
	})
}

func TestOutboxConfiguration(t *testing.T) {
	env := testenv.NeedSQLite(t)
	for field, o := range map[string]cacheplugin.Outbox{"Outbox.After": {After: -1}, "Outbox.Poll": {Poll: -1}} {
		err := env.Open(t, nil).Use(cacheplugin.New(cacheplugin.Config{Redis: testenv.Redis(t), Outbox: &o}))
		require.ErrorIs(t, err, cacheplugin.ErrConfig)
		require.ErrorContains(t, err, field)
	}
}

// With a resolver the rows are where the writes are, and are drained there by
// processes that only read.
func TestTheOutboxOfAResolversSource(t *testing.T) {
	fixture.OnEveryDatabase(t, posting(eager()), func(t *testing.T, f *fixture.Fixture) {
		source := f.Env.Open(t, nil)
		require.NoError(t, source.AutoMigrate(&fixture.Brand{}))
		require.NoError(t, cacheplugin.MigrateOutbox(source, *f.Config.Outbox))
		require.NoError(t, source.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
		id, format := tableID(t, f), formatOf(t, f)
		fixture.UseResolver(t, f.DB, dbresolver.Config{Sources: []gorm.Dialector{f.Env.Dialector(f.Env.DSN(t, source))}})
		name := ""
		read := func() {
			var b fixture.Brand
			require.NoError(t, f.DB.Where("kind = ?", 1).First(&b).Error)
			name = b.Name
		}
		f.Cached(t, read)
		require.Equal(t, "old", name)
		require.NoError(t, source.Model(&fixture.Brand{}).Where("id = 1").Update("name", "new").Error)
		if f.Env.Dialect == "mysql" {
			id = source.Migrator().CurrentDatabase() + ".brands"
		}
		require.NoError(t, source.Create(&left{
			ID: "dead", Prefix: f.Config.Prefix, Namespaces: `[""]`, Format: format, Changes: fmt.Sprintf(`[{"n":0,"t":%q,"e":"table"}]`, id),
		}).Error)
		require.Eventually(t, func() bool {
			var n int64
			return source.Model(&left{}).Count(&n).Error == nil && n == 0
		}, time.Minute, time.Millisecond)
		f.Misses(t, read)
		require.Equal(t, "new", name)

		require.NoError(t, source.Exec("DROP TABLE cache_outbox").Error)
		require.ErrorIs(t, fixture.Ways[2].Write(f.DB), cacheplugin.ErrOutboxWrite)
	})
}

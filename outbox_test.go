package cacheplugin_test

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
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// left is a row of the outbox.
type left struct {
	ID, Prefix, Namespaces, Format, Changes string
	Created                                 int64
}

func (left) TableName() string { return "cache_outbox" }

// waiting counts the rows in the outbox.
func waiting(t testing.TB, f *fixture) (n int64) {
	t.Helper()
	require.NoError(t, f.plain.Model(&left{}).Count(&n).Error)
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

func posting(o *cacheplugin.Outbox) options {
	return options{models: []any{&brand{}}, config: cacheplugin.Config{Outbox: o}}
}

func TestTheOutboxHasARowOfEachTransactionThatChangesSomething(t *testing.T) {
	onEveryDatabase(t, posting(patient()), func(t *testing.T, f *fixture) {
		require.NoError(t, f.plain.Create(&[]brand{{Kind: 1}, {Kind: 2}, {Kind: 3}}).Error)
		one, two := f.brands(t, f.db, 1), f.brands(t, f.db, 2)
		f.cached(t, one)
		f.cached(t, two)
		rows := waiting(t, f)
		require.Zero(t, rows)
		for _, way := range ways[:6] {
			require.NoError(t, f.plain.Model(&brand{}).Where("id = ?", 1).Update("name", "old").Error)
			require.NoError(t, way.write(f.db), way.name)
			rows++
			require.Equal(t, rows, waiting(t, f), way.name)
			require.Equal(t, "miss", f.outcome(one), way.name)
			f.hits(t, one)
			f.hits(t, two, "as narrowly as ever")
		}
		f.hits(t, f.brands(t, f.db, 1))

		roll := errors.New("roll back")
		require.ErrorIs(t, f.db.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Create(&brand{}).Error)
			return roll
		}), roll)
		require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error {
			return tx.First(&brand{}).Error
		}))
		require.Error(t, f.db.Exec("INSERT INTO brands (nowhere) VALUES (1)").Error)
		if f.env.Dialect == "postgres" {
			require.Equal(t, rows, waiting(t, f), "nothing was changed")
		}
		require.Zero(t, f.plugin.Stats().Repaired)
		require.NoError(t, f.plugin.Close(context.Background()))
		require.Zero(t, waiting(t, f), "they are deleted when Redis has been told")
	})
}

func TestTheOutboxIsPartOfTheTransaction(t *testing.T) {
	onEveryDatabase(t, posting(patient()), func(t *testing.T, f *fixture) {
		require.NoError(t, f.plain.Create(&brand{Name: "old", Kind: 1}).Error)
		read := f.brands(t, f.db, 1)
		f.cached(t, read)
		require.NoError(t, f.plain.Exec("DROP TABLE cache_outbox").Error)
		for _, way := range ways[:6] {
			require.ErrorIs(t, way.write(f.db), cacheplugin.ErrOutboxWrite, way.name)
			f.hits(t, read)
		}
		var n int64
		require.NoError(t, f.plain.Model(&brand{}).Where("name = ?", "old").Count(&n).Error)
		require.EqualValues(t, 1, n)
	})
}

// A definition on MySQL commits what was done before it, and the row is written
// before. One that the database does not even understand commits nothing, and the
// row may be undone with what came after a savepoint.
func TestTheOutboxHasARowAfterADefinitionThatWasRefused(t *testing.T) {
	onEveryDatabase(t, posting(patient()), func(t *testing.T, f *fixture) {
		require.NoError(t, f.plain.Create(&brand{Name: "old", Kind: 1}).Error)
		require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Model(&brand{}).Where("id = ?", 1).Update("name", "new").Error)
			require.NoError(t, tx.SavePoint("sp").Error)
			require.Error(t, tx.Exec("ALTER TABLE brands ADD COLUMN").Error)
			require.NoError(t, tx.RollbackTo("sp").Error)
			return nil
		}))
		require.EqualValues(t, 1, waiting(t, f))
	})
}

func TestAMissingOutboxIsToldAtUse(t *testing.T) {
	for _, env := range testenv.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			c := cacheplugin.Config{Redis: testenv.Redis(t), Profiles: cacheAll(), Outbox: &cacheplugin.Outbox{Table: "my_outbox"}}
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
	onEveryDatabase(t, posting(patient()), func(t *testing.T, f *fixture) {
		require.NoError(t, ways[2].write(f.db))
		read := func() {
			var rows []left
			require.NoError(t, f.db.Find(&rows).Error)
			require.Len(t, rows, 1)
		}
		require.NotContains(t, f.outcome(read), "miss")
		f.events.take()
		require.NoError(t, f.db.Model(&left{}).Where("created > 0").Update("created", 0).Error)
		for _, e := range f.events.take() {
			require.NotEqual(t, cacheplugin.EventInvalidate, e.Kind)
		}
		require.EqualValues(t, 1, waiting(t, f))
	})
}

// A writer is killed between its COMMIT and its invalidation. With an outbox
// another process makes up for it; without, the old state stays.
func TestAWriterThatIsKilledIsRepairedFromTheOutbox(t *testing.T) {
	for _, env := range testenv.Databases(t) {
		if env.Name == testenv.SQLite {
			continue // another process has no way to it
		}
		for i, way := range []int{0, 3, 4} {
			for _, outbox := range []*cacheplugin.Outbox{nil, eager()} {
				t.Run(fmt.Sprintf("%s/%s/%v", env.Name, ways[way].name, outbox != nil), func(t *testing.T) {
					o := posting(outbox)
					o.config.Mode = cacheplugin.Mode(i % 2)
					f := newFixture(t, env, o)
					require.NoError(t, f.plain.Create(&[]brand{{Name: "old", Kind: 1}, {Kind: 2}}).Error)
					one, two := f.brands(t, f.db, 1), f.brands(t, f.db, 2)
					f.cached(t, one)
					f.cached(t, two)
					d := doomed{Mode: o.config.Mode, Way: way}
					if outbox != nil {
						d.Outbox = patient()
					}
					killWriter(t, f, d)
					if outbox == nil {
						var stale, truth []brand
						f.hits(t, func() { require.NoError(t, f.db.Where("kind = ?", 1).Order("id").Find(&stale).Error) })
						require.NoError(t, f.plain.Where("kind = ?", 1).Order("id").Find(&truth).Error)
						require.NotEqual(t, truth, stale, "the hazard")
						return
					}
					require.Eventually(t, func() bool { return waiting(t, f) == 0 }, time.Minute, time.Millisecond)
					f.cached(t, one)
					f.hits(t, two, "as narrowly as the writer would have")
					require.Positive(t, f.plugin.Stats().Repaired)
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
	for _, env := range testenv.Databases(t) {
		for _, outbox := range []*cacheplugin.Outbox{nil, eager()} {
			t.Run(fmt.Sprintf("%s/%v", env.Name, outbox != nil), func(t *testing.T) {
				client := redis.NewClient(testenv.RedisOptions(t))
				t.Cleanup(func() { _ = client.Close() })
				broken := &cut{}
				client.AddHook(broken)
				o := posting(outbox)
				o.config.Redis, o.config.RetryFor = client, time.Millisecond
				f := newFixture(t, env, o)
				other := *f
				other.config.Redis = testenv.Redis(t)
				reader := newSibling(t, &other, gorm.Config{})
				t.Cleanup(func() { broken.Store(false) }) // Close drains the queue
				require.NoError(t, f.plain.Create(&brand{Name: "old", Kind: 1}).Error)
				read := func() string {
					var b brand
					require.NoError(t, reader.db.Where("kind = ?", 1).First(&b).Error)
					return b.Name
				}
				reader.cached(t, func() { read() })

				broken.Store(true)
				require.NoError(t, ways[0].write(f.db), "it is queued")
				require.EqualValues(t, 1, f.plugin.Stats().Queued)
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
	onEveryDatabase(t, posting(patient()), func(t *testing.T, f *fixture) {
		rows := make([]brand, 40)
		for i := range rows {
			rows[i].Kind = i
		}
		require.NoError(t, f.plain.Create(&rows).Error)
		var reads []func()
		for kind := range rows {
			reads = append(reads, f.brands(t, f.db, kind))
			f.cached(t, reads[kind])
		}
		// 40 writers have died.
		for kind := range rows {
			require.NoError(t, f.plain.Model(&brand{}).Where("kind = ?", kind).Update("name", "new").Error)
			changes := fmt.Sprintf(`[{"n":0,"t":%q,"e":"table"}]`, tableID(t, f))
			require.NoError(t, f.plain.Create(&left{
				ID: fmt.Sprint(kind), Prefix: f.config.Prefix, Namespaces: `[""]`, Format: formatOf(t, f), Changes: changes,
			}).Error)
		}
		drainers := *f
		drainers.config.Outbox = eager()
		for range 3 {
			newSibling(t, &drainers, gorm.Config{})
		}
		require.Eventually(t, func() bool { return waiting(t, f) == 0 }, time.Minute, time.Millisecond)
		for _, read := range reads {
			read() // the truth; whether a hit is up to the drainers that come last
		}
	})
}

// tableID is how the brands are named in events, and formatOf the rows' format.
func tableID(t testing.TB, f *fixture) string {
	t.Helper()
	f.events.take()
	require.NoError(t, cacheplugin.InvalidateModel(f.db, &brand{}))
	for _, e := range f.events.take() {
		if e.Kind == cacheplugin.EventInvalidate {
			return e.Table
		}
	}
	t.Fatal("no event")
	return ""
}

func formatOf(t testing.TB, f *fixture) string {
	t.Helper()
	own := *f
	own.config.Outbox, own.config.Prefix = patient(), f.config.Prefix+"-format"
	writer := newSibling(t, &own, gorm.Config{})
	require.NoError(t, writer.db.Transaction(func(tx *gorm.DB) error { return cacheplugin.InvalidateModel(tx, &brand{}) }))
	var row left
	require.NoError(t, f.plain.Where("prefix = ?", own.config.Prefix).First(&row).Error)
	require.NoError(t, writer.plugin.Close(context.Background()))
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
	o.config.PrefixFunc = tenantOf
	onEveryDatabase(t, o, func(t *testing.T, f *fixture) {
		require.NoError(t, f.plain.Create(&brand{Kind: 1}).Error)
		of := map[string]func(){}
		for _, name := range []string{"a", "b"} {
			of[name] = f.brands(t, tenant(f.db, name), 1)
			f.cached(t, of[name])
		}
		format := formatOf(t, f)
		drainer := *f
		drainer.config.Outbox = eager()
		newSibling(t, &drainer, gorm.Config{})
		for i, c := range []struct {
			row         left
			drops, keep string
		}{
			{left{Prefix: f.config.Prefix, Namespaces: names(":a"), Format: "99", Changes: "?"}, "a", "b"},
			{left{Prefix: f.config.Prefix, Namespaces: names(":b"), Format: format, Changes: `[{"n":0,"t":"x","e":"rows","c":[["id","quantum"]]}]`}, "b", "a"},
			{left{Prefix: f.config.Prefix, Namespaces: names(":b"), Format: format, Changes: `[{"n":0,"surprise":1}]`}, "b", "a"},
			{left{Prefix: f.config.Prefix, Namespaces: names(":a"), Format: format, Changes: `[{"n":7,"t":"x","e":"table"}]`}, "a", "b"},
			{left{Prefix: f.config.Prefix, Namespaces: names(":a"), Format: format, Changes: `[{"n":0,"e":"everything"}]`}, "a", "b"},
			{left{Prefix: f.config.Prefix, Namespaces: "not JSON", Format: format, Changes: "[]"}, "ab", ""},
			{left{Prefix: f.config.Prefix, Namespaces: names(":a{b}"), Format: format, Changes: `[{"n":0,"t":"x","e":"table"}]`}, "ab", ""},
			{left{Prefix: f.config.Prefix, Namespaces: names(":%a"), Format: "99", Changes: "[]"}, "ab", ""},
		} {
			c.row.ID = fmt.Sprint("row ", i)
			require.NoError(t, f.plain.Create(&c.row).Error)
			require.Eventually(t, func() bool { return waiting(t, f) == 0 }, time.Minute, time.Millisecond)
			for _, name := range c.keep {
				f.hits(t, of[string(name)], c.row)
			}
			for _, name := range c.drops {
				require.Equal(t, "miss", f.outcome(of[string(name)]), c.row)
				f.hits(t, of[string(name)])
			}
		}
		require.NoError(t, f.plain.Create(&left{ID: "not ours", Prefix: "another", Namespaces: names(""), Format: "1", Changes: "[]"}).Error)
		require.NoError(t, ways[0].write(tenant(f.db, "a")))
		require.Eventually(t, func() bool { return waiting(t, f) == 1 }, time.Minute, time.Millisecond)
	})
}

func TestOutboxConfiguration(t *testing.T) {
	env := testenv.Databases(t)[0]
	for field, o := range map[string]cacheplugin.Outbox{"Outbox.After": {After: -1}, "Outbox.Poll": {Poll: -1}} {
		err := env.Open(t, nil).Use(cacheplugin.New(cacheplugin.Config{Redis: testenv.Redis(t), Outbox: &o}))
		require.ErrorIs(t, err, cacheplugin.ErrConfig)
		require.ErrorContains(t, err, field)
	}
}

// With a resolver the rows are where the writes are, and are drained there by
// processes that only read.
func TestTheOutboxOfAResolversSource(t *testing.T) {
	onEveryDatabase(t, posting(eager()), func(t *testing.T, f *fixture) {
		source := f.env.Open(t, nil)
		require.NoError(t, source.AutoMigrate(&brand{}))
		require.NoError(t, cacheplugin.MigrateOutbox(source, *f.config.Outbox))
		require.NoError(t, source.Create(&brand{Name: "old", Kind: 1}).Error)
		id, format := tableID(t, f), formatOf(t, f)
		useResolver(t, f.db, dbresolver.Config{Sources: []gorm.Dialector{f.env.Dialector(testenv.DSN(t, source))}})
		name := ""
		read := func() {
			var b brand
			require.NoError(t, f.db.Where("kind = ?", 1).First(&b).Error)
			name = b.Name
		}
		f.cached(t, read)
		require.Equal(t, "old", name)
		require.NoError(t, source.Model(&brand{}).Where("id = 1").Update("name", "new").Error)
		if f.env.Dialect == "mysql" {
			id = source.Migrator().CurrentDatabase() + ".brands"
		}
		require.NoError(t, source.Create(&left{
			ID: "dead", Prefix: f.config.Prefix, Namespaces: `[""]`, Format: format, Changes: fmt.Sprintf(`[{"n":0,"t":%q,"e":"table"}]`, id),
		}).Error)
		require.Eventually(t, func() bool {
			var n int64
			return source.Model(&left{}).Count(&n).Error == nil && n == 0
		}, time.Minute, time.Millisecond)
		f.misses(t, read)
		require.Equal(t, "new", name)

		require.NoError(t, source.Exec("DROP TABLE cache_outbox").Error)
		require.ErrorIs(t, ways[2].write(f.db), cacheplugin.ErrOutboxWrite)
	})
}

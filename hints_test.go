package cacheplugin_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// logged installs a plugin on a database with a table of stock, and returns what
// it logs.
func logged(t *testing.T, gormConfig *gorm.Config, change func(c *cacheplugin.Config)) (*gorm.DB, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	db := testenv.NeedSQLite(t).Open(t, gormConfig)
	require.NoError(t, db.AutoMigrate(&testmodel.Stock{}))
	require.NoError(t, db.Use(newPlugin(t, func(c *cacheplugin.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		if change != nil {
			change(c)
		}
	})))
	return db, &log
}

// TestPatternsThatMatchNothingAreTold: once, at the first read, with the table
// that was meant.
func TestPatternsThatMatchNothingAreTold(t *testing.T) {
	profile := &cacheplugin.Profile{Ops: cache.All, Timeout: time.Hour}
	for _, test := range []struct {
		pattern string
		profile *cacheplugin.Profile
		told    string // empty: nothing
	}{
		{"*", profile, ""},
		{"tbl_stock", profile, ""},
		{"tbl_s*", profile, ""},
		{"tbl_stok", profile, `Profiles[\"tbl_stok\"] matches no table that the database has: did you mean \"tbl_stock\"?`},
		{"tbl_stok", nil, `did you mean \"tbl_stock\"?`},
		{"main.tbl_stock", profile, `patterns are names without a schema, write \"tbl_stock\"`},
		{"something_else", profile, `Profiles[\"something_else\"] matches no table that the database has`},
		{"tbk_*", profile, `Profiles[\"tbk_*\"] matches no table`},
		{"in_stock", &cacheplugin.Profile{Timeout: time.Hour, DependsOn: []string{"tbl_stock"}}, ""}, // a function, maybe
	} {
		db, log := logged(t, nil, func(c *cacheplugin.Config) { c.Profiles = cacheplugin.Profiles{test.pattern: test.profile} })
		require.NotContains(t, log.String(), "matches no table", "the program may migrate before it reads")
		for range 2 {
			require.NoError(t, db.Find(&[]testmodel.Stock{}).Error)
		}
		if test.told == "" {
			require.NotContains(t, log.String(), "matches no table", test.pattern)
			continue
		}
		require.Equal(t, 1, strings.Count(log.String(), test.told), log.String())
	}
	t.Run("a model's name", func(t *testing.T) {
		type Shelf struct{ ID int }
		db, log := logged(t, nil, func(c *cacheplugin.Config) { c.Profiles = cacheplugin.Profiles{"Shelf": profile} })
		require.NoError(t, db.AutoMigrate(&Shelf{}))
		require.NotContains(t, log.String(), "matches no table", "the migrator's reads don't count")
		require.NoError(t, db.Find(&[]Shelf{}).Error)
		require.Contains(t, log.String(), `patterns are names of tables, not of models, write \"shelves\"`)
	})
}

// TestOneLineAtTheStartSaysWhatIsOn: and what is not.
func TestOneLineAtTheStartSaysWhatIsOn(t *testing.T) {
	_, log := logged(t, nil, func(c *cacheplugin.Config) { c.Mode, c.StoreQueue = cacheplugin.InsideOut, 10 })
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	for _, words := range []string{
		"level=INFO", "started", "mode=InsideOut", "consistency=Returned", "redis=", "single server", "profiles=1",
		`off="NearCache, Outbox, ShadowReads, ReplicaLag"`,
	} {
		require.Contains(t, log.String(), words)
	}
}

// TestWhatIsNotCachedForAReasonInTheProgramIsToldOnce: each with its remedy.
func TestWhatIsNotCachedForAReasonInTheProgramIsToldOnce(t *testing.T) {
	t.Run("sessions made before Use", func(t *testing.T) {
		var log bytes.Buffer
		db := testenv.NeedSQLite(t).Open(t, nil)
		require.NoError(t, db.AutoMigrate(&testmodel.Stock{}))
		session := db.Session(&gorm.Session{PrepareStmt: true})
		require.NoError(t, db.Use(newPlugin(t, func(c *cacheplugin.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })))
		for range 2 {
			require.NoError(t, session.Find(&[]testmodel.Stock{}).Error)
		}
		require.Equal(t, 1, strings.Count(log.String(), "a session that was made before db.Use"), log.String())
		require.Contains(t, log.String(), "call db.Use right after gorm.Open")
	})
	t.Run("reads in a transaction", func(t *testing.T) {
		const told = "read outside of transactions what is to be cached"
		db, log := logged(t, nil, nil)
		require.NoError(t, db.Find(&[]testmodel.Stock{}).Error)
		require.NotContains(t, log.String(), told)
		for range 2 {
			require.NoError(t, db.Transaction(func(tx *gorm.DB) error { return tx.Find(&[]testmodel.Stock{}).Error }))
		}
		require.Equal(t, 1, strings.Count(log.String(), told), log.String())
	})
	t.Run("writes outside of a transaction", func(t *testing.T) {
		const told = "leave SkipDefaultTransaction off, or write in db.Transaction"
		write := func(db *gorm.DB) {
			require.NoError(t, db.Create(&testmodel.Stock{Article: rand.Text()[:20], Amount: 1}).Error)
			require.NoError(t, db.Where("qty = ?", 1).Find(&[]testmodel.Stock{}).Error)
			require.NoError(t, db.Model(&testmodel.Stock{}).Where("qty < ?", 5).Update("qty", gorm.Expr("qty + 1")).Error)
		}
		db, log := logged(t, &gorm.Config{SkipDefaultTransaction: true}, nil)
		write(db)
		write(db.Session(&gorm.Session{}))
		require.Equal(t, 1, strings.Count(log.String(), told), log.String())
		require.Contains(t, log.String(), "table=main.tbl_stock")
		db, log = logged(t, nil, nil)
		write(db)
		require.NotContains(t, log.String(), told)
	})
}

// TestStartErrorsKeepTheirCause: and say what to do about it.
func TestStartErrorsKeepTheirCause(t *testing.T) {
	server := testenv.StartRedis(t)
	admin := server.Client(t)
	require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "someone", "on", ">secret", "~*", "&*", "+@all", "-hget").Err())
	options := func(o redis.Options) redis.Options {
		o.MaxRetries, o.DialerRetries = -1, 1
		return o
	}
	for _, test := range []struct {
		name    string
		options redis.Options
		says    []string
	}{
		{"nobody listens", redis.Options{Addr: "localhost:1"}, []string{"refused", "start it, correct Redis' address"}},
		{"no such host", redis.Options{Addr: "nowhere.invalid:6379"}, []string{"nowhere.invalid", "correct Redis' address"}},
		{"a wrong password", redis.Options{Addr: server.Addr, Username: "someone", Password: "guess"}, []string{"WRONGPASS", "correct Username and Password"}},
		{"a command is forbidden", redis.Options{Addr: server.Addr, Username: "someone", Password: "secret"}, []string{"HGET", "+hget"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options(test.options)
			client := redis.NewClient(&o)
			defer client.Close()
			var log bytes.Buffer
			use := func(required bool) error {
				return testenv.NeedSQLite(t).Open(t, nil).Use(newPlugin(t, func(c *cacheplugin.Config) {
					c.Redis, c.RequireRedis, c.Logger = client, required, slog.New(slog.NewTextHandler(&log, nil))
				}))
			}
			err := use(true)
			require.ErrorIs(t, err, cacheplugin.ErrConfig)
			for _, words := range test.says {
				require.ErrorContains(t, err, words)
			}
			if use(false) == nil { // the same cause, in the log
				require.Contains(t, log.String(), test.says[0])
			}
		})
	}
}

// TestOptionsThatCannotBeMeantAreErrorsOfTheQuery: they name the option and the
// remedy.
func TestOptionsThatCannotBeMeantAreErrorsOfTheQuery(t *testing.T) {
	db, _ := logged(t, nil, nil)
	for _, test := range []struct {
		option cache.Option
		says   []string
	}{
		{cache.Timeout(10), []string{"cache.Timeout", "10ns", "10 * time.Second"}},
		{cache.Timeout(-time.Second), []string{"cache.Timeout", "-1s", "positive"}},
		{cache.Ops(1 << 7), []string{"cache.Ops", "Get, Fetch"}},
		{cache.MaxStale(-1), []string{"cache.MaxStale", "zero"}},
	} {
		err := db.Scopes(cache.Cache(test.option)).Find(&[]testmodel.Stock{}).Error
		require.ErrorIs(t, err, cacheplugin.ErrConfig)
		for _, words := range test.says {
			require.ErrorContains(t, err, words)
		}
	}
}

// TestExplainNamesAMissingProfile: and what to do.
func TestExplainNamesAMissingProfile(t *testing.T) {
	for reason, profiles := range map[string]cacheplugin.Profiles{
		"no profile matches tbl_stock":                    {"other": {Ops: cache.All, Timeout: time.Hour}},
		"the profile of tbl_stock lists no operations":    {"tbl_stock": {Timeout: time.Hour}},
		"fetch is not among the operations to cache: get": {"tbl_stock": {Ops: cache.Get, Timeout: time.Hour}},
	} {
		db, _ := logged(t, nil, func(c *cacheplugin.Config) { c.Profiles = profiles })
		x, err := cacheplugin.Explain(db.Model(&testmodel.Stock{}))
		require.NoError(t, err)
		require.False(t, x.Cached)
		require.Contains(t, x.Reason, reason)
	}
}

// TestScanIsCachedAsFindIs: by the profile's operations. Row and Rows say why they
// are not.
func TestScanIsCachedAsFindIs(t *testing.T) {
	var reasons []string
	db, _ := logged(t, nil, func(c *cacheplugin.Config) {
		c.Profiles = cacheplugin.Profiles{"tbl_stock": {Ops: cache.Fetch, Timeout: time.Hour}}
		c.Observer = cacheplugin.ObserverFunc(func(_ context.Context, e cacheplugin.Event) {
			if e.Kind == cacheplugin.EventStore {
				return
			}
			reasons = append(reasons, strings.TrimSpace(e.Kind.String()+" "+e.Reason))
		})
	})
	stock := func() *gorm.DB { return db.Model(&testmodel.Stock{}) }
	var list []testmodel.Stock
	var total int
	for range 2 {
		require.NoError(t, stock().Scan(&list).Error)
	}
	require.NoError(t, stock().Find(&list).Error)
	require.Equal(t, []string{"miss", "hit", "hit"}, reasons, "one entry for both")
	reasons = nil
	require.NoError(t, stock().Select("coalesce(sum(qty), 0)").Scan(&total).Error)
	require.NoError(t, stock().Limit(1).Scan(&list).Error)
	require.NoError(t, stock().Select("count(*)").Row().Scan(&total))
	require.Empty(t, reasons, "the profile doesn't list get, count and aggregate")
	rows, err := stock().Rows()
	require.NoError(t, err)
	require.NoError(t, rows.Close())
	rows, err = db.Raw("SELECT * FROM tbl_stock").Rows()
	require.NoError(t, err)
	require.NoError(t, rows.Close())
	const told = "skip Row and Rows are cached opt-in only, other than Scan"
	require.Equal(t, []string{told, told}, reasons)
}

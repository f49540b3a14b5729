package reads

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// shadowing checks every hit, and waits for as good as nothing.
func shadowing() fixture.Options {
	return fixture.Options{Models: []any{&fixture.Brand{}}, Config: cacheplugin.Config{ShadowReads: 1, ShadowDelay: time.Millisecond}}
}

func TestAShadowReadFindsAWriteThatThePluginHasNotSeen(t *testing.T) {
	fixture.OnEveryDatabase(t, shadowing(), func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
		for _, c := range []struct {
			name  string
			query func(db *gorm.DB, into *[]fixture.Brand) *gorm.DB
		}{
			{"list", func(db *gorm.DB, into *[]fixture.Brand) *gorm.DB { return db.Where("kind = ?", 1).Find(into) }},
			{"by key", func(db *gorm.DB, into *[]fixture.Brand) *gorm.DB { return db.Where("id = ?", 1).Limit(1).Find(into) }},
			{"first", func(db *gorm.DB, into *[]fixture.Brand) *gorm.DB {
				return db.Order("name, id DESC").Limit(3).Find(into)
			}},
		} {
			require.NoError(t, f.Plain.Model(&fixture.Brand{}).Where("id = 1").Update("name", "old").Error)
			require.NoError(t, cacheplugin.InvalidateAll(f.DB))
			name := ""
			read := func() {
				var rows []fixture.Brand
				require.NoError(t, c.query(f.DB, &rows).Error)
				name = rows[0].Name
			}
			f.Misses(t, read)
			found := f.Plugin.Stats().Stale
			require.NoError(t, f.Plain.Model(&fixture.Brand{}).Where("id = 1").Update("name", "new").Error)
			require.Equal(t, "hit", f.Outcome(read))
			require.Equal(t, "old", name, "the hazard")
			var stale *cacheplugin.Event
			require.Eventually(t, func() bool {
				for _, e := range f.Events.Take() {
					if e.Kind == cacheplugin.EventStale {
						stale = &e
					}
				}
				return stale != nil
			}, time.Minute, time.Millisecond, c.name)
			require.Greater(t, f.Plugin.Stats().Stale, found)
			require.Equal(t, "brands", stale.Table)
			require.Contains(t, strings.ToLower(stale.Query), "select")
			require.NotEmpty(t, stale.Key)
			require.Positive(t, stale.Age)
			require.Less(t, stale.Age, time.Hour)
			require.Equal(t, 1, stale.Rows)
			require.Eventually(t, func() bool { read(); return name == "new" }, time.Minute, time.Millisecond, "it was dropped")
		}
		require.Positive(t, f.Plugin.Stats().ShadowReads)
	})
}

// late is a hook by which the replies to one command come late.
type late struct {
	command string
	by      time.Duration
	asked   atomic.Int64
}

func (l *late) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *late) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l *late) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if strings.EqualFold(cmd.Name(), l.command) {
			l.asked.Add(1)
			time.Sleep(l.by) // the fault
		}
		return err
	}
}

// TestAShadowReadFindsAStaleResultHoweverLateItsAgeIs: a reply that is long on
// its way makes the entry seem younger than the hit, and it is the same one.
func TestAShadowReadFindsAStaleResultHoweverLateItsAgeIs(t *testing.T) {
	slow := &late{command: "pttl", by: 2 * time.Second}
	client := testenv.Redis(t)
	client.AddHook(slow)
	o := shadowing()
	o.Config.Redis = struct{ redis.UniversalClient }{client} // else it is cloned, without its hooks
	f := fixture.New(t, testenv.NeedSQLite(t), o)
	require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
	read := func() { require.NoError(t, f.DB.Find(&[]fixture.Brand{}).Error) }
	f.Misses(t, read)
	require.NoError(t, f.Plain.Model(&fixture.Brand{}).Where("id = 1").Update("name", "new").Error)
	require.Equal(t, "hit", f.Outcome(read), "the hazard")
	require.Eventually(t, func() bool { return slow.asked.Load() > 0 && f.Plugin.Stats().Stale == 1 }, 10*time.Second, time.Millisecond, "%+v", f.Plugin.Stats())
	require.Eventually(t, func() bool {
		for _, e := range f.Events.Take() {
			if e.Kind == cacheplugin.EventStale {
				return e.Age >= 0 && e.Age < time.Hour
			}
		}
		return false
	}, time.Minute, time.Millisecond)
}

// A result that the rows don't determine may differ from the database's and be
// right.
func TestShadowReadsLeaveOutWhatTheRowsDontDetermine(t *testing.T) {
	fixture.OnEveryDatabase(t, shadowing(), func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&[]fixture.Brand{{Name: "a", Kind: 1}, {Name: "b", Kind: 1}}).Error)
		var rows []fixture.Brand
		var names []string
		var n int64
		for name, c := range map[string]struct {
			checked bool
			query   func(db *gorm.DB) *gorm.DB
		}{
			"list":              {true, func(db *gorm.DB) *gorm.DB { return db.Where("kind = 1").Find(&rows) }},
			"count":             {true, func(db *gorm.DB) *gorm.DB { return db.Model(&fixture.Brand{}).Count(&n) }},
			"first":             {true, func(db *gorm.DB) *gorm.DB { return db.First(&fixture.Brand{}) }},
			"last of kind":      {true, func(db *gorm.DB) *gorm.DB { return db.Where("kind = 1").Last(&fixture.Brand{}) }},
			"take by key":       {true, func(db *gorm.DB) *gorm.DB { return db.Take(&fixture.Brand{}, 1) }},
			"page":              {true, func(db *gorm.DB) *gorm.DB { return db.Order("brands.name, brands.id").Limit(1).Offset(1).Find(&rows) }},
			"any":               {false, func(db *gorm.DB) *gorm.DB { return db.Where("kind = 1").Take(&fixture.Brand{}) }},
			"any of several":    {false, func(db *gorm.DB) *gorm.DB { return db.Where("id IN ?", []int{1, 2}).Take(&fixture.Brand{}) }},
			"page by kind":      {false, func(db *gorm.DB) *gorm.DB { return db.Order("kind").Limit(1).Find(&rows) }},
			"page by a product": {false, func(db *gorm.DB) *gorm.DB { return db.Order("0 * id").Limit(1).Find(&rows) }},
			"page of a subquery": {false, func(db *gorm.DB) *gorm.DB {
				return db.Where("id >= (SELECT min(id) FROM brands)").Order("id").Limit(1).Find(&rows)
			}},
			"joined text": {false, func(db *gorm.DB) *gorm.DB {
				return db.Model(&fixture.Brand{}).Pluck(map[string]string{"postgres": "string_agg(name, ',')"}[f.Env.Dialect]+map[bool]string{true: "group_concat(name)"}[f.Env.Dialect != "postgres"], &names)
			}},
			"accepted": {false, func(db *gorm.DB) *gorm.DB {
				return db.Scopes(cache.Cache(cache.On("brands.kind"))).Where("kind = 1 AND name = 'a'").Find(&rows)
			}},
		} {
			before := f.Plugin.Stats().ShadowReads
			require.NoError(t, c.query(f.DB).Error, name)
			require.NoError(t, c.query(f.DB).Error, name)
			if !c.checked {
				// A checked hit behind it: both are done when it is.
				require.NoError(t, f.DB.First(&fixture.Brand{}, 2).Error)
				require.NoError(t, f.DB.First(&fixture.Brand{}, 2).Error)
			}
			require.Eventually(t, func() bool { return f.Plugin.Stats().ShadowReads > before }, time.Minute, time.Millisecond, name)
			require.Equal(t, before+1, f.Plugin.Stats().ShadowReads, name)
			require.NoError(t, cacheplugin.InvalidateAll(f.DB))
		}
		require.Zero(t, f.Plugin.Stats().Stale)
		told := int64(0)
		for _, e := range f.Events.Take() {
			if e.Kind == cacheplugin.EventShadow {
				told++
			}
		}
		require.Equal(t, f.Plugin.Stats().ShadowReads, told)
	})
}

func TestShadowReadsEndWithClose(t *testing.T) {
	env := testenv.NeedSQLite(t)
	o := shadowing()
	o.Config.ShadowDelay = time.Hour
	f := fixture.New(t, env, o)
	require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
	read := func() { require.NoError(t, f.DB.Find(&[]fixture.Brand{}).Error) }
	read()
	require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "unseen", Kind: 1}).Error)
	for range 20 { // more than may wait for their second look
		read()
	}
	require.Eventually(t, func() bool { return f.Plugin.Stats().ShadowReads > 0 }, time.Minute, time.Millisecond)
	require.NoError(t, f.Plugin.Close(context.Background()))
	require.LessOrEqual(t, f.Plugin.Stats().ShadowReads, int64(4))
	require.Zero(t, f.Plugin.Stats().Stale)
	require.Zero(t, f.Plugin.Stats().Errors)
}

func TestShadowConfiguration(t *testing.T) {
	env := testenv.NeedSQLite(t)
	for field, c := range map[string]cacheplugin.Config{"ShadowReads": {ShadowReads: 1.5}, "ShadowDelay": {ShadowDelay: -1}} {
		c.Redis = testenv.Redis(t)
		err := env.Open(t, nil).Use(cacheplugin.New(c))
		require.ErrorIs(t, err, cacheplugin.ErrConfig)
		require.ErrorContains(t, err, field)
	}
}

package fidelity

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// answer is all that a program can see of a read.
type answer struct {
	Value    any
	Affected int64
	Err      string
	Is       string // which of the errors that programs ask for
	Hooks    int64  // how often AfterFind ran
}

// reading is one way to read. It is given a session that caches by hand, and
// makes its destination anew.
type reading struct {
	name string
	read func(db *gorm.DB) (value any, affected int64, err error)
}

// ask runs a reading and gathers its answer.
func (r reading) ask(db *gorm.DB) answer {
	hooks := new(atomic.Int64)
	ctx := context.WithValue(context.Background(), hooksKey{}, hooks)
	value, affected, err := r.read(db.WithContext(ctx).Scopes(cache.Cache()).Session(&gorm.Session{}))
	a := answer{Value: value, Affected: affected, Hooks: hooks.Load()}
	if err != nil {
		a.Err = err.Error()
		for _, known := range []error{gorm.ErrRecordNotFound, sql.ErrNoRows, sql.ErrTxDone, context.Canceled} {
			if errors.Is(err, known) {
				a.Is += known.Error() + ";"
			}
		}
	}
	return a
}

type hooksKey struct{}

// hooked is a user that counts its hook, and changes in it what it has read.
type hooked struct {
	ID    uint
	Name  string
	Blob  []byte `gorm:"-"`
	Greet string `gorm:"-"`
}

func (hooked) TableName() string { return "users" }

func (h *hooked) AfterFind(tx *gorm.DB) error {
	tx.Statement.Context.Value(hooksKey{}).(*atomic.Int64).Add(1)
	h.Greet = "hello " + h.Name
	h.Name = strings.ToUpper(h.Name)
	return nil
}

// A program must not be able to tell the plugin's answers from the database's,
// neither where they fill the cache nor where they come from it, nor where
// they come from what another process has put there.
func TestAnAnswerFromTheCacheIsTheDatabases(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, testmodel.AutoMigrate(f.Plain))
		_, err := testmodel.Seed(f.Plain)
		require.NoError(t, err)
		require.NoError(t, testmodel.Register(f.DB))
		truth := f.Env.Reopen(t, f.Plain, &gorm.Config{Logger: logger.Discard, PrepareStmt: f.DB.PrepareStmt})
		require.NoError(t, testmodel.Register(truth))
		other := fixture.NewSibling(t, f, gorm.Config{PrepareStmt: f.DB.PrepareStmt})
		// The two protocols of MySQL give values of other types.
		unlike := fixture.NewSibling(t, f, gorm.Config{PrepareStmt: !f.DB.PrepareStmt})
		unlikeTruth := f.Env.Reopen(t, f.Plain, &gorm.Config{Logger: logger.Discard, PrepareStmt: !f.DB.PrepareStmt})
		require.NoError(t, testmodel.Register(unlikeTruth))
		for _, r := range readings() {
			t.Run(r.name, func(t *testing.T) {
				plain := r.ask(truth)
				var first, second, third, fourth answer
				filled := f.Outcome(func() { first = r.ask(f.DB) })
				require.Equal(t, plain, first, "on a miss")
				require.NotContains(t, filled, "error")
				require.NotEmpty(t, filled, "nothing was looked up")
				require.NotContains(t, filled, "skip")
				hit := f.Outcome(func() { second = r.ask(f.DB) })
				require.Equal(t, strings.ReplaceAll(filled, "miss", "hit"), hit)
				require.Equal(t, plain, second, "on a hit")

				hit = other.Outcome(func() { third = r.ask(other.DB) })
				if f.Env.Name != testenv.SQLite { // which only this handle sees
					require.NotContains(t, hit, "miss")
				}
				require.Equal(t, plain, third, "on a hit of another process")
				unlike.Outcome(func() { fourth = r.ask(unlike.DB) })
				require.Equal(t, r.ask(unlikeTruth), fourth, "in another process that prepares differently")
			})
		}
	})
}

// vandal is a Scanner that spoils the bytes it is given, which drivers allow.
type vandal struct{ seen string }

func (v vandal) Value() (driver.Value, error) { return v.seen, nil }

func (v *vandal) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok {
		return fmt.Errorf("scan %T", src)
	}
	v.seen = string(b)
	for i := range b {
		b[i] = 'X'
	}
	return nil
}

func TestAScannerThatSpoilsItsBytesSpoilsNoLaterAnswer(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Kinds{}}}, func(t *testing.T, f *fixture.Fixture) {
		kinds := testmodel.Kinds{Blob: []byte("precious"), Price: "0", UUID: "00000000-0000-0000-0000-000000000000", At: testmodel.Epoch, Day: testmodel.Epoch}
		require.NoError(t, f.Plain.Create(&kinds).Error)
		read := func() {
			var v struct{ Blob vandal }
			require.NoError(t, f.DB.Table("kinds").Select("blob").Where("id = ?", kinds.ID).Take(&v).Error)
			require.Equal(t, "precious", v.Blob.seen)
		}
		f.Misses(t, read)
		for range 3 {
			f.Hits(t, read)
		}
		raw := func() {
			rows, err := f.DB.Model(&testmodel.Kinds{}).Scopes(cache.Cache()).Select("blob", "id").Rows()
			require.NoError(t, err)
			for rows.Next() {
				var b sql.RawBytes
				var id int
				require.NoError(t, rows.Scan(&b, &id))
				require.Equal(t, "precious", string(b))
				copy(b, "poisoned")
			}
			require.NoError(t, rows.Err())
			require.NoError(t, rows.Close())
		}
		f.Misses(t, raw)
		f.Hits(t, raw)
		f.Hits(t, raw)
	})
}

func TestAResultBeyondTheLimitsIsPassedOnUncached(t *testing.T) {
	for name, config := range map[string]cacheplugin.Config{
		"too many rows": {MaxRows: 4},
		"too large":     {MaxBytes: 300},
	} {
		t.Run(name, func(t *testing.T) {
			fixture.OnEveryDatabase(t, fixture.Options{Config: config, Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
				for range 5 {
					require.NoError(t, f.Plain.Create(&testmodel.Label{Text: strings.Repeat("long ", 15)}).Error)
				}
				all := func() {
					var labels []testmodel.Label
					result := f.DB.Order("id").Find(&labels)
					require.NoError(t, result.Error)
					require.EqualValues(t, 5, result.RowsAffected)
					require.Len(t, labels, 5)
				}
				one := func() {
					var label testmodel.Label
					require.NoError(t, f.DB.First(&label, 2).Error)
					require.EqualValues(t, 2, label.ID)
				}
				for range 3 {
					require.Equal(t, "miss, skip: "+name, f.Outcome(all))
				}
				f.Cached(t, one)
				require.EqualValues(t, 1, f.Plugin.Stats().Stores)
			})
		})
	}
}

func TestACancelledContextGivesTheSameErrorBeforeAHit(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&testmodel.Label{Text: "x"}).Error)
		f.Cached(t, func() { require.NoError(t, f.DB.First(&testmodel.Label{}, 1).Error) })

		canceled, cancel := context.WithCancel(context.Background())
		cancel()
		late, cancel := context.WithTimeout(context.Background(), 0)
		defer cancel()
		for _, ctx := range []context.Context{canceled, late} {
			want := f.Plain.WithContext(ctx).First(&testmodel.Label{}, 1).Error
			require.ErrorIs(t, want, ctx.Err())
			require.Empty(t, f.Outcome(func() {
				require.Equal(t, want, f.DB.WithContext(ctx).First(&testmodel.Label{}, 1).Error)
			}))
			_, want = f.Plain.WithContext(ctx).Model(&testmodel.Label{}).Rows()
			_, got := f.DB.WithContext(ctx).Scopes(cache.Cache()).Model(&testmodel.Label{}).Rows()
			require.Equal(t, want, got)
		}
		f.Hits(t, func() { require.NoError(t, f.DB.First(&testmodel.Label{}, 1).Error) }, "the entry is still there")
	})
}

// A cancelled caller must not leave its lease to those who wait.
func TestAQueryCancelledWhileItRunsLeavesNoLease(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&testmodel.Label{Text: "x"}).Error)
		ctx, cancel := context.WithCancel(context.Background())
		rows, err := f.DB.WithContext(ctx).Scopes(cache.Cache()).Model(&testmodel.Label{}).Rows()
		require.NoError(t, err)
		cancel()
		for rows.Next() {
		}
		_ = rows.Close()
		read := func() {
			require.NoError(t, f.DB.Scopes(cache.Cache()).Model(&testmodel.Label{}).Find(&[]testmodel.Label{}).Error)
		}
		read()
		f.Hits(t, read)
	})
}

func TestDryRunsAreLeftAlone(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
		build := func(tx *gorm.DB) *gorm.DB {
			return tx.Where("text IN ?", []string{"a", "b"}).Order("id").Find(&[]testmodel.Label{})
		}
		f.Cached(t, func() { require.NoError(t, build(f.DB).Error) })
		require.Empty(t, f.Outcome(func() {
			require.Equal(t, f.Plain.ToSQL(build), f.DB.ToSQL(build))
			want := build(f.Plain.Session(&gorm.Session{DryRun: true})).Statement
			got := build(f.DB.Session(&gorm.Session{DryRun: true})).Statement
			require.Equal(t, want.SQL.String(), got.SQL.String())
			require.Equal(t, want.Vars, got.Vars)
			require.Equal(t, f.Plain.ToSQL(func(tx *gorm.DB) *gorm.DB { return tx.Create(&testmodel.Label{ID: 7, Text: "x"}) }),
				f.DB.ToSQL(func(tx *gorm.DB) *gorm.DB { return tx.Create(&testmodel.Label{ID: 7, Text: "x"}) }))
		}))
		f.Hits(t, func() { require.NoError(t, build(f.DB).Error) }, "nothing was written")
	})
}

func TestRowsClosedEarlyStoreNothing(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&[]testmodel.Label{{Text: "a"}, {Text: "b"}}).Error)
		read := func(n int) func() {
			return func() {
				rows, err := f.DB.Scopes(cache.Cache()).Model(&testmodel.Label{}).Order("id").Rows()
				require.NoError(t, err)
				for range n {
					require.True(t, rows.Next())
				}
				if n == 2 {
					require.False(t, rows.Next())
				}
				require.NoError(t, rows.Close())
			}
		}
		for n := range 2 {
			require.Equal(t, "miss, skip: closed early", f.Outcome(read(n)))
		}
		require.Zero(t, f.Plugin.Stats().Stores)
		f.Cached(t, read(2))
		f.Hits(t, read(1))
	})
}

func TestAFinishedTransactionAnswersAsTheDatabaseDoes(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&testmodel.Label{Text: "a"}).Error)
		f.Cached(t, func() { require.NoError(t, f.DB.First(&testmodel.Label{}, 1).Error) })
		for name, end := range map[string]func(*gorm.DB) *gorm.DB{"commit": (*gorm.DB).Commit, "rollback": (*gorm.DB).Rollback} {
			after := func(db *gorm.DB) error {
				tx := db.Begin(&sql.TxOptions{Isolation: sql.LevelReadCommitted})
				if tx.Error != nil { // SQLite
					tx = db.Begin()
				}
				require.NoError(t, tx.First(&testmodel.Label{}, 1).Error)
				require.NoError(t, end(tx).Error)
				return tx.First(&testmodel.Label{}, 1).Error
			}
			require.Equal(t, after(f.Plain), after(f.DB), name)
			require.ErrorIs(t, after(f.DB), sql.ErrTxDone, name)
		}
	})
}

// PostgreSQL refuses everything in a transaction after an error.
func TestAFailedTransactionAnswersAsTheDatabaseDoes(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&testmodel.Label{Text: "a"}).Error)
		f.Cached(t, func() { require.NoError(t, f.DB.First(&testmodel.Label{}, 1).Error) })
		for _, fail := range []func(tx *gorm.DB) error{
			func(tx *gorm.DB) error { return tx.Where("no_such_column = 1").Find(&[]testmodel.Label{}).Error },
			func(tx *gorm.DB) error { return tx.Raw("SELECT no_such_column FROM labels").Scan(&[]string{}).Error },
			func(tx *gorm.DB) error { _, err := tx.Raw("SELECT no_such_column FROM labels").Rows(); return err },
			func(tx *gorm.DB) error { return tx.Model(&testmodel.Label{}).Select("1/(id-1)").Row().Scan(new(int)) },
			func(tx *gorm.DB) error { return tx.Exec("UPDATE labels SET no_such_column = 1").Error },
			func(tx *gorm.DB) error { return tx.Exec("not SQL at all").Error },
		} {
			after := func(db *gorm.DB) error {
				tx := db.Begin()
				require.NoError(t, tx.Error)
				defer tx.Rollback()
				require.Error(t, fail(tx))
				return tx.First(&testmodel.Label{}, 1).Error
			}
			if f.Env.Name != testenv.Postgres {
				require.NoError(t, after(f.Plain))
				require.NoError(t, after(f.DB))
				continue
			}
			require.ErrorContains(t, after(f.Plain), "25P02")
			require.ErrorContains(t, after(f.DB), "25P02")
		}
	})
}

package conformance

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

func TestConformanceProcesses(t *testing.T) {
	type post = testmodel.Post
	conform(t, fixture.Options{}, func(t *testing.T, a *seeded) {
		b := a.twin(t, "")
		in1, in2 := find[post](where("category_id = ?", 1)), find[post](where("category_id = ?", 2))
		t.Run("a write of one process is seen by the other", func(t *testing.T) {
			for name, do := range map[string]change{
				"create": add(post{CategoryID: 1}),
				"update": set[post](1, "tag", gorm.Expr("tag + 1")), // MySQL says of no change that no row is affected
				"exec":   func(db *gorm.DB) error { return db.Exec("UPDATE posts SET tag = tag + 1 WHERE id = 1").Error },
				"transaction": func(db *gorm.DB) error {
					return db.Transaction(func(tx *gorm.DB) error { return set[post](1, "tag", gorm.Expr("tag + 1"))(tx) })
				},
				"by hand": func(db *gorm.DB) error { return cacheplugin.InvalidateModel(db, &post{}) },
			} {
				for _, w := range []struct{ writer, reader *seeded }{{a, b}, {b, a}} {
					w.reader.fill(t, in1, in2)
					w.writer.fill(t, in1, in2)
					require.NoError(t, do(w.writer.DB), name)
					require.Equal(t, "miss", w.reader.reads(t, in1), name)
					w.writer.fill(t, in1)
				}
			}
		})
		t.Run("and only where it matters", func(t *testing.T) {
			a.fill(t, in1, in2)
			b.fill(t, in1, in2)
			require.NoError(t, b.DB.Create(&post{CategoryID: 2}).Error)
			a.kept(t, in1)
			a.dropped(t, in2)
		})
		t.Run("a result of one is the other's", func(t *testing.T) {
			if a.Env.Name == testenv.SQLite {
				return // no other process has a database in memory
			}
			q := find[post](where("tag = ?", 5))
			require.Equal(t, "miss", a.reads(t, q))
			require.Equal(t, "hit", b.reads(t, q))
		})
		t.Run("SHD-01 Prefix separates", func(t *testing.T) {
			other := a.twin(t, a.o.Config.Prefix+"2")
			a.fill(t, in1)
			require.Equal(t, "miss", other.reads(t, in1))
			other.kept(t, in1)
			require.NoError(t, cacheplugin.InvalidateAll(other.DB))
			a.kept(t, in1)
			other.dropped(t, in1)
		})
	})
}

func TestConformanceVary(t *testing.T) {
	type post = testmodel.Post
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		in1, in2 := find[post](where("category_id = ?", 1)), find[post](where("category_id = ?", 2))
		varied := func(q query, values ...string) query {
			return func(db *gorm.DB) (any, error) {
				ctx := db.Statement.Context
				for _, v := range values {
					ctx = cache.Vary(ctx, v)
				}
				return q(db.WithContext(ctx))
			}
		}
		t.Run("CM-04 SHD-01 the context's values are part of the key", func(t *testing.T) {
			for _, q := range []query{in1, varied(in1, "de"), varied(in1, "fr"), varied(in1, "de", "fr"), varied(in1, "defr")} {
				require.Equal(t, "miss", c.reads(t, q))
				c.kept(t, q)
			}
			c.fill(t, varied(in2, "de"))
		})
		t.Run("CM-04 a write drops all variants", func(t *testing.T) {
			require.NoError(t, c.DB.WithContext(cache.Vary(context.Background(), "it")).Create(&post{CategoryID: 1}).Error)
			c.dropped(t, in1, varied(in1, "de"), varied(in1, "fr"), varied(in1, "de", "fr"))
			c.kept(t, varied(in2, "de"))
		})
		t.Run("Extra is part of the key", func(t *testing.T) {
			extra := func(values ...any) query {
				return func(db *gorm.DB) (any, error) { return in2(db.Scopes(cache.Cache(cache.Extra(values...)))) }
			}
			for _, q := range []query{extra(1), extra("1"), extra(1, 2), extra(nil), extra(true)} {
				require.Equal(t, "miss", c.reads(t, q))
				c.kept(t, q)
			}
			require.Equal(t, "skip: a parameter or an extra value is of a type that has no stable form", c.reads(t, extra(make(chan int))))
		})
	})
}

func TestConformanceTwoDatabasesAndOneHandle(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, a *seeded) {
		b := newSeeded(t, a.Env, fixture.Options{Config: cacheplugin.Config{Prefix: a.o.Config.Prefix, Mode: a.o.Config.Mode}})
		require.NoError(t, b.Plain.Exec("UPDATE posts SET title = 'of b'").Error)
		t.Run("SHD-04 entries are per database", func(t *testing.T) {
			for name, o := range operations() {
				a.fill(t, o.q)
				first := b.reads(t, o.q) // compared with b's own database
				require.NotContains(t, []string{"", "skip"}, first, name)
				a.kept(t, o.q)
				b.kept(t, o.q)
			}
		})
	})
}

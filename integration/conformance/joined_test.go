package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// workforce runs a test on a database with workers 1 and 2 of firm 1, 3 of firm
// 2, 4 of firm 9, which does not exist, and 5 of none.
func workforce(t *testing.T, test func(t *testing.T, c *seeded)) {
	conform(t, fixture.Options{Models: []any{&fixture.Owner{}, &fixture.Firm{}, &fixture.Worker{}, &fixture.Badge{}}}, func(t *testing.T, c *seeded) {
		for _, rows := range []any{
			&[]fixture.Owner{{ID: 1, Name: "ada"}, {ID: 2, Name: "bea"}},
			&[]fixture.Firm{{ID: 1, Name: "one", City: "rom", OwnerID: new(uint(1))}, {ID: 2, Name: "two", OwnerID: new(uint(7))}, {ID: 3, Name: "three"}},
			&[]fixture.Worker{{ID: 1, Name: "ann", FirmID: new(uint(1))}, {ID: 2, Name: "bob", FirmID: new(uint(1))}, {ID: 3, Name: "cid", FirmID: new(uint(2))},
				{ID: 4, Name: "dan", FirmID: new(uint(9))}, {ID: 5, Name: "eve"}},
			&[]fixture.Badge{{ID: 1, WorkerID: new(uint(1)), Code: "a"}, {ID: 2, WorkerID: new(uint(3)), Code: "c"}},
		} {
			require.NoError(t, c.Plain.Create(rows).Error)
		}
		test(t, c)
	})
}

// workers reads workers with their relations, which are printed with them.
func workers(build func(*gorm.DB) *gorm.DB) query {
	return func(db *gorm.DB) (any, error) {
		var all []fixture.Worker
		result := build(db).Find(&all)
		return append([]any{result.RowsAffected}, flat(all)...), result.Error
	}
}

// flat replaces pointers, so that results can be compared.
func flat(all []fixture.Worker) (rows []any) {
	for _, w := range all {
		row := []any{w.ID, w.Name}
		if w.Firm != nil {
			row = append(row, w.Firm.ID, w.Firm.Name, w.Firm.City)
			if w.Firm.Owner != nil {
				row = append(row, *w.Firm.Owner)
			}
		}
		if w.Badge != nil {
			row = append(row, w.Badge.ID, w.Badge.Code)
		}
		rows = append(rows, row)
	}
	return rows
}

// ofFirm reads the workers of some names with their firms.
func ofFirm(names ...string) query {
	return workers(func(db *gorm.DB) *gorm.DB {
		return db.Joins("Firm").Where("workers.name IN ?", names).Order("workers.id")
	})
}

// REL-05.
func TestListsWithAJoinedRelationAreDroppedByTheRowsThatTheyShow(t *testing.T) {
	workforce(t, func(t *testing.T, c *seeded) {
		one, two, dangling, none := ofFirm("ann", "bob"), ofFirm("cid"), ofFirm("dan"), ofFirm("eve")
		all := ofFirm("ann", "bob", "cid", "dan", "eve")
		c.fill(t, one, two, dangling, none, all)
		for _, s := range []struct {
			name string
			do   func(db *gorm.DB) error
			drop []query
			keep []query
			// A set may still name a result that has ceased to show the row: it
			// is dropped once too often.
			again bool
		}{
			{"a firm's name", func(db *gorm.DB) error { return db.Model(&fixture.Firm{ID: 1}).Update("name", "uno").Error },
				[]query{one, all}, []query{two, dangling, none}, false},
			{"another's", func(db *gorm.DB) error {
				return db.Model(&fixture.Firm{}).Where("name = ?", "two").Update("city", "bonn").Error
			},
				[]query{two, all}, []query{one, dangling, none}, false},
			{"one that no list shows", func(db *gorm.DB) error { return db.Model(&fixture.Firm{ID: 3}).Update("name", "tre").Error },
				nil, []query{one, two, dangling, none, all}, false},
			{"a new firm", func(db *gorm.DB) error { return db.Create(&fixture.Firm{ID: 4, Name: "four"}).Error },
				nil, []query{one, two, dangling, none, all}, false},
			{"the firm that was missing", func(db *gorm.DB) error { return db.Create(&fixture.Firm{ID: 9, Name: "nine"}).Error },
				[]query{dangling, all}, []query{one, two, none}, false},
			{"a soft deletion", func(db *gorm.DB) error { return db.Delete(&fixture.Firm{ID: 1}).Error },
				[]query{one, all}, []query{two, dangling, none}, false},
			{"its undoing", func(db *gorm.DB) error {
				return db.Unscoped().Model(&fixture.Firm{ID: 1}).Update("deleted_at", nil).Error
			}, []query{one, all}, []query{two, dangling, none}, false},
			{"a deletion", func(db *gorm.DB) error { return db.Unscoped().Delete(&fixture.Firm{ID: 2}).Error },
				[]query{two, all}, []query{one, dangling, none}, false},
			{"another primary key", func(db *gorm.DB) error { return db.Exec("UPDATE firms SET id = 2 WHERE id = 9").Error },
				[]query{two, dangling, all}, []query{one, none}, false},
			{"a worker's firm", func(db *gorm.DB) error { return db.Model(&fixture.Worker{ID: 5}).Update("firm_id", 3).Error },
				[]query{none, all}, []query{one, two, dangling}, false},
			{"that firm, which is shown now", func(db *gorm.DB) error { return db.Model(&fixture.Firm{ID: 3}).Update("name", "drei").Error },
				[]query{none, all}, []query{one, two, dangling}, false},
			{"a worker without a firm again", func(db *gorm.DB) error { return db.Model(&fixture.Worker{ID: 5}).Update("firm_id", nil).Error },
				[]query{none, all}, []query{one, two, dangling}, false},
			{"that firm, which is not shown any more", func(db *gorm.DB) error { return db.Model(&fixture.Firm{ID: 3}).Update("name", "trois").Error },
				nil, []query{one, two, dangling, none, all}, true},
			{"all firms", func(db *gorm.DB) error { return cacheplugin.InvalidateModel(db, &fixture.Firm{}) },
				[]query{one, two, dangling, none, all}, nil, false},
		} {
			t.Log(s.name)
			require.NoError(t, c.DB.Transaction(s.do), s.name)
			if s.again {
				c.fresh(t, s.keep...)
				require.NoError(t, c.DB.Transaction(s.do), s.name)
			}
			c.dropped(t, s.drop...)
			c.kept(t, s.keep...)
		}
	})
}

func TestNestedJoinsAreDroppedByTheRowsOfEachStep(t *testing.T) {
	workforce(t, func(t *testing.T, c *seeded) {
		nested := func(names ...string) query {
			return workers(func(db *gorm.DB) *gorm.DB {
				return db.Joins("Firm").Joins("Firm.Owner").Where("workers.name IN ?", names).Order("workers.id")
			})
		}
		one, two := nested("ann", "bob"), nested("cid", "dan", "eve")
		c.fill(t, one, two)
		step := func(do error, drop, keep []query) {
			t.Helper()
			require.NoError(t, do)
			c.dropped(t, drop...)
			c.kept(t, keep...)
		}
		step(c.DB.Model(&fixture.Owner{ID: 1}).Update("name", "eva").Error, []query{one}, []query{two})
		step(c.DB.Model(&fixture.Owner{ID: 2}).Update("name", "ida").Error, nil, []query{one, two})
		step(c.DB.Create(&fixture.Owner{ID: 7, Name: "gil"}).Error, []query{two}, []query{one})
		step(c.DB.Model(&fixture.Firm{ID: 1}).Update("owner_id", 2).Error, []query{one}, []query{two})
		require.NoError(t, c.DB.Model(&fixture.Owner{ID: 1}).Update("name", "zoe").Error) // a set may still name what has shown the row
		c.fresh(t, one)
		step(c.DB.Model(&fixture.Owner{ID: 1}).Update("name", "eve").Error, nil, []query{one, two})
		step(c.DB.Model(&fixture.Owner{ID: 2}).Update("name", "uma").Error, []query{one}, []query{two})
		step(c.DB.Model(&fixture.Firm{ID: 3}).Update("name", "tre").Error, nil, []query{one, two})
	})
}

// A hit verifies every joined row, so that their number is bounded over all tables:
// the one of which most are shown counts as a whole.
func TestOfTooManyJoinedRowsTheLargestTableCounts(t *testing.T) {
	workforce(t, func(t *testing.T, c *seeded) {
		var owners []fixture.Owner
		var firms []fixture.Firm
		var staff []fixture.Worker
		var badges []fixture.Badge
		for i := uint(100); i < 310; i++ {
			firms = append(firms, fixture.Firm{ID: i, Name: "f", OwnerID: new(100 + i%170)})
			staff = append(staff, fixture.Worker{ID: i, Name: "w", FirmID: new(i)})
			if i < 270 {
				owners = append(owners, fixture.Owner{ID: i, Name: "o"})
				badges = append(badges, fixture.Badge{ID: i, WorkerID: new(i), Code: "b"})
			}
		}
		for _, rows := range []any{&owners, &firms, &staff, &badges} {
			require.NoError(t, c.Plain.Create(rows).Error)
		}
		below := func(id uint) query {
			return workers(func(db *gorm.DB) *gorm.DB {
				return db.Joins("Firm").Joins("Firm.Owner").Joins("Badge").Where("workers.id >= 100 AND workers.id < ?", id).Order("workers.id")
			})
		}
		many, few := below(310), below(200)
		c.fill(t, many, few)
		require.NoError(t, c.DB.Model(&fixture.Firm{ID: 3}).Update("name", "tre").Error) // shown by neither
		c.dropped(t, many)
		c.kept(t, few)
		require.NoError(t, c.DB.Model(&fixture.Owner{ID: 2}).Update("name", "ida").Error)
		c.kept(t, many, few)
		require.NoError(t, c.DB.Model(&fixture.Owner{ID: 150}).Update("name", "ida").Error)
		c.dropped(t, many)
		c.kept(t, few)
	})
}

func TestHasOneIsDroppedByItsOwnRows(t *testing.T) {
	workforce(t, func(t *testing.T, c *seeded) {
		with := func(names ...string) query {
			read := workers(func(db *gorm.DB) *gorm.DB { return db.Joins("Badge").Where("workers.name IN ?", names) })
			return func(db *gorm.DB) (any, error) {
				rows, err := read(db)
				slices.SortFunc(rows.([]any), func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
				return rows, err
			}
		}
		one, two := with("ann", "bob"), with("cid")
		c.fill(t, one, two)
		require.NoError(t, c.DB.Create(&fixture.Badge{ID: 5, WorkerID: new(uint(2)), Code: "b"}).Error)
		c.dropped(t, one)
		c.kept(t, two)
		require.NoError(t, c.DB.Model(&fixture.Badge{ID: 2}).Update("worker_id", 1).Error)
		c.dropped(t, one, two)
		require.NoError(t, c.DB.Create(&fixture.Badge{ID: 6, Code: "of nobody"}).Error)
		require.NoError(t, c.DB.Create(&fixture.Badge{ID: 7, WorkerID: new(uint(5))}).Error)
		c.kept(t, one, two)

		// Badges are not unique: where some workers are not shown, a badge of
		// theirs moves the others.
		second := workers(func(db *gorm.DB) *gorm.DB { return db.Joins("Badge").Order("workers.id").Offset(3).Limit(1) })
		c.fill(t, second)
		require.NoError(t, c.DB.Create(&fixture.Badge{ID: 8, WorkerID: new(uint(1))}).Error)
		c.dropped(t, second)
	})
}

func TestConditionsLimitsAndOrdersOfJoins(t *testing.T) {
	workforce(t, func(t *testing.T, c *seeded) {
		joined := func(build func(*gorm.DB) *gorm.DB) query {
			return workers(func(db *gorm.DB) *gorm.DB { return build(db.Joins("Firm")) })
		}
		other := func() {
			require.NoError(t, c.DB.Model(&fixture.Firm{ID: 1}).Update("name", gorm.Expr("name || ?", "x")).Error)
		}
		if c.Env.Dialect == "mysql" {
			other = func() {
				require.NoError(t, c.DB.Model(&fixture.Firm{ID: 1}).Update("name", gorm.Expr("concat(name, ?)", "x")).Error)
			}
		}
		for name, s := range map[string]struct {
			q    query
			keep bool
		}{
			"a limit":              {joined(func(db *gorm.DB) *gorm.DB { return db.Order("workers.id DESC").Limit(3) }), true},
			"an offset":            {joined(func(db *gorm.DB) *gorm.DB { return db.Order("workers.id").Limit(10).Offset(2) }), true},
			"an order by the firm": {joined(func(db *gorm.DB) *gorm.DB { return db.Where("workers.id > 2").Order("\"Firm\".name, workers.id") }), true},
			"both": {joined(func(db *gorm.DB) *gorm.DB {
				return db.Where("workers.id > 2").Order("\"Firm\".name, workers.id").Limit(10)
			}), false},
			"a condition on the firm": {joined(func(db *gorm.DB) *gorm.DB { return db.Where("\"Firm\".name <> ?", "six").Order("workers.id") }), false},
			"a condition of the join": {workers(func(db *gorm.DB) *gorm.DB {
				return db.Joins("Firm", c.Plain.Session(&gorm.Session{NewDB: true}).Where(&fixture.Firm{City: "rom"})).Where("workers.id > 2").Order("workers.id")
			}), true},
			"an inner join": {workers(func(db *gorm.DB) *gorm.DB { return db.InnerJoins("Firm").Where("workers.id > 2").Order("workers.id") }), false},
			"a selection":   {joined(func(db *gorm.DB) *gorm.DB { return db.Select("workers.id").Where("workers.id > 2").Order("workers.id") }), false},
			"a preload": {workers(func(db *gorm.DB) *gorm.DB {
				return db.Joins("Firm").Preload("Badge").Where("workers.id > 2").Order("workers.id")
			}), true},
		} {
			if c.Env.Dialect == "mysql" && (name == "an order by the firm" || name == "both" || name == "a condition on the firm") {
				continue // other quotes
			}
			t.Log(name)
			c.reads(t, s.q)
			require.NotContains(t, c.reads(t, s.q), "miss", name)
			other()
			if s.keep {
				require.NotContains(t, c.reads(t, s.q), "miss", name)
			} else {
				require.Contains(t, c.reads(t, s.q), "miss", name)
			}
			require.NoError(t, c.DB.Model(&fixture.Firm{ID: 2}).Update("city", name).Error)
			require.Contains(t, c.reads(t, s.q), "miss", name)
		}

		// A new firm brings a worker into the result.
		inner := workers(func(db *gorm.DB) *gorm.DB { return db.InnerJoins("Firm").Order("workers.id") })
		c.fill(t, inner)
		require.NoError(t, c.DB.Create(&fixture.Firm{ID: 9, Name: "nine"}).Error)
		c.dropped(t, inner)

		// First puts a limit, too.
		one := func(db *gorm.DB) (any, error) {
			var w fixture.Worker
			err := db.Joins("Firm").First(&w, 3).Error
			return flat([]fixture.Worker{w}), err
		}
		c.fill(t, one)
		other()
		c.kept(t, one)
		require.NoError(t, c.DB.Model(&fixture.Firm{ID: 2}).Update("city", "x").Error)
		c.dropped(t, one)
	})
}

// Somebody writes a firm, shown or not, after the look-up and before the result is
// stored: it may or may not have been read.
func TestAListIsRefusedIfAJoinedTableIsWrittenWhileItIsRead(t *testing.T) {
	workforce(t, func(t *testing.T, c *seeded) {
		writer := c.twin(t, "")
		for id, after := range map[uint]string{1: "uno", 3: "tre"} {
			q := ofFirm("ann", "bob")
			require.NoError(t, cacheplugin.InvalidateModel(c.DB, &fixture.Worker{}))
			rows, err := c.DB.Scopes(cache.Cache()).Model(&fixture.Worker{}).Joins("Firm").Where("workers.name IN ?", []string{"ann", "bob"}).Order("workers.id").Rows()
			require.NoError(t, err)
			require.True(t, rows.Next())
			if c.Env.Name == testenv.SQLite { // whose reader holds a writer up
				require.NoError(t, cacheplugin.InvalidateValues(writer.DB, &fixture.Firm{}, map[string]any{"id": id}))
			} else {
				require.NoError(t, writer.DB.Model(&fixture.Firm{ID: id}).Update("name", after).Error)
			}
			for rows.Next() {
			}
			require.NoError(t, rows.Close())
			require.Equal(t, "miss", c.reads(t, q), "firm %d", id)
			c.kept(t, q)
		}
	})
}

func TestExplainNamesTheKeysOfJoinedRows(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&fixture.Owner{}, &fixture.Firm{}, &fixture.Worker{}, &fixture.Badge{}}}, func(t *testing.T, f *fixture.Fixture) {
		explain := func(db *gorm.DB) map[string][]string {
			x, err := cacheplugin.Explain(db)
			require.NoError(t, err)
			out := map[string][]string{}
			for _, d := range x.Dependencies {
				require.Contains(t, d.Table, ".")
				out[d.Table[len(d.Table)-len("firms"):]] = d.Conjunctions
			}
			return out
		}
		require.Equal(t, []string{"keys of joined rows: id"}, explain(f.DB.Model(&fixture.Worker{}).Joins("Firm"))["firms"])
		require.NotContains(t, explain(f.DB.Model(&fixture.Worker{}).InnerJoins("Firm"))["firms"][0], "keys")
		require.Equal(t, []string{"deleted_at is null and id = 3"}, explain(f.DB.Model(&fixture.Worker{}).Joins("Firm").Where("workers.firm_id = 3"))["firms"])

		o := f.Config
		o.Prefix, o.Mode, o.Spread = o.Prefix+"-spread", cacheplugin.InsideOut, true
		spread := fixture.New(t, f.Env, fixture.Options{Config: o, Models: []any{&fixture.Owner{}, &fixture.Firm{}, &fixture.Worker{}, &fixture.Badge{}}})
		require.Equal(t, []string{"deleted_at is null"}, explain(spread.DB.Model(&fixture.Worker{}).Joins("Firm"))["firms"], "they are not followed")
	})
}

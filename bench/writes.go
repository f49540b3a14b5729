package main

import (
	"context"
	"fmt"

	"gorm.io/gorm"
)

// writes measures what the plugin adds to writes: to one row with nothing, a
// little and much cached on its table, and to transactions of many rows.
func writes(_ context.Context, env *environment, d *database, open *opened) ([]group, error) {
	setups, err := env.setups(d, open, setsVariant, stampsVariant, setsStrict, stampsStrict)
	if err != nil {
		return nil, err
	}
	plain := setups[0].db
	var groups []group
	add := func(work string, run func(s setup) func(context.Context, *lap) error) *group {
		g := group{work: work, busy: env.busy(open)}
		for _, s := range setups {
			g.contenders = append(g.contenders, s.writer(run(s)))
		}
		groups = append(groups, g)
		return &groups[len(groups)-1]
	}
	for _, cached := range []int{0, 10, 10_000} {
		name := fmt.Sprintf("update by key, %d cached", cached)
		if cached > 0 {
			name += ", none dropped"
		}
		add(name, func(s setup) func(context.Context, *lap) error { return s.updateBeside(cached) })
	}
	for _, cached := range []int{10, 1000} {
		g := add(fmt.Sprintf("update by key, %d cached and dropped", cached), func(s setup) func(context.Context, *lap) error {
			return s.updateOf(cached)
		})
		g.busy = nil // with caching anew, not with the update alone
	}
	for _, rows := range []int{1, 100, 10_000} {
		add(fmt.Sprintf("transaction, %s created", plural(rows, "row")), func(s setup) func(context.Context, *lap) error {
			return func(ctx context.Context, l *lap) error {
				for range l.n {
					if err := s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return create(tx, rows) }); err != nil {
						return err
					}
				}
				return l.aside(func() error { return uncreate(plain.WithContext(ctx), rows*l.n) })
			}
		})
	}
	for _, c := range []struct {
		rows   int
		column string
		value  int
	}{{20, "tag_id", 499}, {1000, "shelf", 9}} {
		add(fmt.Sprintf("transaction, %d rows updated by condition", c.rows), func(s setup) func(context.Context, *lap) error {
			words := 0
			return repeat(func(ctx context.Context, _ int) error {
				words++
				return expect(c.rows, s.db.WithContext(ctx).Model(&Article{}).Where(c.column+" = ?", c.value).Update("words", words))
			})
		})
	}
	return groups, nil
}

// writer is a contender of writes: what its queries hit is of no interest.
func (s setup) writer(run func(context.Context, *lap) error) contender {
	return contender{name: s.name, trips: s.trips, run: run}
}

// updateBeside updates a row, with n results of other rows cached.
func (s setup) updateBeside(n int) func(context.Context, *lap) error {
	filled, title := false, 0
	return func(ctx context.Context, l *lap) error {
		db := s.db.WithContext(ctx)
		if s.plugin != nil && !filled {
			if err := l.aside(func() error { return fill(db, n, false) }); err != nil {
				return err
			}
			filled = true
		}
		for range l.n {
			title++
			if err := update(db, title); err != nil {
				return err
			}
		}
		return nil
	}
}

// updateOf updates a row, each time with n results of it cached.
func (s setup) updateOf(n int) func(context.Context, *lap) error {
	title := 0
	return func(ctx context.Context, l *lap) error {
		db := s.db.WithContext(ctx)
		for range l.n {
			if s.plugin != nil {
				if err := l.aside(func() error { return fill(db, n, true) }); err != nil {
					return err
				}
			}
			title++
			if err := update(db, title); err != nil {
				return err
			}
		}
		return nil
	}
}

// update changes a title, so that both images have the same conjunctions.
func update(db *gorm.DB, i int) error {
	return expect(1, db.Model(&Article{}).Where("id = ?", 1).Update("title", fmt.Sprintf("title %d", i)))
}

// fill caches n queries on articles: on the row that is updated, or on others.
func fill(db *gorm.DB, n int, touched bool) error {
	for i := range n {
		id := i + 2
		if touched {
			id = 1
		}
		var a []Article
		if err := db.Where("id = ? AND words < ?", id, 10_000+i).Find(&a).Error; err != nil {
			return err
		}
	}
	return nil
}

// create inserts rows into comments, most by one statement a thousand.
func create(db *gorm.DB, rows int) error {
	all := make([]Comment, rows)
	for i := range all {
		all[i] = Comment{ArticleID: uint(i%articles) + 1, Text: "new"}
	}
	return expect(rows, db.CreateInBatches(all, 1000))
}

// uncreate takes away what create has made, so that it always finds the same.
func uncreate(db *gorm.DB, rows int) error {
	return expect(rows, db.Where("id > ?", comments).Delete(&Comment{}))
}

package main

import (
	"context"
	"fmt"

	"gorm.io/gorm"
)

// writes measures what the plugin adds to writes: to one row with nothing, a
// little and much cached on its table, and to transactions of many rows.
func writes(ctx context.Context, env *environment, d *database) ([]group, error) {
	setups, err := env.setups(d, false, setsVariant, stampsVariant, setsStrict, stampsStrict)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, cached := range []int{0, 10, 10_000} {
		for _, touched := range []bool{false, true} {
			if cached == 0 && touched {
				continue
			}
			name := fmt.Sprintf("update by key, %d cached", cached)
			if cached > 0 {
				name += map[bool]string{false: ", none touched", true: ", all touched"}[touched]
			}
			if cached == 10_000 && touched {
				// What was dropped would have to be cached again before each
				// write: -scale measures this one.
				continue
			}
			g := group{work: name}
			for _, s := range setups {
				g.contenders = append(g.contenders, contender{name: s.name, trips: s.trips, run: func(ctx context.Context, n int) error {
					for i := range n {
						if s.plugin != nil && (touched || i == 0) {
							if err := fill(s.db.WithContext(ctx), cached, touched); err != nil {
								return err
							}
						}
						if err := update(s.db.WithContext(ctx), i); err != nil {
							return err
						}
					}
					return nil
				}})
			}
			groups = append(groups, g)
		}
	}
	for _, rows := range []int{1, 100, 10_000} {
		g := group{work: fmt.Sprintf("transaction, %d rows created", rows)}
		for _, s := range setups {
			g.contenders = append(g.contenders, contender{name: s.name, trips: s.trips, run: repeat(func(ctx context.Context, _ int) error {
				return s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return create(tx, rows) })
			})})
		}
		groups = append(groups, g)
	}
	for _, rows := range []int{20, 1000} {
		g := group{work: fmt.Sprintf("transaction, %d rows updated by condition", rows)}
		for _, s := range setups {
			g.contenders = append(g.contenders, contender{name: s.name, trips: s.trips, run: repeat(func(ctx context.Context, i int) error {
				where := tx(s.db.WithContext(ctx), rows)
				return where.Update("words", i%977).Error
			})})
		}
		groups = append(groups, g)
	}
	closeWithLast(groups, setups)
	return groups, nil
}

func tx(db *gorm.DB, rows int) *gorm.DB {
	if rows == 20 {
		return db.Model(&Article{}).Where("tag_id = ?", 499)
	}
	return db.Model(&Article{}).Where("shelf = ?", 9)
}

// update changes a title, so that both images have the same conjunctions.
func update(db *gorm.DB, i int) error {
	return db.Model(&Article{}).Where("id = ?", 1).Update("title", fmt.Sprintf("title %d", i)).Error
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
	return db.CreateInBatches(all, 1000).Error
}

package main

import (
	"context"

	"gorm.io/gorm"
)

// missWorks ask each query once: no row has the number of words that it
// excludes.
var missWorks = []readWork{
	{name: "First by key", run: func(db *gorm.DB, i int) (any, error) {
		var a Article
		return &a, expect(1, db.Where("words <> ?", -1-i).First(&a, i%100+1))
	}},
	{name: "Find 20 rows", run: func(db *gorm.DB, i int) (any, error) {
		var all []Article
		return &all, expect(20, db.Where("tag_id = ? AND words <> ?", i%100, -1-i).Find(&all))
	}},
}

// misses measures queries that nobody has asked before.
func misses(_ context.Context, env *environment, d *database, open *opened) ([]group, error) {
	setups, err := env.setups(d, open, missVariants...)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, w := range missWorks {
		g := group{work: w.name, busy: env.busy(open)}
		for _, s := range setups {
			asked := 0
			g.contenders = append(g.contenders, s.contender(repeat(func(ctx context.Context, _ int) error {
				asked++
				_, err := w.run(s.db.WithContext(ctx), asked)
				return err
			})))
		}
		groups = append(groups, g)
	}
	return groups, nil
}

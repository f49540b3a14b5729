package main

import (
	"context"
	"fmt"

	"gorm.io/gorm"
)

// growth measures what it costs that a query depends on more rows, and that a
// table's queries narrow by more sets of columns.
func growth(_ context.Context, env *environment, d *database, open *opened) ([]group, error) {
	setups, err := env.setups(d, open, hitVariants...)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, n := range []int{1, 10, 100} {
		w := readWork{name: fmt.Sprintf("hit, IN of %d", n), run: func(db *gorm.DB, i int) (any, error) {
			ids := make([]int, n)
			for j := range ids {
				ids[j] = i%100 + j*100 + 1
			}
			var names []string
			return names, expect(n, db.Model(&Article{}).Where("id IN ?", ids).Pluck("slug", &names))
		}}
		g := group{work: w.name, busy: env.busy(open)}
		for _, s := range setups {
			g.contenders = append(g.contenders, s.reader(w))
		}
		groups = append(groups, g)
	}
	for _, n := range []int{1, 8, 32} {
		own, err := env.setups(d, open, setsVariant, stampsVariant)
		if err != nil {
			return groups, err
		}
		g := group{work: fmt.Sprintf("update by key, %s", plural(n, "scheme")), busy: env.busy(open)}
		for _, s := range own {
			if s.plugin != nil {
				if err := narrow(s.db, n); err != nil {
					return groups, err
				}
			}
			title := 0
			g.contenders = append(g.contenders, s.writer(repeat(func(ctx context.Context, _ int) error {
				title++
				return update(s.db.WithContext(ctx), title)
			})))
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// narrow asks n queries of articles that narrow by different columns each.
func narrow(db *gorm.DB, n int) error {
	columns := []string{"id", "author_id", "tag_id", "shelf", "slug", "words"}
	for set := 1; set <= n; set++ {
		q := db
		for i, column := range columns {
			if set&(1<<i) != 0 {
				q = q.Where(column+" = ?", map[bool]any{true: "none", false: -1}[column == "slug"])
			}
		}
		var all []Article
		if err := q.Find(&all).Error; err != nil {
			return err
		}
	}
	return nil
}

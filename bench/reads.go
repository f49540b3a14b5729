package main

import (
	"context"
	"fmt"
	"time"

	rediscache "github.com/go-redis/cache/v9"
	"gorm.io/gorm"
)

// readWork is a query, or a few that belong together.
type readWork struct {
	name string
	run  func(db *gorm.DB, i int) (any, error)
	dest func() any // for the cache by hand
}

var readWorks = []readWork{
	{"First by key", func(db *gorm.DB, i int) (any, error) {
		var a Article
		return &a, db.First(&a, i%100+1).Error
	}, func() any { return new(Article) }},
	{"Find 20 rows", func(db *gorm.DB, i int) (any, error) {
		var all []Article
		return &all, expect(len(all), db.Where("tag_id = ?", i%100).Find(&all))
	}, func() any { return new([]Article) }},
	{"Find 1000 rows", func(db *gorm.DB, i int) (any, error) {
		var all []Article
		return &all, db.Where("shelf = ?", i%shelves).Find(&all).Error
	}, func() any { return new([]Article) }},
	{"Count", func(db *gorm.DB, i int) (any, error) {
		var n int64
		return &n, db.Model(&Article{}).Where("shelf = ? AND published = ?", i%shelves, true).Count(&n).Error
	}, func() any { return new(int64) }},
	{"Aggregate", func(db *gorm.DB, i int) (any, error) {
		var sums []struct {
			TagID int
			Words int64
		}
		return &sums, db.Model(&Article{}).Select("tag_id, SUM(words) AS words").Where("shelf = ?", i%shelves).Group("tag_id").Find(&sums).Error
	}, func() any {
		return new([]struct {
			TagID int
			Words int64
		})
	}},
	{"Join of 3 tables", func(db *gorm.DB, i int) (any, error) {
		var rows []joined
		return &rows, db.Model(&Article{}).Select("articles.id, articles.title, authors.name AS author, comments.text").
			Joins("JOIN authors ON authors.id = articles.author_id").
			Joins("JOIN comments ON comments.article_id = articles.id").
			Where("articles.tag_id = ?", i%100).Find(&rows).Error
	}, func() any { return new([]joined) }},
	{"Preload", func(db *gorm.DB, i int) (any, error) {
		var all []Article
		return &all, db.Preload("Author").Preload("Comments").Where("tag_id = ?", i%100).Find(&all).Error
	}, nil},
}

type joined struct {
	ID     uint
	Title  string
	Author string
	Text   string
}

func expect(_ int, db *gorm.DB) error {
	if db.Error == nil && db.RowsAffected == 0 {
		return gorm.ErrRecordNotFound
	}
	return db.Error
}

// reads measures hits: every query has been asked before.
func reads(ctx context.Context, env *environment, d *database) ([]group, error) {
	setups, err := env.setups(d, true, setsVariant, stampsVariant, embeddedVariant)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, w := range readWorks {
		g := group{work: w.name}
		for _, s := range setups {
			if s.manual != nil {
				if w.dest != nil {
					g.contenders = append(g.contenders, s.reader(w.name+" by hand", w))
				}
				continue
			}
			g.contenders = append(g.contenders, contender{
				name: s.name, trips: s.trips, warm: 200,
				run: repeat(func(ctx context.Context, i int) error {
					_, err := w.run(s.db.WithContext(ctx), i)
					return err
				}),
				after: func() map[string]float64 {
					if s.plugin == nil {
						return nil
					}
					n := s.plugin.Stats()
					return map[string]float64{"hit %": 100 * float64(n.Hits) / float64(n.Hits+n.Misses+n.Skips)}
				},
			})
		}
		groups = append(groups, g)
	}
	closeWithLast(groups, setups)
	return groups, nil
}

// reader is the cache by hand.
func (s setup) reader(prefix string, w readWork) contender {
	return contender{name: s.name, trips: s.trips, warm: 200, run: repeat(func(ctx context.Context, i int) error {
		return s.manual.Once(&rediscache.Item{
			Ctx: ctx, Key: fmt.Sprintf("bench:%s:%d", prefix, i%100), Value: w.dest(), TTL: time.Hour,
			Do: func(*rediscache.Item) (any, error) { return w.run(s.db.WithContext(ctx), i) },
		})
	})}
}

// closeWithLast closes the setups with the last contender.
func closeWithLast(groups []group, setups []setup) {
	if len(groups) == 0 {
		return
	}
	last := groups[len(groups)-1].contenders
	last[len(last)-1].close = func() {
		for _, s := range setups {
			s.close()
		}
	}
}

package main

import (
	"context"
	"fmt"
	"slices"
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

type tagSum struct {
	TagID int
	Words int64
}

type joined struct {
	ID     uint
	Title  string
	Author string
	Text   string
}

var readWorks = []readWork{
	{"First by key", func(db *gorm.DB, i int) (any, error) {
		var a Article
		return &a, expect(1, db.First(&a, i%100+1))
	}, func() any { return new(Article) }},
	{"Find 20 rows", func(db *gorm.DB, i int) (any, error) {
		var all []Article
		return &all, expect(20, db.Where("tag_id = ?", i%100).Find(&all))
	}, func() any { return new([]Article) }},
	{"Find 1000 rows", func(db *gorm.DB, i int) (any, error) {
		var all []Article
		return &all, expect(1000, db.Where("shelf = ?", i%shelves).Find(&all))
	}, func() any { return new([]Article) }},
	{"Count", func(db *gorm.DB, i int) (any, error) {
		var n int64
		return &n, expect(1, db.Model(&Article{}).Where("shelf = ? AND published = ?", i%shelves, true).Count(&n))
	}, func() any { return new(int64) }},
	{"Aggregate", func(db *gorm.DB, i int) (any, error) {
		var sums []tagSum
		return &sums, expect(tags/shelves, db.Model(&Article{}).Select("tag_id, SUM(words) AS words").Where("shelf = ?", i%shelves).Group("tag_id").Find(&sums))
	}, func() any { return new([]tagSum) }},
	{"Join of 3 tables", func(db *gorm.DB, i int) (any, error) {
		var rows []joined
		return &rows, expect(40, db.Model(&Article{}).Select("articles.id, articles.title, authors.name AS author, comments.text").
			Joins("JOIN authors ON authors.id = articles.author_id").
			Joins("JOIN comments ON comments.article_id = articles.id").
			Where("articles.tag_id = ?", i%100).Find(&rows))
	}, func() any { return new([]joined) }},
	{"Preload", func(db *gorm.DB, i int) (any, error) {
		var all []Article
		return &all, expect(20, db.Preload("Author").Preload("Comments").Where("tag_id = ?", i%100).Find(&all))
	}, nil},
}

// expect returns what a statement's error is, or that another number of rows
// came back or was written than must.
func expect(rows int, done *gorm.DB) error {
	if done.Error == nil && done.RowsAffected != int64(rows) {
		return wrongRows{done.RowsAffected, int64(rows)}
	}
	return done.Error
}

// wrongRows is a statement's number of rows that is not what it must be.
type wrongRows struct{ got, want int64 }

// Error implements error.
func (e wrongRows) Error() string { return fmt.Sprintf("%d rows instead of %d", e.got, e.want) }

// reads measures hits: every query has been asked before.
func reads(_ context.Context, env *environment, d *database, open *opened) ([]group, error) {
	setups, err := env.setups(d, open, slices.Concat(hitVariants, []variant{embeddedVariant})...)
	if err != nil {
		return nil, err
	}
	manual, err := open.setup(env.byHand(d))
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, w := range readWorks {
		g := group{work: w.name}
		for _, s := range setups {
			g.contenders = append(g.contenders, s.reader(w))
		}
		if w.dest != nil {
			g.contenders = append(g.contenders, manual.reader(w))
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// reader asks a work's queries, all of them once before it is measured.
func (s setup) reader(w readWork) contender {
	ask := func(ctx context.Context, i int) error {
		_, err := w.run(s.db.WithContext(ctx), i)
		return err
	}
	if s.manual != nil {
		ask = func(ctx context.Context, i int) error {
			return s.manual.Once(&rediscache.Item{
				Ctx: ctx, Key: fmt.Sprintf("bench:by hand:%s:%d", w.name, i%100), Value: w.dest(), TTL: time.Hour,
				Do: func(*rediscache.Item) (any, error) { return w.run(s.db.WithContext(ctx), i) },
			})
		}
	}
	c := s.contender(repeat(ask))
	c.warm = 100
	return c
}

package main

import (
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
)

// The tables: articles of authors with tags, and comments on them.
const (
	authors  = 200
	tags     = 500 // 20 articles each
	articles = 10_000
	shelves  = 10 // 1,000 articles each
	comments = 2 * articles
)

// Author writes articles.
type Author struct {
	ID      uint
	Name    string
	Country string
}

// Article has ten columns.
type Article struct {
	ID        uint
	AuthorID  uint `gorm:"index"`
	TagID     int  `gorm:"index"`
	Shelf     int  `gorm:"index"`
	Slug      string
	Title     string
	Words     int
	Published bool
	CreatedAt time.Time
	UpdatedAt time.Time

	Author   Author    `json:"-"`
	Comments []Comment `json:"-"`
}

// Comment belongs to an article.
type Comment struct {
	ID        uint
	ArticleID uint `gorm:"index"`
	Text      string
}

// seed makes and fills the tables. Rows are the same in each run.
func seed(db *gorm.DB) error {
	if err := db.Migrator().AutoMigrate(&Author{}, &Article{}, &Comment{}); err != nil {
		return err
	}
	var (
		as []Author
		rs []Article
		cs []Comment
		at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	)
	for i := 1; i <= authors; i++ {
		as = append(as, Author{ID: uint(i), Name: fmt.Sprintf("Author %d", i), Country: []string{"DE", "FR", "IT"}[i%3]})
	}
	for i := 1; i <= articles; i++ {
		rs = append(rs, Article{
			ID: uint(i), AuthorID: uint(i%authors) + 1, TagID: i % tags, Shelf: i % shelves,
			Slug: fmt.Sprintf("article-%d", i), Title: "About " + strings.Repeat("things ", 8) + fmt.Sprint(i),
			Words: i % 977, Published: i%7 != 0, CreatedAt: at, UpdatedAt: at,
		})
		for n := range 2 {
			cs = append(cs, Comment{ArticleID: uint(i), Text: fmt.Sprintf("comment %d on %d", n, i)})
		}
	}
	return db.Transaction(func(tx *gorm.DB) error {
		if err := tx.CreateInBatches(as, 500).Error; err != nil {
			return err
		}
		if err := tx.Omit("Author", "Comments").CreateInBatches(rs, 500).Error; err != nil {
			return err
		}
		return tx.CreateInBatches(cs, 1000).Error
	})
}

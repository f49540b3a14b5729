package main

import (
	"fmt"

	"gorm.io/gorm"
)

// Author writes articles.
type Author struct {
	ID   uint
	Name string
}

// TableName implements GORM's Tabler.
func (Author) TableName() string { return "blog_authors" }

// Article is a page of the blog.
type Article struct {
	ID       uint
	AuthorID uint
	Author   Author
	Title    string
}

// TableName implements GORM's Tabler.
func (Article) TableName() string { return "blog_articles" }

// Comment is what a reader says of an article.
type Comment struct {
	ID        uint
	ArticleID uint
	Text      string
}

// TableName implements GORM's Tabler.
func (Comment) TableName() string { return "blog_comments" }

// seed makes the tables, and two articles if there are none.
func seed(db *gorm.DB) error {
	if err := db.AutoMigrate(&Author{}, &Article{}, &Comment{}); err != nil {
		return fmt.Errorf("make the tables: %w", err)
	}
	var articles int64
	if err := db.Model(&Article{}).Count(&articles).Error; err != nil || articles > 0 {
		return err
	}
	ada := Author{Name: "Ada"}
	if err := db.Create(&ada).Error; err != nil {
		return fmt.Errorf("create the author: %w", err)
	}
	return db.Create(&[]Article{{AuthorID: ada.ID, Title: "Hydrogen"}, {AuthorID: ada.ID, Title: "Helium"}}).Error
}

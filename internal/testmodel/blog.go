package testmodel

// Category has many posts; deleting it deletes them, in the database.
type Category struct {
	ID    uint   `gorm:"primaryKey"`
	Title string `gorm:"size:100"`
	Posts []Post `gorm:"constraint:OnDelete:CASCADE"`
}

// Post is what most tests of invalidation use: a foreign key, a boolean, a
// number to be changed by expressions.
type Post struct {
	ID         uint      `gorm:"primaryKey"`
	CategoryID uint      `gorm:"index"`
	Category   *Category `gorm:"constraint:OnDelete:CASCADE"`
	Title      string    `gorm:"size:100"`
	Visible    bool
	Tag        int
	Reviews    []Review  `gorm:"foreignKey:PostID;constraint:-"`
	Comments   []Comment `gorm:"constraint:-"`
}

// Review refers to its post by a column with a name of its own.
type Review struct {
	ID     uint  `gorm:"primaryKey"`
	PostID uint  `gorm:"column:about;index"`
	Post   *Post `gorm:"constraint:-"`
	Stars  int
}

// Comment makes joins of two steps possible: comment, post, category.
type Comment struct {
	ID     uint   `gorm:"primaryKey"`
	PostID uint   `gorm:"index"`
	Post   *Post  `gorm:"constraint:-"`
	UserID *uint  `gorm:"index"`
	User   *User  `gorm:"constraint:-"`
	Text   string `gorm:"size:200"`
}

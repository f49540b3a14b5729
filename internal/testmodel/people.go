package testmodel

import (
	"time"

	"gorm.io/gorm"
)

// Company has many users. Deleting it sets their CompanyID to NULL, which the
// database does by itself.
type Company struct {
	ID      uint   `gorm:"primaryKey"`
	Name    string `gorm:"size:100;index"`
	Country string `gorm:"size:2"`
	Users   []User `gorm:"foreignKey:CompanyID;constraint:OnDelete:SET NULL"`
}

// User is deleted softly, and has every relation that GORM knows but a
// polymorphic one: see Toy.
type User struct {
	ID        uint `gorm:"primaryKey"`
	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt gorm.DeletedAt `gorm:"index"`

	Name   string `gorm:"size:100;index"`
	Age    int
	Active bool

	CompanyID *uint    `gorm:"index"`
	Company   *Company `gorm:"constraint:OnDelete:SET NULL"`
	ManagerID *uint    `gorm:"index"`
	Manager   *User    `gorm:"constraint:-"`
	Team      []User   `gorm:"foreignKey:ManagerID;constraint:-"`

	Account   *Account   `gorm:"constraint:-"`
	Pets      []Pet      `gorm:"constraint:-"`
	Toys      []Toy      `gorm:"polymorphic:Owner"`
	Languages []Language `gorm:"many2many:user_languages;constraint:OnDelete:CASCADE"`
	Groups    []Group    `gorm:"many2many:memberships;constraint:OnDelete:CASCADE"`
}

// UserSummary is another Go type for rows of User's table, without soft delete.
type UserSummary struct {
	ID   uint `gorm:"primaryKey"`
	Name string
	Age  int
}

// TableName is User's.
func (UserSummary) TableName() string { return "users" }

// Account belongs to one user.
type Account struct {
	ID     uint   `gorm:"primaryKey"`
	UserID uint   `gorm:"uniqueIndex"`
	Number string `gorm:"size:30"`
}

// Pet belongs to one user or to none. The database does not know of the
// relation: no constraint makes a delete of a user reach pets.
type Pet struct {
	ID     uint   `gorm:"primaryKey"`
	UserID *uint  `gorm:"index"`
	User   *User  `gorm:"constraint:-"`
	Name   string `gorm:"size:100"`
	Kind   string `gorm:"size:20"`
	Toys   []Toy  `gorm:"polymorphic:Owner"`
}

// Toy belongs to a user or to a pet.
type Toy struct {
	ID        uint   `gorm:"primaryKey"`
	Name      string `gorm:"size:100"`
	OwnerID   uint   `gorm:"index:idx_toys_owner"`
	OwnerType string `gorm:"size:20;index:idx_toys_owner"`
}

// Language has a primary key of text. Its join table with users is implicit, and
// a delete on either side cascades to it in the database.
type Language struct {
	Code  string `gorm:"primaryKey;size:10"`
	Name  string `gorm:"size:100"`
	Users []User `gorm:"many2many:user_languages;constraint:OnDelete:CASCADE"`
}

// Group has users as members by the explicit join table Membership.
type Group struct {
	ID      uint   `gorm:"primaryKey"`
	Name    string `gorm:"size:100"`
	Members []User `gorm:"many2many:memberships;constraint:OnDelete:CASCADE"`
}

// Membership is the join table of groups and users, with columns of its own.
// Register tells GORM of it.
type Membership struct {
	GroupID   uint   `gorm:"primaryKey;autoIncrement:false"`
	UserID    uint   `gorm:"primaryKey;autoIncrement:false"`
	Role      string `gorm:"size:20"`
	CreatedAt time.Time
}

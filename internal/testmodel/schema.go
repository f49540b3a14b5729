// Package testmodel has the models, the schema and the data that integration
// tests share: relations of every sort, keys of every form, columns of every
// kind. It stands outside the flow of a read and a write; only tests, examples
// and benchmarks import it.
package testmodel

import (
	"fmt"

	"gorm.io/gorm"
)

// All returns a pointer to a new value of each model that has a table of its
// own.
func All() []any {
	return []any{
		&Company{}, &User{}, &Account{}, &Pet{}, &Toy{}, &Language{}, &Group{}, &Membership{},
		&Category{}, &Post{}, &Review{}, &Comment{},
		&Brand{}, &Label{}, &OrderLine{}, &Stock{}, &Device{},
		&Kinds{},
	}
}

// Register tells GORM of the explicit join table. Each handle that uses
// Group.Members or User.Groups needs it before their first use; AutoMigrate does
// it for its own.
func Register(db *gorm.DB) error {
	for _, side := range []struct {
		model any
		field string
	}{{&Group{}, "Members"}, {&User{}, "Groups"}} {
		if err := db.SetupJoinTable(side.model, side.field, &Membership{}); err != nil {
			return fmt.Errorf("join table of %s: %w", side.field, err)
		}
	}
	return nil
}

// AutoMigrate makes the tables of models, or of All if there are none.
func AutoMigrate(db *gorm.DB, models ...any) error {
	if err := Register(db); err != nil {
		return err
	}
	if len(models) == 0 {
		models = All()
	}
	return db.AutoMigrate(models...)
}

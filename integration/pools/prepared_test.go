package pools

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
)

// GORM closes a prepared statement that it evicts, also while its rows are being
// read: the plugin's queries must not push the program's out, nor be among them.
func TestPreparedStatementsAreTheProgramsOnly(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			o := options()
			o.Gorm.PrepareStmt, o.Gorm.PrepareStmtMaxSize = true, 2
			f := fixture.New(t, env, o)
			bare := env.Reopen(t, f.Plain, &gorm.Config{PrepareStmt: true, PrepareStmtMaxSize: 2})
			require.NoError(t, f.Plain.Create(&[]fixture.Brand{{ID: 1}, {ID: 2}, {ID: 3}}).Error)

			transactions := func(db *gorm.DB) (failed int) {
				for i := range 200 {
					err := db.Transaction(func(tx *gorm.DB) error {
						var b fixture.Brand
						if err := tx.First(&b, 1+i%3).Error; err != nil {
							return err
						}
						return tx.Model(&b).Update("kind", i).Error
					})
					if err != nil {
						failed++
					}
				}
				return failed
			}
			require.Zero(t, transactions(bare), "without the plugin")
			require.Zero(t, transactions(f.DB))
			require.Equal(t, texts(bare), texts(f.DB))
		})
	}
}

// texts are the statements that GORM has prepared.
func texts(db *gorm.DB) []string { return db.ConnPool.(*gorm.PreparedStmtDB).Stmts.Keys() }

// The texts of many kinds of statements, in and outside of transactions, by several
// goroutines: those that GORM has prepared are the same with the plugin as without.
func TestPreparedTextsAreThoseWithoutThePlugin(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			o := options()
			o.Gorm.PrepareStmt = true
			f := fixture.New(t, env, o)
			bare := env.Reopen(t, f.Plain, &gorm.Config{PrepareStmt: true})
			for _, db := range []*gorm.DB{bare, f.DB} {
				require.NoError(t, db.Exec("DELETE FROM brands").Error)
				var group sync.WaitGroup
				for g := range uint(2) {
					group.Go(func() {
						for i := range uint(10) {
							id := 100*g + i + 1
							b := fixture.Brand{ID: id, Name: fmt.Sprint(i), Kind: int(g)}
							_ = db.Create(&b).Error // SQLite may be locked
							_ = db.Model(&b).Update("name", "x").Error
							_ = db.Where("kind = ?", g).Find(&[]fixture.Brand{}).Error
							_ = db.Where("name = ?", "x").Delete(&fixture.Brand{}).Error
						}
					})
				}
				group.Wait()
			}
			require.ElementsMatch(t, texts(bare), texts(f.DB))
		})
	}
}

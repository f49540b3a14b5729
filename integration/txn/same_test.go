package txn

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/txn"
)

// TestGORMBehavesAsWithoutUs runs the same actions on two fresh databases, one of
// them watched, and compares all that can be seen.
func TestGORMBehavesAsWithoutUs(t *testing.T) {
	for _, database := range testdb.Databases(t) {
		for _, p := range preparings {
			for _, translate := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/translate=%v", database.Name, p.name, translate), func(t *testing.T) {
					var seen [2][]string
					for i, install := range []bool{false, true} {
						db := database.Open(t, &gorm.Config{PrepareStmt: p.config, TranslateError: translate, Logger: logger.Discard})
						require.NoError(t, db.AutoMigrate(&Account{}, &Card{}))
						if install {
							require.NoError(t, new(txn.Pools).Install(db, txn.Options{NewJournal: (&recorder{}).newJournal}))
						}
						if p.session {
							db = db.Session(&gorm.Session{PrepareStmt: true})
						}
						seen[i] = actions(t, db)
					}
					require.Equal(t, seen[0], seen[1])
				})
			}
		}
	}
}

func actions(t *testing.T, db *gorm.DB) (seen []string) {
	say := func(name string, result *gorm.DB) {
		seen = append(seen, fmt.Sprintf("%s: %d rows, %s", name, result.RowsAffected, described(result.Error)))
	}
	sayError := func(name string, err error) { seen = append(seen, name+": "+described(err)) }
	sayRows := func(name string) {
		var ids []uint
		result := db.Model(&Account{}).Order("id").Pluck("id", &ids)
		seen = append(seen, fmt.Sprintf("%s: %v, %s", name, ids, described(result.Error)))
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()

	say("create", db.Create(&Account{ID: 1, Balance: 1, Cards: []Card{{ID: 1}}}))
	say("create again", db.Create(&Account{ID: 1}))
	say("foreign key", db.Create(&Card{ID: 9, AccountID: 99}))
	say("save", db.Save(&Account{ID: 2}))
	say("first", db.First(&Account{}, 1))
	say("missing", db.First(&Account{}, 77))
	say("update", db.Model(&Account{}).Where("id > 0").Update("balance", 3))
	say("no condition", db.Model(&Account{}).Update("balance", 3))
	say("syntax", db.Exec("SELEC 1"))
	say("raw", db.Raw("SELECT count(*) FROM accounts").Scan(new(int)))
	say("delete", db.Delete(&Account{}, 2))
	say("cancelled", db.WithContext(cancelled).Create(&Account{ID: 3}))
	sayRows("after autocommits")

	sayError("transaction", db.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{ID: 10}).Error }))
	sayError("transaction fails", db.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{ID: 10}).Error }))
	sayError("own error", db.Transaction(func(tx *gorm.DB) error { return errUser }))
	sayError("cancelled", db.WithContext(cancelled).Transaction(func(*gorm.DB) error { return nil }))
	sayError("refused options", db.Transaction(func(*gorm.DB) error { return nil }, &sql.TxOptions{Isolation: sql.LevelLinearizable}))
	sayError("nested", db.Transaction(func(tx *gorm.DB) error {
		sayError("inner", tx.Transaction(func(tx *gorm.DB) error {
			sayError("innermost", tx.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{ID: 10}).Error }))
			return tx.Create(&Account{ID: 11}).Error
		}))
		sayError("inner fails", tx.Transaction(func(tx *gorm.DB) error {
			say("inside", tx.Create(&Account{ID: 12}))
			return errUser
		}))
		_, err := tx.DB()
		return err
	}))
	sayError("nesting disabled", db.Session(&gorm.Session{DisableNestedTransaction: true}).Transaction(func(tx *gorm.DB) error {
		return tx.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{ID: 13}).Error })
	}))
	sayRows("after transactions")

	tx := db.Begin()
	say("begin", tx)
	say("in hand", tx.Create(&Account{ID: 20}))
	say("savepoint", tx.SavePoint("a"))
	say("in hand", tx.Create(&Account{ID: 21}))
	say("back", tx.RollbackTo("a"))
	say("batches", tx.CreateInBatches([]Account{{ID: 22}, {ID: 23}, {ID: 24}}, 2))
	say("commit", tx.Commit())
	say("commit twice", tx.Commit())
	say("rollback after commit", tx.Rollback())
	tx = db.Begin()
	say("in hand", tx.Create(&Account{ID: 30}))
	say("rollback", tx.Rollback())
	say("rollback twice", tx.Rollback())
	say("statement after the end", tx.Session(&gorm.Session{NewDB: true}).Create(&Account{ID: 31}))
	say("commit outside", db.Session(&gorm.Session{}).Commit())
	say("rollback outside", db.Session(&gorm.Session{}).Rollback())
	tx = db.WithContext(cancelled).Begin()
	say("begin fails", tx)
	say("then create", tx.Create(&Account{ID: 32}))
	say("then commit", tx.Commit())
	say("then rollback", tx.Rollback())
	say("begin within", db.Begin().Begin().Rollback())
	sayRows("by hand")

	sayError("connection", db.Connection(func(conn *gorm.DB) error {
		return conn.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{ID: 40}).Error })
	}))
	say("no default transaction", db.Session(&gorm.Session{SkipDefaultTransaction: true}).Create(&Account{ID: 41}))
	rows, err := db.Model(&Account{}).Rows()
	sayError("rows", err)
	if err == nil {
		sayError("close", rows.Close())
	}
	sayError("row", db.Raw("SELECT 1/0 FROM nowhere").Row().Err())
	seen = append(seen, "dry run: "+db.ToSQL(func(tx *gorm.DB) *gorm.DB { return tx.Create(&Account{ID: 50}) }))
	_, err = db.DB()
	sayError("db", err)
	sayRows("at the end")
	return seen
}

// databaseName is what testenv calls a database, in MySQL's error messages.
var databaseName = regexp.MustCompile(`cacheplugin_[0-9a-f]{16}`)

// described is an error's type and text, without what differs from run to run.
func described(err error) string {
	if err == nil {
		return "no error"
	}
	description := fmt.Sprintf("%T %s", err, databaseName.ReplaceAllString(err.Error(), "database"))
	for _, sentinel := range []error{sql.ErrTxDone, gorm.ErrInvalidTransaction, gorm.ErrDuplicatedKey, context.Canceled} {
		if errors.Is(err, sentinel) {
			description += fmt.Sprintf(" (is %v)", sentinel)
		}
	}
	return description
}

func BenchmarkTransaction(b *testing.B) {
	database := testdb.Need(b, testenv.SQLite)
	for _, p := range preparings[:2] {
		for _, install := range []bool{false, true} {
			name := p.name + "/bare"
			if install {
				name = p.name + "/watched"
			}
			b.Run(name, func(b *testing.B) {
				db := database.Open(b, &gorm.Config{PrepareStmt: p.config, Logger: logger.Discard})
				if install {
					require.NoError(b, new(txn.Pools).Install(db, txn.Options{NewJournal: (&recorder{}).newJournal}))
				}
				b.ReportAllocs()
				for b.Loop() {
					if err := db.Transaction(func(*gorm.DB) error { return nil }); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

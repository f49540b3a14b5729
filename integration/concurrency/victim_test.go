package concurrency

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// A deadlock rolls MySQL's transaction back. It is met by the query that looks
// at the old rows; the statement after it must not be sent, or it would be
// committed by itself.
func TestADeadlockAtTheOldRowsIsTheStatementsOwn(t *testing.T) {
	env := testdb.Need(t, testenv.MariaDB)
	for name, write := range map[string]func(tx *gorm.DB) error{
		"update": func(tx *gorm.DB) error {
			return tx.Model(&fixture.Brand{}).Where("id = ?", 2).Update("name", "mine").Error
		},
		"delete": func(tx *gorm.DB) error { return tx.Delete(&fixture.Brand{}, 2).Error },
		"save":   func(tx *gorm.DB) error { return tx.Save(&fixture.Brand{ID: 2, Name: "mine"}).Error },
		"raw":    func(tx *gorm.DB) error { return tx.Exec("UPDATE brands SET name = 'mine' WHERE id = 2").Error },
	} {
		t.Run(name, func(t *testing.T) {
			f := fixture.New(t, env, fixture.Options{Models: []any{&fixture.Brand{}}})
			require.NoError(t, f.Plain.Create(make([]fixture.Brand, 200)).Error)
			f.Cached(t, f.Brands(t, f.DB, 0))

			// The lighter transaction is the victim.
			heavy := f.Plain.Begin()
			require.NoError(t, heavy.Exec("UPDATE brands SET name = 'theirs' WHERE id > 1").Error)
			light := f.DB.Begin()
			require.NoError(t, light.Model(&fixture.Brand{}).Where("id = ?", 1).Update("name", "mine").Error)
			waiting := make(chan error)
			go func() { waiting <- heavy.Exec("UPDATE brands SET name = 'theirs' WHERE id = 1").Error }()

			require.ErrorContains(t, write(light), "1213")
			require.NoError(t, <-waiting)
			require.NoError(t, heavy.Rollback().Error)
			require.NoError(t, light.Rollback().Error)
			var changed int64
			require.NoError(t, f.Plain.Model(&fixture.Brand{}).Where("name <> ''").Count(&changed).Error)
			require.Zero(t, changed, "all was rolled back")
			require.NoError(t, f.Plain.Model(&fixture.Brand{}).Count(&changed).Error)
			require.EqualValues(t, 200, changed)
		})
	}
}

// PostgreSQL refuses everything after an error. Callers who try again look at
// the first one.
func TestAnErrorAtTheOldRowsIsTheStatementsOwn(t *testing.T) {
	env := testdb.Need(t, testenv.Postgres)
	f := fixture.New(t, env, fixture.Options{Models: []any{&fixture.Brand{}}})
	require.NoError(t, f.Plain.Create(make([]fixture.Brand, 3)).Error)
	dsn := env.DSN(t, f.Plain)
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	other := f.Plain.Begin()
	require.NoError(t, other.Exec("UPDATE brands SET name = 'theirs'").Error)
	defer func() { noError(t, other.Rollback().Error) }()

	impatient := f.Env.Connect(t, dsn+separator+"lock_timeout=10ms", &gorm.Config{Logger: logger.Discard})
	plugin := cacheplugin.New(f.Config)
	require.NoError(t, impatient.Use(plugin))
	defer func() { noError(t, plugin.Close(context.Background())) }()
	err := impatient.Transaction(func(tx *gorm.DB) error {
		return tx.Model(&fixture.Brand{}).Where("id = ?", 2).Update("name", "mine").Error
	})
	require.ErrorContains(t, err, "55P03")
}

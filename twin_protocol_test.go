package cacheplugin_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// TestPreparedSessionsHaveEntriesOfTheirOwn: by its simple protocol pgx gives
// times of other locations than where it prepares.
func TestPreparedSessionsHaveEntriesOfTheirOwn(t *testing.T) {
	env, ok := testenv.Find(t, testenv.Postgres)
	if !ok {
		return // named in the log
	}
	f := newFixture(t, env, options{models: []any{&twinAuthor{}, &twinBook{}}})
	require.NoError(t, f.plain.Create(&twinAuthor{ID: 1, Price: "1", Born: twinEpoch}).Error)
	dsn := twinDSN(testenv.DSN(t, f.plain), twinFlavours["postgres"][1])
	truth, db := env.Connect(t, dsn, nil), env.Connect(t, dsn, nil)
	require.NoError(t, db.Use(f.plugin))
	for _, prepare := range []bool{false, true} {
		session := &gorm.Session{PrepareStmt: prepare}
		var want, got, again []twinAuthor
		require.NoError(t, truth.Session(session).Find(&want).Error)
		f.misses(t, func() { require.NoError(t, db.Session(session).Find(&got).Error) })
		f.hits(t, func() { require.NoError(t, db.Session(session).Find(&again).Error) })
		require.Equal(t, want, got)
		require.Equal(t, want, again)
	}
}

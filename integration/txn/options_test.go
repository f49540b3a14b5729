package txn

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/txn"
)

func TestFlushContextKeepsValuesAndHasItsOwnDeadline(t *testing.T) {
	database := testdb.Need(t, testenv.SQLite)
	type key struct{}
	for _, test := range []struct {
		name    string
		timeout time.Duration
		want    time.Duration // 0: no deadline
	}{
		{"default", 0, txn.DefaultFlushTimeout},
		{"set", time.Hour, time.Hour},
		{"unlimited", -1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, database, preparing{}, txn.Options{FlushTimeout: test.timeout})
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
			tx := w.db.WithContext(ctx).Begin()
			require.NoError(t, tx.Create(&Account{ID: 1}).Error)
			before := time.Now()
			w.recorder.onFlush = func(flush context.Context) {
				cancel()
				require.NoError(t, flush.Err())
				require.Equal(t, "value", flush.Value(key{}))
				deadline, limited := flush.Deadline()
				require.Equal(t, test.want > 0, limited)
				if limited {
					require.False(t, deadline.Before(before.Add(test.want)))
				}
			}
			require.NoError(t, tx.Commit().Error)
			require.Equal(t, 1, w.recorder.count())
		})
	}
}

func TestDefaultTransactionTimeoutDoesNotReachTheFlush(t *testing.T) {
	database := testdb.Need(t, testenv.SQLite)
	w := newWorld(t, database, preparing{}, txn.Options{FlushTimeout: -1})
	db := w.db.Session(&gorm.Session{})
	db.DefaultTransactionTimeout = time.Hour
	w.recorder.onFlush = func(ctx context.Context) {
		_, limited := ctx.Deadline()
		require.False(t, limited)
	}
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{ID: 1}).Error }))
	require.Equal(t, 1, w.recorder.count())
}

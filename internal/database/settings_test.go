package database

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/report"
)

// identityOf is the identity of a SQLite database by a DSN.
func identityOf(t *testing.T, dsn string) string {
	t.Helper()
	db, err := gorm.Open(sqlite.Open(dsn))
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	id, err := NewSet(db, conj.SQLite, conj.Limits{}, report.New(slog.Default(), nil), &Registry{}).Of(pool).Identity(t.Context(), db.ConnPool)
	require.NoError(t, err)
	return id
}

func TestHandlesWhoseDSNsDifferInWhatTheyReturnShareNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	for _, test := range []struct {
		options string
		same    bool
	}{
		{"", true},
		{"?_busy_timeout=100&_journal_mode=WAL", true},
		{"?_foreign_keys=1", true},
		{"?_loc=Asia/Tokyo", false},
		{"?_case_sensitive_like=1", false},
		{"?_cslike=1", false},
		{"?_texttotime=1", false},
		{"?_something_new=1", false},
	} {
		t.Run(test.options, func(t *testing.T) {
			same := identityOf(t, file) == identityOf(t, file+test.options)
			require.Equal(t, test.same, same)
		})
	}
}

// dialectors as GORM's drivers declare them.
type (
	sqliteLike struct {
		gorm.Dialector
		DSN string
	}
	config       struct{ DSN string }
	postgresLike struct {
		gorm.Dialector
		*config
	}
)

func TestOptionsOfADSN(t *testing.T) {
	for _, test := range []struct {
		name      string
		dialector gorm.Dialector
		dialect   conj.Dialect
		options   string
	}{
		{"a URL", postgresLike{config: &config{"postgres://u:p@h:1/d?sslmode=disable&default_query_exec_mode=exec"}}, conj.PostgreSQL, "default_query_exec_mode=exec"},
		{"pairs", &postgresLike{config: &config{"host=h user=u password=p TimeZone=Asia/Tokyo"}}, conj.PostgreSQL, "TimeZone=Asia/Tokyo"},
		{"in another order", postgresLike{config: &config{"u:p@tcp(h)/d?parseTime=true&columnsWithAlias=true&timeout=1s"}}, conj.MySQL, "columnsWithAlias=true&parseTime=true"},
		{"a pool of the program's", postgresLike{config: &config{}}, conj.MySQL, ""},
		{"no configuration", postgresLike{}, conj.MySQL, ""},
		{"a file", &sqliteLike{DSN: "file.db?_loc=auto"}, conj.SQLite, "_loc=auto"},
		{"none", nil, conj.SQLite, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.options, dsnOptions(test.dialector, test.dialect))
		})
	}
}

func TestSettingsTaintTheSessionsOfAHandle(t *testing.T) {
	for _, test := range []struct {
		text   string
		taints bool
	}{
		{"PRAGMA case_sensitive_like = 1", true},
		{"PRAGMA reverse_unordered_selects = 1", true},
		{"PRAGMA cache_size = 100", false},
		{"PRAGMA foreign_keys = 1", false},
		{"SELECT 1", false},
	} {
		t.Run(test.text, func(t *testing.T) {
			var log bytes.Buffer
			db, set := open(t, &log)
			d := set.Of(db.ConnPool)
			d.NoteQuerySettings(t.Context(), db.ConnPool, test.text)
			require.Equal(t, test.taints, d.SessionTainted())
			if test.taints {
				require.NotContains(t, log.String(), "= 1", "values are masked")
				require.Contains(t, log.String(), "setting=")
			}
		})
	}
}

package commit_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/utils/tests"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/txn"
)

// patient is an outbox that nobody drains: its rows are deleted by Close.
func patient(o *commit.Options) {
	o.Outbox = &commit.OutboxOptions{Table: "cache_outbox", After: time.Hour, Poll: time.Hour}
}

// eager is one that is drained at once.
func eager(o *commit.Options) {
	o.Outbox = &commit.OutboxOptions{Table: "cache_outbox", After: time.Millisecond, Poll: 5 * time.Millisecond}
}

// newDatabase returns an SQLite database, with an outbox and a table.
func newDatabase(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(t.TempDir(), "test.db")+"?_journal_mode=WAL&_synchronous=OFF&_busy_timeout=20000&_txlock=immediate")
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	exec(t, db, "CREATE TABLE brands (id integer PRIMARY KEY, kind integer)")
	exec(t, db, commit.OutboxDDL(conj.SQLite, "cache_outbox"))
	return db
}

func exec(t testing.TB, db *sql.DB, text string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), text, args...)
	require.NoError(t, err)
}

func count(t testing.TB, db *sql.DB, table string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
	return n
}

// hooks are what package txn is told of the process.
func (p *process) hooks() txn.Options {
	return txn.Options{
		Dialect:    "sqlite",
		NewJournal: func() txn.Journal { return p.NewJournal(conj.SQLite) },
		BeforeCommit: func(ctx context.Context, tx *txn.Tx, j txn.Journal) error {
			return p.BeforeCommit(ctx, tx, j.(*commit.Journal))
		},
	}
}

// transaction is one that a process has begun, and what is known of it.
type transaction struct {
	*sql.Tx
	state *txn.Tx
}

// begin begins a transaction of the process.
func (p *process) begin(t testing.TB, db *sql.DB, options *sql.TxOptions) transaction {
	t.Helper()
	handle, err := gorm.Open(tests.DummyDialector{}, &gorm.Config{ConnPool: db})
	require.NoError(t, err)
	var pools txn.Pools
	require.NoError(t, pools.Install(handle, p.hooks()))
	t.Cleanup(func() { require.NoError(t, handle.ConnPool.(*sql.DB).Close()) })
	tx, err := handle.ConnPool.(*sql.DB).BeginTx(t.Context(), options)
	require.NoError(t, err)
	_, state := pools.Of(tx)
	return transaction{tx, state}
}

// prepare does what comes before COMMIT.
func (p *process) prepare(t testing.TB, tx transaction) error {
	t.Helper()
	return p.BeforeCommit(t.Context(), tx.state, tx.state.Journal().(*commit.Journal))
}

// insert inserts a brand and records it.
func insert(t testing.TB, tx transaction, ns *namespace.Namespace, kind conj.Value) {
	t.Helper()
	_, err := tx.ExecContext(t.Context(), "INSERT INTO brands (kind) VALUES (?)", string(kind))
	require.NoError(t, err)
	require.NoError(t, tx.state.Record(t.Context(), func(j txn.Journal) {
		j.(*commit.Journal).AddRows(ns, brands, conj.Separate(img("1", kind))...)
	}))
}

// killed is a process that dies right after the COMMIT of what record records.
func killed(t testing.TB, db *sql.DB, prefix string, record func(p *process, j *commit.Journal)) {
	t.Helper()
	p := start(t, testenv.Redis(t), prefix, patient)
	tx := p.begin(t, db, nil)
	require.NoError(t, p.BeforeCommit(t.Context(), tx.state, p.journal(func(j *commit.Journal) { record(p, j) })))
	require.NoError(t, tx.Commit())
}

// untilDrained waits until nothing is left in the outbox.
func untilDrained(t testing.TB, db *sql.DB) {
	t.Helper()
	require.Eventually(t, func() bool { return count(t, db, "cache_outbox") == 0 }, time.Minute, time.Millisecond)
}

func TestOutbox(t *testing.T) {
	t.Run("has_a_row_until_what_was_committed_is_invalidated", func(t *testing.T) {
		db := newDatabase(t)
		p := start(t, testenv.Redis(t), newPrefix(), patient)
		fill(t, p.home, "one", ofKind(brands, "1"))
		tx := p.begin(t, db, nil)
		insert(t, tx, p.home, "1")
		require.NoError(t, p.prepare(t, tx))
		require.NoError(t, tx.Commit(), "prepared twice")
		require.Equal(t, 1, count(t, db, "cache_outbox"))
		require.Equal(t, store.Missing, state(t, p.home, "one", ofKind(brands, "1")))
		require.NoError(t, p.Close(t.Context()))
		require.Zero(t, count(t, db, "cache_outbox"))
		require.Zero(t, p.report.Stats().Repaired)
	})
	t.Run("has_none_of_what_is_rolled_back", func(t *testing.T) {
		db := newDatabase(t)
		p := start(t, testenv.Redis(t), newPrefix(), patient)
		tx := p.begin(t, db, nil)
		insert(t, tx, p.home, "1")
		require.NoError(t, p.prepare(t, tx))
		require.NoError(t, tx.Rollback())
		require.Zero(t, count(t, db, "cache_outbox"))
	})
	t.Run("has_none_of_what_changes_nothing", func(t *testing.T) {
		db := newDatabase(t)
		p := start(t, testenv.Redis(t), newPrefix(), patient)
		empty := p.begin(t, db, nil)
		empty.state.Journal()
		require.NoError(t, empty.Commit())
		tx := p.begin(t, db, &sql.TxOptions{ReadOnly: true})
		require.NoError(t, tx.state.Record(t.Context(), func(j txn.Journal) { j.(*commit.Journal).AddTable(p.home, "brands") }))
		require.NoError(t, tx.Commit())
		require.Zero(t, count(t, db, "cache_outbox"))
	})
	t.Run("that_can't_be_written_aborts", func(t *testing.T) {
		db := newDatabase(t)
		p := start(t, testenv.Redis(t), newPrefix(), patient)
		fill(t, p.home, "one", ofKind(brands, "1"))
		exec(t, db, "DROP TABLE cache_outbox")
		tx := p.begin(t, db, nil)
		insert(t, tx, p.home, "1")
		require.ErrorIs(t, tx.Commit(), commit.ErrOutboxWrite)
		require.Zero(t, count(t, db, "brands"))
		require.Equal(t, store.Hit, state(t, p.home, "one", ofKind(brands, "1")))
		require.EqualValues(t, 1, p.report.Stats().Errors)
	})
	t.Run("gets_another_row_after_a_COMMIT_that_failed", func(t *testing.T) {
		db := newDatabase(t)
		p := start(t, testenv.Redis(t), newPrefix(), patient)
		tx := p.begin(t, db, nil)
		insert(t, tx, p.home, "1")
		require.NoError(t, p.prepare(t, tx))
		require.NoError(t, tx.state.FlushCommitted(t.Context(), sql.ErrNoRows))
		require.NoError(t, tx.Commit())
		require.Equal(t, 2, count(t, db, "cache_outbox"))
		require.NoError(t, p.Close(t.Context()))
		require.Zero(t, count(t, db, "cache_outbox"))
	})
	t.Run("keeps_the_row_of_a_COMMIT_of_which_nothing_is_known", func(t *testing.T) {
		db := newDatabase(t)
		p := start(t, testenv.Redis(t), newPrefix(), patient)
		tx := p.begin(t, db, nil)
		j := p.journal(func(j *commit.Journal) { j.AddTable(p.home, "brands") })
		require.NoError(t, p.BeforeCommit(t.Context(), tx.state, j))
		require.NoError(t, tx.Commit())
		j.Outcome(context.DeadlineExceeded)
		require.NoError(t, j.Flush(t.Context()))
		require.NoError(t, p.Close(t.Context()))
		require.Equal(t, 1, count(t, db, "cache_outbox"))
	})
	t.Run("is_written_before_the_fence_is_set", func(t *testing.T) {
		db := newDatabase(t)
		p := start(t, testenv.Redis(t), newPrefix(), patient, strict)
		exec(t, db, "DROP TABLE cache_outbox")
		tx := p.begin(t, db, nil)
		insert(t, tx, p.home, "1")
		require.ErrorIs(t, tx.Commit(), commit.ErrOutboxWrite)
		fill(t, p.home, "one", ofKind(brands, "1"))
	})
}

func TestCheckOutbox(t *testing.T) {
	db := newDatabase(t)
	check := func() error { return commit.CheckOutbox(t.Context(), db, conj.SQLite, "cache_outbox") }
	require.NoError(t, check())
	exec(t, db, commit.OutboxDDL(conj.SQLite, "cache_outbox"))
	require.NoError(t, check(), "made twice")
	exec(t, db, "ALTER TABLE cache_outbox DROP COLUMN format")
	require.ErrorContains(t, check(), "format")
	exec(t, db, "DROP TABLE cache_outbox")
	require.ErrorContains(t, check(), "cache_outbox")
}

// A writer is killed between its COMMIT and its invalidation. Another process
// makes up for it, as narrowly as the writer would have.
func TestOutbox_repairs_a_killed_writer(t *testing.T) {
	one, two := ofKind(brands, "1"), ofKind(brands, "2")
	for name, c := range map[string]struct {
		record func(p *process, j *commit.Journal)
		keeps  bool
		event  report.Event
	}{
		"rows": {
			func(p *process, j *commit.Journal) { j.AddRows(p.home, brands, conj.Separate(img("1", "1"))...) }, true,
			report.Event{Kind: report.Repair, Table: "brands", Images: 1, Keys: 1, Dropped: 1},
		},
		"a_table": {
			func(p *process, j *commit.Journal) { j.AddTable(p.home, "brands") }, false,
			report.Event{Kind: report.Repair, Table: "brands", Whole: true, Dropped: 1},
		},
		"everything": {
			func(p *process, j *commit.Journal) { j.AddEverything(p.home) }, false,
			report.Event{Kind: report.Repair, Table: "*", Whole: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			db, prefix := newDatabase(t), newPrefix()
			p := start(t, testenv.Redis(t), prefix, eager)
			fill(t, p.home, "one", one)
			fill(t, p.home, "two", two)
			killed(t, db, prefix, c.record)
			killed(t, db, prefix+"-another", c.record)
			require.Equal(t, store.Hit, state(t, p.home, "one", one), "the hazard")

			p.OpenOutbox(db, conj.SQLite)
			require.Eventually(t, func() bool { return count(t, db, "cache_outbox") == 1 }, time.Minute, time.Millisecond)
			require.Equal(t, store.Missing, state(t, p.home, "one", one))
			if c.keeps {
				require.Equal(t, store.Hit, state(t, p.home, "two", two))
			} else {
				require.Equal(t, store.Missing, state(t, p.home, "two", two))
			}
			require.Equal(t, []report.Event{c.event}, p.took(report.Repair))
			require.EqualValues(t, 1, p.report.Stats().Repaired)
			require.Zero(t, p.report.Stats().Invalidations)
		})
	}
}

// Many writers have died, and what they changed in one table is dropped
// together.
func TestOutbox_repairs_many_writers_at_once(t *testing.T) {
	const writers = 40
	db, prefix := newDatabase(t), newPrefix()
	p := start(t, testenv.Redis(t), prefix, eager)
	for i := range writers {
		kind := conj.Value(strconv.Itoa(i))
		fill(t, p.home, string(kind), ofKind(brands, kind))
		killed(t, db, prefix, func(p *process, j *commit.Journal) { j.AddRows(p.home, brands, conj.Separate(img("1", kind))...) })
	}
	fill(t, p.home, "other", ofKind(brands, "other"))
	for range 3 {
		start(t, testenv.Redis(t), prefix, eager).OpenOutbox(db, conj.SQLite)
	}
	untilDrained(t, db)
	for i := range writers {
		kind := conj.Value(strconv.Itoa(i))
		require.Equal(t, store.Missing, state(t, p.home, string(kind), ofKind(brands, kind)))
	}
	require.Equal(t, store.Hit, state(t, p.home, "other", ofKind(brands, "other")))
}

// What a repair can't tell Redis stays in the outbox, and nowhere else.
func TestOutbox_repairs_when_Redis_is_back(t *testing.T) {
	for name, record := range extents {
		t.Run(name, func(t *testing.T) {
			db, prefix := newDatabase(t), newPrefix()
			client, off := behindCut(t)
			p := start(t, client, prefix, eager)
			fill(t, p.home, "one", ofKind(brands, "1"))
			killed(t, db, prefix, func(p *process, j *commit.Journal) { record(p.home, j) })
			off.Store(true)
			p.OpenOutbox(db, conj.SQLite)
			require.Eventually(t, func() bool { return p.report.Stats().Errors > 1 }, time.Minute, time.Millisecond, "it is tried again")
			require.False(t, p.home.Guard.Bypass("brands"), "nothing is queued")
			require.Equal(t, 1, count(t, db, "cache_outbox"))
			require.Zero(t, p.report.Stats().Repaired)
			off.Store(false)
			untilDrained(t, db)
			require.Equal(t, store.Missing, state(t, p.home, "one", ofKind(brands, "1")))
			require.EqualValues(t, 1, p.report.Stats().Repaired)
		})
	}
}

// Rows that are not understood drop everything in the namespaces that they name,
// and if these are not known either, in all.
func TestOutbox_rows_that_are_not_understood(t *testing.T) {
	deps := ofKind(brands, "1")
	for name, c := range map[string]struct {
		namespaces, format, changes string
		drops                       []string
	}{
		"of_format_1":                     {`[":a"]`, "1 " + conj.KeyFormat, `[{"n":0,"t":"shops","w":true}]`, []string{":a"}},
		"of_a_newer_format":               {`[":b"]`, "99", "?", []string{":b"}},
		"of_several_namespaces":           {`[":a", ""]`, "99", "?", []string{"", ":a"}},
		"namespaces_that_are_no_JSON":     {"not JSON", "99", "[]", []string{"", ":a", ":b"}},
		"no_namespace":                    {"[]", "99", "[]", []string{"", ":a", ":b"}},
		"a_namespace_that_can't_be":       {`[":a{b}"]`, "99", "[]", []string{"", ":a", ":b"}},
		"a_namespace_that_is_not_escaped": {`[":%a"]`, "99", "[]", []string{"", ":a", ":b"}},
	} {
		t.Run(name, func(t *testing.T) {
			db, prefix := newDatabase(t), newPrefix()
			p := start(t, testenv.Redis(t), prefix, eager)
			for _, id := range []string{"", ":a", ":b"} {
				ns, err := p.namespaces.Open(id)
				require.NoError(t, err)
				fill(t, ns, "one", deps)
			}
			exec(t, db, "INSERT INTO cache_outbox VALUES ('1', ?, ?, ?, ?, 0)", prefix, c.namespaces, c.format, c.changes)
			p.OpenOutbox(db, conj.SQLite)
			untilDrained(t, db)
			var dropped []string
			for _, id := range []string{"", ":a", ":b"} {
				ns, err := p.namespaces.Open(id)
				require.NoError(t, err)
				if state(t, ns, "one", deps) == store.Missing {
					dropped = append(dropped, id)
				}
			}
			require.Equal(t, c.drops, dropped)
			require.EqualValues(t, 1, p.report.Stats().Errors, "it is reported")
		})
	}
}

// A large set of results is taken away by a repair, as by a flush, and must not
// stay in Redis for good.
func TestOutbox_repairs_and_frees_the_memory(t *testing.T) {
	const results = 1500
	db, prefix := newDatabase(t), newPrefix()
	client := testenv.Redis(t)
	p := start(t, client, prefix, eager)
	names := make([]string, results)
	for i := range names {
		name := fmt.Sprint("result ", i)
		fill(t, p.home, name, ofKind(brands, "1"))
		names[i] = p.home.Store.EntryName(entry(name))
	}
	killed(t, db, prefix, func(p *process, j *commit.Journal) { j.AddRows(p.home, brands, conj.Separate(img("1", "1"))...) })
	p.OpenOutbox(db, conj.SQLite)
	untilDrained(t, db)
	require.Eventually(t, func() bool {
		left, err := client.Exists(t.Context(), names...).Result()
		require.NoError(t, err)
		return left == 0
	}, time.Minute, 10*time.Millisecond)
}

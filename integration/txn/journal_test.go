package txn

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/txn"
)

// TestMain does without the check for left-over goroutines of testenv.Main:
// GORM starts one with each store of prepared statements and never ends it. See
// TestTransactionsLeaveNoGoroutines. The servers end with the process.
func TestMain(m *testing.M) { os.Exit(m.Run()) }

type Account struct {
	ID      uint `gorm:"primaryKey;autoIncrement:false"`
	Balance int
	Cards   []Card
}

type Card struct {
	ID        uint `gorm:"primaryKey;autoIncrement:false"`
	AccountID uint
}

// recorder makes journals and remembers what became of them.
type recorder struct {
	mu      sync.Mutex
	made    int
	notes   int
	flushes [][]string  // the notes of each flushed journal
	failure error       // what Flush returns
	alone   []txn.Where // of the writes that were watched outside of a transaction

	// onFlush runs inside of Flush, before Commit returns.
	onFlush func(ctx context.Context)
}

type journal struct {
	recorder *recorder
	notes    []string
	flushed  int
	kept     bool  // the last flush was that of a failed statement
	outcome  error // as told last
}

func (r *recorder) newJournal() txn.Journal {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made++
	return &journal{recorder: r}
}

func (j *journal) Outcome(err error) { j.outcome = err }

func (j *journal) Flush(ctx context.Context) error {
	j.flushed++
	if j.flushed > 1 && !j.kept {
		panic("a journal was flushed twice")
	}
	j.kept = j.outcome != nil
	r := j.recorder
	if r.onFlush != nil {
		r.onFlush(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushes = append(r.flushes, j.notes)
	return r.failure
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.flushes)
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made, r.notes, r.flushes, r.failure, r.alone, r.onFlush = 0, 0, nil, nil, nil, nil
}

// plugin does what the cache plugin does with the package, in small: writes
// are noted in the journal of the transaction that they are sent in.
type plugin struct {
	pools    txn.Pools
	recorder *recorder
	options  txn.Options
	where    func(txn.Where, *txn.Tx, *gorm.DB)
	inits    int
}

func (p *plugin) Name() string { return "txn_test" }

func (p *plugin) Initialize(db *gorm.DB) error {
	p.inits++
	o := p.options
	if o.NewJournal == nil {
		o.NewJournal = p.recorder.newJournal
	}
	if o.Watch == nil {
		o.Watch = p.watch
	}
	if err := p.pools.Install(db, o); err != nil {
		return err
	}
	callbacks := db.Callback()
	return errors.Join(
		callbacks.Create().Replace("gorm:create", p.around(callbacks.Create().Get("gorm:create"))),
		callbacks.Update().Replace("gorm:update", p.around(callbacks.Update().Get("gorm:update"))),
		callbacks.Delete().Replace("gorm:delete", p.around(callbacks.Delete().Get("gorm:delete"))),
		callbacks.Raw().Replace("gorm:raw", p.around(callbacks.Raw().Get("gorm:raw"))),
	)
}

// of tells where the statements of a handle go.
func (p *plugin) of(db *gorm.DB) (txn.Where, *txn.Tx) { return p.pools.Of(db.Statement.ConnPool) }

func (p *plugin) around(handler func(*gorm.DB)) func(*gorm.DB) {
	return func(db *gorm.DB) {
		where, tx := p.of(db)
		ctx := db.Statement.Context
		if !where.AtConnection() {
			db.Statement.Context = txn.Known(ctx, where)
		}
		handler(db)
		db.Statement.Context = ctx
		if db.DryRun {
			return
		}
		if p.where != nil {
			p.where(where, tx, db)
		}
		if where != txn.InTx {
			return
		}
		query := db.Statement.SQL.String()
		if query != "" && db.Error == nil && db.Statement.Table != "" {
			_ = db.AddError(p.note(ctx, tx, query))
		}
		if tx.Observe(query) {
			_ = db.AddError(tx.FlushCommitted(ctx, db.Error))
		}
	}
}

// note notes a write in its transaction.
func (p *plugin) note(ctx context.Context, tx *txn.Tx, query string) error {
	tx.MarkDirty()
	return tx.Record(ctx, func(j txn.Journal) {
		p.recorder.mu.Lock()
		p.recorder.notes++
		p.recorder.mu.Unlock()
		j.(*journal).notes = append(j.(*journal).notes, query)
	})
}

// watch notes the writes that do not come through GORM's handlers.
func (p *plugin) watch(_ context.Context, s txn.Statement) txn.Watched {
	word, _, _ := strings.Cut(strings.TrimSpace(s.Query), " ")
	switch strings.ToUpper(word) {
	case "INSERT", "UPDATE", "DELETE":
		return &write{p, s}
	}
	return nil
}

// write is one that was sent by somebody else than GORM's handlers.
type write struct {
	plugin    *plugin
	statement txn.Statement
}

func (w *write) Announce(context.Context) error { return nil }

func (w *write) Done(ctx context.Context, o txn.Outcome) error {
	switch {
	case o.Err != nil:
		return nil
	case w.statement.Where == txn.InTx:
		return w.plugin.note(ctx, w.statement.Tx, w.statement.Query)
	}
	r := w.plugin.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	r.alone = append(r.alone, w.statement.Where)
	return nil
}

// preparing is a way to have GORM prepare statements.
type preparing struct {
	name    string
	config  bool
	session bool
}

var preparings = []preparing{
	{name: "plain"},
	{name: "prepared globally", config: true},
	{name: "prepared in the session", session: true},
	{name: "prepared globally and in the session", config: true, session: true},
}

// world is a database with the plugin in, and a second handle without it.
type world struct {
	database testenv.Database
	db       *gorm.DB
	other    *gorm.DB
	recorder *recorder
	plugin   *plugin
}

func newWorld(t testing.TB, database testenv.Database, p preparing, o txn.Options) *world {
	t.Helper()
	return newWorldOn(t, database, newTables(t, database), p, o)
}

// newTables makes a database with empty tables and returns its DSN.
func newTables(t testing.TB, database testenv.Database) string {
	t.Helper()
	dsn := database.Create(t)
	require.NoError(t, database.Connect(t, dsn, nil).AutoMigrate(&Account{}, &Card{}))
	return dsn
}

func newWorldOn(t testing.TB, database testenv.Database, dsn string, p preparing, o txn.Options) *world {
	t.Helper()
	w := &world{database: database, recorder: &recorder{}}
	w.plugin = &plugin{recorder: w.recorder, options: o}
	w.db = database.Connect(t, dsn, &gorm.Config{PrepareStmt: p.config, Logger: logger.Discard})
	w.other = database.Connect(t, dsn, nil)
	require.NoError(t, w.db.Use(w.plugin))
	if p.session {
		w.db = w.db.Session(&gorm.Session{PrepareStmt: true})
	}
	return w
}

// of returns the transaction that a handle is in; nil if it is in none.
func (w *world) of(db *gorm.DB) *txn.Tx {
	_, tx := w.plugin.of(db)
	return tx
}

// where tells where the statements of a handle go.
func (w *world) where(db *gorm.DB) txn.Where {
	where, _ := w.plugin.of(db)
	return where
}

// on returns a handle whose statements go to a pool.
func (w *world) on(t testing.TB, pool gorm.ConnPool) *gorm.DB {
	t.Helper()
	db := w.db.Session(&gorm.Session{NewDB: true, Context: t.Context()})
	db.Statement.ConnPool = pool
	return db
}

// pool returns the pool that GORM has.
func (w *world) pool(t testing.TB) *sql.DB {
	t.Helper()
	pool, err := w.db.DB()
	require.NoError(t, err)
	return pool
}

// visible counts what another connection sees.
func (w *world) visible(t testing.TB) int64 {
	t.Helper()
	var n int64
	require.NoError(t, w.other.Model(&Account{}).Count(&n).Error)
	return n
}

// empty makes the world as new.
func (w *world) empty(t testing.TB) {
	t.Helper()
	require.NoError(t, w.other.Exec("DELETE FROM cards").Error)
	require.NoError(t, w.other.Exec("DELETE FROM accounts").Error)
	w.recorder.reset()
}

// each runs a test on each database and each way to prepare.
func each(t *testing.T, test func(t *testing.T, w *world)) {
	for _, database := range testdb.Databases(t) {
		t.Run(database.Name, func(t *testing.T) {
			dsn := newTables(t, database) // servers take their time to create one
			for _, p := range preparings {
				t.Run(p.name, func(t *testing.T) {
					w := newWorldOn(t, database, dsn, p, txn.Options{})
					w.empty(t)
					test(t, w)
				})
			}
		})
	}
}

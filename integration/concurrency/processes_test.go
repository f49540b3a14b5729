package concurrency

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// job is what one process of a test is to do. A second process gets it as
// JSON: see TestSecondProcess.
type job struct {
	Work     string // "history" or "lock"
	Dialect  string
	DSN      string
	Redis    server
	Prefix   string
	Mode     cacheplugin.Mode
	Prepare  bool
	Unsafe   bool // writes invalidate nothing
	Near     bool // with a near cache
	Writes   int  // of each writer
	Rounds   int
	Start    string // a Redis key that the processes meet at
	Output   string // a file for what the process has to tell
	Children int
}

// server is how a second process gets to Redis.
type server struct {
	Addr, Username, Password string
	DB                       int
}

const (
	secondProcess = "CACHEPLUGIN_TEST_JOB"

	rowsOfHistory   = 8
	groupsOfHistory = 3
	writersEach     = 3
	readersEach     = 3
)

// TestSecondProcess is the other process of the tests that need one: they run
// this binary again with a job in the environment. By itself it does nothing.
func TestSecondProcess(t *testing.T) {
	text := os.Getenv(secondProcess)
	if text == "" {
		return
	}
	var j job
	require.NoError(t, json.Unmarshal([]byte(text), &j))
	out, err := json.Marshal(j.run(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(j.Output, out, 0o600))
}

// second starts the job in another process; the returned function waits for
// it and reads what it has told into result.
func (j job) second(t *testing.T, result any) (wait func()) {
	t.Helper()
	j.Output = filepath.Join(t.TempDir(), "output.json")
	text, err := json.Marshal(j)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0], "-test.run=^TestSecondProcess$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), secondProcess+"="+string(text))
	var log lockedBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	return func() {
		t.Helper()
		require.NoError(t, cmd.Wait(), "the second process: %s", &log)
		out, err := os.ReadFile(j.Output)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(out, result))
	}
}

// lockedBuffer collects a process's output.
type lockedBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

// hitKey is where a read's context has a bool for the Observer to set.
type hitKey struct{}

// open opens the job's database with the plugin.
func (j job) open(t *testing.T) (*gorm.DB, *cacheplugin.Plugin, *redis.Client) {
	t.Helper()
	env := testdb.OfDialect(j.Dialect)
	db := env.Connect(t, j.DSN, &gorm.Config{Logger: logger.Discard, PrepareStmt: j.Prepare})
	client := redis.NewClient(&redis.Options{Addr: j.Redis.Addr, Username: j.Redis.Username, Password: j.Redis.Password, DB: j.Redis.DB})
	t.Cleanup(func() { _ = client.Close() })
	var kept *cacheplugin.NearCache
	if j.Near {
		kept = &cacheplugin.NearCache{}
	}
	plugin := cacheplugin.New(cacheplugin.Config{
		NearCache: kept,
		Redis:     client, Prefix: j.Prefix, Mode: j.Mode, Profiles: fixture.CacheAll(),
		// On a busy machine a writer may be kept from its invalidation for long.
		ShadowReads: 1, ShadowDelay: 3 * time.Second, RedisTimeout: 30 * time.Second, LockWait: time.Minute, LeaseTTL: time.Minute,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Observer: cacheplugin.ObserverFunc(func(ctx context.Context, e cacheplugin.Event) {
			if hit, ok := ctx.Value(hitKey{}).(*bool); ok && e.Kind == cacheplugin.EventHit {
				*hit = true
			}
		}),
	})
	require.NoError(t, db.Use(plugin))
	t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
	return db, plugin, client
}

// meet waits until all processes of the job are there.
func (j job) meet(t *testing.T, client *redis.Client, place string) {
	t.Helper()
	ctx := context.Background()
	key := j.Prefix + "-meet-" + place
	require.NoError(t, client.Incr(ctx, key).Err())
	require.Eventually(t, func() bool {
		n, err := client.Get(ctx, key).Int()
		return err == nil && n >= 1+j.Children
	}, 2*time.Minute, time.Millisecond)
}

func (j job) run(t *testing.T) any {
	if j.Work == "lock" {
		return j.lock(t)
	}
	return j.history(t)
}

// history writes and reads with several goroutines until the writers are done.
func (j job) history(t *testing.T) history {
	db, plugin, client := j.open(t)
	j.meet(t, client, "start")
	var (
		writers, readers sync.WaitGroup
		done             atomic.Bool
		mu               sync.Mutex
		all              history
	)
	for range writersEach {
		writers.Go(func() {
			var mine history
			for range j.Writes {
				if w := j.write(t, db); w != nil {
					mine.Writes = append(mine.Writes, *w)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all.add(mine)
		})
	}
	for range readersEach {
		readers.Go(func() {
			var mine history
			for !done.Load() {
				mine.Reads = append(mine.Reads, readSomething(t, db))
			}
			mu.Lock()
			defer mu.Unlock()
			all.add(mine)
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	all.ShadowReads, all.Stale, all.NearHits = plugin.Stats().ShadowReads, plugin.Stats().Stale, plugin.Stats().NearHits
	return all
}

// write gives a row its next version, and maybe another group. It returns nil
// if that was rolled back.
func (j job) write(t *testing.T, db *gorm.DB) *wrote {
	ctx := context.Background()
	if j.Unsafe {
		ctx = cache.WithoutInvalidation(ctx)
	}
	w := wrote{ID: 1 + rand.IntN(rowsOfHistory)}
	tx := db.WithContext(ctx).Begin()
	if !noError(t, tx.Error) {
		return nil
	}
	grp := gorm.Expr("grp")
	if rand.IntN(2) == 0 {
		grp = gorm.Expr("?", 1+rand.IntN(groupsOfHistory))
	}
	change := map[string]any{"ver": gorm.Expr("ver + 1"), "grp": grp}
	var changed *gorm.DB
	commit := true
	switch rand.IntN(8) {
	case 0:
		changed = tx.Exec("UPDATE counters SET ver = ver + 1, grp = ? WHERE id = ?", 1+rand.IntN(groupsOfHistory), w.ID)
	case 1: // a row goes and comes back
		var old counter
		changed = tx.Clauses(locking(tx)).Find(&old, w.ID)
		if changed.Error == nil && changed.RowsAffected == 1 {
			noError(t, tx.Delete(&counter{}, w.ID).Error)
			noError(t, tx.Create(&counter{ID: w.ID, Grp: 1 + rand.IntN(groupsOfHistory), Ver: old.Ver + 1}).Error)
		}
	case 2: // some of it is taken back
		changed = tx.Model(&counter{}).Where("id = ?", w.ID).Updates(change)
		noError(t, tx.SavePoint("here").Error)
		noError(t, tx.Model(&counter{}).Where("id = ?", w.ID).Updates(change).Error)
		noError(t, tx.RollbackTo("here").Error)
	case 3: // all of it is
		commit = false
		fallthrough
	default:
		changed = tx.Model(&counter{}).Where("id = ?", w.ID).Updates(change)
	}
	var now counter
	found := tx.Find(&now, w.ID)
	// PostgreSQL finds no row that another transaction has made anew while we
	// waited for it.
	if !noError(t, changed.Error) || !noError(t, found.Error) || changed.RowsAffected == 0 {
		commit = false
	}
	w.Ver, w.Grp = now.Ver, now.Grp
	w.Began = time.Now().UnixNano()
	if !commit {
		noError(t, tx.Rollback().Error)
		return nil
	}
	noError(t, tx.Commit().Error)
	w.Returned = time.Now().UnixNano()
	return &w
}

// readSomething reads one of the forms of a result.
func readSomething(t *testing.T, db *gorm.DB) saw {
	var hit bool
	var r saw
	db = db.WithContext(context.WithValue(context.Background(), hitKey{}, &hit))
	r.Grp = 1 + rand.IntN(groupsOfHistory)
	id := 1 + rand.IntN(rowsOfHistory)
	r.Start = time.Now().UnixNano()
	var err error
	if rand.IntN(4) == 0 { // which looks up too, where its isolation allows
		tx := db.Begin()
		defer func() { noError(t, tx.Rollback().Error) }()
		db = tx
	}
	switch rand.IntN(4) {
	case 0:
		r.Kind, r.IDs, r.Rows = "row", []int{id}, make([]counter, 1)
		err = db.Take(&r.Rows[0], id).Error
	case 1:
		r.Kind, r.IDs = "rows", []int{id, 1 + id%rowsOfHistory}
		err = db.Where("id IN ?", r.IDs).Find(&r.Rows).Error
	case 2:
		r.Kind = "group"
		err = db.Where("grp = ?", r.Grp).Order("id").Find(&r.Rows).Error
	default:
		r.Kind = "count"
		var n int64
		err = db.Model(&counter{}).Where("grp = ?", r.Grp).Count(&n).Error
		r.Count = int(n)
	}
	r.End = time.Now().UnixNano()
	noError(t, err)
	r.Hit = hit
	return r
}

// locking locks the row that is read; SQLite has one writer at a time, who is
// to write first.
func locking(tx *gorm.DB) clause.Expression {
	if tx.Name() == "sqlite" {
		noRow := tx.Session(&gorm.Session{NewDB: true}).Model(&counter{}).Where("1 = 0").Update("ver", 0)
		_ = tx.AddError(noRow.Error)
		return clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "1 = 1"}}}
	}
	return clause.Locking{Strength: "UPDATE"}
}

// noError is require.NoError for goroutines, which must not end the test.
func noError(t *testing.T, err error) bool {
	if err != nil {
		t.Errorf("unexpected error: %v", err)
	}
	return err == nil
}

// onServers runs a test on the databases that two processes can share, in both
// modes.
func onServers(t *testing.T, test func(t *testing.T, j job)) {
	t.Helper()
	for i, name := range []string{testenv.SQLiteFile, testenv.Postgres, testenv.MariaDB} {
		env := testdb.ByName(name)
		for _, mode := range []cacheplugin.Mode{cacheplugin.ConjunctionSets, cacheplugin.InsideOut} {
			t.Run(name+"/"+mode.String(), func(t *testing.T) {
				r := testenv.RedisOptions(t)
				plain := env.Open(t, nil)
				require.NoError(t, plain.AutoMigrate(&counter{}))
				require.NoError(t, plain.Create(initialCounters()).Error)
				test(t, job{
					Dialect: env.Dialect, DSN: env.DSN(t, plain), Redis: server{r.Addr, r.Username, r.Password, r.DB},
					Prefix: fmt.Sprintf("%s-%d", uniquePrefix(), i), Mode: mode, Prepare: mode == cacheplugin.InsideOut,
					Writes: 100, Children: 1,
				})
			})
		}
	}
}

func uniquePrefix() string { return fmt.Sprintf("history-%x", rand.Uint64()) }

func initialCounters() []counter {
	var rows []counter
	for id := 1; id <= rowsOfHistory; id++ {
		rows = append(rows, counter{ID: id, Grp: 1 + id%groupsOfHistory})
	}
	return rows
}

func (j job) historyOfTwo(t *testing.T) verdict {
	t.Helper()
	j.Work = "history"
	var theirs history
	wait := j.second(t, &theirs)
	all := j.history(t)
	wait()
	all.add(theirs)
	v := check(initialCounters(), all)
	v.shadowReads, v.shadowStale, v.nearHits = all.ShadowReads, all.Stale, all.NearHits
	t.Logf("%d writes; %d reads, %d of them hits (%d %%); %d stale, %d of them hits",
		v.writes, v.reads, v.hits, 100*v.hits/max(1, v.reads), len(v.stale), v.staleHits)
	require.Empty(t, v.wrong)
	return v
}

// No read that starts after a commit has returned, in whichever process, is
// older than it.
func TestNoReadOfTwoProcessesIsStale(t *testing.T) {
	history := func(near bool) func(t *testing.T, j job) {
		return func(t *testing.T, j job) {
			j.Near = near
			v := j.historyOfTwo(t)
			require.Greater(t, v.writes, writersEach*j.Writes)
			require.Positive(t, v.hits)
			require.Empty(t, v.stale)
			require.Positive(t, v.shadowReads)
			require.Zero(t, v.shadowStale, "the plugin's own checks have found none either")
			require.Equal(t, near, v.nearHits > 0)
		}
	}
	onServers(t, history(false))
	t.Run("with a near cache", func(t *testing.T) { onServers(t, history(true)) })
}

// The same with writes that invalidate nothing, to know that the check sees.
func TestTheCheckSeesStaleReads(t *testing.T) {
	onServers(t, func(t *testing.T, j job) {
		j.Unsafe = true
		v := j.historyOfTwo(t)
		require.Positive(t, v.staleHits)
		require.Len(t, v.stale, v.staleHits, "the database itself is never stale")
	})
}

// A transaction of SQLite that reads before it writes fails at once when
// another one writes: the plugin must not read the catalog first.
func TestAColdCatalogMakesNoWriterOfSQLiteFail(t *testing.T) {
	env := testdb.Need(t, testenv.SQLiteFile)
	f := fixture.New(t, env, fixture.Options{Models: []any{&counter{}}})
	require.NoError(t, f.Plain.Create(initialCounters()).Error)
	for name, write := range map[string]func(db *gorm.DB) error{
		"update": func(db *gorm.DB) error {
			return db.Model(&counter{}).Where("id = ?", 1).Update("ver", gorm.Expr("ver + 1")).Error
		},
		"delete": func(db *gorm.DB) error { return db.Delete(&counter{}, 99).Error },
		"create": func(db *gorm.DB) error { return db.Create(&counter{ID: 100 + rand.IntN(1e9)}).Error },
		"exec": func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				return tx.Exec("UPDATE counters SET ver = ver + 1 WHERE id = ?", 2).Error
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				cold := fixture.NewSibling(t, f, gorm.Config{})
				holder := f.Plain.Begin()
				require.NoError(t, holder.Model(&counter{}).Where("id = ?", 3).Update("ver", 1).Error)
				entered, done := make(chan struct{}), make(chan error)
				go func() {
					close(entered)
					done <- write(cold.DB)
				}()
				<-entered
				require.NoError(t, holder.Commit().Error)
				require.NoError(t, <-done)
			}
		})
	}
}

package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// weakness is a deliberate fault of the readers, which the model must notice.
type weakness int

const (
	none          weakness = iota
	ignoresLeases          // stores under whatever lease is there
	readsTooEarly          // reads the database before it has looked the entry up
	setsNoFence            // a strict writer announces nothing
	namesNoRows            // stores as if no rows had been joined
	asksNoVersion          // takes a valid entry for the one that it has kept
	marksTooEarly          // a follower takes a moment before the commit for one after it
)

// weaknesses are those that the model must notice, and the seed from which on it is
// asked to: of a rare one many runs see nothing.
var weaknesses = map[string]struct {
	weakness
	from uint64
}{
	"ignores leases":  {weakness: ignoresLeases},
	"reads too early": {weakness: readsTooEarly},
	"sets no fence":   {weakness: setsNoFence},
	"names no rows":   {weakness: namesNoRows},
	"asks no version": {weakness: asksNoVersion, from: 350},
	"marks too early": {weakness: marksTooEarly},
}

// query is a query over the rows of the model, with what it depends on. Rows of
// b are joined by the group of a's rows that the query reads.
type query struct {
	name string
	deps []store.Dependency
	join []int // of these rows of a
}

// joined returns the keys of the rows of b that the result shows, given the rows
// of a.
func (q query) joined(a []row) (keys []conj.Key) {
	for _, i := range q.join {
		keys = append(keys, key("b", byID, a[i].group))
	}
	return keys
}

func dependency(table string, s conj.Scheme, values ...string) store.Dependency {
	return store.Dependency{Table: table, Schemes: []conj.Scheme{s}, Keys: []conj.Key{key(table, s, values...)}}
}

var queries = []query{
	{name: "a of group 0", deps: []store.Dependency{dependency("a", byGroup, "0")}},
	{name: "a of group 1", deps: []store.Dependency{dependency("a", byGroup, "1")}},
	{name: "a by id 0", deps: []store.Dependency{dependency("a", byID, "0")}},
	{name: "a by id 0 or of group 1", deps: []store.Dependency{{
		Table: "a", Schemes: []conj.Scheme{byID, byGroup},
		Keys: []conj.Key{key("a", byID, "0"), key("a", byGroup, "1")},
	}}},
	{name: "all of a", deps: []store.Dependency{dependency("a", whole)}},
	{name: "all of b", deps: []store.Dependency{dependency("b", whole)}},
	{name: "a of group 0 joined with b by id 1", deps: []store.Dependency{dependency("a", byGroup, "0"), dependency("b", byID, "1")}},
	{
		name: "a by id 0 with the b of its group", join: []int{0},
		deps: []store.Dependency{dependency("a", byID, "0"), {Table: "b", Schemes: []conj.Scheme{byID}, Joined: true}},
	},
	{
		name: "all of a with the b of their groups", join: []int{0, 1},
		deps: []store.Dependency{dependency("a", whole), {Table: "b", Schemes: []conj.Scheme{byID}, Joined: true}},
	},
}

// touches reports whether a change of a row (its images before and after) can
// change the query's result, which has seen the given rows of a.
func (q query) touches(a []row, table string, images ...row) bool {
	for _, d := range q.deps {
		if d.Table != table {
			continue
		}
		if d.Joined {
			d.Keys = q.joined(a)
		}
		for _, image := range images {
			keys, _ := image.keys(table, d.Schemes)
			for _, k := range keys {
				for _, mine := range d.Keys {
					if k == mine {
						return true
					}
				}
			}
		}
	}
	return false
}

// world is a database, its readers and its writers, with the obligation that
// returned commits put on hits. A result is nothing but the number of commits
// that it has seen.
type world struct {
	backend
	t         require.TestingT
	namespace string
	weak      weakness
	draw      func(n int, what string) int

	// strict: hits owe what is committed; writers fence before they commit,
	// and some die after it.
	strict bool
	fences []string // of writers that have committed or are gone

	commits int
	rows    map[string][]row // by table
	past    [][]row          // the rows of a after so many commits

	readers []*reader
	writers []*writer
	sent    []call // look-ups, to be delivered again
	saved   []delivery
	garbage []string // sets that invalidations have taken away

	obliging []obligation
	stale    string // the first hit that was too old
	hits     int
}

// obligation is a commit that hits must have seen if it touches them: it has
// returned or, under fences, been made.
type obligation struct {
	commit int
	table  string
	images []row
}

type reader struct {
	store *store.Store
	query int // -1: idle
	lease store.Lease
	seen  int                  // -1: has not read the database yet
	kept  map[int]store.Lookup // by query: hits, to be validated
}

type writer struct {
	store *store.Store
	fence string // strict: set, and nothing committed yet
	row   int
	// What has been committed and not yet been invalidated.
	commit int
	table  string
	images []row
	// followed: it invalidates nothing itself, and a follower does so that has looked
	// at the clock after the commit.
	followed bool
	mark     store.Moment
}

type call struct {
	token string
	query int
}

type delivery struct {
	lease  store.Lease
	seen   int
	joined [][]conj.Key
}

func newWorld(t require.TestingT, b backend, weak weakness, draw func(int, string) int) *world {
	w := &world{backend: b, t: t, namespace: newNamespace(), weak: weak, draw: draw, rows: map[string][]row{}}
	for _, table := range []string{"a", "b"} {
		for id := range 2 {
			w.rows[table] = append(w.rows[table], row{strconv.Itoa(id), "0"})
		}
	}
	w.past = [][]row{slices.Clone(w.rows["a"])}
	for range 3 {
		w.readers = append(w.readers, &reader{store: w.newStore(), query: -1, kept: map[int]store.Lookup{}})
	}
	for range 2 {
		w.writers = append(w.writers, &writer{store: w.newStore()})
	}
	return w
}

func (w *world) newStore() *store.Store {
	s, err := store.New(store.Options{Client: w.client, DirectConnections: w.mode.identified, Namespace: w.namespace, Mode: w.mode.Mode, Spread: w.mode.spread, Timeout: 10 * time.Second})
	if err == nil {
		s.Close(context.Background()) // what is taken away is reclaimed as the model draws
	}
	require.NoError(w.t, err)
	return s
}

func (w *world) check(query int, l store.Lookup) {
	if l.State != store.Hit {
		return
	}
	w.hits++
	seen, err := strconv.Atoi(string(l.Payload))
	require.NoError(w.t, err)
	for _, o := range w.obliging {
		if seen < o.commit && w.stale == "" && queries[query].touches(w.past[seen], o.table, o.images...) {
			w.stale = fmt.Sprintf("%s: a hit has seen %d commits, must have seen commit %d", queries[query].name, seen, o.commit)
		}
	}
}

// step lets one of those who run make its next move.
func (w *world) step(ctx context.Context) {
	switch w.draw(26, "move") {
	case 25: // what is left of a set that was taken away is reclaimed, perhaps once more
		if len(w.garbage) > 0 {
			require.NoError(w.t, w.readers[0].store.Reclaim(ctx, w.garbage[w.draw(len(w.garbage), "garbage")]))
		}
	case 24:
		w.expire(ctx)
	case 0, 1, 2, 3, 4, 5, 6, 7, 8, 9:
		w.read(ctx, w.readers[w.draw(len(w.readers), "reader")])
	case 10, 11, 12, 13, 14, 15, 16:
		w.write(ctx, w.writers[w.draw(len(w.writers), "writer")])
	case 17:
		q := w.draw(len(queries), "query")
		l, err := w.readers[0].store.Peek(ctx, entry(queries[q].name), queries[q].deps)
		require.NoError(w.t, err)
		w.check(q, l)
	case 18, 19: // the network delivers a look-up again
		if len(w.sent) > 0 {
			c := w.sent[w.draw(len(w.sent), "look-up")]
			s := w.newStore()
			fixToken(s, c.token)
			_, err := s.Acquire(ctx, entry(queries[c.query].name), queries[c.query].deps, ttl)
			require.NoError(w.t, err)
		}
	case 20: // or a store
		if len(w.saved) > 0 {
			d := w.saved[w.draw(len(w.saved), "save")]
			_, err := w.readers[0].store.Save(ctx, d.lease, []byte(strconv.Itoa(d.seen)), ttl, d.joined...)
			require.NoError(w.t, err)
		}
	case 21, 22: // a key is evicted, or runs out
		keys := w.keys()
		if w.strict {
			keys = slices.Delete(keys, 1, 3) // the tables: fences are lost with them
		}
		if err := w.client.Del(ctx, keys[w.draw(len(keys), "key")]).Err(); err != nil {
			require.NoError(w.t, err)
		}
	case 23:
		s := w.writers[0].store
		if w.draw(2, "all") == 0 {
			require.NoError(w.t, s.InvalidateAll(ctx))
		} else {
			_, err := s.Invalidate(ctx, []store.Change{{Table: "a"}})
			require.NoError(w.t, err)
		}
	}
}

// keys returns the names of all keys that there may be, in a stable order.
func (w *world) keys() []string {
	s := w.readers[0].store
	keys := []string{store.EpochName(s, entry(queries[0].name)), s.TableName("a"), s.TableName("b")}
	for _, q := range queries {
		keys = append(keys, s.EntryName(entry(q.name)))
		for _, d := range q.deps {
			for _, k := range d.Keys {
				keys = append(keys, s.ConjunctionName(d.Table, k))
			}
		}
	}
	for _, q := range queries[1:] {
		if epoch := store.EpochName(s, entry(q.name)); !slices.Contains(keys, epoch) {
			keys = append(keys, epoch)
		}
	}
	for _, k := range []conj.Key{key("b", byID, "0"), key("b", byID, "1")} {
		keys = append(keys, s.ConjunctionName("b", k))
	}
	return keys
}

func (w *world) read(ctx context.Context, r *reader) {
	switch {
	case r.query < 0:
		r.query = w.draw(len(queries), "query")
		r.seen = -1
		r.lease = store.Lease{}
		if w.weak == readsTooEarly {
			r.seen = w.commits
			return
		}
		w.lookUp(ctx, r)
	case r.lease.ID == "":
		w.lookUp(ctx, r)
	case r.seen < 0:
		r.seen = w.commits
	case w.draw(8, "give up") == 0:
		require.NoError(w.t, r.store.Release(ctx, r.lease))
		r.query = -1
	default:
		if w.weak == ignoresLeases {
			text, _ := w.client.Get(ctx, r.store.EntryName(r.lease.Key)).Result()
			if len(text) > 0 && text[0] == 'L' {
				for i := range text {
					if text[i] == '|' {
						r.lease.ID = text[1:i]
						break
					}
				}
			}
		}
		d := delivery{lease: r.lease, seen: r.seen, joined: w.joined(queries[r.query], r.seen)}
		payload := []byte(strconv.Itoa(d.seen))
		stored, err := r.store.Save(ctx, d.lease, payload, ttl, d.joined...)
		require.NoError(w.t, err)
		if stored {
			r.kept[r.query] = store.Lookup{State: store.Hit, Payload: payload, Version: d.lease.Version()}
		}
		w.saved = append(w.saved, d)
		r.query = -1
	}
}

// joined returns what a reader says of the joined rows of a result.
func (w *world) joined(q query, seen int) [][]conj.Key {
	switch {
	case q.join == nil:
		return nil
	case w.weak == namesNoRows:
		return [][]conj.Key{nil}
	case w.draw(8, "can't tell") == 0:
		return [][]conj.Key{{key("b", whole)}}
	}
	return [][]conj.Key{q.joined(w.past[seen])}
}

func (w *world) lookUp(ctx context.Context, r *reader) {
	token := fmt.Sprintf("%022d", len(w.sent))
	undo := fixToken(r.store, token)
	kept := r.kept[r.query]
	l, err := r.store.Revalidate(ctx, entry(queries[r.query].name), queries[r.query].deps, ttl, kept.Version)
	undo()
	require.NoError(w.t, err)
	switch {
	case l.State == store.Unchanged, l.State == store.Hit && w.weak == asksNoVersion && kept.Version != "":
		l = kept
	case l.State == store.Hit:
		r.kept[r.query] = l
	}
	w.sent = append(w.sent, call{token, r.query})
	w.check(r.query, l)
	if l.State == store.Leased {
		r.lease = l.Lease
	} else {
		r.query = -1
	}
}

func (w *world) write(ctx context.Context, x *writer) {
	switch {
	case x.commit == 0 && w.weak == marksTooEarly && x.mark == 0:
		x.mark = w.clock(ctx, x.store)
	case x.commit == 0 && (x.fence != "" || !w.strict):
		if !w.strict {
			w.choose(x)
			x.followed = w.draw(2, "followed") == 0
		} else if w.draw(4, "roll back") == 0 {
			w.fences = append(w.fences, x.fence)
			x.fence = ""
			return
		}
		w.rows[x.table][x.row] = x.images[1]
		w.past = append(w.past, slices.Clone(w.rows["a"]))
		w.commits++
		x.commit = w.commits
		if w.strict {
			w.oblige(x)
		}
	case x.commit == 0:
		w.choose(x)
		for _, other := range w.writers {
			if other != x && other.fence != "" && other.commit == 0 && other.table == x.table && other.row == x.row {
				return // the row is locked
			}
		}
		x.fence = store.NewFenceID()
		if w.weak != setsNoFence {
			w.some(x)
			reports, err := x.store.Fence(ctx, x.fence, []store.Change{changed(x.table, x.images...)}, time.Hour)
			require.NoError(w.t, err)
			w.discard(reports)
		}
	case x.followed && x.mark == 0:
		x.mark = w.clock(ctx, x.store)
	case x.followed:
		w.some(x)
		reports, err := x.store.InvalidateSeen(ctx, []store.Change{changed(x.table, x.images...)}, x.mark)
		require.NoError(w.t, err)
		w.discard(reports)
		w.oblige(x)
		x.commit, x.mark = 0, 0
	default:
		x.mark = 0
		if w.strict && w.draw(3, "killed") == 0 {
			w.fences = append(w.fences, x.fence)
		} else {
			w.some(x)
			reports, err := x.store.Invalidate(ctx, []store.Change{changed(x.table, x.images...)}, x.fence)
			require.NoError(w.t, err)
			w.discard(reports)
			w.oblige(x)
		}
		x.commit, x.fence = 0, ""
	}
}

// clock looks at the server's clock as followers do.
func (w *world) clock(ctx context.Context, s *store.Store) store.Moment {
	h, err := s.NewSeat("model", "").Take(ctx, "")
	require.NoError(w.t, err)
	return h.Clock
}

// choose picks a row and its new state.
func (w *world) choose(x *writer) {
	x.table = []string{"a", "b"}[w.draw(2, "table")]
	x.row = w.draw(2, "row")
	old := w.rows[x.table][x.row]
	x.images = []row{old, {old.id, strconv.Itoa(w.draw(2, "group"))}}
}

// some has a writer unlink some entries itself and take larger sets away.
func (w *world) some(x *writer) {
	store.SetUnlinked(x.store, []string{"0", "1", "3", "500"}[w.draw(4, "unlinked at once")])
}

func (w *world) discard(reports []store.Report) {
	for _, r := range reports {
		w.garbage = append(w.garbage, r.Garbage...)
	}
}

// oblige has later hits see a writer's commit.
func (w *world) oblige(x *writer) {
	w.obliging = append(w.obliging, obligation{x.commit, x.table, x.images})
}

// expire has the fences of those run out who have left them.
func (w *world) expire(ctx context.Context) {
	for _, id := range w.fences {
		for _, table := range []string{"a", "b"} {
			require.NoError(w.t, w.client.HDel(ctx, w.readers[0].store.TableName(table), "f:"+id).Err())
		}
	}
	w.fences = nil
}

// slowRuns is how many random runs a slow backend is given.
func slowRuns() int { return testenv.Times(20, 8) }

// runs lets the model run at random on a backend, and fails on a stale hit.
func runs(t *testing.T, b backend, strict bool) {
	t.Helper()
	hits := 0
	run := func(t require.TestingT, steps int, draw func(int, string) int) string {
		w := newWorld(t, b, none, draw)
		w.strict = strict
		for range steps {
			w.step(context.Background())
			if w.stale != "" {
				return w.stale
			}
		}
		hits += w.hits
		return ""
	}
	if b.slow() {
		// More if need be: few runs may see no hit.
		for n := 0; n < slowRuns() || hits == 0 && n < 20*slowRuns(); n++ {
			seed := rand.Uint64()
			random := rand.New(rand.NewPCG(seed, 0))
			require.Empty(t, run(t, 120, func(n int, _ string) int { return random.IntN(n) }), "seed %d", seed)
		}
	} else {
		rapid.Check(t, func(rt *rapid.T) {
			stale := run(rt, rapid.IntRange(20, 120).Draw(rt, "steps"), func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(rt, what) })
			if stale != "" {
				rt.Fatal(stale)
			}
		})
	}
	require.NotZero(t, hits, "the model should see hits")
}

// A hit is never older than the last commit that has returned and touches the
// query, whatever is lost, late or delivered twice.
func TestNoHitIsOlderThanAReturnedCommit(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) { runs(t, b, false) })
}

// With fences a hit is never older than what is committed, whether the writer
// returns or dies.
func TestNoHitIsOlderThanACommitUnderFences(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) { runs(t, b, true) })
}

// The same moves, with readers and writers that break the protocol, must be caught:
// otherwise the model is blind.
func TestTheModelNoticesAWeakenedProtocol(t *testing.T) {
	t.Parallel()
	for _, mode := range modes[:testenv.Times(len(modes), 1)] {
		b := backend{client: realRedis(t), mode: mode}
		for name, fault := range weaknesses {
			weak := fault.weakness
			if mode.spread && weak == namesNoRows {
				continue // it depends on the whole table all the same
			}
			if mode.spread && weak == marksTooEarly {
				continue // nothing is spared
			}
			t.Run(fmt.Sprintf("%v/%s", mode, name), func(t *testing.T) {
				t.Parallel()
				for seed := fault.from; seed < fault.from+500; seed++ {
					random := rand.New(rand.NewPCG(seed, 0))
					w := newWorld(t, b, weak, func(n int, _ string) int { return random.IntN(n) })
					w.strict = weak == setsNoFence
					for range 120 {
						w.step(t.Context())
						if w.stale != "" {
							t.Logf("seed %d: %s", seed, w.stale)
							return
						}
					}
				}
				t.Fatal("500 runs without a stale hit")
			})
		}
	}
}

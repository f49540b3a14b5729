package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/lua"
)

const (
	// keysPerCall bounds how long one script call keeps Redis busy.
	keysPerCall = 250
	// unlinkedAtOnce is how many entries a call unlinks itself. Of more their set
	// is taken away, and they are reclaimed.
	unlinkedAtOnce = "500"
	// callsPerRound bounds what must be done within one Timeout.
	callsPerRound = 100
	// schemeRounds is how often an invalidation follows a list of schemes
	// that keeps growing before it drops the whole table.
	schemeRounds = 4
)

// Change says what a write has changed in a table: any row, if Keys is nil.
type Change struct {
	Table string

	// Keys returns the conjunctions of the table, for the given schemes, that
	// the old and new rows satisfy. It is called again when the list of
	// schemes turns out to be newer; false says that it can't tell, and the
	// table is dropped whole. It may be called later and by another goroutine if the change has to be queued.
	Keys func(schemes []conj.Scheme) (keys []conj.Key, ok bool)

	// Marks returns the rows of lists, of the given schemes of lists, that the change
	// touches, and is called as Keys is. If it is nil, lists can only be dropped with
	// the table.
	Marks func(schemes []conj.Scheme) (marks []Mark, ok bool)
}

// Report says what an invalidation did to one table.
type Report struct {
	Table string
	Whole bool // the whole table was dropped
	Keys  int  // how many conjunctions were dropped
	// Dropped is the number of entries and leases that were dropped in mode
	// ConjunctionSets, of a large set that of all names in it, some of which may
	// have expired; of stamps in mode InsideOut. It is 1 for a whole table that had
	// entries: how many is not known.
	Dropped int
	// Garbage are the keys of large sets that were taken away. Their entries are
	// dropped and take up memory until they expire or Reclaim unlinks them, which
	// the store has done in the background.
	Garbage []string
}

// schemeList is a table's list of schemes as of a version.
type schemeList struct {
	version string // empty: the table had no list
	schemes []conj.Scheme
	lists   []conj.Scheme // those of lists of rows
}

// Schemes returns the schemes of a table as of this process's last
// invalidation, with those that it has registered itself since, and whether
// there was one that has told: that of a whole table doesn't. It is a hint for what a write should collect; the list may
// have grown since. It must not be changed.
func (s *Store) Schemes(table string) (schemes []conj.Scheme, known bool) {
	list, known := s.schemeList(table)
	if !known {
		return nil, false
	}
	schemes = list.schemes
	if len(list.lists) > 0 {
		schemes = slices.Concat(schemes, list.lists)
	}
	if own, ok := s.registered.Load(table); ok {
		return append(slices.Clone(schemes), *own.(*[]conj.Scheme)...), true
	}
	return schemes, true
}

// register notes the schemes that this process has added to the lists of
// tables since its last invalidation, so that its own next write collects what
// they ask for.
func (s *Store) register(deps []Dependency) {
	for _, d := range deps {
		list, known := s.schemeList(d.Table)
		if !known {
			continue // all columns are collected
		}
		for _, scheme := range d.Schemes {
			if !slices.Contains(list.schemes, scheme) && !slices.Contains(list.lists, scheme) {
				s.registerOne(d.Table, scheme)
			}
		}
		if d.Joined && !slices.Contains(list.schemes, "") {
			s.registerOne(d.Table, "")
		}
	}
}

func (s *Store) registerOne(table string, scheme conj.Scheme) {
	for {
		first := []conj.Scheme{scheme}
		own, found := s.registered.LoadOrStore(table, &first)
		if !found || slices.Contains(*own.(*[]conj.Scheme), scheme) {
			return
		}
		more := append(slices.Clone(*own.(*[]conj.Scheme)), scheme)
		if s.registered.CompareAndSwap(table, own, &more) {
			return
		}
	}
}

func (s *Store) schemeList(table string) (list *schemeList, known bool) {
	if list, ok := s.schemes.Load(table); ok {
		return list.(*schemeList), true
	}
	return &schemeList{}, false
}

// tableWork is what is left to be done for a table.
type tableWork struct {
	table   string
	changes []Change
	whole   bool
	keys    []conj.Key
	results []*redis.Cmd // of the present round
}

// Invalidate drops the entries and leases that depend on the changes. It must
// be called after the COMMIT. When it returns, no read that starts later gets
// a result that one of the changes has made wrong.
//
// Fences are the ids of Fence that are dropped from the tables in the same
// step. A table that is not done keeps its fences until they run out.
//
// It takes one round trip, and another if a list of schemes has changed. While a
// cluster moves the slot to another node whole tables are dropped. Each round is
// bounded by Options.Timeout. The error is an *InvalidateError; the reports
// are of the tables that were done. Repeating it is harmless.
func (s *Store) Invalidate(ctx context.Context, changes []Change, fences ...string) ([]Report, error) {
	reports, err := s.drop(ctx, changes, s.dropping(fences))
	var failed *InvalidateError
	if s.settle > 0 && errors.As(err, &failed) && full(failed.Err) {
		// Better no fence than no invalidation.
		var more []Report
		more, err = s.drop(ctx, failed.Left, fencing{drop: fences})
		reports = append(reports, more...)
	}
	return reports, err
}

// drop drops what depends on the changes, and sets or drops fences. It is the one way
// to take sets away, so that all of them are reclaimed, whoever asked for it.
func (s *Store) drop(ctx context.Context, changes []Change, fences fencing) ([]Report, error) {
	var reports []Report
	var failed *InvalidateError
	fail := func(w *tableWork, err error) {
		if failed == nil {
			failed = &InvalidateError{Err: err}
		}
		failed.Left = append(failed.Left, w.changes...)
	}

	todo := byTable(changes)
	for round := 0; len(todo) > 0; round++ {
		var calls []lua.Call
		var spans []int // calls per table
		for _, w := range todo {
			c := s.calls(w, round >= schemeRounds, fences)
			calls = append(calls, c...)
			spans = append(spans, len(c))
		}
		results, err := s.pipeline(ctx, calls)
		var again []*tableWork
		for i, w := range todo {
			if len(results) < spans[i] {
				results = nil // an outcome that is only partly known is not known
				fail(w, err)
				continue
			}
			report, retry, err := s.outcome(w, results[:spans[i]])
			results = results[spans[i]:]
			if moving(err) && !w.whole {
				// The table's hash is one key, which is either here or there.
				w.whole, retry, err = true, true, nil
			}
			switch {
			case err != nil:
				fail(w, err)
			case retry:
				again = append(again, w)
			default:
				reports = append(reports, report)
			}
		}
		todo = again
	}
	s.garbage.add(reports)
	if failed != nil {
		return reports, failed
	}
	return reports, nil
}

// byTable gathers the changes of each table, in order of first appearance.
func byTable(changes []Change) []*tableWork {
	var todo []*tableWork
	index := make(map[string]*tableWork, len(changes))
	for _, c := range changes {
		w := index[c.Table]
		if w == nil {
			w = &tableWork{table: c.Table}
			index[c.Table] = w
			todo = append(todo, w)
		}
		w.changes = append(w.changes, c)
		w.whole = w.whole || c.Keys == nil
	}
	return todo
}

// calls returns the script calls that a table takes with the list of schemes
// as it is known here. A fence is set by the first of them, so that the list
// can't grow between two, and dropped by the last.
func (s *Store) calls(w *tableWork, whole bool, fences fencing) []lua.Call {
	list, _ := s.schemeList(w.table)
	w.keys = nil
	seen := make(map[conj.Key]struct{})
	marks := make(map[Mark]struct{})
	w.whole = w.whole || whole
	for _, c := range w.changes {
		if w.whole {
			break
		}
		keys, ok := c.Keys(list.schemes)
		if !ok || !c.mark(list.lists, marks) {
			w.whole = true
		}
		for _, k := range keys {
			if _, twice := seen[k]; !twice {
				seen[k] = struct{}{}
				w.keys = append(w.keys, k)
			}
		}
	}
	table := s.TableName(w.table)
	if w.whole {
		w.keys = nil
		return []lua.Call{{Script: lua.Invalidate, Keys: []string{table}, Args: fences.args(true, true, s.mode, "table", "", s.entries, s.unlinked, fences.seen())}}
	}

	// The version is compared by the first call only. After a commit the
	// writer has not returned yet, so a scheme that appears between two calls
	// belongs to a read that sees the committed data; before it none appears
	// under the fence.
	//
	// Every call drops the leases that depend on the whole table until their
	// joined rows are known. Else one that is left could be turned into an entry
	// of a conjunction that another call has dropped already.
	version := list.version
	_, provisional := seen[wholeTable(w.table)]
	var calls []lua.Call
	for start := 0; start == 0 || start < len(w.keys); start += keysPerCall {
		part := w.keys[start:min(start+keysPerCall, len(w.keys))]
		keys := make([]string, 0, 2+len(part))
		keys = append(keys, table)
		for _, k := range part {
			keys = append(keys, s.ConjunctionName(w.table, k))
		}
		if provisional && len(w.keys) > keysPerCall {
			keys = append(keys, s.ConjunctionName(w.table, wholeTable(w.table)))
		}
		first, last := start == 0, start+keysPerCall >= len(w.keys)
		calls = append(calls, lua.Call{Script: lua.Invalidate, Keys: keys, Args: fences.args(first, last, s.mode, "keys", version, s.entries, s.unlinked, fences.seen())})
		version = "*"
	}
	// In calls of their own: a list that is begun in between reads what is committed,
	// or is refused by the fence.
	return append(calls, s.marking(w.table, marks)...)
}

// pipeline executes calls in order. It returns the results that are known;
// the error says why they are fewer than the calls.
func (s *Store) pipeline(ctx context.Context, calls []lua.Call) ([]*redis.Cmd, error) {
	var results []*redis.Cmd
	for start := 0; start < len(calls); start += callsPerRound {
		part := calls[start:min(start+callsPerRound, len(calls))]
		r, err := bounded(ctx, s, func(ctx context.Context, c redis.UniversalClient) ([]*redis.Cmd, error) {
			r := lua.Pipeline(ctx, c, part)
			for _, cmd := range r {
				if unreachable(cmd.Err()) && !moving(cmd.Err()) {
					return r, cmd.Err()
				}
			}
			return r, nil
		})
		results = append(results, r...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// outcome reads the replies to the calls of one table. retry says that its
// list of schemes was an old one; the new one has been noted.
func (s *Store) outcome(w *tableWork, results []*redis.Cmd) (report Report, retry bool, err error) {
	report = Report{Table: w.table, Whole: w.whole, Keys: len(w.keys)}
	for _, cmd := range results {
		reply, err := cmd.Slice()
		if err != nil {
			return report, false, err
		}
		if len(reply) < 2 {
			return report, false, replyError("invalidate", reply)
		}
		switch reply[0] {
		case int64(0):
			n, _ := reply[1].(int64)
			report.Dropped += int(n)
			for _, v := range reply[2:] {
				garbage, ok := v.(string)
				if !ok {
					return report, false, replyError("invalidate", reply)
				}
				report.Garbage = append(report.Garbage, garbage)
			}
		case int64(1):
			list, err := newSchemeList(reply[1:])
			if err != nil {
				return report, false, err
			}
			s.schemes.Store(w.table, list)
			s.registered.Delete(w.table)
			retry = true
		default:
			return report, false, replyError("invalidate", reply)
		}
	}
	if !w.whole && !retry {
		// If no list is known here, none was compared with: there is none.
		s.schemes.LoadOrStore(w.table, &schemeList{})
	}
	return report, retry, nil
}

func newSchemeList(reply []any) (*schemeList, error) {
	list := &schemeList{schemes: make([]conj.Scheme, 0, len(reply)-1)}
	for i, v := range reply {
		text, ok := v.(string)
		switch {
		case !ok:
			return nil, replyError("invalidate", v)
		case i == 0:
			list.version = text
		case conj.Scheme(text).Lists():
			list.lists = append(list.lists, conj.Scheme(text))
		default:
			list.schemes = append(list.schemes, conj.Scheme(text))
		}
	}
	return list, nil
}

// InvalidateAll drops every entry and lease of the namespace, and nothing of
// others. It costs the same however many there are; what was dropped takes up
// memory until it expires. Fences are the ids of FenceAll that are dropped in
// the same step.
func (s *Store) InvalidateAll(ctx context.Context, fences ...string) error {
	err := s.dropAll(ctx, s.dropping(fences))
	if s.settle > 0 && full(err) {
		err = s.dropAll(ctx, fencing{drop: fences})
	}
	if err != nil {
		return fmt.Errorf("store: invalidate all: %w", err)
	}
	return nil
}

func (s *Store) dropAll(ctx context.Context, fences fencing) error {
	if s.keys.spread {
		return s.dropAllSpread(ctx, fences)
	}
	r := s.keys.root(EntryKey{})
	_, err := bounded(ctx, s, func(ctx context.Context, c redis.UniversalClient) (any, error) {
		call := s.dropRoot(r, fences)
		err := call.Script.Run(ctx, c, call.Keys, call.Args...).Err()
		if moving(err) {
			err = s.dropMovingRoot(ctx, c, r, fences)
		}
		return nil, err
	})
	return err
}

// dropRoot returns the call that drops all that an epoch vouches for.
func (s *Store) dropRoot(r root, fences fencing) lua.Call {
	return lua.Call{Script: lua.Invalidate, Keys: []string{r.fences, r.epoch}, Args: fences.args(true, true, s.mode, "all", "", s.entries, s.unlinked, fences.seen())}
}

// dropMovingRoot does the same key by key, and at no time without the fence.
func (s *Store) dropMovingRoot(ctx context.Context, c redis.UniversalClient, r root, fences fencing) error {
	if fences.hold == 0 {
		if err := c.Unlink(ctx, r.epoch).Err(); err != nil {
			return err
		}
	}
	err := lua.Invalidate.Run(ctx, c, []string{r.fences}, fences.args(true, true, s.mode, "table", "", s.entries, s.unlinked, fences.seen())...).Err()
	if err != nil || fences.hold == 0 {
		return err
	}
	return c.Unlink(ctx, r.epoch).Err()
}

package store

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/lua"
)

// MaxMarks is how many rows of a list may wait to be read again. A list with more is
// dropped.
const MaxMarks = 500

const (
	// headFields are the fields of a list's head besides the marks.
	headFields = 6
	// rowsPerCall bounds how long a call that fills a list keeps Redis busy.
	rowsPerCall = 500
)

// List names a list of rows of a table: those with the same values in the columns of a
// scheme (conj.Table.ListScheme).
//
// A list is kept apart from results, and in another way: a write does not drop it but
// marks the rows that it has changed, and who reads the list next reads these rows again,
// by their numbers, and merges them. A mark says nothing of what a row has become. So it
// doesn't matter in which order the marks of several writers arrive, or how often.
type List struct {
	Table  string
	Scheme conj.Scheme
	Key    conj.Key
}

// Mark is a row of a list that must be read again.
type Mark struct {
	List conj.Key
	Row  int64
}

// ListState is the outcome of a look at a list.
type ListState uint8

// The states.
const (
	// NoList says that there is no valid list: OpenList may begin one.
	NoList ListState = iota
	// ListRead says that ListAnswer has what was asked for.
	ListRead
	// ListMarked says that ListAnswer.Marked must be read again, and merged, first.
	ListMarked
	// ListFenced says that a writer of the table is about to commit, or that its
	// replicas have yet to follow: read the database.
	ListFenced
)

// ListAnswer is the answer to ReadList.
type ListAnswer struct {
	State   ListState
	Version string
	Marked  []MarkedRow

	// What follows is of ListRead.

	Rows   []ListRow // that were asked for
	Counts []int64   // that were asked for; 1 and 0 of HasRows
	Len    int64     // of the list
	// Bound is the place that the list ends at, though the table has more rows; empty
	// if the list has them all.
	Bound  string
	Layout string // of the rows
}

// MarkedRow is a row to be read again, and the mark that says so.
type MarkedRow struct {
	Row  int64
	Mark string
}

// ListRow is a row in a list: its number, what the list is ordered by, and the row as
// the caller has encoded it.
type ListRow struct {
	Row, Order int64
	Encoded    string
}

// Place returns what a row is sorted by in its list, as text that sorts so.
func (r ListRow) Place() string { return conj.Ordered(r.Order) + conj.Ordered(r.Row) }

// Ask is what is asked of a list.
type Ask struct{ args []any }

// AskRange asks for rows by their ranks, from one on, up to a number of them.
func AskRange(from, n int, reverse bool) Ask {
	return Ask{[]any{"rank", from, from + n - 1, reverse}}
}

// AskAfter asks for up to a number of rows that follow a place.
func AskAfter(place string, n int, reverse bool) Ask {
	return Ask{[]any{"after", place, n, reverse}}
}

// AskCounts asks for the numbers of rows whose order lies between two neighbours of a
// list of bounds, the first included and the second not. Without bounds it asks for
// nothing but ListAnswer.Len.
func AskCounts(bounds ...int64) Ask {
	args := []any{"count"}
	for i := 1; i < len(bounds); i++ {
		args = append(args, "["+conj.Ordered(bounds[i-1]), "("+conj.Ordered(bounds[i]))
	}
	return Ask{args}
}

// AskRow asks whether there is a row of a number.
func AskRow(row int64) Ask { return Ask{[]any{"has", conj.Ordered(row)}} }

// ListName returns the Redis key of a list's head.
func (s *Store) ListName(table string, k conj.Key) string { return s.keys.list(table, k) }

func (s *Store) listKeys(l List) []string {
	r := s.keys.root(EntryKey(l.Key))
	return []string{s.ListName(l.Table, l.Key), r.epoch, r.fences, s.TableName(l.Table)}
}

// ReadList asks something of a list. When it returns, no write whose Invalidate has
// returned before the call is missing in the answer.
func (s *Store) ReadList(ctx context.Context, l List, ask Ask) (ListAnswer, error) {
	reply, err := direct(ctx, s, func(ctx context.Context, c redis.UniversalClient) ([]any, error) {
		return lua.ListRead.Run(ctx, c, s.listKeys(l), ask.args...).Slice()
	})
	if err != nil {
		return ListAnswer{}, fmt.Errorf("store: read a list: %w", err)
	}
	a, ok := readListAnswer(reply)
	if !ok {
		return ListAnswer{}, fmt.Errorf("store: read a list: %w", replyError("listread", reply))
	}
	return a, nil
}

func readListAnswer(reply []any) (a ListAnswer, ok bool) {
	if len(reply) == 0 {
		return a, false
	}
	switch reply[0] {
	case int64(0):
		return a, len(reply) == 1
	case int64(3):
		a.State = ListFenced
		return a, len(reply) == 1
	case int64(1):
		a.State = ListRead
		return a, a.readRows(reply[1:])
	case int64(2):
		a.State = ListMarked
		return a, a.readMarks(reply[1:])
	}
	return a, false
}

func (a *ListAnswer) readMarks(reply []any) (ok bool) {
	if len(reply)%2 == 0 {
		return false
	}
	if a.Version, ok = reply[0].(string); !ok {
		return false
	}
	for i := 1; i < len(reply); i += 2 {
		number, _ := reply[i].(string)
		mark, isText := reply[i+1].(string)
		row, isNumber := conj.FromOrdered(number)
		if !isText || !isNumber {
			return false
		}
		a.Marked = append(a.Marked, MarkedRow{Row: row, Mark: mark})
	}
	return true
}

func (a *ListAnswer) readRows(reply []any) bool {
	if len(reply) < 4 {
		return false
	}
	var oks [4]bool
	a.Version, oks[0] = reply[0].(string)
	a.Len, oks[1] = reply[1].(int64)
	a.Bound, oks[2] = reply[2].(string)
	a.Layout, oks[3] = reply[3].(string)
	if oks != [4]bool{true, true, true, true} {
		return false
	}
	for rest := reply[4:]; len(rest) > 0; {
		if n, counted := rest[0].(int64); counted {
			a.Counts, rest = append(a.Counts, n), rest[1:]
			continue
		}
		if len(rest) < 2 {
			return false
		}
		number, _ := rest[0].(string)
		kept, _ := rest[1].(string)
		row, ok := conj.FromOrdered(number)
		if !ok || len(kept) < 8 {
			return false
		}
		order, _ := conj.FromOrdered(kept[:8])
		a.Rows, rest = append(a.Rows, ListRow{Row: row, Order: order, Encoded: kept[8:]}), rest[2:]
	}
	return true
}

// Opening is the right to fill a list. From when it was given on, writes mark rows of
// the list.
type Opening struct {
	list    List
	version string
	lease   Lease
}

// OpenList begins a list anew, before the database is read, which is to be kept for
// ttl. It is nil if another caller is filling the list, or if a writer of the table is
// about to commit: read the database and store nothing.
func (s *Store) OpenList(ctx context.Context, l List, ttl time.Duration) (*Opening, error) {
	// The lease registers the scheme, and keeps others from filling the same list.
	lease, err := s.Acquire(ctx, EntryKey(l.Key), []Dependency{{Table: l.Table, Schemes: []conj.Scheme{l.Scheme}}}, ttl)
	if err != nil || lease.State != Leased {
		return nil, err
	}
	reply, err := direct(ctx, s, func(ctx context.Context, c redis.UniversalClient) ([]any, error) {
		return lua.ListOpen.Run(ctx, c, s.listKeys(l), s.token(), string(l.Scheme), s.leaseMS).Slice()
	})
	if err != nil {
		return nil, fmt.Errorf("store: begin a list: %w", err)
	}
	if len(reply) == 2 && reply[0] == int64(1) {
		if version, ok := reply[1].(string); ok {
			return &Opening{list: l, version: version, lease: lease.Lease}, nil
		}
	}
	if len(reply) != 1 || reply[0] != int64(0) {
		return nil, fmt.Errorf("store: begin a list: %w", replyError("listopen", reply))
	}
	return nil, s.Release(ctx, lease.Lease)
}

// FillList stores the rows that were read from the database since OpenList, in any order,
// for ttl. It reports false if the list is gone, because its table was dropped, because
// it took too long, or because Redis has lost it. bound is the place of the last row if
// the table has more than these, else empty. Rows that were marked meanwhile are marked
// still.
func (s *Store) FillList(ctx context.Context, o *Opening, layout string, rows []ListRow, bound string, ttl time.Duration) (bool, error) {
	head := []string{s.ListName(o.list.Table, o.list.Key)}
	for start := 0; start == 0 || start < len(rows); start += rowsPerCall {
		part := rows[start:min(start+rowsPerCall, len(rows))]
		total := ""
		if start+rowsPerCall >= len(rows) {
			total = fmt.Sprint(len(rows))
		}
		args := append(make([]any, 0, 5+3*len(part)), o.version, milliseconds(ttl), total, layout, bound)
		for _, r := range part {
			args = append(args, conj.Ordered(r.Row), conj.Ordered(r.Order), r.Encoded)
		}
		if ok, err := s.changeList(ctx, lua.ListFill, head, args); !ok || err != nil {
			return false, err
		}
	}
	return true, s.Release(ctx, o.lease)
}

// AbandonList gives up the right to fill a list.
func (s *Store) AbandonList(ctx context.Context, o *Opening) error { return s.Release(ctx, o.lease) }

// Merging is rows of a list that were marked, as they were read again.
type Merging struct {
	Version string
	Marked  []MarkedRow
	Found   []ListRow // those of Marked that the list is to have
	Layout  string    // of Found
	// Keep is how many rows the list is cut to once it has a quarter more.
	Keep    int
	Reverse bool // the list is read from the last place to the first
}

// MergeList puts rows that were marked into a list, as they were read from the database
// after ReadList had told of the marks. A row that was marked again since is left out.
func (s *Store) MergeList(ctx context.Context, l List, m Merging) error {
	found := make(map[int64]ListRow, len(m.Found))
	for _, r := range m.Found {
		found[r.Row] = r
	}
	args := append(make([]any, 0, 5+4*len(m.Marked)), m.Version, m.Layout, m.Keep+m.Keep/4, m.Keep, m.Reverse)
	for _, row := range m.Marked {
		r, ok := found[row.Row]
		order := ""
		if ok {
			order = conj.Ordered(r.Order)
		}
		args = append(args, conj.Ordered(row.Row), row.Mark, order, r.Encoded)
	}
	_, err := s.changeList(ctx, lua.ListMerge, []string{s.ListName(l.Table, l.Key)}, args)
	return err
}

func (s *Store) changeList(ctx context.Context, script *lua.Script, keys []string, args []any) (bool, error) {
	n, err := direct(ctx, s, func(ctx context.Context, c redis.UniversalClient) (int64, error) {
		return script.Run(ctx, c, keys, args...).Int64()
	})
	if err != nil {
		return false, fmt.Errorf("store: change a list: %w", err)
	}
	return n == 1, nil
}

// mark adds the rows of lists that a change touches; false if they can't be told.
func (c Change) mark(lists []conj.Scheme, marks map[Mark]struct{}) bool {
	if len(lists) == 0 {
		return true
	}
	if c.Marks == nil {
		return false
	}
	rows, ok := c.Marks(lists)
	for _, m := range rows {
		marks[m] = struct{}{}
	}
	return ok
}

// marking returns the calls that mark rows of lists.
func (s *Store) marking(table string, marks map[Mark]struct{}) []lua.Call {
	var calls []lua.Call
	var call *lua.Call
	for m := range marks {
		if call == nil || len(call.Keys) == keysPerCall {
			calls = append(calls, lua.Call{Script: lua.ListMark, Args: []any{s.token(), MaxMarks + headFields}})
			call = &calls[len(calls)-1]
		}
		call.Keys = append(call.Keys, s.ListName(table, m.List))
		call.Args = append(call.Args, conj.Ordered(m.Row))
	}
	return calls
}

package rules

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cacheplugin/cacheplugin/checker/internal/history"
)

// Grade is a promise that an answer is held against.
type Grade uint8

// The grades, the weakest first.
const (
	// Told is cacheplugin.Returned with what it assumes: a commit binds later
	// reads of the results that it changes once it has returned nil and its
	// invalidation was not queued. One that is up to a follower binds once that
	// has told of the log behind it.
	Told Grade = iota
	// Returned is the same of every commit that has returned nil.
	Returned
	// Committed is cacheplugin.Strict: a commit binds every later read once the
	// database has answered it.
	Committed
	grades
)

func (g Grade) String() string { return [...]string{"told", "returned", "committed"}[g] }

// commit is a transaction that the database has committed.
type commit struct {
	client  string
	seq     uint32
	began   int64  // COMMIT was about to be sent
	done    int64  // it was answered; never if the process died before
	back    int64  // Commit returned nil; never if it did not
	told    int64  // Redis was told of it; never if nobody can say so
	place   uint64 // behind it in the database's log; 0 if that is not known
	states  []history.State
	settled bool // known to be committed
}

// binds is when a transaction binds those who read later.
func (c *commit) binds(g Grade) int64 {
	if g == Told {
		return c.told
	}
	return c.back
}

// version is one version of a row.
type version struct {
	history.State
	*commit
	done int64 // at the latest then it was committed
}

// chain is all versions of a row; the index is the version's number.
type chain struct {
	history.Row
	versions []version
	begun    steps // the newest version that a read which ends then can show
	done     steps // the newest one that was committed before
}

// bonds are the obligations of one grade: by when which commits bind.
type bonds struct {
	byRow   map[history.Row]*steps // version that a row owes to what asks for it by its ID
	byGroup map[membership]*steps  // and to what asks for a group's items
	byPlace map[history.Row]*steps // and to what asks for nothing of it but its group
	byCount map[membership]*steps  // and to what counts a group's items
	floor   map[query]*steps       // the moment that an answer must not be older than
}

// membership is an item and a group that it comes into, leaves or stays in.
type membership struct{ item, group uint32 }

// query is what an answer depends on: a row, or the items of a group.
type query struct {
	history.Row
	members bool
	// placed says that it shows nothing of the items but their groups: a commit that
	// leaves an item where it is does not change it.
	placed bool
}

// Index is everything that was committed.
type Index struct {
	items, groups []*chain // by ID
	bonds         [2]bonds // Told and Returned
	orphans       map[history.Row][]*orphan
	Commits       int // transactions
	Orphans       int // of them, those that never returned
	// Lag is how long after its return followers have told of each transaction
	// that was up to them.
	Lag Lateness
}

// ErrBroken is wrapped when the histories of the writers contradict each other
// or the database: nothing can be judged by them.
var ErrBroken = errors.New("rules: the histories contradict each other")

// NewIndex reads the files of the writers and of the followers. initial are the rows
// as version 0, final those at the end, after the last writer has ended.
func NewIndex(initial, final []history.State, writers, followers []string) (*Index, error) {
	x := &Index{orphans: map[history.Row][]*orphan{}}
	followed, err := readFollowed(followers)
	if err != nil {
		return nil, err
	}
	candidates := map[history.Row][]version{}
	for _, file := range writers {
		if err := readCommits(file, followed, candidates); err != nil {
			return nil, err
		}
	}
	last := map[history.Row]history.State{}
	for _, s := range final {
		last[s.Row] = s
	}
	for _, s := range initial {
		c, err := newChain(s, last[s.Row], candidates[s.Row])
		if err != nil {
			return nil, err
		}
		delete(candidates, s.Row)
		list := &x.items
		if s.Table == history.Groups {
			list = &x.groups
		}
		for int(s.ID) >= len(*list) {
			*list = append(*list, nil)
		}
		(*list)[s.ID] = c
	}
	if len(candidates) > 0 {
		return nil, fmt.Errorf("%w: %d rows were written that were not there", ErrBroken, len(candidates))
	}
	x.bind()
	return x, nil
}

// readCommits collects the versions that a writer has tried to make.
func readCommits(file string, followed followed, into map[history.Row][]version) error {
	open := map[uint32]*commit{}
	err := history.Read(file, func(r *history.Record) error {
		if r.Kind == history.WriteBegin {
			open[r.Seq] = &commit{
				client: ClientOf(file), seq: r.Seq, began: r.Start, done: never, back: never, told: never,
				states: slices.Clone(r.States),
			}
			return nil
		}
		c := open[r.Seq]
		if c == nil {
			return fmt.Errorf("%w: %s: %v of a transaction that has not begun", ErrBroken, file, r.Kind)
		}
		switch r.Kind {
		case history.WriteDone:
			c.done = r.Start
		case history.WriteReturn:
			c.back, c.settled = r.Start, true
			c.done = min(c.done, c.back)
			if !r.Untold {
				c.told = c.back
			}
		case history.WriteLogged:
			c.place = r.Place
			c.told = min(c.told, followed.told(c.place))
		case history.WriteAborted:
			delete(open, r.Seq)
		}
		return nil
	})
	for _, c := range open {
		for _, s := range c.states {
			into[s.Row] = append(into[s.Row], version{State: s, commit: c, done: c.done})
		}
	}
	return err
}

// newChain puts a row's versions in order. Of a transaction whose process died
// it isn't known whether it was committed: it was if the row has its version
// and nobody else has made that; of several such the last one, since the others
// would have been in its way.
func newChain(initial, final history.State, candidates []version) (*chain, error) {
	slices.SortFunc(candidates, func(a, b version) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.began, b.began))
	})
	first := version{State: initial, commit: &commit{settled: true}, done: 0}
	c := &chain{Row: initial.Row, versions: []version{first}}
	for len(candidates) > 0 {
		n := 1
		for n < len(candidates) && candidates[n].Version == candidates[0].Version {
			n++
		}
		same := candidates[:n]
		candidates = candidates[n:]
		if same[0].Version > final.Version {
			// Nothing newer is there: these were never committed.
			for _, v := range same {
				if v.settled {
					return nil, fmt.Errorf("%w: %s %d: version %d was committed, and %d is the last in the database", ErrBroken, c.Table, c.ID, v.Version, final.Version)
				}
			}
			continue
		}
		made := same[n-1]
		for i, v := range same {
			if v.settled && made.settled && i != n-1 {
				return nil, fmt.Errorf("%w: %s %d: version %d was committed by %s and by %s", ErrBroken, c.Table, c.ID, v.Version, v.client, made.client)
			}
			if v.settled {
				made = v
			}
		}
		if int(made.Version) != len(c.versions) {
			return nil, fmt.Errorf("%w: %s %d: version %d comes after %d", ErrBroken, c.Table, c.ID, made.Version, len(c.versions)-1)
		}
		c.versions = append(c.versions, made)
	}
	if end := c.versions[len(c.versions)-1].State; end != final {
		return nil, fmt.Errorf("%w: %s %d ends as %+v, and the database has %+v", ErrBroken, c.Table, c.ID, end, final)
	}
	// A version was committed before any later one was.
	for i := len(c.versions) - 2; i >= 0; i-- {
		c.versions[i].done = min(c.versions[i].done, c.versions[i+1].done)
	}
	var begun, done []point
	for i, v := range c.versions {
		begun = append(begun, point{v.began, int64(i)})
		done = append(done, point{v.done, int64(i)})
	}
	c.begun, c.done = newSteps(begun), newSteps(done)
	return c, nil
}

// bind works out what each commit obliges whom to.
func (x *Index) bind() {
	for g := range x.bonds {
		rows, members, floors := map[history.Row][]point{}, map[membership][]point{}, map[query][]point{}
		places, counted := map[history.Row][]point{}, map[membership][]point{}
		for _, c := range slices.Concat(x.items, x.groups) {
			if c == nil {
				continue
			}
			for i, v := range c.versions[1:] {
				at := v.binds(Grade(g))
				own := point{at, int64(i + 1)}
				rows[c.Row] = append(rows[c.Row], own)
				floors[query{Row: c.Row}] = append(floors[query{Row: c.Row}], point{at, v.began})
				if c.Table != history.Items {
					continue
				}
				for _, group := range c.versions[i].touches(v.State) {
					m, q := membership{c.ID, group}, groupQuery(group)
					members[m] = append(members[m], own)
					floors[q] = append(floors[q], point{at, v.began})
					if c.versions[i].stays(v.State) {
						continue
					}
					q.placed = true
					counted[m] = append(counted[m], own)
					floors[q] = append(floors[q], point{at, v.began})
				}
				if !c.versions[i].stays(v.State) {
					q := query{Row: c.Row, placed: true}
					places[c.Row] = append(places[c.Row], own)
					floors[q] = append(floors[q], point{at, v.began})
				}
			}
		}
		x.bonds[g] = bonds{
			byRow: stepsOf(rows), byGroup: stepsOf(members), byPlace: stepsOf(places), byCount: stepsOf(counted), floor: stepsOf(floors),
		}
	}
	seen := map[*commit]bool{}
	for _, c := range slices.Concat(x.items, x.groups) {
		if c == nil {
			continue
		}
		for _, v := range c.versions[1:] {
			if !seen[v.commit] {
				seen[v.commit] = true
				x.Commits++
				if v.back == never {
					x.Orphans++
				}
				if v.place > 0 && v.told != never {
					x.Lag.add(false, time.Duration(max(0, v.told-v.back)))
				}
			}
			if v.back == never && v.commit.done != never {
				x.orphans[c.Row] = append(x.orphans[c.Row], &orphan{version: v.Version, done: v.commit.done})
			}
		}
	}
}

func groupQuery(group uint32) query {
	return query{Row: history.Row{Table: history.Items, ID: group}, members: true}
}

// touches are the groups whose items a step from one state to the next changes.
func (v version) touches(next history.State) []uint32 {
	var groups []uint32
	if v.Present {
		groups = append(groups, v.Group)
	}
	if next.Present && !slices.Contains(groups, next.Group) {
		groups = append(groups, next.Group)
	}
	return groups
}

// stays reports whether a step from one state to the next leaves an item where it is.
func (v version) stays(next history.State) bool {
	return v.Present == next.Present && (!next.Present || v.Group == next.Group)
}

func stepsOf[K comparable](points map[K][]point) map[K]*steps {
	all := make(map[K]*steps, len(points))
	for k, p := range points {
		s := newSteps(p)
		all[k] = &s
	}
	return all
}

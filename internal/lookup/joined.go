package lookup

import (
	"database/sql"
	"slices"

	"github.com/cacheplugin/cacheplugin/conj"
)

// joinedRows gather, while a result is read, the rows of other tables that it
// shows: one for each of the read's joined tables.
type joinedRows []*conj.JoinedRows

// joinedRows returns what gathers the joined rows of a result.
func (r *Read) joinedRows(rows *sql.Rows) joinedRows {
	if len(r.joined) == 0 {
		return nil
	}
	all := make(joinedRows, len(r.joined))
	names, err := rows.Columns()
	for i, j := range r.joined {
		all[i] = j.Rows()
		if err != nil || !j.ToldBy(names) {
			all[i].Lose()
		}
	}
	return all
}

// add returns a function that takes each row of the result, nil if there is
// nothing to gather.
func (all joinedRows) add() func([]any) {
	if len(all) == 0 {
		return nil
	}
	return func(row []any) {
		for _, rows := range all {
			rows.Add(row)
		}
	}
}

// maxJoined is the number of joined rows, of all tables together, that a result
// may depend on. Each hit verifies them all, in one step of Redis.
const maxJoined = 512

// keys returns the conjunctions of the rows of each table. Where they are too many
// together, the tables that have most of them count as a whole.
func (all joinedRows) keys() [][]conj.Key {
	keys := make([][]conj.Key, len(all))
	total, most := 0, 0
	for i, rows := range all {
		keys[i] = rows.Keys()
		total += len(keys[i])
		if len(keys[i]) > len(keys[most]) {
			most = i
		}
	}
	if total <= maxJoined || len(keys[most]) == 1 {
		return keys
	}
	all[most].Lose()
	return all.keys()
}

// join finds the tables of which the result will tell the rows. Those that the
// call site says the query depends on, it may read by other ways, too.
func (d *decision) join() {
	if len(d.declared) > 0 {
		return
	}
	d.joined = d.plan.Joined(d.deps)
	if len(d.joined) > 1 { // the store takes the rows in the order of its dependencies
		slices.SortFunc(d.joined, func(a, b *conj.Joined) int { return d.dependencyOn(a.Table) - d.dependencyOn(b.Table) })
	}
}

func (d *decision) dependencyOn(t *conj.Table) int {
	return slices.IndexFunc(d.deps, func(dep conj.Dependency) bool { return dep.Table == t })
}

// joinedTo returns what the result tells of a table's rows, nil if nothing.
func (d *decision) joinedTo(t *conj.Table) *conj.Joined {
	i := slices.IndexFunc(d.joined, func(j *conj.Joined) bool { return j.Table == t })
	if i < 0 {
		return nil
	}
	return d.joined[i]
}

package crosscheck

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// schema is a look-up that knows every table: columns whose names end in "id",
// or that are "age", hold integers, all others text.
type schema struct {
	columns []conj.Column
	tables  map[string]*conj.Table
}

func newSchema(names []string) *schema {
	s := &schema{tables: map[string]*conj.Table{}}
	for _, name := range names {
		kind := conj.Text
		if strings.HasSuffix(name, "id") || name == "age" || name == "active" {
			kind = conj.Integer
		}
		s.columns = append(s.columns, conj.Column{Name: name, Kind: kind})
	}
	return s
}

func (s *schema) lookup(n conj.TableName) (*conj.Table, error) {
	id := strings.ToLower(n.String())
	if s.tables[id] == nil {
		s.tables[id] = conj.NewTable(id, n.Name, s.columns)
	}
	return s.tables[id], nil
}

// dialect is a dialect, and the parser to compare with.
type dialect struct {
	name  string
	d     conj.Dialect
	parse func(string) *tree
}

var dialects = []dialect{{"postgres", conj.PostgreSQL, postgres}, {"mysql", conj.MySQL, mysql}}

// tally counts what became of texts.
type tally struct {
	texts, refused, notUnderstood, rows, matched int
}

func (c tally) String() string {
	return fmt.Sprintf("%d texts, of which the parser refuses %d and conj gives up on %d; %d rows looked at, %d pass the conditions",
		c.texts, c.refused, c.notUnderstood, c.rows, c.matched)
}

// noted are functions that must not be called for a cached result.
var noted = map[string]bool{
	"now": true, "random": true, "rand": true, "nextval": true, "set_config": true, "my_function": true, "current_timestamp": true,
	"pg_advisory_lock": true, "get_lock": true, "sleep": true, "uuid": true, "gen_random_uuid": true, "last_insert_id": true,
}

// compare returns what conj says of a text that the parser contradicts; empty
// if nothing.
func (x dialect) compare(s *schema, text string, rng *rand.Rand, count *tally) string {
	count.texts++
	t := x.parse(text)
	if t == nil {
		count.refused++
		return ""
	}
	plan, err := conj.Compile(x.d, text, s.lookup, conj.Limits{})
	if err != nil {
		return err.Error()
	}
	if strings.HasPrefix(plan.Skip, "not understood") || plan.Statement == conj.Unknown {
		count.notUnderstood++
		// It gives up on the statement: then it must know nothing of it but that
		// it is a SELECT, if it is one that writes nothing.
		if plan.Statement != conj.Unknown && (plan.Statement != t.kind || len(t.writes) > 0) {
			return fmt.Sprintf("kind: %v, the parser: %v, writing %v", plan.Statement, t.kind, t.writes)
		}
		return ""
	}
	if t.kind != conj.Other && plan.Statement != t.kind {
		return fmt.Sprintf("kind: %v, the parser: %v", plan.Statement, t.kind)
	}
	if t.kind == conj.Other || t.kind == conj.DDL {
		return ""
	}
	for _, name := range t.writes {
		if !slices.ContainsFunc(plan.Writes, func(w conj.Write) bool { return sameTable(w.Name, name) }) {
			return fmt.Sprintf("writes: %v is missing", name)
		}
	}
	if plan.Statement == conj.Update || plan.Statement == conj.Delete {
		return x.compareTarget(s, plan, t, rng, count)
	}
	if plan.Statement != conj.Select {
		return ""
	}
	for _, name := range t.reads {
		if !slices.ContainsFunc(plan.Names, func(n conj.TableName) bool { return sameTable(n, name) }) {
			return fmt.Sprintf("reads: %v is missing in %v", name, plan.Names)
		}
	}
	for _, name := range plan.Names {
		if !slices.ContainsFunc(t.reads, func(n conj.TableName) bool { return sameTable(n, name) }) {
			return fmt.Sprintf("reads: %v is no table, say the parser's %v", name, t.reads)
		}
	}
	if (t.locks || len(t.writes) > 0) && plan.Skip == "" {
		return "a locking read, or one that writes, is not skipped"
	}
	for _, call := range t.calls {
		if noted[call] && plan.Skip == "" && plan.Volatile == "" && len(plan.Hidden) == 0 {
			return "the call of " + call + " is not noted"
		}
	}
	if plan.Skip != "" {
		return ""
	}
	for _, args := range [][]any{arguments(t.params, false), arguments(t.params, true)} {
		deps, err := plan.Bind(args)
		if err != nil {
			return err.Error()
		}
		for _, sel := range t.selects {
			e := &evaluation{x: x, s: s, selection: sel, args: args, Rand: rng}
			if wrong := e.check(deps, count); wrong != "" {
				return wrong
			}
		}
	}
	return ""
}

// compareTarget compares the condition of an UPDATE or DELETE: what conj says
// of the rows that it matches, and the text of the query that reads them.
func (x dialect) compareTarget(s *schema, plan *conj.Plan, t *tree, rng *rand.Rand, count *tally) string {
	if t.target == nil || len(plan.Writes) != 1 || plan.Writes[0].Wide != "" {
		return ""
	}
	w := plan.Writes[0]
	for _, args := range [][]any{arguments(t.params, false), arguments(t.params, true)} {
		if images, ok := w.Where(args); ok {
			dep := conj.Dependency{Table: w.Table}
			for _, image := range images {
				var c conj.Conjunction
				for i, v := range image {
					if v != "" {
						c.Terms = append(c.Terms, conj.BoundTerm{Column: w.Table.Columns()[i].Name, Value: v})
					}
				}
				dep.Conjunctions = append(dep.Conjunctions, c)
			}
			e := &evaluation{x: x, s: s, selection: t.target, args: args, Rand: rng}
			if wrong := e.check([]conj.Dependency{dep}, count); wrong != "" {
				return "the rows written: " + wrong
			}
		}
		text, selArgs, ok := w.ImageQuery("*", "", args)
		if !ok {
			return "no query for the images of a write that is not wide"
		}
		q := x.parse(text)
		if q == nil || len(q.selects) == 0 || q.params != len(selArgs) {
			return "the query for the images is refused, or has other parameters: " + text
		}
		own := q.selects[len(q.selects)-1]
		if a, b := own.text(selArgs), t.target.text(args); a != b {
			return fmt.Sprintf("the query for the images: %s\n\t%s\n\tinstead of %s", text, a, b)
		}
	}
	return ""
}

func sameTable(a, b conj.TableName) bool { return strings.EqualFold(a.String(), b.String()) }

// arguments are those of a call, all integers or all texts.
func arguments(n int, texts bool) []any {
	args := make([]any, n)
	for i := range args {
		args[i] = int64(i % 4)
		if texts {
			args[i] = fmt.Sprintf("v%d", i%4)
		}
	}
	return args
}

// evaluation looks for rows that pass a selection's conditions.
type evaluation struct {
	*rand.Rand
	x         dialect
	s         *schema
	selection *selection
	args      []any

	domain map[column][]any // what a column is compared with
	rows   []map[string]any // for each source, the values that were chosen
	absent []bool           // sources that an outer join has filled with NULLs
}

const tries = 60

// check tries rows, and returns one that passes and that no conjunction of
// the dependencies holds for; empty if none was found.
func (e *evaluation) check(deps []conj.Dependency, count *tally) string {
	e.domain = map[column][]any{}
	e.collect(e.selection.where)
	for _, j := range e.selection.from {
		e.collectJoin(j)
	}
	for range tries {
		count.rows++
		e.rows = make([]map[string]any, len(e.selection.sources))
		e.absent = make([]bool, len(e.selection.sources))
		for i := range e.rows {
			e.rows[i] = map[string]any{}
		}
		passes := true
		for _, j := range e.selection.from {
			passes = passes && e.joins(j)
		}
		if !passes || e.selection.where != nil && e.truth(e.selection.where) != yes {
			continue
		}
		count.matched++
		for i, src := range e.selection.sources {
			if !src.base || e.absent[i] {
				continue
			}
			table, _ := e.s.lookup(src.name)
			at := slices.IndexFunc(deps, func(d conj.Dependency) bool { return d.Table.ID == table.ID })
			if at < 0 {
				return fmt.Sprintf("%s: no dependency", table.ID)
			}
			if !slices.ContainsFunc(deps[at].Conjunctions, func(c conj.Conjunction) bool { return e.holds(i, table, c) }) {
				var texts []string
				for _, c := range deps[at].Conjunctions {
					texts = append(texts, fmt.Sprint(c.Terms))
				}
				return fmt.Sprintf("%s (%s): with the arguments %v a row with %v passes the conditions and is in none of %s", table.ID, src.alias, e.args, e.rows, strings.Join(texts, " | "))
			}
		}
	}
	return ""
}

func (e *evaluation) holds(source int, table *conj.Table, c conj.Conjunction) bool {
	for _, term := range c.Terms {
		i := table.Index(e.x.d, term.Column)
		v := e.value(column{source, strings.ToLower(term.Column)})
		mine := conj.Null
		if v != nil {
			mine = table.Columns()[i].FromParam(e.x.d, v)
		}
		if mine != term.Value {
			return false
		}
	}
	return true
}

func (e *evaluation) collectJoin(j *join) {
	if j.source < 0 {
		e.collect(j.on)
		e.collectJoin(j.left)
		e.collectJoin(j.right)
	}
}

// collect notes what the columns are compared with.
func (e *evaluation) collect(c *cond) {
	if c == nil {
		return
	}
	for _, kid := range c.kids {
		e.collect(kid)
	}
	for _, v := range c.values {
		e.domain[c.col] = append(e.domain[c.col], e.resolve(v))
	}
}

func (e *evaluation) resolve(o operand) any {
	if o.param > 0 {
		return e.args[o.param-1]
	}
	return o.value
}

// value is a column's value, chosen when it is first asked for: one that it is
// compared with, mostly.
func (e *evaluation) value(c column) any {
	if e.absent[c.source] {
		return nil
	}
	if v, chosen := e.rows[c.source][c.name]; chosen {
		return v
	}
	integer := e.kind(c) == conj.Integer
	var v any
	switch d := e.domain[c]; {
	case e.IntN(8) == 0:
	case len(d) > 0 && e.IntN(4) > 0:
		v = d[e.IntN(len(d))]
	case integer:
		v = int64(e.IntN(4))
	default:
		v = fmt.Sprintf("v%d", e.IntN(4))
	}
	switch v.(type) { // of the column's own type
	case int64:
		if !integer {
			v = fmt.Sprintf("v%d", e.IntN(4))
		}
	case string:
		if integer {
			v = int64(e.IntN(4))
		}
	case bool:
		v = nil
	}
	e.rows[c.source][c.name] = v
	return v
}

func (e *evaluation) kind(c column) conj.Kind {
	for _, col := range e.s.columns {
		if col.Name == c.name {
			return col.Kind
		}
	}
	return conj.Opaque
}

// joins chooses rows for a tree of joins; false if its conditions fail.
func (e *evaluation) joins(j *join) bool {
	if j.source >= 0 {
		return true
	}
	side := inner
	if j.kind != inner && e.IntN(3) == 0 {
		side = j.kind
		if side == full {
			side = left + joinKind(e.IntN(2))
		}
	}
	switch side {
	case left: // the right side is missing
		e.miss(j.right)
		return e.joins(j.left)
	case right:
		e.miss(j.left)
		return e.joins(j.right)
	}
	return e.joins(j.left) && e.joins(j.right) && (j.on == nil || e.truth(j.on) == yes) && e.merges(j)
}

// merges reports whether the rows chosen agree in the columns of a join's USING.
func (e *evaluation) merges(j *join) bool {
	for _, name := range j.using {
		if j.left.ambiguous(name) || j.right.ambiguous(name) {
			return false
		}
		leftLo, leftHi := j.left.bounds()
		rightLo, rightHi := j.right.bounds()
		l, ok := e.selection.first(name, leftLo, leftHi)
		r, ok2 := e.selection.first(name, rightLo, rightHi)
		if ok && ok2 && sameConstant(e.value(l), e.value(r)) != yes {
			return false
		}
	}
	return true
}

func (e *evaluation) miss(j *join) {
	if j.source >= 0 {
		e.absent[j.source] = true
		return
	}
	e.miss(j.left)
	e.miss(j.right)
}

func (e *evaluation) any() truth { return truth(e.IntN(3)) }

// truth evaluates a condition for the rows chosen. What isn't understood may
// be anything.
func (e *evaluation) truth(c *cond) truth {
	switch c.kind {
	case constant:
		return c.truth
	case and:
		out := yes
		for _, kid := range c.kids {
			out = min(out, e.truth(kid))
		}
		return out
	case or:
		out := no
		for _, kid := range c.kids {
			out = max(out, e.truth(kid))
		}
		return out
	case not:
		return e.truth(c.kids[0]).not()
	case isNull:
		if e.value(c.col) == nil {
			return yes
		}
		return no
	case columns:
		if e.kind(c.col) != e.kind(c.other) {
			return e.any()
		}
		return sameConstant(e.value(c.col), e.value(c.other))
	case equal:
		return e.equal(e.value(c.col), e.resolve(c.values[0]))
	case nullSafe:
		l, r := e.value(c.col), e.resolve(c.values[0])
		if l == nil || r == nil {
			if l == r {
				return yes
			}
			return no
		}
		return e.equal(l, r)
	}
	return e.any()
}

func (e *evaluation) equal(l, r any) truth {
	if l == nil || r == nil {
		return unknown
	}
	if fmt.Sprintf("%T", l) != fmt.Sprintf("%T", r) {
		return e.any()
	}
	return sameConstant(l, r)
}

package conj

import (
	"crypto/sha256"
	"fmt"
	"slices"
)

// Compile reads a text and resolves the tables that it names.
//
// A text that is not understood gives a plan that is Unknown and not to be
// cached; only if it is certain to be a single SELECT its Statement says so.
// The error is that of a look-up.
func Compile(d Dialect, sql string, lookup Lookup, lim Limits) (*Plan, error) {
	return CompileOn(d, sql, lookup, lim, nil)
}

// CompileOn is Compile for a query that is to depend on rows by some columns
// only, given as "column", "table.column" or "schema.table.column": see
// Plan.On. Without columns it is Compile. A column that the query doesn't
// narrow by is a *PinError.
func CompileOn(d Dialect, sql string, lookup Lookup, lim Limits, on []string) (*Plan, error) {
	lim = lim.withDefaults()
	toks, err := tokenize(d, sql)
	if err != nil {
		plan := notUnderstood(d, lim, nil, err)
		plan.session(guessTokens(d, sql))
		return plan, nil
	}
	p := &parser{d: d, sql: sql, toks: toks}
	out := outerQuery{limitParam: -1}
	statement := p.statement(&out)
	if p.err != nil {
		plan := notUnderstood(d, lim, toks, p.err)
		plan.session(toks)
		return plan, nil
	}
	c := &compiler{parser: p, lookup: lookup, views: map[*Table]*viewRead{}, plan: &Plan{
		Statement: statement, Single: out.single, LimitParam: out.limitParam, d: d, lim: lim,
	}}
	if !out.compound {
		c.plan.Shape = out.shape
	}
	if err := c.reads(&out, on); err != nil {
		return nil, err
	}
	if err := c.writes(); err != nil {
		return nil, fmt.Errorf("conj: look up: %w", err)
	}
	plan := c.plan
	if statement == Select && !out.compound && len(p.cores) > 0 && len(p.cores[0].entries) == 1 {
		plan.Sole = p.cores[0].entries[0].table
	}
	if statement == Select {
		c.order(&out)
	}
	if statement == Select && len(on) == 0 {
		plan.joined = c.joined(&out)
	}
	plan.Names, plan.Skip, plan.Volatile, plan.HasSideEffects = p.names, p.skip, p.volatile, p.effects
	plan.session(toks)
	plan.Hidden = p.hidden
	if statement == Select && len(plan.Names) == 0 && len(plan.Hidden) == 0 && plan.Skip == "" {
		plan.Skip = "reads no table"
	}
	return plan, nil
}

// notUnderstood is the plan of a text that the parser gave up on. A single
// statement that begins with SELECT and has no INTO writes nothing, and what
// begins with CREATE is a definition whatever else it is.
func notUnderstood(d Dialect, lim Limits, toks []token, why error) *Plan {
	plan := &Plan{Skip: "not understood: " + why.Error(), LimitParam: -1, d: d, lim: lim}
	i := 0
	for i < len(toks) && (toks[i].is("(") || toks[i].is(";")) {
		i++
	}
	if i < len(toks) && toks[i].anyOf("create", "alter", "drop", "rename") {
		plan.Statement = DDL // a routine or a trigger with statements of its own
		return plan
	}
	if i == len(toks) || toks[i].word != "select" {
		return plan
	}
	for i := range toks {
		if toks[i].is(";") || toks[i].anyOf("into", "insert", "update", "delete", "merge") {
			return plan
		}
	}
	plan.Statement = Select
	return plan
}

// session notes what a text does to its session.
func (p *Plan) session(toks []token) {
	effects := sessionOf(p.d, toks)
	p.Settings, p.TwoPhase = effects.settings, effects.twoPhase
}

// compiler resolves what the parser has found.
type compiler struct {
	*parser
	plan   *Plan
	lookup Lookup
	known  map[TableName]*Table
	views  map[*Table]*viewRead
	depth  int // of views
}

func (c *compiler) table(n TableName) (*Table, error) {
	if t, ok := c.known[n]; ok {
		return t, nil
	}
	t, err := c.lookup(n)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n, err)
	}
	if c.known == nil {
		c.known = make(map[TableName]*Table)
	}
	c.known[n] = t
	return t, nil
}

// reads looks up the tables read and narrows them, by the given columns only
// if there are any. Occurrences of the same table are one dependency.
func (c *compiler) reads(out *outerQuery, on []string) error {
	if err := c.entries(); err != nil {
		return fmt.Errorf("conj: look up: %w", err)
	}
	c.uses(out)
	n := narrower{d: c.d, lim: c.plan.lim}
	if len(on) > 0 && c.skip == "" {
		var err error
		if n.pins, err = c.resolvePins(on); err != nil {
			return err
		}
		c.plan.On = n.pins.names()
	}
	for _, r := range c.narrow(&n) {
		if tableIndex(c.plan.Tables, r.table) < 0 {
			c.plan.Tables = append(c.plan.Tables, r.table)
		}
		c.plan.reads = append(c.plan.reads, newTableRead(r.table, c.plan.lim, absorbed(r.narrowed), r.use))
	}
	c.plan.LongLists = n.long
	c.plan.Uses = usesOf(c.plan.reads)
	return n.pins.check()
}

// usesOf returns a digest of the schemes of a query.
func usesOf(reads []*tableRead) (sum [16]byte) {
	var b []byte
	for _, r := range reads {
		b = appendText(b, r.table.ID)
		for _, tpl := range r.templates {
			b = appendText(b, string(tpl.scheme))
		}
	}
	whole := sha256.Sum256(b)
	copy(sum[:], whole[:])
	return sum
}

// entries looks up the tables that a text names.
func (c *compiler) entries() error {
	for _, core := range c.cores {
		for _, e := range core.entries {
			if err := c.entry(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// narrow returns the tables of a text, those that its views read included, and
// what all occurrences of a table together say of its rows.
func (c *compiler) narrow(n *narrower) []tableRows {
	var all []tableRows
	add := func(t *Table, narrowed [][]term, use Use) {
		// Tables of one family have columns of their own; see Plan.Bind.
		i := slices.IndexFunc(all, func(r tableRows) bool { return r.table == t })
		if i < 0 {
			i = len(all)
			all = append(all, tableRows{table: t})
		}
		all[i].narrowed = append(all[i].narrowed, narrowed...)
		all[i].use.merge(use)
	}
	for _, core := range c.cores {
		n.core(core)
		for _, e := range core.entries {
			switch {
			case e.view != nil:
				for i, r := range e.view.reads {
					add(r.table, e.view.rows(i, e.narrowed, c.plan.lim), r.use.deciding())
				}
			case e.table != nil:
				add(e.table, e.narrowed, e.use)
			}
		}
	}
	return all
}

func (c *compiler) entry(e *scopeEntry) error {
	if !e.base || isSystem(c.d, e.name) {
		return nil
	}
	t, err := c.table(e.name)
	if err != nil {
		return err
	}
	switch {
	case t == nil && e.maybe: // a CTE after all
		return nil
	case t == nil && c.depth > 0: // this user may not see it
		c.noteHidden(Hidden{Kind: HiddenTable, Name: e.name.Name, Reason: fmt.Sprintf("unknown table %s", e.name)})
		return nil
	case t == nil:
		c.noteSkip("unknown table %s", e.name)
		return nil
	case t.Uncacheable != "" && t.Declarable:
		c.noteHidden(Hidden{Kind: HiddenTable, Name: t.Name, Reason: fmt.Sprintf("%s %s", e.name, t.Uncacheable)})
	case t.Uncacheable != "":
		c.noteSkip("%s %s", e.name, t.Uncacheable)
	}
	c.noteName(e.name)
	e.table = t
	if t.View == nil {
		return nil
	}
	if e.view, err = c.view(t, e.name); err != nil {
		return err
	}
	e.table = e.view.columns
	return nil
}

// absorbed drops repetitions, and everything if one conjunction is empty.
func absorbed(any [][]term) [][]term {
	var kept [][]term
	for _, terms := range any {
		if len(terms) == 0 {
			return [][]term{{}}
		}
		if len(kept) > 64 || !slices.ContainsFunc(kept, func(k []term) bool { return slices.EqualFunc(k, terms, term.same) }) {
			kept = append(kept, terms)
		}
	}
	return kept
}

func (c *compiler) writes() error {
	for _, w := range c.parser.writes {
		out := Write{
			Name: w.name, Statement: w.statement, Wide: w.wide, HasReturning: w.returning,
			OnConflictDoNothing: w.doNothing, Ignore: w.ignore, Cascade: w.cascade, Temporary: w.temporary, d: c.d, lim: c.plan.lim,
		}
		if !isSystem(c.d, w.name) {
			t, err := c.table(w.name)
			if err != nil {
				return err
			}
			out.Table = t
		}
		if out.Table == nil && out.Wide == "" {
			out.Wide = "unknown table"
		}
		if out.Wide == "" {
			c.describe(&out, w)
		}
		c.plan.Writes = append(c.plan.Writes, out)
	}
	return nil
}

// describe fills in what is known of a write whose row images can be had.
func (c *compiler) describe(out *Write, w *parsedWrite) {
	switch w.statement {
	case Insert:
		c.insertedRows(out, w)
		if w.conflict != nil && out.Wide == "" {
			c.upsert(out, w.conflict)
		}
	case Update, Delete:
		c.assignments(out, w.sets)
		out.from = w.table
		if out.Wide == "" {
			c.condition(out, w)
		}
	}
}

func (c *compiler) assignments(out *Write, sets []parsedSet) {
	for _, s := range sets {
		i := out.Table.Index(c.d, s.column)
		if i < 0 {
			out.Wide = "unknown column " + s.column
			return
		}
		out.Set = append(out.Set, Assignment{Column: i, Value: s.value})
	}
}

// upsert describes ON CONFLICT .. DO UPDATE. The rows are found by the target
// before and after, so it must not change.
func (c *compiler) upsert(out *Write, w *parsedConflict) {
	out.Upsert = true
	for _, name := range w.target {
		i := out.Table.Index(c.d, name)
		if i < 0 {
			out.Wide = "unknown column " + name
			return
		}
		out.Target = append(out.Target, i)
	}
	c.assignments(out, w.sets)
	for i, a := range out.Set {
		if slices.Contains(out.Target, a.Column) && !w.sets[i].same {
			out.Wide = "upsert assigns its target"
			return
		}
	}
}

func (c *compiler) insertedRows(out *Write, w *parsedWrite) {
	if w.columns == nil {
		for i := range out.Table.columns {
			out.Columns = append(out.Columns, i)
		}
	}
	for _, name := range w.columns {
		i := out.Table.Index(c.d, name)
		if i < 0 {
			out.Wide = "unknown column " + name
			return
		}
		out.Columns = append(out.Columns, i)
	}
	for _, row := range w.rows {
		if len(row) != len(out.Columns) {
			out.Wide = "rows and columns differ in number"
			return
		}
	}
	out.Rows = w.rows
}

// condition keeps the WHERE of a write as text and as conjunctions.
func (c *compiler) condition(out *Write, w *parsedWrite) {
	if !w.hasWhere {
		return
	}
	begin := c.toks[w.whereLo].start
	for i := w.whereLo; i < w.whereHi; i++ {
		if t := &c.toks[i]; t.kind == tokParam {
			out.pieces = append(out.pieces, c.sql[begin:t.start])
			out.params = append(out.params, t.num)
			begin = t.end
		}
	}
	out.pieces = append(out.pieces, c.sql[begin:c.toks[w.whereHi-1].end])
	core := &selectCore{where: w.where}
	core.from = leaf(core, &scopeEntry{alias: w.alias, aliased: w.aliased, name: w.name, base: true, table: out.Table})
	n := narrower{d: c.d, lim: out.lim}
	n.core(core)
	out.rows = newTableRead(out.Table, out.lim, absorbed(core.entries[0].narrowed), Use{Any: true})
}

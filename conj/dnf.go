package conj

import (
	"slices"
	"strings"
)

// atom is a term of a condition with its columns resolved: a column of an
// entry of the FROM clause compared with values or, if kind is exprJoin, with
// a column of another entry.
type atom struct {
	kind        exprKind // exprEqual, exprAny, exprNullSafe, exprIsNull, exprJoin
	entry, col  int
	entry2      int
	col2        int
	values      []Operand
	nullRejects bool // never true where the entry's columns are all NULL
}

// conjunct is a conjunction of atoms over all tables of a SELECT; an empty one
// is always true.
type conjunct []atom

// always is the disjunction of the empty conjunction. A nil disjunction is
// never true.
func always() []conjunct { return []conjunct{{}} }

// block is a part of a FROM clause within which no table is null-extended:
// the whole clause down to its outer joins, or the nullable side of an outer
// join down to the outer joins within. Its conditions hold for every
// combination of rows in which the block's tables take part: WHERE and the ON
// of inner joins for the outermost block; the ON of the outer join and those
// of inner joins within for the others; only the latter under a FULL join.
type block struct {
	conds []blockCond
	dnf   []conjunct
}

// blockCond is a condition and the entries that it can see, or, without an
// expression, the columns that a join's USING sets equal.
type blockCond struct {
	e      *expr
	equal  conjunct
	lo, hi int
}

// narrower turns the conditions of SELECTs into conditions on single tables.
//
// Why a projection is safe: let B be an occurrence of a table and r a row of
// it that fails what is projected on B of every disjunct of the condition of
// one of the blocks that B is in. Then no combination of rows with r in it
// satisfies that condition. If B is null-extended within that block, r's
// absence may put a combination with NULLs for B in its place; that one fails
// as well, provided that in every disjunct which narrows B there is a term on
// B that NULLs fail. So r makes no difference. The conditions of all blocks
// around B hold at once, hence their conjunction narrows B, and so does a
// constant that reaches B over equalities of columns.
type narrower struct {
	d   Dialect
	lim Limits

	pins pins // if not nil, only they count
	lost bool // in this SELECT something was left out that may be about them

	long []LongList // that were left out
}

// maxAtoms bounds the length of a conjunction: terms beyond it are left out.
const maxAtoms = 128

// core computes what narrows each entry of a SELECT.
func (n *narrower) core(c *selectCore) {
	if c.from == nil {
		return
	}
	n.lost = false
	root := &block{}
	if c.where != nil {
		root.conds = append(root.conds, blockCond{e: c.where, hi: len(c.entries)})
	}
	blocks := []*block{root}
	var walk func(node *fromNode, chain []*block)
	nullable := func(node *fromNode, chain []*block, conds ...blockCond) {
		b := &block{conds: conds}
		blocks = append(blocks, b)
		walk(node, append(slices.Clone(chain), b))
	}
	walk = func(node *fromNode, chain []*block) {
		if node.entry >= 0 {
			e := c.entries[node.entry]
			e.chain, e.block = chain, chain[len(chain)-1]
			return
		}
		var on []blockCond
		if node.on != nil {
			on = []blockCond{{e: node.on, lo: node.lo, hi: node.hi}}
		}
		if merged := n.using(c, node); len(merged) > 0 {
			on = append(on, blockCond{equal: merged})
		}
		own := chain[len(chain)-1]
		switch node.kind {
		case joinInner:
			own.conds = append(own.conds, on...)
			walk(node.left, chain)
			walk(node.right, chain)
		case joinLeft:
			walk(node.left, chain)
			nullable(node.right, chain, on...)
		case joinRight:
			nullable(node.left, chain, on...)
			walk(node.right, chain)
		case joinFull:
			nullable(node.left, chain)
			nullable(node.right, chain)
		}
	}
	walk(c.from, blocks[:1])
	for _, b := range blocks {
		b.dnf = always()
		for _, cond := range b.conds {
			if cond.e == nil {
				b.dnf = n.and(b.dnf, []conjunct{cond.equal})
				continue
			}
			b.dnf = n.and(b.dnf, n.expr(c, cond.e, cond.lo, cond.hi))
		}
		n.strip(c, b)
	}
	for i, e := range c.entries {
		if e.table == nil {
			continue
		}
		all := always()
		if !c.recursive {
			for _, b := range e.chain {
				all = n.and(all, b.dnf)
			}
		}
		e.narrowed = n.project(c, all, i)
		if len(all) > 0 {
			n.pins.reach(e.table)
		}
	}
}

// strip takes from each conjunct the terms on a table that the block
// null-extends, unless one of them fails where the table's columns are NULL.
func (n *narrower) strip(c *selectCore, b *block) {
	for i, conj := range b.dnf {
		var rejects []int
		for _, a := range conj {
			if a.nullRejects {
				rejects = append(rejects, a.entry)
				if a.kind == exprJoin {
					rejects = append(rejects, a.entry2)
				}
			}
		}
		b.dnf[i] = slices.DeleteFunc(slices.Clone(conj), func(a atom) bool {
			strips := a.kind != exprJoin && c.entries[a.entry].block != b && !slices.Contains(rejects, a.entry)
			n.lost = n.lost || strips && n.pins.of(c.entries[a.entry].table, a.col) != nil
			return strips
		})
	}
}

// expr brings a condition into disjunctive normal form. lo and hi bound the
// entries that the condition can see.
func (n *narrower) expr(c *selectCore, e *expr, lo, hi int) []conjunct {
	switch e.kind {
	case exprFalse, exprNull:
		if entry, col, ok := n.resolve(c, e.col, lo, hi); ok {
			n.pins.ask(c.entries[entry].table, col)
		}
		return nil
	case exprAnd:
		all := always()
		for _, kid := range e.kids {
			all = n.and(all, n.expr(c, kid, lo, hi))
		}
		return all
	case exprOr:
		var any []conjunct
		for _, kid := range e.kids {
			any = n.or(any, n.expr(c, kid, lo, hi))
		}
		return any
	case exprJoin:
		return n.join(c, e, lo, hi)
	case exprEqual, exprAny, exprNullSafe, exprIsNull:
		entry, col, ok := n.resolve(c, e.col, lo, hi)
		if !ok {
			return always()
		}
		kind := c.entries[entry].table.columns[col].Kind
		if e.kind != exprIsNull && (kind == Opaque || kind == Unreadable) && !(e.kind == exprNullSafe && kind == Opaque) {
			return always()
		}
		if kind != Boolean && slices.ContainsFunc(e.values, func(o Operand) bool { return o.not }) {
			return always()
		}
		pinned := n.pins.ask(c.entries[entry].table, col)
		if table := c.entries[entry].table; len(e.values) > n.lim.MaxInValues {
			n.noteLong(LongList{table, table.columns[col].Name, len(e.values)})
		}
		if len(e.values) > n.lim.MaxInValues || slices.ContainsFunc(e.values, func(o Operand) bool { return o.cast != Opaque && o.cast != kind }) {
			n.lost = n.lost || pinned
			return always()
		}
		return []conjunct{{atom{
			kind: e.kind, entry: entry, col: col, values: e.values,
			nullRejects: e.kind == exprEqual || e.kind == exprAny,
		}}}
	}
	return always()
}

// noteLong notes a list once, as a condition may be looked at several times.
func (n *narrower) noteLong(list LongList) {
	if !slices.Contains(n.long, list) {
		n.long = append(n.long, list)
	}
}

func (n *narrower) join(c *selectCore, e *expr, lo, hi int) []conjunct {
	e1, c1, ok := n.resolve(c, e.col, lo, hi)
	e2, c2, ok2 := n.resolve(c, e.other, lo, hi)
	if !ok || !ok2 {
		return always()
	}
	if a, ok := n.equal(c, place{e1, c1}, place{e2, c2}); ok {
		return []conjunct{{a}}
	}
	return always()
}

// equal is the equality of two columns; false if their values may be equal
// without having one canonical form.
func (n *narrower) equal(c *selectCore, x, y place) (atom, bool) {
	k1, k2 := c.entries[x.entry].table.columns[x.col].Kind, c.entries[y.entry].table.columns[y.col].Kind
	if k1 != k2 || !n.carries(k1) {
		return atom{}, false
	}
	return atom{kind: exprJoin, entry: x.entry, col: x.col, entry2: y.entry, col2: y.col, nullRejects: true}, true
}

// using returns the equalities of a join's USING. Each side's column is that of
// the first table which has it: further ones are merged with it by joins
// within, unless such a join is one that may give either side's value.
func (n *narrower) using(c *selectCore, node *fromNode) (equal conjunct) {
	if c.natural || c.coalesced {
		return nil
	}
	for _, name := range node.using {
		x, ok := n.first(c, name, node.left.lo, node.left.hi)
		y, ok2 := n.first(c, name, node.right.lo, node.right.hi)
		if !ok || !ok2 {
			continue
		}
		if a, ok := n.equal(c, x, y); ok {
			equal = append(equal, a)
		}
	}
	return equal
}

// first finds the first of some entries that has a column; false if that can't
// be told.
func (n *narrower) first(c *selectCore, name string, lo, hi int) (place, bool) {
	for i := lo; i < hi; i++ {
		e := c.entries[i]
		if e.table == nil || e.renamed || e.hidden {
			break
		}
		if col := e.table.Index(n.d, name); col >= 0 {
			return place{i, col}, true
		}
	}
	return place{}, false
}

// carries reports whether equality of two columns of a kind is equality of
// their canonical values. Texts may compare by either column's collation,
// which is one and the same in PostgreSQL and SQLite's exact kind only.
func (n *narrower) carries(k Kind) bool {
	switch k {
	case Integer, Boolean, Decimal, UUID, Bytes:
		return true
	case Text:
		return n.d != MySQL
	}
	return false
}

// and is the product of two disjunctions. Where that would be too large, of
// the one that says less only what its conjunctions have in common is kept.
func (n *narrower) and(x, y []conjunct) []conjunct {
	switch {
	case len(x) == 0 || len(y) == 0:
		return nil
	case len(y) == 1 && (len(y[0]) == 0 || len(x[0]) >= maxAtoms):
		n.lost = n.lost || len(y[0]) > 0
		return x
	case len(x) == 1 && len(x[0]) == 0:
		return y
	}
	if len(x) > 1 && len(y) > 1 && len(x)*len(y) > n.lim.MaxConjunctions {
		n.lost = true
		if shortest(x) >= shortest(y) {
			y = []conjunct{common(y)}
		} else {
			x = []conjunct{common(x)}
		}
	}
	product := make([]conjunct, 0, len(x)*len(y))
	for _, a := range x {
		for _, b := range y {
			conj := slices.Concat(a, b)
			n.lost = n.lost || len(conj) > maxAtoms
			product = append(product, conj[:min(len(conj), maxAtoms):min(len(conj), maxAtoms)])
		}
	}
	return product
}

func shortest(x []conjunct) int {
	return len(slices.MinFunc(x, func(a, b conjunct) int { return len(a) - len(b) }))
}

// or is the union of two disjunctions. A conjunction absorbs those that say
// all that it says and more; where there are too many, what they have in
// common stands for all.
func (n *narrower) or(x, y []conjunct) []conjunct {
	all := slices.Clone(x)
	for _, conj := range y {
		if n.pins != nil { // one that says less may be about other columns only
			if !slices.ContainsFunc(all, func(o conjunct) bool { return conj.implies(o) && o.implies(conj) }) {
				all = append(all, conj)
			}
			continue
		}
		if len(conj) == 0 {
			return always()
		}
		if !slices.ContainsFunc(all, conj.implies) {
			all = append(all, conj)
		}
	}
	if len(all) > n.lim.MaxConjunctions {
		n.lost = true
		return []conjunct{common(all)}
	}
	return all
}

// implies reports whether every term of another conjunction is one of conj.
func (conj conjunct) implies(other conjunct) bool {
	for _, a := range other {
		if !slices.ContainsFunc(conj, a.same) {
			return false
		}
	}
	return true
}

// common returns the terms that all of some conjunctions have.
func common(all []conjunct) conjunct {
	shared := slices.Clone(all[0])
	for _, conj := range all[1:] {
		shared = slices.DeleteFunc(shared, func(a atom) bool { return !slices.ContainsFunc(conj, a.same) })
	}
	return shared
}

func (a atom) same(b atom) bool {
	return a.kind == b.kind && a.entry == b.entry && a.col == b.col &&
		a.entry2 == b.entry2 && a.col2 == b.col2 && slices.Equal(a.values, b.values)
}

// resolve finds the column that a name means. Only names of the innermost
// FROM clause are found, since others are opaque.
func (n *narrower) resolve(c *selectCore, ref columnRef, lo, hi int) (entry, col int, ok bool) {
	if ref.table == "" && c.merged[strings.ToLower(ref.name)] && !c.natural && !c.coalesced {
		p, ok := n.first(c, ref.name, lo, hi)
		return p.entry, p.col, ok
	}
	entry = -1
	for i, e := range c.entries {
		if ref.table != "" {
			if !sameName(n.d, e.alias, ref.table) {
				continue
			}
			if entry >= 0 {
				return 0, 0, false
			}
			entry = i
			continue
		}
		if e.table != nil && !e.renamed && e.table.Index(n.d, ref.name) >= 0 {
			if entry >= 0 {
				return 0, 0, false
			}
			entry = i
		}
	}
	if entry < lo || entry >= hi {
		return 0, 0, false
	}
	e := c.entries[entry]
	if e.table == nil || e.renamed || e.hidden && (lo < e.seenLo || hi > e.seenHi) {
		return 0, 0, false
	}
	if ref.schema != "" && (e.aliased || !sameName(n.d, e.name.Schema, ref.schema)) {
		return 0, 0, false
	}
	if ref.table == "" && (c.natural || c.merged[strings.ToLower(ref.name)]) {
		return 0, 0, false
	}
	col = e.table.Index(n.d, ref.name)
	return entry, col, col >= 0
}

// project keeps of each conjunct what it says of one entry, constants that
// reach it over equal columns included.
func (n *narrower) project(c *selectCore, all []conjunct, entry int) [][]term {
	table, pinning := c.entries[entry].table, n.pins != nil && c.entries[entry].view == nil
	if pinning && n.lost && n.pins.on(table) {
		return [][]term{{}}
	}
	projected := make([][]term, 0, len(all))
	for _, conj := range all {
		var terms []term
		for _, a := range conj {
			if a.kind != exprJoin && a.entry == entry {
				terms = appendTerm(terms, term{kind: a.kind, col: a.col, values: a.values})
			}
		}
		terms = carried(conj, entry, terms)
		if pinning {
			terms = n.pins.keep(table, terms)
			if len(terms) == 0 {
				continue
			}
		}
		if len(terms) == 0 {
			return [][]term{{}}
		}
		slices.SortStableFunc(terms, func(a, b term) int { return a.col - b.col })
		if !slices.ContainsFunc(projected, func(t []term) bool { return slices.EqualFunc(t, terms, term.same) }) {
			projected = append(projected, terms)
		}
	}
	return projected
}

func appendTerm(terms []term, t term) []term {
	if slices.ContainsFunc(terms, t.same) {
		return terms
	}
	return append(terms, t)
}

// place is a column of an entry.
type place struct{ entry, col int }

// carried adds the constants that columns of an entry get from the columns
// that they equal.
func carried(conj conjunct, entry int, terms []term) []term {
	var joins []atom
	for _, a := range conj {
		if a.kind == exprJoin {
			joins = append(joins, a)
		}
	}
	var done []place
	for _, j := range joins {
		for _, start := range []place{{j.entry, j.col}, {j.entry2, j.col2}} {
			if start.entry != entry || slices.Contains(done, start) {
				continue
			}
			done = append(done, start)
			for _, from := range reachable(joins, start) {
				for _, a := range conj {
					if (a.kind == exprEqual || a.kind == exprAny) && a.entry == from.entry && a.col == from.col {
						terms = appendTerm(terms, term{kind: a.kind, col: start.col, values: a.values})
					}
				}
			}
		}
	}
	return terms
}

// reachable returns the columns that equal one, without that one.
func reachable(joins []atom, start place) []place {
	found := []place{start}
	for i := 0; i < len(found); i++ {
		for _, j := range joins {
			a, b := place{j.entry, j.col}, place{j.entry2, j.col2}
			if b == found[i] {
				a, b = b, a
			}
			if a == found[i] && !slices.Contains(found, b) {
				found = append(found, b)
			}
		}
	}
	return found[1:]
}

package crosscheck

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"
	"github.com/pingcap/tidb/pkg/parser/test_driver"

	"github.com/cacheplugin/cacheplugin/conj"
)

// mysql parses a text by TiDB's parser. It is nil if that refuses it, or finds
// several statements.
func mysql(text string) *tree {
	stmts, _, err := parser.New().Parse(text, "", "")
	if err != nil || len(stmts) != 1 {
		return nil
	}
	w := &mysqlWalk{tree: &tree{kind: mysqlKind(stmts[0])}}
	stmts[0].Accept(w)
	slices.Sort(w.markers)
	w.tree.params = len(w.markers)
	for _, s := range w.pending {
		c := mysqlConditions{s.selection, w.markers}
		for j, on := range s.on {
			c.s.lo, c.s.hi = j.bounds()
			j.on = c.cond(on)
		}
		c.s.lo, c.s.hi = 0, len(c.s.sources)
		if s.where != nil {
			s.selection.where = c.cond(s.where)
		}
		if s.target {
			w.tree.target = s.selection
			continue
		}
		w.tree.selects = append(w.tree.selects, s.selection)
	}
	return w.tree
}

func mysqlKind(stmt ast.StmtNode) conj.Statement {
	switch s := stmt.(type) {
	case *ast.SelectStmt, *ast.SetOprStmt:
		return conj.Select
	case *ast.InsertStmt:
		if s.IsReplace {
			return conj.Replace
		}
		return conj.Insert
	case *ast.UpdateStmt:
		return conj.Update
	case *ast.DeleteStmt:
		return conj.Delete
	case *ast.TruncateTableStmt:
		return conj.Truncate
	case ast.DDLNode:
		return conj.DDL
	}
	return conj.Other
}

type mysqlWalk struct {
	tree    *tree
	visible *ctes
	scopes  []*ctes
	pending []*mysqlSelection
	targets map[*ast.TableName]bool
	markers []int // where parameters stand in the text
}

// mysqlSelection is a selection whose conditions wait until the parameters of
// the whole text are known, and can be numbered.
type mysqlSelection struct {
	selection *selection
	on        map[*join]ast.ExprNode
	where     ast.ExprNode
	target    bool
}

func (w *mysqlWalk) Enter(n ast.Node) (ast.Node, bool) {
	switch n := n.(type) {
	case *ast.SelectStmt, *ast.SetOprStmt, *ast.SetOprSelectList, *ast.UpdateStmt, *ast.DeleteStmt:
		w.scopes = append(w.scopes, w.visible)
		w.statement(n)
	case *ast.WithClause:
		if n.IsRecursive {
			for _, cte := range n.CTEs {
				w.visible = &ctes{cte.Name.L, w.visible}
			}
		}
		for _, cte := range n.CTEs {
			cte.Query.Accept(w)
			w.visible = &ctes{cte.Name.L, w.visible}
		}
		return n, true
	case *ast.InsertStmt:
		w.target(n.Table)
	case *ast.TableName:
		name := mysqlName(n)
		if !w.targets[n] && (name.Schema != "" || !w.visible.has(n.Name.L)) {
			w.tree.read(name)
		}
	case *ast.FuncCallExpr:
		w.tree.call(n.FnName.L)
	case *test_driver.ParamMarkerExpr:
		w.markers = append(w.markers, n.Offset)
	}
	return n, false
}

func (w *mysqlWalk) Leave(n ast.Node) (ast.Node, bool) {
	switch n := n.(type) {
	case *ast.SelectStmt:
		w.selection(n)
		w.leave()
	case *ast.UpdateStmt:
		w.modified(n.TableRefs, n.Where)
		w.leave()
	case *ast.DeleteStmt:
		w.modified(n.TableRefs, n.Where)
		w.leave()
	case *ast.SetOprStmt, *ast.SetOprSelectList:
		w.leave()
	}
	return n, true
}

func (w *mysqlWalk) leave() {
	w.visible = w.scopes[len(w.scopes)-1]
	w.scopes = w.scopes[:len(w.scopes)-1]
}

func (w *mysqlWalk) statement(n ast.Node) {
	switch n := n.(type) {
	case *ast.SelectStmt:
		if n.SelectIntoOpt != nil || n.LockInfo != nil && n.LockInfo.LockType != ast.SelectLockNone {
			w.tree.locks = true
		}
	case *ast.UpdateStmt:
		w.target(n.TableRefs)
	case *ast.DeleteStmt:
		w.target(n.TableRefs)
	}
}

// target notes the one table that a statement writes; those of several are
// left to the walk, which takes them for read.
func (w *mysqlWalk) target(refs *ast.TableRefsClause) {
	if refs.TableRefs.Right != nil {
		return
	}
	source, ok := refs.TableRefs.Left.(*ast.TableSource)
	if !ok {
		return
	}
	if name, ok := source.Source.(*ast.TableName); ok {
		if w.targets == nil {
			w.targets = map[*ast.TableName]bool{}
		}
		w.targets[name] = true
		w.tree.write(mysqlName(name))
	}
}

// modified reads the conditions of an UPDATE or DELETE of one table.
func (w *mysqlWalk) modified(refs *ast.TableRefsClause, where ast.ExprNode) {
	if refs.TableRefs.Right == nil {
		p := &mysqlSelection{selection: &selection{}, where: where, target: true}
		p.selection.from = []*join{w.source(p, refs.TableRefs.Left)}
		w.pending = append(w.pending, p)
	}
}

func mysqlName(n *ast.TableName) conj.TableName {
	return conj.TableName{Schema: n.Schema.O, Name: n.Name.O}
}

// selection reads the FROM clause of a SELECT; its conditions are kept.
func (w *mysqlWalk) selection(n *ast.SelectStmt) {
	if n.From == nil {
		return
	}
	p := &mysqlSelection{selection: &selection{}, on: map[*join]ast.ExprNode{}, where: n.Where}
	p.selection.from = []*join{w.source(p, n.From.TableRefs)}
	w.pending = append(w.pending, p)
}

func (w *mysqlWalk) source(p *mysqlSelection, n ast.ResultSetNode) *join {
	switch n := n.(type) {
	case *ast.Join:
		if n.Right == nil {
			return w.source(p, n.Left)
		}
		j := &join{source: -1, kind: map[ast.JoinType]joinKind{ast.LeftJoin: left, ast.RightJoin: right}[n.Tp]}
		j.left, j.right = w.source(p, n.Left), w.source(p, n.Right)
		for _, name := range n.Using {
			p.selection.use(j, name.Name.O)
		}
		p.selection.unclear = p.selection.unclear || n.NaturalJoin
		if n.On != nil {
			p.on[j] = n.On.Expr
		}
		return j
	case *ast.TableSource:
		s := &source{alias: n.AsName.O}
		if table, ok := n.Source.(*ast.TableName); ok {
			s.name = mysqlName(table)
			s.base = s.name.Schema != "" || !w.visible.has(table.Name.L)
			if s.alias == "" {
				s.alias = table.Name.O
			}
		}
		p.selection.sources = append(p.selection.sources, s)
	default:
		p.selection.sources = append(p.selection.sources, &source{})
	}
	return &join{source: len(p.selection.sources) - 1}
}

// mysqlConditions reads the conditions of one selection.
type mysqlConditions struct {
	s       *selection
	markers []int
}

func (c mysqlConditions) cond(n ast.ExprNode) *cond {
	switch n := n.(type) {
	case *ast.ParenthesesExpr:
		return c.cond(n.Expr)
	case *ast.BinaryOperationExpr:
		switch n.Op {
		case opcode.LogicAnd:
			return &cond{kind: and, kids: []*cond{c.cond(n.L), c.cond(n.R)}}
		case opcode.LogicOr:
			return &cond{kind: or, kids: []*cond{c.cond(n.L), c.cond(n.R)}}
		case opcode.EQ:
			return c.equal(n.L, n.R)
		case opcode.NE:
			return &cond{kind: not, kids: []*cond{c.equal(n.L, n.R)}}
		case opcode.NullEQ:
			col, ok := c.column(n.L)
			v, ok2 := c.value(n.R)
			if ok && ok2 {
				return &cond{kind: nullSafe, col: col, values: []operand{v}}
			}
		}
	case *ast.UnaryOperationExpr:
		if n.Op == opcode.Not || n.Op == opcode.Not2 {
			return &cond{kind: not, kids: []*cond{c.cond(n.V)}}
		}
	case *ast.IsNullExpr:
		if col, ok := c.column(n.Expr); ok {
			out := &cond{kind: isNull, col: col}
			if n.Not {
				out = &cond{kind: not, kids: []*cond{out}}
			}
			return out
		}
	case *ast.PatternInExpr:
		if n.Sel != nil {
			return &cond{}
		}
		out := &cond{kind: or}
		for _, item := range n.List {
			out.kids = append(out.kids, c.equal(n.Expr, item))
		}
		if n.Not {
			out = &cond{kind: not, kids: []*cond{out}}
		}
		return out
	case *test_driver.ValueExpr:
		if v, ok := c.value(n); ok && v.param == 0 {
			switch v.value {
			case nil:
				return &cond{kind: constant, truth: unknown}
			case int64(0):
				return &cond{kind: constant, truth: no}
			case int64(1):
				return &cond{kind: constant, truth: yes}
			}
		}
	}
	return &cond{}
}

func (c mysqlConditions) equal(l, r ast.ExprNode) *cond {
	l, r = bare(l), bare(r)
	lrow, lok := l.(*ast.RowExpr)
	rrow, rok := r.(*ast.RowExpr)
	if lok && rok && len(lrow.Values) == len(rrow.Values) {
		out := &cond{kind: and}
		for i := range lrow.Values {
			out.kids = append(out.kids, c.equal(lrow.Values[i], rrow.Values[i]))
		}
		return out
	}
	lcol, lok := c.column(l)
	rcol, rok := c.column(r)
	lval, lv := c.value(l)
	rval, rv := c.value(r)
	switch {
	case isLiteralNull(lval, lv), isLiteralNull(rval, rv):
		return &cond{kind: constant, truth: unknown}
	case lok && rok:
		return &cond{kind: columns, col: lcol, other: rcol}
	case lok && rv:
		return &cond{kind: equal, col: lcol, values: []operand{rval}}
	case rok && lv:
		return &cond{kind: equal, col: rcol, values: []operand{lval}}
	case lv && rv && lval.param == 0 && rval.param == 0:
		return &cond{kind: constant, truth: sameConstant(lval.value, rval.value)}
	}
	return &cond{}
}

func bare(n ast.ExprNode) ast.ExprNode {
	for {
		p, ok := n.(*ast.ParenthesesExpr)
		if !ok {
			return n
		}
		n = p.Expr
	}
}

func (c mysqlConditions) column(n ast.ExprNode) (column, bool) {
	e, ok := bare(n).(*ast.ColumnNameExpr)
	if !ok {
		return column{}, false
	}
	return c.s.resolve(e.Name.Schema.O, e.Name.Table.O, e.Name.Name.O, strings.EqualFold)
}

func (c mysqlConditions) value(n ast.ExprNode) (operand, bool) {
	switch n := bare(n).(type) {
	case *ast.UnaryOperationExpr:
		v, ok := c.value(n.V)
		i, integer := v.value.(int64)
		if n.Op == opcode.Minus {
			i = -i
		}
		return operand{value: i}, ok && integer && (n.Op == opcode.Minus || n.Op == opcode.Plus)
	case *test_driver.ParamMarkerExpr:
		return operand{param: 1 + slices.Index(c.markers, n.Offset)}, true
	case *test_driver.ValueExpr:
		switch v := n.GetValue().(type) {
		case nil:
			return operand{}, true
		case int64:
			return operand{value: v}, true
		case string:
			return operand{value: v}, true
		}
	}
	return operand{}, false
}

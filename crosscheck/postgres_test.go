package crosscheck

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/wasilibs/go-pgquery/parser"

	"github.com/cacheplugin/cacheplugin/conj"
)

// object is a node of PostgreSQL's tree as JSON.
type object = map[string]any

// postgres parses a text by PostgreSQL's parser. It is nil if that refuses it,
// or finds several statements.
func postgres(text string) *tree {
	out, err := parser.ParseToJSON(text)
	if err != nil {
		return nil
	}
	var result struct {
		Stmts []struct{ Stmt object }
	}
	if json.Unmarshal([]byte(out), &result) != nil || len(result.Stmts) != 1 {
		return nil
	}
	w := &postgresWalk{tree: &tree{kind: conj.Other}}
	for kind, body := range result.Stmts[0].Stmt {
		w.tree.kind = postgresKind(kind, body.(object))
		w.node(kind, body, nil)
	}
	return w.tree
}

func postgresKind(kind string, body object) conj.Statement {
	switch kind {
	case "SelectStmt":
		return conj.Select
	case "InsertStmt":
		return conj.Insert
	case "UpdateStmt":
		return conj.Update
	case "DeleteStmt":
		return conj.Delete
	case "MergeStmt":
		return conj.Merge
	case "TruncateStmt":
		return conj.Truncate
	case "CreateStmt", "AlterTableStmt", "DropStmt", "IndexStmt", "RenameStmt", "CreateTableAsStmt", "ViewStmt", "CommentStmt",
		"CreateSeqStmt", "CreateEnumStmt", "CreateExtensionStmt", "CreateSchemaStmt", "CreateFunctionStmt", "CreateTrigStmt":
		return conj.DDL
	}
	return conj.Other
}

// ctes are the names that stand for CTEs at a place.
type ctes struct {
	name  string
	outer *ctes
}

func (c *ctes) has(name string) bool {
	for ; c != nil; c = c.outer {
		if c.name == name {
			return true
		}
	}
	return false
}

type postgresWalk struct{ tree *tree }

// node visits a node and what is below it.
func (w *postgresWalk) node(kind string, body any, visible *ctes) {
	o, ok := body.(object)
	if !ok {
		return
	}
	switch kind {
	case "SelectStmt":
		w.query(o, visible)
		return
	case "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt":
		w.modify(kind, o, visible)
		return
	case "RangeVar":
		n := postgresName(o)
		if n.Schema != "" || !visible.has(n.Name) {
			w.tree.read(n)
		}
	case "FuncCall":
		w.tree.call(lastName(o["funcname"]))
	case "SQLValueFunction":
		w.tree.call("current_timestamp")
	case "ParamRef":
		if n, ok := o["number"].(float64); ok {
			w.tree.params = max(w.tree.params, int(n))
		}
	}
	w.below(o, visible)
}

// below visits the parts of a node.
func (w *postgresWalk) below(part any, visible *ctes) {
	switch part := part.(type) {
	case object:
		for kind, body := range part {
			if _, node := body.(object); node && kind[0] >= 'A' && kind[0] <= 'Z' {
				w.node(kind, body, visible)
				continue
			}
			w.below(body, visible)
		}
	case []any:
		for _, item := range part {
			w.below(item, visible)
		}
	}
}

// with visits the CTEs of a statement and returns what they make visible.
func (w *postgresWalk) with(o object, visible *ctes) *ctes {
	clause, _ := o["withClause"].(object)
	list, _ := clause["ctes"].([]any)
	recursive := clause["recursive"] == true
	if recursive {
		for _, item := range list {
			visible = &ctes{text(get(item, "CommonTableExpr"), "ctename"), visible}
		}
	}
	for _, item := range list {
		cte := get(item, "CommonTableExpr")
		w.below(cte["ctequery"], visible)
		visible = &ctes{text(cte, "ctename"), visible}
	}
	return visible
}

func (w *postgresWalk) modify(kind string, o object, visible *ctes) {
	visible = w.with(o, visible)
	target := get(o, "relation")
	w.tree.write(postgresName(target))
	if (kind == "UpdateStmt" || kind == "DeleteStmt") && o["fromClause"] == nil && o["usingClause"] == nil && o["withClause"] == nil {
		c := postgresConditions{s: &selection{}}
		c.s.from = []*join{c.source(object{"RangeVar": target}, nil)}
		c.s.hi = 1
		if where, ok := o["whereClause"]; ok {
			c.s.where = c.cond(where)
		}
		w.tree.target = c.s
	}
	for key, part := range o {
		if key != "relation" && key != "withClause" {
			w.below(part, visible)
		}
	}
}

func (w *postgresWalk) query(o object, visible *ctes) {
	visible = w.with(o, visible)
	if o["lockingClause"] != nil || o["intoClause"] != nil {
		w.tree.locks = true
	}
	for _, side := range []string{"larg", "rarg"} {
		if part, ok := o[side].(object); ok {
			w.query(part, visible)
		}
	}
	for key, part := range o {
		switch key {
		case "withClause", "larg", "rarg", "intoClause", "lockingClause":
		default:
			w.below(part, visible)
		}
	}
	from, _ := o["fromClause"].([]any)
	if len(from) == 0 {
		return
	}
	s := &selection{}
	c := postgresConditions{s, map[*join]any{}}
	for _, item := range from {
		s.from = append(s.from, c.source(item, visible))
	}
	for _, j := range s.from {
		c.resolveJoins(j)
	}
	s.lo, s.hi = 0, len(s.sources)
	if where, ok := o["whereClause"]; ok {
		s.where = c.cond(where)
	}
	w.tree.selects = append(w.tree.selects, s)
}

// postgresConditions reads the conditions of one selection.
type postgresConditions struct {
	s *selection
	// quals are conditions of joins, whose names can't be resolved before the
	// whole FROM clause is read.
	quals map[*join]any
}

func (c postgresConditions) add(alias string, name conj.TableName, base bool) *join {
	c.s.sources = append(c.s.sources, &source{alias: alias, name: name, base: base})
	return &join{source: len(c.s.sources) - 1}
}

func (c postgresConditions) source(item any, visible *ctes) *join {
	o, _ := item.(object)
	for kind, body := range o {
		b, _ := body.(object)
		alias := text(get(b, "alias"), "aliasname")
		switch kind {
		case "RangeVar":
			n := postgresName(b)
			base := n.Schema != "" || !visible.has(n.Name)
			if get(b, "alias")["colnames"] != nil {
				base = false // renamed columns
			}
			if alias == "" {
				alias = n.Name
			}
			return c.add(alias, n, base)
		case "JoinExpr":
			j := &join{source: -1, kind: map[any]joinKind{"JOIN_LEFT": left, "JOIN_RIGHT": right, "JOIN_FULL": full}[b["jointype"]]}
			j.left, j.right = c.source(b["larg"], visible), c.source(b["rarg"], visible)
			if using, ok := b["usingClause"].([]any); ok {
				for _, name := range using {
					c.s.use(j, text(get(name, "String"), "sval"))
				}
			}
			c.s.unclear = c.s.unclear || b["isNatural"] == true
			if quals, ok := b["quals"]; ok {
				c.quals[j] = quals
			}
			if alias != "" { // hides what is inside
				c.add(alias, conj.TableName{}, false)
			}
			return j
		}
		return c.add(alias, conj.TableName{}, false)
	}
	return c.add("", conj.TableName{}, false)
}

func (c postgresConditions) resolveJoins(j *join) {
	if j.source >= 0 {
		return
	}
	c.resolveJoins(j.left)
	c.resolveJoins(j.right)
	if quals, ok := c.quals[j]; ok {
		c.s.lo, c.s.hi = j.bounds()
		j.on = c.cond(quals)
	}
}

// cond reads a condition.
func (c postgresConditions) cond(item any) *cond {
	o, _ := item.(object)
	for kind, body := range o {
		b, _ := body.(object)
		switch kind {
		case "BoolExpr":
			args, _ := b["args"].([]any)
			out := &cond{kind: map[any]condKind{"AND_EXPR": and, "OR_EXPR": or, "NOT_EXPR": not}[b["boolop"]]}
			for _, arg := range args {
				out.kids = append(out.kids, c.cond(arg))
			}
			return out
		case "A_Const":
			switch v, ok := constantOf(b); {
			case !ok:
			case v == nil:
				return &cond{kind: constant, truth: unknown}
			case v == true:
				return &cond{kind: constant, truth: yes}
			case v == false:
				return &cond{kind: constant, truth: no}
			}
		case "NullTest":
			col, ok := c.column(b["arg"])
			if !ok {
				break
			}
			out := &cond{kind: isNull, col: col}
			if b["nulltesttype"] == "IS_NOT_NULL" {
				return &cond{kind: not, kids: []*cond{out}}
			}
			return out
		case "A_Expr":
			return c.operator(b)
		}
	}
	return &cond{}
}

func (c postgresConditions) operator(b object) *cond {
	name := lastName(b["name"])
	list, _ := get(b["rexpr"], "List")["items"].([]any)
	switch b["kind"] {
	case "AEXPR_OP":
		switch name {
		case "=":
			return c.equal(b["lexpr"], b["rexpr"])
		case "<>":
			return &cond{kind: not, kids: []*cond{c.equal(b["lexpr"], b["rexpr"])}}
		}
	case "AEXPR_OP_ANY":
		elements, ok := get(b["rexpr"], "A_ArrayExpr")["elements"].([]any)
		if v, known := valueOf(b["rexpr"]); known {
			elements, ok = integersOf(v.value)
		}
		if name != "=" || !ok {
			break
		}
		out := &cond{kind: or}
		for _, item := range elements {
			out.kids = append(out.kids, c.equal(b["lexpr"], item))
		}
		return out
	case "AEXPR_IN":
		out := &cond{kind: or}
		for _, item := range list {
			out.kids = append(out.kids, c.equal(b["lexpr"], item))
		}
		if name == "<>" {
			return &cond{kind: not, kids: []*cond{out}}
		}
		return out
	case "AEXPR_NOT_DISTINCT", "AEXPR_DISTINCT":
		col, ok := c.column(b["lexpr"])
		v, ok2 := valueOf(b["rexpr"])
		if !ok || !ok2 {
			break
		}
		out := &cond{kind: nullSafe, col: col, values: []operand{v}}
		if b["kind"] == "AEXPR_DISTINCT" {
			return &cond{kind: not, kids: []*cond{out}}
		}
		return out
	}
	return &cond{}
}

func (c postgresConditions) equal(l, r any) *cond {
	lrow, lok := get(l, "RowExpr")["args"].([]any)
	rrow, rok := get(r, "RowExpr")["args"].([]any)
	if lok && rok && len(lrow) == len(rrow) {
		out := &cond{kind: and}
		for i := range lrow {
			out.kids = append(out.kids, c.equal(lrow[i], rrow[i]))
		}
		return out
	}
	lcol, lok := c.column(l)
	rcol, rok := c.column(r)
	lval, lv := valueOf(l)
	rval, rv := valueOf(r)
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

func (c postgresConditions) column(item any) (column, bool) {
	fields, ok := get(item, "ColumnRef")["fields"].([]any)
	if !ok || len(fields) > 3 {
		return column{}, false
	}
	var names [3]string // schema, table, column
	for i, f := range fields {
		names[i+3-len(fields)] = text(get(f, "String"), "sval")
	}
	return c.s.resolve(names[0], names[1], names[2], func(a, b string) bool { return a == b })
}

func valueOf(item any) (operand, bool) {
	o, _ := item.(object)
	if p, ok := o["ParamRef"].(object); ok {
		n, _ := p["number"].(float64)
		return operand{param: int(n)}, n > 0
	}
	if c, ok := o["TypeCast"].(object); ok {
		// To the types of the columns: of another type nothing is said.
		if name := lastName(get(c, "typeName")["names"]); name == "text" || name == "int8" {
			return valueOf(c["arg"])
		}
		return operand{}, false
	}
	if a, ok := o["A_Const"].(object); ok {
		v, known := constantOf(a)
		return operand{value: v}, known
	}
	return operand{}, false
}

// integersOf reads an array of integers in PostgreSQL's text form.
func integersOf(v any) (elements []any, ok bool) {
	s, _ := v.(string)
	if !strings.HasPrefix(s, "{") || !strings.HasSuffix(s, "}") {
		return nil, false
	}
	for _, item := range strings.Split(s[1:len(s)-1], ",") {
		n, err := strconv.Atoi(item)
		if err != nil {
			return nil, false
		}
		elements = append(elements, object{"A_Const": object{"ival": object{"ival": float64(n)}}})
	}
	return elements, true
}

// constantOf reads a literal; zero values are left out of the JSON.
func constantOf(a object) (any, bool) {
	if a["isnull"] == true {
		return nil, true
	}
	if v, ok := a["ival"].(object); ok {
		n, _ := v["ival"].(float64)
		return int64(n), true
	}
	if v, ok := a["sval"].(object); ok {
		return text(v, "sval"), true
	}
	if v, ok := a["boolval"].(object); ok {
		return v["boolval"] == true, true
	}
	return nil, false
}

func postgresName(o object) conj.TableName {
	return conj.TableName{Schema: text(o, "schemaname"), Name: text(o, "relname")}
}

func get(item any, key string) object {
	o, _ := item.(object)
	out, _ := o[key].(object)
	return out
}

func text(o object, key string) string {
	s, _ := o[key].(string)
	return s
}

func lastName(list any) string {
	items, _ := list.([]any)
	if len(items) == 0 {
		return ""
	}
	return strings.ToLower(text(get(items[len(items)-1], "String"), "sval"))
}

func sameConstant(a, b any) truth {
	switch {
	case a == nil || b == nil:
		return unknown
	case a == b:
		return yes
	}
	return no
}

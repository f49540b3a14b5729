package cacheplugin_test

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// documentsListReasons: who is told a reason by Explain or the Observer looks
// for its words in docs/not-cached.md. Reasons are found in the source by how
// they are written, so that a new one can't be left out.
func documentsListReasons(t *testing.T) {
	page := strings.Join(strings.Fields(document(t, "docs/not-cached.md")+document(t, "docs/http.md")), " ")
	reasons := sourceReasons(t)
	require.Greater(t, len(reasons), 60, "reasons are written in another way now: see reasonName")
	for _, reason := range reasons {
		for _, part := range verb.Split(reason.text, -1) {
			if part = strings.Trim(part, " :;,()"); part != "" {
				require.True(t, strings.Contains(page, part), "docs/not-cached.md lacks %q: %s gives the reason %q", part, reason.at, reason.text)
			}
		}
	}
}

var (
	verb         = regexp.MustCompile(`%[a-zA-Z]`)
	reasonName   = regexp.MustCompile(`(?i)^(unknown|skip)$|^reason|(reason|uncacheable|gate|forbidden|unreadable)$`)
	reasonTaking = regexp.MustCompile(`^(noteSkip|giveUp|pass|hide)$`)
)

// reason is a string that says why something is not cached.
type reason struct {
	text string
	at   token.Position
}

// sourceReasons collects the reasons that the packages of the module give.
func sourceReasons(t *testing.T) []reason {
	var found []reason
	for _, dir := range sourceDirs(t) {
		files := token.NewFileSet()
		r := &reasonReader{files: files, named: map[string]string{}}
		var parsed []*ast.File
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			parsed = append(parsed, file)
			r.name(file)
		}
		for _, file := range parsed {
			ast.Inspect(file, r.visit)
		}
		found = append(found, r.found...)
	}
	return found
}

// sourceDirs are the packages by whose reasons queries are not cached.
func sourceDirs(t *testing.T) []string {
	dirs := []string{".", "conj", "decorators"}
	require.NoError(t, filepath.WalkDir("internal", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !d.IsDir():
			return err
		case path == "internal/rows": // why a write drops a table, not why a query isn't cached
			return fs.SkipDir
		}
		dirs = append(dirs, path)
		return nil
	}))
	return dirs
}

// reasonReader reads the reasons of one package.
type reasonReader struct {
	files *token.FileSet
	named map[string]string // constants and errors by their names
	found []reason
}

// name notes what the package's constants and errors say.
func (r *reasonReader) name(file *ast.File) {
	for _, decl := range file.Decls {
		values, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range values.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || len(v.Values) != len(v.Names) {
				continue
			}
			for i, name := range v.Names {
				r.named[name.Name] = r.text(v.Values[i])
				if reasonName.MatchString(name.Name) {
					r.add(v.Values[i])
				}
			}
		}
	}
}

// text is what an expression says: its literals, with %s for what they don't
// tell. It is empty without a literal.
func (r *reasonReader) text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			return constant.StringVal(constant.MakeFromLiteral(e.Value, e.Kind, 0))
		}
	case *ast.Ident:
		return r.named[e.Name]
	case *ast.BinaryExpr:
		left, right := r.text(e.X), r.text(e.Y)
		if left+right == "" {
			return ""
		}
		return left + "%s" + right
	case *ast.CallExpr:
		switch calledName(e) {
		case "Sprintf", "Errorf", "New":
			return r.text(e.Args[0])
		case "Error": // of a named error
			if s, ok := e.Fun.(*ast.SelectorExpr); ok {
				return r.text(s.X)
			}
		}
	}
	return ""
}

func (r *reasonReader) add(e ast.Expr) {
	if text := r.text(e); text != "" {
		r.found = append(r.found, reason{text, r.files.Position(e.Pos())})
	}
}

// visit finds reasons where they are given: to a field or variable, to a
// function, or by one.
func (r *reasonReader) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CompositeLit:
		r.literal(n)
	case *ast.AssignStmt:
		for i, to := range n.Lhs {
			if len(n.Rhs) == len(n.Lhs) && reasonName.MatchString(lastName(to)) {
				r.add(n.Rhs[i])
			}
		}
	case *ast.CallExpr:
		if reasonTaking.MatchString(calledName(n)) && len(n.Args) > 0 {
			r.add(n.Args[0])
		}
	case *ast.FuncDecl:
		r.function(n)
	}
	return true
}

// literal reads the fields Reason and Skip of what isn't an error's event.
func (r *reasonReader) literal(lit *ast.CompositeLit) {
	var given ast.Expr
	for _, element := range lit.Elts {
		field, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		switch {
		case lastName(field.Key) == "Reason", lastName(field.Key) == "Skip":
			given = field.Value
		case lastName(field.Key) == "Kind" && strings.HasSuffix(lastName(field.Value), "Error"):
			return
		}
	}
	if given != nil {
		r.add(given)
	}
}

// function reads what a function returns, if that is a reason: it is called so,
// its result is, or it returns a text and no error where it could.
func (r *reasonReader) function(f *ast.FuncDecl) {
	if f.Body == nil || f.Type.Results == nil {
		return
	}
	at := -1
	var kinds []string
	for _, result := range f.Type.Results.List {
		for range max(1, len(result.Names)) {
			kinds = append(kinds, lastName(result.Type))
		}
		for _, name := range result.Names {
			if reasonName.MatchString(name.Name) {
				at = len(kinds) - 1
			}
		}
	}
	named := len(f.Type.Results.List[0].Names) > 0
	switch {
	case at >= 0:
	case reasonName.MatchString(f.Name.Name):
		at = slices.Index(kinds, "string")
	case !named && len(kinds) == 3 && kinds[1] == "string" && kinds[2] == "error":
		at = 1
	}
	if at < 0 {
		return
	}
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if _, inner := n.(*ast.FuncLit); inner {
			return false
		}
		if ret, ok := n.(*ast.ReturnStmt); ok && len(ret.Results) == len(kinds) {
			r.add(ret.Results[at])
		}
		return true
	})
}

// lastName is the name that an expression ends with.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func calledName(call *ast.CallExpr) string { return lastName(call.Fun) }

// TestExplainOfAFinishedCount: it is the count that is explained, with the key of
// its entry.
func TestExplainOfAFinishedCount(t *testing.T) {
	db, _ := logged(t, nil, nil)
	for name, count := range map[string]func(db *gorm.DB, n *int64) *gorm.DB{
		"model":    func(db *gorm.DB, n *int64) *gorm.DB { return db.Model(&testmodel.Stock{}).Where("qty > ?", 1).Count(n) },
		"table":    func(db *gorm.DB, n *int64) *gorm.DB { return db.Table("tbl_stock").Where("qty > ?", 2).Count(n) },
		"distinct": func(db *gorm.DB, n *int64) *gorm.DB { return db.Model(&testmodel.Stock{}).Distinct("qty").Count(n) },
		"ordered":  func(db *gorm.DB, n *int64) *gorm.DB { return db.Model(&testmodel.Stock{}).Order("qty").Count(n) },
	} {
		t.Run(name, func(t *testing.T) {
			var n int64
			var info cache.Info
			done := count(db.Scopes(cache.WithInfo(&info)), &n)
			require.NoError(t, done.Error)
			x, err := cacheplugin.Explain(done)
			require.NoError(t, err)
			require.Equal(t, cache.Count, x.Op, x.SQL)
			require.True(t, x.Cached, x.Reason)
			require.Equal(t, info.Key, x.Key)
		})
	}
	t.Run("a sum is none", func(t *testing.T) {
		var sum int64
		done := db.Model(&testmodel.Stock{}).Select("coalesce(sum(qty), 0)").Scan(&sum)
		require.NoError(t, done.Error)
		x, err := cacheplugin.Explain(done)
		require.NoError(t, err)
		require.Equal(t, cache.Aggregate, x.Op, x.SQL)
	})
}

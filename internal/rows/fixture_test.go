package rows_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3" // the sqlite3 driver
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/rows"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// session is a rows.Session over a connection: definitions come from a
// catalog, the rest is what a test says.
type session struct {
	conn    rows.Connection
	source  catalog.Querier // where the catalog reads
	catalog *catalog.Catalog
	dialect conj.Dialect
	server  catalog.Server

	schemes     map[string][]conj.Scheme // by the table's ID; unknown of all if nil
	forbidden   []string                 // IDs
	touches     map[string][]string      // by the table's ID
	unknown     []string                 // names that Table doesn't find
	broken      []string                 // names that Table fails on
	absent      bool                     // of every table
	viewsBroken bool                     // ViewPlan fails
	edit        func(*catalog.Table)     // changes a copy of each table that is looked up
	refuse      func(query string) error // called before each query

	queries   []string
	failures  []string
	warnings  []string
	temporary []string
}

var errBroken = errors.New("broken")

func (s *session) before(query string) error {
	s.queries = append(s.queries, query)
	if s.refuse != nil {
		return s.refuse(query)
	}
	return nil
}

func (s *session) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := s.before(query); err != nil {
		return nil, err
	}
	return s.conn.QueryContext(ctx, query, args...)
}

func (s *session) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := s.before(query); err != nil {
		return nil, err
	}
	return s.conn.ExecContext(ctx, query, args...)
}

func (s *session) Table(ctx context.Context, name conj.TableName) (*catalog.Table, error) {
	switch {
	case slices.Contains(s.broken, name.Name):
		return nil, errBroken
	case slices.Contains(s.unknown, name.Name):
		return nil, nil
	}
	table, err := s.catalog.Table(ctx, s.source, name, true)
	if table != nil && s.edit != nil {
		edited := *table
		edited.ForeignKeys = slices.Clone(table.ForeignKeys)
		s.edit(&edited)
		table = &edited
	}
	return table, err
}

func (s *session) Server(context.Context) (catalog.Server, error) { return s.server, nil }

// compile compiles a text by the catalog.
func (s *session) compile(ctx context.Context, text string) (*conj.Plan, error) {
	return conj.Compile(s.dialect, text, func(name conj.TableName) (*conj.Table, error) {
		table, err := s.catalog.Table(ctx, s.source, name, true)
		if err != nil || table == nil {
			return nil, err
		}
		return table.Table, nil
	}, conj.Limits{})
}

func (s *session) ViewPlan(ctx context.Context, text string) (*conj.Plan, error) {
	if s.viewsBroken {
		return nil, errBroken
	}
	return s.compile(ctx, text)
}

func (s *session) Schemes(_ context.Context, table *conj.Table) ([]conj.Scheme, bool) {
	return s.schemes[table.ID], s.schemes != nil
}

func (s *session) Forbids(table *conj.Table) bool { return slices.Contains(s.forbidden, table.ID) }

func (s *session) Touches(table *catalog.Table, _ bool) ([]string, bool) {
	tables, said := s.touches[table.ID]
	return tables, said
}

func (s *session) Absent(*conj.Table) bool { return s.absent }

func (s *session) NoteAbsent(*conj.Table) { s.absent = true }

func (s *session) NoteTemporary(name string) { s.temporary = append(s.temporary, name) }

func (s *session) Failed(_ context.Context, what, table string, _ error) {
	s.failures = append(s.failures, table+": "+what)
}

func (s *session) WarnOnce(_ context.Context, kind, message string, _ ...any) {
	s.warnings = append(s.warnings, kind+": "+message)
}

// sink writes down what it is told, one line for each call.
type sink []string

func (s *sink) Rows(table *conj.Table, changes ...conj.Change) {
	line := "rows " + table.Name
	var images []conj.Image
	for _, c := range changes {
		images = append(images, c.Images()...)
	}
	for _, img := range images {
		values := make([]string, len(img))
		for i, v := range img {
			switch v {
			case "":
				values[i] = "?"
			case conj.NotNull:
				values[i] = "set"
			default:
				values[i] = v.Text()
			}
		}
		line += " (" + strings.Join(values, " ") + ")"
	}
	*s = append(*s, line)
}

func (s *sink) Table(table *conj.Table, _ string) { *s = append(*s, "table "+table.Name) }

func (s *sink) Everything(reason string) { *s = append(*s, "everything: "+reason) }

func noted(s *rows.Statement) []string {
	var lines sink
	s.Note(&lines)
	return lines
}

// write is a statement on an SQLite database of its own, and what is to be
// noted of it.
type write struct {
	tables []string // definitions and rows
	cached []string // queries whose results are cached
	text   string
	args   []any

	arrange func(t *testing.T, s *session, o *rows.Options) // before Begin
	between func(t *testing.T, s *session)                  // after Begin
	outcome func(t *testing.T, s *session, o *rows.Outcome) // before Complete

	// want are the lines that are noted in the end. A test that wants none
	// says so by nothing.
	want []string
	// queries are the statements that were sent for images; nil if the test is
	// not about them.
	queries []string
	// failures are what was reported to have failed.
	failures []string
}

var (
	nothing   []string     // is noted
	noQueries = []string{} // are sent
)

// autocommit sends the statement outside of a transaction.
func autocommit(_ *testing.T, _ *session, o *rows.Options) { o.InTransaction = false }

// maxImages limits the images.
func maxImages(n int) func(*testing.T, *session, *rows.Options) {
	return func(_ *testing.T, _ *session, o *rows.Options) { o.MaxImages = n }
}

func (w *write) run(t *testing.T) *session {
	t.Helper()
	s, options := openSQLite(t, w.tables...)
	s.cache(t, w.cached...)
	if w.arrange != nil {
		w.arrange(t, s, &options)
	}
	plan, err := s.compile(t.Context(), w.text)
	require.NoError(t, err)
	require.NotEmpty(t, plan.Writes, "the text writes nothing")

	statement := rows.Begin(t.Context(), s, options, plan, normalized(t, w.args))
	if w.between != nil {
		w.between(t, s)
	}
	o := rows.Outcome{Affected: -1, LastInsertID: -1}
	var result sql.Result
	if result, o.Err = s.conn.ExecContext(t.Context(), w.text, w.args...); o.Err == nil {
		o.Affected, err = result.RowsAffected()
		require.NoError(t, err)
		o.LastInsertID, err = result.LastInsertId()
		require.NoError(t, err)
	}
	if w.outcome != nil {
		w.outcome(t, s, &o)
	} else {
		require.NoError(t, o.Err)
	}
	statement.Complete(t.Context(), o)
	require.NoError(t, statement.Lost())
	require.Equal(t, w.want, noted(statement))
	require.Equal(t, w.failures, s.failures)
	if w.queries != nil {
		require.Equal(t, w.queries, append(noQueries, s.queries...))
	}
	return s
}

// runAll runs each of some writes as a subtest.
func runAll(t *testing.T, writes map[string]write) {
	t.Helper()
	for name, w := range writes {
		t.Run(name, func(t *testing.T) { w.run(t) })
	}
}

// openSQLite returns a session in a transaction on a new database in memory.
func openSQLite(t *testing.T, statements ...string) (*session, rows.Options) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file::memory:?_foreign_keys=1")
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, text := range statements {
		_, err := db.ExecContext(t.Context(), text)
		require.NoError(t, err, text)
	}
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	s := &session{conn: tx, source: tx, catalog: catalog.New(conj.SQLite), dialect: conj.SQLite, schemes: map[string][]conj.Scheme{}}
	return s, rows.Options{Dialect: conj.SQLite, MaxImages: 100, InTransaction: true}
}

// cache registers the schemes of some queries.
func (s *session) cache(t *testing.T, queries ...string) {
	t.Helper()
	for _, query := range queries {
		plan, err := s.compile(t.Context(), query)
		require.NoError(t, err)
		deps, err := plan.Bind(nil)
		require.NoError(t, err)
		require.NotEmpty(t, deps, query)
		for _, dep := range deps {
			for _, c := range dep.Conjunctions {
				s.schemes[dep.Table.ID] = append(s.schemes[dep.Table.ID], c.Scheme)
			}
		}
	}
}

func (s *session) exec(t *testing.T, text string, args ...any) {
	t.Helper()
	_, err := s.conn.ExecContext(t.Context(), text, args...)
	require.NoError(t, err, text)
}

func normalized(t *testing.T, args []any) rows.Args {
	t.Helper()
	normal := make([]any, len(args))
	for i, arg := range args {
		var err error
		normal[i], err = conj.NormalizeArg(arg)
		require.NoError(t, err, fmt.Sprint(arg))
	}
	return rows.Args{Normal: normal, Sent: args}
}

func tableName(schema, name string) conj.TableName { return conj.TableName{Schema: schema, Name: name} }

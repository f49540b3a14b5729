package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
)

func (a *app) explainCommand() *cobra.Command {
	var dialect, database string
	var columns []string
	cmd := &cobra.Command{
		Use:   "explain SQL [argument...]",
		Short: "Tell what a query's result depends on, or what a statement writes",
		Long: `Tell which rows a query's result depends on: a write of such a row, in its old or
new state, drops the result. Of a statement that writes, tell which rows.

Which values of a column are equal is the database's affair, so the columns' types
matter. Best give the --database. Else describe columns by --column; what is not
described is assumed, and said so. Kinds are integer, boolean, decimal, text,
uuid, bytes, label (an enum), padded-text and folded-text (MySQL's collations that
ignore trailing blanks, and case too), and opaque (anything else: it narrows by IS
NULL only).

Arguments of $1 or ? follow the statement: 34, true, null and text. Quote a text
that looks like one of the others: "'34'".

Redis is not asked. Whether a program caches the query is up to its profiles:
cacheplugin.Explain tells that.`,
		Example: `  cacheplugin explain --dialect postgres "SELECT * FROM users WHERE id = 34"
  cacheplugin explain --dialect mysql --column users.name:folded-text "SELECT * FROM users WHERE name = ?" Ann
  cacheplugin explain --database postgres://localhost/shop "SELECT count(*) FROM orders WHERE user_id = $1" 7`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			x := explainer{app: a, sql: args[0], args: parseArguments(args[1:])}
			if err := x.configure(dialect, database, columns); err != nil {
				return err
			}
			return x.run(cmd.Context(), database)
		},
	}
	f := cmd.Flags()
	f.StringVar(&dialect, "dialect", "", "postgres, mysql (MariaDB too) or sqlite; told by the --database if there is one")
	f.StringVar(&database, "database", "", "`URL` of a database to take the columns from: postgres://..., mysql://user:password@host/db, sqlite:path")
	f.StringArrayVar(&columns, "column", nil, "`table.column:kind`, as often as needed")
	return cmd
}

// parseArguments reads a statement's arguments as a program would pass them.
func parseArguments(texts []string) []any {
	args := make([]any, len(texts))
	for i, text := range texts {
		args[i] = parseArgument(text)
	}
	return args
}

func parseArgument(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	switch text {
	case "null":
		return nil
	case "true", "false":
		return text == "true"
	}
	if len(text) >= 2 && text[0] == '\'' && text[len(text)-1] == '\'' {
		return text[1 : len(text)-1]
	}
	return text
}

// explainer explains one statement.
type explainer struct {
	app     *app
	sql     string
	args    []any
	dialect conj.Dialect
	given   map[string][]conj.Column // by the table's name in lower case
}

// configure reads the flags.
func (x *explainer) configure(dialect, database string, columns []string) error {
	if database != "" {
		d, err := databaseDialect(database)
		if err != nil {
			return usage(err, "write postgres://user:password@host/db, mysql://user:password@host/db or sqlite:path")
		}
		if dialect != "" && dialect != d.String() {
			return usage(fmt.Errorf("--dialect %s and a database of %s", dialect, d), "leave --dialect out")
		}
		if len(columns) > 0 {
			return usage(errors.New("--column and --database"), "leave --column out: the database knows its columns")
		}
		dialect = d.String()
	}
	var ok bool
	if x.dialect, ok = conj.DialectOf(dialect); !ok {
		return usage(fmt.Errorf("--dialect is %q", dialect), "it is postgres, mysql or sqlite")
	}
	x.given = map[string][]conj.Column{}
	for _, text := range columns {
		name, kindName, ok := strings.Cut(text, ":")
		dot := strings.LastIndex(name, ".")
		if !ok || dot <= 0 || dot == len(name)-1 {
			return usage(fmt.Errorf("--column %s", text), "write table.column:kind, such as users.id:integer")
		}
		kind, ok := conj.ParseKind(kindName)
		if !ok {
			return usage(fmt.Errorf("--column %s: there is no kind %q", text, kindName), "see cacheplugin explain --help")
		}
		table := strings.ToLower(name[:dot])
		x.given[table] = append(x.given[table], conj.Column{Name: name[dot+1:], Kind: kind})
	}
	return nil
}

// explanation is the outcome of the command.
type explanation struct {
	SQL       string `json:"sql"`
	Dialect   string `json:"dialect"`
	Operation string `json:"operation"`
	// Cacheable is false, with a Reason, of what is never cached by itself.
	Cacheable bool   `json:"cacheable"`
	Reason    string `json:"reason,omitempty"`
	// Assumed are the columns whose kinds are guessed.
	Assumed []string                `json:"assumed_columns,omitempty"`
	Depends []explanationDependency `json:"depends_on,omitempty"`
	Writes  []explanationWrite      `json:"writes,omitempty"`
	// Notes are further remarks.
	Notes []string `json:"notes,omitempty"`
}

type explanationDependency struct {
	Table string `json:"table"`
	// Rows are conditions one of which a row must meet to matter.
	Rows []string `json:"rows"`
	// Columns are those of which an update must change one to matter; nil if any
	// may be one.
	Columns []string `json:"columns,omitempty"`
}

type explanationWrite struct {
	Table     string `json:"table"`
	Statement string `json:"statement"`
	// Wide says why all of the table is dropped.
	Wide string `json:"wide,omitempty"`
}

func (x *explainer) run(ctx context.Context, database string) error {
	var assumed []string
	lookup := x.assume(&assumed)
	if database != "" {
		db, err := openDatabase(ctx, x.dialect, database, x.app.timeout)
		if err != nil {
			return &failure{exitConnection, err, "is the database running, and reachable from here? Give its address by --database"}
		}
		defer db.Close()
		lookup = db.lookup(ctx)
	}
	plan, err := conj.Compile(x.dialect, x.sql, lookup, conj.Limits{})
	if err != nil {
		return &failure{exitConnection, err, "the catalog of the database could not be read"}
	}
	out := explanation{SQL: x.sql, Dialect: x.dialect.String(), Operation: operation(plan), Assumed: assumed}
	out.describe(plan, x.args)
	for _, name := range plan.Names {
		if !slices.ContainsFunc(plan.Tables, func(t *conj.Table) bool { return strings.EqualFold(t.Name, name.Name) }) {
			out.Notes = append(out.Notes, "the database has no table "+name.String())
		}
	}
	return x.app.print(&out)
}

// describe fills in what a plan means with some arguments.
func (out *explanation) describe(plan *conj.Plan, args []any) {
	for _, w := range plan.Writes {
		name := w.Name.String()
		if w.Table != nil {
			name = w.Table.ID
		}
		out.Writes = append(out.Writes, explanationWrite{name, w.Statement.String(), w.Wide})
	}
	switch {
	case plan.Statement != conj.Select:
		out.Reason = "not a SELECT"
		return
	case plan.Skip != "":
		out.Reason = plan.Skip
	case plan.Volatile != "":
		out.Reason = "volatile: " + plan.Volatile + "; only opt-in, with a timeout"
	case len(plan.Hidden) > 0:
		out.Reason = plan.Hidden[0].Reason + "; only where its tables are listed in DependsOn"
	default:
		out.Cacheable = true
	}
	deps, err := plan.Bind(args)
	if err != nil {
		out.Notes = append(out.Notes, err.Error()+": give the statement's arguments after it")
		return
	}
	joined := plan.Joined(deps)
	for _, dep := range deps {
		d := explanationDependency{Table: dep.Table.ID, Rows: []string{}}
		if i := slices.IndexFunc(joined, func(j *conj.Joined) bool { return j.Table == dep.Table }); i >= 0 {
			d.Rows = append(d.Rows, "keys of joined rows: "+strings.Join(joined[i].Columns(), ", "))
			d.Columns = dep.Table.Used(joined[i].Scheme)
			out.Depends = append(out.Depends, d)
			continue
		}
		for _, c := range dep.Conjunctions {
			d.Rows = append(d.Rows, conditionText(c))
		}
		d.Columns = dep.Used()
		out.Depends = append(out.Depends, d)
	}
}

// operation is the operation that a profile would have to list.
func operation(plan *conj.Plan) string {
	if plan.Statement != conj.Select {
		return plan.Statement.String()
	}
	op := cache.Fetch
	switch plan.Shape {
	case conj.Count:
		op = cache.Count
	case conj.Exists:
		op = cache.Exists
	case conj.Aggregate:
		op = cache.Aggregate
	default:
		if plan.Single {
			op = cache.Get
		}
	}
	return op.String()
}

func conditionText(c conj.Conjunction) string {
	var terms []string
	for _, t := range c.Terms {
		if t.Value == conj.Null {
			terms = append(terms, t.Column+" is null")
		} else {
			terms = append(terms, t.Column+" = "+t.Value.Text())
		}
	}
	if len(terms) == 0 {
		return "any value"
	}
	return strings.Join(terms, " and ")
}

func (out *explanation) text(w io.Writer) {
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	line("%s", out.SQL)
	line("  operation: %s", out.Operation)
	switch {
	case out.Cacheable:
		line("  can be cached, if the profile of its table lists the operation")
	default:
		line("  not cached: %s", out.Reason)
	}
	for _, d := range out.Depends {
		if len(d.Rows) == 0 {
			line("  no row of %s matters", d.Table)
		}
		for _, row := range d.Rows {
			line("  dropped by rows of %s with %s", d.Table, row)
		}
		if len(d.Columns) > 0 {
			line("  by updates of %s only if they change one of %s", d.Table, strings.Join(d.Columns, ", "))
		}
	}
	for _, write := range out.Writes {
		switch write.Wide {
		case "":
			line("  writes %s (%s): drops what depends on the rows that it changes", write.Table, write.Statement)
		default:
			line("  writes %s (%s): drops all that reads the table: %s", write.Table, write.Statement, write.Wide)
		}
	}
	if len(out.Assumed) > 0 {
		line("  assumed: %s (give --column or --database if that is wrong)", strings.Join(out.Assumed, ", "))
	}
	for _, note := range out.Notes {
		line("  note: %s", note)
	}
}

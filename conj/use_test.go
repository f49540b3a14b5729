package conj_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
)

func TestUsedColumns(t *testing.T) {
	columns := func(names ...string) (list []conj.Column) {
		for _, name := range names {
			list = append(list, conj.Column{Name: name, Kind: conj.Integer})
		}
		return list
	}
	var all []string // nil: any update may matter
	for text, want := range map[string][]string{
		"SELECT count(*) FROM articles":                                                               {},
		"SELECT 1 FROM articles":                                                                      {},
		"SELECT count(*) FROM articles WHERE status = 1":                                              {"status"},
		"SELECT count(views) FROM articles WHERE status > 1":                                          {"status", "views"},
		"SELECT id, title FROM articles WHERE tag_id = 1":                                             {"id", "title", "tag_id"},
		"SELECT a.ID, a.title AS t FROM articles a":                                                   {"id", "title"},
		"SELECT a.title AS views FROM articles a ORDER BY views":                                      {"title", "views"},
		"SELECT title FROM articles ORDER BY views DESC, id LIMIT 3":                                  {"id", "title", "views"},
		"SELECT status, count(*) FROM articles GROUP BY status HAVING sum(views) > 1":                 {"status", "views"},
		"SELECT DISTINCT title FROM articles":                                                         {"title"},
		"SELECT * FROM articles":                                                                      all,
		"SELECT articles.* FROM articles":                                                             all,
		"SELECT count(*) FROM (SELECT * FROM articles) AS x":                                          all,
		"SELECT count(*) FROM (SELECT id FROM articles) AS x":                                         {"id"},
		"WITH x AS (SELECT title FROM articles) SELECT * FROM x":                                      {"title"},
		"SELECT 2 * views FROM articles":                                                              {"views"},
		"SELECT row_to_json(a) FROM articles a":                                                       all,
		"SELECT (a).title FROM articles a":                                                            all,
		"SELECT md5(a.*::text) FROM articles a":                                                       all,
		"SELECT 1 FROM articles a WHERE a.* IS NOT NULL":                                              all,
		"SELECT count(a.*) FROM articles a":                                                           all,
		"SELECT 1 FROM articles ORDER BY articles":                                                    all,
		`SELECT U&"\0074itle" FROM articles`:                                                          all,
		"SELECT " + strings.Repeat("a", 64) + " FROM articles":                                        all,
		"SELECT x.title FROM articles " + strings.Repeat("a", 64):                                     all,
		"SELECT q.title FROM articles a":                                                              all,
		"SELECT q.* FROM articles a":                                                                  all,
		"SELECT 1 FROM (articles NATURAL JOIN tags)":                                                  all,
		"SELECT 1 FROM tags WHERE EXISTS (SELECT 1 FROM tags NATURAL LEFT JOIN articles)":             all,
		"SELECT pg_catalog.upper(public.articles.title) FROM public.articles":                         {"title"},
		"SELECT a.title FROM articles a WHERE a.xmin = 5":                                             all,
		"SELECT a.something FROM articles a":                                                          all,
		"SELECT id FROM articles a NATURAL JOIN tags":                                                 all,
		"SELECT title FROM articles JOIN tags ON tags.id = tag_id":                                    {"title", "tag_id"},
		"SELECT name FROM articles JOIN tags ON tags.id = tag_id":                                     {"tag_id"},
		"SELECT name FROM articles JOIN tags USING (id)":                                              {"id"},
		"SELECT tags.* FROM articles JOIN tags ON tags.id = tag_id":                                   {"tag_id"},
		"SELECT name FROM tags WHERE id IN (SELECT tag_id FROM articles)":                             {"id", "tag_id"},
		"SELECT name, (SELECT max(views) FROM articles WHERE tag_id = tags.id) FROM tags":             {"views", "tag_id"},
		"SELECT name FROM tags WHERE EXISTS (SELECT * FROM articles WHERE tag_id = tags.id)":          all,
		"SELECT name FROM tags WHERE EXISTS (SELECT 1 FROM articles WHERE tag_id = tags.id)":          {"tag_id"},
		"SELECT title FROM articles UNION SELECT name FROM tags":                                      {"title"},
		"SELECT x.title FROM articles x JOIN articles y ON y.id = x.tag_id":                           {"id", "title", "tag_id"},
		"SELECT title FROM published":                                                                 {"id", "status", "title"},
		"SELECT 'views' FROM articles":                                                                {},
		"SELECT title FROM articles AS a(p, q) WHERE p = 1":                                           all,
		"SELECT row_number() OVER (ORDER BY views) FROM articles":                                     {"views"},
		"SELECT title FROM articles WHERE CASE WHEN status = 1 THEN views = 1 ELSE id = 2 END":        {"id", "status", "title", "views"},
		`SELECT "title" FROM "articles" WHERE "articles"."tag_id" = 1`:                                {"title", "tag_id"},
		"SELECT title FROM articles WHERE id = 1 FOR UPDATE":                                          {"id", "title"},
		"SELECT title, sum(views) OVER w FROM articles WINDOW w AS (PARTITION BY tag_id ORDER BY id)": {"id", "title", "views", "tag_id"},
	} {
		t.Run(text, func(t *testing.T) {
			// New for each text: uses are limited.
			articles := conj.NewTable("main.articles", "articles", columns("id", "status", "title", "views", "tag_id"))
			tags := conj.NewTable("main.tags", "tags", columns("id", "name", "color"))
			published := conj.NewTable("main.published", "published", columns("id", "title"))
			published.View = &conj.View{Query: "SELECT id, title FROM articles WHERE status = 1"}
			tables := map[string]*conj.Table{"articles": articles, "tags": tags, "published": published}
			lookup := func(n conj.TableName) (*conj.Table, error) { return tables[n.Name], nil }
			plan, err := conj.Compile(conj.PostgreSQL, text, lookup, conj.Limits{})
			require.NoError(t, err)
			deps, err := plan.Bind(nil)
			require.NoError(t, err)
			for _, d := range deps {
				if d.Table == articles {
					require.Equal(t, want, d.Used())
					return
				}
			}
			require.Fail(t, "the table is not read")
		})
	}
}

func TestManyUsesAreOne(t *testing.T) {
	var columns []conj.Column
	for c := 'a'; c <= 'z'; c++ {
		columns = append(columns, conj.Column{Name: string(c) + "_", Kind: conj.Integer})
	}
	table := conj.NewTable("main.t", "t", columns)
	lookup := func(conj.TableName) (*conj.Table, error) { return table, nil }
	schemes := map[conj.Scheme]bool{}
	for range 2 {
		for _, c := range columns {
			plan, err := conj.Compile(conj.PostgreSQL, "SELECT "+c.Name+" FROM t", lookup, conj.Limits{})
			require.NoError(t, err)
			deps, err := plan.Bind(nil)
			require.NoError(t, err)
			schemes[deps[0].Conjunctions[0].Scheme] = true
			if used := deps[0].Used(); used != nil {
				require.Equal(t, []string{c.Name}, used)
			}
		}
	}
	require.Len(t, schemes, 17, "and one for all others")
}

func TestSchemesOfUses(t *testing.T) {
	columns := []conj.Column{{Name: "a/b", Kind: conj.Integer}, {Name: "c", Kind: conj.Text}, {Name: "*", Kind: conj.Text}}
	table := conj.NewTable("main.t", "t", columns)
	plain := table.Conjunction([]int{0}, []conj.Value{"=1"}).Scheme
	for _, use := range []conj.Use{
		{Any: true}, {DecidesAll: true}, {DisplaysAll: true}, {}, {Deciding: []string{"c"}}, {Displayed: []string{"*", "c"}},
		{Deciding: []string{"*"}, Displayed: []string{"c"}}, {Deciding: []string{"c"}, DisplaysAll: true},
	} {
		s := plain.For(use)
		got := s.Use()
		require.Equal(t, use.Any, got.Any)
		require.Equal(t, use.DecidesAll, got.DecidesAll)
		require.Equal(t, use.DisplaysAll, got.DisplaysAll)
		require.ElementsMatch(t, use.Deciding, got.Deciding)
		require.ElementsMatch(t, use.Displayed, got.Displayed)
		at, ok := table.SchemeColumns(s)
		require.True(t, ok)
		require.Equal(t, []int{0}, at)
		require.Equal(t, plain, s.For(conj.Use{Any: true}))
	}
	for _, broken := range []conj.Scheme{"x", "1:", "1:c1:a", "1:c/", "1:c/1:a", "1:c/x/", "1:c/1:a/2:b", "01:c", "1:c//*x", "-1:c"} {
		_, ok := table.SchemeColumns(broken)
		require.False(t, ok, broken)
		require.True(t, broken.Use().Any, broken)
		require.True(t, table.Touches(broken, []bool{false, false, false}), broken)
	}
}

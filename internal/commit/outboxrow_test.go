package commit

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/change"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
)

// encoded returns the row of what is owed.
func encoded(t require.TestingT, owed debts) outboxRow {
	namespaces, changes, err := encodeRow(owed)
	require.NoError(t, err)
	return outboxRow{namespaces: []byte(namespaces), format: rowFormat, changes: []byte(changes)}
}

// What a row says drops what the journal would have dropped, for any images
// and any schemes; a row that had to be cut drops the table.
func TestRow_drops_what_its_journal_would(t *testing.T) {
	kinds := []conj.Kind{conj.Opaque, conj.Integer, conj.Text, conj.Bytes, conj.UUID, conj.Unreadable}
	values := []conj.Value{"", conj.Null, conj.NotNull, "=1", "=", "=\x00\xff", "#hash"}
	rapid.Check(t, func(t *rapid.T) {
		columns := make([]conj.Column, rapid.IntRange(0, 4).Draw(t, "columns"))
		for i := range columns {
			columns[i] = conj.Column{Name: string(rune('a' + i)), Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
		}
		table := conj.NewTable("public.t\"\n", "t", columns)
		j := New(Options{MaxImages: 1000}).NewJournal(conj.PostgreSQL)
		ns := &namespace.Namespace{ID: string(rapid.SliceOf(rapid.Byte()).Draw(t, "namespace"))}
		images := make([]conj.Image, rapid.IntRange(0, 5).Draw(t, "images"))
		for n := range images {
			images[n] = make(conj.Image, len(columns))
			for i := range columns {
				images[n][i] = rapid.SampledFrom(values).Draw(t, "value")
			}
		}
		var rows []conj.Change
		for i, img := range images {
			row := conj.Change{New: img}
			if i > 0 && rapid.Bool().Draw(t, "an update") {
				row.Old, row.Changed = images[i-1], make([]bool, len(columns))
				for i := range row.Changed {
					row.Changed[i] = rapid.Bool().Draw(t, "changed")
				}
			}
			rows = append(rows, row)
		}
		j.AddRows(ns, table, rows...)
		var schemes []conj.Scheme
		for range rapid.IntRange(0, 3).Draw(t, "schemes") {
			var at []int
			var of []conj.Value
			for i := range columns {
				if rapid.Bool().Draw(t, "in the scheme") {
					at, of = append(at, i), append(of, conj.Null)
				}
			}
			scheme := table.Conjunction(at, of).Scheme
			if use := rapid.IntRange(-1, len(columns)-1).Draw(t, "used"); use >= 0 {
				scheme = scheme.For(conj.Use{Displayed: []string{columns[use].Name}})
			}
			schemes = append(schemes, scheme)
		}

		decoded, err := decodeRow(encoded(t, j.owedLocked()))
		require.NoError(t, err)
		require.Equal(t, []string{ns.ID}, decoded.namespaces)
		require.Len(t, decoded.changes, 1)
		require.Zero(t, decoded.changes[0].namespace)
		c := decoded.changes[0].changes
		require.Equal(t, table.ID, c.table)
		require.Equal(t, change.Rows, c.extent)
		want, wantOK := j.changes[changeKey{ns, table.ID}].keys(schemes)
		got, ok := c.keys(schemes)
		if len(images) == 0 {
			require.Empty(t, got)
			return
		}
		if ok { // a column of a kind that can't be told drops the table instead
			require.True(t, wantOK)
			require.Equal(t, want, got)
			return
		}
		for _, c := range columns {
			wantOK = wantOK && c.Kind != conj.Unreadable
		}
		require.False(t, wantOK)
	})
}

func TestRow_extents(t *testing.T) {
	many := make([]conj.Image, maxRowBytes)
	for i := range many {
		many[i] = img("some number", "some kind")
	}
	for name, c := range map[string]struct {
		owed debts
		want string
	}{
		"rows": {
			debts{one: {{table: "t", extent: change.Rows, layout: brands, rows: []conj.Change{{New: img("1", "2")}, {Old: img("1", "2"), New: img("1", "3"), Changed: []bool{false, true}}}}}},
			`[{"n":0,"t":"t","e":"rows","c":[["id","integer"],["kind","integer"]],"r":[{"n":["PTE","PTI"]},{"o":["PTE","PTI"],"n":["PTE","PTM"],"c":"01"}]}]`,
		},
		"a_table": {
			debts{one: {{table: "t", extent: change.Table}}},
			`[{"n":0,"t":"t","e":"table"}]`,
		},
		"a_large_row_names_its_tables_only": {
			debts{one: {{table: "t", extent: change.Rows, layout: brands, rows: conj.Separate(many...)}}},
			`[{"n":0,"t":"t","e":"table"}]`,
		},
		"a_table_that_was_only_fenced": {
			debts{one: {{table: "t", extent: change.Nothing}}},
			`[{"n":0,"t":"t","e":"rows"}]`,
		},
		"everything": {
			debts{one: {{extent: change.Everything}}},
			`[{"n":0,"e":"everything"}]`,
		},
		"a_name_that_JSON_would_change_is_everything": {
			debts{one: {{table: "t", extent: change.Table}, {table: "\xff", extent: change.Table}}},
			`[{"n":0,"e":"everything"}]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			row := encoded(t, c.owed)
			require.Equal(t, `["one"]`, string(row.namespaces))
			require.Equal(t, c.want, string(row.changes))
			_, err := decodeRow(row)
			require.NoError(t, err)
		})
	}
}

func TestDecodeRow_refuses(t *testing.T) {
	for name, c := range map[string]struct {
		row outboxRow
		// where it is known what is meant
		namespaces []string
	}{
		"format_1":                          {outboxRow{namespaces: []byte(`["", ":a"]`), format: "1 " + conj.KeyFormat, changes: []byte(`[{"n":0,"t":"t","w":true}]`)}, []string{"", ":a"}},
		"another_format":                    {outboxRow{namespaces: []byte(`[":a"]`), format: "99", changes: []byte("?")}, []string{":a"}},
		"namespaces_that_are_no_JSON":       {outboxRow{namespaces: []byte("not JSON"), format: rowFormat, changes: []byte("[]")}, nil},
		"no_namespaces":                     {outboxRow{namespaces: []byte("null"), format: rowFormat, changes: []byte("[]")}, nil},
		"a_namespace_that_is_not_escaped":   {outboxRow{namespaces: []byte(`[":%a"]`), format: rowFormat, changes: []byte("[]")}, nil},
		"no_changes":                        {row(`[]`), []string{""}},
		"changes_of_format_1":               {row(`[{"n":0,"t":"t","w":true}]`), []string{""}},
		"an_unknown_extent":                 {row(`[{"n":0,"t":"t","e":"nothing"}]`), []string{""}},
		"everything_of_a_table":             {row(`[{"n":0,"t":"t","e":"everything"}]`), []string{""}},
		"rows_of_no_table":                  {row(`[{"n":0,"e":"rows"}]`), []string{""}},
		"a_namespace_that_is_not_there":     {row(`[{"n":7,"t":"t","e":"table"}]`), []string{""}},
		"an_unknown_kind":                   {row(`[{"n":0,"t":"t","e":"rows","c":[["id","quantum"]]}]`), []string{""}},
		"an_image_of_another_length":        {row(`[{"n":0,"t":"t","e":"rows","c":[["id","text"]],"r":[{"n":[]}]}]`), []string{""}},
		"a_value_that_is_not_in_base64":     {row(`[{"n":0,"t":"t","e":"rows","c":[["id","text"]],"r":[{"n":["="]}]}]`), []string{""}},
		"a_row_without_an_image":            {row(`[{"n":0,"t":"t","e":"rows","c":[["id","text"]],"r":[{}]}]`), []string{""}},
		"changes_of_another_length":         {row(`[{"n":0,"t":"t","e":"rows","c":[["id","text"]],"r":[{"n":[""],"c":"01"}]}]`), []string{""}},
		"changes_that_are_no_digits":        {row(`[{"n":0,"t":"t","e":"rows","c":[["id","text"]],"r":[{"n":[""],"c":"x"}]}]`), []string{""}},
		"what_comes_after_one_that_is_fine": {row(`[{"n":0,"t":"t","e":"table"},{"n":0,"surprise":1}]`), []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			decoded, err := decodeRow(c.row)
			require.ErrorIs(t, err, errRow)
			require.Equal(t, c.namespaces, decoded.namespaces)
		})
	}
}

// row is a row of one namespace.
func row(changes string) outboxRow {
	return outboxRow{namespaces: []byte(`[""]`), format: rowFormat, changes: []byte(changes)}
}

func FuzzDecodeRow(f *testing.F) {
	f.Add([]byte(`[""]`), rowFormat, []byte(`[{"n":0,"t":"t","e":"rows","c":[["a","text"]],"i":[["PTE"]]}]`))
	f.Add([]byte(`["", ":x"]`), rowFormat, []byte(`[{"n":1,"e":"everything"}]`))
	f.Fuzz(func(t *testing.T, namespaces []byte, format string, changes []byte) {
		decoded, err := decodeRow(outboxRow{namespaces: namespaces, format: format, changes: changes})
		if err == nil && len(decoded.changes) == 0 {
			t.Fatal("a row that drops nothing must be an error")
		}
		for _, c := range decoded.changes {
			if c.namespace < 0 || c.namespace >= len(decoded.namespaces) {
				t.Fatal("a namespace that is not there")
			}
			if c.changes.extent == change.Rows {
				c.changes.keys([]conj.Scheme{"", conj.MakeScheme([]string{"a"})})
			}
		}
	})
}

func TestOutboxDDL(t *testing.T) {
	for d, want := range map[conj.Dialect]string{
		conj.PostgreSQL: `CREATE TABLE IF NOT EXISTS "app"."cache""box" (id text PRIMARY KEY, `,
		conj.MySQL:      "CREATE TABLE IF NOT EXISTS `app`.`cache\"box` (id varbinary(32) PRIMARY KEY, ",
		conj.SQLite:     `CREATE TABLE IF NOT EXISTS "app"."cache""box" (id text PRIMARY KEY, `,
	} {
		t.Run(d.String(), func(t *testing.T) {
			ddl := OutboxDDL(d, `app.cache"box`)
			require.True(t, strings.HasPrefix(ddl, want), ddl)
		})
	}
}

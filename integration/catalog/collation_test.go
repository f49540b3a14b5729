package catalog

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// TestFoldedCollationsKeepASCIIApart lets the server group all texts of one
// and two printable characters by each collation that is taken to ignore
// nothing but case and trailing blanks among them.
func TestFoldedCollationsKeepASCIIApart(t *testing.T) {
	db := on(t, testenv.MariaDB)
	var texts []any
	for a := byte(0x20); a <= 0x7e; a++ {
		texts = append(texts, string(a))
		for b := byte(0x20); b <= 0x7e; b++ {
			texts = append(texts, string([]byte{a, b}))
		}
	}
	exec(t, db, "CREATE TABLE texts (c varchar(4) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin)")
	_, err := db.ExecContext(t.Context(), "INSERT INTO texts VALUES (?)"+strings.Repeat(", (?)", len(texts)-1), texts...)
	require.NoError(t, err)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = conn.ExecContext(t.Context(), "SET SESSION group_concat_max_len = 1000000")
	require.NoError(t, err)

	column := conj.Column{Name: "c", Kind: conj.FoldedText}
	folded := foldedCollations(t, db)
	require.Greater(t, len(folded), 10)
	for _, collation := range folded {
		charset, _, _ := strings.Cut(collation, "_")
		rows, err := conn.QueryContext(t.Context(), fmt.Sprintf("SELECT GROUP_CONCAT(HEX(c)) FROM texts GROUP BY CONVERT(c USING %s) COLLATE %s", charset, collation))
		require.NoError(t, err, collation)
		groups := 0
		for rows.Next() {
			var joined string
			require.NoError(t, rows.Scan(&joined))
			groups++
			forms := make(map[conj.Value]bool)
			for _, digits := range strings.Split(joined, ",") {
				text, err := hex.DecodeString(digits)
				require.NoError(t, err)
				forms[column.FromRow(conj.MySQL, text)] = true
			}
			require.Len(t, forms, 1, "%s: %s", collation, joined)
		}
		require.NoError(t, rows.Err())
		require.Greater(t, groups, 1000, collation)
	}
}

// foldedCollations are those of the server's collations whose columns the catalog
// takes for folded text.
func foldedCollations(t *testing.T, db *sql.DB) (folded []string) {
	t.Helper()
	var names []string
	rows, err := db.QueryContext(t.Context(), "SHOW COLLATION")
	require.NoError(t, err)
	columns, err := rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, rows.Scan(into...))
		name, charset := values[0].String, values[1].String
		if charset == "" { // of any Unicode character set
			names = append(names, "utf8mb4_"+name, "utf8mb3_"+name)
			continue
		}
		names = append(names, name)
	}
	require.NoError(t, rows.Err())
	c := catalog.New(conj.MySQL)
	for n, some := range slices.Collect(slices.Chunk(names, 200)) {
		table := fmt.Sprint("collated", n)
		var columns []string
		for i, name := range some {
			columns = append(columns, fmt.Sprintf("c%d varchar(4) COLLATE %s", i, name))
		}
		exec(t, db, "CREATE TABLE "+table+" ("+strings.Join(columns, ", ")+")")
		of := kinds(read(t, c, db, table))
		for i, name := range some {
			if of[fmt.Sprint("c", i)] == conj.FoldedText {
				folded = append(folded, name)
			}
		}
	}
	return folded
}

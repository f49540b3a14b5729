package crosscheck

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// constructs are statements that the corpus lacks.
var constructs = []string{
	"WITH RECURSIVE c(a) AS (SELECT 1 UNION ALL SELECT a+1 FROM c) SELECT * FROM c JOIN users ON c.a = users.id WHERE users.id = 1",
	"SELECT a, count(*) OVER (PARTITION BY c ORDER BY d) FROM users LEFT JOIN posts USING (id) WHERE (a,b) IN ((1,2),(3,4)) GROUP BY 1 HAVING count(*) > 1",
	"SELECT * FROM ((SELECT 1) UNION (SELECT id FROM posts WHERE user_id = 2)) x",
	"SELECT CASE WHEN a THEN 1 ELSE (SELECT 2 FROM posts) END FROM users AS u WHERE u.id = 3 OR NOT (u.age = 4 AND u.name IS NULL) FOR UPDATE",
	"INSERT INTO users (id, age) VALUES (1, DEFAULT), (2, (SELECT 1 FROM posts))",
	"UPDATE users SET age = 1 WHERE id = 1 AND name = 'x' OR age IS NULL",
	"DELETE FROM users WHERE id IN (1, 2) AND NOT name = 'x'",
	"SELECT * FROM users u JOIN posts p ON p.user_id = u.id AND u.id = 5 LEFT JOIN labels l ON l.id = p.id WHERE l.id = 1 OR l.id IS NULL",
	"SELECT * FROM users WHERE id = 1 AND name = 'it''s' -- AND age = 2\n OR /* x */ age = 3",
	"SELECT * FROM users WHERE EXISTS (SELECT 1 FROM posts WHERE posts.user_id = users.id AND posts.id = 1) AND age BETWEEN 1 AND 2 AND id = 3",
	"SELECT * FROM users, (SELECT * FROM posts WHERE id = 1) p WHERE users.id = p.user_id AND 1 = 1 AND users.age <> 4",
	"SELECT * FROM a CROSS JOIN b JOIN c ON c.id = a.id AND b.id = 1 WHERE c.id = 2",
	"SELECT * FROM a LEFT JOIN (b JOIN c ON b.id = c.id AND c.id = 1) ON a.id = b.id WHERE a.id = 2",
}

// fuzz compares whatever the fuzzer makes with a dialect's parser.
func fuzz(f *testing.F, x dialect, corpora ...string) {
	var texts []string
	for _, name := range corpora {
		for i, text := range corpus(f, name) {
			if i%10 == 0 {
				texts = append(texts, text)
			}
		}
	}
	for _, text := range append(texts, constructs...) {
		f.Add(text)
	}
	x.parse("SELECT 1") // to load a parser takes longer than one input may
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2<<10 || strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 || r == 0 }) {
			t.Skip() // what a byte outside of ASCII means is the connection's to say
		}
		var count tally
		if wrong := x.compare(newSchema(columnsOf([]string{text})), text, rand.New(rand.NewPCG(1, 2)), &count); wrong != "" {
			t.Fatalf("%s\n\t%s", text, wrong)
		}
	})
}

func FuzzPostgres(f *testing.F) { fuzz(f, dialects[0], "select_postgres", "write_postgres") }

func FuzzMySQL(f *testing.F) { fuzz(f, dialects[1], "select_sqlite", "write_sqlite") }

package sqltoken

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var dialects = map[string]Dialect{"postgres": PostgreSQL, "mysql": MySQL, "sqlite": SQLite}

var kindLetters = map[Kind]string{Word: "w", Name: "n", String: "s", Raw: "r", Double: "d", Number: "#", Param: "p", Op: "o", Punct: "."}

// shown writes tokens as kind:text, and a parameter with its index.
func shown(tokens []Token) string {
	var all []string
	for _, t := range tokens {
		switch t.Kind {
		case End:
		case Param:
			all = append(all, fmt.Sprintf("p%d:%s", t.Param, t.Text))
		default:
			all = append(all, kindLetters[t.Kind]+":"+t.Text)
		}
	}
	return strings.Join(all, " ")
}

func guessed(d Dialect, text string) (tokens []Token) {
	s := NewGuessingScanner(d, text)
	for {
		t, err := s.Next()
		if err != nil {
			panic(err)
		}
		if tokens = append(tokens, t); t.Kind == End {
			return tokens
		}
	}
}

func TestTokens(t *testing.T) {
	for _, c := range []struct {
		name string
		d    Dialect
		text string
		want string
	}{
		{"words and names", PostgreSQL, `SELECT "a""b".C1$`, `w:SELECT n:a"b .:. w:C1$`},
		{"names in backticks", MySQL, "`a``b` \"c\"", "n:a`b d:c"},
		{"names in brackets", SQLite, "[a b] `c` \"d\"", "n:a b n:c n:d"},
		{"brackets of an array", PostgreSQL, `a[1:2]`, `w:a .:[ #:1 o:: #:2 .:]`},
		{"strings", PostgreSQL, `'it''s' '' E'a\'b' X'00' $$x$$ $a$ $$ $a$`, `s:it's s: r:'a\'b' r:00 s:x s: $$ `},
		{"numbers", SQLite, `1 1.5 .5 1e-3 0xFF`, `#:1 #:1.5 #:.5 #:1e-3 #:0xFF`},
		{"a name that begins with digits", MySQL, `2fa 3_x`, `n:2fa n:3_x`},
		{"parameters of PostgreSQL", PostgreSQL, `$2 $1 a ? b`, `p1:$2 p0:$1 w:a o:? w:b`},
		{"parameters by position", MySQL, `? ?`, `p0:? p1:?`},
		{"parameters by name", SQLite, `? ?3 :a @b $c`, `p0:? p-1:?3 p-1::a p-1:@b p-1:$c`},
		{"variables", MySQL, "@a @@session.b @`c d`", "o:@a o:@@session.b o:@`c d`"},
		{"operators", PostgreSQL, `a->>'b' <-> -1 @-- x`, `w:a o:->> s:b o:<-> o:- #:1 o:@`},
		{"operators end before a sign", PostgreSQL, `1=-2 1@-2`, `#:1 o:= o:- #:2 #:1 o:@- #:2`},
		{"operators of a fixed list", MySQL, `a<=>b<>-1||c`, `w:a o:<=> w:b o:<> o:- #:1 o:|| w:c`},
		{"casts", PostgreSQL, `a::int := b`, `w:a o::: w:int o::= w:b`},
		{"comments", PostgreSQL, "a -- b\n/* c /* d */ e */ f", `w:a w:f`},
		{"comments don't nest", SQLite, "a /* b /* c */ d /* to the end", `w:a w:d`},
		{"comments of MySQL", MySQL, "a # b\n c --d\n-- e\nf", `w:a w:c o:- o:- w:d w:f`},
	} {
		t.Run(c.name, func(t *testing.T) {
			tokens, err := All(c.d, c.text)
			require.NoError(t, err)
			require.Equal(t, c.want, shown(tokens))
			require.Equal(t, tokens, guessed(c.d, c.text))
		})
	}
}

func TestUncertainTokensFailOrAreGuessed(t *testing.T) {
	for _, c := range []struct {
		name    string
		d       Dialect
		text    string
		err     string
		guessed string
	}{
		{"a backslash in MySQL", MySQL, `'a\'b' c`, "backslash in a string at 2", `s:a\'b w:c`},
		{"a backslash before a quote", PostgreSQL, `'a\' b`, "backslash in a string at 2", `s:a\ w:b`},
		{"an executable comment", MySQL, `a /*!50000 b */ c`, "executable comment at 2", `w:a w:b w:c`},
		{"an executable comment of MariaDB", MySQL, `/*M!100100 a */ b`, "executable comment at 0", `w:a w:b`},
		{"a comment without end", PostgreSQL, `a /* b`, "comment not closed at 2", `w:a`},
		{"a string without end", PostgreSQL, `a 'b; c`, "quote not closed at 2", `w:a s:'b; c`},
		{"an escaped string without end", PostgreSQL, `E'b\`, "string not closed at 0", `r:E'b\`},
		{"a dollar quote without end", PostgreSQL, `$a$ b`, "string not closed at 0", `s:$a$ b`},
		{"a bracket without end", SQLite, `[a b`, "bracket not closed at 0", `n:[a b`},
		{"a variable without end", MySQL, "@`a b", "variable not closed at 0", "o:@`a b"},
		{"a dollar", PostgreSQL, `a $ b`, "stray $ at 2", `w:a o:$ w:b`},
		{"parameter zero", PostgreSQL, `$0`, "bad parameter at 0", `p-1:$0`},
		{"a number in a word", PostgreSQL, `1a`, "number runs into a word at 0", `#:1 w:a`},
		{"NUL", SQLite, "a \x00 b", "NUL byte at 2", "w:a o:\x00 w:b"},
		{"an odd character", SQLite, `a \ b`, `unexpected '\\' at 2`, `w:a o:\ w:b`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := All(c.d, c.text)
			require.EqualError(t, err, c.err)
			require.Equal(t, c.guessed, shown(guessed(c.d, c.text)))
		})
	}
}

func TestTokensAreNamed(t *testing.T) {
	tokens, err := All(SQLite, `"select" Select(`)
	require.NoError(t, err)
	require.False(t, tokens[0].Is("select"), "quoted")
	require.True(t, tokens[1].Is("select"))
	require.True(t, tokens[2].IsPunct('('))
	require.False(t, tokens[2].IsPunct(')'))
}

func TestScanningDoesNotAllocate(t *testing.T) {
	for name, d := range dialects {
		require.Zero(t, testing.AllocsPerRun(100, func() {
			s := NewScanner(d, "SELECT * FROM accounts WHERE id = 1 AND name = 'a;b' -- end")
			for t, _ := s.Next(); t.Kind != End; t, _ = s.Next() {
			}
		}), name)
	}
}

// FuzzScanner checks that a guessing scanner gets to the end, that tokens cover
// the text in order, and that it agrees with a strict one that does not fail.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{"SELECT 1", "/*!40101 x */", `E'\'`, "$a$;$a$", "'", "--", "/*/*", "`;`", "\x80$", "*/", "@`", "1e", "[", "$0", "\x00", "a.b.1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, d := range dialects {
			tokens := guessed(d, text)
			at := 0
			for _, token := range tokens {
				require.GreaterOrEqual(t, token.Start, at, name)
				require.LessOrEqual(t, token.End, len(text), name)
				if token.Kind != End {
					require.Greater(t, token.End, token.Start, name)
				}
				at = token.End
			}
			if strict, err := All(d, text); err == nil {
				require.Equal(t, strict, tokens, name)
			}
		}
	})
}

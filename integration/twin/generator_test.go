package twin

import (
	"math/rand/v2"
	"testing"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
)

// TestGeneratedQueriesAreTaken: a text that the database refuses tests nothing.
func TestGeneratedQueriesAreTaken(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			g := &twinGen{Rand: rand.New(rand.NewPCG(1, 2)), dialect: env.Dialect}
			tw := newTwin(t, env, g, twinCombinations[0])
			const drawn = 300
			refused, composed := 0, 0
			for range drawn {
				q := g.query()
				if a := q.ask(tw.handles[0].truth.Session(&gorm.Session{})); a.refused() {
					refused++
				}
				q = g.compose()
				if a := q.ask(tw.handles[0].truth.Session(&gorm.Session{})); a.refused() {
					composed++
					t.Logf("%s\n  %s", a.err, q.name)
				}
			}
			t.Logf("of %d queries %d are refused, of as many composed ones %d", drawn, refused, composed)
			require.Less(t, refused, drawn/5)
			require.Less(t, composed, drawn/5)
		})
	}
}

// TestGeneratedWritesAreTaken: most must not be syntax errors; a conflict is as
// good as a change.
func TestGeneratedWritesAreTaken(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			g := &twinGen{Rand: rand.New(rand.NewPCG(1, 2)), dialect: env.Dialect}
			tw := newTwin(t, env, g, twinCombinations[0])
			const drawn = 300
			refused := 0
			for range drawn {
				w := g.composeWrite()
				if err := w.run(tw.handles[0].truth); err != nil {
					refused++
					t.Logf("%v\n  %s", err, w.name)
				}
			}
			t.Logf("of %d raw writes %d are refused", drawn, refused)
			require.Less(t, refused, drawn/2)
		})
	}
}

package lookup

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/policy"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

func TestAdmit(t *testing.T) {
	profiled := policy.Policy{Found: true, Ops: cache.Fetch, Timeout: time.Hour}
	plain := &conj.Plan{}
	for _, test := range []struct {
		name      string
		decision  decision
		admission admission
		reason    string // in the admission's
	}{
		{"an operation of the profile", decision{op: cache.Fetch, policy: &profiled, plan: plain}, admission{timeout: time.Hour}, ""},
		{"another operation", decision{op: cache.Get, policy: &profiled, plan: plain}, admission{timeout: time.Hour, uninvited: true}, "not among the operations"},
		{
			"asked for at the call site",
			decision{op: cache.Get, policy: &profiled, plan: plain, query: &Query{settings: &cache.Settings{Ops: cache.All, Lock: true}}},
			admission{timeout: time.Hour, lock: true}, "",
		},
		{
			"without any timeout",
			decision{op: cache.Get, policy: &policy.Policy{}, plan: plain, query: &Query{settings: &cache.Settings{Ops: cache.All}}},
			admission{}, "no timeout",
		},
		{"volatile", decision{op: cache.Fetch, policy: &profiled, plan: plain, volatile: "now()"}, admission{timeout: time.Hour}, "volatile: now()"},
		{
			"volatile, with a timeout of its own",
			decision{op: cache.Fetch, policy: &profiled, plan: plain, volatile: "now()", query: &Query{settings: &cache.Settings{Ops: cache.All, Timeout: time.Second}}},
			admission{timeout: time.Second}, "",
		},
		{
			"volatile, accepted",
			decision{op: cache.Fetch, policy: &profiled, plan: plain, volatile: "now()", query: &Query{settings: &cache.Settings{Ops: cache.All, Volatile: true}}},
			admission{timeout: time.Hour}, "",
		},
		{
			"a function that nobody vouches for",
			decision{op: cache.Fetch, policy: &profiled, plan: plain, unknown: "function f() is not known to be stable"},
			admission{timeout: time.Hour}, "DependsOn",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.decision.query == nil {
				test.decision.query = &Query{}
			}
			a := test.decision.admit()
			if test.reason == "" {
				require.Empty(t, a.reason)
			}
			require.Contains(t, a.reason, test.reason)
			a.reason = ""
			require.Equal(t, test.admission, a)
		})
	}
}

func TestAQueryIsAMissOnceAndThenAHit(t *testing.T) {
	f := newFixture(t, nil)
	require.NoError(t, f.db.Create(&user{ID: 1, TeamID: 2}).Error)
	team := f.db.Model(&user{}).Where("team_id = ?", 2)
	require.Equal(t, []report.Kind{report.Miss, report.Store}, f.ask(t, team))
	require.Equal(t, []report.Kind{report.Hit}, f.ask(t, team))
}

func TestADamagedEntryIsDroppedAndReadAnew(t *testing.T) {
	f := newFixture(t, nil)
	all := f.db.Model(&user{})
	require.Equal(t, []report.Kind{report.Miss, report.Store}, f.ask(t, all))
	entry := f.Namespaces.Home().Store.EntryName(keyOf(t, f, all))
	value, err := f.server.Get(entry)
	require.NoError(t, err)
	require.NoError(t, f.server.Set(entry, value[:len(value)-1]+string(value[len(value)-1]^1)))
	require.Equal(t, []report.Kind{report.Error}, f.ask(t, all))
	require.Equal(t, []report.Kind{report.Miss, report.Store}, f.ask(t, all))
}

// keyOf is the key of a handle's query.
func keyOf(t *testing.T, f *fixture, db *gorm.DB) store.EntryKey {
	t.Helper()
	q := f.query(t, db)
	d, reason, err := f.decide(t.Context(), &q)
	require.NoError(t, err)
	require.Empty(t, reason)
	return d.key
}

// fence keeps a table from taking new results, as a COMMIT that is under way.
func (f *fixture) fence(t *testing.T, table string) {
	t.Helper()
	_, err := f.Namespaces.Home().Store.Fence(t.Context(), store.NewFenceID(), []store.Change{{Table: table}}, time.Minute)
	require.NoError(t, err)
}

// TestComputedValuesAreCountedAsQueriesAre: neither a fence nor an error of
// Redis is a miss.
func TestComputedValuesAreCountedAsQueriesAre(t *testing.T) {
	compute := func(t *testing.T, f *fixture) []report.Kind {
		value, hit, err := f.Compute(f.db, Computation{Name: "sum", Samples: []any{&user{}}, Timeout: time.Minute},
			func(context.Context) ([]byte, error) { return []byte("42"), nil })
		require.NoError(t, err)
		require.Equal(t, "42", string(value))
		require.Equal(t, hit, len(f.events) > 0 && f.events[0].Kind == report.Hit)
		return f.kinds()
	}
	query := func(t *testing.T, f *fixture) []report.Kind { return f.ask(t, f.db.Model(&user{})) }
	for name, run := range map[string]func(*testing.T, *fixture) []report.Kind{"a query": query, "a computation": compute} {
		t.Run(name, func(t *testing.T) {
			t.Run("missing", func(t *testing.T) {
				f := newFixture(t, nil)
				require.Equal(t, []report.Kind{report.Miss, report.Store}, run(t, f))
				require.Equal(t, []report.Kind{report.Hit}, run(t, f))
			})
			t.Run("fenced", func(t *testing.T) {
				f := newFixture(t, nil)
				f.fence(t, "main.users")
				require.Equal(t, []report.Kind{report.Skip}, run(t, f))
				require.Zero(t, f.Report.Stats().Misses)
			})
			t.Run("Redis fails", func(t *testing.T) {
				f := newFixture(t, nil)
				f.server.SetError("LOADING")
				require.Equal(t, []report.Kind{report.Error}, run(t, f))
				require.Zero(t, f.Report.Stats().Misses)
			})
		})
	}
}

type unstored struct{ error }

func (unstored) Unstored() string { return "somebody's own" }

func TestAFunctionMayKeepItsValueFromTheCache(t *testing.T) {
	f := newFixture(t, nil)
	for range 2 {
		value, hit, err := f.Compute(f.db, Computation{Name: "page", Timeout: time.Minute}, func(context.Context) ([]byte, error) {
			return []byte("x"), fmt.Errorf("render: %w", unstored{errors.New("private")})
		})
		require.NoError(t, err)
		require.False(t, hit)
		require.Equal(t, "x", string(value))
		require.Equal(t, []report.Kind{report.Miss, report.Skip}, f.kinds())
	}
}

func TestReasonsOfQueriesThatAreNotLookedUp(t *testing.T) {
	f := newFixture(t, nil)
	for _, test := range []struct {
		name, reason string
		query        func() Query
	}{
		{"NoCache", "NoCache", func() Query { return f.query(t, f.db.Scopes(cache.NoCache()).Model(&user{})) }},
		{"no table", "reads no table", func() Query { return f.query(t, f.db.Raw("SELECT 1")) }},
		{"not a SELECT", "not a SELECT", func() Query { return f.query(t, f.db.Raw("UPDATE users SET team_id = 1")) }},
		{"a parameter without a form", "a type that has no stable form", func() Query {
			return f.query(t, f.db.Model(&user{}).Scopes(cache.Cache(cache.Extra(struct{ F func() }{}))))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := test.query()
			_, reason, err := f.decide(t.Context(), &q)
			require.NoError(t, err)
			require.Contains(t, reason, test.reason)
		})
	}
}

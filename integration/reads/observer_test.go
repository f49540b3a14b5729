package reads

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func TestObserversTellsEachInOrder(t *testing.T) {
	var told []string
	named := func(name string) cacheplugin.Observer {
		return cacheplugin.ObserverFunc(func(_ context.Context, e cacheplugin.Event) {
			told = append(told, name+" "+e.Kind.String())
		})
	}
	cacheplugin.Observers(named("a"), nil, named("b")).Observe(t.Context(), cacheplugin.Event{Kind: cacheplugin.EventHit})
	require.Equal(t, []string{"a hit", "b hit"}, told)

	require.Nil(t, cacheplugin.Observers())
	require.Nil(t, cacheplugin.Observers(nil, nil), "nothing is measured for nobody")
}

func TestEventsOfLookUpsSayHowLongTheyTook(t *testing.T) {
	type Measured struct{ ID int }
	f := fixture.New(t, testenv.NeedSQLite(t), fixture.Options{Models: []any{&Measured{}}})
	var rows []Measured
	for _, kind := range []cacheplugin.EventKind{cacheplugin.EventMiss, cacheplugin.EventHit} {
		f.Events.Take()
		require.NoError(t, f.DB.Find(&rows).Error)
		events := f.Events.Take()
		require.Equal(t, kind, events[0].Kind)
		require.Positive(t, events[0].Duration)
	}
}

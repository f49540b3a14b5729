package replication

import (
	"crypto/rand"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// group is a Redis that fails over.
type group struct {
	client redis.UniversalClient
	// cutOff has the replica that is going to be promoted hear of nothing any more.
	cutOff func()
	// fail kills the master and waits until there is another one.
	fail func()
}

func sentinelGroup(t *testing.T, _ string) group {
	t.Helper()
	s := testenv.StartSentinel(t)
	return group{
		client: s.Client(t),
		cutOff: func() {
			for _, replica := range s.Replicas(t) {
				replica.AwaitMaster(t, s.Master(t))
				replica.Detach(t)
			}
		},
		fail: func() {
			killed := s.Master(t)
			killed.Kill(t)
			require.NotSame(t, killed, s.Master(t))
		},
	}
}

func clusterGroup(t *testing.T, prefix string) group {
	t.Helper()
	c := testenv.StartCluster(t)
	client := c.Client(t)
	slot, err := client.ClusterKeySlot(t.Context(), "{"+prefix+"}").Result()
	require.NoError(t, err)
	return group{
		client: client,
		cutOff: func() {
			master := c.Owner(t, int(slot))
			replica := c.Replica(t, master)
			replica.AwaitMaster(t, master)
			replica.Detach(t)
		},
		fail: func() {
			killed := c.Owner(t, int(slot))
			killed.Kill(t)
			require.NotSame(t, killed, c.Owner(t, int(slot)))
		},
	}
}

// The replica that takes over has never heard of what a follower has told last, nor of
// its position. What nobody could be told of meanwhile is told then.
func TestA_follower_goes_on_after_a_failover_of_Redis(t *testing.T) {
	for name, start := range map[string]func(*testing.T, string) group{"sentinel": sentinelGroup, "cluster": clusterGroup} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait for elections
			for _, database := range []string{testenv.Postgres, testenv.MariaDB} {
				t.Run(database, func(t *testing.T) {
					prefix := "test-" + rand.Text()
					g := start(t, prefix)
					followThroughFailover(t, on(t, database, fixture.Options{Config: cacheplugin.Config{Redis: g.client, Prefix: prefix}}), g)
				})
			}
		})
	}
}

func followThroughFailover(t *testing.T, s subject, g group) {
	t.Helper()
	execute(t, s.Fixture, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', ''), (2, 2, 'Helium', '')")
	p := s.make(t, s.Fixture)
	run(t, p)
	execute(t, s.Fixture, "UPDATE articles SET text = 'x' WHERE id = 1")
	s.told(t, s.Fixture, p)
	one, two := titles(t, s.Fixture, 1), titles(t, s.Fixture, 2)
	outcomes(s.Fixture, one, two)
	require.Equal(t, "hit hit", outcomes(s.Fixture, one, two))

	g.cutOff()
	execute(t, s.Fixture, "UPDATE articles SET title = 'told to the old master' WHERE id = 1")
	s.told(t, s.Fixture, p)
	g.fail()
	execute(t, s.Fixture, "UPDATE articles SET title = 'told to the new one' WHERE id = 2")
	s.told(t, s.Fixture, p)
	require.Equal(t, "told to the old master", shown(t, s.Fixture, 1))
	require.Equal(t, "told to the new one", shown(t, s.Fixture, 2))
	eventually(t, func() bool { return outcomes(s.Fixture, one, two) == "hit hit" }, "it is cached again")
	execute(t, s.Fixture, "UPDATE articles SET title = 'later' WHERE id = 1")
	s.told(t, s.Fixture, p)
	require.Equal(t, "miss hit", outcomes(s.Fixture, one, two))
	require.Equal(t, "later", shown(t, s.Fixture, 1))
	require.EqualValues(t, 1, p.Status().Lost, "when it began for the first time")
}

// shown is the title that readers are shown of an article.
func shown(t testing.TB, f *fixture.Fixture, tag int64) string {
	t.Helper()
	var found []article
	require.NoError(t, f.DB.Where("tag_id = ?", tag).Order("id").Find(&found).Error)
	require.Len(t, found, 1)
	return found[0].Title
}

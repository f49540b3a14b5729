package testenv

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestSentinelsPromoteAReplicaOfAKilledMaster(t *testing.T) {
	t.Parallel() // with one another: they wait for elections
	ctx := context.Background()
	s := StartSentinel(t)
	client := s.Client(t)
	require.NoError(t, client.Set(ctx, "k", "v", 0).Err())
	first := s.Master(t)
	for _, replica := range s.Replicas(t) {
		replica.AwaitMaster(t, first)
		replica.Detach(t)
	}
	require.NoError(t, client.Set(ctx, "k", "new", 0).Err())
	first.Kill(t)
	second := s.Master(t)
	require.NotSame(t, first, second)
	require.Equal(t, "v", second.do(t, "GET", "k"), "the promoted replica was cut off")
	await(t, "the client finds the new master", func() bool { return client.Get(ctx, "k").Val() == "v" })
}

func TestAClusterSurvivesAMasterAndMovesSlots(t *testing.T) {
	t.Parallel() // with one another: they wait for elections
	ctx := context.Background()
	c := StartCluster(t)
	client := c.Client(t)
	for _, key := range []string{"{a}1", "{a}2", "b", "c"} {
		require.NoError(t, client.Set(ctx, key, "v", 0).Err())
	}
	slot := int(client.ClusterKeySlot(ctx, "{a}1").Val())
	owner := c.Owner(t, slot)
	replica := c.Replica(t, owner)

	other := c.Masters(t)[0]
	if other == owner {
		other = c.Masters(t)[1]
	}
	move := c.StartMove(t, slot, other)
	require.ElementsMatch(t, []string{"{a}1", "{a}2"}, move.Keys(t))
	move.Key(t, "{a}1")
	require.Equal(t, "v", client.Get(ctx, "{a}1").Val())
	_, err := owner.try("MGET", "{a}1", "{a}2")
	require.True(t, redis.HasErrorPrefix(err, "TRYAGAIN"), "%v", err)
	move.Finish(t)
	require.Equal(t, "v", client.Get(ctx, "{a}2").Val())
	require.Same(t, other, c.Owner(t, slot))

	me, err := owner.myself()
	require.NoError(t, err)
	left := 0
	for !me.owns(left) {
		left++
	}
	replica.AwaitMaster(t, owner)
	owner.Kill(t)
	c.Takeover(t, replica, left)
	require.Same(t, replica, c.Owner(t, left))
}

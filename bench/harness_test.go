package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestWhatALapDoesAsideIsNotMeasured(t *testing.T) {
	trips := new(atomic.Int64)
	var sink []byte
	c := contender{trips: trips, run: func(_ context.Context, l *lap) error {
		for range l.n {
			trips.Add(1)
			if err := l.aside(func() error {
				trips.Add(100)
				for range 1000 {
					sink = append([]byte(nil), "not counted"...)
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	}}
	var r result
	require.NoError(t, r.count(context.Background(), c, 10))
	require.InDelta(t, 1, r.trips, 0)
	require.Less(t, r.allocs, 100.0)
	require.NotEmpty(t, sink)

	wrong := errors.New("wrong")
	c.run = func(_ context.Context, l *lap) error { return l.aside(func() error { return wrong }) }
	_, err := drive(context.Background(), c, 1, false)
	require.ErrorIs(t, err, wrong)
}

func TestRatiosAreToTheSameRound(t *testing.T) {
	work := func(d time.Duration) func(context.Context, *lap) error {
		return func(_ context.Context, l *lap) error {
			l.took = time.Duration(l.n) * d
			return nil
		}
	}
	g := group{work: "w", contenders: []contender{
		{name: "one", run: work(time.Hour)},
		{name: "two", run: work(2 * time.Hour)},
		{name: "figures", figures: func() map[string]float64 { return map[string]float64{"x": 1} }},
	}}
	results, err := measure(context.Background(), options{rounds: 3, slice: time.Hour}, g)
	require.NoError(t, err)
	require.Len(t, results[1].ratios, 3)
	require.InDelta(t, 2, median(results[1].ratios), 0.01)
	require.Equal(t, "one", results[1].baseline)
	require.Empty(t, results[2].ns)
	require.Equal(t, map[string]float64{"x": 1}, results[2].extra)
}

func TestWorksThatTakeLongHaveFewerRounds(t *testing.T) {
	for slice, rounds := range map[time.Duration]int{time.Nanosecond: fewest, time.Hour: 5} {
		c := contender{name: "c", run: func(_ context.Context, l *lap) error {
			l.took = time.Duration(l.n) * time.Hour
			return nil
		}}
		results, err := measure(context.Background(), options{rounds: 5, slice: slice}, group{work: "w", contenders: []contender{c}})
		require.NoError(t, err)
		require.Len(t, results[0].ns, rounds)
	}
}

func TestALoadGoesOnWithOtherKeys(t *testing.T) {
	a, b := newLoad(1), newLoad(1)
	var first, second []uint64
	for range 100 {
		first = append(first, a.keys[0].Uint64())
	}
	for range 100 {
		second = append(second, a.keys[0].Uint64())
	}
	require.NotEqual(t, first, second)
	var again []uint64
	for range 100 {
		again = append(again, b.keys[0].Uint64())
	}
	require.Equal(t, first, again, "every contender does the same")
}

func TestAnotherNumberOfRowsIsAnError(t *testing.T) {
	env := open(t)
	s, err := env.plain(env.databases[0])
	require.NoError(t, err)
	defer s.close()
	var all []Article
	done := s.db.Where("tag_id = ?", 1).Find(&all)
	require.NoError(t, expect(20, done))
	require.EqualError(t, expect(21, done), "20 rows instead of 21")
	require.Error(t, expect(1, s.db.Find(&all, "nothing = 1")))
}

func TestTheFloorAsksRedisOnce(t *testing.T) {
	env, ctx := open(t), context.Background()
	open := new(opened)
	defer open.close()
	g, err := limitsOf(ctx, env, env.databases[0], open, readWorks[1])
	require.NoError(t, err)
	trips := map[string]float64{}
	for _, c := range g.contenders {
		if c.trips == nil {
			continue
		}
		_, err := drive(ctx, c, c.warm, false)
		require.NoError(t, err, c.name)
		var r result
		require.NoError(t, r.count(ctx, c, 10), c.name)
		trips[c.name] = r.trips
	}
	require.InDelta(t, 1, trips[g.contenders[0].name], 0)
	require.InDelta(t, 1, trips["GET"], 0)
	require.InDelta(t, 1, trips["hit: "+setsVariant.name], 0)
}

func TestARemoteServerAnswersLater(t *testing.T) {
	env := open(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buffer := make([]byte, 1)
		for {
			if _, err := conn.Read(buffer); err != nil {
				return
			}
			if _, err := conn.Write(bytes.Repeat(buffer, 10)); err != nil {
				return
			}
		}
	}()
	conn, err := remote(time.Millisecond)(context.Background(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	far := conn.(*remoteConn)
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	require.True(t, far.asked.Load())
	for range 10 { // one delay for what comes in parts
		_, err = conn.Read(make([]byte, 1))
		require.NoError(t, err)
		require.False(t, far.asked.Load())
	}

	client, trips := countedAt(*env.redis, time.Millisecond)
	defer client.Close()
	var before int64
	for range 2 { // the first dials
		before = trips.Load()
		_, err = client.Pipelined(context.Background(), func(p redis.Pipeliner) error {
			p.Ping(context.Background())
			p.Ping(context.Background())
			return nil
		})
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, trips.Load()-before, "a pipeline is one round trip")
}

func TestAProcessSaysWhatItHasDone(t *testing.T) {
	env := open(t)
	d := env.databases[0]
	text, err := json.Marshal(job{Database: d.name, DSN: d.dsn, Redis: env.redis.Addr, Prefix: prefix(), Variant: setsVariant.name})
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, work(context.Background(), string(text), strings.NewReader("50\n0\n"), &out))
	answers := json.NewDecoder(&out)
	var first, second done
	require.NoError(t, answers.Decode(&first))
	require.NoError(t, answers.Decode(&second))
	require.Empty(t, first.Error)
	require.Positive(t, first.Misses)
	require.Positive(t, first.Trips)
	require.Zero(t, second)
	require.ErrorContains(t, work(context.Background(), `{"Database":"sqlite","DSN":"file::memory:","Variant":"none"}`, nil, nil), "none")
}

func TestASuiteLeavesNothingInRedis(t *testing.T) {
	env, ctx := open(t), context.Background()
	o, err := parse([]string{"-rounds", "1", "-slice", "1ms"})
	require.NoError(t, err)
	results, err := env.runSuite(ctx, o, named("misses"), env.databases[0])
	require.NoError(t, err)
	require.Len(t, results, len(missWorks)*(1+len(missVariants)))
	for _, x := range results {
		if x.contender != "GORM" {
			require.Zero(t, x.extra["hit %"], x.contender)
		}
	}
	client, _ := counted(*env.redis)
	defer client.Close()
	require.Zero(t, client.DBSize(ctx).Val())
}

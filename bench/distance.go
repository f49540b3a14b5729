package main

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// distance is the round trip to a server that is not on the same host.
const distance = 500 * time.Microsecond

// afar measures reads and a write with a database and a Redis that are
// away, as servers in another rack or zone are.
func afar(_ context.Context, env *environment, d *database, open *opened) ([]group, error) {
	setups, err := env.setups(d.away(distance), open, slices.Concat(hitVariants, []variant{setsStrict})...)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, i := range []int{0, 1, 2, 3, 5} {
		g := group{work: readWorks[i].name}
		for _, s := range setups {
			g.contenders = append(g.contenders, s.reader(readWorks[i]))
		}
		groups = append(groups, g)
	}
	g := group{work: "update by key, 10 cached"}
	for _, s := range setups {
		g.contenders = append(g.contenders, s.writer(s.updateBeside(10)))
	}
	return append(groups, g), nil
}

// counted returns a client that counts its round trips. What is written in one
// go (a command or a pipeline) is one round trip.
func counted(o redis.Options) (*redis.Client, *atomic.Int64) { return countedAt(o, 0) }

// countedAt is counted, to a Redis that is some distance away.
func countedAt(o redis.Options, distance time.Duration) (*redis.Client, *atomic.Int64) {
	trips := new(atomic.Int64)
	dial := remote(distance)
	o.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &countingConn{Conn: conn, writes: trips}, nil
	}
	o.PoolSize = 32
	o.PipelinePoolSize = -1 // as DirectConnections needs it; all contenders alike
	return redis.NewClient(&o), trips
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// remote returns a dialer of connections over which each answer arrives later
// than it would, as if the server were that much further away. Bandwidth is
// not limited.
func remote(distance time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		dialer := net.Dialer{Timeout: 5 * time.Second}
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil || distance == 0 {
			return conn, err
		}
		return &remoteConn{Conn: conn, distance: distance}, nil
	}
}

// remoteConn delays the first bytes that are read after something was written:
// what follows them was on its way at the same time.
type remoteConn struct {
	net.Conn
	distance time.Duration
	asked    atomic.Bool
}

func (c *remoteConn) Write(b []byte) (int, error) {
	c.asked.Store(true)
	return c.Conn.Write(b)
}

func (c *remoteConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.asked.Swap(false) {
		sleep(c.distance)
	}
	return n, err
}

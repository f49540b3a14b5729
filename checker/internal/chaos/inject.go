package chaos

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cacheplugin/cacheplugin/checker/internal/work"
)

// anyone is one of the processes; of followers the one that follows.
func (s *scene) anyone(role work.Role) **process {
	list := s.writers
	switch role {
	case work.Reader:
		list = s.readers
	case work.Follower:
		return s.following()
	}
	return &list[s.random.IntN(len(list))]
}

func killAnytime(s *scene) {
	p := s.anyone(work.Writer)
	s.mark("%s is killed", (*p).job.Name)
	(*p).kill()
	s.again(p)
}

// at makes a process act when it comes to a point.
func at(point work.Point, act func(s *scene, p **process, point work.Point)) func(*scene) {
	role := work.Writer
	switch point {
	case work.Leased, work.Saving:
		role = work.Reader
	case work.Telling:
		role = work.Follower
	}
	return func(s *scene) { act(s, s.anyone(role), point) }
}

// reached waits until the process is at the point; false if it does not come
// there as long as the cell runs.
func (s *scene) reached(p *process) bool {
	for !s.over() {
		select {
		case <-p.at:
			return true
		case <-p.exited:
			s.must(p.send(work.Command{})) // says what it is
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

func die(s *scene, p **process, point work.Point) {
	s.must((*p).send(work.Command{Arm: work.Die, Point: point}))
	if !s.reached(*p) {
		return
	}
	<-(*p).exited
	s.mark("%s was killed at %q", (*p).job.Name, point)
	s.again(p)
}

func stopFor(d time.Duration) func(*scene, **process, work.Point) {
	return func(s *scene, p **process, point work.Point) { s.stop(*p, point, d) }
}

func stopForFence(times, over time.Duration) func(*scene, **process, work.Point) {
	return func(s *scene, p **process, point work.Point) { s.stop(*p, point, s.cell.FenceTTL*times/over) }
}

// stop stops a process at a point and lets it go on after a time.
func (s *scene) stop(p *process, point work.Point, d time.Duration) {
	s.must(p.send(work.Command{Arm: work.Stop, Point: point}))
	if !s.reached(p) {
		return
	}
	s.mark("%s is stopped at %q", p.job.Name, point)
	time.Sleep(d)
	s.resume(p)
}

// holdFor makes one client wait at a point while its process goes on.
func holdFor(d time.Duration) func(*scene, **process, work.Point) {
	return func(s *scene, p **process, point work.Point) {
		s.must((*p).send(work.Command{Arm: work.Hold, Point: point, For: d}))
		if s.reached(*p) {
			s.mark("a client of %s waits at %q", (*p).job.Name, point)
		}
	}
}

// resume continues a process that is stopping or has stopped.
func (s *scene) resume(p *process) {
	s.note("%s goes on", p.job.Name)
	p.signal(syscall.SIGCONT)
}

func stopAnytime(s *scene) {
	p := *s.anyone([]work.Role{work.Reader, work.Writer}[s.random.IntN(2)])
	s.mark("%s is stopped", p.job.Name)
	p.signal(syscall.SIGSTOP)
	time.Sleep(time.Duration(s.random.Int64N(int64(time.Second))))
	s.resume(p)
}

// command sends Redis a command.
func command(args ...any) func(*scene) {
	return func(s *scene) {
		s.control(s.server, args...)
		s.mark("%v", args)
	}
}

// flushFenced makes Redis forget a fence while its writer waits.
func flushFenced(s *scene) {
	p := *s.anyone(work.Writer)
	s.must(p.send(work.Command{Arm: work.Hold, Point: work.Fenced, For: 30 * time.Millisecond}))
	if s.reached(p) {
		s.control(s.server, "flushall")
		s.mark("flushall, while %s is between its fence and COMMIT", p.job.Name)
	}
}

func restart(s *scene) {
	s.server.Kill(s)
	s.mark("Redis is killed")
	s.server.Start(s)
	s.note("Redis is back, empty")
}

func restartOld(s *scene) {
	s.control(s.server, "save")
	s.note("Redis saves")
	s.pause(700 * time.Millisecond)
	s.server.Kill(s)
	s.mark("Redis is killed")
	s.server.Start(s)
	s.note("Redis is back with what it had saved")
}

// failover promotes the replica, which has lost touch before.
func failover(s *scene) {
	s.control(s.standby, "replicaof", "no", "one")
	s.note("the replica loses touch")
	s.pause(300 * time.Millisecond)
	s.proxy.turn(s.standby.Addr)
	s.mark("the replica is the master now")
	s.server, s.standby = s.standby, s.server
	s.pause(500 * time.Millisecond)
	s.follow(s.standby, s.server)
	s.note("the old master is a replica")
}

// failNode kills a node of a cluster, waits until the cluster goes on without
// it, and lets it come back.
func failNode(s *scene) {
	node := s.cluster.Nodes[s.random.IntN(len(s.cluster.Nodes))]
	node.Kill(s)
	s.mark("the node %s is killed", node.Addr)
	s.pause(4 * time.Second) // twice what the cluster takes to notice
	node.Start(s)
	s.note("the node %s is back", node.Addr)
}

// poison makes the way to Redis bad for a time.
func poison(kind, attributes string, d time.Duration) func(*scene) {
	return func(s *scene) {
		s.proxy.poison(kind, attributes)
		s.mark("%s %s", kind, attributes)
		s.pause(d)
		s.proxy.heal()
		s.note("the way is free again")
	}
}

func down(s *scene) {
	s.proxy.Stop()
	s.mark("Redis can't be reached")
	s.pause(3 * time.Second)
	s.proxy.do(s.proxy.Start())
	s.note("Redis can be reached")
}

// pressure fills Redis with keys of our own, which live for a while, beyond a
// limit that is close above what it uses. It counts as done when Redis has
// evicted something, or has refused to take more.
func pressure(policy string, life time.Duration) func(*scene) {
	filler := strings.Repeat("x", 2000)
	evicted := 0
	return func(s *scene) {
		ctx := context.Background()
		info := func(section, field string) int {
			text, err := s.admin.Info(ctx, section).Result()
			s.must(err)
			_, value, _ := strings.Cut(text, field+":")
			value, _, _ = strings.Cut(value, "\r")
			n, err := strconv.Atoi(value)
			s.must(err)
			return n
		}
		if !s.limited {
			s.limited, evicted = true, 0
			s.must(s.admin.ConfigSet(ctx, "maxmemory-policy", policy).Err())
			s.must(s.admin.ConfigSet(ctx, "maxmemory", strconv.Itoa(info("memory", "used_memory")+1_000_000)).Err())
		}
		pipe := s.admin.Pipeline()
		for range 800 {
			pipe.Set(ctx, "filler:"+strconv.FormatUint(s.random.Uint64(), 36), filler, life)
		}
		_, err := pipe.Exec(ctx)
		switch now := info("stats", "evicted_keys"); {
		case now > evicted:
			s.mark("Redis evicts %d keys", now-evicted)
			evicted = now
		case err != nil:
			s.mark("Redis is full: %v", err)
		}
	}
}

// jump sets Redis' clock an hour forth, then back.
func jump(s *scene) {
	s.setClock(time.Hour)
	s.mark("Redis' clock is an hour ahead")
	s.pause(700 * time.Millisecond)
	s.setClock(0)
	s.note("Redis' clock is right")
}

func byHand(what string) func(*scene) {
	return func(s *scene) {
		s.must((*s.anyone(work.Writer)).send(work.Command{Invalidate: what}))
		s.mark("invalidate %s", what)
	}
}

// heal undoes what a fault may have left.
func (s *scene) heal() {
	for _, p := range s.everyone() {
		p.signal(syscall.SIGCONT)
	}
	if s.proxy != nil {
		s.proxy.heal()
	}
	if s.cell.Fault.Clock {
		s.setClock(0)
	}
}

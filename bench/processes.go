package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin"
)

// job is what a process of the contention work does.
type job struct {
	Database, DSN, Redis, Prefix string
	Variant                      string // of the plugin; empty: GORM alone
	Seed                         uint64
}

// done is what a process answers when it has done its operations.
type done struct {
	Error        string
	Hits, Misses int64
	Trips        int64 // round trips to Redis
}

// processes measures the 90/10 load in one and in two processes that share a
// cache. A process of the baseline has no cache.
func processes(ctx context.Context, env *environment, d *database, open *opened) ([]group, error) {
	var groups []group
	for _, count := range []int{1, 2} {
		g := group{work: fmt.Sprintf("90/10 reads/writes, %s", []string{"1 process", "2 processes"}[count-1])}
		for _, v := range slices.Concat([]variant{{}}, mixedVariants) {
			c, err := hire(ctx, job{Database: d.name, DSN: d.dsn, Redis: env.redis.Addr, Prefix: prefix(), Variant: v.name}, count)
			open.closeLater(c.dismiss)
			if err != nil {
				return groups, err
			}
			one := contender{name: "GORM", run: c.run, elsewhere: true}
			if v.name != "" {
				one.name, one.warm, one.trips = v.name, 10_000, &c.trips
				var before done
				one.begin = func() { before = c.total }
				one.figures = func() map[string]float64 {
					return hits(
						cacheplugin.Stats{Hits: before.Hits, Misses: before.Misses},
						cacheplugin.Stats{Hits: c.total.Hits, Misses: c.total.Misses},
					)
				}
			}
			g.contenders = append(g.contenders, one)
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// crew is processes that work on request.
type crew struct {
	members []*member
	total   done
	trips   atomic.Int64
}

type member struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
}

func hire(ctx context.Context, j job, count int) (*crew, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := new(crew)
	for i := range count {
		j.Seed = uint64(i)
		text, err := json.Marshal(j)
		if err != nil {
			return c, err
		}
		m := &member{command: exec.CommandContext(ctx, self, "-worker", string(text))}
		m.command.Stderr = os.Stderr
		if m.in, err = m.command.StdinPipe(); err != nil {
			return c, err
		}
		out, err := m.command.StdoutPipe()
		if err != nil {
			return c, err
		}
		m.out = json.NewDecoder(out)
		if err := m.command.Start(); err != nil {
			return c, err
		}
		c.members = append(c.members, m)
	}
	return c, nil
}

// run lets the processes do a lap together.
func (c *crew) run(_ context.Context, l *lap) error {
	for i, m := range c.members {
		if _, err := fmt.Fprintln(m.in, portion(l.n, len(c.members), i)); err != nil {
			return err
		}
	}
	for _, m := range c.members {
		var d done
		if err := m.out.Decode(&d); err != nil {
			return fmt.Errorf("a process ended: %w", err)
		}
		if d.Error != "" {
			return fmt.Errorf("in a process: %s", d.Error)
		}
		c.trips.Add(d.Trips)
		c.total.Hits += d.Hits
		c.total.Misses += d.Misses
	}
	return nil
}

func (c *crew) dismiss() {
	for _, m := range c.members {
		_ = m.in.Close()
		_ = m.command.Wait()
	}
}

// work is a process of a crew: it reads numbers of operations from in, does
// them, and says so to out.
func work(ctx context.Context, text string, in io.Reader, out io.Writer) (err error) {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	d := &database{name: j.Database, dsn: j.DSN}
	env := &environment{redis: &redis.Options{Addr: j.Redis}}
	s, err := env.worker(d, j)
	if err != nil {
		return err
	}
	defer s.close()
	var (
		load    = newLoad(j.Seed)
		lines   = bufio.NewScanner(in)
		answers = json.NewEncoder(out)
		before  cacheplugin.Stats
	)
	for lines.Scan() { // until the crew is dismissed
		var n int
		if _, err := fmt.Sscan(lines.Text(), &n); err != nil {
			return err
		}
		var d done
		if err := load.run(ctx, s.db, 0.1, n); err != nil {
			d.Error = err.Error()
		}
		if s.plugin != nil {
			after := s.plugin.Stats()
			d.Hits, d.Misses = after.Hits-before.Hits, after.Misses-before.Misses
			before = after
			d.Trips = s.trips.Swap(0)
		}
		if err := answers.Encode(d); err != nil {
			return err
		}
	}
	return lines.Err()
}

// worker is what a process of a crew reaches the database by.
func (env *environment) worker(d *database, j job) (setup, error) {
	if j.Variant == "" {
		return env.plain(d)
	}
	for _, v := range mixedVariants {
		if v.name == j.Variant {
			v.prefix = j.Prefix
			return env.plugged(d, v)
		}
	}
	return setup{}, errors.New("no variant " + j.Variant)
}

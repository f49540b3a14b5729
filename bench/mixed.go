package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
)

const (
	workers = 4
	zipf    = 1.1
)

// mix is a share of writes.
type mix struct {
	name   string
	writes float64
}

var mixes = []mix{{"99/1", 0.01}, {"90/10", 0.1}, {"50/50", 0.5}}

// mixed measures loads of reads by key and by tag with writes between them, in
// several goroutines, the keys distributed by Zipf's law.
func mixed(ctx context.Context, env *environment, d *database) ([]group, error) {
	setups, err := env.setups(d, false, setsVariant, stampsVariant, setsStrict)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, m := range mixes {
		g := group{work: m.name}
		for _, s := range setups {
			var before cacheplugin.Stats
			if s.plugin != nil {
				before = s.plugin.Stats()
			}
			g.contenders = append(g.contenders, contender{
				name: s.name, trips: s.trips,
				run: func(ctx context.Context, n int) error { return load(ctx, s.db, m.writes, n) },
				after: func() map[string]float64 {
					if s.plugin == nil {
						return nil
					}
					after := s.plugin.Stats()
					hits, misses := after.Hits-before.Hits, after.Misses-before.Misses
					before = after
					return map[string]float64{"queries avoided %": 100 * float64(hits) / float64(max(1, hits+misses))}
				},
			})
		}
		groups = append(groups, g)
	}
	closeWithLast(groups, setups)
	return groups, nil
}

// load does n operations in several goroutines.
func load(ctx context.Context, db *gorm.DB, writes float64, n int) error {
	var (
		wait sync.WaitGroup
		errs = make([]error, workers)
	)
	for w := range workers {
		share := n / workers
		if w < n%workers {
			share++
		}
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), uint64(n)))
			keys := rand.NewZipf(random, zipf, 1, articles-1)
			for range share {
				if err := operation(db.WithContext(ctx), random, int(keys.Uint64())+1, writes); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func operation(db *gorm.DB, random *rand.Rand, key int, writes float64) error {
	switch p := random.Float64(); {
	case p < writes:
		return db.Model(&Article{}).Where("id = ?", key).Update("title", fmt.Sprint("title ", random.IntN(1000))).Error
	case p < writes+(1-writes)/2:
		var a Article
		return db.First(&a, key).Error
	default:
		var all []Article
		return db.Where("tag_id = ?", key%tags).Find(&all).Error
	}
}

// job is what a process of the contention work does.
type job struct {
	Database, DSN, Redis, Prefix string
	Mode                         cacheplugin.Mode
	Cached                       bool
}

// processes measures the 90/10 load in one and in two processes that share a
// cache. A process of the baseline has no cache.
func processes(ctx context.Context, env *environment, d *database) ([]group, error) {
	var groups []group
	for _, count := range []int{1, 2} {
		g := group{work: fmt.Sprintf("90/10 in %d processes", count)}
		for _, v := range []variant{{name: "GORM"}, setsVariant, stampsVariant} {
			j := job{
				Database: d.name, DSN: d.dsn, Redis: env.redis.Addr, Prefix: fmt.Sprintf("bench-%d", time.Now().UnixNano()),
				Mode: v.mode, Cached: v.name != "GORM",
			}
			crew, err := hire(ctx, j, count)
			if err != nil {
				return groups, err
			}
			g.contenders = append(g.contenders, contender{name: v.name, run: crew.run, close: crew.dismiss})
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// crew is processes that work on request.
type crew []*member

type member struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

func hire(ctx context.Context, j job, count int) (crew, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var c crew
	for range count {
		m := &member{command: exec.CommandContext(ctx, self, "-worker", string(text))}
		m.command.Stderr = os.Stderr
		if m.in, err = m.command.StdinPipe(); err != nil {
			return c, err
		}
		out, err := m.command.StdoutPipe()
		if err != nil {
			return c, err
		}
		m.out = bufio.NewReader(out)
		if err := m.command.Start(); err != nil {
			return c, err
		}
		c = append(c, m)
	}
	return c, nil
}

// run lets the processes do n operations together.
func (c crew) run(_ context.Context, n int) error {
	for i, m := range c {
		share := n / len(c)
		if i < n%len(c) {
			share++
		}
		if _, err := fmt.Fprintln(m.in, share); err != nil {
			return err
		}
	}
	for _, m := range c {
		answer, err := m.out.ReadString('\n')
		if err != nil {
			return err
		}
		if answer != "ok\n" {
			return fmt.Errorf("a process says %s", answer)
		}
	}
	return nil
}

func (c crew) dismiss() {
	for _, m := range c {
		_ = m.in.Close()
		_ = m.command.Wait()
	}
}

// work is a process of a crew: it reads numbers of operations from standard
// input and does them.
func work(ctx context.Context, text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	db, err := (&database{name: j.Database, dsn: j.DSN}).open()
	if err != nil {
		return err
	}
	defer closeDB(db)
	if j.Cached {
		client := redis.NewClient(&redis.Options{Addr: j.Redis})
		defer client.Close()
		plugin := cacheplugin.New(cacheplugin.Config{
			Redis: client, Prefix: j.Prefix, Mode: j.Mode,
			Profiles: cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}},
		})
		if err := db.Use(plugin); err != nil {
			return err
		}
		defer func() { _ = plugin.Close(context.WithoutCancel(ctx)) }()
	}
	in := bufio.NewReader(os.Stdin)
	for {
		var n int
		if _, err := fmt.Fscanln(in, &n); err != nil {
			return nil // the crew is dismissed
		}
		if err := load(ctx, db, 0.1, n); err != nil {
			fmt.Println("error:", err)
			continue
		}
		fmt.Println("ok")
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"gorm.io/gorm"
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
func mixed(_ context.Context, env *environment, d *database, open *opened) ([]group, error) {
	setups, err := env.setups(d, open, mixedVariants...)
	if err != nil {
		return nil, err
	}
	var groups []group
	for i, m := range mixes {
		g := group{work: fmt.Sprintf("%s reads/writes, %d goroutines", m.name, workers)}
		for _, s := range setups {
			load := newLoad(0)
			c := s.contender(func(ctx context.Context, l *lap) error { return load.run(ctx, s.db, m.writes, l.n) })
			if c.warm = 2000; i == 0 && s.plugin != nil {
				c.warm = 10_000 // nothing is cached yet
			}
			g.contenders = append(g.contenders, c)
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// load is a sequence of operations for some goroutines. It goes on where it
// ended: the same keys again would all hit.
type load struct {
	randoms []*rand.Rand
	keys    []*rand.Zipf
	titles  *atomic.Int64
}

// newLoad returns the same sequence for the same seed.
func newLoad(seed uint64) *load {
	l := &load{titles: new(atomic.Int64)}
	for w := range workers {
		random := rand.New(rand.NewPCG(seed, uint64(w)))
		l.randoms = append(l.randoms, random)
		l.keys = append(l.keys, rand.NewZipf(random, zipf, 1, articles-1))
	}
	return l
}

// run does n operations in several goroutines.
func (l *load) run(ctx context.Context, db *gorm.DB, writes float64, n int) error {
	var (
		wait sync.WaitGroup
		errs = make([]error, workers)
	)
	for w := range workers {
		wait.Go(func() {
			for range portion(n, workers, w) {
				if errs[w] = l.operation(db.WithContext(ctx), w, writes); errs[w] != nil {
					return
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (l *load) operation(db *gorm.DB, w int, writes float64) error {
	key := int(l.keys[w].Uint64()) + 1
	switch p := l.randoms[w].Float64(); {
	case p < writes:
		return expect(1, db.Model(&Article{}).Where("id = ?", key).Update("title", fmt.Sprintf("title %d of %d", l.titles.Add(1), w)))
	case p < writes+(1-writes)/2:
		var a Article
		return expect(1, db.First(&a, key))
	default:
		var all []Article
		return expect(articles/tags, db.Where("tag_id = ?", key%tags).Find(&all))
	}
}

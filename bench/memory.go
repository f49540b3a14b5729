package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"gorm.io/gorm"
)

// entries is how many entries the memory of one is taken from.
const entries = 2000

// The budget of an entry: its rows a fifth more, and some bytes.
const (
	budgetFactor = 1.2
	budgetBytes  = 200
)

// memory measures what an entry takes in Redis beside its rows.
func memory(ctx context.Context, env *environment, d *database, open *opened) ([]group, error) {
	plain, err := open.setup(env.plain(d))
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, w := range []readWork{
		{name: "1 row", run: func(db *gorm.DB, i int) (any, error) {
			var a []Article
			return nil, expect(1, db.Where("id = ?", i+1).Limit(1).Find(&a))
		}},
		{name: "20 rows", run: func(db *gorm.DB, i int) (any, error) {
			var all []Article
			return nil, expect(20, db.Where("tag_id = ? AND words <> ?", i%tags, -1-i).Find(&all))
		}},
	} {
		rows, err := payloads(plain.db, w)
		if err != nil {
			return nil, err
		}
		g := group{work: w.name}
		for _, v := range []variant{setsVariant, stampsVariant} {
			used, err := env.memoryOf(ctx, d, v, w)
			if err != nil {
				return nil, err
			}
			g.contenders = append(g.contenders, contender{name: v.name, figures: func() map[string]float64 {
				budget := budgetFactor*rows + budgetBytes
				return map[string]float64{"bytes": used, "rows' bytes": rows, "budget": budget, "of the budget %": 100 * used / budget}
			}})
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// payloads is how many bytes a work's rows take, on the average of some.
func payloads(db *gorm.DB, w readWork) (float64, error) {
	const some = 50
	sum := 0
	for i := range some {
		payload, _, err := record(db, readWork{run: func(db *gorm.DB, _ int) (any, error) { return w.run(db, i*entries/some) }})
		if err != nil {
			return 0, err
		}
		sum += len(payload)
	}
	return float64(sum) / some, nil
}

// memoryOf fills an empty Redis with entries and returns what it needs for one.
func (env *environment) memoryOf(ctx context.Context, d *database, v variant, w readWork) (float64, error) {
	if err := env.flush(ctx); err != nil {
		return 0, err
	}
	s, err := env.plugged(d, v)
	if err != nil {
		return 0, err
	}
	defer s.close()
	if _, err := w.run(s.db.WithContext(ctx), entries); err != nil { // connections, scripts
		return 0, err
	}
	client := redis.NewClient(env.redis)
	defer client.Close()
	before, err := usedMemory(ctx, client)
	if err != nil {
		return 0, err
	}
	for i := range entries {
		if _, err := w.run(s.db.WithContext(ctx), i); err != nil {
			return 0, err
		}
	}
	after, err := usedMemory(ctx, client)
	if err != nil {
		return 0, err
	}
	if stored := s.plugin.Stats().Stores; stored < entries {
		return 0, fmt.Errorf("%d of %d entries were stored", stored, entries)
	}
	return float64(after-before) / entries, nil
}

// usedMemory is what Redis has allocated.
func usedMemory(ctx context.Context, client *redis.Client) (int64, error) {
	info, err := client.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, fmt.Errorf("INFO memory has no used_memory")
}

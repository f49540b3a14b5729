package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// memory measures what an entry takes in Redis beside its rows.
func memory(ctx context.Context, env *environment, d *database) ([]group, error) {
	const entries = 5000
	var groups []group
	for _, w := range []struct {
		readWork
		n int
	}{{readWork{"1 row", readWorks[0].run, nil}, 1}, {readWork{"20 rows", readWorks[1].run, nil}, 20}} {
		plain, err := env.plain(d)
		if err != nil {
			return nil, err
		}
		payload, _, err := record(plain.db, w.readWork)
		plain.close()
		if err != nil {
			return nil, err
		}
		g := group{work: "memory per entry, " + w.name}
		for _, v := range []variant{setsVariant, stampsVariant} {
			used, err := env.memoryOf(ctx, d, v, entries, w.n)
			if err != nil {
				return nil, err
			}
			g.contenders = append(g.contenders, contender{
				name: v.name, run: func(context.Context, int) error { return nil },
				after: func() map[string]float64 {
					return map[string]float64{
						"bytes per entry": used, "rows' bytes": float64(len(payload)), "beside 1.2 x rows": used - 1.2*float64(len(payload)),
					}
				},
			})
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// memoryOf caches entries of n rows each and returns what Redis needs for one.
func (env *environment) memoryOf(ctx context.Context, d *database, v variant, entries, n int) (float64, error) {
	s, err := env.plugged(d, v)
	if err != nil {
		return 0, err
	}
	defer s.close()
	client := redis.NewClient(env.redis)
	defer client.Close()
	before, err := usedMemory(ctx, client)
	if err != nil {
		return 0, err
	}
	for i := range entries {
		var all []Article
		q := s.db.WithContext(ctx)
		if n == 1 {
			q = q.Where("id = ?", i+1).Limit(1)
		} else {
			q = q.Where("tag_id = ? AND words <> ?", i%tags, -1-i)
		}
		if err := q.Find(&all).Error; err != nil {
			return 0, err
		}
	}
	after, err := usedMemory(ctx, client)
	if err != nil {
		return 0, err
	}
	if stored := s.plugin.Stats().Stores; stored < int64(entries) {
		return 0, fmt.Errorf("%d of %d entries were stored", stored, entries)
	}
	return float64(after-before) / float64(entries), nil
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

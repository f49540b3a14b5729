package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/vmihailenco/msgpack/v5"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/rowset"
)

// limits measures what a hit cannot be faster than, on the bytes that the
// plugin keeps for the same query.
func limits(ctx context.Context, env *environment, d *database) ([]group, error) {
	var groups []group
	for _, w := range readWorks[:3] {
		g, err := limitsOf(ctx, env, d, w)
		if err != nil {
			return groups, err
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func limitsOf(ctx context.Context, env *environment, d *database, w readWork) (group, error) {
	g := group{work: w.name}
	plain, err := env.plain(d)
	if err != nil {
		return g, err
	}
	payload, value, err := record(plain.db, w)
	if err != nil {
		return g, err
	}
	packed, err := msgpack.Marshal(value)
	if err != nil {
		return g, err
	}
	client, trips := counted(*env.redis)
	packedKey := "bench:packed:" + w.name
	var keys []string
	for i := range 4 {
		keys = append(keys, fmt.Sprintf("bench:limit:%s:%d", w.name, i))
	}
	if err := errors.Join(
		client.Set(ctx, keys[0], payload, time.Hour).Err(),
		client.MSet(ctx, keys[1], "1", keys[2], "2", keys[3], "3").Err(),
		client.Set(ctx, packedKey, packed, time.Hour).Err(),
	); err != nil {
		return g, err
	}
	script := redis.NewScript(`return redis.call('GET', KEYS[1])`)
	if err := script.Load(ctx, client).Err(); err != nil {
		return g, err
	}
	fast, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{env.redis.Addr}})
	if err != nil {
		return g, err
	}
	memory, err := inMemory(env, d, w)
	if err != nil {
		return g, err
	}
	hit, err := env.plugged(d, stampsVariant)
	if err != nil {
		return g, err
	}
	sets, err := env.plugged(d, setsVariant)
	if err != nil {
		return g, err
	}

	add := func(c contender) { g.contenders = append(g.contenders, c) }
	add(contender{name: "GET", trips: trips, run: repeat(func(ctx context.Context, _ int) error {
		return client.Get(ctx, keys[0]).Err()
	})})
	add(contender{name: "GET, then decoded into structs", trips: trips, run: repeat(func(ctx context.Context, _ int) error {
		b, err := client.Get(ctx, packedKey).Bytes()
		if err != nil {
			return err
		}
		return msgpack.Unmarshal(b, w.dest())
	})})
	add(contender{name: "MGET of 4", trips: trips, run: repeat(func(ctx context.Context, _ int) error {
		return client.MGet(ctx, keys...).Err()
	})})
	add(contender{name: "EVALSHA of a GET", trips: trips, run: repeat(func(ctx context.Context, _ int) error {
		return client.EvalSha(ctx, script.Hash(), keys[:1]).Err()
	})})
	add(contender{name: "GET by rueidis", run: repeat(func(ctx context.Context, _ int) error {
		return fast.Do(ctx, fast.B().Get().Key(keys[0]).Build()).Error()
	})})
	add(contender{name: "rueidis, client-side cache", run: repeat(func(ctx context.Context, _ int) error {
		return fast.DoCache(ctx, fast.B().Get().Key(keys[0]).Cache(), time.Minute).Error()
	})})
	add(contender{name: "GORM, build only", run: repeat(func(ctx context.Context, i int) error {
		_, err := w.run(plain.db.Session(&gorm.Session{DryRun: true, Context: ctx}), i)
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return nil
		}
		return err
	})})
	add(contender{name: "GORM, build and scan of rows in memory", run: repeat(func(ctx context.Context, i int) error {
		_, err := w.run(memory.db.WithContext(ctx), i)
		return err
	})})
	for _, s := range []setup{sets, hit} {
		add(contender{name: "hit: " + s.name, trips: s.trips, warm: 200, run: repeat(func(ctx context.Context, i int) error {
			_, err := w.run(s.db.WithContext(ctx), i)
			return err
		})})
	}
	g.contenders[len(g.contenders)-1].close = func() {
		fast.Close()
		_ = client.Close()
		plain.close()
		memory.close()
		hit.close()
		sets.close()
	}
	return g, nil
}

// inMemory is GORM on a pool that answers with the query's rows at once.
func inMemory(env *environment, d *database, w readWork) (setup, error) {
	s, err := env.plain(d)
	if err != nil {
		return s, err
	}
	payload, _, err := record(s.db, w)
	if err != nil {
		s.close()
		return s, err
	}
	s.name = "GORM, rows in memory"
	s.db = s.db.Session(&gorm.Session{NewDB: true})
	s.db.Statement.ConnPool = &memoryPool{ConnPool: s.db.Statement.ConnPool, payload: payload}
	return s, nil
}

// record asks a query and returns the bytes that the plugin would keep.
func record(db *gorm.DB, w readWork) (payload []byte, value any, err error) {
	pool := &recordingPool{ConnPool: db.Statement.ConnPool}
	handle := db.Session(&gorm.Session{NewDB: true})
	handle.Statement.ConnPool = pool
	value, err = w.run(handle, 0)
	if err == nil && pool.payload == nil {
		err = errors.New("nothing was recorded")
	}
	return pool.payload, value, err
}

// recordingPool keeps what a query returned.
type recordingPool struct {
	gorm.ConnPool
	payload []byte
}

// QueryContext implements gorm.ConnPool.
func (p *recordingPool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	live, err := p.ConnPool.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	kept, err := rowset.Tee(live, rowset.TeeOptions{Drain: true, Done: func(r rowset.Recording) { p.payload = r.Payload }})
	if err != nil {
		return nil, err
	}
	return rowset.Rows(kept)
}

// memoryPool answers every query with the same rows.
type memoryPool struct {
	gorm.ConnPool
	payload []byte
}

// QueryContext implements gorm.ConnPool.
func (p *memoryPool) QueryContext(context.Context, string, ...any) (*sql.Rows, error) {
	src, err := rowset.Decode(p.payload)
	if err != nil {
		return nil, err
	}
	return rowset.Rows(src)
}

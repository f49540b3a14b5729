package main

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/vmihailenco/msgpack/v5"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/rowset"
)

// limits measures what a hit cannot be faster than, on the bytes that the
// plugin keeps for the same query. The baseline is what no cache below GORM
// can beat: a GET of these bytes, GORM's building of the query, and its
// scanning of the rows.
func limits(ctx context.Context, env *environment, d *database, open *opened) ([]group, error) {
	var groups []group
	for _, w := range readWorks[:3] {
		g, err := limitsOf(ctx, env, d, open, w)
		if err != nil {
			return groups, err
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func limitsOf(ctx context.Context, env *environment, d *database, open *opened, w readWork) (group, error) {
	g := group{work: w.name}
	plain, err := open.setup(env.plain(d))
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
	open.closeLater(func() { _ = client.Close() })
	key := "bench:limit:" + w.name
	packedKey, keys := key+":packed", []string{key, key + ":1", key + ":2", key + ":3"}
	if err := errors.Join(
		client.Set(ctx, key, payload, time.Hour).Err(),
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
	open.closeLater(fast.Close)
	own := *env.redis
	own.ClientSideCacheConfig = &redis.ClientSideCacheConfig{}
	tracking := redis.NewClient(&own)
	open.closeLater(func() { _ = tracking.Close() })

	add := func(name string, trips *atomic.Int64, op func(ctx context.Context, i int) error) {
		g.contenders = append(g.contenders, contender{name: name, trips: trips, warm: 100, run: repeat(op)})
	}
	ask := func(db *gorm.DB) func(ctx context.Context, i int) error {
		return func(ctx context.Context, i int) error {
			_, err := w.run(db.WithContext(ctx), i)
			return err
		}
	}
	floor := answering(plain.db, func(ctx context.Context) ([]byte, error) { return client.Get(ctx, key).Bytes() })
	add("GET, GORM's build and scan", trips, ask(floor))
	add("GET", trips, func(ctx context.Context, _ int) error { return client.Get(ctx, key).Err() })
	add("MGET of 4", trips, func(ctx context.Context, _ int) error { return client.MGet(ctx, keys...).Err() })
	add("EVALSHA of a GET", trips, func(ctx context.Context, _ int) error {
		return client.EvalSha(ctx, script.Hash(), keys[:1]).Err()
	})
	add("GET, msgpack into structs", trips, func(ctx context.Context, _ int) error {
		b, err := client.Get(ctx, packedKey).Bytes()
		if err != nil {
			return err
		}
		return msgpack.Unmarshal(b, w.dest())
	})
	add("GET by rueidis", nil, func(ctx context.Context, _ int) error {
		return fast.Do(ctx, fast.B().Get().Key(key).Build()).Error()
	})
	add("rueidis, client-side cache", nil, func(ctx context.Context, _ int) error {
		return fast.DoCache(ctx, fast.B().Get().Key(key).Cache(), time.Minute).Error()
	})
	add("go-redis, client-side cache", nil, func(ctx context.Context, _ int) error { return tracking.Get(ctx, key).Err() })
	add("GORM's build (dry run)", nil, func(ctx context.Context, i int) error {
		// A dry run has no rows.
		if _, err := w.run(plain.db.Session(&gorm.Session{DryRun: true, Context: ctx}), i); !errors.As(err, new(wrongRows)) && !errors.Is(err, gorm.ErrRecordNotFound) {
			return err
		}
		return nil
	})
	add("GORM's build and scan", nil, ask(answering(plain.db, func(context.Context) ([]byte, error) { return payload, nil })))
	for _, v := range hitVariants {
		s, err := open.setup(env.plugged(d, v))
		if err != nil {
			return g, err
		}
		c := s.reader(w)
		c.name = "hit: " + v.name
		g.contenders = append(g.contenders, c)
	}
	return g, nil
}

// answering returns a handle whose queries are answered with recorded rows.
func answering(db *gorm.DB, payload func(context.Context) ([]byte, error)) *gorm.DB {
	handle := apart(db)
	handle.Statement.ConnPool = &answeringPool{ConnPool: db.Statement.ConnPool, payload: payload}
	return handle
}

// apart returns a handle with a statement, and so a pool, of its own: without a
// context a session shares that of the handle that it comes from.
func apart(db *gorm.DB) *gorm.DB {
	return db.Session(&gorm.Session{NewDB: true, Context: context.Background()})
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
	s.db = answering(s.db, func(context.Context) ([]byte, error) { return payload, nil })
	return s, nil
}

// record asks a query and returns the bytes that the plugin would keep.
func record(db *gorm.DB, w readWork) (payload []byte, value any, err error) {
	pool := &recordingPool{ConnPool: db.Statement.ConnPool}
	handle := apart(db)
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

// answeringPool answers every query with the same rows.
type answeringPool struct {
	gorm.ConnPool
	payload func(context.Context) ([]byte, error)
}

// QueryContext implements gorm.ConnPool.
func (p *answeringPool) QueryContext(ctx context.Context, _ string, _ ...any) (*sql.Rows, error) {
	payload, err := p.payload(ctx)
	if err != nil {
		return nil, err
	}
	src, err := rowset.Decode(payload)
	if err != nil {
		return nil, err
	}
	return rowset.Rows(src)
}

package work

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/redis/go-redis/v9"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/checker/internal/weaken"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
)

// open opens the database, with the plugin unless the process is a foreign writer.
func (p *process) open() error {
	dsn := p.job.DSN
	if p.job.Dialect == "sqlite" && p.job.Role == Writer {
		// A transaction that has read before it writes would fail when another
		// one has written meanwhile.
		dsn += "&_txlock=immediate"
	}
	db, err := gorm.Open(testdb.OfDialect(p.job.Dialect).Dialector(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return fmt.Errorf("work: open the database: %w", err)
	}
	pool, err := db.DB()
	if err != nil {
		return fmt.Errorf("work: open the database: %w", err)
	}
	pool.SetMaxOpenConns(p.job.Clients + 2)
	pool.SetMaxIdleConns(p.job.Clients + 2)

	if p.job.Foreign {
		p.db, p.beside = db, db
		return nil
	}
	redis.SetLogger(silent{}) // which is the process's, and knows of outages that are on purpose
	var own *redis.Client
	if p.job.Cluster {
		p.client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: strings.Split(p.job.Redis, ",")})
	} else {
		own = redis.NewClient(&redis.Options{Addr: p.job.Redis, PipelinePoolSize: -1}) // DirectConnections needs one pool
		p.client = own
	}
	p.wire = &wire{tell: p.tell, follows: p.job.Role == Follower}
	p.client.AddHook(p.wire)
	if p.job.Weakness != "" {
		weak, err := weaken.New(p.job.Weakness)
		if err != nil {
			return err
		}
		p.client.AddHook(weak)
	}
	client := p.client
	if p.job.Watched && own != nil {
		client = watched{own}
	}
	var outbox *cacheplugin.Outbox
	if p.job.Outbox {
		o := Outbox()
		outbox = &o
	}
	var kept *cacheplugin.NearCache
	if p.job.Near {
		kept = &cacheplugin.NearCache{}
	}
	p.plugin = cacheplugin.New(cacheplugin.Config{
		Outbox: outbox, NearCache: kept,
		Redis: client, Prefix: p.job.Prefix, Mode: p.job.Mode, Consistency: p.job.Consistency, DirectConnections: p.job.Direct,
		Profiles: cacheplugin.Profiles{
			"*":     {Ops: cache.All, Timeout: p.job.Timeout, Lock: p.job.Lock},
			"tombs": nil,
		},
		FenceTTL: p.job.FenceTTL, LeaseTTL: p.job.LeaseTTL,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Observer: cacheplugin.ObserverFunc(func(ctx context.Context, e cacheplugin.Event) {
			if r, ok := ctx.Value(readingKey{}).(*reading); ok {
				r.observe(e)
			} else if t, ok := ctx.Value(transactionKey{}).(*transaction); ok {
				t.observe(e)
			}
		}),
	})
	if err := db.Use(p.plugin); err != nil {
		return fmt.Errorf("work: use the plugin: %w", err)
	}
	p.db = db
	if p.job.Role == Reader {
		if p.feeds, err = declareFeeds(db, p.job.Timeout); err != nil {
			return fmt.Errorf("work: declare the feeds: %w", err)
		}
	}
	p.beside, err = besideOf(db, p.job.Dialect, dsn)
	return err
}

// silent is a log of go-redis that says nothing.
type silent struct{}

// Printf implements go-redis's logger.
func (silent) Printf(context.Context, string, ...any) {}

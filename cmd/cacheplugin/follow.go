package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	gormmysql "gorm.io/driver/mysql"
	gormpostgres "gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/follow"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/replication/mysql"
	"github.com/cacheplugin/cacheplugin/replication/postgres"
)

// followed is a database whose log is followed, or looked at for that.
type followed struct {
	database    string
	slot        string
	publication string
	unpublished []string
	serverID    uint32
}

func (o *followed) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.database, "database", "", "`URL` of the database: postgres://user:password@host/db or mysql://user:password@host/db")
	f.StringVar(&o.slot, "slot", "", "PostgreSQL's replication slot (default cacheplugin)")
	f.StringVar(&o.publication, "publication", "", "PostgreSQL's publication (default cacheplugin)")
	f.StringSliceVar(&o.unpublished, "unpublished", nil, "`tables` that the publication may lack, such as public.audit")
	f.Uint32Var(&o.serverID, "server-id", 0, "MariaDB: the follower's id among the server's replicas (default random)")
}

// url is that of the database; empty if none was given.
func (o *followed) url(a *app) string {
	if o.database == "" {
		return a.env("DATABASE_URL")
	}
	return o.database
}

func (o *followed) postgres(url string) postgres.Config {
	return postgres.Config{URL: url, Slot: o.slot, Publication: o.publication, Unpublished: o.unpublished}
}

// dialect tells the kind of a database that can be followed.
func (o *followed) dialect(url string) (conj.Dialect, error) {
	d, err := databaseDialect(url)
	if err == nil && d == conj.SQLite {
		err = errors.New("SQLite has no log that could be followed")
	}
	if err != nil {
		return 0, usage(err, "give a database of PostgreSQL or MariaDB by --database")
	}
	return d, nil
}

// examine looks whether the database can be followed.
func (o *followed) examine(ctx context.Context, url string) (follow.Findings, error) {
	d, err := o.dialect(url)
	if err != nil {
		return nil, err
	}
	if d == conj.PostgreSQL {
		return postgres.Examine(ctx, o.postgres(url))
	}
	dsn, err := mysqlDSN(url)
	if err != nil {
		return nil, usage(fmt.Errorf("the URL of the database: %w", withoutURL(err)), "write mysql://user:password@host:3306/database")
	}
	return mysql.Examine(ctx, mysql.Config{DSN: dsn, ServerID: o.serverID})
}

func (a *app) followCommand() *cobra.Command {
	var o followed
	var c cacheplugin.Config
	var insideOut bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "follow",
		Short: "Follow a database's log and drop what others change",
		Long: `Follow the log of a PostgreSQL or MariaDB database, and drop from the cache what is
changed without the plugin. It runs until it is interrupted. Run it twice or more
for the case that one dies: one follows, and another takes over within seconds.
Without --database the environment's DATABASE_URL is taken.

cacheplugin doctor --database reports whether the database is set up for it. What
is told to the cache must match the programs' configuration: --prefix, --inside-out,
--db-specific, --replica-lag.`,
		Example: "  cacheplugin follow --database postgres://follower@db.internal/shop --prefix shop",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.connect(cmd.Context()); err != nil {
				return err
			}
			if insideOut {
				c.Mode = cacheplugin.InsideOut
			}
			return a.follow(cmd.Context(), o, c, every)
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&insideOut, "inside-out", false, "the programs' Config.Mode is InsideOut")
	f.BoolVar(&c.DBSpecific, "db-specific", false, "the programs' Config.DBSpecific is set")
	f.DurationVar(&c.ReplicaLag, "replica-lag", 0, "the programs' Config.ReplicaLag")
	f.DurationVar(&every, "every", time.Minute, "how often to say how it does; 0: never")
	return cmd
}

// runner is a follower of either kind.
type runner interface {
	Run(ctx context.Context) error
	Status() follow.Status
}

// follow follows until the context ends.
func (a *app) follow(ctx context.Context, o followed, c cacheplugin.Config, every time.Duration) error {
	url := o.url(a)
	if url == "" {
		return usage(errors.New("no database"), "give its URL by --database or DATABASE_URL")
	}
	d, err := o.dialect(url)
	if err != nil {
		return err
	}
	oneSlot, spread, err := store.Layouts(ctx, a.client, a.prefix)
	if err != nil {
		return a.connection(err)
	}
	if spread && !oneSlot {
		c.Mode, c.Spread = cacheplugin.InsideOut, true
	}
	log := slog.New(slog.NewTextHandler(a.errOut, nil))
	if a.asJSON {
		log = slog.New(slog.NewJSONHandler(a.errOut, nil))
	}
	c.Redis, c.Prefix, c.Logger, c.RedisTimeout = a.client, a.prefix, log, a.timeout
	c.Profiles = cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}} // nothing is cached here: it says what may be
	plugin := cacheplugin.New(c)
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
		defer cancel()
		_ = plugin.Close(after) // it has cached nothing, and queues nothing
	}()
	f, err := o.open(d, url, plugin)
	if err != nil {
		return err
	}
	if every > 0 {
		done := make(chan struct{})
		defer close(done)
		go report(log, f, every, done)
	}
	switch err := f.Run(ctx); {
	case errors.Is(err, postgres.ErrSetup), errors.Is(err, mysql.ErrSetup):
		return problem(err, "see cacheplugin doctor --database")
	default:
		return err
	}
}

// open makes a follower for a plugin.
func (o *followed) open(d conj.Dialect, url string, plugin *cacheplugin.Plugin) (runner, error) {
	config := &gorm.Config{Logger: logger.Discard}
	var dialector gorm.Dialector
	dsn := url
	if d == conj.PostgreSQL {
		dialector = gormpostgres.Open(url)
	} else {
		var err error
		if dsn, err = mysqlDSN(url); err != nil {
			return nil, usage(fmt.Errorf("the URL of the database: %w", withoutURL(err)), "write mysql://user:password@host:3306/database")
		}
		dialector = gormmysql.Open(dsn)
	}
	db, err := gorm.Open(dialector, config)
	if err != nil {
		return nil, &failure{exitConnection, fmt.Errorf("connect to the database: %w", err), "is it running, and reachable from here? Give its URL by --database or DATABASE_URL"}
	}
	if err := db.Use(plugin); err != nil {
		return nil, problem(err, "the flags must match the programs' configuration")
	}
	var f runner
	if d == conj.PostgreSQL {
		f, err = postgres.New(db, o.postgres(url))
	} else {
		f, err = mysql.New(db, mysql.Config{DSN: dsn, ServerID: o.serverID})
	}
	if err != nil {
		return nil, usage(err, "see cacheplugin follow --help")
	}
	return f, nil
}

// report says how a follower does.
func report(log *slog.Logger, f runner, every time.Duration, done <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			s := f.Status()
			log.Info("change capture", "active", s.Active, "position", s.Position, "lag", s.Lag.String(), "behind_bytes", s.Behind,
				"transactions", s.Transactions, "changes", s.Changes, "lost", s.Lost)
		}
	}
}

// followers reports who follows for the prefix.
func (d *diagnosis) followers(ctx context.Context, s *store.Store) {
	seats, err := s.Seats(ctx)
	if err != nil {
		d.add("followers", stateWarning, "permit SCAN and HGETALL to this user", "they can't be asked for: %v", err)
		return
	}
	for _, seat := range seats {
		if seat.Held {
			d.add("follower", stateOK, "", "%s is followed, up to %s", seat.About, seat.Position)
			continue
		}
		d.add("follower", stateWarning, "start cacheplugin follow, or a follower in a program: what others write is not seen. If none is to run any more, drop PostgreSQL's replication slot, which fills the disk",
			"nobody follows %s since %s", seat.About, seat.Told.Format(time.RFC3339))
	}
}

// database adds what was found in a database that is to be followed.
func (d *diagnosis) database(findings follow.Findings) {
	for _, f := range findings {
		d.add("database: "+f.Name, string(f.State), f.Remedy, "%s", f.Found)
	}
}

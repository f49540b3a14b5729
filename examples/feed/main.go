// Command feed keeps who follows whom, in lists that writes maintain: a follow is one row
// more in a list, where the result of a query would be dropped and read anew.
//
// It needs nothing: SQLite and a Redis run in the process. Point it at real servers by
// flags or by the environment (DATABASE_URL, REDIS_URL). On a given database it makes a
// table feed_follows and drops it at the end.
//
//	go run ./examples/feed
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/lists"
)

func main() {
	database := flag.String("postgres", os.Getenv("DATABASE_URL"), "URL of a PostgreSQL database; SQLite in the process if empty")
	server := flag.String("redis", os.Getenv("REDIS_URL"), "URL of a Redis server; one in the process if empty")
	flag.Parse()
	if err := run(os.Stdout, *database, *server); err != nil {
		log.Fatal(err)
	}
}

func run(out io.Writer, databaseURL, redisURL string) (err error) {
	db, closeAll, err := open(databaseURL, redisURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	if err := db.AutoMigrate(&Follow{}); err != nil {
		return fmt.Errorf("make the table: %w", err)
	}
	defer func() { err = errors.Join(err, db.Migrator().DropTable(&Follow{})) }()
	return show(context.Background(), out, db)
}

// show follows and unfollows, and prints what the lists say.
func show(ctx context.Context, out io.Writer, db *gorm.DB) error {
	network, err := NewNetwork(db)
	if err != nil {
		return err
	}
	asked := 0
	if err := db.Callback().Row().Before("gorm:row").Register("feed:asked", func(*gorm.DB) { asked++ }); err != nil {
		return err
	}
	const me = 1
	now := time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC)
	for i := range 1000 { // ten a day
		if err := network.Follow(ctx, me, 1000+i, now.AddDate(0, 0, -i/10)); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		title string
		write func() error
	}{
		{"I follow a thousand. The list is read once, and kept:", nil},
		{"Asked again:", nil},
		{"I follow one more. That row alone is read:", func() error { return network.Follow(ctx, me, 2, now) }},
		{"I unfollow one, and somebody else follows me:", func() error {
			return errors.Join(network.Unfollow(ctx, me, 1000), network.Follow(ctx, 2, me, now))
		}},
	} {
		if step.write != nil {
			if err := step.write(); err != nil {
				return err
			}
		}
		asked = 0
		newest, err := network.Following(ctx, me, 0, 3)
		if err != nil {
			return err
		}
		n, err := network.follows.Count(ctx, lists.Key("FollowerID", me))
		if err != nil {
			return err
		}
		days, err := network.Daily(ctx, me, now.AddDate(0, 0, -99), now)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n  %d in all, %d today, the newest are", step.title, n, days[len(days)-1].Count)
		for _, f := range newest {
			fmt.Fprintf(out, " %d", f.FolloweeID)
		}
		fmt.Fprintf(out, "; asked the database %d times\n", asked)
	}
	for _, other := range []int{2, 1000} {
		follows, err := network.Follows(ctx, me, other)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "Do I follow %d? %v\n", other, follows)
	}
	return nil
}

// open opens the database with the plugin.
func open(databaseURL, redisURL string) (*gorm.DB, func() error, error) {
	var closers []func() error
	closeAll := func() (err error) {
		for i := len(closers) - 1; i >= 0; i-- {
			err = errors.Join(err, closers[i]())
		}
		return err
	}
	fail := func(err error) (*gorm.DB, func() error, error) { return nil, nil, errors.Join(err, closeAll()) }
	if redisURL == "" {
		server, err := miniredis.Run()
		if err != nil {
			return fail(fmt.Errorf("start the embedded Redis: %w", err))
		}
		closers = append(closers, func() error { server.Close(); return nil })
		redisURL = "redis://" + server.Addr()
	}
	options, err := redis.ParseURL(redisURL)
	if err != nil {
		return fail(fmt.Errorf("-redis: %w", err))
	}
	client := redis.NewClient(options)
	closers = append(closers, client.Close)
	dialector := postgres.Open(databaseURL)
	if databaseURL == "" {
		dialector = sqlite.Open("file:feed?mode=memory&cache=shared")
	}
	db, err := gorm.Open(dialector, &gorm.Config{Logger: logger.Default.LogMode(logger.Error)})
	if err != nil {
		return fail(fmt.Errorf("open the database: %w", err))
	}
	pool, err := db.DB()
	if err != nil {
		return fail(err)
	}
	closers = append(closers, pool.Close)
	// No query is cached here: lists say what they keep themselves.
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis: client, Prefix: "feed", RequireRedis: true,
		Profiles: cacheplugin.Profiles{"feed_*": {Timeout: time.Hour}},
	})
	if err := db.Use(plugin); err != nil {
		return fail(err)
	}
	closers = append(closers, func() error { return plugin.Close(context.Background()) })
	return db, closeAll, nil
}

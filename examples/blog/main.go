// Command blog is a small site whose queries, counts, page parts and pages are
// cached, and dropped by what is written. It needs nothing: SQLite and a Redis
// run in the process. Point it at real servers by flags or by the environment
// (DATABASE_URL, REDIS_URL); it makes its tables, blog_*, where they are missing.
//
//	go run ./examples/blog
//	curl -i localhost:8080/                                        # X-Cache: miss
//	curl -i localhost:8080/                                        # X-Cache: hit
//	curl -i -d text=Fine localhost:8080/articles/1/comments
//	curl -i localhost:8080/articles/1                              # X-Cache: miss
//	curl -i localhost:8080/articles/2                              # as cached as before
//	curl localhost:8080/metrics                                    # what the plugin does, for Prometheus
//
// compose.yaml has servers for it, with Prometheus and the dashboard in Grafana.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	metrics "github.com/cacheplugin/cacheplugin/metrics/prometheus"
)

func main() {
	address := flag.String("listen", "localhost:8080", "address to listen on")
	database := flag.String("postgres", os.Getenv("DATABASE_URL"), "URL of a PostgreSQL database; SQLite in the process if empty")
	server := flag.String("redis", os.Getenv("REDIS_URL"), "URL of a Redis server; one in the process if empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *address, *database, *server); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, address, database, redisURL string) error {
	observer := metrics.New(metrics.Options{})
	registry := prometheus.NewRegistry()
	registry.MustRegister(observer)
	db, closeAll, err := open(database, redisURL, observer)
	if err != nil {
		return err
	}
	defer closeAll()
	pages, err := site(db)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	fmt.Println("listening on http://" + address)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// open connects to the servers, or starts them in the process, and installs the
// plugin.
func open(database, redisURL string, observer cacheplugin.Observer) (db *gorm.DB, closeAll func(), err error) {
	var closers []func() error
	closeAll = func() {
		for i := len(closers) - 1; i >= 0; i-- {
			if err := closers[i](); err != nil {
				log.Print(err)
			}
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()

	options := &redis.Options{}
	if redisURL == "" {
		embedded, err := miniredis.Run()
		if err != nil {
			return nil, nil, fmt.Errorf("start the embedded Redis: %w", err)
		}
		closers = append(closers, func() error { embedded.Close(); return nil })
		options.Addr = embedded.Addr()
	} else if options, err = redis.ParseURL(redisURL); err != nil {
		return nil, nil, fmt.Errorf("-redis: %w", err)
	}
	client := redis.NewClient(options)
	closers = append(closers, client.Close)

	dialector := sqlite.Open("file:/blog?vfs=memdb&_busy_timeout=5000")
	if database != "" {
		dialector = postgres.Open(database)
	}
	if db, err = gorm.Open(dialector, &gorm.Config{}); err != nil {
		return nil, nil, fmt.Errorf("open the database: %w", err)
	}
	pool, err := db.DB()
	if err != nil {
		return nil, nil, err
	}
	// SQLite's memory is gone with its last connection.
	pool.SetMaxIdleConns(2)
	pool.SetConnMaxIdleTime(0)
	closers = append(closers, pool.Close)

	plugin := cacheplugin.New(cacheplugin.Config{
		Redis:    client,
		Prefix:   "blog",
		Observer: observer,
		Defaults: cacheplugin.Profile{Timeout: time.Hour},
		Profiles: cacheplugin.Profiles{
			"blog_authors":  {Ops: cache.All, Timeout: 24 * time.Hour},
			"blog_articles": {Ops: cache.Get | cache.Fetch},
			"blog_*":        {}, // by hand: the comments' count, below
		},
	})
	if err := db.Use(plugin); err != nil {
		return nil, nil, err
	}
	closers = append(closers, func() error { return plugin.Close(context.Background()) })
	if err := seed(db); err != nil {
		return nil, nil, err
	}
	return db, closeAll, nil
}

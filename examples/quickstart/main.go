// Command quickstart shows what the plugin does on a small database: a miss, a
// hit, an invalidation that leaves a neighbour cached, a transaction that is
// rolled back and one that is committed.
//
// It needs nothing: SQLite and a Redis run in the process. Point it at real
// servers by flags or by the environment:
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -postgres 'postgres://user:password@localhost:5432/db' -redis redis://localhost:6379
//	DATABASE_URL=postgres://... REDIS_URL=redis://... go run ./examples/quickstart
//
// On a given database it makes a table quickstart_articles and drops it at the
// end.
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
	"github.com/cacheplugin/cacheplugin/cache"
)

// Article is the model of this program.
type Article struct {
	ID    uint
	TagID int
	Title string
}

// TableName implements GORM's Tabler.
func (Article) TableName() string { return "quickstart_articles" }

func main() {
	database := flag.String("postgres", os.Getenv("DATABASE_URL"), "URL of a PostgreSQL database; SQLite in the process if empty")
	server := flag.String("redis", os.Getenv("REDIS_URL"), "URL of a Redis server; one in the process if empty")
	flag.Parse()
	if err := run(os.Stdout, *database, *server); err != nil {
		log.Fatal(err)
	}
}

func run(out io.Writer, databaseURL, redisURL string) (err error) {
	client, where, closeRedis, err := openRedis(redisURL)
	if err != nil {
		return err
	}
	defer closeRedis()
	db, name, err := openDatabase(databaseURL)
	if err != nil {
		return err
	}
	defer func() {
		if sqlDB, dbErr := db.DB(); dbErr == nil {
			err = errors.Join(err, sqlDB.Close())
		}
	}()

	// Three lines to install: the profile says that every query on articles
	// is cached for an hour.
	last := ""
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis:        client,
		Prefix:       "quickstart",
		RequireRedis: true,
		Profiles:     cacheplugin.Profiles{"quickstart_*": {Ops: cache.All, Timeout: time.Hour}},
		Observer: cacheplugin.ObserverFunc(func(_ context.Context, e cacheplugin.Event) {
			switch e.Kind {
			case cacheplugin.EventHit, cacheplugin.EventMiss:
				last = e.Kind.String()
			case cacheplugin.EventSkip:
				last = "bypassed" // the database answers, nothing is stored
			}
		}),
	})
	if err := db.Use(plugin); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plugin.Close(context.Background())) }()

	if err := db.AutoMigrate(&Article{}); err != nil {
		return fmt.Errorf("make the table: %w", err)
	}
	defer func() { err = errors.Join(err, db.Migrator().DropTable(&Article{})) }()
	articles := []Article{{TagID: 1, Title: "Hydrogen"}, {TagID: 2, Title: "Helium"}, {TagID: 2, Title: "Lithium"}}
	if err := db.Create(&articles).Error; err != nil {
		return fmt.Errorf("create the articles: %w", err)
	}

	fmt.Fprintf(out, "database: %s, cache: %s\n", name, where)
	list := func(handle *gorm.DB, tag int) error {
		var found []Article
		last = "database"
		start := time.Now()
		if err := handle.Where("tag_id = ?", tag).Order("id").Find(&found).Error; err != nil {
			return fmt.Errorf("list tag %d: %w", tag, err)
		}
		took := time.Since(start).Round(time.Microsecond)
		titles := make([]string, len(found))
		for i, a := range found {
			titles[i] = a.Title
		}
		fmt.Fprintf(out, "  tag %d: %-9s %8s  %q\n", tag, last, took, titles)
		return nil
	}
	step := func(title string, do func() error) {
		if err != nil {
			return
		}
		fmt.Fprintln(out, title)
		err = do()
	}
	both := func() error { return errors.Join(list(db, 1), list(db, 2)) }

	step("\nThe first reads ask the database:", both)
	step("\nThe second ones are answered from Redis:", both)
	step("\nAn article of tag 2 gets a new title. The list of tag 2 is dropped, its neighbour stays:", func() error {
		if err := db.Model(&articles[1]).Update("title", "Helium-4").Error; err != nil {
			return err
		}
		return both()
	})
	step("\nA transaction moves an article from tag 2 to tag 1 and is rolled back.\nInside it reads the database, outside nothing has changed:", func() error {
		rollback := errors.New("roll back")
		err := db.Transaction(func(tx *gorm.DB) error {
			if err := tx.Model(&articles[2]).Update("tag_id", 1).Error; err != nil {
				return err
			}
			return errors.Join(list(tx, 1), rollback)
		})
		if !errors.Is(err, rollback) {
			return err
		}
		articles[2].TagID = 2
		return both()
	})
	step("\nThe same, committed: both lists were touched, and both are read anew:", func() error {
		err := db.Transaction(func(tx *gorm.DB) error {
			return tx.Model(&articles[2]).Update("tag_id", 1).Error
		})
		return errors.Join(err, both())
	})
	step("\nWhat would drop the list of tag 1?", func() error {
		x, err := cacheplugin.Explain(db.Model(&Article{}).Where("tag_id = ?", 1))
		fmt.Fprint(out, x)
		return err
	})
	if err != nil {
		return err
	}
	s := plugin.Stats()
	fmt.Fprintf(out, "\n%d hits, %d misses, %d results stored, %d dropped\n", s.Hits, s.Misses, s.Stores, s.Dropped)
	return nil
}

// openRedis connects to a server, or starts one in the process.
func openRedis(url string) (client *redis.Client, where string, closeAll func(), err error) {
	if url == "" {
		server, err := miniredis.Run()
		if err != nil {
			return nil, "", nil, fmt.Errorf("start the embedded Redis: %w", err)
		}
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		return client, "Redis in the process", func() { _ = client.Close(); server.Close() }, nil
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, "", nil, fmt.Errorf("-redis: %w", err)
	}
	client = redis.NewClient(options)
	return client, "Redis at " + options.Addr, func() { _ = client.Close() }, nil
}

// openDatabase connects to PostgreSQL, or opens SQLite in memory.
func openDatabase(url string) (*gorm.DB, string, error) {
	config := &gorm.Config{Logger: logger.Default.LogMode(logger.Error)}
	if url == "" {
		db, err := gorm.Open(sqlite.Open("file:quickstart?mode=memory&cache=shared"), config)
		if err != nil {
			return nil, "", fmt.Errorf("open SQLite: %w", err)
		}
		return db, "SQLite in memory", nil
	}
	db, err := gorm.Open(postgres.Open(url), config)
	if err != nil {
		return nil, "", fmt.Errorf("-postgres: %w", err)
	}
	return db, "PostgreSQL", nil
}

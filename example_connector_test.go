package cacheplugin_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/mattn/go-sqlite3"
	"github.com/redis/go-redis/v9"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
)

// sqliteConnector is a connector for a driver that has none of its own.
type sqliteConnector struct{ dsn string }

func (c sqliteConnector) Driver() driver.Driver { return &sqlite3.SQLiteDriver{} }

func (c sqliteConnector) Connect(context.Context) (driver.Conn, error) { return c.Driver().Open(c.dsn) }

// The program opens its pool itself. What it writes through it without GORM is
// invalidated, too.
func ExampleConnector() {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()

	pool := sql.OpenDB(cacheplugin.Connector(sqliteConnector{"file:/connector?vfs=memdb"}))
	defer pool.Close()
	db, err := gorm.Open(sqlite.New(sqlite.Config{Conn: pool}))
	if err != nil {
		log.Fatal(err)
	}
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis:    client,
		Profiles: cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}},
	})
	if err := db.Use(plugin); err != nil {
		log.Fatal(err)
	}
	defer plugin.Close(context.Background())
	if err := db.AutoMigrate(&Article{}); err != nil {
		log.Fatal(err)
	}
	db.Create(&Article{ID: 1, Title: "Hydrogen"})

	title := func() string {
		var a Article
		db.First(&a, 1)
		return a.Title
	}
	fmt.Println(title(), title(), plugin.Stats().Hits)
	if _, err := pool.Exec("UPDATE articles SET title = ? WHERE id = ?", "Deuterium", 1); err != nil {
		log.Fatal(err)
	}
	fmt.Println(title())
	// Output:
	// Hydrogen Hydrogen 1
	// Deuterium
}

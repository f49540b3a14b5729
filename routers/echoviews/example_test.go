package echoviews_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/labstack/echo/v5"
	"github.com/redis/go-redis/v9"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/decorators"
	"github.com/cacheplugin/cacheplugin/routers/echoviews"
)

// Article is the model of the example.
type Article struct {
	ID    uint
	Title string
}

// openBlog opens a database in memory and a Redis in the process, with the
// plugin installed and two articles.
func openBlog() (db *gorm.DB, closeAll func()) {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	db, err = gorm.Open(sqlite.Open("file:/echoviews?vfs=memdb"), &gorm.Config{})
	if err != nil {
		log.Fatal(err)
	}
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis:        client,
		RedisTimeout: 10 * time.Second,
		LeaseTTL:     time.Minute,
		Profiles:     cacheplugin.Profiles{"*": {Timeout: time.Hour}},
	})
	if err := db.Use(plugin); err != nil {
		log.Fatal(err)
	}
	if err := db.AutoMigrate(&Article{}); err != nil {
		log.Fatal(err)
	}
	if err := db.Create(&[]Article{{Title: "Hydrogen"}, {Title: "Helium"}}).Error; err != nil {
		log.Fatal(err)
	}
	pool, err := db.DB()
	if err != nil {
		log.Fatal(err)
	}
	return db, func() {
		if err := errors.Join(plugin.Close(context.Background()), pool.Close(), client.Close()); err != nil {
			log.Fatal(err)
		}
		server.Close()
	}
}

// A page that is cached until an article changes.
func ExampleCached() {
	db, closeAll := openBlog()
	defer closeAll()
	views, err := decorators.ViewAs(db, "articles", decorators.Samples(&Article{}), decorators.StatusHeader("X-Cache"))
	if err != nil {
		log.Fatal(err)
	}

	e := echo.New()
	e.GET("/articles", func(c *echo.Context) error {
		var titles []string
		if err := db.WithContext(c.Request().Context()).Model(&Article{}).Order("id").Pluck("title", &titles).Error; err != nil {
			return err
		}
		return c.String(http.StatusOK, fmt.Sprint(titles))
	}, echoviews.Cached(views))

	show := func() {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/articles", nil))
		fmt.Println(w.Header().Get("X-Cache"), w.Body)
	}
	show()
	show()
	db.Model(&Article{}).Where("title = ?", "Helium").Update("title", "Helium-4")
	show()
	// Output:
	// miss [Hydrogen Helium]
	// hit [Hydrogen Helium]
	// miss [Hydrogen Helium-4]
}

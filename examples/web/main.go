// Command web is a small site whose pages, page parts and counts are cached, and
// dropped by what is written. It needs nothing: SQLite and a Redis run in the
// process.
//
//	go run ./examples/web
//	curl -i localhost:8080/            # X-Cache: miss
//	curl -i localhost:8080/            # X-Cache: hit
//	curl -d title=New localhost:8080/articles
//	curl -i localhost:8080/            # X-Cache: miss
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/decorators"
)

// Article is the site's only model.
type Article struct {
	ID    uint
	Title string
}

const templates = `
{{define "page"}}<!doctype html><title>Articles</title>
{{cachedAs "list" .Ctx "articles" "" .}}
<p>{{.Count}} articles</p>{{end}}
{{define "list"}}<ul>{{range articles}}<li>{{.Title}}{{end}}</ul>{{end}}`

func main() {
	address := flag.String("listen", "localhost:8080", "address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *address); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, address string) error {
	db, closeAll, err := open()
	if err != nil {
		return err
	}
	defer closeAll()
	handler, err := site(db)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	fmt.Println("listening on http://" + address)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// open makes a database in memory with the plugin installed.
func open() (db *gorm.DB, closeAll func(), err error) {
	server, err := miniredis.Run()
	if err != nil {
		return nil, nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	db, err = gorm.Open(sqlite.Open("file::memory:"), &gorm.Config{})
	if err != nil {
		return nil, nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, nil, err
	}
	pool.SetMaxOpenConns(1) // each connection has a database of its own
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis:    client,
		Profiles: cacheplugin.Profiles{"*": {Timeout: time.Hour}},
	})
	closeAll = func() {
		if err := errors.Join(plugin.Close(context.Background()), pool.Close(), client.Close()); err != nil {
			log.Print(err)
		}
		server.Close()
	}
	err = errors.Join(db.Use(plugin), db.AutoMigrate(&Article{}), db.Create(&[]Article{{Title: "Hydrogen"}, {Title: "Helium"}}).Error)
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	return db, closeAll, nil
}

// site returns the pages: a count by a function, a list by a fragment, and both
// in a page that is cached as a whole.
func site(db *gorm.DB) (http.Handler, error) {
	count, err := decorators.CachedAs(db, "count", func(ctx context.Context, _ struct{}) (n int64, err error) {
		err = decorators.Handle(ctx, db).Model(&Article{}).Count(&n).Error
		return n, err
	}, decorators.Samples(&Article{}))
	if err != nil {
		return nil, err
	}

	fragments, err := decorators.NewFragments(db, "site")
	if err != nil {
		return nil, err
	}
	set, err := template.New("site").Funcs(fragments.FuncMap()).Funcs(template.FuncMap{
		"articles": func() ([]Article, error) {
			var all []Article
			err := db.Order("id").Find(&all).Error
			return all, err
		},
	}).Parse(templates)
	if err != nil {
		return nil, err
	}
	fragments.Bind(set)

	pages, err := decorators.ViewAs(db, "pages", decorators.Samples(&Article{}), decorators.StatusHeader("X-Cache"), decorators.Lock())
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", pages.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := count.Call(r.Context(), struct{}{})
		if err == nil {
			err = set.ExecuteTemplate(w, "page", map[string]any{"Ctx": r.Context(), "Count": n})
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})))
	mux.HandleFunc("POST /articles", func(w http.ResponseWriter, r *http.Request) {
		if err := db.WithContext(r.Context()).Create(&Article{Title: r.FormValue("title")}).Error; err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	return mux, nil
}

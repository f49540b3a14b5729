package decorators_test

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/decorators"
)

// Article is the model of the examples.
type Article struct {
	ID         uint
	CategoryID int
	Title      string
}

// openBlog opens a database in memory and a Redis in the process, with the
// plugin installed and an article in each of two categories.
func openBlog() (db *gorm.DB, closeAll func()) {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	db, err = gorm.Open(sqlite.Open("file::memory:?cache=private"), &gorm.Config{})
	if err != nil {
		log.Fatal(err)
	}
	pool, err := db.DB()
	if err != nil {
		log.Fatal(err)
	}
	pool.SetMaxOpenConns(1) // each connection has a database of its own
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis:        client,
		RedisTimeout: 10 * time.Second,
		LeaseTTL:     time.Minute,
		Profiles:     cacheplugin.Profiles{"*": {Timeout: time.Hour}},
		Defaults:     cacheplugin.Profile{Timeout: time.Minute},
	})
	if err := db.Use(plugin); err != nil {
		log.Fatal(err)
	}
	if err := db.AutoMigrate(&Article{}); err != nil {
		log.Fatal(err)
	}
	if err := db.Create(&[]Article{{CategoryID: 1, Title: "Hydrogen"}, {CategoryID: 2, Title: "Helium"}}).Error; err != nil {
		log.Fatal(err)
	}
	return db, func() {
		if err := errors.Join(plugin.Close(context.Background()), pool.Close(), client.Close()); err != nil {
			log.Fatal(err)
		}
		server.Close()
	}
}

// A function that is invalidated by what it reads.
func ExampleCachedAs() {
	db, closeAll := openBlog()
	defer closeAll()
	ctx := context.Background()

	ofCategory := func(category int) *gorm.DB {
		return db.Model(&Article{}).Where("category_id = ?", category)
	}
	count, err := decorators.CachedAs(db, "articles/count",
		func(ctx context.Context, category int) (int64, error) {
			fmt.Println("counting category", category)
			var n int64
			err := ofCategory(category).WithContext(ctx).Count(&n).Error
			return n, err
		},
		decorators.SamplesOf(func(category int) []any { return []any{ofCategory(category)} }))
	if err != nil {
		log.Fatal(err)
	}
	show := func(category int) {
		n, err := count.Call(ctx, category)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(category, "has", n)
	}
	show(1)
	show(1)
	show(2)
	db.Create(&Article{CategoryID: 1, Title: "Deuterium"})
	show(1)
	show(2)
	// Output:
	// counting category 1
	// 1 has 1
	// 1 has 1
	// counting category 2
	// 2 has 1
	// counting category 1
	// 1 has 2
	// 2 has 1
}

// A function that is cached for a time, and its keys.
func ExampleCached() {
	db, closeAll := openBlog()
	defer closeAll()
	ctx := context.Background()

	square, err := decorators.Cached(db, "square", func(_ context.Context, n int) (int, error) {
		fmt.Println("computing", n)
		return n * n, nil
	}, decorators.Timeout(10*time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	call := func() {
		n, err := square.Call(ctx, 3)
		fmt.Println(n, err)
	}
	call()
	call()
	if err := square.Set(ctx, 3, 99); err != nil {
		log.Fatal(err)
	}
	call()
	if err := square.Invalidate(ctx, 3); err != nil {
		log.Fatal(err)
	}
	call()
	// Output:
	// computing 3
	// 9 <nil>
	// 9 <nil>
	// 99 <nil>
	// computing 3
	// 9 <nil>
}

// A handler whose responses are dropped by what they show.
func ExampleViewAs() {
	db, closeAll := openBlog()
	defer closeAll()

	list, err := decorators.ViewAs(db, "articles", decorators.Samples(&Article{}), decorators.StatusHeader("X-Cache"))
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /articles", list.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var titles []string
		if err := db.WithContext(r.Context()).Model(&Article{}).Order("id").Pluck("title", &titles).Error; err != nil {
			http.Error(w, "no articles today", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, titles)
	})))
	show := func() {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/articles", nil))
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

// A handler whose responses are kept for a time, apart by language.
func ExampleView() {
	db, closeAll := openBlog()
	defer closeAll()

	hello, err := decorators.View(db, "hello", decorators.Timeout(time.Minute), decorators.Headers("Accept-Language"))
	if err != nil {
		log.Fatal(err)
	}
	handler := hello.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		language := r.Header.Get("Accept-Language")
		fmt.Println("greeting in", language)
		fmt.Fprint(w, map[string]string{"en": "hello", "de": "hallo"}[language])
	}))
	for _, language := range []string{"en", "de", "en"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", language)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Body)
	}
	// Output:
	// greeting in en
	// hello
	// greeting in de
	// hallo
	// hello
}

// Dropping what was answered to a URI.
func ExampleViews_Invalidate() {
	db, closeAll := openBlog()
	defer closeAll()

	pages, err := decorators.View(db, "pages", decorators.StatusHeader("X-Cache"))
	if err != nil {
		log.Fatal(err)
	}
	handler := pages.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "page ", r.URL.Query().Get("n"))
	}))
	show := func() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://example.com/pages?n=2", nil))
		fmt.Println(w.Header().Get("X-Cache"))
	}
	show()
	show()
	if err := pages.Invalidate(context.Background(), "http://example.com/pages?n=2"); err != nil {
		log.Fatal(err)
	}
	show()
	// Output:
	// miss
	// hit
	// miss
}

// A part of a page.
func ExampleFragments() {
	db, closeAll := openBlog()
	defer closeAll()

	fragments, err := decorators.NewFragments(db, "site")
	if err != nil {
		log.Fatal(err)
	}
	set := template.Must(template.New("site").
		Funcs(fragments.FuncMap()).
		Funcs(template.FuncMap{"list": func() ([]Article, error) {
			var all []Article
			err := db.Order("id").Find(&all).Error
			return all, err
		}}).
		Parse(`{{define "page"}}<h1>{{.Title}}</h1>{{cachedAs "menu" .Ctx "articles" "10m" .}}
{{end}}{{define "menu"}}{{range list}}<li>{{.Title}}{{end}}{{end}}`))
	fragments.Bind(set)

	show := func(title string) {
		data := map[string]any{"Ctx": context.Background(), "Title": title}
		if err := set.ExecuteTemplate(os.Stdout, "page", data); err != nil {
			log.Fatal(err)
		}
	}
	show("One")
	show("Two")
	db.Create(&Article{Title: "<Lithium>"})
	show("Three")
	// Output:
	// <h1>One</h1><li>Hydrogen<li>Helium
	// <h1>Two</h1><li>Hydrogen<li>Helium
	// <h1>Three</h1><li>Hydrogen<li>Helium<li>&lt;Lithium&gt;
}

// A function of one's own for templates, which decides what is cached.
func ExampleFragments_Render() {
	db, closeAll := openBlog()
	defer closeAll()

	fragments, err := decorators.NewFragments(db, "staff", decorators.Timeout(time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	fragments.Bind(template.Must(template.New("staff").Parse(`{{define "greeting"}}<b>{{.}}</b>{{end}}`)))
	show := func(name, language string, staff bool) {
		out, err := fragments.Render(context.Background(), "greeting", name, decorators.Fragment{
			Off:   staff,
			Extra: []any{language},
		})
		fmt.Println(out, err)
	}
	show("Ann", "en", false)
	show("Bob", "en", false)
	show("Bob", "de", false)
	show("Carl", "en", true)
	// Output:
	// <b>Ann</b> <nil>
	// <b>Ann</b> <nil>
	// <b>Bob</b> <nil>
	// <b>Carl</b> <nil>
}

// Keys and values, in the plugin's Redis.
func ExampleNewRedisCache() {
	db, closeAll := openBlog()
	defer closeAll()
	ctx := context.Background()

	simple, err := decorators.NewRedisCache(db)
	if err != nil {
		log.Fatal(err)
	}
	if err := simple.Set(ctx, "motto", []byte("never stale"), time.Hour); err != nil {
		log.Fatal(err)
	}
	motto, err := simple.Get(ctx, "motto")
	fmt.Println(string(motto), err)
	if err := simple.Delete(ctx, "motto"); err != nil {
		log.Fatal(err)
	}
	_, err = simple.Get(ctx, "motto")
	fmt.Println(err)
	// Output:
	// never stale <nil>
	// decorators: cache miss
}

// Values of any type, by key.
func ExampleSetAs() {
	db, closeAll := openBlog()
	defer closeAll()
	ctx := context.Background()

	simple, err := decorators.NewRedisCache(db)
	if err != nil {
		log.Fatal(err)
	}
	if err := decorators.SetAs(ctx, simple, "limits", map[string]int{"posts": 10}, time.Hour); err != nil {
		log.Fatal(err)
	}
	limits, err := decorators.GetAs[map[string]int](ctx, simple, "limits")
	fmt.Println(limits, err)
	_, err = decorators.GetAs[[]string](ctx, simple, "limits")
	fmt.Println("another type:", errors.Is(err, decorators.ErrMiss))
	// Output:
	// map[posts:10] <nil>
	// another type: true
}

// A name belongs to one function; its version says which release of it.
func ExampleVersion() {
	db, closeAll := openBlog()
	defer closeAll()

	double := func(_ context.Context, n int) (int, error) { return 2 * n, nil }
	_, err := decorators.Cached(db, "double", double, decorators.Version("2026-01"))
	fmt.Println(err)
	_, err = decorators.Cached(db, "double", double)
	fmt.Println(errors.Is(err, decorators.ErrNameTaken))
	// Output:
	// <nil>
	// true
}

// Values of functions in files, without a database.
func ExampleOn() {
	dir, err := os.MkdirTemp("", "cache")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	files, err := decorators.NewFileCache(dir)
	if err != nil {
		log.Fatal(err)
	}
	square, err := decorators.Cached(nil, "square", func(_ context.Context, n int) (int, error) {
		fmt.Println("computing", n)
		return n * n, nil
	}, decorators.On(files), decorators.Timeout(time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		n, err := square.Call(context.Background(), 3)
		fmt.Println(n, err)
	}
	// Output:
	// computing 3
	// 9 <nil>
	// 9 <nil>
}

// Errors that are results, too.
func ExampleCacheErrors() {
	db, closeAll := openBlog()
	defer closeAll()

	title, err := decorators.CachedAs(db, "title", func(ctx context.Context, id uint) (string, error) {
		fmt.Println("looking for", id)
		var a Article
		err := db.WithContext(ctx).Session(&gorm.Session{Logger: logger.Discard}).First(&a, id).Error
		return a.Title, err
	}, decorators.Samples(&Article{}), decorators.CacheErrors(gorm.ErrRecordNotFound))
	if err != nil {
		log.Fatal(err)
	}
	show := func() {
		text, err := title.Call(context.Background(), 3)
		fmt.Printf("%q %v\n", text, err)
	}
	show()
	show()
	db.Create(&Article{ID: 3, Title: "Lithium"})
	show()
	// Output:
	// looking for 3
	// "" record not found
	// "" record not found
	// looking for 3
	// "Lithium" <nil>
}

// Keys and values, in files.
func ExampleFileCache() {
	dir, err := os.MkdirTemp("", "cache")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	files, err := decorators.NewFileCache(dir)
	if err != nil {
		log.Fatal(err)
	}
	if err := decorators.SetAs(ctx, files, "primes", []int{2, 3, 5}, time.Hour); err != nil {
		log.Fatal(err)
	}
	primes, err := decorators.GetAs[[]int](ctx, files, "primes")
	fmt.Println(primes, err)
	_, err = decorators.GetAs[[]int](ctx, files, "squares")
	fmt.Println(errors.Is(err, decorators.ErrMiss))
	// Output:
	// [2 3 5] <nil>
	// true
}

// Calls in a transaction.
func ExampleIn() {
	db, closeAll := openBlog()
	defer closeAll()

	count, err := decorators.CachedAs(db, "count", func(ctx context.Context, _ struct{}) (n int64, err error) {
		err = decorators.Handle(ctx, db).Model(&Article{}).Count(&n).Error
		return n, err
	}, decorators.Samples(&Article{}))
	if err != nil {
		log.Fatal(err)
	}
	err = db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&Article{Title: "Lithium"}).Error; err != nil {
			return err
		}
		ctx := decorators.In(context.Background(), tx)
		n, err := count.Call(ctx, struct{}{})
		fmt.Println("inside:", n)
		if err != nil {
			return err
		}
		return errors.New("roll back")
	})
	fmt.Println(err)
	n, err := count.Call(context.Background(), struct{}{})
	fmt.Println("outside:", n, err)
	// Output:
	// inside: 3
	// roll back
	// outside: 2 <nil>
}

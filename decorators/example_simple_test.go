package decorators_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/cacheplugin/cacheplugin/decorators"
)

// Keys and values that only time drops, under the plugin's prefix.
func ExampleNewRedisCache() {
	db, closeAll := openBlog()
	defer closeAll()
	ctx := context.Background()

	c, err := decorators.NewRedisCache(db)
	if err != nil {
		log.Fatal(err)
	}
	_, err = decorators.GetAs[[]string](ctx, c, "titles")
	fmt.Println(errors.Is(err, decorators.ErrMiss))
	if err := decorators.SetAs(ctx, c, "titles", []string{"Hydrogen", "Helium"}, time.Hour); err != nil {
		log.Fatal(err)
	}
	titles, err := decorators.GetAs[[]string](ctx, c, "titles")
	fmt.Println(titles, err)
	// Output:
	// true
	// [Hydrogen Helium] <nil>
}

// A page that goes by time only.
func ExampleView() {
	db, closeAll := openBlog()
	defer closeAll()

	clock, err := decorators.View(db, "clock", decorators.Timeout(time.Minute), decorators.StatusHeader("X-Cache"))
	if err != nil {
		log.Fatal(err)
	}
	made := 0
	page := clock.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		made++
		_, _ = fmt.Fprint(w, "page ", made)
	}))
	for range 2 {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://example.com/clock", nil))
		fmt.Println(w.Body, w.Header().Get("X-Cache"))
	}
	// Output:
	// page 1 miss
	// page 1 hit
}

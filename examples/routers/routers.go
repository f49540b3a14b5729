// Package routers shows the middleware of package decorators under the routers
// that programs use beside net/http: chi, gin and echo. Each site has one page,
// the titles of the articles, dropped when an article changes.
package routers

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/decorators"
)

// Article is the model of the page.
type Article struct {
	ID    uint
	Title string
}

// page lists the titles.
func page(db *gorm.DB) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var titles []string
		err := decorators.Handle(r.Context(), db).Model(&Article{}).Order("id").Pluck("title", &titles).Error
		if err != nil {
			http.Error(w, "the articles can't be listed", http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "%q", titles)
	}
}

// cached is the middleware that all three use.
func cached(db *gorm.DB) (*decorators.Views, error) {
	return decorators.ViewAs(db, "articles", decorators.Samples(&Article{}), decorators.StatusHeader("X-Cache"))
}

// Chi takes the middleware as it is.
func Chi(db *gorm.DB) (http.Handler, error) {
	views, err := cached(db)
	if err != nil {
		return nil, err
	}
	router := chi.NewRouter()
	router.With(views.Wrap).Get("/articles", page(db))
	return router, nil
}

// Gin adapts the wrapped handler.
func Gin(db *gorm.DB) (http.Handler, error) {
	views, err := cached(db)
	if err != nil {
		return nil, err
	}
	router := gin.New()
	router.GET("/articles", gin.WrapH(views.Wrap(page(db))))
	return router, nil
}

// Echo adapts the middleware.
func Echo(db *gorm.DB) (http.Handler, error) {
	views, err := cached(db)
	if err != nil {
		return nil, err
	}
	router := echo.New()
	router.GET("/articles", echo.WrapHandler(page(db)), echo.WrapMiddleware(views.Wrap))
	return router, nil
}

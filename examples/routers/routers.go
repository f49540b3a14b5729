// Package routers shows cached views under the routers that programs use beside
// net/http: chi takes the middleware of package decorators as it is, Gin, Echo and
// Fiber have middlewares of their own. Each site has one page, the titles of the
// articles, dropped when an article changes.
package routers

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v3"
	"github.com/labstack/echo/v5"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/decorators"
	"github.com/cacheplugin/cacheplugin/routers/echoviews"
	"github.com/cacheplugin/cacheplugin/routers/fiberviews"
	"github.com/cacheplugin/cacheplugin/routers/ginviews"
)

// Article is the model of the page.
type Article struct {
	ID    uint
	Title string
}

// titles lists the articles.
func titles(ctx context.Context, db *gorm.DB) (titles []string, err error) {
	err = decorators.Handle(ctx, db).Model(&Article{}).Order("id").Pluck("title", &titles).Error
	return titles, err
}

// Views are what all four use. In a program with one router they have one caller.
func Views(db *gorm.DB) (*decorators.Views, error) {
	return decorators.ViewAs(db, "articles", decorators.Samples(&Article{}), decorators.StatusHeader("X-Cache"))
}

// Chi takes the middleware as it is.
func Chi(db *gorm.DB, views *decorators.Views) http.Handler {
	router := chi.NewRouter()
	router.With(views.Wrap).Get("/articles", func(w http.ResponseWriter, r *http.Request) {
		list, err := titles(r.Context(), db)
		if err != nil {
			http.Error(w, "the articles can't be listed", http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "%q", list)
	})
	return router
}

// Gin has package ginviews.
func Gin(db *gorm.DB, views *decorators.Views) http.Handler {
	router := gin.New()
	router.GET("/articles", ginviews.Cached(views), func(c *gin.Context) {
		list, err := titles(c.Request.Context(), db)
		if err != nil {
			_ = c.AbortWithError(http.StatusInternalServerError, err)
			return
		}
		c.String(http.StatusOK, "%q", list)
	})
	return router
}

// Echo has package echoviews.
func Echo(db *gorm.DB, views *decorators.Views) http.Handler {
	e := echo.New()
	e.GET("/articles", func(c *echo.Context) error {
		list, err := titles(c.Request().Context(), db)
		if err != nil {
			return err
		}
		return c.String(http.StatusOK, fmt.Sprintf("%q", list))
	}, echoviews.Cached(views))
	return e
}

// Fiber has package fiberviews.
func Fiber(db *gorm.DB, views *decorators.Views) *fiber.App {
	app := fiber.New()
	app.Get("/articles", fiberviews.Cached(views), func(c fiber.Ctx) error {
		list, err := titles(c.Context(), db)
		if err != nil {
			return err
		}
		return c.SendString(fmt.Sprintf("%q", list))
	})
	return app
}

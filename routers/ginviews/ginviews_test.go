package ginviews_test

import (
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testviews"
	"github.com/cacheplugin/cacheplugin/routers/ginviews"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestPagesAreCached(t *testing.T) { testviews.Run(t, serve) }

func serve(t *testing.T, site *testviews.Site) string {
	gin.SetMode(gin.TestMode)
	router := gin.New()
	router.Use(outer(site), gin.CustomRecovery(func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }), failed)
	var chain []gin.HandlerFunc
	if site.Views != nil {
		chain = append(chain, ginviews.Cached(site.Views))
	}
	// Gin answers HEAD only where it is told to.
	page := func(path string, handler gin.HandlerFunc) {
		router.Match([]string{http.MethodGet, http.MethodHead}, path, append(chain[:len(chain):len(chain)], func(c *gin.Context) { site.Ran(); handler(c) })...)
	}
	text := func(c *gin.Context) { c.String(http.StatusOK, "hello") }
	page("/text", func(c *gin.Context) { c.Header("Inner", "yes"); text(c) })
	router.POST("/text", append(chain[:len(chain):len(chain)], text)...)
	page("/json", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"a": 1}) })
	page("/created", func(c *gin.Context) { c.JSON(http.StatusCreated, gin.H{"a": 1}) })
	page("/empty", func(c *gin.Context) { c.AbortWithStatus(http.StatusNoContent) })
	page("/missing", func(c *gin.Context) { _ = c.AbortWithError(http.StatusNotFound, errors.New("no such page")) })
	page("/error", func(c *gin.Context) { _ = c.Error(errors.New("failed")) })
	page("/late", func(c *gin.Context) { text(c); _ = c.Error(errors.New("failed")) })
	page("/panic", func(*gin.Context) { panic("a panic") })
	page("/stream", func(c *gin.Context) {
		_, _ = c.Writer.WriteString("one")
		c.Writer.Flush()
		site.Hold()
		_, _ = c.Writer.WriteString("two")
	})
	page("/vary", func(c *gin.Context) {
		c.Header("Vary", "Accept-Language")
		c.String(http.StatusOK, c.GetHeader("Accept-Language"))
	})
	page("/cookie", func(c *gin.Context) { c.SetCookie("a", "b", 0, "/", "", false, true); text(c) })
	page("/moved", func(c *gin.Context) { c.Redirect(http.StatusFound, "/text") })
	page("/nothing", func(*gin.Context) {})
	page("/articles", func(c *gin.Context) {
		titles, err := site.Titles(c.Request.Context())
		if err != nil {
			_ = c.Error(err)
			return
		}
		c.String(http.StatusOK, titles)
	})
	return testviews.Handler(t, router)
}

// outer is a middleware outside of the cache.
func outer(site *testviews.Site) gin.HandlerFunc {
	var requests atomic.Int64
	return func(c *gin.Context) {
		c.Header(testviews.Outer, strconv.FormatInt(requests.Add(1), 10))
		c.Next()
		site.Saw(c.Writer.Status())
	}
}

// failed answers for handlers that leave an error and no response.
func failed(c *gin.Context) {
	c.Next()
	if len(c.Errors) > 0 && !c.Writer.Written() {
		c.String(http.StatusInternalServerError, c.Errors.Last().Error())
	}
}

func TestCachedNeedsViews(t *testing.T) {
	require.PanicsWithValue(t, "ginviews: Cached: the views are nil", func() { ginviews.Cached(nil) })
}

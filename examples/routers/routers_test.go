package routers_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/examples/routers"
)

func open(t *testing.T) *gorm.DB {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	db, err := gorm.Open(sqlite.Open("file:"+t.TempDir()+"/articles.db"), &gorm.Config{})
	require.NoError(t, err)
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis:    client,
		Profiles: cacheplugin.Profiles{"*": {Timeout: time.Hour}},
	})
	require.NoError(t, db.Use(plugin))
	t.Cleanup(func() {
		require.NoError(t, plugin.Close(context.Background()))
		sqlDB, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, sqlDB.Close())
	})
	require.NoError(t, db.AutoMigrate(&routers.Article{}))
	require.NoError(t, db.Create(&routers.Article{Title: "one"}).Error)
	return db
}

func TestPagesAreCachedAndDroppedUnderEachRouter(t *testing.T) {
	gin.SetMode(gin.TestMode)
	for name, site := range map[string]func(*gorm.DB) (http.Handler, error){
		"chi": routers.Chi, "gin": routers.Gin, "echo": routers.Echo,
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			handler, err := site(db)
			require.NoError(t, err)
			get := func(status, body string) {
				t.Helper()
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/articles", nil))
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, body, w.Body.String())
				require.Equal(t, status, w.Header().Get("X-Cache"))
			}
			get("miss", `["one"]`)
			get("hit", `["one"]`)
			require.NoError(t, db.Create(&routers.Article{Title: "two"}).Error)
			get("miss", `["one" "two"]`)
		})
	}
}

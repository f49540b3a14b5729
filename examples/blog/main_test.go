package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPagesAreDroppedByWhatTheyShow(t *testing.T) {
	db, closeAll, err := open("", "", nil)
	require.NoError(t, err)
	t.Cleanup(closeAll)
	handler, err := site(db)
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	get := func(path, status string, want ...string) {
		t.Helper()
		r, err := client.Get(server.URL + path)
		require.NoError(t, err)
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		require.Equal(t, http.StatusOK, r.StatusCode, string(body))
		require.Equal(t, status, r.Header.Get("X-Cache"), path)
		for _, text := range want {
			require.Contains(t, string(body), text)
		}
	}
	post := func(path string, status int) {
		t.Helper()
		r, err := client.PostForm(server.URL+path, url.Values{"text": {"<Fine>"}})
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		require.Equal(t, status, r.StatusCode)
	}
	get("/", "miss", "Hydrogen", "Helium", "by Ada")
	get("/", "hit", "Hydrogen", "Helium", "by Ada")
	get("/articles/1", "miss", "One of 2 by Ada", "0 comments")
	get("/articles/2", "miss", "One of 2 by Ada", "0 comments")

	post("/articles/1/comments", http.StatusSeeOther)
	get("/articles/1", "miss", "&lt;Fine&gt;", "1 comments")
	get("/articles/2", "hit", "0 comments")
	get("/", "hit")
	post("/articles/99/comments", http.StatusNotFound)
	get("/articles/1", "hit", "1 comments")

	require.NoError(t, db.Model(&Author{}).Where("name = ?", "Ada").Update("name", "Grace").Error)
	get("/", "miss", "by Grace")
	require.NoError(t, db.Create(&Article{AuthorID: 1, Title: "Lithium"}).Error)
	get("/articles/2", "miss", "One of 3 by Grace")
}

package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPagesAreDroppedByWrites(t *testing.T) {
	db, closeAll, err := open()
	require.NoError(t, err)
	defer closeAll()
	handler, err := site(db)
	require.NoError(t, err)
	show := func(status string, want ...string) {
		t.Helper()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		require.Equal(t, status, w.Header().Get("X-Cache"))
		for _, text := range want {
			require.Contains(t, w.Body.String(), text)
		}
	}
	show("miss", "<li>Helium", "2 articles")
	show("hit", "<li>Helium", "2 articles")
	r := httptest.NewRequest(http.MethodPost, "/articles", strings.NewReader("title=%3CNew%3E"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusSeeOther, w.Code)
	show("miss", "<li>&lt;New&gt;", "3 articles")
}

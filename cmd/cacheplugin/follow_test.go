package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func TestFollow_says_what_is_wrong_with_a_call(t *testing.T) {
	url := redisURL(t)
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"no database":     {[]string{"follow"}, exitUsage, []string{"no database", "--database", "DATABASE_URL"}},
		"SQLite":          {[]string{"follow", "--database", "sqlite:x.db"}, exitUsage, []string{"no log", "PostgreSQL or MariaDB"}},
		"unknown":         {[]string{"follow", "--database", "oracle://x"}, exitUsage, []string{"no such kind", "--database"}},
		"unreachable":     {[]string{"follow", "--database", "postgres://nobody:secret@127.0.0.1:1/x"}, exitConnection, []string{"connect to the database", "is it running"}},
		"MariaDB, too":    {[]string{"follow", "--database", "mysql://nobody:secret@127.0.0.1:1/x"}, exitConnection, []string{"connect to the database", "is it running"}},
		"asked by doctor": {[]string{"doctor", "--database", "postgres://nobody:secret@127.0.0.1:1/x"}, exitConnection, []string{"database", "is it running"}},
		"SQLite, too":     {[]string{"doctor", "--database", "sqlite:x.db"}, exitUsage, []string{"no log"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := call(t, url, c.args...)
			require.Equal(t, c.code, r.code, "%s%s", r.out, r.err)
			for _, text := range c.says {
				require.Contains(t, r.err, text)
			}
			require.NotContains(t, r.out+r.err, "secret")
		})
	}
}

func TestDoctor_tells_who_follows(t *testing.T) {
	prefix := "follow-" + strings.ToLower(t.Name())
	s, err := store.New(store.Options{Client: testenv.Redis(t), Namespace: prefix})
	require.NoError(t, err)
	defer s.Close(t.Context())
	seat := s.NewSeat("log", "postgres shop, slot cacheplugin")
	_, err = seat.Take(t.Context(), "0/1F")
	require.NoError(t, err)
	r := call(t, redisURL(t), "doctor", "--prefix", prefix)
	require.Contains(t, r.out, "postgres shop, slot cacheplugin is followed, up to 0/1F")
	require.NoError(t, seat.Leave(t.Context(), ""))
	r = call(t, redisURL(t), "doctor", "--prefix", prefix)
	require.Contains(t, r.out, "nobody follows postgres shop, slot cacheplugin since")
	require.Contains(t, r.out, "cacheplugin follow")
}

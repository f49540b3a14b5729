package store_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

// optionsOf are the options that need different commands, by what docs/operations.md
// calls them.
var optionsOf = map[string]store.Options{
	"ConjunctionSets":                {},
	"ConjunctionSets with NearCache": {Notices: true},
	"InsideOut":                      {Mode: store.InsideOut},
	"InsideOut with NearCache":       {Mode: store.InsideOut, Notices: true},
}

func TestEveryCommandOfTheScriptsIsListed(t *testing.T) {
	called := regexp.MustCompile(`redis\.p?call\('(\w+)'`)
	var inScripts []string
	files, err := filepath.Glob("../../lua/*.lua")
	require.NoError(t, err)
	parts, err := filepath.Glob("../../lua/parts/*.lua")
	require.NoError(t, err)
	require.NotEmpty(t, parts)
	for _, file := range append(files, parts...) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, match := range called.FindAllStringSubmatch(string(text), -1) {
			inScripts = append(inScripts, match[1])
		}
	}
	var listed []string
	for _, c := range store.Commands(store.Options{}) {
		if c.InScripts {
			listed = append(listed, c.Name)
		}
	}
	slices.Sort(inScripts)
	slices.Sort(listed)
	require.Equal(t, slices.Compact(inScripts), listed)
}

func TestTheDocumentationListsTheCommands(t *testing.T) {
	text, err := os.ReadFile("../../docs/redis-user.md")
	require.NoError(t, err)
	for name, o := range optionsOf {
		rules := "# " + name + "\nACL SETUSER cache on >secret " + store.Access("shop") + " " + store.Rules(store.Commands(o)) + "\n"
		require.True(t, strings.Contains(string(text), rules), "it should contain\n%s", rules)
	}
}

// user returns options for a client with the rights of a user who has been made by
// rules.
func user(t *testing.T, client redis.UniversalClient, addr, rules string) redis.UniversalClient {
	t.Helper()
	args := []any{"ACL", "SETUSER", "cache", "reset", "on", ">secret"}
	for rule := range strings.FieldsSeq(rules) {
		args = append(args, rule)
	}
	require.NoError(t, client.Do(t.Context(), args...).Err(), rules)
	mine := redis.NewClient(&redis.Options{Addr: addr, Username: "cache", Password: "secret", PipelinePoolSize: -1})
	t.Cleanup(func() { _ = mine.Close() })
	return mine
}

// play goes through what the protocol does.
func play(t *testing.T, s *store.Store) {
	t.Helper()
	deps := []store.Dependency{on("a", "1")}
	fill(t, s, "q", "result", deps...)
	requireHit(t, s, "q", "result", deps...)
	fill(t, s, "other", "result", on("a", "2"))
	invalidate(t, s, changed("a", row{"1", "1"}))
	require.Equal(t, store.Leased, acquire(t, s, "q", deps...).State)
	requireHit(t, s, "other", "result", on("a", "2"))
	require.NoError(t, s.Forget(t.Context(), entry("other")))
	require.NoError(t, s.InvalidateAll(t.Context()))
	_, err := s.Remaining(t.Context(), entry("q"))
	require.NoError(t, err)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	srv := newRealServer(t)
	admin := srv.Client(t)
	const access = "~{shop* &{shop*e:"
	open := func(t *testing.T, o store.Options, client redis.UniversalClient) *store.Store {
		o.Client, o.Namespace, o.Timeout = client, "shop", 10*time.Second
		s, err := store.New(o)
		require.NoError(t, err)
		t.Cleanup(func() { s.Close(context.Background()) })
		return s
	}
	for name, o := range map[string]store.Options{
		"sets": {Notices: true}, "stamps": {Mode: store.InsideOut},
		"sets/direct": {DirectConnections: true}, "stamps/direct": {Mode: store.InsideOut, DirectConnections: true},
	} {
		needed := store.Commands(o)
		t.Run(name+"/the listed commands suffice", func(t *testing.T) {
			require.NoError(t, admin.FlushDB(t.Context()).Err()) // of what others could not unlink
			s := open(t, o, user(t, admin, srv.Addr, access+" "+store.Rules(needed)))
			info, err := s.Check(t.Context())
			require.NoError(t, err)
			require.Empty(t, info.Refusals)
			require.False(t, info.IdentityHidden)
			play(t, s)
			require.Empty(t, keysOf(t, admin, "shop", "e:check"), "it leaves nothing behind")
		})
		for _, missing := range needed {
			t.Run(name+"/without "+missing.String(), func(t *testing.T) {
				var left []store.Command
				for _, c := range needed {
					if c.Rule() != missing.Rule() {
						left = append(left, c)
					}
				}
				s := open(t, o, user(t, admin, srv.Addr, access+" "+store.Rules(left)))
				info, err := s.Check(t.Context())
				required := slices.ContainsFunc(needed, func(c store.Command) bool { return c.Rule() == missing.Rule() && c.Without == "" })
				if required {
					require.ErrorIs(t, err, store.ErrConfig)
					require.ErrorContains(t, err, missing.Name)
					require.ErrorContains(t, err, missing.Rule())
					return
				}
				require.NoError(t, err)
				require.Contains(t, rulesOf(info.Refusals), missing.Rule())
				require.Equal(t, missing.Name == "INFO", info.IdentityHidden)
				if missing.Name != "PTTL" {
					play(t, s)
				}
			})
		}
	}

	rules := store.Rules(store.Commands(store.Options{Notices: true}))
	for name, c := range map[string]struct{ access, names string }{
		"the keys":     {"~{other* &{shop*e:", "~{shop}*"},
		"the channels": {"~{shop* resetchannels &{other*e:", "&{shop*e:"},
	} {
		t.Run("without "+name, func(t *testing.T) {
			info, err := open(t, store.Options{Notices: true}, user(t, admin, srv.Addr, c.access+" "+rules)).Check(t.Context())
			if name == "the keys" {
				require.ErrorIs(t, err, store.ErrConfig)
				require.ErrorContains(t, err, c.names)
				return
			}
			require.NoError(t, err, "nothing depends on messages")
			require.Len(t, info.Refusals, 2)
			for _, r := range info.Refusals {
				require.Contains(t, r.Remedy, c.names)
			}
		})
	}
	t.Run("all that is dangerous is forbidden", func(t *testing.T) {
		info, err := open(t, store.Options{}, user(t, admin, srv.Addr, access+" +@all -@dangerous")).Check(t.Context())
		require.NoError(t, err)
		require.True(t, info.IdentityHidden)
		require.Empty(t, info.Version)
	})
}

func rulesOf(refusals []store.Refusal) (rules []string) {
	for _, r := range refusals {
		rules = append(rules, r.Command.Rule())
	}
	return rules
}

func TestCheckOfAServerWithRenamedCommands(t *testing.T) {
	t.Parallel()
	for command, required := range map[string]bool{"unlink": true, "evalsha": true, "hget": true, "rename": true, "info": false, "publish": false} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			client := newRealServer(t, "--rename-command", command, "").Client(t)
			info, err := backend{client: client}.open(t).Check(t.Context())
			if required {
				require.ErrorIs(t, err, store.ErrConfig)
				require.ErrorContains(t, err, "rename-command "+strings.ToUpper(command))
				return
			}
			require.NoError(t, err)
			require.Contains(t, rulesOf(info.Refusals), "+"+command)
			require.Equal(t, command == "info", info.IdentityHidden)
		})
	}
}

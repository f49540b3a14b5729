package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

// app is one run of the program: its flags and its outputs.
type app struct {
	out, errOut io.Writer
	env         func(string) string

	url     string
	prefix  string
	exact   bool
	timeout time.Duration
	asJSON  bool

	client redis.UniversalClient
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:     "cacheplugin",
		Short:   "Look after the cache of cacheplugin, the GORM plugin",
		Version: version(debug.ReadBuildInfo()),
		Long: `Look after the cache of cacheplugin, the GORM plugin: drop what is cached, see
what is cached, learn what a query depends on, and check a Redis server.

Redis is found by --redis or by the environment variable REDIS_URL:

  redis://[user:password@]host:6379/0         a server
  rediss://...                                the same with TLS
  unix://[user:password@]/run/redis.sock?db=0 a socket
  redis+sentinel://host1,host2:26379/master/0 by sentinels (rediss+sentinel with TLS)
  redis+cluster://host1:6379,host2:6379       a cluster (rediss+cluster with TLS)

Exit codes: 0 all is well, 1 a problem was found, 2 wrong call, 3 no connection.`,
		Example: `  cacheplugin doctor
  cacheplugin invalidate users id=34
  cacheplugin explain --dialect postgres "SELECT * FROM users WHERE id = 34"`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	f := root.PersistentFlags()
	f.StringVar(&a.url, "redis", "", "`URL` of Redis (default $REDIS_URL, else redis://localhost:6379)")
	f.StringVar(&a.prefix, "prefix", store.DefaultNamespace, "the plugin's Config.Prefix")
	f.BoolVar(&a.exact, "exact", false, "of the prefix itself only, not of what PrefixFunc and DBSpecific make of it")
	f.DurationVar(&a.timeout, "timeout", 5*time.Second, "how long to wait for one answer of Redis or of the database")
	f.BoolVar(&a.asJSON, "json", false, "print JSON, for programs")
	root.AddCommand(a.invalidateCommand(), a.statsCommand(), a.inspectCommand(), a.explainCommand(), a.doctorCommand(), a.followCommand(), a.cleanFilesCommand())
	return root
}

// fail tells of a failure.
func (a *app) fail(f *failure) {
	if a.asJSON {
		_ = json.NewEncoder(a.errOut).Encode(map[string]string{"error": f.Error(), "remedy": f.remedy})
		return
	}
	_, _ = fmt.Fprintf(a.errOut, "cacheplugin: %s\n", f.Error())
	if f.remedy != "" {
		_, _ = fmt.Fprintf(a.errOut, "  %s\n", f.remedy)
	}
}

// print shows a result: as JSON, or by its own text.
func (a *app) print(result interface{ text(w io.Writer) }) error {
	if a.asJSON {
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		return e.Encode(result)
	}
	var b strings.Builder
	result.text(&b)
	_, err := io.WriteString(a.out, b.String())
	return err
}

// connect opens the connection to Redis and tries it.
func (a *app) connect(ctx context.Context) error {
	url := a.url
	if url == "" {
		url = a.env("REDIS_URL")
	}
	if url == "" {
		url = "redis://localhost:6379"
	}
	client, err := openRedis(url, a.timeout)
	if err != nil {
		return usage(err, "see cacheplugin --help for the forms of the URL")
	}
	a.client = client
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		return a.connection(fmt.Errorf("%s: %w", redact(url), err))
	}
	return nil
}

// connection is the failure of an error that Redis, or the way to it, gave.
func (a *app) connection(err error) error {
	remedy := "is Redis running, and reachable from here? Give its address by --redis or REDIS_URL"
	switch {
	case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"):
		remedy = "put the user and the password into the URL: redis://user:password@host:6379"
	case redis.HasErrorPrefix(err, "NOPERM"):
		remedy = "permit the command to this user (ACL SETUSER), or connect as another one"
	case errors.Is(err, context.Canceled):
		remedy = ""
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, store.ErrTimeout):
		remedy = "it did not answer in time: is the address right (--redis, REDIS_URL)? Else give it longer by --timeout, and see what keeps it busy (SLOWLOG GET)"
	}
	return &failure{exitConnection, fmt.Errorf("Redis: %w", err), remedy}
}

// open returns the stores of a namespace: one, unless processes that don't agree
// on Config.Spread have left keys of both kinds.
func (a *app) open(ctx context.Context, namespace string) ([]*store.Store, error) {
	oneSlot, spread, err := store.Layouts(ctx, a.client, namespace)
	if err != nil {
		return nil, a.connection(err)
	}
	var stores []*store.Store
	add := func(o store.Options) error {
		o.Client, o.Namespace, o.Timeout = a.client, namespace, a.timeout
		s, err := store.New(o)
		if err != nil {
			return usage(err, "give the plugin's Config.Prefix by --prefix")
		}
		stores = append(stores, s)
		return nil
	}
	if oneSlot || !spread {
		err = add(store.Options{})
	}
	if spread && err == nil {
		err = add(store.Options{Mode: store.InsideOut, Spread: true})
	}
	return stores, err
}

// stores returns the stores of the prefix, and of the namespaces that
// PrefixFunc and DBSpecific have made of it.
func (a *app) stores(ctx context.Context) (names []string, stores []*store.Store, err error) {
	prefixes := []string{a.prefix}
	if !a.exact {
		found, err := store.Namespaces(ctx, a.client, a.prefix)
		if err != nil {
			return nil, nil, a.connection(err)
		}
		for _, name := range found {
			// The plugin separates what it adds by one of these.
			if rest := strings.TrimPrefix(name, a.prefix); rest != "" && strings.ContainsAny(rest[:1], ":@") {
				prefixes = append(prefixes, name)
			}
		}
	}
	for _, name := range prefixes {
		opened, err := a.open(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range opened {
			names, stores = append(names, name), append(stores, s)
		}
	}
	return names, stores, nil
}

package commit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/near"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/shapes"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

var (
	columns = []conj.Column{{Name: "id", Kind: conj.Integer}, {Name: "kind", Kind: conj.Integer}}
	brands  = conj.NewTable("brands", "brands", columns)
	shops   = conj.NewTable("shops", "shops", columns)
)

// img is the image of a row.
func img(id, kind conj.Value) conj.Image { return conj.Image{"=" + id, "=" + kind} }

// ofKind is what a query of the rows of a kind depends on.
func ofKind(table *conj.Table, kind conj.Value) []store.Dependency {
	c := table.Conjunction([]int{1}, []conj.Value{"=" + kind})
	return []store.Dependency{{Table: table.ID, Schemes: []conj.Scheme{c.Scheme}, Keys: []conj.Key{c.Key}}}
}

// process is a process with a Committer.
type process struct {
	*commit.Committer
	options    commit.Options
	home       *namespace.Namespace
	namespaces *namespace.Set
	report     *report.Reporter

	mu     sync.Mutex
	events []report.Event
}

var prefixes atomic.Int64

// newPrefix returns a prefix of a test's own.
func newPrefix() string { return fmt.Sprintf("commit-test-%d", prefixes.Add(1)) }

// start starts a process on a prefix in Redis. It is closed with the test.
func start(t testing.TB, client redis.UniversalClient, prefix string, change ...func(*commit.Options)) *process {
	t.Helper()
	p := &process{}
	p.report = report.New(slog.New(slog.NewTextHandler(io.Discard, nil)), p.observe)
	memory, err := near.New(near.Options{})
	require.NoError(t, err)
	p.namespaces, err = namespace.NewSet(namespace.Options{
		Store: store.Options{Client: client, Namespace: prefix, Timeout: 10 * time.Second},
		Guard: store.GuardOptions{RetryFor: -1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))},
		Near:  memory,
	})
	require.NoError(t, err)
	p.home = p.namespaces.Home()
	p.options = commit.Options{
		Shapes:     shapes.NewSet(),
		Namespaces: p.namespaces, Report: p.report, Prefix: prefix,
		MaxImages: 100, FenceTTL: time.Hour, FlushTimeout: time.Minute,
	}
	for _, f := range change {
		f(&p.options)
	}
	p.Committer = commit.New(p.options)
	t.Cleanup(func() {
		require.NoError(t, p.Close(context.Background()))
		for _, ns := range p.namespaces.All() {
			require.NoError(t, ns.Guard.Close(context.Background()))
		}
	})
	return p
}

func (p *process) observe(_ context.Context, e report.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.Duration = 0
	p.events = append(p.events, e)
}

// took returns the events of a kind since the last call.
func (p *process) took(kind report.Kind) (events []report.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == kind {
			events = append(events, e)
		}
	}
	p.events = nil
	return events
}

// journal returns a journal in which something is recorded.
func (p *process) journal(record func(j *commit.Journal)) *commit.Journal {
	j := p.NewJournal(conj.SQLite)
	record(j)
	return j
}

func entry(name string) store.EntryKey {
	var k store.EntryKey
	copy(k[:], name)
	return k
}

// ttl is how long results are stored: nothing must seem to be dropped that has
// only expired.
const ttl = time.Hour

func acquire(t testing.TB, ns *namespace.Namespace, name string, deps []store.Dependency) store.Lookup {
	t.Helper()
	l, err := ns.Store.Acquire(t.Context(), entry(name), deps, ttl)
	require.NoError(t, err)
	return l
}

// fill stores a result.
func fill(t testing.TB, ns *namespace.Namespace, name string, deps []store.Dependency) {
	t.Helper()
	l := acquire(t, ns, name, deps)
	require.Equal(t, store.Leased, l.State)
	stored, err := ns.Store.Save(t.Context(), l.Lease, []byte(name), ttl)
	require.NoError(t, err)
	require.True(t, stored)
}

// state is what a look-up says that changes nothing.
func state(t testing.TB, ns *namespace.Namespace, name string, deps []store.Dependency) store.State {
	t.Helper()
	l, err := ns.Store.Peek(t.Context(), entry(name), deps)
	require.NoError(t, err)
	return l.State
}

// cut is a hook of a Redis client that lets nothing through while it is set, and
// counts the pipelines and commands that it lets through.
type cut struct {
	atomic.Bool
	sent atomic.Int64
}

var errCut = errors.New("cut off")

// behindCut returns a client that can be cut off.
func behindCut(t testing.TB) (redis.UniversalClient, *cut) {
	t.Helper()
	client, c := redis.NewClient(testenv.RedisOptions(t)), &cut{}
	client.AddHook(c)
	t.Cleanup(func() { _ = client.Close() })
	return client, c
}

func (c *cut) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *cut) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if c.Load() {
			cmd.SetErr(errCut)
			return errCut
		}
		c.sent.Add(1)
		return next(ctx, cmd)
	}
}

func (c *cut) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if c.Load() {
			for _, cmd := range cmds {
				cmd.SetErr(errCut)
			}
			return errCut
		}
		c.sent.Add(1)
		return next(ctx, cmds)
	}
}

package testenv

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/cacheplugin/cacheplugin/internal/testenv/process"
	"github.com/redis/go-redis/v9"
)

// patience is how long clients of the shared servers wait for an answer. By
// default it is three seconds, and then they send the command once more: on a
// machine that is busy for so long a test would see the second one's outcome, of
// an invalidation that drops nothing, say.
const patience = 30 * time.Second

// Redis returns a client of the process's shared server: the one that
// CACHEPLUGIN_TEST_REDIS names, else redis-server started for this process, else
// an embedded one. The server is shared with other tests: use a namespace of
// your own, and flush nothing but it. The client is closed at the test's end.
func Redis(tb testing.TB) redis.UniversalClient {
	tb.Helper()
	options := RedisOptions(tb)
	options.ReadTimeout = patience
	client := redis.NewClient(options)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// RedisOptions are the options of Redis's client, a copy of one's own: to set
// timeouts and hooks, or to pass the address to another process. There is one pool
// of connections, as Config.DirectConnections needs it.
func RedisOptions(tb testing.TB) *redis.Options {
	tb.Helper()
	shared := environment.sharedRedis()
	if shared.err != nil {
		redisEnv.Missing(tb, shared.err)
	}
	if shared.options == nil {
		tb.Fatalf("no Redis: %v", shared.err)
	}
	options := *shared.options
	return &options
}

// RedisIsReal reports whether Redis is a real server and not the embedded one,
// which knows neither memory limits nor slow logs.
func RedisIsReal(tb testing.TB) bool {
	tb.Helper()
	_ = RedisOptions(tb)
	return environment.sharedRedis().embedded == nil
}

// NeedRedisServer skips the test where Redis is the embedded one.
func NeedRedisServer(tb testing.TB) {
	tb.Helper()
	if !RedisIsReal(tb) {
		tb.Skip(redisEnv.Unreachable(environment.sharedRedis().err))
	}
}

// sharedRedis is the outcome of the one attempt to get a Redis.
type sharedRedis struct {
	options  *redis.Options // nil: none
	own      *redisProcess
	embedded *miniredis.Miniredis
	err      error // why there is no real one
}

func openSharedRedis(url string) *sharedRedis {
	if url != "" {
		options, err := redis.ParseURL(url)
		if err != nil {
			return &sharedRedis{err: fmt.Errorf("CACHEPLUGIN_TEST_REDIS: %w", err)}
		}
		client := redis.NewClient(options)
		defer client.Close()
		if err := client.Ping(context.Background()).Err(); err != nil {
			return &sharedRedis{err: fmt.Errorf("CACHEPLUGIN_TEST_REDIS: %w", err)}
		}
		options.PipelinePoolSize = -1
		return &sharedRedis{options: options}
	}
	own, err := newRedisProcess(redisServer)
	if err == nil {
		return &sharedRedis{options: &redis.Options{Addr: own.addr(), PipelinePoolSize: -1}, own: own}
	}
	embedded := miniredis.NewMiniRedis()
	if errEmbedded := embedded.Start(); errEmbedded != nil {
		return &sharedRedis{err: fmt.Errorf("%w; and embedded: %w", err, errEmbedded)}
	}
	return &sharedRedis{options: &redis.Options{Addr: embedded.Addr(), PipelinePoolSize: -1}, embedded: embedded, err: err}
}

func (s *sharedRedis) stop() {
	if s.own != nil {
		s.own.discard()
	}
	if s.embedded != nil {
		s.embedded.Close()
	}
}

// RedisServer is a server of one test's own, to be stopped, killed and paused.
// It is not safe for concurrent use, its clients are.
type RedisServer struct {
	// Addr is its address, the same after each Start.
	Addr string
	// Real is false where redis-server is not installed and an embedded server
	// stands in, which can't be paused.
	Real bool

	own      *redisProcess
	embedded *miniredis.Miniredis
}

// StartRedis starts a server, with further arguments of redis-server such as
// "--maxmemory", "2mb". It keeps nothing on disk unless the arguments say so
// ("--save", "3600 1"); its directory stays the same from Start to Start. It is
// ended with the test. Where redis-server is not installed an embedded server
// stands in; a test that passes arguments or pauses it is then skipped.
func StartRedis(tb testing.TB, args ...string) *RedisServer {
	tb.Helper()
	server, err := newRedisServer(redisServer, args...)
	if err == nil {
		tb.Cleanup(server.own.discard)
		return server
	}
	redisEnv.Missing(tb, err)
	if len(args) > 0 {
		tb.Skipf("needs redis-server %q: %v", args, err)
	}
	embedded := miniredis.RunT(tb)
	return &RedisServer{Addr: embedded.Addr(), embedded: embedded}
}

func newRedisServer(kind redisKind, args ...string) (*RedisServer, error) {
	own, err := newRedisProcess(kind, args...)
	if err != nil {
		return nil, err
	}
	return &RedisServer{Addr: own.addr(), Real: true, own: own}, nil
}

// Client returns a new client of the server, closed at the test's end. Its
// timeouts and retries are go-redis's defaults; all of its connections are in one
// pool, as Config.DirectConnections needs it.
func (s *RedisServer) Client(tb testing.TB) redis.UniversalClient {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr, PipelinePoolSize: -1})
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// Stop ends the server in order: it saves first if its arguments tell it to.
func (s *RedisServer) Stop(tb testing.TB) {
	tb.Helper()
	if s.embedded != nil {
		s.embedded.Close()
		s.embedded.FlushAll()
		return
	}
	s.own.end(process.Terminate)
}

// Kill ends the server as a crash of its machine would: nothing is saved.
func (s *RedisServer) Kill(tb testing.TB) {
	tb.Helper()
	if s.embedded != nil {
		s.Stop(tb)
		return
	}
	s.own.end(process.Kill)
}

// Start starts a stopped or killed server again, at the same address, with what
// it had saved.
func (s *RedisServer) Start(tb testing.TB) {
	tb.Helper()
	var err error
	if s.embedded != nil {
		err = s.embedded.Restart()
	} else {
		err = s.own.start()
	}
	if err != nil {
		tb.Fatalf("start redis again: %v", err)
	}
}

// Pause freezes the server: connections stay open, and nothing is answered.
func (s *RedisServer) Pause(tb testing.TB) { tb.Helper(); s.signal(tb, process.Stop) }

// Resume lets a paused server go on; it answers what was sent meanwhile.
func (s *RedisServer) Resume(tb testing.TB) { tb.Helper(); s.signal(tb, process.Continue) }

func (s *RedisServer) signal(tb testing.TB, sig process.Signal) {
	tb.Helper()
	if s.embedded != nil {
		tb.Skip("needs redis-server: the embedded one can't be paused")
	}
	if err := s.own.process.Signal(sig); err != nil {
		tb.Fatalf("signal redis: %v", err)
	}
}

// StartSharedRedis starts the server that Redis returns a client of, unless the
// environment names one, and returns its URL, for processes that are to use it.
// It fails where redis-server is not installed: each process has an embedded one
// of its own then.
func StartSharedRedis() (url string, err error) {
	shared := environment.sharedRedis()
	if shared.err != nil {
		return "", redisEnv.Unreachable(shared.err)
	}
	if named := redisEnv.Named(); named != "" {
		return named, nil
	}
	return "redis://" + shared.options.Addr + "/0", nil
}

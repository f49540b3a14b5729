package testenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cacheplugin/cacheplugin/internal/testenv/process"
	"github.com/redis/go-redis/v9"
)

// redisKind is what a redis-server process is part of.
type redisKind uint8

const (
	redisServer   redisKind = iota // itself
	redisNode                      // a cluster, which takes another port besides
	redisSentinel                  // a trio of sentinels, which keeps what it learns in a file
)

// redisProcess is redis-server with a directory and ports of its own, which
// outlive its restarts.
type redisProcess struct {
	bin     string
	dir     string
	kind    redisKind
	port    int
	busPort int // of a node
	args    []string
	process *process.Process
}

func newRedisProcess(kind redisKind, args ...string) (*redisProcess, error) {
	bin, err := process.Program([]string{"redis-server", "valkey-server"})
	if err != nil {
		return nil, err
	}
	if _, err := process.Ordinary("redis", "nobody"); err != nil {
		return nil, err
	}
	dir, err := process.Dir("redis", nil) // redis-server runs as anybody
	if err != nil {
		return nil, err
	}
	r, err := process.OnFreePort(func(port int) (*redisProcess, error) {
		r := &redisProcess{bin: bin, dir: dir, kind: kind, port: port, args: args}
		return r, r.create()
	})
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return r, nil
}

func (r *redisProcess) addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port))
}

// create starts the server for the first time.
func (r *redisProcess) create() error {
	switch r.kind {
	case redisNode:
		port, err := process.FreePort()
		if err != nil {
			return err
		}
		r.busPort = port
	case redisSentinel:
		if err := os.WriteFile(r.sentinelFile(), nil, 0o600); err != nil {
			return err
		}
	}
	return r.start()
}

func (r *redisProcess) sentinelFile() string { return filepath.Join(r.dir, "sentinel.conf") }

func (r *redisProcess) start() error {
	if r.process != nil {
		return fmt.Errorf("redis-server runs already")
	}
	args := []string{"--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--dir", r.dir, "--daemonize", "no"}
	if r.kind == redisSentinel {
		args = append([]string{r.sentinelFile(), "--sentinel"}, args...)
	} else {
		// A replica is served at once: a master would wait for more of them.
		args = append(args, "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
	}
	if r.kind == redisNode {
		args = append(args, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(r.busPort))
	}
	p, err := process.Launch("redis", r.dir, r.dir, nil, r.bin, append(args, r.args...)...)
	if err != nil {
		return err
	}
	// One attempt each time: the client's own retries are slower than ours.
	client := redis.NewClient(&redis.Options{Addr: r.addr(), MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	err = p.Ready(func(ctx context.Context) error { return r.answers(ctx, client, p) })
	if err != nil {
		p.End(process.Kill)
		return fmt.Errorf("redis: %w", err)
	}
	r.process = p
	return nil
}

// answers makes sure that the server that answers is ours (another one may have
// taken the port first) and that it has loaded what it had saved.
func (r *redisProcess) answers(ctx context.Context, client *redis.Client, p *process.Process) error {
	// By hand first: the client writes to standard error when it can't connect.
	dialer := net.Dialer{}
	conn, err := dialer.DialContext(ctx, "tcp", r.addr())
	if err != nil {
		return err
	}
	_ = conn.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		return err
	}
	info, err := client.Info(ctx, "server").Result()
	if err != nil && strings.Contains(err.Error(), "unknown command") {
		return r.worksHere(ctx, client) // a test has it renamed
	}
	if err != nil {
		return err
	}
	if got := infoField(info, "process_id"); got != strconv.Itoa(p.PID()) {
		return fmt.Errorf("another server answers, of process %s", got)
	}
	return nil
}

// worksHere makes sure of the same by the server's directory.
func (r *redisProcess) worksHere(ctx context.Context, client *redis.Client) error {
	config, err := client.ConfigGet(ctx, "dir").Result()
	if err != nil {
		return err
	}
	if config["dir"] != r.dir {
		return fmt.Errorf("another server answers, in %s", config["dir"])
	}
	return nil
}

func (r *redisProcess) end(sig process.Signal) {
	if r.process == nil {
		return
	}
	_ = r.process.Signal(process.Continue) // a paused server would never take sig
	r.process.End(sig)
	r.process = nil
}

func (r *redisProcess) discard() {
	r.end(process.Kill)
	_ = os.RemoveAll(r.dir)
}

// infoField returns a field of what INFO answers.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}

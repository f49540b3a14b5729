package work

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/lua"
)

// wire is a hook of the Redis client that knows the protocol's calls: at the
// points it does what was armed, and it notes when COMMIT was answered, which
// is when the invalidation is about to be sent.
type wire struct {
	armed atomic.Pointer[armed]
	tell  func(Told)
	// follows is set in a process that tells of what others have committed.
	follows bool
}

// watched is a client that the plugin doesn't recognise as go-redis's own: it
// sends look-ups and stores by a clone of that otherwise, which calls no hooks.
type watched struct{ *redis.Client }

// armed is what the next client at a point is to do.
type armed struct {
	Point
	Action
	wait time.Duration
}

// transactionKey is where a writer's context has its transaction.
type transactionKey struct{}

func (w *wire) arm(c Command) { w.armed.Store(&armed{c.Point, c.Arm, c.For}) }

// reach does what is armed for a point.
func (w *wire) reach(p Point) {
	a := w.armed.Load()
	if a == nil || a.Point != p || !w.armed.CompareAndSwap(a, nil) {
		return
	}
	w.tell(Told{At: p})
	switch a.Action {
	case Die:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case Stop:
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case Hold:
		time.Sleep(a.wait)
	}
}

// DialHook implements redis.Hook.
func (w *wire) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements redis.Hook.
func (w *wire) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		w.before(ctx, cmd)
		err := next(ctx, cmd)
		w.after(cmd)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (w *wire) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			w.before(ctx, cmd)
		}
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			w.after(cmd)
		}
		return err
	}
}

func (w *wire) before(ctx context.Context, cmd redis.Cmder) {
	switch script(cmd) {
	case lua.Save, lua.SaveJoined, lua.ListFill, lua.ListMerge:
		w.reach(Saving)
	case lua.Invalidate:
		if fences(cmd) {
			return
		}
		if t, ok := ctx.Value(transactionKey{}).(*transaction); ok {
			t.answered()
			w.reach(Committed)
		} else if w.follows {
			w.reach(Telling)
		}
	}
}

func (w *wire) after(cmd redis.Cmder) {
	switch script(cmd) {
	case lua.Acquire:
		reply, _ := cmd.(*redis.Cmd).Val().([]any)
		if len(reply) == 2 && reply[0] == int64(2) {
			w.reach(Leased)
		}
	case lua.Invalidate:
		if cmd.Err() != nil {
			return
		}
		if fences(cmd) {
			w.reach(Fenced)
		} else {
			w.reach(Invalidate)
		}
	}
}

// script is the protocol's script that a command runs; nil for anything else.
func script(cmd redis.Cmder) *lua.Script {
	args := cmd.Args()
	if len(args) < 3 {
		return nil
	}
	text, _ := args[1].(string)
	for _, s := range []*lua.Script{lua.Acquire, lua.Save, lua.SaveJoined, lua.Invalidate, lua.ListFill, lua.ListMerge} {
		if args[0] == "evalsha" && text == s.Hash() || args[0] == "eval" && text == s.Source() {
			return s
		}
	}
	return nil
}

// fences reports whether a call of invalidate sets a fence: lua.HoldArg is for how
// long, if it is positive.
func fences(cmd redis.Cmder) bool {
	args := cmd.Args()
	keys, ok := args[2].(int)
	if !ok || len(args) <= 3+keys+lua.HoldArg {
		return false
	}
	hold, _ := args[3+keys+lua.HoldArg].(string)
	return hold != "" && hold != "0" && hold != "-1"
}

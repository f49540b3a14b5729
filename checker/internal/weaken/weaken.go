// Package weaken makes the cache's protocol as bad as others are, for the
// checker to find it out: a checker that finds nothing there is blind.
//
// It is a hook of the Redis client that changes what the plugin sends. The
// plugin has no such switches, and shall have none.
package weaken

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/lua"
)

// The weaknesses, for New.
const (
	// Late registers what a result depends on when it is stored and not before
	// the database is read, and takes no lease: as django-cacheops does.
	Late = "late"
	// Unverified serves results that their conjunctions have forgotten, in
	// mode ConjunctionSets: evictions break it.
	Unverified = "unverified"
	// Faithful takes a server that restarted or was promoted for the one
	// before.
	Faithful = "faithful"
	// Unfenced sets no fence before COMMIT.
	Unfenced = "unfenced"
	// Deaf drops nothing at all.
	Deaf = "deaf"
	// Unmarked leaves out which rows of maintained lists were changed.
	Unmarked = "unmarked"
	// Hasty takes what others have committed to have been seen by all some time before
	// it was: what was leased in between stays.
	Hasty = "hasty"
)

// All are the weaknesses.
func All() []string { return []string{Late, Unverified, Faithful, Unfenced, Deaf, Unmarked, Hasty} }

// Hook weakens what a client sends.
type Hook struct {
	weakness string
	lookup   *lua.Script // instead of acquire; nil: that itself
	leases   sync.Map    // token of a look-up -> its arguments (Late)
}

var _ redis.Hook = (*Hook)(nil)

// New returns the hook for one of the weaknesses. It must be the last that is
// added to a client, so that the others see what the plugin sends. It fails if
// acquire has changed so that it can't be weakened any more.
func New(weakness string) (*Hook, error) {
	h := &Hook{weakness: weakness}
	edits := map[string][2]string{
		Late: {
			"if life == '0' then return {0} end",
			"if life == '0' then return {0} end\nif true then return {2, token} end",
		},
		Unverified: {"return type(mark) == 'string' and string.sub(mark, 1, 6) == string.sub(entry, 2, 7)", "return true"},
		Faithful:   {"string.match(info, 'master_replid:(%x+)') or 'none'", "'none'"},
		Unfenced:   {},
		Deaf:       {},
		Unmarked:   {},
		Hasty:      {},
	}
	edit, known := edits[weakness]
	if !known {
		return nil, fmt.Errorf("weaken: %q is none of %s", weakness, strings.Join(All(), ", "))
	}
	if edit[0] != "" {
		if !strings.Contains(lua.Acquire.Source(), edit[0]) {
			return nil, fmt.Errorf("weaken: %s: acquire has no %q any more: adapt the weakness to it", weakness, edit[0])
		}
		h.lookup = lua.New(strings.ReplaceAll(lua.Acquire.Source(), edit[0], edit[1]))
	}
	return h, nil
}

// DialHook implements redis.Hook.
func (h *Hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements redis.Hook.
func (h *Hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c, ok := cmd.(*redis.Cmd)
		switch {
		case !ok:
		case h.lookup != nil && runs(cmd, lua.Acquire):
			if h.weakness == Late {
				// The token is the third argument after the keys.
				args := append([]any{}, cmd.Args()[2:]...)
				h.leases.Store(args[1+args[0].(int)+2], args)
			}
			return h.send(ctx, next, c, h.lookup, cmd.Args()[2:])
		case h.weakness == Late && runs(cmd, lua.Save):
			return h.saveLate(ctx, next, c, lua.Save)
		case h.weakness == Late && runs(cmd, lua.SaveJoined):
			return h.saveLate(ctx, next, c, lua.SaveJoined)
		case h.drops(cmd):
			c.SetVal([]any{int64(0), int64(0)})
			return nil
		}
		h.hasten(cmd)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h *Hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var sent []redis.Cmder
		for _, cmd := range cmds {
			if c, ok := cmd.(*redis.Cmd); ok && h.drops(cmd) {
				c.SetVal([]any{int64(0), int64(0)})
				continue
			}
			h.hasten(cmd)
			sent = append(sent, cmd)
		}
		if len(sent) == 0 {
			return nil
		}
		return next(ctx, sent)
	}
}

// drops reports whether a call is to be answered as if it had been carried out.
func (h *Hook) drops(cmd redis.Cmder) bool {
	if h.weakness == Unmarked {
		return runs(cmd, lua.ListMark)
	}
	if h.weakness != Unfenced && h.weakness != Deaf || !runs(cmd, lua.Invalidate) {
		return false
	}
	args := cmd.Args()
	hold := args[3+args[2].(int)+lua.HoldArg]
	fence := hold != "0" && hold != "-1"
	return fence == (h.weakness == Unfenced)
}

// hastening is by how much Hasty puts the moment back.
const hastening = 50 * time.Millisecond

// hasten has a call that spares what was leased after some moment spare more.
func (h *Hook) hasten(cmd redis.Cmder) {
	if h.weakness != Hasty || !runs(cmd, lua.Invalidate) {
		return
	}
	args := cmd.Args()
	at := &args[3+args[2].(int)+lua.SeenArg]
	if seen, ok := (*at).(int64); ok {
		*at = seen - hastening.Microseconds()
	}
}

// saveLate registers what the look-up of this result should have registered
// before, and stores it.
func (h *Hook) saveLate(ctx context.Context, next redis.ProcessHook, save *redis.Cmd, script *lua.Script) error {
	args := append([]any{}, save.Args()[2:]...)
	lease := 1 + args[0].(int) // follows the keys
	lookup, ok := h.leases.LoadAndDelete(args[lease])
	if !ok {
		save.SetVal(int64(0))
		return nil
	}
	registered := redis.NewCmd(ctx)
	if err := h.send(ctx, next, registered, lua.Acquire, lookup.([]any)); err != nil {
		save.SetErr(err)
		return err
	}
	reply, _ := registered.Val().([]any)
	if len(reply) != 2 || reply[0] != int64(2) {
		save.SetVal(int64(0)) // another has it
		return nil
	}
	args[lease] = reply[1]
	return h.send(ctx, next, save, script, args)
}

// send runs a script with the keys and arguments of another and gives cmd its
// reply.
func (h *Hook) send(ctx context.Context, next redis.ProcessHook, cmd *redis.Cmd, s *lua.Script, args []any) error {
	instead := redis.NewCmd(ctx, append([]any{"evalsha", s.Hash()}, args...)...)
	err := next(ctx, instead)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		instead = redis.NewCmd(ctx, append([]any{"eval", s.Source()}, args...)...)
		err = next(ctx, instead)
	}
	cmd.SetVal(instead.Val())
	cmd.SetErr(err)
	return err
}

// runs reports whether a command runs a script of the protocol.
func runs(cmd redis.Cmder, s *lua.Script) bool {
	args := cmd.Args()
	if len(args) < 3 {
		return false
	}
	return args[0] == "evalsha" && args[1] == s.Hash() || args[0] == "eval" && args[1] == s.Source()
}

package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/lua"
)

// ServerInfo is what bears on the cache of the server's set-up. Fields that
// the server does not tell are empty.
type ServerInfo struct {
	Version         string // such as "7.0.15"
	Role            string // "master" or "slave"
	MaxMemory       int64  // bytes; 0 is unlimited or unknown
	MaxMemoryPolicy string // such as "noeviction"

	// IdentityHidden says that scripts can't read the server's replication id: INFO
	// is forbidden or renamed, or a proxy answers it. A restart from an old dump or
	// a failover is then not noticed, and results may be stale until they expire.
	// Nothing else that scripts can read tells one run of a server from the next.
	IdentityHidden bool
	// Embedded says that the server has no replication id to hide: one in the
	// memory of the program, such as miniredis, which neither restarts nor fails
	// over.
	Embedded bool

	// Refusals are the commands that the server refuses, and that the cache can do
	// without: Command.Without says what is lost.
	Refusals []Refusal
}

// Check asks the server whether it can hold the cache, and tries every command that
// the cache needs on keys of its own, which it leaves behind for a second at most.
// Besides errors of the connection it returns one that wraps ErrConfig if the server is
// a replica or refuses a command that is required, with the rule of an ACL that
// permits it, and ErrLayout if other processes use the namespace in another way.
func (s *Store) Check(ctx context.Context) (ServerInfo, error) {
	var info ServerInfo
	if err := s.check(ctx, &info); err != nil {
		return info, fmt.Errorf("store: check: %w", err)
	}
	return info, nil
}

// check takes several round trips, each of which Options.Timeout bounds.
func (s *Store) check(ctx context.Context, info *ServerInfo) error {
	places, err := bounded(ctx, s, s.places)
	if err != nil {
		return err
	}
	for i, at := range places {
		found, err := bounded(ctx, s, func(ctx context.Context, _ redis.UniversalClient) (ServerInfo, error) {
			return s.describe(ctx, at)
		})
		if i == 0 {
			*info = found
		}
		if err != nil {
			return err
		}
		info.IdentityHidden, info.Embedded = info.IdentityHidden || found.IdentityHidden, info.Embedded || found.Embedded
		refusals, err := s.probe(ctx, at)
		if err != nil {
			return err
		}
		if i == 0 {
			info.Refusals = refusals
		}
		if err := refusalError(refusals); err != nil {
			return err
		}
	}
	_, err = bounded(ctx, s, func(ctx context.Context, c redis.UniversalClient) (any, error) { return nil, s.checkLayout(ctx, c) })
	return err
}

// describe asks a server who it is. What it hides is left out.
func (s *Store) describe(ctx context.Context, at place) (info ServerInfo, err error) {
	if err := at.node.Ping(ctx).Err(); err != nil && !(isAnswer(err) && refused(err.Error())) {
		return info, err
	}
	reply, err := lua.Identity.Run(ctx, at.node, []string{at.tag + "N"}).StringSlice()
	switch {
	case isAnswer(err) && refused(err.Error()):
		return info, nil // as the probe finds
	case err != nil:
		return info, err
	case len(reply) != 2:
		return info, replyError("identity", reply)
	}
	info.Role = reply[1]
	if info.Role == "slave" {
		return info, fmt.Errorf("%w: Options.Client is connected to a replica: connect it to the master", ErrConfig)
	}
	if reply[0] == hidden {
		// One in memory knows INFO, but has nothing to say there.
		err := at.node.Info(ctx, "replication").Err()
		info.Embedded = err != nil && mentions(err.Error(), "not supported")
		info.IdentityHidden = !info.Embedded
	}
	info.read(ctx, at.node)
	return info, nil
}

// read adds what only informs.
func (info *ServerInfo) read(ctx context.Context, node redis.UniversalClient) {
	for _, section := range []string{"server", "memory"} {
		text, err := node.Info(ctx, section).Result()
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			switch name {
			case "redis_version":
				info.Version = value
			case "maxmemory":
				info.MaxMemory, _ = strconv.ParseInt(value, 10, 64)
			case "maxmemory_policy":
				info.MaxMemoryPolicy = value
			}
		}
	}
}

// Available reports whether a look-up is worth trying. After errors of the
// connection it is false for a short while, 100 milliseconds to 2 seconds,
// except for one caller at a time, who must try.
func (s *Store) Available() bool { return s.breaker.allow() }

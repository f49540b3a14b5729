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

	// IdentityHidden says that the server's replication id can't be read by
	// scripts. A restart from an old dump or a failover is then not noticed,
	// and results may be stale until they expire. So it is with embedded
	// servers, which do neither, and behind proxies or access lists that
	// forbid INFO.
	IdentityHidden bool
}

// Check asks the server whether it can hold the cache. Besides errors of the
// connection it returns one that wraps ErrConfig if the server is a replica or
// forbids scripts, and ErrLayout if other processes use the namespace in another
// way.
func (s *Store) Check(ctx context.Context) (ServerInfo, error) {
	info, err := bounded(ctx, s, s.check)
	if err != nil {
		return info, fmt.Errorf("store: check: %w", err)
	}
	return info, nil
}

func (s *Store) check(ctx context.Context, client redis.UniversalClient) (ServerInfo, error) {
	var info ServerInfo
	epoch := s.keys.root(EntryKey{}).epoch
	var node redis.Cmdable = client
	if cluster, ok := client.(*redis.ClusterClient); ok {
		master, err := cluster.MasterForKey(ctx, epoch)
		if err != nil {
			return info, err
		}
		node = master
	}
	if err := node.Ping(ctx).Err(); err != nil {
		return info, err
	}
	reply, err := lua.Identity.Run(ctx, client, []string{epoch}).StringSlice()
	if redis.HasErrorPrefix(err, "NOPERM") {
		return info, fmt.Errorf("%w: Options.Client may not run scripts (%w): permit EVAL, EVALSHA and what the scripts call on keys of %s*", ErrConfig, err, s.keys.tag)
	}
	if err != nil {
		return info, err
	}
	if len(reply) != 2 {
		return info, replyError("identity", reply)
	}
	info.IdentityHidden, info.Role = reply[0] == "none", reply[1]

	// What follows only informs: a server that hides it will do.
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
	if info.Role == "slave" {
		return info, fmt.Errorf("%w: Options.Client is connected to a replica: connect it to the master", ErrConfig)
	}
	return info, s.checkLayout(ctx, client)
}

// Available reports whether a look-up is worth trying. After errors of the
// connection it is false for a short while, 100 milliseconds to 2 seconds,
// except for one caller at a time, who must try.
func (s *Store) Available() bool { return s.breaker.allow() }

package cacheplugin

import (
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

// summary says in a few attributes of a log line what a configuration amounts to.
func (c Config) summary(info store.ServerInfo) []any {
	return []any{
		"prefix", c.Prefix, "mode", c.Mode, "consistency", c.Consistency,
		"redis", strings.TrimSpace(topology(c.Redis) + " " + info.Version), "identity", identity(info),
		"profiles", len(c.Profiles), "off", c.off(),
	}
}

// topology names what a client is one of.
func topology(client redis.UniversalClient) string {
	switch c := client.(type) {
	case *redis.ClusterClient:
		return "cluster"
	case *redis.Client:
		if c.Options().Addr == "FailoverClient" { // what go-redis calls it
			return "sentinel"
		}
		return "single server"
	}
	return "client of another type"
}

// identity says whether a restart of the server from an old dump, and a failover,
// would be noticed.
func identity(info store.ServerInfo) string {
	switch {
	case info.Role == "" && !info.Embedded && !info.IdentityHidden:
		return "unknown"
	case info.Embedded:
		return "embedded"
	case info.IdentityHidden:
		return "hidden"
	}
	return "known"
}

// off lists what is not in use of that which a configuration can switch on.
func (c Config) off() string {
	var off []string
	for _, f := range []struct {
		on   bool
		name string
	}{
		{c.NearCache != nil, "NearCache"},
		{c.Outbox != nil, "Outbox"},
		{c.StoreQueue > 0, "StoreQueue"},
		{c.ShadowReads > 0, "ShadowReads"},
		{c.ReplicaLag > 0, "ReplicaLag"},
	} {
		if !f.on {
			off = append(off, f.name)
		}
	}
	if len(off) == 0 {
		return "nothing"
	}
	return strings.Join(off, ", ")
}

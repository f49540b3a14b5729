package cacheplugin

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/redis/go-redis/v9"
	"gorm.io/gorm/schema"

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

// misspelled returns the patterns that match none of a database's tables, with
// what to write in their place as far as that can be told. Those with DependsOn
// may be named after functions, and are left out.
func (m *matcher) misspelled(naming schema.Namer, tables []string) []string {
	var list []string
	for pattern, p := range m.exact {
		if !slices.Contains(tables, pattern) && (p == nil || p.DependsOn == nil) {
			list = append(list, fmt.Sprintf("Profiles[%q] matches no table that the database has%s", pattern, remedy(pattern, naming, tables)))
		}
	}
	for _, glob := range m.globs {
		matches := func(table string) bool { ok, _ := path.Match(glob, table); return ok }
		if p := m.byGlob[glob]; glob != "*" && !slices.ContainsFunc(tables, matches) && (p == nil || p.DependsOn == nil) {
			list = append(list, fmt.Sprintf("Profiles[%q] matches no table that the database has", glob))
		}
	}
	sort.Strings(list)
	return list
}

// remedy says which table was probably meant by a name.
func remedy(name string, naming schema.Namer, tables []string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 && slices.Contains(tables, name[i+1:]) {
		return fmt.Sprintf(": patterns are names without a schema, write %q", name[i+1:])
	}
	if naming != nil {
		if table := naming.TableName(name); slices.Contains(tables, table) {
			return fmt.Sprintf(": patterns are names of tables, not of models, write %q", table)
		}
	}
	best, least := "", max(2, len(name)/3)+1
	for _, table := range tables {
		if d := distance(strings.ToLower(name), strings.ToLower(table)); d < least || d == least && table < best {
			best, least = table, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// distance is the number of bytes to insert, delete or replace to make one name of
// another (Levenshtein's).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// tellMisspelled warns of the patterns that match no table.
func (p *Plugin) tellMisspelled(m *matcher) func(context.Context, schema.Namer, []string) {
	if len(m.exact) == 0 && !slices.ContainsFunc(m.globs, func(glob string) bool { return glob != "*" }) {
		return nil // there is nothing to be misspelled
	}
	return func(ctx context.Context, naming schema.Namer, tables []string) {
		for _, message := range m.misspelled(naming, tables) {
			p.report.WarnOnce(ctx, message, message)
		}
	}
}

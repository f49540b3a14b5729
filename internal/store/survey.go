package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/lua"
)

// What follows is for operators' tools, and no part of a read or a write: it
// goes through keys with SCAN, which doesn't hold the server up but takes time
// on a large one. Options.Timeout does not apply, the context does.

// scanCount is how many keys a call of SCAN looks at.
const scanCount = 1000

// Namespaces returns the namespaces of a server or cluster whose names begin
// with a prefix and that have been read since they were last dropped as a
// whole, sorted.
func Namespaces(ctx context.Context, client redis.UniversalClient, prefix string) ([]string, error) {
	var mu sync.Mutex
	var found []string
	visit := func(ctx context.Context, node *redis.Client) error {
		return scan(ctx, node, "{"+escapeGlob(prefix)+"*}N", func(keys []string) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, key := range keys {
				name, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(key, "{"), "}N"), "{")
				found = append(found, name)
			}
			return true, nil
		})
	}
	var err error
	switch c := client.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(ctx, visit)
	case *redis.Client:
		err = visit(ctx, c)
	default:
		err = fmt.Errorf("%w: Client is a %T: use a *redis.Client or a *redis.ClusterClient", ErrConfig, client)
	}
	if err != nil {
		return nil, fmt.Errorf("store: look for namespaces: %w", err)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// Tables returns the tables that results in the namespace depend on, or have
// depended on, sorted. Nothing is cached of any other.
func (s *Store) Tables(ctx context.Context) ([]string, error) {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: look for tables: %w", err)
	}
	var tables []string
	for _, node := range nodes {
		err = scan(ctx, node, s.keys.tables(), func(keys []string) (bool, error) {
			for _, key := range keys {
				if kind, table := s.keys.classify(key); kind == tableKey {
					tables = append(tables, table)
				}
			}
			return true, nil
		})
		if err != nil {
			return nil, fmt.Errorf("store: look for tables: %w", err)
		}
	}
	slices.Sort(tables)
	return slices.Compact(tables), nil
}

// TableInfo is what is kept of a table.
type TableInfo struct {
	// Schemes are the combinations of columns that results depend on, sorted.
	Schemes []conj.Scheme
	// Known is false if nothing that was read of the table can be valid.
	Known bool
	// TTL is how long this is kept if nothing more is read.
	TTL time.Duration
}

// TableInfo asks what is kept of a table.
func (s *Store) TableInfo(ctx context.Context, table string) (TableInfo, error) {
	var info TableInfo
	pipe := s.client.Pipeline()
	fields := pipe.HKeys(ctx, s.TableName(table))
	ttl := pipe.PTTL(ctx, s.TableName(table))
	if _, err := pipe.Exec(ctx); err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return info, fmt.Errorf("store: read of table %s: %w", table, err)
	}
	info.TTL = max(0, ttl.Val())
	for _, field := range fields.Val() {
		if scheme, ok := strings.CutPrefix(field, "s:"); ok {
			info.Schemes = append(info.Schemes, conj.Scheme(scheme))
		}
		info.Known = info.Known || field == "g"
	}
	slices.Sort(info.Schemes)
	return info, nil
}

// ConjunctionInfo is what is kept of a conjunction.
type ConjunctionInfo struct {
	// Known is false if no valid result depends on it.
	Known bool
	// Entries are the names of results and leases that depend on it, some of
	// which may have expired. Mode ConjunctionSets only, and not all of a large
	// set.
	Entries []string
	// Size is their number.
	Size int64
	// TTL is how long it is kept if nothing more is read.
	TTL time.Duration
}

// conjunctionEntries is the number of entries that ConjunctionInfo lists.
const conjunctionEntries = 100

// ConjunctionInfo asks what is kept of a conjunction of a table.
func (s *Store) ConjunctionInfo(ctx context.Context, table string, key conj.Key) (ConjunctionInfo, error) {
	name := s.ConjunctionName(table, key)
	pipe := s.client.Pipeline()
	ttl := pipe.PTTL(ctx, name)
	size := pipe.HLen(ctx, name)
	entries := pipe.HRandField(ctx, name, conjunctionEntries)
	// A stamp is not a set.
	if _, err := pipe.Exec(ctx); err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return ConjunctionInfo{}, fmt.Errorf("store: read a conjunction: %w", err)
	}
	found := entries.Val()
	slices.Sort(found)
	return ConjunctionInfo{Known: ttl.Val() > 0, Entries: found, Size: size.Val(), TTL: max(0, ttl.Val())}, nil
}

// Usage is a number of keys and the memory that they take.
type Usage struct {
	Keys  int64
	Bytes int64 // as Redis tells; of the values alone where it doesn't
}

func (u *Usage) add(bytes int64) {
	u.Keys++
	u.Bytes += bytes
}

// Survey is what a namespace holds, as far as it was looked at.
type Survey struct {
	// Scanned of the server's Keys were looked at, in no particular order.
	// Complete is true if they were all.
	Scanned, Keys int64
	Complete      bool
	// Entries are results, Leases are results in the making. Invalid are the
	// entries that were dropped together with their table or namespace and wait
	// for their expiry. Conjunctions that are dropped in mode InsideOut leave
	// entries that are not told from valid ones here.
	Entries, Leases, Invalid Usage
	// Conjunctions are sets, those that wait to be reclaimed included, or stamps; Tables the schemes of tables.
	Conjunctions, Tables Usage
	// Lists are the keys of lists of rows, three of each.
	Lists Usage
	// ByTable are the entries by the tables that they read; one that reads
	// several counts for each. ManyTables are those with so many tables that
	// the entry does not tell them.
	ByTable    map[string]Usage
	ManyTables Usage
}

// Survey looks at up to limit keys of the server (0: at all) and tells what of
// the namespace is among them.
func (s *Store) Survey(ctx context.Context, limit int64) (Survey, error) {
	survey, err := s.survey(ctx, limit)
	if err != nil {
		return survey, fmt.Errorf("store: survey: %w", err)
	}
	return survey, nil
}

func (s *Store) survey(ctx context.Context, limit int64) (Survey, error) {
	survey := Survey{ByTable: map[string]Usage{}}
	nodes, err := s.nodes(ctx)
	if err != nil {
		return survey, err
	}
	epochs, err := s.epochs(ctx)
	if err != nil {
		return survey, err
	}
	tables, err := s.generations(ctx)
	if err != nil {
		return survey, err
	}
	for _, node := range nodes {
		size, err := node.DBSize(ctx).Result()
		if err != nil {
			return survey, err
		}
		survey.Keys += size
	}
	survey.Complete = true
	for _, node := range nodes {
		err = scan(ctx, node, "", func(keys []string) (bool, error) {
			survey.Scanned += int64(len(keys))
			if err := s.look(ctx, node, &survey, keys, epochs, tables); err != nil {
				return false, err
			}
			if limit > 0 && survey.Scanned >= limit && survey.Scanned < survey.Keys {
				survey.Complete = false
			}
			return survey.Complete, nil
		})
		if err != nil || !survey.Complete {
			break
		}
	}
	return survey, err
}

// entryHead is as much of an entry as its witness can take, with that of its joined
// rows.
const entryHead = headLen + witnessMax + len("|12345|")

// look adds a page of keys to a survey.
func (s *Store) look(ctx context.Context, node *redis.Client, survey *Survey, keys []string, epochs map[string]string, tables map[string]string) error {
	type question struct {
		kind               keyKind
		tag                string
		bytes, length, hit redis.Cmder
	}
	var asked []question
	pipe := node.Pipeline()
	for _, key := range keys {
		kind, tag := s.keys.classify(key)
		if kind == otherKey {
			continue
		}
		q := question{kind: kind, tag: tag, bytes: pipe.MemoryUsage(ctx, key)}
		if kind == entryKey {
			q.length, q.hit = pipe.StrLen(ctx, key), pipe.GetRange(ctx, key, 0, int64(entryHead))
		}
		asked = append(asked, q)
	}
	if len(asked) == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); !answered(err) {
		return err
	}
	for _, q := range asked {
		var bytes int64
		if cmd, ok := q.bytes.(*redis.IntCmd); ok {
			bytes = cmd.Val()
		}
		switch q.kind {
		case conjunctionKey:
			survey.Conjunctions.add(bytes)
		case tableKey:
			survey.Tables.add(bytes)
		case listKey:
			survey.Lists.add(bytes)
		default:
			if length, ok := q.length.(*redis.IntCmd); ok && bytes == 0 {
				bytes = length.Val()
			}
			if head, ok := q.hit.(*redis.StringCmd); ok && head.Val() != "" {
				survey.entry(head.Val(), bytes, epochs[q.tag], tables)
			}
		}
	}
	return nil
}

// entry adds an entry, of which text is the beginning.
func (u *Survey) entry(text string, bytes int64, epoch string, tables map[string]string) {
	if isLease(text) {
		u.Leases.add(bytes)
		return
	}
	h, _, _ := readHead(text) // the names of joined rows may be cut off
	parts := strings.Split(h.witness, "|")
	if parts[0] != epoch && (len(parts) == 1 || h.joined) {
		// A digest, if it is not of another epoch: no telling.
		if len(parts[0]) == 40 && epoch != "" {
			u.Entries.add(bytes)
			u.ManyTables.add(bytes)
		} else {
			u.Invalid.add(bytes)
		}
		return
	}
	if parts[0] != epoch {
		u.Invalid.add(bytes)
		return
	}
	var reads []string
	for _, part := range parts[1:] {
		if table, ok := tables[part]; ok {
			reads = append(reads, table)
		}
	}
	if len(reads) == 0 {
		u.Invalid.add(bytes)
		return
	}
	u.Entries.add(bytes)
	for _, table := range reads {
		usage := u.ByTable[table]
		usage.add(bytes)
		u.ByTable[table] = usage
	}
}

// epochs returns the epochs that witnesses of valid entries begin with, by the
// tags of the entries' shards; where no entry can be valid there is none.
func (s *Store) epochs(ctx context.Context) (map[string]string, error) {
	roots := s.keys.roots()
	calls := make([]lua.Call, len(roots))
	for i, r := range roots {
		// Whatever it finds as an entry: only the epoch is of interest.
		calls[i] = lua.Call{Script: lua.Find, Keys: []string{r.epoch, r.epoch, r.fences}, Args: []any{"", "0", "0", ""}}
	}
	epochs := make(map[string]string, len(roots))
	for i, cmd := range lua.Pipeline(ctx, s.client, calls) {
		reply, err := cmd.Slice()
		if err != nil {
			return nil, err
		}
		epoch, ok := reply[0].(string)
		if !ok {
			return nil, replyError("find", reply)
		}
		if epoch != "" {
			epochs[strings.TrimSuffix(roots[i].epoch, "N")] = epoch
		}
	}
	return epochs, nil
}

// generations returns the tables by their generations.
func (s *Store) generations(ctx context.Context) (map[string]string, error) {
	tables, err := s.Tables(ctx)
	if err != nil {
		return nil, err
	}
	byGeneration := make(map[string]string, len(tables))
	for page := range slices.Chunk(tables, scanCount) {
		pipe := s.client.Pipeline()
		generations := make([]*redis.StringCmd, len(page))
		for i, table := range page {
			generations[i] = pipe.HGet(ctx, s.TableName(table), "g")
		}
		if _, err := pipe.Exec(ctx); !answered(err) {
			return nil, err
		}
		for i, g := range generations {
			// In a spread namespace it names its server besides.
			if id := g.Val()[strings.LastIndexByte(g.Val(), ':')+1:]; id != "" {
				byGeneration[id] = page[i]
			}
		}
	}
	return byGeneration, nil
}

// nodes returns the servers that hold the namespace.
func (s *Store) nodes(ctx context.Context) ([]*redis.Client, error) {
	switch c := s.client.(type) {
	case *redis.Client:
		return []*redis.Client{c}, nil
	case *redis.ClusterClient:
		if !s.keys.spread {
			node, err := c.MasterForKey(ctx, s.keys.root(EntryKey{}).epoch)
			return []*redis.Client{node}, err
		}
		var mu sync.Mutex
		var nodes []*redis.Client
		err := c.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			nodes = append(nodes, node)
			return nil
		})
		return nodes, err
	}
	return nil, fmt.Errorf("%w: Client is a %T: use a *redis.Client or a *redis.ClusterClient", ErrConfig, s.client)
}

// scan visits the keys that match, page by page and some of them twice, until
// visit returns false.
func scan(ctx context.Context, node *redis.Client, match string, visit func(keys []string) (bool, error)) error {
	for cursor := uint64(0); ; {
		keys, next, err := node.Scan(ctx, cursor, match, scanCount).Result()
		if err != nil {
			return err
		}
		more, err := visit(keys)
		if err != nil || !more || next == 0 {
			return err
		}
		cursor = next
	}
}

// answered reports whether the server has answered, if only to say that it
// doesn't know or permit one of the commands.
func answered(err error) bool {
	var answer redis.Error
	return err == nil || errors.As(err, &answer) && !unreachable(err)
}

// escapeGlob makes a pattern of Redis that matches nothing but s.
func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`).Replace(s)
}

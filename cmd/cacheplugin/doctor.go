package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/follow"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

func (a *app) doctorCommand() *cobra.Command {
	var o followed
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether this Redis is fit for the cache",
		Long: `Check whether this Redis is fit for the cache, and say what to change: version,
role, scripts, whether restarts and failovers can be noticed, eviction and memory,
persistence, clock and latency. It plays one read and one invalidation through
under the prefix and leaves nothing behind.

With a --database it also checks whether that can be followed (cacheplugin follow):
its settings, the user's rights, PostgreSQL's publication and slot.

It exits with 1 if there is a problem. Warnings are advice.`,
		Example: "  cacheplugin doctor --redis redis://cache.internal:6379 --prefix shop",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.connect(cmd.Context()); err != nil {
				return err
			}
			return a.doctor(cmd.Context(), o)
		},
	}
	o.flags(cmd)
	return cmd
}

// The states of a check.
const (
	stateOK      = "ok"
	stateWarning = "warning"
	stateProblem = "problem"
)

// check is one thing that was looked at.
type check struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"`
}

// diagnosis is the outcome of the command.
type diagnosis struct {
	Healthy bool    `json:"healthy"`
	Checks  []check `json:"checks"`
}

func (d *diagnosis) add(name, state, remedy, format string, args ...any) {
	if state == stateOK {
		remedy = ""
	}
	d.Checks = append(d.Checks, check{name, state, fmt.Sprintf(format, args...), remedy})
	d.Healthy = d.Healthy && state != stateProblem
}

func (d *diagnosis) text(w io.Writer) {
	for _, c := range d.Checks {
		_, _ = fmt.Fprintf(w, "%-8s %s: %s\n", c.State, c.Name, c.Found)
		if c.Remedy != "" {
			_, _ = fmt.Fprintf(w, "         -> %s\n", c.Remedy)
		}
	}
	if d.Healthy {
		_, _ = fmt.Fprintln(w, "this Redis is fit for the cache")
	} else {
		_, _ = fmt.Fprintln(w, "this Redis is not fit for the cache yet: see the problems above")
	}
}

func (a *app) doctor(ctx context.Context, o followed) error {
	stores, err := a.open(ctx, a.prefix)
	if err != nil {
		return err
	}
	s := stores[0]
	node, err := a.node(ctx, s)
	if err != nil {
		return a.connection(err)
	}
	d := diagnosis{Healthy: true}
	info, err := s.Check(ctx)
	switch {
	case errors.Is(err, store.ErrConfig):
		// It is in the checks below.
	case err != nil && !answered(err):
		return a.connection(err)
	}
	server := serverInfo(ctx, node)
	d.version(server)
	d.role(info, server)
	d.layout(stores)
	d.commands(info, err, a.prefix)
	d.protocol(ctx, s, a.prefix)
	d.identity(info, server)
	d.memory(server)
	d.freeing(server)
	d.persistence(server)
	d.connections(server)
	d.cluster(ctx, a.client)
	d.clock(ctx, node)
	d.latency(ctx, node)
	d.followers(ctx, s)
	if url := o.database; url != "" {
		bounded, cancel := context.WithTimeout(ctx, a.timeout)
		defer cancel()
		findings, err := o.examine(bounded, url)
		var wrong *failure
		switch {
		case errors.As(err, &wrong):
			return err
		case errors.Is(err, follow.ErrSetup):
			d.add("database", stateProblem, "correct it in --database or in the database", "%v", err)
		case err != nil:
			return &failure{exitConnection, fmt.Errorf("the database: %w", err), "is it running, and reachable from here? Give its URL by --database or DATABASE_URL"}
		}
		d.database(findings)
	}
	if err := a.print(&d); err != nil {
		return err
	}
	if !d.Healthy {
		return &failure{code: exitProblem, err: errReported}
	}
	return nil
}

// answered reports whether an error is an answer of the server.
func answered(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}

// node returns the server that holds the prefix.
func (a *app) node(ctx context.Context, s *store.Store) (*redis.Client, error) {
	switch c := a.client.(type) {
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, s.TableName(""))
	case *redis.Client:
		return c, nil
	}
	return nil, fmt.Errorf("a client of type %T", a.client)
}

// serverInfo is what INFO tells, by field. Sections that the server keeps to
// itself are missing.
func serverInfo(ctx context.Context, node *redis.Client) map[string]string {
	fields := map[string]string{}
	for _, section := range []string{"server", "clients", "memory", "persistence", "stats", "replication"} {
		text, err := node.Info(ctx, section).Result()
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				fields[name] = value
			}
		}
	}
	// Forbidden in many places, and not needed for more than advice.
	for _, name := range []string{"save", lazyExpire, lazyEviction} {
		if config, err := node.ConfigGet(ctx, name).Result(); err == nil {
			fields[name] = config[name]
		}
	}
	return fields
}

func number(fields map[string]string, name string) int64 {
	n, _ := strconv.ParseInt(fields[name], 10, 64)
	return n
}

// oldest is the first version of Redis that will do.
var oldest = [2]int{6, 2}

func (d *diagnosis) version(server map[string]string) {
	text := server["redis_version"]
	var version [2]int
	if _, err := fmt.Sscanf(text, "%d.%d", &version[0], &version[1]); err != nil {
		d.add("version", stateWarning, "permit INFO to this user, or see the server's documentation", "the server does not tell")
		return
	}
	state := stateOK
	if version[0] < oldest[0] || version[0] == oldest[0] && version[1] < oldest[1] {
		state = stateProblem
	}
	d.add("version", state, fmt.Sprintf("use Redis %d.%d or newer, or a compatible server", oldest[0], oldest[1]), "%s", text)
}

func (d *diagnosis) role(info store.ServerInfo, server map[string]string) {
	role := info.Role
	if role == "" {
		role = server["role"]
	}
	switch role {
	case "master":
		d.add("role", stateOK, "", "master with %d replicas", number(server, "connected_slaves"))
	case "":
		d.add("role", stateWarning, "make sure that it is no replica: permit INFO to this user", "the server does not tell")
	default:
		d.add("role", stateProblem, "connect the program to the master: replicas lag behind, and can't be written", "%s", role)
	}
}

// commands reports those that the server refuses.
func (d *diagnosis) commands(info store.ServerInfo, err error, prefix string) {
	const name = "commands"
	if errors.Is(err, store.ErrConfig) && !errors.Is(err, store.ErrLayout) && info.Role != "slave" {
		d.add(name, stateProblem, permit(prefix), "%v", err)
		return
	}
	for _, r := range info.Refusals {
		d.add(name, stateWarning, r.Remedy, "%v is refused (%s): %s", r.Command, r.Reason, r.Command.Without)
	}
	if err == nil && len(info.Refusals) == 0 {
		d.add(name, stateOK, "", "all that the cache needs are permitted")
	}
}

// permit is the rule for a user of the cache, with a near cache or without, in either
// mode.
func permit(prefix string) string {
	return "permit this user what the cache calls: ACL SETUSER <user> " + store.Access(prefix) + " " + store.Rules(store.Commands(store.Options{Notices: true}))
}

// doctorTable is a table that no database has.
const doctorTable = "cacheplugin doctor"

// protocol plays a read and an invalidation through.
func (d *diagnosis) protocol(ctx context.Context, s *store.Store, prefix string) {
	const name = "scripts"
	err := exercise(ctx, s)
	switch {
	case err == nil:
		d.add(name, stateOK, "", "a result was stored, found, and dropped")
	case redis.HasErrorPrefix(err, "NOPERM") || strings.Contains(err.Error(), "NOPERM") || strings.Contains(err.Error(), "ACL"):
		d.add(name, stateProblem, permit(prefix), "%v", err)
	case strings.Contains(err.Error(), "OOM"):
		d.add(name, stateProblem, "raise maxmemory, or let Redis evict: CONFIG SET maxmemory-policy allkeys-lru", "%v", err)
	default:
		d.add(name, stateProblem, "scripts and all commands on keys of the prefix must be permitted, and the server must be writable", "%v", err)
	}
}

func (d *diagnosis) layout(stores []*store.Store) {
	if len(stores) > 1 {
		d.add("layout", stateProblem, "set Config.Spread alike in all processes of the prefix, end those that don't, and run cacheplugin invalidate all",
			"processes that spread the prefix over the slots of a cluster and processes that don't use it, and are not told of each other's writes")
	}
}

// exercise stores, finds and drops a result under a name of its own.
func exercise(ctx context.Context, s *store.Store) (err error) {
	var key store.EntryKey
	_, _ = rand.Read(key[:]) // never fails
	table := conj.NewTable(doctorTable, doctorTable, []conj.Column{{Name: "id", Kind: conj.Integer}})
	c := table.Conjunction([]int{0}, []conj.Value{"=1"})
	deps := []store.Dependency{{Table: doctorTable, Schemes: []conj.Scheme{c.Scheme}, Keys: []conj.Key{c.Key}}}
	drop := func() ([]store.Report, error) {
		return s.Invalidate(ctx, []store.Change{{Table: doctorTable, Keys: func(schemes []conj.Scheme) ([]conj.Key, bool) {
			return table.Keys(conj.Change{New: conj.Image{"=1"}}, schemes)
		}}})
	}
	tables, err := s.Tables(ctx)
	if err != nil {
		return err
	}
	defer func() {
		_, dropErr := s.Invalidate(ctx, []store.Change{{Table: doctorTable}})
		if len(tables) == 0 {
			// Nothing is to be left of a prefix that nobody has used.
			dropErr = errors.Join(dropErr, s.InvalidateAll(ctx))
		}
		err = errors.Join(err, dropErr)
	}()
	found, err := s.Acquire(ctx, key, deps, time.Second)
	if err != nil {
		return err
	}
	if found.State != store.Leased {
		return fmt.Errorf("a look-up of nothing gave %s", found.State)
	}
	stored, err := s.Save(ctx, found.Lease, []byte("doctor"), time.Second)
	if err != nil {
		return err
	}
	if !stored {
		return errors.New("a lease was lost at once: does the server forget keys?")
	}
	if found, err = s.Peek(ctx, key, deps); err != nil {
		return err
	}
	if found.State != store.Hit {
		return fmt.Errorf("a result was stored and not found (%s): does the server forget keys?", found.State)
	}
	if _, err := drop(); err != nil {
		return err
	}
	if found, err = s.Peek(ctx, key, deps); err != nil {
		return err
	}
	if found.State == store.Hit {
		return errors.New("a result was found after it had been dropped: is there a replica or a cache between?")
	}
	return nil
}

func (d *diagnosis) identity(info store.ServerInfo, server map[string]string) {
	if info.Embedded {
		d.add("restarts", stateOK, "", "a server in a program's memory: it comes back empty")
		return
	}
	if !info.IdentityHidden {
		d.add("restarts", stateOK, "", "scripts see the replication identity: a restart from an old snapshot and a failover are noticed")
		return
	}
	state := stateWarning
	if persists(server) || number(server, "connected_slaves") > 0 {
		state = stateProblem
	}
	d.add("restarts", state, "permit INFO to scripts (ACL SETUSER <user> +info), or run cacheplugin invalidate all after every restart and failover",
		"scripts can't see INFO replication: a restart from an old snapshot or a failover would bring old results back unnoticed")
}

func (d *diagnosis) memory(server map[string]string) {
	limit, used, policy := number(server, "maxmemory"), number(server, "used_memory"), server["maxmemory_policy"]
	switch {
	case server["used_memory"] == "":
		d.add("memory", stateWarning, "permit INFO to this user", "the server does not tell")
	case limit == 0:
		d.add("memory", stateWarning, "set a limit and let Redis evict: CONFIG SET maxmemory 1gb; CONFIG SET maxmemory-policy allkeys-lru",
			"%s used, no limit: the cache can grow until the machine is out of memory", size(used))
	case policy == "noeviction":
		d.add("memory", stateWarning, "let Redis evict: CONFIG SET maxmemory-policy allkeys-lru (volatile-lru if it holds other data, too)",
			"%s of %s used, policy noeviction: once it is full, nothing more is cached until results expire", size(used), size(limit))
	default:
		d.add("memory", stateOK, "", "%s of %s used, policy %s, %d keys evicted so far", size(used), size(limit), policy, number(server, "evicted_keys"))
	}
}

// persists reports whether a restart can bring old data back.
func persists(server map[string]string) bool {
	return server["aof_enabled"] == "1" || server["save"] != "" || number(server, "rdb_saves") > 0
}

// The settings of Redis that have large values freed by a thread of its own.
const (
	lazyExpire   = "lazyfree-lazy-expire"
	lazyEviction = "lazyfree-lazy-eviction"
)

// freeing looks after sets that expire or are evicted with many names in them.
// A server that doesn't tell its settings is none to be set by its users.
func (d *diagnosis) freeing(server map[string]string) {
	switch {
	case server[lazyExpire] == "no" || server[lazyEviction] == "no":
		d.add("freeing", stateWarning, "CONFIG SET "+lazyExpire+" yes, CONFIG SET "+lazyEviction+" yes",
			"a set of many results that expires or is evicted is freed at a stroke, which keeps everybody waiting: some 20 ms for 100,000")
	case server[lazyExpire] == "yes":
		d.add("freeing", stateOK, "", "in the background")
	}
}

func (d *diagnosis) persistence(server map[string]string) {
	switch {
	case server["aof_enabled"] == "":
		d.add("persistence", stateWarning, "permit INFO to this user", "the server does not tell")
	case server["aof_enabled"] == "1":
		d.add("persistence", stateWarning, "a cache needs none: CONFIG SET appendonly no, unless other data are in this Redis",
			"every write is logged to a file (AOF), which costs time")
	case persists(server):
		d.add("persistence", stateOK, "", "snapshots")
	default:
		d.add("persistence", stateOK, "", "none")
	}
	if server["rdb_last_bgsave_status"] == "err" {
		d.add("snapshots", stateProblem, "see Redis' log; until then it may refuse every write (stop-writes-on-bgsave-error)", "the last one failed")
	}
}

func (d *diagnosis) connections(server map[string]string) {
	used, limit := number(server, "connected_clients"), number(server, "maxclients")
	if limit == 0 {
		return
	}
	state := stateOK
	if used*10 > limit*8 {
		state = stateWarning
	}
	d.add("connections", state, "raise maxclients, or use smaller pools (PoolSize)", "%d of %d", used, limit)
}

func (d *diagnosis) cluster(ctx context.Context, client redis.UniversalClient) {
	c, ok := client.(*redis.ClusterClient)
	if !ok {
		return
	}
	text, err := c.ClusterInfo(ctx).Result()
	switch {
	case err != nil:
		d.add("cluster", stateWarning, "permit CLUSTER INFO to this user", "%v", err)
	case !strings.Contains(text, "cluster_state:ok"):
		d.add("cluster", stateProblem, "see CLUSTER INFO: slots without a master can't be cached in", "the cluster is not ok")
	default:
		d.add("cluster", stateOK, "", "ok; a prefix lives in one of its slots")
	}
}

// skewed is the difference of clocks from which on something is wrong with one.
const skewed = time.Minute

func (d *diagnosis) clock(ctx context.Context, node *redis.Client) {
	before := time.Now()
	server, err := node.Time(ctx).Result()
	if err != nil {
		d.add("clock", stateWarning, "permit TIME to this user", "%v", err)
		return
	}
	// The server read its clock at some time between.
	skew := server.Sub(before.Add(time.Since(before) / 2)).Abs()
	state := stateOK
	if skew > skewed {
		state = stateWarning
	}
	d.add("clock", state, "let both machines keep time by NTP; leases and expiry go by Redis' clock alone", "%s apart from ours", skew.Round(time.Millisecond))
}

const (
	pings = 20
	slow  = 5 * time.Millisecond
)

func (d *diagnosis) latency(ctx context.Context, node *redis.Client) {
	var took []time.Duration
	for range pings {
		start := time.Now()
		if err := node.Ping(ctx).Err(); err != nil {
			d.add("latency", stateProblem, "see whether the connection is stable", "%v", err)
			return
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	median := took[len(took)/2]
	state := stateOK
	if median > slow {
		state = stateWarning
	}
	d.add("latency", state, "each look-up takes as long at least: run Redis nearer to the program, and see SLOWLOG GET",
		"%s at the median, %s at the most", median.Round(time.Microsecond), took[len(took)-1].Round(time.Microsecond))
}

package store

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/conj"
)

// Mode says how entries are found when rows change. All processes that share
// a namespace should use the same one; a mixture costs hits, not correctness.
type Mode uint8

const (
	// ConjunctionSets keeps, for each conjunction, the set of the entries
	// that depend on it, and drops these one by one. An entry counts as valid
	// only while all of its sets still name it, so that any eviction policy
	// of Redis is safe. The default.
	ConjunctionSets Mode = iota
	// InsideOut keeps a random stamp for each conjunction and repeats the
	// stamps in the entries, so that dropping a conjunction costs the same
	// whatever depends on it. Entries become invalid at once but take up
	// memory until they expire.
	InsideOut
)

// String returns the constant's name.
func (m Mode) String() string {
	switch m {
	case ConjunctionSets:
		return "ConjunctionSets"
	case InsideOut:
		return "InsideOut"
	}
	return "Mode(" + strconv.Itoa(int(m)) + ")"
}

// The defaults of Options.
const (
	DefaultNamespace = "cacheplugin"
	DefaultLeaseTTL  = 10 * time.Second
	DefaultTimeout   = 500 * time.Millisecond
)

// Options configure a Store. Only Client is required.
type Options struct {
	// Client is the Redis client: a *redis.Client (single server or
	// Sentinel) or a *redis.ClusterClient that reads from masters. A
	// *redis.Ring is refused: it moves keys between servers when one goes
	// away, and back to their old state when it returns.
	Client redis.UniversalClient

	// Namespace separates caches in one Redis. In Redis Cluster each
	// namespace lives in one slot, unless it is Spread. It must not contain braces.
	// Defaults to "cacheplugin".
	Namespace string

	// Mode defaults to ConjunctionSets.
	Mode Mode

	// Spread distributes the namespace over the slots of a Redis Cluster: each
	// table's metadata has a slot, and the entries have many. InsideOut only.
	// All processes of a namespace must agree: those that don't are not told
	// of each other's invalidations. See Store.Check.
	Spread bool

	// DirectConnections affirms that a connection of Client ends when its server
	// restarts or loses its role, as it does where no proxy keeps it: then the
	// server is asked for its identity once per connection, where scripts would ask in
	// each call, and look-ups are plain reads, cheaper for the server. The
	// identity is added to the connection's name. Client must be a *redis.Client
	// whose PipelinePoolSize is -1. Not with Spread.
	DirectConnections bool

	// Notices says that the process listens to those of the namespace (Listener), so
	// that Check tries that, too.
	Notices bool

	// LeaseTTL is how long a reader may take to produce a missing result. A
	// slower one's result is not stored; others who wait for it go on after
	// this time at the latest. Defaults to 10 seconds.
	LeaseTTL time.Duration

	// Timeout bounds every round trip, whatever the client's own timeouts
	// are. A read that must open a connection first may take a small multiple
	// of it. Defaults to 500 milliseconds.
	Timeout time.Duration

	// Settle is for how long a table takes no new results after each
	// invalidation, because they may be read from replicas of the database that
	// lag behind by as much. All processes that share a namespace must use the
	// same. Defaults to 0.
	Settle time.Duration
}

// Store is a cache in one namespace of a Redis server or cluster. It is safe
// for concurrent use. One that invalidates must be closed; the clients remain the
// caller's.
type Store struct {
	client    redis.UniversalClient
	direct    redis.UniversalClient // client with our timeout; nil if it can't be had
	leaseTTL  time.Duration
	timeout   time.Duration
	deadlines deadlines
	settle    time.Duration
	breaker   breaker

	introductions *introductions // of direct's connections
	needed        []Command

	namespace string
	keys      keyspace

	// Keys and arguments of the scripts that never change. In one slot epoch
	// and fences are those of the namespace.
	epoch, fences, mode, leaseMS, settleMS, unlinked, entries, conjunctions any

	schemes    sync.Map // table ID -> *schemeList
	registered sync.Map // table ID -> *[]conj.Scheme, not in schemes yet

	garbage reclaimer // of its invalidations

	// token returns a random id; tests replace it.
	token func() string
}

// New returns a Store, or an error that wraps ErrConfig. It does not connect;
// see Check.
func New(o Options) (*Store, error) {
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if o.LeaseTTL == 0 {
		o.LeaseTTL = DefaultLeaseTTL
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if err := checkClient(o.Client); err != nil {
		return nil, err
	}
	switch {
	case strings.ContainsAny(o.Namespace, "{}"):
		return nil, configError("Namespace", strconv.Quote(o.Namespace), "it must not contain braces, which mark the hash slot in keys")
	case o.Mode > InsideOut:
		return nil, configError("Mode", o.Mode, "use ConjunctionSets or InsideOut")
	case o.Spread && o.Mode != InsideOut:
		return nil, configError("Spread", true, "it needs Mode InsideOut: a set of entries can only drop those in its own slot")
	case o.LeaseTTL < time.Millisecond:
		return nil, configError("LeaseTTL", o.LeaseTTL, "it must be at least a millisecond; zero takes the default")
	case o.Settle < 0:
		return nil, configError("Settle", o.Settle, "it must not be negative; zero if the database that is read doesn't lag behind")
	case o.Timeout < 0:
		return nil, configError("Timeout", o.Timeout, "it must be positive; zero takes the default")
	}
	direct := withTimeout(o.Client, o.Timeout)
	introductions, err := newIntroductions(o, direct)
	if err != nil {
		return nil, err
	}

	keys := newKeyspace(o.Namespace, o.Spread)
	one := keys.root(EntryKey{})
	s := &Store{
		epoch:     one.epoch,
		fences:    one.fences,
		client:    o.Client,
		direct:    direct,
		leaseTTL:  o.LeaseTTL,
		timeout:   o.Timeout,
		deadlines: deadlines{after: o.Timeout},
		breaker:   breaker{now: time.Now, probe: o.Timeout},

		introductions: introductions,
		needed:        Commands(o),

		namespace:    o.Namespace,
		keys:         keys,
		mode:         "sets",
		leaseMS:      milliseconds(o.LeaseTTL),
		settle:       o.Settle,
		settleMS:     "0",
		unlinked:     unlinkedAtOnce,
		entries:      keys.tag + "e:",
		conjunctions: keys.tag + "c:",
		token:        randomToken,
	}
	if o.Settle > 0 {
		s.settleMS = milliseconds(o.Settle)
	}
	if o.Mode == InsideOut {
		s.mode = "stamps"
	}
	s.garbage.store = s
	return s, nil
}

// checkClient refuses clients that may talk to anything but the one master.
func checkClient(client redis.UniversalClient) error {
	switch c := client.(type) {
	case nil:
		return configError("Client", nil, "set it to a redis client")
	case *redis.Ring:
		return configError("Client", "a *redis.Ring", "a ring moves keys between servers and back, which revives old entries: use redis.NewClient, NewFailoverClient or NewClusterClient")
	case *redis.ClusterClient:
		o := c.Options()
		for _, f := range []struct {
			name string
			set  bool
		}{{"ReadOnly", o.ReadOnly}, {"RouteByLatency", o.RouteByLatency}, {"RouteRandomly", o.RouteRandomly}} {
			if f.set {
				return configError("Client", "a cluster client with "+f.name, "replicas lag behind and would answer with entries that are invalid: give the cache a client without "+f.name)
			}
		}
	}
	return nil
}

// Namespace returns the name of the namespace.
func (s *Store) Namespace() string { return s.namespace }

// EntryKey names an entry: 128 bits of a hash over all that determines the
// result and its dependencies.
type EntryKey [16]byte

// String returns the key as it is spelled in Redis.
func (k EntryKey) String() string { return encode(k) }

// EntryName returns the Redis key of an entry.
func (s *Store) EntryName(k EntryKey) string { return s.keys.entry(k) }

// ConjunctionName returns the Redis key of a conjunction of a table.
func (s *Store) ConjunctionName(table string, k conj.Key) string { return s.keys.conjunction(table, k) }

// TableName returns the Redis key of a table's hash.
func (s *Store) TableName(table string) string { return s.keys.table(table) }

// encodedLen is the length of what encode returns.
const encodedLen = 22

// encode spells 128 bits in 22 printable characters: members of sets then fit
// the same allocation as raw bytes do.
func encode[K ~[16]byte](k K) string {
	var room [encodedLen]byte
	return string(appendEncoded(room[:0], k))
}

func appendEncoded[K ~[16]byte](dst []byte, k K) []byte {
	raw := [16]byte(k)
	return base64.RawURLEncoding.AppendEncode(dst, raw[:])
}

func randomToken() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	return encode(raw)
}

// milliseconds formats a duration for Redis, which refuses zero.
func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(1, d.Milliseconds()), 10)
}

func replyError(what string, reply any) error {
	return fmt.Errorf("%w to %s: %T", ErrReply, what, reply)
}

package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Identified is a client for look-ups that asks for the server's identity once
// per connection, where scripts would ask in each call: a connection ends when its
// server restarts or loses its role, so that what a connection has been told holds
// as long as it lasts. That is so where Redis is reached directly, and not
// behind a proxy that keeps its clients' connections while the server behind it
// changes. It has connections of its own, and may serve several stores. It is
// safe for concurrent use and must be closed.
//
// The one identity that it keeps is that of all usable connections. None can be
// used before it has told its identity, and one that says otherwise than what
// is kept either takes over or is refused. It takes over if it was asked after
// what is kept was noted: since replication ids never return, it is newer. Then
// all connections that told the older one are at their end. Where the two
// were asked at the same time it can't be told which is newer: the next
// connection will tell.
type Identified struct {
	client  *redis.Client
	current atomic.Pointer[identity]
}

// identity is the replication id of a server in its role as a master.
type identity struct {
	id     string
	before *identity
}

// hidden is the identity of servers that have none, or don't tell; so scripts
// have it.
const hidden = "none"

var (
	errNotMaster  = errors.New("redis is a replica: connect to the master")
	errSuperseded = errors.New("redis' identity is not the latest that was seen")
)

// NewIdentified returns a client with the options of the given one, and of timeout
// if that is less than its own. The hooks of the given one are not called. It does not
// connect. An error wraps ErrConfig: only a *redis.Client will do, of a single
// server or of Sentinel.
func NewIdentified(client redis.UniversalClient, timeout time.Duration) (*Identified, error) {
	c, ok := client.(*redis.Client)
	if !ok {
		return nil, configError("Identified", fmt.Sprintf("of a %T", client), "only a *redis.Client of one server or of Sentinel has connections that end with the server's role: leave it out")
	}
	d := &Identified{}
	o := *c.Options()
	if o.ReadTimeout > 0 {
		timeout = min(timeout, o.ReadTimeout)
	}
	o.ReadTimeout, o.WriteTimeout = timeout, timeout
	// What is zero here was switched off, and would get its default.
	if o.MaxRetries == 0 {
		o.MaxRetries = -1
	}
	if o.MinRetryBackoff == 0 {
		o.MinRetryBackoff = -1
	}
	if o.MaxRetryBackoff == 0 {
		o.MaxRetryBackoff = -1
	}
	// A connection that is handed over to another server keeps its state here.
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.PushNotificationProcessor = nil // it is the other client's
	// Answers must come from the server.
	o.ClientSideCache, o.ClientSideCacheConfig = nil, nil
	o.PipelinePoolSize = -1 // one pool for all calls
	before := o.OnConnect
	o.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		if before != nil {
			if err := before(ctx, conn); err != nil {
				return err
			}
		}
		return d.identify(ctx, conn)
	}
	d.client = redis.NewClient(&o)
	return d, nil
}

// Close closes the connections. Calls of the stores that use it fail from then on.
func (d *Identified) Close() error { return d.client.Close() }

// identify asks for the identity of the server that a connection leads to. An error
// says that the connection must not be used.
func (d *Identified) identify(ctx context.Context, conn interface {
	Info(ctx context.Context, section ...string) *redis.StringCmd
}) error {
	seen := d.current.Load()
	text, err := conn.Info(ctx, "replication").Result()
	id, err := readIdentity(text, err)
	if err != nil {
		return fmt.Errorf("store: identify the server: %w", err)
	}
	if err := d.note(seen, id); err != nil {
		return fmt.Errorf("store: identify the server: %w", err)
	}
	return nil
}

// readIdentity reads an answer to INFO replication as scripts do.
func readIdentity(text string, err error) (string, error) {
	switch {
	case isAnswer(err) && !unreachable(err):
		return hidden, nil // forbidden, or not known
	case err != nil:
		return "", err
	}
	id := hidden
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case name == "role" && value == "slave":
			return "", errNotMaster
		case name == "master_replid" && value != "":
			id = value
		}
	}
	return id, nil
}

// note keeps an identity that was asked for when seen was the latest.
func (d *Identified) note(seen *identity, id string) error {
	for {
		switch now := d.current.Load(); {
		case now != nil && now.id == id:
			return nil
		case now != seen, seen.follows(id):
			return errSuperseded
		}
		next := &identity{id: id}
		if id != hidden { // what is told now may be hidden for a while
			next.before = seen
		}
		if d.current.CompareAndSwap(seen, next) {
			return nil
		}
	}
}

// follows reports whether an identity was known before this one. It can only
// come again from a master that has been replaced and doesn't know it.
func (i *identity) follows(id string) bool {
	for ; i != nil; i = i.before {
		if i.id == id && id != hidden {
			return true
		}
	}
	return false
}

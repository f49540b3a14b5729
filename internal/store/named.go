package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A connection ends when its server restarts, so that what it was told of the
// server holds as long as it lasts, where Redis is reached directly. The server
// itself keeps that for each connection: in its name (CLIENT SETNAME), which ends
// with the identity that the server had when it was asked on that connection.
// Look-ups without a script ask for the name in the pipeline that reads all the
// rest. A connection that has taken the place of another has no such name, whoever
// has opened it, and whichever server it leads to.

// nameMark precedes the identity in a connection's name.
const nameMark = "@cacheplugin:"

// hidden is the identity of servers that have none, or don't tell; so scripts
// have it.
const hidden = "none"

// refusalHolds is for how long a server that refuses names isn't asked again.
const refusalHolds = time.Minute

// introductions name the connections of a client's pool, one at a time.
type introductions struct {
	client *redis.Client // nil: none is to be named
	now    func() time.Time

	busy    sync.Mutex
	refused atomic.Int64 // until when, in Unix nanoseconds; 0: never was
}

// newIntroductions returns those of a client, which o.Client is with a timeout.
func newIntroductions(o Options, client redis.UniversalClient) (*introductions, error) {
	n := &introductions{now: time.Now}
	if !o.DirectConnections {
		return n, nil
	}
	c, ok := client.(*redis.Client)
	switch {
	case !ok:
		return nil, configError("DirectConnections", fmt.Sprintf("true, with a %T", o.Client), "only a *redis.Client of one server or of Sentinel has connections that end with their server: leave it out")
	case o.Spread:
		return nil, configError("DirectConnections", true, "a spread namespace has its identities in each table: leave it out, or Spread")
	case c.Options().PipelinePoolSize >= 0:
		return nil, configError("DirectConnections", fmt.Sprintf("true, with a client whose PipelinePoolSize is %d", c.Options().PipelinePoolSize),
			"look-ups are pipelines, and their connections must be those that can be named: make the client with PipelinePoolSize -1, which has them all in one pool")
	case strings.Contains(c.Options().ClientName, nameMark):
		return nil, configError("DirectConnections", fmt.Sprintf("true, with a client whose ClientName is %q", c.Options().ClientName), "a name must not contain "+nameMark+", which is added: take another")
	}
	n.client = c
	return n, nil
}

// possible reports whether connections have names, or can be given some.
func (n *introductions) possible() bool {
	if n.client == nil {
		return false
	}
	until := n.refused.Load()
	return until == 0 || n.now().UnixNano() >= until
}

// introduce asks for the identity of the server behind one connection of the pool,
// and names the connection after it. The pool gives out the one that came back
// last: it is likely the one that the caller has used. It does nothing while another
// one is being introduced. An error is one of the connection.
func (n *introductions) introduce(ctx context.Context) error {
	if !n.busy.TryLock() {
		return nil
	}
	defer n.busy.Unlock()
	// All goes through one connection of the server's: when that is lost, the rest
	// fails.
	conn := n.client.Conn()
	defer func() { _ = conn.Close() }() // it goes back to the pool

	pipe := conn.Pipeline()
	had, info := pipe.ClientGetName(ctx), pipe.Info(ctx, "replication")
	_, _ = pipe.Exec(ctx) // each command has its error
	if ok, err := n.granted(had.Err()); !ok {
		return err
	}
	id, err := readIdentity(info.Result())
	if err != nil || id == "" {
		return err
	}
	base, _, _ := strings.Cut(had.Val(), nameMark)
	name := base + nameMark + id
	if had.Val() == name {
		return nil
	}
	pipe = conn.Pipeline()
	set, has := pipe.ClientSetName(ctx, name), pipe.ClientGetName(ctx)
	_, _ = pipe.Exec(ctx)
	for _, cmd := range []redis.Cmder{set, has} {
		if ok, err := n.granted(cmd.Err()); !ok {
			return err
		}
	}
	if has.Val() != name { // it keeps none
		n.refuse()
	}
	return nil
}

// granted reports whether the server does as it is told about names, and notes it if
// it refuses. An error is one of the connection.
func (n *introductions) granted(err error) (bool, error) {
	switch {
	case err == nil, errors.Is(err, redis.Nil): // no name
		return true, nil
	case isAnswer(err) && !unreachable(err):
		n.refuse()
		return false, nil
	}
	return false, err
}

func (n *introductions) refuse() { n.refused.Store(n.now().Add(refusalHolds).UnixNano()) }

// readIdentity reads an answer to INFO replication as scripts do. It is empty for
// a replica, which has none of its own.
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
			return "", nil
		case name == "master_replid" && value != "":
			id = value
		}
	}
	return id, nil
}

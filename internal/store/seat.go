package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/lua"
)

// Moment is a time by the clock of the Redis server, in microseconds since 1970.
type Moment int64

// Time returns the moment as a time.
func (m Moment) Time() time.Time { return time.UnixMicro(int64(m)) }

// SeatTTL is for how long a seat remains its follower's that doesn't say so again.
const SeatTTL = 5 * time.Second

// positionKept is for how long the position of a follower is kept that is gone.
const positionKept = 30 * 24 * time.Hour

// Seat is the right to follow the log of one database for a namespace, which one
// process has at a time, and the position that it has come to. It is lost with what
// Redis loses: who finds no position knows nothing of what was told. It is safe for
// concurrent use.
type Seat struct {
	store *Store
	key   string
	about string
	token string
	clock seatClock
}

// NewSeat returns the seat of a database's log. The name tells the log from others;
// about is for people. It asks nobody.
func (s *Store) NewSeat(name, about string) *Seat {
	sum := sha256.Sum256([]byte(name))
	return &Seat{store: s, key: s.seatPrefix() + encode([16]byte(sum[:16])), about: about, token: randomToken(), clock: seatClock{now: time.Now}}
}

// seatPrefix begins the keys of seats.
func (s *Store) seatPrefix() string {
	return strings.TrimSuffix(s.keys.root(EntryKey{}).epoch, "N") + "L:"
}

// Holding is the answer to Take.
type Holding struct {
	// Mine reports whether the seat is the caller's, for SeatTTL from now on.
	Mine bool
	// Left is for how long it is another's, unless that one prolongs it.
	Left time.Duration
	// Position is the last one that was told of; empty if none is known.
	Position string
	// Clock is a moment after the call began, and after everything that was
	// stamped on the server before the call: even if its clock was set back
	// meanwhile, as long as the caller has taken the seat before that.
	Clock Moment
}

// Take takes the seat, or prolongs it, with the position up to which everything has
// been told; empty leaves that as it was.
func (t *Seat) Take(ctx context.Context, position string) (Holding, error) {
	return t.call(ctx, position, SeatTTL)
}

// Leave gives the seat up, if it is the caller's, with the position.
func (t *Seat) Leave(ctx context.Context, position string) error {
	_, err := t.call(ctx, position, 0)
	return err
}

func (t *Seat) call(ctx context.Context, position string, ttl time.Duration) (Holding, error) {
	s := t.store
	sent := t.clock.now()
	reply, err := bounded(ctx, s, func(ctx context.Context, c redis.UniversalClient) ([]any, error) {
		return lua.Follow.Run(ctx, c, []string{t.key}, t.token, strconv.FormatInt(ttl.Milliseconds(), 10), position, t.about, positionKept.Milliseconds()).Slice()
	})
	answered := t.clock.now()
	if err != nil {
		return Holding{}, fmt.Errorf("store: seat of the follower: %w", err)
	}
	if len(reply) < 4 || reply[0] == int64(0) && len(reply) < 5 {
		return Holding{}, fmt.Errorf("store: seat of the follower: %w", replyError("follow", reply))
	}
	h := Holding{Mine: reply[0] == int64(1)}
	h.Position, _ = reply[1].(string)
	seconds, _ := reply[2].(string)
	micros, _ := reply[3].(string)
	whole, err1 := strconv.ParseInt(seconds, 10, 64)
	rest, err2 := strconv.ParseInt(micros, 10, 64)
	if err1 != nil || err2 != nil {
		return Holding{}, fmt.Errorf("store: seat of the follower: %w", replyError("follow", reply))
	}
	h.Clock = t.clock.read(Moment(whole*1_000_000+rest), sent, answered)
	if !h.Mine {
		left, _ := reply[4].(int64)
		h.Left = time.Duration(left) * time.Millisecond
	}
	return h, nil
}

// seatClock reads the server's clock such that what it gives never lies before what
// the server has stamped already, even if that clock is set back: it was never ahead of
// this process's own, which is not set, by more than a call has shown that was read
// without delay.
type seatClock struct {
	now func() time.Time

	mu    sync.Mutex
	began time.Time // by the process's clock; from here on that counts
	high  Moment    // the highest that may have been stamped
	ahead Moment    // by how much the server's clock is ahead of ours, at most
	last  Moment    // when that was found out, by ours
}

// drift is by how much two clocks may come apart in a time, as its share.
const drift = 1000

// read takes in what the clock has shown to a call that was sent and answered at two
// times.
func (c *seatClock) read(shown Moment, sent, answered time.Time) Moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.began.IsZero()
	if first {
		c.began = sent
	}
	from, to := Moment(sent.Sub(c.began).Microseconds()), Moment(answered.Sub(c.began).Microseconds())
	if !first {
		c.ahead += max(0, from-c.last) / drift
		c.high = max(c.high, from+c.ahead)
	}
	c.high = max(c.high, shown)
	if first || shown-from < c.ahead || shown-to > c.ahead { // the last: it was set forward
		c.ahead = shown - from
	}
	c.last = max(c.last, from)
	return c.high
}

// SeatInfo is what is known of a follower.
type SeatInfo struct {
	About    string    // what it follows
	Position string    // up to which everything has been told
	Told     time.Time // when it said so last, by the server's clock
	Held     bool      // it does so now
}

// Seats returns what is known of the followers of the namespace, those included that
// have not run for some days.
func (s *Store) Seats(ctx context.Context) ([]SeatInfo, error) {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: look for followers: %w", err)
	}
	var found []SeatInfo
	for _, node := range nodes {
		now, err := node.Time(ctx).Result()
		if err != nil {
			return nil, fmt.Errorf("store: look for followers: %w", err)
		}
		err = scan(ctx, node, escapeGlob(s.seatPrefix())+"*", func(keys []string) (bool, error) {
			for _, key := range keys {
				fields, err := node.HGetAll(ctx, key).Result()
				if err != nil {
					return false, err
				}
				upto, _ := strconv.ParseInt(fields["until"], 10, 64)
				told, _ := strconv.ParseInt(fields["told"], 10, 64)
				found = append(found, SeatInfo{
					About: fields["about"], Position: fields["position"],
					Told: time.UnixMilli(told), Held: upto > now.UnixMilli(),
				})
			}
			return true, nil
		})
		if err != nil {
			return nil, fmt.Errorf("store: look for followers: %w", err)
		}
	}
	slices.SortFunc(found, func(a, b SeatInfo) int { return strings.Compare(a.About, b.About) })
	return found, nil
}

// InvalidateSeen is Invalidate of changes that others have committed: what was leased
// after the moment from which on all who read the database see them stays, for it has
// seen them. A moment of 0 spares nothing. In a Spread namespace, whose tables lie on servers
// with clocks of their own, nothing is spared either.
func (s *Store) InvalidateSeen(ctx context.Context, changes []Change, seen Moment) ([]Report, error) {
	return s.drop(ctx, changes, s.droppingSeen(seen))
}

// InvalidateAllSeen is InvalidateAll, as InvalidateSeen is Invalidate.
func (s *Store) InvalidateAllSeen(ctx context.Context, seen Moment) error {
	if err := s.dropAll(ctx, s.droppingSeen(seen)); err != nil {
		return fmt.Errorf("store: invalidate all: %w", err)
	}
	return nil
}

func (s *Store) droppingSeen(seen Moment) fencing {
	f := s.dropping(nil)
	if seen > 0 && !s.keys.spread {
		// Replicas may show the changes as much later.
		f.after = seen + Moment(s.settle.Microseconds())
	}
	return f
}

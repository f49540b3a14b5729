package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// NewFenceID returns an id for Fence: 128 random bits, printable.
func NewFenceID() string { return randomToken() }

// Fence is called before a COMMIT. It drops the entries and leases that depend
// on the changes, as Invalidate does, and in the same step sets a fence around
// their tables: from then on look-ups of them that find no valid entry are
// answered Fenced, so that no result that was read before the COMMIT is stored
// and outlives it. Entries of other rows go on being hit.
//
// The fence falls when Invalidate is given the id, and by itself ttl
// after it was set, by the server's clock. It stays up for ttl if the writer
// dies: that is what it is for. Other writers' fences, and a whole table's
// invalidation, leave it alone. Setting it again sets it anew, and a repeated
// delivery after it fell costs hits for ttl, no more.
//
// After an error some of the tables may be fenced. It costs as many round trips
// as Invalidate. A server that is full refuses it.
func (s *Store) Fence(ctx context.Context, id string, changes []Change, ttl time.Duration) ([]Report, error) {
	reports, err := s.drop(ctx, changes, fencing{set: id, hold: ttl})
	if err != nil {
		return reports, fmt.Errorf("store: fence: %w", err)
	}
	return reports, nil
}

// FenceAll is Fence for a write that may change any table: it drops everything
// and fences the namespace. InvalidateAll drops the fence.
func (s *Store) FenceAll(ctx context.Context, id string, ttl time.Duration) error {
	if err := s.dropAll(ctx, fencing{set: id, hold: ttl}); err != nil {
		return fmt.Errorf("store: fence everything: %w", err)
	}
	return nil
}

// fencing is what a call does to fences besides dropping entries, and what it leaves
// of these.
type fencing struct {
	set   string        // the id of the fence that is set, if hold is not zero
	hold  time.Duration // for how long
	drop  []string      // the ids of those that are dropped
	after Moment        // what was leased later stays
}

// seen is the moment as the script takes it.
func (f fencing) seen() any {
	if f.after == 0 {
		return ""
	}
	return int64(f.after)
}

// args completes the arguments of a call of the script, which is the first or
// the last of several on a table.
func (f fencing) args(first, last bool, args ...any) []any {
	switch {
	case f.hold == 0:
		args = append(args, "0")
	case first:
		args = append(args, milliseconds(f.hold), f.set)
	default:
		args = append(args, "-1")
	}
	if last {
		for _, id := range f.drop {
			args = append(args, id)
		}
	}
	return args
}

// settled is the id of the fence that an invalidation leaves behind where
// Options.Settle asks for it. The scripts know it: one that is not to leave it
// drops it, since the results of those who ask for it must settle all the same.
const settled = "settle"

// dropping is what is done to fences after a commit.
func (s *Store) dropping(ids []string) fencing {
	return fencing{set: settled, hold: s.settle, drop: ids}
}

// full reports whether an error is a server's that takes no more writes. It
// refuses fences then, and new entries as well.
func full(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "OOM")
}

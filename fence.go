package cacheplugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/txn"
)

// Consistency says what reads may see of a write whose Commit has not returned,
// or never will because its process died.
type Consistency uint8

// The grades. All processes that write through one Prefix should use the same:
// each speaks for its own writes only. Reads cost the same in both.
const (
	// Returned promises that a read is not older than any commit that has
	// returned before it started, as far as that commit itself changed the
	// result. A process that dies between COMMIT and the invalidation leaves
	// results that may be served until their timeout. A commit takes one round
	// trip to Redis.
	Returned Consistency = iota
	// Strict promises that a read is not older than anything that was
	// committed in the database when it started, even if the writer was killed
	// right after its COMMIT or could not reach Redis then. What a transaction
	// changes is dropped before its COMMIT as well as after it, and in between
	// its tables take no new results. A commit takes two round trips, and
	// fails with ErrNotFenced while Redis can't be reached; see OnFenceError.
	Strict
)

// String returns the constant's name.
func (c Consistency) String() string {
	switch c {
	case Returned:
		return "Returned"
	case Strict:
		return "Strict"
	}
	return fmt.Sprintf("Consistency(%d)", uint8(c))
}

// fence announces a statement that is going to commit, by itself or what its
// transaction has done before it: to Redis under Strict, and in the outbox. If
// it returns an error the statement must not be sent, and has changed nothing.
func (c *capture) fence() error {
	if c.lost != nil {
		c.settled = true
		return c.lost
	}
	if c.engine.config.Consistency != Strict && c.engine.config.Outbox == nil {
		return nil
	}
	err := c.announce()
	c.settled = err != nil
	return err
}

func (c *capture) announce() error {
	if c.tx != nil {
		if !c.commits {
			return nil
		}
		if !c.passive && !c.ignored {
			// MySQL's DDL commits itself with what was done before.
			if err := c.tx.Record(c.ctx, func(j txn.Journal) { c.noteRows(j.(*journal)) }); err != nil {
				return err
			}
		}
		return c.tx.PrepareCommit(c.ctx)
	}
	if c.passive || c.ignored {
		return nil
	}
	j := newJournal(c.engine.Plugin)
	c.noteRows(j)
	if err := c.engine.Plugin.fence(c.ctx, j); err != nil {
		return err
	}
	if c.where != txn.Foreign {
		// Of a transaction that others have begun the end isn't seen: its
		// fence is left to run out.
		c.fenced = j.fence
	}
	return nil
}

// announced makes the flush of a statement's journal drop its fence.
func (c *capture) announced(j *journal) {
	if c.fenced == nil {
		return
	}
	j.adopt(c.fenced)
	if c.unfinished || c.err != nil && !refused(c.err, c.engine.dialect == conj.SQLite) {
		j.unsure = true
	}
}

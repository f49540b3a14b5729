package follow

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrSetup is wrapped by errors about a server, a user or a log that is not set up to
// be followed. The message names the setting and the remedy.
var ErrSetup = errors.New("cacheplugin: change capture")

// Setup returns an error about something of a server: what was found, and what to do.
func Setup(setting, found, remedy string) error {
	return fmt.Errorf("%w: %s: %s: %s", ErrSetup, setting, found, remedy)
}

// Log is a database's log.
type Log interface {
	// Check connects, and returns what tells the log from all others, and what it is
	// for people. An error that wraps ErrSetup says that trying again is of no use.
	Check(ctx context.Context) (name, about string, err error)
	// Open begins to read behind a position that has been told; empty if none is known.
	// An error is as that of Check.
	Open(ctx context.Context, position string) (Stream, error)
	// Look tells what all who read the database can see from now on.
	Look(ctx context.Context) (View, error)
	// Close ends the connections.
	Close()
}

// Stream is a log that is being read, by one goroutine.
type Stream interface {
	// Begins returns the position that is read from. Unless lost is empty, changes that
	// came before it may never have been told of, and it says why.
	Begins() (position, lost string)
	// Next reads the next transaction into a collector, or what else moves the
	// position.
	Next(ctx context.Context, into *Collector) (Commit, error)
	// Confirm tells the server, at some later time, that it may forget what lies
	// before a position. Any goroutine may call it.
	Confirm(position string)
	Close()
}

// Commit is a transaction that was read.
type Commit struct {
	Position string // behind it
	// ID is what a View knows it by; 0 of what isn't a transaction.
	ID   uint64
	Time time.Time // of the commit, by the database's clock
	// Changes is the number of rows, and of tables that were changed as a whole.
	Changes int
}

// View is what a database showed at some time.
type View interface {
	// Shows reports whether the changes of a transaction could be seen by all.
	Shows(id uint64) bool
	// End is where the log ended, as a number of bytes.
	End() uint64
	// Behind is how many bytes lie between a position and that end.
	Behind(position string) int64
}

package history

import (
	"golang.org/x/sys/unix"
)

// Now is the machine's monotonic clock in nanoseconds.
func Now() int64 {
	var t unix.Timespec
	// It fails for clocks only that don't exist.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

// Table is one of the tables whose rows have versions.
type Table uint8

// The tables.
const (
	Items Table = iota
	Groups
)

func (t Table) String() string { return [...]string{"items", "groups"}[t] }

// Row names a row of a table.
type Row struct {
	Table Table
	ID    uint32
}

// State is a version of a row. Each transaction that touches a row gives it
// the next version, also one that deletes it or makes it anew.
type State struct {
	Row
	Version uint32
	Group   uint32 // of an item
	Present bool   // false: the version is the row's absence
}

// Kind is what a record tells of.
type Kind uint8

// The kinds. Reads have one record, at their end; a write transaction has up
// to four, which are in the file before what they tell of goes on.
const (
	ReadItem     Kind = iota + 1 // A is the ID; gives one row or none
	ReadItems                    // the IDs are A and B
	ReadList                     // A is the group
	ReadCount                    // A is the group; gives Count
	ReadEither                   // the group is A, or the ID is B
	ReadJoined                   // the items of group A, each with its group
	ReadGroup                    // A is the ID
	ReadGroupOf                  // the group of the item A, by a subquery
	ReadFeed                     // A is the group; its items as package lists keeps them
	CountFeed                    // A is the group; gives Count
	lastRead          = CountFeed
	WriteBegin   Kind = iota + 8 // COMMIT is about to be sent; States are what it makes
	WriteDone                    // COMMIT was answered, the invalidation is about to be sent
	WriteReturn                  // Commit has returned nil
	WriteAborted                 // nothing was committed, for certain
	WriteLogged                  // it was committed, and lies before Place in the database's log
	FollowTold                   // a follower has told of the database's log up to Place
)

// Counts reports whether the answer is Count, and no States.
func (k Kind) Counts() bool { return k == ReadCount || k == CountFeed }

// IsFeed reports whether the kind is a read of a list that writes maintain. Each of
// its rows is as new as it must be by itself.
func (k Kind) IsFeed() bool { return k == ReadFeed || k == CountFeed }

// IsRead reports whether the kind is a read.
func (k Kind) IsRead() bool { return k >= ReadItem && k <= lastRead }

func (k Kind) String() string {
	if s, ok := map[Kind]string{
		ReadItem: "item", ReadItems: "items", ReadList: "list", ReadCount: "count", ReadEither: "either",
		ReadJoined: "joined", ReadGroup: "group", ReadGroupOf: "group of", ReadFeed: "feed", CountFeed: "feed's count",
		WriteBegin: "begin", WriteDone: "done", WriteReturn: "return", WriteAborted: "aborted",
		WriteLogged: "logged", FollowTold: "told",
	}[k]; ok {
		return s
	}
	return "unknown"
}

// Source is where an answer came from.
type Source uint8

// The sources.
const (
	FromDatabase Source = iota // and nothing was stored
	FromCache
	Stored // from the database, and it was stored
)

func (s Source) String() string {
	return [...]string{"from the database", "from the cache", "from the database, stored"}[s]
}

// Record is one thing that a client has done.
type Record struct {
	Kind Kind
	// Start and End are those of a read. Of a write Start is the moment.
	Start, End int64

	// Of a read:
	A, B   uint32
	Source Source
	Count  uint32
	// States are the rows that were read, all present, or those that a
	// transaction makes.
	States []State

	// Of a write: Seq tells a client's transactions apart. Untold says that
	// Commit returned nil although Redis could not be told: the invalidation
	// is queued, or is up to a follower.
	Seq    uint32
	Untold bool
	// Place is one in the database's log, as a number that grows.
	Place uint64
}

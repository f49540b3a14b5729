package commit

import "errors"

// The root package documents these errors, which are also its own.
var (
	// ErrCommittedNotInvalidated says that a write is committed, and that what
	// was cached of it could not be invalidated yet.
	ErrCommittedNotInvalidated = errors.New("cacheplugin: committed, but the cache could not be invalidated yet")

	// ErrNotFenced says that a write must not be committed, because its fence
	// could not be set.
	ErrNotFenced = errors.New("cacheplugin: not committed: the write could not be announced to the cache")

	// ErrOutboxWrite says that a write must not be committed, because its row in
	// the outbox could not be written.
	ErrOutboxWrite = errors.New("cacheplugin: not committed: the outbox could not be written")
)

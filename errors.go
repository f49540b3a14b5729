package cacheplugin

import (
	"errors"

	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/misconfig"
)

// Errors that the plugin returns, wrapped with what was being done.
var (
	// ErrConfig is wrapped by every error about a wrong configuration. The
	// message names the field and the remedy.
	ErrConfig = misconfig.Err

	// ErrNotInstalled is returned by the functions that act on a database
	// handle when db.Use was not called with the plugin.
	ErrNotInstalled = errors.New("cacheplugin: the plugin is not installed on this handle: call db.Use(cacheplugin.New(config)) first")

	// ErrCommittedNotInvalidated says that a write is committed in the
	// database but that the cache could not be told, so that other processes
	// may see older results until the invalidation, which stays queued, gets
	// through. It is returned under OnInvalidateError: Return, and by the
	// functions that invalidate by hand.
	ErrCommittedNotInvalidated = commit.ErrCommittedNotInvalidated

	// ErrNotFenced says that a write was not committed, because Redis could not
	// be told of it beforehand: the transaction was rolled back, or the
	// statement not sent. It is returned under Consistency: Strict with
	// OnFenceError: Return, its default.
	ErrNotFenced = commit.ErrNotFenced

	// ErrOutboxWrite says that a transaction was rolled back, because what it
	// changes could not be written to the outbox.
	ErrOutboxWrite = commit.ErrOutboxWrite

	// ErrUnknownTable is returned for a table that the database doesn't know.
	ErrUnknownTable = database.ErrUnknownTable
)

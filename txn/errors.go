package txn

import "errors"

var (
	// ErrResolverFirst is returned by Install when dbresolver was registered
	// before: it has copied the bare connection pools then, and transactions
	// begun on them would never be seen.
	ErrResolverFirst = errors.New("dbresolver is registered already: call db.Use with the cache plugin before db.Use(dbresolver)")

	// ErrOwner is returned by Install for a connection pool that another
	// owner (Options.Owner) has wrapped: its commits flush that owner's
	// journals, so that this one's would never be flushed.
	ErrOwner = errors.New("connection pool is wrapped by another instance of the cache plugin")

	// ErrNoJournal is returned by Install for Options without NewJournal.
	ErrNoJournal = errors.New("txn: Options.NewJournal is nil")
)

package txn

import "errors"

var (
	// ErrResolverFirst is returned by Install when dbresolver was registered
	// before: it has copied the bare connection pools then, and what is sent
	// through them would never be seen.
	ErrResolverFirst = errors.New("dbresolver is registered already: call db.Use with the cache plugin before db.Use(dbresolver)")

	// ErrOwner is returned by Install for a connection pool that another owner
	// (Options.Owner) watches: its commits flush that owner's journals, so that
	// this one's would never be flushed.
	ErrOwner = errors.New("connection pool is watched by another instance of the cache plugin")

	// ErrHidden is returned by Install for a pool of somebody else's type whose
	// connections don't come from a Connector.
	ErrHidden = errors.New("connection pool hides its *sql.DB: call db.Use with the cache plugin before the plugin that put the pool there, or open the *sql.DB with cacheplugin.Connector")

	// ErrNoJournal is returned by Install for Options without NewJournal.
	ErrNoJournal = errors.New("txn: Options.NewJournal is nil")
)

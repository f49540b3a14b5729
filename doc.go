// Package cacheplugin caches the results of GORM queries in Redis and
// invalidates them granularly and by itself, after the model of Python's
// django-cacheops.
//
// Install the plugin once and say per table what is cached, and for how long:
//
//	plugin := cacheplugin.New(cacheplugin.Config{
//		Redis: redis.NewClient(&redis.Options{Addr: "localhost:6379"}),
//		Profiles: cacheplugin.Profiles{
//			"users": {Ops: cache.Get, Timeout: 15 * time.Minute},
//			"*":     {Timeout: time.Hour}, // by hand only
//		},
//	})
//	if err := db.Use(plugin); err != nil { ... }
//
// Application code imports package cache, whose scopes decide for one query:
//
//	db.Scopes(cache.Cache()).Where("tag_id = ?", 2).Find(&articles)
//	db.Scopes(cache.NoCache()).Find(&articles)
//
// # A read
//
// GORM builds the SQL. The plugin parses it once a text (package conj) against
// the database's own description of the tables (package catalog), reads from
// its WHERE which rows it depends on, as a disjunction of conjunctions of
// equalities, and looks the result up in Redis (package store). On a miss the
// conjunctions are registered and a lease is taken before the database is
// asked; the rows are kept as they pass (package rowset) and stored if the
// lease is still alive. On a hit the kept rows are replayed to GORM, which
// scans them as it scans the database's.
//
// # A write
//
// The plugin takes the old and the new image of every row that a statement
// changes and collects them in the transaction (package txn). When the
// transaction has committed, and before Commit returns, the results whose
// conjunctions an image satisfies are dropped, in one round trip. A change that
// can't be pinned down to rows drops all results that read the table.
//
// # The promise
//
// Once a commit has returned, no read that starts later sees, from any
// process, an older state of a result that this commit changed. Under Strict no
// read sees an older state than what is committed, whatever became of the
// writer; an Outbox makes up for invalidations that were lost. docs/consistency.md
// says what that assumes, docs/limits.md what is not seen, and
// docs/configuration.md lists what can be set.
package cacheplugin

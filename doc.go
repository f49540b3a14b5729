// Package cacheplugin caches the results of GORM queries in Redis and
// invalidates them automatically, row by row, after the model of Python's
// django-cacheops.
//
// Install the plugin once and say per table what is cached, and for how long:
//
//	plugin := cacheplugin.New(cacheplugin.Config{
//		Redis: redis.NewClient(&redis.Options{Addr: "localhost:6379"}),
//		Profiles: cacheplugin.Profiles{
//			"users": {Ops: cache.Get, Timeout: 15 * time.Minute},
//			"*":     {Timeout: time.Hour}, // opt-in per query
//		},
//	})
//	if err := db.Use(plugin); err != nil { ... }
//
// [Config] says what else can be set, [Profile] what per table. Application code
// imports package [cache], whose scopes decide for one query:
//
//	db.Scopes(cache.Cache()).Where("tag_id = ?", 2).Find(&articles)
//	db.Scopes(cache.NoCache()).Find(&articles)
//
// [Explain] says how a query would be cached, [Config.Observer] and [Plugin.Stats]
// say what happened, and docs/not-cached.md lists why a query is not cached.
// [InvalidateObj] and its like tell the cache what was changed elsewhere.
//
// # A read
//
// GORM builds the SQL. The plugin parses each text once (package [conj]) against
// the database's own description of the tables (internal/catalog). It reads from the
// WHERE which rows the result depends on, as a disjunction of conjunctions of
// equalities, and looks the result up in Redis (internal/lookup, internal/store). On
// a miss the conjunctions are registered and a lease is taken before the database is
// asked. The rows are kept as they pass (internal/rowset) and stored if the lease is
// still alive. On a hit the kept rows go straight into structs and scalars
// (internal/scan). For other destinations they are replayed to GORM, which scans
// them as it scans the database's.
//
// # A write
//
// The plugin takes the old and the new image of every row that a statement
// changes (internal/rows) and collects them in the transaction (package [txn]). When
// the transaction has committed, and before Commit returns, the results whose
// conjunctions an image satisfies are dropped, in one round trip (internal/commit). A
// change that can't be pinned down to rows drops all results that read the table.
//
// # The promise
//
// Once a commit has returned, no read that starts later sees, from any
// process, an older state of a result that this commit changed. Under [Strict] no
// read sees an older state than what is committed, whatever became of the
// writer. An [Outbox] makes up for invalidations that were lost. docs/consistency.md
// says what that assumes, docs/limits.md what is not seen, and
// docs/configuration.md lists what can be set.
//
// [cache]: https://pkg.go.dev/github.com/cacheplugin/cacheplugin/cache
// [conj]: https://pkg.go.dev/github.com/cacheplugin/cacheplugin/conj
// [txn]: https://pkg.go.dev/github.com/cacheplugin/cacheplugin/txn
package cacheplugin

// Package decorators caches what programs make of the database: the results of
// functions ([CachedAs]), the responses of HTTP handlers ([ViewAs]), fragments of
// HTML templates ([NewFragments]). Beside them stand a simple cache of keys and
// values, in Redis ([NewRedisCache]) or in files ([NewFileCache]).
//
// A function that is invalidated by what it reads:
//
//	stats, err := decorators.CachedAs(db, "article-stats",
//		func(ctx context.Context, category int) (Stats, error) { ... },
//		decorators.Samples(&Tag{}),
//		decorators.SamplesOf(func(category int) []any {
//			return []any{db.Model(&Article{}).Where("category_id = ?", category)}
//		}))
//	...
//	s, err := stats.Call(ctx, 7)
//
// A handler, the same way:
//
//	news, err := decorators.ViewAs(db, "news", decorators.Samples(&Article{}))
//	mux.Handle("GET /news", news.Wrap(handler))
//
// [Cached] and [View] are their counterparts that go by time only.
//
// # Where it stands
//
// In a read the package stands above everything else. It looks a value up before
// any query is made, by [cacheplugin.Compute], which takes a lease on a miss as a
// query does. In a write it has no part: the samples ([Samples]) are conjunctions
// like those of queries, and the write drops both alike, at its commit. So the
// plugin's promise holds for what is decorated, as far as the samples name all
// that the value is made of.
//
// # Names and keys
//
// A name is taken once for each plugin, or cache of [On]: a second function, view or
// set of fragments of the name is [ErrNameTaken]. Processes that share a prefix share
// values by name; [Version] keeps those of two releases apart. Every part of a key
// carries its length, so that no text in one part is mistaken for another part.
//
// # Transactions
//
// Only a transaction's own handle knows whether it has written. Put it into the
// context by [In]. Then calls in a transaction that has written compute their value
// and store nothing. Functions that read by [Handle] see the transaction's changes.
package decorators

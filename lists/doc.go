// Package lists keeps lists of a model's rows in the cache and maintains them: feeds,
// inboxes, followers. A write changes the rows of a list that it touches, where the
// result of a query would be dropped and read anew.
//
// A list is declared once, by the columns that it is asked for by, and its order:
//
//	follows, err := lists.New[Follow](db, "follows",
//		lists.By("FollowerID"), lists.By("FollowerID", "FolloweeID"),
//		lists.Order("CreatedAt", lists.Descending), lists.Timeout(time.Hour))
//
//	page, err := follows.Get(ctx, lists.Key("FollowerID", me)).Page(0, 50)
//	n, err := follows.Count(ctx, lists.Key("FollowerID", me))
//
// Nobody adds to a list: db.Create(&Follow{...}) is the add, and db.Delete the removal,
// in whatever form they are written, once they are committed. Answers are never stale as
// results are not: docs/lists.md says why.
//
// The package stands beside package lookup in the flow of a read. Whatever keeps the
// cache from answering, the database does.
package lists

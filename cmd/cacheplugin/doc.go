// Command cacheplugin looks after the cache from the shell. It invalidates, counts
// what is cached, explains what a query would depend on, and checks whether a Redis
// is fit for the cache. It has no part in a program's reads and writes.
//
//	cacheplugin doctor
//	cacheplugin stats
//	cacheplugin inspect articles tag_id=2
//	cacheplugin invalidate users id=34
//	cacheplugin explain --dialect postgres "SELECT * FROM users WHERE id = 34"
//
// It needs Redis alone: what is cached says which columns of which tables matter.
// Only explain can make use of a database. It exits with 0 if all is well, 1 if it
// found a problem, 2 if it was called wrongly, and 3 if it could not connect. See
// docs/cli.md.
package main

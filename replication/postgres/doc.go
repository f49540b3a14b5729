// Package postgres follows the log of a PostgreSQL database and drops from the cache
// what others change: whoever writes to the database without the plugin, such as psql,
// cron jobs, and services in other languages.
//
//	follower, err := postgres.New(db, postgres.Config{URL: os.Getenv("FOLLOW_URL")})
//	if err != nil { ... }
//	go func() { failed <- follower.Run(ctx) }()
//
// db is a handle of GORM that has the plugin. The server needs wal_level=logical, and
// the database a publication: see docs/change-capture.md, and cacheplugin doctor, which
// checks all of it. Any number of processes may run a follower. One of them follows, and
// another takes over within seconds when it is gone.
//
// A change of others is dropped within the lag of the log (Status.Lag), and is never
// lost: the server is told to forget its log only when Redis knows of what is in it.
package postgres

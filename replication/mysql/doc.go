// Package mysql follows the binary log of a MariaDB server and drops from the cache
// what others change: whoever writes to the database without the plugin, such as a
// mysql client, cron jobs, and services in other languages.
//
//	follower, err := mysql.New(db, mysql.Config{DSN: os.Getenv("FOLLOW_DSN")})
//	if err != nil { ... }
//	go func() { failed <- follower.Run(ctx) }()
//
// db is a handle of GORM that has the plugin. The server needs log_bin,
// binlog_format=ROW and binlog_row_image=FULL, and the user REPLICATION SLAVE: see
// docs/change-capture.md, and cacheplugin doctor, which checks all of it. Any number of
// processes may run a follower. One of them follows, and another takes over within
// seconds when it is gone.
//
// MySQL is refused: its log doesn't tell when the readers of a server see what is in it
// the way MariaDB's does.
package mysql

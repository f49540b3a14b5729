// Package testenv gives tests real servers: Redis, PostgreSQL and MariaDB,
// started from the binaries on the machine, and SQLite.
//
// It stands outside the flow of a read and a write: no production code imports
// it. A package's tests ask for what they need,
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
//	for _, database := range testenv.Databases(t) {
//		t.Run(database.Name, func(t *testing.T) {
//			db := database.Open(t, nil)        // fresh and empty
//			other := database.Reopen(t, db, nil) // as another process sees it
//			client := testenv.Redis(t)
//		})
//	}
//
// and the servers start at the first such call, at most once in a process, on
// free ports and in a temporary directory. They stop in Main, and by a watchdog
// when the test process dies without getting there.
//
// Cluster is a Redis Cluster that is shared in the same way. Tests that kill,
// pause, cut off or promote servers start their own: StartRedis, StartSentinel,
// StartCluster.
//
// # Environment
//
// To use servers that run already, name them:
//
//	CACHEPLUGIN_TEST_REDIS     redis://127.0.0.1:6379/0
//	CACHEPLUGIN_TEST_POSTGRES  postgres://user:password@127.0.0.1:5432/postgres?sslmode=disable
//	CACHEPLUGIN_TEST_MYSQL     user:password@tcp(127.0.0.1:3306)/ (MariaDB or MySQL)
//
// The accounts must be allowed to create and drop databases; tests touch no
// database that they did not create, and in Redis only keys of their namespaces.
//
//	CACHEPLUGIN_TEST_DATABASES  run on these only: any of sqlite,sqlite-file,postgres,mariadb
//	CACHEPLUGIN_TEST_REQUIRE    fail when one of these can't be had: any of redis,postgres,mariadb
//
// Without a requirement a database that can't be had is left out, and said so in
// the test's log and once on standard error; Redis is replaced by an embedded one.
package testenv

// Package testenv gives tests a real Redis, started from the binary on the
// machine, and SQLite. What needs another database is in the module integration,
// whose package testdb adds PostgreSQL and MariaDB.
//
// It stands outside the flow of a read and a write: no production code imports
// it. A package's tests ask for what they need,
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
//	db := testenv.NeedSQLite(t).Open(t, nil) // fresh and empty
//	client := testenv.Redis(t)
//
// and the server starts at the first such call, at most once in a process, on a
// free port and in a temporary directory. It stops in Main, and by a watchdog
// when the test process dies without getting there.
//
// Cluster is a Redis Cluster that is shared in the same way. Tests that kill,
// pause, cut off or promote servers start their own: StartRedis, StartSentinel,
// StartCluster.
//
// # Environment
//
// To use a server that runs already, name it:
//
//	CACHEPLUGIN_TEST_REDIS     redis://127.0.0.1:6379/0
//
// In Redis, tests touch only keys of their namespaces.
//
//	CACHEPLUGIN_TEST_DATABASES  run on these only: any of sqlite,sqlite-file,postgres,mariadb
//	CACHEPLUGIN_TEST_LONG       run random tests at full length, and failovers (make test does)
//	CACHEPLUGIN_TEST_REQUIRE    fail when one of these can't be had: any of redis,postgres,mariadb
//
// Without a requirement, tests that need a server which can't be had are skipped,
// and it is named once on standard error; Redis is replaced by an embedded one.
package testenv

// Package testdb gives tests real databases: PostgreSQL and MariaDB, started from
// the binaries on the machine, and SQLite. It adds to package testenv, which
// starts Redis, what needs a database driver; this module exists so that the
// plugin's own module requires none.
//
// It stands outside the flow of a read and a write. A package's tests ask for
// what they need,
//
//	func TestMain(m *testing.M) { testdb.Main(m) }
//
//	for _, database := range testdb.Databases(t) {
//		t.Run(database.Name, func(t *testing.T) {
//			db := database.Open(t, nil)          // fresh and empty; skips if there is no server
//			other := database.Reopen(t, db, nil) // as another process sees it
//			client := testenv.Redis(t)
//		})
//	}
//
// and the servers start at the first such call, at most once in a process, on
// free ports and in a temporary directory. They stop in Main, and by a watchdog
// when the test process dies without getting there.
//
// # Environment
//
// Besides what testenv reads:
//
//	CACHEPLUGIN_TEST_POSTGRES  postgres://user:password@127.0.0.1:5432/postgres?sslmode=disable
//	CACHEPLUGIN_TEST_MYSQL     user:password@tcp(127.0.0.1:3306)/ (MariaDB or MySQL)
//
// name servers that run already. The accounts must be allowed to create and drop
// databases; tests touch no database that they did not create.
package testdb

package cacheplugin

import (
	"database/sql/driver"

	"github.com/cacheplugin/cacheplugin/txn"
)

// Connector returns a driver.Connector for programs that open their *sql.DB
// themselves and share it between GORM and other libraries:
//
//	pool := sql.OpenDB(cacheplugin.Connector(connector))
//	db, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}))
//	err = db.Use(cacheplugin.New(config))
//
// What any library writes through the pool is invalidated when it is committed, from
// db.Use on. Without it db.Use puts a pool of its own over that of the handle, which
// db.DB() returns from then on: what is written through that one is seen, and what is
// written through a *sql.DB that the program had before is not.
//
// The connections have the optional interfaces of database/sql/driver as the driver's
// have. Those who get one by sql.Conn.Raw find the driver's own by its method Unwrap.
func Connector(c driver.Connector) driver.Connector { return txn.NewConnector(c) }

// Package rowset makes the result of a query a value: captured while it is read, encoded, and replayed.
//
// In a read's flow it stands last. On a miss the live rows of the database go to the reader through [Tee], which
// keeps an encoded copy of what has been read; the copy ([Recording]) goes to the store when the reader closes. On a
// hit [Decode] turns the stored bytes into rows again. In both cases [Rows] and [Row] wrap them in the concrete types
// of database/sql, by way of an in-memory driver, so that whoever scans them (GORM, or the application itself) runs
// the same conversions on the same driver values and sees the same column types as with the database. [ValuesOf] is
// for the one who converts a hit's values itself. A write has no part here.
//
// What is kept are the driver's own values, not converted ones, each with its exact Go type: a result in which a
// driver returned a type that the format does not know is passed on to its reader but not kept.
//
// The package knows nothing of GORM, of Redis or of the meaning of a query.
package rowset

// Package archtest holds the test of the direction of imports: the root package
// (the plugin) stands on cache, catalog, rowset, store and txn, these stand on
// conj and lua, and nothing imports upwards. It has no code of its own and no
// part in a read or a write.
package archtest

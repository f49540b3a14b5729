// Package archtest holds the tests of how the repository is put together: the
// direction of imports (the root package, the plugin, stands on cache, catalog,
// rowset, store and txn, these stand on conj and lua, and nothing imports
// upwards), what the module requires, and the modules beside it. It has no code of
// its own and no part in a read or a write.
package archtest

// Package store keeps query results in Redis and drops them when the rows that
// they depend on change. It knows nothing of SQL: callers give it the tables
// and conjunctions that a result depends on (package conj), and those that a
// write has touched.
//
// A read calls Acquire before it asks the database. A hit ends it there. On a
// miss the result's dependencies are registered and a lease is taken in the
// same call; the caller reads the database and calls Save, which refuses a
// lease that has been dropped in the meantime. Reads in a transaction that has
// written nothing may Peek: a hit or nothing, no trace is left.
//
// A write calls Invalidate (in practice that of Guard) after its COMMIT, with
// the old and new row images turned into conjunctions by Change.Keys. Since
// every dependency was registered before the database was read, an entry that
// could be too old is found by the invalidation, or its lease is.
//
// A result may depend on rows that only the result itself names: those that its
// own rows were joined with (Dependency.Joined). The look-up then takes its
// lease under the whole table, provisionally, and Save puts the conjunctions of
// the joined rows in its place, provided that nothing has been written to the
// table meanwhile. From registration to Save any write to the table drops the
// lease, afterwards one to a joined row drops the entry; both in one step, so
// that no write falls in between. The entry carries the names of these
// conjunctions, and a hit verifies them like all others.
//
// In mode ConjunctionSets a write drops a few entries by unlinking them, and many
// by taking away their set, which takes the same time whatever is in it: a hit
// verifies that its sets name it. What the set named is unlinked a little at a
// time in the background. Names whose entries have expired leave a set
// as others come.
//
// A writer that must not leave old entries even if it is killed after its
// COMMIT calls Fence before: it drops the same entries in advance and keeps
// the tables from taking new ones until Invalidate drops the fence, or until it
// runs out. Reads of fenced tables that find no entry are told Fenced.
//
// Lists of rows (List) are maintained: Invalidate marks the rows of a list that were
// changed, and ReadList tells of the marks, so that its caller reads these rows again,
// and nothing else. docs/lists.md argues why that is never stale.
//
// What protects entries also vouches for them: an entry carries a witness made
// of the namespace's epoch and the generations of its tables (and, in mode
// InsideOut, the stamps of its conjunctions), and in mode ConjunctionSets must
// still be the member that its conjunctions' sets name. Losing any of these, by
// eviction, a restart or a failover, makes entries invalid and never stale.
//
// Leases are those of Facebook's Memcache (NSDI 2013), schemes and conjunction
// sets those of django-cacheops, stamps those of its insideout mode, and fences
// the quarantine leases of the IQ framework (Middleware 2014).
//
// Keys, for a namespace ns (one hash slot in Redis Cluster):
//
//	{ns}N        epoch: the server's replication id and a random id
//	{ns}F        hash of fences around everything: f:id as below
//	{ns}t:table  hash: g generation, sv version of the scheme list,
//	             s:scheme for each scheme, f:id fences (ms of expiry)
//	{ns}c:key    conjunction: a set of entries, or a stamp. A set is a hash: the
//	             names of entries, and how the version of each begins
//	{ns}l:key    head of a list of rows: a hash of its version, what vouches for it, and
//	             the marks of rows that were changed; behind it :z:version, the places
//	             of its rows in order, and :r:version, the rows
//	{ns}x:key:t  garbage: a set that was taken away, and when
//	{ns}e:key    entry: "V" version sum length ":" witness payload,
//	             "J" version sum length ":" witness number ":" key.. payload of one
//	             that depends on joined rows, or "L" lease "|" witness
//
// The version of an entry is the token of the look-up that took its lease: 22
// characters that no other entry has, not even one with the same witness. The sum
// binds the payload to the entry's key and version: a value that was altered, or
// that is another key's, is an error (ErrDamaged).
package store

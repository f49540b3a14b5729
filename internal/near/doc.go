// Package near is the near cache: it keeps encoded results in the memory of a
// process, in front of package store, which knows whether they are valid still.
//
// A read that finds its result here either serves it at once, for a time after
// it was last known to be valid (Entry.Fresh), or has Redis confirm its version
// (store.Store.Revalidate) and saves the transport of the payload. What the
// process itself writes is dropped here (Space.Drop) when it has been dropped in
// Redis, before the writer returns; what others write, when their notice arrives
// (Space.Apply), or when the time is over.
//
// A result that is being read while something is dropped may be older than
// that. A read therefore takes a Mark before it asks Redis, or looks whether it
// may: a result that comes with an outdated mark is kept, but not fresh.
//
// Memory is bounded by weight, and what gives way is chosen by W-TinyLFU
// (Einziger, Friedman, Manes, 2017), as implemented by otter.
package near

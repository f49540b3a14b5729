// Package shapes counts what becomes of queries by their shape: a text whose
// values and lists are left out, and its operation.
//
// Package lookup tells it of each look-up, package commit of what is invalidated.
// A hit costs a load of a map without locks and an addition. What else there is to
// know is found out at misses and stores: which of the results that this process
// has stored were dropped, by whom, and whether what was read anew was the same.
package shapes

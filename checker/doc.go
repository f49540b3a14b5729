// Command checker tries to prove the cache wrong.
//
//	go run . -matrix                        # every fault, both modes, both grades
//	go run . -fault kill-committed,failover -consistency strict -duration 1m
//	go run . -fault none -reads 10000000    # a long one
//
// Reader and writer processes work on a few rows of a real database with a real
// Redis, while a fault is done to them or to Redis again and again. They write
// down what they did and when; afterwards every answer is held against every
// commit. What a fault may break is stated with it: a single read more than
// that fails the run, and so does a control that nothing is found in. It ends
// with status 1 then.
//
// It needs redis-server and, for the databases other than SQLite, PostgreSQL
// and MariaDB (see integration/testdb), a C compiler for the fault "clock", and
// Linux.
//
// The packages, in the order of what flows through them: internal/work is what
// the processes do, internal/weaken what makes the protocol worse for the
// controls, internal/history what they write down, internal/rules how that is
// judged, and internal/chaos what puts it together.
package main

package cache

import (
	"context"
	"sync"
	"time"

	"gorm.io/gorm"
)

// Outcome is how a query was answered.
type Outcome uint8

// The outcomes.
const (
	// Unasked says that no query has come to the plugin: there was none, or the
	// handle has no plugin.
	Unasked Outcome = iota
	// Hit says that the result came from the cache.
	Hit
	// Miss says that the cache had no result, and the database answered.
	Miss
	// Bypassed says that the database answered and the cache was of no use:
	// Answer.Reason says why.
	Bypassed
)

// String returns the outcome's name in lower case, such as "hit".
func (o Outcome) String() string {
	switch o {
	case Unasked:
		return "unasked"
	case Hit:
		return "hit"
	case Miss:
		return "miss"
	case Bypassed:
		return "bypassed"
	}
	return "unknown"
}

// Answer says how one query was answered.
type Answer struct {
	Outcome Outcome
	// Reason says why a query bypassed the cache, or why the result of a miss was
	// not stored, if that is known when its last row has been read.
	Reason string
	// Op is the query's operation, and Table the table whose profile applies; of
	// a bypassed query they may be empty. Of a value that package decorators
	// caches, Table is its name.
	Op    Op
	Table string
	// Tables are the tables that it reads, with their schema or database, and Key
	// the entry's key as Observer events name it. Both are empty of a bypassed
	// query. Tables must not be changed.
	Tables []string
	Key    string
	// Age is for how long the result of a hit has been stored, and Remaining for
	// how long it may live yet. Age is the query's timeout less what remains, so
	// that it is wrong of a result that was stored with another timeout. Both are
	// zero where Redis has the entry no longer, and of a result that another one
	// of this process has just read (Lock).
	Age, Remaining time.Duration
	// Near says that a hit came out of the process's own memory.
	Near bool
	// Rows and Bytes are the size of the result of a hit. A value that package
	// decorators caches has no rows.
	Rows, Bytes int
}

// Info says how a call was answered; see [WithInfo].
type Info struct {
	// Answer is that of the call's first query: a Find's own.
	Answer
	// Further are those of the queries after it, in their order: of preloads, of
	// hooks, of further batches.
	Further []Answer
}

// AllHits reports whether all queries were answered from the cache, and there
// was one.
func (i *Info) AllHits() bool {
	for _, a := range i.Further {
		if a.Outcome != Hit {
			return false
		}
	}
	return i.Outcome == Hit
}

// WithInfo is a scope that has the plugin tell how the call is answered:
//
//	var info cache.Info
//	db.Scopes(cache.WithInfo(&info)).Where("tag_id = ?", 2).Find(&articles)
//	log.Print(info.Outcome, info.Reason, info.Age)
//
// The call's preloads are told of in Info.Further. It asks Redis for the age of
// each hit, one round trip more; a query without an Info costs nothing more. Use
// a new Info for each call: an Info that has answers already takes all further
// ones in Further. It must not be read while the call runs.
//
// [ContextWithInfo] does the same for GORM's generics, for associations, and for
// all that is done with a context.
func WithInfo(info *Info) func(*gorm.DB) *gorm.DB {
	return func(db *gorm.DB) *gorm.DB {
		tx := db.Scopes() // a statement of its own, if the handle has none
		tx.Statement.Context = ContextWithInfo(tx.Statement.Context, info)
		return tx
	}
}

// ContextWithInfo returns a context of whose queries the plugin tells in info, in
// addition to those Infos that the context has already. The queries may run at
// the same time; info must not be read until they have ended:
//
//	var info cache.Info
//	users, err := gorm.G[User](db).Find(cache.ContextWithInfo(ctx, &info))
func ContextWithInfo(ctx context.Context, info *Info) context.Context {
	return context.WithValue(ctx, infoKey, &Recorder{info: info, outer: RecorderOf(ctx)})
}

// Recorder puts answers into the Infos of a context. The plugin uses it; programs
// need not. A nil Recorder records nothing. It is safe for concurrent use.
type Recorder struct {
	mu    sync.Mutex
	info  *Info
	outer *Recorder
}

// RecorderOf returns the Recorder of a context, nil if it has no Info.
func RecorderOf(ctx context.Context) *Recorder {
	r, _ := ctx.Value(infoKey).(*Recorder)
	return r
}

// Answered records an answer. The function that it returns, nil of a nil
// Recorder, records why the result was not stored.
func (r *Recorder) Answered(a Answer) (unstored func(reason string)) {
	if r == nil {
		return nil
	}
	outer := r.outer.Answered(a)
	r.mu.Lock()
	defer r.mu.Unlock()
	n := -1
	if r.info.Outcome == Unasked {
		r.info.Answer = a
	} else {
		n = len(r.info.Further)
		r.info.Further = append(r.info.Further, a)
	}
	return func(reason string) {
		if outer != nil {
			outer(reason)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case n < 0:
			r.info.Reason = reason
		case n < len(r.info.Further):
			r.info.Further[n].Reason = reason
		}
	}
}

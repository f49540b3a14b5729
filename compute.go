package cacheplugin

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/lookup"
)

// Computation describes a value that is cached like a query's result, such as
// that of a function or a rendered page. Package decorators builds on it.
type Computation struct {
	// Name says what is computed, in Observer events, and is part of the key.
	Name string
	// Key is the rest of the key: everything that the value depends on but the
	// database, in a form that is stable across processes.
	Key []byte
	// Samples are what of the database the value depends on: a model (a zero
	// struct or a pointer to one) or a table's name for a whole table; an
	// object (a struct with its primary key set), or a slice of them, for that
	// row; a query (a *gorm.DB that has not been run) for what it reads.
	// Without samples the value is bound by its timeout only.
	Samples []any
	// Timeout is how long the value may live. Defaults to the smallest of the
	// samples' profiles, or to that of Config.Defaults without samples.
	Timeout time.Duration
	// Lock makes one process compute the value while the others wait for it.
	Lock bool
}

// NotStoredError is what the function of a computation returns, with the value,
// when the value is good for its caller and must not be stored: it is too
// large, say, or somebody's own. Compute returns the value and no error.
type NotStoredError struct {
	// Reason goes into the event.
	Reason string
}

// Error implements error.
func (e *NotStoredError) Error() string { return "not stored: " + e.Reason }

// Unstored says why the value is not stored.
func (e *NotStoredError) Unstored() string { return e.Reason }

// internal is the computation as the engine takes it.
func (c Computation) internal() lookup.Computation {
	return lookup.Computation{Name: c.Name, Key: c.Key, Samples: c.Samples, Timeout: c.Timeout, Lock: c.Lock}
}

// Compute returns the value of a computation from the cache, or computes and
// stores it. A value whose samples are written while it is computed is returned
// but not stored, and so is one larger than Config.MaxBytes. Errors of compute
// but a NotStoredError are returned as they are, and nothing is stored. In a
// transaction that has written (see the handle), and when Redis fails, compute
// answers.
//
// The context is the handle's; set it by db.WithContext.
func Compute(db *gorm.DB, c Computation, compute func(context.Context) ([]byte, error)) (value []byte, hit bool, err error) {
	h, err := handleOf(db)
	if err != nil {
		return nil, false, err
	}
	if h == nil {
		value, err = compute(db.Statement.Context)
		return value, false, lookup.Usable(err)
	}
	return h.reads.Compute(db, c.internal(), compute)
}

// StoreComputed stores a value as if it had just been computed, before it returns.
func StoreComputed(db *gorm.DB, c Computation, value []byte) error {
	h, err := handleOf(db)
	if err != nil || h == nil {
		return err
	}
	if err := h.reads.Discard(db, c.internal()); err != nil {
		return err
	}
	stored := c.internal()
	stored.AtOnce = true
	_, _, err = h.reads.Compute(db, stored, func(context.Context) ([]byte, error) { return value, nil })
	return err
}

// DiscardComputed drops a value. One that is being computed meanwhile is not
// stored.
func DiscardComputed(db *gorm.DB, c Computation) error {
	h, err := handleOf(db)
	if err != nil || h == nil {
		return err
	}
	return h.reads.Discard(db, c.internal())
}

// LookupsOf returns the way of reads on a handle, for package lists. It is nil of a
// plugin with Disabled set. It returns ErrNotInstalled for a handle without the plugin.
func LookupsOf(db *gorm.DB) (*lookup.Handle, error) {
	h, err := handleOf(db)
	if err != nil || h == nil {
		return nil, err
	}
	return h.reads, nil
}

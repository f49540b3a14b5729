// Package callbacks is where GORM meets the cache: it wraps GORM's handlers of
// queries and writes.
//
// A handler runs with a pool in the statement's place, which sees the final SQL.
// The one for queries answers from package lookup where it may; the one for
// writes has package rows take the images of the rows that change, and package
// commit keep them until the transaction ends. Package scan puts the rows of a hit
// into the destinations that it knows; all others, and every hook, a result from
// the cache reaches by GORM's own scanning, as one from the database does.
package callbacks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/lookup"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/policy"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/scan"
)

// Options are what the handlers of one handle work with. The root package
// documents the fields that it takes over from its Config.
type Options struct {
	DB         *gorm.DB
	Dialect    conj.Dialect
	Databases  *database.Set
	Reads      *lookup.Handle
	Commit     *commit.Committer
	Namespaces *namespace.Set
	Policies   *policy.Policies
	Report     *report.Reporter

	MaxImages           int
	MaxRows             int
	MaxBytes            int
	IgnoreUnknownWrites bool // OnUnknownWrite: Warn
	Strict              bool
	Outbox              bool // there is one
	FlushTimeout        time.Duration
}

// Handlers wraps the handlers of one handle.
type Handlers struct {
	Options

	plans scan.Plans
}

// New returns the Handlers of a handle, which Register installs.
func New(o Options) *Handlers { return &Handlers{Options: o} }

// wrapping is one handler of GORM's, and what it is wrapped by.
type wrapping struct {
	processor processor
	name      string
	wrap      func(next func(*gorm.DB)) func(*gorm.DB)
}

// processor is one of GORM's lists of handlers.
type processor interface {
	Get(name string) func(*gorm.DB)
	Replace(name string, handler func(*gorm.DB)) error
}

// wrappings are all handlers that are wrapped. They are wrapped, not registered
// around: gorm:commit_or_rollback_transaction would otherwise run in between.
func (h *Handlers) wrappings() []wrapping {
	cb := h.DB.Callback()
	return []wrapping{
		{cb.Query(), "gorm:query", func(next func(*gorm.DB)) func(*gorm.DB) { return h.onQuery(next, false) }},
		{cb.Query(), "gorm:preload", onPreload},
		{cb.Row(), "gorm:row", func(next func(*gorm.DB)) func(*gorm.DB) { return h.onQuery(next, true) }},
		{cb.Create(), "gorm:create", h.onWrite},
		{cb.Update(), "gorm:update", h.onWrite},
		{cb.Delete(), "gorm:delete", h.onWrite},
		{cb.Raw(), "gorm:raw", h.onWrite},
	}
}

// errNoHandler is for handles whose handlers somebody has removed.
var errNoHandler = errors.New("cacheplugin: the handle lacks a handler of GORM's: open it with the default callbacks")

// Check reports whether all handlers are there that Register wraps.
func (h *Handlers) Check() error {
	for _, w := range h.wrappings() {
		if w.processor.Get(w.name) == nil {
			return fmt.Errorf("%w: %s", errNoHandler, w.name)
		}
	}
	return nil
}

// Register wraps the handlers.
func (h *Handlers) Register() error {
	for _, w := range h.wrappings() {
		if err := w.processor.Replace(w.name, w.wrap(w.processor.Get(w.name))); err != nil {
			return err
		}
	}
	return nil
}

// reached returns the namespaces that a write reaches of which nothing more is
// known.
func (h *Handlers) reached(ctx context.Context, pool gorm.ConnPool) []*namespace.Namespace {
	return h.Namespaces.Reached(ctx, h.Databases.Of(pool), pool)
}

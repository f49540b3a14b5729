package postgres

import (
	"context"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/follow"
)

// Config is what a follower needs to know. URL is required.
type Config struct {
	// URL is that of the database which the handle is connected to, for a user with
	// the attribute REPLICATION: postgres://user:password@host:5432/database. It must
	// lead to the server itself, not to a pooler.
	URL string

	// Slot is the name of the replication slot, which is made if it is missing. Each
	// Prefix that follows the database needs one of its own.
	//
	// Defaults to "cacheplugin".
	Slot string

	// Publication is the name of the publication that says which tables' changes the
	// log tells of. It is not made by the follower: see docs/change-capture.md.
	//
	// Defaults to "cacheplugin".
	Publication string

	// Unpublished names tables ("public.audit") that the publication may lack. What
	// others write to them is not seen.
	//
	// Defaults to none: a publication that lacks a table is an error.
	Unpublished []string
}

// Status is how a follower does.
type Status = follow.Status

// ErrSetup is wrapped by errors about a server, a user, a publication or a slot that is
// not as a follower needs it. The message names the setting and the remedy.
var ErrSetup = follow.ErrSetup

// Follower follows a database for the plugin of a handle. It is safe for concurrent use.
type Follower struct{ *follow.Follower }

var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

func (c Config) withDefaults() (Config, error) {
	if c.Slot == "" {
		c.Slot = "cacheplugin"
	}
	if c.Publication == "" {
		c.Publication = "cacheplugin"
	}
	if c.URL == "" {
		return c, configError("URL", "empty", "give the URL of the database for a user with REPLICATION")
	}
	if _, err := pgx.ParseConfig(c.URL); err != nil {
		return c, configError("URL", "not understood", err.Error())
	}
	if !slotName.MatchString(c.Slot) {
		return c, configError("Slot", fmt.Sprintf("%q", c.Slot), "PostgreSQL takes lower-case letters, digits and underscores, 63 at most")
	}
	return c, nil
}

func configError(field, value, remedy string) error {
	return fmt.Errorf("%w: %s is %s: %s", cacheplugin.ErrConfig, field, value, remedy)
}

// New returns a follower for the plugin of a handle. It connects to nothing yet. An
// error wraps cacheplugin.ErrConfig, or is cacheplugin.ErrNotInstalled.
func New(db *gorm.DB, c Config) (*Follower, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	target, err := cacheplugin.FollowTarget(db)
	if err != nil {
		return nil, err
	}
	if target.Dialect != conj.PostgreSQL {
		return nil, configError("db", "a handle of "+target.Dialect.String(), "give a handle of PostgreSQL")
	}
	return &Follower{follow.New(target, newLog(target, c))}, nil
}

// Run follows until the context ends, and then returns nil. It goes on after errors of
// the network, restarts of the servers and failovers, which the plugin's Logger and
// Observer are told of. It returns an error that wraps ErrSetup if the server, the
// publication, the slot or the user is not as a follower needs it: nobody follows then,
// and what others write is not seen.
func (f *Follower) Run(ctx context.Context) error { return f.Follower.Run(ctx) }

// Status tells how the follower does.
func (f *Follower) Status() Status { return f.Follower.Status() }

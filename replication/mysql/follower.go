package mysql

import (
	"context"
	"fmt"

	driver "github.com/go-sql-driver/mysql"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/follow"
)

// Config is what a follower needs to know. DSN is required.
type Config struct {
	// DSN is that of the server and database which the handle is connected to, as the
	// driver go-sql-driver/mysql takes it, for a user with the privilege REPLICATION
	// SLAVE and the right to see the tables' definitions (SELECT, and TRIGGER for those
	// with triggers). It must lead to the server itself, not to a proxy.
	DSN string

	// ServerID is the follower's among all replicas of the server, which must differ.
	//
	// Defaults to a random number above a thousand million.
	ServerID uint32
}

// Status is how a follower does. Lag is as exact as the log, which has whole seconds,
// and counts from the beginning of a statement.
type Status = follow.Status

// ErrSetup is wrapped by errors about a server or a user that is not as a follower needs
// it. The message names the setting and the remedy.
var ErrSetup = follow.ErrSetup

// Follower follows a server for the plugin of a handle. It is safe for concurrent use.
type Follower struct{ *follow.Follower }

func (c Config) parse() (*driver.Config, error) {
	if c.DSN == "" {
		return nil, configError("DSN", "empty", "give the DSN of the database for a user with REPLICATION SLAVE")
	}
	parsed, err := driver.ParseDSN(c.DSN)
	switch {
	case err != nil:
		return nil, configError("DSN", "not understood", err.Error())
	case parsed.DBName == "":
		return nil, configError("DSN", "without a database", "name the database of the handle: user:password@tcp(host:3306)/database")
	}
	return parsed, nil
}

func configError(field, value, remedy string) error {
	return fmt.Errorf("%w: %s is %s: %s", cacheplugin.ErrConfig, field, value, remedy)
}

// New returns a follower for the plugin of a handle. It connects to nothing yet. An
// error wraps cacheplugin.ErrConfig, or is cacheplugin.ErrNotInstalled.
func New(db *gorm.DB, c Config) (*Follower, error) {
	parsed, err := c.parse()
	if err != nil {
		return nil, err
	}
	target, err := cacheplugin.FollowTarget(db)
	if err != nil {
		return nil, err
	}
	if target.Dialect != conj.MySQL {
		return nil, configError("db", "a handle of "+target.Dialect.String(), "give a handle of MariaDB")
	}
	return &Follower{follow.New(target, newLog(target, parsed, c.ServerID))}, nil
}

// Run follows until the context ends, and then returns nil. It goes on after errors of
// the network, restarts of the servers and failovers, which the plugin's Logger and
// Observer are told of. It returns an error that wraps ErrSetup if the server or the
// user is not as a follower needs it: nobody follows then, and what others write is not
// seen.
func (f *Follower) Run(ctx context.Context) error { return f.Follower.Run(ctx) }

// Status tells how the follower does.
func (f *Follower) Status() Status { return f.Follower.Status() }

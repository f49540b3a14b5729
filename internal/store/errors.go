package store

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrConfig is wrapped by errors about Options. The message names the
	// field, its value and the remedy.
	ErrConfig = errors.New("store: configuration")

	// ErrLayout is wrapped by Check if the namespace is in use by processes
	// whose Options.Spread differs. It wraps ErrConfig.
	ErrLayout = fmt.Errorf("%w: layout of keys", ErrConfig)

	// ErrTimeout is wrapped when Redis did not answer within Options.Timeout.
	// The call may still take effect.
	ErrTimeout = errors.New("store: redis did not answer in time")

	// ErrReply is wrapped when Redis answered something that is not a reply of
	// the protocol's scripts.
	ErrReply = errors.New("store: unexpected reply")

	// ErrDamaged is wrapped by look-ups that find a value which is not the one that
	// was stored under its key: altered, cut off, or another's. The entry is
	// dropped; ask the database.
	ErrDamaged = errors.New("store: damaged entry")

	// ErrJoined is wrapped by Save when it is not given the rows of every table
	// of which the look-up left them open. The lease remains.
	ErrJoined = errors.New("store: joined rows are missing")

	// ErrQueued is wrapped by Guard's methods when an invalidation could not
	// be carried out and waits for Redis to come back.
	ErrQueued = errors.New("store: invalidation queued")

	// ErrClosed is wrapped by Guard's methods when an invalidation failed
	// after Close, so that nothing will try it again, and by Close when it had
	// to leave invalidations behind.
	ErrClosed = errors.New("store: guard is closed")
)

// InvalidateError says which changes could not be invalidated. Those that it
// does not name were.
type InvalidateError struct {
	// Left are the changes to try again. Trying more than these is harmless.
	Left []Change
	// Err is the first cause.
	Err error
}

// Error implements error; it names the tables.
func (e *InvalidateError) Error() string {
	names := make([]string, 0, len(e.Left))
	for _, c := range e.Left {
		if len(names) == 0 || names[len(names)-1] != c.Table {
			names = append(names, c.Table)
		}
	}
	return fmt.Sprintf("store: invalidate %s: %v", strings.Join(names, ", "), e.Err)
}

// Unwrap returns the first cause.
func (e *InvalidateError) Unwrap() error { return e.Err }

func configError(field string, value any, remedy string) error {
	return fmt.Errorf("%w: Options.%s is %v: %s", ErrConfig, field, value, remedy)
}

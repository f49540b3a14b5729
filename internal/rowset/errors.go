package rowset

import (
	"errors"
	"fmt"
)

// ErrCorrupt is returned, wrapped with what is wrong, for bytes that are not an intact payload of this version of the
// format: truncated, altered, foreign, or written by another version. A reader treats it as a miss.
var ErrCorrupt = errors.New("rowset: corrupt payload")

func corrupt(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

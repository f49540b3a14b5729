package rowset

import (
	"errors"
	"fmt"
)

// ErrCorrupt is returned, wrapped with what is wrong, for bytes that can't be read as a payload of this version of the
// format: truncated, foreign, or written by another version. A reader treats it as a miss. A payload that is altered and
// can be read all the same is found by the sum of package store, before it comes here.
var ErrCorrupt = errors.New("rowset: corrupt payload")

func corrupt(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

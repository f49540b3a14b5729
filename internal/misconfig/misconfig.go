// Package misconfig words errors about the configuration.
package misconfig

import (
	"errors"
	"fmt"
)

// Err is wrapped by every error about a wrong configuration.
var Err = errors.New("cacheplugin: configuration")

// New returns an error about one field of the configuration, or option of a
// query, with its value and what to do.
func New(field string, value any, remedy string) error {
	if s, ok := value.(string); ok {
		value = fmt.Sprintf("%q", s)
	}
	return fmt.Errorf("%w: %s is %v: %s", Err, field, value, remedy)
}

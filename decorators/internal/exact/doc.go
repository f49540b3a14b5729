// Package exact encodes Go values in a binary form from which they come back
// exactly as they were: nil and empty slices stay apart, a pointer to zero is no
// nil, times keep their zone, and no struct tag hides a field. It refuses types
// of which it can't promise that, when it is asked about the type and not when
// a value is lost.
//
// It stands between the functions and pages of package decorators and what is
// kept of them: keys are made by AppendKey, values by Marshal. The form has no
// type information of its own; Fingerprint tells two types apart, and whoever
// keeps encoded values keeps the fingerprint with them.
package exact

import "errors"

var (
	// ErrType is wrapped by errors about types that can't be encoded.
	ErrType = errors.New("type can't be encoded")
	// ErrValue is wrapped by errors about values that can't be encoded although
	// their type can: what an interface holds, or a cycle of pointers.
	ErrValue = errors.New("value can't be encoded")
	// ErrCorrupt is wrapped by errors about bytes that Marshal didn't make for
	// the type.
	ErrCorrupt = errors.New("corrupt encoding")
)

// maxDepth bounds how deep values nest. Only cycles and long linked lists
// reach it.
const maxDepth = 2000

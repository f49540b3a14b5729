package txn

import "time"

// How long an event is waited for, and how often it is looked for.
const (
	waitFor = 20 * time.Second
	tick    = time.Millisecond
)

package main

import (
	"syscall"
	"time"
)

// sleep waits more exactly than time.Sleep, which rounds what is below a
// millisecond up to one while nothing else runs.
func sleep(d time.Duration) {
	wait := syscall.NsecToTimespec(d.Nanoseconds())
	for syscall.Nanosleep(&wait, &wait) == syscall.EINTR {
		continue // with the rest, which is in wait now
	}
}

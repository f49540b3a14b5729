//go:build !linux

package main

import "time"

// sleep waits; for how long exactly is up to the system.
func sleep(d time.Duration) { time.Sleep(d) }

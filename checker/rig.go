package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
)

// rig is a testing.TB outside of a test: it lets the command use what tests
// use to have servers started, and ended.
type rig struct {
	testing.TB // for what is not used
	cleanups   []func()
	problem    error
}

// errSkipped is wrapped when something that is needed is not there.
var errSkipped = errors.New("left out")

// inRig runs f in a goroutine that FailNow can end.
func inRig[T any](f func(*rig) T) (result T, err error) {
	r := &rig{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for len(r.cleanups) > 0 {
				last := r.cleanups[len(r.cleanups)-1]
				r.cleanups = r.cleanups[:len(r.cleanups)-1]
				last()
			}
		}()
		result = f(r)
	}()
	<-done
	return result, r.problem
}

func (r *rig) Helper()                   {}
func (r *rig) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *rig) Log(args ...any)           {}
func (r *rig) Logf(string, ...any)       {}
func (r *rig) Name() string              { return "checker" }
func (r *rig) Errorf(f string, a ...any) { r.problem = errors.Join(r.problem, fmt.Errorf(f, a...)) }
func (r *rig) Fatal(args ...any)         { r.Errorf("%s", fmt.Sprint(args...)); runtime.Goexit() }
func (r *rig) Fatalf(f string, a ...any) { r.Errorf(f, a...); runtime.Goexit() }
func (r *rig) Skip(args ...any)          { r.Fatalf("%w: %s", errSkipped, fmt.Sprint(args...)) }
func (r *rig) Skipf(f string, a ...any)  { r.Skip(fmt.Sprintf(f, a...)) }

// TempDir is a directory that is removed in the end.
func (r *rig) TempDir() string {
	dir, err := os.MkdirTemp("", "checker-")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

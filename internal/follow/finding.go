package follow

import "fmt"

// State is what a Finding means.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning" // advice
	Problem State = "problem" // it can't be followed like that
)

// Finding is one thing that was looked at in a database that is to be followed.
type Finding struct {
	Name   string // a setting, a right, an object
	State  State
	Found  string
	Remedy string // empty if the state is OK
}

// Findings are what was looked at, in order.
type Findings []Finding

// Add adds a finding.
func (f *Findings) Add(name string, state State, remedy, format string, args ...any) {
	if state == OK {
		remedy = ""
	}
	*f = append(*f, Finding{name, state, fmt.Sprintf(format, args...), remedy})
}

// Err returns the first problem as an error that wraps ErrSetup; nil if there is none.
func (f Findings) Err() error {
	for _, one := range f {
		if one.State == Problem {
			return Setup(one.Name, one.Found, one.Remedy)
		}
	}
	return nil
}

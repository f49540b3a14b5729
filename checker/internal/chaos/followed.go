package chaos

import (
	"time"

	"github.com/cacheplugin/cacheplugin/checker/internal/work"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// following is the follower that follows; any if none does before the cell ends.
func (s *scene) following() **process {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		for i, p := range s.followers {
			if p.follows.Load() {
				return &s.followers[i]
			}
			select {
			case <-p.exited:
				s.must(p.send(work.Command{})) // says what it is
			default:
			}
		}
		if len(s.readers) > 0 && s.over() {
			return &s.followers[0]
		}
		if time.Since(began) > time.Minute {
			s.Fatalf("%s: nobody follows within a minute", s.cell.Fault.Name)
		}
	}
}

// beyondTheSeat is for longer than a follower may be silent before another one
// takes over.
const beyondTheSeat = store.SeatTTL + 2*time.Second

// amid does something when somebody has followed for a second: what has waited is told
// by then.
func amid(act func(*scene)) func(*scene) {
	return func(s *scene) {
		s.following()
		if s.pause(time.Second) {
			act(s)
		}
	}
}

// restartDatabase has the database crash and recover.
func restartDatabase(s *scene) {
	s.database.Kill()
	s.mark("the database is killed")
	s.database.Start()
	s.note("the database is back")
}

package follow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/background"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

const (
	// lookEvery is the pause between two looks at the database while its log grows,
	// lookIdle the longest one while it does not. The seat is prolonged by each.
	lookEvery = 10 * time.Millisecond
	lookIdle  = time.Second
	// seatPoll is how often a seat is asked for that is another's, at least.
	seatPoll = 500 * time.Millisecond
	// The pauses after an error.
	pauseMin = 50 * time.Millisecond
	pauseMax = 5 * time.Second
)

// errSeat ends the following of a process whose seat another one has taken.
var errSeat = errors.New("another follower has taken the seat")

// Status is how a follower does.
type Status struct {
	// Active reports whether this process is the one that follows.
	Active bool
	// Position is that up to which Redis has been told.
	Position string
	// Lag is how long after its commit the last transaction was told of, as far as the
	// database's clock and this process's agree.
	Lag time.Duration
	// Behind is how many bytes of the log had not been told yet at the last look.
	Behind int64
	// Transactions, and Changes of rows and of tables as a whole, have been told of.
	Transactions, Changes int64
	// Lost counts how often everything was dropped because changes may have been missed.
	Lost int64
	// Err is why it doesn't follow now, or has begun anew; nil if it never did.
	Err error
}

// Follower follows a log. It is safe for concurrent use.
type Follower struct {
	target *Target
	log    Log

	mu       sync.Mutex
	running  bool
	seat     *store.Seat // nil before the first round
	seatName string
	status   Status
	told     string // the position up to which Redis was told
}

// New returns a follower. It connects to nothing.
func New(t *Target, log Log) *Follower { return &Follower{target: t, log: log} }

// Status tells how it does.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Position = f.told
	return s
}

func (f *Follower) note(change func(*Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.status)
}

func (f *Follower) setTold(position string) {
	if position == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = position
}

// errRunning says that Run runs already.
var errRunning = errors.New("cacheplugin: the follower runs already: Run is called once at a time")

// Run follows until the context ends, and then returns nil: it waits until no other
// process does, begins anew after errors, and gives the seat up at the end. It returns
// an error that wraps ErrSetup if the server is not set up for it.
func (f *Follower) Run(ctx context.Context) error {
	f.mu.Lock()
	twice := f.running
	f.running = true
	f.mu.Unlock()
	if twice {
		return errRunning
	}
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.running = false
	}()
	defer f.log.Close()

	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		began := time.Now()
		err := f.follow(ctx)
		f.note(func(s *Status) {
			s.Active = false
			if err != nil && ctx.Err() == nil {
				s.Err = err
			}
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrSetup):
			return errors.Join(err, f.giveUp(ctx))
		case errors.Is(err, errSeat):
			f.target.Report.WarnAlways(ctx, "change capture: another process follows now", "error", err)
		default:
			f.target.Report.Failed(ctx, "change capture was interrupted; it goes on where it was", "", err)
		}
		if time.Since(began) > pauseMax {
			pause = pauseMin
		}
		if background.Sleep(ctx, pause) != nil {
			return nil
		}
	}
}

// notFollowed is a position that no log has: who finds it drops everything.
const notFollowed = "not followed: the set-up was wrong"

// giveUp drops everything when a log that was followed can't be followed any more: what
// was not set up as it should be may not have been in the log for a while. So may what
// comes until it is followed again, and the position says so.
func (f *Follower) giveUp(ctx context.Context) error {
	f.mu.Lock()
	seat, followed := f.seat, f.told != ""
	f.mu.Unlock()
	if !followed {
		return nil
	}
	c := f.target.newCollector()
	c.Everything(ctx)
	f.note(func(s *Status) { s.Lost++ })
	err := f.target.tell(ctx, c.journal, 0, 0)
	return errors.Join(err, seat.Leave(ctx, notFollowed))
}

// follow follows until something fails.
func (f *Follower) follow(ctx context.Context) error {
	name, about, err := f.log.Check(ctx)
	if err != nil {
		return err
	}
	seat := f.seatOf(name, about)
	position, err := f.sit(ctx, seat)
	if err != nil {
		return err
	}
	began := false
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		position := ""
		if began {
			position = f.Status().Position
		}
		_ = seat.Leave(after, position) // else it runs out, and some is told again
	}()

	// The seat must be prolonged from now on, however long it takes to open the log.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &round{Follower: f, seat: seat, ready: make(chan struct{}, 1), moved: make(chan struct{}, 1), collector: f.target.newCollector}
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel(nil) // before waiting
	run := func(do func(context.Context) error) {
		wait.Go(func() {
			if err := do(ctx); err != nil {
				cancel(err)
			}
		})
	}
	run(r.look)

	stream, err := f.log.Open(ctx, position)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer stream.Close()
	if err := r.begin(ctx, stream); err != nil {
		return causeOf(ctx, err)
	}
	began = true
	f.note(func(s *Status) { s.Active = true })
	f.target.Report.WarnAlways(ctx, "change capture: following", "log", about, "position", f.Status().Position)
	run(r.tell)
	return causeOf(ctx, r.read(ctx, stream))
}

// seatOf returns the seat of a log: the same one from round to round, so that one's own
// is not waited for.
func (f *Follower) seatOf(name, about string) *store.Seat {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seat == nil || f.seatName != name {
		f.seat, f.seatName = f.target.Namespaces.Home().Store.NewSeat(name, about), name
	}
	return f.seat
}

// causeOf returns why a context has ended, if it has, instead of an error that may come of
// that.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// sit waits until the seat is free and takes it.
func (f *Follower) sit(ctx context.Context, seat *store.Seat) (position string, err error) {
	for {
		h, err := seat.Take(ctx, "")
		if err != nil {
			return "", err
		}
		if h.Mine {
			return h.Position, nil
		}
		if err := background.Sleep(ctx, min(max(h.Left, time.Millisecond), seatPoll)); err != nil {
			return "", err
		}
	}
}

// round is the following from one interruption to the next.
type round struct {
	*Follower
	seat      *store.Seat
	marks     marks
	collector func() *Collector
	looking   sync.Mutex

	mu      sync.Mutex
	stream  Stream
	pending pending
	ready   chan struct{} // something is pending
	moved   chan struct{} // something was read: look again soon
}

// begin drops everything, unless nothing can have been missed before the stream begins.
func (r *round) begin(ctx context.Context, stream Stream) error {
	position, lost := stream.Begins()
	if lost != "" {
		r.target.Report.WarnAlways(ctx, "change capture: everything that is cached is dropped: changes may have been missed", "reason", lost)
		c := r.collector()
		c.Everything(ctx)
		if err := r.target.tell(ctx, c.journal, 0, 0); err != nil {
			return fmt.Errorf("drop everything: %w", err)
		}
		r.note(func(s *Status) { s.Lost++ })
	}
	r.setTold(position)
	r.mu.Lock()
	r.stream = stream
	r.mu.Unlock()
	return nil
}

// read reads the log.
func (r *round) read(ctx context.Context, stream Stream) error {
	for {
		c := r.collector()
		read, err := stream.Next(ctx, c)
		if err != nil {
			return err
		}
		var seen store.Moment
		if read.ID != 0 {
			seen, _ = r.marks.first(read.ID)
		}
		r.mu.Lock()
		r.pending.add(read, c, seen)
		r.marks.prune(&r.pending[len(r.pending)-1])
		r.mu.Unlock()
		wake(r.ready)
	}
}

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// tell tells Redis of what was read.
func (r *round) tell(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.ready:
		}
		r.mu.Lock()
		all := r.pending
		r.pending = nil
		r.mu.Unlock()
		for i := range all {
			b := &all[i]
			if !b.empty() {
				wake(r.moved)
				if err := r.tellBatch(ctx, b); err != nil {
					return err
				}
			}
			r.setTold(b.position)
		}
	}
}

// tellBatch tells of a batch, as often as it takes.
func (r *round) tellBatch(ctx context.Context, b *batch) error {
	seen, err := r.shown(ctx, b)
	if err != nil {
		return err
	}
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		age := time.Since(b.oldest)
		err := r.target.tell(ctx, b.journal, seen, age)
		if err == nil {
			r.note(func(s *Status) {
				s.Lag = age
				s.Transactions += b.commits
				s.Changes += b.changes
			})
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.target.Report.Failed(ctx, "changes that others have committed could not be told to Redis; it is tried again", "", err)
		if err := background.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// shown waits until the database shows all of a batch, and returns a moment from which
// on it did.
func (r *round) shown(ctx context.Context, b *batch) (store.Moment, error) {
	if len(b.unseen) == 0 {
		return b.seen, nil
	}
	for pause := time.Millisecond; ; pause = min(2*pause, lookEvery) {
		if seen, ok := r.marks.first(b.unseen...); ok {
			return max(seen, b.seen), nil
		}
		if err := r.lookOnce(ctx); err != nil {
			return 0, err
		}
		if seen, ok := r.marks.first(b.unseen...); ok {
			return max(seen, b.seen), nil
		}
		if err := background.Sleep(ctx, pause); err != nil {
			return 0, err
		}
	}
}

// look looks at the database again and again, and prolongs the seat.
func (r *round) look(ctx context.Context) error {
	var end uint64
	for pause := lookEvery; ; pause = min(2*pause, lookIdle) {
		if err := r.lookOnce(ctx); err != nil {
			return err
		}
		if m, ok := r.marks.last(); ok && m.view.End() != end {
			end, pause = m.view.End(), lookEvery
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-r.moved:
			pause = lookEvery
			timer.Stop()
			if background.Sleep(ctx, lookEvery) != nil {
				return nil
			}
		case <-timer.C:
		}
	}
}

// lookOnce takes a mark, and has the position kept that was told of: in Redis first,
// and only then by the server, so that what the server has forgotten was told of.
func (r *round) lookOnce(ctx context.Context) error {
	r.looking.Lock()
	defer r.looking.Unlock()
	view, err := r.log.Look(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	stream := r.stream
	r.mu.Unlock()
	position := ""
	if stream != nil {
		position = r.Status().Position
	}
	h, err := r.seat.Take(ctx, position)
	if err != nil {
		// As long as Redis is away nobody can take the seat, and nothing can be told.
		r.target.Report.Failed(ctx, "the follower's seat could not be prolonged; it is tried again", "", err)
		return background.Sleep(ctx, pauseMin)
	}
	if !h.Mine {
		return errSeat
	}
	r.marks.add(mark{view, h.Clock})
	if stream != nil {
		stream.Confirm(position)
		r.note(func(s *Status) { s.Behind = view.Behind(position) })
	}
	return nil
}

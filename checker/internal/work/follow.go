package work

import (
	"context"
	"fmt"
	"time"

	"github.com/cacheplugin/cacheplugin/checker/internal/history"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/replication/mysql"
	"github.com/cacheplugin/cacheplugin/replication/postgres"
)

// followPoll is how often it is asked what a follower has told of.
const followPoll = time.Millisecond

// follow follows the database's log, or waits to do so, and writes down what was told.
func (p *process) follow(log *history.Writer) error {
	var f interface {
		Run(ctx context.Context) error
		Status() postgres.Status
	}
	var err error
	if p.job.Dialect == "postgres" {
		f, err = postgres.New(p.db, postgres.Config{URL: p.job.DSN})
	} else {
		f, err = mysql.New(p.db, mysql.Config{DSN: p.job.DSN})
	}
	if err != nil {
		return fmt.Errorf("work: a follower: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	var (
		told    string
		follows bool
	)
	for !p.done.Load() {
		select {
		case err := <-ended:
			return fmt.Errorf("work: %s: %w", p.job.Name, err)
		case <-time.After(followPoll):
		}
		s := f.Status()
		if s.Position != told {
			told = s.Position
			if err := log.Add(&history.Record{Kind: history.FollowTold, Start: history.Now(), Place: testdb.LogPlace(told)}); err != nil {
				return err
			}
		}
		if s.Active != follows {
			follows = s.Active
			p.tell(Told{Follows: &follows})
		}
	}
	cancel()
	return <-ended
}

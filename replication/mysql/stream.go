package mysql

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/follow"
)

// stream is a log that is being read.
type stream struct {
	log    *log
	syncer *replication.BinlogSyncer
	events *replication.BinlogStreamer

	begins place
	lost   string
	at     place // behind the last event

	maps   map[uint64]*table         // what the log calls a table by
	tables map[conj.TableName]*table // what is known of tables
}

var _ follow.Stream = (*stream)(nil)

// Begins implements follow.Stream.
func (s *stream) Begins() (position, lost string) { return s.begins.String(), s.lost }

// Confirm implements follow.Stream: the server forgets its log by its own rules.
func (s *stream) Confirm(string) {}

// Close implements follow.Stream.
func (s *stream) Close() { s.syncer.Close() }

// Next implements follow.Stream.
func (s *stream) Next(ctx context.Context, into *follow.Collector) (follow.Commit, error) {
	t := transaction{stream: s, into: into}
	for {
		event, err := s.events.GetEvent(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return follow.Commit{}, ctx.Err()
			}
			return follow.Commit{}, s.log.readError(err)
		}
		if rotate, ok := event.Event.(*replication.RotateEvent); ok {
			next := place{string(rotate.NextLogName), uint32(rotate.Position)}
			if next == s.at {
				continue
			}
			s.at = next
			// Where the server says where it begins, nothing has been read yet.
			if !t.open && event.Header.Timestamp != 0 {
				return follow.Commit{Position: s.at.String()}, nil
			}
			continue
		}
		if event.Header.LogPos > s.at.at {
			s.at.at = event.Header.LogPos
		}
		done, err := t.read(ctx, event)
		if err != nil {
			return follow.Commit{}, err
		}
		if done {
			return follow.Commit{
				Position: s.at.String(), ID: s.at.id(), Changes: t.changes,
				Time: time.Unix(int64(event.Header.Timestamp), 0),
			}, nil
		}
	}
}

// transaction is one that is being read.
type transaction struct {
	stream *stream
	into   *follow.Collector

	open       bool
	standalone bool // nothing ends it but its only event
	changes    int
}

// read reads an event, and reports whether it ends the transaction.
func (t *transaction) read(ctx context.Context, event *replication.BinlogEvent) (done bool, err error) {
	switch e := event.Event.(type) {
	case *replication.MariadbGTIDEvent:
		t.open, t.standalone = true, e.IsStandalone()
	case *replication.XIDEvent:
		return true, nil
	case *replication.TableMapEvent:
		found, err := t.stream.table(ctx, conj.TableName{Schema: string(e.Schema), Name: string(e.Table)})
		if err != nil {
			return false, err
		}
		t.stream.maps[e.TableID] = found
	case *replication.RowsEvent:
		t.open = true
		return false, t.rows(ctx, e)
	case *replication.QueryEvent:
		return t.query(ctx, e)
	case *replication.GenericEvent:
		switch event.Header.EventType {
		case replication.INCIDENT_EVENT:
			// The server says that it has lost something.
			t.into.Everything(ctx)
			t.changes++
			return true, nil
		case replication.XA_PREPARE_LOG_EVENT:
			// Its XA COMMIT, which may come at any time, drops everything.
			return true, nil
		}
	}
	return false, nil
}

// rows reads changes of rows.
func (t *transaction) rows(ctx context.Context, e *replication.RowsEvent) error {
	table := t.stream.maps[e.TableID]
	if table == nil {
		return fmt.Errorf("read the log: table %d was not described", e.TableID)
	}
	t.changes += max(1, len(e.Rows))
	if table.foreign {
		return nil
	}
	if e.Type() == replication.EnumRowsEventTypeUpdate {
		t.changes -= len(e.Rows) / 2
	}
	return table.changed(ctx, t, e)
}

// query reads a statement: of those that define tables, and of those that were logged as
// they are, by a session that has set binlog_format.
func (t *transaction) query(ctx context.Context, e *replication.QueryEvent) (done bool, err error) {
	if xa, _, found := strings.Cut(strings.ToUpper(strings.TrimSpace(string(e.Query))), "'"); found && strings.HasPrefix(xa, "XA ") {
		if commit := strings.HasPrefix(xa, "XA COMMIT"); commit || strings.HasPrefix(xa, "XA ROLLBACK") {
			if commit {
				t.into.Everything(ctx)
				t.changes++
			}
			return true, nil
		}
		return false, nil
	}
	plan, err := t.stream.log.target.Database.BarePlan(string(e.Query))
	if err != nil {
		return false, err
	}
	switch plan.Statement {
	case conj.Begin:
		t.open = true
		return false, nil
	case conj.Commit:
		return true, nil
	case conj.Rollback: // of what could not be undone
		return true, nil
	case conj.Savepoint, conj.RollbackTo, conj.Release, conj.Set, conj.Other:
		return t.ends(), nil
	case conj.DDL, conj.Truncate:
		// A table's rows are read by its columns' places, which may be others now.
		t.stream.forget()
		t.into.Redefined()
	}
	t.changes++
	if len(plan.Writes) == 0 || plan.Statement == conj.Unknown || plan.Statement == conj.Call {
		t.into.Everything(ctx)
		return t.ends(), nil
	}
	for _, w := range plan.Writes {
		name := w.Name
		if name.Schema == "" {
			name.Schema = string(e.Schema)
		}
		if err := t.statement(ctx, name, plan.Statement); err != nil {
			return false, err
		}
	}
	return t.ends(), nil
}

// ends reports whether a statement is all of its transaction.
func (t *transaction) ends() bool { return t.standalone || !t.open }

// statement notes that a statement has written to a table, of which the log has no rows.
func (t *transaction) statement(ctx context.Context, name conj.TableName, kind conj.Statement) error {
	table, err := t.stream.table(ctx, name)
	if err != nil {
		return err
	}
	if table.known == nil {
		// It may have been one of another database that is gone now.
		return t.into.WholeName(ctx, name)
	}
	if err := table.whole(ctx, t.into); err != nil || kind == conj.DDL || kind == conj.Truncate {
		return err
	}
	if table.known.Triggers != "" || table.known.TriggersHidden {
		t.into.Everything(ctx)
		return nil
	}
	return table.below(ctx, t, table.known.DeleteTouches, table.known.UpdateTouches)
}

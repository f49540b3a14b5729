package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/cacheplugin/cacheplugin/internal/follow"
)

// pollEvery is how long a message is waited for before the server is told what was
// confirmed meanwhile.
const pollEvery = time.Second

// Next implements follow.Stream.
func (s *stream) Next(ctx context.Context, into *follow.Collector) (follow.Commit, error) {
	t := transaction{stream: s, into: into}
	for {
		if age := time.Since(s.sent); age > statusEvery || age > pollEvery && s.told != s.confirmed.Load() {
			if err := s.status(ctx); err != nil {
				return follow.Commit{}, err
			}
		}
		data, err := s.receive(ctx)
		if err != nil {
			return follow.Commit{}, err
		}
		if data == nil {
			continue
		}
		switch data[0] {
		case pglogrepl.PrimaryKeepaliveMessageByteID:
			alive, err := pglogrepl.ParsePrimaryKeepaliveMessage(data[1:])
			if err != nil {
				return follow.Commit{}, err
			}
			if alive.ReplyRequested {
				if err := s.status(ctx); err != nil {
					return follow.Commit{}, err
				}
			}
			// All that was committed before has been sent.
			if !t.open && alive.ServerWALEnd > s.last {
				s.last = alive.ServerWALEnd
				return follow.Commit{Position: s.last.String()}, nil
			}
		case pglogrepl.XLogDataByteID:
			xlog, err := pglogrepl.ParseXLogData(data[1:])
			if err != nil {
				return follow.Commit{}, err
			}
			done, err := t.read(ctx, xlog.WALData)
			if err != nil {
				return follow.Commit{}, err
			}
			if done {
				s.last = t.end
				return follow.Commit{Position: t.end.String(), ID: uint64(t.xid), Time: t.time, Changes: t.changes}, nil
			}
		}
	}
}

// receive returns the next piece of the log; nil if there is none for a while.
func (s *stream) receive(ctx context.Context) ([]byte, error) {
	// One context for many messages: each costs more than a message.
	if s.window == nil || s.window.Err() != nil {
		s.endWindow()
		s.window, s.closeWindow = context.WithTimeout(ctx, pollEvery)
	}
	message, err := s.conn.ReceiveMessage(s.window)
	if err != nil {
		if ctx.Err() == nil && pgconn.Timeout(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("read the log: %w", err)
	}
	switch m := message.(type) {
	case *pgproto3.CopyData:
		if len(m.Data) == 0 {
			return nil, nil
		}
		return m.Data, nil
	case *pgproto3.ErrorResponse:
		return nil, fmt.Errorf("read the log: %w", setupError(pgconn.ErrorResponseToPgError(m)))
	case *pgproto3.CopyDone:
		return nil, errors.New("read the log: the server has ended it")
	}
	return nil, nil
}

// endWindow frees the context of the messages that have been received.
func (s *stream) endWindow() {
	if s.closeWindow != nil {
		s.closeWindow()
	}
	s.window, s.closeWindow = nil, nil
}

// transaction is one that is being read.
type transaction struct {
	stream *stream
	into   *follow.Collector

	open    bool
	xid     uint32
	time    time.Time
	end     pglogrepl.LSN
	changes int
}

// read reads a message, and reports whether it ends the transaction.
func (t *transaction) read(ctx context.Context, data []byte) (done bool, err error) {
	if len(data) == 0 {
		return false, nil
	}
	// Rows of a table that is dropped as a whole are not looked at.
	switch pglogrepl.MessageType(data[0]) {
	case pglogrepl.MessageTypeInsert, pglogrepl.MessageTypeUpdate, pglogrepl.MessageTypeDelete:
		t.changes++
		relation, err := t.relation(data)
		if err != nil {
			return false, err
		}
		if relation.skips(ctx, t.into) {
			return false, nil
		}
	}
	message, err := pglogrepl.Parse(data)
	if err != nil {
		return false, fmt.Errorf("read a message of the log: %w", err)
	}
	switch m := message.(type) {
	case *pglogrepl.BeginMessage:
		t.open, t.xid, t.time = true, m.Xid, m.CommitTime
	case *pglogrepl.CommitMessage:
		t.end = m.TransactionEndLSN
		return true, nil
	case *pglogrepl.RelationMessage:
		return false, t.define(ctx, m)
	case *pglogrepl.InsertMessage:
		return false, t.stream.relations[m.RelationID].insert(ctx, t.into, m)
	case *pglogrepl.UpdateMessage:
		return false, t.stream.relations[m.RelationID].update(ctx, t.into, m)
	case *pglogrepl.DeleteMessage:
		return false, t.stream.relations[m.RelationID].remove(ctx, t.into, m)
	case *pglogrepl.TruncateMessage:
		for _, id := range m.RelationIDs {
			relation := t.stream.relations[id]
			if relation == nil {
				return false, fmt.Errorf("read the log: relation %d was not described", id)
			}
			t.changes++
			if err := relation.whole(ctx, t.into); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

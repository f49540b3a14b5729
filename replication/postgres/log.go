package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cacheplugin/cacheplugin/internal/background"
	"github.com/cacheplugin/cacheplugin/internal/follow"
)

const (
	// statusEvery is how often the server is told at least that somebody reads; it
	// gives up a reader after wal_sender_timeout, a minute by default.
	statusEvery = 5 * time.Second
	// recheckEvery is how often it is looked whether the publication still has all.
	recheckEvery = 30 * time.Second
	// timeout bounds one question to the server.
	timeout = 10 * time.Second
)

// log is a database's write-ahead log, as the publication shows it.
type log struct {
	target *follow.Target
	config Config

	conn    *pgx.Conn // for questions; nil before Check
	checked time.Time
}

var _ follow.Log = (*log)(nil)

func newLog(t *follow.Target, c Config) *log { return &log{target: t, config: c} }

// application is the name of the connections, by which a follower knows those of its own
// kind.
func (l *log) application() string {
	name := "cacheplugin follower " + l.target.Prefix()
	return name[:min(len(name), 63)] // longer ones are cut by the server
}

// Check implements follow.Log.
func (l *log) Check(ctx context.Context) (name, about string, err error) {
	l.Close()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if l.conn, err = connect(ctx, l.config.URL, l.application()); err != nil {
		return "", "", err
	}
	findings, err := examine(ctx, l.conn, l.config)
	if err == nil {
		err = findings.Err()
	}
	if err != nil {
		return "", "", err
	}
	l.checked = time.Now()
	return l.identify(ctx)
}

// identify makes sure that the log is that of the handle's database.
func (l *log) identify(ctx context.Context) (name, about string, err error) {
	var system, database string
	const query = `SELECT current_database()::text,
  COALESCE((SELECT CASE WHEN has_function_privilege('pg_catalog.pg_control_system()', 'execute') THEN 'yes' END), '')`
	var may string
	if err := l.conn.QueryRow(ctx, query).Scan(&database, &may); err != nil {
		return "", "", fmt.Errorf("ask for the database's name: %w", err)
	}
	if may != "" {
		if err := l.conn.QueryRow(ctx, `SELECT system_identifier::text FROM pg_control_system()`).Scan(&system); err != nil {
			return "", "", fmt.Errorf("ask for the server's identity: %w", err)
		}
	}
	server, err := l.target.Server(ctx)
	if err != nil {
		return "", "", err
	}
	// A user who may not ask for the system's identity knows the database's name only.
	ours, theirs := database, server.Database
	if at := strings.IndexByte(theirs, '/'); at >= 0 && system != "" {
		ours = system + "/" + database
	} else {
		theirs = theirs[at+1:]
	}
	if ours != theirs {
		return "", "", follow.Setup("URL", "it is that of the database "+ours, "the handle is connected to "+theirs+": give the same database in both")
	}
	return "postgres " + ours + " " + l.config.Slot, fmt.Sprintf("postgres %s, slot %s", database, l.config.Slot), nil
}

// Close implements follow.Log.
func (l *log) Close() {
	if l.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = l.conn.Close(ctx)
		l.conn = nil
	}
}

// Look implements follow.Log.
func (l *log) Look(ctx context.Context) (follow.View, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if time.Since(l.checked) > recheckEvery {
		findings, err := examinePublication(ctx, l.conn, l.config)
		if err == nil {
			err = findings.Err()
		}
		if err != nil {
			return nil, err
		}
		l.checked = time.Now()
	}
	var text, end string
	if err := l.conn.QueryRow(ctx, `SELECT txid_current_snapshot()::text, pg_current_wal_insert_lsn()::text`).Scan(&text, &end); err != nil {
		return nil, fmt.Errorf("ask for a snapshot: %w", err)
	}
	return newView(text, end)
}

// view is a snapshot: which transactions are visible.
type view struct {
	xmin, xmax uint64
	running    map[uint64]struct{}
	end        pglogrepl.LSN
}

// newView reads "xmin:xmax:xip,xip".
func newView(text, end string) (*view, error) {
	v := &view{running: map[uint64]struct{}{}}
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return nil, fmt.Errorf("a snapshot is %q", text)
	}
	var err1, err2, err3 error
	v.xmin, err1 = strconv.ParseUint(parts[0], 10, 64)
	v.xmax, err2 = strconv.ParseUint(parts[1], 10, 64)
	v.end, err3 = pglogrepl.ParseLSN(end)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("a snapshot is %q: %w", text, err)
	}
	for _, one := range strings.Split(parts[2], ",") {
		if one == "" {
			continue
		}
		id, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("a snapshot is %q: %w", text, err)
		}
		v.running[id] = struct{}{}
	}
	return v, nil
}

// Shows implements follow.View. The log has 32 bits of an id: those of an id near the
// snapshot's.
func (v *view) Shows(id uint64) bool {
	full := v.xmax&^0xffffffff | id&0xffffffff
	switch {
	case full > v.xmax && full-v.xmax > 1<<31 && full >= 1<<32:
		full -= 1 << 32
	case v.xmax > full && v.xmax-full > 1<<31:
		full += 1 << 32
	}
	if full >= v.xmax {
		return false
	}
	_, running := v.running[full]
	return full < v.xmin || !running
}

// End implements follow.View.
func (v *view) End() uint64 { return uint64(v.end) }

// Behind implements follow.View.
func (v *view) Behind(position string) int64 {
	at, err := pglogrepl.ParseLSN(position)
	if err != nil || at > v.end {
		return 0
	}
	return int64(v.end - at)
}

// Open implements follow.Log.
func (l *log) Open(ctx context.Context, position string) (follow.Stream, error) {
	// The connection for questions belongs to Look, which goes on meanwhile.
	questions, err := connect(ctx, l.config.URL, l.application())
	if err != nil {
		return nil, err
	}
	defer func() { _ = questions.Close(context.WithoutCancel(ctx)) }()

	config, err := pgconn.ParseConfig(l.config.URL)
	if err != nil {
		return nil, err
	}
	prepare(config, l.application())
	config.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, setupError(err)
	}
	s := &stream{log: l, conn: conn, relations: map[uint32]*relation{}}
	if err := s.start(ctx, questions, position); err != nil {
		s.Close()
		return nil, setupError(err)
	}
	return s, nil
}

// start makes the slot if it is missing or lost, finds out whether something may have
// been missed, and begins to read.
func (s *stream) start(ctx context.Context, questions *pgx.Conn, position string) error {
	name := s.log.config.Slot
	found, err := readSlot(ctx, questions, name)
	if err != nil {
		return err
	}
	if found != nil {
		if reason := found.wrong(questions.Config().Database); reason != "" {
			return follow.Setup("slot "+name, reason, otherSlot)
		}
		if err := s.free(ctx, questions, found); err != nil {
			return err
		}
	}
	switch {
	case found == nil:
		s.lost = "there was no replication slot " + name
		err = s.create(ctx)
	case found.lost():
		s.lost = "the server has forgotten the position of slot " + name + " (max_slot_wal_keep_size)"
		if err := pglogrepl.DropReplicationSlot(ctx, s.conn, name, pglogrepl.DropReplicationSlotOptions{}); err != nil {
			return err
		}
		err = s.create(ctx)
	default:
		var system pglogrepl.IdentifySystemResult
		if system, err = pglogrepl.IdentifySystem(ctx, s.conn); err == nil {
			s.begins, s.lost, err = compare(found.confirmed, position, system.XLogPos, name)
		}
	}
	if err != nil {
		return err
	}
	at, err := pglogrepl.ParseLSN(s.begins)
	if err != nil {
		return err
	}
	s.confirmed.Store(uint64(at))
	s.last = at
	// The server begins where the slot was confirmed.
	return pglogrepl.StartReplication(ctx, s.conn, name, 0, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", "publication_names '" + strings.ReplaceAll(quoteList(s.log.config.Publication), "'", "''") + "'"},
	})
}

// quoteList quotes a name in a list of names.
func quoteList(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func (s *stream) create(ctx context.Context) error {
	made, err := pglogrepl.CreateReplicationSlot(ctx, s.conn, s.log.config.Slot, "pgoutput", pglogrepl.CreateReplicationSlotOptions{
		Mode: pglogrepl.LogicalReplication, SnapshotAction: "NOEXPORT_SNAPSHOT",
	})
	s.begins = made.ConsistentPoint
	return err
}

// compare compares the position of a slot with that up to which Redis was told. The
// first must never be ahead: then somebody else has moved the slot, or Redis has lost
// what it knew. Nor may the second be ahead of the log: then the server has taken commits
// back, and what is cached may have seen them.
func compare(confirmed, position string, end pglogrepl.LSN, slot string) (begins, lost string, err error) {
	server, err := pglogrepl.ParseLSN(confirmed)
	if err != nil {
		return "", "", err
	}
	if position == "" {
		return confirmed, "Redis knows of no position that was told of", nil
	}
	told, err := pglogrepl.ParseLSN(position)
	if err != nil {
		return confirmed, fmt.Sprintf("the position that Redis knows is %q", position), nil
	}
	if server > told {
		return confirmed, fmt.Sprintf("slot %s is at %s, and was told of up to %s only: somebody else has moved it or made it anew", slot, confirmed, position), nil
	}
	if told > end {
		return confirmed, fmt.Sprintf("the log ends at %s, and was told of up to %s: the server was set back", end, position), nil
	}
	// What the server sends again is told again.
	return confirmed, "", nil
}

// free ends the connection of a follower that has lost the seat and still reads.
func (s *stream) free(ctx context.Context, questions *pgx.Conn, found *slot) error {
	for tries := 0; found != nil && found.active; tries++ {
		if found.application != s.log.application() {
			return follow.Setup("slot "+s.log.config.Slot, fmt.Sprintf("it is in use by %q (process %d)", found.application, found.pid),
				"give each follower's Prefix a Slot of its own")
		}
		if tries > 50 {
			return fmt.Errorf("slot %s is still read by process %d, which was told to end", s.log.config.Slot, found.pid)
		}
		if _, err := questions.Exec(ctx, `SELECT pg_terminate_backend($1)`, found.pid); err != nil {
			return fmt.Errorf("end process %d, which reads slot %s: %w", found.pid, s.log.config.Slot, err)
		}
		if err := background.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		var err error
		if found, err = readSlot(ctx, questions, s.log.config.Slot); err != nil {
			return err
		}
	}
	return nil
}

// stream is a connection that the server sends its log through.
type stream struct {
	log  *log
	conn *pgconn.PgConn

	begins, lost string
	relations    map[uint32]*relation

	confirmed atomic.Uint64 // what the server may forget
	last      pglogrepl.LSN // position that was returned last
	sent      time.Time     // when the server was told last
	told      uint64        // of what

	window      context.Context // of receiving, until it is asked again what to tell
	closeWindow context.CancelFunc
}

var _ follow.Stream = (*stream)(nil)

// Begins implements follow.Stream.
func (s *stream) Begins() (position, lost string) { return s.begins, s.lost }

// Confirm implements follow.Stream.
func (s *stream) Confirm(position string) {
	if at, err := pglogrepl.ParseLSN(position); err == nil {
		s.confirmed.Store(uint64(at))
	}
}

// Close implements follow.Stream. The server is told of the last position.
func (s *stream) Close() {
	s.endWindow()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if !s.sent.IsZero() {
		_ = s.status(ctx)
	}
	_ = s.conn.Close(ctx)
}

// status tells the server what it may forget.
func (s *stream) status(ctx context.Context) error {
	at := s.confirmed.Load()
	err := pglogrepl.SendStandbyStatusUpdate(ctx, s.conn, pglogrepl.StandbyStatusUpdate{WALWritePosition: pglogrepl.LSN(at)})
	s.sent, s.told = time.Now(), at
	return err
}

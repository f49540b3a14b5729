package mysql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	driver "github.com/go-sql-driver/mysql"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/follow"
)

const (
	// timeout bounds one question to the server.
	timeout = 10 * time.Second
	// heartbeat is how often a silent server says that it is there; it counts as gone
	// after three times as long.
	heartbeat = 5 * time.Second
	// recheckEvery is how often it is looked whether the settings are still right.
	recheckEvery = 30 * time.Second
	// eventsAhead is how many events are read ahead. One has 8 kB of rows, or one row.
	eventsAhead = 64
)

// place is a place in the log, such as log.000007:4711, as a number that grows.
type place struct {
	file string
	at   uint32
}

func (p place) String() string {
	if p.file == "" {
		return ""
	}
	return p.file + ":" + strconv.FormatUint(uint64(p.at), 10)
}

// id puts places in order, those of later files after those of earlier ones.
func (p place) id() uint64 {
	number, _ := strconv.ParseUint(p.file[strings.LastIndexByte(p.file, '.')+1:], 10, 32)
	return number<<32 | uint64(p.at)
}

func parsePlace(text string) (place, error) {
	at := strings.LastIndexByte(text, ':')
	if at <= 0 {
		return place{}, fmt.Errorf("%q is no position", text)
	}
	n, err := strconv.ParseUint(text[at+1:], 10, 32)
	if err != nil {
		return place{}, fmt.Errorf("%q is no position: %w", text, err)
	}
	return place{text[:at], uint32(n)}, nil
}

// log is a server's binary log.
type log struct {
	target   *follow.Target
	config   *driver.Config
	serverID uint32

	db      *sql.DB // for questions; nil before Check
	checked time.Time

	mu   sync.Mutex
	end  place  // where the log ended at the last look
	gone string // why the position that was asked for can't be had; set for the next Open
}

var _ follow.Log = (*log)(nil)

func newLog(t *follow.Target, c *driver.Config, serverID uint32) *log {
	if serverID == 0 {
		var raw [4]byte
		_, _ = rand.Read(raw[:]) // never fails
		serverID = 1<<30 | binary.BigEndian.Uint32(raw[:])>>2
	}
	return &log{target: t, config: c, serverID: serverID}
}

// Check implements follow.Log.
func (l *log) Check(ctx context.Context) (name, about string, err error) {
	l.Close()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if l.db, err = open(l.config); err != nil {
		return "", "", err
	}
	findings, err := examine(ctx, l.db)
	if err == nil {
		err = findings.Err()
	}
	if err != nil {
		return "", "", err
	}
	l.checked = time.Now()
	ours, err := catalog.New(conj.MySQL).Server(ctx, l.db)
	if err != nil {
		return "", "", err
	}
	theirs, err := l.target.Server(ctx)
	if err != nil {
		return "", "", err
	}
	if ours.Database != theirs.Database {
		return "", "", follow.Setup("DSN", "it is that of the database "+ours.Database, "the handle is connected to "+theirs.Database+": give the same server and database in both")
	}
	return "mysql " + ours.Database, "mariadb " + ours.Database, nil
}

// Close implements follow.Log.
func (l *log) Close() {
	if l.db != nil {
		_ = l.db.Close()
		l.db = nil
	}
}

// view is the end of the log as far as its transactions are visible.
type view struct{ end place }

// Look implements follow.Log. A transaction is in the log before the storage engine has
// committed it; these variables tell of the last one that was committed there, too.
func (l *log) Look(ctx context.Context) (follow.View, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if time.Since(l.checked) > recheckEvery {
		findings, err := examine(ctx, l.db)
		if err == nil {
			err = findings.Err()
		}
		if err != nil {
			return nil, err
		}
		l.checked = time.Now()
	}
	end, err := visible(ctx, l.db)
	if err != nil {
		return nil, err
	}
	return view{end}, l.moves(end)
}

// moves notes where the log ends. It never goes back.
func (l *log) moves(end place) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.end
	l.end = end
	if end.id() >= before.id() {
		return nil
	}
	// The server goes on sending the old log, which nobody writes to any more.
	l.gone = fmt.Sprintf("the log has ended at %s and ends at %s now: it was numbered anew (RESET MASTER), or is another one", before, end)
	return errors.New(l.gone)
}

func (l *log) setGone(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end, l.gone = place{}, reason
}

// takeGone returns why the position can't be had, once.
func (l *log) takeGone() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	reason := l.gone
	l.gone = ""
	return reason
}

func visible(ctx context.Context, db *sql.DB) (place, error) {
	status, err := pairs(ctx, db, `SHOW GLOBAL STATUS WHERE Variable_name IN ('Binlog_snapshot_file', 'Binlog_snapshot_position')`)
	if err != nil {
		return place{}, fmt.Errorf("ask for the visible end of the log: %w", err)
	}
	return parsePlace(status["binlog_snapshot_file"] + ":" + status["binlog_snapshot_position"])
}

// Shows implements follow.View.
func (v view) Shows(id uint64) bool { return id <= v.end.id() }

// End implements follow.View.
func (v view) End() uint64 { return v.end.id() }

// Behind implements follow.View: of earlier files it is not known how long they are.
func (v view) Behind(position string) int64 {
	at, err := parsePlace(position)
	if err != nil || at.id() > v.end.id() {
		return 0
	}
	if at.file == v.end.file {
		return int64(v.end.at - at.at)
	}
	return int64(v.end.at)
}

// Open implements follow.Log.
func (l *log) Open(ctx context.Context, position string) (follow.Stream, error) {
	lost := l.takeGone()
	at, err := parsePlace(position)
	switch {
	case lost != "":
	case position == "":
		lost = "Redis knows of no position that was told of"
	case err != nil:
		lost = fmt.Sprintf("the position that Redis knows is %q", position)
	}
	if lost != "" {
		if at, err = visible(ctx, l.db); err != nil {
			return nil, err
		}
	}
	host, port := l.config.Addr, uint16(0)
	if l.config.Net == "tcp" {
		var text string
		if host, text, err = net.SplitHostPort(l.config.Addr); err != nil {
			return nil, err
		}
		number, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return nil, err
		}
		port = uint16(number)
	}
	s := &stream{log: l, at: at, begins: at, lost: lost, maps: map[uint64]*table{}, tables: map[conj.TableName]*table{}}
	s.syncer = replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: l.serverID, Flavor: gomysql.MariaDBFlavor,
		Host: host, Port: port, User: l.config.User, Password: l.config.Passwd, TLSConfig: l.config.TLS,
		Charset: "utf8mb4", Logger: slog.New(slog.DiscardHandler),
		DisableRetrySync: true, HeartbeatPeriod: heartbeat, ReadTimeout: 3 * heartbeat,
		EventCacheCount: eventsAhead, FillZeroLogPos: true, VerifyChecksum: true,
		RowsEventDecodeFunc: decodeRows,
	})
	if s.events, err = s.syncer.StartSync(gomysql.Position{Name: at.file, Pos: at.at}); err != nil {
		s.Close()
		return nil, l.readError(err)
	}
	return s, nil
}

// decodeRows reads rows. Those that can't be read are left out: then any row of the
// table may have changed.
func decodeRows(e *replication.RowsEvent, data []byte) error {
	at, err := e.DecodeHeader(data)
	if err != nil {
		return err
	}
	if err := e.DecodeData(at, data); err != nil {
		e.Rows, e.SkippedColumns = nil, nil
	}
	return nil
}

// readError explains an error of reading the log. Where it says that the server doesn't
// have the position any more, the next Open begins at the end.
func (l *log) readError(err error) error {
	var answer *gomysql.MyError
	if !errors.As(err, &answer) {
		return fmt.Errorf("read the log: %w", err)
	}
	switch answer.Code {
	case gomysql.ER_MASTER_FATAL_ERROR_READING_BINLOG:
		l.setGone("the server does not have the position any more (binlog_expire_logs_seconds, PURGE BINARY LOGS, RESET MASTER): " + answer.Message)
	case gomysql.ER_ACCESS_DENIED_ERROR, gomysql.ER_SPECIFIC_ACCESS_DENIED_ERROR:
		return fmt.Errorf("%w: read the log: %w: GRANT REPLICATION SLAVE ON *.* TO the user of DSN", ErrSetup, err)
	}
	return fmt.Errorf("read the log: %w", err)
}

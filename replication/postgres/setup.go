package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
	"github.com/cacheplugin/cacheplugin/internal/follow"
)

// Finding is one thing that Examine has looked at.
type Finding = follow.Finding

// Findings are all of them.
type Findings = follow.Findings

// Examine looks whether a database can be followed: its settings, the user's rights, the
// publication, the slot and the tables. An error says that it could not be asked.
func Examine(ctx context.Context, c Config) (Findings, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	conn, err := connect(ctx, c.URL, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return examine(ctx, conn, c)
}

// SetReplicaIdentity has PostgreSQL write the old rows of tables to its log, in full:
// ALTER TABLE ... REPLICA IDENTITY FULL. Without it an UPDATE or DELETE of others drops
// all results of the table, unless these depend on single rows by the primary key alone.
// Models are structs, pointers to them, or names of tables. It needs the tables' owner.
func SetReplicaIdentity(db *gorm.DB, models ...any) error {
	for _, model := range models {
		name, ok := model.(string)
		if !ok {
			stmt := &gorm.Statement{DB: db}
			if err := stmt.Parse(model); err != nil {
				return fmt.Errorf("cacheplugin: replica identity of %T: %w", model, err)
			}
			name = stmt.Table
		}
		if err := db.Exec("ALTER TABLE " + dialect.QuoteTable(conj.PostgreSQL, dialect.SplitName(name)) + " REPLICA IDENTITY FULL").Error; err != nil {
			return fmt.Errorf("cacheplugin: replica identity of %s: %w", name, err)
		}
	}
	return nil
}

// connect connects; mode is that of replication, empty for an ordinary connection.
func connect(ctx context.Context, url, application string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	prepare(&config.Config, application)
	// Nothing is prepared: a replication connection can't, and no statement is repeated
	// by another.
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, setupError(err)
	}
	return conn, nil
}

// prepare sets what the text of values depends on.
func prepare(c *pgconn.Config, application string) {
	for name, value := range map[string]string{
		"client_encoding": "UTF8", "bytea_output": "hex", "search_path": "pg_catalog",
	} {
		c.RuntimeParams[name] = value
	}
	if application != "" {
		c.RuntimeParams["application_name"] = application
	}
}

// setupError explains errors that don't go away by themselves.
func setupError(err error) error {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return err
	}
	remedy := ""
	switch answer.Code {
	case "28000", "28P01":
		remedy = "correct the user and the password in URL, and let pg_hba.conf admit the user to the database"
	case "3D000":
		remedy = "correct the name of the database in URL"
	case "42501":
		remedy = "give the user of URL what it lacks: ALTER ROLE user REPLICATION, GRANT CONNECT ON DATABASE"
	case "53400":
		remedy = "raise max_replication_slots, or drop a slot that nobody uses (SELECT * FROM pg_replication_slots)"
	case "42704":
		remedy = "make the publication: CREATE PUBLICATION cacheplugin FOR ALL TABLES"
	case "55000", "58P01":
		remedy = "see docs/change-capture.md"
	default:
		return err
	}
	return fmt.Errorf("%w: %w: %s", ErrSetup, err, remedy)
}

const serverQuery = `
SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('wal_level'), pg_is_in_recovery(),
       current_setting('max_replication_slots')::int, current_setting('max_wal_senders')::int,
       COALESCE(current_setting('max_slot_wal_keep_size', true), '-1'),
       r.rolname::text, r.rolreplication OR r.rolsuper OR
         COALESCE((SELECT bool_or(pg_has_role(o.oid, 'MEMBER')) FROM pg_roles o WHERE o.rolname = 'rds_replication'), false)
FROM pg_roles r WHERE r.rolname = current_user`

// examine looks at everything.
func examine(ctx context.Context, conn *pgx.Conn, c Config) (Findings, error) {
	var f Findings
	var (
		number, slots, senders     int
		version, level, keep, user string
		recovery, mayReplicate     bool
	)
	if err := conn.QueryRow(ctx, serverQuery).Scan(&number, &version, &level, &recovery, &slots, &senders, &keep, &user, &mayReplicate); err != nil {
		return nil, fmt.Errorf("ask the server for its settings: %w", err)
	}
	state := func(ok bool) follow.State {
		if ok {
			return follow.OK
		}
		return follow.Problem
	}
	f.Add("version", state(number >= 130000), "use PostgreSQL 13 or newer", "PostgreSQL %s", version)
	f.Add("primary", state(!recovery), "give the primary in URL: a standby shows changes before others can see them", "%s", map[bool]string{true: "it is a standby", false: "yes"}[recovery])
	f.Add("wal_level", state(level == "logical"), "set wal_level = logical in postgresql.conf and restart the server", "%s", level)
	f.Add("max_replication_slots", state(slots > 0), "set max_replication_slots to 10, say, and restart the server", "%d", slots)
	f.Add("max_wal_senders", state(senders > 0), "set max_wal_senders to 10, say, and restart the server", "%d", senders)
	f.Add("user", state(mayReplicate), "ALTER ROLE "+dialect.Quote(conj.PostgreSQL, user)+" REPLICATION", "%s, with REPLICATION: %v", user, mayReplicate)
	published, err := examinePublication(ctx, conn, c)
	if err != nil {
		return nil, err
	}
	f = append(f, published...)
	if err := examineSlot(ctx, conn, c, keep, &f); err != nil {
		return nil, err
	}
	return f, examineIdentity(ctx, conn, &f)
}

const publicationQuery = `
SELECT puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate FROM pg_publication WHERE pubname = $1`

// missingQuery lists the tables that a publication lacks or filters. The partitions of
// a table are published with it, and it with them.
const missingQuery = `
WITH RECURSIVE published AS (
  SELECT c.oid, to_jsonb(p) ->> 'rowfilter' AS filter
  FROM pg_publication_tables p
  JOIN pg_namespace n ON n.nspname = p.schemaname JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
  WHERE p.pubname = $1
), whole AS (
  SELECT oid FROM published WHERE filter IS NULL
  UNION SELECT i.inhrelid FROM whole w JOIN pg_inherits i ON i.inhparent = w.oid
        JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
)
SELECT n.nspname::text || '.' || c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
  AND c.oid NOT IN (SELECT oid FROM whole)
ORDER BY 1`

func examinePublication(ctx context.Context, conn *pgx.Conn, c Config) (f Findings, err error) {
	create := "CREATE PUBLICATION " + dialect.Quote(conj.PostgreSQL, c.Publication) + " FOR ALL TABLES"
	var all, every bool
	err = conn.QueryRow(ctx, publicationQuery, c.Publication).Scan(&all, &every)
	if errors.Is(err, pgx.ErrNoRows) {
		f.Add("publication", follow.Problem, create+", or name another by Publication", "there is no publication %q", c.Publication)
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the publication: %w", err)
	}
	if !every {
		f.Add("publication", follow.Problem, "ALTER PUBLICATION "+dialect.Quote(conj.PostgreSQL, c.Publication)+" SET (publish = 'insert, update, delete, truncate')",
			"%s does not publish all of insert, update, delete and truncate", c.Publication)
		return f, nil
	}
	rows, err := conn.Query(ctx, missingQuery, c.Publication)
	if err != nil {
		return nil, fmt.Errorf("ask for the published tables: %w", err)
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("ask for the published tables: %w", err)
	}
	missing = slices.DeleteFunc(missing, func(table string) bool { return slices.Contains(c.Unpublished, table) })
	if len(missing) > 0 {
		f.Add("publication", follow.Problem, "publish them without a filter (ALTER PUBLICATION "+dialect.Quote(conj.PostgreSQL, c.Publication)+" ADD TABLE ..., or a publication FOR ALL TABLES), or list them in Unpublished if nothing of them is cached",
			"%s lacks %s", c.Publication, few(missing))
		return f, nil
	}
	f.Add("publication", follow.OK, "", "%s has all tables", c.Publication)
	return f, nil
}

// few names some of many.
func few(names []string) string {
	if len(names) > 10 {
		return strings.Join(names[:10], ", ") + fmt.Sprintf(" and %d more", len(names)-10)
	}
	return strings.Join(names, ", ")
}

// slot is a replication slot.
type slot struct {
	kind, plugin, database string
	status                 string // of what it retains
	confirmed              string
	active                 bool
	pid                    int
	application            string // of who uses it
	retained               int64  // bytes of the log
}

const slotQuery = `
SELECT s.slot_type, COALESCE(s.plugin::text, ''), COALESCE(s.database::text, ''), COALESCE(to_jsonb(s) ->> 'wal_status', ''),
       COALESCE(s.confirmed_flush_lsn::text, ''), s.active, COALESCE(s.active_pid, 0), COALESCE(a.application_name, ''),
       COALESCE(CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint END, 0)
FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
WHERE s.slot_name = $1`

// readSlot reads a slot; nil if there is none.
func readSlot(ctx context.Context, conn *pgx.Conn, name string) (*slot, error) {
	var s slot
	err := conn.QueryRow(ctx, slotQuery, name).Scan(&s.kind, &s.plugin, &s.database, &s.status, &s.confirmed, &s.active, &s.pid, &s.application, &s.retained)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the slot: %w", err)
	}
	return &s, nil
}

// lost reports whether the server has forgotten what the slot was to retain.
func (s *slot) lost() bool { return s.status == "lost" || s.confirmed == "" }

// wrong says why a slot can't be a follower's; empty if it can.
func (s *slot) wrong(database string) string {
	switch {
	case s.kind != "logical":
		return "it is a " + s.kind + " slot"
	case s.plugin != "pgoutput":
		return "its plugin is " + s.plugin + ", not pgoutput"
	case s.database != database:
		return "it is of the database " + s.database
	}
	return ""
}

const otherSlot = "name another slot by Slot (it is made if it is missing), or drop this one: SELECT pg_drop_replication_slot('...')"

func examineSlot(ctx context.Context, conn *pgx.Conn, c Config, keep string, f *Findings) error {
	s, err := readSlot(ctx, conn, c.Slot)
	if err != nil {
		return err
	}
	if s == nil {
		f.Add("slot", follow.Warning, "it is made by the first follower that runs, which drops everything that is cached", "there is no slot %q yet", c.Slot)
		return nil
	}
	if reason := s.wrong(conn.Config().Database); reason != "" {
		f.Add("slot", follow.Problem, otherSlot, "%s: %s", c.Slot, reason)
		return nil
	}
	switch {
	case s.lost():
		f.Add("slot", follow.Warning, "raise max_slot_wal_keep_size ("+keep+"): the next follower makes the slot anew and drops everything that is cached", "the server has forgotten the position of %s", c.Slot)
	case !s.active:
		f.Add("slot", follow.Warning, "start a follower, or drop the slot (SELECT pg_drop_replication_slot('"+c.Slot+"')): until then the server keeps its log, and the disk fills up",
			"nobody reads %s; it retains %d MB", c.Slot, s.retained>>20)
	default:
		f.Add("slot", follow.OK, "", "%s is read by %q; it retains %d MB", c.Slot, s.application, s.retained>>20)
	}
	if keep == "-1" {
		f.Add("max_slot_wal_keep_size", follow.Warning, "set it to what the disk can spare: a slot that goes beyond is lost, and everything cached is dropped, which is better than a full disk",
			"a slot that nobody reads fills the disk")
	} else {
		f.Add("max_slot_wal_keep_size", follow.OK, "", "%s", keep)
	}
	return nil
}

// identityQuery lists tables whose old rows are not in the log as a whole, and tables that
// are not in the log at all.
const identityQuery = `
SELECT n.nspname::text || '.' || c.relname::text, c.relpersistence = 'u'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence IN ('p', 'u') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
  AND (c.relpersistence = 'u' OR c.relreplident <> 'f')
ORDER BY 1`

func examineIdentity(ctx context.Context, conn *pgx.Conn, f *Findings) error {
	rows, err := conn.Query(ctx, identityQuery)
	if err != nil {
		return fmt.Errorf("ask for replica identities: %w", err)
	}
	var (
		name            string
		unlogged        bool
		narrow, outside []string
	)
	_, err = pgx.ForEachRow(rows, []any{&name, &unlogged}, func() error {
		if unlogged {
			outside = append(outside, name)
		} else {
			narrow = append(narrow, name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("ask for replica identities: %w", err)
	}
	if len(narrow) > 0 {
		f.Add("replica identity", follow.Warning, "ALTER TABLE ... REPLICA IDENTITY FULL where results depend on more than the key: else an UPDATE or DELETE of others drops all of the table's", "not FULL: %s", few(narrow))
	} else {
		f.Add("replica identity", follow.OK, "", "FULL for all tables")
	}
	if len(outside) > 0 {
		f.Add("unlogged tables", follow.Warning, "what others write to them is not in the log: don't cache them, or ALTER TABLE ... SET LOGGED", "%s", few(outside))
	}
	return nil
}

package cost

import (
	"context"
	"database/sql"
	"sync"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
)

// statements is a GORM plugin that stands before a handle's pool and remembers
// what is sent to the database.
type statements struct {
	mu    sync.Mutex
	texts []string
}

func (s *statements) Name() string { return "statements" }

func (s *statements) Initialize(db *gorm.DB) error {
	db.ConnPool = &notedPool{noted{db.ConnPool, s}}
	db.Statement.ConnPool = db.ConnPool
	return nil
}

// take returns the texts since the last call.
func (s *statements) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	texts := s.texts
	s.texts = nil
	return texts
}

func (s *statements) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, text)
}

// noted passes statements on and notes them.
type noted struct {
	gorm.ConnPool
	by *statements
}

func (n noted) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	n.by.note(query)
	return n.ConnPool.ExecContext(ctx, query, args...)
}

func (n noted) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	n.by.note(query)
	return n.ConnPool.QueryContext(ctx, query, args...)
}

func (n noted) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	n.by.note(query)
	return n.ConnPool.QueryRowContext(ctx, query, args...)
}

type notedPool struct{ noted }

func (p *notedPool) GetDBConn() (*sql.DB, error) { return p.ConnPool.(*sql.DB), nil }

func (p *notedPool) BeginTx(ctx context.Context, o *sql.TxOptions) (gorm.ConnPool, error) {
	tx, err := p.ConnPool.(*sql.DB).BeginTx(ctx, o)
	if err != nil {
		return nil, err
	}
	return &notedTx{noted{tx, p.by}, tx}, nil
}

type notedTx struct {
	noted
	*sql.Tx
}

func (t *notedTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.noted.ExecContext(ctx, query, args...)
}

func (t *notedTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.noted.QueryContext(ctx, query, args...)
}

func (t *notedTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return t.noted.QueryRowContext(ctx, query, args...)
}

func (t *notedTx) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	return t.Tx.PrepareContext(ctx, query)
}

// watched are options with a plugin that notes what is sent.
func watched(o fixture.Options) (fixture.Options, *statements) {
	s := &statements{}
	o.Gorm.Plugins = map[string]gorm.Plugin{"statements": s}
	return o, s
}

package txn

import "gorm.io/gorm"

// Where says what stands behind a Statement.ConnPool.
type Where uint8

const (
	// Foreign is anything whose transactions are not seen: a *sql.Conn, a
	// *sql.Tx of the user's, a session made before Install, a pool on which
	// BEGIN was sent as text. It is the answer in doubt.
	Foreign Where = iota
	// Autocommit is a wrapped pool: each statement commits by itself.
	Autocommit
	// InTx is a transaction begun through a wrapped pool.
	InTx
)

// String says it in words.
func (w Where) String() string {
	switch w {
	case Autocommit:
		return "autocommit"
	case InTx:
		return "in transaction"
	}
	return "foreign"
}

// Wrapper is a pool that stands before another one, such as a pool that
// replaces Statement.ConnPool during one callback.
type Wrapper interface {
	Unwrap() gorm.ConnPool
}

// maxLayers bounds Of where wrappers form a cycle. GORM's own nest three deep.
const maxLayers = 32

// Of looks through GORM's prepared statements, and through every Wrapper, for
// what stands behind a connection pool. The transaction is nil unless [InTx].
func Of(pool gorm.ConnPool) (Where, *Tx) {
	for range maxLayers {
		switch p := pool.(type) {
		case *Tx:
			if p == nil {
				return Foreign, nil
			}
			return InTx, p
		case *Pool:
			if p == nil || !p.autocommit() {
				return Foreign, nil
			}
			return Autocommit, nil
		case *gorm.PreparedStmtTX:
			if p == nil {
				return Foreign, nil
			}
			pool = p.Tx
		case *gorm.PreparedStmtDB:
			if p == nil {
				return Foreign, nil
			}
			pool = p.ConnPool
		case Wrapper:
			pool = p.Unwrap()
		default:
			return Foreign, nil
		}
	}
	return Foreign, nil
}

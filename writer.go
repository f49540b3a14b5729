package cacheplugin

import (
	"context"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/txn"
)

// writer returns the name of a stored function that a text calls and that may
// write tables; empty if there is none. Most databases have no such function,
// and then the text isn't looked at.
func (e *engine) writer(ctx context.Context, pool gorm.ConnPool, text string) string {
	_, tx := txn.Of(pool)
	if tx != nil && tx.Err() != nil {
		return ""
	}
	writers, err := e.database(pool).catalog.Writers(ctx, pool, keep(tx))
	if err != nil {
		e.failed(ctx, "the functions that write could not be read from the catalog", "", err)
		return ""
	}
	if len(writers) == 0 {
		return ""
	}
	names, ok := conj.Calls(e.dialect, text)
	if !ok {
		low := strings.ToLower(text)
		for name := range writers {
			if strings.Contains(low, name) {
				return name
			}
		}
	}
	for _, name := range names {
		if writers[name] {
			return name
		}
	}
	return ""
}

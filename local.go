package cacheplugin

import (
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/store"
)

// maxLocal is the number of results that a process keeps for profiles with
// LocalGet.
const maxLocal = 10_000

// local keeps encoded results of profiles with LocalGet in the process. Nothing
// but the process's own writes and the timeout drops them.
type local struct {
	mu      sync.Mutex
	entries map[store.EntryKey]localEntry
	byTable map[string]map[store.EntryKey]struct{} // by the table's ID
	drops   uint64                                 // counted, so that a result read before one is not kept after it
	now     func() time.Time
}

type localEntry struct {
	payload []byte
	tables  []string
	expires time.Time
}

func newLocal() *local {
	return &local{
		entries: map[store.EntryKey]localEntry{},
		byTable: map[string]map[store.EntryKey]struct{}{},
		now:     time.Now,
	}
}

func (l *local) get(key store.EntryKey) ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[key]
	if !ok {
		return nil, false
	}
	if !l.now().Before(e.expires) {
		l.removeLocked(key)
		return nil, false
	}
	return e.payload, true
}

// mark is to be taken before a result is looked up, and given to put.
func (l *local) mark() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.drops
}

// put keeps a result, unless something was dropped since the mark. Where there
// are too many, any other gives way.
func (l *local) put(mark uint64, key store.EntryKey, payload []byte, tables []string, timeout time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if mark != l.drops {
		return
	}
	l.removeLocked(key)
	if len(l.entries) >= maxLocal {
		for other := range l.entries {
			l.removeLocked(other)
			break
		}
	}
	l.entries[key] = localEntry{payload: payload, tables: tables, expires: l.now().Add(timeout)}
	for _, table := range tables {
		if l.byTable[table] == nil {
			l.byTable[table] = map[store.EntryKey]struct{}{}
		}
		l.byTable[table][key] = struct{}{}
	}
}

func (l *local) removeLocked(key store.EntryKey) {
	for _, table := range l.entries[key].tables {
		delete(l.byTable[table], key)
		if len(l.byTable[table]) == 0 {
			delete(l.byTable, table)
		}
	}
	delete(l.entries, key)
}

// drop forgets the results that read a table.
func (l *local) drop(table string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drops++
	for key := range l.byTable[table] {
		l.removeLocked(key)
	}
}

func (l *local) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drops++
	clear(l.entries)
	clear(l.byTable)
}

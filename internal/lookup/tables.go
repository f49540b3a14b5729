package lookup

import "context"

// tellTables tells OnTables, once for each handle, of the tables that are there
// when the handle is read for the first time: programs migrate between db.Use and
// that. The migrator's own queries don't count, and a transaction is left alone,
// which an error would end.
func (h *Handle) tellTables(ctx context.Context, q *Query) {
	if h.OnTables == nil || h.tablesTold.Load() || q.Streams || q.tx != nil || h.tablesTold.Swap(true) {
		return
	}
	names, err := h.databases.Of(q.Pool).Catalog.Names(ctx, q.Pool)
	if err != nil {
		return // it is about hints only
	}
	h.OnTables(ctx, q.DB.NamingStrategy, names)
}

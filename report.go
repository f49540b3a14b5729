package cacheplugin

import (
	"cmp"
	"slices"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/shapes"
)

// Report is what this process's cache has done since it was started.
type Report struct {
	// Since is when the plugin was started, and At when the report was made.
	Since, At time.Time
	// Stats are the plugin's counters.
	Stats Stats
	// Shapes are the queries by their shapes, the most used first. Beyond a thousand
	// the least used are folded into one.
	Shapes []ShapeReport
	// Tables are the tables that this process has invalidated, by name; "*" stands
	// for everything.
	Tables []TableReport
}

// ShapeReport is what became of the queries of one shape: of texts that differ in
// their values and in the lengths of their lists only, and of one operation.
type ShapeReport struct {
	// ID names the shape, as Event.Shape does. It is the same in all processes.
	ID string
	// Text is the query's text, its values left out, or the name of a computed value.
	Text string
	// Op is the operation such as "fetch"; "none" if it is not known.
	Op string
	// Table is the table whose profile applies.
	Table string

	// Hits, Misses, Stores and Refused count as those of Stats do, and Calls is the
	// sum of the hits and misses.
	Calls, Hits, NearHits, Misses, Stores, Refused int64
	// Skips are the queries that were not looked up or not stored, by reason.
	Skips map[string]int64
	// Rows and Bytes are those of a stored result, on average.
	Rows, Bytes int64

	// HitTime is what a hit takes, of which one in sixteen is timed; without an
	// Observer's own work. DatabaseTime is what the database takes for a miss, until
	// the last row is read. Both are averages, and zero if not known.
	HitTime, DatabaseTime time.Duration
	// Saved is the time that the hits have saved: it is negative where the database
	// is faster than the cache.
	Saved time.Duration

	// Dropped counts results that this process had stored and did not find when it
	// asked for them again, before their timeout. DroppedInVain are those of them of
	// which the result that was read next was the same. DroppedWhole are those that
	// went with their whole table, as far as this process has written it. The last
	// few thousand results are known.
	Dropped, DroppedInVain, DroppedWhole int64
	// Causes are what has probably dropped them: the last write of one of their tables
	// by this process. The most frequent comes first.
	Causes []DropCause

	// Advice says what to do about a shape for which the cache does nothing; empty if
	// there is nothing to say.
	Advice string
}

// DropCause is what has dropped results.
type DropCause struct {
	// Table is the table that was written. It is empty where no write of this
	// process explains the loss: another process has written, or Redis needed the
	// memory.
	Table string
	// Writer is the shape of the statement; empty for invalidations by hand.
	Writer string
	// Whole says that the table was dropped whole, and Why says why.
	Whole bool
	Why   string
	// Dropped is how many results it has dropped.
	Dropped int64
}

// TableReport is what writes to one table have dropped.
type TableReport struct {
	// Table is the table as invalidations name it: with its schema or database.
	Table string
	// Narrow and Whole count invalidations of rows, and of the whole table. One that
	// commits several statements counts as one.
	Narrow, Whole int64
	// Dropped are the results that were dropped, of which a table dropped whole
	// counts as one.
	Dropped int64
	// Reasons say why the table was dropped whole, and Writers which statements, by
	// their shapes, have invalidated it.
	Reasons, Writers map[string]int64
}

// Report returns what the cache has done in this process, by shapes of queries and
// by tables.
func (p *Plugin) Report() Report {
	if p.shapes == nil {
		return Report{At: time.Now()}
	}
	r := Report{Since: p.since, At: time.Now(), Stats: p.Stats()}
	for _, c := range p.shapes.Counts() {
		r.Shapes = append(r.Shapes, shapeReport(c))
	}
	for _, t := range p.shapes.Tables() {
		r.Tables = append(r.Tables, TableReport(t))
	}
	return r
}

func shapeReport(c shapes.Counts) ShapeReport {
	r := ShapeReport{
		ID: c.ID, Text: c.Text, Op: c.Op.String(), Table: c.Table,
		Calls: c.Hits + c.Misses, Hits: c.Hits, NearHits: c.NearHits, Misses: c.Misses, Stores: c.Stores, Refused: c.Refused,
		Skips: c.Skips, HitTime: c.HitTime, DatabaseTime: c.DatabaseTime,
		Dropped: c.Dropped, DroppedInVain: c.DroppedInVain, DroppedWhole: c.DroppedWhole, Advice: c.Advice(),
	}
	if c.Stores > 0 {
		r.Rows, r.Bytes = c.Rows/c.Stores, c.Bytes/c.Stores
	}
	if c.HitTime > 0 && c.DatabaseTime > 0 {
		r.Saved = time.Duration(c.Hits) * (c.DatabaseTime - c.HitTime)
	}
	for cause, n := range c.Causes {
		r.Causes = append(r.Causes, DropCause{Table: cause.Table, Writer: cause.Writer, Whole: cause.Whole, Why: cause.Why, Dropped: n})
	}
	slices.SortFunc(r.Causes, func(a, b DropCause) int {
		return cmp.Or(cmp.Compare(b.Dropped, a.Dropped), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Writer, b.Writer), cmp.Compare(a.Why, b.Why))
	})
	return r
}

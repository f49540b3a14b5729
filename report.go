package cacheplugin

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/shapes"
)

// Report is what the cache has done since its processes were started.
type Report struct {
	// Since is when the first of the processes was started, and At when the report
	// was made.
	Since, At time.Time
	// Processes are those whose numbers are in the report, this one first.
	Processes []ProcessReport
	// Stats are the sums of their counters.
	Stats Stats
	// Shapes are the queries by their shapes, the most used first. The least used
	// are folded into one: of this process beyond a thousand, of others beyond 200.
	Shapes []ShapeReport
	// Tables are the tables that were invalidated, by name; "*" stands for
	// everything. Of other processes they are the 200 that were most often.
	Tables []TableReport
}

// ProcessReport is a process, or one of several plugins in it.
type ProcessReport struct {
	// ID tells processes apart. It is random.
	ID string
	// Host, Program and PID say which one it is, as the operating system has it.
	Host, Program string
	PID           int
	// Since is when the plugin was started, and At when it gave its numbers.
	Since, At time.Time
	// Stats are its counters.
	Stats Stats
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

	// Dropped counts results that a process had stored and did not find when it
	// asked for them again, before their timeout. DroppedInVain are those of them of
	// which the result that was read next was the same. DroppedWhole are those that
	// went with their whole table, as far as that process has written it. Each process
	// knows its last few thousand results.
	Dropped, DroppedInVain, DroppedWhole int64
	// Causes are what has probably dropped them: the last write of one of their tables
	// by the same process. The most frequent comes first.
	Causes []DropCause

	// Advice says what to do about a shape for which the cache does nothing; empty if
	// there is nothing to say.
	Advice string
}

// DropCause is what has dropped results.
type DropCause struct {
	// Table is the table that was written. It is empty where no write of the process
	// explains the loss: another process has written, or Redis needed the memory.
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

// Report returns what the cache has done, by shapes of queries and by tables: the
// numbers of this process as they are now, and those that the other processes of the
// Prefix have published (Config.ReportEvery). When Redis can't be asked for these, it
// returns this process's numbers together with the error.
func (p *Plugin) Report(ctx context.Context) (Report, error) {
	p.mu.Lock()
	started := p.started
	p.mu.Unlock()
	if !started {
		return Report{At: time.Now()}, nil
	}
	own := p.publication()
	others, err := p.published(ctx)
	return merge(append([]publication{own}, others...)), err
}

// merge adds up what processes tell.
func merge(list []publication) Report {
	r := Report{Since: list[0].Process.Since, At: time.Now()}
	var sum shapes.Snapshot
	for _, one := range list {
		r.Processes = append(r.Processes, one.Process)
		r.Stats = r.Stats.plus(one.Process.Stats)
		if one.Process.Since.Before(r.Since) {
			r.Since = one.Process.Since
		}
		sum = sum.Add(one.Numbers)
	}
	for _, c := range sum.Shapes {
		r.Shapes = append(r.Shapes, shapeReport(c))
	}
	for _, t := range sum.Tables {
		r.Tables = append(r.Tables, TableReport(t))
	}
	return r
}

func shapeReport(c shapes.Counts) ShapeReport {
	r := ShapeReport{
		ID: c.ID, Text: c.Text, Op: c.Op.String(), Table: c.Table,
		Calls: c.Hits + c.Misses, Hits: c.Hits, NearHits: c.NearHits, Misses: c.Misses, Stores: c.Stores, Refused: c.Refused,
		Skips: c.Skips, Rows: average(c.Rows, c.Stores), Bytes: average(c.Bytes, c.Stores),
		HitTime: average(c.HitTime, c.TimedHits), DatabaseTime: average(c.DatabaseTime, c.Asked),
		Dropped: c.Dropped, DroppedInVain: c.DroppedInVain, DroppedWhole: c.DroppedWhole, Advice: c.Advice(),
	}
	if r.HitTime > 0 && r.DatabaseTime > 0 {
		r.Saved = time.Duration(r.Hits) * (r.DatabaseTime - r.HitTime)
	}
	for _, d := range c.Causes {
		r.Causes = append(r.Causes, DropCause{Table: d.Table, Writer: d.Writer, Whole: d.Whole, Why: d.Why, Dropped: d.Dropped})
	}
	return r
}

// average is zero of nothing.
func average[T ~int64](sum T, n int64) T {
	if n == 0 {
		return 0
	}
	return sum / T(n)
}

const (
	// publishedMost bounds the shapes, and the tables, that a process publishes: what
	// it sends stays below some ten kilobytes.
	publishedMost = 200
	// publishedFormat is raised when publication changes: others are left out.
	publishedFormat = 1
	// publishedFor is how many of its intervals a process is listed without a sign.
	publishedFor = 6
)

// publication is what a process tells the others of itself.
type publication struct {
	Format  int
	Process ProcessReport
	Numbers shapes.Snapshot
}

// newProcess describes this process.
func newProcess() ProcessReport {
	host, _ := os.Hostname() // empty if it has none
	return ProcessReport{ID: rand.Text(), Host: host, Program: filepath.Base(os.Args[0]), PID: os.Getpid(), Since: time.Now()}
}

// publication returns what there is to tell now.
func (p *Plugin) publication() publication {
	process := p.process
	process.At, process.Stats = time.Now(), p.Stats()
	return publication{Format: publishedFormat, Process: process, Numbers: p.shapes.Snapshot()}
}

// publishRegularly publishes until the plugin is closed. A process is not held up by
// it, and others lose nothing but its numbers.
func (p *Plugin) publishRegularly(ctx context.Context) {
	ticker := time.NewTicker(p.config.ReportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := p.publish(ctx); err != nil && ctx.Err() == nil {
			p.report.WarnOnce(ctx, "publish", "the numbers of this process can't be published; Report of other processes lacks them", "error", err)
		}
	}
}

func (p *Plugin) publish(ctx context.Context) error {
	now := p.publication()
	now.Numbers = now.Numbers.Head(publishedMost)
	payload, err := now.encode()
	if err != nil {
		return err
	}
	// So that a pause of the process, such as a laptop's, is not its end.
	life := max(publishedFor*p.config.ReportEvery, time.Minute)
	return p.namespaces.Home().Store.Publish(ctx, now.Process.ID, payload, life)
}

// published returns what other processes have told, those that were started first
// first.
func (p *Plugin) published(ctx context.Context) ([]publication, error) {
	all, err := p.namespaces.Home().Store.Published(ctx)
	if err != nil {
		return nil, fmt.Errorf("cacheplugin: the numbers of other processes are not known: %w", err)
	}
	delete(all, p.process.ID)
	var list []publication
	for name, payload := range all {
		one, err := decodePublication(payload)
		switch {
		case errors.Is(err, errFormat): // of another release
		case err != nil:
			return nil, fmt.Errorf("cacheplugin: the numbers of process %s can't be read: %w", name, err)
		default:
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b publication) int {
		if d := a.Process.Since.Compare(b.Process.Since); d != 0 {
			return d
		}
		return strings.Compare(a.Process.ID, b.Process.ID)
	})
	return list, nil
}

// encode compresses: texts repeat each other.
func (p publication) encode() ([]byte, error) {
	var payload bytes.Buffer
	w := gzip.NewWriter(&payload)
	if err := errors.Join(json.NewEncoder(w).Encode(p), w.Close()); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return payload.Bytes(), nil
}

// errFormat says that a publication is of a release with another format.
var errFormat = errors.New("another format")

func decodePublication(payload []byte) (p publication, err error) {
	r, err := gzip.NewReader(bytes.NewReader(payload))
	if err != nil {
		return p, fmt.Errorf("decompress: %w", err)
	}
	var format struct{ Format int }
	var raw json.RawMessage
	if err = json.NewDecoder(r).Decode(&raw); err == nil {
		err = json.Unmarshal(raw, &format)
	}
	switch {
	case err != nil:
		return p, fmt.Errorf("decode: %w", err)
	case format.Format != publishedFormat:
		return p, errFormat
	}
	if err = json.Unmarshal(raw, &p); err != nil {
		return p, fmt.Errorf("decode: %w", err)
	}
	return p, nil
}

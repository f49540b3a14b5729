package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/cacheplugin/cacheplugin/checker/internal/chaos"
	"github.com/cacheplugin/cacheplugin/checker/internal/rules"
)

// report collects what the cells have shown.
type report struct {
	options options
	out     io.Writer
	records *os.File
	summary summary
	rows    []string
	stories []string
	reads   int64
	failed  int
}

func newReport(o options, out io.Writer) (*report, error) {
	r := &report{options: o, out: out}
	if o.records != "" {
		f, err := os.Create(o.records)
		if err != nil {
			return nil, fmt.Errorf("-json: %w", err)
		}
		r.records = f
	}
	return r, nil
}

// record is a cell's line of JSON. Times are in milliseconds.
type record struct {
	Database, Mode, Consistency, Fault string
	Seed                               uint64
	Seconds                            float64
	Reads, Hits                        int64
	Commits, Orphans, Faults           int
	OlderThanTold, OlderThanReturned   int64
	OlderThanCommitted, Never, Torn    int64
	LongestMS, P99MS                   float64 // beyond the promise
	LongestCommittedMS                 float64 // beyond what was committed
	FirstFreshMS, LastStaleMS          float64
	FollowedCommits                    int64   // of which followers have told
	LagP99MS, LagLongestMS             float64 // how long after their return
	Refused, Busy, Fenced, Queued      int64
	Errors                             int64
	Porcupine                          rules.Registers
	Unexpected                         []string `json:",omitempty"`
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func newRecord(r *chaos.Result) record {
	v := r.Verdict
	promised := &v.ByGrade[r.Cell.Promised()]
	return record{
		Database: r.Cell.Database, Mode: r.Cell.Mode.String(), Consistency: r.Cell.Consistency.String(), Fault: r.Cell.Fault.Name,
		Seed: r.Cell.Seed, Seconds: r.Elapsed.Seconds(), Reads: v.Reads, Hits: v.Hits,
		Commits: r.Commits, Orphans: r.Orphans, Faults: r.Faults,
		OlderThanTold: v.ByGrade[rules.Told].Reads, OlderThanReturned: v.ByGrade[rules.Returned].Reads,
		OlderThanCommitted: v.ByGrade[rules.Committed].Reads, Never: v.Never, Torn: v.Torn,
		LongestMS: ms(promised.Longest), P99MS: ms(promised.P99()), LongestCommittedMS: ms(v.ByGrade[rules.Committed].Longest),
		FirstFreshMS: ms(v.FirstFresh), LastStaleMS: ms(v.LastStale),
		FollowedCommits: r.Lag.Reads, LagP99MS: ms(r.Lag.P99()), LagLongestMS: ms(r.Lag.Longest),
		Refused: r.Stats.Plugin.Refused, Busy: r.Stats.Busy, Fenced: r.Stats.Fenced, Queued: r.Stats.Plugin.Queued, Errors: r.Stats.Plugin.Errors,
		Porcupine: r.Registers, Unexpected: r.Unexpected(),
	}
}

// heads are the table's columns.
var heads = []string{
	"fault", "database", "mode", "consistency", "reads", "hits", "commits", "faults", "stale", "longest / p99 ms",
	"older than the database", "longest ms", "fresh after a kill ms", "refused", "busy", "fenced", "queued", "",
}

// add takes a cell's result in. An error is one of the report's own.
func (r *report) add(c chaos.Cell, result *chaos.Result, problem error) error {
	if problem != nil {
		fmt.Fprintln(r.out, problem)
		if !errors.Is(problem, errSkipped) {
			r.failed++
		}
		r.rows = append(r.rows, row(c.Fault.Name, c.Database, c.Mode, c.Consistency, problem.Error()))
		return nil
	}
	rec := newRecord(result)
	r.reads += rec.Reads
	stale := result.Verdict.Broken(c.Promised())
	r.summary.add(c.Fault, rec, stale)
	verdict := "as expected"
	switch {
	case len(rec.Unexpected) > 0:
		verdict = "**" + strings.Join(rec.Unexpected, "; ") + "**"
		r.failed++
	case c.Fault.Control():
		verdict = "found, as it must be"
	case stale > 0:
		verdict = "permitted: " + c.Fault.Why
	}
	fmt.Fprintf(r.out, "%8d reads, %2.0f %% hits, %5d commits, %4d faults, %5d stale, %5d older than the database; %s (%.0f reads/s, judged in %s, porcupine: %s)\n",
		rec.Reads, percent(rec.Hits, rec.Reads), rec.Commits, rec.Faults, stale, rec.OlderThanCommitted, strings.Trim(verdict, "*"),
		float64(rec.Reads)/rec.Seconds, result.Judging.Round(time.Millisecond), rec.Porcupine.Opinion)
	fresh := "-"
	if rec.FirstFreshMS > 0 {
		fresh = fmt.Sprintf("%.0f, last old one %.0f", rec.FirstFreshMS, rec.LastStaleMS)
	}
	r.rows = append(r.rows, row(c.Fault.Name, rec.Database, rec.Mode, rec.Consistency, rec.Reads, fmt.Sprintf("%.0f %%", percent(rec.Hits, rec.Reads)),
		rec.Commits, rec.Faults, stale, lateness(stale, rec.LongestMS, rec.P99MS), rec.OlderThanCommitted, fmt.Sprintf("%.0f", rec.LongestCommittedMS),
		fresh, rec.Refused, rec.Busy, rec.Fenced, rec.Queued, verdict))
	if stale > 0 && (len(rec.Unexpected) > 0 || c.Fault.Control()) {
		for _, story := range result.Stories {
			fmt.Fprint(r.out, story, "\n")
			r.stories = append(r.stories, fmt.Sprintf("%s, seed %d:\n\n```\n%s```\n", c.Label(), c.Seed, story))
		}
	}
	if r.records == nil {
		return nil
	}
	if err := json.NewEncoder(r.records).Encode(rec); err != nil {
		return fmt.Errorf("-json: %w", err)
	}
	return nil
}

func lateness(n int64, longest, p99 float64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f / %.1f", longest, p99)
}

func percent(part, whole int64) float64 { return 100 * float64(part) / float64(max(1, whole)) }

func row(cells ...any) string {
	var texts []string
	for _, c := range cells {
		texts = append(texts, fmt.Sprint(c))
	}
	return "| " + strings.Join(texts, " | ") + " |"
}

// end writes the table and returns the exit code.
func (r *report) end() (int, error) {
	if r.records != nil {
		if err := r.records.Close(); err != nil {
			return 2, fmt.Errorf("-json: %w", err)
		}
	}
	fmt.Fprintf(r.out, "%d reads checked in %d cells, seed %d: %d cells are not as expected\n", r.reads, len(r.rows), r.options.cell.Seed, r.failed)
	if r.options.report != "" {
		var b strings.Builder
		fmt.Fprintf(&b, "%d reads checked in %d cells, seed %d; %d cells are not as expected.\n\n", r.reads, len(r.rows), r.options.cell.Seed, r.failed)
		b.WriteString(r.summary.String() + "\n")
		columns := make([]any, len(heads))
		for i, h := range heads {
			columns[i] = h
		}
		b.WriteString(row(columns...) + "\n|" + strings.Repeat("---|", len(heads)) + "\n" + strings.Join(r.rows, "\n") + "\n")
		if len(r.stories) > 0 {
			b.WriteString("\n" + strings.Join(r.stories, "\n"))
		}
		if err := os.WriteFile(r.options.report, []byte(b.String()), 0o644); err != nil {
			return 2, fmt.Errorf("-report: %w", err)
		}
	}
	if r.failed > 0 {
		return 1, nil
	}
	return 0, nil
}

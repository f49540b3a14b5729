package main

import (
	"fmt"
	"strings"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/checker/internal/chaos"
)

// summary is the report's short table: a line for each fault, all databases and
// modes together.
type summary struct {
	order []string
	lines map[string]*line
}

type line struct {
	what        string
	reads, hits int64
	faults      int
	stale       map[string]int64   // by consistency
	longest     map[string]float64 // of these, beyond the promise, ms
	seen        map[string]bool
	older       int64   // than the database, under Returned
	oldest      float64 // of these, ms
	why         string
}

func (s *summary) add(f chaos.Fault, r record, stale int64) {
	l := s.lines[f.Name]
	if l == nil {
		l = &line{what: f.What, why: f.Why, stale: map[string]int64{}, longest: map[string]float64{}, seen: map[string]bool{}}
		if s.lines == nil {
			s.lines = map[string]*line{}
		}
		s.lines[f.Name] = l
		s.order = append(s.order, f.Name)
	}
	l.reads += r.Reads
	l.hits += r.Hits
	l.faults += r.Faults
	l.seen[r.Consistency] = true
	l.stale[r.Consistency] += stale
	l.longest[r.Consistency] = max(l.longest[r.Consistency], r.LongestMS)
	if r.Consistency == cacheplugin.Returned.String() {
		l.older += r.OlderThanCommitted
		l.oldest = max(l.oldest, r.LongestCommittedMS)
	}
}

// String is the table as Markdown.
func (s *summary) String() string {
	var b strings.Builder
	b.WriteString("| what is done | times | reads | hits | stale under `Returned` | older than the database there, longest | stale under `Strict` |\n|---|---|---|---|---|---|---|\n")
	for _, name := range s.order {
		l := s.lines[name]
		older := "-"
		if l.seen[cacheplugin.Returned.String()] {
			older = fmt.Sprintf("%d, %.0f ms", l.older, l.oldest)
		}
		b.WriteString(row(l.what, l.faults, l.reads, fmt.Sprintf("%.0f %%", percent(l.hits, l.reads)),
			l.of(cacheplugin.Returned), older, l.of(cacheplugin.Strict)) + "\n")
	}
	return b.String()
}

// of is the cell of a grade.
func (l *line) of(c cacheplugin.Consistency) string {
	name := c.String()
	switch {
	case !l.seen[name]:
		return "-"
	case l.stale[name] == 0:
		return "0"
	}
	return fmt.Sprintf("%d, up to %.0f ms: %s", l.stale[name], l.longest[name], l.why)
}

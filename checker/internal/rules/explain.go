package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cacheplugin/cacheplugin/checker/internal/history"
)

// Mark is something else that happened, for Explain: a fault.
type Mark struct {
	At   int64
	Text string
}

// Explain tells in which order things happened around a wrong read: the
// look-up that brought the answer into the cache, the commits of the row, and
// the marks. It goes through the readers' files once.
func (x *Index) Explain(w Wrong, files []string, marks []Mark) (string, error) {
	type event struct {
		at   int64
		text string
	}
	events := []event{{w.Read.Start, fmt.Sprintf("%s asks for %s, %s: %s; %s", w.Client, describe(&w.Read), w.Read.Source, show(w.Read.States), w.Text)}}
	if w.Read.Kind.Counts() {
		events[0].text += fmt.Sprintf(", got %d", w.Read.Count)
	}
	var (
		fill history.Record
		by   string
	)
	for _, file := range files {
		err := history.Read(file, func(r *history.Record) error {
			same := r.Kind == w.Read.Kind && r.A == w.Read.A && r.B == w.Read.B && r.Count == w.Read.Count
			if same && r.Source == history.Stored && r.Start < w.Read.Start && r.Start > fill.Start && slices.Equal(r.States, w.Read.States) {
				fill, by = *r, ClientOf(file)
				fill.States = nil
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	from := w.Read.Start - 100e6
	if w.Since > 0 {
		from = w.Since - 5e6
	}
	if by != "" {
		from = min(from, fill.Start)
		events = append(events,
			event{fill.Start, by + " looks the same up, misses, and asks the database"},
			event{fill.End, by + " has stored what it got"})
	}
	for _, c := range slices.Concat(x.items, x.groups) {
		if c == nil || !w.Read.Kind.Counts() && c.Row != w.Row {
			continue
		}
		for i, v := range c.versions[1:] {
			if w.Read.Kind.Counts() && !slices.Contains(c.versions[i].touches(v.State), w.Read.A) {
				continue
			}
			what := fmt.Sprintf("%s %d version %d (%s)", c.Table, c.ID, v.Version, place(v.State))
			for _, e := range []event{
				{v.began, v.client + " sends COMMIT of " + what},
				{v.commit.done, v.client + " has its answer, and is about to invalidate " + what},
				{v.back, v.client + " returns from Commit of " + what},
			} {
				if e.at != never && e.at >= from && e.at <= w.Read.End {
					events = append(events, e)
				}
			}
		}
	}
	for _, m := range marks {
		if m.At >= from && m.At <= w.Read.End {
			events = append(events, event{m.At, "! " + m.Text})
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	const most = 60
	var out strings.Builder
	if n := len(events) - most; n > 0 {
		fmt.Fprintf(&out, "  (%d earlier events left out)\n", n)
		events = events[n:]
	}
	for _, e := range events {
		fmt.Fprintf(&out, "  %10.3f ms  %s\n", float64(e.at-w.Read.Start)/1e6, e.text)
	}
	return out.String(), nil
}

func describe(r *history.Record) string {
	switch r.Kind {
	case history.ReadItem:
		return fmt.Sprintf("item %d", r.A)
	case history.ReadItems:
		return fmt.Sprintf("items %d and %d", r.A, r.B)
	case history.ReadList:
		return fmt.Sprintf("the items of group %d", r.A)
	case history.ReadCount:
		return fmt.Sprintf("the number of items of group %d", r.A)
	case history.ReadEither:
		return fmt.Sprintf("the items of group %d or of ID %d", r.A, r.B)
	case history.ReadJoined:
		return fmt.Sprintf("the items of group %d with their group", r.A)
	case history.ReadFeed:
		return fmt.Sprintf("the feed of group %d", r.A)
	case history.CountFeed:
		return fmt.Sprintf("the length of the feed of group %d", r.A)
	case history.ReadGroup:
		return fmt.Sprintf("group %d", r.A)
	default:
		return fmt.Sprintf("the group of item %d", r.A)
	}
}

func show(states []history.State) string {
	if len(states) == 0 {
		return "nothing"
	}
	var parts []string
	for _, s := range states {
		parts = append(parts, fmt.Sprintf("%s %d version %d", s.Table, s.ID, s.Version))
	}
	return strings.Join(parts, ", ")
}

func place(s history.State) string {
	switch {
	case !s.Present:
		return "deleted"
	case s.Table == history.Groups:
		return "present"
	}
	return fmt.Sprintf("group %d", s.Group)
}

package cacheplugin_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
)

// twinStats count what a run has done.
type twinStats struct {
	steps, writes, failed int // writes that the database refused
	reads, inside, errors int // reads in transactions; reads that are errors
	hits, misses, skips   int
	unasked               int // reads that were not looked up
	dropped, changed      int // stored answers that were gone, and those of them that were another then
	invalidations, whole  int // of tables; of whole ones
	reasons               map[string]int
}

func (s *twinStats) skip(reason string) {
	if s.reasons == nil {
		s.reasons = map[string]int{}
	}
	s.reasons[reason]++
}

func (s *twinStats) add(o twinStats) {
	s.steps += o.steps
	s.writes += o.writes
	s.failed += o.failed
	s.reads += o.reads
	s.inside += o.inside
	s.errors += o.errors
	s.hits += o.hits
	s.misses += o.misses
	s.skips += o.skips
	s.invalidations += o.invalidations
	s.whole += o.whole
	s.unasked += o.unasked
	s.dropped += o.dropped
	s.changed += o.changed
	for reason, n := range o.reasons {
		s.skip(reason)
		s.reasons[reason] += n - 1
	}
}

func share(part, whole int) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

func (s *twinStats) String() string {
	return fmt.Sprintf("%d steps, %d writes (%d refused), %d reads checked (+%d in transactions, %d errors), hit ratio %s, %d not looked up, "+
		"precision %s (%d of %d dropped results had changed), %s of the tables dropped whole",
		s.steps, s.writes, s.failed, s.reads, s.inside, s.errors, share(s.hits, s.hits+s.misses), s.unasked,
		share(s.changed, s.dropped), s.changed, s.dropped, share(s.whole, s.invalidations))
}

// skipped lists why queries were not cached, most frequent first.
func (s *twinStats) skipped() string {
	reasons := slices.SortedFunc(maps.Keys(s.reasons), func(a, b string) int { return s.reasons[b] - s.reasons[a] })
	var b strings.Builder
	for _, r := range reasons[:min(len(reasons), 12)] {
		fmt.Fprintf(&b, "\n  %6d %s", s.reasons[r], r)
	}
	return b.String()
}

// report shows a difference, and what led to it.
func (tw *twin) report(q *twinQuery, what string, truth, got twinAnswer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at step %d: again by -twin.seed=%d\nquery: %s\n", what, tw.steps, tw.seed, q.name)
	_, dry := q.run(tw.handles[0].db.Session(&gorm.Session{DryRun: true}))
	if dry.Statement != nil {
		fmt.Fprintf(&b, "parameters: %s\n", showValue(dry.Statement.Vars))
		if x, err := cacheplugin.Explain(dry); err != nil {
			fmt.Fprintf(&b, "explain: %v\n", err)
		} else {
			fmt.Fprintf(&b, "%s", x)
		}
	}
	fmt.Fprintf(&b, "last writes:\n  %s\n", strings.Join(tw.log, "\n  "))
	fmt.Fprintf(&b, "database: error %q, rows %d\n%s\nplugin:   error %q, rows %d\n%s", truth.err, truth.rows, showRows(truth.dest), got.err, got.rows, showRows(got.dest))
	return b.String()
}

// sortRows orders the rows that a destination points to.
func sortRows(dest any) {
	v := reflect.ValueOf(dest).Elem()
	if v.Kind() != reflect.Slice {
		return
	}
	text := make(map[int]string, v.Len())
	order := make([]int, v.Len())
	for i := range order {
		order[i], text[i] = i, showValue(v.Index(i).Interface())
	}
	sort.SliceStable(order, func(a, b int) bool { return text[order[a]] < text[order[b]] })
	sorted := reflect.MakeSlice(v.Type(), 0, v.Len())
	for _, i := range order {
		sorted = reflect.Append(sorted, v.Index(i))
	}
	v.Set(sorted)
}

// showRows is showValue for any value, slices row by row.
func showRows(v any) string {
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Pointer && !r.IsNil() {
		r = r.Elem()
	}
	if r.Kind() != reflect.Slice {
		return "  " + showValue(v)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  %d of %s", r.Len(), r.Type())
	for i := range r.Len() {
		b.WriteString("\n    " + showValue(r.Index(i).Interface()))
	}
	return b.String()
}

// showValue shows a value with its types, pointers followed.
func showValue(v any) string { return showReflected(reflect.ValueOf(v)) }

func showReflected(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Invalid:
		return "nil"
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "nil"
		}
		if v.Kind() == reflect.Pointer {
			return "&" + showReflected(v.Elem())
		}
		return showReflected(v.Elem())
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			return t.Format(time.RFC3339Nano) + "@" + t.Location().String()
		}
		parts := make([]string, v.NumField())
		for i := range parts {
			parts[i] = v.Type().Field(i).Name + ":" + showReflected(v.Field(i))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case reflect.Slice:
		if b, ok := v.Interface().([]byte); ok {
			return fmt.Sprintf("[]byte(%q)", b)
		}
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = showReflected(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.Map:
		parts := make([]string, 0, v.Len())
		for _, k := range v.MapKeys() {
			parts = append(parts, k.String()+":"+showReflected(v.MapIndex(k)))
		}
		sort.Strings(parts)
		return "map[" + strings.Join(parts, " ") + "]"
	}
	return fmt.Sprintf("%T(%#v)", v.Interface(), v.Interface())
}

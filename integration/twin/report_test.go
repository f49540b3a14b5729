package twin

import (
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
)

// twinNote is a line of what was done at a step.
type twinNote struct {
	step int
	text string
}

// note remembers what was done.
func (tw *twin) note(format string, args ...any) {
	tw.log = append(tw.log, twinNote{tw.steps, fmt.Sprintf(format, args...)})
}

// report shows a difference, and what led to it: the steps since the query's
// answer was right the last time, of which one should have dropped it.
func (tw *twin) report(q *twinLiving, what string, truth, got twinAnswer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at step %d: again by -twin.seed=%d -twin.replay=%s\nquery: %s\n", what, tw.steps, tw.seed, tw.name, q.name)
	if dry, x, err := tw.explain(q.twinQuery); dry != nil {
		fmt.Fprintf(&b, "text: %s\nparameters: %s\n", dry.SQL.String(), showValue(dry.Vars))
		if err != nil {
			fmt.Fprintf(&b, "explain: %v\n", err)
		} else {
			fmt.Fprintf(&b, "%s", x)
		}
	}
	since := tw.steps
	for _, l := range q.last {
		since = min(since, max(l.step, 1))
	}
	fmt.Fprintf(&b, "done since step %d, when all handles had the right answer:\n", since)
	from := slices.IndexFunc(tw.log, func(n twinNote) bool { return n.step >= since })
	for _, n := range tw.log[max(from, len(tw.log)-60):] {
		fmt.Fprintf(&b, "  %d: %s\n", n.step, n.text)
	}
	fmt.Fprintf(&b, "database: error %q, rows %d\n%s\nplugin:   error %q, rows %d\n%s", truth.err, truth.rows, showRows(truth.dest), got.err, got.rows, showRows(got.dest))
	return b.String()
}

// explain tells how a query is cached; nothing of one that can't be told
// without running it.
func (tw *twin) explain(q *twinQuery) (dry *gorm.Statement, x cacheplugin.Explanation, err error) {
	defer func() {
		if recover() != nil { // a destination without rows
			dry = nil
		}
	}()
	_, tx := q.run(tw.handles[0].db.Session(&gorm.Session{DryRun: true}))
	if tx.Statement == nil {
		return nil, x, nil
	}
	x, err = cacheplugin.Explain(tx)
	return tx.Statement, x, err
}

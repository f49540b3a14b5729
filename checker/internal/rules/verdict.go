package rules

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cacheplugin/cacheplugin/checker/internal/history"
)

// Verdict is what came out of the readers' histories.
type Verdict struct {
	Reads, Hits int64
	// ByGrade are the reads that were older than each grade owes.
	ByGrade [grades]Lateness
	// Never are reads that show what never was committed, or rows where they
	// never belonged; Torn are those that show no single moment. Both are
	// wrong under every grade.
	Never, Torn int64
	// First are the first wrong reads: of those that break the promised grade,
	// show what never was, or no single moment.
	First []Wrong
	// FirstFresh is how long it took at most, after a commit whose process
	// died before Commit returned, until some read showed it; LastStale until
	// the last read did not.
	FirstFresh, LastStale time.Duration
}

// Lateness counts reads that were too old, and by how much.
type Lateness struct {
	Reads, Hits int64
	Longest     time.Duration
	sample      []time.Duration
}

// sampled bounds what is kept to tell quantiles.
const sampled = 1 << 16

func (l *Lateness) add(hit bool, late time.Duration) {
	l.Reads++
	if hit {
		l.Hits++
	}
	l.Longest = max(l.Longest, late)
	if len(l.sample) < sampled {
		l.sample = append(l.sample, late)
	} else if i := rand.Int64N(l.Reads); i < sampled {
		l.sample[i] = late
	}
}

func (l *Lateness) merge(other Lateness) {
	l.Reads += other.Reads
	l.Hits += other.Hits
	l.Longest = max(l.Longest, other.Longest)
	l.sample = append(l.sample, other.sample...)
}

// P99 is the lateness that 99 % of the late reads do not exceed.
func (l *Lateness) P99() time.Duration {
	if len(l.sample) == 0 {
		return 0
	}
	slices.Sort(l.sample)
	return l.sample[(len(l.sample)*99)/100]
}

// Wrong is a read that breaks the promise.
type Wrong struct {
	Client string
	Read   history.Record
	Row    history.Row
	Owed   int64
	Text   string
	// Since is when the read began to be too old; zero for what never was.
	Since int64
}

// Broken is the number of reads that break a grade.
func (v *Verdict) Broken(g Grade) int64 { return v.ByGrade[g].Reads + v.Never + v.Torn }

// orphan is a version whose transaction never returned.
type orphan struct {
	version    uint32
	done       int64
	fresh, old int64
}

// firstKept is the number of wrong reads that are kept.
const firstKept = 5

// Judge holds the readers' files against what was committed. promised is the
// grade that First is about. It is not safe for concurrent use.
func (x *Index) Judge(promised Grade, files []string) (*Verdict, error) {
	v := &Verdict{}
	for _, file := range files {
		j := x.newJudge(ClientOf(file))
		one := &Verdict{}
		err := history.Read(file, func(r *history.Record) error {
			if !r.Kind.IsRead() {
				return errNotRead
			}
			j.read(r, promised, one)
			return nil
		})
		if err != nil && !errors.Is(err, errNotRead) {
			return nil, err
		}
		v.add(one)
	}
	slices.SortFunc(v.First, func(a, b Wrong) int { return cmp.Compare(a.Read.Start, b.Read.Start) })
	v.First = v.First[:min(len(v.First), firstKept)]
	for _, list := range x.orphans {
		for _, o := range list {
			if o.fresh > 0 {
				v.FirstFresh = max(v.FirstFresh, time.Duration(o.fresh-o.done))
			}
			if o.old > 0 {
				v.LastStale = max(v.LastStale, time.Duration(o.old-o.done))
			}
		}
	}
	return v, nil
}

// errNotRead ends the judging of a writer's file.
var errNotRead = errors.New("rules: not a reader's history")

func (v *Verdict) add(other *Verdict) {
	v.Reads += other.Reads
	v.Hits += other.Hits
	v.Never += other.Never
	v.Torn += other.Torn
	for g := range v.ByGrade {
		v.ByGrade[g].merge(other.ByGrade[g])
	}
	v.First = append(v.First, other.First...)
}

// read judges one read.
func (j *judge) read(r *history.Record, promised Grade, v *Verdict) {
	v.Reads++
	hit := r.Source == history.FromCache
	if hit {
		v.Hits++
	}
	keep := func(p problem, since int64) {
		if len(v.First) < firstKept {
			c := *r
			c.States = slices.Clone(r.States)
			v.First = append(v.First, Wrong{Client: j.client, Read: c, Row: p.row, Owed: p.owed, Text: p.text, Since: since})
		}
	}
	// What was returned or told was committed before: the strongest grade
	// speaks for the others.
	p := j.check(Committed, r, r.Start)
	for g := Committed; p != nil; g-- {
		since, ever := j.since(g, r)
		if p.never || !ever {
			v.Never++
			keep(*p, 0)
			break
		}
		v.ByGrade[g].add(hit, time.Duration(r.Start-since))
		if g == promised {
			keep(*p, since)
		}
		if g == 0 {
			break
		}
		p = j.check(g-1, r, r.Start)
	}
	if p == nil && !r.Kind.IsFeed() && j.torn(r) {
		v.Torn++
		keep(problem{text: "no single moment was like this"}, 0)
	}
	if len(j.orphans) > 0 {
		j.meet(r)
	}
}

// since finds the last moment at which the answer would not have been too old,
// but for a microsecond.
// What is owed only grows with time; false if there is none.
func (j *judge) since(g Grade, r *history.Record) (at int64, ever bool) {
	if j.check(g, r, 0) != nil {
		return 0, false
	}
	// The answer is fine at low and wrong at high. Most are late by little.
	low, high := int64(0), r.Start
	for back := int64(time.Millisecond); high-back > 0; back *= 4 {
		if j.check(g, r, high-back) == nil {
			low = high - back
			break
		}
		high -= back
	}
	for high-low > int64(time.Microsecond) {
		if mid := low + (high-low)/2; j.check(g, r, mid) == nil {
			low = mid
		} else {
			high = mid
		}
	}
	return low, true
}

// meet notes what a read shows of transactions that never returned.
func (j *judge) meet(r *history.Record) {
	for _, s := range r.States {
		for _, o := range j.orphans[s.Row] {
			switch {
			case r.Start < o.done:
			case s.Version < o.version:
				o.old = max(o.old, r.Start)
			case o.fresh == 0 || r.Start < o.fresh:
				o.fresh = r.Start
			}
		}
	}
}

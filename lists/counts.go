package lists

import (
	"context"
	"reflect"
	"slices"
	"time"

	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/misconfig"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Unit is a unit of the calendar.
type Unit uint8

// The units. A week begins on Monday.
const (
	Day Unit = iota
	Week
	Month
	Year
)

// String returns the constant's name.
func (u Unit) String() string {
	if u > Year {
		return "unknown"
	}
	return [...]string{"Day", "Week", "Month", "Year"}[u]
}

// Bucket is the number of a list's rows in one unit of the calendar.
type Bucket struct {
	Start time.Time // of the unit, in the zone that was asked in
	Count int64
}

// maxBuckets bounds how long a call keeps Redis busy.
const maxBuckets = 10_000

// CountsBy counts the rows of a list, which is ordered by a time, by day, week, month or
// year: for each unit from that of from on which begins before to, all of its rows. The
// units are those of from's time zone: a day is 23 or 25 hours long when clocks are
// changed.
func (l *List[T]) CountsBy(ctx context.Context, k KeyValues, unit Unit, from, to time.Time) ([]Bucket, error) {
	of, err := l.terms(k)
	if err != nil {
		return nil, err
	}
	if _, ok := number(from); l.order.FieldType != timeType || !ok {
		return nil, misconfig.New("lists.Order", l.order.Name, "CountsBy counts by a time: order the list by a time.Time, and ask for years from 1678 to 2262")
	}
	if unit > Year {
		return nil, misconfig.New("CountsBy", unit, "use Day, Week, Month or Year")
	}
	starts := unit.starts(from, to)
	if len(starts) > maxBuckets {
		return nil, misconfig.New("CountsBy", unit, "from and to are more than 10,000 units apart: ask for fewer, or by a longer unit")
	}
	buckets := make([]Bucket, 0, len(starts)) // the last start is the end
	for _, start := range starts[:max(0, len(starts)-1)] {
		buckets = append(buckets, Bucket{Start: start})
	}
	if len(buckets) == 0 {
		return buckets, nil
	}
	bounds := make([]int64, len(starts))
	for i, start := range starts {
		n, ok := number(start)
		if !ok {
			return nil, misconfig.New("CountsBy", to, "ask for years from 1678 to 2262")
		}
		bounds[i] = n
	}
	if a, ok := l.ask(ctx, of, store.AskCounts(bounds...)); ok && len(a.Counts) == len(buckets) && l.covers(a, bounds) {
		for i, n := range a.Counts {
			buckets[i].Count = n
		}
		return buckets, nil
	}
	return buckets, l.count(ctx, of, starts, buckets)
}

var timeType = reflect.TypeFor[time.Time]()

// starts are the beginnings of the units, and the end of the last one.
func (u Unit) starts(from, to time.Time) []time.Time {
	if !from.Before(to) {
		return nil
	}
	y, m, d := from.Date()
	at := func(n int) time.Time {
		switch u {
		case Week:
			monday := d - (int(from.Weekday())+6)%7
			return time.Date(y, m, monday+7*n, 0, 0, 0, 0, from.Location())
		case Month:
			return time.Date(y, m+time.Month(n), 1, 0, 0, 0, 0, from.Location())
		case Year:
			return time.Date(y+n, 1, 1, 0, 0, 0, 0, from.Location())
		}
		return time.Date(y, m, d+n, 0, 0, 0, 0, from.Location())
	}
	var starts []time.Time
	for n := 0; len(starts) <= maxBuckets; n++ {
		starts = append(starts, at(n))
		if !starts[n].Before(to) {
			break
		}
	}
	return starts
}

// covers reports whether a list has all rows of its table between bounds.
func (l *List[T]) covers(a store.ListAnswer, bounds []int64) bool {
	if a.Bound == "" {
		return true
	}
	end, ok := conj.FromOrdered(a.Bound[:min(8, len(a.Bound))])
	if l.direction == Descending {
		return ok && bounds[0] > end
	}
	return ok && bounds[len(bounds)-1] <= end
}

// count has the database tell the times, which are counted here: each database has
// another calendar.
func (l *List[T]) count(ctx context.Context, of []term, starts []time.Time, buckets []Bucket) error {
	tx := l.query(ctx, of)
	if l.db.Name() != conj.SQLite.String() { // which compares the text of times
		tx = tx.Where(clause.And(
			clause.Gte{Column: column(l.order), Value: starts[0]},
			clause.Lt{Column: column(l.order), Value: starts[len(starts)-1]}))
	}
	var times []time.Time
	if err := tx.Pluck(l.order.DBName, &times).Error; err != nil {
		return err
	}
	for _, t := range times {
		i, found := slices.BinarySearchFunc(starts, t, time.Time.Compare)
		if !found {
			i--
		}
		if i >= 0 && i < len(buckets) {
			buckets[i].Count++
		}
	}
	return nil
}

package lists

import (
	"context"
	"errors"
	"iter"
	"reflect"

	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/misconfig"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Rows is one list, as Get returns it. Nothing is read before it is asked for something.
type Rows[T any] struct {
	list *List[T]
	ctx  context.Context //nolint:containedctx // of one request, as a *sql.Rows has it
	of   []term
	err  error
}

// Get returns the list of a key. What is wrong with the key is the error of what it is
// asked for.
func (l *List[T]) Get(ctx context.Context, k KeyValues) Rows[T] {
	of, err := l.terms(k)
	return Rows[T]{list: l, ctx: ctx, of: of, err: err}
}

// Page returns up to limit rows of the list, without the first offset ones. Only these
// are decoded.
func (r Rows[T]) Page(offset, limit int) ([]T, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case offset < 0 || limit < 0:
		return nil, misconfig.New("Page", [2]int{offset, limit}, "give an offset and a limit that are not negative")
	case limit == 0:
		return []T{}, nil
	}
	l := r.list
	a, ok := l.ask(r.ctx, r.of, store.AskRange(offset, limit, bool(l.direction)))
	if ok && (a.Bound == "" || int64(offset)+int64(limit) <= a.Len) {
		if items, ok, err := r.decoded(a); ok || err != nil {
			return items, err
		}
	}
	items := []T{}
	return items, l.ordered(l.query(r.ctx, r.of)).Offset(offset).Limit(limit).Find(&items).Error
}

// After returns up to limit rows that follow one in the list's order, which need not be
// there any more: paging that neither repeats nor leaves out rows when others come and
// go. The first page is Page's.
func (r Rows[T]) After(last T, limit int) ([]T, error) {
	l := r.list
	switch {
	case r.err != nil:
		return nil, r.err
	case limit < 0:
		return nil, misconfig.New("After", limit, "give a limit that is not negative")
	case limit == 0:
		return []T{}, nil
	}
	order, okOrder := l.number(r.ctx, &last, false)
	key, okKey := l.number(r.ctx, &last, true)
	if okOrder && okKey {
		place := store.ListRow{Order: order, Row: key}.Place()
		a, ok := l.ask(r.ctx, r.of, store.AskAfter(place, limit, bool(l.direction)))
		if ok && (a.Bound == "" || len(a.Rows) == limit) {
			if items, ok, err := r.decoded(a); ok || err != nil {
				return items, err
			}
		}
	}
	items := []T{}
	return items, l.ordered(l.query(r.ctx, r.of).Where(r.following(last))).Limit(limit).Find(&items).Error
}

// following is the condition of the rows that follow one.
func (r Rows[T]) following(last T) clause.Expression {
	l := r.list
	beyond := func(c clause.Column, v any) clause.Expression {
		if l.direction == Descending {
			return clause.Lt{Column: c, Value: v}
		}
		return clause.Gt{Column: c, Value: v}
	}
	valueOf := func(f *schema.Field) any {
		v, _ := f.ValueOf(r.ctx, reflect.ValueOf(&last).Elem())
		return v
	}
	key := valueOf(l.key)
	if l.order == l.key {
		return beyond(column(l.key), key)
	}
	order := valueOf(l.order)
	return clause.Or(beyond(column(l.order), order),
		clause.And(clause.Eq{Column: column(l.order), Value: order}, beyond(column(l.key), key)))
}

// decoded makes rows of an answer; false if it can't be decoded here, and the database
// has to answer. An error is a hook's or a scanner's, as Find returns it.
func (r Rows[T]) decoded(a store.ListAnswer) ([]T, bool, error) {
	items, err := r.list.decode(r.ctx, a)
	if errors.Is(err, rowset.ErrCorrupt) {
		r.list.failed(r.ctx, "rows of a list could not be decoded", err)
		return nil, false, nil
	}
	return items, err == nil, err
}

// perStep is how many rows All decodes at once.
const perStep = 200

// All returns the rows of the list, in steps: each is read, and decoded, when the loop
// comes to it, as the list is then. It ends with the first error.
func (r Rows[T]) All() iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		items, err := r.Page(0, perStep)
		for {
			if err != nil {
				yield(*new(T), err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if len(items) < perStep {
				return
			}
			items, err = r.After(items[len(items)-1], perStep)
		}
	}
}

// Count returns the number of rows in a list.
func (l *List[T]) Count(ctx context.Context, k KeyValues) (int64, error) {
	of, err := l.terms(k)
	if err != nil {
		return 0, err
	}
	if a, ok := l.ask(ctx, of, store.AskCounts()); ok && a.Bound == "" {
		return a.Len, nil
	}
	var n int64
	return n, l.query(ctx, of).Count(&n).Error
}

// Contains reports whether a list has the row with a primary key.
func (l *List[T]) Contains(ctx context.Context, k KeyValues, key any) (bool, error) {
	of, err := l.terms(k)
	if err != nil {
		return false, err
	}
	normal, err := conj.NormalizeArg(key)
	if err != nil {
		return false, misconfig.New("Contains", key, "give a primary key of "+l.schema.Name)
	}
	if row, ok := number(normal); ok {
		if a, ok := l.ask(ctx, of, store.AskRow(row)); ok && len(a.Counts) == 1 && (a.Counts[0] == 1 || a.Bound == "") {
			return a.Counts[0] == 1, nil
		}
	}
	var n int64
	err = l.query(ctx, of).Where(clause.Eq{Column: column(l.key), Value: key}).Limit(1).Count(&n).Error
	return n > 0, err
}

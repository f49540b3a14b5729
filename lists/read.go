package lists

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"

	"github.com/cacheplugin/cacheplugin/internal/lookup"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// tries is how often an answer is asked for: a list is filled, or rows of it read again,
// in between. Where others write faster than that the database answers.
const tries = 4

// ask asks the list of a key; false where the database has to answer, whatever the
// reason. What goes wrong with the cache is reported, not returned.
func (l *List[T]) ask(ctx context.Context, of []term, ask store.Ask) (store.ListAnswer, bool) {
	var none store.ListAnswer
	if l.reads == nil {
		return none, false
	}
	place, reason, err := l.reads.ListPlace(l.db.WithContext(ctx), l.schema.Table)
	if err != nil {
		l.failed(ctx, "where a list is kept could not be told", err)
		return none, false
	}
	if reason != "" {
		return none, false
	}
	scheme, ok := l.scheme(place, of)
	if !ok {
		return none, false
	}
	values, ok := l.values(place.Table, scheme, of)
	if !ok {
		return none, false
	}
	c := cached[T]{list: l, place: place, of: of, at: store.List{Table: place.Table.ID, Scheme: scheme, Key: place.Table.ListKey(scheme, values)}}
	for range tries {
		a, err := place.Space.Store.ReadList(ctx, c.at, ask)
		if err == nil {
			switch a.State {
			case store.ListRead:
				return a, true
			case store.ListMarked:
				err = c.repair(ctx, a)
			case store.NoList:
				err = c.fill(ctx)
			default:
				return none, false
			}
		}
		if errors.Is(err, errElsewhere) {
			return none, false
		}
		if err != nil {
			l.failed(ctx, "a list could not be read from the cache", err)
			return none, false
		}
	}
	return none, false
}

func (l *List[T]) failed(ctx context.Context, what string, err error) {
	l.reads.Report.Failed(ctx, what, l.schema.Table, err)
}

// errElsewhere says that somebody else is filling the list, or about to change it.
var errElsewhere = errors.New("the database answers")

// cached is a list as it is kept.
type cached[T any] struct {
	list  *List[T]
	place lookup.ListPlace
	of    []term
	at    store.List
}

// fill reads the list from the database. Writes have been marking its rows since before.
func (c cached[T]) fill(ctx context.Context) error {
	l, s := c.list, c.place.Space.Store
	opening, err := s.OpenList(ctx, c.at, l.timeout)
	if err != nil {
		return err
	}
	if opening == nil {
		return errElsewhere
	}
	rows, layout, err := l.load(ctx, l.ordered(l.query(ctx, c.of)).Limit(l.keep+1))
	if err != nil {
		return errors.Join(err, s.AbandonList(context.WithoutCancel(ctx), opening))
	}
	bound := ""
	if len(rows) > l.keep {
		rows = rows[:l.keep]
		bound = rows[l.keep-1].Place()
	}
	_, err = s.FillList(ctx, opening, layout, rows, bound, l.timeout)
	return err
}

// repair reads the rows again that were marked.
func (c cached[T]) repair(ctx context.Context, a store.ListAnswer) error {
	l := c.list
	keys := make([]any, len(a.Marked))
	for i, m := range a.Marked {
		keys[i] = m.Row
	}
	rows, layout, err := l.load(ctx, l.query(ctx, c.of).Where(map[string]any{l.key.DBName: keys}))
	if err != nil {
		return err
	}
	m := store.Merging{Version: a.Version, Marked: a.Marked, Found: rows, Layout: layout, Keep: l.keep, Reverse: bool(l.direction)}
	if len(rows) == 0 {
		m.Layout = ""
	}
	return c.place.Space.Store.MergeList(ctx, c.at, m)
}

// load reads rows as a list keeps them.
func (l *List[T]) load(ctx context.Context, tx *gorm.DB) (rows []store.ListRow, layout string, err error) {
	source, strayed := lookup.FromSource(tx)
	live, err := source.Rows()
	if err != nil {
		return nil, "", err
	}
	src, packed, err := rowset.Pack(live, l.order.DBName)
	if err != nil {
		return nil, "", err
	}
	played, err := rowset.Rows(src)
	if err != nil {
		return nil, "", err
	}
	defer played.Close() //nolint:errcheck // closed below, where it matters
	items, err := l.scan(ctx, played, false)
	if err == nil {
		err = played.Close()
	}
	switch {
	case err != nil:
		return nil, "", err
	case strayed():
		return nil, "", errElsewhere
	case packed.Reason != "":
		return nil, "", fmt.Errorf("the rows can't be kept: %s", packed.Reason)
	}
	rows = make([]store.ListRow, len(items))
	for i := range items {
		order, ok := l.number(ctx, &items[i], false)
		key, okKey := l.number(ctx, &items[i], true)
		if !ok || !okKey || packed.Nulls[i] {
			return nil, "", fmt.Errorf("%s of a row, or %s, is NULL or out of bounds: lists are ordered by whole numbers of 64 bits and by times from 1678 to 2262", l.order.Name, l.key.Name)
		}
		rows[i] = store.ListRow{Row: key, Order: order, Encoded: packed.Rows[i]}
	}
	return rows, packed.Layout, nil
}

// The times that fit an int64 of nanoseconds.
var (
	earliest = time.Unix(0, math.MinInt64)
	latest   = time.Unix(0, math.MaxInt64)
)

// number is the primary key of a row, or what it is ordered by.
func (l *List[T]) number(ctx context.Context, item *T, key bool) (int64, bool) {
	f := l.order
	if key {
		f = l.key
	}
	v, _ := f.ValueOf(ctx, reflect.ValueOf(item).Elem())
	return number(v)
}

func number(v any) (int64, bool) {
	if t, ok := v.(time.Time); ok {
		return t.UnixNano(), !t.Before(earliest) && !t.After(latest)
	}
	switch r := reflect.ValueOf(v); {
	case r.IsValid() && r.CanInt():
		return r.Int(), true
	case r.IsValid() && r.CanUint():
		return int64(r.Uint()), r.Uint() <= math.MaxInt64 //nolint:gosec // compared
	}
	return 0, false
}

// scan reads rows into the model, as GORM does, and runs its hooks if it is asked to.
func (l *List[T]) scan(ctx context.Context, rows *sql.Rows, hooks bool) ([]T, error) {
	items := []T{}
	tx := l.db.Session(&gorm.Session{NewDB: true, Context: ctx}).Model(new(T))
	tx.Statement.Dest = &items
	if err := tx.Statement.Parse(new(T)); err != nil {
		return nil, err
	}
	tx.Statement.ReflectValue = reflect.ValueOf(&items).Elem()
	gorm.Scan(rows, tx, 0)
	if hooks {
		callbacks.AfterQuery(tx)
	}
	return items, tx.Error
}

// decode makes rows of what a list has kept.
func (l *List[T]) decode(ctx context.Context, a store.ListAnswer) ([]T, error) {
	if len(a.Rows) == 0 {
		return []T{}, nil
	}
	packed := make([]string, len(a.Rows))
	for i, r := range a.Rows {
		packed[i] = r.Encoded
	}
	src, err := rowset.Unpack(a.Layout, packed)
	if err != nil {
		return nil, err
	}
	rows, err := rowset.Rows(src)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // of memory
	return l.scan(ctx, rows, true)
}

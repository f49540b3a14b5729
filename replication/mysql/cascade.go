package mysql

import (
	"context"
	"slices"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
)

// The storage engine carries out what foreign keys do, and the log has none of it. The
// rows that a key changes had the parent's values in its columns, and that is all that
// is known of them. What further keys do to others because of these is not: their
// tables are dropped whole.

// cascade notes what foreign keys have changed along with a row: one that was deleted,
// if fresh is nil, else one that was updated in some columns.
func (t *table) cascade(ctx context.Context, tx *transaction, old, fresh conj.Image, updated []bool) error {
	for _, key := range t.known.ForeignKeys {
		if !key.Acts(fresh == nil) {
			continue
		}
		child, err := tx.stream.table(ctx, key.Child.Name)
		if err != nil {
			return err
		}
		if child.known == nil {
			if err := child.whole(ctx, tx.into); err != nil {
				return err
			}
			continue
		}
		parents, children, ok := t.keyColumns(child.known, key)
		if ok && fresh != nil && !slices.ContainsFunc(parents, func(i int) bool { return updated[i] }) {
			continue
		}
		if err := t.follow(ctx, tx, key, child.known, old, fresh, parents, children, ok); err != nil {
			return err
		}
		further := child.known.UpdateTouches
		if fresh == nil && key.OnDelete == catalog.Cascade {
			further = child.known.DeleteTouches
		}
		if err := child.below(ctx, tx, further); err != nil {
			return err
		}
	}
	return nil
}

// follow notes the rows of a child that a key has changed.
func (t *table) follow(ctx context.Context, tx *transaction, key *catalog.ForeignKey, child *catalog.Table, old, fresh conj.Image, parents, children []int, ok bool) error {
	if !ok {
		return tx.into.Whole(ctx, child)
	}
	action := key.OnUpdate
	if fresh == nil {
		action = key.OnDelete
	}
	before, after := make(conj.Image, len(child.Columns())), make(conj.Image, len(child.Columns()))
	for n, i := range parents {
		switch old[i] {
		case conj.Null:
			return nil // nothing refers to it
		case "", conj.NotNull:
			return tx.into.Whole(ctx, child)
		}
		before[children[n]] = old[i]
		switch {
		case action == catalog.SetNull:
			after[children[n]] = conj.Null
		case action == catalog.Cascade && fresh != nil:
			after[children[n]] = fresh[i]
		}
	}
	images := []conj.Image{before}
	if fresh != nil || action != catalog.Cascade {
		images = append(images, after)
	}
	return tx.into.Rows(ctx, child, func() []conj.Image { return images })
}

// keyColumns are the columns of a foreign key in the parent and in the child; false if
// values of the first are not those of the second.
func (t *table) keyColumns(child *catalog.Table, key *catalog.ForeignKey) (parents, children []int, ok bool) {
	for n, name := range key.Columns {
		i := -1
		switch {
		case name != "":
			i = t.known.Index(conj.MySQL, name)
		case n < len(t.known.PrimaryKey):
			i = t.known.PrimaryKey[n]
		}
		j := child.Index(conj.MySQL, key.ChildColumns[n])
		if i < 0 || j < 0 || t.known.Columns()[i].Kind != child.Columns()[j].Kind {
			return nil, nil, false
		}
		parents, children = append(parents, i), append(children, j)
	}
	return parents, children, true
}

// below notes that any row of some tables may have changed.
func (t *table) below(ctx context.Context, tx *transaction, lists ...[]catalog.Ref) error {
	for _, list := range lists {
		for _, ref := range list {
			child, err := tx.stream.table(ctx, ref.Name)
			if err != nil {
				return err
			}
			if err := child.whole(ctx, tx.into); err != nil {
				return err
			}
		}
	}
	return nil
}

package postgres

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/jackc/pglogrepl"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/follow"
)

// relation is a table as the log has it, and as the handle knows it.
type relation struct {
	name  conj.TableName
	log   []*pglogrepl.RelationMessageColumn
	table *catalog.Table // nil: the database has it no more
	// columns are the table's, for each of the log's.
	columns []int
}

// keyColumn is the flag of a column that is part of the replica identity.
const keyColumn = 1

// relation returns the relation of a message that changes a row.
func (t *transaction) relation(data []byte) (*relation, error) {
	if len(data) < 5 {
		return nil, fmt.Errorf("read the log: a message of %d bytes", len(data))
	}
	id := binary.BigEndian.Uint32(data[1:])
	r := t.stream.relations[id]
	if r == nil {
		return nil, fmt.Errorf("read the log: relation %d was not described", id)
	}
	return r, nil
}

// define notes a relation. It is sent before the first change of each, and again after
// definitions have changed: then what is known of them is forgotten, and the table
// dropped, for the log tells nothing else of that.
func (t *transaction) define(ctx context.Context, m *pglogrepl.RelationMessage) error {
	known := t.stream.relations[m.RelationID]
	r := &relation{name: conj.TableName{Schema: m.Namespace, Name: m.RelationName}, log: m.Columns}
	changed := known != nil && !known.like(r)
	if changed {
		t.into.Redefined()
	}
	if err := r.find(ctx, t); err != nil {
		return err
	}
	if r.table != nil && slices.Contains(r.columns, -1) {
		// Columns were added since the table was read.
		t.into.Redefined()
		if err := r.find(ctx, t); err != nil {
			return err
		}
	}
	t.stream.relations[m.RelationID] = r
	if !changed {
		return nil
	}
	if err := known.whole(ctx, t.into); err != nil {
		return err
	}
	return r.whole(ctx, t.into)
}

// like reports whether two relations are of one definition.
func (r *relation) like(other *relation) bool {
	return r.name == other.name && slices.EqualFunc(r.log, other.log, func(a, b *pglogrepl.RelationMessageColumn) bool {
		return a.Name == b.Name && a.DataType == b.DataType && a.TypeModifier == b.TypeModifier
	})
}

func (r *relation) find(ctx context.Context, t *transaction) error {
	var err error
	if r.table, err = t.stream.log.target.Table(ctx, r.name); err != nil {
		return err
	}
	if r.table == nil {
		return nil
	}
	r.columns = make([]int, len(r.log))
	for i, c := range r.log {
		r.columns[i] = r.table.Index(conj.PostgreSQL, c.Name)
	}
	return nil
}

// skips reports whether changes of rows make no difference.
func (r *relation) skips(ctx context.Context, into *follow.Collector) bool {
	return r.table != nil && into.Reaches(ctx, r.table)
}

// whole notes that any row may have changed.
func (r *relation) whole(ctx context.Context, into *follow.Collector) error {
	if r.table == nil {
		return into.WholeName(ctx, r.name)
	}
	return into.Whole(ctx, r.table)
}

func (r *relation) insert(ctx context.Context, into *follow.Collector, m *pglogrepl.InsertMessage) error {
	if r.table == nil {
		return r.whole(ctx, into)
	}
	return into.Rows(ctx, r.table, func() []conj.Image { return []conj.Image{r.image(m.Tuple, false)} })
}

func (r *relation) update(ctx context.Context, into *follow.Collector, m *pglogrepl.UpdateMessage) error {
	if r.table == nil {
		return r.whole(ctx, into)
	}
	return into.Rows(ctx, r.table, func() []conj.Image {
		fresh := r.image(m.NewTuple, false)
		var old conj.Image
		switch m.OldTupleType {
		case pglogrepl.UpdateMessageTupleTypeOld:
			old = r.image(m.OldTuple, false)
			r.complete(fresh, old, m.NewTuple)
		case pglogrepl.UpdateMessageTupleTypeKey:
			old = r.image(m.OldTuple, true)
		default:
			// The key has not changed, and nothing else is known of the old row.
			old = r.image(m.NewTuple, true)
		}
		return []conj.Image{old, fresh}
	})
}

func (r *relation) remove(ctx context.Context, into *follow.Collector, m *pglogrepl.DeleteMessage) error {
	if r.table == nil {
		return r.whole(ctx, into)
	}
	return into.Rows(ctx, r.table, func() []conj.Image {
		return []conj.Image{r.image(m.OldTuple, m.OldTupleType == pglogrepl.DeleteMessageTupleTypeKey)}
	})
}

// image is the image of a row, or of its key alone. What the log doesn't tell is
// unknown: columns that are not published, generated ones, and large values that were
// not changed, of which it has nothing.
func (r *relation) image(tuple *pglogrepl.TupleData, keyOnly bool) conj.Image {
	all := r.table.Columns()
	img := make(conj.Image, len(all))
	if tuple == nil {
		return img
	}
	for i, value := range tuple.Columns {
		if i >= len(r.columns) || r.columns[i] < 0 || keyOnly && r.log[i].Flags&keyColumn == 0 {
			continue
		}
		column := all[r.columns[i]]
		switch value.DataType {
		case pglogrepl.TupleDataTypeNull:
			img[r.columns[i]] = conj.Null
		case pglogrepl.TupleDataTypeText:
			img[r.columns[i]] = fromText(column, value.Data)
		}
	}
	return img
}

// complete takes large values that were not changed from the old row.
func (r *relation) complete(fresh, old conj.Image, tuple *pglogrepl.TupleData) {
	for i, value := range tuple.Columns {
		if i < len(r.columns) && r.columns[i] >= 0 && value.DataType == pglogrepl.TupleDataTypeToast {
			fresh[r.columns[i]] = old[r.columns[i]]
		}
	}
}

// fromText returns the canonical form of a value of which the log has the text: the same
// that the column has of the value as a driver returns it, or none.
func fromText(column conj.Column, text []byte) conj.Value {
	switch column.Kind {
	case conj.Opaque:
		return conj.NotNull
	case conj.Unreadable:
		return ""
	case conj.Boolean:
		return column.FromRow(conj.PostgreSQL, len(text) == 1 && text[0] == 't')
	case conj.Bytes:
		if len(text) < 2 || text[0] != '\\' || text[1] != 'x' {
			return ""
		}
		raw := make([]byte, hex.DecodedLen(len(text)-2))
		if _, err := hex.Decode(raw, text[2:]); err != nil {
			return ""
		}
		return column.FromRow(conj.PostgreSQL, raw)
	}
	return column.FromRow(conj.PostgreSQL, string(text))
}

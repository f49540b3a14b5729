package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/follow"
)

// table is what is known of a table. The log has its rows by the columns' places alone.
type table struct {
	name    conj.TableName
	known   *catalog.Table // as the handle knows it; nil if it doesn't
	foreign bool           // it is of another database, and the handle can't see it
	columns []column
	// until is where the log was when the columns had been read. What comes before it
	// may have been written when they were others.
	until uint64
}

// column is a column of a table in the log.
type column struct {
	form
	index int // in the table as the handle knows it
}

// form is what must be known of a column to read its values in the log.
type form struct {
	// unsigned numbers are in the log as signed ones.
	unsigned bool
	// charset is that of a text; empty for what is none.
	charset string
	// length is that of BINARY, whose zeros at the end the log leaves out; 0 else.
	length int
	// virtual columns are computed when they are read.
	virtual bool
	// dataType is its type, such as int.
	dataType string
}

const columnsQuery = `
SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, COALESCE(CHARACTER_SET_NAME, ''), COALESCE(CHARACTER_OCTET_LENGTH, 0), EXTRA
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`

// readColumns reads the columns of a table, in order, with their names.
func readColumns(ctx context.Context, db *sql.DB, name conj.TableName) (names []string, columns []form, err error) {
	rows, err := db.QueryContext(ctx, columnsQuery, name.Schema, name.Name)
	if err != nil {
		return nil, nil, fmt.Errorf("ask for the columns of %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var (
			c                          form
			name, full, charset, extra string
			octets                     uint64
		)
		if err := rows.Scan(&name, &c.dataType, &full, &charset, &octets, &extra); err != nil {
			return nil, nil, fmt.Errorf("ask for the columns: %w", err)
		}
		c.dataType = strings.ToLower(c.dataType)
		c.unsigned = strings.Contains(strings.ToLower(full), "unsigned") || strings.Contains(strings.ToLower(full), "zerofill")
		c.charset = charset
		if c.dataType == "binary" {
			c.length = int(octets)
		}
		c.virtual = strings.Contains(strings.ToUpper(extra), "VIRTUAL")
		names, columns = append(names, name), append(columns, c)
	}
	return names, columns, rows.Err()
}

// table returns what is known of a table, and reads it where that is nothing.
func (s *stream) table(ctx context.Context, name conj.TableName) (*table, error) {
	if found := s.tables[name]; found != nil {
		return found, nil
	}
	found, err := s.readTable(ctx, name)
	if err != nil {
		return nil, err
	}
	s.tables[name] = found
	return found, nil
}

// forget forgets all tables, after a definition has changed.
func (s *stream) forget() {
	clear(s.tables)
	clear(s.maps)
}

func (s *stream) readTable(ctx context.Context, name conj.TableName) (*table, error) {
	t := &table{name: name}
	names, columns, err := readColumns(ctx, s.log.db, name)
	if err != nil {
		return nil, err
	}
	for _, redefine := range []bool{false, true} {
		if redefine {
			s.log.target.Database.Redefined()
		}
		if t.known, err = s.log.target.Table(ctx, name); err != nil {
			return nil, err
		}
		if t.known == nil {
			t.foreign = name.Schema != s.log.config.DBName
			return t, nil
		}
		if t.match(names, columns) {
			break
		}
	}
	end, err := visible(ctx, s.log.db)
	if err != nil {
		return nil, err
	}
	t.until = end.id()
	return t, nil
}

// match finds the columns in the table as the handle knows it. It is false if some are
// others.
func (t *table) match(names []string, columns []form) bool {
	t.columns = make([]column, len(columns))
	whole := len(columns) == len(t.known.Columns())
	for i := range columns {
		t.columns[i] = column{columns[i], t.known.Index(conj.MySQL, names[i])}
		whole = whole && t.columns[i].index >= 0
	}
	return whole
}

// whole notes that any row may have changed.
func (t *table) whole(ctx context.Context, into *follow.Collector) error {
	switch {
	case t.foreign:
		return nil
	case t.known == nil:
		return into.WholeName(ctx, t.name)
	}
	return into.Whole(ctx, t.known)
}

// changed notes changes of rows.
func (t *table) changed(ctx context.Context, tx *transaction, e *replication.RowsEvent) error {
	kind := e.Type()
	update, removal := kind == replication.EnumRowsEventTypeUpdate, kind == replication.EnumRowsEventTypeDelete
	unsure := t.known == nil || tx.stream.at.id() <= t.until || len(e.Rows) == 0 || int(e.ColumnCount) != len(t.columns)
	if unsure {
		if err := t.whole(ctx, tx.into); err != nil || t.known == nil {
			return err
		}
		return t.below(ctx, tx, t.known.DeleteTouches, t.known.UpdateTouches)
	}
	cascades := (update || removal) && len(t.known.ForeignKeys) > 0
	if tx.into.Reaches(ctx, t.known) && !cascades {
		return nil
	}
	images := make([]conj.Image, len(e.Rows))
	for i, row := range e.Rows {
		var skipped []int
		if i < len(e.SkippedColumns) {
			skipped = e.SkippedColumns[i]
		}
		images[i] = t.image(row, skipped)
	}
	if err := tx.into.Rows(ctx, t.known, func() []conj.Image { return images }); err != nil || !cascades {
		return err
	}
	if removal {
		for _, old := range images {
			if err := t.cascade(ctx, tx, old, nil, nil); err != nil {
				return err
			}
		}
		return nil
	}
	for i := 0; i+1 < len(images); i += 2 {
		if err := t.cascade(ctx, tx, images[i], images[i+1], t.differing(e.Rows[i], e.Rows[i+1])); err != nil {
			return err
		}
	}
	return nil
}

// differing are the columns, by index, that differ between two rows. Values of which the
// canonical forms are the same may do so.
func (t *table) differing(a, b []any) []bool {
	differ := make([]bool, len(t.known.Columns()))
	for i := range a {
		differ[t.columns[i].index] = !reflect.DeepEqual(a[i], b[i])
	}
	return differ
}

// image is the image of a row. What the log doesn't have is unknown.
func (t *table) image(row []any, skipped []int) conj.Image {
	all := t.known.Columns()
	img := make(conj.Image, len(all))
	for i, value := range row {
		c := t.columns[i]
		if c.virtual || slices.Contains(skipped, i) {
			continue
		}
		img[c.index] = c.fromLog(all[c.index], value)
	}
	return img
}

// fromLog returns the canonical form of a value as the log has it: the same that the
// column has of the value as a driver returns it, or none.
func (c form) fromLog(column conj.Column, value any) conj.Value {
	if value == nil {
		return conj.Null
	}
	switch column.Kind {
	case conj.Opaque:
		return conj.NotNull
	case conj.Integer:
		return column.FromRow(conj.MySQL, c.integer(value))
	case conj.Decimal:
		return column.FromRow(conj.MySQL, value)
	case conj.PaddedText, conj.FoldedText:
		if text, ok := characters(value); ok && c.readable(text) {
			return column.FromRow(conj.MySQL, text)
		}
	case conj.Bytes:
		if text, ok := characters(value); ok {
			if missing := c.length - len(text); missing > 0 {
				text += strings.Repeat("\x00", missing)
			}
			return column.FromRow(conj.MySQL, []byte(text))
		}
	}
	return ""
}

// integer undoes the sign of an unsigned number.
func (c form) integer(value any) any {
	switch v := value.(type) {
	case int8:
		if c.unsigned {
			return uint64(uint8(v))
		}
		return int64(v)
	case int16:
		if c.unsigned {
			return uint64(uint16(v))
		}
		return int64(v)
	case int32:
		switch {
		case c.unsigned && c.dataType == "mediumint":
			return uint64(uint32(v) & 0xffffff)
		case c.unsigned:
			return uint64(uint32(v))
		}
		return int64(v)
	case int64:
		if c.unsigned {
			return strconv.FormatUint(uint64(v), 10)
		}
		return v
	}
	return value
}

// readable reports whether text in the column's character set is the same in UTF-8.
func (c form) readable(text string) bool {
	switch c.charset {
	case "utf8", "utf8mb3", "utf8mb4", "ascii":
		return true
	}
	return false
}

func characters(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

package commit

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/change"
)

// rowFormat names the form of the rows in the outbox and of the values in them.
// Rows of another form, such as a newer version's, drop everything in their
// namespaces.
//
// Format 1 said with two booleans what the extent says now, and format 2 had images
// that stood alone.
const rowFormat = "3 " + conj.KeyFormat

// maxRowBytes is about how many bytes a row may take. What is larger names its
// tables only.
const maxRowBytes = 64 << 10

// rowChange is what has changed in one table of one namespace, or with an empty
// table, in the namespace.
type rowChange struct {
	Namespace int    `json:"n"`           // its index in the row's namespaces
	Table     string `json:"t,omitempty"` // its ID
	Extent    string `json:"e"`

	// Columns are name and kind.
	Columns [][2]string      `json:"c,omitempty"`
	Rows    []rowOfTheOutbox `json:"r,omitempty"`
}

// rowOfTheOutbox is a conj.Change. Images are values in base64, "" if unknown, and
// Changed has a 1 for each column that may have changed and a 0 for the others.
type rowOfTheOutbox struct {
	Old     []string `json:"o,omitzero"`
	New     []string `json:"n,omitzero"`
	Changed string   `json:"c,omitempty"`
}

// encodeRow returns what is owed as a row of the outbox holds it.
func encodeRow(owed debts) (namespaces, changes string, err error) {
	ids := []string{}
	written := []rowChange{}
	size := 0
	for ns, list := range owed {
		n := len(ids)
		ids = append(ids, url.PathEscape(ns.ID)) // PrefixFunc may give any bytes, JSON takes text
		var of []rowChange
		of, size = encodeChanges(n, list, size)
		written = append(written, of...)
	}
	textIDs, err := json.Marshal(ids)
	if err != nil {
		return "", "", fmt.Errorf("encode namespaces: %w", err)
	}
	text, err := json.Marshal(written)
	if err != nil {
		return "", "", fmt.Errorf("encode changes: %w", err)
	}
	return string(textIDs), string(text), nil
}

// encodeChanges returns the changes in the n-th namespace, and about how large
// the row has become.
func encodeChanges(n int, list []*changes, size int) ([]rowChange, int) {
	written := make([]rowChange, 0, len(list))
	for _, c := range list {
		if c.extent == change.Everything || !utf8.ValidString(c.table) { // JSON would change the name
			return []rowChange{{Namespace: n, Extent: change.Everything.String()}}, size
		}
		w := rowChange{Namespace: n, Table: c.table, Extent: change.Table.String()}
		if c.extent <= change.Rows {
			detailed := w
			detailed.Extent = change.Rows.String()
			if size = detailed.addRows(c, size); size <= maxRowBytes {
				w = detailed
			}
		}
		written = append(written, w)
	}
	return written, size
}

// addRows adds the changes of a table's rows, and returns about how large the row
// of the outbox has become.
func (w *rowChange) addRows(c *changes, size int) int {
	if c.layout == nil {
		return size
	}
	var at []int
	for i, column := range c.layout.Columns() {
		kind := column.Kind.String()
		// A column that is left out is unknown, which drops more.
		if _, readable := conj.ParseKind(kind); readable && utf8.ValidString(column.Name) {
			at = append(at, i)
			w.Columns = append(w.Columns, [2]string{column.Name, kind})
			size += len(column.Name) + len(kind) + 6
		}
	}
	encode := func(img conj.Image) []string {
		if img == nil {
			return nil
		}
		values := make([]string, len(at))
		for n, i := range at {
			if i < len(img) {
				values[n] = base64.RawStdEncoding.EncodeToString([]byte(img[i]))
			}
			size += len(values[n]) + 3
		}
		return values
	}
	whole := len(at) == len(c.layout.Columns()) // else what has changed may be left out
	for _, row := range c.rows {
		written := rowOfTheOutbox{Old: encode(row.Old), New: encode(row.New)}
		if row.Changed != nil && whole {
			written.Changed = encodeChanged(row.Changed)
			size += len(written.Changed)
		}
		if w.Rows = append(w.Rows, written); size > maxRowBytes {
			break
		}
	}
	return size
}

func encodeChanged(changed []bool) string {
	digits := make([]byte, len(changed))
	for i, c := range changed {
		digits[i] = '0'
		if c {
			digits[i] = '1'
		}
	}
	return string(digits)
}

// decodedRow is what a row says.
type decodedRow struct {
	namespaces []string // their IDs
	changes    []decodedChange
}

type decodedChange struct {
	namespace int // its index
	changes   *changes
}

var errRow = errors.New("not of the form that this version writes")

// decodeRow reads a row. An error means that nothing is known but, if the
// namespaces are not nil, where.
func decodeRow(row outboxRow) (d decodedRow, err error) {
	if d.namespaces, err = decodeNamespaces(row.namespaces); err != nil {
		return decodedRow{}, err
	}
	if row.format != rowFormat {
		return d, fmt.Errorf("format %q: %w", row.format, errRow)
	}
	var written []rowChange
	if err := json.Unmarshal(row.changes, &written); err != nil || len(written) == 0 {
		return d, fmt.Errorf("changes: %w", errRow)
	}
	for _, w := range written {
		if w.Namespace < 0 || w.Namespace >= len(d.namespaces) {
			return d, fmt.Errorf("a change in namespace %d: %w", w.Namespace, errRow)
		}
		c, err := w.decode()
		if err != nil {
			return d, fmt.Errorf("a change of %q: %w", w.Table, err)
		}
		d.changes = append(d.changes, decodedChange{w.Namespace, c})
	}
	return d, nil
}

func decodeNamespaces(text []byte) (ids []string, err error) {
	if err := json.Unmarshal(text, &ids); err != nil || ids == nil {
		return nil, fmt.Errorf("namespaces: %w", errRow)
	}
	for i, id := range ids {
		if ids[i], err = url.PathUnescape(id); err != nil {
			return nil, fmt.Errorf("namespace %q: %w", id, errRow)
		}
	}
	return ids, nil
}

// decode returns what has changed.
func (w rowChange) decode() (*changes, error) {
	switch everything := w.Extent == change.Everything.String(); {
	case everything && w.Table == "":
		return &changes{extent: change.Everything}, nil
	case everything || w.Table == "":
		return nil, fmt.Errorf("extent %q: %w", w.Extent, errRow)
	}
	switch w.Extent {
	case change.Table.String():
		return &changes{table: w.Table, extent: change.Table}, nil
	case change.Rows.String():
		return w.decodeRows()
	}
	return nil, fmt.Errorf("extent %q: %w", w.Extent, errRow)
}

// decodeRows returns the images in the columns as the writer knew them: this
// process may know them in another form.
func (w rowChange) decodeRows() (*changes, error) {
	columns := make([]conj.Column, len(w.Columns))
	for i, c := range w.Columns {
		kind, ok := conj.ParseKind(c[1])
		if !ok {
			return nil, fmt.Errorf("kind %q: %w", c[1], errRow)
		}
		columns[i] = conj.Column{Name: c[0], Kind: kind}
	}
	c := &changes{table: w.Table, extent: change.Rows, layout: conj.NewTable(w.Table, w.Table, columns)}
	for _, row := range w.Rows {
		decoded, err := row.decode(len(columns))
		if err != nil {
			return nil, err
		}
		c.rows = append(c.rows, decoded)
		c.images += len(decoded.Images())
	}
	return c, nil
}

// decode returns the change of a row with so many columns.
func (r rowOfTheOutbox) decode(columns int) (c conj.Change, err error) {
	if c.Old, err = decodeImage(r.Old, columns); err != nil {
		return c, err
	}
	if c.New, err = decodeImage(r.New, columns); err != nil {
		return c, err
	}
	if c.Old == nil && c.New == nil {
		return c, fmt.Errorf("a row without an image: %w", errRow)
	}
	if r.Changed == "" {
		return c, nil
	}
	if len(r.Changed) != columns || strings.Trim(r.Changed, "01") != "" {
		return c, fmt.Errorf("what has changed: %w", errRow)
	}
	c.Changed = make([]bool, columns)
	for i := range c.Changed {
		c.Changed[i] = r.Changed[i] == '1'
	}
	return c, nil
}

func decodeImage(values []string, columns int) (conj.Image, error) {
	if values == nil {
		return nil, nil
	}
	if len(values) != columns {
		return nil, fmt.Errorf("an image: %w", errRow)
	}
	img := make(conj.Image, columns)
	for i, v := range values {
		raw, err := base64.RawStdEncoding.DecodeString(v)
		if err != nil {
			return nil, fmt.Errorf("a value: %w", errRow)
		}
		img[i] = conj.Value(raw)
	}
	return img, nil
}

package cacheplugin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"unicode/utf8"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// outboxFormat names the form of the rows in the outbox and of the values in
// them. Rows of another form, such as a newer version's, drop everything in
// their namespaces.
const outboxFormat = "1 " + conj.KeyFormat

// maxOutboxRow is about how many bytes a row may take. What is larger names its
// tables only.
const maxOutboxRow = 64 << 10

// postedChange is what has changed in one table of one namespace.
type postedChange struct {
	Namespace int    `json:"n"` // its index in the row's namespaces
	All       bool   `json:"all,omitempty"`
	Table     string `json:"t,omitempty"` // its ID
	Whole     bool   `json:"w,omitempty"`

	// Columns are name and kind, Images the values in base64, "" if unknown.
	Columns [][2]string `json:"c,omitempty"`
	Images  [][]string  `json:"i,omitempty"`
}

// encodeLocked returns the journal as a row of the outbox holds it.
func (j *journal) encodeLocked() (namespaces, changes string, err error) {
	var ids []string
	index := map[*space]int{}
	number := func(s *space) int {
		n, ok := index[s]
		if !ok {
			n = len(ids)
			index[s] = n
			ids = append(ids, url.PathEscape(s.id)) // PrefixFunc may give any bytes, JSON takes text
		}
		return n
	}
	posted := []postedChange{}
	all := map[*space]bool{}
	everything := func(s *space) {
		if !all[s] {
			all[s] = true
			posted = append(posted, postedChange{Namespace: number(s), All: true})
		}
	}
	for s := range j.everything {
		everything(s)
	}
	size := 0
	for key, c := range j.tables {
		if !utf8.ValidString(key.table) {
			everything(key.space) // JSON would change the name
			continue
		}
		p := postedChange{Namespace: number(key.space), Table: key.table, Whole: c.whole}
		if !c.whole {
			if size = p.fill(c, size); size > maxOutboxRow {
				p = postedChange{Namespace: p.Namespace, Table: p.Table, Whole: true}
			}
		}
		posted = append(posted, p)
	}
	n, err := json.Marshal(ids)
	if err != nil {
		return "", "", fmt.Errorf("encode namespaces: %w", err)
	}
	t, err := json.Marshal(posted)
	if err != nil {
		return "", "", fmt.Errorf("encode changes: %w", err)
	}
	return string(n), string(t), nil
}

// fill adds a table's images, and returns about how large the row has become.
func (p *postedChange) fill(c *changes, size int) int {
	if c.table == nil {
		return size
	}
	var at []int
	for i, column := range c.table.Columns() {
		kind := column.Kind.String()
		// A column that is left out is unknown, which drops more.
		if _, readable := conj.ParseKind(kind); readable && utf8.ValidString(column.Name) {
			at = append(at, i)
			p.Columns = append(p.Columns, [2]string{column.Name, kind})
			size += len(column.Name) + len(kind) + 6
		}
	}
	for _, img := range c.images {
		values := make([]string, len(at))
		for n, i := range at {
			if i < len(img) {
				values[n] = base64.RawStdEncoding.EncodeToString([]byte(img[i]))
			}
			size += len(values[n]) + 3
		}
		if p.Images = append(p.Images, values); size > maxOutboxRow {
			break
		}
	}
	return size
}

var errPosted = errors.New("not of the form that this version writes")

// decodePosted reads a row: the changes, and the namespaces in which everything
// is to be dropped. An error means that nothing is known but, if namespaces is
// not nil, where.
func decodePosted(row outboxRow) (namespaces []string, all []string, changes map[string][]store.Change, err error) {
	if err := json.Unmarshal(row.namespaces, &namespaces); err != nil || namespaces == nil {
		return nil, nil, nil, fmt.Errorf("namespaces: %w", errPosted)
	}
	for i, id := range namespaces {
		if namespaces[i], err = url.PathUnescape(id); err != nil {
			return nil, nil, nil, fmt.Errorf("namespace %q: %w", id, errPosted)
		}
	}
	if row.format != outboxFormat {
		return namespaces, nil, nil, fmt.Errorf("format %q: %w", row.format, errPosted)
	}
	var posted []postedChange
	if err := json.Unmarshal(row.changes, &posted); err != nil || len(posted) == 0 {
		return namespaces, nil, nil, fmt.Errorf("changes: %w", errPosted)
	}
	changes = map[string][]store.Change{}
	for _, p := range posted {
		if p.Namespace < 0 || p.Namespace >= len(namespaces) || !p.All && p.Table == "" {
			return namespaces, nil, nil, fmt.Errorf("a change: %w", errPosted)
		}
		id := namespaces[p.Namespace]
		if p.All {
			all = append(all, id)
			continue
		}
		change, err := p.change()
		if err != nil {
			return namespaces, nil, nil, fmt.Errorf("the change of %s: %w", p.Table, err)
		}
		changes[id] = append(changes[id], change)
	}
	return namespaces, all, changes, nil
}

// change is what the store is told.
func (p postedChange) change() (store.Change, error) {
	if p.Whole {
		return store.Change{Table: p.Table, All: true}, nil
	}
	columns := make([]conj.Column, len(p.Columns))
	for i, c := range p.Columns {
		kind, ok := conj.ParseKind(c[1])
		if !ok {
			return store.Change{}, fmt.Errorf("kind %q: %w", c[1], errPosted)
		}
		columns[i] = conj.Column{Name: c[0], Kind: kind}
	}
	images := make([]conj.Image, len(p.Images))
	for n, values := range p.Images {
		if len(values) != len(columns) {
			return store.Change{}, fmt.Errorf("an image: %w", errPosted)
		}
		images[n] = make(conj.Image, len(columns))
		for i, v := range values {
			raw, err := base64.RawStdEncoding.DecodeString(v)
			if err != nil {
				return store.Change{}, fmt.Errorf("a value: %w", errPosted)
			}
			images[n][i] = conj.Value(raw)
		}
	}
	// The columns as the writer knew them: this process may know them in
	// another form.
	table := conj.NewTable(p.Table, p.Table, columns)
	return store.Change{Table: p.Table, Keys: func(schemes []conj.Scheme) ([]conj.Key, bool) {
		return imageKeys(table, images, schemes)
	}}, nil
}

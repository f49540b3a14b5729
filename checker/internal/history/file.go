package history

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Writer appends records to a client's file. It is for one goroutine at a time.
type Writer struct {
	file *os.File
	buf  *bufio.Writer
	last int64
	one  []byte
}

// Create makes a client's file.
func Create(path string) (*Writer, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return &Writer{file: f, buf: bufio.NewWriterSize(f, 1<<16)}, nil
}

// Add appends a record. Records of writes are in the file when it returns, so
// that they survive the process; reads are buffered.
func (w *Writer) Add(r *Record) error {
	b := encode(w.one[:0], r, w.last)
	w.one, w.last = b, r.Start
	var size [binary.MaxVarintLen32]byte
	n := binary.PutUvarint(size[:], uint64(len(b)))
	if _, err := w.buf.Write(size[:n]); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if _, err := w.buf.Write(b); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if r.Kind.IsRead() {
		return nil
	}
	return w.Flush()
}

// Flush writes what is buffered.
func (w *Writer) Flush() error {
	if err := w.buf.Flush(); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// Close flushes and closes the file.
func (w *Writer) Close() error { return errors.Join(w.Flush(), w.file.Close()) }

// encode appends a record whose start is told as the distance from the last
// one's.
func encode(b []byte, r *Record, last int64) []byte {
	b = append(b, byte(r.Kind))
	b = binary.AppendVarint(b, r.Start-last)
	if r.Kind.IsRead() {
		b = append(b, byte(r.Source))
		for _, v := range []uint64{uint64(r.End - r.Start), uint64(r.A), uint64(r.B), uint64(r.Count)} {
			b = binary.AppendUvarint(b, v)
		}
	} else {
		b = binary.AppendUvarint(b, uint64(r.Seq))
		b = append(b, flag(r.Untold))
		b = binary.AppendUvarint(b, r.Place)
	}
	b = binary.AppendUvarint(b, uint64(len(r.States)))
	for _, s := range r.States {
		b = append(b, byte(s.Table)<<1|flag(s.Present))
		for _, v := range []uint32{s.ID, s.Version, s.Group} {
			b = binary.AppendUvarint(b, uint64(v))
		}
	}
	return b
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// ErrCorrupt is wrapped when a file holds something that no Writer has written.
var ErrCorrupt = errors.New("history: corrupt")

// Read calls visit for each record of a file, in order. The record is valid
// until visit returns. A record that the file's end cuts off is left out.
func Read(path string, visit func(*Record) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<16)
	var (
		r    Record
		last int64
		b    []byte
	)
	for {
		size, err := binary.ReadUvarint(in)
		if err != nil {
			return cutOff(err)
		}
		if size > 1<<20 {
			return fmt.Errorf("%w: %s: a record of %d bytes", ErrCorrupt, path, size)
		}
		if cap(b) < int(size) {
			b = make([]byte, size)
		}
		b = b[:size]
		if _, err := io.ReadFull(in, b); err != nil {
			return cutOff(err)
		}
		if err := decode(b, &r, last); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		last = r.Start
		if err := visit(&r); err != nil {
			return err
		}
	}
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return fmt.Errorf("history: %w", err)
}

// cursor takes values off a record.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) byte() byte {
	if len(c.b) == 0 {
		c.bad = true
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) uint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) int() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func decode(b []byte, r *Record, last int64) error {
	c := cursor{b: b}
	*r = Record{Kind: Kind(c.byte()), States: r.States[:0]}
	r.Start = last + c.int()
	if r.Kind.IsRead() {
		r.Source = Source(c.byte())
		r.End = r.Start + int64(c.uint())
		r.A, r.B, r.Count = uint32(c.uint()), uint32(c.uint()), uint32(c.uint())
	} else {
		r.Seq, r.Untold, r.Place = uint32(c.uint()), c.byte() == 1, c.uint()
	}
	for n := c.uint(); n > 0 && !c.bad; n-- {
		head := c.byte()
		r.States = append(r.States, State{
			Row:     Row{Table: Table(head >> 1), ID: uint32(c.uint())},
			Version: uint32(c.uint()), Group: uint32(c.uint()), Present: head&1 == 1,
		})
	}
	if c.bad || len(c.b) > 0 || r.Kind.String() == "unknown" {
		return fmt.Errorf("%w: a record of %d bytes", ErrCorrupt, len(b))
	}
	return nil
}

package cacheplugin

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/shapes"
)

const (
	// publishedMost bounds the shapes, and the tables, that a process publishes: what
	// it sends stays below some ten kilobytes.
	publishedMost = 200
	// publishedFormat is raised when publication changes: others are left out.
	publishedFormat = 1
	// publishedFor is how many of its intervals a process is listed without a sign.
	publishedFor = 6
)

// publication is what a process tells the others of itself.
type publication struct {
	Format  int
	Process ProcessReport
	Numbers shapes.Snapshot
}

// newProcess describes this process.
func newProcess() ProcessReport {
	host, _ := os.Hostname() // empty if it has none
	return ProcessReport{ID: rand.Text(), Host: host, Program: filepath.Base(os.Args[0]), PID: os.Getpid(), Since: time.Now()}
}

// publication returns what there is to tell now.
func (p *Plugin) publication() publication {
	process := p.process
	process.At, process.Stats = time.Now(), p.Stats()
	return publication{Format: publishedFormat, Process: process, Numbers: p.shapes.Snapshot()}
}

// publishRegularly publishes until the plugin is closed. A process is not held up by
// it, and others lose nothing but its numbers.
func (p *Plugin) publishRegularly(ctx context.Context) {
	ticker := time.NewTicker(p.config.ReportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := p.publish(ctx); err != nil && ctx.Err() == nil {
			p.report.WarnOnce(ctx, "publish", "the numbers of this process can't be published; Report of other processes lacks them", "error", err)
		}
	}
}

func (p *Plugin) publish(ctx context.Context) error {
	now := p.publication()
	now.Numbers = now.Numbers.Head(publishedMost)
	payload, err := now.encode()
	if err != nil {
		return err
	}
	// So that a pause of the process, such as a laptop's, is not its end.
	life := max(publishedFor*p.config.ReportEvery, time.Minute)
	return p.namespaces.Home().Store.Publish(ctx, now.Process.ID, payload, life)
}

// published returns what other processes have told, those that were started first
// first.
func (p *Plugin) published(ctx context.Context) ([]publication, error) {
	all, err := p.namespaces.Home().Store.Published(ctx)
	if err != nil {
		return nil, fmt.Errorf("cacheplugin: the numbers of other processes are not known: %w", err)
	}
	delete(all, p.process.ID)
	var list []publication
	for name, payload := range all {
		one, err := decodePublication(payload)
		switch {
		case errors.Is(err, errFormat): // of another release
		case err != nil:
			return nil, fmt.Errorf("cacheplugin: the numbers of process %s can't be read: %w", name, err)
		default:
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b publication) int {
		if d := a.Process.Since.Compare(b.Process.Since); d != 0 {
			return d
		}
		return strings.Compare(a.Process.ID, b.Process.ID)
	})
	return list, nil
}

// encode compresses: texts repeat each other.
func (p publication) encode() ([]byte, error) {
	var payload bytes.Buffer
	w := gzip.NewWriter(&payload)
	if err := errors.Join(json.NewEncoder(w).Encode(p), w.Close()); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return payload.Bytes(), nil
}

// errFormat says that a publication is of a release with another format.
var errFormat = errors.New("another format")

func decodePublication(payload []byte) (p publication, err error) {
	r, err := gzip.NewReader(bytes.NewReader(payload))
	if err != nil {
		return p, fmt.Errorf("decompress: %w", err)
	}
	var format struct{ Format int }
	var raw json.RawMessage
	if err = json.NewDecoder(r).Decode(&raw); err == nil {
		err = json.Unmarshal(raw, &format)
	}
	switch {
	case err != nil:
		return p, fmt.Errorf("decode: %w", err)
	case format.Format != publishedFormat:
		return p, errFormat
	}
	if err = json.Unmarshal(raw, &p); err != nil {
		return p, fmt.Errorf("decode: %w", err)
	}
	return p, nil
}

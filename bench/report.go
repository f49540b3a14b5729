package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints results as they come and writes them to files at the end.
type report struct {
	out       io.Writer
	directory string
	name      string // of the files
	machine   []string
	results   []result
	times     []string // what the suites took
}

func newReport(out io.Writer, directory, name string, machine []string) *report {
	for _, line := range machine {
		fmt.Fprintln(out, line)
	}
	return &report{out: out, directory: directory, name: name, machine: machine}
}

func (r *report) add(results ...result) {
	r.results = append(r.results, results...)
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	last := ""
	for _, x := range results {
		if head := x.suite + " / " + x.work + " / " + x.database; head != last {
			last = head
			fmt.Fprintf(w, "\n%s\tmedian\tratio\trange\tops/s\tallocs\tbytes\tround trips\t\n", head)
		}
		fmt.Fprintf(w, "  %s\t%s\n", x.contender, strings.Join(append(x.cells(), x.number(x.bytes), x.tripCell(), extras(x.extra)), "\t"))
	}
	_ = w.Flush()
}

// took notes how long a suite took on a database.
func (r *report) took(s suite, d *database, t time.Duration) {
	r.times = append(r.times, fmt.Sprintf("%s on %s %s", s.name, d.name, t.Round(time.Second)))
	fmt.Fprintf(r.out, "\n%s on %s took %s\n", s.name, d.name, t.Round(time.Second))
}

// cells are a result's time, ratio, range, rate and allocations, for people.
func (x result) cells() []string {
	if len(x.ns) == 0 {
		return []string{"-", "-", "-", "-", "-"}
	}
	ns := median(x.ns)
	low, high := spread(x.ratios)
	return []string{
		duration(ns), fmt.Sprintf("%.2f", median(x.ratios)), fmt.Sprintf("%.2f..%.2f", low, high),
		fmt.Sprintf("%.0f", 1e9/ns), x.number(x.allocs),
	}
}

func (x result) tripCell() string {
	if len(x.ns) == 0 {
		return "-"
	}
	return strconv.FormatFloat(math.Round(x.trips*100)/100, 'f', -1, 64)
}

// number is a count of what is made for one operation, or a dash where it
// isn't known.
func (x result) number(n float64) string {
	if len(x.ns) == 0 || math.IsNaN(n) {
		return "-"
	}
	return fmt.Sprintf("%.0f", n)
}

// duration is a time in nanoseconds, to three digits.
func duration(ns float64) string {
	switch {
	case ns < 1e3:
		return digits(ns) + " ns"
	case ns < 1e6:
		return digits(ns/1e3) + " µs"
	case ns < 1e9:
		return digits(ns/1e6) + " ms"
	default:
		return digits(ns/1e9) + " s"
	}
}

func extras(extra map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		parts = append(parts, name+" "+digits(extra[name]))
	}
	return strings.Join(parts, ", ")
}

// digits is a figure to three digits before the point or as many as it has.
func digits(f float64) string {
	if math.Abs(f) >= 100 {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%.3g", f)
}

// write writes the report's files: Markdown, CSV, lines for benchstat, and a
// chart of each suite.
func (r *report) write() error {
	if r.directory == "" || len(r.results) == 0 {
		return nil
	}
	if err := os.MkdirAll(r.directory, 0o755); err != nil {
		return err
	}
	return errors.Join(
		r.file(r.name+".csv", r.csv),
		r.file(r.name+".txt", r.benchstat),
		r.file(r.name+".md", r.markdown),
		r.charts(),
	)
}

func (r *report) file(name string, write func(io.Writer) error) error {
	f, err := os.Create(filepath.Join(r.directory, name))
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	return errors.Join(write(w), w.Flush(), f.Close())
}

func (r *report) csv(out io.Writer) error {
	if err := r.comment(out); err != nil {
		return err
	}
	w := csv.NewWriter(out)
	header := []string{"suite", "work", "database", "contender", "baseline", "ns_median", "ratio_median", "ratio_low", "ratio_high", "ops_per_second", "allocs", "bytes", "round_trips", "extra"}
	if err := w.Write(header); err != nil {
		return err
	}
	number := func(x float64) string {
		if math.IsNaN(x) {
			return ""
		}
		return strconv.FormatFloat(x, 'g', 5, 64)
	}
	for _, x := range r.results {
		low, high := spread(x.ratios)
		ns := median(x.ns)
		if err := w.Write([]string{
			x.suite, x.work, x.database, x.contender, x.baseline, number(ns),
			number(median(x.ratios)), number(low), number(high), number(1e9 / ns), number(x.allocs), number(x.bytes), number(x.trips), extras(x.extra),
		}); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// comment writes what was measured on, as lines that readers of the formats
// pass over.
func (r *report) comment(out io.Writer) error {
	for _, line := range r.machine {
		if _, err := fmt.Fprintln(out, "# "+line); err != nil {
			return err
		}
	}
	return nil
}

// benchstat writes one line a round in the format of Go's benchmarks, so that
// benchstat compares runs and columns (benchstat -col /contender results.txt).
func (r *report) benchstat(out io.Writer) error {
	if err := r.comment(out); err != nil {
		return err
	}
	name := func(s string) string {
		return strings.NewReplacer(" ", "_", "/", "-", ",", "", "'", "").Replace(s)
	}
	for _, x := range r.results {
		for _, ns := range x.ns {
			line := fmt.Sprintf("Benchmark%s/work=%s/database=%s/contender=%s 1 %.1f ns/op", name(x.suite), name(x.work), name(x.database), name(x.contender), ns)
			if !math.IsNaN(x.allocs) {
				line += fmt.Sprintf(" %.1f allocs/op", x.allocs)
			}
			if _, err := fmt.Fprintf(out, "%s %.2f trips/op\n", line, x.trips); err != nil {
				return err
			}
		}
	}
	return nil
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// spread is the range of the middle half of the rounds.
func spread(values []float64) (low, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return math.NaN(), math.NaN()
	}
	return sorted[len(sorted)/4], sorted[len(sorted)-1-len(sorted)/4]
}

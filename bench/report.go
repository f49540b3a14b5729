package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"image/color"
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

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// report prints results as they come and writes them to files at the end.
type report struct {
	out       io.Writer
	directory string
	machine   []string
	results   []result
}

func newReport(out io.Writer, directory string, machine []string) *report {
	for _, line := range machine {
		fmt.Fprintln(out, line)
	}
	return &report{out: out, directory: directory, machine: machine}
}

func (r *report) add(results ...result) {
	r.results = append(r.results, results...)
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	last := ""
	for _, x := range results {
		if head := x.suite + " / " + x.work + " / " + x.database; head != last {
			last = head
			fmt.Fprintf(w, "\n%s\tmedian\tratio\trange\tallocs\tbytes\tround trips\t\n", head)
		}
		low, high := spread(x.ratios)
		fmt.Fprintf(w, "  %s\t%s\t%.2f\t%.2f..%.2f\t%.0f\t%.0f\t%.2f\t%s\n", x.contender,
			time.Duration(median(x.ns)).Round(10*time.Nanosecond), median(x.ratios), low, high, x.allocs, x.bytes, x.trips, extras(x.extra))
	}
	_ = w.Flush()
}

func extras(extra map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		parts = append(parts, fmt.Sprintf("%s %.4g", name, extra[name]))
	}
	return strings.Join(parts, ", ")
}

// write writes results.csv, results.txt (for benchstat) and a chart a suite.
func (r *report) write() error {
	if r.directory == "" {
		return nil
	}
	if err := os.MkdirAll(r.directory, 0o755); err != nil {
		return err
	}
	return errors.Join(
		r.file("results.csv", r.csv),
		r.file("results.txt", r.benchstat),
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
	w := csv.NewWriter(out)
	header := []string{"suite", "work", "database", "contender", "baseline", "ns_median", "ratio_median", "ratio_low", "ratio_high", "allocs", "bytes", "round_trips", "extra"}
	if err := w.Write(header); err != nil {
		return err
	}
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', 5, 64) }
	for _, x := range r.results {
		low, high := spread(x.ratios)
		if err := w.Write([]string{
			x.suite, x.work, x.database, x.contender, x.baseline, number(median(x.ns)),
			number(median(x.ratios)), number(low), number(high), number(x.allocs), number(x.bytes), number(x.trips), extras(x.extra),
		}); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// benchstat writes one line a round in the format of Go's benchmarks, so that
// benchstat compares runs and columns (benchstat -col /contender results.txt).
func (r *report) benchstat(out io.Writer) error {
	var all error
	put := func(format string, args ...any) {
		_, err := fmt.Fprintf(out, format, args...)
		all = errors.Join(all, err)
	}
	for _, line := range r.machine {
		put("# %s\n", line)
	}
	name := func(s string) string {
		return strings.NewReplacer(" ", "_", "/", "-", ",", "").Replace(s)
	}
	for _, x := range r.results {
		for _, ns := range x.ns {
			put("Benchmark%s/work=%s/database=%s/contender=%s 1 %.1f ns/op %.1f allocs/op %.2f trips/op\n",
				name(x.suite), name(x.work), name(x.database), name(x.contender), ns, x.allocs, x.trips)
		}
	}
	return all
}

// charts draws, for each suite and database, the ratios to the baseline.
func (r *report) charts() error {
	type chart struct{ suite, database string }
	byChart := map[chart][]result{}
	for _, x := range r.results {
		c := chart{x.suite, x.database}
		byChart[c] = append(byChart[c], x)
	}
	var all error
	for c, results := range byChart {
		name := c.suite
		if c.database != "-" {
			name += "-" + c.database
		}
		all = errors.Join(all, draw(filepath.Join(r.directory, name+".svg"), c.suite+" on "+c.database, results))
	}
	return all
}

func draw(path, title string, results []result) error {
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text = "time, relative to the first of each group (logarithmic)"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.BackgroundColor = color.White

	var (
		labels []string
		points plotter.XYs
		errs   []struct{ Low, High float64 }
	)
	for _, x := range slices.Backward(results) {
		low, high := spread(x.ratios)
		m := median(x.ratios)
		if m <= 0 || math.IsInf(m, 0) || math.IsNaN(m) {
			continue
		}
		points = append(points, plotter.XY{X: m, Y: float64(len(labels))})
		errs = append(errs, struct{ Low, High float64 }{m - low, high - m})
		labels = append(labels, x.work+": "+x.contender)
	}
	if len(points) == 0 {
		return nil
	}
	scatter, err := plotter.NewScatter(points)
	if err != nil {
		return err
	}
	scatter.Radius = vg.Points(3)
	scatter.Color = color.RGBA{R: 0x1f, G: 0x4e, B: 0x99, A: 0xff}
	bars, err := plotter.NewXErrorBars(struct {
		plotter.XYer
		plotter.XErrorer
	}{points, xErrors(errs)})
	if err != nil {
		return err
	}
	grid := plotter.NewGrid()
	p.Add(grid, bars, scatter)
	p.NominalY(labels...)
	return p.Save(22*vg.Centimeter, vg.Length(3+0.55*float64(len(labels)))*vg.Centimeter, path)
}

type xErrors []struct{ Low, High float64 }

// XError implements plotter.XErrorer.
func (e xErrors) XError(i int) (float64, float64) { return e[i].Low, e[i].High }

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

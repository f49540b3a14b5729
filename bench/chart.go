package main

import (
	"bufio"
	"errors"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// charts draws a chart of each suite.
func (r *report) charts() error {
	var all error
	for _, s := range parts(r.results, func(x result) string { return x.suite }) {
		if c := chartOf(s); c != nil {
			all = errors.Join(all, c.save(filepath.Join(r.directory, s[0].suite+".svg")))
		}
	}
	return all
}

// drawn says whether a suite has a chart.
func drawn(results []result) bool { return chartOf(results) != nil }

// chart is a dot, with the range around it, for each result: panels side by
// side, in each a line for every label, and series told apart by color.
type chart struct {
	title, axis    string
	panels         []string
	labels, series []string
	dots           []dot
}

type dot struct {
	panel, label, series int
	at, low, high        float64
}

// chartOf lays a suite out: databases side by side, works below each other,
// contenders by color. Where there is one database, contenders are labels; and
// works that have the same contenders, or modes, lie side by side.
func chartOf(results []result) *chart {
	suite := results[0].suite
	c := &chart{title: named(suite).title, axis: "time for one operation, in relation to " + baseline(results) + " (logarithmic; left is faster)"}
	several := len(parts(results, func(x result) string { return x.database })) > 1 || results[0].database != "-"
	contenders := len(parts(results, func(x result) string { return x.contender }))
	panel, label, series := func(x result) string { return titles[x.database] }, func(x result) string { return x.work }, func(x result) string { return x.contender }
	switch {
	case results[0].extra["budget"] > 0:
		c.axis = "bytes of an entry, in relation to the budget of 1.2 × the rows' bytes + 200"
		panel = func(result) string { return "" }
	case several:
	case contenders > len(colors) && len(results) == contenders*len(parts(results, func(x result) string { return x.work })):
		panel, label, series = func(x result) string { return x.work }, series, func(result) string { return "" }
	case contenders > len(colors):
		// Works of two modes lie side by side.
		panel = func(x result) string { mode, _ := modeOf(x); return mode }
		label = func(x result) string { _, work := modeOf(x); return work + ": " + x.contender }
		series = func(result) string { return "" }
	default:
		panel = func(result) string { return "" }
	}
	for _, x := range results {
		d := dot{at: median(x.ratios)}
		d.low, d.high = spread(x.ratios)
		if budget := x.extra["budget"]; budget > 0 {
			d.at = x.extra["bytes"] / budget
			d.low, d.high = d.at, d.at
		}
		if !(d.low > 0) || math.IsInf(d.high, 0) {
			continue
		}
		d.panel, d.label, d.series = number(&c.panels, panel(x)), number(&c.labels, label(x)), number(&c.series, series(x))
		c.dots = append(c.dots, d)
	}
	if len(c.dots) == 0 {
		return nil
	}
	return c
}

// modeOf splits the name of a work that is measured in each mode.
func modeOf(x result) (mode, work string) {
	if mode, work, ok := strings.Cut(x.work, ": "); ok {
		return mode, work
	}
	return "", x.work
}

// baseline is the name of what the results are compared with.
func baseline(results []result) string {
	for _, x := range results {
		if x.baseline != results[0].baseline {
			return "the first of its kind"
		}
	}
	return results[0].baseline
}

// number is the index of a name in a list, to which it is added if need be.
func number(names *[]string, name string) int {
	if i := slices.Index(*names, name); i >= 0 {
		return i
	}
	*names = append(*names, name)
	return len(*names) - 1
}

// colors tell series apart: most of them also for those who don't see red and
// green as two (the palette of Okabe and Ito comes first).
var colors = []color.RGBA{
	{0x77, 0x77, 0x77, 0xff}, {0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x56, 0xb4, 0xe9, 0xff}, {0xe6, 0x9f, 0x00, 0xff},
	{0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff}, {0x00, 0x00, 0x00, 0xff}, {0xa0, 0x52, 0x2d, 0xff}, {0x8a, 0x2b, 0xe2, 0xff},
	{0x9a, 0xcd, 0x32, 0xff}, {0xff, 0x14, 0x93, 0xff},
}

// colorOf gives a contender the same color in all charts.
func colorOf(series string) color.RGBA {
	i := slices.IndexFunc(allVariants, func(v variant) bool { return v.name == series })
	if series == byHandName {
		i = len(allVariants)
	}
	return colors[(i+1)%len(colors)] // GORM alone is gray, as what has no color of its own
}

const (
	lineHeight   = 0.34 * vg.Centimeter // of one series in a label's line
	panelWidth   = 9 * vg.Centimeter
	letterWidth  = 0.17 * vg.Centimeter
	legendLine   = 0.5 * vg.Centimeter
	legendAcross = 3
)

// save draws the chart into a file, in the format that its name ends with.
func (c *chart) save(path string) error {
	labelWidth := letterWidth * vg.Length(longest(c.labels))
	chartHeight := 2.6*vg.Centimeter + lineHeight*vg.Length(len(c.labels)*max(2, len(c.series)+1))
	legendHeight := 0.2*vg.Centimeter + legendLine*vg.Length((len(c.series)+legendAcross-1)/legendAcross)
	if len(c.series) == 1 {
		legendHeight = 0
	}
	width := labelWidth + max(panelWidth*vg.Length(len(c.panels)), 15*vg.Centimeter) + vg.Centimeter
	height := 1.8*vg.Centimeter + chartHeight + legendHeight

	canvas, err := draw.NewFormattedCanvas(width, height, strings.TrimPrefix(filepath.Ext(path), "."))
	if err != nil {
		return err
	}
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	all = draw.Crop(all, 0.3*vg.Centimeter, -0.3*vg.Centimeter, 0.2*vg.Centimeter, -0.2*vg.Centimeter)

	var (
		plots = make([]*plot.Plot, len(c.panels))
		keys  = make([]plot.Legend, legendAcross)
	)
	for i := range plots {
		if plots[i], err = c.panel(i); err != nil {
			return err
		}
	}
	for i := range keys {
		keys[i] = plot.NewLegend()
		keys[i].Left, keys[i].Top, keys[i].ThumbnailWidth, keys[i].Padding = true, true, vg.Points(10), vg.Points(4)
		keys[i].TextStyle.Font.Variant, keys[i].TextStyle.Font.Size = "Sans", 10
	}
	if legendHeight > 0 {
		for i, name := range c.series {
			keys[i%legendAcross].Add(name, mark{style(name)})
		}
	}
	title := plots[0].Title.TextStyle
	title.Font.Size = 13
	all.FillText(title, vg.Point{X: all.Center().X, Y: all.Max.Y}, c.title)
	axis := title
	axis.Font.Size = 10
	axis.YAlign = draw.YBottom
	all.FillText(axis, vg.Point{X: all.Center().X, Y: all.Min.Y + legendHeight + 0.15*vg.Centimeter}, c.axis)

	body := draw.Crop(all, 0, 0, legendHeight+0.7*vg.Centimeter, -1.2*vg.Centimeter)
	for i, part := range side(body, len(plots), labelWidth) {
		plots[i].Draw(part)
		dots := plots[i].DataCanvas(part)
		all.FillText(axis, vg.Point{X: dots.Center().X, Y: body.Max.Y + 0.15*vg.Centimeter}, c.panels[i])
	}
	across := (all.Max.X - all.Min.X) / legendAcross
	for i := range keys {
		keys[i].Draw(draw.Crop(all, across*vg.Length(i), 0, 0, -(all.Max.Y - all.Min.Y - legendHeight)))
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	_, err = canvas.WriteTo(w)
	return errors.Join(err, w.Flush(), f.Close())
}

// side splits a canvas into some that lie side by side: the first has the room
// for the labels, and all have the same room for their dots.
func side(body draw.Canvas, n int, labels vg.Length) []draw.Canvas {
	const between = 0.4 * vg.Centimeter
	width := (body.Max.X - body.Min.X - labels - between*vg.Length(n-1)) / vg.Length(n)
	parts := make([]draw.Canvas, n)
	left := body.Min.X
	for i := range parts {
		right := left + width
		if i == 0 {
			right += labels
		}
		parts[i] = body
		parts[i].Min.X, parts[i].Max.X = left, right
		left = right + between
	}
	return parts
}

// panel is one of the plots that lie side by side.
func (c *chart) panel(index int) (*plot.Plot, error) {
	p := plot.New()
	p.BackgroundColor = color.Transparent
	for _, s := range []*text.Style{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label} {
		s.Font.Variant, s.Font.Size = "Sans", 10
	}
	p.X.Scale = plot.LogScale{}
	p.X.Min, p.X.Max = c.ends()
	p.X.Tick.Marker = plot.ConstantTicks(ticks(p.X.Min, p.X.Max))
	p.Y.Min, p.Y.Max = -0.5, float64(len(c.labels))-0.5
	var lines []plot.Tick
	for i, label := range c.labels {
		if index > 0 {
			label = ""
		}
		lines = append(lines, plot.Tick{Value: float64(len(c.labels) - 1 - i), Label: label})
	}
	p.Y.Tick.Marker, p.Y.Tick.Length, p.Y.LineStyle.Width = plot.ConstantTicks(lines), 0, 0

	grid := plotter.NewGrid()
	grid.Horizontal.Width = 0
	p.Add(grid, baselines{len(c.labels)})
	for i, series := range c.series {
		var points plotter.XYs
		var ranges xErrors
		for _, d := range c.dots {
			if d.panel != index || d.series != i {
				continue
			}
			// The series of a label lie below each other, around its line.
			offset := (float64(i) - float64(len(c.series)-1)/2) * 0.8 / float64(len(c.series))
			points = append(points, plotter.XY{X: d.at, Y: float64(len(c.labels)-1-d.label) - offset})
			ranges = append(ranges, struct{ Low, High float64 }{d.at - d.low, d.high - d.at})
		}
		if len(points) == 0 {
			continue
		}
		scatter, err := plotter.NewScatter(points)
		if err != nil {
			return nil, err
		}
		scatter.GlyphStyle = style(series)
		bars, err := plotter.NewXErrorBars(struct {
			plotter.XYer
			plotter.XErrorer
		}{points, ranges})
		if err != nil {
			return nil, err
		}
		bars.LineStyle.Color, bars.CapWidth = colorOf(series), 3
		p.Add(bars, scatter)
	}
	// The data must not move the ends.
	p.X.Min, p.X.Max = c.ends()
	p.Y.Min, p.Y.Max = -0.5, float64(len(c.labels))-0.5
	return p, nil
}

// ends are those of the axis: round ones, the same in all panels.
func (c *chart) ends() (low, high float64) {
	low, high = 1, 1
	for _, d := range c.dots {
		low, high = min(low, d.low), max(high, d.high)
	}
	low, high = low/1.15, high*1.15
	return low, high
}

// ticks are at 1, 2 and 5 of each power of ten; at the powers alone if there
// are many, every other of them without its number if there are very many.
func ticks(low, high float64) []plot.Tick {
	var all []plot.Tick
	steps := []float64{1, 2, 5}
	if high/low > 2000 {
		steps = steps[:1]
	}
	for power := math.Floor(math.Log10(low)); power <= math.Ceil(math.Log10(high)); power++ {
		for _, step := range steps {
			at := step * math.Pow(10, power)
			if at < low || at > high {
				continue
			}
			label := strconv.FormatFloat(at, 'g', 6, 64)
			if high/low > 1e4 && math.Mod(power, 2) != 0 {
				label = "" // no room
			}
			all = append(all, plot.Tick{Value: at, Label: label})
		}
	}
	return all
}

func longest(texts []string) int {
	n := 0
	for _, text := range texts {
		n = max(n, len([]rune(text)))
	}
	return n
}

func style(series string) draw.GlyphStyle {
	return draw.GlyphStyle{Color: colorOf(series), Radius: vg.Points(3), Shape: draw.CircleGlyph{}}
}

// mark is a series' dot in the legend.
type mark struct{ draw.GlyphStyle }

// Thumbnail implements plot.Thumbnailer.
func (m mark) Thumbnail(c *draw.Canvas) { c.DrawGlyph(m.GlyphStyle, c.Center()) }

// baselines draws where the baseline is, and lines between the labels.
type baselines struct{ labels int }

// Plot implements plot.Plotter.
func (b baselines) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	c.StrokeLine2(draw.LineStyle{Color: color.Gray{0x60}, Width: vg.Points(1)}, x(1), c.Min.Y, x(1), c.Max.Y)
	for i := range b.labels + 1 {
		at := y(float64(i) - 0.5)
		c.StrokeLine2(draw.LineStyle{Color: color.Gray{0xd0}, Width: vg.Points(0.5)}, c.Min.X, at, c.Max.X, at)
	}
}

type xErrors []struct{ Low, High float64 }

// XError implements plotter.XErrorer.
func (e xErrors) XError(i int) (float64, float64) { return e[i].Low, e[i].High }

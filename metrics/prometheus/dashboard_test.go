package prometheus_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	client "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/metrics/prometheus"
)

// dashboard is what matters here of docs/grafana.json.
type dashboard struct {
	Templating struct {
		List []struct {
			Name       string
			Definition string
		}
	}
	Panels []struct {
		ID      int
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
}

var (
	selector = regexp.MustCompile(`\b(cacheplugin_[a-z_]+)(\{[^}]*\})?`)
	label    = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!=|!~|=)`)
	grouping = regexp.MustCompile(`by \(([^)]*)\)`)
	variable = regexp.MustCompile(`\$(?:\{(\w+)\}|(\w+))`)
)

// series returns the names of all series and their labels, as Prometheus will
// have them.
func series(t *testing.T) map[string][]string {
	m := prometheus.New(prometheus.Options{})
	for _, e := range everyEvent() {
		m.Observe(t.Context(), e)
	}
	registry := client.NewPedanticRegistry()
	registry.MustRegister(m, prometheus.NewStats(func() cacheplugin.Stats { return cacheplugin.Stats{} }, prometheus.Options{}))
	families, err := registry.Gather()
	require.NoError(t, err)
	all := map[string][]string{}
	for _, f := range families {
		labels := []string{"job"}
		for _, pair := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, pair.GetName())
		}
		if f.GetType() != dto.MetricType_HISTOGRAM {
			all[f.GetName()] = labels
			continue
		}
		all[f.GetName()+"_sum"], all[f.GetName()+"_count"] = labels, labels
		all[f.GetName()+"_bucket"] = append([]string{"le"}, labels...)
	}
	return all
}

func TestTheDashboardShowsWhatIsExported(t *testing.T) {
	text, err := os.ReadFile("../../docs/grafana.json")
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(text, &d))
	known := series(t)
	variables := map[string]bool{"datasource": true, "__rate_interval": true}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
	}

	shown := map[string]bool{}
	check := func(expr string) {
		found := selector.FindAllStringSubmatch(expr, -1)
		require.NotEmpty(t, found, expr)
		var labels []string
		for _, s := range found {
			require.Contains(t, known, s[1], expr)
			shown[s[1]], labels = true, known[s[1]]
			for _, l := range label.FindAllStringSubmatch(s[2], -1) {
				require.Contains(t, labels, l[1], expr)
			}
		}
		for _, by := range grouping.FindAllStringSubmatch(expr, -1) {
			for name := range strings.SplitSeq(by[1], ", ") {
				require.Contains(t, labels, name, expr)
			}
		}
		for _, v := range variable.FindAllStringSubmatch(expr, -1) {
			require.Contains(t, variables, v[1]+v[2], expr)
		}
	}
	for _, v := range d.Templating.List {
		if v.Definition != "" {
			check(v.Definition)
		}
	}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		require.NotContains(t, ids, p.ID)
		ids[p.ID] = true
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			check(target.Expr)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Less(t, x, 24, p.Title)
				require.NotContains(t, taken, [2]int{x, y}, "%s is on top of another", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
	}

	// Nothing is measured that the dashboard leaves out, but the counters that
	// repeat others, and what histograms give besides their buckets.
	for name := range known {
		if !strings.HasPrefix(name, "cacheplugin_stats_") && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") {
			require.True(t, shown[name], "%s is not on the dashboard", name)
		}
	}
}

func TestTheDocumentationNamesEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	for name := range series(t) {
		for _, suffix := range []string{"_sum", "_count", "_bucket"} {
			name = strings.TrimSuffix(name, suffix)
		}
		require.Contains(t, string(text), "`"+name+"`")
	}
}

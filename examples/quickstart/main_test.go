package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuickstartShowsEveryStep(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(&out, "", ""))
	var steps []string
	for _, m := range regexp.MustCompile(`(?m)^  tag (\d): (\S+) .* (\[.*\])$`).FindAllStringSubmatch(out.String(), -1) {
		steps = append(steps, m[1]+" "+m[2]+" "+m[3])
	}
	require.Equal(t, []string{
		`1 miss ["Hydrogen"]`, `2 miss ["Helium" "Lithium"]`,
		`1 hit ["Hydrogen"]`, `2 hit ["Helium" "Lithium"]`,
		`1 hit ["Hydrogen"]`, `2 miss ["Helium-4" "Lithium"]`,
		`1 bypassed ["Hydrogen" "Lithium"]`, `1 hit ["Hydrogen"]`, `2 hit ["Helium-4" "Lithium"]`,
		`1 miss ["Hydrogen" "Lithium"]`, `2 miss ["Helium-4"]`,
	}, steps)
	require.Contains(t, out.String(), "dropped by rows of main.quickstart_articles with tag_id = 1")
}

package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/checker/internal/chaos"
	"github.com/cacheplugin/cacheplugin/checker/internal/rules"
	"github.com/cacheplugin/cacheplugin/checker/internal/work"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func TestMain(m *testing.M) {
	work.Enter()
	testdb.Main(m)
}

// runSmall runs a small cell and requires that it is as its fault says.
func runSmall(t *testing.T, name string, c chaos.Cell) *chaos.Result {
	t.Helper()
	r := runCell(t, name, c)
	require.Empty(t, r.Unexpected())
	return r
}

// runCell runs a small cell and says what came of it.
func runCell(t *testing.T, name string, c chaos.Cell) *chaos.Result {
	t.Helper()
	faults, err := chaos.Find(name)
	require.NoError(t, err)
	c.Fault = faults[0]
	c.Readers, c.Writers, c.Clients, c.Items, c.Groups = 2, 2, 2, 8, 3
	c.Pause, c.FenceTTL = 2*time.Millisecond, 500*time.Millisecond
	c.Seed = 1
	c.Duration = 2 * time.Second
	c.Fault.Interval = 300 * time.Millisecond
	r := chaos.Run(t, c)
	t.Logf("%s: %d reads, %d hits, %d commits, %d faults; older than told %d, returned %d, committed %d; porcupine: %s",
		c.Label(), r.Verdict.Reads, r.Verdict.Hits, r.Commits, r.Faults, r.Verdict.ByGrade[rules.Told].Reads,
		r.Verdict.ByGrade[rules.Returned].Reads, r.Verdict.ByGrade[rules.Committed].Reads, r.Registers.Opinion)
	for _, story := range r.Stories {
		t.Log("\n" + story)
	}
	return r
}

// controlRuns bounds how often a control is run until it is found out: what it
// breaks shows by chance, and the less often the busier the machine is.
const controlRuns = 5

// Each control must be found out, or the checker is blind to what it weakens.
func TestAWeakenedProtocolIsFoundOut(t *testing.T) {
	for _, name := range []string{"control-late", "control-deaf", "control-unmarked", "control-unfenced", "control-unverified", "control-faithful", "control-hasty"} {
		t.Run(name, func(t *testing.T) {
			c := chaos.Cell{Database: testenv.SQLiteFile}
			if name == "control-hasty" {
				c.Database = testenv.Postgres
			}
			if name == "control-unfenced" {
				c.Consistency = cacheplugin.Strict
			}
			r := runCell(t, name, c)
			for range controlRuns - 1 {
				if len(r.Unexpected()) == 0 {
					break
				}
				r = runCell(t, name, c)
			}
			require.Empty(t, r.Unexpected())
			require.NotEmpty(t, r.Stories)
		})
	}
}

// The most telling cells of the matrix.
func TestTheProtocolAsItIsStands(t *testing.T) {
	for _, c := range []struct {
		database    string
		fault       string
		mode        cacheplugin.Mode
		consistency cacheplugin.Consistency
		direct      bool
	}{
		{testenv.SQLiteFile, "none", cacheplugin.ConjunctionSets, cacheplugin.Strict, true},
		{testenv.SQLiteFile, "kill-committed", cacheplugin.ConjunctionSets, cacheplugin.Returned, false},
		{testenv.SQLiteFile, "kill-committed", cacheplugin.InsideOut, cacheplugin.Strict, true},
		{testenv.SQLiteFile, "stop-saving", cacheplugin.InsideOut, cacheplugin.Returned, false},
		{testenv.SQLiteFile, "restart-old", cacheplugin.ConjunctionSets, cacheplugin.Returned, false},
		{testenv.SQLiteFile, "restart-old", cacheplugin.InsideOut, cacheplugin.Returned, true},
		{testenv.Postgres, "follow", cacheplugin.InsideOut, cacheplugin.Returned, false},
		{testenv.MariaDB, "follow-database", cacheplugin.ConjunctionSets, cacheplugin.Returned, false},
	} {
		t.Run(c.database+"/"+c.fault+"/"+c.mode.String()+"/"+c.consistency.String(), func(t *testing.T) {
			runSmall(t, c.fault, chaos.Cell{Database: c.database, Mode: c.mode, Consistency: c.consistency, Direct: c.direct})
		})
	}
}

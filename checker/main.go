package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/checker/internal/chaos"
	"github.com/cacheplugin/cacheplugin/checker/internal/work"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func main() {
	work.Enter()
	code, err := command(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "checker:", err)
		code = 2
	}
	os.Exit(code)
}

// options are what the command line says.
type options struct {
	cell                               chaos.Cell
	matrix                             bool
	database, mode, consistency, fault string
	report, records                    string
}

// command runs what the arguments say and returns the exit code.
func command(args []string, out io.Writer) (int, error) {
	var o options
	flags := flag.NewFlagSet("checker", flag.ContinueOnError)
	flags.BoolVar(&o.matrix, "matrix", false, "run every fault and control in both modes and grades (unless those are given)")
	flags.StringVar(&o.database, "database", testenv.Postgres, "databases, separated by commas: postgres, mariadb, sqlite-file; several take turns from cell to cell")
	flags.StringVar(&o.mode, "mode", "sets,insideout", "modes: sets, insideout")
	flags.BoolVar(&o.cell.Near, "near", false, "with a near cache, whose results Redis confirms")
	flags.BoolVar(&o.cell.Direct, "direct", false, "with DirectConnections; faults of a cluster, and those that watch look-ups, are left out")
	flags.StringVar(&o.consistency, "consistency", "returned,strict", "grades: returned, strict")
	flags.StringVar(&o.fault, "fault", "none", "faults by name, all, or controls; list prints them")
	flags.DurationVar(&o.cell.Duration, "duration", 10*time.Second, "how long each cell runs at most")
	flags.Int64Var(&o.cell.Reads, "reads", 0, "how many reads each cell does at most; 0: as many as there is time for")
	flags.IntVar(&o.cell.Readers, "readers", 4, "processes that read")
	flags.IntVar(&o.cell.Writers, "writers", 4, "processes that write")
	flags.IntVar(&o.cell.Clients, "clients", 3, "goroutines of each process")
	flags.IntVar(&o.cell.Items, "items", 24, "rows")
	flags.IntVar(&o.cell.Groups, "groups", 5, "groups of rows")
	flags.DurationVar(&o.cell.Pause, "pause", 15*time.Millisecond, "a writer's pause between transactions, on average")
	flags.DurationVar(&o.cell.Timeout, "timeout", 5*time.Second, "how long results live")
	flags.DurationVar(&o.cell.FenceTTL, "fence", 2*time.Second, "FenceTTL")
	flags.Uint64Var(&o.cell.Seed, "seed", uint64(time.Now().UnixNano()), "what the processes do is drawn from it; when they do it is not")
	flags.StringVar(&o.cell.Keep, "keep", "", "an empty directory where the histories stay; for one cell")
	flags.StringVar(&o.report, "report", "", "a file for the table, as Markdown")
	flags.StringVar(&o.records, "json", "", "a file for one line of JSON for each cell")
	if err := flags.Parse(args); err != nil {
		return 2, nil // it has said why
	}
	if flags.NArg() > 0 {
		return 2, fmt.Errorf("%q is no flag: everything is given by flags, see -help", flags.Arg(0))
	}
	if o.fault == "list" {
		list(out)
		return 0, nil
	}
	if o.matrix {
		o.fault = "all,controls"
	}
	cells, err := o.cells()
	if err != nil {
		return 2, err
	}
	return run(cells, o, out)
}

// list prints the faults.
func list(out io.Writer) {
	for _, f := range chaos.Faults() {
		fmt.Fprintf(out, "%-22s %s\n", f.Name, f.What)
	}
}

// cells are the runs that the options ask for.
func (o options) cells() ([]chaos.Cell, error) {
	var modes []cacheplugin.Mode
	for _, name := range strings.Split(o.mode, ",") {
		switch name {
		case "sets":
			modes = append(modes, cacheplugin.ConjunctionSets)
		case "insideout":
			modes = append(modes, cacheplugin.InsideOut)
		default:
			return nil, fmt.Errorf("-mode %s: use sets or insideout", name)
		}
	}
	var grades []cacheplugin.Consistency
	for _, name := range strings.Split(o.consistency, ",") {
		switch name {
		case "returned":
			grades = append(grades, cacheplugin.Returned)
		case "strict":
			grades = append(grades, cacheplugin.Strict)
		default:
			return nil, fmt.Errorf("-consistency %s: use returned or strict", name)
		}
	}
	databases := strings.Split(o.database, ",")
	for _, name := range databases {
		switch name {
		case testenv.Postgres, testenv.MariaDB, testenv.SQLiteFile:
		default:
			return nil, fmt.Errorf("-database %s: use postgres, mariadb or sqlite-file, which processes can share", name)
		}
	}
	faults, err := chaos.Find(o.fault)
	if err != nil {
		return nil, fmt.Errorf("-fault: %w: -fault list prints them", err)
	}
	var cells []chaos.Cell
	for _, f := range faults {
		for _, grade := range grades {
			for _, mode := range modes {
				var suited []string
				for _, d := range databases {
					if f.Suits(d) {
						suited = append(suited, d)
					}
				}
				if len(suited) == 0 || !f.Applies(mode, grade) || o.cell.Direct && (f.Cluster || f.Watched) {
					continue
				}
				c := o.cell
				c.Fault, c.Mode, c.Consistency = f, mode, grade
				c.Database = suited[len(cells)%len(suited)]
				c.Seed += uint64(len(cells))
				cells = append(cells, c)
			}
		}
	}
	if len(cells) == 0 {
		return nil, fmt.Errorf("-fault %s makes no difference in what -database, -mode, -consistency and -direct leave", o.fault)
	}
	return cells, nil
}

// run runs the cells one after the other.
func run(cells []chaos.Cell, o options, out io.Writer) (int, error) {
	defer testdb.StopServers()
	r, err := newReport(o, out)
	if err != nil {
		return 2, err
	}
	for i, c := range cells {
		fmt.Fprintf(out, "%3d/%d %-60s ", i+1, len(cells), c.Label())
		result, err := inRig(func(t *rig) *chaos.Result { return chaos.Run(t, c) })
		if err := r.add(c, result, err); err != nil {
			return 2, err
		}
	}
	return r.end()
}

// Command bench measures what the plugin costs and what it saves, against the
// limits of the machine it runs on.
//
//	go run .                          # everything, tables on standard output
//	go run . -out ../docs/benchmarks  # and Markdown, CSV, charts and benchstat's format
//	go run . -out ../docs/benchmarks -summary ../docs/benchmarks.md   # what the documents show
//	go run . -works 'reads|writes' -databases sqlite -rounds 3
//	go run . -scale                   # what grows with the number of entries
//
// It starts PostgreSQL, MariaDB and Redis itself, on free ports, or uses those
// that the environment names (see package integration/testdb). The Redis is
// emptied.
//
// Absolute times mean little on a machine that has something else to do. So
// the contenders of one work take turns, in short slices and in another random
// order in each round, and what is reported is the median over the rounds of the
// ratio to the work's baseline in the same round. Allocations and round trips to
// Redis are counted, not timed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	out       string
	summary   string
	rounds    int
	slice     time.Duration
	works     *regexp.Regexp
	databases []string
	scale     bool
	entries   int
	worker    string
}

func parse(args []string) (options, error) {
	var (
		o         options
		works     string
		databases string
		flags     = flag.NewFlagSet("bench", flag.ContinueOnError)
	)
	flags.StringVar(&o.out, "out", "", "directory for tables, CSV, SVG and benchstat files; none if empty")
	flags.StringVar(&o.summary, "summary", "", "page whose summary is replaced; none if empty")
	flags.IntVar(&o.rounds, "rounds", 7, "rounds per work; each contender gets one slice a round")
	flags.DurationVar(&o.slice, "slice", 60*time.Millisecond, "how long a contender's slice is")
	flags.StringVar(&works, "works", ".", "suites to run, a regular expression: "+suiteNames())
	flags.StringVar(&databases, "databases", "postgres,mariadb,sqlite", "databases to run on")
	flags.BoolVar(&o.scale, "scale", false, "measure how costs grow with the number of entries, conjunctions and schemes instead")
	flags.IntVar(&o.entries, "entries", 1_000_000, "entries of -scale")
	flags.StringVar(&o.worker, "worker", "", "internal: run as a process of the contention work")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err error
	if o.works, err = regexp.Compile(works); err != nil {
		return o, fmt.Errorf("-works: %w", err)
	}
	if o.rounds < 1 || o.slice <= 0 {
		return o, errors.New("-rounds and -slice must be positive")
	}
	o.databases = strings.FieldsFunc(databases, func(r rune) bool { return r == ',' })
	return o, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.worker != "" {
		return work(ctx, o.worker, os.Stdin, os.Stdout)
	}
	if o.scale {
		o.databases = nil // it needs none
	}
	env, err := start(o.databases)
	if err != nil {
		return err
	}
	defer env.stop()

	name := "results"
	if o.scale {
		name = "scale"
	}
	report := newReport(os.Stdout, o.out, name, describe(ctx, env, args))
	if o.scale {
		if err := env.scale(ctx, o, report); err != nil {
			return err
		}
		return report.write()
	}
	failed := env.runSuites(ctx, o, report)
	if err := errors.Join(failed, report.write()); err != nil {
		return err
	}
	return report.summarize(o.summary)
}

// runSuites measures what the options ask for. What has been measured is
// reported even if something fails later.
func (env *environment) runSuites(ctx context.Context, o options, r *report) error {
	var failed []error
	for _, suite := range suites {
		if !o.works.MatchString(suite.name) {
			continue
		}
		for i, database := range env.databases {
			if suite.once && i > 0 || suite.networked && database.name == testenv.SQLite {
				continue
			}
			if err := ctx.Err(); err != nil {
				return errors.Join(append(failed, err)...)
			}
			began := time.Now()
			results, err := env.runSuite(ctx, o, suite, database)
			if err != nil {
				failed = append(failed, fmt.Errorf("%s on %s: %w", suite.name, database.name, err))
			}
			r.add(results...)
			r.took(suite, database, time.Since(began))
		}
	}
	return errors.Join(failed...)
}

// describe names what was measured on.
func describe(ctx context.Context, env *environment, args []string) []string {
	lines := []string{
		"go run . " + strings.Join(args, " ") + ", " + time.Now().UTC().Format(time.DateOnly),
		fmt.Sprintf("%s %s/%s, %d CPUs: %s", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor()),
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		lines = append(lines, "kernel "+strings.TrimSpace(string(release)))
	}
	return append(lines, env.versions(ctx)...)
}

// processor is the machine's own name for its processor, where it tells.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

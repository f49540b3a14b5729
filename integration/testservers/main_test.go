package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

func TestRunReturnsTheCommandsExitCode(t *testing.T) {
	for name, want := range map[string]int{"exit 0": 0, "exit 7": 7} {
		t.Run(name, func(t *testing.T) {
			code, err := run([]string{"sh", "-c", name}, nil, nil)
			require.NoError(t, err)
			require.Equal(t, want, code)
		})
	}
}

func TestRunOfAMissingCommandFails(t *testing.T) {
	code, err := run([]string{filepath.Join(t.TempDir(), "none")}, nil, nil)
	require.Error(t, err)
	require.NotZero(t, code)
}

func TestRunNamesTheServersToTheCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	code, err := run([]string{"sh", "-c", `printf %s "$CACHEPLUGIN_TEST_REDIS" >"$0"`, out}, []string{"CACHEPLUGIN_TEST_REDIS=redis://here"}, nil)
	require.NoError(t, err)
	require.Zero(t, code)
	content, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, "redis://here", string(content))
}

func TestRunPassesAnInterruptOn(t *testing.T) {
	interrupts := make(chan os.Signal, 1)
	interrupts <- os.Interrupt
	_, err := run([]string{"sh", "-c", "while :; do sleep 0.05; done"}, nil, interrupts)
	require.ErrorContains(t, err, "interrupt")
}

func TestRunReportsACommandEndedByASignal(t *testing.T) {
	code, err := run([]string{"sh", "-c", "kill -KILL $$"}, nil, nil)
	require.ErrorContains(t, err, "killed")
	require.NotZero(t, code)
}

package main

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersion(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "ab12"}
	for _, test := range []struct {
		name string
		info *debug.BuildInfo
		want string
	}{
		{"installed", &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v0.1.0"}}, "v0.1.0 go1.26.0"},
		{"built in a checkout", &debug.BuildInfo{
			GoVersion: "go1.26.0", Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{revision},
		}, "(devel) (ab12) go1.26.0"},
		{"built in a checkout with changes", &debug.BuildInfo{
			GoVersion: "go1.26.0", Main: debug.Module{Version: "(devel)"},
			Settings: []debug.BuildSetting{revision, {Key: "vcs.modified", Value: "true"}},
		}, "(devel) (ab12, modified) go1.26.0"},
		{"built without version control", &debug.BuildInfo{GoVersion: "go1.26.0"}, "(devel) go1.26.0"},
		{"built without information", nil, "unknown"},
	} {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, version(test.info, test.info != nil)) })
	}
}

func TestTheVersionIsPrinted(t *testing.T) {
	var out, errOut strings.Builder
	require.Equal(t, exitOK, run(t.Context(), []string{"--version"}, func(string) string { return "" }, &out, &errOut))
	require.Empty(t, errOut.String())
	require.Contains(t, out.String(), "cacheplugin version ")
	require.Contains(t, out.String(), runtime.Version())
}

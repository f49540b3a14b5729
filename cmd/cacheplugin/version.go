package main

import (
	"fmt"
	"runtime/debug"
)

// version is what --version prints: the module's version where go install has
// built the program, the commit where a checkout has.
func version(info *debug.BuildInfo, ok bool) string {
	if !ok {
		return "unknown"
	}
	text := info.Main.Version
	if text == "" {
		text = "(devel)"
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if commit := settings["vcs.revision"]; commit != "" {
		if settings["vcs.modified"] == "true" {
			commit += ", modified"
		}
		text += " (" + commit + ")"
	}
	return fmt.Sprintf("%s %s", text, info.GoVersion)
}

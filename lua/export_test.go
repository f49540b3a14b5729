package lua

import (
	"strings"
)

// Sources returns the scripts' texts by their names.
func Sources() map[string]string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err)
	}
	sources := map[string]string{}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".lua"); ok {
			sources[name] = text(e.Name())
		}
	}
	return sources
}

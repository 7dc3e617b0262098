package configs

import (
	"maps"
	"slices"
	"strings"
)

// environment turns "name=value" lines into a map; of a name that comes twice
// the last counts.
func environment(lines []string) map[string]string {
	vars := make(map[string]string, len(lines))
	for _, line := range lines {
		if name, value, ok := strings.Cut(line, "="); ok {
			vars[name] = value
		}
	}
	return vars
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

package configs

import (
	"fmt"
	"strings"
)

// A Problem is one thing that is wrong with the configuration.
type Problem struct {
	Key     string // "" when it is not about one
	Origin  string // "postrider.yaml:12", "variable POSTRIDER_RATE", "flag --rate"
	Message string // what is wrong and what was expected; never a secret
}

func (p Problem) String() string {
	if p.Key == "" {
		return p.Origin + ": " + p.Message
	}
	return p.Origin + ": " + p.Key + " " + p.Message
}

// Error lists everything that is wrong with the configuration.
type Error struct{ Problems []Problem }

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	if len(lines) == 1 {
		return "configuration: " + lines[0]
	}
	return fmt.Sprintf("configuration: %d things are wrong\n  %s", len(lines), strings.Join(lines, "\n  "))
}

func (l *loader) problem(key, origin, format string, args ...any) {
	l.problems = append(l.problems, Problem{Key: key, Origin: origin, Message: fmt.Sprintf(format, args...)})
}

// suggestion names the known name that is nearest to a wrong one, if any is near.
func suggestion(wrong string, known []string) string {
	plain := strings.ReplaceAll(strings.ToLower(wrong), "-", "_")
	best, at := "", max(2, len(wrong)/4)+1
	for _, k := range known {
		lower := strings.ToLower(k)
		d := distance(plain, lower)
		// A name that only lacks or carries a prefix is near, however long that is.
		if strings.HasSuffix(plain, "_"+lower) || strings.HasSuffix(lower, "_"+plain) {
			d = min(d, 1)
		}
		if d < at {
			best, at = k, d
		}
	}
	if best == "" {
		return ": postrider.example.yaml shows all there are"
	}
	return ": did you mean " + best + "?"
}

// distance is the number of letters to insert, delete, replace or swap with the
// next one that leads from a to b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, above, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(y)]
}

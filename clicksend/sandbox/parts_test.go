package sandbox

import (
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"
)

func TestPartsFollowTheProvidersTable(t *testing.T) {
	t.Parallel()
	g := newGSMTable()
	for _, c := range []struct {
		body  string
		parts int
		kept  int // characters
	}{
		{strings.Repeat("a", 160), 1, 160}, {strings.Repeat("a", 161), 2, 161}, {strings.Repeat("a", 306), 2, 306}, {strings.Repeat("a", 307), 3, 307},
		{strings.Repeat("a", 1224), 8, 1224}, {strings.Repeat("a", 1225), 8, 1224},
		{strings.Repeat("€", 80), 1, 80}, {strings.Repeat("€", 81), 2, 81}, {strings.Repeat("{", 154), 3, 154},
		{strings.Repeat("ж", 70), 1, 70}, {strings.Repeat("ж", 71), 2, 71}, {strings.Repeat("ж", 134), 2, 134}, {strings.Repeat("ж", 135), 3, 135},
		{strings.Repeat("ж", 600), 8, 536},
		{strings.Repeat("😀", 35), 1, 35}, {strings.Repeat("😀", 36), 2, 36}, {"`", 1, 1}, {strings.Repeat("`", 71), 2, 71},
		{strings.Repeat("é", 160), 1, 160}, {strings.Repeat("ê", 71), 2, 71},
	} {
		kept, parts := g.smsParts([]byte(c.body), 8)
		if n := len([]rune(string(kept))); parts != c.parts || n != c.kept {
			t.Errorf("%d × %.4q: %d parts of %d characters, want %d of %d", len([]rune(c.body)), c.body, parts, n, c.parts, c.kept)
		}
	}
}

func TestACutBodyFitsAndIsAPrefix(t *testing.T) {
	t.Parallel()
	g := newGSMTable()
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.StringOfN(rapid.SampledFrom([]rune("ab€{é😀ж")), 0, 900, -1).Draw(t, "body")
		limit := rapid.IntRange(1, 8).Draw(t, "parts")
		kept, parts := g.smsParts([]byte(body), limit)
		if parts < 1 || parts > limit || !strings.HasPrefix(body, string(kept)) {
			t.Fatalf("%d parts of at most %d", parts, limit)
		}
		_, unicode := g.measure([]byte(body))
		units := len(utf16.Encode([]rune(string(kept))))
		if most := max(70, 67*limit); unicode && units > most {
			t.Fatalf("%d units in %d parts", units, limit)
		}
	})
}

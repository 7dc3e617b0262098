package segment

import (
	"os"
	"strings"
	"testing"
)

// TestTheDocumentedConditions: what docs/segments.md shows can be written.
func TestTheDocumentedConditions(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/segments.md")
	if err != nil {
		t.Fatal(err)
	}
	_, fence, _ := strings.Cut(string(text), "```condition\n")
	fence, _, _ = strings.Cut(fence, "```")
	lines := strings.Split(strings.TrimSpace(fence), "\n")
	if len(lines) < 10 {
		t.Fatalf("the document has %d conditions", len(lines))
	}
	for _, line := range lines {
		if _, err := Compile(line, []string{"age", "plan", "last_order", "order"}); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

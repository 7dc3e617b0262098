package scheduler_test

import (
	"os"
	"strings"
	"testing"

	"github.com/postrider/postrider/scheduler"
)

func TestTheScheduleInTheDocumentsIsRight(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/recurring-runs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the document has no example")
	}
	d, err := scheduler.ParseDefinition("recurring-runs.md", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "nightly-letters" {
		t.Errorf("the example is called %q", d.Name)
	}
}

package crashpoint

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestPointsAreToldApart(t *testing.T) {
	t.Parallel()
	all := Points()
	if len(slices.Compact(slices.Clone(all))) != len(all) || len(all) < 50 {
		t.Errorf("%d points, some of them twice: %v", len(all), all)
	}
	for _, p := range all {
		if p == "" || strings.ContainsAny(string(p), ": ") {
			t.Errorf("%q cannot be written into CRASHPOINT", p)
		}
	}
}

// TestANormalBuildKnowsNoSwitch looks for the variable's name in the program.
func TestANormalBuildKnowsNoSwitch(t *testing.T) {
	t.Parallel()
	for tags, want := range map[string]bool{"": false, "crashpoints": true} {
		list, err := exec.CommandContext(t.Context(), "go", "list", "-tags", tags, "-f", "{{.GoFiles}}", ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(list), "on.go"); got != want {
			t.Errorf("with the tags %q the switch is built in: %v", tags, got)
		}
	}
}

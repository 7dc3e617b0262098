// Package acceptance runs Postrider as its users do: the built binary, in as
// many processes as a deployment has, over real Redis and PostgreSQL, against
// the sandbox. It has no code of its own, only tests; `make test` runs the heavy
// ones at a tenth of their size, `make accept` whole.
package acceptance

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// built is where TestMain has put the program: package testing has no way to
// hand a value to a test.
var built string

func TestMain(m *testing.M) {
	flag.Parse()
	// These tests wait for other processes more than they compute: twice as many
	// run at a time as Go would let, unless -parallel says otherwise.
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		if err := p.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0))); err != nil {
			panic(err)
		}
	}
	os.Exit(withProgram(m.Run))
}

// withProgram builds the program as a release is built, runs the tests and
// removes it.
func withProgram(run func() int) int {
	dir, err := os.MkdirTemp("", "postrider-acceptance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder for temporary files
	built = filepath.Join(dir, "postrider")
	if err := buildProgram(built); err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		return 1
	}
	return run()
}

func buildProgram(path string, flags ...string) error {
	build := exec.Command("go", append(append([]string{"build", "-trimpath", "-o", path}, flags...), "../cmd/postrider")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// scaled is so many recipients at POSTRIDER_SCALE, which is 0.1 when it is not
// set and 1 in `make accept`: whole batches, two at the least.
func scaled(t testing.TB, n int) int {
	t.Helper()
	scale := 0.1
	if s := os.Getenv("POSTRIDER_SCALE"); s != "" {
		var err error
		if scale, err = strconv.ParseFloat(s, 64); err != nil || scale <= 0 {
			t.Fatalf("POSTRIDER_SCALE is %q: expected a number such as 0.1 or 1", s)
		}
	}
	return max(int(float64(n)*scale)/1000, 2) * 1000
}

// patience is how long a whole campaign may take before a test gives up: far
// longer than it does, on a machine that is busy with other packages' tests.
func patience(recipients int) time.Duration {
	return 3*time.Minute + time.Duration(recipients)*2*time.Millisecond
}

// eventually waits until done, and fails the test when it is not within the
// time.
func eventually(t testing.TB, within time.Duration, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !done() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%s: not within %s\n%s", what, within, stacks[:runtime.Stack(stacks, false)])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

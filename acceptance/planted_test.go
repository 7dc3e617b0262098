package acceptance

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// planted is a bug, as replacements in the program's files.
type planted struct {
	name string
	// always: it is planted in `make test` too, where there is no time for all.
	always  bool
	changes []change
}

type change struct{ file, old, new string }

// bugs are those that would send twice or lose somebody, each of which somebody
// might write.
var bugs = []planted{
	{"what is unknown is sent again without looking", true, []change{{
		"jobs/send.go",
		`return s.Ledger.CloseUnknown(ctx, a, ce.Error())`,
		`return s.Ledger.CloseNotSent(ctx, a, ce.Error(), 0, "")`,
	}}},
	{"a lost fence is not noticed", false, []change{{
		"ledger/attempts.go",
		`errors.Is(err, sql.ErrNoRows) || err == nil && (fence != cl.Fence || until < now)`,
		`errors.Is(err, sql.ErrNoRows)`,
	}}},
	{"absence is believed before the settling time", false, []change{{
		"ledger/looks.go",
		`now.Add(-settle).UnixMilli(), now.UnixMilli())`,
		`now.UnixMilli(), now.UnixMilli())`,
	}, {
		"ledger/looks.go",
		`now-settle.Milliseconds(), d.Provider.URL`,
		`now, d.Provider.URL`,
	}, {
		"ledger/looks.go",
		`s.Due = !s.settlesFrom.Add(settle).After(now) && (`,
		`s.Due = (`,
	}}},
	{"absence is believed of a look that is not complete", false, []change{{
		"ledger/looks.go",
		"	case !r.Complete:\n		return 0, again(growing)\n",
		"",
	}}},
	{"rows are matched by position alone", true, []change{{
		"jobs/match.go",
		"	found := make([]int, len(messages))\n",
		"	found := make([]int, len(messages))\n" +
			"	for i := range found {\n		found[i] = i\n		if i >= len(rows) {\n			found[i] = -1\n		}\n	}\n" +
			"	if true {\n		return found\n	}\n",
	}}},
	{"a worker makes the attempt numbers", false, []change{{
		"jobs/send.go",
		"type Sender struct {\n",
		"type Sender struct {\n	sent int\n",
	}, {
		"jobs/send.go",
		"	number := claim.Attempts + 1\n",
		"	s.sent++\n	number := s.sent\n",
	}}},
}

// The model in jobs/model_test.go is worth what it finds: each of these bugs,
// planted in a copy of the program, must make it fail, and without any of them it
// must not.
func TestChaosEveryPlantedBugIsFound(t *testing.T) {
	dir := t.TempDir()
	copySource(t, "..", dir)
	// The histories that the race detector leaves no time for in jobs.
	if out, err := runModel(t, dir, "^TestTheModel", os.Getenv("POSTRIDER_SCALE")); err != nil {
		t.Fatalf("the model fails without any bug planted: %v\n%s", err, tail(out))
	}
	for _, b := range bugs {
		if !b.always && os.Getenv("POSTRIDER_SCALE") != "1" {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			for _, c := range b.changes {
				plant(t, dir, c)
			}
			out, err := runModel(t, dir, "^TestTheModelSends", "2")
			if err == nil {
				t.Fatalf("the model does not find it\n%s", tail(out))
			}
			if !strings.Contains(out, "[rapid] failed after") {
				t.Fatalf("the program with the bug does not run: %v\n%s", err, tail(out))
			}
		})
	}
}

// plant changes a file, and changes it back when the test ends.
func plant(t *testing.T, dir string, c change) {
	t.Helper()
	path := filepath.Join(dir, c.file)
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(was), c.old) != 1 {
		t.Fatalf("%s has changed: the bug is to be planted anew where it now says, once,\n%s", c.file, c.old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(was), c.old, c.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, was, 0o600); err != nil {
			t.Error(err)
		}
	})
}

// runModel runs tests of the model in a copy of the program, without the race
// detector.
// The first history that fails is enough.
func runModel(t *testing.T, dir, run, scale string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "./jobs", "-count=1", "-run", run, "-failfast",
		"-rapid.nofailfile", "-rapid.shrinktime=1ms")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "POSTRIDER_SCALE="+scale)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// copySource copies the program's Go files and what they embed.
func copySource(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "rapid"):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, inside), 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, inside), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

package deploy

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// dockerfile reads the Dockerfile as BuildKit does.
func dockerfile(t *testing.T) (stages []instructions.Stage, global []instructions.ArgCommand) {
	t.Helper()
	f, err := os.Open(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parsed, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("%s", w.Short)
	}
	stages, global, err = instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(stages) != 2 {
		t.Fatalf("%d stages, want one that builds and one that runs", len(stages))
	}
	return stages, global
}

// commands are the instructions of one kind in a stage.
func commands[T instructions.Command](s instructions.Stage) []T {
	var found []T
	for _, c := range s.Commands {
		if c, ok := c.(T); ok {
			found = append(found, c)
		}
	}
	return found
}

func TestTheImageIsSmallAndNotRoot(t *testing.T) {
	t.Parallel()
	stages, _ := dockerfile(t)
	final := stages[1]
	if want := "gcr.io/distroless/static-debian12:nonroot"; final.BaseName != want {
		t.Errorf("runs on %s, want %s", final.BaseName, want)
	}
	users := commands[*instructions.UserCommand](final)
	if len(users) != 1 || users[0].User != "65532:65532" {
		t.Errorf("users: %v, want the one of the base image, by number", users)
	}
	if runs := commands[*instructions.RunCommand](final); len(runs) > 0 {
		t.Error("the image has no shell to run anything with")
	}
	entry := commands[*instructions.EntrypointCommand](final)
	if len(entry) != 1 || entry[0].PrependShell || !slices.Equal(entry[0].CmdLine, []string{"/usr/local/bin/postrider"}) {
		t.Errorf("entry point: %v", entry)
	}
}

func TestTheProgramIsBuiltStaticByTheVersionOfGoMod(t *testing.T) {
	t.Parallel()
	stages, _ := dockerfile(t)
	build := stages[0]
	if want := "golang:" + goVersion(t) + "-bookworm"; build.BaseName != want {
		t.Errorf("built on %s, want %s", build.BaseName, want)
	}
	var script string
	for _, run := range commands[*instructions.RunCommand](build) {
		script += strings.Join(run.CmdLine, " ") + "\n"
	}
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "-X main.version=$VERSION", "./cmd/postrider"} {
		if !strings.Contains(script, want) {
			t.Errorf("the build lacks %s:\n%s", want, script)
		}
	}
}

// goVersion is what go.mod asks for.
func goVersion(t *testing.T) string {
	t.Helper()
	f, err := os.Open(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if version, ok := strings.CutPrefix(lines.Text(), "go "); ok {
			return version
		}
	}
	t.Fatal("go.mod names no version of Go")
	return ""
}

func TestTheImageHoldsNoSecret(t *testing.T) {
	t.Parallel()
	stages, args := dockerfile(t)
	for _, s := range stages {
		for _, env := range commands[*instructions.EnvCommand](s) {
			for _, pair := range env.Env {
				if secretName.MatchString(pair.Key) {
					t.Errorf("ENV %s", pair.Key)
				}
			}
		}
		for _, arg := range commands[*instructions.ArgCommand](s) {
			args = append(args, *arg)
		}
	}
	for _, arg := range args {
		for _, pair := range arg.Args {
			if secretName.MatchString(pair.Key) {
				t.Errorf("ARG %s", pair.Key)
			}
		}
	}
	for _, c := range commands[*instructions.CopyCommand](stages[1]) {
		if c.From != "build" {
			t.Errorf("the image copies %q from outside the build", c.SourcePaths)
		}
	}
	ignored, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(ignored), "\n")
	for _, want := range []string{"secrets", ".git", ".env*", "postrider.yaml", "*.db"} {
		if !slices.Contains(lines, want) {
			t.Errorf("%s reaches the builder", want)
		}
	}
}

func TestImageAndComposeAgreeOnTheHealthCheckAndTheDataFolder(t *testing.T) {
	t.Parallel()
	stages, _ := dockerfile(t)
	checks := commands[*instructions.HealthCheckCommand](stages[1])
	if len(checks) != 1 {
		t.Fatalf("%d health checks", len(checks))
	}
	project := mustCompose(t)
	for _, name := range roles {
		s := project.Services[name]
		if !slices.Equal(s.HealthCheck.Test, checks[0].Health.Test) {
			t.Errorf("%s is checked by %q, the image by %q", name, s.HealthCheck.Test, checks[0].Health.Test)
		}
		env := commands[*instructions.EnvCommand](stages[1])
		if len(env) != 1 || len(s.Volumes) != 1 || s.Volumes[0].Target != env[0].Env[0].Value {
			t.Errorf("the volume of %s is not at the image's data folder", name)
		}
	}
}

package deploy

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/configs"
)

// makeSecrets runs the script and returns what it says.
func makeSecrets(t *testing.T, folder string) (string, error) {
	t.Helper()
	out, err := exec.Command("./make-secrets", folder).CombinedOutput()
	return string(out), err
}

func readSecret(t *testing.T, folder, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestMadeSecretsAreWhatTheConfigurationReads(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "secrets")
	out, err := makeSecrets(t, folder)
	if err != nil {
		t.Fatal(err, out)
	}
	if !strings.Contains(out, "clicksend_api_key") {
		t.Errorf("it does not say that the API key is missing: %s", out)
	}
	if err := os.WriteFile(filepath.Join(folder, "clicksend_api_key"), []byte("SANDBOX-DEMO-KEY\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	// Every secret that docker-compose.yml names is there.
	for name := range mustCompose(t).Secrets {
		readSecret(t, folder, name)
	}

	// The containers' configuration, with the folder of this machine.
	yaml, err := os.ReadFile(filepath.Join(root, "configs", "postrider.docker.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "postrider.yaml")
	if err := os.WriteFile(file, bytes.ReplaceAll(yaml, []byte("/run/secrets"), []byte(folder)), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := configs.Load(configs.LoadOptions{File: file, Env: []string{"CLICKSEND_USERNAME=sandbox", "CLICKSEND_BASE_URL=http://sandbox:8090/v3"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, key, err := c.Credentials(); err != nil || key.Reveal() != "SANDBOX-DEMO-KEY" {
		t.Errorf("credentials: %v", err)
	}
	if got := c.DatabaseURL.Reveal(); got != "postgres://postrider:"+readSecret(t, folder, "postgres_password")+"@postgres:5432/postrider?sslmode=disable" {
		t.Error("the database's address has another password than the database")
	}
	r, err := c.RedisOptions()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.Addrs, []string{"redis:6379"}) || r.Password != readSecret(t, folder, "redis_password") {
		t.Error("Redis' address is not the one of the service redis, with its password")
	}
	if got := c.WebPassword.Reveal(); len(got) < 32 || got == readSecret(t, folder, "postgres_password") {
		t.Error("the console's password is not one of its own")
	}
}

func TestMadeSecretsAreForTheContainersAndNobodyElse(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "secrets")
	if out, err := makeSecrets(t, folder); err != nil {
		t.Fatal(err, out)
	}
	want := func(path string, mode fs.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, want %v", filepath.Base(path), info.Mode().Perm(), mode)
		}
	}
	want(folder, 0o700)
	want(filepath.Join(folder, "postgres_password"), 0o444)
	if got := readSecret(t, folder, ".gitignore"); got != "*" {
		t.Errorf("a commit could take the secrets along: .gitignore holds %q", got)
	}
}

func TestSecretsThatAreThereStay(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "secrets")
	if out, err := makeSecrets(t, folder); err != nil {
		t.Fatal(err, out)
	}
	before := readSecret(t, folder, "database_url")
	if err := os.Remove(filepath.Join(folder, "web_password")); err != nil {
		t.Fatal(err)
	}
	if out, err := makeSecrets(t, folder); err != nil || !strings.Contains(out, "web_password") || strings.Contains(out, "made "+folder+"/database_url") {
		t.Errorf("%v: %s", err, out)
	}
	if readSecret(t, folder, "database_url") != before {
		t.Error("the database's address has changed")
	}

	if err := os.Remove(filepath.Join(folder, "redis_password")); err != nil {
		t.Fatal(err)
	}
	if out, err := makeSecrets(t, folder); err == nil || !strings.Contains(out, "redis_password") {
		t.Errorf("a new password was made beside an address with the old one: %s", out)
	}
}

// fakeTools is a PATH with the few programs that .ci/install needs, and a user and an
// apt-get of our choosing.
func fakeTools(t *testing.T, uid int, aptGet string) string {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"bash", "tr", "touch"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	scripts := map[string]string{"id": fmt.Sprintf("echo %d", uid)}
	if aptGet != "" {
		scripts["apt-get"] = aptGet
	}
	for _, there := range []string{"gcc", "make", "postgres", "initdb"} {
		scripts[there] = ":"
	}
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!"+filepath.Join(bin, "bash")+"\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

func install(t *testing.T, bin string) (string, error) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "bash"), filepath.Join(root, ".ci", "install"))
	cmd.Env = []string{"PATH=" + bin}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestAMissingServerIsNamedToWhoeverCannotInstallIt(t *testing.T) {
	t.Parallel()
	for name, bin := range map[string]string{
		"not root":  fakeTools(t, 1000, "exit 9"),
		"no Debian": fakeTools(t, 0, ""),
	} {
		out, err := install(t, bin)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if strings.Count(out, "\n") != 1 || !strings.Contains(out, "redis-server") || strings.Contains(out, "postgresql") {
			t.Errorf("%s: not one line that names what is missing: %q", name, out)
		}
	}
}

func TestRootOnDebianGetsWhatIsMissing(t *testing.T) {
	t.Parallel()
	bin := fakeTools(t, 0, `echo "apt-get $*"; [[ $* == *" install "* ]] && { echo : > "${0%/*}/redis-server"; /bin/chmod +x "${0%/*}/redis-server"; }; exit 0`)
	out, err := install(t, bin)
	if err != nil {
		t.Fatal(err, out)
	}
	if !regexp.MustCompile(`(?s)apt-get .* update\n.*apt-get .* install -y .* redis-server\n`).MatchString(out) {
		t.Errorf("said %q", out)
	}
	if out, err := install(t, bin); err != nil || out != "" {
		t.Errorf("with all there: %v, %q; want silence", err, out)
	}
}

func TestAnInstallationThatBringsNothingFails(t *testing.T) {
	t.Parallel()
	if out, err := install(t, fakeTools(t, 0, "exit 0")); err == nil || !strings.Contains(out, "still not found: redis-server") {
		t.Errorf("%v, %q", err, out)
	}
	if out, err := install(t, fakeTools(t, 0, "exit 7")); err == nil {
		t.Errorf("apt-get failed unnoticed: %q", out)
	}
}

func TestMakeHelpNamesEveryTarget(t *testing.T) {
	t.Parallel()
	help, err := exec.Command("make", "-s", "-C", root, "help").CombinedOutput()
	if err != nil {
		t.Fatal(err, string(help))
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile(`(?m)^\.PHONY: (\S+)$`).FindAllSubmatch(makefile, -1)
	if len(targets) < 10 {
		t.Fatalf("%d targets", len(targets))
	}
	for _, target := range targets {
		name := string(target[1])
		if name == "servers" {
			continue // a step of the others
		}
		if !regexp.MustCompile(`(?m)^  ` + name + ` +\S`).Match(help) {
			t.Errorf("make help does not explain %s", name)
		}
	}
}

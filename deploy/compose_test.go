package deploy

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/services"
)

func TestMain(m *testing.M) { services.Main(m, services.NoLeaks()) }

// root is the folder of the deployment's files.
const root = ".."

// roles are the services that run the program with the deployment's configuration.
var roles = []string{"worker", "scheduler", "web", "cli"}

// compose reads docker-compose.yml as `docker compose --profile '*' config` does.
func compose(t *testing.T, environment map[string]string) (*types.Project, error) {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "docker-compose.yml")}},
		Environment: environment,
	}, loader.WithProfiles([]string{"*"}))
}

func mustCompose(t *testing.T) *types.Project {
	t.Helper()
	p, err := compose(t, map[string]string{"CLICKSEND_USERNAME": "sandbox"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestComposeAsksForTheAccountsName(t *testing.T) {
	t.Parallel()
	if _, err := compose(t, nil); err == nil || !strings.Contains(err.Error(), "CLICKSEND_USERNAME") {
		t.Errorf("got %v", err)
	}
}

func TestComposeRunsEveryRole(t *testing.T) {
	t.Parallel()
	p := mustCompose(t)
	for name, command := range map[string]string{"worker": "worker", "scheduler": "scheduler", "web": "web", "sandbox": "sandbox"} {
		s, err := p.GetService(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(s.Command) == 0 || s.Command[0] != command {
			t.Errorf("%s runs %q", name, s.Command)
		}
	}
	var always, rehearsal []string
	for name, s := range p.Services {
		switch {
		case len(s.Profiles) == 0:
			always = append(always, name)
		case slices.Contains(s.Profiles, "rehearsal"):
			rehearsal = append(rehearsal, name)
		}
	}
	slices.Sort(always)
	if want := []string{"postgres", "redis", "scheduler", "web", "worker"}; !slices.Equal(always, want) {
		t.Errorf("`docker compose up` starts %q, want %q", always, want)
	}
	if !slices.Equal(rehearsal, []string{"sandbox"}) {
		t.Errorf("a rehearsal adds %q", rehearsal)
	}
}

func TestComposeOpensNoPortBeyondLoopback(t *testing.T) {
	t.Parallel()
	published := map[string]int{}
	for name, s := range mustCompose(t).Services {
		if s.NetworkMode != "" {
			t.Errorf("%s leaves its network for %q", name, s.NetworkMode)
		}
		for _, port := range s.Ports {
			published[name]++
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q", name, port.Published, port.HostIP)
			}
		}
	}
	if len(published) != 1 || published["web"] != 1 {
		t.Errorf("published ports: %v, want one of web", published)
	}
}

func TestTheStoresCannotBeReachedFromOutside(t *testing.T) {
	t.Parallel()
	p := mustCompose(t)
	for _, name := range []string{"postgres", "redis", "sandbox"} {
		for network := range p.Services[name].Networks {
			if !p.Networks[network].Internal {
				t.Errorf("%s is on the network %s, which has a way out", name, network)
			}
		}
	}
}

func TestEveryServiceHasAHealthCheckThatRuns(t *testing.T) {
	t.Parallel()
	for name, s := range mustCompose(t).Services {
		if s.HealthCheck == nil || s.HealthCheck.Disable || len(s.HealthCheck.Test) < 2 || s.HealthCheck.Test[0] == "NONE" {
			t.Errorf("%s has no health check", name)
			continue
		}
		if s.HealthCheck.Interval == nil || s.HealthCheck.Timeout == nil {
			t.Errorf("%s: how often, and how long may it take?", name)
		}
	}
}

func TestTheRolesWaitForHealthyStores(t *testing.T) {
	t.Parallel()
	p := mustCompose(t)
	for _, name := range roles {
		for _, store := range []string{"postgres", "redis"} {
			if got := p.Services[name].DependsOn[store].Condition; got != types.ServiceConditionHealthy {
				t.Errorf("%s waits for %s until it is %q", name, store, got)
			}
		}
	}
}

func TestNoServiceRunsAsRootOrMayBecomeIt(t *testing.T) {
	t.Parallel()
	for name, s := range mustCompose(t).Services {
		if user, _, _ := strings.Cut(s.User, ":"); user == "" || user == "0" || user == "root" {
			t.Errorf("%s runs as %q", name, s.User)
		}
		if s.Privileged || len(s.CapAdd) > 0 || !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("%s has more rights than it needs", name)
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may gain rights", name)
		}
	}
}

func TestWorkersCanBeScaled(t *testing.T) {
	t.Parallel()
	w := mustCompose(t).Services["worker"]
	if w.ContainerName != "" || len(w.Ports) > 0 || w.Hostname != "" {
		t.Error("a second worker would clash with the first")
	}
}

// secretName is a variable whose value nobody should see.
var secretName = regexp.MustCompile(`(?i)(password|secret|token|key|passwd|database_url|redis_url)$`)

func TestSecretsComeByFile(t *testing.T) {
	t.Parallel()
	p := mustCompose(t)
	for name, secret := range p.Secrets {
		if secret.File == "" || secret.Environment != "" || secret.Content != "" {
			t.Errorf("the secret %s does not come from a file", name)
		}
		if filepath.Base(filepath.Dir(secret.File)) != "secrets" {
			t.Errorf("the secret %s is not in the folder that is kept out of commits and images: %s", name, secret.File)
		}
	}
	for name, s := range p.Services {
		for variable := range s.Environment {
			if secretName.MatchString(variable) {
				t.Errorf("%s gets %s by variable", name, variable)
			}
		}
		for arg := range buildArgs(s) {
			if secretName.MatchString(arg) {
				t.Errorf("%s gets %s when it is built", name, arg)
			}
		}
	}
	if got := *p.Services["postgres"].Environment["POSTGRES_PASSWORD_FILE"]; got != "/run/secrets/postgres_password" {
		t.Errorf("PostgreSQL reads its password from %q", got)
	}
	for name, want := range map[string][]string{
		"postgres": {"postgres_password"}, "redis": {"redis_password"}, "sandbox": {"clicksend_api_key"},
	} {
		if got := secretsOf(p.Services[name]); !slices.Equal(got, want) {
			t.Errorf("%s is handed %q, want %q", name, got, want)
		}
	}
}

func buildArgs(s types.ServiceConfig) types.MappingWithEquals {
	if s.Build == nil {
		return nil
	}
	return s.Build.Args
}

func secretsOf(s types.ServiceConfig) []string {
	var names []string
	for _, secret := range s.Secrets {
		names = append(names, secret.Source)
	}
	slices.Sort(names)
	return names
}

// secretFile is a secret's path inside a container.
var secretFile = regexp.MustCompile(`/run/secrets/(\w+)`)

func TestTheRolesGetTheSecretsThatTheirConfigurationReads(t *testing.T) {
	t.Parallel()
	p := mustCompose(t)
	configuration, err := os.ReadFile(p.Configs["postrider"].File)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, match := range secretFile.FindAllStringSubmatch(string(configuration), -1) {
		want = append(want, match[1])
	}
	slices.Sort(want)
	if len(want) == 0 {
		t.Fatal("the configuration reads no secret from a file")
	}
	for _, name := range roles {
		s := p.Services[name]
		if got := secretsOf(s); !slices.Equal(got, want) {
			t.Errorf("%s is handed %q, its configuration reads %q", name, got, want)
		}
		if len(s.Configs) != 1 || s.Configs[0].Source != "postrider" || s.Configs[0].Target != *s.Environment["POSTRIDER_CONFIG"] {
			t.Errorf("%s does not find its configuration", name)
		}
	}
}

// redisSettings are the lines of configs/redis.conf.
func redisSettings(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	settings := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(line, " ")
		settings[name] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	return settings
}

func TestRedisKeepsItsDataAndEvictsNothing(t *testing.T) {
	t.Parallel()
	p := mustCompose(t)
	s := p.Services["redis"]
	if len(s.Configs) != 1 || !strings.Contains(strings.Join(s.Command, " "), s.Configs[0].Target) {
		t.Fatal("Redis does not read its configuration")
	}
	if !slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Type == "volume" && v.Target == "/data" }) {
		t.Error("Redis' folder is not a volume")
	}
	settings := redisSettings(t, p.Configs[s.Configs[0].Source].File)
	if settings["dir"] != "/data" {
		t.Errorf("Redis keeps its data in %q, the volume is at /data", settings["dir"])
	}
	if _, ok := settings["requirepass"]; ok {
		t.Error("a password in the configuration file")
	}

	// The real server takes every line of it, and means what we mean.
	settings["dir"] = t.TempDir()
	server := services.RedisWith(t, services.RedisOptions{Settings: settings})
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	for name, want := range map[string]string{"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"} {
		got, err := client.ConfigGet(t.Context(), name).Result()
		if err != nil {
			t.Fatal(err)
		}
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestPostgresKeepsItsDataInAVolume(t *testing.T) {
	t.Parallel()
	s := mustCompose(t).Services["postgres"]
	if !slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool {
		return v.Type == "volume" && v.Target == "/var/lib/postgresql/data"
	}) {
		t.Error("the data would go with the container")
	}
	if env := s.Environment; *env["POSTGRES_USER"] != "postrider" || *env["POSTGRES_DB"] != "postrider" {
		t.Error("user and database are not the ones in database_url")
	}
}

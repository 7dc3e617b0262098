package configs

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a machine to load a configuration on: a home, a working directory,
// an environment and flags.
type house struct {
	t    *testing.T
	dir  string
	home string
	env  []string
	args []string
}

func newHouse(t *testing.T) *house {
	return &house{t: t, dir: t.TempDir(), home: t.TempDir()}
}

func (h *house) write(path, content string) string {
	h.t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(h.dir, path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

func (h *house) load() (*Config, error) {
	h.t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags)
	flags.String("country", "", "")
	flags.String("name", "", "not a key of the configuration")
	if err := flags.Parse(h.args); err != nil {
		h.t.Fatal(err)
	}
	return Load(LoadOptions{Env: append([]string{"HOME=" + h.home}, h.env...), Flags: flags, Dir: h.dir})
}

func (h *house) mustLoad() *Config {
	h.t.Helper()
	c, err := h.load()
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.mustLoad()
	want := &Config{
		DatabaseURL: NewSecret(filepath.Join(h.home, ".local/share/postrider/postrider.db")),
		RedisURL:    NewSecret("embedded"),
		DataDir:     filepath.Join(h.home, ".local/share/postrider"),

		ClickSendBaseURL: "https://rest.clicksend.com/v3",
		HTTPTimeout:      30 * time.Second,
		Settle:           90 * time.Second,
		Rate:             1,

		Lease:          15 * time.Second,
		ConcurrencySMS: 4, ConcurrencyMMS: 2, ConcurrencyLetter: 2, ConcurrencyPostcard: 2, ConcurrencyControl: 2,
		RefusalBrake: 20,

		LogFormat: "text",
		Listen:    "127.0.0.1:8080",
	}
	if diff := cmp.Diff(want, c, cmp.FilterPath(func(p cmp.Path) bool {
		return p.String() == "file" || p.String() == "origins"
	}, cmp.Ignore()), cmp.AllowUnexported(Config{})); diff != "" {
		t.Error(diff)
	}
	if !c.UsesEmbeddedRedis() || c.UsesPostgres() || c.File() != "" || c.Origin("rate") != "default" {
		t.Errorf("embedded %v, postgres %v, file %q, rate from %q", c.UsesEmbeddedRedis(), c.UsesPostgres(), c.File(), c.Origin("rate"))
	}
}

func TestXDGDataHome(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.env = []string{"XDG_DATA_HOME=/srv/data"}
	if got := h.mustLoad().DataDir; got != "/srv/data/postrider" {
		t.Errorf("data_dir is %s", got)
	}
	h.env = []string{"XDG_DATA_HOME=relative/is/ignored"}
	if got := h.mustLoad().DataDir; got != filepath.Join(h.home, ".local/share/postrider") {
		t.Errorf("data_dir is %s", got)
	}
}

func TestFlagsOverEnvironmentOverFileOverDefaults(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	file := h.write("postrider.yaml", "country: nz\nsettle: 1m\nrate: 5\nlog_level: warn\n")
	h.env = []string{"POSTRIDER_SETTLE=2m", "POSTRIDER_RATE=7.5", "CLICKSEND_USERNAME=someone", "POSTRIDER_LOG_LEVEL="}
	h.args = []string{"--rate", "0.5", "--name", "ours no more"}
	c := h.mustLoad()
	got := map[string]string{}
	for _, s := range c.Redacted() {
		got[s.Key] = s.Value + " from " + s.Origin
	}
	for key, want := range map[string]string{
		"country":            "NZ from " + file + ":1",
		"settle":             "2m0s from variable POSTRIDER_SETTLE",
		"rate":               "0.5 from flag --rate",
		"log_level":          "warn from " + file + ":4", // an empty variable is not set
		"clicksend_username": "someone from variable CLICKSEND_USERNAME",
		"lease":              "15s from default",
	} {
		if got[key] != want {
			t.Errorf("%s is %s, want %s", key, got[key], want)
		}
	}
	if c.File() != file {
		t.Errorf("read %q, want %q", c.File(), file)
	}
}

func TestWhereTheFileIsLookedFor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	check := func(want string) {
		t.Helper()
		if c := h.mustLoad(); c.Country != want {
			t.Errorf("read %q, which says %s, want %s", c.File(), c.Country, want)
		}
	}
	h.write(filepath.Join(h.home, ".config/postrider/postrider.yaml"), "country: AA")
	check("AA")
	xdg := t.TempDir()
	h.write(filepath.Join(xdg, "postrider/postrider.yaml"), "country: BB")
	h.env = []string{"XDG_CONFIG_HOME=" + xdg}
	check("BB")
	h.write("postrider.yaml", "country: CC")
	check("CC")
	h.env = append(h.env, "POSTRIDER_CONFIG="+h.write("by-variable.yaml", "country: DD"))
	check("DD")
	h.write("by-flag.yaml", "country: EE")
	h.args = []string{"--config", "by-flag.yaml"}
	check("EE")

	h.args = []string{"--config", "absent.yaml"}
	if _, err := h.load(); err == nil || !strings.Contains(err.Error(), "absent.yaml") {
		t.Errorf("a missing --config: %v", err)
	}
}

// Every error names the key, where it came from and what was expected.
func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		file string
		env  []string
		args []string
		want []string // parts of the message, after "FILE" became the file's path
	}{
		"unknown key":             {file: "settle: 90s\nsetle: 80s", want: []string{`FILE:2: key "setle"`, "did you mean settle?"}},
		"unknown key, dashes":     {file: "redis-url: embedded", want: []string{"FILE:1", "did you mean redis_url?"}},
		"unknown key, no prefix":  {file: "api_key: x", want: []string{"FILE:1", "did you mean clicksend_api_key?"}},
		"unknown key, far":        {file: "smtp_server: x", want: []string{"FILE:1", "postrider.example.yaml"}},
		"unknown variable":        {env: []string{"POSTRIDER_RATES=1"}, want: []string{"variable POSTRIDER_RATES: is not known", "did you mean POSTRIDER_RATE?"}},
		"variable with prefix":    {env: []string{"POSTRIDER_CLICKSEND_API_KEY=x"}, want: []string{"did you mean CLICKSEND_API_KEY?"}},
		"no secret, no _FILE":     {env: []string{"POSTRIDER_RATE_FILE=x"}, want: []string{"POSTRIDER_RATE_FILE"}},
		"key twice":               {file: "rate: 1\ncountry: AU\nrate: 2", want: []string{"FILE:3", "second time", "line 1"}},
		"not YAML":                {file: "rate: [1", want: []string{"postrider.yaml", "not YAML"}},
		"a list":                  {file: "- rate", want: []string{"FILE:1", "rate: 1"}},
		"two documents":           {file: "rate: 1\n---\nrate: 2", want: []string{"postrider.yaml", "more than one"}},
		"a group":                 {file: "concurrency_sms:\n  a: 1", want: []string{"FILE:2", "concurrency_sms", "one value"}},
		"bad duration":            {file: "\nsettle: 90", want: []string{"FILE:2", "settle", `"90"`, "90s"}},
		"negative duration":       {env: []string{"POSTRIDER_SETTLE=-1s"}, want: []string{"POSTRIDER_SETTLE", "0s to 24h"}},
		"rate zero":               {args: []string{"--rate=0"}, want: []string{"flag --rate", "-1 for no limit"}},
		"rate not a number":       {env: []string{"POSTRIDER_RATE=NaN"}, want: []string{"POSTRIDER_RATE", "requests a second"}},
		"rate infinite":           {env: []string{"POSTRIDER_RATE=inf"}, want: []string{"POSTRIDER_RATE"}},
		"rate hexadecimal":        {env: []string{"POSTRIDER_RATE=0x10"}, want: []string{"POSTRIDER_RATE"}},
		"messages rate":           {file: "messages_rate: -5", want: []string{"FILE:1", "messages_rate", "0 to 1e+06"}},
		"not a bool":              {file: "rate_fixed: yes", want: []string{"FILE:1", "true or false"}},
		"country":                 {args: []string{"--country=Australia"}, want: []string{"flag --country", "two letters"}},
		"concurrency":             {env: []string{"POSTRIDER_CONCURRENCY_SMS=0"}, want: []string{"1 to 256"}},
		"brake":                   {file: "refusal_brake: 20%", want: []string{"FILE:1", "1 to 100"}},
		"level":                   {env: []string{"POSTRIDER_LOG_LEVEL=trace"}, want: []string{"debug, info, warn or error"}},
		"format":                  {env: []string{"POSTRIDER_LOG_FORMAT=xml"}, want: []string{"text or json"}},
		"listen":                  {env: []string{"POSTRIDER_LISTEN=8080"}, want: []string{"127.0.0.1:8080"}},
		"listen port":             {env: []string{"POSTRIDER_LISTEN=:80800"}, want: []string{"host:port"}},
		"base URL without v3":     {env: []string{"CLICKSEND_BASE_URL=https://rest.clicksend.com"}, want: []string{"CLICKSEND_BASE_URL", "/v3"}},
		"base URL no URL":         {env: []string{"CLICKSEND_BASE_URL=rest.clicksend.com/v3"}, want: []string{"not a URL"}},
		"base URL, password":      {env: []string{"CLICKSEND_BASE_URL=https://u:hush@rest.clicksend.com/v3"}, want: []string{"CLICKSEND_API_KEY"}},
		"database, other kind":    {env: []string{"POSTRIDER_DATABASE_URL=mysql://u:hush@h/db"}, want: []string{"POSTRIDER_DATABASE_URL", "postgres://"}},
		"database, file:":         {env: []string{"POSTRIDER_DATABASE_URL=file:/tmp/x.db"}, want: []string{"path alone"}},
		"database, :memory:":      {env: []string{"POSTRIDER_DATABASE_URL=:memory:"}, want: []string{"SQLite file"}},
		"database, a folder":      {env: []string{"POSTRIDER_DATABASE_URL=/tmp/"}, want: []string{"folder"}},
		"database, no name":       {env: []string{"POSTRIDER_DATABASE_URL=postgres://u:hush@h"}, want: []string{"names no database"}},
		"database, bad password":  {env: []string{"POSTRIDER_DATABASE_URL=postgres://u:hush%@h/db"}, want: []string{"%-encode"}},
		"redis, other kind":       {env: []string{"POSTRIDER_REDIS_URL=localhost:6379"}, want: []string{"POSTRIDER_REDIS_URL", "redis://host:6379/0"}},
		"redis, database name":    {env: []string{"POSTRIDER_REDIS_URL=redis://:hush@h/zero"}, want: []string{"not a number"}},
		"redis, port":             {env: []string{"POSTRIDER_REDIS_URL=redis://:hush@h:70000"}, want: []string{"port"}},
		"redis, no host":          {env: []string{"POSTRIDER_REDIS_URL=redis:///0"}, want: []string{"lacks a host"}},
		"redis, two hosts":        {env: []string{"POSTRIDER_REDIS_URL=redis://a,b"}, want: []string{"redis-sentinel://"}},
		"redis, option":           {env: []string{"POSTRIDER_REDIS_URL=redis://h?pool=3"}, want: []string{`"pool"`, "takes none"}},
		"sentinel, no master":     {env: []string{"POSTRIDER_REDIS_URL=redis-sentinel://a,b"}, want: []string{"master=NAME"}},
		"sentinel, option":        {env: []string{"POSTRIDER_REDIS_URL=redis-sentinel://a?mastre=x"}, want: []string{`"mastre"`, "master, db, tls"}},
		"cluster, database":       {env: []string{"POSTRIDER_REDIS_URL=redis-cluster://a/1"}, want: []string{"options only"}},
		"password":                {env: []string{"POSTRIDER_WEB_PASSWORD=hush"}, want: []string{"8 characters"}},
		"secret, also by file":    {env: []string{"CLICKSEND_API_KEY=hush", "CLICKSEND_API_KEY_FILE=x"}, want: []string{"CLICKSEND_API_KEY", "keep one"}},
		"secret, file missing":    {env: []string{"CLICKSEND_API_KEY_FILE=absent"}, want: []string{"variable CLICKSEND_API_KEY_FILE", "absent", "no such file"}},
		"everything that's wrong": {file: "rate: x\nsettle: y", env: []string{"POSTRIDER_LISTEN=z"}, want: []string{"3 things", "FILE:1", "FILE:2", "POSTRIDER_LISTEN"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			path := "postrider.yaml"
			if test.file != "" {
				path = h.write(path, test.file)
			}
			h.env, h.args = test.env, test.args
			c, err := h.load()
			var e *Error
			if c != nil || !errors.As(err, &e) {
				t.Fatalf("got %v and error %v, want an Error", c, err)
			}
			for _, part := range test.want {
				if part = strings.ReplaceAll(part, "FILE:", path+":"); !strings.Contains(err.Error(), part) {
					t.Errorf("the error lacks %q:\n%v", part, err)
				}
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error gives a secret away:\n%v", err)
			}
		})
	}
}

func TestVariablesThatAreNotOurs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.env = []string{"POSTRIDER_TEST_POSTGRES=x", "CLICKSEND_REGION=x", "PATH=/bin", "odd line"}
	h.mustLoad()
}

func TestSecretsByFile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.write("postrider.yaml", "clicksend_api_key: in the file\nweb_password_file: password\ndatabase_url_file: database\nredis_url: embedded\n")
	h.write("password", "  correct horse\n")
	h.write("database", "postgres://u:p@h/db\n")
	h.write("key", "by variable\r\n")
	h.env = []string{"CLICKSEND_API_KEY_FILE=" + filepath.Join(h.dir, "key"), "POSTRIDER_DATABASE_URL=own.db", "POSTRIDER_REDIS_URL_FILE=" + h.write("redis", "redis://h")}
	c := h.mustLoad()
	for name, s := range map[string]struct {
		got  Secret
		want string
	}{
		"a variable's file over the file's value": {c.ClickSendAPIKey, "by variable"},
		"a file that the file names":              {c.WebPassword, "correct horse"},
		"a variable over the file's file":         {c.DatabaseURL, filepath.Join(h.dir, "own.db")},
		"the file over the default":               {c.RedisURL, "redis://h"},
	} {
		if s.got.Reveal() != s.want {
			t.Errorf("%s: %q, want %q", name, s.got.Reveal(), s.want)
		}
	}
	if got := c.Origin("clicksend_api_key"); !strings.HasPrefix(got, "variable CLICKSEND_API_KEY_FILE, file /") {
		t.Errorf("the key's origin is %q", got)
	}

	for name, content := range map[string]string{"empty": " \n", "too large": strings.Repeat("x", maxSecretFile+1)} {
		h.write("key", content)
		if _, err := h.load(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a secret file that is %s: %v", name, err)
		}
	}
}

func TestPathsBecomeAbsolute(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.write("postrider.yaml", "data_dir: data\nfiles_dir: ~/files\ndatabase_url: ~/ledger.db\n")
	c := h.mustLoad()
	want := []string{filepath.Join(h.dir, "data"), filepath.Join(h.home, "files"), filepath.Join(h.home, "ledger.db")}
	if diff := cmp.Diff(want, []string{c.DataDir, c.FilesDir, c.DatabaseURL.Reveal()}); diff != "" {
		t.Error(diff)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, _, err := h.mustLoad().Credentials()
	if err == nil || !strings.Contains(err.Error(), "CLICKSEND_USERNAME and CLICKSEND_API_KEY") {
		t.Errorf("without credentials: %v", err)
	}
	h.env = []string{"CLICKSEND_USERNAME=u", "CLICKSEND_API_KEY=k"}
	if u, k, err := h.mustLoad().Credentials(); err != nil || u != "u" || k.Reveal() != "k" {
		t.Errorf("got %q, %v", u, err)
	}
}

// The example file lists every key of Config once, with its default, and every
// key has a comment above it.
func TestExampleListsEveryKeyWithItsDefault(t *testing.T) {
	t.Parallel()
	p := &parser{name: "postrider.example.yaml"}
	values, err := p.Unmarshal([]byte(Example()))
	if err != nil {
		t.Fatal(err, p.problems)
	}
	got, want := map[string]string{}, map[string]string{}
	for k, v := range values {
		got[k] = v.(string)
	}
	config := reflect.TypeFor[Config]()
	for i := range config.NumField() {
		name := config.Field(i).Tag.Get("koanf")
		if name == "" {
			continue
		}
		k, ok := findKey(name)
		if !ok {
			t.Errorf("Config has %s, which is no key", name)
		}
		want[name] = k.def
	}
	if len(want) != len(keys()) {
		t.Errorf("Config has %d fields for %d keys", len(want), len(keys()))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-defaults +example:\n%s", diff)
	}
	lines := strings.Split(Example(), "\n")
	var order []string
	for i, line := range lines {
		if m := regexp.MustCompile(`^([a-z_]+):`).FindStringSubmatch(line); m != nil {
			order = append(order, m[1])
			above := i - 1 // a group of keys shares the comment above its first
			for above > 0 && regexp.MustCompile(`^[a-z_]+:`).MatchString(lines[above]) {
				above--
			}
			if !strings.HasPrefix(lines[above], "# ") {
				t.Errorf("line %d: %s has no comment", i+1, m[1])
			}
		}
	}
	if !slices.EqualFunc(order, keys(), func(name string, k key) bool { return name == k.name }) {
		t.Errorf("the order of the example is %v", order)
	}
}

// The example is a configuration: it loads, and changes nothing.
func TestExampleLoads(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	plain := h.mustLoad().Redacted()
	h.write("postrider.yaml", Example())
	got := h.mustLoad().Redacted()
	for i := range got {
		if got[i].Key != plain[i].Key || got[i].Value != plain[i].Value {
			t.Errorf("%s is %q with the example file and %q without", got[i].Key, got[i].Value, plain[i].Value)
		}
	}
}

func TestDockerFileLoads(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	content, err := os.ReadFile("postrider.docker.yaml")
	if err != nil {
		t.Fatal(err)
	}
	secrets := t.TempDir()
	for name, value := range map[string]string{
		"database_url": "postgres://postrider:hush@postgres:5432/postrider", "redis_url": "redis://:hush@redis:6379/0",
		"clicksend_api_key": "hush hush", "web_password": "hush hush",
	} {
		h.write(filepath.Join(secrets, name), value+"\n")
	}
	h.write("postrider.yaml", strings.ReplaceAll(string(content), "/run/secrets", secrets))
	c := h.mustLoad()
	if !c.UsesPostgres() || c.UsesEmbeddedRedis() || c.LogFormat != "json" || c.WebPassword.Reveal() != "hush hush" {
		t.Errorf("%+v", c)
	}
	for _, s := range c.Redacted() {
		if strings.Contains(s.Value+s.Origin, "hush") {
			t.Errorf("%s shows %q", s.Key, s.Value)
		}
	}
}

func TestEveryKeyHasItsVariable(t *testing.T) {
	t.Parallel()
	for _, k := range keys() {
		want := "POSTRIDER_" + strings.ToUpper(k.name)
		if strings.HasPrefix(k.name, "clicksend_") {
			want = strings.ToUpper(k.name)
		}
		if k.env() != want {
			t.Errorf("%s is %s, want %s", k.name, k.env(), want)
		}
	}
}

func TestFlagsGiveNoSecretsAwayAndNoDefaults(t *testing.T) {
	t.Parallel()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		name := strings.ReplaceAll(f.Name, "-", "_")
		if name == "clicksend_api_key" || name == "web_password" {
			t.Errorf("--%s can be seen in the list of processes", f.Name)
		}
		if _, ok := findKey(name); !ok && name != "config" {
			t.Errorf("--%s is no key", f.Name)
		}
		if f.DefValue != "" {
			t.Errorf("--%s has a default of its own", f.Name)
		}
	})
}

func TestRedisAddresses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		hosts  []string
		shown  string
		asynq  any
		secure bool
	}{
		"redis://h":                            {[]string{"h:6379"}, "redis://h", asynq.RedisClientOpt{}, false},
		"redis://u:p%40ss@h:1/2":               {[]string{"h:1"}, "redis://u:•••@h:1/2", asynq.RedisClientOpt{}, false},
		"redis://:hush@[::1]:1/0":              {[]string{"[::1]:1"}, "redis://:•••@[::1]:1/0", asynq.RedisClientOpt{}, false},
		"rediss://h:7":                         {[]string{"h:7"}, "rediss://h:7", asynq.RedisClientOpt{}, true},
		"redis-cluster://a:1,b,[fe80::1]":      {[]string{"a:1", "b:6379", "[fe80::1]:6379"}, "redis-cluster://a:1,b,[fe80::1]", asynq.RedisClusterClientOpt{}, false},
		"redis-cluster://u:hush@a?tls=true":    {[]string{"a:6379"}, "redis-cluster://u:•••@a?tls=true", asynq.RedisClusterClientOpt{}, true},
		"redis-sentinel://a,b:1?master=m&db=3": {[]string{"a:26379", "b:1"}, "redis-sentinel://a,b:1?master=m&db=3", asynq.RedisFailoverClientOpt{}, false},
		"redis-sentinel://a?master=m&sentinel_username=w&sentinel_password=hush": {[]string{"a:26379"},
			"redis-sentinel://a?master=m&sentinel_username=w&sentinel_password=•••", asynq.RedisFailoverClientOpt{}, false},
	}
	for address, test := range tests {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.env = []string{"POSTRIDER_REDIS_URL=" + address}
			c := h.mustLoad()
			o, err := c.RedisOptions()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.hosts, o.Addrs); diff != "" {
				t.Error(diff)
			}
			if (o.TLSConfig != nil) != test.secure {
				t.Errorf("TLS is %v", o.TLSConfig)
			}
			if got := redactURL(address); got != test.shown {
				t.Errorf("shown as %s, want %s", got, test.shown)
			}
			a, err := c.AsynqRedis()
			if err != nil {
				t.Fatal(err)
			}
			if reflect.TypeOf(a) != reflect.TypeOf(test.asynq) {
				t.Errorf("asynq gets a %T, want %T", a, test.asynq)
			}
			// Both get the same of everything.
			var mine, theirs []string
			mine = append(mine, o.Username, o.Password, o.MasterName, o.SentinelUsername, o.SentinelPassword, strconv.Itoa(o.DB))
			v := reflect.ValueOf(a)
			for _, name := range []string{"Username", "Password", "MasterName", "SentinelUsername", "SentinelPassword"} {
				s := ""
				if f := v.FieldByName(name); f.IsValid() {
					s = f.String()
				}
				theirs = append(theirs, s)
			}
			db := 0
			if f := v.FieldByName("DB"); f.IsValid() {
				db = int(f.Int())
			}
			theirs = append(theirs, strconv.Itoa(db))
			if diff := cmp.Diff(mine, theirs); diff != "" {
				t.Errorf("-go-redis +asynq:\n%s", diff)
			}
		})
	}
	h := newHouse(t)
	c := h.mustLoad()
	if _, err := c.RedisOptions(); !errors.Is(err, ErrEmbeddedRedis) {
		t.Errorf("embedded: %v", err)
	}
	if _, err := c.AsynqRedis(); !errors.Is(err, ErrEmbeddedRedis) {
		t.Errorf("embedded: %v", err)
	}
}

func TestRedisPasswordsAndDatabases(t *testing.T) {
	t.Parallel()
	a, err := parseRedisURL("redis-sentinel://u:p%40ss@a?master=m&db=3&sentinel_username=w&sentinel_password=x%26y")
	if err != nil {
		t.Fatal(err)
	}
	want := redisAddress{kind: "redis-sentinel", hosts: []string{"a:26379"}, username: "u", password: "p@ss", db: 3,
		master: "m", sentinelUsername: "w", sentinelPassword: "x&y"}
	if diff := cmp.Diff(want, a, cmp.AllowUnexported(redisAddress{})); diff != "" {
		t.Error(diff)
	}
}

func TestPostgresAddressesAreShownWithoutPassword(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://u:hush@h:5432/db?sslmode=disable":        "postgres://u:•••@h:5432/db?sslmode=disable",
		"postgresql://u@a,b/db?password=hush&sslpassword=hu": "postgresql://u@a,b/db?password=•••&sslpassword=•••",
		"/var/lib/postrider.db":                              "/var/lib/postrider.db",
		"postgres://u:hush%@h/db":                            "postgres://•••",
	} {
		if got := redactURL(address); got != want {
			t.Errorf("%s is shown as %s, want %s", address, got, want)
		}
	}
}

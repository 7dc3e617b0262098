package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/configs"
	"github.com/postrider/postrider/internal/services"
)

// check returns what doctor --json said about a check.
func (r *ran) check(name string) (result, text string) {
	r.t.Helper()
	for _, c := range r.object()["checks"].([]any) {
		if f := c.(map[string]any); f["check"] == name {
			result, text = f["result"].(string), text+f["text"].(string)+"\n"
		}
	}
	return result, text
}

// finds checks one of doctor's verdicts.
func (r *ran) finds(name, result string, texts ...string) *ran {
	r.t.Helper()
	got, said := r.check(name)
	if got != result {
		r.t.Errorf("%s is %q, want %q: %s", name, got, result, said)
	}
	for _, text := range texts {
		if !strings.Contains(said, text) {
			r.t.Errorf("%s does not say %q: %s", name, text, said)
		}
	}
	return r
}

func TestAllIsWellOnTheEmbeddedDefault(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	r := s.run("doctor").exits(exitDone).hides(s.seen.APIKey).
		says("no postrider.yaml", "SQLite 3", "embedded", "user id", "1000000.00 AUD", "SANDBOX: "+s.seen.BaseURL, "agrees with the provider's", "AU, US, GB, NZ, CA")
	if strings.Contains(r.out, "problem ") {
		t.Errorf("it finds a problem:\n%s", r.out)
	}
	s.run("doctor", "--json").exits(exitDone).hides(s.seen.APIKey).holds(map[string]any{"healthy": true, "problems": 0, "host": "SANDBOX"}).
		finds("configuration", fine).finds("data folder", fine).finds("database", fine).finds("redis", fine, "no process is running the engine").
		finds("credentials", fine).finds("balance", fine).finds("countries", fine).finds("clock", fine)
	defer holdEngine(t, s)()
	s.run("doctor", "--json").exits(exitDone).finds("redis", fine, "is running the engine")
}

func TestEverySettingIsShownWithItsOriginAndWithoutSecrets(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("postrider.yaml", "rate_fixed: true\nweb_password: open-sesame-please\n")
	s.run("doctor", "-v").exits(exitDone).says("postrider.yaml", "rate_fixed", "clicksend_api_key", "variable CLICKSEND_API_KEY", "(default)").
		hides(s.seen.APIKey, "open-sesame-please")
	settings, ok := s.run("doctor", "-v", "--json").exits(exitDone).hides(s.seen.APIKey, "open-sesame-please").object()["settings"].([]any)
	if !ok || len(settings) < 10 {
		t.Errorf("%d settings", len(settings))
	}
}

func TestAWrongConfigurationIsNamedWhole(t *testing.T) {
	t.Parallel()
	s := newShell(t).with("POSTRIDER_RATE=fast", "POSTRIDER_LEASE=soon")
	s.run("doctor").exits(exitFailed).says("variable POSTRIDER_RATE", "variable POSTRIDER_LEASE", "2 problems")
	s.with("POSTRIDER_RATE=1", "POSTRIDER_LEASE=15s", "POSTRIDER_RAET=1").run("doctor", "--json").exits(exitFailed).finds("configuration", problem).holds(map[string]any{"healthy": false})
}

func TestCredentialsAreChecked(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	for _, c := range []struct{ name, key, says string }{
		{"acme", "wrong-key-of-acme", "refuses the user name or the API key"},
		{"banned", sandbox.TestPassword, "banned"},
		{"notactive", sandbox.TestPassword, "not activated"},
		{"acme", "", "CLICKSEND_API_KEY"},
	} {
		r := s.with("CLICKSEND_USERNAME="+c.name, "CLICKSEND_API_KEY="+c.key).run("doctor", "--send-test", "+61411111111", "--json").exits(exitFailed).
			finds("credentials", problem, c.says).finds("send test", problem, "nothing was sent")
		if c.key != "" {
			r.hides(c.key)
		}
	}
}

func TestBalanceAndCountriesAreChecked(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{Balance: "3.00", Countries: []string{}})
	s.with("CLICKSEND_USERNAME=nocredit", "CLICKSEND_API_KEY="+sandbox.TestPassword).run("doctor", "--json").exits(exitFailed).
		finds("balance", problem, "buy credit")
	s.run("doctor", "--json").exits(exitDone).finds("countries", warning, "none is selected")
}

// account answers as the provider does, with an account of the test's own.
func account(t *testing.T, fields, countries string, head http.Header) *shell {
	t.Helper()
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range head {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/v3/account":
			fmt.Fprintf(w, `{"http_code":200,"response_code":"SUCCESS","response_msg":"","data":{"user_id":77,%s,"_currency":{"currency_name_short":"AUD"}}}`, fields)
		case "/v3/user-countries":
			fmt.Fprintf(w, `{"http_code":200,"response_code":"SUCCESS","response_msg":"","data":[%s]}`, countries)
		case "/_sandbox/stats":
			fmt.Fprint(w, `{"everything":"is fine"}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(host.Close)
	return newShell(t).with("CLICKSEND_BASE_URL="+host.URL+"/v3", "CLICKSEND_USERNAME=acme", "CLICKSEND_API_KEY=k3y-of-acme")
}

func TestAnAccountsStateIsSaidInPlainWords(t *testing.T) {
	t.Parallel()
	agreed := `{"id":1,"code":"AU","agreed_at":1700000000}`
	for name, c := range map[string]struct {
		fields, countries string
		code              int
		check, result     string
		says              string
	}{
		"low credit":       {`"active":1,"banned":0,"balance":"4.00","low_credit_amount":"10.00"`, agreed, exitDone, "balance", warning, "below the account's mark for low credit (10.00)"},
		"to be recharged":  {`"active":1,"banned":0,"balance":"0.00","auto_recharge":1,"auto_recharge_amount":"20.00"`, agreed, exitDone, "balance", warning, "recharged by 20.00"},
		"no credit":        {`"active":1,"banned":0,"balance":"-1.00"`, agreed, exitFailed, "balance", problem, "buy credit"},
		"banned":           {`"active":1,"banned":1,"balance":"4.00"`, agreed, exitFailed, "credentials", problem, "user id 77) is banned"},
		"not active":       {`"active":0,"banned":0,"balance":"4.00"`, agreed, exitFailed, "credentials", problem, "is not active"},
		"rules not agreed": {`"active":1,"banned":0,"balance":"4.00"`, agreed + `,{"id":2,"code":"US","agreed_at":null}`, exitDone, "countries", fine, "the rules of US are not agreed to"},
		"nothing selected": {`"active":1,"banned":0,"balance":"4.00"`, ``, exitDone, "countries", warning, "none is selected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			account(t, c.fields, c.countries, nil).run("doctor", "--json").exits(c.code).finds(c.check, c.result, c.says)
		})
	}
}

func TestTheConfiguredCountryMustBeSelected(t *testing.T) {
	t.Parallel()
	s := account(t, `"active":1,"balance":"4.00"`, `{"id":1,"code":"AU","agreed_at":1}`, nil)
	s.with("POSTRIDER_COUNTRY=NZ").run("doctor", "--json").exits(exitDone).finds("countries", warning, "NZ is the configured country")
	s.with("POSTRIDER_COUNTRY=AU").run("doctor", "--json").exits(exitDone).finds("countries", fine)
}

func TestAClockThatIsWrongIsWarnedOf(t *testing.T) {
	t.Parallel()
	wrong := http.Header{"Date": {time.Now().Add(-10 * time.Minute).UTC().Format(http.TimeFormat)}}
	account(t, `"active":1,"balance":"4.00"`, ``, wrong).run("doctor", "--json").exits(exitDone).finds("clock", warning, "and the provider's differ by", "NTP")
	account(t, `"active":1,"balance":"4.00"`, ``, http.Header{"Date": nil}).run("doctor", "--json").exits(exitDone).finds("clock", warning, "does not tell the time")
}

func TestAProviderThatIsAwayIsAProblem(t *testing.T) {
	t.Parallel()
	host := httptest.NewServer(http.NotFoundHandler())
	s := newShell(t).with("CLICKSEND_BASE_URL="+host.URL+"/v3", "CLICKSEND_USERNAME=acme", "CLICKSEND_API_KEY=k3y-of-acme")
	s.run("doctor", "--json").exits(exitFailed).finds("credentials", problem, "must end in /v3")
	host.Close()
	s.run("doctor", "--json").exits(exitFailed).finds("credentials", problem, "cannot be reached")
}

func TestOnlyWhatProvesToBeASandboxIsCalledOne(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	obliging := account(t, `"active":1`, ``, nil)
	for name, c := range map[string]struct {
		s    *shell
		url  string
		key  string
		want string
	}{
		"a sandbox":                    {s, s.seen.BaseURL, s.seen.APIKey, hostSandbox},
		"a sandbox that refuses us":    {s, s.seen.BaseURL, "another-key", hostLive},
		"no credentials":               {s, s.seen.BaseURL, "", hostLive},
		"a host that agrees to all":    {obliging, "", "k3y-of-acme", hostLive},
		"ClickSend":                    {s, "https://rest.clicksend.com/v3", s.seen.APIKey, hostLive},
		"another host of theirs":       {s, "https://eu.REST.clicksend.com./v3", s.seen.APIKey, hostLive},
		"a host that is away":          {s, "http://127.0.0.1:1/v3", s.seen.APIKey, hostLive},
		"a name that only looks alike": {s, strings.Replace(s.seen.BaseURL, "127.0.0.1", "localhost", 1), s.seen.APIKey, hostSandbox},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := c.s.with("CLICKSEND_API_KEY=" + c.key)
			if c.url != "" {
				env = env.with("CLICKSEND_BASE_URL=" + c.url)
			}
			cfg, err := configs.Load(configs.LoadOptions{Env: env.env, Dir: env.dir})
			if err != nil {
				t.Fatal(err)
			}
			m := &Main{cfg: cfg}
			if got := m.hostKind(t.Context()); got != c.want {
				t.Errorf("%s is %s, want %s", cfg.ClickSendBaseURL, got, c.want)
			}
		})
	}
}

func TestCredentialsDoNotFollowARedirect(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	target, err := url.Parse(s.seen.BaseURL)
	if err != nil {
		t.Fatal(err)
	}
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+target.Host+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer away.Close()
	cfg, err := configs.Load(configs.LoadOptions{Env: s.with("CLICKSEND_BASE_URL=" + away.URL + "/v3").env, Dir: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	if got := (&Main{cfg: cfg}).hostKind(context.Background()); got != hostLive {
		t.Errorf("a redirect to a sandbox makes it %s", got)
	}
}

func TestATestMessageGoesToDocumentedNumbersAlone(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	server := s.provider(sandbox.Options{})
	s.run("doctor", "--send-test", "+61412345678").exits(exitUsage).warns("+61411111111", "`postrider send --test-to`")
	if n := server.Stats().Requests; n != 0 {
		t.Errorf("%d requests were made", n)
	}
	for _, to := range testNumbers() {
		s.run("doctor", "--send-test", to, "--json").exits(exitDone).finds("send test", fine, "SUCCESS, price 0.00 AUD")
	}
	stats := server.Stats()
	if n := int64(len(testNumbers())); stats.Accepted != n || stats.Channels["sms"].Free != n {
		t.Errorf("%d accepted, %d of them free, want %d", stats.Accepted, stats.Channels["sms"].Free, n)
	}
	server.SetFaults(sandbox.Faults{Error500After: 1, Endpoints: []string{"POST /sms/send"}})
	s.run("doctor", "--send-test", "+61411111111", "--json").exits(exitFailed).finds("send test", problem, "the answer was lost")
}

func TestFoldersAreChecked(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	open := filepath.Join(s.dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o755); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	s.with("POSTRIDER_DATA_DIR="+open).run("doctor").exits(exitDone).says("warning", "can be entered by others (mode 0755)", "chmod 700")
	s.file("file", "")
	s.with("POSTRIDER_FILES_DIR="+filepath.Join(s.dir, "file")).run("doctor", "--json").exits(exitFailed).finds("files folder", problem, "is a file")
	s.with("POSTRIDER_DATA_DIR="+filepath.Join(s.dir, "file", "below")).run("doctor", "--json").exits(exitFailed).
		finds("data folder", problem, "POSTRIDER_DATA_DIR").finds("database", problem, "cannot be opened")
	info, err := os.Stat(filepath.Join(s.dir, "data"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data folder that was made: %v, %v", info.Mode(), err)
	}
}

func TestADatabaseThatIsNoneIsAProblem(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("notes.db", strings.Repeat("these are notes and no database\n", 100))
	s.with("POSTRIDER_DATABASE_URL="+filepath.Join(s.dir, "notes.db")).run("doctor", "--json").exits(exitFailed).
		finds("database", problem, "not a SQLite database").finds("credentials", fine)
	s.with("POSTRIDER_DATABASE_URL=postgres://u:pass-word@127.0.0.1:1/x?connect_timeout=2").run("doctor", "--json").exits(exitFailed).
		finds("database", problem, "is PostgreSQL running").hides("pass-word")
}

func TestTheDatabaseIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.run("doctor").exits(exitDone)
	s.run("list", "ls").exits(exitDone).says("there are no lists yet")
}

func TestARedisThatKeepsItsDataIsFine(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	r := services.RedisWith(t, services.RedisOptions{AOF: true, Password: "pass-word"})
	s.with("POSTRIDER_REDIS_URL="+r.URL()).run("doctor", "--json").exits(exitDone).hides("pass-word").finds("redis", fine, "noeviction, append-only file")
}

func TestARedisThatForgetsIsWarnedOf(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	r := services.RedisWith(t, services.RedisOptions{Settings: map[string]string{"maxmemory-policy": "allkeys-lru"}})
	s.with("POSTRIDER_REDIS_URL="+r.URL()).run("doctor").exits(exitFailed).
		says("maxmemory-policy is allkeys-lru", "set it to noeviction", "keeps no append-only file", "no worker is running now: start `postrider worker`", "1 problem, 2 warnings")
}

func TestARedisThatSaysLittleIsNotTakenForBad(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	r := services.Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: r.Addr})
	defer rdb.Close()
	if err := rdb.Do(t.Context(), "ACL", "SETUSER", "default", "-info", "-config").Err(); err != nil {
		t.Fatal(err)
	}
	s.with("POSTRIDER_REDIS_URL="+r.URL()).run("doctor").exits(exitDone).says("does not tell its version", "does not tell its maxmemory-policy", "does not tell whether it keeps its data")
}

func TestARedisThatIsAwayIsAProblem(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.with("POSTRIDER_REDIS_URL=redis://:pass-word@127.0.0.1:1").run("doctor", "--json").exits(exitFailed).
		finds("redis", problem, "does not answer", "POSTRIDER_REDIS_URL").hides("pass-word")
}

func TestVersionsAreCompared(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{"6.2.0": false, "6.0.16": true, "5": true, "7.0.15": false, "255.255.255": false, "unknown": false, "6.x": true} {
		if olderThan(version, 6, 2) != want {
			t.Errorf("olderThan(%q, 6, 2) is %v", version, !want)
		}
	}
}

func TestPostgreSQLAndItsClockAreChecked(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	p := services.PostgresAlone(t, services.PostgresOptions{})
	address, err := p.NewDatabase(t.Context(), "doctor")
	if err != nil {
		t.Fatal(err)
	}
	s.with("POSTRIDER_DATABASE_URL="+address).run("doctor").exits(exitDone).
		says("PostgreSQL 1", "writable", "agrees with PostgreSQL's", "the embedded queue serves this machine alone")
}

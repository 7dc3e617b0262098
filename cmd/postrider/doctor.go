package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/configs"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
)

// The kinds of host a base URL can lead to.
const (
	hostLive    = "LIVE"
	hostSandbox = "SANDBOX"
)

// hostKind says whether the configured base URL leads to ClickSend, where
// messages are sent and paid, or to a sandbox. Only what proves to be a
// sandbox is called one.
func (m *Main) hostKind(ctx context.Context) string {
	base, err := url.Parse(m.cfg.ClickSendBaseURL)
	if err != nil {
		return hostLive
	}
	host := strings.ToLower(strings.TrimSuffix(base.Hostname(), "."))
	if host == "clicksend.com" || strings.HasSuffix(host, ".clicksend.com") {
		return hostLive
	}
	name, key, err := m.cfg.Credentials()
	if err != nil {
		return hostLive
	}
	stats := url.URL{Scheme: base.Scheme, Host: base.Host, Path: "/_sandbox/stats"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, stats.String(), nil)
	if err != nil {
		return hostLive
	}
	req.SetBasicAuth(name, key.Reveal())
	res, err := plainClient(5 * time.Second).Do(req)
	if err != nil {
		return hostLive
	}
	defer res.Body.Close()
	// A host that says 200 to everything is no sandbox.
	var counted struct {
		Requests *int64                     `json:"requests"`
		Channels map[string]json.RawMessage `json:"channels"`
	}
	err = json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&counted)
	if err != nil || res.StatusCode != http.StatusOK || counted.Requests == nil || counted.Channels == nil {
		return hostLive
	}
	return hostSandbox
}

// plainClient follows no redirect, so that credentials go nowhere else, and
// keeps no connection.
func plainClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// The verdicts of doctor, as --json spells them.
const (
	fine    = "ok"
	warning = "warning"
	problem = "problem"
)

// finding is one line of doctor's.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, warning, problem
	Text   string `json:"text"`   // what is, and what to do about it
}

// doctor holds what was found so far.
type doctor struct {
	m        *Main
	findings []finding
}

func (d *doctor) say(check, result, format string, args ...any) {
	f := finding{check, result, fmt.Sprintf(format, args...)}
	d.findings = append(d.findings, f)
	if !d.m.json {
		d.m.say("%-8s %-14s %s", f.Result, f.Check, f.Text)
	}
}

func (d *doctor) count(result string) int {
	n := 0
	for _, f := range d.findings {
		if f.Result == result {
			n++
		}
	}
	return n
}

func (m *Main) doctorCommand() *cobra.Command {
	var sendTest string
	var verbose bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check everything Postrider needs, and say what is wrong in plain words",
		Long: "Checks configuration, data folder, database, Redis, credentials, balance, countries and clock, and\n" +
			"says in plain words what is wrong. The exit code is 1 when there is a problem.\n\n" +
			"--send-test sends one SMS to a number that ClickSend documents as free: it reaches nobody and\n" +
			"costs nothing. The numbers are " + strings.Join(testNumbers(), ", ") + ".",
		Example: "  postrider doctor --send-test +61411111111",
		Args:    exactArgs(0, "no arguments but flags"),
		// It reads the configuration itself, to say what is wrong with it.
		Annotations: map[string]string{"config": "none"},
		RunE:        func(cmd *cobra.Command, _ []string) error { return m.doctor(cmd, sendTest, verbose) },
	}
	cmd.Flags().StringVar(&sendTest, "send-test", "", "send one SMS to this documented test number")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show every setting and where it comes from")
	return cmd
}

// testNumbers reach nobody and cost nothing (shared/api/semantics.md, section
// 5). The last two stand as they are printed there, one digit short of a real
// number: so they cannot reach anybody even where they should not be free.
func testNumbers() []string {
	return []string{
		"+61411111111", "+61422222222", "+61433333333", "+61444444444",
		"+14055555555", "+14055555666", "+44777777777", "+861555555555",
	}
}

// doctorJSON is what `doctor --json` prints.
type doctorJSON struct {
	Healthy  bool              `json:"healthy"` // no problem
	Problems int               `json:"problems"`
	Warnings int               `json:"warnings"`
	Host     string            `json:"host,omitempty"` // LIVE or SANDBOX
	Checks   []finding         `json:"checks"`
	Settings []configs.Setting `json:"settings,omitempty"` // with -v; secrets are hidden
}

func (m *Main) doctor(cmd *cobra.Command, sendTest string, verbose bool) error {
	ctx := cmd.Context()
	sendTest = strings.ReplaceAll(sendTest, " ", "")
	if sendTest != "" && !slices.Contains(testNumbers(), sendTest) {
		return usagef("--send-test only sends to the provider's free test numbers: %s; `postrider send --test-to` sends to a number of yours", strings.Join(testNumbers(), ", "))
	}
	d := &doctor{m: m}
	out := doctorJSON{}
	if d.configuration(cmd, verbose) {
		d.folders()
		l := d.database(ctx)
		d.redis(ctx, l)
		out.Host = d.provider(ctx, l, sendTest)
		if l != nil {
			if err := l.Close(); err != nil {
				d.say("database", problem, "it does not close: %v", err)
			}
		}
		if verbose {
			out.Settings = m.cfg.Redacted()
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	out.Checks, out.Problems, out.Warnings = d.findings, d.count(problem), d.count(warning)
	out.Healthy = out.Problems == 0
	if !out.Healthy {
		m.exitCode = exitFailed
	}
	if m.json {
		return m.printJSON(out)
	}
	switch {
	case out.Problems > 0:
		m.say("\n%s, %s", plural(out.Problems, "problem"), plural(out.Warnings, "warning"))
	case out.Warnings > 0:
		m.say("\nready to send; %s", plural(out.Warnings, "warning"))
	default:
		m.say("\nall well: ready to send")
	}
	return nil
}

// configuration reads the configuration; false when nothing can be checked
// without one.
func (d *doctor) configuration(cmd *cobra.Command, verbose bool) bool {
	m := d.m
	cfg, err := configs.Load(configs.LoadOptions{Env: m.Env, Flags: cmd.Flags(), Dir: m.Dir})
	var many *configs.Error
	switch {
	case errors.As(err, &many):
		for _, p := range many.Problems {
			d.say("configuration", problem, "%s", p)
		}
		return false
	case err != nil:
		d.say("configuration", problem, "%v", err)
		return false
	}
	m.cfg = cfg
	if cfg.File() == "" {
		d.say("configuration", fine, "no postrider.yaml: flags, environment and defaults")
	} else {
		d.say("configuration", fine, "%s, below flags and environment", cfg.File())
	}
	if verbose && !m.json {
		for _, s := range cfg.Redacted() {
			m.say("         %-22s %s  (%s)", s.Key, s.Value, s.Origin)
		}
	}
	return true
}

// Free space in the data folder below which doctor complains, in bytes. A
// million recipients take about 400 MB.
const (
	tightSpace = 1 << 30
	noSpace    = 100 << 20
)

// folders checks the data folder and the shared folder of files.
func (d *doctor) folders() {
	d.folder("data folder", d.m.cfg.DataDir, "POSTRIDER_DATA_DIR")
	if dir := d.m.cfg.FilesDir; dir != "" {
		d.folder("files folder", dir, "POSTRIDER_FILES_DIR")
	}
}

func (d *doctor) folder(check, dir, variable string) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			info, err = os.Stat(dir)
		}
	}
	if err != nil {
		d.say(check, problem, "it cannot be used: %v: name another in %s", err, variable)
		return
	}
	if !info.IsDir() {
		d.say(check, problem, "%s is a file: name a folder in %s", dir, variable)
		return
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err == nil {
		_, err = f.Write([]byte("is there room?"))
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		d.say(check, problem, "%s cannot be written: %v: change its owner, or name another in %s", dir, err, variable)
		return
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && ownerOnlyMatters() {
		d.say(check, warning, "%s can be entered by others (mode %04o), and it holds personal data: chmod 700 %s", dir, mode, dir)
	}
	free, err := freeSpace(dir)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		d.say(check, fine, "%s, writable", dir)
	case err != nil:
		d.say(check, warning, "%s: its free space cannot be read: %v", dir, err)
	case free < noSpace:
		d.say(check, problem, "%s has %d MB left: free some space", dir, free>>20)
	case free < tightSpace:
		d.say(check, warning, "%s has %d MB left, too little for a large campaign", dir, free>>20)
	default:
		d.say(check, fine, "%s, writable, %s MB free", dir, number(int(free>>20)))
	}
}

// database opens the ledger, which brings its tables up to date, and writes to
// it. It returns nil when there is none to use.
func (d *doctor) database(ctx context.Context) *ledger.Ledger {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	l, err := d.m.openLedger(ctx)
	if err != nil {
		what := "is the path in POSTRIDER_DATABASE_URL right?"
		if d.m.cfg.UsesPostgres() {
			what = "is PostgreSQL running, and is POSTRIDER_DATABASE_URL right?"
		}
		d.say("database", problem, "it cannot be opened: %s %v", what, err)
		return nil
	}
	version, err := l.Describe(ctx)
	if err == nil {
		// Half an import that is taken back: the only trace is that it went well.
		var w *ledger.ListWriter
		if w, err = l.CreateList(ctx, "", "doctor", ""); err == nil {
			err = w.Abort(ctx)
		}
	}
	if err != nil {
		d.say("database", problem, "it opens, but cannot be written: %v", err)
		return l
	}
	d.say("database", fine, "%s, its tables up to date, writable", version)
	if d.m.cfg.UsesPostgres() {
		d.databaseClock(ctx, l)
	}
	if err := refuseQuarantined(ctx, l); err != nil {
		d.say("quarantine", problem, "%v", err)
	}
	return l
}

// skew is the difference between two clocks that is still taken for none: the
// provider's shows whole seconds.
const skew = 5 * time.Second

func (d *doctor) databaseClock(ctx context.Context, l *ledger.Ledger) {
	before := time.Now()
	there, err := l.Now(ctx)
	if err != nil {
		d.say("clock", warning, "PostgreSQL's cannot be read: %v", err)
		return
	}
	d.clock("PostgreSQL's", there, before, time.Now(), 0)
}

// clock compares another clock, which was read between two moments and shows
// steps of grain, with ours.
func (d *doctor) clock(whose string, there, before, after time.Time, grain time.Duration) {
	off := time.Duration(0)
	switch {
	case there.Add(grain).Before(before):
		off = before.Sub(there.Add(grain))
	case there.After(after):
		off = there.Sub(after)
	}
	if off > skew {
		d.say("clock", warning, "this machine's and %s differ by %s: let NTP set it, or schedules and waits are wrong by as much", whose, off.Round(time.Second))
		return
	}
	d.say("clock", fine, "agrees with %s", whose)
}

// redis checks the queue, and whether somebody works on that of the ledger,
// which may be nil.
func (d *doctor) redis(ctx context.Context, l *ledger.Ledger) {
	if d.m.cfg.UsesEmbeddedRedis() {
		running, _, err := d.m.engineRuns()
		switch {
		case err != nil:
			d.say("redis", problem, "%v", err)
		case running:
			d.say("redis", fine, "embedded; a Postrider process is running the engine on this data folder")
		default:
			d.say("redis", fine, "embedded; no process is running the engine now (`postrider serve` does, and `postrider send` by itself)")
		}
		if d.m.cfg.UsesPostgres() {
			d.say("redis", warning, "the embedded queue serves this machine alone, while PostgreSQL may serve many: set POSTRIDER_REDIS_URL before you run workers elsewhere")
		}
		return
	}
	opts, err := d.m.cfg.RedisOptions()
	if err != nil {
		d.say("redis", problem, "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	rdb := redis.NewUniversalClient(opts)
	defer rdb.Close() //nolint:errcheck // nothing was written
	if err := rdb.Ping(ctx).Err(); err != nil {
		d.say("redis", problem, "it does not answer: is it running, and is POSTRIDER_REDIS_URL right? %v", err)
		return
	}
	if l != nil {
		if running, known := d.m.workersRun(l.ID()); known && !running {
			d.say("workers", warning, "%s, or campaigns wait", noWorkers)
		}
	}
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		d.redisServer(ctx, rdb, "")
		return
	}
	var one sync.Mutex
	n := 0
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		one.Lock()
		defer one.Unlock()
		n++
		d.redisServer(ctx, c, fmt.Sprintf("node %d: ", n))
		return nil
	})
	if err != nil {
		d.say("redis", problem, "the cluster's nodes do not all answer: %v", err)
	}
}

// redisServer checks one Redis server. Managed ones refuse some questions:
// what is not known is said to be so.
func (d *doctor) redisServer(ctx context.Context, rdb redis.Cmdable, which string) {
	info := map[string]string{}
	for _, section := range []string{"server", "memory", "persistence", "replication"} {
		text, err := rdb.Info(ctx, section).Result()
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				info[key] = value
			}
		}
	}
	version, bad := info["redis_version"], d.count(problem)+d.count(warning)
	switch {
	case version == "":
		d.say("redis", warning, "%sit does not tell its version: it must be 6.2 or newer", which)
	case olderThan(version, 5, 0):
		d.say("redis", problem, "%sit is version %s: the shared rate budget needs 5, take 6.2 or newer", which, version)
	case olderThan(version, 6, 2):
		d.say("redis", warning, "%sit is version %s, which nobody maintains any more: take 6.2 or newer", which, version)
	}
	policy := info["maxmemory_policy"]
	if policy == "" {
		if got, err := rdb.ConfigGet(ctx, "maxmemory-policy").Result(); err == nil {
			policy = got["maxmemory-policy"]
		}
	}
	switch policy {
	case "noeviction":
	case "":
		d.say("redis", warning, "%sit does not tell its maxmemory-policy: see to it that it is noeviction", which)
	default:
		d.say("redis", problem, "%smaxmemory-policy is %s, so that a full Redis forgets tasks at random: set it to noeviction", which, policy)
	}
	switch aof := info["aof_enabled"]; {
	case aof == "" && info["loading"] == "":
		d.say("redis", warning, "%sit does not tell whether it keeps its data: appendonly should be on", which)
	case aof != "1":
		d.say("redis", warning, "%sit keeps no append-only file, so that a restart costs the queue and the learned rate limits (nobody is lost: the ledger dispatches anew): set appendonly yes", which)
	case info["aof_last_write_status"] == "err":
		d.say("redis", problem, "%sits append-only file cannot be written: is its disk full?", which)
	}
	if info["role"] == "slave" || info["role"] == "replica" {
		d.say("redis", problem, "%sit is a replica, which cannot be written: name the primary, or Sentinel, in POSTRIDER_REDIS_URL", which)
	}
	if info["loading"] == "1" {
		d.say("redis", warning, "%sit is still loading its data", which)
	}
	if d.count(problem)+d.count(warning) == bad {
		d.say("redis", fine, "%sversion %s, noeviction, append-only file", which, version)
	}
}

// olderThan compares a version such as 7.0.15.
func olderThan(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	a, err := strconv.Atoi(parts[0])
	if err != nil {
		return false
	}
	b := 0
	if len(parts) > 1 {
		b, _ = strconv.Atoi(parts[1])
	}
	return a < major || a == major && b < minor
}

// shortSettle is the settling time below which a person should be warned. How
// long the provider's history lags is not documented.
const shortSettle = 30 * time.Second

// provider checks the account, and returns the kind of host it lives on.
func (d *doctor) provider(ctx context.Context, l *ledger.Ledger, sendTest string) (host string) {
	m := d.m
	if _, _, err := m.cfg.Credentials(); err != nil {
		d.say("credentials", problem, "%v", err)
		if sendTest != "" {
			d.say("send test", problem, "nothing was sent: there are no credentials")
		}
		return ""
	}
	host = m.hostKind(ctx)
	if host == hostLive {
		d.say("host", fine, "LIVE: %s; messages are sent and charged", m.cfg.ClickSendBaseURL)
		if m.cfg.Settle < shortSettle {
			d.say("settle", warning, "%s is short for a real provider: a lost answer whose message shows in the history later than that is sent a second time; set POSTRIDER_SETTLE to 90s or more", m.cfg.Settle)
		}
	} else {
		d.say("host", fine, "SANDBOX: %s; nothing is sent", m.cfg.ClickSendBaseURL)
	}
	d.providerClock(ctx)
	p, err := m.openProvider(l, ratelimit.New(nil, m.rateOptions()))
	if err != nil {
		d.say("credentials", problem, "%v", err)
		return host
	}
	defer p.Close()
	if !d.account(ctx, p) {
		if sendTest != "" {
			d.say("send test", problem, "nothing was sent: the account cannot be used")
		}
		return host
	}
	d.countries(ctx, p)
	if sendTest != "" {
		d.sendTest(ctx, p, sendTest)
	}
	return host
}

// providerClock compares our clock with the Date of an answer to a request
// that bears no credentials.
func (d *doctor) providerClock(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.m.cfg.ClickSendBaseURL+"/countries", nil)
	if err != nil {
		return // the base URL is wrong, which the account's check says
	}
	before := time.Now()
	res, err := plainClient(10 * time.Second).Do(req)
	if err != nil {
		return // it does not answer, which the account's check says
	}
	after := time.Now()
	res.Body.Close() //nolint:errcheck // only its head was wanted
	there, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		d.say("clock", warning, "the provider does not tell the time: see to it that NTP sets this machine's")
		return
	}
	d.clock("the provider's", there, before, after, time.Second)
}

// account checks credentials, state and balance; false when the account
// cannot be used at all.
func (d *doctor) account(ctx context.Context, p *jobs.Provider) bool {
	a, err := p.Account(ctx)
	if err != nil {
		d.say("credentials", problem, "%v", jobs.Explain(err))
		return false
	}
	switch {
	case a.Banned:
		d.say("credentials", problem, "they are right, but the account (user id %d) is banned: ask the provider's support", a.UserID)
	case !a.Active:
		d.say("credentials", problem, "they are right, but the account (user id %d) is not active: activate it in the provider's dashboard", a.UserID)
	default:
		d.say("credentials", fine, "right; user id %d, active", a.UserID)
	}
	money := fmt.Sprintf("%s %s", a.Balance, a.Currency.Code)
	switch {
	case a.Balance <= 0 && !a.AutoRecharge:
		d.say("balance", problem, "%s: buy credit, or nothing can be sent", money)
	case a.Balance <= 0:
		d.say("balance", warning, "%s, to be recharged by %s automatically", money, a.AutoRechargeAmount)
	case a.LowCreditAmount > 0 && a.Balance < a.LowCreditAmount:
		d.say("balance", warning, "%s, below the account's mark for low credit (%s): buy credit before a large campaign", money, a.LowCreditAmount)
	default:
		d.say("balance", fine, "%s", money)
	}
	return !a.Banned && a.Active
}

// countries checks which countries the account may send to.
func (d *doctor) countries(ctx context.Context, p *jobs.Provider) {
	all, err := p.Client().Countries.Selected(ctx)
	if err != nil {
		d.say("countries", warning, "they cannot be read: %v", jobs.Explain(err))
		return
	}
	var agreed, open []string
	for _, c := range all {
		if c.AgreedAt == "" {
			open = append(open, c.Code)
		} else {
			agreed = append(agreed, c.Code)
		}
	}
	if len(open) > 0 {
		d.say("countries", warning, "the rules of %s are not agreed to: agree in the provider's dashboard before sending there", strings.Join(open, ", "))
	}
	switch home := d.m.cfg.Country; {
	case len(agreed) == 0 && len(open) == 0:
		d.say("countries", warning, "none is selected: select those you send SMS and MMS to in the provider's dashboard, or every message is refused with COUNTRY_NOT_ENABLED")
	case home != "" && len(agreed) > 0 && !slices.Contains(agreed, home) && !slices.Contains(open, home):
		d.say("countries", warning, "%s is the configured country, and is not among those selected (%s)", home, strings.Join(agreed, ", "))
	case len(agreed) > 0:
		d.say("countries", fine, "%s", strings.Join(agreed, ", "))
	}
}

// sendTest sends one SMS to a documented test number.
func (d *doctor) sendTest(ctx context.Context, p *jobs.Provider, to string) {
	result, err := p.Client().SMS.Send(ctx, []clicksend.SMSMessage{{To: to, Body: "Postrider test", CustomString: "postrider-doctor", Source: "postrider"}})
	switch {
	case clicksend.KindOf(err) == clicksend.UnknownOutcome:
		d.say("send test", problem, "the answer was lost; the number is a test number, so try again: %v", err)
		return
	case err != nil:
		d.say("send test", problem, "%v", jobs.Explain(err))
		return
	case len(result.Rows) != 1:
		d.say("send test", problem, "the provider's answer has %d rows instead of one: please report this", len(result.Rows))
		return
	}
	out := result.Rows[0].Outcome()
	price := strings.TrimSpace(campaign.Micros(out.Price).String() + " " + result.Currency.Code)
	if out.Verdict() != clicksend.Accepted {
		d.say("send test", problem, "the provider answered %s, price %s", orWord(string(out.Status), "without a status"), price)
		return
	}
	d.say("send test", fine, "%s, price %s; test numbers reach nobody and are not charged", out.Status, price)
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}

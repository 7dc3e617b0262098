package acceptance

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/specimen"
)

// world is a user's folder and environment, and the provider they point at.
type world struct {
	t        testing.TB
	dir      string
	env      map[string]string
	provider *sandbox.Server
	host     string // of the provider, http://127.0.0.1:port
	base     *world // whose environment this one is a change of; nil for the first
	program  string
	// front, when set, may answer a request before the provider sees it; it
	// returns whether it has.
	front *atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

// newWorld makes a folder on the embedded default, and a provider with the
// options.
func newWorld(t testing.TB, o sandbox.Options) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), provider: sandbox.New(o), program: built, front: &atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]{}}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if front := w.front.Load(); front == nil || !(*front)(rw, r) {
			w.provider.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(func() {
		w.provider.Close()
		server.CloseClientConnections()
		server.Close()
	})
	name, key := o.Username, o.APIKey
	if name == "" {
		name, key = sandbox.DefaultUsername, sandbox.DefaultAPIKey
	}
	w.host = server.URL
	w.env = map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": w.dir, "TZ": "UTC",
		"POSTRIDER_DATA_DIR": filepath.Join(w.dir, "data"),
		"POSTRIDER_RATE":     "200",
		"CLICKSEND_BASE_URL": server.URL + "/v3", "CLICKSEND_USERNAME": name, "CLICKSEND_API_KEY": key,
	}
	return w
}

// set changes the environment of the processes started from now on.
func (w *world) set(pairs ...string) *world {
	for i := 0; i < len(pairs); i += 2 {
		w.env[pairs[i]] = pairs[i+1]
	}
	return w
}

// with is the same world under another environment.
func (w *world) with(pairs ...string) *world {
	other := *w
	other.env, other.base = maps.Clone(w.env), w
	return other.set(pairs...)
}

// start runs the program with arguments.
func (w *world) start(args ...string) *process {
	w.t.Helper()
	return start(w.t, w.dir, w.environ(), w.program, args...)
}

// shell runs a line of sh, in which "$0" is the program.
func (w *world) shell(line string, args ...string) *process {
	w.t.Helper()
	return start(w.t, w.dir, w.environ(), "/bin/sh", append([]string{"-c", line, w.program}, args...)...)
}

func (w *world) environ() []string {
	var env []string
	for k, v := range w.env {
		env = append(env, k+"="+v)
	}
	slices.Sort(env)
	return env
}

// role runs worker, scheduler or serve, and returns when it runs.
func (w *world) role(args ...string) *process {
	w.t.Helper()
	p := w.start(args...)
	p.await("running")
	return p
}

// run runs a command to its end.
func (w *world) run(args ...string) *process {
	w.t.Helper()
	p := w.start(args...)
	p.wait(10 * time.Minute)
	return p
}

// must runs a command that is to end with exit code 0, and returns its stdout.
func (w *world) must(args ...string) string {
	w.t.Helper()
	p := w.run(args...)
	if p.code != 0 {
		w.t.Fatalf("%s: exit code %d, want 0\n%s%s", p.line, p.code, p.stdout, p.stderr)
	}
	return p.stdout.String()
}

// file writes a file in the world's folder.
func (w *world) file(name string, content []byte) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return name
}

// audience writes n people with a mobile number and a whole address each, none
// twice, from the first number on.
func (w *world) audience(name string, first, n int) string {
	var b bytes.Buffer
	b.WriteString("Mobile,First Name,Last Name,Address 1,Suburb,State,Postcode,Country,Tier\n")
	for i := first; i < first+n; i++ {
		fmt.Fprintf(&b, "+614%08d,Ann%d,Miller%d,%d Jarrah Drive,Perth,WA,6000,AU,gold\n", 12000000+i, i%977, i, i+1)
	}
	return w.file(name, b.Bytes())
}

// picture is a small PNG.
func picture(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// page is a letter of one page, different for every mark; card is a side of a
// postcard.
func page(mark string) []byte { return specimen.Letter(mark, 1) }
func card(mark string) []byte { return specimen.Card(mark, 1) }

// returnAddress adds one to the provider's account and returns its id.
func (w *world) returnAddress() string {
	w.t.Helper()
	var a struct {
		ID int64 `json:"id"`
	}
	w.decode(w.must("address", "add", "--name", "ACME Pty Ltd", "--line-1", "1 Harbour Street", "--city", "Perth",
		"--state", "WA", "--postcode", "6000", "--country", "AU", "--json"), &a)
	return strconv.FormatInt(a.ID, 10)
}

func (w *world) decode(text string, v any) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		w.t.Fatalf("not the JSON object that is expected: %v\n%s", err, tail(text))
	}
}

// standing is what `campaign status --json` says, by the names of the contract.
type standing struct {
	ID          int64           `json:"id"`
	Name        string          `json:"name"`
	Channel     string          `json:"channel"`
	State       string          `json:"state"`
	Reason      string          `json:"reason"`
	Total       int             `json:"total"`
	Pending     int             `json:"pending"`
	InFlight    int             `json:"in_flight"`
	Unknown     int             `json:"unknown"`
	Accepted    int             `json:"accepted"`
	Delivered   int             `json:"delivered"`
	Undelivered int             `json:"undelivered"`
	Rejected    int             `json:"rejected"`
	Suppressed  int             `json:"suppressed"`
	Cancelled   int             `json:"cancelled"`
	Quoted      campaign.Micros `json:"quoted"`
	Spent       campaign.Micros `json:"spent"`
	Currency    string          `json:"currency"`
}

func (s *standing) sum() int {
	return s.Pending + s.InFlight + s.Unknown + s.Accepted + s.Delivered + s.Undelivered + s.Rejected + s.Suppressed + s.Cancelled
}

// status reads a campaign by number or name.
func (w *world) status(ref string) standing {
	w.t.Helper()
	s, err := w.tryStatus(ref)
	if err != nil {
		w.t.Fatal(err)
	}
	if s.sum() != s.Total {
		w.t.Fatalf("campaign %s: total is %d, and the states add up to %d: %+v", ref, s.Total, s.sum(), s)
	}
	return s
}

// tryStatus is status where the ledger may be away.
func (w *world) tryStatus(ref string) (s standing, err error) {
	p := w.run("campaign", "status", ref, "--json")
	if err := json.Unmarshal([]byte(p.stdout.String()), &s); err != nil || s.ID == 0 {
		return s, errors.Join(fmt.Errorf("%s: exit code %d: %s%s", p.line, p.code, p.stdout, p.stderr), err)
	}
	return s, nil
}

// awaitState waits until a campaign is where it is wanted.
func (w *world) awaitState(within time.Duration, ref, state string) (s standing) {
	w.t.Helper()
	deadline := time.Now().Add(within)
	for {
		var err error
		s, err = w.tryStatus(ref)
		if err == nil && s.State == state {
			return w.status(ref)
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("campaign %s is not %s within %s: %+v %v", ref, state, within, s, err)
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// counted is what the provider says of a channel.
type counted struct {
	accepted, refused, again int
	charged                  campaign.Micros
}

func (w *world) counted(channel string) counted {
	w.t.Helper()
	s := w.provider.Stats().Channels[channel]
	charged, err := campaign.ParseMicros(s.Charged)
	if err != nil {
		w.t.Fatal(err)
	}
	c := counted{accepted: int(s.Accepted), again: int(s.Again), charged: charged}
	for _, n := range s.Refused {
		c.refused += int(n)
	}
	return c
}

// sends is how many send requests have reached the provider, on all channels.
func (w *world) sends() int {
	n := 0
	for name, e := range w.provider.Stats().Endpoints {
		if strings.HasSuffix(name, "/send") {
			n += int(e.Requests)
		}
	}
	return n
}

// nothingSent fails the test when a message was accepted, or asked for.
func (w *world) nothingSent() {
	w.t.Helper()
	if s := w.provider.Stats(); s.Accepted != 0 || w.sends() != 0 {
		w.t.Errorf("something was sent: %d messages in %d requests", s.Accepted, w.sends())
	}
}

// agree holds a finished campaign against the provider's own counts and against
// the CSV of its report: n recipients in all, nobody twice, nobody missing.
func (w *world) agree(s standing, n int) {
	w.t.Helper()
	w.account(s, n)
	w.nobodyTwice()
	// Whoever dies while it writes leaves a piece of a request; nobody has.
	if n := w.provider.Stats().Malformed; n != 0 {
		w.t.Errorf("%d requests were malformed", n)
	}
	w.report(s)
}

// account holds a finished campaign against the provider's own counts.
func (w *world) account(s standing, n int) {
	w.t.Helper()
	c := w.counted(s.Channel)
	if s.Total != n || s.Accepted+s.Rejected != n {
		w.t.Errorf("%s: %d recipients: want %d, all of them accepted or rejected: %+v", s.Channel, s.Total, n, s)
	}
	if c.accepted != s.Accepted || c.refused != s.Rejected || c.charged != s.Spent {
		w.t.Errorf("%s: the provider accepted %d, refused %d and charged %s; the report says %d, %d and %s",
			s.Channel, c.accepted, c.refused, c.charged, s.Accepted, s.Rejected, s.Spent)
	}
}

// nobodyTwice asks the provider, which remembers every destination.
func (w *world) nobodyTwice() {
	w.t.Helper()
	s := w.provider.Stats()
	for name, c := range s.Channels {
		if c.Again != 0 {
			w.t.Errorf("%s: %d recipients were sent to twice", name, c.Again)
		}
		if n := c.Refused["THROTTLED"]; n != 0 {
			w.t.Errorf("%s: %d messages were sent a second time, and refused as THROTTLED", name, n)
		}
	}
	if s.LargestBatch > sandbox.MaxBatch {
		w.t.Errorf("a request held %d messages, at most %d are allowed", s.LargestBatch, sandbox.MaxBatch)
	}
}

// report reads the CSV of a campaign's report and adds it up by itself.
func (w *world) report(s standing) {
	w.t.Helper()
	name := fmt.Sprintf("report-%d.csv", s.ID)
	w.must("campaign", "report", strconv.FormatInt(s.ID, 10), "--csv", name)
	f, err := os.Open(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	r := csv.NewReader(f)
	head, err := r.Read()
	if err != nil {
		w.t.Fatal(err)
	}
	state, price, recipient := slices.Index(head, "state"), slices.Index(head, "price"), slices.Index(head, "recipient")
	if state < 0 || price < 0 || recipient < 0 {
		w.t.Fatalf("the report lacks a column: %q", head)
	}
	states := map[string]int{}
	seen := map[string]bool{}
	var charged campaign.Micros
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if seen[row[recipient]] {
			w.t.Errorf("recipient %s has two lines in the report", row[recipient])
		}
		seen[row[recipient]] = true
		states[row[state]]++
		if row[price] != "" {
			p, err := campaign.ParseMicros(row[price])
			if err != nil {
				w.t.Fatal(err)
			}
			charged += p
		}
	}
	want := map[string]int{"pending": s.Pending + s.InFlight, "unknown": s.Unknown, "accepted": s.Accepted, "delivered": s.Delivered,
		"undelivered": s.Undelivered, "rejected": s.Rejected, "suppressed": s.Suppressed, "cancelled": s.Cancelled}
	maps.DeleteFunc(want, func(_ string, n int) bool { return n == 0 })
	if !maps.Equal(states, want) || charged != s.Spent {
		w.t.Errorf("the report's CSV adds up to %v, charged %s; the status says %v, %s", states, charged, want, s.Spent)
	}
}

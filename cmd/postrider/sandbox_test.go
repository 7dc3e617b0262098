package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postrider/postrider/clicksend/sandbox"
)

// running is a sandbox command under way.
type running struct {
	sandboxJSON
	out, err locked
	stop     context.CancelFunc
	code     chan int
}

// startSandbox runs `postrider sandbox --json` and waits until it listens.
func startSandbox(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{stop: stop, code: make(chan int, 1)}
	s := newShell(t)
	go func() { r.code <- s.main(&r.out, &r.err).Run(ctx, append([]string{"sandbox", "--json"}, args...)) }()
	t.Cleanup(stop)
	r.out.await(t, func(s string) bool { return json.Unmarshal([]byte(s), &r.sandboxJSON) == nil })
	return r
}

func (r *running) get(t *testing.T, url string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(r.Username, r.APIKey)
	res, err := plainClient(10 * time.Second).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

func TestTheSandboxServesUntilItIsStoppedAndSaysWhatItCounted(t *testing.T) {
	t.Parallel()
	r := startSandbox(t, "--balance", "12.50", "--seed", "7")
	if host, _, err := net.SplitHostPort(r.Address); err != nil || host != "127.0.0.1" {
		t.Errorf("it listens on %q", r.Address)
	}
	if r.BaseURL != "http://"+r.Address+"/v3" || r.Username != sandbox.DefaultUsername || r.APIKey != sandbox.DefaultAPIKey {
		t.Errorf("it says %+v", r.sandboxJSON)
	}
	var account struct {
		Data struct {
			Balance string `json:"balance"`
		} `json:"data"`
	}
	if code := r.get(t, r.BaseURL+"/account", &account); code != 200 || !strings.HasPrefix(account.Data.Balance, "12.5") {
		t.Errorf("GET /account: %d, balance %q", code, account.Data.Balance)
	}
	s := newShell(t).with("CLICKSEND_BASE_URL="+r.BaseURL, "CLICKSEND_USERNAME="+r.Username, "CLICKSEND_API_KEY="+r.APIKey)
	s.run("doctor", "--send-test", "+61411111111").exits(exitDone)
	r.stop()
	if code := <-r.code; code != exitDone {
		t.Errorf("it ends with %d: %s", code, r.err.String())
	}
	if !strings.Contains(r.err.String(), "accepted 1 messages and refused 0") {
		t.Errorf("it says %s", r.err.String())
	}
	if _, err := net.DialTimeout("tcp", r.Address, time.Second); err == nil {
		t.Error("it still listens")
	}
}

func TestTheSandboxSaysHowToPointAClientAtIt(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, errs locked
	code := make(chan int, 1)
	s := newShell(t)
	go func() {
		code <- s.main(&out, &errs).Run(ctx, []string{"sandbox", "--username", "me", "--api-key", "mine"})
	}()
	out.await(t, func(s string) bool { return strings.Contains(s, "/_sandbox/stats") })
	stop()
	if c := <-code; c != exitDone {
		t.Errorf("it ends with %d: %s", c, errs.String())
	}
	for _, want := range []string{"export CLICKSEND_BASE_URL=http://127.0.0.1:", "export CLICKSEND_USERNAME=me", "export CLICKSEND_API_KEY=mine", "the sandbox answered 0 requests"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
}

func TestTheSandboxMisbehavesAsToldTo(t *testing.T) {
	t.Parallel()
	r := startSandbox(t, "--rate-limit", "3/10s", "--refuse-rate", "0.5", "--history", "order=shuffled,lag=5s,no-reference",
		"--fault", "too_many=0.25", "--fault", "hang-for=1s", "--fault", "limit=4", "--fault", "endpoint=POST /sms/send")
	var f sandbox.Faults
	r.get(t, "http://"+r.Address+"/_sandbox/faults", &f)
	if diff := cmp.Diff(sandbox.Faults{TooMany: 0.25, HangFor: time.Second, Limit: 4, Endpoints: []string{"POST /sms/send"}}, f); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	var h sandbox.HistoryMode
	r.get(t, "http://"+r.Address+"/_sandbox/history", &h)
	if diff := cmp.Diff(sandbox.HistoryMode{Order: sandbox.Shuffled, Lag: 5 * time.Second, NoReference: true}, h); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	var l sandbox.RateLimit
	r.get(t, "http://"+r.Address+"/_sandbox/rate", &l)
	if diff := cmp.Diff(sandbox.RateLimit{Requests: 3, Window: 10 * time.Second}, l); diff != "" {
		t.Errorf("rate limit (-want +got):\n%s", diff)
	}
}

func TestEveryFaultCanBeAskedFor(t *testing.T) {
	t.Parallel()
	names := faultNames()
	for _, want := range []string{"cut_json", "dropped", "error500_after", "hang", "reset_before", "too_many"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no fault %s among %v", want, names)
		}
	}
	for _, name := range names {
		if f, err := parseFaults([]string{name + "=0.5"}); err != nil || cmp.Equal(f, sandbox.Faults{}) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

func TestTheSandboxIsRefusedWhen(t *testing.T) {
	t.Parallel()
	for says, args := range map[string][]string{
		"there is no fault \"thunder\"; there are cut_json": {"--fault", "thunder=1"},
		"is not NAME=PROBABILITY":                           {"--fault", "too_many"},
		"\"often\" is not a probability":                    {"--fault", "too_many=often"},
		"\"1.5\" is not a probability":                      {"--fault", "too_many=1.5"},
		"\"x\" is not a duration":                           {"--fault", "hang_for=x"},
		"--fault limit: \"x\" is not a number":              {"--fault", "limit=x"},
		"there is no \"sort\"":                              {"--history", "sort=newest"},
		"history order \"odd\" is not known":                {"--history", "order=odd"},
		"--history: order needs a value":                    {"--history", "order"},
		"--history due_dates: \"maybe\"":                    {"--history", "due_dates=maybe"},
		"is not REQUESTS/WINDOW":                            {"--rate-limit", "fast"},
		"\"0s\" is not a time":                              {"--rate-limit", "20/0s"},
		"refuse rate 2 is not between 0 and 1":              {"--refuse-rate", "2"},
		"balance: ":                                         {"--balance", "lots"},
		"currency \"XYZ\" is not known":                     {"--currency", "XYZ"},
		"country \"Narnia\"":                                {"--countries", "Narnia"},
		"is not HOST:PORT":                                  {"--addr", "4010"},
		"is no port from 0 to 65535":                        {"--addr", "127.0.0.1:99999"},
		"a user name without a colon":                       {"--username", "a:b"},
		"--api-key-file: ":                                  {"--api-key-file", "nothing"},
		"unknown flag: --frobnicate":                        {"--frobnicate"},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			newShell(t).run(append([]string{"sandbox"}, args...)...).exits(exitUsage).warns(says)
		})
	}
}

func TestTheSandboxIsNotReachedFromElsewhereWithTheKeyEverybodyKnows(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0"} {
		s.run("sandbox", "--addr", addr).exits(exitUsage).warns("can be reached from other machines", "--api-key-file")
	}
	for _, addr := range []string{"127.0.0.1:0", "127.9.9.9:80", "[::1]:0", "localhost:0"} {
		if err := checkListen(addr, false); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for _, addr := range []string{"0.0.0.0:0", ":0"} {
		if err := checkListen(addr, true); err != nil {
			t.Errorf("%s with a key of its own: %v", addr, err)
		}
	}
	s.file("key", "a key of our own\n")
	r := sandboxRequest{addr: "0.0.0.0:0", keyFile: "key", options: sandbox.Options{Username: "u", APIKey: sandbox.DefaultAPIKey}}
	var out, errs locked
	if err := s.main(&out, &errs).checkSandbox(&r); err != nil || r.options.APIKey != "a key of our own" {
		t.Errorf("the key from the file is %q, %v", r.options.APIKey, err)
	}
}

func TestATakenAddressIsSaid(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	newShell(t).run("sandbox", "--addr", l.Addr().String()).exits(exitFailed).warns("cannot listen on "+l.Addr().String(), "in use")
}

func TestABaseURLIsOneThatAClientCanReach(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"127.0.0.1:80": "http://127.0.0.1:80/v3", "[::]:80": "http://127.0.0.1:80/v3", "0.0.0.0:80": "http://127.0.0.1:80/v3", "[::1]:80": "http://[::1]:80/v3",
	} {
		if got := baseURLAt(addr); got != want {
			t.Errorf("%s gives %s, want %s", addr, got, want)
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
)

// sandboxRequest is what `postrider sandbox` was asked for.
type sandboxRequest struct {
	addr      string
	rateLimit string
	faults    []string
	history   []string
	keyFile   string
	options   sandbox.Options
}

func (m *Main) sandboxCommand() *cobra.Command {
	var r sandboxRequest
	cmd := &cobra.Command{
		Use: "sandbox", Short: "Be the provider: a server that behaves as ClickSend's API does and sends nothing",
		Long: "Runs a server that behaves as ClickSend's API does and sends nothing, until Ctrl-C. It prints how\n" +
			"to point a client at it, and at the end what it counted.\n\n" +
			"--fault NAME=PROBABILITY makes it misbehave, for example --fault too_many=0.05; the names are\n" +
			strings.Join(faultNames(), ", ") + ".\n" +
			"Beside these --fault takes hang_for, slow_by and retry_after (such as 2s), limit (a number of\n" +
			"faults) and endpoint (such as 'POST /sms/send', once for each).\n\n" +
			"The provider's documented test accounts are there as well: nocredit, notactive and banned, with\n" +
			"the API key " + sandbox.TestPassword + ".\n\n" +
			"--history NAME=VALUE says how histories behave: order (newest, oldest, id, shuffled,\n" +
			"page_shuffled), lag and reach (such as 30s), and ignore_order_by, no_reference, due_dates.",
		Example: "  postrider sandbox --addr 127.0.0.1:4010 --rate-limit 20/60s --fault reset_after=0.01\n" +
			"  postrider sandbox --history order=shuffled,lag=5s",
		Args:        exactArgs(0, "no arguments but flags"),
		Annotations: map[string]string{"config": "none"},
		RunE:        func(cmd *cobra.Command, _ []string) error { return m.sandbox(cmd.Context(), &r) },
	}
	f := cmd.Flags()
	f.StringVar(&r.addr, "addr", "127.0.0.1:0", "address to listen on; port 0 is any free one")
	f.StringVar(&r.options.Username, "username", sandbox.DefaultUsername, "user name of the account")
	f.StringVar(&r.options.APIKey, "api-key", sandbox.DefaultAPIKey, "API key of the account")
	f.StringVar(&r.keyFile, "api-key-file", "", "file that holds the API key")
	f.StringVar(&r.options.Balance, "balance", "", "the account's money (default 1000000.00)")
	f.StringVar(&r.options.Currency, "currency", "", "its currency (default AUD)")
	f.StringSliceVar(&r.options.Countries, "countries", nil, "countries that the account may send to (default AU,US,GB,NZ,CA)")
	f.StringVar(&r.rateLimit, "rate-limit", "", "requests in a window for each endpoint, such as 20/60s (default none)")
	f.Float64Var(&r.options.RefuseRate, "refuse-rate", 0, "share of messages to refuse, 0 to 1")
	f.BoolVar(&r.options.RefusedWithID, "refused-with-id", false, "give refused messages an id all the same, as the live API has been seen to")
	f.StringArrayVar(&r.faults, "fault", nil, "NAME=PROBABILITY, see above; may be repeated")
	f.StringSliceVar(&r.history, "history", nil, "NAME=VALUE, see above; may be repeated")
	f.DurationVar(&r.options.Throttle, "throttle", 0, "how long the same body to the same number is refused (default 5s; negative: never)")
	f.DurationVar(&r.options.Imports.Delay, "import-delay", 0, "how long after its request an import of contacts begins")
	f.IntVar(&r.options.Imports.RowsPerSecond, "import-rate", 0, "contacts a second that an import brings (default all at once)")
	f.BoolVar(&r.options.Imports.SkipHeader, "import-header", false, "take the first row of an imported file for names")
	f.BoolVar(&r.options.DropBodies, "drop-bodies", false, "keep no message bodies")
	f.Uint64Var(&r.options.Seed, "seed", 0, "of ids, faults and refusals: the same seed misbehaves alike")
	return cmd
}

// sandboxJSON is what `sandbox --json` prints once it listens.
type sandboxJSON struct {
	Address  string `json:"address"`
	BaseURL  string `json:"base_url"`
	Username string `json:"username"`
	APIKey   string `json:"api_key"`
}

func (m *Main) sandbox(ctx context.Context, r *sandboxRequest) error {
	if err := m.checkSandbox(r); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", r.addr)
	if err != nil {
		return fmt.Errorf("the sandbox cannot listen on %s: %w", r.addr, err)
	}
	s := sandbox.New(r.options)
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	addr := listener.Addr().String()
	if m.json {
		err = m.printJSON(sandboxJSON{Address: addr, BaseURL: baseURLAt(addr), Username: r.options.Username, APIKey: r.options.APIKey})
	} else {
		_, err = fmt.Fprint(m.Stdout, s.Hint(addr))
	}
	if err == nil {
		select {
		case err = <-served:
		case <-ctx.Done():
		}
	}
	s.Close() // ends what a fault holds
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if stopped := server.Shutdown(last); stopped != nil {
		stopped = server.Close() // a client keeps a request open: it is cut off
		err = errors.Join(err, stopped)
	}
	m.saySandboxStats(s.Stats())
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("the sandbox stopped: %w", err)
	}
	return nil
}

// baseURLAt is how a client on this machine reaches a sandbox at addr.
func baseURLAt(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "http://" + addr + "/v3"
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/v3"
}

// checkSandbox finishes the options and finds every mistake in them.
func (m *Main) checkSandbox(r *sandboxRequest) error {
	o := &r.options
	if r.keyFile != "" {
		key, err := os.ReadFile(m.path(r.keyFile))
		if err != nil {
			return usagef("--api-key-file: %w", err)
		}
		o.APIKey = strings.TrimSpace(string(key))
	}
	if o.Username == "" || o.APIKey == "" || strings.Contains(o.Username, ":") {
		return usagef("the sandbox needs a user name without a colon, and an API key")
	}
	var err error
	if o.Rate, err = parseRateLimit(r.rateLimit); err != nil {
		return err
	}
	if o.Faults, err = parseFaults(r.faults); err != nil {
		return err
	}
	if o.History, err = parseHistory(r.history); err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return &usageError{err}
	}
	return checkListen(r.addr, o.APIKey != sandbox.DefaultAPIKey)
}

// checkListen refuses to be reached from other machines with the key that
// everybody knows.
func checkListen(addr string, ownKey bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return usagef("--addr: %q is not HOST:PORT, such as 127.0.0.1:4010", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return usagef("--addr: %q is no port from 0 to 65535", port)
	} else if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && !ownKey {
		return usagef("--addr %s can be reached from other machines, and the API key is the one that everybody knows: listen on 127.0.0.1:%d, or give a key of your own with --api-key-file", addr, n)
	}
	return nil
}

// parseRateLimit reads 20/60s, or 20 for a window of a minute.
func parseRateLimit(s string) (sandbox.RateLimit, error) {
	if s == "" {
		return sandbox.RateLimit{}, nil
	}
	requests, window, found := strings.Cut(s, "/")
	n, err := strconv.Atoi(requests)
	if err != nil || n < 1 {
		return sandbox.RateLimit{}, usagef("--rate-limit: %q is not REQUESTS/WINDOW, such as 20/60s", s)
	}
	l := sandbox.RateLimit{Requests: n, Window: time.Minute}
	if found {
		if l.Window, err = time.ParseDuration(window); err != nil || l.Window <= 0 {
			return sandbox.RateLimit{}, usagef("--rate-limit: %q is not a time, such as 60s", window)
		}
	}
	return l, nil
}

// faultNames are the faults that have a probability, as the sandbox spells
// them.
func faultNames() []string {
	b, err := json.Marshal(sandbox.Faults{})
	if err != nil {
		return nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil
	}
	var names []string
	for name := range all {
		switch name {
		case "hang_for", "slow_by", "retry_after", "endpoints", "limit":
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// parseFaults reads NAME=VALUE pairs.
func parseFaults(pairs []string) (sandbox.Faults, error) {
	values := map[string]any{}
	var endpoints []string
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok || value == "" {
			return sandbox.Faults{}, usagef("--fault: %q is not NAME=PROBABILITY, such as too_many=0.05", p)
		}
		name = strings.ReplaceAll(name, "-", "_")
		switch name {
		case "endpoint":
			endpoints = append(endpoints, value)
		case "hang_for", "slow_by", "retry_after":
			values[name] = value
		case "limit":
			n, err := strconv.Atoi(value)
			if err != nil {
				return sandbox.Faults{}, usagef("--fault limit: %q is not a number", value)
			}
			values[name] = n
		default:
			if !slices.Contains(faultNames(), name) {
				return sandbox.Faults{}, usagef("--fault: there is no fault %q; there are %s", name, strings.Join(faultNames(), ", "))
			}
			probability, err := strconv.ParseFloat(value, 64)
			if err != nil || !(probability >= 0 && probability <= 1) {
				return sandbox.Faults{}, usagef("--fault %s: %q is not a probability from 0 to 1", name, value)
			}
			values[name] = probability
		}
	}
	if endpoints != nil {
		values["endpoints"] = endpoints
	}
	var f sandbox.Faults
	if err := recode(values, &f); err != nil {
		return f, usagef("--fault: %w", err)
	}
	return f, nil
}

// parseHistory reads NAME=VALUE pairs; a name alone is a yes.
func parseHistory(pairs []string) (sandbox.HistoryMode, error) {
	values := map[string]any{}
	for _, p := range pairs {
		name, value, given := strings.Cut(p, "=")
		name = strings.ReplaceAll(name, "-", "_")
		switch name {
		case "order", "lag", "reach":
			if !given || value == "" {
				return sandbox.HistoryMode{}, usagef("--history: %s needs a value, such as order=shuffled or lag=30s", name)
			}
			values[name] = value
		case "ignore_order_by", "no_reference", "due_dates":
			yes := true
			if given {
				var err error
				if yes, err = strconv.ParseBool(value); err != nil {
					return sandbox.HistoryMode{}, usagef("--history %s: %q is not true or false", name, value)
				}
			}
			values[name] = yes
		default:
			return sandbox.HistoryMode{}, usagef("--history: there is no %q; there are order, lag, reach, ignore_order_by, no_reference, due_dates", name)
		}
	}
	var h sandbox.HistoryMode
	if err := recode(values, &h); err != nil {
		return h, usagef("--history: %w", err)
	}
	return h, nil
}

// recode hands named values to a type that reads and checks itself as JSON.
func recode(values map[string]any, into json.Unmarshaler) error {
	b, err := json.Marshal(values)
	if err != nil {
		return err
	}
	return into.UnmarshalJSON(b)
}

// saySandboxStats says what a sandbox counted: to stderr under --json, whose
// object was printed when it began.
func (m *Main) saySandboxStats(s sandbox.Stats) {
	m.say("the sandbox answered %s requests (%s in its busiest second), accepted %s messages and refused %s; charged %s, balance %s",
		number(int(s.Requests)), number(s.BusiestSecond), number(int(s.Accepted)), number(int(s.Refused)), s.Charged, s.Balance)
	for _, c := range campaign.Channels() {
		n, ok := s.Channels[c.String()]
		if !ok || n.Accepted+n.Dropped == 0 && len(n.Refused) == 0 {
			continue
		}
		refused := map[string]int{}
		for status, k := range n.Refused {
			refused[status] = int(k)
		}
		line := fmt.Sprintf("  %-8s  accepted %s, the same recipient again %s, charged %s", c, number(int(n.Accepted)), number(int(n.Again)), n.Charged)
		if len(refused) > 0 {
			line += ", refused " + list(refused)
		}
		m.say("%s", line)
	}
	faults := map[string]int{}
	for name, n := range s.Faults {
		if n > 0 {
			faults[name] = int(n)
		}
	}
	if len(faults) > 0 {
		m.say("  faults    %s", list(faults))
	}
	if s.Malformed+s.Unauthorised+s.TooMany+s.CancelAllBare > 0 {
		m.say("  requests  malformed %s, unauthorised %s, too many %s, cancel-all for the whole account %s",
			number(int(s.Malformed)), number(int(s.Unauthorised)), number(int(s.TooMany)), number(int(s.CancelAllBare)))
	}
}

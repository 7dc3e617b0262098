package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/ledger"
)

// demoFiles are the sample audience of 5,000 rows, made up by a generator, and
// the printed matter of the demo's campaigns.
//
//go:embed demo
var demoFiles embed.FS

func (m *Main) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Args: exactArgs(0, "no arguments"),
		Short:       "See the whole job on embedded parts: 5,000 sample contacts, all four channels, a pretended provider",
		Annotations: map[string]string{"config": "none"},
		RunE:        func(cmd *cobra.Command, _ []string) error { return m.demo(cmd.Context()) },
	}
}

// demo runs real commands of this program, one after the other, against the
// sandbox in a temporary folder, and then holds the ledger against what the
// sandbox counted.
func (m *Main) demo(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "postrider-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files, err := fs.Sub(demoFiles, "demo")
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, files); err != nil {
		return err
	}
	provider := sandbox.New(sandbox.Options{Seed: 1, RefuseRate: 0.02, Rate: sandbox.RateLimit{}})
	defer provider.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: provider, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener) //nolint:errcheck // it ends with the Close below
	defer server.Close()

	d := &demo{main: m, dir: dir, provider: provider, env: []string{
		"POSTRIDER_DATA_DIR=" + filepath.Join(dir, "data"),
		"POSTRIDER_RATE=4", "POSTRIDER_LOG_LEVEL=error",
		"CLICKSEND_BASE_URL=http://" + listener.Addr().String() + "/v3",
		"CLICKSEND_USERNAME=" + sandbox.DefaultUsername, "CLICKSEND_API_KEY=" + sandbox.DefaultAPIKey,
		"HOME=" + dir,
	}}
	m.say("Postrider's demo: everything happens in a temporary folder, against a pretended provider.\nNothing leaves this machine. Each line after a $ is a real command.\n")
	return d.run(ctx)
}

// demo is one run of the demo.
type demo struct {
	main     *Main
	dir      string
	env      []string
	provider *sandbox.Server
}

func (d *demo) run(ctx context.Context) error {
	for _, args := range [][]string{
		{"list", "import", "customers", "audience.csv", "--country", "AU"},
		{"address", "add", "--name", "ACME Pty Ltd", "--line-1", "1 Harbour Street", "--city", "Perth", "--state", "WA", "--postcode", "6000", "--country", "AU"},
		{"campaign", "create", "-f", "sale.yaml"},
		{"campaign", "price", "sale-sms"},
	} {
		if err := d.step(ctx, args); err != nil {
			return err
		}
	}
	if err := d.pauseAndResume(ctx); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"send", "--channel", "mms", "--to", "list:customers", "--name", "sale-mms", "--from", "+61411111111", "--subject", "Summer sale", "--body", "See you soon, {{first_name|dear customer}}!", "--media", "sale.png", "--yes"},
		{"send", "--channel", "letter", "--to", "list:customers", "--name", "sale-letter", "--file", "letter.pdf", "--colour", "--duplex", "--return-address", "2", "--yes"},
		{"send", "--channel", "postcard", "--to", "list:customers", "--name", "sale-postcard", "--file", "front.pdf", "--file", "back.pdf", "--return-address", "2", "--yes"},
		{"list", "import", "vips", "vips.csv", "--country", "AU"},
		{"send", "--channel", "sms", "--to", "list:vips", "--name", "reminder", "--from", "ACME", "--body", "Last day of our sale, {{first_name}}.",
			"--at", time.Now().Add(24 * time.Hour).Format(time.RFC3339), "--hold-at", "provider", "--yes"},
		{"campaign", "cancel", "reminder", "--reason", "the sale goes on", "--wait", "--yes"},
	} {
		if err := d.step(ctx, args); err != nil {
			return err
		}
	}
	return d.report(ctx)
}

// step shows and runs one command, which must end well.
func (d *demo) step(ctx context.Context, args []string, also ...int) error {
	d.main.say("$ postrider %s", quoteArgs(args))
	return d.end(args, d.command(ctx, args), also...)
}

// end judges a command's exit code.
func (d *demo) end(args []string, code int, also ...int) error {
	if code != exitDone && code != exitRefused && !slices.Contains(also, code) {
		return fmt.Errorf("the demo stopped at `postrider %s` (exit code %d)", quoteArgs(args), code)
	}
	d.main.say("")
	return nil
}

// pauseAndResume starts the campaign of sale.yaml, pauses it from a second
// terminal, as it were, once a part of it has left, and resumes it.
func (d *demo) pauseAndResume(ctx context.Context) error {
	start := []string{"campaign", "start", "sale-sms", "--yes"}
	d.main.say("$ postrider %s", quoteArgs(start))
	ended := make(chan int, 1)
	go func() { ended <- d.command(ctx, start) }()
	code, err := d.untilAccepted(ctx, ended)
	if err != nil {
		return err
	}
	if code < 0 {
		if err := d.step(ctx, []string{"campaign", "pause", "sale-sms", "--reason", "a look at the first answers"}); err != nil {
			return err
		}
		code = <-ended
	}
	if err := d.end(start, code, exitStopped); err != nil {
		return err
	}
	if code != exitStopped {
		return nil // it was over before it could be paused
	}
	return d.step(ctx, []string{"campaign", "resume", "sale-sms", "--wait"})
}

// untilAccepted waits until the provider has taken a part of the campaign. It
// returns the exit code of the command that sends it, if that ended, else -1.
func (d *demo) untilAccepted(ctx context.Context, ended <-chan int) (int, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for d.provider.Stats().Channels["sms"].Accepted == 0 {
		select {
		case code := <-ended:
			return code, nil
		case <-tick.C:
		case <-ctx.Done():
			return -1, ctx.Err()
		}
	}
	return -1, nil
}

// command runs one command line of this program in the demo's folder.
func (d *demo) command(ctx context.Context, args []string) int {
	never := false
	m := &Main{
		Stdin: strings.NewReader(""), Stdout: d.main.Stdout, Stderr: d.main.Stderr,
		Env: d.env, Dir: d.dir, Version: d.main.Version, Terminal: &never, actor: "demo",
	}
	if d.main.json {
		m.Stdout = d.main.Stderr
	}
	if d.main.atTerminal() {
		m.Terminal = nil // the bar may move, and --yes spares the question
		m.Stdin, m.Stderr = d.main.Stdin, d.main.Stderr
	}
	return m.Run(ctx, args)
}

// demoReport is what --json prints at the end.
type demoReport struct {
	Campaigns []*campaignJSON           `json:"campaigns"`
	Provider  map[string]demoProviderIs `json:"provider"`
	Agree     bool                      `json:"agree"`
}

// demoProviderIs is what the pretended provider counted on one channel.
type demoProviderIs struct {
	Accepted  int             `json:"accepted"`
	Refused   int             `json:"refused"`
	Cancelled int             `json:"cancelled"` // of the accepted
	Again     int             `json:"again"`     // destinations accepted more than once
	Charged   campaign.Micros `json:"charged"`   // without what was refunded
}

// report prints what became of everybody, and holds it against the provider's
// own counts.
func (d *demo) report(ctx context.Context) error {
	l, err := ledger.Open(ctx, filepath.Join(d.dir, "data", "postrider.db"), ledger.Options{})
	if err != nil {
		return err
	}
	defer l.Close()
	all, err := l.Campaigns(ctx)
	if err != nil {
		return err
	}
	slices.Reverse(all)
	r := demoReport{Provider: map[string]demoProviderIs{}, Agree: true}
	m := d.main
	m.say("What became of everybody, by the ledger and by the provider:\n")
	m.say("  %-14s %9s %9s %9s %10s %9s   %14s", "campaign", "contacts", "accepted", "rejected", "suppressed", "cancelled", "charged")
	var sum ledger.Counts
	var spent campaign.Micros
	ours := map[string]demoProviderIs{}
	for i := range all {
		c, err := describe(ctx, l, all[i].ID)
		if err != nil {
			return err
		}
		r.Campaigns = append(r.Campaigns, c)
		m.say("  %-14s %9s %9s %9s %10s %9s   %10s %s", c.Name, number(c.Total), number(c.Accepted), number(c.Rejected), number(c.Suppressed), number(c.Cancelled), c.Spent, c.Currency)
		sum.Total += c.Total
		sum.Accepted += c.Accepted
		sum.Rejected += c.Rejected
		sum.Suppressed += c.Suppressed
		sum.Cancelled += c.Cancelled
		spent += c.Spent
		o := ours[string(c.Channel)]
		o.Accepted += c.Accepted + c.Cancelled // the demo cancels what the provider has taken
		o.Refused += c.Rejected
		o.Cancelled += c.Cancelled
		o.Charged += c.Spent
		ours[string(c.Channel)] = o
		r.Agree = r.Agree && c.Total == c.Accepted+c.Rejected+c.Suppressed+c.Cancelled
	}
	m.say("  %-14s %9s %9s %9s %10s %9s   %10s", "in all", number(sum.Total), number(sum.Accepted), number(sum.Rejected), number(sum.Suppressed), number(sum.Cancelled), spent)
	stats := d.provider.Stats()
	for _, ch := range campaign.Channels() {
		p, err := providerCounts(stats, ch)
		if err != nil {
			return err
		}
		r.Provider[string(ch)] = p
		r.Agree = r.Agree && p == ours[string(ch)]
		m.say("  the provider counted on %-8s %s accepted, %s of them cancelled, %s refused, %s twice", ch, number(p.Accepted), number(p.Cancelled), number(p.Refused), number(p.Again))
	}
	if m.json {
		if err := m.printJSON(r); err != nil {
			return err
		}
	}
	if !r.Agree {
		return errors.New("the ledger and the provider disagree: this is a bug, please report it")
	}
	m.say("\nBoth agree: nobody twice, nobody lost. Next: docs/getting-started.md sends your own file.")
	return nil
}

// quoteArgs writes a command line as a shell would take it.
func quoteArgs(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		if strings.ContainsAny(a, " '{}|!") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out[i] = a
	}
	return strings.Join(out, " ")
}

func providerCounts(s sandbox.Stats, c campaign.Channel) (demoProviderIs, error) {
	ch := s.Channels[string(c)]
	p := demoProviderIs{Accepted: int(ch.Accepted), Cancelled: int(ch.Cancelled), Again: int(ch.Again)}
	for _, n := range ch.Refused {
		p.Refused += int(n)
	}
	charged, err := campaign.ParseMicros(ch.Charged)
	if err != nil {
		return p, err
	}
	refunded, err := campaign.ParseMicros(ch.Refunded)
	p.Charged = charged - refunded
	return p, err
}

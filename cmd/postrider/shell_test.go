package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
)

// shell runs the program as a person would, in a folder of its own.
type shell struct {
	t   *testing.T
	dir string
	env []string
	// types is what the person at the terminal types; nil is no terminal.
	types *string
	seen  clicksend.Config // how the tests themselves reach the provider
	// noHistory makes the provider answer 500 whenever its history is asked for.
	noHistory *atomic.Bool
}

func newShell(t *testing.T) *shell {
	t.Helper()
	dir := t.TempDir()
	return &shell{t: t, dir: dir, noHistory: new(atomic.Bool), env: []string{
		"HOME=" + filepath.Join(dir, "home"), "POSTRIDER_DATA_DIR=" + filepath.Join(dir, "data"), "POSTRIDER_RATE=-1",
	}}
}

// at says what is typed at the terminal.
func (s *shell) at(typed string) *shell {
	c := *s
	c.types = &typed
	return &c
}

// with sets variables of the environment.
func (s *shell) with(env ...string) *shell {
	c := *s
	c.env = nil
	for _, old := range s.env {
		name, _, _ := strings.Cut(old, "=")
		if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			c.env = append(c.env, old)
		}
	}
	c.env = append(c.env, env...)
	return &c
}

// provider starts a sandbox and points the environment at it.
func (s *shell) provider(o sandbox.Options) *sandbox.Server {
	s.t.Helper()
	o.Username, o.APIKey = "acme", "secret-key-of-acme"
	server := sandbox.New(o)
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.noHistory.Load() && strings.HasSuffix(r.URL.Path, "/history") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		server.ServeHTTP(w, r)
	}))
	s.t.Cleanup(func() { server.Close(); host.Close() })
	s.seen = clicksend.Config{BaseURL: host.URL + "/v3", Username: o.Username, APIKey: o.APIKey}
	s.env = append(s.env, "CLICKSEND_BASE_URL="+s.seen.BaseURL, "CLICKSEND_USERNAME="+o.Username, "CLICKSEND_API_KEY="+o.APIKey)
	return server
}

// ran is what a command came to.
type ran struct {
	t        *testing.T
	args     []string
	code     int
	out, err string
}

func (s *shell) main(out, err *locked) *Main {
	terminal := s.types != nil
	m := &Main{
		Stdin: strings.NewReader(""), Stdout: out, Stderr: err, Env: s.env, Dir: s.dir, Version: "1.2.3", Terminal: &terminal,
	}
	if terminal {
		m.Stdin = strings.NewReader(*s.types)
	}
	return m
}

func (s *shell) run(args ...string) *ran {
	s.t.Helper()
	var out, err locked
	code := s.main(&out, &err).Run(s.t.Context(), args)
	return &ran{s.t, args, code, out.String(), err.String()}
}

// locked is a buffer for several goroutines.
type locked struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	written chan struct{} // closed by the next write; nil when nobody waits
}

func (b *locked) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.written != nil {
		close(b.written)
		b.written = nil
	}
	return b.buf.Write(p)
}

// await waits until what was written is as wanted.
func (b *locked) await(t *testing.T, wanted func(s string) bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		b.mu.Lock()
		if wanted(b.buf.String()) {
			b.mu.Unlock()
			return
		}
		if b.written == nil {
			b.written = make(chan struct{})
		}
		written := b.written
		b.mu.Unlock()
		select {
		case <-written:
		case <-late:
			t.Fatalf("it never says what was awaited, but %q", b.String())
		}
	}
}

func (b *locked) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// exits checks the exit code.
func (r *ran) exits(code int) *ran {
	r.t.Helper()
	if r.code != code {
		r.t.Fatalf("postrider %s exits %d, want %d\nstdout: %s\nstderr: %s", strings.Join(r.args, " "), r.code, code, r.out, r.err)
	}
	return r
}

// says checks that stdout holds each text.
func (r *ran) says(texts ...string) *ran {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.out, text) {
			r.t.Errorf("postrider %s does not say %q on stdout:\n%s", strings.Join(r.args, " "), text, r.out)
		}
	}
	return r
}

// warns checks that stderr holds each text.
func (r *ran) warns(texts ...string) *ran {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.err, text) {
			r.t.Errorf("postrider %s does not say %q on stderr:\n%s", strings.Join(r.args, " "), text, r.err)
		}
	}
	return r
}

// hides checks that a text stands nowhere.
func (r *ran) hides(texts ...string) *ran {
	r.t.Helper()
	for _, text := range texts {
		if strings.Contains(r.out+r.err, text) {
			r.t.Errorf("postrider %s gives %q away:\n%s%s", strings.Join(r.args, " "), text, r.out, r.err)
		}
	}
	return r
}

// object decodes stdout, which holds one JSON object and nothing else.
func (r *ran) object() map[string]any {
	r.t.Helper()
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(r.out))
	d.UseNumber()
	if err := d.Decode(&v); err != nil || d.More() {
		r.t.Fatalf("postrider %s does not print one JSON object: %v\n%s", strings.Join(r.args, " "), err, r.out)
	}
	return v
}

// holds checks values of the JSON object.
func (r *ran) holds(want map[string]any) *ran {
	r.t.Helper()
	got := r.object()
	for key, v := range want {
		if fmt.Sprint(got[key]) != fmt.Sprint(v) {
			r.t.Errorf("postrider %s: %s is %v, want %v", strings.Join(r.args, " "), key, got[key], v)
		}
	}
	return r
}

// ledger hands the shell's ledger to fn.
func (s *shell) ledger(fn func(ctx context.Context, l *ledger.Ledger)) {
	s.t.Helper()
	l, err := ledger.Open(s.t.Context(), filepath.Join(s.dir, "data", "postrider.db"), ledger.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	fn(s.t.Context(), l)
	if err := l.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// file writes a file into the working directory.
func (s *shell) file(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// list stores contacts as a list.
func (s *shell) list(name string, contacts ...campaign.Contact) (li *ledger.List) {
	s.t.Helper()
	s.ledger(func(ctx context.Context, l *ledger.Ledger) {
		w, err := l.CreateList(ctx, name, name+".csv", "contact")
		if err == nil {
			err = w.Contacts(ctx, contacts)
		}
		if err == nil {
			li, err = w.Finish(ctx, ledger.ListCounts{Rows: len(contacts) + 3, Imported: len(contacts), Duplicates: 2, Rejected: 1})
		}
		if err != nil {
			s.t.Fatal(err)
		}
	})
	return li
}

// people are contacts with a phone number each.
func people(n int) []campaign.Contact {
	all := make([]campaign.Contact, n)
	for i := range all {
		all[i] = campaign.Contact{Line: i + 2, Phone: fmt.Sprintf("+614120%05d", i), FirstName: "Ann", LastName: "=SUM(A1)", Country: "AU"}
	}
	return all
}

const leaseOfTests = 30 * time.Second

// sending plans and starts a campaign of n recipients, of which one batch is
// answered as outcomes say, by position: a for accepted at 0.05, r for
// rejected, u for unknown, p for pending. The rest of the batch is accepted.
func (s *shell) sending(name string, n int, outcomes string, more ...func(*ledger.NewCampaign)) (id int64) {
	s.t.Helper()
	li := s.list("for "+name, people(n)...)
	s.ledger(func(ctx context.Context, l *ledger.Ledger) {
		must := func(err error) {
			s.t.Helper()
			if err != nil {
				s.t.Fatal(err)
			}
		}
		p, err := jobs.NewProvider(jobs.ProviderConfig{Client: s.seen, Limiter: ratelimit.New(nil, ratelimit.Options{Rate: ratelimit.Unlimited}), Files: l})
		must(err)
		defer p.Close()
		account, err := p.Identity(ctx)
		must(err)
		nc := ledger.NewCampaign{
			Name: name, Content: campaign.Content{Channel: campaign.SMS, From: "ACME", Body: "Hi {{first_name}}"},
			ListID: li.ID, Digest: name, Provider: account, Currency: "AUD", Actor: "test",
		}
		for _, f := range more {
			f(&nc)
		}
		c, err := l.CreateCampaign(ctx, nc)
		must(err)
		_, err = jobs.Plan(ctx, l, c, campaign.Limits{}, jobs.PlanOptions{})
		must(err)
		c, err = l.Campaign(ctx, c.ID)
		must(err)
		_, err = jobs.MakeQuote(ctx, l, p, c, jobs.QuoteOptions{Actor: "test"})
		must(err)
		must(l.Approve(ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test", Reason: "approved"}))
		id = c.ID
		if outcomes == "" {
			return
		}
		due, err := l.Due(ctx, ledger.DueQuery{Channel: campaign.SMS, Window: 10})
		must(err)
		if len(due) == 0 {
			s.t.Fatal(errors.New("no batch is due"))
		}
		claim, err := l.Claim(ctx, due[0].Batch, due[0].Number, "test", leaseOfTests)
		must(err)
		members := make([]int64, len(claim.Recipients))
		ans := ledger.Answer{Currency: "AUD"}
		for i, r := range claim.Recipients {
			members[i] = r.ID
			o := ledger.Outcome{Recipient: r.ID, State: campaign.Accepted, ProviderID: fmt.Sprintf("ID-%d", i), Status: "SUCCESS", Price: 50_000, Parts: 1}
			if i < len(outcomes) {
				switch outcomes[i] {
				case 'r':
					o = ledger.Outcome{Recipient: r.ID, State: campaign.Rejected, Reason: "INVALID_RECIPIENT", Status: "INVALID_RECIPIENT", Price: 50_000}
				case 'u':
					o = ledger.Outcome{Recipient: r.ID, State: campaign.Unknown, Reason: "INTERNAL_ERROR"}
				case 'p':
					o = ledger.Outcome{Recipient: r.ID, State: campaign.Pending}
				}
			}
			ans.Outcomes = append(ans.Outcomes, o)
		}
		a, err := l.BeginAttempt(ctx, claim, ledger.Begin{Within: leaseOfTests, Members: members})
		must(err)
		must(l.CloseAnswered(ctx, a, ans))
	})
	return id
}

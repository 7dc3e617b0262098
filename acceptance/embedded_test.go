package acceptance

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
)

// sms is a send of an SMS to a file on the embedded default.
func sms(file, name string, more ...string) []string {
	return append([]string{"send", "--channel", "sms", "--to", file, "--name", name, "--from", "ACME", "--body", "Hi {{first_name}}", "--yes"}, more...)
}

// TestAcceptEmbeddedSend sends a CSV without any server, to the end.
func TestAcceptEmbeddedSend(t *testing.T) {
	t.Parallel()
	const n = 5000
	w := newWorld(t, sandbox.Options{Seed: 1, RefuseRate: 0.02})
	w.audience("people.csv", 0, n)
	p := w.run(sms("people.csv", "sale", "--json")...)
	if p.code != 3 {
		t.Fatalf("exit code %d, want 3: some were refused", p.code)
	}
	var s standing
	w.decode(p.stdout.String(), &s)
	if s.State != "completed" || s != w.status("sale") {
		t.Errorf("send ends with %+v, status says %+v", s, w.status("sale"))
	}
	w.agree(s, n)
}

// TestAcceptInterrupt ends a send with Ctrl-C in the middle: what is in flight
// is recorded, nobody is unknown, and serve goes on where it stopped.
func TestAcceptInterrupt(t *testing.T) {
	t.Parallel()
	const n = 12_000
	w := newWorld(t, sandbox.Options{Faults: sandbox.Faults{Slow: 1, SlowBy: time.Second, Endpoints: []string{"POST /sms/send"}}})
	w.audience("people.csv", 0, n)
	p := w.start(sms("people.csv", "sale")...)
	w.awaitAccepted(1)
	p.signal(interrupt)
	if code := p.wait(time.Minute); code != 4 {
		t.Errorf("exit code %d after Ctrl-C, want 4", code)
	}
	if said := p.stderr.String(); !strings.Contains(said, "postrider serve") {
		t.Errorf("the command that goes on is not named:\n%s", said)
	}
	s := w.status("sale")
	if s.State != "sending" || s.Unknown != 0 || s.InFlight != 0 || s.Pending == 0 || s.Accepted == 0 || s.Accepted != w.counted("sms").accepted {
		t.Errorf("after Ctrl-C %+v, and the provider accepted %d: want the ones in flight recorded and the rest pending", s, w.counted("sms").accepted)
	}
	serve := w.role("serve")
	w.agree(w.awaitState(patience(n), "sale", "completed"), n)
	serve.stop()
}

// TestAcceptSecondInterrupt leaves at once, with posts in flight: what became of
// them is found out later.
func TestAcceptSecondInterrupt(t *testing.T) {
	t.Parallel()
	const n = 12_000
	w := newWorld(t, sandbox.Options{Faults: sandbox.Faults{Slow: 1, SlowBy: 2 * time.Second, Endpoints: []string{"POST /sms/send"}}})
	w.set("POSTRIDER_HTTP_TIMEOUT", "5s", "POSTRIDER_LEASE", "2s", "POSTRIDER_SETTLE", "1s")
	w.audience("people.csv", 0, n)
	p := w.start(sms("people.csv", "sale")...)
	eventually(t, time.Minute, "a post in flight", func() bool { return w.sends() > 0 })
	p.signal(interrupt)
	p.await("stopping")
	again := time.Now()
	p.signal(interrupt)
	if code := p.wait(time.Minute); code != 130 {
		t.Errorf("exit code %d after the second Ctrl-C, want 130", code)
	}
	if said := p.stderr.String(); !strings.Contains(said, "in flight is finished") || !strings.Contains(said, "`postrider campaign resume 1 --wait` goes on") {
		t.Errorf("the command that goes on is not named:\n%s", said)
	}
	if took := time.Since(again); took > 1500*time.Millisecond {
		t.Errorf("it left %s after the second Ctrl-C: want at once", took)
	}
	w.provider.SetFaults(sandbox.Faults{})
	w.role("serve")
	w.onceEach(w.awaitState(patience(n), "sale", "completed"), n)
}

// TestAcceptHandOver gives campaigns to a serve that runs already.
func TestAcceptHandOver(t *testing.T) {
	t.Parallel()
	const n = 3000
	w := newWorld(t, sandbox.Options{})
	w.audience("a.csv", 0, n)
	w.audience("b.csv", n, n)
	serve := w.role("serve")
	first := w.run(sms("a.csv", "a")...)
	if first.code != 0 || !strings.Contains(first.stdout.String(), "`postrider serve`") {
		t.Errorf("exit code %d; want 0, and that serve sends:\n%s", first.code, first.stdout)
	}
	second := w.run(sms("b.csv", "b", "--wait")...)
	if second.code != 0 {
		t.Errorf("exit code %d with --wait, want 0", second.code)
	}
	if s := w.status("b"); s.State != "completed" {
		t.Errorf("after --wait the campaign is %s, want completed", s.State)
	}
	w.awaitState(patience(n), "a", "completed")
	if got := w.counted("sms").accepted; got != 2*n {
		t.Errorf("the provider accepted %d, want %d", got, 2*n)
	}
	w.nobodyTwice()
	serve.stop()
}

// TestAcceptTwoSends runs two sends at once on one data folder: both campaigns
// are sent to the end, with --wait or without.
func TestAcceptTwoSends(t *testing.T) {
	t.Parallel()
	for name, more := range map[string][]string{"waiting": {"--wait"}, "not waiting": nil} {
		t.Run(name, func(t *testing.T) {
			const n = 6000
			w := newWorld(t, sandbox.Options{Faults: sandbox.Faults{Slow: 1, SlowBy: 300 * time.Millisecond, Endpoints: []string{"POST /sms/send"}}})
			w.audience("a.csv", 0, n)
			w.audience("b.csv", n, n)
			first := w.start(sms("a.csv", "a")...)
			w.awaitAccepted(1)
			second := w.run(sms("b.csv", "b", more...)...)
			if code := first.wait(patience(n)); code != 0 || second.code != 0 {
				t.Errorf("exit codes %d and %d, want 0", code, second.code)
			}
			for _, c := range []string{"a", "b"} {
				if s := w.status(c); s.State != "completed" || s.Accepted != n {
					t.Errorf("both sends have ended with exit code 0, and campaign %s stands at %+v", c, s)
				}
			}
			w.nobodyTwice()
		})
	}
}

package acceptance

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
)

// TestAcceptFourChannels gives a campaign on each channel from processes that
// end at once, takes all their files away, and lets two workers and a scheduler
// that come later do the rest.
func TestAcceptFourChannels(t *testing.T) {
	n := scaled(t, 100_000)
	w := newWorld(t, sandbox.Options{
		Seed: 7, RefuseRate: 0.02,
		Faults: sandbox.Faults{TooMany: 0.05, RetryAfter: time.Second, Slow: 1, SlowBy: 200 * time.Millisecond},
	})
	pg := services.PostgresAlone(t, services.PostgresOptions{})
	w.set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", services.Redis(t).URL())
	address := w.returnAddress()

	files := []string{
		w.audience("people.csv", 0, n), w.file("sale.png", picture(t)), w.file("letter.pdf", page("letter")),
		w.file("front.pdf", card("front")), w.file("back.pdf", card("back")),
	}
	begun := time.Now()
	for _, args := range [][]string{
		{"--channel", "sms", "--from", "ACME", "--body", "Hi {{first_name|there}}, our sale starts today"},
		{"--channel", "mms", "--from", "+61411111112", "--subject", "Sale", "--body", "See you, {{first_name}}", "--media", "sale.png"},
		{"--channel", "letter", "--file", "letter.pdf", "--colour", "--return-address", address},
		{"--channel", "postcard", "--file", "front.pdf", "--file", "back.pdf", "--return-address", address},
	} {
		w.must(append([]string{"send", "--to", "people.csv", "--name", args[1], "--yes"}, args...)...)
	}
	for _, f := range files {
		if err := os.Remove(filepath.Join(w.dir, f)); err != nil {
			t.Fatal(err)
		}
	}
	given := time.Now()
	w.nothingSent()
	workers := []*process{w.role("worker"), w.role("worker")}
	w.role("scheduler")

	var spent campaign.Micros
	for _, channel := range []string{"sms", "mms", "letter", "postcard"} {
		s := w.awaitState(patience(n), channel, "completed")
		w.agree(s, n)
		if s.Rejected == 0 || s.Rejected > n/25 {
			t.Errorf("%s: %d of %d rejected, want about 2 %%", channel, s.Rejected, n)
		}
		spent += s.Spent
	}
	st := w.provider.Stats()
	if charged, err := campaign.ParseMicros(st.Charged); err != nil || charged != spent {
		t.Errorf("the provider charged %s in all, the reports say %s (%v)", st.Charged, spent, err)
	}
	if st.TooMany == 0 {
		t.Error("not one request was answered with 429: the test shows less than it should")
	}
	if got := attemptsBy(t, pg.URL("postgres")); len(got) != len(workers) {
		t.Errorf("attempts by worker: %v, want two workers", got)
	}
	for _, p := range workers {
		p.stop()
	}
	t.Logf("%d recipients to each of four channels: given in %s, sent in %s; %d requests, %d answered with 429, %d refused",
		n, given.Sub(begun).Round(time.Millisecond), time.Since(given).Round(time.Millisecond), st.Requests, st.TooMany, st.Refused)
}

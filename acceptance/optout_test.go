package acceptance

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
)

// TestAcceptOptOuts opts people out by number, e-mail address and street address
// after campaigns were planned and before they leave: nothing goes to them, by SMS
// and by post, and everybody else gets one message. Who is taken off the list is
// sent to again by the next campaign.
func TestAcceptOptOuts(t *testing.T) {
	t.Parallel()
	for _, embedded := range []bool{true, false} {
		t.Run(map[bool]string{true: "embedded", false: "servers"}[embedded], func(t *testing.T) {
			t.Parallel()
			optOuts(t, embedded)
		})
	}
}

// scheduled gives a campaign that waits for its hour.
func (w *world) scheduled(args ...string) {
	w.t.Helper()
	if p := w.run(args...); p.code != 0 && p.code != 4 {
		w.t.Fatalf("%s: exit code %d\n%s", p.line, p.code, p.stderr)
	}
}

// sentTo is everything that the provider has accepted, for whom.
func (w *world) sentTo() map[string]bool {
	w.t.Helper()
	ask, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.host+"/_sandbox/messages", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	ask.SetBasicAuth(w.env["CLICKSEND_USERNAME"], w.env["CLICKSEND_API_KEY"])
	res, err := http.DefaultClient.Do(ask)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	all := map[string]bool{}
	for in := json.NewDecoder(res.Body); ; {
		var m struct {
			To      string
			Address json.RawMessage
		}
		if err := in.Decode(&m); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			w.t.Fatal(err)
		}
		all[m.To+string(m.Address)] = true
	}
}

func optOuts(t *testing.T, embedded bool) {
	const n = 1200
	w := newWorld(t, sandbox.Options{})
	w.hasty()
	if !embedded {
		pg := services.PostgresAlone(t, services.PostgresOptions{})
		w.set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", services.Redis(t).URL())
	}
	w.audience("people.csv", 0, n)
	w.file("withmail.csv", []byte("phone,first_name,email\n+61412999991,Ann,ann@example.com\n+61412999992,Ben,ben@example.com\n"))
	w.file("letter.pdf", page("letter"))
	address := w.returnAddress()
	// Nobody is opted out at import and at planning; nothing leaves before its hour.
	hour := time.Now().Add(25 * time.Second).Format(time.RFC3339)
	w.scheduled(sms("people.csv", "sale", "--at", hour)...)
	w.scheduled(sms("withmail.csv", "mail", "--at", hour)...)
	w.scheduled("send", "--channel", "letter", "--to", "people.csv", "--name", "post", "--file", "letter.pdf", "--return-address", address, "--yes", "--at", hour)

	w.must("optout", "add", "+61412000003", "0412000004", "--country", "AU", "--email", "ANN@example.com", "--reason", "asked")
	w.must("optout", "add", "--line-1", "11 JARRAH DRIVE,", "--city", "Perth", "--postcode", "6000", "--country", "AU")                            // number 10
	w.must("optout", "add", "--line-1", "12 Jarrah Drive", "--city", "Perth", "--postcode", "6000", "--country", "AU", "--name", "Ann11 Miller11") // number 11
	w.must("optout", "add", "--line-1", "13 Jarrah Drive", "--city", "Perth", "--postcode", "6000", "--country", "AU", "--name", "Ben Miller")     // nobody of the list
	w.file("stop.txt", []byte("0412000020\n0412000021\nnobody@example.com\n"))
	w.must("optout", "import", "stop.txt", "--country", "AU")

	if time.Now().Format(time.RFC3339) >= hour {
		t.Fatal("the hour has come before everybody was opted out: the machine is too slow for this test")
	}
	w.running(embedded)
	for name, want := range map[string][2]int{"sale": {n, 4}, "mail": {2, 1}, "post": {n, 2}} {
		s := w.awaitState(patience(n), name, "completed")
		if s.Total != want[0] || s.Suppressed != want[1] || s.Accepted != want[0]-want[1] {
			t.Errorf("%s: %d are suppressed, want %d: %+v", name, s.Suppressed, want[1], s)
		}
	}
	sent := w.sentTo()
	for _, number := range []string{"+61412000003", "+61412000004", "+61412000020", "+61412000021", "+61412999991"} {
		if sent[number] {
			t.Errorf("%s was sent to", number)
		}
	}
	for to := range sent {
		if strings.Contains(to, `"11 Jarrah`) || strings.Contains(to, `"12 Jarrah`) {
			t.Errorf("a letter went to %s", to)
		}
	}
	if len(sent) != n-4+1+n-2 {
		t.Errorf("%d were sent to, want %d", len(sent), n-4+1+n-2)
	}
	w.nobodyTwice()

	w.must("optout", "rm", "+61412000003", "--reason", "signed up again", "--yes")
	w.must("send", "--channel", "sms", "--to", "people.csv", "--name", "thanks", "--from", "ACME", "--body", "Thank you", "--yes", "--wait")
	s := w.awaitState(patience(n), "thanks", "completed")
	// Whoever was left out at import is no recipient.
	if s.Total != n-3 || s.Accepted != n-3 {
		t.Errorf("want %d accepted: %+v", n-3, s)
	}
	if sent := w.sentTo(); !sent["+61412000003"] || sent["+61412000004"] {
		t.Error("the wrong one of two numbers was sent to")
	}

	out := w.must("optout", "export")
	w.file("export.csv", []byte(out))
	w.must("optout", "import", "export.csv")
	if again := w.must("optout", "export"); again != out {
		t.Errorf("importing an export has changed the list:\n%s\n%s", out, again)
	}
	var history struct{ Changes []json.RawMessage }
	w.decode(w.must("optout", "history", "--json", "--limit", "100"), &history)
	if want := strings.Count(out, "\n") - 1 + 2; len(history.Changes) != want {
		t.Errorf("%d changes are on record, want %d", len(history.Changes), want)
	}
}

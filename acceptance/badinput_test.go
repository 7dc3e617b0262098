package acceptance

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
)

// mistake is one way to call send wrongly. What it says must name the thing and
// what to do about it.
type mistake struct {
	args []string // of send
	code int
	says []string // all of them, on stderr
}

// refused holds the program to a mistake: one clear error, the exit code,
// nothing sent, nothing left in the ledger.
func (w *world) refused(m mistake) {
	w.t.Helper()
	p := w.run(m.args...)
	said := strings.TrimSpace(p.stderr.String())
	if p.code != m.code {
		w.t.Errorf("exit code %d, want %d", p.code, m.code)
	}
	for _, words := range m.says {
		if !strings.Contains(said, words) {
			w.t.Errorf("it does not say %q", words)
		}
	}
	if errors := strings.Count("\n"+said, "\npostrider: "); errors != 1 {
		w.t.Errorf("%d errors, want one", errors)
	}
	w.nothingSent()
	w.nothingKept()
}

// nothingKept fails the test when the ledger holds a campaign or a list.
func (w *world) nothingKept() {
	w.t.Helper()
	if w.base != nil {
		w.base.nothingKept()
		return
	}
	var kept struct {
		Campaigns []standing       `json:"campaigns"`
		Lists     []map[string]any `json:"lists"`
	}
	w.decode(w.must("campaign", "ls", "--json"), &kept)
	w.decode(w.must("list", "ls", "--json"), &kept)
	if kept.Campaigns == nil || kept.Lists == nil {
		w.t.Fatalf("ls --json names no campaigns or no lists")
	}
	if len(kept.Campaigns)+len(kept.Lists) != 0 {
		w.t.Errorf("the ledger keeps %+v", kept)
	}
}

// TestAcceptBadAudience is about the file of people.
func TestAcceptBadAudience(t *testing.T) {
	t.Parallel()
	const head = "phone,first_name\n"
	const good = "+61412345678,Ann\n"
	for name, c := range map[string]struct {
		content []byte // nil: no such file
		code    int
		says    []string
	}{
		"missing":          {nil, 1, []string{"people.csv", "no such file", "list:NAME"}},
		"empty":            {[]byte{}, 1, []string{"people.csv", "empty"}},
		"header alone":     {[]byte(head), 1, []string{"people.csv"}},
		"binary":           {append([]byte("\x7fELF\x02\x01\x01\x00"), bytes.Repeat([]byte{0, 1, 2, 255, '\n'}, 500)...), 1, []string{"people.csv"}},
		"spreadsheet":      {append([]byte("PK\x03\x04\x14\x00\x06\x00"), bytes.Repeat([]byte{0, 1, 2, 255}, 500)...), 1, []string{"people.csv", "workbook", "damaged"}},
		"no usable column": {[]byte("colour,size\nred,5\n"), 1, []string{"people.csv", "phone"}},
		"row too long":     {[]byte(head + good + `+61412345679,"` + strings.Repeat("x", 3<<20) + "\"\n"), 1, []string{"people.csv", "1048576 bytes"}},
		"row too wide":     {[]byte(strings.Repeat("c,", 20_000) + "phone\n" + strings.Repeat("1,", 20_000) + "+61412345678\n"), 1, []string{"people.csv"}},
		"quote not closed": {[]byte(head + good + "\"+61412345679,Bob\n" + strings.Repeat("+61412345670,Cid\n", 100)), 1, []string{"people.csv", "3", "quote"}},
		"no country":       {[]byte("phone\n0412345678\n0412345679\n"), 1, []string{"2", "--country"}},
		"nobody valid":     {[]byte("phone\n12\n13\n"), 1, []string{"people.csv"}},
		"no such field":    {[]byte("phone\n+61412345678\n"), 1, []string{"first_name"}},
		"empty field":      {[]byte(head + good + "+61412345679,\n"), 1, []string{"first_name", "3"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Options{})
			if c.content != nil {
				w.file("people.csv", c.content)
			}
			w.refused(mistake{sms("people.csv", "sale"), c.code, c.says})
		})
	}
}

// TestAcceptBadContent is about what is to be sent, and the command line.
func TestAcceptBadContent(t *testing.T) {
	t.Parallel()
	mms := func(more ...string) []string {
		return append([]string{"send", "--channel", "mms", "--to", "people.csv", "--from", "+61411111112", "--subject", "Sale", "--body", "Hi", "--yes"}, more...)
	}
	post := func(channel string, more ...string) []string {
		return append([]string{"send", "--channel", channel, "--to", "people.csv", "--yes"}, more...)
	}
	text := func(more ...string) []string {
		return append([]string{"send", "--channel", "sms", "--to", "people.csv"}, more...)
	}
	for name, m := range map[string]mistake{
		"body too long":            {text("--from", "ACME", "--yes", "--body", strings.Repeat("all work and no play ", 100)), 2, []string{"part"}},
		"unknown field":            {text("--from", "ACME", "--yes", "--body", "Hi {{nickname}}"), 1, []string{"nickname", "first_name"}},
		"template not closed":      {text("--from", "ACME", "--yes", "--body", "Hi {{first_name"), 2, []string{"{{"}},
		"campaign placeholder":     {text("--from", "ACME", "--yes", "--body", "Hi (First Name)"), 2, []string{"(First Name)", "{{first_name}}"}},
		"sender with spaces":       {text("--from", "ACME Shop", "--yes", "--body", "Hi"), 2, []string{"ACME Shop", "space"}},
		"sender too long":          {text("--from", "ACMEACMEACME", "--yes", "--body", "Hi"), 2, []string{"11"}},
		"no body":                  {text("--from", "ACME", "--yes"), 2, []string{"--body"}},
		"media missing":            {mms("--media", "nowhere.png"), 2, []string{"--media", "nowhere.png"}},
		"media too large":          {mms("--media", "large.png"), 2, []string{"250"}},
		"no media":                 {mms(), 2, []string{"media"}},
		"media is no picture":      {mms("--media", "people.csv"), 2, []string{"people.csv"}},
		"subject too long":         {append(mms("--media", "sale.png"), "--subject", "A subject that is far too long"), 2, []string{"20"}},
		"letter without return":    {post("letter", "--file", "letter.pdf"), 2, []string{"return_address", "postrider address add"}},
		"postcard without return":  {post("postcard", "--file", "letter.pdf"), 2, []string{"return_address", "postrider address add"}},
		"unknown return address":   {post("letter", "--file", "letter.pdf", "--return-address", "999"), 1, []string{"999"}},
		"letter without file":      {post("letter", "--return-address", "1"), 2, []string{"file"}},
		"letter file missing":      {post("letter", "--return-address", "1", "--file", "nowhere.pdf"), 2, []string{"nowhere.pdf"}},
		"three files":              {post("postcard", "--return-address", "1", "--file", "letter.pdf", "--file", "letter.pdf", "--file", "letter.pdf"), 2, []string{"file"}},
		"no channel":               {[]string{"send", "--to", "people.csv", "--yes"}, 2, []string{"--channel"}},
		"no audience":              {[]string{"send", "--channel", "sms", "--yes"}, 2, []string{"--to"}},
		"unknown channel":          {[]string{"send", "--channel", "fax", "--to", "people.csv", "--yes"}, 2, []string{"fax"}},
		"unknown flag":             {text("--colr", "--yes"), 2, []string{"--colr"}},
		"flag of another channel":  {text("--from", "ACME", "--body", "Hi", "--media", "sale.png", "--yes"), 2, []string{"--media"}},
		"no terminal and no --yes": {text("--from", "ACME", "--body", "Hi"), 2, []string{"--yes"}},
		"budget is no amount":      {text("--from", "ACME", "--body", "Hi", "--yes", "--budget", "lots"), 2, []string{"--budget", "lots"}},
		"budget too small":         {text("--from", "ACME", "--body", "Hi", "--yes", "--budget", "0.01"), 4, []string{"budget", "0.01", "nothing was sent"}},
		"hour is past":             {text("--from", "ACME", "--body", "Hi", "--yes", "--at", "2020-01-01T00:00:00Z"), 2, []string{"--at", "past"}},
		"unknown list":             {[]string{"send", "--channel", "sms", "--to", "list:nobody", "--from", "ACME", "--body", "Hi", "--yes"}, 1, []string{"nobody"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Options{})
			w.audience("people.csv", 0, 10)
			w.file("letter.pdf", page("letter"))
			w.file("sale.png", picture(t))
			w.file("large.png", append(picture(t), make([]byte, 260_000)...))
			w.refused(m)
		})
	}
	t.Run("unknown command", func(t *testing.T) {
		w := newWorld(t, sandbox.Options{})
		w.refused(mistake{[]string{"sned"}, 2, []string{"sned"}})
	})
}

// TestAcceptBadAccount is about who is to send.
func TestAcceptBadAccount(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  []string
		code int
		says []string
	}{
		"no credentials":    {[]string{"CLICKSEND_USERNAME", "", "CLICKSEND_API_KEY", ""}, 1, []string{"CLICKSEND_USERNAME", "CLICKSEND_API_KEY"}},
		"wrong credentials": {[]string{"CLICKSEND_API_KEY", "NOT-THE-KEY"}, 1, []string{"CLICKSEND_USERNAME", "CLICKSEND_API_KEY"}},
		"banned":            {[]string{"CLICKSEND_USERNAME", "banned", "CLICKSEND_API_KEY", sandbox.TestPassword}, 1, []string{"account"}},
		"not active":        {[]string{"CLICKSEND_USERNAME", "notactive", "CLICKSEND_API_KEY", sandbox.TestPassword}, 1, []string{"account"}},
		"nobody there":      {[]string{"CLICKSEND_BASE_URL", "http://127.0.0.1:1/v3"}, 1, []string{"cannot be reached", "nothing was sent"}},
		"not the API":       {[]string{"CLICKSEND_BASE_URL", "HOST/files/v3"}, 1, []string{"CLICKSEND_BASE_URL", "/v3"}},
		"no v3":             {[]string{"CLICKSEND_BASE_URL", "HOST"}, 2, []string{"CLICKSEND_BASE_URL", "/v3"}},
		"misspelt variable": {[]string{"POSTRIDER_RTAE", "5"}, 2, []string{"POSTRIDER_RTAE", "POSTRIDER_RATE"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Options{})
			w.audience("people.csv", 0, 10)
			for i := range c.env {
				c.env[i] = strings.Replace(c.env[i], "HOST", w.host, 1)
			}
			w.with(c.env...).refused(mistake{sms("people.csv", "sale"), c.code, c.says})
		})
	}
}

// TestAcceptOtherAccount lets a campaign that was quoted with one account meet
// workers of another: nothing is sent, by the workers or by resume.
func TestAcceptOtherAccount(t *testing.T) {
	t.Parallel()
	const n = 3000
	w := newWorld(t, sandbox.Options{Faults: sandbox.Faults{Slow: 1, SlowBy: 2 * time.Second, Endpoints: []string{"POST /sms/send"}}})
	w.set("POSTRIDER_CONCURRENCY_SMS", "1")
	w.audience("people.csv", 0, n)
	quoted := w.start(sms("people.csv", "sale")...)
	w.awaitAccepted(1)
	w.must("campaign", "pause", "sale")
	if code := quoted.wait(patience(n)); code != 4 {
		t.Errorf("exit code %d of a send whose campaign was paused, want 4", code)
	}
	sent := w.provider.Stats().Accepted
	if sent == n {
		t.Fatal("the campaign was paused too late")
	}

	// Another base URL, and another user under the same one.
	elsewhere := newWorld(t, sandbox.Options{})
	for name, other := range map[string]*world{
		"base URL": w.with("CLICKSEND_BASE_URL", elsewhere.host+"/v3"),
		"user":     w.with("CLICKSEND_USERNAME", "nocredit", "CLICKSEND_API_KEY", sandbox.TestPassword),
	} {
		p := other.run("campaign", "resume", "sale")
		if p.code != 1 || !strings.Contains(p.stderr.String(), "was quoted") {
			t.Errorf("resume under another %s: exit code %d: %s", name, p.code, p.stderr)
		}
		if s := w.status("sale"); s.State != "paused" {
			t.Errorf("after resume under another %s the campaign is %s", name, s.State)
		}
		// Resumed with the right account, met by a serve with the other.
		w.must("campaign", "resume", "sale")
		serve := other.role("serve")
		s := w.awaitState(patience(n), "sale", "paused")
		if !strings.Contains(s.Reason, "account") {
			t.Errorf("serve under another %s paused the campaign with %q", name, s.Reason)
		}
		serve.stop()
	}
	if got := w.provider.Stats().Accepted; got != sent || elsewhere.sends() != 0 {
		t.Errorf("the other accounts sent something: %d accepted before, %d after", sent, got)
	}
	w.must("campaign", "resume", "sale")
	serve := w.role("serve")
	w.agree(w.awaitState(patience(n), "sale", "completed"), n)
	serve.stop()
}

// TestAcceptSameSendTwice guards against sending the same thing again.
func TestAcceptSameSendTwice(t *testing.T) {
	t.Parallel()
	const n = 200
	w := newWorld(t, sandbox.Options{Throttle: -1})
	w.audience("people.csv", 0, n)
	send := sms("people.csv", "")
	if p := w.run(send...); p.code != 0 {
		t.Fatalf("exit code %d, want 0", p.code)
	}
	p := w.run(send...)
	if said := p.stderr.String(); p.code != 1 || !strings.Contains(said, "campaign 1") || !strings.Contains(said, "--again") {
		t.Errorf("the same send again: exit code %d, %s", p.code, said)
	}
	if got := w.counted("sms").accepted; got != n {
		t.Errorf("%d accepted after the refused send, want %d", got, n)
	}
	if p := w.run(append(send, "--again")...); p.code != 0 {
		t.Errorf("--again: exit code %d, want 0", p.code)
	}
	if got := w.counted("sms").accepted; got != 2*n {
		t.Errorf("%d accepted after --again, want %d", got, 2*n)
	}
	w.must(sms("people.csv", "named", "--again")...)
	if p := w.run(sms("people.csv", "named")...); p.code != 1 || !strings.Contains(p.stderr.String(), "named") {
		t.Errorf("the same name again: exit code %d, %s", p.code, p.stderr)
	}
}

// TestAcceptRehearsals are the two ways to look before sending.
func TestAcceptRehearsals(t *testing.T) {
	t.Parallel()
	const n = 50
	w := newWorld(t, sandbox.Options{})
	w.audience("people.csv", 0, n)
	dry := w.must("send", "--channel", "sms", "--to", "people.csv", "--from", "ACME", "--body", "Hi {{first_name}}", "--dry-run")
	for i := range 5 {
		if want := fmt.Sprintf("Hi Ann%d", i); !strings.Contains(dry, want) {
			t.Errorf("the dry run does not show %q:\n%s", want, dry)
		}
	}
	w.nothingSent()
	w.nothingKept()
	w.must("send", "--channel", "sms", "--to", "people.csv", "--from", "ACME", "--body", "Hi {{first_name}}",
		"--test-to", "+61419999999", "--test-row", "3", "--yes")
	if got := w.counted("sms").accepted; got != 1 || w.sends() != 1 {
		t.Errorf("--test-to sent %d messages in %d requests, want one", got, w.sends())
	}
	w.nothingKept()
	// Neither counts as the same send.
	w.must(sms("people.csv", "sale")...)
	if got := w.counted("sms").accepted; got != n+1 {
		t.Errorf("%d accepted in all, want %d", got, n+1)
	}
}

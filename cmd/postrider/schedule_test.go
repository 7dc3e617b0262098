package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/specimen"
	"github.com/postrider/postrider/ledger"
)

const nightlyYAML = `name: nightly letters
cron: "0 2 * * *"
timezone: Australia/Sydney
source:
  file: /exports/{yyyy-mm-dd}.csv
campaign:
  channel: sms
  from: ACME
  body: hello
`

func TestAScheduleIsAddedShownPausedRunAndRemoved(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("nightly.yaml", nightlyYAML)
	added := s.run("schedule", "add", "-f", "nightly.yaml").exits(exitDone).says(`schedule "nightly letters" is added and active: 0 2 * * *, Australia/Sydney`, "  next   ")
	if n := strings.Count(added.out, " 02:00 +1"); n < 4 { // one may be skipped by the clocks
		t.Errorf("%d run times are shown, want five: %s", n, added.out)
	}
	s.run("schedule", "add", "-f", "nightly.yaml").exits(exitFailed).warns("exists already", "--replace")
	s.file("nightly.yaml", strings.Replace(nightlyYAML, "0 2", "30 3", 1))
	s.run("schedule", "add", "-f", "nightly.yaml", "--replace", "--json").exits(exitDone).
		holds(map[string]any{"name": "nightly letters", "state": "active", "cron": "30 3 * * *", "source": "file: /exports/{yyyy-mm-dd}.csv", "late_limit": "6h0m0s"})
	next, ok := s.run("schedule", "ls", "--json").exits(exitDone).object()["schedules"].([]any)[0].(map[string]any)["next"].([]any)
	if !ok || len(next) != 5 {
		t.Fatalf("the next runs are %v, want five", next)
	}
	first := next[0].(map[string]any)
	at, err := time.Parse(time.RFC3339, first["at"].(string))
	if err != nil || !strings.HasSuffix(first["local_time"].(string), "T03:30") || at.Before(time.Now()) || at.After(time.Now().Add(26*time.Hour)) {
		t.Errorf("the next run is %v (%v)", first, err)
	}

	s.run("schedule", "pause", "nightly letters").exits(exitDone).says(`schedule "nightly letters" is paused`)
	s.run("schedule", "pause", "nightly letters").exits(exitFailed).warns("is paused and cannot become paused")
	s.run("schedule", "ls").exits(exitDone).says("nightly letters  paused  30 3 * * *  Australia/Sydney  file: /exports/{yyyy-mm-dd}.csv")
	s.run("schedule", "resume", "nightly letters").exits(exitDone).says("is active", "  next   ")
	s.run("schedule", "history", "nightly letters").exits(exitDone).says("has not run yet")
	s.run("schedule", "run", "nightly letters").exits(exitDone).says("is due now")
	s.run("schedule", "history", "nightly letters").exits(exitDone).says("by hand", "due: asked for by ")
	runs, ok := s.run("schedule", "history", "nightly letters", "--json").exits(exitDone).object()["runs"].([]any)
	if !ok || len(runs) != 1 || runs[0].(map[string]any)["manual"] != true {
		t.Errorf("the history is %v", runs)
	}

	s.run("schedule", "rm", "nightly letters").exits(exitUsage).warns("add --yes")
	s.at("no\n").run("schedule", "rm", "nightly letters").exits(exitStopped)
	s.run("schedule", "rm", "nightly letters", "--yes").exits(exitDone).says("is removed")
	s.run("schedule", "ls").exits(exitDone).says("there is no schedule yet")
	s.run("schedule", "history", "nightly letters").exits(exitDone).says("skipped: the schedule was removed")
	s.run("schedule", "run", "nightly letters").exits(exitFailed).warns("there is no schedule named")
}

func TestAScheduleThatIsWrongIsRefusedWithItsLine(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("bad.yaml", strings.Replace(nightlyYAML, "0 2 * * *", "0 0 30 2 *", 1))
	s.run("schedule", "add", "-f", "bad.yaml").exits(exitUsage).warns(`bad.yaml:2: cron is "0 0 30 2 *"`, "no such date ever comes")
	s.file("bad.yaml", strings.Replace(nightlyYAML, "file: /exports/{yyyy-mm-dd}.csv", "list: nobody", 1))
	s.run("schedule", "add", "-f", "bad.yaml").exits(exitFailed).warns("nobody")
	s.run("schedule", "add", "-f", "none.yaml").exits(exitUsage).warns("there is no file none.yaml")
	s.run("schedule", "add").exits(exitUsage).warns("--file is missing")
	s.run("schedule", "ls").exits(exitDone).says("there is no schedule yet")
}

func TestWhatCameBeforeAPauseIsJudgedByWhatWasInForce(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("nightly.yaml", strings.Replace(nightlyYAML, "0 2 * * *", "* * * * *", 1))
	s.run("schedule", "add", "-f", "nightly.yaml").exits(exitDone)
	// Nobody was running for ten minutes.
	l, err := ledger.Open(t.Context(), s.dir+"/data/postrider.db", ledger.Options{Clock: func() time.Time { return time.Now().Add(-10 * time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	found, err := l.FindSchedule(t.Context(), "nightly letters")
	if err != nil {
		t.Fatal(err)
	}
	n := found.NewSchedule
	sydney, err := time.LoadLocation("Australia/Sydney")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.ReplaceSchedule(t.Context(), found, n, time.Now().Add(-10*time.Minute).In(sydney).Format("2006-01-02T15:04")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.run("schedule", "pause", "nightly letters").exits(exitDone)
	s.run("schedule", "history", "nightly letters").exits(exitDone).says("nobody was running at its hour, and a later run takes its place", "skipped: the schedule was paused")
}

func TestServeMailsTheOutbox(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	provider := s.provider(sandbox.Options{})
	s.run("address", "add", "--name", "ACME", "--line-1", "1 Way", "--city", "Perth", "--state", "WA", "--postcode", "6000", "--country", "AU").exits(exitDone)
	box := filepath.Join(s.dir, "outbox")
	if err := os.Mkdir(box, 0o700); err != nil {
		t.Fatal(err)
	}
	s.file("outbox/a.pdf", string(specimen.Letter("Dear Ann", 1)))
	s.file("outbox/letters.csv", "reference,file,address_name,address_line_1,address_city,address_state,address_postal_code,address_country\n"+
		"INV-1,a.pdf,Ann Lee,1 High St,Perth,WA,6000,AU\nINV-2,b.pdf,Bob Lee,2 High St,Perth,WA,6000,AU\n")
	s.file("outbox/letters.csv.ready", "")
	s.file("nightly.yaml", "name: nightly letters\ncron: 0 2 * * *\ntimezone: Australia/Sydney\nsource:\n  outbox: "+box+
		"\ncampaign:\n  channel: letter\n  colour: true\n  return_address: 2\n  budget: 20.00\n")
	s.run("schedule", "add", "-f", "nightly.yaml").exits(exitDone).says("`postrider serve`")
	s.run("schedule", "run", "nightly letters").exits(exitDone)
	var out, log locked
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- s.main(&out, &log).Run(ctx, []string{"serve"}) }()
	log.await(t, func(s string) bool { return strings.Contains(s, "a run has ended") })
	cancel()
	<-ended
	s.run("schedule", "history", "nightly letters").exits(exitDone).says("done", "1 row of letters.csv could not be sent, see letters.csv.")
	s.run("campaign", "status", "1").exits(exitDone).says("is completed", "1  accepted")
	s.run("campaign", "retry", "1", "--code", "INVALID_RECIPIENT", "--yes").exits(exitFailed).warns("its run has ended")
	if n := provider.Stats().Channels["letter"].Accepted; n != 1 {
		t.Errorf("the provider accepted %d letters, want 1", n)
	}
	reports, err := filepath.Glob(filepath.Join(box, "letters.csv.*.report.csv"))
	if err != nil || len(reports) != 1 {
		t.Fatalf("the reports are %v (%v), want one", reports, err)
	}
	text, err := os.ReadFile(reports[0])
	if err != nil || !strings.Contains(string(text), "INV-1,a.pdf,sent,") || !strings.Contains(string(text), "INV-2,b.pdf,bad row,file_not_found,") {
		t.Errorf("the report says %s (%v)", text, err)
	}
	for _, private := range []string{"Ann Lee", "High St", "INV-1"} {
		if strings.Contains(log.String(), private) {
			t.Errorf("the log gives %q away: %s", private, log.String())
		}
	}
}

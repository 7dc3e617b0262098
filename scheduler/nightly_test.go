package scheduler_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/specimen"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/outbox"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/scheduler"
)

// postOffice is a whole Postrider whose runs are moved by hand, with the
// sandbox as its provider and an outbox.
type postOffice struct {
	t       *testing.T
	ctx     context.Context
	l       *ledger.Ledger
	sb      *sandbox.Server
	down    atomic.Bool // the provider answers 500 to prices
	runs    *scheduler.Runs
	box     string
	address int64
	n       int // runs by hand
}

func newPostOffice(t *testing.T, more ...func(*sandbox.Options)) *postOffice {
	t.Helper()
	t.Parallel()
	o := &postOffice{t: t, ctx: t.Context(), box: filepath.Join(t.TempDir(), "outbox")}
	o.ok(os.Mkdir(o.box, 0o700))
	var err error
	o.l, err = ledger.Open(o.ctx, filepath.Join(t.TempDir(), "ledger.db"), ledger.Options{})
	o.ok(err)
	t.Cleanup(func() { o.ok(o.l.Close()) })
	opts := sandbox.Options{Throttle: -1}
	for _, f := range more {
		f(&opts)
	}
	o.sb = sandbox.New(opts)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.down.Load() && strings.HasSuffix(r.URL.Path, "/price") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		o.sb.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { o.sb.Close(); srv.Close() })
	embedded, err := jobs.StartEmbedded()
	o.ok(err)
	t.Cleanup(embedded.Close)
	rdb := redis.NewUniversalClient(embedded.Options())
	t.Cleanup(func() { o.ok(rdb.Close()) })
	p, err := jobs.NewProvider(jobs.ProviderConfig{
		Client:  clicksend.Config{BaseURL: srv.URL + "/v3", Username: sandbox.DefaultUsername, APIKey: sandbox.DefaultAPIKey},
		Limiter: ratelimit.New(rdb, ratelimit.Options{Rate: ratelimit.Unlimited}), Files: o.l,
	})
	o.ok(err)
	t.Cleanup(p.Close)
	a, err := p.Client().ReturnAddresses.Create(o.ctx, clicksend.Address{Name: "ACME", Line1: "1 Way", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"})
	o.ok(err)
	o.address = a.ID
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	sender := &jobs.Sender{Ledger: o.l, Provider: p, Log: log, Name: "worker", HTTPTimeout: 5 * time.Second}
	worker := &jobs.Worker{Sender: sender, Redis: rdb, Log: log}
	o.ok(worker.Start(o.ctx))
	t.Cleanup(worker.Shutdown)
	beat := &scheduler.Beat{Log: log, Every: 20 * time.Millisecond, Dispatcher: &jobs.Dispatcher{
		Ledger: o.l, Queue: asynq.NewClientFromRedisClient(rdb), Redis: rdb, Log: log, TaskTimeout: sender.TaskTimeout(), Settle: time.Hour,
	}}
	beat.Start()
	t.Cleanup(beat.Shutdown)
	o.runs = &scheduler.Runs{Ledger: o.l, Log: log, Name: "one", Runner: &scheduler.Maker{Ledger: o.l, Provider: p, Log: log, Country: "AU", RejectsDir: t.TempDir()}}
	return o
}

func (o *postOffice) ok(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// schedule adds one with the outbox as its source.
func (o *postOffice) schedule(source, more string) *ledger.Schedule {
	o.t.Helper()
	text := fmt.Sprintf("name: nightly\ncron: 0 2 * * *\ntimezone: Australia/Sydney\nsource:\n  %s\nretries: {tries: 1, wait: 1m}\ncampaign:\n%s", source, more)
	d, err := scheduler.ParseDefinition("schedule.yaml", []byte(text))
	o.ok(err)
	d.NewSchedule.Actor = "test"
	now, err := o.l.Now(o.ctx)
	o.ok(err)
	s, err := o.l.CreateSchedule(o.ctx, d.NewSchedule, scheduler.Reading(now, d.Location).String())
	o.ok(err)
	return s
}

func (o *postOffice) letters(more string) *ledger.Schedule {
	o.t.Helper()
	return o.schedule("outbox: "+o.box, fmt.Sprintf("  channel: letter\n  colour: true\n  return_address: %d\n%s", o.address, more))
}

// run runs a schedule by hand until it has ended.
func (o *postOffice) run(s *ledger.Schedule) *ledger.Run {
	o.t.Helper()
	o.n++
	r, err := o.l.RunByHand(o.ctx, s, fmt.Sprintf("2026-11-26T02:00:%02d", o.n), "test")
	o.ok(err)
	return o.end(r)
}

func (o *postOffice) end(r *ledger.Run) *ledger.Run {
	o.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !r.State.Final() {
		if time.Now().After(deadline) {
			o.t.Fatalf("the run does not end: %+v", r)
		}
		o.ok(o.runs.Once(o.ctx))
		var err error
		r, err = o.l.Run(o.ctx, r.ID)
		o.ok(err)
		time.Sleep(10 * time.Millisecond)
	}
	return r
}

// put writes a file that has lain in the outbox for an hour.
func (o *postOffice) put(name, content string) {
	o.t.Helper()
	path := filepath.Join(o.box, name)
	o.ok(os.WriteFile(path, []byte(content), 0o600))
	at := time.Now().Add(-time.Hour)
	o.ok(os.Chtimes(path, at, at))
}

const manifestHeader = "reference,file,address_name,address_line_1,address_city,address_state,address_postal_code,address_country,colour,duplex\n"

func letterRow(reference, file, options string) string {
	return fmt.Sprintf("%s,%s,Ann Lee,%s Street,Perth,WA,6000,AU,%s\n", reference, file, reference, options)
}

// reports reads every report in the outbox, by reference.
func (o *postOffice) reports() map[string]outbox.ReportRow {
	o.t.Helper()
	names, err := filepath.Glob(filepath.Join(o.box, "*.report.csv"))
	o.ok(err)
	all := map[string]outbox.ReportRow{}
	for _, name := range names {
		rows, err := outbox.ReadReport(name)
		o.ok(err)
		for _, r := range rows {
			all[r.Reference] = r
		}
		o.ok(os.Remove(name))
	}
	return all
}

func (o *postOffice) accepted(want int64) {
	o.t.Helper()
	st := o.sb.Stats().Channels["letter"]
	if st.Accepted != want || st.Again != 0 {
		o.t.Errorf("the provider accepted %d letters, %d of them twice, want %d and none", st.Accepted, st.Again, want)
	}
}

func TestTheOutboxIsMailedOnceEver(t *testing.T) {
	o := newPostOffice(t)
	o.put("shared.pdf", string(specimen.Letter("for all", 1)))
	for i := range 3 {
		o.put(fmt.Sprintf("own-%d.pdf", i), string(specimen.Letter(fmt.Sprint("own ", i), 2)))
	}
	o.put("bad.pdf", "%PDF-1.4 nothing")
	manifest := manifestHeader + letterRow("A-1", "shared.pdf", ",") + letterRow("A-2", "shared.pdf", ",") +
		letterRow("A-3", "own-0.pdf", "no,yes") + letterRow("A-4", "own-1.pdf", ",") + letterRow("A-5", "bad.pdf", ",") + letterRow("A-6", "none.pdf", ",")
	o.put("monday.csv", manifest)
	s := o.letters("")

	r := o.run(s)
	if r.State != ledger.RunDone || !strings.Contains(r.Reason, "2 rows of monday.csv could not be sent") {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	campaigns, err := o.l.RunCampaigns(o.ctx, r.ID)
	o.ok(err)
	if len(campaigns) != 2 {
		t.Fatalf("the run has %d campaigns, want one for each set of options: 2", len(campaigns))
	}
	o.accepted(4)
	rows := o.reports()
	for ref, outcome := range map[string]string{"A-1": "sent", "A-2": "sent", "A-3": "sent", "A-4": "sent", "A-5": "bad row", "A-6": "bad row"} {
		if got := rows[ref]; got.Outcome != outcome || (outcome == "sent") != (got.MessageID != "" && got.Price != "" && got.Campaign != "") {
			t.Errorf("%s is reported as %+v, want %s", ref, got, outcome)
		}
	}

	// The same manifest the next night, with one letter more and one mended.
	o.put("bad.pdf", string(specimen.Letter("mended", 1)))
	o.put("monday.csv", manifest+letterRow("A-7", "own-2.pdf", ","))
	r = o.run(s)
	if r.State != ledger.RunDone {
		t.Errorf("the second run is %s: %s", r.State, r.Reason)
	}
	o.accepted(6)
	rows = o.reports()
	for ref, outcome := range map[string]string{"A-1": "already mailed", "A-5": "sent", "A-6": "bad row", "A-7": "sent"} {
		if got := rows[ref]; got.Outcome != outcome {
			t.Errorf("%s is reported as %+v, want %s", ref, got, outcome)
		}
	}

	// A night without news.
	o.put("monday.csv", manifestHeader+letterRow("A-1", "shared.pdf", ","))
	if r = o.run(s); r.State != ledger.RunNothing || r.Reason != "1 letter mailed before; 4 files that no row names" {
		t.Errorf("the third run is %s: %s", r.State, r.Reason)
	}
	o.accepted(6)
}

func TestLettersThatTheProviderRefusedMayBeNamedAgain(t *testing.T) {
	o := newPostOffice(t, func(s *sandbox.Options) { s.RefuseRate, s.Seed = 0.3, 3 })
	o.put("a.pdf", string(specimen.Letter("a", 1)))
	manifest := manifestHeader
	for i := range 30 {
		manifest += letterRow(fmt.Sprintf("B-%02d", i), "a.pdf", ",")
	}
	o.put("m.csv", manifest)
	s := o.letters("")
	o.run(s)
	first := o.reports()
	sent := 0
	for ref, row := range first {
		switch {
		case row.Outcome == outbox.OutcomeSent:
			sent++
		case row.Outcome != outbox.OutcomeRefused || row.Code == "":
			t.Errorf("%s is reported as %+v", ref, row)
		}
	}
	if sent == 0 || sent == len(first) {
		t.Fatalf("%d of %d letters were sent: some should be refused", sent, len(first))
	}
	// Their references are free, so the campaign does not mail them again.
	c, err := o.l.FindCampaign(o.ctx, "nightly 2026-11-26 02:00:01")
	o.ok(err)
	if _, err := o.l.RetryRejected(o.ctx, c.ID, "INVALID_RECIPIENT", "test"); campaign.ErrorCode(err) != campaign.CodeConflict || !strings.Contains(err.Error(), "schedule run 'nightly'") {
		t.Errorf("the refused letters of a run that has ended can be retried: %v", err)
	}
	// Their addresses are mended, and those of the others changed as well.
	o.put("m.csv", strings.ReplaceAll(manifest, " Street", " Road"))
	o.run(s)
	again := 0
	for ref, row := range o.reports() {
		switch was := first[ref].Outcome; {
		case was == outbox.OutcomeSent && row.Outcome != outbox.OutcomeMailed:
			t.Errorf("%s was sent before, and is %+v now", ref, row)
		case was == outbox.OutcomeRefused && row.Outcome == outbox.OutcomeSent:
			again++
		case was == outbox.OutcomeRefused && row.Outcome != outbox.OutcomeRefused:
			t.Errorf("%s was refused before, and is %+v now", ref, row)
		}
	}
	if again == 0 {
		t.Error("no refused letter was sent on the second night")
	}
	o.accepted(int64(sent + again))
}

func TestAManifestThatCannotBeReadIsToldOfThoughTheOthersAreMailed(t *testing.T) {
	o := newPostOffice(t)
	o.put("a.pdf", string(specimen.Letter("a", 1)))
	o.put("good.csv", manifestHeader+letterRow("G-1", "a.pdf", ","))
	o.put("broken.csv", "number,"+manifestHeader+"1,"+letterRow("G-2", "a.pdf", ","))
	s := o.schedule("outbox: "+o.box, fmt.Sprintf("  channel: letter\n  return_address: %d\nalarm:\n  command: [/bin/true]\n", o.address))
	r := o.run(s)
	if r.State != ledger.RunFailed || !strings.Contains(r.Reason, "broken.csv") || !strings.Contains(r.Reason, `"number"`) {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	o.accepted(1)
	if rows := o.reports(); rows["G-1"].Outcome != outbox.OutcomeSent {
		t.Errorf("G-1 is reported as %+v", rows["G-1"])
	}
	alarms, err := o.l.Alarms(o.ctx, s.ID)
	o.ok(err)
	if len(alarms) != 1 || alarms[0].Event != scheduler.EventFailed {
		t.Errorf("the alarms are %+v", alarms)
	}
	// The next night sends what was mended, and nothing again.
	o.put("broken.csv", manifestHeader+letterRow("G-2", "a.pdf", ","))
	if r = o.run(s); r.State != ledger.RunDone {
		t.Errorf("the second run is %s: %s", r.State, r.Reason)
	}
	o.accepted(2)
}

func TestARunIsNotTakenForACampaignThatHasItsName(t *testing.T) {
	o := newPostOffice(t)
	o.put("a.pdf", string(specimen.Letter("a", 1)))
	o.put("m.csv", manifestHeader+letterRow("H-1", "a.pdf", ","))
	first := o.letters("")
	if r := o.run(first); r.State != ledger.RunDone {
		t.Fatalf("the run is %s: %s", r.State, r.Reason)
	}
	// A schedule of the same name, with a run of the same local time.
	o.ok(o.l.MoveSchedule(o.ctx, first.ID, ledger.ScheduleRemoved))
	o.put("m.csv", manifestHeader+letterRow("H-2", "a.pdf", ","))
	o.n--
	time.Sleep(5 * time.Millisecond)
	second := o.letters("")
	if r := o.run(second); r.State != ledger.RunFailed || !strings.Contains(r.Reason, "nothing was sent") || r.Campaign != 0 {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	o.accepted(1)
	if r := o.run(second); r.State != ledger.RunDone {
		t.Errorf("the next run is %s: %s", r.State, r.Reason)
	}
	o.accepted(2)
}

func TestAReportOfAnEarlierTryIsWrittenAnew(t *testing.T) {
	o := newPostOffice(t)
	o.put("a.pdf", string(specimen.Letter("a", 1)))
	o.put("m.csv", manifestHeader+letterRow("I-1", "a.pdf", ","))
	s := o.letters("")
	if r := o.run(s); r.State != ledger.RunDone {
		t.Fatalf("the run is %s: %s", r.State, r.Reason)
	}
	// A try of another run had come when the letter was not mailed yet.
	r, err := o.l.RunByHand(o.ctx, s, "2026-11-26T02:00:58", "test")
	o.ok(err)
	path := outbox.ReportPath(o.box, "m.csv", r.DueAt.In(sydney(t)))
	o.ok(outbox.WriteReport(path, []outbox.ReportRow{{Manifest: "m.csv", Line: 2, Reference: "I-1", Outcome: outbox.OutcomeWaiting}}))
	if r = o.end(r); r.State != ledger.RunNothing {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	rows, err := outbox.ReadReport(path)
	o.ok(err)
	if len(rows) != 1 || rows[0].Outcome != outbox.OutcomeMailed {
		t.Errorf("its report is %+v", rows)
	}
}

func sydney(t *testing.T) *time.Location {
	t.Helper()
	loc, err := scheduler.Zone("Australia/Sydney")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestANightBeyondItsBudgetMailsNothing(t *testing.T) {
	o := newPostOffice(t)
	o.put("a.pdf", string(specimen.Letter("a", 1)))
	o.put("m.csv", manifestHeader+letterRow("C-1", "a.pdf", "yes,")+letterRow("C-2", "a.pdf", "no,"))
	s := o.letters("  budget: 2.00\n")
	r := o.run(s)
	if r.State != ledger.RunFailed || !strings.Contains(r.Reason, "exceeds the budget") {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	o.accepted(0)
	if all, err := o.l.Campaigns(o.ctx); err != nil || len(all) != 0 {
		t.Errorf("%d campaigns stay: %v", len(all), err)
	}
	// Nobody holds the letters.
	o.ok(o.l.MoveSchedule(o.ctx, s.ID, ledger.ScheduleRemoved))
	if r = o.run(o.letters("  budget: 20.00\n")); r.State != ledger.RunDone {
		t.Errorf("with a budget the run is %s: %s", r.State, r.Reason)
	}
	campaigns, err := o.l.RunCampaigns(o.ctx, r.ID)
	o.ok(err)
	var sum campaign.Micros
	for _, c := range campaigns {
		if c.Budget == nil || *c.Budget < c.Quoted {
			t.Errorf("campaign %d, quoted at %s, has the budget %v", c.ID, c.Quoted, c.Budget)
			continue
		}
		sum += *c.Budget
	}
	if len(campaigns) != 2 || sum > 20_000_000 {
		t.Errorf("the budgets of %d campaigns are %s together, and that of the run is 20.00", len(campaigns), sum)
	}
	o.accepted(2)
}

func TestANightWhosePricesFailMailsNothingAndIsTriedAgain(t *testing.T) {
	o := newPostOffice(t)
	o.put("a.pdf", string(specimen.Letter("a", 1)))
	o.put("m.csv", manifestHeader+letterRow("D-1", "a.pdf", ","))
	o.down.Store(true)
	s := o.letters("")
	if r := o.run(s); r.State != ledger.RunFailed || r.Reason == "" {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	o.accepted(0)
	o.down.Store(false)
	if r := o.run(s); r.State != ledger.RunDone {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	o.accepted(1)
}

// A maker that dies at the worst moments leaves nothing twice and nothing out.
func TestARunThatIsTakenOverMailsEachLetterOnce(t *testing.T) {
	o := newPostOffice(t)
	o.put("a.pdf", string(specimen.Letter("a", 1)))
	o.put("m.csv", manifestHeader+letterRow("E-1", "a.pdf", "yes,")+letterRow("E-2", "a.pdf", "no,"))
	s := o.letters("")
	r, err := o.l.RunByHand(o.ctx, s, "2026-11-26T02:00:59", "test")
	o.ok(err)
	maker := o.runs.Runner
	for range 2 { // the campaigns start, and what came of it is forgotten
		claimed, err := o.l.ClaimRun(o.ctx, r, "who dies", 0, false) // a lease that is over at once
		o.ok(err)
		if _, err := maker.Run(o.ctx, *s, *claimed); err != nil {
			t.Fatal(err)
		}
	}
	// The manifest grows before another takes over.
	o.put("m.csv", manifestHeader+letterRow("E-1", "a.pdf", "yes,")+letterRow("E-2", "a.pdf", "no,")+letterRow("E-3", "a.pdf", "no,"))
	if r = o.end(r); r.State != ledger.RunDone {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	o.accepted(3)
	rows := o.reports()
	for _, ref := range []string{"E-1", "E-2", "E-3"} {
		if rows[ref].Outcome != "sent" {
			t.Errorf("%s is reported as %+v", ref, rows[ref])
		}
	}
}

func TestAListAndAFileAreSentByRuns(t *testing.T) {
	o := newPostOffice(t)
	w, err := o.l.CreateList(o.ctx, "members", "members.csv", "contact")
	o.ok(err)
	o.ok(w.Contacts(o.ctx, []campaign.Contact{{Line: 2, Phone: "+61412345671", FirstName: "Ann", Country: "AU"}}))
	_, err = w.Finish(o.ctx, ledger.ListCounts{Rows: 1, Imported: 1})
	o.ok(err)
	s := o.schedule("list: members", "  channel: sms\n  from: ACME\n  body: Hi {{first_name}}\n")
	for range 2 { // the same every night, and no mistake
		if r := o.run(s); r.State != ledger.RunDone {
			t.Fatalf("the run is %s: %s", r.State, r.Reason)
		}
	}
	o.ok(o.l.MoveSchedule(o.ctx, s.ID, ledger.ScheduleRemoved))

	s = o.schedule("file: "+filepath.Join(o.box, "{yyyy}-{mm}-{dd}.csv"), "  channel: sms\n  from: ACME\n  body: Hello\n")
	if r := o.run(s); r.State != ledger.RunFailed || !strings.Contains(r.Reason, "2026-11-26.csv") {
		t.Errorf("without its file the run is %s: %s", r.State, r.Reason)
	}
	o.put("2026-11-26.csv", "phone\n0412345672\n")
	if r := o.run(s); r.State != ledger.RunDone {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	if n := o.sb.Stats().Channels["sms"].Accepted; n != 3 {
		t.Errorf("the provider accepted %d messages, want 3", n)
	}
}

func TestOptionsThatCannotBeSentDoNotStopTheOthers(t *testing.T) {
	o := newPostOffice(t)
	o.put("a.pdf", string(specimen.Letter("a", 1)))
	header := strings.TrimSuffix(manifestHeader, "\n") + ",return_address\n"
	row := func(reference, address string) string {
		return strings.TrimSuffix(letterRow(reference, "a.pdf", ","), "\n") + "," + address + "\n"
	}
	o.put("m.csv", header+row("F-1", "999999")+row("F-2", "")+row("F-3", ""))
	r := o.run(o.letters(""))
	if r.State != ledger.RunDone || !strings.Contains(r.Reason, "1 row of m.csv could not be sent") {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	o.accepted(2)
	if rows := o.reports(); rows["F-1"].Outcome != outbox.OutcomeBadRow || !strings.Contains(rows["F-1"].Reason, "no return address 999999") || rows["F-2"].Outcome != outbox.OutcomeSent {
		t.Errorf("the report says %+v", rows)
	}
}

func TestAReportThatSomebodyChangedKeepsNoRunOpen(t *testing.T) {
	o := newPostOffice(t)
	o.put("a.pdf", string(specimen.Letter("a", 1)))
	o.put("m.csv", manifestHeader+letterRow("G-1", "a.pdf", ","))
	s := o.letters("")
	r, err := o.l.RunByHand(o.ctx, s, "2026-11-26T02:00:58", "test")
	o.ok(err)
	o.ok(o.runs.Once(o.ctx)) // the campaign is made, and the report begun
	names, err := filepath.Glob(filepath.Join(o.box, "*.report.csv"))
	o.ok(err)
	if len(names) != 1 {
		t.Fatalf("the reports are %v", names)
	}
	const edited = "somebody;saved;this\n\"as something else"
	o.ok(os.WriteFile(names[0], []byte(edited), 0o600))
	if r = o.end(r); r.State != ledger.RunDone || !strings.Contains(r.Reason, "was changed by somebody") {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	if text, err := os.ReadFile(names[0]); err != nil || string(text) != edited {
		t.Errorf("what somebody wrote is %q now (%v)", text, err)
	}
	o.ok(os.Remove(names[0]))
	if rows := o.reports(); rows["G-1"].Outcome != outbox.OutcomeSent {
		t.Errorf("the report says %+v", rows)
	}
}

func TestAHalfDiscardedCampaignIsNotTakenForAStartedOne(t *testing.T) {
	o := newPostOffice(t)
	o.put("a.pdf", string(specimen.Letter("a", 1)))
	o.put("m.csv", manifestHeader+letterRow("H-1", "a.pdf", ","))
	s := o.letters("")
	r, err := o.l.RunByHand(o.ctx, s, "2026-11-26T02:00:57", "test")
	o.ok(err)
	w, err := o.l.CreateList(o.ctx, "", "outbox", "letter")
	o.ok(err)
	list, err := w.Finish(o.ctx, ledger.ListCounts{})
	o.ok(err)
	c, err := o.l.CreateCampaign(o.ctx, ledger.NewCampaign{Name: scheduler.CampaignName(*s, *r), Content: campaign.Content{Channel: campaign.Letter}, ListID: list.ID, Actor: "who died"})
	o.ok(err)
	o.ok(o.l.MoveCampaign(o.ctx, c.ID, ledger.Move{To: campaign.Failed, Reason: "it was given up before its start", Actor: "who died"}))
	if r = o.end(r); r.State != ledger.RunDone {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	o.accepted(1)
}

func TestANightOfBadRowsAloneIsAFailure(t *testing.T) {
	o := newPostOffice(t)
	o.put("m.csv", manifestHeader+letterRow("K-1", "none.pdf", ",")+letterRow("K-2", "none.pdf", ","))
	if r := o.run(o.letters("")); r.State != ledger.RunFailed || r.Reason != "not one of 2 rows can be sent, see the report in the outbox; the first: file_not_found" {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	if rows := o.reports(); rows["K-1"].Outcome != outbox.OutcomeBadRow {
		t.Errorf("the report says %+v", rows)
	}
}

func TestARunWhoseOutboxIsGoneStillKnowsWhatItStarted(t *testing.T) {
	o := newPostOffice(t)
	o.put("a.pdf", string(specimen.Letter("a", 1)))
	o.put("m.csv", manifestHeader+letterRow("L-1", "a.pdf", ","))
	s := o.letters("")
	r, err := o.l.RunByHand(o.ctx, s, "2026-11-26T02:00:56", "test")
	o.ok(err)
	claimed, err := o.l.ClaimRun(o.ctx, r, "who dies", 0, false)
	o.ok(err)
	if _, err := o.runs.Runner.Run(o.ctx, *s, *claimed); err != nil {
		t.Fatal(err)
	}
	o.ok(os.RemoveAll(o.box))
	r = o.end(r)
	if made, err := o.l.RunCampaigns(o.ctx, r.ID); err != nil || len(made) != 1 {
		t.Errorf("the run has %d campaigns (%v), want the one that was started", len(made), err)
	}
	if r.State != ledger.RunDone || !strings.Contains(r.Reason, "the report of m.csv could not be written") {
		t.Errorf("the run is %s: %s", r.State, r.Reason)
	}
	o.accepted(1)
}

package jobs

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/ledger"
)

// This file rehearses everything at once that can go wrong between the ledger
// and the provider: workers, sweeper, reconciler, people who pause and cancel,
// crashes, and answers that are late or lost, in any order, under a clock that
// only the test moves. Claims, references, attempts, the reading of answers, the
// matching of rows, looks and evidence are the product's own code; the test
// plays what stands around them: the network, the queue, the rate budget, time,
// and a provider of which it knows whom it has really accepted.

const (
	modelSettle  = 90 * time.Second
	modelLease   = 15 * time.Second
	modelTimeout = 30 * time.Second
	modelPrice   = campaign.Micros(70_000)
)

// While history shows what was accepted within the settling time, nobody is
// sent to twice, and nobody is lost.
func TestTheModelSendsNobodyTwiceAndLosesNobody(t *testing.T) {
	rehearse(t, modelSettle)
}

// When history lags farther behind than that, a message may be sent twice. Then
// it is on record, and resends stop until a person has decided.
func TestTheModelRecordsWhatWasSentTwice(t *testing.T) {
	rehearse(t, 3*modelSettle)
}

// rehearse runs histories of a provider whose own history lags at most so far
// behind: 2,000 of them when POSTRIDER_SCALE is 1. The race detector makes SQLite
// ten times slower, and finds little here, where one thing happens at a time:
// under it there are as many as go into the time; acceptance/planted_test.go runs
// the others.
func rehearse(t *testing.T, lag time.Duration) {
	t.Parallel()
	scale := 0.1
	if s := os.Getenv("POSTRIDER_SCALE"); s != "" {
		var err error
		if scale, err = strconv.ParseFloat(s, 64); err != nil || scale <= 0 {
			t.Fatalf("POSTRIDER_SCALE is %q: expected a number such as 0.1 or 1", s)
		}
	}
	histories := max(1, int(2000*scale))
	if raceDetector {
		histories = max(1, histories/15)
	}
	template := modelTemplate(t)
	// rapid draws a hundred histories from one seed.
	for first := 0; first < histories; first += 100 {
		t.Run(strconv.Itoa(first), func(t *testing.T) {
			dir := modelFolder(t)
			ran, failed := first, false
			rapid.Check(t, func(r *rapid.T) {
				if ran++; ran > histories && !failed {
					return
				}
				failed = true // when this one does not come to its end
				s := newSimulation(r, template, dir, lag, func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(r, what) })
				defer s.end()
				for range 3 {
					r.Repeat(map[string]func(*rapid.T){"move": func(*rapid.T) { s.move() }, "": func(*rapid.T) { s.check() }})
				}
				s.runOut()
				failed = false
			})
		})
	}
}

// modelFolder is a folder in memory, where there is one: what a power cut leaves
// is not what is tested here, and waiting for a disk would take most of the time.
func modelFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "postrider-model-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// modelPeople is how many contacts each of the two lists of the template has;
// nobody is on both.
const modelPeople = 8

// modelTemplate makes a ledger with two lists, which is copied for each history.
func modelTemplate(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(modelFolder(t), "template.db")
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := ledger.Open(ctx, path, ledger.Options{})
	must(err)
	for i := range 2 {
		w, err := l.CreateList(ctx, "", "people.csv", "number")
		must(err)
		people := make([]campaign.Contact, modelPeople)
		for j := range people {
			people[j] = campaign.Contact{Line: j + 2, Phone: fmt.Sprintf("+6141200%02d%02d", i, j), FirstName: "Ann"}
		}
		must(w.Contacts(ctx, people))
		_, err = w.Finish(ctx, ledger.ListCounts{Rows: modelPeople, Imported: modelPeople})
		must(err)
	}
	must(l.Close())
	db, err := sql.Open("sqlite", path)
	must(err)
	_, err = db.ExecContext(ctx, `UPDATE ledger SET home = ''`) // copies of it were never opened
	must(errors.Join(err, db.Close()))
	b, err := os.ReadFile(path)
	must(err)
	return b
}

// simulation is one history.
type simulation struct {
	r    rapid.TB
	draw func(n int, what string) int // one of n; 0 is the simplest
	ctx  context.Context
	lag  time.Duration // of the provider's history, at most
	calm bool          // nothing goes wrong any more

	clock     time.Time
	l         *ledger.Ledger
	db        *sql.DB // for looking behind the ledger's back
	version   int64   // of the data, when it was checked last
	queries   map[string]*sql.Stmt
	path      string
	account   ledger.Provider
	campaigns []int64
	echo      int  // references echoed: 0 always, 1 never, 2 sometimes
	shared    bool // two campaigns go to the same numbers

	tasks     []ledger.Dispatch // in the queue; they may be handed out twice
	looksDue  []ledger.LookDue  // likewise
	processes []*process
	born      int // processes so far
	workers   []*worker
	holders   map[int64]*worker // who claimed a batch last
	looks     []*looker
	requests  []*request // on their way

	people     map[int64]*person
	checked    int                 // messages when the check was made last
	decided    int                 // messages that the provider has decided about
	held       map[int64]time.Time // campaigns whose messages the provider lets go then
	sent       []*message
	references map[string]bool
	optedOut   map[string]bool
	stopped    bool // resends are
	duplicates int  // on record
}

// person is a recipient, as the test knows it.
type person struct {
	campaign int64
	batch    int64
	state    campaign.RecipientState
	carried  bool // by an open attempt
	quoted   campaign.Micros
	messages int // accepted by the provider
	failed   int // of them, those which it could not hand on
}

// message is one that the provider accepted.
type message struct {
	record    clicksend.Record
	recipient int64
	visible   time.Time
}

// process is a process of workers; a crash takes all with it that it has in
// hand.
type process struct {
	sender     *Sender
	reconciler *Reconciler
}

// worker has a batch in hand.
type worker struct {
	p         *process
	claim     *ledger.Claim
	job       *job
	attempt   *ledger.Attempt
	committed time.Time
	request   *request // nil before the post
	stopped   bool     // as by SIGSTOP: it does nothing, and does not know
	lost      bool     // its lease, as it knows
	replied   bool     // it knows what came of the post
	answer    *answer
	err       error
}

// request is a post. While it has not arrived it may do so until its deadline,
// also when its worker has died; it dies with its connection.
type request struct {
	messages []outgoing
	until    time.Time
	arrived  bool
	answer   *answer
	err      error
}

// looker is a look under way, which stops between the pages.
type looker struct {
	p    *process
	due  ledger.LookDue
	next func() (struct{}, bool)
	stop func()
}

func newSimulation(r rapid.TB, template []byte, dir string, lag time.Duration, draw func(n int, what string) int) *simulation {
	s := &simulation{
		r: r, draw: draw, ctx: context.Background(), lag: lag, clock: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC),
		path: filepath.Join(dir, "ledger.db"), account: ledger.Provider{URL: "http://127.0.0.1/v3", User: "1"},
		people: map[int64]*person{}, references: map[string]bool{}, optedOut: map[string]bool{}, held: map[int64]time.Time{}, holders: map[int64]*worker{}, queries: map[string]*sql.Stmt{},
	}
	s.ok(os.WriteFile(s.path, template, 0o600))
	var err error
	s.l, err = ledger.Open(s.ctx, s.path, ledger.Options{Clock: func() time.Time { return s.clock }})
	s.ok(err)
	s.db, err = sql.Open("sqlite", "file:"+s.path+"?_pragma=busy_timeout(10000)&_pragma=query_only(1)")
	s.ok(err)
	s.db.SetMaxOpenConns(1) // data_version is one connection's
	s.echo = s.draw(3, "references echoed")
	if lag > modelSettle {
		s.echo = 0 // a row may be of either message of a recipient, and only a person can tell
	}
	n := 1 + s.draw(2, "campaigns")
	s.shared = n == 2 && s.odds(2, "shared")
	for i := range n {
		list := int64(i + 1)
		if s.shared {
			list = 1
		}
		s.begin(list)
	}
	for range 2 {
		s.processes = append(s.processes, s.process())
	}
	s.check()
	s.say("references are echoed: %s; %d recipients; two campaigns to the same numbers: %v",
		[]string{"always", "never", "sometimes"}[s.echo], len(s.people), s.shared)
	return s
}

// end leaves nothing behind.
func (s *simulation) end() {
	for _, k := range s.looks {
		k.stop()
	}
	err := errors.Join(s.db.Close(), s.l.Close())
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if rerr := os.Remove(s.path + suffix); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	s.ok(err)
}

// begin starts a campaign to a list.
func (s *simulation) begin(list int64) {
	nc := ledger.NewCampaign{
		Again: true, ListID: list, Digest: "digest", Provider: s.account, Currency: "AUD", Actor: "test",
		Content: campaign.Content{Channel: campaign.SMS, From: "ACME", Body: "Hi {{first_name}}"},
	}
	if s.odds(4, "held") { // by the provider, until its hour
		nc.Content.Schedule = s.clock.Add(time.Hour).Unix()
	}
	budget := campaign.Micros(0) // none
	if s.odds(3, "budget") {
		budget = campaign.Micros(1+s.draw(2*modelPeople, "budget")) * modelPrice
	}
	c, err := s.l.CreateCampaign(s.ctx, nc)
	s.ok(err)
	people, size := 1+s.draw(modelPeople, "people"), 1+s.draw(4, "batch size")
	plan := s.l.Plan(c)
	var b campaign.PlannedBatch
	s.ok(s.l.EachContact(s.ctx, list, func(k *campaign.Contact) error {
		if people == 0 {
			return nil
		}
		people--
		b.Recipients = append(b.Recipients, campaign.PlannedRecipient{ContactID: k.ID})
		if len(b.Recipients) < size && people > 0 {
			return nil
		}
		defer func() { b.Recipients = nil }()
		return plan.Batch(s.ctx, b)
	}))
	s.ok(plan.Finish(s.ctx, campaign.PlanSummary{}))
	quote := ledger.Quote{Basis: "exact", Currency: "AUD"}
	s.ok(s.l.EachPlannedBatch(s.ctx, c, func(b ledger.PlannedBatch) error {
		prices := slices.Repeat([]campaign.Micros{modelPrice}, len(b.Recipients))
		quote.Total += modelPrice * campaign.Micros(len(prices))
		p := ledger.BatchPrices{Batch: b.ID, Prices: prices}
		for _, rc := range b.Recipients {
			p.Recipients = append(p.Recipients, rc.ID)
		}
		return s.l.QuoteBatches(s.ctx, c.ID, []ledger.BatchPrices{p})
	}))
	_, err = s.l.SetQuote(s.ctx, c, quote, "test")
	s.ok(err)
	s.ok(s.l.Approve(s.ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
	if budget > 0 { // it may be too small, since it is set after the start
		s.ok(s.l.SetBudget(s.ctx, c.ID, budget, "test"))
	}
	s.campaigns = append(s.campaigns, c.ID)
	if nc.Content.Schedule > 0 {
		s.held[c.ID] = time.Unix(nc.Content.Schedule, 0)
	}
}

func (s *simulation) ok(err error) {
	if err != nil {
		s.r.Fatal(err)
	}
}

func (s *simulation) say(format string, args ...any) {
	s.r.Logf("%s  "+format, append([]any{s.clock.Format("15:04:05.000")}, args...)...)
}

// shuffle puts all into another order.
func shuffle[T any](s *simulation, all []T, what string) {
	for i := range all {
		j := i + s.draw(len(all)-i, what)
		all[i], all[j] = all[j], all[i]
	}
}

// odds is true once in n times, and never when all is calm.
func (s *simulation) odds(n int, what string) bool {
	return !s.calm && s.draw(n, what) == n-1
}

func (s *simulation) process() *process {
	s.born++
	log := slog.New(slog.DiscardHandler)
	name := fmt.Sprintf("process %d", s.born)
	return &process{
		sender:     &Sender{Ledger: s.l, Log: log, Name: name, Lease: modelLease, HTTPTimeout: modelTimeout},
		reconciler: &Reconciler{Ledger: s.l, Log: log, Name: name, Settle: modelSettle, Lease: modelLease},
	}
}

// moves are what may happen now.
func (s *simulation) moves() map[string]func() {
	m := map[string]func(){
		"time passes": s.timePasses,
		"sweep":       s.sweep,
	}
	for i, d := range s.tasks {
		m[fmt.Sprintf("claim batch %d under number %d", d.Batch, d.Number)] = func() { s.claim(i) }
		m[fmt.Sprintf("send batch %d under number %d in one go", d.Batch, d.Number)] = func() { s.send(i) }
	}
	for i, w := range s.workers {
		on := fmt.Sprintf(" (worker %d on batch %d)", i, w.claim.Batch)
		if w.stopped {
			m["continue"+on] = func() { w.stopped = false }
			continue
		}
		m["stop"+on] = func() { w.stopped = true }
		switch {
		case w.attempt == nil:
			m["begin"+on] = func() { s.beginAttempt(w) }
			m["give back"+on] = func() { s.giveBack(w) }
		case w.replied:
			m["record"+on] = func() { s.record(w) }
		case w.request == nil:
			m["post"+on] = func() { s.post(w) }
		default:
			m["hear"+on] = func() { s.hear(w) }
		}
	}
	for i, q := range s.requests {
		if !q.arrived {
			m[fmt.Sprintf("request %d arrives", i)] = func() { s.arrive(q) }
		}
	}
	if len(s.looksDue) > 0 && len(s.looks) < 3 {
		m["look"] = func() { s.look(s.looksDue[0], s.processes[s.draw(len(s.processes), "process")]) }
	}
	for i, k := range s.looks {
		m[fmt.Sprintf("look %d goes on", i)] = func() { s.lookOn(k) }
	}
	m["something rare"] = s.rare
	return m
}

// move makes one thing happen.
func (s *simulation) move() {
	all := s.moves()
	names := slices.Sorted(maps.Keys(all))
	name := names[s.draw(len(names), "move")]
	s.say("%s", name)
	all[name]()
}

// rare is what does not happen all the time.
func (s *simulation) rare() {
	id := s.campaigns[s.draw(len(s.campaigns), "campaign")]
	conflict := func(err error) {
		if campaign.ErrorCode(err) != campaign.CodeConflict {
			s.ok(err)
		}
	}
	switch s.draw(8, "rare") {
	case 0:
		i := s.draw(len(s.processes), "process")
		s.say("%s crashes", s.processes[i].sender.Name)
		s.crash(i)
	case 1:
		s.say("campaign %d is paused", id)
		conflict(s.l.MoveCampaign(s.ctx, id, ledger.Move{To: campaign.Paused, Actor: "test"}))
	case 2, 3:
		s.say("campaign %d is resumed", id)
		conflict(s.l.Resume(s.ctx, id, "test"))
	case 4:
		s.say("Redis loses its memory")
		s.tasks, s.looksDue = nil, nil
		s.ok(s.l.ForgetDispatches(s.ctx))
	case 5:
		if s.odds(3, "cancel") {
			s.say("campaign %d is cancelled", id)
			conflict(s.l.Cancel(s.ctx, id, "test", ""))
		}
	case 6:
		phone := fmt.Sprintf("+614120000%02d", s.draw(modelPeople, "opts out"))
		s.say("%s opts out", phone)
		s.ok(s.l.OptOut(s.ctx, phone, "test", ""))
		s.optedOut[phone] = true
	case 7:
		s.say("whoever was rejected in campaign %d is tried again", id)
		_, err := s.l.RetryRejected(s.ctx, id, string(clicksend.StatusInvalidRecipient), "test")
		if campaign.ErrorCode(err) != campaign.CodeNotFound {
			conflict(err)
		}
	}
}

func (s *simulation) timePasses() {
	all := []time.Duration{time.Second, 100 * time.Millisecond, 4 * time.Second, modelLease, modelTimeout, modelSettle / 2, modelSettle, 10 * time.Minute}
	d := all[s.draw(len(all), "time")]
	if s.odds(2, "nobody renews") {
		s.say("%s pass, and nobody renews a lease", d)
		s.advance(d)
		return
	}
	s.say("%s pass", d)
	s.renewing(d)
}

// renewing lets time pass while every process renews its leases.
func (s *simulation) renewing(d time.Duration) {
	for d > 0 {
		step := min(d, modelLease/3)
		s.advance(step)
		d -= step
		for _, w := range s.workers {
			if !w.stopped {
				s.renew(w)
			}
		}
		for _, k := range s.looks {
			s.renewLook(k)
		}
		if len(s.workers)+len(s.looks) == 0 {
			s.advance(d)
			return
		}
	}
}

// advance moves the clock, and ends requests whose deadline is over.
func (s *simulation) advance(d time.Duration) {
	s.clock = s.clock.Add(d)
	s.requests = slices.DeleteFunc(s.requests, func(q *request) bool { return !q.arrived && s.clock.After(q.until) })
}

func (s *simulation) renew(w *worker) {
	err := s.l.RenewLease(s.ctx, w.claim, modelLease)
	if errors.Is(err, ledger.ErrLostLease) {
		w.lost = true
		return
	}
	s.ok(err)
}

func (s *simulation) renewLook(k *looker) {
	err := s.l.RenewLook(s.ctx, &ledger.Look{LookDue: k.due, By: k.p.reconciler.Name}, modelLease)
	if !errors.Is(err, ledger.ErrLostLease) {
		s.ok(err)
	}
}

// sweep does what Dispatcher.Sweep does.
func (s *simulation) sweep() {
	_, err := s.l.SweepAttempts(s.ctx)
	s.ok(err)
	_, err = s.l.PauseStopped(s.ctx)
	s.ok(err)
	s.looksDue, err = s.l.LooksDue(s.ctx, modelSettle)
	s.ok(err)
	due, err := s.l.Due(s.ctx, ledger.DueQuery{Channel: campaign.SMS, Window: 100, Again: time.Minute})
	s.ok(err)
	s.tasks = append(s.tasks, due...)
}

// claim hands a task to a worker.
func (s *simulation) claim(i int) {
	d := s.tasks[i]
	if !s.odds(3, "handed out again") {
		s.tasks = slices.Delete(s.tasks, i, i+1)
	}
	p := s.processes[0]
	if !s.calm {
		p = s.processes[s.draw(len(s.processes), "process")]
	}
	claim, err := s.l.Claim(s.ctx, d.Batch, d.Number, p.sender.Name, p.sender.lease())
	s.ok(err)
	if claim != nil {
		w := &worker{p: p, claim: claim}
		s.workers = append(s.workers, w)
		s.holders[claim.Batch] = w
	}
}

// send is a worker that nothing comes between, as it is most of the time.
func (s *simulation) send(i int) {
	before := len(s.workers)
	s.claim(i)
	if len(s.workers) == before {
		return
	}
	w := s.workers[before]
	for n := 0; n < 8 && slices.Contains(s.workers, w); n++ {
		s.workOn(w)
	}
}

func (s *simulation) drop(w *worker) {
	s.workers = slices.DeleteFunc(s.workers, func(o *worker) bool { return o == w })
}

// giveBack is a worker whose turn in the rate budget does not come.
func (s *simulation) giveBack(w *worker) {
	s.drop(w)
	s.ok(s.l.Release(s.ctx, w.claim, time.Second))
}

func (s *simulation) beginAttempt(w *worker) {
	job, err := w.p.sender.render(w.claim)
	if errors.Is(err, errNobody) {
		s.giveBack(w)
		return
	}
	s.ok(err)
	var members []int64
	for _, m := range job.messages {
		members = append(members, m.recipient)
	}
	a, err := s.l.BeginAttempt(s.ctx, w.claim, ledger.Begin{Within: postWithin + modelTimeout, Members: members})
	for _, refused := range []error{ledger.ErrLostLease, ledger.ErrNotSending, ledger.ErrBudget, ledger.ErrProbing, ledger.ErrStopped, ledger.ErrNobody} {
		if errors.Is(err, refused) {
			s.say("%v", err)
			s.drop(w)
			return
		}
	}
	s.ok(err)
	w.attempt, w.job, w.committed = a, job, s.clock
	job.messages = only(job.messages, a.Members)
	s.say("attempt %d carries %v", a.ID, a.Members)

	c, err := s.l.Campaign(s.ctx, a.Campaign)
	s.ok(err)
	switch {
	case c.State != campaign.Sending:
		s.r.Fatalf("an attempt of a campaign that is %s", c.State)
	case len(a.Members) > 4 || len(a.Members) == 0 || len(job.messages) != len(a.Members):
		s.r.Fatalf("an attempt of %d members with %d messages", len(a.Members), len(job.messages))
	case s.holders[a.Batch] != w:
		s.r.Fatalf("attempt %d is of a worker that has lost batch %d to another", a.ID, a.Batch)
	case w.claim.Resend && s.stopped:
		s.r.Fatalf("recipients %v were sent to before, and resends are stopped", a.Members)
	}
	for i, m := range job.messages {
		if p := s.people[m.recipient]; m.recipient != a.Members[i] || p.state != campaign.Pending || p.carried {
			s.r.Fatalf("recipient %d, who is %s (carried already: %v), is carried by attempt %d", m.recipient, p.state, p.carried, a.ID)
		}
		if ref, ours := s.l.ParseReference(m.reference); !ours || ref.Recipient != m.recipient || ref.Attempt != a.Number {
			s.r.Fatalf("a message to recipient %d in attempt number %d has the reference %s", m.recipient, a.Number, m.reference)
		}
		if s.optedOut[m.message.To] {
			s.r.Fatalf("recipient %d has opted out", m.recipient)
		}
	}
}

// post writes the request, if it is early enough for it.
func (s *simulation) post(w *worker) {
	switch {
	case s.clock.Sub(w.committed) > postWithin || w.lost || s.odds(8, "no connection"):
		s.say("it does not leave")
		w.replied, w.err = true, &clicksend.Error{Kind: clicksend.NotSent, Message: "no connection"}
		return
	}
	for _, m := range w.job.messages {
		if s.references[m.reference] {
			s.r.Fatalf("two messages with the reference %s", m.reference)
		}
		s.references[m.reference] = true
	}
	w.request = &request{messages: slices.Clone(w.job.messages), until: w.attempt.Deadline}
	s.requests = append(s.requests, w.request)
	if !s.odds(3, "slow") {
		s.arrive(w.request)
	}
}

func (s *simulation) requestDone(q *request) {
	s.requests = slices.DeleteFunc(s.requests, func(o *request) bool { return o == q })
}

// hear is the worker learning what became of its post, or that it never will.
func (s *simulation) hear(w *worker) {
	lost := func(why string) {
		s.say("%s", why)
		w.replied, w.err = true, &clicksend.Error{Kind: clicksend.UnknownOutcome, Message: why}
		s.requestDone(w.request)
	}
	switch {
	case s.clock.After(w.committed.Add(postWithin + modelTimeout)):
		lost("the time is over")
	case s.odds(4, "connection breaks"):
		lost("the connection breaks")
	case w.request.arrived:
		w.replied, w.answer, w.err = true, w.request.answer, w.request.err
		s.requestDone(w.request)
	}
}

// record writes what the worker knows.
func (s *simulation) record(w *worker) {
	s.drop(w)
	err := w.p.sender.close(s.ctx, w.attempt, w.job, w.answer, w.err, w.p.sender.Log)
	if !errors.Is(err, ledger.ErrClosedAttempt) {
		s.ok(err)
	}
}

// crash ends a process; another takes its place.
func (s *simulation) crash(i int) {
	p := s.processes[i]
	s.workers = slices.DeleteFunc(s.workers, func(w *worker) bool { return w.p == p })
	for _, k := range slices.Clone(s.looks) {
		if k.p == p {
			s.lookEnds(k)
		}
	}
	s.processes[i] = s.process()
}

// arrive is a request reaching the provider, who decides about it.
func (s *simulation) arrive(q *request) {
	q.arrived = true
	bad := func(kind clicksend.Kind) { q.err = &clicksend.Error{Kind: kind, Message: string(kind)} }
	kind := 0
	if !s.calm {
		kind = s.draw(12, "provider")
	}
	switch kind {
	case 11:
		s.say("429")
		bad(clicksend.RateLimited)
		return
	case 10:
		s.say("400")
		bad(clicksend.BadRequest)
		return
	case 9:
		s.say("401")
		bad(clicksend.Unauthorised)
		return
	case 8:
		s.say("500, and nothing was accepted")
		bad(clicksend.UnknownOutcome)
		return
	}
	a := &answer{currency: "AUD"}
	for _, m := range q.messages {
		if row := s.decide(m); row != nil {
			a.rows = append(a.rows, *row)
		}
	}
	if s.odds(4, "other order") {
		shuffle(s, a.rows, "rows")
	}
	q.answer = a
	if kind == 7 {
		s.say("500, though it was accepted")
		q.answer = nil
		bad(clicksend.UnknownOutcome)
	}
}

// decide is what the provider makes of one message; nil when its answer does not
// speak of it.
func (s *simulation) decide(m outgoing) *clicksend.Outcome {
	s.decided++
	row := &clicksend.Outcome{To: m.message.To, MessageID: fmt.Sprintf("message-%d", s.decided), Status: clicksend.StatusSuccess, Price: clicksend.Amount(modelPrice), Parts: 1}
	if s.echoes() {
		row.CustomString = m.reference
	}
	kind := 0
	if !s.calm {
		kind = s.draw(24, "message")
	}
	refused := func(status clicksend.Status) *clicksend.Outcome {
		s.say("recipient %d: %s", m.recipient, status)
		row.Status, row.Price = status, 0
		return row
	}
	switch kind {
	case 23:
		return refused(clicksend.StatusInvalidRecipient)
	case 22:
		return refused(clicksend.StatusTooManyRecipients)
	case 21:
		return refused(clicksend.StatusInsufficientCredit)
	case 20:
		return refused(clicksend.StatusThrottled)
	case 19:
		return refused(clicksend.StatusInternalError)
	case 18:
		s.accept(m, row)
		return refused(clicksend.StatusInternalError)
	case 17:
		s.accept(m, row)
		s.say("the answer does not speak of recipient %d", m.recipient)
		return nil
	}
	s.accept(m, row)
	return row
}

// echoes says whether a row bears its reference.
func (s *simulation) echoes() bool {
	return s.echo == 0 || s.echo == 2 && (s.calm || s.draw(2, "echo") == 0)
}

// accept is the moment that counts.
func (s *simulation) accept(m outgoing, row *clicksend.Outcome) {
	p := s.people[m.recipient]
	p.messages++
	if p.messages > 1 && s.lag <= modelSettle {
		s.r.Fatalf("recipient %d is accepted by the provider %d times", m.recipient, p.messages)
	}
	lags := []time.Duration{0, time.Second, s.lag / 2, s.lag}
	lag := lags[0]
	if !s.calm {
		lag = lags[s.draw(len(lags), "lag")]
	}
	visible, dated := s.clock.Add(lag), s.clock
	if at := s.held[p.campaign]; at.After(s.clock) {
		// Whether history shows it before its hour, and with which date, is not
		// documented.
		if s.odds(2, "shown when it is let go") {
			visible = at.Add(lag)
		}
		if s.odds(2, "dated when it is let go") {
			dated = at
		}
	}
	s.say("recipient %d is accepted; history shows it at %s, dated %s", m.recipient, visible.Format(time.TimeOnly), dated.Format(time.TimeOnly))
	rec := clicksend.Record{To: m.message.To, MessageID: row.MessageID, CustomString: row.CustomString, Status: clicksend.HistorySent, Price: row.Price, Parts: 1, Date: dated.Unix()}
	if s.echo == 2 {
		rec.CustomString = ""
		if s.echoes() {
			rec.CustomString = m.reference
		}
	}
	if s.odds(8, "fails later") {
		rec.Status, rec.ErrorCode, rec.Price = clicksend.HistoryFailed, "301", 0
		p.failed++
	}
	s.sent = append(s.sent, &message{record: rec, recipient: m.recipient, visible: visible})
}

// crashed is thrown in a look whose process dies.
type crashed struct{}

// look begins a look into history.
func (s *simulation) look(d ledger.LookDue, p *process) {
	k := &looker{p: p, due: d}
	k.next, k.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if e := recover(); e != nil && e != (crashed{}) {
				panic(e)
			}
		}()
		r := *p.reconciler
		r.Provider = &pages{s: s, between: func() {
			if !yield(struct{}{}) {
				panic(crashed{})
			}
		}}
		s.ok(r.Reconcile(s.ctx, d))
	})
	s.looks = append(s.looks, k)
	s.lookOn(k)
}

func (s *simulation) lookOn(k *looker) {
	if _, more := k.next(); !more {
		s.lookEnds(k)
	}
}

func (s *simulation) lookEnds(k *looker) {
	k.stop()
	s.looks = slices.DeleteFunc(s.looks, func(o *looker) bool { return o == k })
}

// pages is the provider's history as one look meets it.
type pages struct {
	s       *simulation
	between func() // other things happen
}

func (p *pages) Identity(context.Context) (ledger.Provider, error) { return p.s.account, nil }

// History hands on what is visible, in any order and perhaps twice. A look that
// is not complete may have missed anything; what becomes visible while a look
// goes on may be met or not.
func (p *pages) History(_ context.Context, _ campaign.Channel, windows []Window, each func([]clicksend.Record) error) (Look, error) {
	s := p.s
	began := s.clock
	within := func(m *message) bool {
		at := time.Unix(m.record.Date, 0)
		return slices.ContainsFunc(windows, func(w Window) bool { return !at.Before(w.From.Truncate(time.Second)) && !at.After(w.To) })
	}
	complete := !s.odds(4, "incomplete")
	var rows []*message
	for _, m := range s.sent {
		switch {
		case m.visible.After(began) || !within(m):
		case !complete && s.odds(2, "missed"):
		default:
			rows = append(rows, m)
			if s.odds(8, "met twice") {
				rows = append(rows, m)
			}
		}
	}
	if !s.calm {
		shuffle(s, rows, "order")
	}
	for len(rows) > 0 {
		n := min(len(rows), 1+s.drawLively(3, "page"))
		if err := each(recordsOf(rows[:n])); err != nil {
			return Look{}, err
		}
		rows = rows[n:]
		if s.odds(2, "between pages") {
			p.between()
		}
	}
	if s.odds(2, "before the end") {
		p.between()
	}
	if s.odds(8, "unreadable") {
		s.say("history cannot be read")
		return Look{}, errors.New("500")
	}
	for _, m := range s.sent {
		if m.visible.After(began) && !m.visible.After(s.clock) && within(m) && s.odds(2, "met late") {
			if err := each(recordsOf([]*message{m})); err != nil {
				return Look{}, err
			}
		}
	}
	look := Look{Complete: complete}
	if !complete {
		look.Doubt = "it is not complete"
	}
	s.say("a look has read history; complete: %v", complete)
	return look, nil
}

// drawLively is draw, and 0 when all is calm.
func (s *simulation) drawLively(n int, what string) int {
	if s.calm {
		return 0
	}
	return s.draw(n, what)
}

func recordsOf(all []*message) []clicksend.Record {
	out := make([]clicksend.Record, len(all))
	for i, m := range all {
		out[i] = m.record
	}
	return out
}

// runOut lets everything come to its end without anything else going wrong, and
// demands that everybody has come to theirs.
func (s *simulation) runOut() {
	s.say("from here on nothing goes wrong")
	s.calm = true
	began := s.clock
	for !s.done(began) {
		if s.clock.Sub(began) > 48*time.Hour {
			s.r.Fatalf("two days later the campaigns have not ended:\n%s", s.describe())
		}
		for _, id := range s.campaigns {
			c, err := s.l.Campaign(s.ctx, id)
			s.ok(err)
			if c.State != campaign.Paused {
				continue
			}
			if strings.HasPrefix(c.Reason, "duplicates: ") {
				_, err := s.l.AllowResends(s.ctx, c, "test")
				s.ok(err)
			}
			s.ok(s.l.SetBudget(s.ctx, id, 1000*modelPrice, "test"))
			s.ok(s.l.Resume(s.ctx, id, "test"))
		}
		s.round()
		if s.clock.Sub(began) < 5*time.Minute {
			s.renewing(modelLease)
		} else {
			s.renewing(5 * time.Minute)
		}
	}
	if s.lag > modelSettle { // what comes late is looked for once more
		for range 3 {
			s.renewing(5 * modelSettle)
			s.round()
		}
	}
	s.check()
	s.checkEnd()
}

// round takes everything as far as it goes now.
func (s *simulation) round() {
	for _, q := range slices.Clone(s.requests) {
		if !q.arrived {
			s.arrive(q)
		}
	}
	for len(s.workers) > 0 {
		s.workOn(s.workers[0])
	}
	s.requests = nil
	for len(s.looks) > 0 {
		s.lookOn(s.looks[0])
	}
	s.sweep()
	for _, d := range s.looksDue {
		s.look(d, s.processes[0])
	}
	s.check()
	if again, err := s.l.LooksDue(s.ctx, modelSettle); err != nil || len(again) > 0 {
		s.r.Fatalf("history was read just now, and is to be read again at once (%v)", err)
	}
	for len(s.tasks) > 0 {
		s.claim(0)
		for len(s.workers) > 0 {
			s.workOn(s.workers[0])
		}
	}
	s.check()
}

func (s *simulation) workOn(w *worker) {
	switch {
	case w.attempt == nil:
		s.beginAttempt(w)
	case w.replied:
		s.record(w)
	case w.request == nil:
		s.post(w)
	default:
		s.hear(w)
	}
	s.check()
}

// done says whether nothing is left to do: every campaign has ended. Where rows
// bear no reference and two campaigns go to the same numbers, some may stay
// unknown for a person to decide; they get an hour to be found out.
func (s *simulation) done(began time.Time) bool {
	undecided := s.ambiguous() && s.clock.Sub(began) > time.Hour

	for _, id := range s.campaigns {
		c, err := s.l.Campaign(s.ctx, id)
		s.ok(err)
		n, err := s.l.Counts(s.ctx, id)
		s.ok(err)
		if !c.State.Final() && (n.Left() > 0 || n.Unknown > 0 && !undecided) {
			return false
		}
	}
	return true
}

func (s *simulation) ambiguous() bool { return s.shared && s.echo != 0 }

// describe says where everybody stands.
func (s *simulation) describe() string {
	var b strings.Builder
	for _, id := range s.campaigns {
		c, err := s.l.Campaign(s.ctx, id)
		s.ok(err)
		n, err := s.l.Counts(s.ctx, id)
		s.ok(err)
		fmt.Fprintf(&b, "campaign %d is %s (%s): %+v\n", id, c.State, c.Reason, n)
	}
	return b.String()
}

// rows reads from the ledger's tables.
func (s *simulation) rows(query string, scan func(rows *sql.Rows) error) {
	stmt := s.queries[query]
	if stmt == nil {
		var err error
		stmt, err = s.db.PrepareContext(s.ctx, query)
		s.ok(err)
		s.queries[query] = stmt
	}
	all, err := stmt.QueryContext(s.ctx)
	s.ok(err)
	defer all.Close() //nolint:errcheck // read to the end, or the test fails
	for all.Next() {
		s.ok(scan(all))
	}
	s.ok(all.Err())
}

// check demands what must be true at every moment.
func (s *simulation) check() {
	version := int64(0)
	s.rows(`PRAGMA data_version`, func(r *sql.Rows) error { return r.Scan(&version) })
	if version == s.version && len(s.sent) == s.checked {
		return
	}
	s.version, s.checked = version, len(s.sent)
	type attempt struct {
		campaign, batch, reserved int64
		state                     int
		members                   []int64
		open                      []int64 // to be found out
	}
	type standing struct {
		state           campaign.State
		spent, reserved campaign.Micros
	}
	campaigns := map[int64]standing{}
	s.rows(`SELECT id, state, spent, reserved, COALESCE(budget, -1) FROM campaigns`, func(r *sql.Rows) error {
		var (
			id, budget int64
			c          standing
		)
		err := r.Scan(&id, &c.state, &c.spent, &c.reserved, &budget)
		campaigns[id] = c
		if budget >= 0 && c.spent+c.reserved > campaign.Micros(budget) && s.lag <= modelSettle {
			s.r.Fatalf("campaign %d: %s spent and %s reserved of a budget of %s", id, c.spent, c.reserved, campaign.Micros(budget))
		}
		return err
	})
	type batch struct {
		campaign    int64
		state, open int
		counts      [8]int
	}
	batches := map[int64]*batch{}
	s.rows(`SELECT id, campaign_id, state, pending, unknown, accepted, delivered, undelivered, rejected, suppressed, cancelled FROM batches`, func(r *sql.Rows) error {
		var (
			id int64
			b  batch
		)
		n := &b.counts
		err := r.Scan(&id, &b.campaign, &b.state, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7])
		batches[id] = &b
		return err
	})
	counts := map[int64]*[8]int{}
	s.rows(`SELECT id, batch_id, state, quoted FROM recipients`, func(r *sql.Rows) error {
		var (
			id, batch, quoted int64
			state             campaign.RecipientState
		)
		if err := r.Scan(&id, &batch, &state, &quoted); err != nil {
			return err
		}
		p := s.people[id]
		if p == nil {
			p = &person{campaign: batches[batch].campaign}
			s.people[id] = p
		}
		if p.state == campaign.Accepted && state != campaign.Accepted {
			s.r.Fatalf("recipient %d was accepted, and is %s", id, state)
		}
		p.batch, p.state, p.carried, p.quoted = batch, state, false, campaign.Micros(quoted)
		if counts[batch] == nil {
			counts[batch] = &[8]int{}
		}
		counts[batch][state]++
		return nil
	})
	reserved := map[int64]campaign.Micros{}
	sought := map[int64]bool{}
	s.rows(`SELECT id, campaign_id, batch_id, state, reserved, members, unresolved FROM attempts`, func(r *sql.Rows) error {
		var (
			id               int64
			a                attempt
			members, openers []byte
		)
		if err := r.Scan(&id, &a.campaign, &a.batch, &a.state, &a.reserved, &members, &openers); err != nil {
			return err
		}
		a.members, a.open = runsOf(members), runsOf(openers)
		switch a.state {
		case 0:
			batches[a.batch].open++
			reserved[a.campaign] += campaign.Micros(a.reserved)
			for _, m := range a.members {
				if s.people[m].carried {
					s.r.Fatalf("recipient %d is carried by two open attempts", m)
				}
				s.people[m].carried = true
			}
		case 1, 3:
			for _, m := range a.open {
				reserved[a.campaign] += s.people[m].quoted
				sought[m] = true
			}
		}
		return nil
	})
	for id, b := range batches {
		if n := counts[id]; n != nil && *n != b.counts || n == nil && b.counts != [8]int{} {
			s.r.Fatalf("batch %d counts %v and has %v", id, b.counts, n)
		}
		switch {
		case (b.state == 1) != (b.open == 1) || b.open > 1:
			s.r.Fatalf("batch %d has state %d and %d open attempts", id, b.state, b.open)
		case b.state == 2 && b.counts[0] > 0 || b.state == 0 && b.counts[0] == 0:
			s.r.Fatalf("batch %d has state %d and %d pending", id, b.state, b.counts[0])
		}
	}
	for id, c := range campaigns {
		if c.reserved != reserved[id] {
			s.r.Fatalf("campaign %d has %s reserved; what is under way or unknown comes to %s", id, c.reserved, reserved[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.people)) {
		p := s.people[id]
		s.checkPerson(id, p, sought[id])
		if f := campaigns[p.campaign].state; f.Final() && (p.state == campaign.Pending || p.state == campaign.Unknown) {
			s.r.Fatalf("campaign %d is %s, and recipient %d %s", p.campaign, f, id, p.state)
		}
	}
	s.checkDuplicates()
}

// checkPerson holds what the ledger says of a recipient against the truth.
func (s *simulation) checkPerson(id int64, p *person, sought bool) {
	const known = "the ledger says that recipient %d is %s; the provider has accepted %d messages, and failed with %d"
	switch p.state {
	case campaign.Unknown:
		if !sought {
			s.r.Fatalf("recipient %d is unknown, and no attempt has it to find", id)
		}
	case campaign.Accepted:
		if p.messages == 0 {
			s.r.Fatalf(known, id, p.state, p.messages, p.failed)
		}
	case campaign.Delivered, campaign.Undelivered:
		s.r.Fatalf("recipient %d is %s", id, p.state)
	case campaign.Rejected:
		if p.messages > p.failed && s.lag <= modelSettle {
			s.r.Fatalf(known, id, p.state, p.messages, p.failed)
		}
	default:
		if p.messages > 0 && !p.carried && s.lag <= modelSettle {
			s.r.Fatalf(known, id, p.state, p.messages, p.failed)
		}
	}
}

// checkDuplicates demands that what is on record as a duplicate is one, and that
// it has stopped resends.
func (s *simulation) checkDuplicates() {
	n, most := 0, 0
	s.rows(`SELECT (SELECT count(*) FROM duplicates), EXISTS (SELECT 1 FROM channels WHERE stopped <> '')`, func(r *sql.Rows) error { return r.Scan(&n, &s.stopped) })
	for _, p := range s.people {
		most += max(p.messages-1, 0)
	}
	if n > most {
		s.r.Fatalf("%d duplicates are on record, and there are %d", n, most)
	}
	if n > s.duplicates && !s.stopped {
		s.r.Fatal("duplicates are on record, and resends go on")
	}
	s.duplicates = n
}

// checkEnd demands that everybody has come to their end, at the right price.
func (s *simulation) checkEnd() {
	least, most := map[int64]campaign.Micros{}, map[int64]campaign.Micros{}
	extra := 0
	for id, p := range s.people {
		good := p.messages - p.failed
		least[p.campaign] += modelPrice * campaign.Micros(good)
		most[p.campaign] += modelPrice * campaign.Micros(p.messages) // the answer had said so
		extra += max(good-1, 0)
		switch p.state {
		case campaign.Pending:
			s.r.Fatalf("recipient %d is pending in the end", id)
		case campaign.Unknown:
			if !s.ambiguous() {
				s.r.Fatalf("recipient %d is unknown in the end", id)
			}
		case campaign.Accepted:
		default:
			if good > 0 {
				s.r.Fatalf("recipient %d is %s in the end, and the provider has accepted %d messages", id, p.state, p.messages)
			}
		}
	}
	for _, id := range s.campaigns {
		c, err := s.l.Campaign(s.ctx, id)
		s.ok(err)
		if !s.ambiguous() && (c.Reserved != 0 || c.Spent < least[id]) || c.Spent > most[id] {
			s.r.Fatalf("campaign %d has spent %s and holds back %s in the end; its messages cost %s to %s", id, c.Spent, c.Reserved, least[id], most[id])
		}
	}
	if s.duplicates < extra { // of a message that failed later the answer had said that it was accepted
		s.r.Fatalf("%d duplicates are on record, and there are %d", s.duplicates, extra)
	}
}

// runsOf reads the ids of members, which the ledger stores as runs: the gap
// before each, and its length.
func runsOf(b []byte) []int64 {
	var (
		ids  []int64
		last int64
	)
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		length, m := binary.Uvarint(b[n:])
		b = b[n+m:]
		for range length {
			last += int64(gap)
			gap = 1
			ids = append(ids, last)
		}
	}
	return ids
}

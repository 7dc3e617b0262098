package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

const sendSMS = "POST /sms/send"

// sends is how many requests to send SMS the sandbox has had.
func (r *rig) sends() int64 { return r.sb.Stats().Endpoints[sendSMS].Requests }

func micros(r *rig, s string) campaign.Micros {
	r.t.Helper()
	m, err := campaign.ParseMicros(s)
	r.ok(err)
	return m
}

func TestACampaignGoesAllTheWay(t *testing.T) {
	for _, ch := range campaign.Channels() {
		for name, o := range map[string]setup{"embedded": {}, "servers": {redis: true, postgres: true}} {
			t.Run(fmt.Sprintf("%s/%s", ch, name), func(t *testing.T) {
				o.sandbox.RefuseRate, o.sandbox.RefusedWithID = 0.05, true
				r := newRig(t, o)
				const n = 1500
				c := r.begun(ch, n)
				r.work()
				c = r.becomes(c.ID, campaign.Completed)
				got, st := r.counts(c.ID), r.sb.Stats()
				if got.Total != n || int64(got.Accepted) != st.Accepted || int64(got.Rejected) != st.Refused || got.Rejected == 0 || got.Accepted+got.Rejected != n {
					t.Errorf("%+v; the sandbox accepted %d and refused %d", got, st.Accepted, st.Refused)
				}
				if want := micros(r, st.Charged); c.Spent != want || c.Reserved != 0 || c.Quoted <= c.Spent {
					t.Errorf("spent %s, reserved %s, quoted %s; the sandbox charged %s", c.Spent, c.Reserved, c.Quoted, want)
				}
				r.once(c.ID)
			})
		}
	}
}

func TestARateLimitedBatchLeavesLater(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 3500)
	r.sb.SetFaults(sandbox.Faults{TooMany: 1, Limit: 5, Endpoints: []string{sendSMS}})
	r.work()
	r.becomes(c.ID, campaign.Completed)
	r.equal(r.counts(c.ID), ledger.Counts{Total: 3500, Accepted: 3500})
	r.equal(r.sb.Stats().TooMany, int64(5))
	r.once(c.ID)
}

func TestAnAttemptWithoutAClearAnswerIsNeverSentAgain(t *testing.T) {
	for name, f := range map[string]sandbox.Faults{
		"reset after it was accepted":  {ResetAfter: 1},
		"reset before it was accepted": {ResetBefore: 1},
		"500 after it was accepted":    {Error500After: 1},
		"500 before it was accepted":   {Error500Before: 1},
		"503":                          {Error503: 1},
		"half an answer":               {CutJSON: 1},
		"no answer":                    {Hang: 1, HangFor: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{sender: func(s *jobs.Sender) {
				if f.Hang > 0 {
					s.HTTPTimeout = 2 * time.Second
				}
			}})
			c := r.begun(campaign.SMS, 2500)
			f.Limit, f.Endpoints = 1, []string{sendSMS}
			r.sb.SetFaults(f)
			r.work()
			r.until("nobody is left", func() bool { return r.counts(c.ID).Left() == 0 })
			got := r.counts(c.ID)
			if got.Unknown != 1000 && got.Unknown != 500 || got.Accepted+got.Unknown != 2500 {
				t.Errorf("%+v", got)
			}
			r.equal(r.campaign(c.ID).State, campaign.Sending)
			// A queue that forgets does not bring it back.
			r.flush()
			_, err := r.dispatcher().Sweep(r.ctx)
			r.ok(err)
			r.equal(len(r.dispatched(campaign.SMS)), 0)
			r.equal(r.sends(), int64(3))
			r.once(c.ID)
		})
	}
}

func TestRowsInAnotherDressFindTheirMessages(t *testing.T) {
	for name, c := range map[string]struct {
		faults sandbox.Faults
		all    bool
	}{
		"reordered":         {sandbox.Faults{Reordered: 1}, true},
		"without reference": {sandbox.Faults{NoReference: 1}, true},
		"some missing":      {sandbox.Faults{MissingRows: 1}, false},
		"all at once":       {sandbox.Faults{MissingRows: 1, NoReference: 1, Reordered: 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{})
			ca := r.begun(campaign.SMS, 200)
			c.faults.Endpoints = []string{sendSMS}
			r.sb.SetFaults(c.faults)
			r.work()
			r.until("nobody is left", func() bool { return r.counts(ca.ID).Left() == 0 })
			got := r.counts(ca.ID)
			if (got.Unknown == 0) != c.all || got.Accepted+got.Unknown != 200 {
				t.Errorf("%+v", got)
			}
			r.equal(r.sends(), int64(1))
			r.once(ca.ID)
		})
	}
}

func TestEveryStatusHasItsConsequence(t *testing.T) {
	r := newRig(t, setup{sender: func(s *jobs.Sender) { s.RefusalBrake = 0 }})
	statuses := []string{"SUCCESS", "INTERNAL_ERROR", "THROTTLED", "INVALID_RECIPIENT", "TOO_MANY_RECIPIENTS", "NEVER_HEARD_OF", ""}
	c := r.begun(campaign.SMS, len(statuses))
	r.front(func(w http.ResponseWriter, req *http.Request) {
		rec := httptest.NewRecorder()
		r.sb.ServeHTTP(rec, req)
		var answer map[string]any
		if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
			t.Error(err)
		}
		if strings.HasSuffix(req.URL.Path, "/sms/send") {
			for i, m := range answer["data"].(map[string]any)["messages"].([]any) {
				m.(map[string]any)["status"] = statuses[i]
			}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	})
	for _, d := range r.dispatched(campaign.SMS) {
		r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
	}
	r.equal(r.counts(c.ID), ledger.Counts{Total: 7, Accepted: 1, Unknown: 4, Rejected: 1, Pending: 1})
	var reasons []string
	r.ok(r.l.EachRecipient(r.ctx, c, func(row *ledger.ReportRow) error {
		reasons = append(reasons, row.State.String()+" "+row.Reason)
		return nil
	}))
	r.equal(reasons, []string{"accepted ", "unknown INTERNAL_ERROR", "unknown THROTTLED", "rejected INVALID_RECIPIENT", "unknown NEVER_HEARD_OF", "unknown ", "pending "})
	at, err := r.l.NextDue(r.ctx, c.ID)
	r.ok(err)
	if wait := time.Until(at); wait < 20*time.Second {
		t.Errorf("what passes is tried again after %s", wait)
	}
}

func TestWhatSurelyWasNotSentLeavesWhenTheProviderIsBack(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 1500)
	_, err := r.p.Identity(r.ctx)
	r.ok(err)
	addr := r.srv.Listener.Addr().String()
	r.srv.Close()
	r.work()
	r.until("both batches wait", func() bool {
		at, err := r.l.NextDue(r.ctx, c.ID)
		r.ok(err)
		return !at.IsZero() && r.counts(c.ID).Pending == 1500
	})
	listener, err := net.Listen("tcp", addr)
	r.ok(err)
	back := &httptest.Server{Listener: listener, Config: &http.Server{Handler: r.sb}}
	back.Start()
	t.Cleanup(back.Close)
	r.becomes(c.ID, campaign.Completed)
	r.equal(r.counts(c.ID), ledger.Counts{Total: 1500, Accepted: 1500})
	r.once(c.ID)
}

func TestARefusedRequestIsHalvedUntilTheCulpritsStandAlone(t *testing.T) {
	for name, status := range map[string]int{"BAD_REQUEST": 400, "TOO_LARGE": 413} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{})
			c := r.begun(campaign.SMS, 40)
			r.front(func(w http.ResponseWriter, req *http.Request) {
				body, err := io.ReadAll(req.Body)
				if err != nil {
					t.Error(err)
				}
				req.Body = io.NopCloser(bytes.NewReader(body))
				if strings.HasSuffix(req.URL.Path, "/send") && (bytes.Contains(body, []byte(phone(7))) || bytes.Contains(body, []byte(phone(31)))) {
					w.WriteHeader(status)
					return
				}
				r.sb.ServeHTTP(w, req)
			})
			r.work()
			r.becomes(c.ID, campaign.Completed)
			r.equal(r.counts(c.ID), ledger.Counts{Total: 40, Accepted: 38, Rejected: 2})
			reasons, err := r.l.CountReasons(r.ctx, c.ID)
			r.ok(err)
			r.equal(reasons, map[campaign.RecipientState]map[string]int{campaign.Rejected: {name: 2}})
			r.once(c.ID)
		})
	}
}

func TestNothingIsSentUnderAnotherAccount(t *testing.T) {
	for name, other := range map[string]func(ledger.Provider) ledger.Provider{
		"another user":     func(p ledger.Provider) ledger.Provider { p.User = "999"; return p },
		"another base URL": func(p ledger.Provider) ledger.Provider { p.URL = "https://elsewhere.example/v3"; return p },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{})
			c := r.begun(campaign.SMS, 10, func(n *ledger.NewCampaign) { n.Provider = other(n.Provider) })
			r.work()
			c = r.becomes(c.ID, campaign.Paused)
			if !strings.HasPrefix(c.Reason, "account: ") {
				t.Errorf("paused because %q", c.Reason)
			}
			r.equal(r.counts(c.ID), ledger.Counts{Total: 10, Pending: 10})
			r.equal(r.sends(), int64(0))
		})
	}
}

func TestRefusedCredentialsPauseUntilTheyAreMended(t *testing.T) {
	for name, path := range map[string]string{"at the account": "/v3/account", "at the send": "/v3/sms/send"} {
		for _, status := range []int{401, 403} {
			t.Run(fmt.Sprintf("%d %s", status, name), func(t *testing.T) {
				r := newRig(t, setup{})
				c := r.begun(campaign.SMS, 10)
				r.front(func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Path == path {
						w.WriteHeader(status)
						return
					}
					r.sb.ServeHTTP(w, req)
				})
				r.work()
				c = r.becomes(c.ID, campaign.Paused)
				if want := map[int]string{401: "credentials: ", 403: "account: "}[status]; !strings.HasPrefix(c.Reason, want) {
					t.Errorf("paused because %q", c.Reason)
				}
				r.equal(r.counts(c.ID), ledger.Counts{Total: 10, Pending: 10})
				r.front(nil)
				r.ok(r.l.Resume(r.ctx, c.ID, "test"))
				r.becomes(c.ID, campaign.Completed)
				r.once(c.ID)
			})
		}
	}
}

func TestCreditThatRunsOutPausesAndATopUpGoesOn(t *testing.T) {
	r := newRig(t, setup{sandbox: sandbox.Options{Balance: "70.00"}})
	c := r.begun(campaign.SMS, 2500)
	r.work()
	c = r.becomes(c.ID, campaign.Paused)
	if !strings.HasPrefix(c.Reason, "credit: ") {
		t.Errorf("paused because %q", c.Reason)
	}
	r.until("nothing is in flight", func() bool { return r.counts(c.ID).InFlight == 0 })
	before := r.counts(c.ID)
	r.equal(int64(before.Accepted), r.sb.Stats().Accepted)
	if before.Accepted == 0 || before.Accepted+before.Pending != 2500 {
		t.Errorf("%+v", before)
	}
	rich := sandbox.New(sandbox.Options{Throttle: -1}) // the same account with money
	r.front(rich.ServeHTTP)
	r.ok(r.l.Resume(r.ctx, c.ID, "test"))
	r.becomes(c.ID, campaign.Completed)
	r.equal(r.counts(c.ID), ledger.Counts{Total: 2500, Accepted: 2500})
	r.equal(len(r.accepted(r.sb, rich)), 2500)
}

// gate holds every send at the provider's door until it is opened.
type gate struct {
	arrived chan struct{}
	open    chan struct{}
	once    sync.Once
}

func (r *rig) gate() *gate {
	g := &gate{arrived: make(chan struct{}, 1000), open: make(chan struct{})}
	r.front(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/send") {
			g.arrived <- struct{}{}
			<-g.open
		}
		r.sb.ServeHTTP(w, req)
	})
	r.t.Cleanup(g.release)
	return g
}

func (g *gate) release() { g.once.Do(func() { close(g.open) }) }

func TestAPauseHoldsBackWhatHasNotLeft(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 8000)
	g := r.gate()
	r.work()
	<-g.arrived
	r.ok(r.l.MoveCampaign(r.ctx, c.ID, ledger.Move{To: campaign.Paused, Actor: "test"}))
	g.release()
	r.until("what was in flight is recorded", func() bool { return r.counts(c.ID).InFlight == 0 })
	left := r.counts(c.ID)
	if left.Pending == 0 || left.Accepted == 0 || int64(left.Accepted) != r.sb.Stats().Accepted {
		t.Errorf("%+v", left)
	}
	sends := r.sends()
	for range 3 {
		_, err := r.dispatcher().Sweep(r.ctx)
		r.ok(err)
	}
	r.equal(r.sends(), sends)
	r.equal(r.counts(c.ID), left)
	r.ok(r.l.Resume(r.ctx, c.ID, "test"))
	r.becomes(c.ID, campaign.Completed)
	r.equal(r.counts(c.ID), ledger.Counts{Total: 8000, Accepted: 8000})
	r.once(c.ID)
}

func TestACancelWithdrawsWhatHasNotLeft(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 8000)
	g := r.gate()
	r.work()
	<-g.arrived
	r.ok(r.l.Cancel(r.ctx, c.ID, "test", "enough"))
	r.equal(r.campaign(c.ID).State, campaign.Cancelling)
	g.release()
	r.becomes(c.ID, campaign.Cancelled)
	got := r.counts(c.ID)
	if got.Accepted == 0 || got.Cancelled == 0 || got.Accepted+got.Cancelled != 8000 {
		t.Errorf("%+v", got)
	}
	r.once(c.ID)
}

func TestAQueueThatLosesItsMemoryLosesNobody(t *testing.T) {
	for name, o := range map[string]setup{"embedded": {}, "redis": {redis: true}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			c := r.begun(campaign.SMS, 20_000)
			var posts atomic.Int64
			r.front(func(w http.ResponseWriter, req *http.Request) {
				if n := posts.Add(1); n%5 == 3 {
					r.flush()
				}
				r.sb.ServeHTTP(w, req)
			})
			r.work()
			r.becomes(c.ID, campaign.Completed)
			r.equal(r.counts(c.ID), ledger.Counts{Total: 20_000, Accepted: 20_000})
			r.equal(r.sends(), int64(20))
			r.once(c.ID)
		})
	}
}

func TestATaskThatIsHandedOutTwiceIsPostedOnce(t *testing.T) {
	for name, o := range map[string]setup{"sqlite": {}, "postgres": {postgres: true}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			c := r.begun(campaign.SMS, 5000)
			var g errgroup.Group
			for _, d := range r.dispatched(campaign.SMS) {
				for i := range 4 {
					s := *r.sender
					s.Name = fmt.Sprint("worker ", i%2) // two of them bear the same name
					g.Go(func() error { return s.Send(r.ctx, d.Batch, d.Number) })
				}
			}
			r.ok(g.Wait())
			r.equal(r.sends(), int64(5))
			r.equal(r.campaign(c.ID).State, campaign.Completed)
			r.once(c.ID)
		})
	}
}

func TestAPostThatIsHeldUpIsNotMade(t *testing.T) {
	var held atomic.Bool
	r := newRig(t, setup{sender: func(s *jobs.Sender) {
		s.BeforePost = func() {
			if held.CompareAndSwap(false, true) {
				time.Sleep(1100 * time.Millisecond)
			}
		}
	}})
	c := r.begun(campaign.SMS, 10)
	d := r.dispatched(campaign.SMS)[0]
	r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
	r.equal(r.sends(), int64(0))
	r.equal(r.counts(c.ID), ledger.Counts{Total: 10, Pending: 10})
	r.work()
	r.becomes(c.ID, campaign.Completed)
	r.equal(r.sends(), int64(1))
	r.once(c.ID)
}

func TestWhoOptsOutBeforeTheBatchLeavesIsNotInIt(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 5)
	r.ok(r.l.OptOut(r.ctx, phone(2), "reply", "STOP"))
	d := r.dispatched(campaign.SMS)[0]
	r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
	r.equal(r.counts(c.ID), ledger.Counts{Total: 5, Accepted: 4, Suppressed: 1})
	r.once(c.ID)
}

func TestAWorkerThatStopsRecordsWhatIsInFlight(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 8000)
	g := r.gate()
	w := r.work()
	for range 4 {
		<-g.arrived
	}
	stopped := make(chan struct{})
	go func() {
		w.Shutdown()
		close(stopped)
	}()
	select {
	case <-stopped:
		t.Fatal("it stopped while posts were in flight")
	case <-time.After(100 * time.Millisecond):
	}
	g.release()
	select {
	case <-stopped:
	case <-time.After(30 * time.Second):
		t.Fatal("it does not stop")
	}
	got := r.counts(c.ID)
	if got.InFlight != 0 || got.Unknown != 0 || got.Accepted != 4000 || got.Pending != 4000 {
		t.Errorf("%+v", got)
	}
	r.once(c.ID)
}

func TestABatchThatWaitsGoesBackWhenItsWorkerStops(t *testing.T) {
	r := newRig(t, setup{rate: 0.01, sender: func(s *jobs.Sender) { s.Patience = time.Hour }})
	c := r.begunUnpriced(campaign.MMS, 10)
	r.ok(r.p.Wait(r.ctx, "POST /mms/send", 1)) // takes the budget of the next 100 s
	uploaded := make(chan struct{}, 9)
	r.front(func(w http.ResponseWriter, req *http.Request) {
		r.sb.ServeHTTP(w, req)
		if strings.HasSuffix(req.URL.Path, "/uploads") {
			uploaded <- struct{}{}
		}
	})
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	done := make(chan error, 1)
	d := r.dispatched(campaign.MMS)[0]
	go func() { done <- r.sender.Send(ctx, d.Batch, d.Number) }()
	<-uploaded // all it waits for now is the budget
	cancel()
	r.ok(<-done)
	r.equal(r.counts(c.ID), ledger.Counts{Total: 10, Pending: 10})
	r.equal(len(r.dispatched(campaign.MMS)), 1) // at once, for another worker
	r.equal(r.sb.Stats().Accepted, int64(0))
}

// begunUnpriced is begun without asking for prices.
func (r *rig) begunUnpriced(ch campaign.Channel, n int) *ledger.Campaign {
	r.t.Helper()
	c := r.planned(r.content(ch), n)
	_, err := jobs.SkipQuote(r.ctx, r.l, c, "test")
	r.ok(err)
	r.ok(r.l.Approve(r.ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
	return r.campaign(c.ID)
}

func TestABatchWithoutABudgetWaitsInTheLedger(t *testing.T) {
	r := newRig(t, setup{rate: 0.01, sender: func(s *jobs.Sender) { s.Patience = 9 * time.Second }})
	c := r.begunUnpriced(campaign.SMS, 2000)
	for _, d := range r.dispatched(campaign.SMS) {
		r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
	}
	r.equal(r.sends(), int64(1))
	r.equal(r.counts(c.ID), ledger.Counts{Total: 2000, Accepted: 1000, Pending: 1000})
	at, err := r.l.NextDue(r.ctx, c.ID)
	r.ok(err)
	if wait := time.Until(at); wait < 10*time.Second || wait > time.Minute {
		t.Errorf("it waits %s", wait)
	}
	r.equal(len(r.dispatched(campaign.SMS)), 0)
}

// ledgerClock stands ahead of the real one by what it was moved.
type ledgerClock struct{ ahead atomic.Int64 }

func (c *ledgerClock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *ledgerClock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func TestAWorkerThatLostItsLeaseSendsNothing(t *testing.T) {
	clock := &ledgerClock{}
	r := newRig(t, setup{clock: clock.now})
	c := r.begunUnpriced(campaign.MMS, 10)
	arrived, open := make(chan struct{}, 9), make(chan struct{})
	release := sync.OnceFunc(func() { close(open) })
	t.Cleanup(release)
	var first atomic.Bool
	r.front(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/uploads") && first.CompareAndSwap(false, true) {
			arrived <- struct{}{}
			<-open
		}
		r.sb.ServeHTTP(w, req)
	})
	d := r.dispatched(campaign.MMS)[0]
	slow := make(chan error, 1)
	go func() { slow <- r.sender.Send(r.ctx, d.Batch, d.Number) }()
	<-arrived
	clock.advance(16 * time.Second) // its lease has run out, and it does not know
	again := r.dispatched(campaign.MMS)
	r.equal(len(again), 1)
	quick := *r.sender
	quick.Name, quick.Provider = "another", r.provider(setup{key: sandbox.DefaultAPIKey, rate: -1})
	r.ok(quick.Send(r.ctx, again[0].Batch, again[0].Number))
	release()
	r.ok(<-slow)
	r.equal(r.campaign(c.ID).State, campaign.Completed)
	r.equal(r.sb.Stats().Endpoints["POST /mms/send"].Requests, int64(1))
	r.once(c.ID)
}

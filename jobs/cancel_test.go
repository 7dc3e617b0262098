package jobs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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
)

// canceller is one with the rig's settling time.
func (r *rig) canceller() *jobs.Canceller {
	return &jobs.Canceller{Ledger: r.l, Provider: r.p, Log: r.log, Name: "worker", Settle: r.settle, Lease: time.Second, MaxPause: time.Second}
}

// heldUntil makes a campaign of n that the provider is to hold until then,
// started.
func (r *rig) heldUntil(ch campaign.Channel, n int, at time.Time) *ledger.Campaign {
	r.t.Helper()
	content := r.content(ch)
	content.Schedule = at.Unix()
	c := r.quoted(content, n)
	r.ok(r.l.Approve(r.ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
	return r.campaign(c.ID)
}

// refunded demands that the sandbox has cancelled as many of a channel as the
// ledger, and charges what the ledger has spent.
func (r *rig) refunded(id int64) {
	r.t.Helper()
	c, n := r.campaign(id), r.counts(id)
	st := r.sb.Stats()
	ch := st.Channels[string(c.Channel)]
	charged, err := campaign.ParseMicros(ch.Charged)
	r.ok(err)
	refunded, err := campaign.ParseMicros(ch.Refunded)
	r.ok(err)
	r.equal([]any{int(ch.Cancelled), charged - refunded, st.CancelAllBare}, []any{n.Cancelled, c.Spent, int64(0)})
}

func TestWhatTheProviderHoldsIsCancelledAndRefunded(t *testing.T) {
	t.Parallel()
	for _, ch := range []campaign.Channel{campaign.SMS, campaign.Letter, campaign.Postcard} {
		t.Run(string(ch), func(t *testing.T) {
			r := newRig(t, setup{})
			r.settle = 200 * time.Millisecond
			r.work()
			c := r.heldUntil(ch, 250, time.Now().Add(time.Hour))
			r.becomes(c.ID, campaign.Completed)
			r.equal(r.counts(c.ID).Held, 250)
			before := r.campaign(c.ID).Spent
			r.ok(r.l.Cancel(r.ctx, c.ID, "test", "a wrong price"))
			c = r.becomes(c.ID, campaign.Cancelled)
			r.equal([]any{r.counts(c.ID).Cancelled, c.Spent, c.Reason}, []any{250, campaign.Micros(0), "a wrong price"})
			if before == 0 {
				t.Error("nothing was charged before")
			}
			r.refunded(c.ID)
			_, all := r.audit(c.ID, 0)
			r.equal(all, []string(nil))
		})
	}
}

// An answer that is lost says nothing: the message may be cancelled or not. It is
// asked for again, the provider says no, and its history says why.
func TestCancelsWhoseAnswerWasLostAreAskedForAgain(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]sandbox.Faults{
		"carried out": {ResetAfter: 0.3}, "not carried out": {ResetBefore: 0.3}, "busy": {TooMany: 0.2}, "broken": {Error503: 0.3},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{})
			r.settle = 100 * time.Millisecond
			r.work()
			c := r.heldUntil(campaign.SMS, 60, time.Now().Add(time.Hour))
			r.becomes(c.ID, campaign.Completed)
			faults.Endpoints = []string{"PUT /sms/{message_id}/cancel"}
			r.sb.SetFaults(faults)
			r.ok(r.l.Cancel(r.ctx, c.ID, "test", ""))
			r.becomes(c.ID, campaign.Cancelled)
			r.equal(r.counts(c.ID), ledger.Counts{Total: 60, Cancelled: 60})
			r.refunded(c.ID)
		})
	}
}

// Messages whose hour comes while they are being cancelled end as too late, with
// the provider's word.
func TestWhatHasLeftIsTooLate(t *testing.T) {
	t.Parallel()
	for _, ch := range []campaign.Channel{campaign.SMS, campaign.Postcard} {
		t.Run(string(ch), func(t *testing.T) {
			var off atomic.Int64 // of the provider's clock
			r := newRig(t, setup{sandbox: sandbox.Options{Clock: func() time.Time { return time.Now().Add(time.Duration(off.Load())) }}})
			r.settle = 100 * time.Millisecond
			r.work()
			c := r.heldUntil(ch, 40, time.Now().Add(time.Hour))
			r.becomes(c.ID, campaign.Completed)
			var cancels atomic.Int64
			r.front(func(rw http.ResponseWriter, req *http.Request) {
				if strings.HasSuffix(req.URL.Path, "/cancel") && cancels.Add(1) == 20 {
					off.Store(int64(2 * time.Hour))
				}
				r.sb.ServeHTTP(rw, req)
			})
			r.ok(r.l.Cancel(r.ctx, c.ID, "test", ""))
			r.becomes(c.ID, campaign.Cancelled)
			n := r.counts(c.ID)
			if n.Cancelled < 10 || n.Cancelled > 20 || n.TooLate != 40-n.Cancelled || n.Accepted != n.TooLate {
				t.Errorf("%+v, want 10 to 20 cancelled and the rest too late", n)
			}
			r.ok(r.l.EachRecipient(r.ctx, r.campaign(c.ID), func(row *ledger.ReportRow) error {
				if row.State == campaign.Accepted && !strings.HasPrefix(row.Reason, campaign.TooLate+"the provider's history says ") {
					return fmt.Errorf("recipient %d was too late: %q", row.Recipient, row.Reason)
				}
				return nil
			}))
			r.refunded(c.ID)
			_, all := r.audit(c.ID, 0)
			r.equal(all, []string(nil))
		})
	}
}

// Whoever is unknown when the campaign is cancelled is found out first, and then
// cancelled at the provider.
func TestTheUnknownAreFoundOutAndCancelled(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]sandbox.Faults{"held": {ResetAfter: 1, Limit: 1}, "absent": {ResetBefore: 1, Limit: 1}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{})
			// A look settles nothing about what is held before its hour; what it
			// shows counts at once.
			r.settle = 300 * time.Millisecond
			faults.Endpoints = []string{"POST /sms/send"}
			r.sb.SetFaults(faults)
			c := r.heldUntil(campaign.SMS, 30, time.Now().Add(3*time.Second))
			for _, d := range r.dispatched(campaign.SMS) {
				r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
			}
			r.equal(r.counts(c.ID).Unknown, 30)
			r.ok(r.l.Cancel(r.ctx, c.ID, "test", ""))
			r.equal(r.campaign(c.ID).State, campaign.Cancelling)
			r.work()
			r.becomes(c.ID, campaign.Cancelled)
			n := r.counts(c.ID)
			if n.Cancelled+n.TooLate != 30 || name == "absent" && n.Cancelled != 30 {
				t.Errorf("%+v", n)
			}
			charged, err := campaign.ParseMicros(r.sb.Stats().Channels["sms"].Charged)
			r.ok(err)
			refunded, err := campaign.ParseMicros(r.sb.Stats().Channels["sms"].Refunded)
			r.ok(err)
			r.equal(r.campaign(c.ID).Spent, charged-refunded)
		})
	}
}

// A worker whose account is refused cancels nothing, and says why; when it is
// mended, the cancelling goes on.
func TestARefusedAccountWaitsWithItsReason(t *testing.T) {
	r := newRig(t, setup{})
	r.settle = 100 * time.Millisecond
	r.work()
	c := r.heldUntil(campaign.SMS, 20, time.Now().Add(time.Hour))
	r.becomes(c.ID, campaign.Completed)
	var mu sync.Mutex
	refuse := true
	r.front(func(rw http.ResponseWriter, req *http.Request) {
		mu.Lock()
		no := refuse && strings.HasSuffix(req.URL.Path, "/cancel")
		mu.Unlock()
		if no {
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(http.StatusForbidden)
			fmt.Fprint(rw, `{"http_code":403,"response_code":"FORBIDDEN","response_msg":"Not yours.","data":null}`) //nolint:errcheck // a test
			return
		}
		r.sb.ServeHTTP(rw, req)
	})
	r.ok(r.l.Cancel(r.ctx, c.ID, "test", ""))
	r.until("the reason is on record", func() bool {
		problem, err := r.l.CancelProblem(r.ctx, c.ID)
		r.ok(err)
		return strings.Contains(problem, "403")
	})
	r.equal([]any{r.campaign(c.ID).State, r.counts(c.ID).Held}, []any{campaign.Cancelling, 20})
	mu.Lock()
	refuse = false
	mu.Unlock()
	r.becomes(c.ID, campaign.Cancelled)
	r.refunded(c.ID)
}

// Messages that the provider does not know are too late, with its word.
func TestWhatTheProviderDoesNotKnowIsTooLate(t *testing.T) {
	r := newRig(t, setup{})
	r.settle = 100 * time.Millisecond
	r.work()
	c := r.heldUntil(campaign.SMS, 3, time.Now().Add(time.Hour))
	r.becomes(c.ID, campaign.Completed)
	r.sb.Reset()
	r.ok(r.l.Cancel(r.ctx, c.ID, "test", ""))
	r.becomes(c.ID, campaign.Cancelled)
	r.equal(r.counts(c.ID), ledger.Counts{Total: 3, Accepted: 3, TooLate: 3})
}

// Several workers at once share the work; nobody is asked for twice but for what
// was given back.
func TestManyWorkersCancelTogether(t *testing.T) {
	r := newRig(t, setup{})
	r.settle = 100 * time.Millisecond
	c := r.heldUntil(campaign.SMS, 3000, time.Now().Add(time.Hour))
	for _, d := range r.dispatched(campaign.SMS) {
		r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
	}
	r.ok(r.l.Cancel(r.ctx, c.ID, "test", ""))
	// On a busy machine leases end under a worker, and what it had is given back.
	for round := 0; round < 20 && r.campaign(c.ID).State != campaign.Cancelled; round++ {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := r.canceller().Cancel(r.ctx, ledger.LookDue{Provider: r.account, Channel: campaign.SMS}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	r.equal(r.campaign(c.ID).State, campaign.Cancelled)
	r.equal(r.counts(c.ID), ledger.Counts{Total: 3000, Cancelled: 3000})
	if n := r.sb.Stats().Endpoints["PUT /sms/{message_id}/cancel"].Requests; n < 3000 || n > 3600 {
		t.Errorf("%d cancels were asked for, want 3,000 and a few again", n)
	}
	r.refunded(c.ID)
}

// Answers without a message id are cancelled all the same: history tells it.
func TestAMessageWithoutAnIDIsFoundInHistoryAndCancelled(t *testing.T) {
	r := newRig(t, setup{})
	r.settle = 100 * time.Millisecond
	r.work()
	r.front(func(rw http.ResponseWriter, req *http.Request) {
		if !strings.HasSuffix(req.URL.Path, "/sms/send") {
			r.sb.ServeHTTP(rw, req)
			return
		}
		rec := httptest.NewRecorder()
		r.sb.ServeHTTP(rec, req)
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(rec.Code)
		rw.Write([]byte(strings.ReplaceAll(rec.Body.String(), `"message_id"`, `"message_id_"`))) //nolint:errcheck // the client has gone
	})
	c := r.heldUntil(campaign.SMS, 5, time.Now().Add(time.Hour))
	r.becomes(c.ID, campaign.Completed)
	r.ok(r.l.Cancel(r.ctx, c.ID, "test", ""))
	r.becomes(c.ID, campaign.Cancelled)
	r.equal(r.counts(c.ID), ledger.Counts{Total: 5, Cancelled: 5})
	r.refunded(c.ID)
}

// Of two messages of one recipient the provider cancels one, and the other is gone:
// unknown to it when it is asked, or failed by its history. Only the one that was
// cancelled is refunded.
func TestOfTwoMessagesOnlyTheOneThatWasCancelledIsRefunded(t *testing.T) {
	for name, gone := range map[string]struct {
		code   int    // the answer to the cancelling of the gone message
		status string // of it in history
	}{"unknown": {404, "Scheduled"}, "failed": {400, "Failed"}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{})
			r.settle = 100 * time.Millisecond
			c := r.heldUntil(campaign.SMS, 1, time.Now().Add(time.Hour))
			r.sb.SetFaults(sandbox.Faults{ResetAfter: 1, Limit: 1, Endpoints: []string{sendRoute(campaign.SMS)}})
			send := func() {
				for _, d := range r.dispatched(campaign.SMS) {
					r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
				}
			}
			send()
			r.equal(r.counts(c.ID).Unknown, 1)
			_, err := r.l.Assume(r.ctx, c.ID, 0, false, "test")
			r.ok(err)
			send()
			r.equal(r.counts(c.ID).Accepted, 1)
			price := r.campaign(c.ID).Spent
			// The first message turns up.
			now := time.Now()
			_, err = r.p.History(r.ctx, campaign.SMS, []jobs.Window{{From: now.Add(-time.Hour), To: now.Add(2 * time.Hour)}}, func(page []clicksend.Record) error {
				for _, rec := range page {
					if ref, ours := r.l.ParseReference(rec.CustomString); ours && ref.Attempt == 1 {
						o := ledger.Outcome{Recipient: ref.Recipient, State: campaign.Accepted, ProviderID: strings.Clone(rec.MessageID), Status: "Scheduled", Price: price, Parts: 1}
						n, err := r.l.ApplyEvidence(r.ctx, ledger.FromHistory, []ledger.Finding{{Attempt: 1, Outcome: o}})
						r.ok(err)
						r.equal(n, ledger.Applied{Late: 1, Duplicates: 1})
					}
				}
				return nil
			})
			r.ok(err)
			r.equal(r.campaign(c.ID).Spent, 2*price)
			r.ok(r.l.Cancel(r.ctx, c.ID, "test", ""))
			k, err := r.l.ClaimCancels(r.ctx, ledger.ClaimQuery{LookDue: ledger.LookDue{Provider: r.account, Channel: campaign.SMS}, Most: 1, Lease: time.Millisecond, By: "a look"})
			r.ok(err)
			r.equal(len(k.Held[0].Messages), 2)
			time.Sleep(10 * time.Millisecond) // the claim is over
			lost := k.Held[0].Messages[0]
			if lost.Number != 1 {
				lost = k.Held[0].Messages[1]
			}
			r.front(func(rw http.ResponseWriter, req *http.Request) {
				switch {
				case strings.HasSuffix(req.URL.Path, "/"+lost.ProviderID+"/cancel"):
					rw.Header().Set("Content-Type", "application/json")
					rw.WriteHeader(gone.code)
					fmt.Fprintf(rw, `{"http_code":%d,"response_code":"NO","response_msg":"No.","data":null}`, gone.code) //nolint:errcheck // a test
				case strings.HasSuffix(req.URL.Path, "/history"):
					rec := httptest.NewRecorder()
					r.sb.ServeHTTP(rec, req)
					rows := strings.Split(rec.Body.String(), `{"direction"`)
					for i, row := range rows {
						if strings.Contains(row, lost.ProviderID) {
							rows[i] = strings.Replace(row, `"status":"Scheduled"`, `"status":"`+gone.status+`"`, 1)
						}
					}
					rw.Header().Set("Content-Type", "application/json")
					rw.WriteHeader(rec.Code)
					rw.Write([]byte(strings.Join(rows, `{"direction"`))) //nolint:errcheck // the client has gone
				default:
					r.sb.ServeHTTP(rw, req)
				}
			})
			r.until("the campaign is cancelled", func() bool {
				r.ok(r.canceller().Cancel(r.ctx, ledger.LookDue{Provider: r.account, Channel: campaign.SMS}))
				return r.campaign(c.ID).State == campaign.Cancelled
			})
			r.equal([]any{r.counts(c.ID).Cancelled, r.campaign(c.ID).Spent, price > 0}, []any{1, price, true})
		})
	}
}

package jobs_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ratelimit"
)

// sendAll sends what is due once.
func (r *rig) sendAll(ch campaign.Channel) {
	r.t.Helper()
	for _, d := range r.dispatched(ch) {
		r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
	}
}

func TestTooLittleCreditPausesBeforeAnybodyIsRefused(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 4000) // 56.60 a batch
	r.sb.SetBalance(sandbox.Balance{Balance: "120.00"})
	r.sendAll(campaign.SMS)
	c = r.campaign(c.ID)
	r.equal([]any{c.State, strings.HasPrefix(c.Reason, "credit: "), r.counts(c.ID).Accepted, r.sb.Stats().Refused}, []any{campaign.Paused, true, 2000, int64(0)})

	for round, balance := range []string{"20.00", "60.00"} {
		before := r.sb.Stats()
		r.sb.SetBalance(sandbox.Balance{Balance: balance})
		r.ok(r.l.Resume(r.ctx, c.ID, "test"))
		r.fresh()
		r.sendAll(campaign.SMS)
		c = r.campaign(c.ID)
		r.equal(c.State, campaign.Paused)
		for _, word := range []string{"credit: ", "AUD left", "quoted at 5", "top it up, then resume"} {
			if !strings.Contains(c.Reason, word) {
				t.Errorf("round %d: the reason %q does not say %q", round, c.Reason, word)
			}
		}
		after := r.sb.Stats()
		r.equal(after.Refused-before.Refused, int64(0))
	}
	r.sb.SetBalance(sandbox.Balance{Balance: "500.00"})
	r.ok(r.l.Resume(r.ctx, c.ID, "test"))
	r.sendAll(campaign.SMS)
	r.becomes(c.ID, campaign.Completed)
	r.once(c.ID)
}

// fresh is another process with the same account, which knows no balance.
func (r *rig) fresh() {
	r.t.Helper()
	r.p = r.provider(setup{key: sandbox.DefaultAPIKey, rate: ratelimit.Unlimited})
	r.sender.Provider = r.p
}

func TestAnAccountThatRechargesByItselfIsNotHeldBack(t *testing.T) {
	r := newRig(t, setup{})
	r.sb.SetBalance(sandbox.Balance{Balance: "1.00", AutoRecharge: true})
	_, err := r.p.Account(r.ctx)
	r.ok(err)
	for range 3 {
		ok, _ := r.p.Affords(r.ctx, 5*campaign.MicrosPerUnit)
		r.equal(ok, true)
	}
	r.equal(r.sb.Stats().Endpoints["GET /account"].Requests, int64(1))
}

func TestTheBalanceIsReadSeldomAndBeforeANo(t *testing.T) {
	var now atomic.Int64
	r := newRig(t, setup{config: func(c *jobs.ProviderConfig) {
		c.Now = func() time.Time { return time.Unix(1_800_000_000+now.Load(), 0) }
	}})
	r.sb.SetBalance(sandbox.Balance{Balance: "10.00"})
	reads := func() int64 { return r.sb.Stats().Endpoints["GET /account"].Requests }
	affords := func(want bool, cost campaign.Micros) {
		t.Helper()
		ok, _ := r.p.Affords(r.ctx, cost*campaign.MicrosPerUnit)
		r.equal(ok, want)
	}
	affords(true, 4)
	affords(true, 4)
	r.equal(reads(), int64(1))
	affords(true, 4) // as far as is known it is gone; the provider says that it is not
	r.equal(reads(), int64(2))
	affords(false, 11)
	r.equal(reads(), int64(3))
	now.Add(31)
	affords(true, 1)
	r.equal(reads(), int64(4))
	// A provider that does not tell holds nobody up, and is not asked again soon.
	r.front(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	now.Add(31)
	affords(true, 100)
	r.front(nil)
	affords(true, 100)
	r.equal(reads(), int64(4))
	affords(true, 0)
	now.Add(31)
	affords(false, 100)
}

func TestAPriceAboveTheQuotedOnePausesAndGoesOnOnceAgreedTo(t *testing.T) {
	for _, ch := range campaign.Channels() {
		t.Run(string(ch), func(t *testing.T) {
			r := newRig(t, setup{})
			c := r.begun(ch, 3000)
			r.sb.SetFaults(sandbox.Faults{PriceFactor: 1.1, Endpoints: []string{"POST /sms/send", "POST /mms/send", "POST /post/letters/send", "POST /post/postcards/send"}})
			due := r.dispatched(ch)
			r.ok(r.sender.Send(r.ctx, due[0].Batch, due[0].Number))
			paused := r.campaign(c.ID)
			if paused.State != campaign.Paused || !strings.HasPrefix(paused.Reason, "price: the provider charged ") || !strings.Contains(paused.Reason, "1000 messages") {
				t.Fatalf("%s: %q", paused.State, paused.Reason)
			}
			r.equal(paused.Overspent, paused.Spent-c.Quoted/3)
			r.ok(r.sender.Send(r.ctx, due[1].Batch, due[1].Number)) // nothing more leaves
			r.equal(r.counts(c.ID).Accepted, 1000)
			r.ok(r.l.Resume(r.ctx, c.ID, "ann"))
			r.sendAll(ch)
			c = r.becomes(c.ID, campaign.Completed)
			r.equal([]any{c.Spent, c.Overspent, c.Dearer}, []any{micros(r, r.sb.Stats().Charged), c.Spent - c.Quoted, 3000})
			r.once(c.ID)
		})
	}
}

func TestAfterAgreeingAFurtherRisePausesAgain(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 3000)
	for _, factor := range []float64{1.1, 1.2} {
		r.sb.SetFaults(sandbox.Faults{PriceFactor: factor})
		d := r.dispatched(campaign.SMS)[0]
		r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
		r.equal(r.campaign(c.ID).State, campaign.Paused)
		r.ok(r.l.Resume(r.ctx, c.ID, "ann"))
	}
	events, err := r.l.Events(r.ctx, c.ID)
	r.ok(err)
	n := 0
	for _, e := range events {
		if strings.HasPrefix(e.Reason, "price: ") {
			n++
		}
	}
	r.equal(n, 2)
}

package jobs_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/scheduler"
)

// race runs n workers, each with a ledger, a provider and a sender of its own,
// as n processes have, until the returned function is called.
func (r *rig) race(n int) (stop func()) {
	r.t.Helper()
	var ends []func()
	for i := range n {
		l, err := ledger.Open(r.ctx, r.target, ledger.Options{})
		r.ok(err)
		p := r.provider(setup{key: sandbox.DefaultAPIKey, rate: ratelimit.Unlimited})
		s := &jobs.Sender{Ledger: l, Provider: p, Log: r.log, Name: fmt.Sprintf("worker %d", i), RefusalBrake: 0.2}
		w := &jobs.Worker{Sender: s, Redis: r.rdb, Log: r.log, Concurrency: map[campaign.Channel]int{campaign.SMS: 2}}
		r.ok(w.Start(r.ctx))
		ends = append(ends, func() { w.Shutdown(); r.ok(l.Close()) })
	}
	b := &scheduler.Beat{Dispatcher: r.dispatcher(), Log: r.log, Every: 20 * time.Millisecond}
	b.Start()
	stop = sync.OnceFunc(func() {
		b.Shutdown()
		for _, end := range ends {
			end()
		}
	})
	r.t.Cleanup(stop) // before Redis ends, also when the test fails half way
	return stop
}

func TestTheCapHoldsToTheCentWithFourWorkersRacing(t *testing.T) {
	for name, o := range map[string]setup{"sqlite": {}, "postgres": {postgres: true}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			n := 12_000
			if jobs.RaceDetector { // it takes several times as long
				n = 6000
			}
			c := r.people(r.content(campaign.SMS), n, abroad)
			_, err := r.price(c, jobs.QuoteOptions{Actor: "test"})
			r.ok(err)
			c = r.campaign(c.ID)
			r.ok(r.l.Approve(r.ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
			budget := c.Quoted * 11 / 20
			r.ok(r.l.SetBudget(r.ctx, c.ID, budget, "test"))

			watching, enough := context.WithCancel(r.ctx)
			var watch errgroup.Group
			watch.Go(func() error {
				for watching.Err() == nil {
					now, err := r.l.Campaign(r.ctx, c.ID)
					if err != nil {
						return err
					}
					if now.Spent+now.Reserved > budget {
						return fmt.Errorf("%s spent and %s reserved of a budget of %s", now.Spent, now.Reserved, budget)
					}
					time.Sleep(time.Millisecond)
				}
				return nil
			})
			stop := r.race(4)
			r.becomes(c.ID, campaign.Paused)
			r.until("what was in flight is on record", func() bool { return r.campaign(c.ID).Reserved == 0 })
			enough()
			r.ok(watch.Wait())
			paused := r.campaign(c.ID)
			if !strings.HasPrefix(paused.Reason, "budget: ") {
				t.Errorf("paused with the reason %q", paused.Reason)
			}
			r.equal(paused.Spent, micros(r, r.sb.Stats().Charged))
			// As much as fits: no more than one batch's price is left.
			if left := budget - paused.Spent; left < 0 || left > c.Quoted/12*11/10 {
				t.Errorf("%s of %s was spent, %s is left, a batch costs about %s", paused.Spent, budget, left, c.Quoted/12)
			}

			r.ok(r.l.SetBudget(r.ctx, c.ID, c.Quoted, "test"))
			r.ok(r.l.Resume(r.ctx, c.ID, "test"))
			done := r.becomes(c.ID, campaign.Completed)
			stop()
			r.equal([]any{done.Spent, done.Reserved, done.Overspent}, []any{c.Quoted, campaign.Micros(0), campaign.Micros(0)})
			r.equal(micros(r, r.sb.Stats().Charged), c.Quoted)
			r.once(c.ID)
		})
	}
}

// TestTheQuoteLessWhatDidNotGoIsTheCharge sends to an audience of many countries
// and lengths, of whom some are refused, some opt out after the quote, and the
// last are cancelled.
func TestTheQuoteLessWhatDidNotGoIsTheCharge(t *testing.T) {
	for _, ch := range campaign.Channels() {
		for _, exact := range []bool{true, false} {
			t.Run(fmt.Sprint(ch, " exact ", exact), func(t *testing.T) {
				r := newRig(t, setup{sandbox: sandbox.Options{RefuseRate: 0.05, Seed: 3}})
				n := 3500
				if ch == campaign.SMS && !exact {
					n = 4000
				}
				c := r.people(r.content(ch), n, func(i int, k *campaign.Contact) {
					abroad(i, k)
					if ch == campaign.MMS {
						k.FirstName = "Аня"
					}
					k.Address = address(i)
				})
				q, err := r.price(c, jobs.QuoteOptions{Actor: "test", Exact: exact, ExactUpTo: 3600})
				r.ok(err)
				r.ok(r.l.Approve(r.ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
				if ch.IsPhone() {
					for i := 10; i < 40; i++ {
						k := campaign.Contact{}
						abroad(i, &k)
						r.ok(r.l.OptOut(r.ctx, k.Phone, "test", ""))
					}
				}
				due := r.dispatched(ch)
				for _, d := range due[:len(due)-1] {
					r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
				}
				r.ok(r.l.Cancel(r.ctx, c.ID, "test", "enough"))
				c = r.becomes(c.ID, campaign.Cancelled)
				notSent := map[campaign.RecipientState]campaign.Micros{}
				r.ok(r.l.EachRecipient(r.ctx, c, func(row *ledger.ReportRow) error {
					if row.State != campaign.Accepted {
						notSent[row.State] += row.Quoted
					}
					return nil
				}))
				if notSent[campaign.Rejected] == 0 || notSent[campaign.RecipientCancelled] == 0 || ch.IsPhone() && notSent[campaign.Suppressed] == 0 {
					t.Fatalf("nothing was refused, suppressed or cancelled: %v", notSent)
				}
				left := q.Total
				for _, m := range notSent {
					left -= m
				}
				r.equal(left, micros(r, r.sb.Stats().Charged))
				r.equal(c.Spent, left)
			})
		}
	}
}

package ledger

import (
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
)

func TestDueKeepsToItsWindow(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(5, 1)
		q := DueQuery{Channel: campaign.SMS, Window: 2, Again: time.Minute}
		due := func() []Dispatch {
			t.Helper()
			d, err := w.l.Due(w.ctx, q)
			w.ok(err)
			return d
		}
		first := due()
		w.equal(len(first), 2)
		w.equal(first[0].Number, int64(1))
		w.equal(first[0].Channel, campaign.SMS)
		w.equal(len(due()), 0)
		w.claim(first[0]) // a claimed batch waits no more
		third := due()
		w.equal(len(third), 1)
		mms, err := w.l.Due(w.ctx, DueQuery{Channel: campaign.MMS, Window: 9, Again: time.Minute})
		w.ok(err)
		w.equal(len(mms), 0)

		// What a paused campaign had dispatched takes no room from others.
		w.move(c.ID, campaign.Paused)
		other := w.sending(3, 1)
		w.equal(len(due()), 2)
		w.check(other.ID)
	})
}

func TestADispatchNobodyClaimsIsMadeAnew(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.sending(1, 1)
		old := w.due()[0]
		w.clock.advance(time.Minute - time.Millisecond)
		w.equal(len(w.due()), 0)
		w.clock.advance(time.Millisecond)
		fresh := w.due()
		w.equal(fresh, []Dispatch{{Batch: old.Batch, Number: old.Number + 1, Channel: campaign.SMS}})
		cl, err := w.l.Claim(w.ctx, old.Batch, old.Number, "late", lease)
		w.ok(err)
		if cl != nil {
			t.Error("a stale dispatch number was claimed")
		}
		w.claim(fresh[0])
	})
}

func TestAFlushedQueueCostsNothing(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(3, 1)
		w.equal(len(w.due()), 3)
		w.ok(w.l.ForgetDispatches(w.ctx))
		again := w.due()
		w.equal(len(again), 3)
		held := w.claim(again[0])
		w.ok(w.l.ForgetDispatches(w.ctx))
		w.equal(len(w.due()), 2) // but not the one a worker holds
		w.answered(w.begin(held), accepted)
		w.check(c.ID)
	})
}

func TestADeadWorkersBatchIsDueWhenItsLeaseEnds(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.sending(1, 1)
		dead := w.next()
		w.clock.advance(lease - time.Millisecond)
		w.equal(len(w.due()), 0)
		w.clock.advance(time.Millisecond)
		alive := w.next()
		if alive.Fence <= dead.Fence {
			t.Errorf("fence %d after %d", alive.Fence, dead.Fence)
		}
		w.is(w.l.RenewLease(w.ctx, dead, lease), ErrLostLease)
		_, err := w.tryBegin(dead)
		w.is(err, ErrLostLease)
		w.ok(w.l.Release(w.ctx, dead, 0)) // leaves the other's claim alone
		w.ok(w.l.RenewLease(w.ctx, alive, lease))
		w.begin(alive)
	})
}

func TestARenewedLeaseHolds(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.sending(1, 1)
		cl := w.next()
		for range 4 {
			w.clock.advance(lease - time.Second)
			w.ok(w.l.RenewLease(w.ctx, cl, lease))
			w.equal(len(w.due()), 0)
		}
		w.answered(w.begin(cl), accepted)
		w.is(w.l.RenewLease(w.ctx, cl, lease), ErrLostLease)
	})
}

func TestAReleasedBatchWaitsItsTime(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(1, 1)
		cl := w.next()
		w.ok(w.l.Release(w.ctx, cl, 10*time.Second))
		w.equal(len(w.due()), 0)
		at, err := w.l.NextDue(w.ctx, c.ID)
		w.ok(err)
		w.equal(at, w.clock.Now().Add(10*time.Second))
		w.clock.advance(10 * time.Second)
		w.next()
	})
}

func TestOneOfManyClaimsWins(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.sending(20, 1)
		for _, d := range w.due() {
			claims := make([]*Claim, 4)
			var g errgroup.Group
			for i := range claims {
				g.Go(func() (err error) {
					claims[i], err = w.l.Claim(w.ctx, d.Batch, d.Number, "worker", lease)
					return err
				})
			}
			w.ok(g.Wait())
			won := 0
			for _, cl := range claims {
				if cl != nil {
					won++
				}
			}
			w.equal(won, 1)
		}
	})
}

func TestNothingIsClaimedOfACampaignThatIsNotSending(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(2, 1)
		due := w.due()
		w.move(c.ID, campaign.Paused)
		cl, err := w.l.Claim(w.ctx, due[0].Batch, due[0].Number, "worker", lease)
		w.ok(err)
		if cl != nil {
			t.Error("a batch of a paused campaign was claimed")
		}
		w.equal(len(w.due()), 0)
		// The tasks are gone; the ledger does not wait for them after a resume.
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		w.equal(len(w.due()), 2)
	})
}

func TestAClaimShowsWhoIsPending(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(3, 3)
		cl := w.next()
		w.equal(cl.Campaign, w.campaign(c.ID))
		w.equal([]any{cl.Worker, cl.Attempts, cl.Until}, []any{"worker", 0, w.clock.Now().Add(lease)})
		w.equal(len(cl.Recipients), 3)
		for i, r := range cl.Recipients {
			w.equal([]any{r.Contact.Phone, r.Quoted}, []any{phone(i), price})
		}
	})
}

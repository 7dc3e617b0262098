package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
)

func TestAReferenceIsMailedOnceEver(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		s := w.schedule("nightly")
		w.record(s, "2026-11-22T02:00")
		open := w.openRuns()
		one := w.claimRun(&open[0].Run, "one")
		var refs []string
		for i := range 450 {
			refs = append(refs, fmt.Sprintf("INV-%03d", i))
		}
		mailed := func(run int64, want int) {
			t.Helper()
			got, err := w.l.Mailed(w.ctx, run, refs)
			w.ok(err)
			w.equal(len(got), want)
		}
		mailed(one.ID, 0)
		w.is(w.l.ClaimReferences(w.ctx, &open[0].Run, refs[:300]), ErrLostLease) // as it was before the claim
		w.ok(w.l.ClaimReferences(w.ctx, one, refs[:300]))
		w.ok(w.l.ClaimReferences(w.ctx, one, refs[:300])) // a second try of the same run
		mailed(one.ID, 0)

		// Another schedule at the same hour.
		other := w.schedule("also nightly")
		w.record(other, "2026-11-22T02:00")
		var two *Run
		for _, o := range w.openRuns() {
			if o.ScheduleID == other.ID {
				two = w.claimRun(&o.Run, "two")
			}
		}
		mailed(two.ID, 300)
		// All or none.
		w.code(w.l.ClaimReferences(w.ctx, two, refs[299:]), campaign.CodeConflict)
		mailed(one.ID, 0)
		w.ok(w.l.ClaimReferences(w.ctx, two, refs[300:]))

		// Once bound, they are mailed for their own run as well.
		c := w.draft(1)
		w.ok(w.l.BindReferences(w.ctx, one, c.ID, refs[:300]))
		mailed(one.ID, 450)
		w.code(w.l.ClaimReferences(w.ctx, one, refs[:1]), campaign.CodeConflict)
		w.code(w.l.BindReferences(w.ctx, two, c.ID, refs[:1]), campaign.CodeConflict)

		// What a campaign that came to nothing had is free again.
		w.ok(w.l.DiscardUnstarted(w.ctx, c.ID))
		mailed(one.ID, 150)
		mailed(two.ID, 300) // but run one may still mail it
		w.code(w.l.BindReferences(w.ctx, one, c.ID, refs[:300]), campaign.CodeNotFound)
		w.ok(w.l.ClaimReferences(w.ctx, one, refs[:300]))

		// A maker that lost its run binds nothing.
		w.clock.advance(time.Hour)
		again := w.claimRun(one, "three")
		d := w.draft(1)
		w.is(w.l.BindReferences(w.ctx, one, d.ID, refs[:300]), ErrLostLease)
		e := w.draft(1)
		w.plan(e, 1)
		w.quote(e)
		w.is(w.l.Approve(w.ctx, e.ID, Approval{Actor: "one", Run: one}), ErrLostLease)
		w.state(e.ID, campaign.Quoted)

		// A run that ended without a campaign holds nothing.
		w.ok(w.l.MoveRun(w.ctx, again, RunMove{To: RunFailed, Reason: "no"}))
		mailed(two.ID, 0)
		w.is(w.l.ClaimReferences(w.ctx, one, refs[:300]), ErrLostLease)
		two = w.claimRun(two, "four")
		w.ok(w.l.ClaimReferences(w.ctx, two, refs))

		// What was not mailed is given up by name.
		w.ok(w.l.BindReferences(w.ctx, two, d.ID, refs))
		w.ok(w.l.FreeReferences(w.ctx, one.ID, refs[:10])) // not its own
		mailed(two.ID, 450)
		w.ok(w.l.FreeReferences(w.ctx, two.ID, refs[:10]))
		mailed(two.ID, 440)
	})
}

func TestARunHasAllItsCampaigns(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		s := w.schedule("nightly")
		w.record(s, "2026-11-22T02:00")
		r := w.claimRun(&w.openRuns()[0].Run, "one")
		var ids []int64
		for range 3 {
			ids = append(ids, w.draft(1).ID)
			w.clock.advance(time.Second)
		}
		w.ok(w.l.MoveRun(w.ctx, r, RunMove{To: RunRunning, Campaigns: ids}))
		all, err := w.l.RunCampaigns(w.ctx, r.ID)
		w.ok(err)
		var got []int64
		for _, c := range all {
			got = append(got, c.ID)
		}
		w.equal(got, ids)
	})
}

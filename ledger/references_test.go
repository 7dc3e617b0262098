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
		w.record(s, "2026-11-22T02:00", "2026-11-23T02:00")
		open := w.openRuns()
		one, two := open[0].ID, open[1].ID
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
		mailed(one, 0)
		w.ok(w.l.ClaimReferences(w.ctx, one, refs[:300]))
		w.ok(w.l.ClaimReferences(w.ctx, one, refs[:300])) // a second try of the same run
		mailed(one, 0)
		mailed(two, 300)
		// All or none.
		w.code(w.l.ClaimReferences(w.ctx, two, refs[299:]), campaign.CodeConflict)
		mailed(one, 0)
		w.ok(w.l.ClaimReferences(w.ctx, two, refs[300:]))

		// Once bound, they are mailed for their own run as well.
		c := w.draft(1)
		w.ok(w.l.BindReferences(w.ctx, one, c.ID, refs[:300]))
		mailed(one, 450)
		w.code(w.l.ClaimReferences(w.ctx, one, refs[:1]), campaign.CodeConflict)
		w.code(w.l.BindReferences(w.ctx, two, c.ID, refs[:1]), campaign.CodeConflict)

		// What a campaign that came to nothing had is free again.
		w.ok(w.l.DiscardUnstarted(w.ctx, c.ID))
		mailed(one, 150)
		mailed(two, 300) // but run one may still mail it
		w.ok(w.l.ClaimReferences(w.ctx, one, refs[:300]))

		// A run that ended without a campaign holds nothing.
		r := w.claimRun(&open[0].Run, "one")
		w.ok(w.l.MoveRun(w.ctx, r, RunMove{To: RunFailed, Reason: "no"}))
		mailed(two, 0)
		w.ok(w.l.ClaimReferences(w.ctx, two, refs))

		// What was not mailed is given up by name.
		d := w.draft(1)
		w.ok(w.l.BindReferences(w.ctx, two, d.ID, refs))
		w.ok(w.l.FreeReferences(w.ctx, one, refs[:10])) // not its own
		mailed(two, 450)
		w.ok(w.l.FreeReferences(w.ctx, two, refs[:10]))
		mailed(two, 440)
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

package ledger

import (
	"errors"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
)

func TestAPlanIsWrittenInChunksAndReadBack(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		const n = planChunk + 2500
		c := w.draft(n)
		p := w.l.Plan(c)
		var recipients []campaign.PlannedRecipient
		w.ok(w.l.EachContact(w.ctx, c.ListID, func(k *campaign.Contact) error {
			r := campaign.PlannedRecipient{ContactID: k.ID}
			if len(recipients) >= n-500 {
				r.State, r.Reason = campaign.Suppressed, campaign.ReasonOptedOut
			}
			recipients = append(recipients, r)
			return nil
		}))
		for start := 0; start < n; start += 1000 {
			b := campaign.PlannedBatch{FileKey: "key", Recipients: recipients[start:min(start+1000, n)]}
			if !b.Sendable() {
				b.FileKey = ""
			}
			if start+1000 >= n {
				w.ok(p.Batch(w.ctx, campaign.PlannedBatch{Recipients: b.Recipients}))
				continue
			}
			w.ok(p.Batch(w.ctx, b))
		}
		w.ok(p.behind.wait())
		// Whole chunks are on record, and nothing of them can leave.
		w.equal(w.counts(c.ID).Total, 20_000)
		w.code(w.l.MoveCampaign(w.ctx, c.ID, Move{To: campaign.Sending}), campaign.CodeConflict)
		_, err := w.l.SetQuote(w.ctx, c, Quote{}, "test")
		w.code(err, campaign.CodeConflict)
		sum := campaign.PlanSummary{Total: n, Sendable: n - 500, Suppressed: map[string]int{campaign.ReasonOptedOut: 500}}
		w.ok(p.Finish(w.ctx, sum))
		c = w.campaign(c.ID)
		w.equal(c.Plan, sum)
		w.equal(w.counts(c.ID), Counts{Total: n, Pending: n - 500, Suppressed: 500})
		w.check(c.ID)
		seen := 0
		w.ok(w.l.EachPlannedBatch(w.ctx, c, func(b PlannedBatch) error {
			for _, r := range b.Recipients {
				if r.Contact.ID != recipients[seen].ContactID || b.FileKey != "key" {
					return errors.New("another recipient or file than planned")
				}
				seen++
			}
			return nil
		}))
		w.equal(seen, n-500)
		reasons, err := w.l.CountReasons(w.ctx, c.ID)
		w.ok(err)
		w.equal(reasons, map[campaign.RecipientState]map[string]int{campaign.Suppressed: {campaign.ReasonOptedOut: 500}})
		err = p.Batch(w.ctx, campaign.PlannedBatch{Recipients: make([]campaign.PlannedRecipient, campaign.MaxBatch+1)})
		if err == nil {
			t.Error("a batch above the maximum was planned")
		}
	})
}

// rows counts the rows of a table.
func (w *world) rows(table string) (n int) {
	w.t.Helper()
	w.ok(w.l.store.read().QueryRowContext(w.ctx, `SELECT count(*) FROM `+table).Scan(&n))
	return n
}

func TestHalfAPlanIsDiscardedWithItsAudience(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		dead := w.draft(3)
		p := w.l.Plan(dead)
		w.ok(p.Batch(w.ctx, campaign.PlannedBatch{Recipients: []campaign.PlannedRecipient{{ContactID: 1}}}))
		w.ok(p.flush(w.ctx))
		named := w.list("people", 2)
		onList := w.draft(1, func(n *NewCampaign) { n.ListID = named.ID })
		w.quoted(onList)
		w.clock.advance(plannerLease - time.Second)
		alive := w.draft(1)
		n, _, err := w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		w.equal(n, 0)
		w.clock.advance(time.Second)
		n, _, err = w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		w.equal(n, 2)
		_, err = w.l.Campaign(w.ctx, dead.ID)
		w.code(err, campaign.CodeNotFound)
		_, err = w.l.List(w.ctx, dead.ListID)
		w.code(err, campaign.CodeNotFound)
		_, err = w.l.FindList(w.ctx, "people")
		w.ok(err)
		_, err = w.l.Campaign(w.ctx, alive.ID)
		w.ok(err)
		for table, want := range map[string]int{"recipients": 0, "batches": 0, "quotes": 0, "contacts": 3, "events": 1} {
			if got := w.rows(table); got != want {
				t.Errorf("%d rows in %s, want %d", got, table, want)
			}
		}
		// Should the planner live after all, it is told.
		w.ok(p.Batch(w.ctx, campaign.PlannedBatch{Recipients: []campaign.PlannedRecipient{{ContactID: 1}}}))
		w.code(p.Finish(w.ctx, campaign.PlanSummary{}), campaign.CodeConflict)
		w.code(w.l.KeepPlanning(w.ctx, dead.ID), campaign.CodeConflict)
	})
}

// quoted plans and quotes a campaign in batches of one.
func (w *world) quoted(c *Campaign) {
	w.t.Helper()
	w.plan(c, 1)
	w.quote(c)
}

func TestAnInterruptedDiscardIsGoneOnWith(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.draft(2)
		w.plan(c, 1)
		w.ok(w.l.store.write(w.ctx, func(tx *tx) error {
			_, err := tx.exec.ExecContext(w.ctx, `UPDATE campaigns SET state = 'failed', lease_until = 0, reason = $1 WHERE id = $2`, discardReason, c.ID)
			return err
		}))
		n, _, err := w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		w.equal(n, 1)
		w.equal(w.rows("recipients"), 0)
	})
}

func TestAPlannerThatShowsItLivesKeepsItsCampaign(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.draft(1)
		w.plan(c, 1)
		for range 3 {
			w.clock.advance(plannerLease - time.Second)
			w.ok(w.l.KeepPlanning(w.ctx, c.ID))
			n, _, err := w.l.DiscardHalfPlans(w.ctx)
			w.ok(err)
			w.equal(n, 0)
		}
		w.quote(c)
		w.ok(w.l.KeepPlanning(w.ctx, c.ID)) // while somebody thinks about the price
		w.move(c.ID, campaign.Sending)
		w.code(w.l.KeepPlanning(w.ctx, c.ID), campaign.CodeConflict)
		w.clock.advance(time.Hour)
		n, _, err := w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		w.equal(n, 0)
		w.code(w.l.DiscardUnstarted(w.ctx, c.ID), campaign.CodeConflict)
	})
}

func TestDiscardUnstartedLeavesNothing(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.draft(2)
		w.quoted(c)
		w.ok(w.l.DiscardUnstarted(w.ctx, c.ID))
		for _, table := range []string{"campaigns", "batches", "recipients", "quotes", "events", "contacts", "lists"} {
			if n := w.rows(table); n != 0 {
				t.Errorf("%d rows stay in %s", n, table)
			}
		}
	})
}

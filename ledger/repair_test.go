package ledger

import (
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
)

// sighting is a message in history.
func (w *world) sighting(recipient int64, number int, to campaign.RecipientState) Sighting {
	s := Sighting{Number: number, At: w.clock.Now(), Outcome: Outcome{Recipient: recipient, State: to, ProviderID: "from history", Status: "Sent", Price: price, Parts: 1}}
	if to != campaign.Accepted {
		s.Status, s.Price = to.String(), 0
	}
	if to == campaign.Rejected {
		s.Reason = "FAILED"
	}
	return s
}

// channel is where every campaign of a world is.
var onSMS = LookDue{Provider: here, Channel: campaign.SMS}

// adopt adopts twice: what is known already changes nothing.
func (w *world) adopt(all ...Sighting) Adopted {
	w.t.Helper()
	n, err := w.l.Adopt(w.ctx, onSMS, all)
	w.ok(err)
	again, err := w.l.Adopt(w.ctx, onSMS, all)
	w.ok(err)
	w.equal([]int{again.Accepted, again.Rejected, again.Cancelled, again.Duplicates}, []int{0, 0, 0, 0})
	return n
}

func (w *world) quarantined() *Repair {
	w.t.Helper()
	w.ok(w.l.SetQuarantine(w.ctx, "of a test"))
	w.clock.advance(time.Second)
	r, err := w.l.BeginRepair(w.ctx)
	w.ok(err)
	return r
}

func TestHistoryIsAdoptedByAQuarantinedLedger(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		_, err := w.l.BeginRepair(w.ctx)
		w.is(err, ErrNotQuarantined)
		_, err = w.l.Adopt(w.ctx, onSMS, nil)
		w.is(err, ErrNotQuarantined)
		_, err = w.l.HoldRestored(w.ctx, "test")
		w.is(err, ErrNotQuarantined)

		c := w.sending(8, 4)
		open := w.nextAttempt() // was under way
		first, second := open.Members, []int64{open.Members[3] + 1, open.Members[3] + 2, open.Members[3] + 3, open.Members[3] + 4}
		began := w.clock.Now()
		w.clock.advance(time.Hour)
		r := w.quarantined()
		w.equal(r.Channels, []RepairChannel{{LookDue: onSMS, From: began, Open: true}})
		w.equal(w.counts(c.ID).Unknown, 4)

		n := w.adopt(
			w.sighting(first[0], 1, campaign.Accepted), // of the attempt that was under way
			w.sighting(first[1], 2, campaign.Accepted), // it had been shown absent, and was sent again
			w.sighting(second[0], 1, campaign.Rejected), w.sighting(second[0], 3, campaign.Accepted),
			w.sighting(second[1], 2, campaign.Rejected),
			w.sighting(second[2], 1, campaign.RecipientCancelled),
			w.sighting(second[3]+100, 1, campaign.Accepted),
		)
		w.equal(n, Adopted{Accepted: 3, Rejected: 2, Cancelled: 1, Strange: []string{"from history"}})
		got := w.counts(c.ID)
		w.equal(got, Counts{Total: 8, Pending: 1, Unknown: 2, Accepted: 3, Rejected: 1, Cancelled: 1})
		w.equal(w.campaign(c.ID).Spent, 3*price)
		w.ok(w.l.EachRecipient(w.ctx, c, func(row *ReportRow) error {
			if row.State == campaign.Accepted && (row.Status != "Sent" || row.Price != price) {
				t.Errorf("recipient %d is reported as %+v", row.Recipient, row)
			}
			return nil
		}))
		// What is found later of the attempt under way is one too many.
		w.equal(w.adopt(w.sighting(first[1], 1, campaign.Accepted)), Adopted{Duplicates: 1})
		w.equal(w.adopt(w.sighting(second[0], 4, campaign.Accepted)), Adopted{Duplicates: 1})
		dup, err := w.l.Duplicates(w.ctx, c.ID)
		w.ok(err)
		w.equal(dup, 2)
		again, err := w.l.BeginRepair(w.ctx)
		w.ok(err)
		w.equal(again.Channels[0].From, began) // what was adopted is no activity of its own

		held, err := w.l.HoldRestored(w.ctx, "test")
		w.ok(err)
		w.equal(held, []int64{c.ID})
		w.equal(w.campaign(c.ID).Reason, restoredReason)
		w.check(c.ID)
		_, err = w.l.LiftQuarantine(w.ctx)
		w.ok(err)
		w.reopen(w.target)
		w.ok(w.l.Resume(w.ctx, c.ID, "test"))
		a := w.nextAttempt()
		w.equal(a.Members, second[3:])
		w.equal(a.Number, 5) // no number is used twice
		w.answered(a, accepted)
		w.check(c.ID)
	})
}

func TestUnclearOnesAreUnknownUntilAPersonDecides(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(4, 2)
		open := w.nextAttempt()
		w.quarantined()
		from, to := w.clock.Now().Add(time.Hour), w.clock.Now().Add(2*time.Hour)
		unsure := []Unclear{{open.Members[0], from, to}, {open.Members[1] + 1, from, to}, {open.Members[1] + 2, from, from}}
		for range 2 {
			n, err := w.l.AdoptUnclear(w.ctx, onSMS, unsure)
			w.ok(err)
			w.equal(n, 3)
			w.equal(w.counts(c.ID).Unknown, 4)
			w.equal(w.campaign(c.ID).Reserved, 4*price)
		}
		all, err := w.l.UnknownAttempts(w.ctx, c.ID, time.Minute)
		w.ok(err)
		w.equal(len(all), 2)
		w.equal([]any{all[0].Deadline, all[1].Deadline, all[1].Members}, []any{to, to, 2})
		w.check(c.ID)
		// One turns out to have been sent.
		w.equal(w.adopt(w.sighting(unsure[1].Recipient, 0, campaign.Accepted)), Adopted{Accepted: 1})
		_, err = w.l.LiftQuarantine(w.ctx)
		w.ok(err)
		w.reopen(w.target)
		n, err := w.l.Assume(w.ctx, c.ID, 0, false, "somebody")
		w.ok(err)
		w.equal(n, 3)
		w.equal(w.counts(c.ID), Counts{Total: 4, Pending: 3, Accepted: 1})
		w.check(c.ID)
	})
}

func TestACampaignApprovedAfterTheCopyIsNotDiscarded(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.draft(2)
		w.plan(c, 2)
		w.quote(c)
		later := w.draft(2, func(n *NewCampaign) { n.StartAt = w.clock.Now().Add(time.Hour) })
		w.plan(later, 2)
		w.quote(later)
		w.move(later.ID, campaign.Scheduled)
		w.quarantined()
		since := w.draft(2) // a dry run
		w.plan(since, 2)
		var ids []int64
		for _, c := range []*Campaign{c, since} {
			w.ok(w.l.EachRecipient(w.ctx, c, func(r *ReportRow) error { ids = append(ids, r.Recipient); return nil }))
		}
		n := w.adopt(w.sighting(ids[0], 1, campaign.Accepted), w.sighting(ids[2], 1, campaign.Accepted))
		w.equal([]int{n.Accepted, len(n.Strange)}, []int{1, 1})
		w.clock.advance(time.Hour)
		_, _, err := w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		held, err := w.l.HoldRestored(w.ctx, "test")
		w.ok(err)
		w.equal(held, []int64{c.ID, later.ID})
		w.equal(w.counts(c.ID), Counts{Total: 2, Pending: 1, Accepted: 1})
		w.check(c.ID)
	})
}

// What was priced when the ledger was copied may have been approved and sent
// since: it is not discarded before history has told.
func TestNothingPricedIsDiscardedInQuarantine(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		old := w.draft(2)
		w.quoted(old)
		w.clock.advance(time.Hour)
		w.ok(w.l.SetQuarantine(w.ctx, "of a test"))
		w.clock.advance(time.Second)
		fresh := w.draft(2)
		w.quoted(fresh)
		w.clock.advance(time.Hour)
		n, _, err := w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		w.equal(n, 1)
		w.state(old.ID, campaign.Quoted)
		_, err = w.l.LiftQuarantine(w.ctx)
		w.ok(err)
		n, _, err = w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		w.equal(n, 1)
	})
}

package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
)

// held makes a campaign whose messages the provider holds for an hour, none of
// them sent yet.
func (w *world) held(n, size int) *Campaign {
	w.t.Helper()
	return w.sending(n, size, func(c *NewCampaign) { c.Content.Schedule = w.clock.Now().Add(time.Hour).Unix() })
}

// taken makes a campaign of n recipients whom the provider has taken, and holds.
func (w *world) taken(n, size int) *Campaign {
	w.t.Helper()
	c := w.held(n, size)
	for range (n + size - 1) / size {
		w.answered(w.nextAttempt(), numbered)
	}
	w.state(c.ID, campaign.Completed)
	return c
}

func numbered(i int) Outcome {
	o := accepted(i)
	o.ProviderID = fmt.Sprint("id-", i)
	return o
}

func (w *world) cancels(doubtful bool, most int) *CancelClaim {
	w.t.Helper()
	w.cancelClaims++
	k, err := w.l.ClaimCancels(w.ctx, ClaimQuery{LookDue: LookDue{Provider: here, Channel: campaign.SMS}, Doubtful: doubtful, By: fmt.Sprint("worker ", w.cancelClaims), Lease: lease, Most: most})
	w.ok(err)
	return k
}

// decided is a fate for each recipient of a claim.
func decided(k *CancelClaim, fate func(i int) CancelFate) []Cancelled {
	all := make([]Cancelled, len(k.Held))
	for i, h := range k.Held {
		all[i] = Cancelled{HeldRecipient: h, Fate: fate(i)}
		if all[i].Fate == CancelTooLate {
			all[i].Word = "it has left"
		}
	}
	return all
}

func allDone(int) CancelFate { return CancelDone }

// cancelAll cancels whatever waits for it.
func (w *world) cancelAll() int {
	w.t.Helper()
	n := 0
	for {
		k := w.cancels(false, 3)
		if k == nil {
			return n
		}
		n += len(k.Held)
		w.ok(w.l.RecordCancels(w.ctx, k, decided(k, allDone), lease, &CancelEnd{}))
	}
}

func (w *world) cancel(id int64) {
	w.t.Helper()
	w.ok(w.l.Cancel(w.ctx, id, "test", "why"))
}

func TestWhatTheProviderHoldsIsCancelledThereBeforeTheCampaignIsCancelled(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.held(10, 4)
		w.answered(w.nextAttempt(), numbered)
		w.answered(w.nextAttempt(), numbered)
		w.equal(w.counts(c.ID).Held, 8)
		w.cancel(c.ID)
		w.state(c.ID, campaign.Cancelling)
		w.check(c.ID)
		w.equal(w.counts(c.ID), Counts{Total: 10, Accepted: 8, Cancelled: 2, Held: 8})
		due, err := w.l.CancelsDue(w.ctx)
		w.ok(err)
		w.equal(due, []LookDue{{Provider: here, Channel: campaign.SMS}})

		k := w.cancels(false, 100)
		w.equal(len(k.Held), 8)
		w.equal([]any{k.Held[1].Messages[0].ProviderID, k.Held[1].Messages[0].Price, k.Held[1].Messages[0].Number}, []any{"id-1", price, 1})
		if another := w.cancels(false, 100); another != nil {
			t.Fatalf("a claim of %d that somebody else holds", len(another.Held))
		}
		fates := []CancelFate{CancelDone, CancelDone, CancelTooLate, CancelDoubtful, CancelDone}
		first := decided(k, func(i int) CancelFate { return fates[min(i, 4)] })[:5]
		w.ok(w.l.RecordCancels(w.ctx, k, first, lease, nil))
		w.ok(w.l.RecordCancels(w.ctx, k, first, lease, nil)) // a second time
		w.check(c.ID)
		w.equal(w.counts(c.ID), Counts{Total: 10, Accepted: 5, Cancelled: 5, Held: 4, TooLate: 1})
		w.equal(w.campaign(c.ID).Spent, 5*price)

		// Its worker dies. The lease runs out, and another goes on with the rest.
		w.clock.advance(lease + time.Second)
		k2 := w.cancels(false, 100)
		w.equal(len(k2.Held), 3)
		w.is(w.l.RecordCancels(w.ctx, k, decided(k, allDone)[5:6], lease, &CancelEnd{}), ErrLostLease)
		w.equal(w.counts(c.ID).Cancelled, 6) // a fact is a fact
		w.ok(w.l.RecordCancels(w.ctx, k2, decided(k2, allDone), lease, &CancelEnd{}))
		w.state(c.ID, campaign.Cancelling)
		if k := w.cancels(false, 100); k != nil {
			t.Fatalf("a claim of %d, and only a doubtful one is left", len(k.Held))
		}

		k3 := w.cancels(true, 100)
		w.equal([]any{len(k3.Held), k3.Held[0].Recipient}, []any{1, first[3].Recipient})
		w.ok(w.l.RecordCancels(w.ctx, k3, nil, lease, &CancelEnd{Again: time.Minute, Most: time.Hour, Problem: "history cannot be read"}))
		problem, err := w.l.CancelProblem(w.ctx, c.ID)
		w.ok(err)
		w.equal(problem, "history cannot be read")
		if k := w.cancels(true, 100); k != nil {
			t.Fatal("it was to wait for a minute")
		}
		w.clock.advance(time.Minute)
		k3 = w.cancels(true, 100)
		w.ok(w.l.RecordCancels(w.ctx, k3, decided(k3, allDone), lease, &CancelEnd{}))
		w.state(c.ID, campaign.Cancelled)
		w.check(c.ID)
		w.equal(w.counts(c.ID), Counts{Total: 10, Accepted: 1, Cancelled: 9, TooLate: 1})
		w.equal(w.campaign(c.ID).Spent, price)
		w.ok(w.l.EachRecipient(w.ctx, w.campaign(c.ID), func(r *ReportRow) error {
			if r.State == campaign.Accepted && r.Reason != campaign.TooLate+"it has left" || r.State == campaign.RecipientCancelled && r.Charged != 0 {
				t.Errorf("recipient %d is %s (%s), charged %s", r.Recipient, r.State, r.Reason, r.Charged)
			}
			return nil
		}))
		due, err = w.l.CancelsDue(w.ctx)
		w.ok(err)
		w.equal(len(due), 0)
	})
}

func TestACompletedCampaignCanBeCancelledAsLongAsTheProviderHoldsIt(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		plain := w.sending(2, 2)
		w.answered(w.nextAttempt(), accepted)
		w.code(w.l.Cancel(w.ctx, plain.ID, "test", ""), campaign.CodeConflict)
		late, c := w.taken(3, 2), w.taken(3, 2)
		w.cancel(c.ID)
		w.state(c.ID, campaign.Cancelling)
		w.equal(w.cancelAll(), 3)
		w.state(c.ID, campaign.Cancelled)
		w.check(c.ID)
		w.equal([]any{w.campaign(c.ID).Spent, w.counts(c.ID).Held}, []any{campaign.Micros(0), 0})
		w.code(w.l.Cancel(w.ctx, c.ID, "test", ""), campaign.CodeConflict)
		w.clock.advance(time.Hour)
		w.code(w.l.Cancel(w.ctx, late.ID, "test", ""), campaign.CodeConflict)
		w.state(late.ID, campaign.Completed)
		w.equal(w.counts(late.ID).Held, 0)
	})
}

// Whoever is in flight or unknown when the campaign is cancelled is found out
// first; whom the provider holds is cancelled there then.
func TestWhoIsFoundHeldWhileCancellingIsCancelledAtTheProvider(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.held(6, 2)
		flying, lost, absent := w.nextAttempt(), w.nextAttempt(), w.nextAttempt()
		w.ok(w.l.CloseUnknown(w.ctx, lost, "no answer"))
		w.ok(w.l.CloseUnknown(w.ctx, absent, "no answer"))
		w.cancel(c.ID)
		w.equal(w.counts(c.ID), Counts{Total: 6, InFlight: 2, Unknown: 4})
		w.answered(flying, numbered)
		w.equal(w.cancelAll(), 2)
		w.state(c.ID, campaign.Cancelling)
		var findings []Finding
		for i, id := range lost.Members {
			o := numbered(i)
			o.Recipient = id
			findings = append(findings, Finding{Attempt: lost.ID, Outcome: o})
		}
		_, err := w.l.ApplyEvidence(w.ctx, FromHistory, findings)
		w.ok(err)
		_, err = w.l.Assume(w.ctx, c.ID, absent.ID, false, "test")
		w.ok(err)
		w.equal(w.counts(c.ID), Counts{Total: 6, Accepted: 2, Cancelled: 4, Held: 2})
		w.state(c.ID, campaign.Cancelling) // two are held
		w.equal(w.cancelAll(), 2)
		w.state(c.ID, campaign.Cancelled)
		w.check(c.ID)

		// Those of whom it was said that they were not sent turn up after all.
		findings = nil
		for i, id := range absent.Members {
			o := numbered(i)
			o.Recipient = id
			findings = append(findings, Finding{Attempt: absent.ID, Outcome: o})
		}
		_, err = w.l.ApplyEvidence(w.ctx, FromHistory, findings)
		w.ok(err)
		w.equal(w.counts(c.ID), Counts{Total: 6, Accepted: 2, Cancelled: 4, Held: 2})
		w.equal(w.cancelAll(), 2)
		w.equal([]any{w.counts(c.ID).Cancelled, w.campaign(c.ID).Spent}, []any{6, campaign.Micros(0)})
		w.state(c.ID, campaign.Cancelled)
		w.check(c.ID)
	})
}

// Somebody who was reached twice is cancelled when both messages are.
func TestBothMessagesOfWhoeverWasReachedTwiceAreCancelled(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.held(1, 1)
		first := w.nextAttempt()
		w.ok(w.l.CloseUnknown(w.ctx, first, "no answer"))
		_, err := w.l.Assume(w.ctx, c.ID, first.ID, false, "test")
		w.ok(err)
		w.answered(w.nextAttempt(), func(i int) Outcome { o := accepted(i); o.ProviderID = "second"; return o })
		w.cancel(c.ID)
		k := w.cancels(false, 10)
		w.equal(len(k.Held[0].Messages), 1)

		late := func() {
			o := accepted(0)
			o.Recipient, o.ProviderID = first.Members[0], "first"
			_, err := w.l.ApplyEvidence(w.ctx, FromHistory, []Finding{{Attempt: first.ID, Outcome: o}})
			w.ok(err)
		}
		late() // between the claim and its record
		w.ok(w.l.RecordCancels(w.ctx, k, decided(k, allDone), lease, &CancelEnd{}))
		w.equal(w.counts(c.ID).Accepted, 1) // its first message is held still
		w.state(c.ID, campaign.Cancelling)
		w.check(c.ID)

		k = w.cancels(false, 10)
		w.equal(len(k.Held[0].Messages), 2)
		w.ok(w.l.RecordCancels(w.ctx, k, decided(k, allDone), lease, &CancelEnd{}))
		w.state(c.ID, campaign.Cancelled)
		w.equal([]any{w.counts(c.ID).Cancelled, w.campaign(c.ID).Spent}, []any{1, campaign.Micros(0)})
		w.check(c.ID)
	})
}

// twoMessages makes a campaign of one recipient whose first attempt was taken for
// absent, and whose second was accepted. late is evidence that the first was, too.
func (w *world) twoMessages() (c *Campaign, late func()) {
	w.t.Helper()
	c = w.held(1, 1)
	first := w.lost()
	_, err := w.l.Assume(w.ctx, c.ID, first.ID, false, "test")
	w.ok(err)
	w.answered(w.nextAttempt(), func(i int) Outcome { o := accepted(i); o.ProviderID = "second"; return o })
	return c, func() {
		w.t.Helper()
		w.equal(w.apply(shown(first, first.Members...)).Late, 1)
	}
}

// A worker that stalls past its lease says what became of the message it knew of.
// Another has recorded that, and what is held since is a message it never asked for.
func TestAStaleRecordSaysNothingOfAMessageThatWasFoundSince(t *testing.T) {
	for name, fate := range map[string]CancelFate{"cancelled": CancelDone, "too late": CancelTooLate} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, w *world) {
				c, late := w.twoMessages()
				w.cancel(c.ID)
				stale := w.cancels(false, 10)
				w.clock.advance(lease + time.Second)
				w.equal(w.cancelAll(), 1)
				w.state(c.ID, campaign.Cancelled)
				w.equal(w.campaign(c.ID).Spent, campaign.Micros(0))
				late()
				w.equal([]any{w.counts(c.ID), w.campaign(c.ID).Spent}, []any{Counts{Total: 1, Accepted: 1, Held: 1}, price})

				w.is(w.l.RecordCancels(w.ctx, stale, decided(stale, func(int) CancelFate { return fate }), lease, &CancelEnd{}), ErrLostLease)
				w.equal([]any{w.counts(c.ID), w.campaign(c.ID).Spent}, []any{Counts{Total: 1, Accepted: 1, Held: 1}, price})
				w.check(c.ID)

				k := w.cancels(false, 10)
				w.equal([]any{len(k.Held), len(k.Held[0].Messages), k.Held[0].Messages[0].Number}, []any{1, 1, 1})
				w.ok(w.l.RecordCancels(w.ctx, k, decided(k, allDone), lease, &CancelEnd{}))
				w.equal([]any{w.counts(c.ID), w.campaign(c.ID).Spent}, []any{Counts{Total: 1, Cancelled: 1}, campaign.Micros(0)})
				w.check(c.ID)
			})
		})
	}
}

// Of two messages one was cancelled, and the provider knows the other no more: it
// was charged, and that is not given back.
func TestOnlyWhatWasCancelledIsRefunded(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c, late := w.twoMessages()
		late()
		w.cancel(c.ID)
		k := w.cancels(false, 10)
		w.equal([]any{len(k.Held[0].Messages), w.campaign(c.ID).Spent}, []any{2, 2 * price})
		done := decided(k, allDone)
		done[0].Gone = []int64{k.Held[0].Messages[0].Attempt}
		for range 2 { // recording it a second time changes nothing
			w.ok(w.l.RecordCancels(w.ctx, k, done, lease, nil))
			w.equal([]any{w.counts(c.ID).Cancelled, w.campaign(c.ID).Spent}, []any{1, price})
		}
		w.ok(w.l.RecordCancels(w.ctx, k, nil, lease, &CancelEnd{}))
		w.state(c.ID, campaign.Cancelled)
		w.check(c.ID)
	})
}

// Whoever was cancelled alone while pending stays cancelled when a message of
// theirs turns up that had been taken for absent: it is cancelled at the provider,
// as long as it is held there.
func TestOneRecipientWhoWasCancelledIsCancelledAgainWhenEvidenceComesLate(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.held(6, 3)
		first := w.lost()
		_, err := w.l.Assume(w.ctx, c.ID, first.ID, false, "test")
		w.ok(err)
		for _, id := range first.Members[:2] {
			done, err := w.l.CancelRecipient(w.ctx, c.ID, id, "test")
			w.ok(err)
			w.equal(done, CancelledAtOnce)
		}
		w.equal(w.apply(shown(first, first.Members[0], first.Members[2])).Late, 2)
		w.state(c.ID, campaign.Sending)
		w.check(c.ID)
		k := w.cancels(false, 10)
		if k == nil {
			t.Fatal("nobody is to be cancelled at the provider")
		}
		w.equal([]any{len(k.Held), k.Held[0].Recipient}, []any{1, first.Members[0]}) // the third was not to be
		w.ok(w.l.RecordCancels(w.ctx, k, decided(k, allDone), lease, &CancelEnd{}))
		w.equal(w.counts(c.ID), Counts{Total: 6, Pending: 3, Accepted: 1, Cancelled: 2, Held: 1})
		w.equal(w.campaign(c.ID).Spent, price)
		w.check(c.ID)

		w.clock.advance(time.Hour) // the provider has let it go
		w.equal(w.apply(shown(first, first.Members[1])).Late, 1)
		if k := w.cancels(false, 10); k != nil {
			t.Errorf("%d are to be cancelled that the provider does not hold any more", len(k.Held))
		}
		w.equal(w.counts(c.ID), Counts{Total: 6, Pending: 3, Accepted: 2, Cancelled: 1})
		w.check(c.ID)
	})
}

func TestOneRecipientIsCancelledAndTheCampaignGoesOn(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.held(8, 2)
		w.answered(w.nextAttempt(), numbered)
		lost, flying := w.nextAttempt(), w.nextAttempt()
		w.ok(w.l.CloseUnknown(w.ctx, lost, "no answer"))
		one := func(phoneOf int) (OneCancelled, error) {
			ids, err := w.l.FindRecipients(w.ctx, c.ID, phone(phoneOf))
			w.ok(err)
			w.equal(len(ids), 1)
			return w.l.CancelRecipient(w.ctx, c.ID, ids[0], "test")
		}
		is := func(phoneOf int, want OneCancelled) {
			t.Helper()
			got, err := one(phoneOf)
			w.ok(err)
			w.equal(got, want)
		}
		is(0, CancelsAtProvider)
		is(0, CancelsAtProvider)
		_, err := one(2) // unknown
		w.code(err, campaign.CodeConflict)
		_, err = one(4) // in flight
		w.code(err, campaign.CodeConflict)
		cl := w.next() // somebody has just claimed the last batch
		is(6, CancelledAtOnce)
		is(6, CancelledBefore)
		_, err = w.tryBegin(cl)
		w.is(err, ErrLostLease)
		w.equal(w.counts(c.ID), Counts{Total: 8, Pending: 1, InFlight: 2, Unknown: 2, Accepted: 2, Cancelled: 1, Held: 2})
		k := w.cancels(false, 10)
		w.equal(len(k.Held), 1)
		is(1, CancelsAtProvider) // while the batch is claimed
		w.ok(w.l.RecordCancels(w.ctx, k, decided(k, func(int) CancelFate { return CancelTooLate }), lease, &CancelEnd{}))
		w.equal(w.cancelAll(), 1)
		_, err = one(0)
		w.code(err, campaign.CodeConflict)
		w.state(c.ID, campaign.Sending)
		w.equal(w.counts(c.ID), Counts{Total: 8, Pending: 1, InFlight: 2, Unknown: 2, Accepted: 1, Cancelled: 2, TooLate: 1})
		w.check(c.ID)
		w.answered(flying, numbered)
		w.clock.advance(time.Hour)
		_, err = one(4)
		w.code(err, campaign.CodeConflict)
		_, err = w.l.CancelRecipient(w.ctx, c.ID, 99999, "test")
		w.code(err, campaign.CodeNotFound)
	})
}

func TestInQuarantineNothingIsCancelledAtTheProvider(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.taken(2, 2)
		w.cancel(c.ID)
		w.ok(w.l.store.write(w.ctx, func(tx *tx) error {
			_, err := tx.exec.ExecContext(w.ctx, `UPDATE ledger SET quarantine = 'a copy'`)
			return err
		}))
		due, err := w.l.CancelsDue(w.ctx)
		w.ok(err)
		w.equal(len(due), 0)
		if k := w.cancels(false, 10); k != nil {
			t.Errorf("%d messages are cancelled in quarantine", len(k.Held))
		}
	})
}

// What comes long after the hour until which the provider was to hold it would be
// sent at once: the campaign pauses, and a person decides.
func TestABatchThatComesLongAfterItsHourPausesTheCampaign(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.held(4, 2)
		w.clock.advance(time.Hour + 5*time.Hour)
		w.answered(w.nextAttempt(), accepted)
		w.clock.advance(time.Hour + time.Minute)
		_, err := w.tryBegin(w.next())
		w.is(err, ErrLate)
		w.state(c.ID, campaign.Paused)
		w.equal(w.campaign(c.ID).Reason[:len(lateReason)], lateReason)
		w.equal(w.counts(c.ID), Counts{Total: 4, Pending: 2, Accepted: 2})
		w.ok(w.l.Resume(w.ctx, c.ID, "test"))
		w.answered(w.nextAttempt(), accepted)
		w.state(c.ID, campaign.Completed)
		w.check(c.ID)
	})
}

// A ledger from before knows from its campaigns' content until when the provider
// holds them.
func TestCampaignsFromBeforeAreHeldAsTheirContentSays(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		plain, c := w.sending(1, 1), w.held(1, 1)
		text, err := migrations.ReadFile("migrations/" + w.l.Kind() + "/00005_cancelling.sql")
		w.ok(err)
		_, statement, _ := strings.Cut(string(text), "UPDATE campaigns")
		statement, _, _ = strings.Cut("UPDATE campaigns"+statement, ";")
		w.ok(w.l.store.write(w.ctx, func(tx *tx) error {
			_, err := tx.exec.ExecContext(w.ctx, `UPDATE campaigns SET held_until = -1`)
			if err == nil {
				_, err = tx.exec.ExecContext(w.ctx, statement)
			}
			return err
		}))
		for id, want := range map[int64]int64{plain.ID: 0, c.ID: c.Content.Schedule * 1000} {
			var got int64
			w.ok(w.l.store.read().QueryRowContext(w.ctx, `SELECT held_until FROM campaigns WHERE id = $1`, id).Scan(&got))
			w.equal(got, want)
		}
	})
}

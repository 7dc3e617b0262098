package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
)

const settle = time.Minute

// look takes on the look that is due, and demands that there is one.
func (w *world) look() *Look {
	w.t.Helper()
	due, err := w.l.LooksDue(w.ctx, settle)
	w.ok(err)
	if len(due) == 0 {
		w.t.Fatal("no look is due")
	}
	k, err := w.l.BeginLook(w.ctx, due[0], settle, lease, "finder")
	w.ok(err)
	if k == nil {
		w.t.Fatal("the look that is due cannot be begun")
	}
	return k
}

// end ends a look with the same result for all who were due.
func (w *world) end(k *Look, complete bool, each func(*Looked)) int {
	w.t.Helper()
	r := LookResult{Complete: complete, Settle: settle, MaxPause: 4 * settle, MaxTries: 3}
	for _, s := range k.Suspects {
		if s.Due {
			l := Looked{Suspect: s}
			if each != nil {
				each(&l)
			}
			r.Looked = append(r.Looked, l)
		}
	}
	n, err := w.l.EndLook(w.ctx, k, r)
	w.ok(err)
	return n
}

// lost sends a batch whose answer is lost.
func (w *world) lost() *Attempt {
	w.t.Helper()
	a := w.nextAttempt()
	w.ok(w.l.CloseUnknown(w.ctx, a, "no answer"))
	return a
}

// shown is a row of history for each of the ids.
func shown(a *Attempt, ids ...int64) []Finding {
	var all []Finding
	for _, id := range ids {
		all = append(all, Finding{Attempt: a.ID, Outcome: Outcome{Recipient: id, State: campaign.Accepted, ProviderID: fmt.Sprint("h", id), Status: "Sent", Price: price, Parts: 1}})
	}
	return all
}

func (w *world) apply(f []Finding) Applied {
	w.t.Helper()
	n, err := w.l.ApplyEvidence(w.ctx, FromHistory, f)
	w.ok(err)
	return n
}

func TestHistoryDecidesWhoWasAccepted(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(5, 5)
		a := w.lost()
		w.check(c.ID)
		due, err := w.l.LooksDue(w.ctx, settle)
		w.ok(err)
		w.equal(len(due), 0) // its settling time is not over
		w.clock.advance(settle)
		k := w.look()
		again, err := w.l.BeginLook(w.ctx, k.LookDue, settle, lease, "another")
		w.ok(err)
		w.equal(again, (*Look)(nil))

		m := a.Members
		f := shown(a, m[0])
		f = append(f,
			Finding{Attempt: a.ID, Outcome: Outcome{Recipient: m[1], State: campaign.Rejected, Reason: "FAILED", Status: "Failed"}},
			Finding{Attempt: a.ID, Outcome: Outcome{Recipient: m[2], State: campaign.RecipientCancelled, Status: "Cancelled"}})
		w.equal(w.apply(f), Applied{Found: 3})
		w.equal(w.apply(f), Applied{}) // the same rows again change nothing
		w.equal(w.counts(c.ID), Counts{Total: 5, Accepted: 1, Rejected: 1, Cancelled: 1, Unknown: 2})
		w.check(c.ID)

		// A part was found: the others wait a further settling time.
		w.equal(w.end(k, true, func(l *Looked) { l.Found = true }), 0)
		w.equal(w.counts(c.ID).Unknown, 2)
		w.clock.advance(settle - time.Second)
		due, err = w.l.LooksDue(w.ctx, settle)
		w.ok(err)
		w.equal(len(due), 0)
		w.clock.advance(time.Second)
		w.equal(w.end(w.look(), true, nil), 2)
		w.equal(w.counts(c.ID), Counts{Total: 5, Accepted: 1, Rejected: 1, Cancelled: 1, Pending: 2})
		w.equal(w.campaign(c.ID).Reserved, campaign.Micros(0))
		w.check(c.ID)

		b := w.nextAttempt()
		w.equal([]any{b.Members, b.Number, b.claim.Resend, b.Batch != a.Batch}, []any{m[3:], 2, true, true})
		w.answered(b, accepted)
		w.state(c.ID, campaign.Completed)
		w.check(c.ID)
	})
}

func TestAnIncompleteLookShowsNobodyAbsentAndPausesGrow(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(3, 3)
		a := w.lost()
		w.clock.advance(settle)
		for i, pause := range []time.Duration{1, 2, 4, 4} {
			k := w.look()
			w.equal(k.Suspects[0].Looks, i)
			w.equal(w.end(k, false, nil), 0)
			w.equal(w.counts(c.ID).Unknown, 3)
			list, err := w.l.UnknownAttempts(w.ctx, c.ID, settle)
			w.ok(err)
			w.equal(list[0].NextLook.Sub(w.clock.Now()), pause*settle)
			w.clock.advance(pause * settle)
		}
		// What is ambiguous stays unknown as well; the others do not.
		w.equal(w.end(w.look(), true, func(l *Looked) { l.Ambiguous = a.Members[:1] }), 2)
		w.equal(w.counts(c.ID), Counts{Total: 3, Unknown: 1, Pending: 2})
		w.check(c.ID)
	})
}

func TestALookThatAnotherHasOvertakenChangesNothing(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(3, 3)
		w.lost()
		w.clock.advance(settle)
		slow := w.look()
		w.clock.advance(2 * lease)
		quick := w.look()
		w.is(w.l.RenewLook(w.ctx, &Look{LookDue: slow.LookDue, By: "a stranger"}, lease), ErrLostLease)
		w.equal(w.end(quick, true, func(l *Looked) { l.Found = true }), 0)
		w.equal(w.end(slow, true, nil), 0)
		w.equal(w.counts(c.ID).Unknown, 3)
	})
}

// lateCase is where a recipient stands when it turns out that the attempt whose
// absence was shown had reached it.
func TestLateEvidenceWins(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(w *world, c *Campaign) *Attempt // what happens to the resend
		want      Counts
		dup       int
	}{
		"pending":   {func(*world, *Campaign) *Attempt { return nil }, Counts{Total: 2, Accepted: 2}, 0},
		"claimed":   {func(w *world, _ *Campaign) *Attempt { w.next(); return nil }, Counts{Total: 2, Accepted: 2}, 0},
		"accepted":  {func(w *world, _ *Campaign) *Attempt { w.answered(w.nextAttempt(), accepted); return nil }, Counts{Total: 2, Accepted: 2}, 2},
		"refused":   {func(w *world, _ *Campaign) *Attempt { w.answered(w.nextAttempt(), rejected); return nil }, Counts{Total: 2, Accepted: 2}, 0},
		"unknown":   {func(w *world, _ *Campaign) *Attempt { w.lost(); return nil }, Counts{Total: 2, Accepted: 2}, 0},
		"in flight": {func(w *world, _ *Campaign) *Attempt { return w.nextAttempt() }, Counts{Total: 2, Accepted: 2}, 0},
		"cancelled": {func(w *world, c *Campaign) *Attempt { w.ok(w.l.Cancel(w.ctx, c.ID, "ann", "")); return nil }, Counts{Total: 2, Accepted: 2}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, w *world) {
				account := Provider{URL: "http://127.0.0.1/v3", User: name}
				ca := w.sending(2, 2, func(n *NewCampaign) { n.Provider = account })
				a := w.lost()
				w.clock.advance(settle)
				w.equal(w.end(w.look(), true, nil), 2)
				b := c.meanwhile(w, ca)
				w.equal(w.apply(shown(a, a.Members...)), Applied{Late: 2, Duplicates: c.dup})
				w.equal(w.apply(shown(a, a.Members...)), Applied{})
				w.equal(w.counts(ca.ID), c.want)
				w.check(ca.ID)
				why, err := w.l.Stopped(w.ctx, ca)
				w.ok(err)
				w.equal(why != "", c.dup > 0)
				w.equal(len(w.due()), 0)
				if b == nil {
					return
				}
				// The answer to the resend comes after the evidence: now they are two.
				w.answered(b, accepted)
				w.check(ca.ID)
				n, err := w.l.Duplicates(w.ctx, ca.ID)
				w.ok(err)
				w.equal(n, 2)
				w.state(ca.ID, campaign.Completed)
			})
		})
	}
}

func TestAClaimedBatchThatEvidenceTouchedIsLost(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.sending(3, 3)
		a := w.lost()
		w.clock.advance(settle)
		w.equal(w.end(w.look(), true, nil), 3)
		cl := w.next()
		w.equal(w.apply(shown(a, a.Members[1])), Applied{Late: 1})
		_, err := w.tryBegin(cl)
		w.is(err, ErrLostLease)
		b := w.nextAttempt()
		w.equal(b.Members, []int64{a.Members[0], a.Members[2]})
	})
}

// Both attempts turn out to have reached them: the second is found while it is
// itself being found out.
func TestTwoLostAttemptsThatBothArrivedAreDuplicates(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(2, 2)
		a := w.lost()
		w.clock.advance(settle)
		w.equal(w.end(w.look(), true, nil), 2)
		b := w.lost()
		w.equal(w.apply(shown(a, a.Members...)), Applied{Late: 2})
		w.equal(w.counts(c.ID), Counts{Total: 2, Accepted: 2})
		w.check(c.ID)
		w.equal(w.apply(shown(b, b.Members...)), Applied{Found: 2, Duplicates: 2})
		w.check(c.ID)
		got := w.campaign(c.ID)
		w.equal([]campaign.Micros{got.Spent, got.Reserved}, []campaign.Micros{4 * price, 0})
	})
}

func TestStoppedResendsPauseWhatWaitsForNothingElse(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(4, 2)
		a := w.lost()
		w.clock.advance(settle)
		w.equal(w.end(w.look(), true, nil), 2)
		var first, resend *Attempt
		for range 2 {
			if b := w.nextAttempt(); b.claim.Resend {
				resend = b
			} else {
				first = b
			}
		}
		w.answered(resend, accepted)
		w.equal(w.apply(shown(a, a.Members...)), Applied{Late: 2, Duplicates: 2})
		// What is sent for the first time goes on, and is lost in its turn.
		w.ok(w.l.CloseUnknown(w.ctx, first, "no answer"))
		w.clock.advance(settle)
		w.equal(w.end(w.look(), true, nil), 2)
		w.equal(len(w.due()), 0)
		paused, err := w.l.PauseStopped(w.ctx)
		w.ok(err)
		w.equal(paused, []int64{c.ID})
		got := w.campaign(c.ID)
		w.equal(got.State, campaign.Paused)
		if !strings.HasPrefix(got.Reason, duplicatesReason) {
			t.Errorf("the reason is %q", got.Reason)
		}
		stopped, err := w.l.AllowResends(w.ctx, c, "ann")
		w.ok(err)
		w.equal(stopped, true)
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		w.answered(w.nextAttempt(), accepted)
		w.state(c.ID, campaign.Completed)
		w.check(c.ID)
	})
}

func TestAPersonDecides(t *testing.T) {
	for _, sent := range []bool{true, false} {
		t.Run(fmt.Sprint("sent ", sent), func(t *testing.T) {
			both(t, func(t *testing.T, w *world) {
				c := w.sending(4, 2)
				a, b := w.lost(), w.lost()
				n, err := w.l.Assume(w.ctx, c.ID, b.ID, sent, "ann")
				w.ok(err)
				w.equal(n, 2)
				want := Counts{Total: 4, Unknown: 2, Accepted: 2}
				if !sent {
					want = Counts{Total: 4, Unknown: 2, Pending: 2}
				}
				w.equal(w.counts(c.ID), want)
				w.check(c.ID)
				events, err := w.l.Events(w.ctx, c.ID)
				w.ok(err)
				last := events[len(events)-1]
				w.equal([]string{last.Actor, last.Action}, []string{"ann", "assume"})
				if sent {
					_, err = w.l.Assume(w.ctx, c.ID, b.ID, sent, "ann")
					w.code(err, campaign.CodeConflict)
					w.equal(w.campaign(c.ID).Spent, 2*price)
					return
				}
				// That was wrong, and shows.
				resend := w.nextAttempt()
				w.equal(resend.Members, b.Members)
				w.answered(resend, accepted)
				w.equal(w.apply(append(shown(b, b.Members...), shown(a, a.Members...)...)), Applied{Found: 2, Late: 2, Duplicates: 2})
				w.check(c.ID)
				w.state(c.ID, campaign.Completed)
			})
		})
	}
}

func TestRowsThatNeverComeClearAreRejectedInTheEnd(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(2, 2)
		for i := range 3 { // MaxTries of end
			a := w.nextAttempt()
			w.answered(a, func(i int) Outcome {
				return Outcome{State: campaign.Unknown, Reason: "THROTTLED", Status: "THROTTLED"}
			})
			w.check(c.ID)
			w.clock.advance(settle)
			want := 2
			w.equal(w.end(w.look(), true, nil), want)
			w.equal(w.counts(c.ID).Rejected, map[bool]int{true: 2, false: 0}[i == 2])
		}
		reasons, err := w.l.CountReasons(w.ctx, c.ID)
		w.ok(err)
		w.equal(reasons[campaign.Rejected], map[string]int{"THROTTLED": 2})
		w.state(c.ID, campaign.Completed)
		w.check(c.ID)
	})
}

func TestWhatIsCancelledMeanwhileIsNotSentAgain(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(3, 3)
		a := w.lost()
		w.ok(w.l.Cancel(w.ctx, c.ID, "ann", "wrong text"))
		w.state(c.ID, campaign.Cancelling)
		w.clock.advance(settle)
		k := w.look()
		w.equal(w.apply(shown(a, a.Members[0])), Applied{Found: 1})
		w.equal(w.end(k, true, func(l *Looked) { l.Found = true }), 0)
		w.state(c.ID, campaign.Cancelling)
		w.clock.advance(settle)
		w.equal(w.end(w.look(), true, nil), 2)
		w.state(c.ID, campaign.Cancelled)
		w.equal(w.counts(c.ID), Counts{Total: 3, Accepted: 1, Cancelled: 2})
		w.check(c.ID)
	})
}

func TestWhoWasShownAbsentIsLookedForAgain(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(2, 2)
		w.lost()
		w.clock.advance(settle)
		w.equal(w.end(w.look(), true, nil), 2)
		w.answered(w.nextAttempt(), accepted)
		w.state(c.ID, campaign.Completed)
		for _, pause := range []time.Duration{4, 16, 64} {
			due := func() int {
				t.Helper()
				all, err := w.l.LooksDue(w.ctx, settle)
				w.ok(err)
				return len(all)
			}
			w.clock.advance(pause*settle - time.Second)
			w.equal(due(), 0)
			w.clock.advance(time.Second)
			w.equal(due(), 1)
			w.equal(w.end(w.look(), true, nil), 0)
		}
		w.clock.advance(1000 * settle)
		all, err := w.l.LooksDue(w.ctx, settle)
		w.ok(err)
		w.equal(len(all), 0)
	})
}

func TestRejectedRecipientsAreTriedAgainOnDemand(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(6, 3)
		for range 2 {
			w.answered(w.nextAttempt(), func(i int) Outcome {
				if i == 1 {
					return Outcome{State: campaign.Rejected, Reason: "COUNTRY_NOT_ENABLED", Status: "COUNTRY_NOT_ENABLED"}
				}
				return accepted(i)
			})
		}
		w.state(c.ID, campaign.Completed)
		_, err := w.l.RetryRejected(w.ctx, c.ID, "INVALID_RECIPIENT", "ann")
		w.code(err, campaign.CodeNotFound)
		n, err := w.l.RetryRejected(w.ctx, c.ID, "COUNTRY_NOT_ENABLED", "ann")
		w.ok(err)
		w.equal(n, 2)
		w.state(c.ID, campaign.Sending)
		w.check(c.ID)
		for range 2 {
			a := w.nextAttempt()
			w.equal([]any{a.Number, len(a.Members)}, []any{2, 1})
			w.answered(a, accepted)
		}
		w.state(c.ID, campaign.Completed)
		w.equal(w.counts(c.ID), Counts{Total: 6, Accepted: 6})
		w.check(c.ID)
		// The report tells of both answers.
		messages := map[int]int{}
		w.ok(w.l.EachRecipient(w.ctx, w.campaign(c.ID), func(r *ReportRow) error { messages[r.Attempts]++; return nil }))
		w.equal(messages, map[int]int{1: 4, 2: 2})
		draft := w.draft(2)
		_, err = w.l.RetryRejected(w.ctx, draft.ID, "X", "ann")
		w.code(err, campaign.CodeConflict)
	})
}

func TestKnownMessagesAreToldFromOthers(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.sending(4, 2)
		a := w.nextAttempt()
		w.answered(a, func(i int) Outcome {
			return Outcome{State: campaign.Accepted, Status: "SUCCESS", ProviderID: fmt.Sprint("answered ", i), Price: price}
		})
		b := w.lost()
		w.apply(shown(b, b.Members[0]))
		d := LookDue{Provider: a.claim.Campaign.Provider, Channel: campaign.SMS}
		id := fmt.Sprint("h", b.Members[0])
		known, err := w.l.KnownMessages(w.ctx, d, time.Time{}, map[string]bool{"answered 1": true, id: true, "another's": true})
		w.ok(err)
		for id, k := range known {
			k.Started = time.Time{}
			known[id] = k
		}
		w.equal(known, map[string]KnownMessage{"answered 1": {Attempt: a.ID, Recipient: a.Members[1]}, id: {Attempt: b.ID, Recipient: b.Members[0]}})
		k := &Suspect{Attempt: b.ID, Campaign: b.Campaign, Unresolved: b.Members}
		people, err := w.l.SuspectRecipients(w.ctx, k)
		w.ok(err)
		var ids []int64
		for _, p := range people {
			ids = append(ids, p.ID)
		}
		w.equal(slices.Clone(ids), b.Members)
	})
}

// Somebody decided after history had been read in vain for long: whether that
// was right is looked for all the same.
func TestADecisionByHandIsLookedAfter(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(2, 2)
		a := w.lost()
		for range lateLooks + 1 {
			w.clock.advance(20 * settle)
			w.end(w.look(), false, nil)
		}
		_, err := w.l.Assume(w.ctx, c.ID, a.ID, false, "ann")
		w.ok(err)
		w.answered(w.nextAttempt(), accepted)
		w.state(c.ID, campaign.Completed)
		w.clock.advance(settle)
		k := w.look()
		w.equal(k.Suspects[0].Due, true)
		w.equal(w.apply(shown(a, a.Members...)), Applied{Late: 2, Duplicates: 2})
		w.end(k, true, nil)
		w.check(c.ID)
	})
}

// Who may stay unknown for ever does not keep a campaign from saying that its
// resends are stopped.
func TestStoppedResendsPauseBesideWhatCannotBeFoundOut(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(6, 2)
		a := w.lost()
		w.clock.advance(settle)
		w.equal(w.end(w.look(), true, nil), 2)
		var first []*Attempt
		var resend *Attempt
		for range 3 {
			if b := w.nextAttempt(); b.claim.Resend {
				resend = b
			} else {
				first = append(first, b)
			}
		}
		w.answered(resend, accepted)
		w.equal(w.apply(shown(a, a.Members...)), Applied{Late: 2, Duplicates: 2})
		for _, b := range first {
			w.ok(w.l.CloseUnknown(w.ctx, b, "no answer"))
		}
		var paused []int64
		for range lateLooks {
			w.equal(len(paused), 0)
			w.clock.advance(20 * settle)
			w.end(w.look(), true, func(l *Looked) {
				if l.Suspect.Attempt == first[0].ID {
					l.Ambiguous = first[0].Members
				}
			})
			var err error
			paused, err = w.l.PauseStopped(w.ctx)
			w.ok(err)
		}
		w.equal(w.counts(c.ID), Counts{Total: 6, Accepted: 2, Unknown: 2, Pending: 2})
		w.equal(paused, []int64{c.ID})
		w.check(c.ID)
	})
}

// Who was refused for good after many refusals that pass gets as many again on
// demand.
func TestARetryOnDemandForgetsThePassingRefusals(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(2, 2)
		for range 3 { // MaxTries of end
			w.answered(w.nextAttempt(), func(int) Outcome {
				return Outcome{State: campaign.Unknown, Reason: "THROTTLED", Status: "THROTTLED"}
			})
			w.clock.advance(settle)
			w.equal(w.end(w.look(), true, nil), 2)
		}
		w.state(c.ID, campaign.Completed)
		_, err := w.l.RetryRejected(w.ctx, c.ID, "THROTTLED", "ann")
		w.ok(err)
		a := w.nextAttempt()
		w.equal([]any{a.Number, a.claim.Tries, a.claim.Resend}, []any{4, 0, true})
	})
}

// A look that was overtaken, because its worker slept past its lease, shows
// nobody absent: the one that has overtaken it may be finding a part.
func TestALookThatWasOvertakenShowsNobodyAbsent(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(3, 3)
		a := w.lost()
		w.clock.advance(settle)
		slept := w.look()
		w.clock.advance(lease)
		k, err := w.l.BeginLook(w.ctx, slept.LookDue, settle, lease, "another")
		w.ok(err)
		w.equal(w.apply(shown(a, a.Members[0])), Applied{Found: 1})
		w.equal(w.end(slept, true, nil), 0)
		w.equal(w.counts(c.ID), Counts{Total: 3, Accepted: 1, Unknown: 2})
		w.equal(w.end(k, true, func(l *Looked) { l.Found = true }), 0)
		w.clock.advance(settle)
		w.equal(w.end(w.look(), true, nil), 2)
		w.check(c.ID)
	})
}

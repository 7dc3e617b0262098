package ledger

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
)

func TestAnAttemptIsOnRecordBeforeItLeaves(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(3, 3)
		cl := w.next()
		a := w.begin(cl)
		w.equal([]any{a.Batch, a.Campaign, a.Number, a.Members, a.Deadline, a.Reserved},
			[]any{cl.Batch, c.ID, 1, members(cl), w.clock.Now().Add(within), 3 * price})
		w.equal(w.counts(c.ID), Counts{Total: 3, InFlight: 3})
		var blob []byte
		w.ok(w.l.store.read().QueryRowContext(w.ctx, `SELECT members FROM attempts WHERE id = $1`, a.ID).Scan(&blob))
		on, err := decodeMembers(blob)
		w.ok(err)
		w.equal(on, a.Members)
		w.check(c.ID)
		_, err = w.tryBegin(cl) // the same worker, again
		w.is(err, ErrLostLease)
		w.equal(len(w.due()), 0)
	})
}

func TestNoAttemptBeginsWithoutTheLease(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(1, 1)
		cl := w.next()
		w.clock.advance(lease + time.Millisecond)
		_, err := w.tryBegin(cl)
		w.is(err, ErrLostLease)
		w.equal(w.rows("attempts"), 0)
		w.check(c.ID)
	})
}

func TestNoAttemptBeginsWhileTheCampaignIsNotSending(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(1, 1)
		cl := w.next()
		w.move(c.ID, campaign.Paused)
		_, err := w.tryBegin(cl)
		w.is(err, ErrNotSending)
		w.check(c.ID)
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		w.answered(w.nextAttempt(), accepted) // it had been given back
		w.state(c.ID, campaign.Completed)
	})
}

func TestTheSpendCapHoldsForManyWorkers(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		budget := 7*price + price/2
		c := w.sending(20, 1, func(n *NewCampaign) { n.Budget = &budget })
		var began, stopped atomic.Int64
		var g errgroup.Group
		for _, d := range w.due() {
			g.Go(func() error {
				cl, err := w.l.Claim(w.ctx, d.Batch, d.Number, fmt.Sprint(d.Batch), lease)
				if err != nil || cl == nil {
					return err
				}
				switch a, err := w.tryBegin(cl); {
				case err == nil:
					began.Add(1)
					return w.l.CloseAnswered(w.ctx, a, answer(a, accepted))
				case errors.Is(err, ErrBudget), errors.Is(err, ErrNotSending):
					stopped.Add(1)
					return nil
				default:
					return err
				}
			})
		}
		w.ok(g.Wait())
		w.equal(began.Load(), int64(7))
		w.state(c.ID, campaign.Paused)
		if got := w.campaign(c.ID); got.Spent != 7*price || !strings.HasPrefix(got.Reason, "budget: ") {
			t.Errorf("%s spent, reason %q", got.Spent, got.Reason)
		}
		w.check(c.ID)
	})
}

func TestAfterThreeUnknownAttemptsOneProbeAtATimeLeaves(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(8, 1)
		for range 3 {
			w.ok(w.l.CloseUnknown(w.ctx, w.nextAttempt(), "no answer"))
		}
		probe := w.nextAttempt()
		_, err := w.tryBegin(w.next())
		w.is(err, ErrProbing)
		w.equal(w.rows("attempts"), 4)
		// Another account's channel is not held back.
		far := here
		far.User = "8"
		other := w.sending(1, 1, func(n *NewCampaign) { n.Provider = far })
		w.move(c.ID, campaign.Paused)
		w.answered(w.nextAttempt(), accepted)
		w.state(other.ID, campaign.Completed)
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))

		w.ok(w.l.CloseUnknown(w.ctx, probe, "no answer"))
		probe = w.nextAttempt()
		_, err = w.tryBegin(w.next())
		w.is(err, ErrProbing)
		w.answered(probe, accepted)
		w.clock.advance(time.Second)
		w.nextAttempt()
		w.nextAttempt() // the brake is off
		w.check(c.ID)
	})
}

func TestAnAnswerThatTellsNothingKeepsTheProbeBrake(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(6, 1)
		for range 3 {
			w.answered(w.nextAttempt(), unknown)
		}
		w.nextAttempt()
		_, err := w.tryBegin(w.next())
		w.is(err, ErrProbing)
		w.check(c.ID)
	})
}

func TestWhoOptsOutMeanwhileIsNotSentTo(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(3, 2)
		cl := w.next()
		w.ok(w.l.OptOut(w.ctx, phone(1), "reply", "STOP"))
		a := w.begin(cl)
		w.equal(a.Members, members(cl)[:1])
		w.equal(a.Reserved, price)
		w.equal(w.counts(c.ID), Counts{Total: 3, Pending: 1, InFlight: 1, Suppressed: 1})
		w.check(c.ID)
		w.answered(a, accepted)
		w.equal(w.counts(c.ID), Counts{Total: 3, Pending: 1, Accepted: 1, Suppressed: 1})
		w.check(c.ID)

		w.ok(w.l.OptOut(w.ctx, phone(2), "reply", "STOP"))
		_, err := w.tryBegin(w.next())
		w.is(err, ErrNobody)
		w.state(c.ID, campaign.Completed)
		w.check(c.ID)
		reasons, err := w.l.CountReasons(w.ctx, c.ID)
		w.ok(err)
		w.equal(reasons, map[campaign.RecipientState]map[string]int{campaign.Suppressed: {campaign.ReasonOptedOut: 2}})
	})
}

func TestMixedOutcomesAreRecordedInOneGo(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		const n = 1000
		c := w.sending(n, n)
		a := w.nextAttempt()
		mixed := answer(a, func(i int) Outcome {
			switch i % 5 {
			case 0:
				return rejected(i)
			case 1:
				return unknown(i)
			case 2:
				return passing(i)
			}
			return Outcome{State: campaign.Accepted, Status: "SUCCESS", ProviderID: fmt.Sprint(i), Price: campaign.Micros(i), Parts: 1}
		})
		w.ok(w.l.CloseAnswered(w.ctx, a, mixed))
		w.equal(w.counts(c.ID), Counts{Total: n, Pending: 200, Unknown: 200, Accepted: 400, Rejected: 200})
		w.check(c.ID)
		var want campaign.Micros
		for _, o := range mixed.Outcomes {
			want += o.Price
		}
		got := w.campaign(c.ID)
		w.equal([]campaign.Micros{got.Spent, got.Reserved}, []campaign.Micros{want, 200 * price})
		w.is(w.l.CloseAnswered(w.ctx, a, mixed), ErrClosedAttempt)
		w.is(w.l.CloseUnknown(w.ctx, a, ""), ErrClosedAttempt)
		w.is(w.l.CloseNotSent(w.ctx, a, "", 0, ""), ErrClosedAttempt)
		w.is(w.l.CloseRefused(w.ctx, a, "", "", 0), ErrClosedAttempt)
		w.equal(w.campaign(c.ID), got)

		// Only those that are pending go again, under the next number.
		w.equal(len(w.due()), 0)
		w.clock.advance(30 * time.Second)
		b := w.nextAttempt()
		w.equal([]any{b.Number, len(b.Members)}, []any{2, 200})
		w.answered(b, accepted)
		w.equal(w.counts(c.ID), Counts{Total: n, Unknown: 200, Accepted: 600, Rejected: 200})
		w.check(c.ID)
		w.state(c.ID, campaign.Sending) // the unknown are being found out
		reasons, err := w.l.CountReasons(w.ctx, c.ID)
		w.ok(err)
		w.equal(reasons, map[campaign.RecipientState]map[string]int{campaign.Rejected: {"INVALID_RECIPIENT": 200}})
	})
}

func TestAnAnswerMustSpeakOfEveryMember(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(2, 2)
		a := w.nextAttempt()
		few := answer(a, accepted)
		few.Outcomes = few.Outcomes[:1]
		if err := w.l.CloseAnswered(w.ctx, a, few); err == nil {
			t.Error("an answer with an outcome too few was recorded")
		}
		swapped := answer(a, accepted)
		swapped.Outcomes[0], swapped.Outcomes[1] = swapped.Outcomes[1], swapped.Outcomes[0]
		if err := w.l.CloseAnswered(w.ctx, a, swapped); err == nil {
			t.Error("an answer in another order was recorded")
		}
		w.equal(w.counts(c.ID), Counts{Total: 2, InFlight: 2})
		w.answered(a, accepted)
		w.check(c.ID)
	})
}

func TestTheRefusalBrake(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		brake := func(a *Attempt, refusals int) {
			t.Helper()
			ans := answer(a, func(i int) Outcome {
				if i < refusals {
					return rejected(i)
				}
				return accepted(i)
			})
			ans.Brake = 0.2
			w.ok(w.l.CloseAnswered(w.ctx, a, ans))
		}
		c := w.sending(1500, 250)
		brake(w.nextAttempt(), 100)
		brake(w.nextAttempt(), 100) // 200 of 500: not yet more than 20 % of 1,000
		w.state(c.ID, campaign.Sending)
		w.move(c.ID, campaign.Paused)
		w.ok(w.l.Resume(w.ctx, c.ID, "ann")) // a resume after another pause leaves it on
		brake(w.nextAttempt(), 1)
		w.state(c.ID, campaign.Paused)
		w.equal(w.campaign(c.ID).Reason, "refusals: 201 of the first 750 answers were refusals, more than 20 %")
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		brake(w.nextAttempt(), 250)
		w.state(c.ID, campaign.Sending) // somebody has looked
		w.check(c.ID)

		// Refusals after the first 1,000 answers do not count.
		late := w.sending(1500, 250)
		w.move(c.ID, campaign.Paused)
		for range 4 {
			brake(w.nextAttempt(), 50)
		}
		brake(w.nextAttempt(), 250)
		w.state(late.ID, campaign.Sending)

		// With nobody left to hold back there is nothing to pause.
		last := w.sending(2, 2)
		w.move(late.ID, campaign.Paused)
		brake(w.nextAttempt(), 2)
		w.state(last.ID, campaign.Completed)
		w.check(last.ID)
	})
}

func TestThePauseReasonOfAnAnswer(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(4, 2)
		a := w.nextAttempt()
		ans := answer(a, func(i int) Outcome {
			if i == 0 {
				return accepted(i)
			}
			return pending(i)
		})
		ans.Pause = "credit: none left"
		w.ok(w.l.CloseAnswered(w.ctx, a, ans))
		w.state(c.ID, campaign.Paused)
		w.equal(w.campaign(c.ID).Reason, "credit: none left")
		w.equal(w.counts(c.ID), Counts{Total: 4, Pending: 3, Accepted: 1})
		w.check(c.ID)
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		w.answered(w.nextAttempt(), accepted)
		w.answered(w.nextAttempt(), accepted)
		w.state(c.ID, campaign.Completed)
		w.equal(w.counts(c.ID), Counts{Total: 4, Accepted: 4})
	})
}

func TestALostWorkersAttemptIsUnknownAndALateAnswerWins(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(4, 4)
		a := w.nextAttempt()
		sweep := func(want int) {
			t.Helper()
			n, err := w.l.SweepAttempts(w.ctx)
			w.ok(err)
			w.equal(n, want)
		}
		sweep(0) // its worker lives
		w.ok(w.l.RenewLease(w.ctx, a.claim, time.Minute))
		w.clock.advance(lease + time.Millisecond)
		sweep(0)
		w.clock.advance(time.Minute)
		sweep(1)
		sweep(0)
		w.equal(w.counts(c.ID), Counts{Total: 4, Unknown: 4})
		w.check(c.ID)
		w.equal(len(w.due()), 0)
		w.is(w.l.CloseNotSent(w.ctx, a, "", 0, ""), ErrClosedAttempt)

		w.ok(w.l.CloseAnswered(w.ctx, a, answer(a, func(i int) Outcome {
			return []func(int) Outcome{accepted, rejected, unknown, passing}[i](i)
		})))
		w.equal(w.counts(c.ID), Counts{Total: 4, Pending: 1, Unknown: 1, Accepted: 1, Rejected: 1})
		w.check(c.ID)
		w.clock.advance(passingWait)
		w.equal(w.nextAttempt().Members, a.Members[3:])
	})
}

func TestWhatWasNotSentLeavesAgain(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(2, 2)
		a := w.nextAttempt()
		w.ok(w.l.CloseNotSent(w.ctx, a, "no connection", 5*time.Second, ""))
		w.equal(w.counts(c.ID), Counts{Total: 2, Pending: 2})
		w.equal(w.campaign(c.ID).Reserved, campaign.Micros(0))
		w.check(c.ID)
		w.equal(len(w.due()), 0)
		w.clock.advance(5 * time.Second)
		b := w.nextAttempt()
		w.equal([]any{b.Number, b.Members}, []any{2, a.Members})
		w.ok(w.l.CloseNotSent(w.ctx, b, "401", 0, "credentials: mend them"))
		w.state(c.ID, campaign.Paused)
		w.equal(w.campaign(c.ID).Reason, "credentials: mend them")
		w.check(c.ID)
	})
}

func TestARefusedBatchIsHalvedUntilTheCulpritStandsAlone(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		const n, culprit = 11, 6
		c := w.sending(n, n)
		numbers := map[int64]map[int]bool{} // recipient -> attempt numbers it was offered under
		var bad int64
		for posts := 0; w.campaign(c.ID).State == campaign.Sending; posts++ {
			if posts > 4*n {
				t.Fatal("it does not end")
			}
			a := w.nextAttempt()
			if bad == 0 {
				bad = a.Members[culprit]
			}
			has := false
			for _, id := range a.Members {
				if numbers[id] == nil {
					numbers[id] = map[int]bool{}
				}
				if numbers[id][a.Number] {
					t.Fatalf("recipient %d was offered twice under number %d", id, a.Number)
				}
				numbers[id][a.Number] = true
				has = has || id == bad
			}
			if has {
				w.ok(w.l.CloseRefused(w.ctx, a, "BAD_REQUEST", "400", 0.2))
			} else {
				w.answered(a, accepted)
			}
			w.check(c.ID)
		}
		w.state(c.ID, campaign.Completed)
		w.equal(w.counts(c.ID), Counts{Total: n, Accepted: n - 1, Rejected: 1})
		reasons, err := w.l.CountReasons(w.ctx, c.ID)
		w.ok(err)
		w.equal(reasons, map[campaign.RecipientState]map[string]int{campaign.Rejected: {"BAD_REQUEST": 1}})
	})
}

func TestTheRefusalBrakeCountsCulprits(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(10, 1)
		for range 2 {
			w.ok(w.l.CloseRefused(w.ctx, w.nextAttempt(), "BAD_REQUEST", "", 0.2))
			w.state(c.ID, campaign.Sending)
		}
		w.ok(w.l.CloseRefused(w.ctx, w.nextAttempt(), "BAD_REQUEST", "", 0.2))
		w.state(c.ID, campaign.Paused)
		w.check(c.ID)
	})
}

func TestACampaignEndsWhenNobodyIsLeft(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(2, 1)
		a, b := w.nextAttempt(), w.nextAttempt()
		w.answered(a, accepted)
		w.state(c.ID, campaign.Sending)
		w.clock.advance(time.Second)
		w.answered(b, rejected)
		w.state(c.ID, campaign.Completed)
		w.equal(w.campaign(c.ID).Ended, w.clock.Now())

		// All suppressed at planning.
		c = w.draft(1)
		p := w.l.Plan(c)
		w.ok(p.Batch(w.ctx, campaign.PlannedBatch{Recipients: []campaign.PlannedRecipient{{ContactID: 1, State: campaign.Suppressed, Reason: campaign.ReasonNoDestination}}}))
		w.ok(p.Finish(w.ctx, campaign.PlanSummary{Total: 1}))
		w.quote(c)
		w.move(c.ID, campaign.Sending)
		w.state(c.ID, campaign.Completed)
		w.check(c.ID)

		// Paused while the last was in flight.
		c = w.sending(1, 1)
		a = w.nextAttempt()
		w.move(c.ID, campaign.Paused)
		w.answered(a, accepted)
		w.state(c.ID, campaign.Paused)
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		w.state(c.ID, campaign.Completed)

		// Cancelled while the last was in flight.
		c = w.sending(1, 1)
		a = w.nextAttempt()
		w.ok(w.l.Cancel(w.ctx, c.ID, "ann", ""))
		w.state(c.ID, campaign.Cancelling)
		w.answered(a, accepted)
		w.state(c.ID, campaign.Cancelled)
		w.equal(w.counts(c.ID), Counts{Total: 1, Accepted: 1})
		w.check(c.ID)
	})
}

func TestTheReportTellsEveryFate(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(4, 2)
		a := w.nextAttempt()
		w.answered(a, func(i int) Outcome {
			if i == 0 {
				return Outcome{State: campaign.Accepted, Status: "SUCCESS", ProviderID: "A1", Price: 70_000, Parts: 2}
			}
			return Outcome{State: campaign.Pending, Status: "THROTTLED"}
		})
		at := w.clock.Now()
		w.clock.advance(time.Minute)
		w.move(c.ID, campaign.Paused)
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		b := w.nextAttempt()
		w.equal(b.Members, a.Members[1:])
		w.answered(b, rejected)
		var got []string
		w.ok(w.l.EachRecipient(w.ctx, c, func(r *ReportRow) error {
			got = append(got, fmt.Sprintf("%s %s %s %s %s %d %d %v", r.Contact.Phone, r.State, r.Reason, r.ProviderID, r.Price, r.Parts, r.Attempts, r.At.Sub(at)))
			return nil
		}))
		w.equal(got, []string{
			phone(0) + " accepted  A1 0.07 2 1 0s",
			phone(1) + " rejected INVALID_RECIPIENT  0.00 0 2 1m0s",
			phone(2) + " pending   0.00 0 0 " + time.Time{}.Sub(at).String(),
			phone(3) + " pending   0.00 0 0 " + time.Time{}.Sub(at).String(),
		})
		stop := errors.New("stop")
		w.is(w.l.EachRecipient(w.ctx, c, func(*ReportRow) error { return stop }), stop)
	})
}

func TestWhoIsRefusedInPassingLeavesAloneAndLater(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(8, 8)
		a := w.nextAttempt()
		w.answered(a, func(i int) Outcome {
			if i < 2 {
				return passing(i)
			}
			return accepted(i)
		})
		w.equal(len(w.due()), 0)
		w.clock.advance(passingWait)
		b := w.nextAttempt()
		w.equal([]any{b.Members, b.Number, b.claim.Tries}, []any{a.Members[:2], 2, 1})
		// Everybody in it once more: in two halves, and after twice as long.
		w.answered(b, passing)
		w.clock.advance(passingWait)
		w.equal(len(w.due()), 0)
		w.clock.advance(passingWait)
		for i := range 2 {
			d := w.nextAttempt()
			w.equal([]any{d.Members, d.Number, d.claim.Tries}, []any{a.Members[i : i+1], 3, 2})
			w.answered(d, accepted)
		}
		w.check(c.ID)
		w.state(c.ID, campaign.Completed)
	})
}

package ledger

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
)

func TestTheQuoteIsTheSumOfEveryRecipientsPrice(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.draft(600)
		w.plan(c, 600)
		third := func(i int) campaign.Micros { return campaign.Micros(i%3) * 10_000 }
		w.ok(w.l.EachPlannedBatch(w.ctx, c, func(b PlannedBatch) error {
			if err := w.l.QuoteBatches(w.ctx, c.ID, []BatchPrices{{Batch: b.ID, Recipients: []int64{1, 2}, Prices: []campaign.Micros{1}}}); err == nil {
				t.Error("a quote with a price too few was taken")
			}
			return w.price(c, b, third)
		}))
		w.setQuote(c, Quote{Basis: "exact", Total: 6_000_000, Currency: "USD", Messages: 600, Parts: 600})
		got := w.campaign(c.ID)
		w.equal([]any{got.State, got.Quoted, got.Currency, got.Basis}, []any{campaign.Quoted, campaign.Micros(6_000_000), "USD", "exact"})
		// What was quoted cannot be planned again.
		w.code(w.l.Plan(c).Finish(w.ctx, campaign.PlanSummary{}), campaign.CodeConflict)
		w.move(c.ID, campaign.Sending)
		// What was started cannot be priced again.
		w.ok(w.l.EachPlannedBatch(w.ctx, c, func(b PlannedBatch) error {
			w.code(w.price(c, b, third), campaign.CodeConflict)
			return nil
		}))
		_, err := w.l.SetQuote(w.ctx, c, Quote{}, "ann")
		w.code(err, campaign.CodeConflict)
		a := w.nextAttempt()
		w.equal(a.Reserved, campaign.Micros(6_000_000))
		for i, r := range a.claim.Recipients {
			w.equal(r.Quoted, third(i))
		}
		w.check(c.ID)
	})
}

func TestAQuoteIsStoredWithAllThatItSays(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.draft(2)
		w.plan(c, 2)
		none, err := w.l.LatestQuote(w.ctx, c.ID)
		w.ok(err)
		if none != nil {
			t.Fatalf("a draft has the quote %+v", none)
		}
		detail := campaign.QuoteDetail{Countries: []campaign.CountryQuote{{Country: "AU", Messages: 2, Parts: 3, Total: 210_000, Refusals: map[string]int{"X": 1}}}, Requests: 1, Rate: 2.5, Calls: 3}
		w.setQuote(c, Quote{Basis: campaign.BasisClasses, Total: 210_000, Currency: "AUD", Messages: 2, Parts: 3, Detail: detail})
		q, err := w.l.LatestQuote(w.ctx, c.ID)
		w.ok(err)
		w.equal(q, &StoredQuote{
			ID: q.ID, Account: c.Provider.User, Digest: c.Content.PriceDigest(),
			Quote: Quote{At: w.clock.Now(), Basis: campaign.BasisClasses, Total: 210_000, Currency: "AUD", Messages: 2, Parts: 3, Detail: detail},
		})
		// It may be quoted again: the newest counts.
		w.clock.advance(time.Hour)
		w.ok(w.l.Unquote(w.ctx, c.ID, "bob"))
		w.setQuote(c, Quote{Basis: campaign.BasisExact, Total: 200_000, Currency: "AUD"})
		q, err = w.l.LatestQuote(w.ctx, c.ID)
		w.ok(err)
		w.equal([]any{q.Basis, q.Total, q.At, w.campaign(c.ID).Quoted}, []any{campaign.BasisExact, campaign.Micros(200_000), w.clock.Now(), campaign.Micros(200_000)})
	})
}

func TestACampaignStartsOnlyWithAGoodQuote(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		yes := Approval{To: campaign.Sending, Actor: "ann"}
		refused := func(c *Campaign, why error, words ...string) {
			t.Helper()
			err := w.l.Approve(w.ctx, c.ID, yes)
			w.code(err, campaign.CodeConflict)
			if why != nil && !errors.Is(err, why) {
				t.Fatalf("error %v, want one that is %v", err, why)
			}
			for _, word := range words {
				if !strings.Contains(err.Error(), word) {
					t.Fatalf("error %q does not say %q", err, word)
				}
			}
			w.equal(w.campaign(c.ID).State, c.State)
		}
		budget := func(m campaign.Micros) func(*NewCampaign) { return func(n *NewCampaign) { n.Budget = &m } }

		draft := w.draft(1)
		w.plan(draft, 1)
		refused(draft, nil, "is draft")

		old := w.draft(2)
		w.plan(old, 2)
		old = w.quote(old)
		w.clock.advance(QuoteLife + time.Second)
		refused(old, ErrQuote, "24h", "campaign price")
		w.ok(w.l.Unquote(w.ctx, old.ID, "ann"))
		old = w.quote(old) // again
		w.clock.advance(QuoteLife)
		w.ok(w.l.Approve(w.ctx, old.ID, yes))
		w.state(old.ID, campaign.Sending)
		w.code(w.l.Approve(w.ctx, old.ID, yes), campaign.CodeConflict)

		edited := w.draft(1)
		w.plan(edited, 1)
		edited = w.quote(edited)
		w.ok(w.l.store.write(w.ctx, func(tx *tx) error {
			_, err := tx.exec.ExecContext(w.ctx, `UPDATE campaigns SET content = $1 WHERE id = $2`, `{"channel":"sms","body":"Hi there"}`, edited.ID)
			return err
		}))
		refused(edited, ErrQuote, "content was changed")

		later := w.draft(1)
		w.plan(later, 1)
		w.quote(later)
		w.ok(w.l.Approve(w.ctx, later.ID, Approval{To: campaign.Scheduled, Actor: "ann"}))
		w.state(later.ID, campaign.Scheduled)

		for what, b := range map[string]campaign.Micros{"": 2*price - 1, "less than one message costs (0.07": price - 1} {
			dear := w.draft(2, budget(b))
			w.plan(dear, 2)
			refused(w.quote(dear), ErrOverBudget, "its price is 0.14 AUD and its budget "+b.String(), what)
			w.ok(w.l.SetBudget(w.ctx, dear.ID, 2*price, "ann"))
			w.ok(w.l.Approve(w.ctx, dear.ID, yes))
		}
		unpriced := w.draft(1, budget(price))
		w.plan(unpriced, 1)
		w.setQuote(unpriced, Quote{Basis: campaign.BasisNone})
		refused(w.campaign(unpriced.ID), ErrOverBudget, "nobody has asked")
	})
}

func TestABudgetMustHoldWhatIsSetAsideForTheRefused(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		budget := 2*price - 1
		c := w.draft(2, func(n *NewCampaign) { n.Budget = &budget })
		w.plan(c, 1)
		w.ok(w.l.EachPlannedBatch(w.ctx, c, func(b PlannedBatch) error { return w.price(c, b, func(int) campaign.Micros { return price }) }))
		// One of the two would be refused: it is in nobody's total.
		w.setQuote(c, Quote{Basis: campaign.BasisExact, Total: price, Currency: "AUD", Messages: 2, Parts: 1})
		err := w.l.Approve(w.ctx, c.ID, Approval{Actor: "ann"})
		w.code(err, campaign.CodeConflict)
		w.is(err, ErrOverBudget)
		for _, word := range []string{"price is 0.07 AUD", "0.07 more is set aside", "budget of 0.14 and has 0.139999"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("error %q does not say %q", err, word)
			}
		}
		w.ok(w.l.SetBudget(w.ctx, c.ID, 2*price, "ann"))
		w.ok(w.l.Approve(w.ctx, c.ID, Approval{Actor: "ann"}))
		w.nextAttempt()
		w.nextAttempt() // nothing pauses it
		w.equal(w.campaign(c.ID).Reserved, 2*price)
	})
}

// charged accepts every member of the next attempt at a price.
func (w *world) charged(at campaign.Micros) {
	w.t.Helper()
	w.answered(w.nextAttempt(), func(int) Outcome {
		return Outcome{State: campaign.Accepted, ProviderID: "id", Status: "SUCCESS", Price: at, Parts: 1}
	})
}

func TestAPriceAboveTheQuotedOnePausesUntilSomebodyAgrees(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(10, 2)
		w.charged(price)
		w.charged(price - 10_000)
		w.state(c.ID, campaign.Sending)
		w.charged(price + 2000)
		got := w.campaign(c.ID)
		w.equal([]any{got.State, got.Dearer, got.Overspent, got.ExcessAgreed}, []any{campaign.Paused, 2, campaign.Micros(4000), campaign.Micros(0)})
		for _, word := range []string{"price: ", "charged 0.072", "quoted at 0.07;", "2 messages", "0.004 AUD too much", "resume"} {
			if !strings.Contains(got.Reason, word) {
				t.Errorf("the reason %q does not say %q", got.Reason, word)
			}
		}
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		w.charged(price + 2000) // as agreed
		got = w.campaign(c.ID)
		w.equal([]any{got.State, got.Dearer, got.Overspent, got.ExcessAgreed}, []any{campaign.Sending, 4, campaign.Micros(8000), campaign.Micros(2000)})
		w.charged(price + 2001)
		// It was the last batch: nobody is left to hold back, and it is on record.
		got = w.campaign(c.ID)
		w.equal([]any{got.State, got.Dearer, got.Overspent, got.Reserved}, []any{campaign.Completed, 6, campaign.Micros(12_002), campaign.Micros(0)})
		w.check(c.ID)
	})
}

func TestWhoeverResumesAgreesToThePriceThatTheReasonTells(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(12, 2)
		answered := func(a *Attempt, at campaign.Micros) {
			w.answered(a, func(int) Outcome {
				return Outcome{State: campaign.Accepted, ProviderID: "id", Status: "SUCCESS", Price: at, Parts: 1}
			})
		}
		first, second, third := w.nextAttempt(), w.nextAttempt(), w.nextAttempt()
		answered(first, price+2000)
		w.state(c.ID, campaign.Paused)
		answered(second, price+1000) // no higher than what it says
		if got := w.campaign(c.ID); !strings.Contains(got.Reason, "charged 0.072") {
			t.Errorf("the reason is %q", got.Reason)
		}
		answered(third, price+5000)
		got := w.campaign(c.ID)
		for _, word := range []string{"price: ", "charged 0.075", "quoted at 0.07;", "6 messages, 0.016 AUD too much"} {
			if !strings.Contains(got.Reason, word) {
				t.Errorf("the reason %q does not say %q", got.Reason, word)
			}
		}
		events, err := w.l.Events(w.ctx, c.ID)
		w.ok(err)
		last := events[len(events)-1]
		w.equal([]string{last.Action, last.Reason}, []string{"price", got.Reason})
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		w.equal(w.campaign(c.ID).ExcessAgreed, campaign.Micros(5000))

		// What was learnt while it was paused for something else was told nobody.
		fourth, fifth := w.nextAttempt(), w.nextAttempt()
		w.move(c.ID, campaign.Paused)
		answered(fourth, price+9000)
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		w.equal(w.campaign(c.ID).ExcessAgreed, campaign.Micros(5000))
		answered(fifth, price+6000)
		got = w.campaign(c.ID)
		if got.State != campaign.Paused || !strings.Contains(got.Reason, "charged 0.076") {
			t.Fatalf("the campaign is %s: %s", got.State, got.Reason)
		}
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		w.equal(w.campaign(c.ID).ExcessAgreed, campaign.Micros(6000))
		w.check(c.ID)
	})
}

func TestHistoryThatShowsAPriceAboveTheQuotedOnePauses(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(4, 2)
		a := w.nextAttempt()
		w.ok(w.l.CloseUnknown(w.ctx, a, "no answer"))
		_, err := w.l.ApplyEvidence(w.ctx, FromHistory, []Finding{
			{Attempt: a.ID, Outcome: Outcome{Recipient: a.Members[0], State: campaign.Accepted, Status: "Sent", Price: price + 1}},
			{Attempt: a.ID, Outcome: Outcome{Recipient: a.Members[1], State: campaign.Accepted, Status: "Sent"}, PriceUnread: true},
		})
		w.ok(err)
		got := w.campaign(c.ID)
		w.equal([]any{got.State, got.Dearer, got.Overspent, got.Reserved, got.Spent}, []any{campaign.Paused, 1, campaign.Micros(1), campaign.Micros(0), 2*price + 1})
		w.check(c.ID)
	})
}

func TestTheCapLeavesRoomForWhatWasAgreedTo(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		limit := campaign.Micros(720_000)
		c := w.sending(10, 2, func(n *NewCampaign) { n.Budget = &limit })
		w.charged(price + 5000)
		w.state(c.ID, campaign.Paused)
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		for range 3 { // in flight at once: 0.15 is spent, 0.42 reserved, and it may become 0.45
			w.nextAttempt()
		}
		// At what was quoted there would be room for one more: 0.15 + 0.56.
		_, err := w.tryBegin(w.next())
		w.is(err, ErrBudget)
		got := w.campaign(c.ID)
		w.equal([]any{got.State, got.Reserved, strings.HasPrefix(got.Reason, "budget: ")}, []any{campaign.Paused, 6 * price, true})
	})
}

func TestUnpricedCampaignsPauseForNoPrice(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.draft(4)
		w.plan(c, 2)
		w.setQuote(c, Quote{Basis: campaign.BasisNone})
		w.move(c.ID, campaign.Sending)
		w.charged(price)
		got := w.campaign(c.ID)
		w.equal([]any{got.State, got.Dearer, got.Overspent}, []any{campaign.Sending, 0, campaign.Micros(0)})
		// A cap that reserves nothing is none.
		w.code(w.l.SetBudget(w.ctx, c.ID, price, "ann"), campaign.CodeConflict)
		if got := w.campaign(c.ID); got.Budget != nil {
			t.Errorf("the budget is %s", *got.Budget)
		}
	})
}

func TestAYesIsToTheQuoteThatWasSeenAndTheHourThatStands(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		refused := func(err error, words string) {
			t.Helper()
			w.code(err, campaign.CodeConflict)
			if !strings.Contains(err.Error(), words) {
				t.Fatalf("error %q does not say %q", err, words)
			}
		}
		c := w.draft(1)
		w.plan(c, 1)
		seen := w.setQuote(c, Quote{Basis: campaign.BasisExact, Total: 100_000_000, Currency: "AUD", Messages: 1, Parts: 1})
		w.ok(w.l.Unquote(w.ctx, c.ID, "bob"))
		refused(w.l.Approve(w.ctx, c.ID, Approval{Quote: seen, Actor: "ann"}), "being priced anew")
		w.state(c.ID, campaign.Draft)
		other := w.setQuote(c, Quote{Basis: campaign.BasisExact, Total: 200_000_000, Currency: "AUD", Messages: 1, Parts: 1})
		refused(w.l.Approve(w.ctx, c.ID, Approval{Quote: seen, Actor: "ann"}), "200.00 AUD")
		w.state(c.ID, campaign.Quoted)

		// It was to start at once when ann was asked; bob was told tomorrow.
		tomorrow := w.clock.Now().Add(24 * time.Hour)
		w.ok(w.l.Reschedule(w.ctx, c.ID, Reschedule{StartAt: tomorrow, Actor: "bob"}))
		refused(w.l.Approve(w.ctx, c.ID, Approval{Quote: other, To: campaign.Sending, Actor: "ann"}), "and not now")
		w.ok(w.l.Approve(w.ctx, c.ID, Approval{Quote: other, Actor: "ann"}))
		w.state(c.ID, campaign.Scheduled)
		w.equal(len(w.due()), 0)

		due := w.draft(1, func(n *NewCampaign) { n.StartAt = w.clock.Now().Add(time.Hour) })
		w.plan(due, 1)
		w.quote(due)
		w.clock.advance(time.Hour) // while somebody thought about it
		w.ok(w.l.Approve(w.ctx, due.ID, Approval{Actor: "ann"}))
		w.state(due.ID, campaign.Sending)
	})
}

package ledger

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
)

func TestACampaignComesBackAsItWasCreated(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		budget := 12 * campaign.MicrosPerUnit
		at := w.clock.Now().Add(time.Hour)
		n := NewCampaign{Again: true,
			Name: "Winter", Content: campaign.Content{Channel: campaign.Letter, Files: []campaign.File{{SHA256: "ab", Name: "é.pdf", Size: 3, Type: "pdf"}}, ReturnAddressID: 4, Duplex: true},
			ListID: w.list("", 1).ID, Digest: "d", Provider: here, Currency: "AUD", StartAt: at, Budget: &budget, Actor: "ann",
		}
		c, err := w.l.CreateCampaign(w.ctx, n)
		w.ok(err)
		w.equal(c, &Campaign{
			ID: c.ID, Name: "Winter", Channel: campaign.Letter, State: campaign.Draft, ListID: n.ListID, Content: n.Content, Digest: "d",
			Provider: here, Currency: "AUD", StartAt: at, Budget: &budget, Created: w.clock.Now(),
		})
		for _, ref := range []string{"Winter", fmt.Sprint(c.ID), fmt.Sprintf("#%d", c.ID)} {
			got, err := w.l.FindCampaign(w.ctx, ref)
			w.ok(err)
			w.equal(got, c)
		}
		for _, ref := range []string{"winter", "99", "nobody"} {
			_, err := w.l.FindCampaign(w.ctx, ref)
			w.code(err, campaign.CodeNotFound)
		}
		_, err = w.l.Campaign(w.ctx, 99)
		w.code(err, campaign.CodeNotFound)
		_, err = w.l.CreateCampaign(w.ctx, n)
		w.code(err, campaign.CodeExists)

		second := w.draft(1)
		w.equal(second.Name, fmt.Sprintf("sms-%d", second.ID))
		all, err := w.l.Campaigns(w.ctx)
		w.ok(err)
		w.equal(all, []*Campaign{second, c})
	})
}

func TestAnUnnamedCampaignFindsAFreeName(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		first := w.draft(1)
		w.draft(1, func(n *NewCampaign) { n.Name = fmt.Sprintf("sms-%d", first.ID+2) })
		third := w.draft(1)
		if third.ID != first.ID+2 || third.Name == "" || third.Name == fmt.Sprintf("sms-%d", third.ID) {
			t.Errorf("campaign %d is named %q", third.ID, third.Name)
		}
	})
}

func TestOneOfTwoCampaignsGetsTheName(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		li := w.list("people", 1)
		errs := make([]error, 6)
		var g errgroup.Group
		for i := range errs {
			g.Go(func() error {
				_, errs[i] = w.l.CreateCampaign(w.ctx, NewCampaign{Name: "Winter", ListID: li.ID, Content: campaign.Content{Channel: campaign.SMS}})
				return nil
			})
		}
		w.ok(g.Wait())
		got := 0
		for _, err := range errs {
			if err == nil {
				got++
				continue
			}
			w.code(err, campaign.CodeExists)
		}
		w.equal(got, 1)
	})
}

func TestStatesChangeOnlyByLegalMovesAndAreOnRecord(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.draft(2)
		w.plan(c, 1)
		refuse := func(to campaign.State) {
			t.Helper()
			before := w.campaign(c.ID)
			w.code(w.l.MoveCampaign(w.ctx, c.ID, Move{To: to}), campaign.CodeConflict)
			w.equal(w.campaign(c.ID), before)
		}
		refuse(campaign.Sending)
		refuse(campaign.Paused)
		w.quote(c)
		refuse(campaign.Paused)
		w.ok(w.l.Unquote(w.ctx, c.ID, "ann"))
		refuse(campaign.Sending)
		w.quote(w.campaign(c.ID))
		w.clock.advance(time.Minute)
		refuse(campaign.Sending) // it is to be approved
		refuse(campaign.Scheduled)
		w.ok(w.l.Approve(w.ctx, c.ID, Approval{To: campaign.Sending, Actor: "ann", Reason: "approved"}))
		began := w.clock.Now()
		refuse(campaign.Completed)
		refuse(campaign.Quoted)
		w.clock.advance(time.Minute)
		w.ok(w.l.MoveCampaign(w.ctx, c.ID, Move{To: campaign.Paused, Actor: "ann", Reason: "lunch"}))
		w.equal(w.campaign(c.ID).Reason, "lunch")
		w.clock.advance(time.Minute)
		w.ok(w.l.Resume(w.ctx, c.ID, "bob"))
		w.code(w.l.Resume(w.ctx, c.ID, "bob"), campaign.CodeConflict)
		w.equal(w.campaign(c.ID).Started, began)
		w.ok(w.l.Cancel(w.ctx, c.ID, "ann", "enough"))
		w.state(c.ID, campaign.Cancelled)
		w.equal(w.campaign(c.ID).Ended, w.clock.Now())
		w.code(w.l.Cancel(w.ctx, c.ID, "ann", "again"), campaign.CodeConflict)
		refuse(campaign.Sending)
		w.code(w.l.MoveCampaign(w.ctx, 99, Move{To: campaign.Sending}), campaign.CodeNotFound)

		events, err := w.l.Events(w.ctx, c.ID)
		w.ok(err)
		var got []string
		for _, e := range events {
			got = append(got, e.Actor+" "+e.Action+" "+e.Reason)
		}
		w.equal(got, []string{"test created ", "test quoted ", "ann draft to be priced anew", "test quoted ", "ann sending approved", "ann paused lunch", "bob sending resumed", "ann cancelling enough", "postrider cancelled enough"})
		w.equal(events[5].At, began.Add(time.Minute))
		w.check(c.ID)
	})
}

func TestResumeWaitsForTheHour(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.draft(1, func(n *NewCampaign) { n.StartAt = w.clock.Now().Add(time.Hour) })
		w.plan(c, 1)
		w.quote(c)
		w.move(c.ID, campaign.Scheduled)
		w.move(c.ID, campaign.Paused)
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		w.state(c.ID, campaign.Scheduled)
		started, _, err := w.l.StartDue(w.ctx)
		w.ok(err)
		w.equal(len(started), 0)
		w.equal(len(w.due()), 0)
		w.clock.advance(time.Hour)
		started, _, err = w.l.StartDue(w.ctx)
		w.ok(err)
		w.equal(started, []int64{c.ID})
		started, _, err = w.l.StartDue(w.ctx)
		w.ok(err)
		w.equal(len(started), 0)
		w.equal(len(w.due()), 1)
	})
}

func TestCancelLeavesNobodyPending(t *testing.T) {
	for name, stop := range map[string]func(w *world, id int64) error{
		"cancel": func(w *world, id int64) error { return w.l.Cancel(w.ctx, id, "ann", "enough") },
		"move": func(w *world, id int64) error {
			return w.l.MoveCampaign(w.ctx, id, Move{To: campaign.Cancelling, Actor: "ann"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, w *world) {
				c := w.sending(4, 1) // answered, in flight, unknown, claimed
				w.answered(w.nextAttempt(), accepted)
				flying := w.nextAttempt()
				w.ok(w.l.CloseUnknown(w.ctx, w.nextAttempt(), "no answer"))
				claimed := w.next()

				w.ok(stop(w, c.ID))
				w.state(c.ID, campaign.Cancelling)
				w.equal(w.counts(c.ID), Counts{Total: 4, InFlight: 1, Unknown: 1, Accepted: 1, Cancelled: 1})
				w.check(c.ID)
				w.ok(w.l.Cancel(w.ctx, c.ID, "ann", "twice is no error"))
				_, err := w.tryBegin(claimed)
				w.is(err, ErrLostLease)
				w.equal(len(w.due()), 0)

				// Nothing of what comes back is sent again.
				w.ok(w.l.CloseNotSent(w.ctx, flying, "no connection", 0, ""))
				w.equal(w.counts(c.ID), Counts{Total: 4, Unknown: 1, Accepted: 1, Cancelled: 2})
				w.state(c.ID, campaign.Cancelling)
				w.code(w.l.MoveCampaign(w.ctx, c.ID, Move{To: campaign.Cancelled}), campaign.CodeConflict)
				w.check(c.ID)
			})
		})
	}
}

func TestCancelBeforeAnythingLeft(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		for _, end := range []func(id int64) error{
			func(id int64) error { return w.l.Cancel(w.ctx, id, "ann", "") },
			func(id int64) error { return w.l.MoveCampaign(w.ctx, id, Move{To: campaign.Cancelled}) },
			func(id int64) error { return w.l.MoveCampaign(w.ctx, id, Move{To: campaign.Failed}) },
		} {
			c := w.draft(2)
			w.plan(c, 2)
			w.quote(c)
			w.ok(end(c.ID))
			w.equal(w.counts(c.ID), Counts{Total: 2, Cancelled: 2})
			w.check(c.ID)
		}
		c := w.draft(1)
		w.ok(w.l.Cancel(w.ctx, c.ID, "ann", ""))
		w.state(c.ID, campaign.Cancelled)
		w.code(w.l.Plan(c).Finish(w.ctx, campaign.PlanSummary{}), campaign.CodeConflict)
	})
}

func TestARefusedBatchOfACancelledCampaignIsNotHalvedIntoLimbo(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(4, 4)
		a := w.nextAttempt()
		w.ok(w.l.Cancel(w.ctx, c.ID, "ann", ""))
		w.ok(w.l.CloseRefused(w.ctx, a, "BAD_REQUEST", "", 0))
		w.state(c.ID, campaign.Cancelled)
		w.equal(w.counts(c.ID), Counts{Total: 4, Cancelled: 4})
		w.check(c.ID)
	})
}

func TestTheSameCampaignIsFound(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		named := func(digest string) func(*NewCampaign) { return func(n *NewCampaign) { n.Digest = digest } }
		day := func() time.Time { return w.clock.Now().Add(-24 * time.Hour) }
		find := func(digest string) int64 {
			t.Helper()
			c, err := w.l.SimilarCampaign(w.ctx, digest, 0, day())
			w.ok(err)
			if c == nil {
				return 0
			}
			return c.ID
		}
		w.equal(find("a"), int64(0))
		unfinished := w.sending(1, 1, named("a"))
		w.equal(find("a"), unfinished.ID)
		w.equal(find("b"), int64(0))
		done := w.sending(1, 1, named("done"))
		w.ok(w.l.Cancel(w.ctx, done.ID, "ann", ""))
		w.equal(find("done"), done.ID) // it had begun
		never := w.draft(1, named("never"))
		w.plan(never, 1)
		w.quote(never)
		w.equal(find("never"), never.ID)
		w.ok(w.l.Cancel(w.ctx, never.ID, "ann", "")) // somebody said no
		w.equal(find("never"), int64(0))
		w.clock.advance(24 * time.Hour)
		w.equal(find("done"), done.ID)
		w.clock.advance(time.Millisecond)
		w.equal(find("done"), int64(0))
		w.equal(find("a"), unfinished.ID)
	})
}

func TestOfManySendsOfTheSameAtOnceOneBegins(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		list := w.list("people", 1)
		const sends = 8
		results := make(chan error, sends)
		for range sends {
			go func() {
				_, err := w.l.CreateCampaign(w.ctx, NewCampaign{Content: campaign.Content{Channel: campaign.SMS, Body: "hi"}, ListID: list.ID, Digest: "same"})
				results <- err
			}()
		}
		begun := 0
		for range sends {
			err := <-results
			var similar *SimilarError
			switch {
			case err == nil:
				begun++
			case !errors.As(err, &similar) || similar.ID == 0 || campaign.ErrorCode(err) != campaign.CodeExists:
				t.Errorf("a send that came late got %v", err)
			}
		}
		w.equal(begun, 1)
		_, err := w.l.CreateCampaign(w.ctx, NewCampaign{Content: campaign.Content{Channel: campaign.SMS, Body: "hi"}, ListID: list.ID, Digest: "same", Again: true})
		w.ok(err)
	})
}

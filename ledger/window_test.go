package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
)

// open is a timing with a window.
func open(t testing.TB, hours, days, zone string) campaign.Timing {
	t.Helper()
	w, err := campaign.ParseWindow(hours, days)
	if err != nil {
		t.Fatal(err)
	}
	name, by, err := campaign.ParseWindowZone(zone, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	return campaign.Timing{Window: &w, Zone: name, ByRecipient: by}
}

func timed(t campaign.Timing) func(*NewCampaign) { return func(n *NewCampaign) { n.Timing = t } }

// at sets the world's clock.
func (w *world) at(s string) {
	w.t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	w.ok(err)
	w.clock.mu.Lock()
	defer w.clock.mu.Unlock()
	w.clock.now = at
}

// planZones plans an audience into one batch for each recipient, with zones in
// turn.
func (w *world) planZones(c *Campaign, zones ...string) {
	w.t.Helper()
	p := w.l.Plan(c)
	sum := campaign.PlanSummary{Zones: map[string]int{}}
	w.ok(w.l.EachContact(w.ctx, c.ListID, func(k *campaign.Contact) error {
		zone := zones[sum.Total%len(zones)]
		sum.Total++
		sum.Sendable++
		sum.Zones[zone]++
		return p.Batch(w.ctx, campaign.PlannedBatch{Zone: zone, Recipients: []campaign.PlannedRecipient{{ContactID: k.ID}}})
	}))
	w.ok(p.Finish(w.ctx, sum))
}

// dueAt reads when each batch of a campaign is due.
func (w *world) dueAt(id int64) []string {
	w.t.Helper()
	rows, err := w.l.store.read().QueryContext(w.ctx, `SELECT due_at FROM batches WHERE campaign_id = $1 ORDER BY id`, id)
	w.ok(err)
	defer rows.Close()
	var all []string
	for rows.Next() {
		var due int64
		w.ok(rows.Scan(&due))
		all = append(all, fromMillis(due).Format(time.RFC3339))
	}
	w.ok(rows.Err())
	return all
}

func TestATimingComesBackAsItWasCreated(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		timing := open(t, "09:00-20:00", "mon-fri", "recipient:Australia/Sydney")
		timing.IfLate, timing.LateLimit = campaign.LateRun, time.Hour
		c := w.draft(1, timed(timing))
		w.equal(c.Timing, timing)
		w.equal(w.campaign(c.ID).Timing, timing)
		w.equal(w.draft(1).Timing, campaign.Timing{})
		_, err := w.l.CreateCampaign(w.ctx, NewCampaign{ListID: c.ListID, Content: c.Content, Timing: campaign.Timing{Window: timing.Window, Zone: "Mars"}})
		w.code(err, campaign.CodeInvalid)
	})
}

func TestNothingIsDueWhileTheWindowIsClosed(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.at("2026-11-20T19:00:00Z") // a Friday
		c := w.sending(3, 1, timed(open(t, "09:00-20:00", "mon-fri", "Europe/London")))
		w.equal(len(w.due()), 3)
		w.answered(w.begin(w.next2(c)), accepted)

		w.at("2026-11-20T20:00:00Z")
		w.equal(len(w.due()), 0)
		monday := "2026-11-23T09:00:00Z"
		w.equal(w.dueAt(c.ID)[1:], []string{monday, monday})
		next, err := w.l.NextLeave(w.ctx, w.campaign(c.ID))
		w.ok(err)
		w.equal(next.At.Format(time.RFC3339), monday)
		w.equal(next.Closed, true)
		w.equal(next.Zone.String(), "Europe/London")

		// What the queue still holds of the day before is not handed out.
		w.equal(len(w.due()), 0)
		w.at("2026-11-23T08:59:59Z")
		w.equal(len(w.due()), 0)
		w.at(monday)
		w.equal(len(w.due()), 2)
		next, err = w.l.NextLeave(w.ctx, w.campaign(c.ID))
		w.ok(err)
		w.equal(next.Closed, false)
		w.check(c.ID)
	})
}

// next2 claims the first batch of a campaign under whatever number it was
// dispatched last.
func (w *world) next2(c *Campaign) *Claim {
	w.t.Helper()
	var d Dispatch
	w.ok(w.l.store.read().QueryRowContext(w.ctx, `SELECT id, dispatch FROM batches WHERE campaign_id = $1 AND state = 0 ORDER BY id LIMIT 1`, c.ID).Scan(&d.Batch, &d.Number))
	return w.claim(d)
}

func TestAClosedWindowDoesNotStandInTheWayOfOtherCampaigns(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.at("2026-11-20T03:00:00Z")
		closed := w.sending(20, 1, timed(open(t, "09:00-20:00", "", "UTC")))
		other := w.sending(4, 1)
		q := DueQuery{Channel: campaign.SMS, Window: 3, Again: time.Minute}
		due, err := w.l.Due(w.ctx, q)
		w.ok(err)
		w.equal(len(due), 3) // although twenty come before
		for _, d := range due {
			w.equal(w.claim(d).Campaign.ID, other.ID)
		}
		w.equal(len(w.dueAt(closed.ID)), 20)
		for _, at := range w.dueAt(closed.ID) {
			w.equal(at, "2026-11-20T09:00:00Z")
		}
	})
}

func TestAnAttemptBeginsOnlyWhileTheWindowIsOpen(t *testing.T) {
	for _, c := range []struct {
		at, hours, zone string
		open            bool
		next            string
	}{
		{"2026-11-20T19:59:58.999Z", "09:00-20:00", "Europe/London", true, ""},
		{"2026-11-20T19:59:59Z", "09:00-20:00", "Europe/London", false, "2026-11-21T09:00:00Z"}, // closes within the second
		{"2026-11-20T20:00:00Z", "09:00-20:00", "Europe/London", false, "2026-11-21T09:00:00Z"},
		{"2026-11-20T23:59:59.5Z", "22:00-06:00", "Europe/London", true, ""}, // midnight is no end
		{"2026-11-20T23:59:59.5Z", "00:00-24:00", "Europe/London", true, ""},
		// The hour that London's clock shows twice, and the one that it leaves out.
		{"2026-10-25T00:30:00Z", "01:15-01:45", "Europe/London", true, ""},
		{"2026-10-25T00:50:00Z", "01:15-01:45", "Europe/London", false, "2026-10-25T01:15:00Z"},
		{"2026-10-25T01:50:00Z", "01:15-01:45", "Europe/London", false, "2026-10-26T01:15:00Z"},
		{"2027-03-28T00:30:00Z", "01:15-03:00", "Europe/London", false, "2027-03-28T01:00:00Z"},
		{"2027-03-28T00:30:00Z", "01:15-01:45", "Europe/London", false, "2027-03-29T00:15:00Z"},
	} {
		t.Run(c.at+" "+c.hours, func(t *testing.T) {
			both(t, func(t *testing.T, w *world) {
				w.at(c.at)
				cam := w.sending(1, 1)
				cl := w.next()
				// The window is read anew, whatever the claim knows.
				cell, err := writeTiming(new(open(t, c.hours, "", c.zone)))
				w.ok(err)
				w.ok(w.l.store.write(w.ctx, func(tx *tx) error {
					_, err := tx.exec.ExecContext(w.ctx, `UPDATE campaigns SET timing = $1`, cell)
					return err
				}))
				a, err := w.tryBegin(cl)
				if c.open {
					w.ok(err)
					w.answered(a, accepted)
					w.state(cam.ID, campaign.Completed)
					return
				}
				w.is(err, ErrWindow)
				w.equal(w.dueAt(cam.ID), []string{c.next})
				w.equal(w.campaign(cam.ID).Reserved, campaign.Micros(0))
				w.equal(len(w.due()), 0)
				w.at(c.next)
				w.answered(w.nextAttempt(), accepted)
				w.state(cam.ID, campaign.Completed)
			})
		})
	}
}

func TestAnAttemptKnowsHowLongTheWindowIsOpen(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.at("2026-11-20T19:00:00Z")
		w.sending(1, 1, timed(open(t, "09:00-20:00", "", "UTC")))
		w.equal(w.nextAttempt().OpenFor, time.Hour)
		w.sending(1, 1)
		w.equal(w.nextAttempt().OpenFor, time.Duration(0))
		w.sending(1, 1, timed(open(t, "00:00-24:00", "", "UTC")))
		w.equal(w.nextAttempt().OpenFor, time.Duration(0))
	})
}

func TestEachBatchLeavesByTheClockOfItsZone(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.at("2026-11-20T00:30:00Z") // 08:30 in Perth, 11:30 in Sydney, 13:30 in Auckland
		c := w.draft(4, timed(open(t, "09:00-13:00", "", "recipient:Australia/Sydney")))
		w.planZones(c, "Australia/Perth", "", "Pacific/Auckland", "Europe/London")
		w.quote(c)
		w.move(c.ID, campaign.Sending)
		w.equal(len(w.due()), 1)
		w.equal(w.dueAt(c.ID), []string{"2026-11-20T01:00:00Z", "0001-01-01T00:00:00Z", "2026-11-20T20:00:00Z", "2026-11-20T09:00:00Z"})
		w.at("2026-11-20T01:00:00Z")
		w.equal(len(w.due()), 2)     // Sydney's, which nobody has claimed, once more
		w.at("2026-11-20T09:00:00Z") // Perth and Sydney are closed by now
		w.equal(len(w.due()), 1)
		w.equal(w.dueAt(c.ID), []string{"2026-11-21T01:00:00Z", "2026-11-20T22:00:00Z", "2026-11-20T20:00:00Z", "2026-11-20T09:00:00Z"})
	})
}

func TestWhatIsSentAgainKeepsItsZoneAndItsWindow(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.at("2026-11-20T04:00:00Z") // noon in Perth, midnight in New York is 05:00
		c := w.draft(2, timed(open(t, "09:00-20:00", "", "recipient:UTC")))
		p := w.l.Plan(c)
		var all []campaign.PlannedRecipient
		w.ok(w.l.EachContact(w.ctx, c.ListID, func(k *campaign.Contact) error {
			all = append(all, campaign.PlannedRecipient{ContactID: k.ID})
			return nil
		}))
		w.ok(p.Batch(w.ctx, campaign.PlannedBatch{Zone: "Australia/Perth", Recipients: all}))
		w.ok(p.Finish(w.ctx, campaign.PlanSummary{Total: 2, Sendable: 2, Zones: map[string]int{"Australia/Perth": 2}}))
		w.quote(c)
		w.move(c.ID, campaign.Sending)
		w.ok(w.l.CloseRefused(w.ctx, w.nextAttempt(), "BAD_REQUEST", "", 0)) // halved
		rest := w.nextAttempt()
		w.answered(rest, passing)
		w.at("2026-11-20T13:00:00Z") // 21:00 in Perth, 13:00 in UTC
		w.equal(len(w.due()), 0)
		w.at("2026-11-21T00:59:59Z")
		w.equal(len(w.due()), 0)
		w.at("2026-11-21T01:00:00Z")
		w.equal(len(w.due()), 2)
		w.check(c.ID)
	})
}

func TestRecipientsShownAbsentAreSentToInsideTheWindowOnly(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.at("2026-11-20T19:59:00Z")
		c := w.sending(2, 2, timed(open(t, "09:00-20:00", "", "UTC")))
		w.lost()
		w.clock.advance(time.Hour)
		w.equal(w.end(w.look(), true, nil), 2)
		w.equal(w.counts(c.ID), Counts{Total: 2, Pending: 2})
		w.equal(len(w.due()), 0)
		w.at("2026-11-21T09:00:00Z")
		w.answered(w.nextAttempt(), accepted)
		w.state(c.ID, campaign.Completed)
		w.check(c.ID)
	})
}

func TestACampaignThatIsTooLateWaitsForAPerson(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		hour := w.clock.Now().Add(time.Hour)
		scheduled := func(timing campaign.Timing) *Campaign {
			c := w.draft(1, timed(timing), func(n *NewCampaign) { n.StartAt = hour })
			w.plan(c, 1)
			w.quote(c)
			w.move(c.ID, campaign.Scheduled)
			return c
		}
		skip := scheduled(campaign.Timing{})
		run := scheduled(campaign.Timing{IfLate: campaign.LateRun})
		patient := scheduled(campaign.Timing{LateLimit: 24 * time.Hour})
		approved := w.draft(1, func(n *NewCampaign) { n.StartAt = hour })
		w.plan(approved, 1)
		w.quote(approved)

		w.clock.advance(7*time.Hour + time.Second)
		w.move(approved.ID, campaign.Scheduled) // a yes that comes after the hour is no lateness
		started, late, err := w.l.StartDue(w.ctx)
		w.ok(err)
		w.equal(started, []int64{run.ID, patient.ID, approved.ID})
		w.equal(late, []int64{skip.ID})
		w.equal(len(w.due()), 3)
		w.state(skip.ID, campaign.Paused)
		w.equal(w.campaign(skip.ID).Reason, "late: it was due at 2026-11-21T10:00:00Z and nobody was running until 2026-11-21T16:00:01Z, which is later than 6h0m0s; resume to send it now, or reschedule or cancel it")
		w.equal(w.counts(skip.ID), Counts{Total: 1, Pending: 1})
		started, late, err = w.l.StartDue(w.ctx)
		w.ok(err)
		w.equal(len(started)+len(late), 0)
		w.ok(w.l.Resume(w.ctx, skip.ID, "ann"))
		w.state(skip.ID, campaign.Sending)
		w.equal(len(w.due()), 1)
	})
}

func TestACampaignThatIsLateWithinItsLimitStarts(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.draft(1, func(n *NewCampaign) { n.StartAt = w.clock.Now().Add(time.Hour) })
		w.plan(c, 1)
		w.quote(c)
		w.move(c.ID, campaign.Scheduled)
		w.clock.advance(7 * time.Hour)
		started, late, err := w.l.StartDue(w.ctx)
		w.ok(err)
		w.equal(started, []int64{c.ID})
		w.equal(late, []int64(nil))
	})
}

func TestReschedulingUpToTheStart(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		day := func(n int) time.Time { return w.clock.Now().AddDate(0, 0, n) }
		window := open(t, "09:00-20:00", "mon-fri", "Europe/London")
		c := w.draft(1, func(n *NewCampaign) { n.StartAt = day(1) })
		later := Reschedule{StartAt: day(2), Timing: &window, Actor: "ann"}
		w.code(w.l.Reschedule(w.ctx, c.ID, later), campaign.CodeConflict) // it is being planned
		w.plan(c, 1)
		w.quote(c)
		w.ok(w.l.Reschedule(w.ctx, c.ID, later))
		w.state(c.ID, campaign.Quoted)
		w.equal(w.campaign(c.ID).StartAt, day(2))
		w.equal(w.campaign(c.ID).Timing, window)
		w.move(c.ID, campaign.Scheduled)

		w.ok(w.l.Reschedule(w.ctx, c.ID, Reschedule{StartAt: day(3), Actor: "bob"}))
		w.state(c.ID, campaign.Scheduled)
		w.equal(w.campaign(c.ID).Timing, window)
		before := w.campaign(c.ID)
		for _, bad := range []Reschedule{
			{StartAt: day(0)}, {StartAt: day(-1)}, {Timing: &campaign.Timing{Window: window.Window, Zone: "AEST"}}, {Timing: &campaign.Timing{IfLate: "never"}},
		} {
			w.code(w.l.Reschedule(w.ctx, c.ID, bad), campaign.CodeInvalid)
		}
		byRecipient := open(t, "09:00-20:00", "", "recipient")
		w.code(w.l.Reschedule(w.ctx, c.ID, Reschedule{Timing: &byRecipient}), campaign.CodeConflict)
		w.code(w.l.Reschedule(w.ctx, 99, Reschedule{StartAt: day(1)}), campaign.CodeNotFound)
		w.equal(w.campaign(c.ID), before)

		// The hour that was counts no more.
		w.clock.advance(49 * time.Hour)
		started, late, err := w.l.StartDue(w.ctx)
		w.ok(err)
		w.equal(len(started)+len(late), 0)
		w.move(c.ID, campaign.Paused)
		w.ok(w.l.Reschedule(w.ctx, c.ID, Reschedule{StartAt: day(1), Actor: "ann"}))
		w.state(c.ID, campaign.Paused) // a person paused it, and a person resumes it
		w.ok(w.l.Resume(w.ctx, c.ID, "ann"))
		w.state(c.ID, campaign.Scheduled)
		w.clock.advance(24 * time.Hour)
		started, _, err = w.l.StartDue(w.ctx)
		w.ok(err)
		w.equal(started, []int64{c.ID})
		w.code(w.l.Reschedule(w.ctx, c.ID, Reschedule{StartAt: day(1)}), campaign.CodeConflict)
		w.move(c.ID, campaign.Paused)
		w.code(w.l.Reschedule(w.ctx, c.ID, Reschedule{StartAt: day(1)}), campaign.CodeConflict)

		events, err := w.l.Events(w.ctx, c.ID)
		w.ok(err)
		w.equal([]string{events[2].Actor, events[2].Action, events[2].Reason},
			[]string{"ann", "rescheduled", "starts at 2026-11-23T09:00:00Z; window 09:00-20:00 mon-fri, Europe/London"})
	})
}

func TestALateCampaignWaitsForItsNewHour(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.draft(1, func(n *NewCampaign) { n.StartAt = w.clock.Now().Add(time.Hour) })
		w.plan(c, 1)
		w.quote(c)
		w.move(c.ID, campaign.Scheduled)
		w.clock.advance(24 * time.Hour)
		_, late, err := w.l.StartDue(w.ctx)
		w.ok(err)
		w.equal(late, []int64{c.ID})
		w.ok(w.l.Reschedule(w.ctx, c.ID, Reschedule{Timing: &campaign.Timing{IfLate: campaign.LateRun}, Actor: "ann"}))
		w.state(c.ID, campaign.Paused) // its hour is past
		w.ok(w.l.Reschedule(w.ctx, c.ID, Reschedule{StartAt: w.clock.Now().Add(time.Hour), Actor: "ann"}))
		w.state(c.ID, campaign.Scheduled)
		w.equal(w.campaign(c.ID).Reason, "")
	})
}

func TestACampaignThatCannotBeStartedStopsNoOther(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		var all []*Campaign
		for range 3 {
			c := w.draft(1, func(n *NewCampaign) { n.StartAt = w.clock.Now().Add(time.Hour) })
			w.plan(c, 1)
			w.quote(c)
			w.move(c.ID, campaign.Scheduled)
			all = append(all, c)
		}
		w.ok(w.l.store.write(w.ctx, func(tx *tx) error {
			_, err := tx.exec.ExecContext(w.ctx, `UPDATE campaigns SET timing = 'torn' WHERE id = $1`, all[0].ID)
			return err
		}))
		w.clock.advance(time.Hour)
		started, late, err := w.l.StartDue(w.ctx)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("campaign %d", all[0].ID)) {
			t.Errorf("the error is %v, and should name campaign %d", err, all[0].ID)
		}
		w.equal(started, []int64{all[1].ID, all[2].ID})
		w.equal(len(late), 0)
		w.ok(w.l.store.write(w.ctx, func(tx *tx) error {
			_, err := tx.exec.ExecContext(w.ctx, `UPDATE campaigns SET timing = '' WHERE id = $1`, all[0].ID)
			return err
		}))
		started, _, err = w.l.StartDue(w.ctx)
		w.ok(err)
		w.equal(started, []int64{all[0].ID})
	})
}

func TestZonesStayAsTheyWerePlanned(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.draft(2, timed(open(t, "09:00-20:00", "", "recipient")), func(n *NewCampaign) { n.StartAt = w.clock.Now().Add(time.Hour) })
		w.planZones(c, "Australia/Perth", "")
		w.quote(c)
		w.move(c.ID, campaign.Scheduled)
		// To one clock for all, and back again: the batches are cut by zone.
		for _, zone := range []string{"Asia/Tokyo", "recipient:Asia/Tokyo"} {
			timing := open(t, "10:00-12:00", "", zone)
			w.ok(w.l.Reschedule(w.ctx, c.ID, Reschedule{Timing: &timing, Actor: "ann"}))
			w.equal(w.campaign(c.ID).Timing.WindowZone(), zone)
		}
		held := w.draft(1, func(n *NewCampaign) { n.Content.Schedule = w.clock.Now().Add(time.Hour).Unix() })
		w.plan(held, 1)
		w.quote(held)
		w.code(w.l.Reschedule(w.ctx, held.ID, Reschedule{StartAt: w.clock.Now().Add(time.Hour)}), campaign.CodeConflict)
		window := open(t, "10:00-12:00", "", "Asia/Tokyo")
		w.code(w.l.Reschedule(w.ctx, held.ID, Reschedule{Timing: &window}), campaign.CodeConflict)
		w.equal(w.campaign(held.ID).Timing, campaign.Timing{})
		w.ok(w.l.Reschedule(w.ctx, held.ID, Reschedule{Timing: &campaign.Timing{IfLate: campaign.LateRun}, Actor: "ann"}))
	})
}

func TestWhenTheNextBatchLeaves(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.at("2026-11-20T03:00:00Z")
		next := func(c *Campaign) string {
			t.Helper()
			l, err := w.l.NextLeave(w.ctx, w.campaign(c.ID))
			w.ok(err)
			zone := "no window"
			if l.Zone != nil {
				zone = l.Zone.String()
			}
			return fmt.Sprint(l.At.Format(time.RFC3339), " ", l.Closed, " ", zone)
		}
		plain := w.sending(1, 1)
		w.equal(next(plain), "2026-11-20T03:00:00Z false no window")
		scheduled := w.draft(1, timed(open(t, "09:00-20:00", "", "UTC")), func(n *NewCampaign) { n.StartAt = w.clock.Now().Add(24 * time.Hour) })
		w.plan(scheduled, 1)
		w.quote(scheduled)
		w.equal(next(scheduled), "2026-11-21T09:00:00Z true UTC")
		zones := w.draft(3, timed(open(t, "09:00-20:00", "", "recipient")))
		w.planZones(zones, "", "Australia/Perth", "Australia/Sydney") // 03:00, 11:00, 14:00
		w.quote(zones)
		w.equal(next(zones), "2026-11-20T03:00:00Z false Australia/Perth")
		w.at("2026-11-20T10:00:00Z") // 10:00, 18:00, 21:00
		w.equal(next(zones), "2026-11-20T10:00:00Z false UTC")
		w.at("2026-11-20T21:00:00Z") // 21:00, 05:00, 08:00
		w.equal(next(zones), "2026-11-20T22:00:00Z true Australia/Sydney")
		w.answered(w.nextAttempt(), accepted)
		w.equal(next(plain), "0001-01-01T00:00:00Z false no window")
	})
}

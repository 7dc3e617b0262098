package jobs_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// calendar is a ledger's clock that stands still until it is set.
type calendar struct{ now atomic.Int64 }

func newCalendar(t *testing.T, at string) *calendar {
	c := &calendar{}
	c.set(t, at)
	return c
}

func (c *calendar) set(t *testing.T, at string) {
	t.Helper()
	when, err := time.Parse(time.RFC3339, at)
	if err != nil {
		t.Fatal(err)
	}
	c.now.Store(when.UnixMilli())
}

func (c *calendar) Now() time.Time { return time.UnixMilli(c.now.Load()) }

// opens is a campaign's window.
func opens(t *testing.T, hours, days, zone string) func(*ledger.NewCampaign) {
	t.Helper()
	w, err := campaign.ParseWindow(hours, days)
	if err != nil {
		t.Fatal(err)
	}
	name, by, err := campaign.ParseWindowZone(zone, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	return func(n *ledger.NewCampaign) {
		n.Timing = campaign.Timing{Window: &w, Zone: name, ByRecipient: by}
	}
}

// TestACampaignGoesOnWhenItsWindowOpensAgain closes the window over a campaign
// that is being sent, at midnights and at changes of the clock.
func TestACampaignGoesOnWhenItsWindowOpensAgain(t *testing.T) {
	for name, c := range map[string]struct{ hours, days, zone, from, closed, stillClosed, open string }{
		"the next morning": {"09:00-20:00", "", "Australia/Sydney",
			"2026-11-25T08:59:00Z", "2026-11-25T09:00:00Z", "2026-11-25T21:59:59Z", "2026-11-25T22:00:00Z"},
		"after the weekend": {"09:00-20:00", "mon-fri", "Europe/London",
			"2026-11-27T19:59:00Z", "2026-11-27T20:00:00Z", "2026-11-30T08:59:59Z", "2026-11-30T09:00:00Z"},
		"at the end of the day": {"00:00-24:00", "fri", "America/New_York",
			"2026-11-28T04:59:00Z", "2026-11-28T05:00:00Z", "2026-12-04T04:59:59Z", "2026-12-04T05:00:00Z"},
		"over midnight": {"22:00-02:00", "", "Europe/London",
			"2026-11-28T01:59:00Z", "2026-11-28T02:00:00Z", "2026-11-28T21:59:59Z", "2026-11-28T22:00:00Z"},
		"in the night that is an hour short": {"01:00-02:30", "", "Australia/Sydney",
			"2026-10-03T15:59:00Z", "2026-10-03T16:00:00Z", "2026-10-04T13:59:59Z", "2026-10-04T14:00:00Z"},
		"in the hour that comes twice": {"01:15-01:45", "", "Europe/London",
			"2026-10-25T00:44:00Z", "2026-10-25T00:45:00Z", "2026-10-25T01:14:59Z", "2026-10-25T01:15:00Z"},
	} {
		for store, o := range map[string]setup{"sqlite": {}, "postgres": {postgres: true}} {
			t.Run(name+"/"+store, func(t *testing.T) {
				cal := newCalendar(t, c.from)
				var posted atomic.Int64
				o.clock = cal.Now
				o.sender = func(s *jobs.Sender) {
					s.AfterPost = func() {
						if posted.Add(1) == 2 {
							cal.set(t, c.closed)
						}
					}
				}
				r := newRig(t, o)
				var mu sync.Mutex
				var when []string
				r.front(func(w http.ResponseWriter, req *http.Request) {
					if strings.HasSuffix(req.URL.Path, "/sms/send") {
						mu.Lock()
						when = append(when, cal.Now().UTC().Format(time.RFC3339))
						mu.Unlock()
					}
					r.sb.ServeHTTP(w, req)
				})
				ca := r.begun(campaign.SMS, 6000, opens(t, c.hours, c.days, c.zone))
				r.work()
				r.until("the window closes", func() bool { return posted.Load() >= 2 })
				r.until("the rest is put off", func() bool {
					next, err := r.l.NextLeave(r.ctx, ca)
					r.ok(err)
					return next.Closed && next.At.Format(time.RFC3339) == c.open && r.counts(ca.ID).InFlight == 0
				})
				left := r.counts(ca.ID).Pending
				if left == 0 {
					t.Fatal("everything had left before the clock was set: nothing waits for the window")
				}
				cal.set(t, c.stillClosed)
				for range 3 {
					n, err := r.dispatcher().Sweep(r.ctx)
					r.ok(err)
					r.equal(n, 0)
				}
				r.equal(r.counts(ca.ID).Pending, left)
				r.equal(r.campaign(ca.ID).State, campaign.Sending)
				cal.set(t, c.open)
				r.becomes(ca.ID, campaign.Completed)
				r.equal(r.counts(ca.ID), ledger.Counts{Total: 6000, Accepted: 6000})
				r.once(ca.ID)

				loc, err := ca.Timing.BatchZone("")
				r.ok(err)
				mu.Lock()
				defer mu.Unlock()
				for _, at := range when {
					moment, err := time.Parse(time.RFC3339, at)
					r.ok(err)
					// One whose first byte was on its way when the clock was set
					// beneath it had begun while the window was open.
					if !ca.Timing.Window.Open(moment, loc) && at != c.closed {
						t.Errorf("a post left at %s", moment.In(loc))
					}
				}
			})
		}
	}
}

func TestABatchOfEachZoneLeavesByItsOwnClock(t *testing.T) {
	cal := newCalendar(t, "2026-11-25T01:00:00Z") // 09:00 in Perth, 01:00 in London, 20:00 in New York
	r := newRig(t, setup{clock: cal.Now})
	zones := []string{"Australia/Perth", "Europe/London", "America/New_York", ""}
	w, err := r.l.CreateList(r.ctx, "", "people.csv", "number")
	r.ok(err)
	columns := campaign.NewColumns("timezone")
	people := make([]campaign.Contact, 40)
	for i := range people {
		people[i] = campaign.Contact{Line: i + 2, Phone: phone(i), FirstName: "Ann", Country: "AU", Fields: campaign.Fields{Columns: columns, Values: []string{zones[i%4]}}}
	}
	r.ok(w.Contacts(r.ctx, people))
	list, err := w.Finish(r.ctx, ledger.ListCounts{Rows: len(people), Imported: len(people)})
	r.ok(err)
	n := ledger.NewCampaign{Content: r.content(campaign.SMS), ListID: list.ID, Provider: r.account, Currency: "AUD", Actor: "test"}
	opens(t, "09:00-20:00", "", "recipient:Asia/Kathmandu")(&n)
	c, err := r.l.CreateCampaign(r.ctx, n)
	r.ok(err)
	sum, err := jobs.Plan(r.ctx, r.l, c, campaign.Limits{}, jobs.PlanOptions{})
	r.ok(err)
	r.equal(sum.Zones, map[string]int{"Australia/Perth": 10, "Europe/London": 10, "America/New_York": 10, "": 10})
	_, err = jobs.MakeQuote(r.ctx, r.l, r.p, r.campaign(c.ID), jobs.QuoteOptions{Actor: "test"})
	r.ok(err)
	r.ok(r.l.Approve(r.ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
	r.work()
	for _, step := range []struct {
		at   string
		sent int
	}{
		{"2026-11-25T01:00:00Z", 10}, // Perth
		{"2026-11-25T03:14:59Z", 10},
		{"2026-11-25T03:15:00Z", 20}, // Kathmandu, for whom nothing tells
		{"2026-11-25T08:59:59Z", 20},
		{"2026-11-25T09:00:00Z", 30}, // London
		{"2026-11-25T13:59:59Z", 30},
		{"2026-11-25T14:00:00Z", 40}, // New York
	} {
		cal.set(t, step.at)
		r.until(step.at, func() bool { return r.counts(c.ID).Accepted >= step.sent })
		for range 2 {
			_, err := r.dispatcher().Sweep(r.ctx)
			r.ok(err)
		}
		r.equal(r.counts(c.ID).Accepted, step.sent)
	}
	r.becomes(c.ID, campaign.Completed)
	r.equal(r.sends(), int64(4))
	r.once(c.ID)
}

func TestARecipientWhoseZoneIsNoneStopsThePlan(t *testing.T) {
	r := newRig(t, setup{})
	w, err := r.l.CreateList(r.ctx, "", "people.csv", "number")
	r.ok(err)
	columns := campaign.NewColumns("time_zone")
	r.ok(w.Contacts(r.ctx, []campaign.Contact{
		{Line: 2, Phone: phone(1), Country: "AU", Fields: campaign.Fields{Columns: columns, Values: []string{"Australia/Perth"}}},
		{Line: 3, Phone: phone(2), Country: "AU", Fields: campaign.Fields{Columns: columns, Values: []string{"AWST"}}},
	}))
	list, err := w.Finish(r.ctx, ledger.ListCounts{Rows: 2, Imported: 2})
	r.ok(err)
	for zone, fails := range map[string]bool{"recipient": true, "Australia/Perth": false} { // it matters only where it is asked for
		n := ledger.NewCampaign{Again: true, Content: r.content(campaign.SMS), ListID: list.ID, Provider: r.account, Actor: "test"}
		n.Content.Body = "Hi"
		opens(t, "09:00-20:00", "", zone)(&n)
		c, err := r.l.CreateCampaign(r.ctx, n)
		r.ok(err)
		_, err = jobs.Plan(r.ctx, r.l, c, campaign.Limits{}, jobs.PlanOptions{})
		if !fails {
			r.ok(err)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "line 3: field time_zone holds no time zone") {
			t.Errorf("%v", err)
		}
	}
}

// TestAPostThatComesAfterTheWindowHasClosedIsNotSent lets the transaction before
// the post take longer than the window is open.
func TestAPostThatComesAfterTheWindowHasClosedIsNotSent(t *testing.T) {
	cal := newCalendar(t, "2026-11-25T19:59:58Z")
	var slow atomic.Bool
	r := newRig(t, setup{clock: func() time.Time {
		if slow.Load() {
			time.Sleep(2100 * time.Millisecond)
		}
		return cal.Now()
	}})
	c := r.begun(campaign.SMS, 10, opens(t, "09:00-20:00", "", "UTC"))
	d := r.dispatched(campaign.SMS)[0]
	slow.Store(true)
	r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
	slow.Store(false)
	r.equal(r.sends(), int64(0))
	r.equal(r.counts(c.ID), ledger.Counts{Total: 10, Pending: 10})
	r.equal(r.campaign(c.ID).Reserved, campaign.Micros(0))
	cal.set(t, "2026-11-25T20:00:01Z")
	r.equal(len(r.dispatched(campaign.SMS)), 0)
	cal.set(t, "2026-11-26T09:00:00Z")
	r.work()
	r.becomes(c.ID, campaign.Completed)
	r.once(c.ID)
}

// TestResendsAndProbesKeepToTheWindow loses answers until the channel lets out
// probes only, and finds their recipients absent when the window is closed.
func TestResendsAndProbesKeepToTheWindow(t *testing.T) {
	cal := newCalendar(t, "2026-11-25T19:00:00Z")
	r := newRig(t, setup{clock: cal.Now, sandbox: sandbox.Options{}})
	r.settle = time.Second
	c := r.begun(campaign.SMS, 4000, opens(t, "09:00-20:00", "", "UTC"))
	r.sb.SetFaults(sandbox.Faults{ResetBefore: 1, Limit: 4, Endpoints: []string{sendSMS}})
	r.work()
	r.until("the channel is braked", func() bool { return r.counts(c.ID).Unknown >= 3000 })
	asked := r.sends()
	cal.set(t, "2026-11-25T20:30:00Z")
	r.until("they are found out", func() bool {
		cal.now.Add(10) // looks have times of their own
		return r.counts(c.ID).Unknown == 0 && r.counts(c.ID).InFlight == 0
	})
	for range 3 {
		_, err := r.dispatcher().Sweep(r.ctx)
		r.ok(err)
	}
	if late := r.sends() - asked; late > 1 { // one was perhaps under way
		t.Errorf("%d posts left while the window was closed", late)
	}
	quiet := r.sends()
	time.Sleep(300 * time.Millisecond) // ten beats
	r.equal(r.sends(), quiet)
	cal.set(t, "2026-11-26T09:00:00Z")
	// Everything that goes on is a probe or a resend until one is answered.
	r.until("the rest leaves", func() bool {
		cal.now.Add(10)
		return r.campaign(c.ID).State == campaign.Completed
	})
	r.equal(r.counts(c.ID), ledger.Counts{Total: 4000, Accepted: 4000})
	r.once(c.ID)
}

func TestASweepGoesOnPastACampaignThatCannotBeStarted(t *testing.T) {
	r := newRig(t, setup{})
	broken := r.quoted(r.content(campaign.SMS), 1, func(n *ledger.NewCampaign) { n.StartAt = time.Now().Add(-time.Second) })
	r.ok(r.l.Approve(r.ctx, broken.ID, ledger.Approval{To: campaign.Scheduled, Actor: "test"}))
	r.begun(campaign.SMS, 1)
	db, err := sql.Open("sqlite", "file:"+r.target+"?_pragma=busy_timeout(10000)")
	r.ok(err)
	_, err = db.ExecContext(r.ctx, `UPDATE campaigns SET timing = 'torn' WHERE id = $1`, broken.ID)
	r.ok(errors.Join(err, db.Close()))
	n, err := r.dispatcher().Sweep(r.ctx)
	r.equal(n, 1)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("campaign %d", broken.ID)) {
		t.Errorf("the error is %v, and should name campaign %d", err, broken.ID)
	}
}

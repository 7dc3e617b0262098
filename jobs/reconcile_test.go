package jobs_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// sendRoute is the route of a channel's send.
func sendRoute(ch campaign.Channel) string {
	if ch.IsPost() {
		return "POST /post/" + ch.String() + "s/send"
	}
	return "POST /" + ch.String() + "/send"
}

// Whatever happens to a request or its answer, everybody is reached once, and
// the campaign ends by itself.
func TestUnknownRecipientsAreFoundOut(t *testing.T) {
	faults := map[string]sandbox.Faults{
		"reset after it was accepted":  {ResetAfter: 1},
		"reset before it was accepted": {ResetBefore: 1},
		"500 after it was accepted":    {Error500After: 1},
		"500 before it was accepted":   {Error500Before: 1},
		"half an answer":               {CutJSON: 1},
		"no answer":                    {Hang: 1, HangFor: time.Minute},
		"rows missing":                 {MissingRows: 1},
	}
	for _, ch := range campaign.Channels() {
		for name, f := range faults {
			t.Run(ch.String()+"/"+name, func(t *testing.T) {
				r := newRig(t, setup{sender: func(s *jobs.Sender) { s.HTTPTimeout = time.Second }})
				r.settle = 300 * time.Millisecond
				r.sb.SetHistory(sandbox.HistoryMode{Lag: 200 * time.Millisecond})
				c := r.begun(ch, 130)
				f.Limit, f.Endpoints = 1, []string{sendRoute(ch)}
				r.sb.SetFaults(f)
				r.work()
				end := r.becomes(c.ID, campaign.Completed)
				r.equal(r.counts(c.ID), ledger.Counts{Total: 130, Accepted: 130})
				r.once(c.ID)
				// Nothing is held back any more, and the whole price is on record.
				r.equal([]campaign.Micros{end.Reserved, end.Spent}, []campaign.Micros{0, end.Quoted})
			})
		}
	}
}

// However history is ordered and dated, and whether or not it echoes the
// references.
func TestHistoryInEveryDressTellsWhoWasAccepted(t *testing.T) {
	for _, ch := range campaign.Channels() {
		for _, order := range []sandbox.HistoryOrder{sandbox.NewestFirst, sandbox.OldestFirst, sandbox.ByID, sandbox.Shuffled, sandbox.PagesShuffled} {
			for _, bare := range []bool{false, true} {
				if order != sandbox.Shuffled && (ch == campaign.MMS || ch == campaign.Letter) {
					continue // they are read as SMS and postcards are
				}
				t.Run(fmt.Sprint(ch, "/", order, "/no reference ", bare), func(t *testing.T) {
					r := newRig(t, setup{})
					r.settle = 200 * time.Millisecond
					r.sb.SetHistory(sandbox.HistoryMode{Order: order, NoReference: bare, IgnoreOrderBy: true, DueDates: bare})
					c := r.begun(ch, 130)
					r.sb.SetFaults(sandbox.Faults{ResetAfter: 1, Limit: 1, Endpoints: []string{sendRoute(ch)}})
					r.work()
					r.becomes(c.ID, campaign.Completed)
					r.equal(r.counts(c.ID), ledger.Counts{Total: 130, Accepted: 130})
					r.once(c.ID)
				})
			}
		}
	}
}

// A message that shows only after it was taken for absent is a duplicate by
// then: it is on record, and nothing is sent again until somebody decides.
func TestALateRowIsADuplicateAndStopsResends(t *testing.T) {
	r := newRig(t, setup{})
	r.settle = 300 * time.Millisecond
	r.sb.SetHistory(sandbox.HistoryMode{Lag: 1500 * time.Millisecond}) // more than was promised
	c := r.begun(campaign.SMS, 50)
	r.sb.SetFaults(sandbox.Faults{ResetAfter: 1, Limit: 1, Endpoints: []string{sendRoute(campaign.SMS)}})
	r.work()
	r.becomes(c.ID, campaign.Completed)
	r.until("the late rows are found", func() bool {
		n, err := r.l.Duplicates(r.ctx, c.ID)
		r.ok(err)
		return n == 50
	})
	r.equal(r.sb.Stats().Again, int64(50))
	r.equal(r.counts(c.ID), ledger.Counts{Total: 50, Accepted: 50})
	why, err := r.l.Stopped(r.ctx, c)
	r.ok(err)
	if !strings.HasPrefix(why, "duplicates: ") {
		t.Fatalf("resends are not stopped: %q", why)
	}
	// What was charged twice is on record twice.
	if got := r.campaign(c.ID); got.Spent != 2*got.Quoted || got.Reserved != 0 {
		t.Errorf("spent %s of %s, %s reserved", got.Spent, got.Quoted, got.Reserved)
	}

	// Another campaign's lost batch is found absent, and waits.
	r.sb.SetHistory(sandbox.HistoryMode{})
	d := r.begun(campaign.SMS, 50)
	r.sb.SetFaults(sandbox.Faults{ResetBefore: 1, Limit: 1, Endpoints: []string{sendRoute(campaign.SMS)}})
	paused := r.becomes(d.ID, campaign.Paused)
	r.equal(paused.Reason, why)
	r.equal(r.counts(d.ID), ledger.Counts{Total: 50, Pending: 50})
	stopped, err := r.l.AllowResends(r.ctx, d, "test")
	r.ok(err)
	r.equal(stopped, true)
	r.ok(r.l.Resume(r.ctx, d.ID, "test"))
	r.becomes(d.ID, campaign.Completed)
	r.equal(r.counts(d.ID), ledger.Counts{Total: 50, Accepted: 50})
}

// While history cannot be read, or is another account's, nothing is guessed.
func TestNothingIsGuessedWhileHistoryCannotBeRead(t *testing.T) {
	for name, front := range map[string]func(r *rig, w http.ResponseWriter) bool{
		"500": func(_ *rig, w http.ResponseWriter) bool { w.WriteHeader(http.StatusInternalServerError); return true },
		"401": func(_ *rig, w http.ResponseWriter) bool { w.WriteHeader(http.StatusUnauthorized); return true },
		"no data": func(_ *rig, w http.ResponseWriter) bool {
			fmt.Fprint(w, `{"http_code":200,"response_code":"SUCCESS","data":[]}`)
			return true
		},
		"no JSON": func(_ *rig, w http.ResponseWriter) bool { fmt.Fprint(w, "<html>maintenance</html>"); return true },
		"lying total": func(_ *rig, w http.ResponseWriter) bool {
			fmt.Fprint(w, `{"http_code":200,"response_code":"SUCCESS","data":{"total":7,"per_page":100,"current_page":1,"last_page":1,"data":[]}}`)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{})
			r.settle = 50 * time.Millisecond
			c := r.begun(campaign.SMS, 20)
			var asked atomic.Int64
			var mended atomic.Bool
			r.front(func(w http.ResponseWriter, req *http.Request) {
				if strings.HasSuffix(req.URL.Path, "/sms/history") && !mended.Load() {
					asked.Add(1)
					w.Header().Set("Content-Type", "application/json")
					if front(r, w) {
						return
					}
				}
				r.sb.ServeHTTP(w, req)
			})
			r.sb.SetFaults(sandbox.Faults{ResetBefore: 1, Limit: 1, Endpoints: []string{sendRoute(campaign.SMS)}})
			r.work()
			r.until("history was asked for twice", func() bool { return asked.Load() >= 2 })
			var list []ledger.UnknownAttempt
			r.until("the problem is on record", func() bool {
				var err error
				list, err = r.l.UnknownAttempts(r.ctx, c.ID, r.settle)
				r.ok(err)
				return len(list) == 1 && list[0].Problem != "" && list[0].Looks > 0
			})
			if !strings.Contains(list[0].Problem, "history") {
				t.Errorf("the problem reads %q", list[0].Problem)
			}
			r.equal(r.counts(c.ID), ledger.Counts{Total: 20, Unknown: 20})
			r.equal(r.sends(), int64(1))
			mended.Store(true)
			r.becomes(c.ID, campaign.Completed)
			r.equal(r.counts(c.ID), ledger.Counts{Total: 20, Accepted: 20})
			r.once(c.ID)
		})
	}
}

func TestAnotherAccountFindsNothingOut(t *testing.T) {
	r := newRig(t, setup{})
	r.settle = 50 * time.Millisecond
	c := r.begun(campaign.SMS, 20)
	r.sb.SetFaults(sandbox.Faults{ResetAfter: 1, Limit: 1, Endpoints: []string{sendRoute(campaign.SMS)}})
	for _, d := range r.dispatched(campaign.SMS) {
		r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
	}
	r.equal(r.counts(c.ID), ledger.Counts{Total: 20, Unknown: 20})
	other := ledger.LookDue{Provider: ledger.Provider{URL: r.account.URL, User: "4711"}, Channel: campaign.SMS}
	r.ok(r.finder().Reconcile(r.ctx, other))
	r.equal(r.counts(c.ID), ledger.Counts{Total: 20, Unknown: 20})
	r.equal(r.sb.Stats().Endpoints["GET /sms/history"].Requests, int64(0))
}

// After an outage one look serves all: it costs pages, not pages times attempts.
func TestOneLookServesManyAttempts(t *testing.T) {
	r := newRig(t, setup{})
	r.settle = time.Millisecond
	const attempts, each = 50, 4
	r.sb.SetFaults(sandbox.Faults{ResetAfter: 1, Endpoints: []string{sendRoute(campaign.SMS)}})
	var all []*ledger.Campaign
	for range attempts {
		c := r.begun(campaign.SMS, each)
		all = append(all, c)
		// Each is the probe of a channel that waits for one.
		for _, d := range r.dispatched(campaign.SMS) {
			r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
		}
	}
	due, err := r.l.LooksDue(r.ctx, r.settle)
	r.ok(err)
	r.equal(due, []ledger.LookDue{{Provider: r.account, Channel: campaign.SMS}})
	r.ok(r.finder().Reconcile(r.ctx, due[0]))
	for _, c := range all {
		r.equal(r.campaign(c.ID).State, campaign.Completed)
	}
	pages := r.sb.Stats().Endpoints["GET /sms/history"].Requests
	t.Logf("%d attempts of %d were found out with %d pages", attempts, each, pages)
	if pages > 5 {
		t.Errorf("%d pages were read for %d rows", pages, attempts*each)
	}
}

// A message that the provider holds is looked for around both times, and is not
// absent before its hour.
func TestHeldMessagesAreNotAbsentBeforeTheirHour(t *testing.T) {
	for _, due := range []bool{false, true} {
		for _, accepted := range []bool{false, true} {
			t.Run(fmt.Sprint("dated when due ", due, "/accepted ", accepted), func(t *testing.T) {
				r := newRig(t, setup{})
				r.settle = 100 * time.Millisecond
				r.sb.SetHistory(sandbox.HistoryMode{DueDates: due})
				content := r.content(campaign.SMS)
				hour := time.Now().Add(4 * time.Second).Truncate(time.Second)
				content.Schedule = hour.Unix()
				c := r.quoted(content, 40)
				r.ok(r.l.Approve(r.ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
				f := sandbox.Faults{ResetBefore: 1, Limit: 1, Endpoints: []string{sendRoute(campaign.SMS)}}
				if accepted {
					f.ResetBefore, f.ResetAfter = 0, 1
				}
				r.sb.SetFaults(f)
				r.work()
				r.becomes(c.ID, campaign.Completed)
				if !accepted && time.Now().Before(hour) {
					t.Error("held messages were taken for absent before their hour")
				}
				n := r.counts(c.ID)
				n.Held = 0 // all of them as long as it is not their hour
				r.equal(n, ledger.Counts{Total: 40, Accepted: 40})
				r.once(c.ID)
				if looks := r.sb.Stats().Endpoints["GET /sms/history"].Requests; looks > 20 {
					t.Errorf("history was asked for %d times while the provider held the messages", looks)
				}
			})
		}
	}
}

// A worker that stops gives its look back, and the look counts for nothing.
func TestALookIsGivenBackWhenTheWorkerStops(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 20)
	r.sb.SetFaults(sandbox.Faults{ResetAfter: 1, Limit: 1, Endpoints: []string{sendRoute(campaign.SMS)}})
	for _, d := range r.dispatched(campaign.SMS) {
		r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
	}
	draining, stop := context.WithCancel(r.ctx)
	defer stop()
	r.front(func(_ http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/sms/history") {
			stop()
			<-req.Context().Done()
		}
	})
	finder := r.finder()
	finder.Draining = draining
	due := ledger.LookDue{Provider: r.account, Channel: campaign.SMS}
	r.ok(finder.Reconcile(r.ctx, due))
	r.equal(draining.Err() != nil, true)
	list, err := r.l.UnknownAttempts(r.ctx, c.ID, 0)
	r.ok(err)
	r.equal([]any{len(list), list[0].Looks, list[0].Problem}, []any{1, 0, ""})
	r.front(nil)
	r.ok(r.finder().Reconcile(r.ctx, due))
	r.equal(r.counts(c.ID), ledger.Counts{Total: 20, Accepted: 20})
}

// shelfOf is a history of the rows that it holds.
type shelfOf struct {
	account ledger.Provider
	rows    []clicksend.Record
}

func (s *shelfOf) Identity(context.Context) (ledger.Provider, error) { return s.account, nil }

func (s *shelfOf) History(_ context.Context, _ campaign.Channel, _ []jobs.Window, each func([]clicksend.Record) error) (jobs.Look, error) {
	return jobs.Look{Complete: true}, each(slices.Clone(s.rows))
}

// A failed message of somebody who was shown absent is met again at every look.
// It is no reason to wait for the others.
func TestAFailedMessageOfSomebodyAbsentDoesNotPutTheOthersOffForEver(t *testing.T) {
	r := newRig(t, setup{})
	r.settle = time.Millisecond
	c := r.begun(campaign.SMS, 2)
	r.sb.SetFaults(sandbox.Faults{ResetBefore: 1, Limit: 1, Endpoints: []string{sendRoute(campaign.SMS)}})
	for _, d := range r.dispatched(campaign.SMS) {
		r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
	}
	due := ledger.LookDue{Provider: r.account, Channel: campaign.SMS}
	now := time.Now().Unix()
	shelf := &shelfOf{account: r.account, rows: []clicksend.Record{ // which of them is theirs?
		{To: phone(0), MessageID: "a", Status: "Sent", Date: now}, {To: phone(0), MessageID: "b", Status: "Sent", Date: now},
	}}
	finder := r.finder()
	finder.Provider, finder.MaxPause = shelf, time.Millisecond
	look := func() {
		t.Helper()
		time.Sleep(10 * time.Millisecond)
		r.ok(finder.Reconcile(r.ctx, due))
	}
	look()
	r.equal(r.counts(c.ID), ledger.Counts{Total: 2, Pending: 1, Unknown: 1})
	first, _, err := r.l.RecipientRange(r.ctx, c.ID)
	r.ok(err)
	ref := campaign.Reference{Ledger: r.l.ID(), Recipient: first + 1, Attempt: 1}
	shelf.rows = []clicksend.Record{{To: phone(1), MessageID: "c", CustomString: ref.String(), Status: "Failed", Date: now}}
	look()
	r.equal(r.counts(c.ID), ledger.Counts{Total: 2, Pending: 2})
}

// The dates of history may mean something else than we think: in the documents'
// only example they lie hours beside the schedule. Nobody is absent for that.
func TestAHistoryInAnotherTimeZoneMakesNobodyAbsent(t *testing.T) {
	for _, ch := range []campaign.Channel{campaign.SMS, campaign.Postcard} {
		for _, shift := range []time.Duration{15 * time.Hour, -11 * time.Hour} {
			t.Run(fmt.Sprint(ch, "/", shift), func(t *testing.T) {
				r := newRig(t, setup{})
				r.settle = 100 * time.Millisecond
				r.sb.SetHistory(sandbox.HistoryMode{NoReference: ch.IsPost()})
				r.front(func(w http.ResponseWriter, req *http.Request) {
					if !strings.HasSuffix(req.URL.Path, "/history") {
						r.sb.ServeHTTP(w, req)
						return
					}
					shifted(w, req, r.sb, shift)
				})
				c := r.begun(ch, 120)
				r.sb.SetFaults(sandbox.Faults{ResetAfter: 1, Limit: 1, Endpoints: []string{sendRoute(ch)}})
				r.work()
				r.becomes(c.ID, campaign.Completed)
				r.equal(r.counts(c.ID), ledger.Counts{Total: 120, Accepted: 120})
				r.once(c.ID)
				// An audit calls nobody missing either.
				res, err := (&jobs.Auditor{Ledger: r.l, Provider: r.p}).Audit(r.ctx, c, func(*jobs.Difference) error { return nil })
				r.ok(err)
				r.equal([]any{res.Complete, res.Missing, res.Extra}, []any{true, 0, 0})
			})
		}
	}
}

// shifted answers for a provider whose dates are later than they should be.
func shifted(w http.ResponseWriter, req *http.Request, provider http.Handler, by time.Duration) {
	q := req.URL.Query()
	for _, name := range []string{"date_from", "date_to"} {
		if unix, err := strconv.ParseInt(q.Get(name), 10, 64); err == nil {
			q.Set(name, strconv.FormatInt(unix-int64(by.Seconds()), 10))
		}
	}
	req.URL.RawQuery = q.Encode()
	rec := httptest.NewRecorder()
	provider.ServeHTTP(rec, req)
	body := regexp.MustCompile(`"(date|date_added)":("?)(\d{10})`).ReplaceAllFunc(rec.Body.Bytes(), func(m []byte) []byte {
		unix, _ := strconv.ParseInt(string(m[len(m)-10:]), 10, 64)
		return strconv.AppendInt(m[:len(m)-10:len(m)-10], unix+int64(by.Seconds()), 10)
	})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(rec.Code)
	w.Write(body) //nolint:errcheck // a test
}

package jobs_test

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// A pause that has returned lets nothing leave a second later, however busy the
// workers are: some are held up between the record of an attempt and its post, for
// less than that second or for more. What was on its way arrives and is recorded.
func TestNothingLeavesASecondAfterAPauseHasReturned(t *testing.T) {
	r := newRig(t, setup{rate: 40, sender: func(s *jobs.Sender) {
		s.BeforePost = func() { time.Sleep(time.Duration(rand.Int64N(int64(1300 * time.Millisecond)))) }
	}})
	var (
		mu       sync.Mutex
		arrivals []time.Time
	)
	r.front(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/send") {
			mu.Lock()
			arrivals = append(arrivals, time.Now())
			mu.Unlock()
		}
		r.sb.ServeHTTP(w, req)
	})
	content := r.content(campaign.SMS)
	content.Schedule = time.Now().Add(time.Hour).Unix()
	n := 12_000
	if jobs.RaceDetector { // it takes several times as long
		n = 6000
	}
	c := r.quoted(content, n)
	r.work()
	r.work() // and a second worker, with hands of its own
	pauses, after := 0, 0
	r.ok(r.l.Approve(r.ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
	for !r.campaign(c.ID).State.Final() {
		if pauses > 0 {
			r.ok(r.l.Resume(r.ctx, c.ID, "test"))
		}
		time.Sleep(time.Duration(300+rand.IntN(400)) * time.Millisecond)
		err := r.l.MoveCampaign(r.ctx, c.ID, ledger.Move{To: campaign.Paused, Actor: "test"})
		paused := time.Now()
		if campaign.ErrorCode(err) == campaign.CodeConflict {
			break // it has just ended
		}
		r.ok(err)
		pauses++
		r.until("what was in flight is recorded", func() bool { return r.counts(c.ID).InFlight == 0 })
		time.Sleep(time.Until(paused.Add(1500 * time.Millisecond)))
		mu.Lock()
		for _, at := range arrivals {
			if at.After(paused) {
				after++
			}
			if late := at.Sub(paused); late > time.Second+50*time.Millisecond { // from the check to the wire
				t.Errorf("a post arrived %s after the pause had returned", late)
			}
		}
		mu.Unlock()
		if n := r.counts(c.ID); n.Held != n.Accepted {
			t.Errorf("%d of %d are said to be held", n.Held, n.Accepted)
		}
	}
	r.becomes(c.ID, campaign.Completed)
	r.once(c.ID)
	if pauses < 3 || after == 0 {
		t.Errorf("%d pauses, after which %d posts arrived: the test shows less than it should", pauses, after)
	}
}

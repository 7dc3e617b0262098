package jobs_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
)

// sentOne sends n messages one by one past any campaign, every tenth of them
// held until the hour.
func (r *rig) sentOne(ch campaign.Channel, n int, hour time.Time) {
	r.t.Helper()
	content := r.content(ch)
	for i := range n {
		content.Schedule = 0
		if i%10 == 0 && ch != campaign.MMS {
			content.Schedule = hour.Unix()
		}
		m := campaign.Message{To: phone(i), From: content.From, Body: "Hi", Subject: content.Subject}
		if ch.IsPost() {
			m = campaign.Message{Address: campaign.Address{Name: "Ann Lee", Line1: fmt.Sprintf("%d High St", i+1), City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}}
		}
		_, err := r.p.SendOne(r.ctx, &content, m)
		r.ok(err)
	}
}

// look is a look into history, and how often each destination was met.
func (r *rig) look(ch campaign.Channel, windows ...jobs.Window) (jobs.Look, map[string]int, error) {
	met := map[string]int{}
	look, err := r.p.History(r.ctx, ch, windows, func(page []clicksend.Record) error {
		for _, row := range page {
			met[row.To+row.Address.Line1]++
		}
		return nil
	})
	return look, met, err
}

func TestALookIsCompleteHoweverTheHistoryIsOrderedAndDated(t *testing.T) {
	const n = 120
	for _, ch := range []campaign.Channel{campaign.SMS, campaign.MMS, campaign.Letter, campaign.Postcard} {
		t.Run(string(ch), func(t *testing.T) {
			r := newRig(t, setup{})
			now := time.Now()
			hour := now.Add(time.Hour)
			r.sentOne(ch, n, hour)
			around := func(at time.Time) jobs.Window {
				return jobs.Window{From: at.Add(-time.Minute), To: at.Add(time.Minute)}
			}
			for _, order := range []sandbox.HistoryOrder{sandbox.NewestFirst, sandbox.OldestFirst, sandbox.ByID, sandbox.Shuffled, sandbox.PagesShuffled} {
				for bits := range 8 {
					mode := sandbox.HistoryMode{Order: order, IgnoreOrderBy: bits&1 > 0, NoReference: bits&2 > 0, DueDates: bits&4 > 0}
					r.sb.SetHistory(mode)
					look, met, err := r.look(ch, around(hour), around(now))
					r.ok(err)
					if !look.Complete || len(met) != n || look.Rows != n {
						t.Errorf("%+v: %+v, met %d", mode, look, len(met))
					}
				}
			}
			r.sb.SetHistory(sandbox.HistoryMode{Lag: time.Hour})
			if look, met, err := r.look(ch, around(now)); err != nil || !look.Complete || len(met) != 0 {
				t.Errorf("a history that lags: %+v, met %d, %v", look, len(met), err)
			}
		})
	}
}

func TestALookAsksForItsWindowsOnly(t *testing.T) {
	r := newRig(t, setup{})
	r.sentOne(campaign.SMS, 30, time.Now())
	var asked atomic.Int32
	r.front(func(w http.ResponseWriter, req *http.Request) {
		asked.Add(1)
		r.sb.ServeHTTP(w, req)
	})
	past := time.Now().Add(-time.Hour)
	look, met, err := r.look(campaign.SMS,
		jobs.Window{From: past, To: past.Add(10 * time.Minute)}, jobs.Window{From: past.Add(5 * time.Minute), To: past.Add(20 * time.Minute)})
	r.ok(err)
	if !look.Complete || len(met) != 0 || asked.Load() != 1 || look.Pages != 1 {
		t.Errorf("%+v, met %d, %d requests", look, len(met), asked.Load())
	}
	if look, met, err := r.look(campaign.SMS, jobs.Window{}); err != nil || !look.Complete || len(met) != 30 {
		t.Errorf("all times: %+v, met %d, %v", look, len(met), err)
	}
	if look, _, err := r.look(campaign.SMS); err == nil || look.Complete {
		t.Errorf("no window: %+v, %v", look, err)
	}
}

func TestABusyProviderIsWaitedForAndABrokenOneProvesNothing(t *testing.T) {
	r := newRig(t, setup{})
	now := time.Now()
	r.sentOne(campaign.SMS, 250, now)
	window := jobs.Window{From: now.Add(-time.Minute), To: now.Add(time.Minute)}
	var pages atomic.Int32
	second := func(times int32, stumble http.HandlerFunc) http.HandlerFunc {
		pages.Store(0)
		return func(w http.ResponseWriter, req *http.Request) {
			if n := pages.Add(1); n >= 2 && n < 2+times {
				stumble(w, req)
				return
			}
			r.sb.ServeHTTP(w, req)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(code)
		}
	}
	for name, stumble := range map[string]http.HandlerFunc{
		"busy":    status(http.StatusTooManyRequests),
		"broken":  status(http.StatusInternalServerError),
		"cut off": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"http_code":200,"data":{"to`)) },
		"reset":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		r.front(second(2, stumble))
		look, met, err := r.look(campaign.SMS, window)
		r.ok(err)
		if !look.Complete || len(met) != 250 {
			t.Errorf("%s for a moment: %+v, met %d", name, look, len(met))
		}
	}
	r.front(second(1000, status(http.StatusInternalServerError)))
	look, _, err := r.look(campaign.SMS, window)
	if clicksend.KindOf(err) != clicksend.ServerError || look.Complete {
		t.Errorf("broken for good: %+v, %v", look, err)
	}
	r.front(nil)
	broken := errors.New("broken")
	look, err = r.p.History(r.ctx, campaign.SMS, []jobs.Window{window}, func([]clicksend.Record) error { return broken })
	if !errors.Is(err, broken) || look.Complete {
		t.Errorf("the reader's own error: %+v, %v", look, err)
	}
}

func TestALookLeavesOutMessagesReceived(t *testing.T) {
	r := newRig(t, setup{})
	r.front(func(w http.ResponseWriter, req *http.Request) {
		_, _ = w.Write([]byte(`{"http_code":200,"response_code":"SUCCESS","response_msg":"","data":{"total":2,"per_page":100,"current_page":1,"last_page":1,"data":[` +
			`{"direction":"in","message_id":"a","to":"+61412000000","status":"Received"},{"direction":"out","message_id":"b","to":"+61412000001","status":"Sent"}]}}`))
	})
	look, met, err := r.look(campaign.SMS, jobs.Window{})
	r.ok(err)
	if !look.Complete || look.Rows != 2 || len(met) != 1 || met["+61412000001"] != 1 {
		t.Errorf("%+v, met %v", look, met)
	}
}

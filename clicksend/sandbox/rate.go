package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// RateLimit allows so many requests in each window, for each account and
// endpoint apart. The zero value allows everything and sends no headers. The
// documents give no figures (shared/api/PROVIDER.md, Limits); the headers are
// those seen on the live API.
type RateLimit struct {
	Requests int           // in each window; 0 = no limit
	Window   time.Duration // 0 = one minute
	// ResetEpoch makes x-ratelimit-reset a Unix time instead of the seconds
	// that are left.
	ResetEpoch bool
}

type rateJSON struct {
	Requests   int      `json:"requests"`
	Window     duration `json:"window"`
	ResetEpoch bool     `json:"reset_epoch"`
}

// MarshalJSON writes the window as a text such as "1m0s".
func (l RateLimit) MarshalJSON() ([]byte, error) {
	return json.Marshal(rateJSON{l.Requests, duration(l.Window), l.ResetEpoch})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (l *RateLimit) UnmarshalJSON(b []byte) error {
	var w rateJSON
	if err := strictJSON(b, &w); err != nil {
		return err
	}
	g := RateLimit{w.Requests, time.Duration(w.Window), w.ResetEpoch}
	if err := g.validate(); err != nil {
		return err
	}
	*l = g
	return nil
}

func (l *RateLimit) validate() error {
	if l.Requests < 0 || l.Window < 0 {
		return fmt.Errorf("rate limit: requests and window must not be negative")
	}
	return nil
}

// rateWindow is the running window of one account and endpoint.
type rateWindow struct {
	start time.Time
	used  int
}

// take uses one request of a's budget for the endpoint and writes the headers.
// It returns false when the budget is spent. s.mu must be held.
func (s *Server) take(a *account, endpoint string, now time.Time, h http.Header) bool {
	l := s.rate
	if l.Requests == 0 {
		return true
	}
	window := l.Window
	if window == 0 {
		window = time.Minute
	}
	w := a.windows[endpoint]
	if w == nil {
		w = &rateWindow{start: now}
		a.windows[endpoint] = w
	}
	if since := now.Sub(w.start); since >= window || since < 0 {
		w.start, w.used = now, 0
	}
	ok := w.used < l.Requests
	if ok {
		w.used++
	}
	end := w.start.Add(window)
	left := int((end.Sub(now) + time.Second - 1) / time.Second)
	reset := int64(left)
	if l.ResetEpoch {
		reset = now.Unix() + int64(left)
	}
	h.Set("X-Ratelimit-Limit", strconv.Itoa(l.Requests))
	h.Set("X-Ratelimit-Remaining", strconv.Itoa(l.Requests-w.used))
	h.Set("X-Ratelimit-Reset", strconv.FormatInt(reset, 10))
	if !ok {
		h.Set("Retry-After", strconv.Itoa(left))
	}
	return ok
}

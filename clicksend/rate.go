package clicksend

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RateInfo is what one response says about the rate limit of its endpoint. The
// documents give no figure; the headers were seen on the live API
// (shared/api/PROVIDER.md, Limits).
type RateInfo struct {
	// HTTPStatus of the response; 429 means that the request was refused.
	HTTPStatus int
	// Limit is x-ratelimit-limit: requests in a window; -1 when absent.
	Limit int
	// Remaining is x-ratelimit-remaining: requests left in it; -1 when absent.
	Remaining int
	// Reset is x-ratelimit-reset as the time from now until the window ends,
	// whether the header gave seconds or a unix time; -1 when absent.
	Reset time.Duration
	// RetryAfter is the Retry-After header, in seconds or as a date; -1 when
	// absent.
	RetryAfter time.Duration
}

// Limited reports whether the request was refused for its rate.
func (r RateInfo) Limited() bool { return r.HTTPStatus == http.StatusTooManyRequests }

// Wait is how long the endpoint wants to be left alone: RetryAfter when it was
// given, else until the window ends if the request was refused or used up the
// last of it, else 0.
func (r RateInfo) Wait() time.Duration {
	switch {
	case r.RetryAfter >= 0:
		return r.RetryAfter
	case r.Reset >= 0 && (r.Limited() || r.Remaining == 0):
		return r.Reset
	}
	return 0
}

// readRate reads the rate headers, and reports whether the response bears any
// or is a 429.
func readRate(status int, h http.Header, now time.Time) (RateInfo, bool) {
	r := RateInfo{HTTPStatus: status, Limit: headerInt(h, "X-Ratelimit-Limit"), Remaining: headerInt(h, "X-Ratelimit-Remaining"), Reset: -1, RetryAfter: -1}
	if s, ok := headerSeconds(h, "X-Ratelimit-Reset"); ok {
		// A window of ten years is no window: the header is a unix time.
		if s > 3e8 {
			s -= float64(now.UnixNano()) / 1e9
		}
		r.Reset = seconds(s)
	}
	if s, ok := headerSeconds(h, "Retry-After"); ok {
		r.RetryAfter = seconds(s)
	} else if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		// By the server's own clock, if it shows one: ours may be off.
		if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
			now = theirs
		}
		r.RetryAfter = max(0, at.Sub(now))
	}
	return r, r.Limited() || r.Limit >= 0 || r.Remaining >= 0 || r.Reset >= 0 || r.RetryAfter >= 0
}

func headerInt(h http.Header, name string) int {
	n, err := strconv.Atoi(strings.TrimSpace(h.Get(name)))
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func headerSeconds(h http.Header, name string) (float64, bool) {
	s, err := strconv.ParseFloat(strings.TrimSpace(h.Get(name)), 64)
	return s, err == nil && s >= 0 && s < 1e12
}

// seconds is s as a duration, at least 0 and at most 24 hours: no rate window
// is longer, and a header that says so is wrong.
func seconds(s float64) time.Duration {
	return time.Duration(min(max(s, 0), 24*3600) * float64(time.Second))
}

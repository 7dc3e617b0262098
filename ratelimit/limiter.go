// Package ratelimit shares one sending budget per provider account and endpoint
// among all workers, in all processes, and learns its size from the provider's
// own headers.
//
// # How it paces
//
// Requests leave one by one, evenly spaced (GCRA with a burst of one), at 95 %
// of the rate: what is left over absorbs the jitter between here and the
// provider, so that 20 requests/s never show there as 23 in one second. Each
// waiting caller holds a slot that the shared budget gave it; before it leaves
// it asks once more whether the slot still stands. A caller that dies with a
// slot wastes that slot and nothing else.
//
// # What it learns
//
// Options.Rate is where an endpoint starts. From the first answer with
// x-ratelimit headers on, the rate is limit over its window, whether that is
// faster or slower than configured; with Options.FixedRate it is never faster.
// The headers do not say how long a window is: it is the longest time to reset
// that was seen, and until a second window has been seen the budget also never
// spends faster than remaining over time to reset. Remaining 0 holds everybody
// until the reset, Retry-After until then, and a 429 that names no time for
// 1 s, doubled with each further one up to a minute. A learned limit counts for
// an hour and is then learned afresh.
//
// # What it needs
//
// Redis 5 or newer (standalone, Sentinel or Cluster; the embedded miniredis
// will do); without Redis the budget holds within the process. Redis losing its
// data costs the learned limit until the next answer, nothing else.
package ratelimit

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"
)

// Unlimited as Options.Rate lets everything leave at once.
const Unlimited = -1.0

// pace is the share of a limit that is used. See the package comment.
const pace = 0.95

// lateness is how late a caller may come to its slot. With pace it bounds the
// requests in any one second: 0.95 * (1 + 0.05) * rate + 1.
const lateness = 50 * time.Millisecond

// maxLearned is how long a learned limit counts, and the longest that one
// answer may hold an endpoint: after it, one request knocks again.
const maxLearned = time.Hour

// turns is how many callers of one process hold slots of one endpoint at a
// time. The others queue here, first come first served: it keeps the processes
// even, loses at most this many slots when a process dies, and is plenty, since
// four suffice for 930 requests a second (BenchmarkWait).
const turns = 4

// Key names a budget. Budgets are independent: one that is used up holds no
// other.
type Key struct {
	// Account tells provider accounts apart. Make it of the base URL and the
	// provider's user id. Redis sees only its hash.
	Account string
	// Endpoint is method and path, such as "POST /sms/send". It appears in
	// errors and in the Redis key.
	Endpoint string
}

// Options of a Limiter.
type Options struct {
	// Rate is requests per second and endpoint, until the provider's headers
	// teach otherwise. It may be below 1. 0 means the default of 1; negative
	// (Unlimited) or +Inf means no limit, and then, unless Messages limits,
	// headers are not heeded either.
	Rate float64
	// FixedRate makes Rate a cap: headers may slow an endpoint down, but never
	// speed it up beyond Rate.
	FixedRate bool
	// Messages is messages per second and endpoint; 0 or less means no limit. A
	// batch of n messages keeps the next batch away for n/Messages seconds.
	// Headers say nothing about it.
	Messages float64
	// Clock is what waits are measured by in this process; nil means the
	// system's. Processes that share a Redis share its clock.
	Clock Clock
	// Prefix starts every Redis key; the default is "postrider:".
	Prefix string
}

// Info is what an answer's headers said.
type Info struct {
	Limit      int           // x-ratelimit-limit; 0 when there was none, and then Remaining and Reset are ignored
	Remaining  int           // x-ratelimit-remaining; -1 when there was none
	Reset      time.Time     // x-ratelimit-reset, by the clock of Options; zero when there was none
	RetryAfter time.Duration // Retry-After; 0 when there was none
	Status     int           // HTTP status
}

// A Limiter hands out permissions to send. It is safe for concurrent use.
type Limiter struct {
	store    store
	clock    Clock
	interval int64 // between requests, microseconds; 0 is none
	message  float64
	fixed    bool
	free     bool // nothing is limited

	mu    sync.Mutex
	lanes map[Key]*lane
}

// New makes a Limiter whose budgets are shared with every other Limiter on the
// same Redis and Prefix; with a nil rdb they hold in this process only. Give
// rdb ContextTimeoutEnabled, so that a Redis that hangs is noticed in time.
func New(rdb redis.UniversalClient, o Options) *Limiter {
	l := &Limiter{clock: o.Clock, fixed: o.FixedRate, lanes: map[Key]*lane{}}
	if l.clock == nil {
		l.clock = systemClock{}
	}
	perSecond := o.Rate
	if perSecond == 0 || math.IsNaN(perSecond) {
		perSecond = 1
	}
	limited := perSecond > 0 && !math.IsInf(perSecond, 1)
	if limited {
		l.interval = intervalOf(perSecond)
	}
	if o.Messages > 0 && !math.IsInf(o.Messages, 1) {
		l.message = float64(second) / o.Messages
	}
	l.free = !limited && l.message == 0
	if rdb == nil {
		l.store = &memoryStore{clock: l.clock, budgets: map[Key]*budget{}}
		return l
	}
	prefix := o.Prefix
	if prefix == "" {
		prefix = "postrider:"
	}
	l.store = newRedisStore(rdb, prefix)
	return l
}

// Wait returns when one request that carries the given number of messages may
// leave to k. It returns ctx's error when ctx ends first; a *WaitError at once,
// with nothing reserved, when ctx has a deadline and the wait would pass it; and
// an *UnavailableError within a few seconds when the shared budget cannot be
// asked. The request should leave at once: the longer between here and the
// provider, the less even the flow.
func (l *Limiter) Wait(ctx context.Context, k Key, messages int) error {
	if l.free {
		return ctx.Err()
	}
	lane := l.lane(k)
	if err := lane.enter(ctx); err != nil {
		return err
	}
	defer lane.exit()
	if err := l.smooth(ctx, k, lane); err != nil {
		return err
	}

	t := terms{
		configured: l.interval,
		fixed:      l.fixed,
		cost:       int64(l.message * float64(max(messages, 0))),
		tolerance:  lateness.Microseconds(),
	}
	for {
		if err := l.pause(ctx, k, lane.held(l.clock.Now())); err != nil {
			return err
		}
		t.patience = patience(ctx)
		a, err := l.store.reserve(ctx, k, t)
		if err != nil {
			return err
		}
		lane.pace(l.clock.Now(), a.interval)
		switch a.verdict {
		case leave:
			return nil
		case refuse:
			return &WaitError{Endpoint: k.Endpoint, RetryAfter: micros(a.wait)}
		}
		t.slot, t.gen = a.slot, a.gen
		// A sleeper looks up now and then: the limit may have been learned anew,
		// or the endpoint blocked, since it was given its slot.
		if err := l.clock.Sleep(ctx, min(micros(a.wait), glance)); err != nil {
			return err
		}
	}
}

// glance is how often a caller that waits for its slot asks whether the slot
// still stands.
const glance = time.Second

// Learn takes over what the answer to a request to k said about its limits, for
// all workers. An answer that says nothing costs nothing. An *UnavailableError
// means that the other processes were not told; this one obeys a block all the
// same, and the next answer teaches again.
func (l *Limiter) Learn(ctx context.Context, k Key, i Info) error {
	refused := i.Status == 429
	if l.free || (i.Limit <= 0 && i.RetryAfter <= 0 && !refused) {
		return nil
	}
	s := lesson{
		limit:      int64(max(i.Limit, 0)),
		remaining:  int64(i.Remaining),
		retry:      max(i.RetryAfter, 0).Microseconds(),
		refused:    refused,
		configured: l.interval,
		life:       maxLearned.Microseconds(),
	}
	now := l.clock.Now()
	if !i.Reset.IsZero() && i.Limit > 0 {
		s.reset = max(i.Reset.Sub(now), 0).Microseconds()
	}
	if i.Limit <= 0 {
		s.remaining = -1
	}
	block := s.retry
	if s.remaining == 0 {
		block = max(block, s.reset)
	}
	l.lane(k).hold(now.Add(min(micros(block), maxLearned)))
	return l.store.learn(ctx, k, s)
}

// Rate returns the requests per second at which k now paces, learned or
// configured; +Inf when nothing limits it. It reserves nothing.
func (l *Limiter) Rate(ctx context.Context, k Key) (float64, error) {
	if l.free {
		return math.Inf(1), nil
	}
	interval, err := l.store.peek(ctx, k, l.interval, l.fixed)
	if err != nil {
		return 0, err
	}
	if interval == 0 {
		return math.Inf(1), nil
	}
	return float64(second) / float64(interval), nil
}

// smooth is the process's own x/time/rate limiter, before Redis is asked: a
// burst of batches in one process reaches Redis as a trickle. It never paces
// below ten a second: slower is the shared budget's business, whose sleepers
// hear the news.
func (l *Limiter) smooth(ctx context.Context, k Key, lane *lane) error {
	now := l.clock.Now()
	r := lane.smoother.ReserveN(now, 1)
	d := r.DelayFrom(now)
	if err := l.pause(ctx, k, d); err != nil {
		r.CancelAt(now)
		return err
	}
	return nil
}

// pause sleeps for d, or says at once that ctx would end before.
func (l *Limiter) pause(ctx context.Context, k Key, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	if p := patience(ctx); p >= 0 && d.Microseconds() > p {
		return &WaitError{Endpoint: k.Endpoint, RetryAfter: d}
	}
	return l.clock.Sleep(ctx, d)
}

func (l *Limiter) lane(k Key) *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, ok := l.lanes[k]; ok {
		return n
	}
	n := &lane{
		turn:     make(chan struct{}, turns),
		smoother: rate.NewLimiter(rate.Inf, 1),
	}
	n.pace(l.clock.Now(), l.interval)
	l.lanes[k] = n
	return n
}

// A lane is what one process keeps of one endpoint.
type lane struct {
	turn     chan struct{} // holds one token for every caller that may have a slot
	smoother *rate.Limiter

	mu      sync.Mutex
	blocked time.Time
}

func (n *lane) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case n.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *lane) exit() { <-n.turn }

// pace gives the smoother the rate that is now in force.
func (n *lane) pace(now time.Time, interval int64) {
	limit := rate.Inf
	if interval > 0 {
		limit = rate.Limit(max(10, float64(second)/float64(interval)))
	}
	if limit != n.smoother.Limit() {
		n.smoother.SetLimitAt(now, limit)
	}
}

// hold remembers a block in this process, so that a Redis that forgets does not
// let its callers through.
func (n *lane) hold(until time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if until.After(n.blocked) {
		n.blocked = until
	}
}

func (n *lane) held(now time.Time) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(0, n.blocked.Sub(now))
}

// intervalOf is the time between requests, in microseconds, at the given rate.
func intervalOf(perSecond float64) int64 {
	return int64(min(math.Floor(float64(second)/perSecond/pace), float64(24*hour)))
}

// patience is how long ctx lets a caller wait, in microseconds; -1 without a
// deadline.
func patience(ctx context.Context) int64 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return -1
	}
	return max(0, time.Until(deadline).Microseconds())
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

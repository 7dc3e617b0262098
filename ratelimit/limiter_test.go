package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var sms = Key{Account: "https://rest.clicksend.com/v3 4711", Endpoint: "POST /sms/send"}

// Four limiters on four connections stand for four worker processes, with three
// callers each.
func TestFourWorkersTogetherKeepTheRate(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) string{
		"redis":     func(t *testing.T) string { return startRedis(t).addr },
		"miniredis": func(t *testing.T) string { return miniredis.RunT(t).Addr() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := start(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			const goal = 81 // four seconds and a bit
			var mu sync.Mutex
			var left []time.Time
			var wg sync.WaitGroup
			share := make([]int, 4)
			for w := range share {
				l := New(client(t, addr), Options{Rate: 20})
				for range 3 {
					wg.Go(func() {
						for {
							if err := l.Wait(ctx, sms, 1000); err != nil {
								t.Error(err)
								return
							}
							mu.Lock()
							done := len(left) >= goal
							if !done {
								left = append(left, time.Now())
								share[w]++
							}
							mu.Unlock()
							if done {
								return
							}
						}
					})
				}
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			slices.SortFunc(left, time.Time.Compare)
			if most := busiestSecond(left); most > 22 {
				t.Errorf("%d requests left within one second, at most 22 may", most)
			}
			took := left[len(left)-1].Sub(left[0]).Seconds()
			if average := float64(len(left)-1) / took; average < 18 {
				t.Errorf("%.1f requests left a second, want at least 18", average)
			}
			for w, n := range share {
				if n < goal/8 {
					t.Errorf("worker %d sent %d of %d: %v is not fair", w, n, goal, share)
				}
			}
		})
	}
}

func TestRetryAfterHoldsEveryWorkerOfThatEndpointOnly(t *testing.T) {
	t.Parallel()
	addr := startRedis(t).addr
	ctx := t.Context()
	a, b := New(client(t, addr), Options{Rate: 100}), New(client(t, addr), Options{Rate: 100})
	mms := Key{Account: sms.Account, Endpoint: "POST /mms/send"}

	if err := a.Learn(ctx, sms, Info{Status: 429, RetryAfter: 700 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var wg sync.WaitGroup
	for _, l := range []*Limiter{a, b} {
		wg.Go(func() {
			if err := l.Wait(ctx, sms, 1); err != nil {
				t.Error(err)
			}
			if d := time.Since(start); d < 600*time.Millisecond {
				t.Errorf("a request left %s into a Retry-After of 700ms", d)
			}
		})
		wg.Go(func() {
			if err := l.Wait(ctx, mms, 1); err != nil {
				t.Error(err)
			}
			if d := time.Since(start); d > 500*time.Millisecond {
				t.Errorf("another endpoint waited %s", d)
			}
		})
	}
	wg.Wait()
}

// A caller that already holds a slot is held too, and news of a faster rate
// reaches it in its sleep.
func TestSleepersHearTheNews(t *testing.T) {
	t.Parallel()
	addr := startRedis(t).addr
	ctx := t.Context()
	a, b := New(client(t, addr), Options{Rate: 0.05}), New(client(t, addr), Options{Rate: 0.05})
	if err := a.Wait(ctx, sms, 1); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	start := time.Now()
	go func() { done <- b.Wait(ctx, sms, 1) }() // 21 s at the configured rate
	for held := false; !held; {
		n, err := client(t, addr).HGet(ctx, redisKey(sms), "tat").Int64()
		if err != nil {
			t.Fatal(err)
		}
		held = time.UnixMicro(n).After(start.Add(30 * time.Second)) // b's slot is in the books
	}
	if err := a.Learn(ctx, sms, Info{Status: 200, Limit: 20, Remaining: 19, Reset: time.Now().Add(time.Second)}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("a sleeper left after %s, though the rate had become 20 a second", d)
	}
}

func TestHeadersRuleBothWays(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options Options
		limit   int
		reset   time.Duration
		want    float64
	}{
		"slower than configured":             {Options{Rate: 20}, 20, time.Minute, 20.0 / 60 * pace},
		"faster than configured":             {Options{Rate: 1}, 20, time.Second, 20 * pace},
		"a cap is not exceeded":              {Options{Rate: 1, FixedRate: true}, 20, time.Second, 1 * pace},
		"a cap does not keep a rate up":      {Options{Rate: 20, FixedRate: true}, 20, time.Minute, 20.0 / 60 * pace},
		"the default is one a second":        {Options{}, 0, 0, pace},
		"a message budget alone has no rate": {Options{Rate: Unlimited, Messages: 10}, 20, time.Minute, 20.0 / 60 * pace},
	}
	for name, test := range tests {
		for kind, rdb := range stores(t) {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				ctx := t.Context()
				test.options.Prefix = name
				l := New(rdb, test.options)
				for range 3 {
					i := Info{Status: 200, Limit: test.limit, Remaining: test.limit}
					if test.limit > 0 {
						// A reset a little under the whole window: an answer is never instant.
						i.Reset = time.Now().Add(test.reset - 5*time.Millisecond)
					}
					if err := l.Learn(ctx, sms, i); err != nil {
						t.Fatal(err)
					}
				}
				got, err := l.Rate(ctx, sms)
				if err != nil {
					t.Fatal(err)
				}
				if got < test.want*0.98 || got > test.want*1.02 {
					t.Errorf("paces at %.3f a second, want %.3f", got, test.want)
				}
			})
		}
	}
}

func TestOneWorkerLearnsForAll(t *testing.T) {
	t.Parallel()
	addr := startRedis(t).addr
	ctx := t.Context()
	a, b := New(client(t, addr), Options{Rate: 20}), New(client(t, addr), Options{Rate: 20})
	if err := a.Learn(ctx, sms, Info{Status: 200, Limit: 20, Remaining: 19, Reset: time.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	got, err := b.Rate(ctx, sms)
	if err != nil {
		t.Fatal(err)
	}
	if got > 20.0/60 {
		t.Errorf("the other worker paces at %.2f a second after 20 a minute were learned", got)
	}
	other, err := b.Rate(ctx, Key{Account: "another account", Endpoint: sms.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	if other < 18 {
		t.Errorf("another account paces at %.2f a second", other)
	}
}

// Learning in the middle of a window: the time to reset is short, and must not
// pass for the length of the window.
func TestALimitLearnedLateInItsWindowIsNotOverestimated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		l := New(nil, Options{Rate: 1})
		learn := func(remaining int, left time.Duration) {
			t.Helper()
			if err := l.Learn(ctx, sms, Info{Status: 200, Limit: 20, Remaining: remaining, Reset: time.Now().Add(left)}); err != nil {
				t.Fatal(err)
			}
		}
		learn(3, 6*time.Second)
		if r, _ := l.Rate(ctx, sms); r > 0.5 {
			t.Errorf("3 requests for 6 s, yet it paces at %.2f a second", r)
		}
		time.Sleep(7 * time.Second)
		learn(19, time.Minute)
		if r, _ := l.Rate(ctx, sms); r < 0.31 || r > 0.32 {
			t.Errorf("20 a minute was learned, yet it paces at %.3f a second", r)
		}
		time.Sleep(maxLearned + time.Second)
		if r, _ := l.Rate(ctx, sms); r < 0.9 {
			t.Errorf("what was learned an hour ago still counts: %.3f a second", r)
		}
	})
}

func TestNothingRemainingHoldsUntilTheReset(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		l := New(nil, Options{Rate: 20})
		if err := l.Learn(ctx, sms, Info{Status: 200, Limit: 20, Remaining: 0, Reset: time.Now().Add(42 * time.Second)}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := l.Wait(ctx, sms, 1); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < 42*time.Second || d > 43*time.Second {
			t.Errorf("left after %s, want 42s", d)
		}
	})
}

func TestARefusalWithoutATimeBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		l := New(nil, Options{Rate: 20})
		for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			if err := l.Learn(ctx, sms, Info{Status: 429}); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if err := l.Wait(ctx, sms, 1); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d < want || d > want+100*time.Millisecond {
				t.Errorf("left after %s, want %s", d, want)
			}
		}
	})
}

func TestASlowRateIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		l := New(nil, Options{Rate: 0.1})
		start := time.Now()
		var wg sync.WaitGroup
		for range 7 { // more than hold slots at a time
			wg.Go(func() {
				if err := l.Wait(ctx, sms, 1); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d < 60*time.Second || d > 66*time.Second {
			t.Errorf("7 requests at 0.1 a second took %s", d)
		}
	})
}

func TestADeadlineThatWouldPassReservesNothing(t *testing.T) {
	t.Parallel()
	for kind, rdb := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			l := New(rdb, Options{Rate: 0.01})
			if err := l.Wait(t.Context(), sms, 1); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var waits [3]time.Duration
			for i := range waits {
				start := time.Now()
				err := l.Wait(ctx, sms, 1)
				var w *WaitError
				if !errors.As(err, &w) || !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("got %v, want a WaitError", err)
				}
				if d := time.Since(start); d > 5*time.Second {
					t.Errorf("it took %s to say so", d)
				}
				waits[i] = w.RetryAfter
			}
			if waits[2] > waits[0] || waits[0] < 90*time.Second {
				t.Errorf("the waits are %v: what is refused takes up budget", waits)
			}
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for kind, rdb := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			l := New(rdb, Options{Rate: 0.001})
			if err := l.Wait(t.Context(), sms, 1); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for range turns + 2 {
				wg.Go(func() {
					if err := l.Wait(ctx, sms, 1); !errors.Is(err, context.Canceled) {
						t.Errorf("got %v", err)
					}
				})
			}
			cancel()
			wg.Wait()
		})
	}
}

func TestUnlimitedNeverAsksRedis(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { _ = rdb.Close() }()
	l := New(rdb, Options{Rate: Unlimited})
	for range 1000 {
		if err := l.Wait(t.Context(), sms, 1000); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Learn(t.Context(), sms, Info{Status: 429, RetryAfter: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(t.Context(), sms, 1000); err != nil {
		t.Fatal(err)
	}
}

func TestRedisAwayIsSaidQuickly(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*testing.T) string{
		"nobody listens": func(t *testing.T) string { return "127.0.0.1:" + strconv.Itoa(freePort(t)) },
		"it hangs": func(t *testing.T) string {
			r := startRedis(t)
			if err := r.process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			return r.addr
		},
	}
	for name, start := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := New(client(t, start(t)), Options{Rate: 20})
			begin := time.Now()
			err := l.Wait(t.Context(), sms, 1)
			var u *UnavailableError
			if !errors.As(err, &u) {
				t.Fatalf("got %v, want an UnavailableError", err)
			}
			if d := time.Since(begin); d > 2*patienceWithRedis {
				t.Errorf("it took %s to say so", d)
			}
			if err := l.Learn(t.Context(), sms, Info{Status: 429, RetryAfter: time.Hour}); !errors.As(err, &u) {
				t.Errorf("Learn: got %v, want an UnavailableError", err)
			}
		})
	}
}

// What Redis forgets, the process that heard it still obeys, and slots from
// before are void: a flush is not a burst.
func TestAFlushedRedisLetsNoBurstThrough(t *testing.T) {
	t.Parallel()
	addr := startRedis(t).addr
	ctx := t.Context()
	rdb := client(t, addr)
	l := New(rdb, Options{Rate: 20})
	var mu sync.Mutex
	var left []time.Time
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 4 {
				if err := l.Wait(ctx, sms, 1); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				left = append(left, time.Now())
				if len(left)%4 == 0 {
					if err := rdb.FlushAll(ctx).Err(); err != nil {
						t.Error(err)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.SortFunc(left, time.Time.Compare)
	if most := busiestSecond(left); most > 28 { // 20 and one for each flush in that second
		t.Errorf("%d requests left within one second", most)
	}

	if err := l.Learn(ctx, sms, Info{Status: 429, RetryAfter: 600 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := rdb.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(ctx, sms, 1); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 500*time.Millisecond {
		t.Errorf("left %s into a Retry-After of 600ms that Redis forgot", d)
	}
}

func TestKeysEndByThemselvesAndStayInOneSlot(t *testing.T) {
	t.Parallel()
	addr := startRedis(t).addr
	ctx := t.Context()
	rdb := client(t, addr)
	l := New(rdb, Options{Rate: 20})
	if err := l.Wait(ctx, sms, 1); err != nil {
		t.Fatal(err)
	}
	ttl := func() time.Duration {
		t.Helper()
		d, err := rdb.PTTL(ctx, redisKey(sms)).Result()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := ttl(); d <= 0 || d > 2*time.Minute {
		t.Errorf("an idle budget lives %s", d)
	}
	if err := l.Learn(ctx, sms, Info{Status: 200, Limit: 20, Remaining: 3, Reset: time.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if d := ttl(); d < maxLearned || d > maxLearned+2*time.Minute {
		t.Errorf("what was learned lives %s, want an hour", d)
	}
	keys, err := rdb.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 1 || strings.Count(keys[0], "{") != 1 || strings.Contains(keys[0], sms.Account) {
		t.Errorf("keys are %q: want one, with a hash tag, that does not name the account", keys)
	}
}

func TestItWorksInARedisCluster(t *testing.T) {
	t.Parallel()
	addr := startRedis(t, "--cluster-enabled", "yes").addr
	ctx := t.Context()
	if err := client(t, addr).Do(ctx, "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	l := New(rdb, Options{Rate: 20})
	for { // the cluster takes a moment to call itself up
		err := l.Wait(ctx, sms, 1)
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "CLUSTERDOWN") {
			t.Fatal(err)
		}
	}
	if err := l.Learn(ctx, sms, Info{Status: 200, Limit: 20, Remaining: 19, Reset: time.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if r, err := l.Rate(ctx, sms); err != nil || r > 0.34 {
		t.Errorf("paces at %.2f a second, error %v", r, err)
	}
}

// stores are the three places a budget can live in.
func stores(t *testing.T) map[string]redis.UniversalClient {
	return map[string]redis.UniversalClient{
		"memory":    nil,
		"miniredis": client(t, miniredis.RunT(t).Addr()),
		"redis":     client(t, startRedis(t).addr),
	}
}

func busiestSecond(left []time.Time) int {
	most := 0
	for i := range left {
		n, _ := slices.BinarySearchFunc(left, left[i].Add(time.Second), time.Time.Compare)
		most = max(most, n-i)
	}
	return most
}

func redisKey(k Key) string { return newRedisStore(nil, "postrider:").key(k) }

func client(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

type redisServer struct {
	addr    string
	process *os.Process
}

// startRedis starts a redis-server that keeps nothing on disk and ends with the
// test.
func startRedis(t testing.TB, more ...string) redisServer {
	t.Helper()
	port := freePort(t)
	args := append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", t.TempDir()}, more...)
	cmd := exec.Command("redis-server", args...)
	if err := cmd.Start(); err != nil {
		t.Fatalf("these tests need redis-server (apt install redis-server): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	defer func() { _ = c.Close() }()
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := c.Ping(t.Context()).Err()
		if err == nil {
			return redisServer{addr: addr, process: cmd.Process}
		}
		if time.Now().After(deadline) {
			t.Fatalf("redis-server did not come up: %v", err)
		}
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

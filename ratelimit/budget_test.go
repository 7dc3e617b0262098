package ratelimit

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

// The scripts and their mirror in Go give the same answers, whatever happens in
// whatever order. It also proves that the embedded queue's miniredis runs them.
func TestScriptsAnswerAsTheBudgetInMemory(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	ctx := context.Background()
	k := Key{Account: "a", Endpoint: "POST /sms/send"}

	rapid.Check(t, func(t *rapid.T) {
		server.FlushAll()
		now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
		server.SetTime(now)
		shared, memory := newRedisStore(rdb, "test:"), &budget{}
		var held []answer // slots that callers hold
		configured := rapid.SampledFrom([]int64{0, 52_631, 1_052_631, 60 * second}).Draw(t, "configured")
		cost := rapid.SampledFrom([]int64{0, 10_000, 5 * second}).Draw(t, "cost")
		fixed := rapid.Bool().Draw(t, "fixed")

		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				d := rapid.SampledFrom([]time.Duration{time.Microsecond, 40 * time.Millisecond, time.Second,
					20 * time.Second, 2 * time.Minute, 61 * time.Minute, -3 * time.Second, -26 * time.Hour}).Draw(t, "d")
				now = now.Add(d)
				server.SetTime(now)
			},
			"reserve": func(t *rapid.T) {
				q := terms{configured: configured, fixed: fixed, cost: cost, tolerance: lateness.Microseconds(),
					patience: rapid.SampledFrom([]int64{-1, 0, second, hour}).Draw(t, "patience")}
				if len(held) > 0 && rapid.Bool().Draw(t, "holds a slot") {
					i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
					q.slot, q.gen = held[i].slot, held[i].gen
					held = append(held[:i], held[i+1:]...)
				}
				want := memory.reserve(now.UnixMicro(), q)
				got, err := shared.reserve(ctx, k, q)
				if err != nil {
					t.Fatal(err)
				}
				if got != want {
					t.Fatalf("reserve(%+v) is %+v from the script and %+v in memory", q, got, want)
				}
				if got.verdict == sleep {
					held = append(held, got)
				}
			},
			"learn": func(t *rapid.T) {
				l := lesson{
					limit:      rapid.SampledFrom([]int64{0, 1, 20, 1000}).Draw(t, "limit"),
					remaining:  rapid.SampledFrom([]int64{-1, 0, 1, 5, 19, 20}).Draw(t, "remaining"),
					reset:      rapid.SampledFrom([]int64{0, 300_000, second, 59_300_000, 60 * second, 3 * hour}).Draw(t, "reset"),
					retry:      rapid.SampledFrom([]int64{0, 0, 0, second, 30 * second, 5 * hour}).Draw(t, "retry"),
					refused:    rapid.Bool().Draw(t, "refused"),
					configured: configured,
					life:       hour,
				}
				wantInterval, wantBlocked := memory.learn(now.UnixMicro(), l)
				got, err := shared.run(ctx, shared.learner, k, 2, l.limit, l.remaining, l.reset, l.retry,
					flag(l.refused), l.configured, l.life, pace)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]int64{wantInterval, wantBlocked}, got); diff != "" {
					t.Fatalf("learn(%+v), -memory +script:\n%s", l, diff)
				}
			},
			"": func(t *rapid.T) {
				got, err := shared.peek(ctx, k, configured, fixed)
				if err != nil {
					t.Fatal(err)
				}
				if want := memory.inForce(now.UnixMicro(), configured, fixed); got != want {
					t.Fatalf("the interval in force is %d in Redis and %d in memory", got, want)
				}
			},
		})
	})
}

// However callers come, what leaves is spaced: no second holds more than the
// rate, and a caller who waits for its slot gets it.
func TestDeparturesAreSpaced(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		perSecond := rapid.Float64Range(0.05, 200).Draw(t, "requests per second")
		b := &budget{}
		q := terms{configured: intervalOf(perSecond), patience: -1, tolerance: lateness.Microseconds()}
		now := int64(1_800_000_000) * second
		var waiting []answer
		var left []int64
		ask := func(a answer) {
			q.slot, q.gen = a.slot, a.gen
			switch r := b.reserve(now, q); r.verdict {
			case leave:
				left = append(left, now)
			case sleep:
				waiting = append(waiting, r)
			}
		}
		for range rapid.IntRange(5, 200).Draw(t, "steps") {
			for range rapid.IntRange(0, 5).Draw(t, "callers") {
				ask(answer{})
			}
			// Time goes to the next slot and a little further, then its holder asks.
			if len(waiting) > 0 {
				next := waiting[0]
				waiting = waiting[1:]
				now = max(now, next.slot) + rapid.Int64Range(0, 80_000).Draw(t, "late")
				ask(next)
			} else {
				now += rapid.Int64Range(0, second).Draw(t, "idle")
			}
		}
		most := int(perSecond*pace*(1+lateness.Seconds())) + 1
		for i := range left {
			n := 0
			for _, at := range left[i:] {
				if at < left[i]+second {
					n++
				}
			}
			if n > most {
				t.Fatalf("%d left within a second, at %.2f a second at most %d may", n, perSecond, most)
			}
		}
	})
}

func TestMessagesHaveABudgetOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := &budget{}
	now := int64(1_800_000_000) * second
	q := terms{configured: intervalOf(20), cost: 10 * second, patience: -1}
	if a := b.reserve(now, q); a.verdict != leave {
		t.Fatalf("the first batch waits: %+v", a)
	}
	a := b.reserve(now, q)
	if a.verdict != sleep || a.wait != 10*second {
		t.Fatalf("1000 messages at 100 a second leave %d µs after the first 1000, want 10 s", a.wait)
	}
	q.cost = 0
	if a := b.reserve(now, q); a.wait < 10*second {
		t.Fatalf("a batch overtook: it waits %d µs", a.wait)
	}
}

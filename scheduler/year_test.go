package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postrider/postrider/internal/services"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/scheduler"
)

// clock is a clock that stands still until it is moved, backwards too.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// effects is what the outside world sees of the runs: each that took place, by
// schedule and local time, as the unique name of a campaign would keep it.
type effects struct {
	mu   sync.Mutex
	made map[string]int // by campaign name: how often it was made
	seen map[string]int // how often the Runner was called
}

// mortal is a Runner whose process may die in the middle of a run: before it
// has made anything, or after, without anybody recording it.
type mortal struct {
	effects *effects
	dies    func() bool
}

var errDied = errors.New("died")

func (m mortal) Run(ctx context.Context, s ledger.Schedule, r ledger.Run) (scheduler.Result, error) {
	name := scheduler.CampaignName(s, r)
	m.effects.mu.Lock()
	defer m.effects.mu.Unlock()
	m.effects.seen[name]++
	if m.dies() {
		panic(errDied)
	}
	if m.effects.made[name] == 0 { // else an earlier call has made it
		m.effects.made[name]++
	}
	if m.dies() {
		panic(errDied)
	}
	return scheduler.Result{Nothing: "a simulation sends nothing"}, nil
}

var cities = []struct{ name, zone, cron string }{
	{"Sydney", "Australia/Sydney", "0,30 2 * * *"},
	{"Sydney late", "Australia/Sydney", "0 3 * * sun"},
	{"London", "Europe/London", "30 1 * * *"},
	{"New York", "America/New_York", "0,30 2 * * *"},
	{"New York twice", "America/New_York", "30 1 * * sun"},
}

func TestAYearOfNightsByThreeSchedulersRunsEachOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			target := filepath.Join(t.TempDir(), "ledger.db")
			if kind == "postgres" {
				target = services.Postgres(t)
			}
			year(t, target)
		})
	}
}

func year(t *testing.T, target string) {
	start := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	end := start.AddDate(1, 0, 0)
	now := &clock{now: start}
	// What is random is the same each time.
	random := rand.New(rand.NewPCG(7, 11))
	var luck sync.Mutex
	dies := func() bool {
		luck.Lock()
		defer luck.Unlock()
		return random.IntN(40) == 0
	}
	world := &effects{made: map[string]int{}, seen: map[string]int{}}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))

	// newScheduler is a process that has just started.
	started := 0
	newScheduler := func() (*scheduler.Runs, func()) {
		l, err := ledger.Open(t.Context(), target, ledger.Options{Clock: now.Now})
		if err != nil {
			t.Fatal(err)
		}
		started++
		s := &scheduler.Runs{Ledger: l, Runner: dying{mortal{world, dies}}, Log: log, Name: fmt.Sprintf("scheduler %d", started), Lease: time.Minute}
		return s, func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	running := make([]*scheduler.Runs, 3)
	stop := make([]func(), 3)
	for i := range running {
		running[i], stop[i] = newScheduler()
	}
	defer func() {
		for _, f := range stop {
			f()
		}
	}()

	l := running[0].Ledger
	want := map[string]bool{}
	var moments []time.Time
	for _, c := range cities {
		loc := zone(t, c.zone)
		_, err := l.CreateSchedule(t.Context(), ledger.NewSchedule{
			Name: c.name, Cron: c.cron, Zone: c.zone, Overlap: "wait", IfLate: "run", LateLimit: 48 * time.Hour, CatchUp: "all", Tries: 50, RetryWait: time.Minute,
		}, scheduler.Reading(start, loc).String())
		if err != nil {
			t.Fatal(err)
		}
		// The names of the runs are counted by the calendar alone, without zones.
		for _, name := range wallClock(c.cron, scheduler.Reading(start, loc), scheduler.Reading(end, loc)) {
			want[c.name+" "+strings.Replace(name.String(), "T", " ", 1)] = true
			moments = append(moments, name.Instant(loc))
		}
	}
	slices.SortFunc(moments, time.Time.Compare)

	round := func(which []int) {
		var all sync.WaitGroup
		for _, i := range which {
			all.Add(1)
			go func() {
				defer all.Done()
				if err := running[i].Once(context.Background()); err != nil {
					t.Errorf("%s: %v", running[i].Name, err)
				}
			}()
		}
		all.Wait()
	}
	for i := 0; i < len(moments); {
		at := moments[i]
		now.set(at)
		round([]int{i % 3, (i + 1) % 3})
		step := 1
		switch luckyNumber := random.IntN(200); {
		case luckyNumber < 20: // the clock jumps back by up to three hours, and a scheduler looks
			now.set(at.Add(-time.Duration(random.IntN(180)) * time.Minute))
			round([]int{(i + 2) % 3})
		case luckyNumber < 30: // nobody runs for up to a day, or the clock jumps there
			step = 1 + random.IntN(7)
		case luckyNumber == 30: // one is restarted
			k := random.IntN(3)
			stop[k]()
			running[k], stop[k] = newScheduler()
		}
		for i += step; step > 1 && i < len(moments) && moments[i].Equal(moments[i-1]); i++ {
		}
	}
	// What was begun by the dead is taken over.
	for k := range 200 {
		now.set(end.Add(time.Duration(k) * time.Hour / 200))
		round([]int{k % 3})
		open, err := running[0].Ledger.OpenRuns(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(open) == 0 {
			break
		}
	}

	got := map[string]bool{}
	again := 0
	for name, times := range world.made {
		got[name] = true
		if times != 1 {
			t.Errorf("%s took place %d times", name, times)
		}
		if world.seen[name] > 1 {
			again++
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the runs, -want +got:\n%s", diff)
	}
	for name, times := range world.seen {
		if times > 20 {
			t.Errorf("%s was begun %d times", name, times)
		}
	}
	if again < 20 {
		t.Errorf("only %d runs were begun again: nobody died in this year", again)
	}
	if len(want) < 1800 {
		t.Errorf("the year has only %d runs", len(want))
	}
	t.Logf("%d runs, %d of them begun more than once, by %d processes", len(want), again, started)
}

// dying gives a run up as a killed process does: nothing is recorded, and the
// lease ends by itself.
type dying struct{ mortal }

func (d dying) Run(ctx context.Context, s ledger.Schedule, r ledger.Run) (res scheduler.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			res, err = scheduler.Result{}, ledger.ErrLostLease
		}
	}()
	return d.mortal.Run(ctx, s, r)
}

func (d dying) Ended(context.Context, ledger.Schedule, ledger.Run, []*ledger.Campaign) (scheduler.Ending, error) {
	return scheduler.Ending{}, nil
}

// wallClock lists the local times of an expression of the form M[,M] H * * *
// (or * * sun) by counting minutes on a wall clock.
func wallClock(cron string, after, to scheduler.LocalTime) []scheduler.LocalTime {
	f := strings.Fields(cron)
	var all []scheduler.LocalTime
	for l := after + 1; l <= to; l++ {
		t, err := time.Parse("2006-01-02T15:04", l.String())
		if err != nil {
			panic(err)
		}
		if f[4] == "sun" && t.Weekday() != time.Sunday {
			continue
		}
		if fmt.Sprint(t.Hour()) == f[1] && slices.Contains(strings.Split(f[0], ","), fmt.Sprint(t.Minute())) {
			all = append(all, l)
		}
	}
	return all
}

package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/scheduler"
)

// runnerFunc is a Runner of one function.
type runnerFunc func(ctx context.Context, s ledger.Schedule, r ledger.Run) (scheduler.Result, error)

func (f runnerFunc) Run(ctx context.Context, s ledger.Schedule, r ledger.Run) (scheduler.Result, error) {
	return f(ctx, s, r)
}

func (runnerFunc) Ended(context.Context, ledger.Schedule, ledger.Run, []*ledger.Campaign) (scheduler.Ending, error) {
	return scheduler.Ending{}, nil
}

func nothing(context.Context, ledger.Schedule, ledger.Run) (scheduler.Result, error) {
	return scheduler.Result{Nothing: "no rows"}, nil
}

// desk is a ledger with a clock, and a scheduler that a test moves by hand.
type desk struct {
	t    *testing.T
	l    *ledger.Ledger
	now  *clock
	runs *scheduler.Runs
}

func newDesk(t *testing.T, run runnerFunc) *desk {
	t.Helper()
	now := &clock{now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)}
	l, err := ledger.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"), ledger.Options{Clock: now.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &desk{t, l, now, &scheduler.Runs{Ledger: l, Runner: run, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Name: "one"}}
}

// schedule adds one that runs at every full hour in UTC.
func (d *desk) schedule(more ...func(*ledger.NewSchedule)) *ledger.Schedule {
	d.t.Helper()
	n := ledger.NewSchedule{
		Name: "hourly", Cron: "@hourly", Zone: "UTC", Overlap: "wait", IfLate: "run", LateLimit: 6 * time.Hour, CatchUp: "latest", Tries: 3, RetryWait: 10 * time.Minute,
		Alarm: ledger.AlarmConfig{Command: []string{"/bin/true"}, On: []string{"failed", "skipped", "paused", "late"}},
	}
	for _, f := range more {
		f(&n)
	}
	s, err := d.l.CreateSchedule(d.t.Context(), n, scheduler.Reading(d.now.Now(), time.UTC).String())
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// at moves the clock to an hour of 2026-11-21 and lets the scheduler look.
func (d *desk) at(clock string) {
	d.t.Helper()
	at, err := time.Parse("2006-01-02T15:04:05", "2026-11-21T"+clock)
	if err != nil {
		d.t.Fatal(err)
	}
	d.now.set(at)
	d.round()
}

func (d *desk) round() {
	d.t.Helper()
	if err := d.runs.Once(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}

// history demands the runs, the newest first, as "15:00 state reason".
func (d *desk) history(s *ledger.Schedule, want ...string) {
	d.t.Helper()
	runs, err := d.l.History(d.t.Context(), s.ID, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	var got []string
	for _, r := range runs {
		got = append(got, strings.TrimSpace(r.Local[11:]+" "+string(r.State)+" "+r.Reason))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		d.t.Fatalf("the runs, -want +got:\n%s", diff)
	}
}

// alarms demands the alarms as "15:00 event reason".
func (d *desk) alarms(s *ledger.Schedule, want ...string) {
	d.t.Helper()
	all, err := d.l.Alarms(d.t.Context(), s.ID)
	if err != nil {
		d.t.Fatal(err)
	}
	var got []string
	for _, a := range all {
		got = append(got, a.Run.Local[11:]+" "+a.Event+" "+a.Reason)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		d.t.Fatalf("the alarms, -want +got:\n%s", diff)
	}
}

func TestMissedRunsAreJudgedByTheLatePolicyAndNeverSilent(t *testing.T) {
	t.Parallel()
	const tooLate, passed = "nobody was running at its hour, and it is more than 2h0m0s late", "nobody was running at its hour, and a later run takes its place"
	for _, c := range []struct {
		name            string
		policy          func(*ledger.NewSchedule)
		history, alarms []string
	}{
		{"latest", func(n *ledger.NewSchedule) { n.LateLimit = 2 * time.Hour },
			[]string{"13:00 nothing no rows", "12:00 skipped " + passed, "11:00 skipped " + tooLate, "10:00 skipped " + tooLate},
			[]string{"12:00 skipped 3 runs from 2026-11-21T10:00 to 2026-11-21T12:00 were skipped; the last: " + passed, "13:00 late it begins 30m0s late: nobody was running at its hour"}},
		{"all", func(n *ledger.NewSchedule) { n.LateLimit = 2 * time.Hour; n.CatchUp = "all" },
			[]string{"13:00 nothing no rows", "12:00 nothing no rows", "11:00 skipped " + tooLate, "10:00 skipped " + tooLate},
			[]string{"11:00 skipped 2 runs from 2026-11-21T10:00 to 2026-11-21T11:00 were skipped; the last: " + tooLate,
				"12:00 late it begins 1h30m0s late: nobody was running at its hour", "13:00 late it begins 30m0s late: nobody was running at its hour"}},
		{"skip", func(n *ledger.NewSchedule) { n.IfLate = "skip"; n.Cron = "0 13 * * *"; n.Alarm.On = []string{"failed"} },
			[]string{"13:00 skipped nobody was running at its hour, and it is not run late"}, nil},
	} {
		d := newDesk(t, nothing)
		s := d.schedule(c.policy)
		for range 4 { // a run waits for the one before it
			d.at("13:30:00")
		}
		d.history(s, c.history...)
		d.alarms(s, c.alarms...)
		d.at("09:30:00") // the clock is put back
		d.at("13:59:59")
		d.history(s, c.history...)
	}
}

func TestPausedRunsAreSkippedWithoutAnAlarm(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nothing)
	s := d.schedule()
	if err := d.l.MoveSchedule(t.Context(), s.ID, ledger.SchedulePaused); err != nil {
		t.Fatal(err)
	}
	d.at("11:00:00")
	d.history(s, "11:00 skipped the schedule was paused", "10:00 skipped the schedule was paused")
	d.alarms(s)
}

func TestAFailedRunIsTriedAgainByPolicyAndThenAlarms(t *testing.T) {
	t.Parallel()
	calls := 0
	d := newDesk(t, func(context.Context, ledger.Schedule, ledger.Run) (scheduler.Result, error) {
		calls++
		if calls == 2 {
			panic("a bug")
		}
		return scheduler.Result{}, errors.New("no file")
	})
	s := d.schedule(func(n *ledger.NewSchedule) { n.Cron = "0 10 * * *" })
	d.at("10:00:00")
	d.history(s, "10:00 due try 1 of 3 went wrong: no file")
	d.at("10:09:59")
	d.at("10:10:00")
	d.history(s, "10:00 due try 2 of 3 went wrong: the run's maker broke down: a bug")
	d.alarms(s)
	d.at("10:20:00")
	d.at("10:40:00")
	d.history(s, "10:00 failed no file")
	d.alarms(s, "10:00 failed no file")
	if calls != 3 {
		t.Errorf("it was tried %d times, want 3", calls)
	}
}

// draft makes a campaign of one recipient, which pauses, ends and so on as a
// test moves it.
func (d *desk) draft(name string) *ledger.Campaign {
	d.t.Helper()
	ctx := d.t.Context()
	w, err := d.l.CreateList(ctx, "", "people.csv", "number")
	if err != nil {
		d.t.Fatal(err)
	}
	if err := w.Contacts(ctx, []campaign.Contact{{Line: 2, Phone: "+61412345678"}}); err != nil {
		d.t.Fatal(err)
	}
	list, err := w.Finish(ctx, ledger.ListCounts{Rows: 1, Imported: 1})
	if err != nil {
		d.t.Fatal(err)
	}
	c, err := d.l.CreateCampaign(ctx, ledger.NewCampaign{Name: name, Again: true, ListID: list.ID, Digest: "d", Actor: "test",
		Content: campaign.Content{Channel: campaign.SMS, Body: "hello"}, Provider: ledger.Provider{URL: "https://example.test/v3", User: "1"}})
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

func (d *desk) move(c *ledger.Campaign, to campaign.State, reason string) {
	d.t.Helper()
	if err := d.l.MoveCampaign(d.t.Context(), c.ID, ledger.Move{To: to, Reason: reason, Actor: "test"}); err != nil {
		d.t.Fatal(err)
	}
}

func TestARunEndsWithItsCampaignAndTheNextOneWaits(t *testing.T) {
	t.Parallel()
	var d *desk
	made := map[string]*ledger.Campaign{}
	d = newDesk(t, func(_ context.Context, s ledger.Schedule, r ledger.Run) (scheduler.Result, error) {
		name := scheduler.CampaignName(s, r)
		made[name] = d.draft(name)
		return scheduler.Result{Campaigns: []int64{made[name].ID}, Report: json.RawMessage(`{"rows":1}`)}, nil
	})
	s := d.schedule()
	d.at("10:00:00")
	d.at("11:00:00")
	d.history(s, "11:00 due waits for the run before it to end", "10:00 running")
	d.at("16:00:00")
	d.at("16:01:01") // and is not late, but waits for longer than the limit soon
	d.now.set(time.Date(2026, 11, 21, 17, 0, 1, 0, time.UTC))
	d.round()
	alarms, err := d.l.Alarms(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	late := 0
	for _, a := range alarms {
		if a.Run.Local == "2026-11-21T11:00" && a.Event == "late" {
			late++
		}
	}
	if late != 1 {
		t.Errorf("%d alarms tell of the run that waits, want one", late)
	}
	first := made["hourly 2026-11-21 10:00"]
	if first == nil || len(made) != 1 {
		t.Fatalf("these were made: %v", made)
	}
	d.move(first, campaign.Failed, "no price")
	d.round()
	runs, err := d.l.History(t.Context(), s.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := runs[len(runs)-1]
	if r.State != ledger.RunFailed || r.Reason != "campaign 1 failed: no price" || !strings.Contains(r.Report, `"details":{"rows":1}`) {
		t.Errorf("the run is %+v", r)
	}
	d.round()
	if made["hourly 2026-11-21 11:00"] == nil {
		t.Error("the next run does not begin when the first has ended")
	}
}

func TestAStoppedSchedulerGivesItsRunToAnother(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	var once sync.Once
	d := newDesk(t, func(ctx context.Context, _ ledger.Schedule, r ledger.Run) (scheduler.Result, error) {
		once.Do(func() { close(began) })
		<-ctx.Done()
		return scheduler.Result{}, ctx.Err()
	})
	s := d.schedule()
	d.now.set(time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC))
	d.runs.Every = time.Millisecond
	d.runs.Start()
	select {
	case <-began:
	case <-time.After(20 * time.Second):
		t.Fatal("the run never began")
	}
	d.runs.Shutdown()
	d.history(s, "10:00 running its scheduler was stopped: another goes on with it")
	other := &scheduler.Runs{Ledger: d.l, Runner: runnerFunc(nothing), Log: d.runs.Log, Name: "two"}
	if err := other.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.history(s, "10:00 nothing no rows")
	r, err := d.l.History(t.Context(), s.ID, 1)
	if err != nil || r[0].Tries != 1 || r[0].Takeovers != 0 {
		t.Errorf("stopping in order counts: %+v (%v)", r, err)
	}
}

func TestARunnerThatLosesItsLeaseIsToldToEndAndLeavesNoTrace(t *testing.T) {
	t.Parallel()
	var d *desk
	d = newDesk(t, func(ctx context.Context, _ ledger.Schedule, r ledger.Run) (scheduler.Result, error) {
		d.now.set(d.now.Now().Add(time.Hour)) // it slept
		if got, err := d.l.ClaimRun(ctx, &r, "two", time.Minute, false); err != nil || got == nil {
			t.Errorf("nobody can take over: %v", err)
		}
		<-ctx.Done()
		return scheduler.Result{}, ctx.Err()
	})
	d.runs.Lease = 30 * time.Millisecond
	s := d.schedule(func(n *ledger.NewSchedule) { n.Cron = "0 10 * * *" })
	d.at("10:00:00")
	d.history(s, "10:00 running")
	r, err := d.l.History(t.Context(), s.ID, 1)
	if err != nil || r[0].LeaseBy != "two" {
		t.Errorf("the run is %+v (%v), want it in other hands", r, err)
	}
}

func TestARunThatWasBegunIsGivenUpWhenItsScheduleIsRemoved(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(context.Context, ledger.Schedule, ledger.Run) (scheduler.Result, error) {
		return scheduler.Result{}, ledger.ErrLostLease // as if it had died
	})
	s := d.schedule(func(n *ledger.NewSchedule) { n.Cron = "0 10 * * *" })
	d.at("10:00:00")
	if err := d.l.MoveSchedule(t.Context(), s.ID, ledger.ScheduleRemoved); err != nil {
		t.Fatal(err)
	}
	d.at("10:00:29") // who has it may live
	d.history(s, "10:00 running")
	d.at("10:00:30")
	d.history(s, "10:00 failed the schedule was removed before its campaign was made")
}

func TestAReportThatIsNotJSONIsAFailure(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(context.Context, ledger.Schedule, ledger.Run) (scheduler.Result, error) {
		return scheduler.Result{Nothing: "no rows", Report: json.RawMessage("{")}, nil
	})
	s := d.schedule(func(n *ledger.NewSchedule) { n.Cron, n.Tries = "0 10 * * *", 1 })
	d.at("10:00:00")
	d.history(s, "10:00 failed the run's report is not JSON")
}

package ledger

import (
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
)

func nightly(name string) NewSchedule {
	return NewSchedule{
		Name: name, Spec: "name: " + name, Cron: "0 2 * * *", Zone: "Australia/Sydney", Overlap: "wait", IfLate: "run", LateLimit: 6 * time.Hour,
		CatchUp: "latest", Tries: 3, RetryWait: 10 * time.Minute, Actor: "test",
		Alarm: AlarmConfig{Command: []string{"/bin/tell", "me"}, On: []string{"failed"}},
	}
}

func (w *world) schedule(name string, more ...func(*NewSchedule)) *Schedule {
	w.t.Helper()
	n := nightly(name)
	for _, f := range more {
		f(&n)
	}
	s, err := w.l.CreateSchedule(w.ctx, n, "2026-11-21T20:00")
	w.ok(err)
	return s
}

// record puts runs at the local times on record, due now.
func (w *world) record(s *Schedule, locals ...string) int {
	w.t.Helper()
	var runs []NewRun
	for _, local := range locals {
		runs = append(runs, NewRun{Local: local, DueAt: w.clock.Now()})
	}
	n, err := w.l.RecordRuns(w.ctx, s, runs)
	w.ok(err)
	return n
}

func (w *world) openRuns() []OpenRun {
	w.t.Helper()
	all, err := w.l.OpenRuns(w.ctx)
	w.ok(err)
	return all
}

func (w *world) claimRun(r *Run, by string) *Run {
	w.t.Helper()
	got, err := w.l.ClaimRun(w.ctx, r, by, lease, true)
	w.ok(err)
	return got
}

func (w *world) runState(id int64, want RunState, reason string) *Run {
	w.t.Helper()
	r, err := w.l.Run(w.ctx, id)
	w.ok(err)
	if r.State != want || r.Reason != reason {
		w.t.Fatalf("run %s is %s (%s), want %s (%s)", r.Local, r.State, r.Reason, want, reason)
	}
	return r
}

func TestAScheduleIsKeptAsItWasGiven(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		s := w.schedule("letters")
		w.equal(s.NewSchedule, nightly("letters"))
		_, err := w.l.CreateSchedule(w.ctx, nightly("letters"), "2026-11-21T20:00")
		w.code(err, campaign.CodeExists)

		n := nightly("letters")
		n.Cron, n.Alarm = "0 3 * * *", AlarmConfig{}
		newer, err := w.l.ReplaceSchedule(w.ctx, s, n, "2026-11-21T21:00")
		w.ok(err)
		w.equal(newer.NewSchedule, n)
		w.equal(newer.Cursor, "2026-11-21T21:00")
		_, err = w.l.ReplaceSchedule(w.ctx, s, n, "2026-11-21T21:00") // from what stood there before
		w.code(err, campaign.CodeConflict)

		w.ok(w.l.MoveSchedule(w.ctx, s.ID, SchedulePaused))
		w.code(w.l.MoveSchedule(w.ctx, s.ID, SchedulePaused), campaign.CodeConflict)
		w.ok(w.l.MoveSchedule(w.ctx, s.ID, ScheduleActive))
		w.ok(w.l.MoveSchedule(w.ctx, s.ID, ScheduleRemoved))
		w.code(w.l.MoveSchedule(w.ctx, s.ID, ScheduleActive), campaign.CodeConflict)
		_, err = w.l.FindSchedule(w.ctx, "letters")
		w.code(err, campaign.CodeNotFound)
		past, err := w.l.PastSchedule(w.ctx, "letters")
		w.ok(err)
		w.equal(past.State, ScheduleRemoved)
		again := w.schedule("letters") // the name is free
		past, err = w.l.PastSchedule(w.ctx, "letters")
		w.ok(err)
		w.equal(past.ID, again.ID)
		all, err := w.l.Schedules(w.ctx)
		w.ok(err)
		w.equal(len(all), 1)
	})
}

func TestALocalTimeIsRecordedOnceByAnyNumberOfSchedulers(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		s := w.schedule("letters")
		var (
			all   sync.WaitGroup
			mu    sync.Mutex
			total int
		)
		for range 8 {
			all.Add(1)
			go func() {
				defer all.Done()
				n, err := w.l.RecordRuns(w.ctx, s, []NewRun{
					{Local: "2026-11-22T02:00", DueAt: w.clock.Now()}, {Local: "2026-11-23T02:00", DueAt: w.clock.Now(), Skip: "too late", Alarm: "skipped"},
				})
				mu.Lock()
				defer mu.Unlock()
				total += n
				if err != nil {
					t.Error(err)
				}
			}()
		}
		all.Wait()
		w.equal(total, 2)
		w.equal(w.record(s, "2026-11-22T02:00"), 0) // the clock was put back
		history, err := w.l.History(w.ctx, s.ID, 0)
		w.ok(err)
		w.equal(len(history), 2)
		w.equal(history[0].State, RunSkipped)
		w.equal(history[0].Reason, "too late")
		alarms, err := w.l.Alarms(w.ctx, s.ID)
		w.ok(err)
		w.equal(len(alarms), 1)

		// Whoever read it before it changed records nothing.
		w.ok(w.l.MoveSchedule(w.ctx, s.ID, SchedulePaused))
		w.equal(w.record(s, "2026-11-24T02:00"), 0)
		w.runState(history[1].ID, RunSkipped, "the schedule was paused")
	})
}

func TestARunIsClaimedByOneAndTakenOverWhenItsTakerIsGone(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		s := w.schedule("letters")
		w.record(s, "2026-11-22T02:00")
		due := w.openRuns()
		w.equal(len(due), 1)
		r := w.claimRun(&due[0].Run, "one")
		if r == nil || w.claimRun(&due[0].Run, "two") != nil {
			t.Fatal("of two who claim a run one must get it")
		}
		w.equal(r.Tries, 1)
		w.clock.advance(lease - time.Second)
		w.ok(w.l.RenewRun(w.ctx, r, lease))
		w.clock.advance(lease - time.Second)
		if w.claimRun(r, "two") != nil {
			t.Fatal("the lease was renewed")
		}
		w.clock.advance(2 * time.Second)
		r2 := w.claimRun(r, "two")
		if r2 == nil {
			t.Fatal("nobody takes over")
		}
		w.equal([]int{r2.Tries, r2.Takeovers}, []int{1, 1})
		w.is(w.l.RenewRun(w.ctx, r, lease), ErrLostLease)
		w.is(w.l.MoveRun(w.ctx, r, RunMove{To: RunNothing}), ErrLostLease)

		// Tried again after a while.
		w.ok(w.l.MoveRun(w.ctx, r2, RunMove{To: RunDue, Reason: "no file", Wait: time.Minute}))
		if w.claimRun(r2, "two") != nil {
			t.Fatal("it is tried again too early")
		}
		w.clock.advance(time.Minute)
		r3 := w.claimRun(r2, "one")
		if r3 == nil || r3.Tries != 2 {
			t.Fatalf("the second try is %+v", r3)
		}
		c := w.sending(1, 1)
		w.ok(w.l.MoveRun(w.ctx, r3, RunMove{To: RunRunning, Campaigns: []int64{c.ID}}))
		w.clock.advance(time.Hour)
		if w.claimRun(r3, "two") != nil {
			t.Fatal("a run whose campaign is made is nobody's to make")
		}
		w.answered(w.nextAttempt(), accepted)
		open := w.openRuns()
		w.equal(len(open), 1)
		all, err := w.l.RunCampaigns(w.ctx, open[0].ID)
		w.ok(err)
		w.equal([]any{len(all), all[0].State}, []any{1, campaign.Completed})
		w.ok(w.l.MoveRun(w.ctx, &open[0].Run, RunMove{To: RunDone, Report: `{"n":1}`}))
		w.is(w.l.MoveRun(w.ctx, &open[0].Run, RunMove{To: RunDone}), ErrLostLease)
		done := w.runState(r.ID, RunDone, "")
		w.equal(done.Report, `{"n":1}`)
		w.code(w.l.MoveRun(w.ctx, done, RunMove{To: RunDue}), campaign.CodeConflict)
		w.equal(len(w.openRuns()), 0)
	})
}

func TestARunWhoseForerunnerHasNotEndedWaitsOrIsSkippedOrRuns(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		for _, policy := range []string{"wait", "skip", "run"} {
			s := w.schedule(policy, func(n *NewSchedule) { n.Overlap = policy })
			w.record(s, "2026-11-22T02:00", "2026-11-22T02:30") // at one moment, as when clocks are put forward
			history, err := w.l.History(w.ctx, s.ID, 0)
			w.ok(err)
			second, first := &history[0], &history[1]
			if policy != "run" && w.claimRun(second, "one") != nil {
				t.Fatalf("%s: it does not wait for its turn", policy)
			}
			w.runState(second.ID, RunDue, "")
			claimed := w.claimRun(first, "one")
			if claimed == nil {
				t.Fatalf("%s: the first cannot be claimed", policy)
			}
			got := w.claimRun(second, "two")
			switch {
			case policy == "run" && got == nil:
				t.Fatal("it does not run beside the first")
			case policy != "run" && got != nil:
				t.Fatalf("%s: it runs beside the first", policy)
			case policy == "skip":
				w.runState(second.ID, RunSkipped, "the run before it had not ended")
				alarms, err := w.l.Alarms(w.ctx, s.ID)
				w.ok(err)
				w.equal(len(alarms), 1)
			}
			w.ok(w.l.MoveRun(w.ctx, claimed, RunMove{To: RunNothing}))
			if policy == "wait" {
				if w.claimRun(second, "two") == nil {
					t.Fatal("it waits although the first has ended")
				}
			}
		}
	})
}

func TestAPausedScheduleBeginsNothingButWhatIsAskedForByHand(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		s := w.schedule("letters")
		w.record(s, "2026-11-22T02:00")
		begun := w.claimRun(&w.openRuns()[0].Run, "one")
		w.ok(w.l.MoveSchedule(w.ctx, s.ID, SchedulePaused))
		w.clock.advance(2 * lease)
		if w.claimRun(begun, "two") != nil {
			t.Fatal("it is taken over although the schedule is paused")
		}
		w.ok(w.l.MoveSchedule(w.ctx, s.ID, ScheduleActive))
		begun = w.claimRun(begun, "two")
		w.ok(w.l.MoveRun(w.ctx, begun, RunMove{To: RunNothing}))
		w.ok(w.l.MoveSchedule(w.ctx, s.ID, SchedulePaused))
		byHand, err := w.l.RunByHand(w.ctx, s, "2026-11-22T02:00:00", "ann")
		w.ok(err)
		_, err = w.l.RunByHand(w.ctx, s, "2026-11-22T02:00:00", "ann")
		w.code(err, campaign.CodeExists)
		if w.claimRun(byHand, "one") == nil {
			t.Fatal("a run by hand does not begin")
		}
	})
}

func TestAnAlarmIsClaimedByOneAndSentAtLeastOnce(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		s := w.schedule("letters")
		w.record(s, "2026-11-22T02:00")
		r := &w.openRuns()[0].Run
		w.ok(w.l.NoteRun(w.ctx, r, "it stands", "paused"))
		w.ok(w.l.NoteRun(w.ctx, r, "it still stands", "paused"))
		due, err := w.l.DueAlarms(w.ctx)
		w.ok(err)
		w.equal(len(due), 1)
		w.equal(due[0].Reason, "it stands")
		w.equal(due[0].Schedule.Alarm.Command, []string{"/bin/tell", "me"})
		for _, want := range []bool{true, false} {
			got, err := w.l.ClaimAlarm(w.ctx, &due[0], time.Minute)
			w.ok(err)
			w.equal(got, want)
		}
		w.clock.advance(time.Minute) // who claimed it died
		due, err = w.l.DueAlarms(w.ctx)
		w.ok(err)
		w.equal(len(due), 1)
		_, err = w.l.ClaimAlarm(w.ctx, &due[0], time.Minute)
		w.ok(err)
		w.ok(w.l.CloseAlarm(w.ctx, &due[0], "exit status 1", 2*time.Minute))
		w.clock.advance(2 * time.Minute)
		due, err = w.l.DueAlarms(w.ctx)
		w.ok(err)
		w.equal([]int{len(due), due[0].Tries}, []int{1, 2})
		_, err = w.l.ClaimAlarm(w.ctx, &due[0], time.Minute)
		w.ok(err)
		w.ok(w.l.CloseAlarm(w.ctx, &due[0], "", 0))
		w.clock.advance(time.Hour)
		due, err = w.l.DueAlarms(w.ctx)
		w.ok(err)
		w.equal(len(due), 0)
	})
}

func TestWhatAQuarantineLayOverDoesNotRun(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		s := w.schedule("letters", func(n *NewSchedule) { n.Overlap = "run" })
		w.record(s, "2026-11-22T02:00", "2026-11-23T02:00")
		open := w.openRuns()
		begun := w.claimRun(&open[0].Run, "one")
		w.ok(w.l.SetQuarantine(w.ctx, "a test"))
		w.clock.advance(time.Hour)
		if w.claimRun(begun, "two") != nil || w.claimRun(&open[1].Run, "two") != nil || len(w.openRuns()) > 0 || w.record(s, "2026-11-24T02:00") > 0 {
			t.Fatal("in quarantine something begins")
		}
		_, err := w.l.RunByHand(w.ctx, s, "2026-11-22T02:00:00", "ann")
		w.code(err, campaign.CodeConflict)
		_, err = w.l.LiftQuarantine(w.ctx)
		w.ok(err)
		w.runState(begun.ID, RunFailed, ReasonQuarantined)
		w.runState(open[1].ID, RunSkipped, ReasonQuarantined)
		s, err = w.l.FindSchedule(w.ctx, "letters")
		w.ok(err)
		w.equal([]any{s.NotBefore, s.State}, []any{w.clock.Now(), SchedulePaused}) // a person knows what was mailed elsewhere
	})
}

func TestALedgerWithAScheduleAloneIsNotEmpty(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.schedule("letters")
		e, err := Inspect(w.ctx, w.target)
		w.ok(err)
		if e.Empty() || e.Schedules != 1 {
			t.Fatalf("it is taken for empty: %+v", e)
		}
	})
}

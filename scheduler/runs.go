package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/ledger"
)

// A Runner makes the campaign of a run and starts it.
//
// It may be called more than once for one run: its scheduler may die, or lose
// its lease to another while it still works. So it must find what an earlier
// call has made, by a name that only the run has (CampaignName), and go on from
// there. It ends soon after ctx does.
type Runner interface {
	Run(ctx context.Context, s ledger.Schedule, r ledger.Run) (Result, error)
	// Ended is called when every campaign of the run has ended, before the run is
	// done; after a crash once more. An error leaves the run open, and is tried
	// again.
	Ended(ctx context.Context, s ledger.Schedule, r ledger.Run, campaigns []*ledger.Campaign) (Ending, error)
}

// Ending is what a Runner says of a run whose campaigns have ended.
type Ending struct {
	Note string // what a person should know of it; may be empty
	// Failed: a part of what the run was to send could not even be read. The note
	// says so, and somebody is told.
	Failed bool
}

// Result is what came of a Runner's work: campaigns that are on their way, or
// nothing.
type Result struct {
	Campaigns []int64 // none with Nothing
	// Nothing says in words why there was nothing to send.
	Nothing string
	// Report is kept with the run: one JSON value without personal data, or nil.
	Report json.RawMessage
}

// CampaignName is the name of the campaign of a run; no other run has it.
func CampaignName(s ledger.Schedule, r ledger.Run) string {
	date, hour := r.Local[:10], r.Local[11:]
	return s.Name + " " + date + " " + hour
}

// RunTime is the local time of a run, to the minute.
func RunTime(r ledger.Run) (LocalTime, error) {
	return ParseLocal(r.Local[:min(len(localLayout), len(r.Local))])
}

const (
	// onTime is how late a run may begin without being late: nobody runs a
	// scheduler to the second.
	onTime = time.Minute
	// maxTakeovers is after how many schedulers that did not survive a run it is
	// given up.
	maxTakeovers = 10
	// chunk is how many runs one write records, and mostAtOnce how many one round
	// looks at, when nobody was running for long.
	chunk      = 500
	mostAtOnce = 200_000
)

// Runs sees to recurring runs: it records those whose hour has come, has their
// campaigns made, watches these until they end, and sends the alarms. Any
// number of them may run, in as many processes: the ledger decides whose a run
// is.
type Runs struct {
	Ledger *ledger.Ledger
	Runner Runner
	Alarms *Alarmer // nil: alarms wait for another
	Log    *slog.Logger
	Name   string        // tells this process from every other
	Every  time.Duration // pause between two rounds; 1 s when 0
	Lease  time.Duration // for how long a silent taker keeps a run; 30 s when 0
	// Concurrency is how many campaigns are made at a time; 4 when 0.
	Concurrency int

	cancel context.CancelFunc
	loops  sync.WaitGroup
	making sync.WaitGroup
	once   sync.Once
	seats  chan struct{}
	tables map[int64]timetable // by schedule; of the round alone
}

// Start begins, at once. It never fails: a database that is away is reported
// once, and asked again until it is back.
func (s *Runs) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.loop(ctx, "recurring runs wait; trying again", "recurring runs go on", s.round)
	if s.Alarms != nil {
		s.loop(ctx, "alarms wait; trying again", "alarms go on", s.alarm)
	}
}

// Shutdown ends it. A run whose campaign is being made is given back, for
// another scheduler to go on with.
func (s *Runs) Shutdown() {
	if s.cancel != nil {
		s.cancel()
	}
	s.loops.Wait()
	s.making.Wait()
}

// Once is a single round, which ends when everything that it began has. It must
// not be mixed with Start.
func (s *Runs) Once(ctx context.Context) error {
	err := s.round(ctx)
	s.making.Wait()
	if s.Alarms != nil {
		err = errors.Join(err, s.alarm(ctx))
	}
	return err
}

func (s *Runs) loop(ctx context.Context, broken, mended string, round func(context.Context) error) {
	every := s.Every
	if every == 0 {
		every = time.Second
	}
	s.loops.Add(1)
	go func() {
		defer s.loops.Done()
		var trouble error
		for {
			err := round(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil && trouble == nil:
				s.Log.Error(broken, "error", err)
			case err == nil && trouble != nil:
				s.Log.Info(mended)
			}
			trouble = err
			select {
			case <-time.After(every):
			case <-ctx.Done():
				return
			}
		}
	}()
}

func (s *Runs) lease() time.Duration {
	if s.Lease == 0 {
		return 30 * time.Second
	}
	return s.Lease
}

// round does what is to be done at this moment. The trouble of one schedule is
// not that of the others.
func (s *Runs) round(ctx context.Context) error {
	s.once.Do(func() {
		n := s.Concurrency
		if n == 0 {
			n = 4
		}
		s.seats, s.tables = make(chan struct{}, n), map[int64]timetable{}
	})
	all, err := s.Ledger.Schedules(ctx)
	if err != nil {
		return err
	}
	now, err := s.Ledger.Now(ctx)
	if err != nil {
		return err
	}
	var troubles []error
	for i := range all {
		n := 0
		t, err := s.timetable(&all[i])
		if err == nil {
			n, err = record(ctx, s.Ledger, &all[i], t, now)
		}
		if err != nil {
			troubles = append(troubles, fmt.Errorf("schedule %q: %w", all[i].Name, err))
		}
		if n > 0 {
			s.Log.Info("runs are due", "schedule", all[i].Name, "runs", n)
		}
	}
	open, err := s.Ledger.OpenRuns(ctx)
	if err != nil {
		return errors.Join(append(troubles, err)...)
	}
	for i := range open {
		if err := s.attend(ctx, &open[i]); err != nil {
			troubles = append(troubles, fmt.Errorf("run %s of schedule %q: %w", open[i].Local, open[i].Schedule.Name, err))
		}
	}
	return errors.Join(troubles...)
}

// Record puts every run of a schedule on record whose hour has come, as due or
// as skipped, and returns how many. Whoever changes a schedule calls it first,
// so that what came before the change is judged by what was in force.
func Record(ctx context.Context, l *ledger.Ledger, s *ledger.Schedule) (int, error) {
	t, err := timetableOf(s)
	if err != nil {
		return 0, err
	}
	now, err := l.Now(ctx)
	if err != nil {
		return 0, err
	}
	return record(ctx, l, s, t, now)
}

// timetable is what the texts of a schedule mean.
type timetable struct {
	revision int64
	spec     *Spec
	loc      *time.Location
}

func timetableOf(s *ledger.Schedule) (timetable, error) {
	spec, err := Parse(s.Cron)
	if err != nil {
		return timetable{}, err
	}
	loc, err := Zone(s.Zone)
	return timetable{s.Revision, spec, loc}, err
}

// timetable is timetableOf, read once for each revision: a zone is a file.
func (s *Runs) timetable(of *ledger.Schedule) (timetable, error) {
	if t, ok := s.tables[of.ID]; ok && t.revision == of.Revision {
		return t, nil
	}
	t, err := timetableOf(of)
	if err == nil {
		s.tables[of.ID] = t
	}
	return t, err
}

func record(ctx context.Context, l *ledger.Ledger, s *ledger.Schedule, t timetable, now time.Time) (int, error) {
	runs, err := decide(s, t, now)
	if err != nil {
		return 0, err
	}
	recorded := 0
	for part := range slices.Chunk(runs, chunk) {
		n, err := l.RecordRuns(ctx, s, part)
		recorded += n
		if err != nil {
			return recorded, err
		}
	}
	return recorded, nil
}

// decide says of every local time behind the schedule's cursor whose hour has
// come whether it is to run.
func decide(s *ledger.Schedule, t timetable, now time.Time) ([]ledger.NewRun, error) {
	last, err := ParseLocal(s.Cursor)
	if err != nil {
		return nil, err
	}
	var runs []ledger.NewRun
	reading := Reading(now, t.loc)
	for len(runs) < mostAtOnce {
		next, ok := t.spec.After(last)
		if !ok || next > reading {
			break
		}
		last = next
		runs = append(runs, ledger.NewRun{Local: next.String(), DueAt: next.Instant(t.loc)})
	}
	if len(runs) == 0 {
		return nil, nil
	}
	newest := runs[len(runs)-1].DueAt
	skipped, first, final := 0, -1, -1
	for i := range runs {
		r := &runs[i]
		late := now.Sub(r.DueAt)
		switch {
		case r.DueAt.Before(s.NotBefore):
			r.Skip = ledger.ReasonQuarantined
		case s.State == ledger.SchedulePaused:
			r.Skip = "the schedule was paused"
			continue // whoever paused it knows
		case late <= onTime:
			continue
		case s.IfLate == LateSkip:
			r.Skip = "nobody was running at its hour, and it is not run late"
		case late > s.LateLimit:
			r.Skip = fmt.Sprintf("nobody was running at its hour, and it is more than %s late", s.LateLimit)
		case s.CatchUp == CatchUpLatest && r.DueAt.Before(newest):
			r.Skip = "nobody was running at its hour, and a later run takes its place"
		default:
			if wants(s, EventLate) {
				r.Alarm, r.AlarmReason = EventLate, fmt.Sprintf("it begins %s late: nobody was running at its hour", late.Round(time.Second))
			}
			continue
		}
		skipped++
		if first < 0 {
			first = i
		}
		final = i
	}
	// One alarm for all that are skipped together.
	if skipped > 0 && wants(s, EventSkipped) {
		r := &runs[final]
		r.Alarm, r.AlarmReason = EventSkipped, r.Skip
		if skipped > 1 {
			r.AlarmReason = fmt.Sprintf("%d runs from %s to %s were skipped; the last: %s", skipped, runs[first].Local, r.Local, r.Skip)
		}
	}
	return runs, nil
}

// attend does what an open run needs at this moment.
func (s *Runs) attend(ctx context.Context, o *ledger.OpenRun) error {
	switch {
	case o.Campaign != 0:
		return s.watch(ctx, o)
	case o.State == ledger.RunRunning && o.Schedule.State == ledger.ScheduleRemoved:
		return s.abandon(ctx, o)
	case !o.Takeable:
		return nil
	case o.Blocked && o.State == ledger.RunDue && o.Schedule.Overlap == OverlapWait:
		return s.wait(ctx, o)
	}
	select {
	case s.seats <- struct{}{}:
	default:
		return nil // the next round, or another scheduler
	}
	r, err := s.Ledger.ClaimRun(ctx, &o.Run, s.Name, s.lease(), wants(&o.Schedule, EventSkipped))
	if err != nil || r == nil {
		<-s.seats
		return err
	}
	s.making.Add(1)
	go func() {
		defer s.making.Done()
		defer func() { <-s.seats }()
		s.make(ctx, &o.Schedule, r)
	}()
	return nil
}

// wait says why a run does not begin, and when it has waited for long, tells
// somebody.
func (s *Runs) wait(ctx context.Context, o *ledger.OpenRun) error {
	const reason = "waits for the run before it to end"
	now, err := s.Ledger.Now(ctx)
	if err != nil {
		return err
	}
	alarm := ""
	if now.Sub(o.DueAt) > o.Schedule.LateLimit && wants(&o.Schedule, EventLate) && !slices.Contains(o.Alarmed, EventLate) {
		alarm = EventLate
	}
	if o.Reason == reason && alarm == "" {
		return nil
	}
	return s.Ledger.NoteRun(ctx, &o.Run, reason, alarm)
}

// abandon ends a run whose schedule was removed while its taker was gone.
func (s *Runs) abandon(ctx context.Context, o *ledger.OpenRun) error {
	now, err := s.Ledger.Now(ctx)
	if err != nil || now.Before(o.LeaseUntil) {
		return err
	}
	err = s.Ledger.MoveRun(ctx, &o.Run, ledger.RunMove{To: ledger.RunFailed, Reason: "the schedule was removed before its campaign was made"})
	return ignoreLost(err)
}

func ignoreLost(err error) error {
	if errors.Is(err, ledger.ErrLostLease) {
		return nil // somebody else was quicker
	}
	return err
}

// make has the campaign of a claimed run made, and records what came of it.
func (s *Runs) make(ctx context.Context, schedule *ledger.Schedule, r *ledger.Run) {
	log := s.Log.With("schedule", schedule.Name, "run", r.Local)
	var (
		res Result
		err error
	)
	if r.Takeovers > maxTakeovers {
		err = fmt.Errorf("%d schedulers have ended while they made its campaign", r.Takeovers)
		r.Tries = schedule.Tries
	} else {
		log.Info("a run begins", "try", r.Tries, "taken_over", r.Takeovers)
		res, err = s.work(ctx, schedule, r)
	}
	if errors.Is(err, ledger.ErrLostLease) {
		log.Warn("a run is left to another scheduler: this one has lost its lease")
		return
	}
	m := outcome(ctx, schedule, r, res, err)
	// What came of it is recorded although this process is told to end.
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	switch werr := s.Ledger.MoveRun(record, r, m); {
	case errors.Is(werr, ledger.ErrLostLease):
		log.Warn("another scheduler has taken the run over")
	case werr != nil:
		log.Error("what came of a run cannot be recorded: it is taken over when its lease has ended", "error", werr)
	case err != nil && ctx.Err() == nil:
		log.Error("a run went wrong", "error", err, "state", m.To, "again_in", m.Wait)
	default:
		log.Info("a run goes on", "state", m.To, "campaigns", m.Campaigns, "reason", m.Reason)
	}
}

// outcome is what becomes of a run whose Runner has returned.
func outcome(ctx context.Context, schedule *ledger.Schedule, r *ledger.Run, res Result, err error) ledger.RunMove {
	if err == nil && len(res.Campaigns) == 0 && res.Nothing == "" {
		err = errors.New("the run came to no campaign, and nobody says why")
	}
	if err == nil && len(res.Report) > 0 && !json.Valid(res.Report) {
		err = errors.New("the run's report is not JSON")
	}
	m := ledger.RunMove{Report: string(res.Report)}
	if err != nil && !json.Valid(res.Report) {
		m.Report = ""
	}
	switch {
	case err != nil && ctx.Err() != nil:
		m.To, m.Reason = ledger.RunRunning, "its scheduler was stopped: another goes on with it"
	case err != nil && len(res.Campaigns) > 0:
		// What has started is seen to its end, and a later run sends the rest.
		m.To, m.Campaigns, m.Alarm = ledger.RunRunning, res.Campaigns, wanted(schedule, EventFailed)
		m.Reason = fmt.Sprintf("a part of it could not be sent: %v", err)
	case err != nil && r.Tries < schedule.Tries:
		m.To, m.Wait = ledger.RunDue, schedule.RetryWait
		m.Reason = fmt.Sprintf("try %d of %d went wrong: %v", r.Tries, schedule.Tries, err)
	case err != nil:
		m.To, m.Reason, m.Alarm = ledger.RunFailed, err.Error(), wanted(schedule, EventFailed)
	case len(res.Campaigns) > 0:
		m.To, m.Campaigns = ledger.RunRunning, res.Campaigns
	default:
		m.To, m.Reason, m.Alarm = ledger.RunNothing, res.Nothing, wanted(schedule, EventNothing)
	}
	return m
}

// work calls the Runner while it renews the run's lease; without a lease the
// Runner is told to end.
func (s *Runs) work(ctx context.Context, schedule *ledger.Schedule, r *ledger.Run) (res Result, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	renewed := make(chan struct{})
	defer func() { cancel(nil); <-renewed }()
	go func() {
		defer close(renewed)
		s.renew(ctx, cancel, r)
	}()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the run's maker broke down: %v", p)
		}
	}()
	res, err = s.Runner.Run(ctx, *schedule, *r)
	if err != nil && errors.Is(context.Cause(ctx), ledger.ErrLostLease) {
		err = ledger.ErrLostLease
	}
	return res, err
}

func (s *Runs) renew(ctx context.Context, cancel context.CancelCauseFunc, r *ledger.Run) {
	held := time.Now()
	for {
		select {
		case <-time.After(s.lease() / 3):
		case <-ctx.Done():
			return
		}
		began := time.Now()
		err := s.Ledger.RenewRun(ctx, r, s.lease())
		switch {
		case err == nil:
			held = began
		case errors.Is(err, ledger.ErrLostLease) || time.Since(held) > s.lease():
			cancel(ledger.ErrLostLease)
			return
		}
	}
}

// runReport is what is kept of a run whose campaign has ended.
type runReport struct {
	Recipients recipients      `json:"recipients"`
	Details    json.RawMessage `json:"details,omitempty"` // the Runner's report
}

type recipients struct {
	Total       int `json:"total"`
	Accepted    int `json:"accepted"`
	Delivered   int `json:"delivered"`
	Undelivered int `json:"undelivered"`
	Rejected    int `json:"rejected"`
	Suppressed  int `json:"suppressed"`
	Cancelled   int `json:"cancelled"`
}

// watch looks whether the campaigns of a run have ended, or one stands still.
func (s *Runs) watch(ctx context.Context, o *ledger.OpenRun) error {
	all, err := s.Ledger.RunCampaigns(ctx, o.ID)
	if err != nil {
		return err
	}
	m := ledger.RunMove{To: ledger.RunDone}
	if len(all) == 0 {
		m.To, m.Reason, m.Alarm = ledger.RunFailed, "its campaign is not in the ledger", wanted(&o.Schedule, EventFailed)
		return ignoreLost(s.Ledger.MoveRun(ctx, &o.Run, m))
	}
	open, paused := false, ""
	for _, c := range all {
		if c.State == campaign.Paused && paused == "" {
			paused = "campaign " + strconv.FormatInt(c.ID, 10) + " is paused"
			if c.Reason != "" {
				paused += ": " + c.Reason
			}
		}
		open = open || !c.State.Final()
	}
	if open {
		if o.Reason == paused {
			return nil
		}
		alarm := ""
		if paused != "" {
			alarm = wanted(&o.Schedule, EventPaused)
		}
		return s.Ledger.NoteRun(ctx, &o.Run, paused, alarm)
	}
	ending, err := s.Runner.Ended(ctx, o.Schedule, o.Run, all)
	if err != nil {
		return err
	}
	if ending.Failed {
		m.To, m.Alarm = ledger.RunFailed, wanted(&o.Schedule, EventFailed)
	}
	var sum recipients
	var notes []string
	for _, c := range all {
		n, err := s.Ledger.Counts(ctx, c.ID)
		if err != nil {
			return err
		}
		sum.add(n)
		switch {
		case c.State == campaign.Failed:
			m.To, m.Alarm = ledger.RunFailed, wanted(&o.Schedule, EventFailed)
			notes = append(notes, fmt.Sprintf("campaign %d failed: %s", c.ID, c.Reason))
		case c.State == campaign.Cancelled:
			notes = append(notes, fmt.Sprintf("campaign %d was cancelled", c.ID))
		case n.Rejected > 0:
			notes = append(notes, fmt.Sprintf("campaign %d: %d of %d recipients were refused", c.ID, n.Rejected, n.Total))
		}
	}
	if ending.Note != "" {
		notes = append(notes, ending.Note)
	}
	m.Reason = strings.Join(notes, "; ")
	report, err := json.Marshal(runReport{Recipients: sum, Details: json.RawMessage(o.Report)})
	if err != nil {
		return fmt.Errorf("writing the run's report: %w", err)
	}
	m.Report = string(report)
	err = s.Ledger.MoveRun(ctx, &o.Run, m)
	if err == nil {
		s.Log.Info("a run has ended", "schedule", o.Schedule.Name, "run", o.Local, "state", m.To, "campaigns", len(all), "reason", m.Reason)
	}
	return ignoreLost(err)
}

func (r *recipients) add(n ledger.Counts) {
	r.Total += n.Total
	r.Accepted += n.Accepted
	r.Delivered += n.Delivered
	r.Undelivered += n.Undelivered
	r.Rejected += n.Rejected
	r.Suppressed += n.Suppressed
	r.Cancelled += n.Cancelled
}

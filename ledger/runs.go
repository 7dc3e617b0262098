package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/campaign"
)

// RunState is where one run of a schedule stands.
type RunState string

// The states of a run.
const (
	RunDue     RunState = "due"     // its hour has come; or it is to be tried again
	RunRunning RunState = "running" // its campaign is being made, or is on its way
	RunDone    RunState = "done"    // its campaign has ended
	RunNothing RunState = "nothing" // there was nothing to send
	RunSkipped RunState = "skipped" // it did not take place; the reason says why
	RunFailed  RunState = "failed"
)

// Final reports whether the run has ended.
func (s RunState) Final() bool { return s != RunDue && s != RunRunning }

// runMoves is the one table of legal moves of a run.
var runMoves = map[RunState][]RunState{
	RunDue:     {RunRunning, RunSkipped},
	RunRunning: {RunRunning, RunDue, RunDone, RunNothing, RunFailed},
}

// Run is one run of a schedule, known by the local time that names it.
type Run struct {
	ID         int64
	ScheduleID int64
	Local      string // 2026-10-04T02:00; of a run by hand with seconds
	Manual     bool
	DueAt      time.Time
	State      RunState
	Reason     string // why it stands where it stands; may be empty
	Tries      int    // how often it was begun
	Takeovers  int    // how often whoever had begun it was gone
	NextTry    time.Time
	Campaign   int64 // 0: none yet
	LeaseBy    string
	LeaseUntil time.Time
	Fence      int64
	Created    time.Time
	Started    time.Time
	Ended      time.Time
	Report     string // JSON; may be empty
}

const runColumns = `r.id, r.schedule_id, r.local_time, r.manual, r.due_at, r.state, r.reason, r.tries, r.takeovers, r.next_try_at,
	COALESCE(r.campaign_id, 0), r.lease_by, r.lease_until, r.fence, r.created_at, r.started_at, r.ended_at, r.report`

func scanRun(row scanner, more ...any) (Run, error) {
	var (
		r                                         Run
		manual                                    int
		due, next, until, created, began, endedAt int64
	)
	dest := []any{&r.ID, &r.ScheduleID, &r.Local, &manual, &due, &r.State, &r.Reason, &r.Tries, &r.Takeovers, &next,
		&r.Campaign, &r.LeaseBy, &until, &r.Fence, &created, &began, &endedAt, &r.Report}
	if err := row.Scan(append(dest, more...)...); err != nil {
		return r, err
	}
	r.Manual = manual == 1
	r.DueAt, r.NextTry, r.LeaseUntil = fromMillis(due), fromMillis(next), fromMillis(until)
	r.Created, r.Started, r.Ended = fromMillis(created), fromMillis(began), fromMillis(endedAt)
	return r, nil
}

// NewRun is a local time whose hour has come.
type NewRun struct {
	Local string
	DueAt time.Time
	// Skip is why the run does not take place; empty when it does.
	Skip string
	// Alarm is the event that somebody is told of, and AlarmReason in words why;
	// empty: none.
	Alarm, AlarmReason string
}

// RecordRuns puts runs of a schedule on record, in the order of their local
// times, and moves its cursor there. Only those behind the cursor are new: of
// any number of schedulers that come at once one records a run. It returns how
// many it recorded. Nothing is recorded when the schedule has changed since it
// was read, or in quarantine.
func (l *Ledger) RecordRuns(ctx context.Context, s *Schedule, runs []NewRun) (int, error) {
	recorded := 0
	err := l.store.write(ctx, func(tx *tx) error {
		recorded = 0
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		held, err := l.lockSchedule(ctx, tx, s.ID)
		if err != nil {
			return err
		}
		if q, err := readQuarantine(ctx, tx.exec); err != nil || q.Reason != "" || held.revision != s.Revision {
			return err
		}
		cursor := held.cursor
		for _, n := range runs {
			if n.Local <= cursor {
				continue
			}
			cursor = n.Local
			state, ended := RunDue, int64(0)
			if n.Skip != "" {
				state, ended = RunSkipped, now
			}
			var id int64
			err := tx.exec.QueryRowContext(ctx, `INSERT INTO runs (schedule_id, local_time, due_at, state, reason, created_at, ended_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (schedule_id, local_time) DO NOTHING RETURNING id`,
				s.ID, n.Local, n.DueAt.UnixMilli(), string(state), n.Skip, now, ended).Scan(&id)
			if errors.Is(err, sql.ErrNoRows) {
				continue // it ran before the schedule was changed
			}
			if err != nil {
				return fmt.Errorf("recording a run of %q: %w", s.Name, err)
			}
			recorded++
			if err := raise(ctx, tx, id, n.Alarm, n.AlarmReason, now); err != nil {
				return err
			}
		}
		if _, err := tx.exec.ExecContext(ctx, `UPDATE schedules SET cursor = $1 WHERE id = $2`, cursor, s.ID); err != nil {
			return fmt.Errorf("moving the cursor of %q: %w", s.Name, err)
		}
		return nil
	})
	return recorded, err
}

// RunByHand puts a run on record that is due at once, under a local time with
// seconds, which no scheduled run has. A second one within the same second is
// an Error with CodeExists.
func (l *Ledger) RunByHand(ctx context.Context, s *Schedule, local, actor string) (*Run, error) {
	var id int64
	err := l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		if err := l.refuseQuarantined(ctx, tx); err != nil {
			return err
		}
		held, err := l.lockSchedule(ctx, tx, s.ID)
		if err != nil {
			return err
		}
		if held.state == ScheduleRemoved {
			return campaign.Errorf(campaign.CodeConflict, "schedule %q was removed", s.Name)
		}
		err = tx.exec.QueryRowContext(ctx, `INSERT INTO runs (schedule_id, local_time, manual, due_at, state, reason, created_at)
			VALUES ($1, $2, 1, $3, 'due', $4, $3) ON CONFLICT (schedule_id, local_time) DO NOTHING RETURNING id`,
			s.ID, local, now, "asked for by "+actor).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return campaign.Errorf(campaign.CodeExists, "a run of %q was asked for in this very second: see `postrider schedule history %s`", s.Name, s.Name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return l.Run(ctx, id)
}

// Run reads one run.
func (l *Ledger) Run(ctx context.Context, id int64) (*Run, error) {
	r, err := scanRun(l.store.read().QueryRowContext(ctx, `SELECT `+runColumns+` FROM runs r WHERE r.id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, campaign.Errorf(campaign.CodeNotFound, "there is no run %d", id)
	}
	if err != nil {
		return nil, fmt.Errorf("reading run %d: %w", id, err)
	}
	return &r, nil
}

// History lists the newest runs of a schedule, the newest first; all when limit
// is 0.
func (l *Ledger) History(ctx context.Context, schedule int64, limit int) ([]Run, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT `+runColumns+` FROM runs r WHERE r.schedule_id = $1
		ORDER BY r.due_at DESC, r.local_time DESC LIMIT CASE WHEN $2 > 0 THEN $2 ELSE 1000000000 END`, schedule, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the runs: %w", err)
	}
	defer rows.Close()
	var all []Run
	for rows.Next() {
		r, err := scanRun(rows)
		if err != nil {
			return nil, fmt.Errorf("reading the runs: %w", err)
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// before is true of an open run o of the same schedule whose turn was before
// that of run r.
const before = `o.schedule_id = r.schedule_id AND o.state IN ('due', 'running') AND (o.due_at, o.local_time, o.id) < (r.due_at, r.local_time, r.id)`

// OpenRun is a run that has not ended, with what a scheduler asks of it.
type OpenRun struct {
	Run
	Schedule Schedule
	// Blocked: a run before it has not ended.
	Blocked bool
	// Takeable: it may be claimed at this moment, unless Blocked stands in the way.
	Takeable bool
	// CampaignState and CampaignReason are those of its campaign; empty without.
	CampaignState  campaign.State
	CampaignReason string
	Alarmed        []string // events that somebody was, or is being, told of
}

// OpenRuns lists the runs that have not ended, in the order of their turns.
// In quarantine there are none.
func (l *Ledger) OpenRuns(ctx context.Context) ([]OpenRun, error) {
	now, err := l.Now(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := l.store.read().QueryContext(ctx, `SELECT `+runColumns+`, `+scheduleColumns+`,
			CASE WHEN EXISTS (SELECT 1 FROM runs o WHERE `+before+`) THEN 1 ELSE 0 END,
			CASE WHEN `+takeable+` THEN 1 ELSE 0 END,
			COALESCE(c.state, ''), COALESCE(c.reason, ''),
			CASE WHEN EXISTS (SELECT 1 FROM alarms a WHERE a.run_id = r.id AND a.event = 'late') THEN 1 ELSE 0 END,
			CASE WHEN EXISTS (SELECT 1 FROM alarms a WHERE a.run_id = r.id AND a.event = 'paused') THEN 1 ELSE 0 END
		FROM runs r JOIN schedules s ON s.id = r.schedule_id LEFT JOIN campaigns c ON c.id = r.campaign_id
		WHERE r.state IN ('due', 'running') AND (SELECT quarantine FROM ledger) = ''
		ORDER BY r.due_at, r.local_time, r.id`, now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("looking for open runs: %w", err)
	}
	defer rows.Close()
	var all []OpenRun
	for rows.Next() {
		var (
			o                            OpenRun
			sr                           scheduleRow
			blocked, take, late, pausedA int
		)
		o.Run, err = scanRun(rows, append(sr.dest(), &blocked, &take, &o.CampaignState, &o.CampaignReason, &late, &pausedA)...)
		if err != nil {
			return nil, fmt.Errorf("looking for open runs: %w", err)
		}
		if o.Schedule, err = sr.schedule(); err != nil {
			return nil, err
		}
		o.Blocked, o.Takeable = blocked == 1, take == 1
		if late == 1 {
			o.Alarmed = append(o.Alarmed, "late")
		}
		if pausedA == 1 {
			o.Alarmed = append(o.Alarmed, "paused")
		}
		all = append(all, o)
	}
	return all, rows.Err()
}

// takeable is true of a run r of schedule s that waits at moment $1 for
// somebody to make its campaign.
const takeable = `r.campaign_id IS NULL AND r.next_try_at <= $1 AND r.lease_until <= $1
	AND (s.state = 'active' OR s.state = 'paused' AND r.manual = 1)`

// ClaimRun takes a run to make its campaign: one that is due, or one whose
// taker's lease has ended. It returns nil when somebody else was quicker, or
// when a run before it stands in the way: by the schedule's overlap policy it
// then waits, or is skipped.
func (l *Ledger) ClaimRun(ctx context.Context, r *Run, by string, lease time.Duration, alarmSkipped bool) (*Run, error) {
	claimed := false
	// Should the machine lose its power, the run is found unclaimed and begun
	// anew; its maker finds what the first one made by its name.
	err := l.writeRunLoosely(ctx, func(tx *tx) error {
		claimed = false
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		held, err := l.lockSchedule(ctx, tx, r.ScheduleID)
		if err != nil {
			return err
		}
		var (
			is             Run
			waits, started int
		)
		row := tx.exec.QueryRowContext(ctx, `SELECT `+runColumns+`,
				(SELECT count(*) FROM runs o WHERE `+before+`), (SELECT count(*) FROM runs o WHERE `+before+` AND (o.state = 'running' OR o.tries > 0))
			FROM runs r JOIN schedules s ON s.id = r.schedule_id
			WHERE r.id = $2 AND r.state IN ('due', 'running') AND `+takeable+` AND (SELECT quarantine FROM ledger) = ''`, now, r.ID)
		if is, err = scanRun(row, &waits, &started); errors.Is(err, sql.ErrNoRows) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading run %d: %w", r.ID, err)
		}
		if is.State == RunDue && waits > 0 && held.overlap != "run" {
			if held.overlap == "skip" && started > 0 && is.Tries == 0 {
				return skipOverlapping(ctx, tx, &is, alarmSkipped, now)
			}
			return nil
		}
		tries, takeovers := is.Tries, is.Takeovers
		switch {
		case is.State == RunDue:
			tries++
		case is.LeaseBy != "":
			takeovers++ // who had it did not even give it back
		}
		err = oneRow(tx.exec.ExecContext(ctx, `UPDATE runs SET state = 'running', reason = '', tries = $1, takeovers = $2, next_try_at = 0, lease_by = $3, lease_until = $4,
			fence = fence + 1, started_at = CASE WHEN started_at = 0 THEN $5 ELSE started_at END WHERE id = $6 AND fence = $7`,
			tries, takeovers, by, now+lease.Milliseconds(), now, is.ID, is.Fence))
		if errors.Is(err, ErrLostLease) {
			return nil
		}
		claimed = err == nil
		return err
	})
	if err != nil || !claimed {
		return nil, err
	}
	return l.Run(ctx, r.ID)
}

func skipOverlapping(ctx context.Context, tx *tx, r *Run, alarm bool, now int64) error {
	const reason = "the run before it had not ended"
	err := oneRow(tx.exec.ExecContext(ctx, `UPDATE runs SET state = 'skipped', reason = $1, ended_at = $2 WHERE id = $3 AND state = 'due'`, reason, now, r.ID))
	if err != nil {
		return fmt.Errorf("skipping run %d: %w", r.ID, err)
	}
	if !alarm {
		return nil
	}
	return raise(ctx, tx, r.ID, "skipped", reason, now)
}

// writeRunLoosely is for claims and leases, which a machine without power may
// forget.
func (l *Ledger) writeRunLoosely(ctx context.Context, fn func(tx *tx) error) error {
	return l.store.writeLoosely(ctx, fn)
}

// RenewRun prolongs the lease of a claimed run. ErrLostLease when it is not
// held any more.
func (l *Ledger) RenewRun(ctx context.Context, r *Run, lease time.Duration) error {
	return l.writeRunLoosely(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		return oneRow(tx.exec.ExecContext(ctx, `UPDATE runs SET lease_until = $1 WHERE id = $2 AND fence = $3 AND state = 'running' AND campaign_id IS NULL`,
			now+lease.Milliseconds(), r.ID, r.Fence))
	})
}

// RunMove is what becomes of a run.
type RunMove struct {
	To       RunState
	Reason   string
	Campaign int64         // of a run that goes on as Running: its campaign is made
	Report   string        // JSON; empty keeps what is there
	Wait     time.Duration // of a run that becomes Due again
	// Alarm is the event that somebody is told of, once; empty: none.
	Alarm string
}

// MoveRun changes a run that was claimed, or read as it stands, and gives its
// lease back. ErrLostLease when it has changed since. A move that is not legal
// is an Error with CodeConflict.
func (l *Ledger) MoveRun(ctx context.Context, r *Run, m RunMove) error {
	if !slices.Contains(runMoves[r.State], m.To) {
		return campaign.Errorf(campaign.CodeConflict, "run %d is %s and cannot become %s", r.ID, r.State, m.To)
	}
	return l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		var next, ended int64
		if m.To == RunDue {
			next = now + m.Wait.Milliseconds()
		}
		if m.To.Final() {
			ended = now
		}
		var made any
		if m.Campaign != 0 {
			made = m.Campaign
		}
		err = oneRow(tx.exec.ExecContext(ctx, `UPDATE runs SET state = $1, reason = $2, report = CASE WHEN $3 = '' THEN report ELSE $3 END,
				campaign_id = COALESCE($4, campaign_id), next_try_at = $5, ended_at = $6, lease_by = '', lease_until = 0
			WHERE id = $7 AND fence = $8 AND state = $9`, string(m.To), m.Reason, m.Report, made, next, ended, r.ID, r.Fence, string(r.State)))
		if err != nil {
			return fmt.Errorf("run %d becomes %s: %w", r.ID, m.To, err)
		}
		return raise(ctx, tx, r.ID, m.Alarm, m.Reason, now)
	})
}

// NoteRun writes why a run stands where it stands, without moving it, and
// raises an alarm when it names an event.
func (l *Ledger) NoteRun(ctx context.Context, r *Run, reason, alarm string) error {
	return l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		err = oneRow(tx.exec.ExecContext(ctx, `UPDATE runs SET reason = $1 WHERE id = $2 AND fence = $3 AND state = $4`, reason, r.ID, r.Fence, string(r.State)))
		if errors.Is(err, ErrLostLease) {
			return nil // it has gone on meanwhile
		}
		if err != nil {
			return fmt.Errorf("writing to run %d: %w", r.ID, err)
		}
		return raise(ctx, tx, r.ID, alarm, reason, now)
	})
}

// raise puts an alarm on record, once for each run and event.
func raise(ctx context.Context, tx *tx, run int64, event, reason string, now int64) error {
	if event == "" {
		return nil
	}
	_, err := tx.exec.ExecContext(ctx, `INSERT INTO alarms (run_id, event, reason, at, state, next_try_at)
		VALUES ($1, $2, $3, $4, 'pending', $4) ON CONFLICT (run_id, event) DO NOTHING`, run, event, reason, now)
	if err != nil {
		return fmt.Errorf("raising an alarm: %w", err)
	}
	return nil
}

// Alarm is what somebody is to be told.
type Alarm struct {
	ID       int64
	Event    string
	Reason   string
	At       time.Time
	Tries    int
	State    string // pending, sent, given up
	Problem  string // why the last try failed
	Run      Run
	Schedule Schedule
}

// DueAlarms lists alarms that are to be sent at this moment. In quarantine there
// are none: what a copy of a ledger tells has been told.
func (l *Ledger) DueAlarms(ctx context.Context) ([]Alarm, error) {
	now, err := l.Now(ctx)
	if err != nil {
		return nil, err
	}
	return l.alarms(ctx, `a.state = 'pending' AND a.next_try_at <= $1 AND (SELECT quarantine FROM ledger) = '' ORDER BY a.id LIMIT 20`, now.UnixMilli())
}

// Alarms lists the alarms of a schedule's runs, the oldest first.
func (l *Ledger) Alarms(ctx context.Context, schedule int64) ([]Alarm, error) {
	return l.alarms(ctx, `r.schedule_id = $1 ORDER BY a.id`, schedule)
}

func (l *Ledger) alarms(ctx context.Context, where string, arg int64) ([]Alarm, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT `+runColumns+`, `+scheduleColumns+`, a.id, a.event, a.reason, a.at, a.tries, a.state, a.problem
		FROM alarms a JOIN runs r ON r.id = a.run_id JOIN schedules s ON s.id = r.schedule_id WHERE `+where, arg)
	if err != nil {
		return nil, fmt.Errorf("looking for alarms: %w", err)
	}
	defer rows.Close()
	var all []Alarm
	for rows.Next() {
		var (
			a  Alarm
			sr scheduleRow
			at int64
		)
		if a.Run, err = scanRun(rows, append(sr.dest(), &a.ID, &a.Event, &a.Reason, &at, &a.Tries, &a.State, &a.Problem)...); err != nil {
			return nil, fmt.Errorf("looking for alarms: %w", err)
		}
		if a.Schedule, err = sr.schedule(); err != nil {
			return nil, err
		}
		a.At = fromMillis(at)
		all = append(all, a)
	}
	return all, rows.Err()
}

// ClaimAlarm takes an alarm to send it, before anybody else does. When its
// sender dies it is sent again after the lease: at least once.
func (l *Ledger) ClaimAlarm(ctx context.Context, a *Alarm, lease time.Duration) (bool, error) {
	err := l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		return oneRow(tx.exec.ExecContext(ctx, `UPDATE alarms SET tries = tries + 1, next_try_at = $1 WHERE id = $2 AND state = 'pending' AND tries = $3`,
			now+lease.Milliseconds(), a.ID, a.Tries))
	})
	if errors.Is(err, ErrLostLease) {
		return false, nil
	}
	return err == nil, err
}

// CloseAlarm records what became of a claimed alarm: sent when problem is
// empty, else tried again after wait, or given up when wait is 0.
func (l *Ledger) CloseAlarm(ctx context.Context, a *Alarm, problem string, wait time.Duration) error {
	state := "pending"
	switch {
	case problem == "":
		state = "sent"
	case wait == 0:
		state = "given up"
	}
	return l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.exec.ExecContext(ctx, `UPDATE alarms SET state = $1, problem = $2, next_try_at = $3 WHERE id = $4 AND state = 'pending' AND tries = $5`,
			state, problem, now+wait.Milliseconds(), a.ID, a.Tries+1)
		return err
	})
}

package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/postrider/postrider/campaign"
)

// ScheduleState is where a schedule stands.
type ScheduleState string

// The states of a schedule.
const (
	ScheduleActive  ScheduleState = "active"
	SchedulePaused  ScheduleState = "paused"  // no run begins; those that would have are recorded as skipped
	ScheduleRemoved ScheduleState = "removed" // kept for its history
)

// Schedule is a recurring run as the ledger holds it. What its texts mean is
// the business of package scheduler.
type Schedule struct {
	ID       int64
	State    ScheduleState
	Revision int64 // raised with every change
	NewSchedule
	// Cursor is the last local time that was considered: every run up to it is on
	// record.
	Cursor    string
	NotBefore time.Time // runs due before are skipped: the ledger was quarantined meanwhile
	Created   time.Time
	Paused    time.Time
	Removed   time.Time
}

// NewSchedule is what a schedule begins with.
type NewSchedule struct {
	Name      string
	Spec      string // the definition as it was given
	Cron      string
	Zone      string
	Overlap   string // wait, skip, run
	IfLate    string // run, skip
	LateLimit time.Duration
	CatchUp   string        // latest, all
	Tries     int           // how often a run is tried in all
	RetryWait time.Duration // between two tries
	Alarm     AlarmConfig
	Actor     string
}

// AlarmConfig says who is told of what. The zero value is nobody.
type AlarmConfig struct {
	Command    []string `json:"command,omitempty"`
	Webhook    string   `json:"webhook,omitempty"`
	SecretEnv  string   `json:"secret_env,omitempty"`  // environment variable that holds the webhook's secret
	SecretFile string   `json:"secret_file,omitempty"` // or the file that does
	On         []string `json:"on,omitempty"`          // events
}

const scheduleColumns = `s.id, s.name, s.state, s.revision, s.spec, s.cron, s.zone, s.overlap, s.if_late, s.late_limit, s.catch_up, s.tries, s.retry_wait,
	s.alarm, s.cursor, s.not_before, s.created_by, s.created_at, s.paused_at, s.removed_at`

// scheduleRow collects what scheduleColumns select.
type scheduleRow struct {
	s                                                      Schedule
	alarm                                                  string
	limit, wait, notBefore, created, pausedAt, removedAtMS int64
}

func (r *scheduleRow) dest() []any {
	s := &r.s
	return []any{&s.ID, &s.Name, &s.State, &s.Revision, &s.Spec, &s.Cron, &s.Zone, &s.Overlap, &s.IfLate, &r.limit, &s.CatchUp, &s.Tries, &r.wait,
		&r.alarm, &s.Cursor, &r.notBefore, &s.Actor, &r.created, &r.pausedAt, &r.removedAtMS}
}

func (r *scheduleRow) schedule() (Schedule, error) {
	s := r.s
	s.LateLimit, s.RetryWait = time.Duration(r.limit)*time.Millisecond, time.Duration(r.wait)*time.Millisecond
	s.NotBefore, s.Created, s.Paused, s.Removed = fromMillis(r.notBefore), fromMillis(r.created), fromMillis(r.pausedAt), fromMillis(r.removedAtMS)
	if r.alarm != "" {
		if err := json.Unmarshal([]byte(r.alarm), &s.Alarm); err != nil {
			return s, fmt.Errorf("reading the alarm of schedule %q: %w", s.Name, err)
		}
	}
	return s, nil
}

// values are the columns that the definition decides, as CreateSchedule and
// ReplaceSchedule write them.
func (n *NewSchedule) values() ([]any, error) {
	alarm := ""
	if len(n.Alarm.Command) > 0 || n.Alarm.Webhook != "" {
		b, err := json.Marshal(n.Alarm)
		if err != nil {
			return nil, fmt.Errorf("writing the schedule's alarm: %w", err)
		}
		alarm = string(b)
	}
	return []any{n.Spec, n.Cron, n.Zone, n.Overlap, n.IfLate, n.LateLimit.Milliseconds(), n.CatchUp, n.Tries, n.RetryWait.Milliseconds(), alarm, n.Actor}, nil
}

// CreateSchedule writes an active schedule whose runs begin after cursor, a
// local time. A name that is taken is an Error with CodeExists.
func (l *Ledger) CreateSchedule(ctx context.Context, n NewSchedule, cursor string) (*Schedule, error) {
	values, err := n.values()
	if err != nil {
		return nil, err
	}
	err = l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		res, err := tx.exec.ExecContext(ctx, `
			INSERT INTO schedules (spec, cron, zone, overlap, if_late, late_limit, catch_up, tries, retry_wait, alarm, created_by, name, state, cursor, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'active', $13, $14) ON CONFLICT DO NOTHING`, append(values, n.Name, cursor, now)...)
		if err != nil {
			return fmt.Errorf("writing schedule %q: %w", n.Name, err)
		}
		if rows, err := res.RowsAffected(); err != nil || rows == 0 {
			return errors.Join(campaign.Errorf(campaign.CodeExists, "a schedule named %q exists already", n.Name), err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l.FindSchedule(ctx, n.Name)
}

// ReplaceSchedule gives a schedule another definition. Its runs stay, and its
// state; those to come begin after cursor. The revision must be the one that
// was read: else an Error with CodeConflict.
func (l *Ledger) ReplaceSchedule(ctx context.Context, s *Schedule, n NewSchedule, cursor string) (*Schedule, error) {
	values, err := n.values()
	if err != nil {
		return nil, err
	}
	err = l.store.write(ctx, func(tx *tx) error {
		err := oneRow(tx.exec.ExecContext(ctx, `
			UPDATE schedules SET spec = $1, cron = $2, zone = $3, overlap = $4, if_late = $5, late_limit = $6, catch_up = $7, tries = $8, retry_wait = $9,
				alarm = $10, created_by = $11, cursor = $12, revision = revision + 1 WHERE id = $13 AND revision = $14 AND state <> 'removed'`,
			append(values, cursor, s.ID, s.Revision)...))
		if errors.Is(err, ErrLostLease) {
			return campaign.Errorf(campaign.CodeConflict, "somebody else has just changed schedule %q: look at it with `postrider schedule ls`, then try again", s.Name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return l.FindSchedule(ctx, s.Name)
}

// Schedules lists every schedule that is not removed, by name.
func (l *Ledger) Schedules(ctx context.Context) ([]Schedule, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT `+scheduleColumns+` FROM schedules s WHERE s.state <> 'removed' ORDER BY s.name`)
	if err != nil {
		return nil, fmt.Errorf("reading the schedules: %w", err)
	}
	defer rows.Close()
	var all []Schedule
	for rows.Next() {
		var r scheduleRow
		if err := rows.Scan(r.dest()...); err != nil {
			return nil, fmt.Errorf("reading the schedules: %w", err)
		}
		s, err := r.schedule()
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// FindSchedule reads a schedule that is not removed by its name. An Error with
// CodeNotFound when there is none.
func (l *Ledger) FindSchedule(ctx context.Context, name string) (*Schedule, error) {
	return scanSchedule(name, l.store.read().QueryRowContext(ctx, `SELECT `+scheduleColumns+` FROM schedules s WHERE s.name = $1 AND s.state <> 'removed'`, name))
}

// PastSchedule is FindSchedule that finds a removed one when there is no other,
// the one that was removed last.
func (l *Ledger) PastSchedule(ctx context.Context, name string) (*Schedule, error) {
	return scanSchedule(name, l.store.read().QueryRowContext(ctx,
		`SELECT `+scheduleColumns+` FROM schedules s WHERE s.name = $1 ORDER BY CASE s.state WHEN 'removed' THEN 1 ELSE 0 END, s.id DESC LIMIT 1`, name))
}

func scanSchedule(name string, row scanner) (*Schedule, error) {
	var r scheduleRow
	err := row.Scan(r.dest()...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, campaign.Errorf(campaign.CodeNotFound, "there is no schedule named %q: `postrider schedule ls` lists them", name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading schedule %q: %w", name, err)
	}
	s, err := r.schedule()
	return &s, err
}

// scheduleMoves is the one table of legal moves of a schedule.
var scheduleMoves = map[ScheduleState][]ScheduleState{
	ScheduleActive: {SchedulePaused, ScheduleRemoved},
	SchedulePaused: {ScheduleActive, ScheduleRemoved},
}

// MoveSchedule pauses, resumes or removes a schedule. Runs that have not begun
// are skipped when it is paused or removed; one whose campaign is on its way
// goes on. A move that is not legal is an Error with CodeConflict.
func (l *Ledger) MoveSchedule(ctx context.Context, id int64, to ScheduleState) error {
	return l.store.write(ctx, func(tx *tx) error {
		from, err := l.lockSchedule(ctx, tx, id)
		if err != nil {
			return err
		}
		legal := false
		for _, s := range scheduleMoves[from.state] {
			legal = legal || s == to
		}
		if !legal {
			return campaign.Errorf(campaign.CodeConflict, "the schedule is %s and cannot become %s", from.state, to)
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		var paused, removed int64
		switch to {
		case SchedulePaused:
			paused = now
		case ScheduleRemoved:
			removed = now
		}
		_, err = tx.exec.ExecContext(ctx, `UPDATE schedules SET state = $1, revision = revision + 1, paused_at = $2, removed_at = $3 WHERE id = $4`,
			string(to), paused, removed, id)
		if err != nil {
			return fmt.Errorf("changing the schedule: %w", err)
		}
		if to == ScheduleActive {
			return nil
		}
		return skipDue(ctx, tx, id, "the schedule was "+string(to), now)
	})
}

// skipDue skips what has not begun of a schedule, or of all when id is 0.
func skipDue(ctx context.Context, tx *tx, id int64, reason string, now int64) error {
	_, err := tx.exec.ExecContext(ctx, `UPDATE runs SET state = 'skipped', reason = $1, ended_at = $2, next_try_at = 0
		WHERE state = 'due' AND (schedule_id = $3 OR $3 = 0)`, reason, now, id)
	if err != nil {
		return fmt.Errorf("skipping what has not begun: %w", err)
	}
	return nil
}

// lockedSchedule is what a write asks of the schedule it holds.
type lockedSchedule struct {
	state    ScheduleState
	revision int64
	cursor   string
	overlap  string
}

// lockSchedule holds the schedule's row until the write ends. It comes before
// the rows of its runs.
func (l *Ledger) lockSchedule(ctx context.Context, tx *tx, id int64) (lockedSchedule, error) {
	var s lockedSchedule
	err := tx.exec.QueryRowContext(ctx, `SELECT state, revision, cursor, overlap FROM schedules WHERE id = $1`+l.store.forUpdate(), id).
		Scan(&s.state, &s.revision, &s.cursor, &s.overlap)
	if errors.Is(err, sql.ErrNoRows) {
		return s, campaign.Errorf(campaign.CodeNotFound, "there is no schedule %d", id)
	}
	if err != nil {
		return s, fmt.Errorf("reading schedule %d: %w", id, err)
	}
	return s, nil
}

// skipQuarantinedRuns skips what a ledger that leaves quarantine believes to be
// due, and pauses every schedule: what it was copied from may have run it since,
// and this ledger does not know which letters were mailed then. A person looks,
// and resumes.
func (l *Ledger) skipQuarantinedRuns(ctx context.Context, tx *tx) error {
	now, err := l.now(ctx, tx)
	if err != nil {
		return err
	}
	if _, err := tx.exec.ExecContext(ctx, `UPDATE schedules SET not_before = $1, revision = revision + 1,
		state = CASE WHEN state = 'active' THEN 'paused' ELSE state END, paused_at = CASE WHEN state = 'active' THEN $1 ELSE paused_at END`, now); err != nil {
		return fmt.Errorf("holding back runs that may have taken place: %w", err)
	}
	if err := skipDue(ctx, tx, 0, ReasonQuarantined, now); err != nil {
		return err
	}
	_, err = tx.exec.ExecContext(ctx, `UPDATE runs SET state = 'failed', reason = $1, ended_at = $2, lease_by = '', lease_until = 0
		WHERE state = 'running' AND campaign_id IS NULL`, ReasonQuarantined, now)
	if err != nil {
		return fmt.Errorf("holding back runs that may have taken place: %w", err)
	}
	return nil
}

// ReasonQuarantined is why a run is skipped that a quarantine lay over.
const ReasonQuarantined = "the ledger was quarantined: the run may have taken place elsewhere"

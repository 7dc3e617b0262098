package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
)

// Reschedule is a new hour, a new timing, or both, for a campaign that has not
// started.
type Reschedule struct {
	StartAt time.Time // zero: as it is
	// Timing replaces the campaign's whole; nil: as it is.
	Timing *campaign.Timing
	Actor  string
}

// Reschedule changes when a campaign starts and when its messages may leave, up
// to its start, and records who did it. Later, or while it is planned, it is an
// Error with CodeConflict, and so is a window on the recipients' own clocks for a
// campaign whose batches were not cut by zone, and any window for one that the
// provider holds until its hour. An hour that is past is an Error
// with CodeInvalid. A campaign that was too late to start by itself waits for its
// new hour; any other that is paused stays so until it is resumed.
func (l *Ledger) Reschedule(ctx context.Context, id int64, r Reschedule) error {
	if r.Timing != nil {
		if err := r.Timing.Validate(); err != nil {
			return err
		}
	}
	return l.store.write(ctx, func(tx *tx) error {
		state, err := l.lockCampaign(ctx, tx, id)
		if err != nil {
			return err
		}
		var (
			content, plan, cell, reason string
			startAt, started            int64
		)
		err = tx.exec.QueryRowContext(ctx, `SELECT content, plan, timing, reason, start_at, started_at FROM campaigns WHERE id = $1`, id).
			Scan(&content, &plan, &cell, &reason, &startAt, &started)
		if err != nil {
			return fmt.Errorf("reading campaign %d: %w", id, err)
		}
		switch {
		case state == campaign.Draft && plan == "":
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is being planned: it can be rescheduled when it is", id)
		case state != campaign.Draft && state != campaign.Quoted && state != campaign.Scheduled && state != campaign.Paused:
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s: only one that waits for its start can be rescheduled", id, state)
		case started != 0:
			return campaign.Errorf(campaign.CodeConflict, "campaign %d has started already: it can be paused and resumed, and not rescheduled", id)
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		if at := millis(r.StartAt); at != 0 {
			if at <= now {
				return campaign.Errorf(campaign.CodeInvalid, "%s is past: name an hour to come", r.StartAt.Format(time.RFC3339))
			}
			startAt = at
		}
		if err := mayReschedule(id, content, plan, r); err != nil {
			return err
		}
		if r.Timing != nil {
			if cell, err = writeTiming(r.Timing); err != nil {
				return err
			}
		}
		if _, err := tx.exec.ExecContext(ctx, `UPDATE campaigns SET start_at = $1, timing = $2 WHERE id = $3`, startAt, cell, id); err != nil {
			return fmt.Errorf("rescheduling campaign %d: %w", id, err)
		}
		why, err := describeTiming(startAt, cell)
		if err != nil {
			return err
		}
		if err := event(ctx, tx, id, now, r.Actor, "rescheduled", why); err != nil {
			return err
		}
		if state != campaign.Paused || !strings.HasPrefix(reason, lateReason) || startAt <= now {
			return nil
		}
		if err := l.refuseQuarantined(ctx, tx); err != nil {
			return err
		}
		return l.moveCampaign(ctx, tx, id, Move{To: campaign.Scheduled, Actor: r.Actor, Reason: "rescheduled"})
	})
}

// mayReschedule refuses what does not go with what was approved and how it was
// planned.
func mayReschedule(id int64, content, plan string, r Reschedule) error {
	var (
		c campaign.Content
		p campaign.PlanSummary
	)
	if err := json.Unmarshal([]byte(content), &c); err != nil {
		return fmt.Errorf("reading the content of campaign %d: %w", id, err)
	}
	if err := json.Unmarshal([]byte(plan), &p); err != nil {
		return fmt.Errorf("reading the plan of campaign %d: %w", id, err)
	}
	if !r.StartAt.IsZero() && c.Schedule != 0 {
		return campaign.Errorf(campaign.CodeConflict,
			"the hour of campaign %d is handed to the provider with its messages, and is part of what was approved: cancel the campaign and make it anew", id)
	}
	if r.Timing != nil && r.Timing.Window != nil && c.Schedule != 0 {
		return campaign.Errorf(campaign.CodeConflict,
			"a window does not go with campaign %d, which the provider holds until its hour: what the provider holds leaves it at its hour, whatever the window", id)
	}
	if t := r.Timing; t != nil && t.Window != nil && t.ByRecipient && p.Zones == nil && p.Sendable > 0 {
		return campaign.Errorf(campaign.CodeConflict,
			"campaign %d was planned without the recipients' time zones: its window can be read on one zone's clock only; name that zone, or cancel the campaign and make it anew", id)
	}
	return nil
}

// describeTiming says in words when a campaign starts and its messages leave.
func describeTiming(startAt int64, cell string) (string, error) {
	t, err := readTiming(cell)
	if err != nil {
		return "", err
	}
	var parts []string
	if startAt != 0 {
		parts = append(parts, "starts at "+fromMillis(startAt).Format(time.RFC3339))
	}
	if t.Window != nil {
		parts = append(parts, fmt.Sprintf("window %s, %s", t.Window, t.WindowZone()))
	}
	if t.IfLate != "" || t.LateLimit != 0 {
		parts = append(parts, fmt.Sprintf("if more than %s late: %s", t.Limit(), t.Late()))
	}
	return strings.Join(parts, "; "), nil
}

package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/postrider/postrider/campaign"
)

// PostWithin is how long after the commit of its attempt a post may begin. A
// window that closes sooner counts as closed.
const PostWithin = time.Second

// leaving is what a campaign's window says of a batch at some moment.
type leaving struct {
	open bool
	left time.Duration // open: until the window closes; 0: it does not
	next int64         // closed: when it opens, in milliseconds
}

// readLeaving asks a campaign's timing, as it is stored, whether a batch of a
// zone may leave at a moment, in milliseconds.
func readLeaving(cell, zone string, now int64) (leaving, error) {
	t, err := readTiming(cell)
	if err != nil {
		return leaving{}, err
	}
	return leavingAt(&t, zone, now)
}

func leavingAt(t *campaign.Timing, zone string, now int64) (leaving, error) {
	if t.Window == nil {
		return leaving{open: true}, nil
	}
	loc, err := t.BatchZone(zone)
	if err != nil {
		return leaving{}, fmt.Errorf("reading the send window: %w", err)
	}
	at := fromMillis(now)
	closes := t.Window.Closes(at, loc)
	switch left := closes.Sub(at); {
	case closes.IsZero():
		return leaving{open: true}, nil
	case left > PostWithin:
		return leaving{open: true, left: left}, nil
	}
	next := t.Window.Next(closes, loc)
	if next.IsZero() {
		return leaving{}, fmt.Errorf("the send window %s never opens again in %s", t.Window, loc)
	}
	return leaving{next: next.UnixMilli()}, nil
}

// writeTiming and readTiming are the cell that a campaign's timing is kept in.
func writeTiming(t *campaign.Timing) (string, error) {
	if *t == (campaign.Timing{}) {
		return "", nil
	}
	cell, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("writing when the campaign's messages may leave: %w", err)
	}
	return string(cell), nil
}

func readTiming(cell string) (t campaign.Timing, err error) {
	if cell == "" {
		return t, nil
	}
	if err := json.Unmarshal([]byte(cell), &t); err != nil {
		return t, fmt.Errorf("reading when the campaign's messages may leave: %w", err)
	}
	return t, nil
}

// putOff makes batches that stand before a closed window due when it opens: all
// those of the campaign to which the same window applies, so that they are not
// looked at again and again until then.
func (l *Ledger) putOff(ctx context.Context, tx *tx, campaignID int64, zone string, now, next int64) error {
	lock := l.store.forUpdate()
	if lock != "" {
		lock += " SKIP LOCKED"
	}
	_, err := tx.exec.ExecContext(ctx, `UPDATE batches SET due_at = $1, dispatched_at = 0 WHERE id IN (
		SELECT id FROM batches WHERE campaign_id = $2 AND zone = $3 AND state = 0 AND due_at <= $4 AND lease_until <= $4 ORDER BY id`+lock+`)`,
		next, campaignID, zone, now)
	if err != nil {
		return fmt.Errorf("putting the batches of campaign %d off: %w", campaignID, err)
	}
	return nil
}

// Leave is when the next batch of a campaign leaves, as far as the ledger can
// tell: the rate budget is not its business.
type Leave struct {
	// At is the moment; zero when no batch waits. It is in the past when nothing
	// but a worker is waited for.
	At time.Time
	// Closed says that the send window is closed until then.
	Closed bool
	// Zone is by whose clock the window is read; nil without a window.
	Zone *time.Location
}

// NextLeave says when the next batch of a campaign may leave. Of one that is
// paused it says when it could if it were resumed now.
func (l *Ledger) NextLeave(ctx context.Context, c *Campaign) (Leave, error) {
	now, err := l.Now(ctx)
	if err != nil {
		return Leave{}, err
	}
	if !c.State.Final() && c.StartAt.After(now) {
		now = c.StartAt
	}
	rows, err := l.store.read().QueryContext(ctx, `SELECT zone, min(due_at) FROM batches WHERE campaign_id = $1 AND state = 0 GROUP BY zone`, c.ID)
	if err != nil {
		return Leave{}, fmt.Errorf("reading when campaign %d goes on: %w", c.ID, err)
	}
	defer rows.Close()
	var first Leave
	for rows.Next() {
		var (
			zone string
			due  int64
			next Leave
		)
		if err := rows.Scan(&zone, &due); err != nil {
			return Leave{}, fmt.Errorf("reading when campaign %d goes on: %w", c.ID, err)
		}
		at := max(due, now.UnixMilli())
		next.At = fromMillis(at)
		if c.Timing.Window != nil {
			if next.Zone, err = c.Timing.BatchZone(zone); err != nil {
				return Leave{}, err
			}
			next.Closed = !c.Timing.Window.Open(now, next.Zone)
			may, err := leavingAt(&c.Timing, zone, at)
			if err != nil {
				return Leave{}, err
			}
			if !may.open {
				next.At, next.Closed = fromMillis(may.next), true
			}
		}
		if first.At.IsZero() || next.At.Before(first.At) {
			first = next
		}
	}
	return first, rows.Err()
}

package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/postrider/postrider/campaign"
)

// Counts says how many recipients of a campaign stand where. InFlight ones
// are pending in the table and carried by an open attempt; Total is the sum of
// all others plus InFlight.
type Counts struct {
	Total       int `json:"total"`
	Pending     int `json:"pending"`
	InFlight    int `json:"in_flight"`
	Unknown     int `json:"unknown"`
	Accepted    int `json:"accepted"`
	Delivered   int `json:"delivered"`
	Undelivered int `json:"undelivered"`
	Rejected    int `json:"rejected"`
	Suppressed  int `json:"suppressed"`
	Cancelled   int `json:"cancelled"`
}

// Left is how many may still be sent to.
func (c Counts) Left() int { return c.Pending + c.InFlight }

// Counts reads where a campaign's recipients stand at one moment.
func (l *Ledger) Counts(ctx context.Context, id int64) (Counts, error) {
	var c Counts
	err := l.store.read().QueryRowContext(ctx, `
		SELECT COALESCE(sum(pending), 0), COALESCE(sum(unknown), 0), COALESCE(sum(accepted), 0), COALESCE(sum(delivered), 0),
		       COALESCE(sum(undelivered), 0), COALESCE(sum(rejected), 0), COALESCE(sum(suppressed), 0), COALESCE(sum(cancelled), 0),
		       (SELECT COALESCE(sum(size), 0) FROM attempts WHERE campaign_id = $1 AND state = 0)
		FROM batches WHERE campaign_id = $1`, id).
		Scan(&c.Pending, &c.Unknown, &c.Accepted, &c.Delivered, &c.Undelivered, &c.Rejected, &c.Suppressed, &c.Cancelled, &c.InFlight)
	if err != nil {
		return Counts{}, fmt.Errorf("counting campaign %d: %w", id, err)
	}
	c.Pending -= c.InFlight
	c.Total = c.Pending + c.InFlight + c.Unknown + c.Accepted + c.Delivered + c.Undelivered + c.Rejected + c.Suppressed + c.Cancelled
	return c, nil
}

// CountReasons counts a campaign's rejected and suppressed recipients by
// reason.
func (l *Ledger) CountReasons(ctx context.Context, id int64) (map[campaign.RecipientState]map[string]int, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT r.state, COALESCE(r.reason, ''), count(*) FROM batches b CROSS JOIN recipients r
		WHERE b.campaign_id = $1 AND r.id BETWEEN b.first_id AND b.last_id AND r.batch_id = b.id AND r.state IN (5, 6) AND (b.rejected > 0 OR b.suppressed > 0) GROUP BY r.state, r.reason`, id)
	if err != nil {
		return nil, fmt.Errorf("counting the reasons of campaign %d: %w", id, err)
	}
	defer rows.Close()
	all := map[campaign.RecipientState]map[string]int{}
	for rows.Next() {
		var (
			state  campaign.RecipientState
			reason string
			n      int
		)
		if err := rows.Scan(&state, &reason, &n); err != nil {
			return nil, fmt.Errorf("counting the reasons of campaign %d: %w", id, err)
		}
		if all[state] == nil {
			all[state] = map[string]int{}
		}
		all[state][reason] = n
	}
	return all, rows.Err()
}

// ReportRow is one recipient's fate.
type ReportRow struct {
	Recipient  int64
	Batch      int64
	State      campaign.RecipientState
	Reason     string
	Quoted     campaign.Micros
	ProviderID string
	Status     string
	Price      campaign.Micros
	Parts      int
	At         time.Time // when the outcome was recorded; zero when there is none
	Attempts   int       // how many messages the provider answered for
	Contact    campaign.Contact
}

// EachRecipient hands every recipient of a campaign with the newest message
// about it to fn, batch by batch.
func (l *Ledger) EachRecipient(ctx context.Context, c *Campaign, fn func(*ReportRow) error) error {
	columns, err := l.listColumns(ctx, c.ListID)
	if err != nil {
		return err
	}
	rows, err := l.store.read().QueryContext(ctx, `SELECT id FROM batches WHERE campaign_id = $1 ORDER BY id`, c.ID)
	if err != nil {
		return fmt.Errorf("reading the batches of campaign %d: %w", c.ID, err)
	}
	batches, err := scanIDs(rows)
	if err != nil {
		return fmt.Errorf("reading the batches of campaign %d: %w", c.ID, err)
	}
	for _, b := range batches {
		if err := l.eachOfBatch(ctx, b, columns, fn); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) eachOfBatch(ctx context.Context, batch int64, columns *campaign.Columns, fn func(*ReportRow) error) error {
	rows, err := l.store.read().QueryContext(ctx, `
		SELECT r.id, r.state, COALESCE(r.reason, ''), r.quoted, m.provider_id, m.status, m.price, m.parts, a.closed_at, `+contactColumn+`
		FROM batches b CROSS JOIN recipients r JOIN contacts k ON k.id = r.contact_id
		LEFT JOIN messages m ON m.recipient_id = r.id
		LEFT JOIN attempts a ON a.id = m.attempt_id
		WHERE b.id = $1 AND r.id BETWEEN b.first_id AND b.last_id AND r.batch_id = b.id ORDER BY r.id, m.attempt_id`, batch)
	if err != nil {
		return fmt.Errorf("reading batch %d: %w", batch, err)
	}
	defer rows.Close()
	var last *ReportRow
	for rows.Next() {
		var (
			r            = ReportRow{Batch: batch}
			pid, status  sql.NullString
			price, parts sql.NullInt64
			closed       sql.NullInt64
		)
		err := scanContact(rows, columns, &r.Contact, &r.Recipient, &r.State, &r.Reason, &r.Quoted, &pid, &status, &price, &parts, &closed)
		if err != nil {
			return fmt.Errorf("reading batch %d: %w", batch, err)
		}
		r.ProviderID, r.Status, r.Price, r.Parts = pid.String, status.String, campaign.Micros(price.Int64), int(parts.Int64)
		r.At = fromMillis(closed.Int64)
		if status.Valid {
			r.Attempts = 1
		}
		if last != nil && last.Recipient == r.Recipient {
			r.Attempts += last.Attempts
			last = &r
			continue
		}
		if last != nil {
			if err := fn(last); err != nil {
				return err
			}
		}
		last = &r
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading batch %d: %w", batch, err)
	}
	if last != nil {
		return fn(last)
	}
	return nil
}

// NextDue is when the earliest batch of a campaign that waits may leave; zero
// when none waits.
func (l *Ledger) NextDue(ctx context.Context, id int64) (time.Time, error) {
	var due sql.NullInt64
	err := l.store.read().QueryRowContext(ctx, `SELECT min(due_at) FROM batches WHERE campaign_id = $1 AND state = 0`, id).Scan(&due)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading campaign %d: %w", id, err)
	}
	return fromMillis(due.Int64), nil
}

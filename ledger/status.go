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

	// Held of the accepted are with the provider still, which lets them go at
	// the campaign's hour; TooLate of them were to be cancelled there and could
	// not be. Neither counts for Total.
	Held    int `json:"held"`
	TooLate int `json:"too_late"`
}

// Left is how many may still be sent to.
func (c Counts) Left() int { return c.Pending + c.InFlight }

// Counts reads where a campaign's recipients stand at one moment.
func (l *Ledger) Counts(ctx context.Context, id int64) (Counts, error) {
	var (
		c    Counts
		held int64
	)
	err := l.store.read().QueryRowContext(ctx, `
		SELECT COALESCE(sum(pending), 0), COALESCE(sum(unknown), 0), COALESCE(sum(accepted), 0), COALESCE(sum(delivered), 0),
		       COALESCE(sum(undelivered), 0), COALESCE(sum(rejected), 0), COALESCE(sum(suppressed), 0), COALESCE(sum(cancelled), 0),
		       (SELECT COALESCE(sum(size), 0) FROM attempts WHERE campaign_id = $1 AND state = 0),
		       COALESCE((SELECT held_until FROM campaigns WHERE id = $1), 0), COALESCE((SELECT too_late FROM campaigns WHERE id = $1), 0)
		FROM batches WHERE campaign_id = $1`, id).
		Scan(&c.Pending, &c.Unknown, &c.Accepted, &c.Delivered, &c.Undelivered, &c.Rejected, &c.Suppressed, &c.Cancelled, &c.InFlight, &held, &c.TooLate)
	if err != nil {
		return Counts{}, fmt.Errorf("counting campaign %d: %w", id, err)
	}
	if held > 0 {
		now, err := l.Now(ctx)
		if err != nil {
			return Counts{}, err
		}
		if held > now.UnixMilli() {
			c.Held = max(0, c.Accepted-c.TooLate)
		}
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
	Price      campaign.Micros // of the newest message
	Charged    campaign.Micros // for all messages
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
	said, err := l.saidOf(ctx, batch)
	if err != nil {
		return err
	}
	rows, err := l.store.read().QueryContext(ctx, `
		SELECT r.id, r.state, COALESCE(r.reason, ''), r.quoted, `+contactColumn+`
		FROM batches b CROSS JOIN recipients r JOIN contacts k ON k.id = r.contact_id
		WHERE b.id = $1 AND r.id BETWEEN b.first_id AND b.last_id AND r.batch_id = b.id ORDER BY r.id`, batch)
	if err != nil {
		return fmt.Errorf("reading batch %d: %w", batch, err)
	}
	defer rows.Close()
	for rows.Next() {
		r := ReportRow{Batch: batch}
		if err := scanContact(rows, columns, &r.Contact, &r.Recipient, &r.State, &r.Reason, &r.Quoted); err != nil {
			return fmt.Errorf("reading batch %d: %w", batch, err)
		}
		if h, ok := said[r.Recipient]; ok {
			r.ProviderID, r.Status, r.Price, r.Parts = h.last.ProviderID, h.last.Status, h.last.Price, h.last.Parts
			r.At, r.Attempts, r.Charged = h.at, h.messages, h.charged
		}
		if err := fn(&r); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading batch %d: %w", batch, err)
	}
	return nil
}

// heard is what the provider said of a recipient over time.
type heard struct {
	last     Said
	at       time.Time // when the attempt was closed that last is about
	attempt  int64
	messages int // attempts of which it said something
	charged  campaign.Micros
}

// saidOf reads what was said of the recipients of a batch. The newest answer
// counts; what came later by another way, such as from history, counts more.
func (l *Ledger) saidOf(ctx context.Context, batch int64) (map[int64]heard, error) {
	all := map[int64]heard{}
	err := l.eachSaid(ctx, batch, func(recipient int64, s spoken) {
		h := all[recipient]
		if h.attempt != s.attempt {
			h.messages++
		} else { // an answer, and history on the same message, are one
			h.charged -= h.last.Price
		}
		h.charged += s.Price
		h.last, h.at, h.attempt = s.Said, fromMillis(s.closed), s.attempt
		all[recipient] = h
	})
	return all, err
}

// spoken is what was said of one message.
type spoken struct {
	attempt                   int64
	number                    int // of the attempt
	started, deadline, closed int64
	Said
}

// eachSaid hands what was said of the recipients of a batch, in it and in the
// batches that they came from, to fn: the answers in the order of the attempts,
// then what came by another way.
func (l *Ledger) eachSaid(ctx context.Context, batch int64, fn func(recipient int64, s spoken)) error {
	if err := eachAnswer(ctx, l.store.read(), batch, fn); err != nil {
		return err
	}
	single, err := l.store.read().QueryContext(ctx, `
		SELECT m.recipient_id, m.attempt_id, a.number, a.started_at, a.deadline, a.closed_at, m.provider_id, m.status, m.price, m.parts
		FROM batches b CROSS JOIN recipients r JOIN messages m ON m.recipient_id = r.id JOIN attempts a ON a.id = m.attempt_id
		WHERE b.id = $1 AND r.id BETWEEN b.first_id AND b.last_id AND r.batch_id = b.id ORDER BY m.recipient_id, m.attempt_id`, batch)
	if err != nil {
		return fmt.Errorf("reading what was said of batch %d: %w", batch, err)
	}
	defer single.Close()
	for single.Next() {
		var (
			s         spoken
			recipient int64
		)
		if err := single.Scan(&recipient, &s.attempt, &s.number, &s.started, &s.deadline, &s.closed, &s.ProviderID, &s.Status, &s.Price, &s.Parts); err != nil {
			return fmt.Errorf("reading what was said of batch %d: %w", batch, err)
		}
		fn(recipient, s)
	}
	if err := single.Err(); err != nil {
		return fmt.Errorf("reading what was said of batch %d: %w", batch, err)
	}
	return nil
}

// eachAnswer hands what was answered about the members of a batch, and of the
// batches that they came from, to fn, in the order of the attempts.
func eachAnswer(ctx context.Context, from execer, batch int64, fn func(recipient int64, s spoken)) error {
	rows, err := from.QueryContext(ctx, `
		WITH RECURSIVE line (id, parent_id) AS (
			SELECT id, parent_id FROM batches WHERE id = $1
			UNION SELECT b.id, b.parent_id FROM batches b JOIN line ON b.id = line.parent_id)
		SELECT a.id, a.number, a.started_at, a.deadline, a.closed_at, a.members, a.answer FROM attempts a JOIN line ON a.batch_id = line.id
		WHERE a.answer IS NOT NULL ORDER BY a.id`, batch)
	if err != nil {
		return fmt.Errorf("reading the answers of batch %d: %w", batch, err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			s            spoken
			cell, answer []byte
		)
		if err := rows.Scan(&s.attempt, &s.number, &s.started, &s.deadline, &s.closed, &cell, &answer); err != nil {
			return fmt.Errorf("reading the answers of batch %d: %w", batch, err)
		}
		members, err := decodeMembers(cell)
		if err == nil {
			err = unpackAnswer(answer, members, func(recipient int64, said Said) {
				s.Said = said
				fn(recipient, s)
			})
		}
		if err != nil {
			return fmt.Errorf("attempt %d: %w", s.attempt, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading the answers of batch %d: %w", batch, err)
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

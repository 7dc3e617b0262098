package ledger

import (
	"context"
	"fmt"
	"time"
)

// Span is a stretch of time.
type Span struct{ From, To time.Time }

// AttemptSpans says when the messages of a campaign may have left: from the
// beginning of each attempt to its deadline. Spans that are less than gap apart
// are joined; they come in order.
func (l *Ledger) AttemptSpans(ctx context.Context, id int64, gap time.Duration) ([]Span, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT started_at, deadline FROM attempts WHERE campaign_id = $1 ORDER BY started_at`, id)
	if err != nil {
		return nil, fmt.Errorf("reading the attempts of campaign %d: %w", id, err)
	}
	defer rows.Close()
	var all []Span
	for rows.Next() {
		var from, to int64
		if err := rows.Scan(&from, &to); err != nil {
			return nil, fmt.Errorf("reading the attempts of campaign %d: %w", id, err)
		}
		s := Span{fromMillis(from), fromMillis(max(from, to))}
		if n := len(all); n > 0 && !s.From.After(all[n-1].To.Add(gap)) {
			if s.To.After(all[n-1].To) {
				all[n-1].To = s.To
			}
			continue
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading the attempts of campaign %d: %w", id, err)
	}
	return all, nil
}

// RecipientRange is between which ids the recipients of a campaign lie, perhaps
// among those of others; 0, 0 when it has none.
func (l *Ledger) RecipientRange(ctx context.Context, id int64) (first, last int64, err error) {
	err = l.store.read().QueryRowContext(ctx, `SELECT COALESCE(min(first_id), 0), COALESCE(max(last_id), 0) FROM batches WHERE campaign_id = $1`, id).Scan(&first, &last)
	if err != nil {
		return 0, 0, fmt.Errorf("reading the batches of campaign %d: %w", id, err)
	}
	return first, last, nil
}

// InFlight lists the recipients of a campaign that open attempts carry, in no
// order.
func (l *Ledger) InFlight(ctx context.Context, id int64) ([]int64, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT members FROM attempts WHERE campaign_id = $1 AND state = 0`, id)
	if err != nil {
		return nil, fmt.Errorf("reading what is in flight of campaign %d: %w", id, err)
	}
	defer rows.Close()
	var all []int64
	for rows.Next() {
		var cell []byte
		if err := rows.Scan(&cell); err != nil {
			return nil, fmt.Errorf("reading what is in flight of campaign %d: %w", id, err)
		}
		members, err := decodeMembers(cell)
		if err != nil {
			return nil, fmt.Errorf("reading what is in flight of campaign %d: %w", id, err)
		}
		all = append(all, members...)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading what is in flight of campaign %d: %w", id, err)
	}
	return all, nil
}

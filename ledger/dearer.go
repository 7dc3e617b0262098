package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/postrider/postrider/campaign"
)

// priceReason begins the reason of every pause because of a price above the
// quoted one.
const priceReason = "price: "

// BudgetReason begins the reason of a pause because of the spend cap.
const BudgetReason = "budget: "

// dearer collects messages that cost more than they were quoted at.
type dearer struct {
	messages      int
	excess        campaign.Micros // in all
	price, quoted campaign.Micros // of the one with the largest excess
}

func (d *dearer) add(price, quoted campaign.Micros) {
	if price <= quoted {
		return
	}
	if d.messages == 0 || price-quoted > d.price-d.quoted {
		d.price, d.quoted = price, quoted
	}
	d.messages++
	d.excess += price - quoted
}

// countDearer adds what was too dear to the campaign's account and returns the
// reason for which the campaign pauses: somebody must agree to the new price.
// It is empty when somebody has, or when nothing was quoted.
func (l *Ledger) countDearer(ctx context.Context, tx *tx, id int64, d dearer) (string, error) {
	if d.messages == 0 {
		return "", nil
	}
	var (
		agreed   campaign.Micros
		currency string
	)
	err := tx.exec.QueryRowContext(ctx, `UPDATE campaigns SET dearer = dearer + $1, overspent = overspent + $2,
		excess = CASE WHEN excess < $3 THEN $3 ELSE excess END
		WHERE id = $4 AND basis IN ('exact', 'classes') RETURNING excess_agreed, currency`,
		d.messages, int64(d.excess), int64(d.price-d.quoted), id).Scan(&agreed, &currency)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("counting what was too dear: %w", err)
	}
	if d.price-d.quoted <= agreed {
		return "", nil
	}
	return fmt.Sprintf(priceReason+"the provider charged %s for a message quoted at %s; %d messages, %s %s too much; look at the report, then resume to accept the new price",
		d.price, d.quoted, d.messages, d.excess, currency), nil
}

// pauseIfLeft pauses a sending campaign of which something may still leave.
func (l *Ledger) pauseIfLeft(ctx context.Context, tx *tx, id int64, reason string) error {
	var left bool
	err := tx.exec.QueryRowContext(ctx, `SELECT state = 'sending' AND EXISTS (SELECT 1 FROM batches WHERE campaign_id = $1 AND state <> 2) FROM campaigns WHERE id = $1`, id).Scan(&left)
	if err != nil {
		return fmt.Errorf("asking what is left of campaign %d: %w", id, err)
	}
	if !left {
		return nil
	}
	return l.moveCampaign(ctx, tx, id, Move{To: campaign.Paused, Reason: reason, Actor: "postrider"})
}

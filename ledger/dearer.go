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
// It is empty when somebody has, or when nothing was quoted. A campaign that is
// paused for a price already, and learns of a higher one from what was in flight,
// says so in its reason: whoever resumes agrees to what stands there, and to no
// more.
func (l *Ledger) countDearer(ctx context.Context, tx *tx, id int64, d dearer) (string, error) {
	if d.messages == 0 {
		return "", nil
	}
	var (
		shown    campaign.Micros // by the reason of a campaign that is paused for a price
		agreed   campaign.Micros
		messages int
		excess   campaign.Micros
		currency string
	)
	err := tx.exec.QueryRowContext(ctx, `SELECT CASE WHEN state = 'paused' AND reason LIKE $1 THEN excess ELSE 0 END FROM campaigns WHERE id = $2`+l.store.forUpdate(),
		priceReason+"%", id).Scan(&shown)
	if err != nil {
		return "", fmt.Errorf("counting what was too dear: %w", err)
	}
	rise := d.price - d.quoted
	err = tx.exec.QueryRowContext(ctx, `UPDATE campaigns SET dearer = dearer + $1, overspent = overspent + $2, excess = $3
		WHERE id = $4 AND basis IN ('exact', 'classes') RETURNING excess_agreed, dearer, overspent, currency`,
		d.messages, int64(d.excess), int64(max(rise, shown)), id).Scan(&agreed, &messages, &excess, &currency)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("counting what was too dear: %w", err)
	}
	if rise <= agreed {
		return "", nil
	}
	reason := fmt.Sprintf(priceReason+"the provider charged %s for a message quoted at %s; %d messages, %s %s too much; look at the report, then resume to accept the new price",
		d.price, d.quoted, messages, excess, currency)
	if shown == 0 || rise <= shown {
		return reason, nil
	}
	now, err := l.now(ctx, tx)
	if err != nil {
		return "", err
	}
	if _, err := tx.exec.ExecContext(ctx, `UPDATE campaigns SET reason = $1 WHERE id = $2`, reason, id); err != nil {
		return "", fmt.Errorf("counting what was too dear: %w", err)
	}
	return reason, event(ctx, tx, id, now, "postrider", "price", reason)
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

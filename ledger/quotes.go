package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/crashpoint"
)

// QuoteLife is how long a campaign may start with a quote.
const QuoteLife = 24 * time.Hour

// Quote is the price of a whole campaign before it starts.
type Quote struct {
	At       time.Time
	Basis    string // campaign.BasisExact, BasisClasses or BasisNone
	Total    campaign.Micros
	Currency string
	Messages int
	Parts    int
	Detail   campaign.QuoteDetail
}

// StoredQuote is a quote as the ledger holds it.
type StoredQuote struct {
	Quote
	ID      int64
	Account string // the provider's user id that was quoted to
	Digest  string // of the content it was made of, see campaign.Content.PriceDigest
}

// PlannedBatch is a batch of a campaign that has not started with its
// recipients, to be priced.
type PlannedBatch struct {
	ID         int64
	FileKey    string
	Recipients []Recipient
}

// EachPlannedBatch hands every batch of a draft that has pending recipients to
// fn, in order.
func (l *Ledger) EachPlannedBatch(ctx context.Context, c *Campaign, fn func(PlannedBatch) error) error {
	after := int64(0)
	for {
		rows, err := l.store.read().QueryContext(ctx, `SELECT id FROM batches WHERE campaign_id = $1 AND id > $2 AND pending > 0 ORDER BY id LIMIT 500`, c.ID, after)
		if err != nil {
			return fmt.Errorf("reading the plan of campaign %d: %w", c.ID, err)
		}
		ids, err := scanIDs(rows)
		if err != nil {
			return fmt.Errorf("reading the plan of campaign %d: %w", c.ID, err)
		}
		if len(ids) == 0 {
			return nil
		}
		for _, id := range ids {
			b, err := l.PlannedBatch(ctx, c, id)
			if err != nil {
				return err
			}
			after = id
			if err := fn(b); err != nil {
				return err
			}
		}
	}
}

// PlannedBatch reads one batch of a campaign.
func (l *Ledger) PlannedBatch(ctx context.Context, c *Campaign, id int64) (PlannedBatch, error) {
	b := PlannedBatch{ID: id}
	err := l.store.read().QueryRowContext(ctx, `SELECT file_key FROM batches WHERE id = $1 AND campaign_id = $2`, id, c.ID).Scan(&b.FileKey)
	if err != nil {
		return b, fmt.Errorf("reading batch %d: %w", id, err)
	}
	b.Recipients, err = l.pending(ctx, &Claim{Batch: id, Campaign: c})
	return b, err
}

// PlannedFiles lists the files, or pairs of them, that the batches of a campaign
// carry, by their keys.
func (l *Ledger) PlannedFiles(ctx context.Context, c *Campaign) ([]string, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT DISTINCT file_key FROM batches WHERE campaign_id = $1 AND pending > 0 AND file_key <> '' ORDER BY file_key`, c.ID)
	if err != nil {
		return nil, fmt.Errorf("reading the files of campaign %d: %w", c.ID, err)
	}
	defer rows.Close()
	var keys []string
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, fmt.Errorf("reading the files of campaign %d: %w", c.ID, err)
		}
		keys = append(keys, key)
	}
	return keys, rows.Err()
}

// BatchPrices are the quoted prices of all pending recipients of a batch.
type BatchPrices struct {
	Batch      int64
	Recipients []int64 // ascending
	Prices     []campaign.Micros
}

// QuoteBatches records the quoted prices of several batches of a draft in one
// transaction.
func (l *Ledger) QuoteBatches(ctx context.Context, campaignID int64, batches []BatchPrices) error {
	for _, b := range batches {
		if len(b.Prices) != len(b.Recipients) {
			return fmt.Errorf("batch %d has %d recipients and %d prices were given", b.Batch, len(b.Recipients), len(b.Prices))
		}
	}
	return l.writeLoosely(ctx, crashpoint.QuoteBatch, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		if err := l.renewPlan(ctx, tx, campaignID, now); err != nil {
			return err
		}
		for i := range batches {
			if err := quoteBatch(ctx, tx, &batches[i]); err != nil {
				return fmt.Errorf("quoting batch %d: %w", batches[i].Batch, err)
			}
		}
		return nil
	})
}

// quoteBatch sets the most frequent price, as a rule everybody's, in one
// statement over the batch, and the others by id.
func quoteBatch(ctx context.Context, tx *tx, b *BatchPrices) error {
	var sum, most campaign.Micros
	groups := map[campaign.Micros][]int64{}
	for i, p := range b.Prices {
		sum += p
		groups[p] = append(groups[p], b.Recipients[i])
	}
	for p, ids := range groups {
		if n := len(groups[most]); len(ids) > n || len(ids) == n && p < most {
			most = p
		}
	}
	var first, last int64
	err := tx.exec.QueryRowContext(ctx, `UPDATE batches SET quoted = $1 WHERE id = $2 RETURNING first_id, last_id`, int64(sum), b.Batch).Scan(&first, &last)
	if err != nil {
		return err
	}
	if _, err := tx.exec.ExecContext(ctx, `UPDATE recipients SET quoted = $1 WHERE id BETWEEN $2 AND $3 AND batch_id = $4 AND state = 0`, int64(most), first, last, b.Batch); err != nil {
		return err
	}
	const chunk = 500
	for p, ids := range groups {
		if p == most {
			continue
		}
		for start := 0; start < len(ids); start += chunk {
			part := ids[start:min(start+chunk, len(ids))]
			args := append([]any{int64(p)}, asArgs(part)...)
			if _, err := tx.exec.ExecContext(ctx, `UPDATE recipients SET quoted = $1 WHERE id IN (`+placeholders(2, len(part))+`)`, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// SetQuote stores a draft's quote, returns the quote's id, and makes the
// campaign quoted: from here on it is whole and can be started.
func (l *Ledger) SetQuote(ctx context.Context, c *Campaign, q Quote, actor string) (id int64, err error) {
	detail, err := json.Marshal(q.Detail)
	if err != nil {
		return 0, fmt.Errorf("writing the quote: %w", err)
	}
	err = l.write(ctx, crashpoint.Quote, func(tx *tx) error {
		state, err := l.lockCampaign(ctx, tx, c.ID)
		if err != nil {
			return err
		}
		if state != campaign.Draft {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s, not a draft: it cannot be quoted", c.ID, state)
		}
		var whole bool
		if err := tx.exec.QueryRowContext(ctx, `SELECT plan <> '' FROM campaigns WHERE id = $1`, c.ID).Scan(&whole); err != nil {
			return fmt.Errorf("reading campaign %d: %w", c.ID, err)
		}
		if !whole {
			return campaign.Errorf(campaign.CodeConflict, "the plan of campaign %d is not whole: it cannot be quoted", c.ID)
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		err = tx.exec.QueryRowContext(ctx, `INSERT INTO quotes (campaign_id, at, basis, total, currency, messages, parts, provider_user, digest, detail)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id`,
			c.ID, now, q.Basis, int64(q.Total), q.Currency, q.Messages, q.Parts, c.Provider.User, c.Content.PriceDigest(), string(detail)).Scan(&id)
		if err != nil {
			return fmt.Errorf("storing the quote: %w", err)
		}
		_, err = tx.exec.ExecContext(ctx, `UPDATE campaigns SET quoted = $1, currency = CASE WHEN $2 = '' THEN currency ELSE $2 END, basis = $3 WHERE id = $4`,
			int64(q.Total), q.Currency, q.Basis, c.ID)
		if err != nil {
			return fmt.Errorf("storing the quote: %w", err)
		}
		return l.moveCampaign(ctx, tx, c.ID, Move{To: campaign.Quoted, Actor: actor})
	})
	return id, err
}

// Unquote makes a quoted campaign a draft again, so that it can be priced anew:
// half of a new quote is none.
func (l *Ledger) Unquote(ctx context.Context, id int64, actor string) error {
	return l.MoveCampaign(ctx, id, Move{To: campaign.Draft, Actor: actor, Reason: "to be priced anew"})
}

const latestQuote = `SELECT id, at, basis, total, currency, messages, parts, provider_user, digest, detail FROM quotes WHERE campaign_id = $1 ORDER BY id DESC LIMIT 1`

func scanQuote(row scanner) (*StoredQuote, error) {
	var (
		q      StoredQuote
		at     int64
		detail string
	)
	if err := row.Scan(&q.ID, &at, &q.Basis, &q.Total, &q.Currency, &q.Messages, &q.Parts, &q.Account, &q.Digest, &detail); err != nil {
		return nil, err
	}
	q.At = fromMillis(at)
	return &q, json.Unmarshal([]byte(detail), &q.Detail)
}

// LatestQuote reads a campaign's newest quote; nil when it has none.
func (l *Ledger) LatestQuote(ctx context.Context, campaignID int64) (*StoredQuote, error) {
	q, err := scanQuote(l.store.read().QueryRowContext(ctx, latestQuote, campaignID))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the quote of campaign %d: %w", campaignID, err)
	}
	return q, nil
}

// Why a campaign may not start. The error that holds one has CodeConflict, and
// says what to do.
var (
	// ErrQuote: the quote is missing, too old, or of something else.
	ErrQuote = errors.New("the campaign has no quote to start with")
	// ErrOverBudget: the quote exceeds the budget.
	ErrOverBudget = errors.New("the quote exceeds the budget")
)

// Approval is somebody's yes to a quoted campaign.
type Approval struct {
	// Quote is the id of the quote that was seen, and the only one that is
	// approved; 0: the newest, whatever it says.
	Quote int64
	// To is Sending, Scheduled or, as a rule, empty: its hour says which.
	// Sending is refused while the hour is to come. One that is Scheduled although
	// its hour has come starts with the next beat.
	To     campaign.State
	Actor  string
	Reason string // for the record; empty: the price
	// Run is the claimed run whose campaign it is: ErrLostLease when another maker
	// has it. Nil: of none.
	Run *Run
}

// Approve starts a quoted campaign, or lets it wait for its hour, as it stands
// in the ledger at that moment, and is the only way to do either: with a quote
// that is not older than QuoteLife, of the campaign's own content and account, and
// within its budget. Anything else is an Error with CodeConflict that says how to
// go on.
func (l *Ledger) Approve(ctx context.Context, id int64, a Approval) error {
	return l.write(ctx, crashpoint.MoveCampaign, func(tx *tx) error {
		from, err := l.lockCampaign(ctx, tx, id)
		if err != nil {
			return err
		}
		switch {
		case a.To != "" && a.To != campaign.Sending && a.To != campaign.Scheduled:
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is approved to be sent, now or at its hour, and not to become %s", id, a.To)
		case from == campaign.Draft && a.Quote != 0:
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is being priced anew, by somebody else: look at the new price (`postrider campaign price %d`), then start it", id, id)
		case from != campaign.Quoted:
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s: only one that is quoted can be approved", id, from)
		}
		if err := l.refuseQuarantined(ctx, tx); err != nil {
			return err
		}
		if a.Run != nil {
			if err := l.holdRun(ctx, tx, a.Run); err != nil {
				return err
			}
		}
		c, err := scanCampaign(tx.exec.QueryRowContext(ctx, `SELECT `+campaignColumns+` FROM campaigns c WHERE c.id = $1`, id))
		if err != nil {
			return fmt.Errorf("reading campaign %d: %w", id, err)
		}
		q, err := scanQuote(tx.exec.QueryRowContext(ctx, latestQuote, id))
		if errors.Is(err, sql.ErrNoRows) {
			q = nil
		} else if err != nil {
			return fmt.Errorf("reading the quote of campaign %d: %w", id, err)
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		if a.Quote != 0 && q != nil && q.ID != a.Quote {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d was priced anew meanwhile, at %s %s, and that is not the price that was approved: nothing was sent; start it again to see it and say yes to it: `postrider campaign start %d`",
				id, q.Total, q.Currency, id)
		}
		if err := refuseQuote(c, q, fromMillis(now)); err != nil {
			return err
		}
		if err := refuseSetAside(ctx, tx, c, q); err != nil {
			return err
		}
		to := a.To
		switch waits := millis(c.StartAt) > now; {
		case to == "" && waits:
			to = campaign.Scheduled
		case to == "":
			to = campaign.Sending
		case to == campaign.Sending && waits:
			return campaign.Errorf(campaign.CodeConflict, "campaign %d starts at %s, and not now: nothing was sent; start it again to let it wait for its hour", id, c.StartAt.Format(time.RFC3339))
		}
		reason := a.Reason
		if reason == "" {
			reason = fmt.Sprintf("approved at %s %s", q.Total, q.Currency)
		}
		return l.moveCampaign(ctx, tx, id, Move{To: to, Actor: a.Actor, Reason: reason})
	})
}

// refuseQuote says why a campaign may not start with a quote at a moment.
func refuseQuote(c *Campaign, q *StoredQuote, now time.Time) error {
	again := fmt.Sprintf("ask for its price again: `postrider campaign price %d`", c.ID)
	refuse := func(why error, format string, args ...any) error {
		return campaign.Errorf(campaign.CodeConflict, "campaign %d does not start: %s: %w", c.ID, fmt.Sprintf(format, args...), why)
	}
	if until := time.Unix(c.Content.Schedule, 0); c.Content.Schedule > 0 && !until.After(now) {
		return campaign.Errorf(campaign.CodeConflict, "the provider was to hold campaign %d until %s, which is over, and would send it at once: nothing was sent; cancel it, and make another with a later hour",
			c.ID, until.UTC().Format(time.RFC3339))
	}
	switch {
	case q == nil:
		return refuse(ErrQuote, "nobody has asked for its price; %s", again)
	case now.Sub(q.At) > QuoteLife:
		return refuse(ErrQuote, "its quote is %s old, and one is good for %s; %s", now.Sub(q.At).Round(time.Minute), QuoteLife, again)
	case q.Digest != c.Content.PriceDigest():
		return refuse(ErrQuote, "its content was changed after it was quoted; %s", again)
	case q.Account != c.Provider.User:
		return refuse(ErrQuote, "it was quoted to another account; %s", again)
	case c.Budget == nil:
		return nil
	case q.Basis == campaign.BasisNone:
		return refuse(ErrOverBudget, "it has a budget of %s %s and nobody has asked for its price; %s", *c.Budget, q.Currency, again)
	case q.Total > *c.Budget:
		return refuse(ErrOverBudget, "its price is %s %s and its budget %s%s; raise the budget, or send to fewer", q.Total, q.Currency, *c.Budget, lessThanOne(q, *c.Budget))
	}
	return nil
}

// refuseSetAside refuses a budget that pays for the quote, and not for what is
// reserved for the messages that the provider says it would refuse: they are not in
// the quote's total, and the campaign would pause before its last batches.
func refuseSetAside(ctx context.Context, tx *tx, c *Campaign, q *StoredQuote) error {
	if c.Budget == nil {
		return nil
	}
	var needed campaign.Micros
	err := tx.exec.QueryRowContext(ctx, `SELECT COALESCE(sum(quoted), 0) FROM batches WHERE campaign_id = $1 AND pending > 0`, c.ID).Scan(&needed)
	if err != nil {
		return fmt.Errorf("adding up what campaign %d reserves: %w", c.ID, err)
	}
	if needed <= *c.Budget {
		return nil
	}
	return campaign.Errorf(campaign.CodeConflict, "campaign %d does not start: its price is %s %s, and %s more is set aside for messages that the provider says it would refuse, should it take them after all: it needs a budget of %s and has %s; raise the budget, or leave those recipients out: %w",
		c.ID, q.Total, q.Currency, needed-q.Total, needed, *c.Budget, ErrOverBudget)
}

// lessThanOne adds that a budget does not even pay for a message.
func lessThanOne(q *StoredQuote, budget campaign.Micros) string {
	refused := 0
	for _, c := range q.Detail.Countries {
		for _, n := range c.Refusals {
			refused += n
		}
	}
	if n := campaign.Micros(q.Messages - refused); n > 0 && budget < q.Total/n {
		return fmt.Sprintf(", less than one message costs (%s on average)", q.Total/n)
	}
	return ""
}

package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/crashpoint"
)

// Campaign is a campaign as the ledger holds it.
type Campaign struct {
	ID       int64
	Name     string
	Channel  campaign.Channel
	State    campaign.State
	Reason   string // why it stands where it stands; may be empty
	ListID   int64
	Content  campaign.Content // as approved
	Digest   string           // of audience, content and sender
	Provider Provider
	Currency string
	StartAt  time.Time // zero: as soon as approved
	Timing   campaign.Timing
	Budget   *campaign.Micros
	Quoted   campaign.Micros
	Reserved campaign.Micros
	Spent    campaign.Micros
	Basis    string // of the quote; "" before there is one
	// Dearer counts the messages that cost more than they were quoted at, and
	// Overspent is by how much in all.
	Dearer    int
	Overspent campaign.Micros
	// ExcessAgreed is how much more than quoted a message may cost, as somebody
	// agreed who resumed the campaign.
	ExcessAgreed campaign.Micros
	Total        int
	Plan         campaign.PlanSummary
	Created      time.Time
	Started      time.Time
	Ended        time.Time
	// Kept: a draft or quoted campaign that stays until somebody starts or
	// cancels it, though nobody works on it.
	Kept bool
}

// Provider is the account a campaign speaks to, and the only one.
type Provider struct {
	URL  string // base URL, with its /v3
	User string // the provider's user id
}

// NewCampaign is what a campaign begins with.
type NewCampaign struct {
	Name     string // empty: made from channel and id
	Content  campaign.Content
	ListID   int64
	Digest   string
	Provider Provider
	Currency string
	StartAt  time.Time
	Timing   campaign.Timing
	Budget   *campaign.Micros
	Actor    string
	// Again allows a campaign although one with the same digest is unfinished or
	// younger than GuardTime.
	Again bool
	// Replaces is a campaign that the new one is to take the place of; 0: none.
	Replaces int64
}

// GuardTime is for how long after its beginning a campaign stands in the way
// of another with the same audience, content and sender.
const GuardTime = 24 * time.Hour

// plannerLease is how long a planner may be silent before its half plan is
// taken for dead.
const plannerLease = 20 * time.Second

// keptLease is the lease of a draft that nobody need work on: it never ends.
const keptLease = math.MaxInt64

// A SimilarError says that the same was sent, or is being sent, already. It has
// CodeExists.
type SimilarError struct {
	ID    int64
	Name  string
	State campaign.State
}

func (e *SimilarError) Error() string {
	return fmt.Sprintf("the same audience, content and sender are campaign %d %q already, which is %s", e.ID, e.Name, e.State)
}

// Unwrap returns the code.
func (e *SimilarError) Unwrap() error {
	return &campaign.Error{Code: campaign.CodeExists, Message: "sent already"}
}

// CreateCampaign writes a draft. A name that is taken is an Error with
// CodeExists, a timing that is none one with CodeInvalid.
func (l *Ledger) CreateCampaign(ctx context.Context, n NewCampaign) (*Campaign, error) {
	content, err := json.Marshal(n.Content)
	if err != nil {
		return nil, fmt.Errorf("writing the campaign's content: %w", err)
	}
	if err := n.Timing.Validate(); err != nil {
		return nil, err
	}
	timing, err := writeTiming(&n.Timing)
	if err != nil {
		return nil, err
	}
	var id int64
	err = l.write(ctx, crashpoint.CreateDraft, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		if err := l.holdList(ctx, tx, n.ListID); err != nil {
			return err
		}
		if !n.Again && n.Digest != "" {
			if err := l.refuseSimilar(ctx, tx, n.Digest, n.Replaces, now); err != nil {
				return err
			}
		}
		name := n.Name
		if name == "" {
			// A name nobody chose: unique for now, made readable below.
			name = "campaign " + strconv.FormatInt(now, 36) + n.Digest
		}
		err = tx.exec.QueryRowContext(ctx, `
			INSERT INTO campaigns (name, channel, state, list_id, content, digest, provider_url, provider_user,
			                       currency, start_at, budget, lease_until, created_at, timing, held_until)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (name) DO NOTHING RETURNING id`,
			name, string(n.Content.Channel), string(campaign.Draft), n.ListID, string(content), n.Digest,
			n.Provider.URL, n.Provider.User, n.Currency, millis(n.StartAt), nullMicros(n.Budget),
			now+plannerLease.Milliseconds(), now, timing, n.Content.Schedule*1000).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			var other int64
			if err := tx.exec.QueryRowContext(ctx, `SELECT id FROM campaigns WHERE name = $1`, name).Scan(&other); err != nil {
				return fmt.Errorf("looking for a campaign of that name: %w", err)
			}
			return campaign.Errorf(campaign.CodeExists, "a campaign named %q exists already (id %d): see `postrider campaign status %d`, or choose another --name", name, other, other)
		}
		if err != nil {
			return fmt.Errorf("writing the campaign: %w", err)
		}
		if n.Name == "" {
			if err := nameCampaign(ctx, tx, id, fmt.Sprintf("%s-%d", n.Content.Channel, id)); err != nil {
				return err
			}
		}
		return event(ctx, tx, id, now, n.Actor, "created", "")
	})
	if err != nil {
		return nil, err
	}
	return l.Campaign(ctx, id)
}

// holdList makes sure that a campaign's list is there, and stays until the
// write ends.
func (l *Ledger) holdList(ctx context.Context, tx *tx, id int64) error {
	var state string
	err := tx.exec.QueryRowContext(ctx, `SELECT state FROM lists WHERE id = $1`+l.store.forUpdate(), id).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) || err == nil && state != "ready" {
		return campaign.Errorf(campaign.CodeNotFound, "there is no list %d that is whole and current: `postrider list ls` shows them", id)
	}
	if err != nil {
		return fmt.Errorf("reading list %d: %w", id, err)
	}
	return nil
}

// nameCampaign gives a campaign a name that nobody chose; should somebody have
// chosen it for another, a longer one.
func nameCampaign(ctx context.Context, tx *tx, id int64, name string) error {
	for {
		err := oneRow(tx.exec.ExecContext(ctx, `UPDATE campaigns SET name = $1 WHERE id = $2
			AND NOT EXISTS (SELECT 1 FROM campaigns o WHERE o.name = $1)`, name, id))
		if !errors.Is(err, ErrLostLease) {
			if err != nil {
				return fmt.Errorf("naming the campaign: %w", err)
			}
			return nil
		}
		name += "-" + strconv.FormatInt(id, 10)
	}
}

const campaignColumns = `c.id, c.name, c.channel, c.state, c.reason, c.list_id, c.content, c.digest, c.provider_url, c.provider_user,
	c.currency, c.start_at, c.budget, c.quoted, c.reserved, c.spent, c.basis, c.dearer, c.overspent, c.excess_agreed,
	c.total, c.plan, c.created_at, c.started_at, c.ended_at, c.lease_until, c.timing`

type scanner interface{ Scan(dest ...any) error }

func scanCampaign(row scanner, more ...any) (*Campaign, error) {
	var (
		c                              Campaign
		content, plan, timing          string
		startAt, created, began, ended int64
		lease                          int64
		budget                         sql.NullInt64
	)
	dest := []any{&c.ID, &c.Name, &c.Channel, &c.State, &c.Reason, &c.ListID, &content, &c.Digest, &c.Provider.URL, &c.Provider.User,
		&c.Currency, &startAt, &budget, &c.Quoted, &c.Reserved, &c.Spent, &c.Basis, &c.Dearer, &c.Overspent, &c.ExcessAgreed,
		&c.Total, &plan, &created, &began, &ended, &lease, &timing}
	if err := row.Scan(append(dest, more...)...); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(content), &c.Content); err != nil {
		return nil, fmt.Errorf("reading the content of campaign %d: %w", c.ID, err)
	}
	if plan != "" {
		if err := json.Unmarshal([]byte(plan), &c.Plan); err != nil {
			return nil, fmt.Errorf("reading the plan of campaign %d: %w", c.ID, err)
		}
	}
	var err error
	if c.Timing, err = readTiming(timing); err != nil {
		return nil, fmt.Errorf("campaign %d: %w", c.ID, err)
	}
	if budget.Valid {
		c.Budget = new(campaign.Micros)
		*c.Budget = campaign.Micros(budget.Int64)
	}
	c.StartAt, c.Created, c.Started, c.Ended = fromMillis(startAt), fromMillis(created), fromMillis(began), fromMillis(ended)
	c.Kept = lease == keptLease
	return &c, nil
}

// Campaign reads one campaign. An id that is not there is an Error with
// CodeNotFound.
func (l *Ledger) Campaign(ctx context.Context, id int64) (*Campaign, error) {
	c, err := scanCampaign(l.store.read().QueryRowContext(ctx, `SELECT `+campaignColumns+` FROM campaigns c WHERE c.id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, campaign.Errorf(campaign.CodeNotFound, "there is no campaign %d: `postrider campaign ls` lists them", id)
	}
	if err != nil {
		return nil, fmt.Errorf("reading campaign %d: %w", id, err)
	}
	return c, nil
}

// FindCampaign reads a campaign by its id or its name.
func (l *Ledger) FindCampaign(ctx context.Context, ref string) (*Campaign, error) {
	var id int64
	err := l.store.read().QueryRowContext(ctx, `SELECT id FROM campaigns WHERE name = $1`, ref).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		if n, perr := strconv.ParseInt(strings.TrimPrefix(ref, "#"), 10, 64); perr == nil {
			return l.Campaign(ctx, n)
		}
		return nil, campaign.Errorf(campaign.CodeNotFound, "there is no campaign named %q: `postrider campaign ls` lists them", ref)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for campaign %q: %w", ref, err)
	}
	return l.Campaign(ctx, id)
}

// Campaigns lists every campaign, the newest first.
func (l *Ledger) Campaigns(ctx context.Context) ([]*Campaign, error) {
	return l.campaigns(ctx, `SELECT `+campaignColumns+` FROM campaigns c ORDER BY c.id DESC`)
}

func (l *Ledger) campaigns(ctx context.Context, query string, args ...any) ([]*Campaign, error) {
	rows, err := l.store.read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("reading campaigns: %w", err)
	}
	defer rows.Close()
	var all []*Campaign
	for rows.Next() {
		c, err := scanCampaign(rows)
		if err != nil {
			return nil, fmt.Errorf("reading campaigns: %w", err)
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// refuseSimilar looks for the same campaign in the transaction that creates it,
// so that of two sends at once only one begins.
func (l *Ledger) refuseSimilar(ctx context.Context, tx *tx, digest string, replaces, now int64) error {
	if err := l.store.serialise(ctx, tx, digest); err != nil {
		return fmt.Errorf("looking for the same campaign: %w", err)
	}
	var e SimilarError
	err := tx.exec.QueryRowContext(ctx, `SELECT c.id, c.name, c.state FROM campaigns c WHERE `+similar+` ORDER BY c.id DESC LIMIT 1`,
		digest, now-GuardTime.Milliseconds(), replaces).Scan(&e.ID, &e.Name, &e.State)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for the same campaign: %w", err)
	}
	return &e
}

// similar is true of a campaign that stands in the way of another with the
// digest $1, which is to take the place of campaign $3; $2 is the moment since
// when a finished one does.
const similar = `c.digest = $1 AND c.id <> $3 AND c.state NOT IN ('failed')
	  AND (c.state NOT IN ('completed', 'cancelled') OR c.created_at >= $2)
	  AND NOT (c.state = 'cancelled' AND c.started_at = 0)`

// SimilarCampaign finds a campaign with the same audience, content and sender
// that is unfinished, or was created after since; nil when there is none.
// Replaces is a campaign that does not count; 0: none.
func (l *Ledger) SimilarCampaign(ctx context.Context, digest string, replaces int64, since time.Time) (*Campaign, error) {
	all, err := l.campaigns(ctx, `SELECT `+campaignColumns+` FROM campaigns c
		WHERE `+similar+`
		ORDER BY c.id DESC LIMIT 1`, digest, since.UnixMilli(), replaces)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// Move brings a campaign into another state, if the table of legal moves
// allows it from where it stands at that moment.
type Move struct {
	To     campaign.State
	Reason string
	Actor  string // who: a person's login, or the part of Postrider
}

// MoveCampaign changes a campaign's state and records who did it and why. A
// move the table does not allow is an Error with CodeConflict. A move that ends
// the campaign does what Cancel does: nobody is left pending in it. Only the
// ledger itself moves a campaign to Completed, only SetQuote makes it quoted, and
// only Approve lets a quoted one start. In quarantine nothing starts.
func (l *Ledger) MoveCampaign(ctx context.Context, id int64, m Move) error {
	return l.write(ctx, crashpoint.MoveCampaign, func(tx *tx) error {
		from, err := l.lockCampaign(ctx, tx, id)
		if err != nil {
			return err
		}
		if !campaign.CanMove(from, m.To) || m.To == campaign.Completed || m.To == campaign.Quoted || from.Final() {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s and cannot become %s", id, from, m.To)
		}
		if from == campaign.Quoted && (m.To == campaign.Sending || m.To == campaign.Scheduled) {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is quoted, and starts by being approved only", id)
		}
		if m.To == campaign.Sending || m.To == campaign.Scheduled {
			if err := l.refuseQuarantined(ctx, tx); err != nil {
				return err
			}
		}
		switch m.To {
		case campaign.Cancelling, campaign.Cancelled, campaign.Failed:
			if from == campaign.Cancelling {
				return campaign.Errorf(campaign.CodeConflict, "campaign %d is cancelled when what is in flight, unknown or held by the provider has been found out", id)
			}
			return l.endCampaign(ctx, tx, id, m)
		}
		return l.moveCampaign(ctx, tx, id, m)
	})
}

// lockCampaign holds the campaign's row until the write ends.
func (l *Ledger) lockCampaign(ctx context.Context, tx *tx, id int64) (campaign.State, error) {
	var from campaign.State
	err := tx.exec.QueryRowContext(ctx, `SELECT state FROM campaigns WHERE id = $1`+l.store.forUpdate(), id).Scan(&from)
	if errors.Is(err, sql.ErrNoRows) {
		return "", campaign.Errorf(campaign.CodeNotFound, "there is no campaign %d", id)
	}
	if err != nil {
		return "", fmt.Errorf("reading campaign %d: %w", id, err)
	}
	return from, nil
}

// moveCampaign writes a move of a campaign whose row is locked, and who made it
// and why. Nothing else changes a campaign's state. A move that the table does
// not allow is a mistake of ours.
func (l *Ledger) moveCampaign(ctx context.Context, tx *tx, id int64, m Move) error {
	now, err := l.now(ctx, tx)
	if err != nil {
		return err
	}
	var from campaign.State
	if err := tx.exec.QueryRowContext(ctx, `SELECT state FROM campaigns WHERE id = $1`, id).Scan(&from); err != nil {
		return fmt.Errorf("reading campaign %d: %w", id, err)
	}
	if !campaign.CanMove(from, m.To) {
		return campaign.Errorf(campaign.CodeInternal, "campaign %d is %s and was to become %s, which no campaign does", id, from, m.To)
	}
	var started, ended int64
	if m.To == campaign.Sending {
		started = now
	}
	if m.To.Final() {
		ended = now
	}
	// Why it goes on stands in its events; the campaign itself tells why it
	// does not.
	reason := m.Reason
	if m.To == campaign.Sending || m.To == campaign.Scheduled || m.To == campaign.Completed {
		reason = ""
	}
	_, err = tx.exec.ExecContext(ctx, `UPDATE campaigns SET state = $1, reason = $2, ended_at = $3,
		started_at = CASE WHEN started_at = 0 THEN $4 ELSE started_at END WHERE id = $5`, string(m.To), reason, ended, started, id)
	if err != nil {
		return fmt.Errorf("moving campaign %d to %s: %w", id, m.To, err)
	}
	if err := event(ctx, tx, id, now, m.Actor, string(m.To), m.Reason); err != nil {
		return err
	}
	if m.To != campaign.Sending {
		return nil
	}
	// Tasks that came to a worker while the campaign stood still are gone.
	_, err = tx.exec.ExecContext(ctx, `UPDATE batches SET dispatched_at = 0 WHERE campaign_id = $1 AND state = $2 AND dispatched_at <> 0`, id, batchReady)
	if err != nil {
		return fmt.Errorf("moving campaign %d to %s: %w", id, m.To, err)
	}
	return l.finishIfDone(ctx, tx, id) // it may have nobody left to send to
}

func event(ctx context.Context, tx *tx, campaignID, now int64, actor, action, reason string) error {
	_, err := tx.exec.ExecContext(ctx, `INSERT INTO events (campaign_id, at, actor, action, reason) VALUES ($1, $2, $3, $4, $5)`,
		campaignID, now, actor, action, reason)
	if err != nil {
		return fmt.Errorf("recording who did what: %w", err)
	}
	return nil
}

// Event is one line of a campaign's history.
type Event struct {
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`
	Action string    `json:"action"`
	Reason string    `json:"reason,omitempty"`
}

// Events lists what happened to a campaign, in order.
func (l *Ledger) Events(ctx context.Context, id int64) ([]Event, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT at, actor, action, reason FROM events WHERE campaign_id = $1 ORDER BY id`, id)
	if err != nil {
		return nil, fmt.Errorf("reading the events of campaign %d: %w", id, err)
	}
	defer rows.Close()
	var all []Event
	for rows.Next() {
		var (
			e  Event
			at int64
		)
		if err := rows.Scan(&at, &e.Actor, &e.Action, &e.Reason); err != nil {
			return nil, fmt.Errorf("reading the events of campaign %d: %w", id, err)
		}
		e.At = fromMillis(at)
		all = append(all, e)
	}
	return all, rows.Err()
}

// SetBudget caps what a campaign may spend in all, from now on. One that was
// approved without a price has nothing that a cap could reserve: that is an Error
// with CodeConflict.
func (l *Ledger) SetBudget(ctx context.Context, id int64, budget campaign.Micros, actor string) error {
	return l.store.write(ctx, func(tx *tx) error {
		state, err := l.lockCampaign(ctx, tx, id)
		if err != nil {
			return err
		}
		var basis string
		if err := tx.exec.QueryRowContext(ctx, `SELECT basis FROM campaigns WHERE id = $1`, id).Scan(&basis); err != nil {
			return fmt.Errorf("reading campaign %d: %w", id, err)
		}
		// Before it is approved its price can still be asked for, and must be.
		if basis == campaign.BasisNone && state != campaign.Draft && state != campaign.Quoted {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d was approved without asking for its price, so that nothing is known to be set aside for a message, and no budget would hold: leave it without one, or cancel it and make it anew", id)
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		if _, err := tx.exec.ExecContext(ctx, `UPDATE campaigns SET budget = $1 WHERE id = $2`, int64(budget), id); err != nil {
			return fmt.Errorf("setting the budget of campaign %d: %w", id, err)
		}
		return event(ctx, tx, id, now, actor, "budget", budget.String())
	})
}

// Resume lets a paused campaign send again, or wait again for its hour. A
// campaign that the refusal brake had paused, or that was too late for the hour
// until which the provider was to hold it, is not paused for it again: somebody has
// looked. One that was paused since a price was above the quoted one goes on at
// the price that its reason tells.
func (l *Ledger) Resume(ctx context.Context, id int64, actor string) error {
	return l.store.write(ctx, func(tx *tx) error {
		from, err := l.lockCampaign(ctx, tx, id)
		if err != nil {
			return err
		}
		if from != campaign.Paused {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s, not paused: there is nothing to resume", id, from)
		}
		if err := l.refuseQuarantined(ctx, tx); err != nil {
			return err
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		var startAt int64
		err = tx.exec.QueryRowContext(ctx, `UPDATE campaigns SET answers = CASE WHEN reason LIKE $1 THEN $2 ELSE answers END,
			held_until = CASE WHEN reason LIKE $3 THEN 0 ELSE held_until END,
			excess_agreed = CASE WHEN reason LIKE $4 AND excess > excess_agreed THEN excess ELSE excess_agreed END WHERE id = $5 RETURNING start_at`,
			refusalsReason+"%", brakeAnswers, lateReason+"%", priceReason+"%", id).Scan(&startAt)
		if err != nil {
			return fmt.Errorf("resuming campaign %d: %w", id, err)
		}
		to := campaign.Sending
		if startAt > now {
			to = campaign.Scheduled
		}
		return l.moveCampaign(ctx, tx, id, Move{To: to, Actor: actor, Reason: "resumed"})
	})
}

// ReplaceCampaign lets a planned draft take the place, and the name, of a
// campaign that has not started, which is cancelled; the draft is kept. One that
// has started meanwhile is an Error with CodeConflict, and nothing changes.
func (l *Ledger) ReplaceCampaign(ctx context.Context, old, draft int64, actor string) error {
	return l.store.write(ctx, func(tx *tx) error {
		from, err := l.lockCampaign(ctx, tx, old)
		if err != nil {
			return err
		}
		var (
			name    string
			started int64
		)
		if err := tx.exec.QueryRowContext(ctx, `SELECT name, started_at FROM campaigns WHERE id = $1`, old).Scan(&name, &started); err != nil {
			return fmt.Errorf("reading campaign %d: %w", old, err)
		}
		if started != 0 || from.Final() || from == campaign.Cancelling {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s: only what has not started can be replaced", old, from)
		}
		m := Move{To: campaign.Cancelled, Actor: actor, Reason: fmt.Sprintf("replaced by campaign %d", draft)}
		if !campaign.CanMove(from, m.To) { // paused before its hour
			m.To = campaign.Cancelling
		}
		if err := l.endCampaign(ctx, tx, old, m); err != nil {
			return err
		}
		if err := nameCampaign(ctx, tx, old, name+" (replaced)"); err != nil {
			return err
		}
		err = oneRow(tx.exec.ExecContext(ctx, `UPDATE campaigns SET name = $1, lease_until = $2 WHERE id = $3 AND state = 'draft' AND plan <> ''`, name, int64(keptLease), draft))
		if errors.Is(err, ErrLostLease) {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is no planned draft any more", draft)
		}
		return err
	})
}

// StartDue sends every scheduled campaign whose hour has come, and returns
// their ids. One that is later than its limit allows, since nobody was running,
// is paused with the reason instead, and waits for a person: nobody in it is
// lost, and nobody gets at night what was meant for the morning. In quarantine
// no hour comes. One that cannot be started stays scheduled and keeps no other from
// starting: the errors come together at the end.
func (l *Ledger) StartDue(ctx context.Context) (started, late []int64, err error) {
	now, err := l.Now(ctx)
	if err != nil {
		return nil, nil, err
	}
	rows, err := l.store.read().QueryContext(ctx, `SELECT id FROM campaigns WHERE state = 'scheduled' AND start_at <= $1 AND (SELECT quarantine FROM ledger) = '' ORDER BY start_at, id`, now.UnixMilli())
	if err != nil {
		return nil, nil, fmt.Errorf("looking for campaigns that are due: %w", err)
	}
	ids, err := scanIDs(rows)
	if err != nil {
		return nil, nil, fmt.Errorf("looking for campaigns that are due: %w", err)
	}
	for _, id := range ids {
		crashpoint.Here(crashpoint.StartDueBefore)
		to, failed := l.startDue(ctx, id)
		if failed != nil {
			err = errors.Join(err, failed)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		switch to {
		case campaign.Sending:
			started = append(started, id)
		case campaign.Paused:
			late = append(late, id)
		default:
			continue // somebody was quicker
		}
		crashpoint.Here(crashpoint.StartDueAfter)
	}
	return started, late, err
}

// startDue starts a campaign, or pauses it when it is too late, and returns
// where it went: nowhere when it is not due after all.
func (l *Ledger) startDue(ctx context.Context, id int64) (to campaign.State, err error) {
	err = l.write(ctx, crashpoint.MoveCampaign, func(tx *tx) error {
		to = ""
		from, err := l.lockCampaign(ctx, tx, id)
		if err != nil {
			return err
		}
		var (
			startAt, approved int64
			cell              string
			quarantined       bool
		)
		err = tx.exec.QueryRowContext(ctx, `SELECT start_at, timing, (SELECT COALESCE(max(at), 0) FROM events WHERE campaign_id = $1 AND action = 'scheduled'),
			(SELECT quarantine FROM ledger) <> '' FROM campaigns WHERE id = $1`, id).Scan(&startAt, &cell, &approved, &quarantined)
		if err != nil {
			return fmt.Errorf("reading campaign %d: %w", id, err)
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		if from != campaign.Scheduled || startAt > now || quarantined {
			return nil
		}
		timing, err := readTiming(cell)
		if err != nil {
			return fmt.Errorf("campaign %d: %w", id, err)
		}
		m := Move{To: campaign.Sending, Actor: "scheduler", Reason: "its hour has come"}
		due := fromMillis(startAt)
		// Whoever approves a campaign after its hour wants it sent then.
		if timing.TooLate(fromMillis(max(startAt, approved)), fromMillis(now)) {
			m.To = campaign.Paused
			m.Reason = fmt.Sprintf(lateReason+"it was due at %s and nobody was running until %s, which is later than %s; resume to send it now, or reschedule or cancel it",
				due.Format(time.RFC3339), fromMillis(now).Format(time.RFC3339), timing.Limit())
		}
		to = m.To
		return l.moveCampaign(ctx, tx, id, m)
	})
	return to, err
}

func scanIDs(rows *sql.Rows) ([]int64, error) {
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

func nullMicros(m *campaign.Micros) any {
	if m == nil {
		return nil
	}
	return int64(*m)
}

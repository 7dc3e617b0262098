package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/crashpoint"
)

// The states of an attempt.
const (
	attemptOpen     = 0
	attemptAnswered = 1
	attemptNotSent  = 2
	attemptUnknown  = 3
	attemptRefused  = 4 // refused as a whole, and halved
)

// refusalsReason begins the reason of every pause by the refusal brake.
const refusalsReason = "refusals: "

// brakeAnswers is how many of a campaign's first answers the refusal brake
// looks at (docs/architecture.md).
const brakeAnswers = 1000

// streakBrake is after how many unknown attempts in a row a channel lets out
// one probe batch at a time.
const streakBrake = 3

// Attempt is one request about to leave, as the ledger recorded it beforehand.
type Attempt struct {
	ID       int64
	Batch    int64
	Campaign int64
	Number   int // of this attempt; part of every reference it carries
	Members  []int64
	Deadline time.Time // by the database's clock: nothing is written to the wire later
	Reserved campaign.Micros
	// OpenFor is how long after the beginning of BeginAttempt the campaign's send
	// window is surely open; 0: without end.
	OpenFor time.Duration

	claim *Claim
	whole bool // carries every pending recipient of its batch
}

// Begin is what BeginAttempt is given.
type Begin struct {
	// Within is how long after the commit the answer must be there: the time
	// to begin the post and the HTTP time-out.
	Within time.Duration
	// Members are the recipients whose messages were rendered, ascending.
	Members []int64
}

// Why an attempt may not begin, besides ErrQuarantined and ErrFormerID. The
// batch has been given back.
var (
	// ErrNotSending: the campaign was paused, cancelled or has ended.
	ErrNotSending = errors.New("the campaign is not sending")
	// ErrBudget: the attempt would exceed the spend cap; the campaign is now paused.
	ErrBudget = errors.New("the spend cap is reached")
	// ErrProbing: the channel waits for the answer of a probe batch.
	ErrProbing = errors.New("the channel waits for the answer to a probe")
	// ErrStopped: its recipients were sent to before, and resends on the channel
	// wait until a person has looked at the duplicates.
	ErrStopped = errors.New("resends on the channel are stopped")
	// ErrLate: the provider was to hold its messages until an hour that has long
	// been over, and would send them at once; the campaign is now paused.
	ErrLate = errors.New("the hour until which the provider was to hold it is over")
	// ErrNobody: every recipient has opted out meanwhile.
	ErrNobody = errors.New("nobody is left in the batch")
	// ErrWindow: the send window is closed, or closes within PostWithin; the batch
	// is due when it opens.
	ErrWindow = errors.New("the send window is closed")
)

// BeginAttempt is the one transaction before a post: it locks the campaign,
// reads state, send window, suppression list and fence again, reserves the spend and writes
// the attempt with the recipients it really carries and its deadline.
// Recipients who have opted out meanwhile are suppressed and missing from the
// attempt's Members.
func (l *Ledger) BeginAttempt(ctx context.Context, cl *Claim, b Begin) (*Attempt, error) {
	var (
		a       *Attempt
		refused error // the transaction commits all the same
	)
	err := l.write(ctx, crashpoint.BeginAttempt, func(tx *tx) error {
		a, refused = nil, nil
		state, err := l.lockCampaign(ctx, tx, cl.Campaign.ID)
		if err != nil {
			return err
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		var (
			fence, until, attempts int64
			id, quarantine         string
			zone, timing           string
		)
		err = tx.exec.QueryRowContext(ctx, `SELECT fence, lease_until, attempts, (SELECT id FROM ledger), (SELECT quarantine FROM ledger),
			zone, (SELECT timing FROM campaigns c WHERE c.id = batches.campaign_id)
			FROM batches WHERE id = $1 AND state = 0`+l.store.forUpdate(), cl.Batch).Scan(&fence, &until, &attempts, &id, &quarantine, &zone, &timing)
		if errors.Is(err, sql.ErrNoRows) || err == nil && (fence != cl.Fence || until < now) {
			return ErrLostLease
		}
		if err != nil {
			return fmt.Errorf("reading batch %d: %w", cl.Batch, err)
		}
		if refused = l.mayLeave(id, quarantine); refused != nil {
			return giveBack(ctx, tx, cl, now+time.Minute.Milliseconds())
		}
		if state != campaign.Sending {
			refused = ErrNotSending
			return giveBack(ctx, tx, cl, now)
		}
		window, err := readLeaving(timing, zone, now)
		if err != nil {
			return fmt.Errorf("campaign %d: %w", cl.Campaign.ID, err)
		}
		if !window.open {
			refused = ErrWindow
			return giveBack(ctx, tx, cl, window.next)
		}
		if refused, err = l.heldBack(ctx, tx, cl); err != nil {
			return err
		} else if refused != nil {
			return giveBack(ctx, tx, cl, now+time.Second.Milliseconds())
		}
		if late, err := l.isLate(ctx, tx, cl.Campaign.ID, now); err != nil {
			return err
		} else if late {
			refused = ErrLate
			if err := giveBack(ctx, tx, cl, now); err != nil {
				return err
			}
			return l.moveCampaign(ctx, tx, cl.Campaign.ID, Move{To: campaign.Paused, Actor: "postrider", Reason: lateReason +
				"the provider was to hold the rest until an hour that is over, and would send it at once; resume lets it, cancel ends it"})
		}
		members, err := l.withoutOptedOut(ctx, tx, cl, b.Members)
		if err != nil {
			return err
		}
		if len(members) == 0 {
			refused = ErrNobody
			if pending, err := recount(ctx, tx, cl.Batch); err != nil {
				return err
			} else if pending > 0 {
				return giveBack(ctx, tx, cl, now)
			}
			if _, err := tx.exec.ExecContext(ctx, `UPDATE batches SET state = $1, lease_until = 0, lease_by = '' WHERE id = $2`, batchSettled, cl.Batch); err != nil {
				return fmt.Errorf("settling batch %d: %w", cl.Batch, err)
			}
			return l.finishIfDone(ctx, tx, cl.Campaign.ID)
		}
		var reserve campaign.Micros
		for _, p := range quotedPrices(cl, members) {
			reserve += p
		}
		ok, err := l.reserve(ctx, tx, cl.Campaign.ID, reserve, len(members))
		if err != nil {
			return err
		}
		if !ok {
			refused = ErrBudget
			if err := giveBack(ctx, tx, cl, now); err != nil {
				return err
			}
			return l.moveCampaign(ctx, tx, cl.Campaign.ID, Move{To: campaign.Paused, Actor: "postrider",
				Reason: BudgetReason + "the next batch would exceed the spend cap"})
		}
		a = &Attempt{
			Batch: cl.Batch, Campaign: cl.Campaign.ID, Number: int(attempts) + 1, Members: members, Reserved: reserve,
			Deadline: fromMillis(now + b.Within.Milliseconds()), OpenFor: window.left, claim: cl, whole: len(members) == len(b.Members) && len(b.Members) == len(cl.Recipients),
		}
		err = tx.exec.QueryRowContext(ctx, `
			INSERT INTO attempts (campaign_id, batch_id, channel, number, fence, worker, provider_url, provider_user, state, size, members, reserved, started_at, deadline)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id`,
			a.Campaign, a.Batch, string(cl.Campaign.Channel), a.Number, cl.Fence, cl.Worker, cl.Campaign.Provider.URL, cl.Campaign.Provider.User,
			attemptOpen, len(members), encodeMembers(members), int64(reserve), now, a.Deadline.UnixMilli()).Scan(&a.ID)
		if err != nil {
			return fmt.Errorf("recording the attempt: %w", err)
		}
		_, err = tx.exec.ExecContext(ctx, `UPDATE batches SET state = $1, attempts = $2 WHERE id = $3`, batchInFlight, a.Number, cl.Batch)
		if err != nil {
			return fmt.Errorf("marking batch %d as in flight: %w", cl.Batch, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a, refused
}

// lateReason begins the reason of every campaign that is paused since it is too
// late for what was meant.
const lateReason = "late: "

// isLate reports whether the provider was to hold a campaign's messages until an
// hour that is over for longer than the campaign's limit: nobody who chose that
// hour wants them sent now. A person who resumes the campaign does; see Resume.
func (l *Ledger) isLate(ctx context.Context, tx *tx, id, now int64) (bool, error) {
	var (
		until int64
		cell  string
	)
	if err := tx.exec.QueryRowContext(ctx, `SELECT held_until, timing FROM campaigns WHERE id = $1`, id).Scan(&until, &cell); err != nil {
		return false, fmt.Errorf("reading campaign %d: %w", id, err)
	}
	if until == 0 {
		return false, nil
	}
	timing, err := readTiming(cell)
	if err != nil {
		return false, fmt.Errorf("campaign %d: %w", id, err)
	}
	return timing.TooLate(fromMillis(until), fromMillis(now)), nil
}

// giveBack releases a claimed batch inside a write.
func giveBack(ctx context.Context, tx *tx, cl *Claim, dueAt int64) error {
	_, err := tx.exec.ExecContext(ctx, `UPDATE batches SET lease_until = 0, lease_by = '', dispatched_at = 0, due_at = $1 WHERE id = $2`, dueAt, cl.Batch)
	if err != nil {
		return fmt.Errorf("giving batch %d back: %w", cl.Batch, err)
	}
	return nil
}

// heldBack reports why the channel does not let this attempt out now: its brake
// waits for the answer to a probe, or its resends wait for a person. Nil when it
// may go.
func (l *Ledger) heldBack(ctx context.Context, tx *tx, cl *Claim) (why, err error) {
	var (
		streak  int
		stopped string
	)
	p := cl.Campaign.Provider
	err = tx.exec.QueryRowContext(ctx, `SELECT unknown_streak, stopped FROM channels WHERE provider_url = $1 AND provider_user = $2 AND channel = $3`+l.store.forUpdate(),
		p.URL, p.User, string(cl.Campaign.Channel)).Scan(&streak, &stopped)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the channel's brake: %w", err)
	case cl.Resend && stopped != "":
		return ErrStopped, nil
	case streak < streakBrake:
		return nil, nil
	}
	var open bool
	err = tx.exec.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM attempts WHERE state = 0 AND channel = $1 AND provider_url = $2 AND provider_user = $3)`,
		string(cl.Campaign.Channel), p.URL, p.User).Scan(&open)
	if err != nil {
		return nil, fmt.Errorf("looking for a probe under way: %w", err)
	}
	if open {
		return ErrProbing, nil
	}
	return nil, nil
}

// withoutOptedOut suppresses members who are on the suppression list now, and
// returns the others. Without an entry on the list that could matter it costs
// one look.
func (l *Ledger) withoutOptedOut(ctx context.Context, tx *tx, cl *Claim, members []int64) ([]int64, error) {
	kinds, err := optOutKinds(ctx, tx)
	if err != nil {
		return nil, err
	}
	out, err := l.optedOutMembers(ctx, tx, cl, members, kinds)
	if err != nil {
		return nil, fmt.Errorf("asking the suppression list: %w", err)
	}
	if len(out) == 0 {
		return members, nil
	}
	if err := setRecipients(ctx, tx, out, campaign.Suppressed, campaign.ReasonOptedOut, campaign.Pending); err != nil {
		return nil, err
	}
	gone := make(map[int64]bool, len(out))
	for _, id := range out {
		gone[id] = true
	}
	var left []int64
	for _, id := range members {
		if !gone[id] {
			left = append(left, id)
		}
	}
	if _, err := recount(ctx, tx, cl.Batch); err != nil {
		return nil, err
	}
	return left, nil
}

// optedOutMembers finds the members who are on the suppression list under any of
// the keys that their contacts have. Contacts never change, so that those of the
// claim are as good as reading them again.
func (l *Ledger) optedOutMembers(ctx context.Context, tx *tx, cl *Claim, members []int64, kinds campaign.OptOutKinds) ([]int64, error) {
	if kinds == 0 {
		return nil, nil
	}
	var (
		keys []campaign.OptOutKey
		own  []int // behind the keys of each member
		next int
	)
	for i := range cl.Recipients {
		if r := &cl.Recipients[i]; next < len(members) && members[next] == r.ID {
			keys = campaign.AppendOptOutKeys(keys, &r.Contact, cl.Campaign.Channel, kinds)
			own = append(own, len(keys))
			next++
		}
	}
	if next < len(members) {
		return nil, fmt.Errorf("a recipient of the attempt is none of the claimed batch %d", cl.Batch)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	barred, err := l.store.barred(ctx, tx, keys)
	if err != nil || len(barred) == 0 {
		return nil, err
	}
	var out []int64
	from := 0
	for i, to := range own {
		if slices.ContainsFunc(keys[from:to], func(k campaign.OptOutKey) bool { return barred[k] }) {
			out = append(out, members[i])
		}
		from = to
	}
	return out, nil
}

// quotedPrices are the quoted prices of the members, in their order.
func quotedPrices(cl *Claim, members []int64) []campaign.Micros {
	prices := make([]campaign.Micros, len(members))
	i := 0
	for _, r := range cl.Recipients {
		if i < len(members) && members[i] == r.ID {
			prices[i] = r.Quoted
			i++
		}
	}
	return prices
}

const reserveSpend = `UPDATE campaigns SET reserved = reserved + $1
	WHERE id = $2 AND (budget IS NULL OR spent + reserved + $1 + CASE WHEN excess_agreed = 0 THEN 0 ELSE excess_agreed *
		($3 + (SELECT COALESCE(sum(a.size), 0) FROM attempts a WHERE a.campaign_id = $2 AND a.state = 0)
		    + (SELECT COALESCE(sum(b.unknown), 0) FROM batches b WHERE b.campaign_id = $2 AND b.unknown > 0)) END <= budget)`

// reserve sets the quoted price of so many members aside for an attempt; false
// when the cap does not allow it. Where somebody has agreed to pay more than was
// quoted, the cap leaves room for that as well: for these members, and for
// everybody in flight or unknown.
func (l *Ledger) reserve(ctx context.Context, tx *tx, id int64, amount campaign.Micros, members int) (bool, error) {
	res, err := tx.exec.ExecContext(ctx, reserveSpend, int64(amount), id, int64(members))
	if err != nil {
		return false, fmt.Errorf("reserving the spend: %w", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// setRecipients moves recipients by id from one state to another; those that
// stand elsewhere stay as they are.
func setRecipients(ctx context.Context, tx *tx, ids []int64, to campaign.RecipientState, reason string, from ...campaign.RecipientState) error {
	states := make([]string, len(from))
	for i, s := range from {
		if !campaign.CanMoveRecipient(s, to) {
			return fmt.Errorf("a recipient cannot go from %s to %s", s, to)
		}
		states[i] = fmt.Sprint(int(s))
	}
	const chunk = 500
	for start := 0; start < len(ids); start += chunk {
		part := ids[start:min(start+chunk, len(ids))]
		args := []any{int(to), nullString(reason)}
		for _, id := range part {
			args = append(args, id)
		}
		_, err := tx.exec.ExecContext(ctx, `UPDATE recipients SET state = $1, reason = $2 WHERE id IN (`+placeholders(3, len(part))+`) AND state IN (`+strings.Join(states, ", ")+`)`, args...)
		if err != nil {
			return fmt.Errorf("moving recipients to %s: %w", to, err)
		}
	}
	return nil
}

// placeholders writes $first, $first+1, … n of them.
func placeholders(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", first+i)
	}
	return b.String()
}

func nullBytes(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

func nullString(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// SweepAttempts turns into unknown every open attempt whose worker's lease has
// run out: the worker died between the commit before the post and the record of
// the answer, or cannot reach the database. The settling time counts from the
// attempt's deadline. It returns how many.
//
// In quarantine it leaves them alone: nothing is found out then.
func (l *Ledger) SweepAttempts(ctx context.Context) (int, error) {
	now, err := l.Now(ctx)
	if err != nil {
		return 0, err
	}
	return l.sweep(ctx, `b.lease_until <= $1 AND (SELECT quarantine FROM ledger) = ''`, "the worker was lost before it recorded the answer", now.UnixMilli())
}

// sweep turns open attempts into unknown, 200 at most: those for which where,
// with args, is true.
func (l *Ledger) sweep(ctx context.Context, where, note string, args ...any) (int, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT a.id, a.batch_id, a.campaign_id, a.number, a.members, a.reserved, a.deadline
		FROM attempts a JOIN batches b ON b.id = a.batch_id
		WHERE a.state = 0 AND `+where+` LIMIT 200`, args...)
	if err != nil {
		return 0, fmt.Errorf("looking for attempts nobody answers for: %w", err)
	}
	var dead []*Attempt
	for rows.Next() {
		var (
			a       Attempt
			members []byte
			until   int64
		)
		if err := rows.Scan(&a.ID, &a.Batch, &a.Campaign, &a.Number, &members, &a.Reserved, &until); err != nil {
			return 0, errors.Join(err, rows.Close())
		}
		if a.Members, err = decodeMembers(members); err != nil {
			return 0, errors.Join(err, rows.Close())
		}
		a.Deadline = fromMillis(until)
		dead = append(dead, &a)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, fmt.Errorf("looking for attempts nobody answers for: %w", err)
	}
	n := 0
	for _, a := range dead {
		crashpoint.Here(crashpoint.SweepBefore)
		c, err := l.Campaign(ctx, a.Campaign)
		if err != nil {
			return n, err
		}
		a.claim = &Claim{Campaign: c}
		switch err := l.closeUnknown(ctx, a, note, a.Deadline); {
		case err == nil:
			crashpoint.Here(crashpoint.SweepAfter)
			n++
		case !errors.Is(err, ErrClosedAttempt):
			return n, err
		}
	}
	return n, nil
}

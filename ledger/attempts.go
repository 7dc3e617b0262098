package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
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

// Why an attempt may not begin. The batch has been given back.
var (
	// ErrNotSending: the campaign was paused, cancelled or has ended.
	ErrNotSending = errors.New("the campaign is not sending")
	// ErrBudget: the attempt would exceed the spend cap; the campaign is now paused.
	ErrBudget = errors.New("the spend cap is reached")
	// ErrProbing: the channel waits for the answer of a probe batch.
	ErrProbing = errors.New("the channel waits for the answer to a probe")
	// ErrNobody: every recipient has opted out meanwhile.
	ErrNobody = errors.New("nobody is left in the batch")
)

// BeginAttempt is the one transaction before a post: it locks the campaign,
// reads state, suppression list and fence again, reserves the spend and writes
// the attempt with the recipients it really carries and its deadline.
// Recipients who have opted out meanwhile are suppressed and missing from the
// attempt's Members.
func (l *Ledger) BeginAttempt(ctx context.Context, cl *Claim, b Begin) (*Attempt, error) {
	var (
		a       *Attempt
		refused error // the transaction commits all the same
	)
	err := l.store.write(ctx, func(tx *tx) error {
		a, refused = nil, nil
		state, err := l.lockCampaign(ctx, tx, cl.Campaign.ID)
		if err != nil {
			return err
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		var fence, until, attempts int64
		err = tx.exec.QueryRowContext(ctx, `SELECT fence, lease_until, attempts FROM batches WHERE id = $1 AND state = 0`+l.store.forUpdate(), cl.Batch).Scan(&fence, &until, &attempts)
		if errors.Is(err, sql.ErrNoRows) || err == nil && (fence != cl.Fence || until < now) {
			return ErrLostLease
		}
		if err != nil {
			return fmt.Errorf("reading batch %d: %w", cl.Batch, err)
		}
		if state != campaign.Sending {
			refused = ErrNotSending
			return giveBack(ctx, tx, cl, now)
		}
		if probing, err := l.mustProbe(ctx, tx, cl); err != nil {
			return err
		} else if probing {
			refused = ErrProbing
			return giveBack(ctx, tx, cl, now+time.Second.Milliseconds())
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
		reserve := quotedFor(cl, members)
		ok, err := l.reserve(ctx, tx, cl.Campaign.ID, reserve)
		if err != nil {
			return err
		}
		if !ok {
			refused = ErrBudget
			if err := giveBack(ctx, tx, cl, now); err != nil {
				return err
			}
			return l.moveCampaign(ctx, tx, cl.Campaign.ID, Move{To: campaign.Paused, Actor: "postrider",
				Reason: "budget: the next batch would exceed the spend cap"})
		}
		a = &Attempt{
			Batch: cl.Batch, Campaign: cl.Campaign.ID, Number: int(attempts) + 1, Members: members, Reserved: reserve,
			Deadline: fromMillis(now + b.Within.Milliseconds()), claim: cl, whole: len(members) == len(b.Members) && len(b.Members) == len(cl.Recipients),
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

// giveBack releases a claimed batch inside a write.
func giveBack(ctx context.Context, tx *tx, cl *Claim, dueAt int64) error {
	_, err := tx.exec.ExecContext(ctx, `UPDATE batches SET lease_until = 0, lease_by = '', dispatched_at = 0, due_at = $1 WHERE id = $2`, dueAt, cl.Batch)
	if err != nil {
		return fmt.Errorf("giving batch %d back: %w", cl.Batch, err)
	}
	return nil
}

// mustProbe reports whether the channel's brake holds this attempt back.
func (l *Ledger) mustProbe(ctx context.Context, tx *tx, cl *Claim) (bool, error) {
	var streak int
	p := cl.Campaign.Provider
	err := tx.exec.QueryRowContext(ctx, `SELECT unknown_streak FROM channels WHERE provider_url = $1 AND provider_user = $2 AND channel = $3`+l.store.forUpdate(),
		p.URL, p.User, string(cl.Campaign.Channel)).Scan(&streak)
	if errors.Is(err, sql.ErrNoRows) || err == nil && streak < streakBrake {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the channel's brake: %w", err)
	}
	var open bool
	err = tx.exec.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM attempts WHERE state = 0 AND channel = $1 AND provider_url = $2 AND provider_user = $3)`,
		string(cl.Campaign.Channel), p.URL, p.User).Scan(&open)
	if err != nil {
		return false, fmt.Errorf("looking for a probe under way: %w", err)
	}
	return open, nil
}

// withoutOptedOut suppresses members who are on the suppression list now, and
// returns the others.
func (l *Ledger) withoutOptedOut(ctx context.Context, tx *tx, cl *Claim, members []int64) ([]int64, error) {
	if !cl.Campaign.Channel.IsPhone() {
		return members, nil
	}
	rows, err := tx.exec.QueryContext(ctx, `SELECT r.id FROM batches b CROSS JOIN recipients r
		WHERE EXISTS (SELECT 1 FROM opt_outs) AND b.id = $1
		  AND r.id BETWEEN b.first_id AND b.last_id AND r.batch_id = b.id AND r.state = 0
		  AND EXISTS (SELECT 1 FROM contacts k JOIN opt_outs o ON o.phone = k.phone WHERE k.id = r.contact_id)`, cl.Batch)
	if err != nil {
		return nil, fmt.Errorf("asking the suppression list: %w", err)
	}
	out, err := scanIDs(rows)
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

// quotedFor sums the quoted price of the members.
func quotedFor(cl *Claim, members []int64) campaign.Micros {
	var sum campaign.Micros
	i := 0
	for _, r := range cl.Recipients {
		if i < len(members) && members[i] == r.ID {
			sum += r.Quoted
			i++
		}
	}
	return sum
}

// reserve sets money aside for an attempt; false when the cap does not allow it.
func (l *Ledger) reserve(ctx context.Context, tx *tx, id int64, amount campaign.Micros) (bool, error) {
	res, err := tx.exec.ExecContext(ctx, `UPDATE campaigns SET reserved = reserved + $1
		WHERE id = $2 AND (budget IS NULL OR spent + reserved + $1 <= budget)`, int64(amount), id)
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

// Evidence says from where an outcome is known. The numbers are stored.
type Evidence int

// The kinds of evidence.
const (
	FromAnswer   Evidence = 1
	FromHistory  Evidence = 2
	FromReceipt  Evidence = 3
	FromOperator Evidence = 4
)

// Outcome is what became of one member of an attempt.
type Outcome struct {
	Recipient  int64
	State      campaign.RecipientState // Accepted, Rejected, Unknown, or Pending to be sent again
	Reason     string                  // the provider's status when it is not a success
	ProviderID string
	Status     string // as the provider spelt it
	Price      campaign.Micros
	Parts      int
}

// Answer is what a request came to.
type Answer struct {
	// Outcomes has exactly one entry for every member of the attempt, in the
	// same order.
	Outcomes []Outcome
	Currency string
	// Pause, when not empty, pauses the campaign with this reason.
	Pause string
	// RetryAfter is how long pending members wait at least.
	RetryAfter time.Duration
	// Brake is the share of refusals among the first 1,000 answers, 0 to 1,
	// beyond which the campaign is paused; 0 is no brake.
	Brake float64
}

// ErrClosedAttempt says that the attempt's outcome is on record already.
var ErrClosedAttempt = errors.New("the attempt is closed already")

// CloseAnswered records the outcomes of all members in one transaction.
func (l *Ledger) CloseAnswered(ctx context.Context, a *Attempt, ans Answer) error {
	if len(ans.Outcomes) != len(a.Members) {
		return fmt.Errorf("attempt %d carries %d recipients and %d outcomes were given", a.ID, len(a.Members), len(ans.Outcomes))
	}
	c := closing{to: attemptAnswered, answer: packAnswer(ans.Outcomes)}
	for _, o := range ans.Outcomes {
		if o.State == campaign.Unknown {
			c.unresolved = append(c.unresolved, o.Recipient)
		}
	}
	return l.store.write(ctx, func(tx *tx) error {
		state, now, late, err := l.closing(ctx, tx, a, c)
		if err != nil {
			return err
		}
		if err := l.writeOutcomes(ctx, tx, a, ans.Outcomes, late); err != nil {
			return err
		}
		var spent, kept campaign.Micros
		answers, refusals, unknown := 0, 0, 0
		for i, o := range ans.Outcomes {
			switch o.State {
			case campaign.Accepted:
				spent += o.Price
				answers++
			case campaign.Rejected:
				answers++
				refusals++
			case campaign.Unknown:
				kept += quotedOf(a, i)
				unknown++
			}
		}
		refusalBrake, err := l.settleSpend(ctx, tx, a, ans, spent, kept, answers, refusals)
		if err != nil {
			return err
		}
		// An answer that leaves everybody unknown says no more than none.
		if err := l.setStreak(ctx, tx, a.claim.Campaign, unknown == len(ans.Outcomes)); err != nil {
			return err
		}
		pause := ans.Pause
		if pause == "" {
			pause = refusalBrake
		}
		return l.reopen(ctx, tx, a, state, now+ans.RetryAfter.Milliseconds(), pause)
	})
}

func quotedOf(a *Attempt, i int) campaign.Micros {
	return quotedFor(a.claim, a.Members[i:i+1])
}

// writeOutcomes moves the members and writes what the provider said of them.
func (l *Ledger) writeOutcomes(ctx context.Context, tx *tx, a *Attempt, outcomes []Outcome, late bool) error {
	type group struct {
		state  campaign.RecipientState
		reason string
	}
	groups := map[group][]int64{}
	for i, o := range outcomes {
		if o.Recipient != a.Members[i] {
			return fmt.Errorf("attempt %d: outcome %d is of recipient %d, want %d", a.ID, i, o.Recipient, a.Members[i])
		}
		// Members of an open attempt are pending already.
		if o.State != campaign.Pending || late {
			g := group{o.State, o.Reason}
			groups[g] = append(groups[g], o.Recipient)
		}
	}
	// The rare groups by id; then the most frequent one, as a rule the
	// accepted, in one statement over what is left of the batch.
	var most group
	for g, ids := range groups {
		if len(ids) > len(groups[most]) {
			most = g
		}
	}
	left := len(outcomes) // of the batch's pending recipients, once the rare groups have moved
	for g, ids := range groups {
		if g == most {
			continue
		}
		if err := setRecipients(ctx, tx, ids, g.state, g.reason, cameFrom(g.state)...); err != nil {
			return err
		}
		left -= len(ids)
	}
	switch ids := groups[most]; {
	case len(ids) == 0:
		return nil
	case a.whole && !late && len(ids) == left:
		_, err := tx.exec.ExecContext(ctx, `UPDATE recipients SET state = $1, reason = $2
			WHERE id BETWEEN (SELECT first_id FROM batches WHERE id = $3) AND (SELECT last_id FROM batches WHERE id = $3)
			  AND batch_id = $3 AND state = 0`,
			int(most.state), nullString(most.reason), a.Batch)
		if err != nil {
			return fmt.Errorf("moving recipients to %s: %w", most.state, err)
		}
		return nil
	default:
		return setRecipients(ctx, tx, ids, most.state, most.reason, cameFrom(most.state)...)
	}
}

// cameFrom is where a member stands when its outcome is written: pending, or
// unknown when the answer came after the sweeper.
func cameFrom(to campaign.RecipientState) []campaign.RecipientState {
	switch to {
	case campaign.Unknown:
		return []campaign.RecipientState{campaign.Pending}
	case campaign.Pending:
		return []campaign.RecipientState{campaign.Unknown}
	}
	return []campaign.RecipientState{campaign.Pending, campaign.Unknown}
}

// settleSpend turns the attempt's reservation into what was really charged and
// returns the reason for which the refusal brake pauses, if it does.
func (l *Ledger) settleSpend(ctx context.Context, tx *tx, a *Attempt, ans Answer, spent, kept campaign.Micros, answers, refusals int) (string, error) {
	var seen, refused, total int
	err := tx.exec.QueryRowContext(ctx, `SELECT answers, refusals, total FROM campaigns WHERE id = $1`, a.Campaign).Scan(&seen, &refused, &total)
	if err != nil {
		return "", fmt.Errorf("reading campaign %d: %w", a.Campaign, err)
	}
	pause := ""
	counted, countedRefusals := 0, 0
	if room := brakeAnswers - seen; room > 0 && answers > 0 {
		counted, countedRefusals = answers, refusals
		if answers > room { // only the first of them count
			counted, countedRefusals = room, 0
			n := 0
			for _, o := range ans.Outcomes {
				if n == room {
					break
				}
				if o.State == campaign.Accepted || o.State == campaign.Rejected {
					n++
				}
				if o.State == campaign.Rejected {
					countedRefusals++
				}
			}
		}
		if n := a.claim.Campaign.Plan.Sendable; n > 0 {
			total = n
		}
		limit := ans.Brake * float64(min(brakeAnswers, max(total, 1)))
		if ans.Brake > 0 && float64(refused+countedRefusals) > limit {
			pause = fmt.Sprintf(refusalsReason+"%d of the first %d answers were refusals, more than %.0f %%", refused+countedRefusals, seen+counted, ans.Brake*100)
		}
	}
	_, err = tx.exec.ExecContext(ctx, `UPDATE campaigns SET spent = spent + $1, reserved = reserved - $2, answers = answers + $3, refusals = refusals + $4,
		currency = CASE WHEN currency = '' THEN $5 ELSE currency END WHERE id = $6`,
		int64(spent), int64(a.Reserved-kept), counted, countedRefusals, ans.Currency, a.Campaign)
	if err != nil {
		return "", fmt.Errorf("settling the spend: %w", err)
	}
	return pause, nil
}

// closing is the end of an attempt.
type closing struct {
	to         int
	note       string
	answer     []byte  // packed
	unresolved []int64 // members whose outcome is to be found out
}

// closing locks campaign and attempt and marks the attempt. An attempt that a
// sweeper found open and took for unknown may still be answered, late.
func (l *Ledger) closing(ctx context.Context, tx *tx, a *Attempt, c closing) (state campaign.State, now int64, late bool, err error) {
	if state, err = l.lockCampaign(ctx, tx, a.Campaign); err != nil {
		return "", 0, false, err
	}
	if now, err = l.now(ctx, tx); err != nil {
		return "", 0, false, err
	}
	var from int
	if err := tx.exec.QueryRowContext(ctx, `SELECT state FROM attempts WHERE id = $1`, a.ID).Scan(&from); err != nil {
		return "", 0, false, fmt.Errorf("reading attempt %d: %w", a.ID, err)
	}
	late = from == attemptUnknown && c.to == attemptAnswered
	if from != attemptOpen && !late {
		return "", 0, false, ErrClosedAttempt
	}
	_, err = tx.exec.ExecContext(ctx, `UPDATE attempts SET state = $1, closed_at = $2, note = $3, answer = $4, unresolved = $5, settles_from = $2 WHERE id = $6`,
		c.to, now, c.note, nullBytes(c.answer), nullBytes(encodeMembers(c.unresolved)), a.ID)
	if err != nil {
		return "", 0, false, fmt.Errorf("closing attempt %d: %w", a.ID, err)
	}
	return state, now, late, nil
}

// reopen recounts the batch of a closed attempt, and makes it ready again when
// somebody is pending. A pause reason, when not empty, pauses the campaign if
// there is anybody left to hold back.
func (l *Ledger) reopen(ctx context.Context, tx *tx, a *Attempt, state campaign.State, dueAt int64, pause string) error {
	pending, err := recount(ctx, tx, a.Batch)
	if err != nil {
		return err
	}
	to := batchSettled
	if pending > 0 {
		to = batchReady
	}
	_, err = tx.exec.ExecContext(ctx, `UPDATE batches SET state = $1, due_at = $2, dispatched_at = 0, lease_until = 0, lease_by = '' WHERE id = $3`, to, dueAt, a.Batch)
	if err != nil {
		return fmt.Errorf("giving batch %d back: %w", a.Batch, err)
	}
	switch {
	case state == campaign.Cancelling:
		if err := withdraw(ctx, tx, a.Campaign); err != nil {
			return err
		}
	case state == campaign.Sending && pause != "":
		var left bool
		err := tx.exec.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM batches WHERE campaign_id = $1 AND state <> 2)`, a.Campaign).Scan(&left)
		if err != nil {
			return fmt.Errorf("asking what is left of campaign %d: %w", a.Campaign, err)
		}
		if left {
			return l.moveCampaign(ctx, tx, a.Campaign, Move{To: campaign.Paused, Reason: pause, Actor: "postrider"})
		}
	}
	return l.finishIfDone(ctx, tx, a.Campaign)
}

// setStreak counts unknown attempts in a row on a channel of an account.
func (l *Ledger) setStreak(ctx context.Context, tx *tx, c *Campaign, unknown bool) error {
	if !unknown {
		_, err := tx.exec.ExecContext(ctx, `UPDATE channels SET unknown_streak = 0
			WHERE provider_url = $1 AND provider_user = $2 AND channel = $3 AND unknown_streak <> 0`, c.Provider.URL, c.Provider.User, string(c.Channel))
		if err != nil {
			return fmt.Errorf("releasing the channel's brake: %w", err)
		}
		return nil
	}
	_, err := tx.exec.ExecContext(ctx, `INSERT INTO channels (provider_url, provider_user, channel, unknown_streak) VALUES ($1, $2, $3, 1)
		ON CONFLICT (provider_url, provider_user, channel) DO UPDATE SET unknown_streak = channels.unknown_streak + 1`,
		c.Provider.URL, c.Provider.User, string(c.Channel))
	if err != nil {
		return fmt.Errorf("pulling the channel's brake: %w", err)
	}
	return nil
}

// CloseNotSent records that nothing of the request reached the provider: its
// members stay pending and may leave again after wait. A pause reason, when
// not empty, pauses the campaign.
func (l *Ledger) CloseNotSent(ctx context.Context, a *Attempt, note string, wait time.Duration, pause string) error {
	return l.store.write(ctx, func(tx *tx) error {
		state, now, _, err := l.closing(ctx, tx, a, closing{to: attemptNotSent, note: note})
		if err != nil {
			return err
		}
		if err := unreserve(ctx, tx, a.Campaign, a.Reserved); err != nil {
			return err
		}
		return l.reopen(ctx, tx, a, state, now+wait.Milliseconds(), pause)
	})
}

func unreserve(ctx context.Context, tx *tx, id int64, amount campaign.Micros) error {
	if _, err := tx.exec.ExecContext(ctx, `UPDATE campaigns SET reserved = reserved - $1 WHERE id = $2`, int64(amount), id); err != nil {
		return fmt.Errorf("giving a reservation back: %w", err)
	}
	return nil
}

// CloseUnknown records that nobody knows whether the request was accepted. Its
// members are unknown until they are found out; the reservation stays.
func (l *Ledger) CloseUnknown(ctx context.Context, a *Attempt, note string) error {
	return l.store.write(ctx, func(tx *tx) error {
		state, now, _, err := l.closing(ctx, tx, a, closing{to: attemptUnknown, note: note, unresolved: a.Members})
		if err != nil {
			return err
		}
		if err := setRecipients(ctx, tx, a.Members, campaign.Unknown, "", campaign.Pending); err != nil {
			return err
		}
		if err := l.setStreak(ctx, tx, a.claim.Campaign, true); err != nil {
			return err
		}
		return l.reopen(ctx, tx, a, state, now, "")
	})
}

// CloseRefused records that the provider refused the request as a whole (400
// or 413). A batch of several is halved into two new ones; a recipient who
// stands alone is rejected with the code, and counts for the refusal brake as
// in Answer.
func (l *Ledger) CloseRefused(ctx context.Context, a *Attempt, code, note string, brake float64) error {
	return l.store.write(ctx, func(tx *tx) error {
		state, now, _, err := l.closing(ctx, tx, a, closing{to: attemptRefused, note: note})
		if err != nil {
			return err
		}
		if err := l.setStreak(ctx, tx, a.claim.Campaign, false); err != nil {
			return err
		}
		if len(a.Members) == 1 {
			if err := setRecipients(ctx, tx, a.Members, campaign.Rejected, code, campaign.Pending); err != nil {
				return err
			}
			alone := Answer{Outcomes: []Outcome{{Recipient: a.Members[0], State: campaign.Rejected}}, Brake: brake}
			pause, err := l.settleSpend(ctx, tx, a, alone, 0, 0, 1, 1)
			if err != nil {
				return err
			}
			return l.reopen(ctx, tx, a, state, now, pause)
		}
		if err := unreserve(ctx, tx, a.Campaign, a.Reserved); err != nil {
			return err
		}
		first, err := takeIDs(ctx, tx, "batch", 2)
		if err != nil {
			return err
		}
		half := len(a.Members) / 2
		for i, members := range [][]int64{a.Members[:half], a.Members[half:]} {
			id := first + int64(i)
			_, err := tx.exec.ExecContext(ctx, `
				INSERT INTO batches (id, campaign_id, channel, file_key, state, due_at, attempts, first_id, last_id)
				SELECT $1, campaign_id, channel, file_key, $2, $3, attempts, $5, $6 FROM batches WHERE id = $4`,
				id, batchReady, now, a.Batch, members[0], members[len(members)-1])
			if err != nil {
				return fmt.Errorf("halving batch %d: %w", a.Batch, err)
			}
			if err := moveToBatch(ctx, tx, members, id); err != nil {
				return err
			}
			if _, err := recount(ctx, tx, id); err != nil {
				return err
			}
		}
		return l.reopen(ctx, tx, a, state, now, "")
	})
}

func moveToBatch(ctx context.Context, tx *tx, members []int64, batch int64) error {
	const chunk = 500
	for start := 0; start < len(members); start += chunk {
		part := members[start:min(start+chunk, len(members))]
		args := []any{batch}
		for _, id := range part {
			args = append(args, id)
		}
		if _, err := tx.exec.ExecContext(ctx, `UPDATE recipients SET batch_id = $1 WHERE id IN (`+placeholders(2, len(part))+`)`, args...); err != nil {
			return fmt.Errorf("moving recipients to batch %d: %w", batch, err)
		}
	}
	return nil
}

// SweepAttempts turns into unknown every open attempt whose deadline has
// passed and whose worker's lease has run out: the worker died between the
// commit before the post and the record of the answer. It returns how many.
func (l *Ledger) SweepAttempts(ctx context.Context) (int, error) {
	now, err := l.Now(ctx)
	if err != nil {
		return 0, err
	}
	rows, err := l.store.read().QueryContext(ctx, `SELECT a.id, a.batch_id, a.campaign_id, a.number, a.members, a.reserved
		FROM attempts a JOIN batches b ON b.id = a.batch_id
		WHERE a.state = 0 AND a.deadline <= $1 AND b.lease_until <= $1 LIMIT 200`, now.UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("looking for attempts nobody answers for: %w", err)
	}
	var dead []*Attempt
	for rows.Next() {
		var (
			a       Attempt
			members []byte
		)
		if err := rows.Scan(&a.ID, &a.Batch, &a.Campaign, &a.Number, &members, &a.Reserved); err != nil {
			return 0, errors.Join(err, rows.Close())
		}
		if a.Members, err = decodeMembers(members); err != nil {
			return 0, errors.Join(err, rows.Close())
		}
		dead = append(dead, &a)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, fmt.Errorf("looking for attempts nobody answers for: %w", err)
	}
	n := 0
	for _, a := range dead {
		c, err := l.Campaign(ctx, a.Campaign)
		if err != nil {
			return n, err
		}
		a.claim = &Claim{Campaign: c}
		switch err := l.CloseUnknown(ctx, a, "the worker was lost before it recorded the answer"); {
		case err == nil:
			n++
		case !errors.Is(err, ErrClosedAttempt):
			return n, err
		}
	}
	return n, nil
}

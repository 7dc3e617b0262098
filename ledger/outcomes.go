package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/crashpoint"
)

// Evidence says from where an outcome is known. The numbers are stored.
type Evidence int

// The kinds of evidence.
const (
	FromAnswer   Evidence = 1
	FromHistory  Evidence = 2
	FromReceipt  Evidence = 3
	FromOperator Evidence = 4
)

func (e Evidence) String() string {
	switch e {
	case FromAnswer:
		return "a late answer"
	case FromHistory:
		return "history"
	case FromReceipt:
		return "a receipt"
	case FromOperator:
		return "an operator"
	}
	return "evidence " + strconv.Itoa(int(e))
}

// Outcome is what became of one member of an attempt.
type Outcome struct {
	Recipient  int64
	State      campaign.RecipientState // Accepted, Rejected, Unknown, or Pending to be sent again
	Reason     string                  // the provider's status when it is not a success
	ProviderID string
	Status     string // as the provider spelt it
	Price      campaign.Micros
	Parts      int
	// Passing: a pending one was refused for a reason that passes, and goes into
	// a batch of its own, to be sent again later.
	Passing bool
}

// passingWait is how long recipients wait after a refusal that passes, longer
// after each.
const passingWait = 30 * time.Second

// Answer is what a request came to.
type Answer struct {
	// Outcomes has exactly one entry for every member of the attempt, in the
	// same order.
	Outcomes []Outcome
	Currency string
	// Pause, when not empty, pauses the campaign with this reason.
	Pause string
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
	return l.write(ctx, crashpoint.CloseAnswered, func(tx *tx) error {
		done, err := l.closing(ctx, tx, a, c)
		if err != nil {
			return err
		}
		if done.late {
			return l.answerLate(ctx, tx, a, ans)
		}
		if err := l.writeOutcomes(ctx, tx, a, ans.Outcomes); err != nil {
			return err
		}
		var (
			spent, kept                campaign.Micros
			answers, refusals, unknown int
			passing, duplicates        []int64
			above                      dearer
		)
		quoted := quotedPrices(a.claim, a.Members)
		for i, o := range ans.Outcomes {
			reached := done.reached(o.Recipient) // by an earlier attempt, as evidence has shown meanwhile
			switch {
			case o.State == campaign.Accepted:
				spent += o.Price
				above.add(o.Price, quoted[i])
				answers++
				if reached {
					duplicates = append(duplicates, o.Recipient)
				}
			case o.State == campaign.Rejected:
				answers++
				refusals++
			case o.State == campaign.Unknown:
				kept += quoted[i]
				unknown++
			case o.Passing && !reached:
				passing = append(passing, o.Recipient)
			}
		}
		refusalBrake, err := l.settleSpend(ctx, tx, a, ans, spent, kept, answers, refusals)
		if err != nil {
			return err
		}
		if len(passing) > 0 {
			wait := passingWait << min(a.claim.Tries, 6)
			groups := [][]int64{passing}
			if half := len(passing) / 2; half > 0 && len(passing) == len(ans.Outcomes) {
				groups = [][]int64{passing[:half], passing[half:]} // the request itself may have been too large
			}
			for _, members := range groups {
				if err := l.childBatch(ctx, tx, child{parent: a.Batch, members: members, dueAt: done.now + wait.Milliseconds(), tries: 1}); err != nil {
					return err
				}
			}
		}
		// An answer that leaves everybody unknown says no more than none. Channels
		// are locked after everything else, everywhere.
		if err := l.setStreak(ctx, tx, a.claim.Campaign, unknown == len(ans.Outcomes)); err != nil {
			return err
		}
		p := a.claim.Campaign.Provider
		e := &evidenced{id: a.ID, campaign: a.Campaign, batch: a.Batch, channel: a.claim.Campaign.Channel, provider: p}
		if err := l.recordDuplicates(ctx, tx, e, duplicates, done.now); err != nil {
			return err
		}
		tooDear, err := l.countDearer(ctx, tx, a.Campaign, above)
		if err != nil {
			return err
		}
		return l.reopen(ctx, tx, a, done.state, done.now, cmp.Or(ans.Pause, tooDear, refusalBrake))
	})
}

// answerLate records an answer that comes after its attempt was taken for
// unknown: evidence as any other, and better than most.
func (l *Ledger) answerLate(ctx context.Context, tx *tx, a *Attempt, ans Answer) error {
	var findings []Finding
	for _, o := range ans.Outcomes {
		if o.State != campaign.Unknown {
			findings = append(findings, Finding{Attempt: a.ID, Outcome: o})
		}
	}
	locked, err := l.lockAttempts(ctx, tx, []int64{a.ID})
	if err != nil {
		return err
	}
	for _, e := range locked {
		if _, err := l.applyEvidence(ctx, tx, e, FromAnswer, findings); err != nil {
			return err
		}
	}
	if err := l.setStreak(ctx, tx, a.claim.Campaign, len(findings) == 0); err != nil {
		return err
	}
	if ans.Pause != "" && len(locked) > 0 && locked[0].campaignState == campaign.Sending {
		if err := l.moveCampaign(ctx, tx, a.Campaign, Move{To: campaign.Paused, Reason: ans.Pause, Actor: "postrider"}); err != nil {
			return err
		}
	}
	return l.settleCampaigns(ctx, tx, locked)
}

// writeOutcomes moves the members to where the answer puts them. Those whom
// evidence has moved meanwhile stay where they are.
func (l *Ledger) writeOutcomes(ctx context.Context, tx *tx, a *Attempt, outcomes []Outcome) error {
	type group struct {
		state  campaign.RecipientState
		reason string
	}
	groups := map[group][]int64{}
	for i, o := range outcomes {
		if o.Recipient != a.Members[i] {
			return fmt.Errorf("attempt %d: outcome %d is of recipient %d, want %d", a.ID, i, o.Recipient, a.Members[i])
		}
		if o.State != campaign.Pending { // members of an open attempt are
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
		if err := setRecipients(ctx, tx, ids, g.state, g.reason, campaign.Pending); err != nil {
			return err
		}
		left -= len(ids)
	}
	switch ids := groups[most]; {
	case len(ids) == 0:
		return nil
	case a.whole && len(ids) == left:
		_, err := tx.exec.ExecContext(ctx, `UPDATE recipients SET state = $1, reason = $2
			WHERE id BETWEEN (SELECT first_id FROM batches WHERE id = $3) AND (SELECT last_id FROM batches WHERE id = $3)
			  AND batch_id = $3 AND state = 0`,
			int(most.state), nullString(most.reason), a.Batch)
		if err != nil {
			return fmt.Errorf("moving recipients to %s: %w", most.state, err)
		}
		return nil
	default:
		return setRecipients(ctx, tx, ids, most.state, most.reason, campaign.Pending)
	}
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
	// settlesFrom is from when the settling time counts, in milliseconds; 0: now.
	settlesFrom int64
}

// closed is an attempt whose end is being written.
type closed struct {
	state    campaign.State // of the campaign
	now      int64
	late     bool    // it had been taken for unknown
	accepted []int64 // members whom evidence of an earlier attempt has shown accepted meanwhile
}

func (c *closed) reached(recipient int64) bool {
	_, found := slices.BinarySearch(c.accepted, recipient)
	return found
}

// closing locks campaign and attempt and marks the attempt. An attempt that a
// sweeper found open and took for unknown may still be answered, late: then
// whom it has still to find stays as it is.
func (l *Ledger) closing(ctx context.Context, tx *tx, a *Attempt, c closing) (*closed, error) {
	var (
		done closed
		err  error
		from int
		cell []byte
	)
	if done.state, err = l.lockCampaign(ctx, tx, a.Campaign); err != nil {
		return nil, err
	}
	if done.now, err = l.now(ctx, tx); err != nil {
		return nil, err
	}
	if err := tx.exec.QueryRowContext(ctx, `SELECT state, unresolved FROM attempts WHERE id = $1`, a.ID).Scan(&from, &cell); err != nil {
		return nil, fmt.Errorf("reading attempt %d: %w", a.ID, err)
	}
	done.late = from == attemptUnknown && c.to == attemptAnswered
	switch {
	case done.late:
		_, err = tx.exec.ExecContext(ctx, `UPDATE attempts SET state = $1, closed_at = $2, answer = $3 WHERE id = $4`, c.to, done.now, nullBytes(c.answer), a.ID)
	case from == attemptOpen:
		if done.accepted, err = decodeMembers(cell); err != nil {
			return nil, fmt.Errorf("reading attempt %d: %w", a.ID, err)
		}
		from := c.settlesFrom
		if from == 0 {
			from = done.now
		}
		_, err = tx.exec.ExecContext(ctx, `UPDATE attempts SET state = $1, closed_at = $2, note = $3, answer = $4, unresolved = $5, settles_from = $6 WHERE id = $7`,
			c.to, done.now, c.note, nullBytes(c.answer), nullBytes(encodeMembers(c.unresolved)), from, a.ID)
	default:
		return nil, ErrClosedAttempt
	}
	if err != nil {
		return nil, fmt.Errorf("closing attempt %d: %w", a.ID, err)
	}
	return &done, nil
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
		if err := queueCancels(ctx, tx, a.Campaign, map[int64]bool{a.Batch: true}); err != nil {
			return err
		}
	case state == campaign.Sending && pause != "":
		if err := l.pauseIfLeft(ctx, tx, a.Campaign, pause); err != nil {
			return err
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
	return l.write(ctx, crashpoint.CloseNotSent, func(tx *tx) error {
		done, err := l.closing(ctx, tx, a, closing{to: attemptNotSent, note: note})
		if err != nil {
			return err
		}
		if err := unreserve(ctx, tx, a.Campaign, a.Reserved); err != nil {
			return err
		}
		return l.reopen(ctx, tx, a, done.state, done.now+wait.Milliseconds(), pause)
	})
}

func unreserve(ctx context.Context, tx *tx, id int64, amount campaign.Micros) error {
	if _, err := tx.exec.ExecContext(ctx, `UPDATE campaigns SET reserved = reserved - $1 WHERE id = $2`, int64(amount), id); err != nil {
		return fmt.Errorf("giving a reservation back: %w", err)
	}
	return nil
}

// CloseUnknown records that nobody knows whether the request was accepted. Its
// members are unknown until they are found out; the reservation stays. The
// settling time counts from now.
func (l *Ledger) CloseUnknown(ctx context.Context, a *Attempt, note string) error {
	return l.closeUnknown(ctx, a, note, time.Time{})
}

func (l *Ledger) closeUnknown(ctx context.Context, a *Attempt, note string, settlesFrom time.Time) error {
	c := closing{to: attemptUnknown, note: note, unresolved: a.Members}
	if !settlesFrom.IsZero() {
		c.settlesFrom = settlesFrom.UnixMilli()
	}
	return l.write(ctx, crashpoint.CloseUnknown, func(tx *tx) error {
		done, err := l.closing(ctx, tx, a, c)
		if err != nil {
			return err
		}
		if err := setRecipients(ctx, tx, a.Members, campaign.Unknown, "", campaign.Pending); err != nil {
			return err
		}
		if err := l.setStreak(ctx, tx, a.claim.Campaign, true); err != nil {
			return err
		}
		return l.reopen(ctx, tx, a, done.state, done.now, "")
	})
}

// CloseRefused records that the provider refused the request as a whole (400
// or 413). A batch of several is halved into two new ones; a recipient who
// stands alone is rejected with the code, and counts for the refusal brake as
// in Answer.
func (l *Ledger) CloseRefused(ctx context.Context, a *Attempt, code, note string, brake float64) error {
	return l.write(ctx, crashpoint.CloseRefused, func(tx *tx) error {
		done, err := l.closing(ctx, tx, a, closing{to: attemptRefused, note: note})
		if err != nil {
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
			if err := l.setStreak(ctx, tx, a.claim.Campaign, false); err != nil {
				return err
			}
			return l.reopen(ctx, tx, a, done.state, done.now, pause)
		}
		if err := unreserve(ctx, tx, a.Campaign, a.Reserved); err != nil {
			return err
		}
		half := len(a.Members) / 2
		for _, members := range [][]int64{a.Members[:half], a.Members[half:]} {
			if err := l.childBatch(ctx, tx, child{parent: a.Batch, members: members, dueAt: done.now}); err != nil {
				return err
			}
		}
		if err := l.setStreak(ctx, tx, a.claim.Campaign, false); err != nil {
			return err
		}
		return l.reopen(ctx, tx, a, done.state, done.now, "")
	})
}

func moveToBatch(ctx context.Context, tx *tx, members []int64, batch int64) error {
	for part := range slices.Chunk(members, 500) {
		args := append([]any{batch}, asArgs(part)...)
		if _, err := tx.exec.ExecContext(ctx, `UPDATE recipients SET batch_id = $1 WHERE id IN (`+placeholders(2, len(part))+`)`, args...); err != nil {
			return fmt.Errorf("moving recipients to batch %d: %w", batch, err)
		}
	}
	return nil
}

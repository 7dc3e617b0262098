package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/crashpoint"
)

// A campaign that is cancelled leaves three kinds of recipients behind. Whoever
// is pending is cancelled at once. Whoever is in flight or unknown is found out
// first, and is then one of the other two. Whoever was accepted and is held by the
// provider for its hour (held_until) is cancelled there, message by message: a row
// of cancels for each batch says that this is to be done, and goes only when each
// of its recipients is cancelled or was found too late. So whoever dies in the
// middle loses nothing: what was asked of the provider and is not on record is
// asked again, which does no harm, and history tells what the first asking did.

// Cancel stops a campaign for good: what has not left becomes cancelled at
// once, and what the provider holds for its hour is to be cancelled there. The
// campaign is cancelled when nothing is in flight, unknown or held any more, and
// cancelling until then. A completed campaign can be cancelled as long as the
// provider holds its messages.
func (l *Ledger) Cancel(ctx context.Context, id int64, actor, reason string) error {
	return l.write(ctx, crashpoint.CancelCampaign, func(tx *tx) error {
		from, err := l.lockCampaign(ctx, tx, id)
		if err != nil {
			return err
		}
		if from == campaign.Cancelling {
			return nil
		}
		if from == campaign.Completed {
			if err := l.refuseUnlessHeld(ctx, tx, id); err != nil {
				return err
			}
		}
		for _, to := range []campaign.State{campaign.Cancelling, campaign.Cancelled} {
			if campaign.CanMove(from, to) {
				return l.endCampaign(ctx, tx, id, Move{To: to, Reason: reason, Actor: actor})
			}
		}
		return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s: there is nothing left to cancel", id, from)
	})
}

// refuseUnlessHeld is the error of cancelling a campaign of which everything was
// sent and nothing is held.
func (l *Ledger) refuseUnlessHeld(ctx context.Context, tx *tx, id int64) error {
	now, err := l.now(ctx, tx)
	if err != nil {
		return err
	}
	var until, accepted int64
	err = tx.exec.QueryRowContext(ctx, `SELECT c.held_until, COALESCE((SELECT sum(b.accepted) FROM batches b WHERE b.campaign_id = c.id), 0) - c.too_late
		FROM campaigns c WHERE c.id = $1`, id).Scan(&until, &accepted)
	switch {
	case err != nil:
		return fmt.Errorf("asking what the provider holds of campaign %d: %w", id, err)
	case until == 0 || accepted <= 0:
		return campaign.Errorf(campaign.CodeConflict, "campaign %d is completed: there is nothing left to cancel", id)
	case until <= now:
		return campaign.Errorf(campaign.CodeConflict, "campaign %d is completed, and the provider let its messages go at %s: there is nothing left to cancel",
			id, fromMillis(until).Format(time.RFC3339))
	}
	return nil
}

// endCampaign withdraws what has not left, sees to it that what is held is
// cancelled, and writes a legal move to Cancelling, Cancelled or Failed.
func (l *Ledger) endCampaign(ctx context.Context, tx *tx, id int64, m Move) error {
	now, err := l.now(ctx, tx)
	if err != nil {
		return err
	}
	if err := l.moveCampaign(ctx, tx, id, m); err != nil {
		return err
	}
	if err := withdraw(ctx, tx, id); err != nil {
		return err
	}
	_, err = tx.exec.ExecContext(ctx, queueCancel+`c.id = $1 AND b.accepted > 0 AND c.held_until > $2`+queuedAlready, id, now)
	if err != nil {
		return fmt.Errorf("recording what is to be cancelled at the provider of campaign %d: %w", id, err)
	}
	return l.finishIfDone(ctx, tx, id)
}

// withdraw cancels every pending recipient that no open attempt carries.
func withdraw(ctx context.Context, tx *tx, id int64) error {
	_, err := tx.exec.ExecContext(ctx, `UPDATE recipients SET state = $1 WHERE state = $2
		AND id BETWEEN (SELECT min(first_id) FROM batches WHERE campaign_id = $3 AND state = $4)
		           AND (SELECT max(last_id) FROM batches WHERE campaign_id = $3 AND state = $4)
		AND batch_id IN (SELECT id FROM batches WHERE campaign_id = $3 AND state = $4)`,
		campaign.RecipientCancelled, campaign.Pending, id, batchReady)
	if err != nil {
		return fmt.Errorf("cancelling what has not left of campaign %d: %w", id, err)
	}
	_, err = tx.exec.ExecContext(ctx, `UPDATE batches SET cancelled = cancelled + pending, pending = 0, state = $1
		WHERE campaign_id = $2 AND state = $3`, batchSettled, id, batchReady)
	if err != nil {
		return fmt.Errorf("cancelling the batches of campaign %d: %w", id, err)
	}
	return nil
}

// queueCancel, with a condition and queuedAlready behind it, queues batches whose
// accepted recipients are all to be cancelled at the provider.
const (
	queueCancel = `INSERT INTO cancels (batch_id, campaign_id, provider_url, provider_user, channel, due_at)
		SELECT b.id, c.id, c.provider_url, c.provider_user, c.channel, c.held_until
		FROM batches b JOIN campaigns c ON c.id = b.campaign_id WHERE `
	queuedAlready = ` ON CONFLICT (batch_id) DO UPDATE SET only_ids = NULL, asked = 0, next_at = 0`
)

// queueCancels queues batches of a campaign that is being cancelled, or was, of
// which evidence has shown somebody accepted.
func queueCancels(ctx context.Context, tx *tx, id int64, batches map[int64]bool) error {
	for _, batch := range slices.Sorted(maps.Keys(batches)) {
		_, err := tx.exec.ExecContext(ctx, queueCancel+`c.id = $1 AND b.id = $2 AND b.accepted > 0 AND c.held_until > 0`+queuedAlready, id, batch)
		if err != nil {
			return fmt.Errorf("recording what is to be cancelled at the provider of batch %d: %w", batch, err)
		}
	}
	return nil
}

// FindRecipients finds the recipients of a campaign with a phone number. Those
// that were suppressed are left out.
func (l *Ledger) FindRecipients(ctx context.Context, id int64, phone string) ([]int64, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT r.id FROM batches b CROSS JOIN recipients r JOIN contacts k ON k.id = r.contact_id
		WHERE b.campaign_id = $1 AND r.id BETWEEN b.first_id AND b.last_id AND r.batch_id = b.id AND k.phone = $2 AND r.state <> $3 ORDER BY r.id`,
		id, phone, int(campaign.Suppressed))
	if err != nil {
		return nil, fmt.Errorf("looking for a recipient of campaign %d: %w", id, err)
	}
	return scanIDs(rows)
}

// OneCancelled says what became of a recipient who was to be cancelled.
type OneCancelled int

// What may become of it.
const (
	CancelledAtOnce   OneCancelled = 1 + iota // it had not left
	CancelsAtProvider                         // the provider holds its message, which is being cancelled there
	CancelledBefore
)

// CancelRecipient cancels one recipient of a campaign, which goes on. Whoever is
// pending is cancelled at once; whoever the provider holds for its hour is to be
// cancelled there. An Error with CodeNotFound when the campaign has no such
// recipient, with CodeConflict when it is in flight, unknown or sent.
func (l *Ledger) CancelRecipient(ctx context.Context, id, recipient int64, actor string) (OneCancelled, error) {
	var done OneCancelled
	err := l.store.write(ctx, func(tx *tx) error {
		done = 0
		state, err := l.lockCampaign(ctx, tx, id)
		if err != nil {
			return err
		}
		if state == campaign.Draft {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is being planned: wait until it is", id)
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		var (
			batch, until int64
			stands       campaign.RecipientState
			reason       string
			open         []byte
		)
		err = tx.exec.QueryRowContext(ctx, `SELECT r.batch_id, r.state, COALESCE(r.reason, ''), c.held_until,
			(SELECT a.members FROM attempts a WHERE a.batch_id = b.id AND a.state = 0)
			FROM recipients r JOIN batches b ON b.id = r.batch_id JOIN campaigns c ON c.id = b.campaign_id
			WHERE r.id = $1 AND c.id = $2`, recipient, id).Scan(&batch, &stands, &reason, &until, &open)
		if errors.Is(err, sql.ErrNoRows) {
			return campaign.Errorf(campaign.CodeNotFound, "campaign %d has no recipient %d: `postrider campaign report %d --csv FILE` numbers them", id, recipient, id)
		}
		if err != nil {
			return fmt.Errorf("reading recipient %d: %w", recipient, err)
		}
		flying, err := decodeMembers(open)
		if err != nil {
			return fmt.Errorf("reading recipient %d: %w", recipient, err)
		}
		_, inFlight := slices.BinarySearch(flying, recipient)
		switch {
		case stands == campaign.RecipientCancelled:
			done = CancelledBefore
			return nil
		case stands == campaign.Pending && inFlight:
			return campaign.Errorf(campaign.CodeConflict, "recipient %d is in flight just now: cancel it again in a moment", recipient)
		case stands == campaign.Unknown:
			return campaign.Errorf(campaign.CodeConflict, "what became of recipient %d is not known yet, and is being found out: `postrider campaign unknown %d` shows when; cancel it again then", recipient, id)
		case stands == campaign.Pending:
			done = CancelledAtOnce
			if err := setRecipients(ctx, tx, []int64{recipient}, campaign.RecipientCancelled, "", campaign.Pending); err != nil {
				return err
			}
			// Whoever has claimed the batch has rendered it with this one.
			if err := l.takeFromBatch(ctx, tx, batch, []int64{recipient}); err != nil {
				return err
			}
			if err := settleBatch(ctx, tx, batch); err != nil {
				return err
			}
		case strings.HasPrefix(reason, campaign.TooLate):
			return campaign.Errorf(campaign.CodeConflict, "recipient %d was to be cancelled at the provider before, and it was too late", recipient)
		case stands == campaign.Accepted && until > now:
			done = CancelsAtProvider
			if err := queueRecipients(ctx, tx, batch, []int64{recipient}); err != nil {
				return err
			}
		default:
			return campaign.Errorf(campaign.CodeConflict, "recipient %d is %s: there is nothing left to cancel", recipient, stands)
		}
		if err := event(ctx, tx, id, now, actor, "cancel one", fmt.Sprintf("recipient %d", recipient)); err != nil {
			return err
		}
		return l.finishIfDone(ctx, tx, id)
	})
	return done, err
}

// queueRecipients queues recipients of a batch to be cancelled at the provider.
func queueRecipients(ctx context.Context, tx *tx, batch int64, recipients []int64) error {
	var cell []byte
	err := tx.exec.QueryRowContext(ctx, `SELECT only_ids FROM cancels WHERE batch_id = $1`, batch).Scan(&cell)
	only := recipients
	switch {
	case err == nil && cell == nil:
		return nil // the whole batch is
	case err == nil:
		before, err := decodeMembers(cell)
		if err != nil {
			return fmt.Errorf("reading what is to be cancelled of batch %d: %w", batch, err)
		}
		only = append(before, recipients...)
	case !errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("reading what is to be cancelled of batch %d: %w", batch, err)
	}
	only = slices.Compact(slices.Sorted(slices.Values(only)))
	_, err = tx.exec.ExecContext(ctx, queueCancel+`b.id = $1`+queuedAlready, batch)
	if err == nil {
		_, err = tx.exec.ExecContext(ctx, `UPDATE cancels SET only_ids = $1 WHERE batch_id = $2`, encodeMembers(only), batch)
	}
	if err != nil {
		return fmt.Errorf("recording who is to be cancelled at the provider of batch %d: %w", batch, err)
	}
	return nil
}

// queueRevived queues recipients, by batch, who were cancelled and of whom evidence
// has shown a message accepted, as long as the provider holds it.
func queueRevived(ctx context.Context, tx *tx, id int64, revived map[int64][]int64, now int64) error {
	if len(revived) == 0 {
		return nil
	}
	var until int64
	if err := tx.exec.QueryRowContext(ctx, `SELECT held_until FROM campaigns WHERE id = $1`, id).Scan(&until); err != nil {
		return fmt.Errorf("asking until when the provider holds campaign %d: %w", id, err)
	}
	if until <= now {
		return nil
	}
	for _, batch := range slices.Sorted(maps.Keys(revived)) {
		if err := queueRecipients(ctx, tx, batch, revived[batch]); err != nil {
			return err
		}
	}
	return nil
}

// CancelsDue says on which channels of which accounts messages wait to be
// cancelled at the provider. In quarantine none do: what was cancelled since the
// ledger was copied is not known.
func (l *Ledger) CancelsDue(ctx context.Context) ([]LookDue, error) {
	now, err := l.Now(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := l.store.read().QueryContext(ctx, `SELECT provider_url, provider_user, channel FROM cancels
		WHERE lease_until <= $1 AND next_at <= $1 AND (SELECT quarantine FROM ledger) = '' GROUP BY provider_url, provider_user, channel`, now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("asking what is to be cancelled at the provider: %w", err)
	}
	defer rows.Close()
	var all []LookDue
	for rows.Next() {
		var d LookDue
		if err := rows.Scan(&d.Provider.URL, &d.Provider.User, &d.Channel); err != nil {
			return nil, fmt.Errorf("asking what is to be cancelled at the provider: %w", err)
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

// CancelClaim is a piece of what is to be cancelled at the provider, which one
// worker holds until its lease runs out.
type CancelClaim struct {
	LookDue
	By  string
	Now time.Time // by the database's clock
	// Doubtful: the provider was asked to cancel them and said no, and history is
	// to tell why.
	Doubtful bool
	Held     []*HeldRecipient // in the order of their hours

	rows     []*cancelRow
	progress bool // somebody of it was decided
}

// cancelRow is a claimed row of cancels.
type cancelRow struct {
	batch, campaign int64
	due             int64
	only, doubtful  []int64
	whole           bool // only says nothing
	size            int
}

// HeldRecipient is an accepted recipient to be cancelled at the provider.
type HeldRecipient struct {
	Recipient int64
	Campaign  int64
	Due       time.Time     // when the provider is to let it go
	Messages  []HeldMessage // one; more for whoever was reached twice

	batch int64
}

// HeldMessage is a message that the provider took.
type HeldMessage struct {
	Attempt    int64
	Number     int    // of the attempt; part of the message's reference
	ProviderID string // empty when the provider did not say it
	Price      campaign.Micros
	// The attempt began and was closed then, and nothing of it was written to the
	// wire after Deadline.
	Started, Deadline, Closed time.Time

	cancelled bool // at the provider, and that is on record
}

// ClaimQuery says what ClaimCancels looks for.
type ClaimQuery struct {
	LookDue
	Doubtful bool // see CancelClaim
	By       string
	Lease    time.Duration
	// Most is how many recipients are wanted; one batch more than that at most.
	Most int
}

// ClaimCancels takes on a piece of what is to be cancelled at the provider, the
// soonest due first. It returns nil when there is nothing, or somebody else has
// it. By must be another name for each claim.
func (l *Ledger) ClaimCancels(ctx context.Context, q ClaimQuery) (*CancelClaim, error) {
	k := &CancelClaim{LookDue: q.LookDue, By: q.By, Doubtful: q.Doubtful}
	err := l.write(ctx, crashpoint.ClaimCancels, func(tx *tx) error {
		k.rows = nil
		var id, quarantine string
		if err := tx.exec.QueryRowContext(ctx, `SELECT id, quarantine FROM ledger WHERE one = 1`).Scan(&id, &quarantine); err != nil {
			return fmt.Errorf("looking for messages to cancel: %w", err)
		}
		if l.mayLeave(id, quarantine) != nil {
			return nil // it waits in the ledger
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		k.Now = fromMillis(now)
		if k.rows, err = l.freeCancels(ctx, tx, q, now); err != nil {
			return err
		}
		for _, r := range k.rows {
			_, err := tx.exec.ExecContext(ctx, `UPDATE cancels SET lease_by = $1, lease_until = $2 WHERE batch_id = $3`, q.By, now+q.Lease.Milliseconds(), r.batch)
			if err != nil {
				return fmt.Errorf("claiming what is to be cancelled of batch %d: %w", r.batch, err)
			}
		}
		return nil
	})
	if err != nil || len(k.rows) == 0 {
		return nil, err
	}
	for _, r := range k.rows {
		held, err := l.heldOf(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, h := range held {
			if _, doubtful := slices.BinarySearch(r.doubtful, h.Recipient); doubtful == q.Doubtful {
				k.Held = append(k.Held, h)
			}
		}
	}
	return k, nil
}

// mostCancelRows is how many batches one claim holds at most: reading who is in
// them must not take longer than the claim's lease.
const mostCancelRows = 1000

// freeCancels reads rows of cancels that nobody holds.
func (l *Ledger) freeCancels(ctx context.Context, tx *tx, q ClaimQuery, now int64) ([]*cancelRow, error) {
	lock := l.store.forUpdate()
	if lock != "" {
		lock = " FOR UPDATE OF k SKIP LOCKED"
	}
	asked := 0
	if q.Doubtful {
		asked = 1
	}
	rows, err := tx.exec.QueryContext(ctx, `SELECT k.batch_id, k.campaign_id, k.due_at, k.only_ids, k.doubtful, b.accepted FROM cancels k JOIN batches b ON b.id = k.batch_id
		WHERE k.provider_url = $1 AND k.provider_user = $2 AND k.channel = $3 AND k.asked = $4 AND k.lease_until <= $5 AND k.next_at <= $5
		ORDER BY k.due_at, k.batch_id LIMIT $6`+lock,
		q.Provider.URL, q.Provider.User, string(q.Channel), asked, now, min(q.Most, mostCancelRows))
	if err != nil {
		return nil, fmt.Errorf("looking for messages to cancel: %w", err)
	}
	defer rows.Close()
	var all []*cancelRow
	sum := 0
	for rows.Next() && sum < q.Most {
		var (
			r              cancelRow
			only, doubtful []byte
		)
		err := rows.Scan(&r.batch, &r.campaign, &r.due, &only, &doubtful, &r.size)
		if err == nil {
			r.only, err = decodeMembers(only)
		}
		if err == nil {
			r.doubtful, err = decodeMembers(doubtful)
		}
		if err != nil {
			return nil, fmt.Errorf("looking for messages to cancel: %w", err)
		}
		if r.whole = only == nil; !r.whole {
			r.size = len(r.only)
		}
		if q.Doubtful {
			r.size = len(r.doubtful)
		}
		sum += r.size
		all = append(all, &r)
	}
	return all, rows.Err()
}

// undecided is true of a recipient of batch b who was accepted and was not found
// too late to be cancelled. (The underscore of campaign.TooLate stands for any
// character; no other reason of an accepted recipient comes near it.)
const undecided = `r.id BETWEEN b.first_id AND b.last_id AND r.batch_id = b.id AND r.state = 2 AND (r.reason IS NULL OR r.reason NOT LIKE 'too_late: %')`

// heldOf reads the recipients of a batch who are to be cancelled and not decided
// yet, with their messages.
func (l *Ledger) heldOf(ctx context.Context, r *cancelRow) ([]*HeldRecipient, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT r.id FROM batches b CROSS JOIN recipients r WHERE b.id = $1 AND `+undecided+` ORDER BY r.id`, r.batch)
	if err != nil {
		return nil, fmt.Errorf("reading who is to be cancelled of batch %d: %w", r.batch, err)
	}
	ids, err := scanIDs(rows)
	if err != nil {
		return nil, fmt.Errorf("reading who is to be cancelled of batch %d: %w", r.batch, err)
	}
	byID := map[int64]*HeldRecipient{}
	var all []*HeldRecipient
	for _, id := range ids {
		if _, wanted := slices.BinarySearch(r.only, id); wanted || r.whole {
			h := &HeldRecipient{Recipient: id, Campaign: r.campaign, batch: r.batch, Due: fromMillis(r.due)}
			byID[id] = h
			all = append(all, h)
		}
	}
	err = l.eachSaid(ctx, r.batch, func(recipient int64, s spoken) {
		if h := byID[recipient]; h != nil {
			h.hear(s)
		}
	})
	for _, h := range all {
		h.leaveOutUntaken()
	}
	return all, err
}

// leaveOutUntaken leaves out what the provider does not hold, if it holds another
// message of the recipient. An attempt before may have got an answer that was
// none: whatever costs nothing was not taken, if something else was.
func (h *HeldRecipient) leaveOutUntaken() {
	if slices.ContainsFunc(h.Messages, func(m HeldMessage) bool { return m.Price != 0 }) {
		h.Messages = slices.DeleteFunc(h.Messages, func(m HeldMessage) bool { return m.Price == 0 })
	}
	if slices.ContainsFunc(h.Messages, func(m HeldMessage) bool { return !m.cancelled }) {
		h.Messages = slices.DeleteFunc(h.Messages, func(m HeldMessage) bool { return m.cancelled })
	}
}

// live lists, ascending, the attempts whose messages the provider took and did
// not cancel.
func (h *HeldRecipient) live() []int64 {
	var all []int64
	for _, m := range h.Messages {
		if !m.cancelled {
			all = append(all, m.Attempt)
		}
	}
	slices.Sort(all)
	return all
}

func (h *HeldRecipient) hear(s spoken) {
	m := HeldMessage{
		Attempt: s.attempt, Number: s.number, ProviderID: s.ProviderID, Price: s.Price,
		Started: fromMillis(s.started), Deadline: fromMillis(s.deadline), Closed: fromMillis(s.closed),
		cancelled: s.Status == cancelledStatus && s.Price == 0,
	}
	for i := range h.Messages {
		if h.Messages[i].Attempt == s.attempt { // an answer, and history on the same message, are one
			h.Messages[i] = m
			return
		}
	}
	h.Messages = append(h.Messages, m)
}

// CancelFate is what the provider made of the wish to cancel.
type CancelFate int

// The fates.
const (
	CancelDone     CancelFate = 1 + iota // the provider has cancelled it
	CancelTooLate                        // it has left, or cannot be cancelled
	CancelDoubtful                       // the provider said no: it may be cancelled already, or have left
)

// Cancelled is what became of a recipient whose messages were to be cancelled at
// the provider.
type Cancelled struct {
	*HeldRecipient
	Fate CancelFate
	Word string // the provider's, why it is too late
	// Gone, with CancelDone, are the attempts whose messages were not among those
	// cancelled: they failed, or the provider knows them no more. They stay charged.
	Gone []int64
}

// CancelEnd gives a claim back.
type CancelEnd struct {
	// Again is how long what is left waits, doubled with each claim in a row that
	// came to nothing; Most is the longest.
	Again, Most time.Duration
	// Problem says why it does not go on; empty when it does.
	Problem string
}

// cancelledStatus is the status of a message that was cancelled at the provider,
// as its history calls it.
const cancelledStatus = "Cancelled"

// RecordCancels records what became of recipients of a claim in one transaction,
// and keeps the claim for lease, or gives it back when end is not nil. Whoever is
// cancelled is charged nothing: the campaign's spend goes down by the price of the
// messages that were. The same may be recorded any number of times, and also by a
// worker that has lost its claim, which then gets ErrLostLease: what it saw counts
// only of recipients whose messages are the same still as when it claimed them.
func (l *Ledger) RecordCancels(ctx context.Context, k *CancelClaim, all []Cancelled, lease time.Duration, end *CancelEnd) error {
	var lost bool
	err := l.write(ctx, crashpoint.RecordCancels, func(tx *tx) error {
		lost = false
		campaigns := map[int64]bool{}
		for _, r := range k.rows {
			campaigns[r.campaign] = true
		}
		for _, id := range slices.Sorted(maps.Keys(campaigns)) {
			if _, err := l.lockCampaign(ctx, tx, id); err != nil {
				return err
			}
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		same, stand, err := unchanged(ctx, tx, all)
		if err != nil {
			return err
		}
		if err := l.recordCancelled(ctx, tx, same, stand); err != nil {
			return err
		}
		if err := recordTooLate(ctx, tx, same); err != nil {
			return err
		}
		if lost, err = l.recordDoubt(ctx, tx, k, all, now, lease, end); err != nil {
			return err
		}
		if end == nil {
			return nil
		}
		for _, id := range slices.Sorted(maps.Keys(campaigns)) {
			if err := l.finishIfDone(ctx, tx, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && lost {
		return ErrLostLease
	}
	return err
}

// unchanged leaves out the recipients of whom the provider holds other messages by
// now than when they were claimed: evidence has shown another one, or somebody else
// has recorded that one is cancelled. What was found out about them says nothing of
// what is held now, and they come again with that. It returns the messages of the
// rest as they stand now, too.
func unchanged(ctx context.Context, tx *tx, all []Cancelled) (same []Cancelled, stand map[int64]*HeldRecipient, err error) {
	stand = map[int64]*HeldRecipient{}
	batches := map[int64]bool{}
	for _, c := range all {
		if c.Fate != CancelDoubtful {
			stand[c.Recipient] = &HeldRecipient{}
			batches[c.batch] = true
		}
	}
	hear := func(recipient int64, s spoken) {
		if h := stand[recipient]; h != nil {
			h.hear(s)
		}
	}
	for _, batch := range slices.Sorted(maps.Keys(batches)) {
		if err := eachAnswer(ctx, tx.exec, batch, hear); err != nil {
			return nil, nil, err
		}
	}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(stand)), 500) {
		if err := eachMessage(ctx, tx, part, hear); err != nil {
			return nil, nil, err
		}
	}
	for _, c := range all {
		h := stand[c.Recipient]
		if h == nil {
			continue
		}
		h.leaveOutUntaken()
		if slices.Equal(h.live(), c.live()) {
			same = append(same, c)
		}
	}
	return same, stand, nil
}

// eachMessage hands what was said of single recipients, 500 of them at most, to fn.
func eachMessage(ctx context.Context, tx *tx, recipients []int64, fn func(recipient int64, s spoken)) error {
	rows, err := tx.exec.QueryContext(ctx, `SELECT recipient_id, attempt_id, provider_id, status, price FROM messages
		WHERE recipient_id IN (`+placeholders(1, len(recipients))+`) ORDER BY recipient_id, attempt_id`, asArgs(recipients)...)
	if err != nil {
		return fmt.Errorf("reading what was said of recipients: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			s         spoken
			recipient int64
		)
		if err := rows.Scan(&recipient, &s.attempt, &s.ProviderID, &s.Status, &s.Price); err != nil {
			return fmt.Errorf("reading what was said of recipients: %w", err)
		}
		fn(recipient, s)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading what was said of recipients: %w", err)
	}
	return nil
}

// recordCancelled moves recipients who were cancelled at the provider, and takes
// off what their messages cost as they stand now.
func (l *Ledger) recordCancelled(ctx context.Context, tx *tx, all []Cancelled, held map[int64]*HeldRecipient) error {
	var ids []int64
	for _, c := range all {
		if c.Fate == CancelDone {
			ids = append(ids, c.Recipient)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	stand, err := standings(ctx, tx, ids)
	if err != nil {
		return err
	}
	var (
		moved    []int64
		batches  = map[int64]bool{}
		refunds  = map[int64]campaign.Micros{}
		attempts = map[int64]map[int64]bool{}
	)
	for _, c := range all {
		if c.Fate != CancelDone || stand[c.Recipient].state != campaign.Accepted {
			continue
		}
		moved = append(moved, c.Recipient)
		batches[c.batch] = true
		for _, m := range held[c.Recipient].Messages {
			if slices.Contains(c.Gone, m.Attempt) {
				continue
			}
			refunds[c.Campaign] += m.Price
			if attempts[m.Attempt] == nil {
				attempts[m.Attempt] = map[int64]bool{}
			}
			attempts[m.Attempt][c.Recipient] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(refunds)) {
		if _, err := tx.exec.ExecContext(ctx, `UPDATE campaigns SET spent = spent - $1 WHERE id = $2`, int64(refunds[id]), id); err != nil {
			return fmt.Errorf("taking refunds off the spend of campaign %d: %w", id, err)
		}
	}
	if err := setRecipients(ctx, tx, moved, campaign.RecipientCancelled, "", campaign.Accepted); err != nil {
		return err
	}
	for _, batch := range slices.Sorted(maps.Keys(batches)) {
		if err := settleBatch(ctx, tx, batch); err != nil {
			return err
		}
	}
	for _, attempt := range slices.Sorted(maps.Keys(attempts)) {
		if err := refund(ctx, tx, attempt, attempts[attempt]); err != nil {
			return err
		}
	}
	// Nobody got a message too many who got none.
	for part := range slices.Chunk(moved, 500) {
		if _, err := tx.exec.ExecContext(ctx, `DELETE FROM duplicates WHERE recipient_id IN (`+placeholders(1, len(part))+`)`, asArgs(part)...); err != nil {
			return fmt.Errorf("striking out duplicates: %w", err)
		}
	}
	return nil
}

// refund records, where it stands what was said of messages, that they were
// cancelled and cost nothing.
func refund(ctx context.Context, tx *tx, attempt int64, recipients map[int64]bool) error {
	var cell, answer []byte
	if err := tx.exec.QueryRowContext(ctx, `SELECT members, answer FROM attempts WHERE id = $1`, attempt).Scan(&cell, &answer); err != nil {
		return fmt.Errorf("reading attempt %d: %w", attempt, err)
	}
	members, err := decodeMembers(cell)
	if err != nil {
		return fmt.Errorf("attempt %d: %w", attempt, err)
	}
	said := map[int64]Said{}
	if err := unpackAnswer(answer, members, func(recipient int64, s Said) { said[recipient] = s }); err != nil {
		return fmt.Errorf("attempt %d: %w", attempt, err)
	}
	outcomes := make([]Outcome, len(members))
	for i, id := range members {
		s := said[id]
		if recipients[id] && s.Status != "" {
			s.Status, s.Price = cancelledStatus, 0
		}
		outcomes[i] = Outcome{Recipient: id, ProviderID: s.ProviderID, Status: s.Status, Price: s.Price, Parts: s.Parts}
	}
	if _, err := tx.exec.ExecContext(ctx, `UPDATE attempts SET answer = $1 WHERE id = $2`, nullBytes(packAnswer(outcomes)), attempt); err != nil {
		return fmt.Errorf("recording what was cancelled of attempt %d: %w", attempt, err)
	}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(recipients)), 500) {
		args := append([]any{cancelledStatus, attempt}, asArgs(part)...)
		_, err := tx.exec.ExecContext(ctx, `UPDATE messages SET status = $1, price = 0 WHERE attempt_id = $2 AND recipient_id IN (`+placeholders(3, len(part))+`)`, args...)
		if err != nil {
			return fmt.Errorf("recording what was cancelled of attempt %d: %w", attempt, err)
		}
	}
	return nil
}

// recordTooLate marks recipients whose messages the provider did not cancel.
func recordTooLate(ctx context.Context, tx *tx, all []Cancelled) error {
	type group struct {
		campaign int64
		word     string
	}
	groups := map[group][]int64{}
	for _, c := range all {
		if c.Fate == CancelTooLate {
			g := group{c.Campaign, c.Word}
			groups[g] = append(groups[g], c.Recipient)
		}
	}
	marked := map[int64]int64{}
	for g, ids := range groups {
		for part := range slices.Chunk(ids, 500) {
			args := append([]any{campaign.TooLate + g.word}, asArgs(part)...)
			res, err := tx.exec.ExecContext(ctx, `UPDATE recipients SET reason = $1 WHERE id IN (`+placeholders(2, len(part))+`)
				AND state = 2 AND (reason IS NULL OR reason NOT LIKE 'too_late: %')`, args...)
			if err != nil {
				return fmt.Errorf("marking recipients as too late: %w", err)
			}
			n, err := res.RowsAffected()
			if err != nil {
				return fmt.Errorf("marking recipients as too late: %w", err)
			}
			marked[g.campaign] += n
		}
	}
	for _, id := range slices.Sorted(maps.Keys(marked)) {
		if _, err := tx.exec.ExecContext(ctx, `UPDATE campaigns SET too_late = too_late + $1 WHERE id = $2`, marked[id], id); err != nil {
			return fmt.Errorf("counting who was too late in campaign %d: %w", id, err)
		}
	}
	return nil
}

// recordDoubt writes who is doubtful from now on, and keeps the rows of a claim or
// gives them back. Rows of which nothing is left go. It reports whether somebody
// else has one of the rows.
func (l *Ledger) recordDoubt(ctx context.Context, tx *tx, k *CancelClaim, all []Cancelled, now int64, lease time.Duration, end *CancelEnd) (lost bool, err error) {
	rows := map[int64]*cancelRow{}
	for _, r := range k.rows {
		rows[r.batch] = r
	}
	decided, changed := map[int64]bool{}, map[int64]bool{}
	for _, c := range all {
		changed[c.batch] = true
		if c.Fate == CancelDoubtful {
			rows[c.batch].doubtful = append(rows[c.batch].doubtful, c.Recipient)
			continue
		}
		decided[c.Recipient] = true
		k.progress = true
	}
	for batch := range changed {
		r := rows[batch]
		slices.Sort(r.doubtful)
		r.doubtful = without(slices.Compact(r.doubtful), decided)
	}
	res, err := tx.exec.ExecContext(ctx, `UPDATE cancels SET lease_until = $1 WHERE lease_by = $2`, now+lease.Milliseconds(), k.By)
	if err != nil {
		return false, fmt.Errorf("keeping what is to be cancelled: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("keeping what is to be cancelled: %w", err)
	}
	for _, r := range k.rows {
		if !changed[r.batch] && end == nil {
			continue
		}
		err := oneRow(tx.exec.ExecContext(ctx, `UPDATE cancels SET doubtful = $1 WHERE batch_id = $2 AND lease_by = $3`, nullBytes(encodeMembers(r.doubtful)), r.batch, k.By))
		if err == nil && end != nil {
			err = giveCancelsBack(ctx, tx, r, now, k.progress, end)
		}
		if err != nil && !errors.Is(err, ErrLostLease) {
			return false, fmt.Errorf("recording what was cancelled of batch %d: %w", r.batch, err)
		}
	}
	return n < int64(len(k.rows)), nil
}

// giveCancelsBack ends the claim of one row, which goes when everybody is decided.
func giveCancelsBack(ctx context.Context, tx *tx, r *cancelRow, now int64, progress bool, end *CancelEnd) error {
	rows, err := tx.exec.QueryContext(ctx, `SELECT r.id FROM batches b CROSS JOIN recipients r WHERE b.id = $1 AND `+undecided, r.batch)
	if err != nil {
		return fmt.Errorf("reading who is to be cancelled of batch %d: %w", r.batch, err)
	}
	ids, err := scanIDs(rows)
	if err != nil {
		return fmt.Errorf("reading who is to be cancelled of batch %d: %w", r.batch, err)
	}
	// Others may have been added meanwhile.
	var cell []byte
	if err := tx.exec.QueryRowContext(ctx, `SELECT only_ids FROM cancels WHERE batch_id = $1`, r.batch).Scan(&cell); err != nil {
		return fmt.Errorf("reading who is to be cancelled of batch %d: %w", r.batch, err)
	}
	only, err := decodeMembers(cell)
	if err != nil {
		return fmt.Errorf("reading who is to be cancelled of batch %d: %w", r.batch, err)
	}
	left, doubtful := 0, 0
	for _, id := range ids {
		if _, wanted := slices.BinarySearch(only, id); cell != nil && !wanted {
			continue
		}
		left++
		if _, found := slices.BinarySearch(r.doubtful, id); found {
			doubtful++
		}
	}
	if left == 0 {
		if _, err := tx.exec.ExecContext(ctx, `DELETE FROM cancels WHERE batch_id = $1`, r.batch); err != nil {
			return fmt.Errorf("recording that batch %d is cancelled: %w", r.batch, err)
		}
		return nil
	}
	asked := 0
	if doubtful == left {
		asked = 1
	}
	keep := 1
	if progress {
		keep = 0
	}
	var tries int
	err = tx.exec.QueryRowContext(ctx, `UPDATE cancels SET asked = $1, lease_by = '', lease_until = 0, problem = $2, tries = (tries + 1) * $3
		WHERE batch_id = $4 RETURNING tries`, asked, end.Problem, keep, r.batch).Scan(&tries)
	if err == nil {
		wait := min(end.Again<<min(max(tries-1, 0), 20), max(end.Most, end.Again))
		_, err = tx.exec.ExecContext(ctx, `UPDATE cancels SET next_at = $1 WHERE batch_id = $2`, now+wait.Milliseconds(), r.batch)
	}
	if err != nil {
		return fmt.Errorf("giving back what is to be cancelled of batch %d: %w", r.batch, err)
	}
	return nil
}

// PutOffCancels records why nothing can be cancelled on a channel of an account
// for now. What somebody is cancelling there all the same goes on.
func (l *Ledger) PutOffCancels(ctx context.Context, d LookDue, problem string, wait time.Duration) error {
	return l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.exec.ExecContext(ctx, `UPDATE cancels SET problem = $1, next_at = $2
			WHERE provider_url = $3 AND provider_user = $4 AND channel = $5 AND lease_until <= $6 AND next_at <= $2`,
			problem, now+wait.Milliseconds(), d.Provider.URL, d.Provider.User, string(d.Channel), now)
		if err != nil {
			return fmt.Errorf("putting off what is to be cancelled on %s: %w", d.Channel, err)
		}
		return nil
	})
}

// CancelProblem is why the messages that the provider holds of a campaign are not
// being cancelled there; empty when they are, or none is to be.
func (l *Ledger) CancelProblem(ctx context.Context, id int64) (string, error) {
	var problem string
	if err := l.store.read().QueryRowContext(ctx, `SELECT COALESCE(max(problem), '') FROM cancels WHERE campaign_id = $1`, id).Scan(&problem); err != nil {
		return "", fmt.Errorf("asking how the cancelling of campaign %d goes: %w", id, err)
	}
	return problem, nil
}

package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/crashpoint"
)

// Finding is evidence of what became of one member of an attempt: State is
// Accepted, Rejected or RecipientCancelled, or Pending for a refusal that passes.
type Finding struct {
	Attempt int64
	Outcome
	// PriceUnread: it costs something, and what cannot be read; what was quoted
	// is taken for it.
	PriceUnread bool
}

// Applied says what evidence changed.
type Applied struct {
	Found      int // members who were being found out, and are now
	Late       int // members who had been shown absent, and were accepted after all
	Duplicates int // of those, the ones whom another attempt reached as well
}

func (a *Applied) add(b Applied) {
	a.Found += b.Found
	a.Late += b.Late
	a.Duplicates += b.Duplicates
}

// ApplyEvidence records findings in one transaction. What is known already
// changes nothing, so the same evidence may come any number of times.
//
// A member who is being found out gets the finding's state. One who had been
// shown absent was accepted after all: late evidence wins. If another attempt
// reached the same recipient, the message is recorded as a duplicate, and
// resends on the channel stop until somebody decides.
func (l *Ledger) ApplyEvidence(ctx context.Context, e Evidence, findings []Finding) (Applied, error) {
	byAttempt := map[int64][]Finding{}
	for _, f := range findings {
		byAttempt[f.Attempt] = append(byAttempt[f.Attempt], f)
	}
	var sum Applied
	err := l.write(ctx, crashpoint.ApplyEvidence, func(tx *tx) error {
		sum = Applied{}
		attempts, err := l.lockAttempts(ctx, tx, slices.Sorted(maps.Keys(byAttempt)))
		if err != nil {
			return err
		}
		for _, a := range attempts {
			n, err := l.applyEvidence(ctx, tx, a, e, byAttempt[a.id])
			if err != nil {
				return err
			}
			sum.add(n)
		}
		return l.settleCampaigns(ctx, tx, attempts)
	})
	return sum, err
}

// settleCampaigns cancels what came back to a campaign that is being cancelled,
// and ends those of which nothing is left.
func (l *Ledger) settleCampaigns(ctx context.Context, tx *tx, attempts []*evidenced) error {
	seen := map[int64]bool{}
	for _, a := range attempts {
		if seen[a.campaign] {
			continue
		}
		seen[a.campaign] = true
		if a.campaignState == campaign.Cancelling {
			if err := withdraw(ctx, tx, a.campaign); err != nil {
				return err
			}
		}
		if err := l.finishIfDone(ctx, tx, a.campaign); err != nil {
			return err
		}
	}
	return nil
}

// evidenced is an attempt about which there is evidence, locked.
type evidenced struct {
	id, campaign, batch int64
	channel             campaign.Channel
	provider            Provider
	state               int
	looks               int
	unresolved, absent  []int64
	campaignState       campaign.State
}

// lockAttempts locks attempts and their campaigns, in one order everywhere, so
// that no two writes wait for each other. Attempts that do not exist are left
// out.
func (l *Ledger) lockAttempts(ctx context.Context, tx *tx, ids []int64) ([]*evidenced, error) {
	var all []*evidenced
	for _, id := range ids {
		a := &evidenced{id: id}
		err := tx.exec.QueryRowContext(ctx, `SELECT campaign_id, batch_id, channel, provider_url, provider_user FROM attempts WHERE id = $1`, id).
			Scan(&a.campaign, &a.batch, &a.channel, &a.provider.URL, &a.provider.User)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading attempt %d: %w", id, err)
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b *evidenced) int { return cmp.Or(cmp.Compare(a.campaign, b.campaign), cmp.Compare(a.id, b.id)) })
	states := map[int64]campaign.State{}
	for _, a := range all {
		if _, locked := states[a.campaign]; !locked {
			state, err := l.lockCampaign(ctx, tx, a.campaign)
			if err != nil {
				return nil, err
			}
			states[a.campaign] = state
		}
		a.campaignState = states[a.campaign]
		var unresolved, absent []byte
		err := tx.exec.QueryRowContext(ctx, `SELECT state, looks, unresolved, absent FROM attempts WHERE id = $1`, a.id).Scan(&a.state, &a.looks, &unresolved, &absent)
		if err == nil {
			a.unresolved, err = decodeMembers(unresolved)
		}
		if err == nil {
			a.absent, err = decodeMembers(absent)
		}
		if err != nil {
			return nil, fmt.Errorf("reading attempt %d: %w", a.id, err)
		}
	}
	return all, nil
}

// standing is where a recipient stands.
type standing struct {
	state  campaign.RecipientState
	quoted campaign.Micros
	batch  int64
}

func standings(ctx context.Context, tx *tx, ids []int64) (map[int64]standing, error) {
	all := make(map[int64]standing, len(ids))
	for part := range slices.Chunk(ids, 500) {
		rows, err := tx.exec.QueryContext(ctx, `SELECT id, state, quoted, batch_id FROM recipients WHERE id IN (`+placeholders(1, len(part))+`)`, asArgs(part)...)
		if err != nil {
			return nil, fmt.Errorf("reading recipients: %w", err)
		}
		for rows.Next() {
			var (
				id int64
				s  standing
			)
			if err := rows.Scan(&id, &s.state, &s.quoted, &s.batch); err != nil {
				return nil, errors.Join(fmt.Errorf("reading recipients: %w", err), rows.Close())
			}
			all[id] = s
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, fmt.Errorf("reading recipients: %w", err)
		}
	}
	return all, nil
}

func asArgs(ids []int64) []any {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return args
}

// verdict collects what evidence about one attempt comes to.
type verdict struct {
	moves      map[fate][]int64
	passing    []int64 // to be sent again later, in a batch of their own
	said       []Outcome
	duplicates []int64
	resolved   map[int64]bool    // of unresolved
	late       map[int64]bool    // of absent
	touched    map[int64]bool    // batches whose recipients move
	live       map[int64]bool    // batches of recipients of whom a message was accepted
	revived    map[int64][]int64 // by batch, recipients who were cancelled and are accepted after all
	pending    map[int64][]int64
	spent      campaign.Micros
	released   campaign.Micros
	above      dearer
}

// fate is where recipients go, and why.
type fate struct {
	state  campaign.RecipientState
	reason string
}

// everywhere is where a recipient may stand whom evidence shows accepted.
var everywhere = []campaign.RecipientState{campaign.Pending, campaign.Unknown, campaign.Rejected, campaign.Suppressed, campaign.RecipientCancelled}

// applyEvidence records what evidence says of the members of one locked attempt.
func (l *Ledger) applyEvidence(ctx context.Context, tx *tx, a *evidenced, e Evidence, findings []Finding) (Applied, error) {
	var ids []int64
	for _, f := range findings {
		ids = append(ids, f.Recipient)
	}
	stand, err := standings(ctx, tx, ids)
	if err != nil {
		return Applied{}, err
	}
	v := verdict{
		moves: map[fate][]int64{}, resolved: map[int64]bool{}, late: map[int64]bool{},
		touched: map[int64]bool{}, live: map[int64]bool{}, revived: map[int64][]int64{}, pending: map[int64][]int64{},
	}
	for _, f := range findings {
		s, there := stand[f.Recipient]
		if f.PriceUnread {
			f.Price = s.quoted
		}
		_, open := slices.BinarySearch(a.unresolved, f.Recipient)
		_, absent := slices.BinarySearch(a.absent, f.Recipient)
		switch {
		case !there:
		case open && !v.resolved[f.Recipient]:
			v.found(f, s)
		case absent && !v.late[f.Recipient]:
			v.comesLate(f, s)
		}
	}
	if len(v.resolved)+len(v.late) == 0 {
		return Applied{}, nil
	}
	return Applied{Found: len(v.resolved), Late: len(v.late), Duplicates: len(v.duplicates)}, l.applyVerdict(ctx, tx, a, e, &v)
}

// found is evidence of a member who is being found out.
func (v *verdict) found(f Finding, s standing) {
	v.resolved[f.Recipient] = true
	v.released += s.quoted
	if f.Status != "" {
		v.said = append(v.said, f.Outcome)
	}
	if f.State == campaign.Accepted {
		v.spent += f.Price
		v.live[s.batch] = true
		v.above.add(f.Price, s.quoted)
	}
	switch {
	case s.state == campaign.RecipientCancelled && f.State == campaign.Accepted:
		// Its other message was cancelled at the provider meanwhile.
		v.move(f, s)
	case s.state == campaign.Unknown && f.State == campaign.Pending:
		v.passing = append(v.passing, f.Recipient)
	case s.state == campaign.Unknown:
		v.move(f, s)
	case f.State == campaign.Accepted:
		// Evidence of an earlier attempt has made it accepted meanwhile.
		v.duplicates = append(v.duplicates, f.Recipient)
	}
}

// comesLate is evidence of a member who had been shown absent. Only a message
// that was accepted is news.
func (v *verdict) comesLate(f Finding, s standing) {
	if f.State != campaign.Accepted {
		return
	}
	v.late[f.Recipient] = true
	v.spent += f.Price
	v.live[s.batch] = true
	v.above.add(f.Price, s.quoted)
	v.said = append(v.said, f.Outcome)
	if slices.Contains(everywhere, s.state) {
		v.move(f, s)
		if s.state == campaign.Pending {
			v.pending[s.batch] = append(v.pending[s.batch], f.Recipient)
		}
		return
	}
	v.duplicates = append(v.duplicates, f.Recipient)
}

func (v *verdict) move(f Finding, s standing) {
	k := fate{f.State, f.Reason}
	v.moves[k] = append(v.moves[k], f.Recipient)
	v.touched[s.batch] = true
	if s.state == campaign.RecipientCancelled && f.State == campaign.Accepted {
		v.revived[s.batch] = append(v.revived[s.batch], f.Recipient)
	}
}

func (l *Ledger) applyVerdict(ctx context.Context, tx *tx, a *evidenced, e Evidence, v *verdict) error {
	now, err := l.now(ctx, tx)
	if err != nil {
		return err
	}
	for k, ids := range v.moves {
		from := []campaign.RecipientState{campaign.Unknown}
		if k.state == campaign.Accepted {
			from = everywhere
		}
		if err := setRecipients(ctx, tx, ids, k.state, k.reason, from...); err != nil {
			return err
		}
	}
	for batch, ids := range v.pending {
		if err := l.takeFromBatch(ctx, tx, batch, ids); err != nil {
			return err
		}
	}
	if e != FromAnswer { // an answer lies packed beside its attempt
		if err := l.writeMessages(ctx, tx, a.id, e, v.said); err != nil {
			return err
		}
	}
	a.unresolved = without(a.unresolved, v.resolved)
	a.absent = without(a.absent, v.late)
	if err := saveMembers(ctx, tx, a); err != nil {
		return err
	}
	_, err = tx.exec.ExecContext(ctx, `UPDATE campaigns SET spent = spent + $1, reserved = reserved - $2 WHERE id = $3`, int64(v.spent), int64(v.released), a.campaign)
	if err != nil {
		return fmt.Errorf("settling the spend: %w", err)
	}
	if len(v.passing) > 0 {
		if err := setRecipients(ctx, tx, v.passing, campaign.Pending, "", campaign.Unknown); err != nil {
			return err
		}
		if err := l.childBatch(ctx, tx, child{parent: a.batch, members: v.passing, dueAt: now + passingWait.Milliseconds(), tries: 1}); err != nil {
			return err
		}
		v.touched[a.batch] = true
	}
	for _, batch := range slices.Sorted(maps.Keys(v.touched)) {
		if err := settleBatch(ctx, tx, batch); err != nil {
			return err
		}
	}
	// What is found when the campaign is being cancelled, or was, is cancelled at
	// the provider, too; and so is, in any other, whoever was cancelled alone.
	if a.campaignState == campaign.Cancelling || a.campaignState == campaign.Cancelled {
		err = queueCancels(ctx, tx, a.campaign, v.live)
	} else {
		err = queueRevived(ctx, tx, a.campaign, v.revived, now)
	}
	if err != nil {
		return err
	}
	if len(v.late) > 0 {
		err := event(ctx, tx, a.campaign, now, "postrider", "late evidence",
			fmt.Sprintf("%s shows that attempt %d reached %d recipients who had been taken for absent", e, a.id, len(v.late)))
		if err != nil {
			return err
		}
	}
	tooDear, err := l.countDearer(ctx, tx, a.campaign, v.above)
	if err != nil {
		return err
	}
	if tooDear != "" {
		if err := l.pauseIfLeft(ctx, tx, a.campaign, tooDear); err != nil {
			return err
		}
	}
	return l.recordDuplicates(ctx, tx, a, v.duplicates, now)
}

// takeFromBatch sees to it that recipients who are accepted now do not leave
// with the batch that they wait in: whoever has claimed it loses it, and an
// attempt under way knows that another has reached them.
func (l *Ledger) takeFromBatch(ctx context.Context, tx *tx, batch int64, ids []int64) error {
	_, err := tx.exec.ExecContext(ctx, `UPDATE batches SET fence = fence + 1, lease_by = '', lease_until = 0, dispatched_at = 0 WHERE id = $1 AND state = $2`, batch, batchReady)
	if err != nil {
		return fmt.Errorf("taking recipients out of batch %d: %w", batch, err)
	}
	var (
		attempt      int64
		cell, others []byte
	)
	err = tx.exec.QueryRowContext(ctx, `SELECT id, members, unresolved FROM attempts WHERE batch_id = $1 AND state = $2`, batch, attemptOpen).Scan(&attempt, &cell, &others)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the open attempt of batch %d: %w", batch, err)
	}
	members, err := decodeMembers(cell)
	if err != nil {
		return err
	}
	reached, err := decodeMembers(others)
	if err != nil {
		return err
	}
	before := len(reached)
	for _, id := range ids {
		if _, carried := slices.BinarySearch(members, id); carried {
			reached = append(reached, id)
		}
	}
	slices.Sort(reached)
	_, err = tx.exec.ExecContext(ctx, `UPDATE attempts SET unresolved = $1, size = size - $2 WHERE id = $3`, nullBytes(encodeMembers(reached)), len(reached)-before, attempt)
	if err != nil {
		return fmt.Errorf("marking attempt %d: %w", attempt, err)
	}
	return nil
}

// settleBatch recounts a batch, and marks it as settled when nobody in it waits
// any more.
func settleBatch(ctx context.Context, tx *tx, batch int64) error {
	pending, err := recount(ctx, tx, batch)
	if err != nil || pending > 0 {
		return err
	}
	_, err = tx.exec.ExecContext(ctx, `UPDATE batches SET state = $1, lease_until = 0, lease_by = '' WHERE id = $2 AND state = $3`, batchSettled, batch, batchReady)
	if err != nil {
		return fmt.Errorf("settling batch %d: %w", batch, err)
	}
	return nil
}

func saveMembers(ctx context.Context, tx *tx, a *evidenced) error {
	_, err := tx.exec.ExecContext(ctx, `UPDATE attempts SET unresolved = $1, absent = $2 WHERE id = $3`,
		nullBytes(encodeMembers(a.unresolved)), nullBytes(encodeMembers(a.absent)), a.id)
	if err != nil {
		return fmt.Errorf("recording what was found out of attempt %d: %w", a.id, err)
	}
	return nil
}

// without returns the ids that are not in the set.
func without(ids []int64, set map[int64]bool) []int64 {
	return slices.DeleteFunc(ids, func(id int64) bool { return set[id] })
}

// duplicatesReason begins the reason for which a channel's resends are stopped,
// and that of campaigns which wait for nothing else.
const duplicatesReason = "duplicates: "

// recordDuplicates records recipients who were reached twice, and stops the
// resends of the channel.
func (l *Ledger) recordDuplicates(ctx context.Context, tx *tx, a *evidenced, ids []int64, now int64) error {
	if len(ids) == 0 {
		return nil
	}
	for _, id := range ids {
		_, err := tx.exec.ExecContext(ctx, `INSERT INTO duplicates (recipient_id, attempt_id, campaign_id, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`, id, a.id, a.campaign, now)
		if err != nil {
			return fmt.Errorf("recording a duplicate: %w", err)
		}
	}
	reason := fmt.Sprintf(duplicatesReason+"%d recipients of campaign %d were accepted more than once, since evidence came after they had been taken for absent; look at the provider's history lag and POSTRIDER_SETTLE", len(ids), a.campaign)
	_, err := tx.exec.ExecContext(ctx, `INSERT INTO channels (provider_url, provider_user, channel, stopped) VALUES ($1, $2, $3, $4)
		ON CONFLICT (provider_url, provider_user, channel) DO UPDATE SET stopped = $4`, a.provider.URL, a.provider.User, string(a.channel), reason)
	if err != nil {
		return fmt.Errorf("stopping the resends of %s: %w", a.channel, err)
	}
	return event(ctx, tx, a.campaign, now, "postrider", "duplicates", reason)
}

// child is a batch of recipients who were in another one.
type child struct {
	parent  int64
	members []int64 // ascending, pending
	dueAt   int64   // milliseconds
	resend  bool    // they were in an attempt whose outcome was unknown
	tries   int     // passing refusals to add
	afresh  bool    // what refused them before counts no more
}

// childBatch makes a batch of pending recipients of another one. Attempt
// numbers go on where the parent's stand, so that no reference is used twice.
func (l *Ledger) childBatch(ctx context.Context, tx *tx, c child) error {
	id, err := takeIDs(ctx, tx, "batch", 1)
	if err != nil {
		return err
	}
	resend, keep := 0, 1
	if c.resend {
		resend = 1
	}
	if c.afresh {
		keep = 0
	}
	_, err = tx.exec.ExecContext(ctx, `
		INSERT INTO batches (id, campaign_id, channel, file_key, state, due_at, attempts, first_id, last_id, parent_id, resend, tries, zone)
		SELECT $1, campaign_id, channel, file_key, $2, $3, attempts, $4, $5, id, CASE WHEN $6 = 1 THEN 1 ELSE resend END, tries * $9 + $7, zone FROM batches WHERE id = $8`,
		id, batchReady, c.dueAt, c.members[0], c.members[len(c.members)-1], resend, c.tries, c.parent, keep)
	if err != nil {
		return fmt.Errorf("making a batch of %d recipients of batch %d: %w", len(c.members), c.parent, err)
	}
	if err := moveToBatch(ctx, tx, c.members, id); err != nil {
		return err
	}
	return settleBatch(ctx, tx, id)
}

// writeMessages adds what was said of single recipients.
func (l *Ledger) writeMessages(ctx context.Context, tx *tx, attempt int64, e Evidence, all []Outcome) error {
	return l.store.insert(ctx, tx, rows{
		table: "messages", n: len(all),
		columns: []column{
			same("attempt_id", attempt), same("evidence", int64(e)),
			differs("recipient_id"), differs("provider_id"), differs("status"), differs("price"), differs("parts"),
		},
		each: func(i int, v []any) {
			o := &all[i]
			v[0], v[1], v[2], v[3], v[4] = o.Recipient, o.ProviderID, o.Status, int64(o.Price), int64(o.Parts)
		},
	})
}

package ledger

import (
	"cmp"
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

// LookDue is a channel of an account whose history should be read.
type LookDue struct {
	Provider Provider
	Channel  campaign.Channel
}

// Suspect is an attempt of which some members are to be found out, or were shown
// absent and may yet turn up.
type Suspect struct {
	Attempt    int64
	Batch      int64
	Campaign   int64
	Number     int       // of the attempt; part of the references it carried
	Started    time.Time // by the database's clock
	Deadline   time.Time // nothing of it was written to the wire later
	Held       time.Time // when the provider is to let its messages go; zero: at once
	Unresolved []int64   // to be found out; ascending
	Absent     []int64   // shown absent before; ascending
	// Due: its settling time is over, so that a look may show its members absent.
	Due   bool
	Looks int // how often history was read for it in vain

	tries       int
	state       int
	settlesFrom time.Time
}

// Look is one reading of a channel's history that one worker has taken on.
type Look struct {
	LookDue
	By       string
	Suspects []*Suspect // in the order of their ids
}

// lateLooks is how often history is read again for attempts whose members were
// shown absent, in case they turn up after all; each time after four times as
// long. The first is after four settling times. The number stands in dueAttempts,
// too.
const lateLooks = 3

// dueAttempts are the attempts whose settling time ($1: before when it must have
// begun) is over: those that have somebody to be found, and those that are looked
// at again for late evidence. Each half has its index. In quarantine nothing is
// found out.
const dueAttempts = `(
	SELECT provider_url, provider_user, channel FROM attempts
	WHERE unresolved IS NOT NULL AND settles_from <= $1 AND state IN (1, 3) AND (SELECT quarantine FROM ledger) = ''
	UNION
	SELECT provider_url, provider_user, channel FROM attempts
	WHERE absent IS NOT NULL AND settles_from <= $1 AND unresolved IS NULL AND looks < 3 AND (SELECT quarantine FROM ledger) = '') AS a`

// LooksDue says of which channels history should be read now, given how long it
// may lag behind.
func (l *Ledger) LooksDue(ctx context.Context, settle time.Duration) ([]LookDue, error) {
	now, err := l.Now(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := l.store.read().QueryContext(ctx, `SELECT a.provider_url, a.provider_user, a.channel FROM `+dueAttempts+`
		LEFT JOIN channels h ON h.provider_url = a.provider_url AND h.provider_user = a.provider_user AND h.channel = a.channel
		WHERE COALESCE(h.look_until, 0) <= $2`, now.Add(-settle).UnixMilli(), now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("asking what is to be found out: %w", err)
	}
	defer rows.Close()
	var all []LookDue
	for rows.Next() {
		var d LookDue
		if err := rows.Scan(&d.Provider.URL, &d.Provider.User, &d.Channel); err != nil {
			return nil, fmt.Errorf("asking what is to be found out: %w", err)
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

// BeginLook takes on the reading of a channel's history, for lease at first. It
// returns nil when somebody else has, or when nothing is due.
func (l *Ledger) BeginLook(ctx context.Context, d LookDue, settle, lease time.Duration, by string) (*Look, error) {
	var (
		look *Look
		now  int64
	)
	err := l.write(ctx, crashpoint.BeginLook, func(tx *tx) error {
		look = nil
		var err error
		if now, err = l.now(ctx, tx); err != nil {
			return err
		}
		var due bool
		err = tx.exec.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM `+dueAttempts+` WHERE a.provider_url = $2 AND a.provider_user = $3 AND a.channel = $4)`,
			now-settle.Milliseconds(), d.Provider.URL, d.Provider.User, string(d.Channel)).Scan(&due)
		if err != nil || !due {
			return err
		}
		err = oneRow(tx.exec.ExecContext(ctx, `INSERT INTO channels (provider_url, provider_user, channel, look_by, look_until) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (provider_url, provider_user, channel) DO UPDATE SET look_by = $4, look_until = $5 WHERE channels.look_until <= $6`,
			d.Provider.URL, d.Provider.User, string(d.Channel), by, now+lease.Milliseconds(), now))
		if errors.Is(err, ErrLostLease) {
			return nil
		}
		if err != nil {
			return err
		}
		look = &Look{LookDue: d, By: by}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("taking on a look at the history of %s: %w", d.Channel, err)
	}
	if look == nil {
		return nil, nil
	}
	look.Suspects, err = l.suspects(ctx, d, fromMillis(now), settle)
	return look, err
}

// lateReach is how long whoever was shown absent is still recognised at looks that
// are made for others.
const lateReach = 7 * 24 * time.Hour

// suspects reads the attempts of a channel that a look may find something of.
func (l *Ledger) suspects(ctx context.Context, d LookDue, now time.Time, settle time.Duration) ([]*Suspect, error) {
	sought := fmt.Sprintf(`(a.unresolved IS NOT NULL OR a.absent IS NOT NULL AND (a.looks < %d OR a.started_at > %d)) AND a.state IN (1, 3)`,
		lateLooks, now.Add(-lateReach).UnixMilli())
	all, err := l.attemptsAs(ctx, d, `a.unresolved, a.absent`, sought)
	if err != nil {
		return nil, fmt.Errorf("reading what is to be found out: %w", err)
	}
	for _, s := range all {
		s.Due = !s.settlesFrom.Add(settle).After(now) && (len(s.Unresolved) > 0 || s.Looks < lateLooks)
		// A message that is held may show only when it is let go.
		s.Due = s.Due && !s.Held.Add(settle).After(now)
	}
	return all, nil
}

// Rivals are the attempts on the channel that a look is not about and of which
// rows in history may speak all the same: those under way, and those that became
// unknown since it began.
func (l *Ledger) Rivals(ctx context.Context, k *Look) ([]*Suspect, error) {
	all, err := l.attemptsAs(ctx, k.LookDue, `CASE a.state WHEN 0 THEN a.members ELSE a.unresolved END, NULL`, `(a.state = 0 OR a.unresolved IS NOT NULL AND a.state IN (1, 3))`)
	if err != nil {
		return nil, fmt.Errorf("reading attempts under way: %w", err)
	}
	sought := map[int64]bool{}
	for _, s := range k.Suspects {
		sought[s.Attempt] = true
	}
	return slices.DeleteFunc(all, func(s *Suspect) bool { return sought[s.Attempt] }), nil
}

// attemptsAs reads attempts on a channel that meet a condition, in the order of
// their ids; members are the columns with those to be found out and those shown
// absent.
func (l *Ledger) attemptsAs(ctx context.Context, d LookDue, members, condition string) ([]*Suspect, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT a.id, a.batch_id, a.campaign_id, a.number, a.started_at, a.deadline, a.state, a.looks, a.settles_from, b.tries, `+members+`
		FROM attempts a JOIN batches b ON b.id = a.batch_id
		WHERE `+condition+` AND a.provider_url = $1 AND a.provider_user = $2 AND a.channel = $3 ORDER BY a.id`,
		d.Provider.URL, d.Provider.User, string(d.Channel))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []*Suspect
	for rows.Next() {
		var (
			s                       Suspect
			started, deadline, from int64
			unresolved, absent      []byte
		)
		err := rows.Scan(&s.Attempt, &s.Batch, &s.Campaign, &s.Number, &started, &deadline, &s.state, &s.Looks, &from, &s.tries, &unresolved, &absent)
		if err == nil {
			s.Unresolved, err = decodeMembers(unresolved)
		}
		if err == nil {
			s.Absent, err = decodeMembers(absent)
		}
		if err != nil {
			return nil, err
		}
		s.Started, s.Deadline, s.settlesFrom = fromMillis(started), fromMillis(deadline), fromMillis(from)
		all = append(all, &s)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	held := map[int64]time.Time{}
	for _, s := range all {
		at, known := held[s.Campaign]
		if !known {
			c, err := l.Campaign(ctx, s.Campaign)
			if err != nil {
				return nil, err
			}
			if c.Content.Schedule > 0 {
				at = time.Unix(c.Content.Schedule, 0)
			}
			held[s.Campaign] = at
		}
		s.Held = at
	}
	return all, nil
}

// RenewLook keeps a look. ErrLostLease when another worker has it.
func (l *Ledger) RenewLook(ctx context.Context, k *Look, lease time.Duration) error {
	return l.writeLoosely(ctx, crashpoint.RenewLook, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		return oneRow(tx.exec.ExecContext(ctx, `UPDATE channels SET look_until = $1 WHERE provider_url = $2 AND provider_user = $3 AND channel = $4 AND look_by = $5`,
			now+lease.Milliseconds(), k.Provider.URL, k.Provider.User, string(k.Channel), k.By))
	})
}

// Looked is what a look came to for one suspect that was due.
type Looked struct {
	Suspect *Suspect
	// Found: the look found some of its members.
	Found bool
	// Ambiguous members may be what the look saw, or not; ascending. They stay
	// unknown.
	Ambiguous []int64
}

// LookResult is what a look came to.
type LookResult struct {
	// Complete: every row was read, so that who was not found is absent.
	Complete bool
	// Problem says why it is not; empty otherwise. It is shown to people.
	Problem string
	Looked  []Looked // one for each suspect that was due
	// Settle is the settling time, MaxPause the longest pause between looks, and
	// MaxTries how many refusals that pass are final in the end.
	Settle, MaxPause time.Duration
	MaxTries         int
}

// EndLook records what a look has shown: members who are absent are pending
// again, in new batches, or cancelled with their campaign. It returns how many.
//
// If part of an attempt was found, the others wait a further settling time. An
// attempt that another look has dealt with meanwhile is left alone, and a look
// that another has overtaken shows nothing.
func (l *Ledger) EndLook(ctx context.Context, k *Look, r LookResult) (absent int, err error) {
	err = l.write(ctx, crashpoint.EndLook, func(tx *tx) error {
		absent = 0
		if overtaken, err := isOvertaken(ctx, tx, k); err != nil || overtaken {
			return err
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		byAttempt := map[int64]Looked{}
		var ids []int64
		for _, s := range r.Looked {
			byAttempt[s.Suspect.Attempt] = s
			ids = append(ids, s.Suspect.Attempt)
		}
		attempts, err := l.lockAttempts(ctx, tx, ids)
		if err != nil {
			return err
		}
		var touched []*evidenced
		for _, a := range attempts {
			s := byAttempt[a.id]
			if a.looks != s.Suspect.Looks {
				continue // another look was quicker
			}
			n, err := l.endLookAt(ctx, tx, a, s, r, now)
			if err != nil {
				return err
			}
			if n > 0 {
				touched = append(touched, a)
			}
			absent += n
		}
		if err := l.settleCampaigns(ctx, tx, touched); err != nil {
			return err
		}
		if err := putOffHeld(ctx, tx, k); err != nil {
			return err
		}
		// Last: whoever locks both locks campaigns before channels.
		_, err = tx.exec.ExecContext(ctx, `UPDATE channels SET look_until = 0, look_by = '', looked_at = $1, look_error = $2
			WHERE provider_url = $3 AND provider_user = $4 AND channel = $5 AND look_by = $6`, now, r.Problem, k.Provider.URL, k.Provider.User, string(k.Channel), k.By)
		if err != nil {
			return fmt.Errorf("ending a look: %w", err)
		}
		return nil
	})
	return absent, err
}

// isOvertaken reports whether another worker has taken on the look meanwhile.
func isOvertaken(ctx context.Context, tx *tx, k *Look) (overtaken bool, err error) {
	err = tx.exec.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM channels
		WHERE provider_url = $1 AND provider_user = $2 AND channel = $3 AND look_by <> $4)`,
		k.Provider.URL, k.Provider.User, string(k.Channel), k.By).Scan(&overtaken)
	if err != nil {
		return false, fmt.Errorf("ending a look: %w", err)
	}
	return overtaken, nil
}

// putOffHeld lets attempts whose messages the provider still holds settle from
// the moment it is to let them go.
func putOffHeld(ctx context.Context, tx *tx, k *Look) error {
	for _, s := range k.Suspects {
		if s.Due || s.Held.IsZero() {
			continue
		}
		_, err := tx.exec.ExecContext(ctx, `UPDATE attempts SET settles_from = $1 WHERE id = $2 AND settles_from < $1`, s.Held.UnixMilli(), s.Attempt)
		if err != nil {
			return fmt.Errorf("putting off the look at attempt %d: %w", s.Attempt, err)
		}
	}
	return nil
}

// DropLook gives a look back that was not carried through, so that another
// worker may take it on at once. It counts for nothing.
func (l *Ledger) DropLook(ctx context.Context, k *Look) error {
	return l.store.writeLoosely(ctx, func(tx *tx) error {
		_, err := tx.exec.ExecContext(ctx, `UPDATE channels SET look_until = 0, look_by = '' WHERE provider_url = $1 AND provider_user = $2 AND channel = $3 AND look_by = $4`,
			k.Provider.URL, k.Provider.User, string(k.Channel), k.By)
		if err != nil {
			return fmt.Errorf("giving a look back: %w", err)
		}
		return nil
	})
}

// endLookAt records what a look has shown of one attempt.
func (l *Ledger) endLookAt(ctx context.Context, tx *tx, a *evidenced, s Looked, r LookResult, now int64) (int, error) {
	settle := r.Settle.Milliseconds()
	again := func(pause int64) error {
		_, err := tx.exec.ExecContext(ctx, `UPDATE attempts SET looks = looks + 1, settles_from = $1 WHERE id = $2`, now+pause-settle, a.id)
		if err != nil {
			return fmt.Errorf("putting off the next look at attempt %d: %w", a.id, err)
		}
		return nil
	}
	growing := min(max(settle, time.Second.Milliseconds())<<min(a.looks, 20), max(r.MaxPause.Milliseconds(), settle))
	switch {
	case len(a.unresolved) == 0: // it was read again for late evidence
		if len(a.absent) == 0 || !r.Complete {
			return 0, again(growing)
		}
		return 0, again(settle << (2 * (a.looks + 2)))
	case !r.Complete:
		return 0, again(growing)
	case s.Found:
		return 0, again(settle)
	}
	gone := map[int64]bool{}
	for _, id := range a.unresolved {
		if _, unclear := slices.BinarySearch(s.Ambiguous, id); !unclear {
			gone[id] = true
		}
	}
	if len(gone) == 0 {
		return 0, again(growing)
	}
	if err := l.returnToPending(ctx, tx, a, gone, s.Suspect.tries, r.MaxTries, now); err != nil {
		return 0, err
	}
	if len(a.unresolved) > 0 {
		return len(gone), again(growing)
	}
	// From here on it is read for late evidence only.
	_, err := tx.exec.ExecContext(ctx, `UPDATE attempts SET looks = 0, settles_from = $1 WHERE id = $2`, now+3*settle, a.id)
	if err != nil {
		return 0, fmt.Errorf("putting off the next look at attempt %d: %w", a.id, err)
	}
	return len(gone), nil
}

// returnToPending makes unresolved members pending again who are known not to
// have been reached: in a batch of their own. Of an attempt that was answered,
// the rows of a few were lacking or unclear; after maxTries times (0: never)
// those are rejected.
func (l *Ledger) returnToPending(ctx context.Context, tx *tx, a *evidenced, gone map[int64]bool, tries, maxTries int, now int64) error {
	var ids []int64
	for _, id := range a.unresolved {
		if gone[id] {
			ids = append(ids, id)
		}
	}
	stand, err := standings(ctx, tx, ids)
	if err != nil {
		return err
	}
	var (
		released campaign.Micros
		back     []int64
	)
	for _, id := range ids {
		released += stand[id].quoted
		if stand[id].state == campaign.Unknown {
			back = append(back, id) // the others have been reached by an earlier attempt, as evidence shows
		}
	}
	a.unresolved = without(a.unresolved, gone)
	a.absent = append(a.absent, ids...)
	slices.Sort(a.absent)
	a.absent = slices.Compact(a.absent)
	if err := saveMembers(ctx, tx, a); err != nil {
		return err
	}
	if err := unreserve(ctx, tx, a.campaign, released); err != nil {
		return err
	}
	if len(back) == 0 {
		return nil
	}
	add := 0
	if a.state == attemptAnswered {
		add = 1
		if maxTries > 0 && tries+1 >= maxTries {
			return l.rejectUnclear(ctx, tx, a, back)
		}
	}
	if err := setRecipients(ctx, tx, back, campaign.Pending, "", campaign.Unknown); err != nil {
		return err
	}
	if err := l.childBatch(ctx, tx, child{parent: a.batch, members: back, dueAt: now, resend: true, tries: add}); err != nil {
		return err
	}
	return settleBatch(ctx, tx, a.batch)
}

// rejectUnclear rejects members with the reason for which they were unclear.
func (l *Ledger) rejectUnclear(ctx context.Context, tx *tx, a *evidenced, ids []int64) error {
	for part := range slices.Chunk(ids, 500) {
		args := append([]any{int(campaign.Rejected), int(campaign.Unknown)}, asArgs(part)...)
		_, err := tx.exec.ExecContext(ctx, `UPDATE recipients SET state = $1, reason = COALESCE(NULLIF(reason, ''), 'no_row') WHERE state = $2 AND id IN (`+placeholders(3, len(part))+`)`, args...)
		if err != nil {
			return fmt.Errorf("giving up recipients of attempt %d: %w", a.id, err)
		}
	}
	return settleBatch(ctx, tx, a.batch)
}

// PutOffLook records that history could not be looked at, and why: everybody
// stays unknown. It needs no look to have begun, and counts as one in vain.
func (l *Ledger) PutOffLook(ctx context.Context, d LookDue, problem string, wait time.Duration) error {
	return l.write(ctx, crashpoint.PutOffLook, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		err = oneRow(tx.exec.ExecContext(ctx, `INSERT INTO channels (provider_url, provider_user, channel, look_until, looked_at, look_error) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (provider_url, provider_user, channel) DO UPDATE SET look_until = $4, looked_at = $5, look_error = $6, look_by = '' WHERE channels.look_until <= $5`,
			d.Provider.URL, d.Provider.User, string(d.Channel), now+wait.Milliseconds(), now, problem))
		if errors.Is(err, ErrLostLease) {
			return nil // somebody looks just now
		}
		if err == nil {
			_, err = tx.exec.ExecContext(ctx, `UPDATE attempts SET looks = looks + 1 WHERE unresolved IS NOT NULL AND state IN (1, 3)
				AND provider_url = $1 AND provider_user = $2 AND channel = $3 AND settles_from <= $4`, d.Provider.URL, d.Provider.User, string(d.Channel), now)
		}
		if err != nil {
			return fmt.Errorf("putting off a look: %w", err)
		}
		return nil
	})
}

// SuspectRecipients reads the recipients of an attempt that are to be found out
// or were shown absent, with their contacts, in the order of their ids.
func (l *Ledger) SuspectRecipients(ctx context.Context, s *Suspect) ([]Recipient, error) {
	c, err := l.Campaign(ctx, s.Campaign)
	if err != nil {
		return nil, err
	}
	columns, err := l.listColumns(ctx, c.ListID)
	if err != nil {
		return nil, err
	}
	ids := slices.Sorted(slices.Values(append(slices.Clone(s.Unresolved), s.Absent...)))
	ids = slices.Compact(ids)
	all := make([]Recipient, 0, len(ids))
	for part := range slices.Chunk(ids, 500) {
		args := append([]any{recordSeparator}, asArgs(part)...)
		var cells sql.NullString
		err := l.store.read().QueryRowContext(ctx, `SELECT string_agg(r.id || ' ' || r.quoted || ' ' || `+contactColumn+`, $1)
			FROM recipients r JOIN contacts k ON k.id = r.contact_id WHERE r.id IN (`+placeholders(2, len(part))+`)`, args...).Scan(&cells)
		if err != nil {
			return nil, fmt.Errorf("reading the recipients of attempt %d: %w", s.Attempt, err)
		}
		if !cells.Valid {
			continue
		}
		for cell := range strings.SplitSeq(cells.String, recordSeparator) {
			r, err := readRecipient(cell, columns)
			if err != nil {
				return nil, fmt.Errorf("reading the recipients of attempt %d: %w", s.Attempt, err)
			}
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Recipient) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// KnownMessage is whose message the ledger knows one of the provider's ids to
// be. It is not said what became of it: an answer may bear the id of a message
// of which it does not know that itself.
type KnownMessage struct {
	Attempt   int64
	Recipient int64
	Started   time.Time // when the attempt began, by the database's clock
}

// KnownMessages returns those of the provider's ids that the ledger holds
// already, among the attempts on a channel that began since.
func (l *Ledger) KnownMessages(ctx context.Context, d LookDue, since time.Time, ids map[string]bool) (map[string]KnownMessage, error) {
	known := map[string]KnownMessage{}
	rows, err := l.store.read().QueryContext(ctx, `SELECT id, started_at, members, answer FROM attempts
		WHERE answer IS NOT NULL AND channel = $1 AND started_at >= $2`, string(d.Channel), since.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("reading answers: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			attempt, started int64
			cell, answer     []byte
		)
		if err := rows.Scan(&attempt, &started, &cell, &answer); err != nil {
			return nil, fmt.Errorf("reading answers: %w", err)
		}
		members, err := decodeMembers(cell)
		if err != nil {
			return nil, fmt.Errorf("attempt %d: %w", attempt, err)
		}
		err = unpackAnswer(answer, members, func(recipient int64, s Said) {
			if ids[s.ProviderID] {
				known[s.ProviderID] = KnownMessage{attempt, recipient, fromMillis(started)}
			}
		})
		if err != nil {
			return nil, fmt.Errorf("attempt %d: %w", attempt, err)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading answers: %w", err)
	}
	single, err := l.store.read().QueryContext(ctx, `SELECT m.provider_id, m.attempt_id, m.recipient_id, a.started_at FROM messages m JOIN attempts a ON a.id = m.attempt_id
		WHERE a.channel = $1 AND a.started_at >= $2`, string(d.Channel), since.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	defer single.Close()
	for single.Next() {
		var (
			id      string
			k       KnownMessage
			started int64
		)
		if err := single.Scan(&id, &k.Attempt, &k.Recipient, &started); err != nil {
			return nil, fmt.Errorf("reading messages: %w", err)
		}
		k.Started = fromMillis(started)
		if ids[id] {
			known[id] = k
		}
	}
	return known, single.Err()
}

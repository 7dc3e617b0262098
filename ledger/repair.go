package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/postrider/postrider/campaign"
)

// A quarantined ledger does not know what was sent after it was copied. This
// file adopts what the provider's history shows of that: messages of attempts
// that the ledger knows are evidence as any other, and for the others it makes
// up the attempts that the lost life must have made. Everything may come any
// number of times, so that a repair that was killed begins anew.

// adopter is the worker of attempts that were made up from history.
const adopter = "history"

const (
	adoptedNote = "adopted from the provider's history"
	unclearNote = "history shows messages that may be theirs"
	lostNote    = "the attempt was under way when the ledger was copied"
)

// restoredReason is why a campaign waits for a person after a quarantine.
const restoredReason = "restored: what was decided since the ledger was copied is not known; look, then resume"

// ErrNotQuarantined says that there is nothing to repair.
var ErrNotQuarantined = errors.New("the ledger is not quarantined")

func errNotQuarantined() error {
	return campaign.Errorf(campaign.CodeConflict, "%w: there is nothing to repair", ErrNotQuarantined)
}

// Repair is what has to be read before a quarantine may be lifted.
type Repair struct {
	Reason   string
	Since    time.Time // when the quarantine began
	Channels []RepairChannel
}

// RepairChannel is a channel of an account whose history has to be read.
type RepairChannel struct {
	LookDue
	// From is when the first message that the ledger does not know of may have
	// left, or that it has not found out about, by the database's clock.
	From time.Time
	// Open: campaigns that had not ended may have gone on. The quarantine must
	// not be lifted before the history was read. Otherwise it is worth a look.
	Open bool
	// Read: that was done completely, since the quarantine began.
	Read bool
	// Held is until when messages that have not left here may be held at the
	// provider: history may not show them before. Zero when there are none.
	Held time.Time
}

// BeginRepair says what has to be read. Whoever the ledger says is under way is
// unknown from now on: the worker that knows is none of this ledger's. An Error
// with CodeConflict when there is no quarantine.
func (l *Ledger) BeginRepair(ctx context.Context) (*Repair, error) {
	q, err := l.Quarantine(ctx)
	if err != nil {
		return nil, err
	}
	if q.Reason == "" {
		return nil, errNotQuarantined()
	}
	for {
		n, err := l.sweep(ctx, `(SELECT quarantine FROM ledger) <> ''`, lostNote)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
	}
	last, err := l.lastActivity(ctx, q.Since)
	if err != nil {
		return nil, err
	}
	all, err := l.Campaigns(ctx)
	if err != nil {
		return nil, err
	}
	r := &Repair{Reason: q.Reason, Since: q.Since}
	for _, c := range all {
		if c.State == campaign.Draft || c.State == campaign.Failed || c.Created.After(q.Since) {
			continue
		}
		d := LookDue{Provider: c.Provider, Channel: c.Channel}
		i := slices.IndexFunc(r.Channels, func(o RepairChannel) bool { return o.LookDue == d })
		if i < 0 {
			i = len(r.Channels)
			r.Channels = append(r.Channels, RepairChannel{LookDue: d, From: last})
		}
		ch := &r.Channels[i]
		if c.State.Final() {
			continue
		}
		ch.Open = true
		if held := time.Unix(c.Content.Schedule, 0); c.Content.Schedule > 0 && held.After(ch.Held) {
			n, err := l.Counts(ctx, c.ID)
			if err != nil {
				return nil, err
			}
			if n.Left() > 0 {
				ch.Held = held
			}
		}
	}
	slices.SortFunc(r.Channels, func(a, b RepairChannel) int {
		return cmp.Or(cmp.Compare(a.Provider.URL, b.Provider.URL), cmp.Compare(a.Provider.User, b.Provider.User), cmp.Compare(a.Channel, b.Channel))
	})
	for i := range r.Channels {
		if err := l.repairChannel(ctx, &r.Channels[i], q.Since); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// lastActivity is when the ledger was in use last before it was copied: what it
// does not know of happened later, but for what was being written at that
// moment. What a repair has adopted is not its own.
func (l *Ledger) lastActivity(ctx context.Context, before time.Time) (time.Time, error) {
	last := int64(0)
	for _, query := range []string{
		`SELECT COALESCE(max(started_at), 0) FROM attempts WHERE worker <> '` + adopter + `' AND started_at <= $1`,
		`SELECT COALESCE(max(created_at), 0) FROM campaigns WHERE created_at <= $1`,
		`SELECT COALESCE(max(created_at), 0) FROM lists WHERE created_at <= $1`,
	} {
		var at int64
		if err := l.store.read().QueryRowContext(ctx, query, before.UnixMilli()).Scan(&at); err != nil {
			return time.Time{}, fmt.Errorf("asking when the ledger was in use last: %w", err)
		}
		last = max(last, at)
	}
	return fromMillis(last), nil
}

func (l *Ledger) repairChannel(ctx context.Context, ch *RepairChannel, since time.Time) error {
	var first, read int64
	err := l.store.read().QueryRowContext(ctx, `SELECT COALESCE(min(a.started_at), 0) FROM attempts a JOIN campaigns c ON c.id = a.campaign_id
		WHERE (a.unresolved IS NOT NULL OR a.absent IS NOT NULL) AND c.state NOT IN ('completed', 'cancelled', 'failed')
		  AND a.provider_url = $1 AND a.provider_user = $2 AND a.channel = $3`, ch.Provider.URL, ch.Provider.User, string(ch.Channel)).Scan(&first)
	if err != nil {
		return fmt.Errorf("asking what is to be found out of %s: %w", ch.Channel, err)
	}
	if at := fromMillis(first); first > 0 && at.Before(ch.From) {
		ch.From = at
	}
	err = l.store.read().QueryRowContext(ctx, `SELECT COALESCE(max(looked_at), 0) FROM channels
		WHERE provider_url = $1 AND provider_user = $2 AND channel = $3 AND look_error = ''`, ch.Provider.URL, ch.Provider.User, string(ch.Channel)).Scan(&read)
	if err != nil {
		return fmt.Errorf("asking when the history of %s was read: %w", ch.Channel, err)
	}
	ch.Read = fromMillis(read).After(since) // nobody else looks in quarantine
	return nil
}

// NoteRepaired records that the history of a channel was read in quarantine,
// and why it was not read completely; problem is empty when it was.
func (l *Ledger) NoteRepaired(ctx context.Context, d LookDue, problem string) error {
	return l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.exec.ExecContext(ctx, `INSERT INTO channels (provider_url, provider_user, channel, looked_at, look_error) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (provider_url, provider_user, channel) DO UPDATE SET looked_at = $4, look_error = $5`,
			d.Provider.URL, d.Provider.User, string(d.Channel), now, problem)
		if err != nil {
			return fmt.Errorf("recording that the history of %s was read: %w", d.Channel, err)
		}
		return nil
	})
}

// Sighting is a message of this ledger that history shows.
type Sighting struct {
	// Number is that of the attempt it left with; 0 when the message bears no
	// reference and was matched otherwise.
	Number int
	At     time.Time // as history dates it
	Outcome
	PriceUnread bool // as in Finding
}

// Adopted says what came of sightings.
type Adopted struct {
	Accepted   int // recipients, as the two that follow
	Rejected   int
	Cancelled  int
	Duplicates int // messages too many
	Known      int // messages that changed nothing
	// Strange are the provider's ids of messages to recipients whom this ledger
	// has never heard of: of campaigns that were made after it was copied.
	Strange []string
}

// Add adds up all but Strange.
func (a *Adopted) Add(b Adopted) {
	a.Accepted += b.Accepted
	a.Rejected += b.Rejected
	a.Cancelled += b.Cancelled
	a.Duplicates += b.Duplicates
	a.Known += b.Known
}

// sighted is a recipient of a sighting.
type sighted struct {
	standing
	campaign int64
}

// adoption is one transaction of Adopt.
type adoption struct {
	l          *Ledger
	tx         *tx
	now        int64
	since      time.Time
	channel    LookDue
	recipients map[int64]*sighted
	campaigns  map[int64]*Campaign // those that may be adopted for
	lineages   map[int64][]*lineAttempt
	done       Adopted
}

// lineAttempt is an attempt of a batch or of those that its recipients came
// from.
type lineAttempt struct {
	evidenced
	number  int
	worker  string
	members []int64
}

// Adopt records sightings on a channel in one transaction.
//
// A message of an attempt that the ledger knows is evidence, as in
// ApplyEvidence. For any other an attempt is made up, and its number is not
// used again: who was not accepted is now; who was is recorded as a duplicate.
// Messages that failed or were cancelled move those who were pending.
func (l *Ledger) Adopt(ctx context.Context, d LookDue, sightings []Sighting) (Adopted, error) {
	var done Adopted
	err := l.store.write(ctx, func(tx *tx) error {
		a := &adoption{l: l, tx: tx, channel: d, lineages: map[int64][]*lineAttempt{}}
		if err := a.begin(ctx); err != nil {
			return err
		}
		if err := a.load(ctx, sightings); err != nil {
			return err
		}
		known, fresh, err := a.sort(ctx, sightings)
		if err != nil {
			return err
		}
		if err := a.applyKnown(ctx, known); err != nil {
			return err
		}
		if err := a.applyFresh(ctx, fresh); err != nil {
			return err
		}
		done = a.done
		return a.settle(ctx)
	})
	return done, err
}

func (a *adoption) begin(ctx context.Context) error {
	q, err := readQuarantine(ctx, a.tx.exec)
	if err != nil {
		return err
	}
	if q.Reason == "" {
		return errNotQuarantined()
	}
	a.since = q.Since
	a.now, err = a.l.now(ctx, a.tx)
	return err
}

// load reads the recipients, and locks their campaigns in the order of their ids.
func (a *adoption) load(ctx context.Context, sightings []Sighting) error {
	a.recipients, a.campaigns = map[int64]*sighted{}, map[int64]*Campaign{}
	set := map[int64]bool{}
	for _, s := range sightings {
		set[s.Recipient] = true
	}
	found := map[int64]bool{}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(set)), 500) {
		rows, err := a.tx.exec.QueryContext(ctx, `SELECT r.id, b.campaign_id FROM recipients r JOIN batches b ON b.id = r.batch_id
			WHERE r.id IN (`+placeholders(1, len(part))+`)`, asArgs(part)...)
		if err != nil {
			return fmt.Errorf("reading recipients: %w", err)
		}
		for rows.Next() {
			var id int64
			s := &sighted{}
			if err := rows.Scan(&id, &s.campaign); err != nil {
				return errors.Join(fmt.Errorf("reading recipients: %w", err), rows.Close())
			}
			a.recipients[id] = s
			found[s.campaign] = true
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return fmt.Errorf("reading recipients: %w", err)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if _, err := a.l.lockCampaign(ctx, a.tx, id); err != nil {
			return err
		}
		c, err := scanCampaign(a.tx.exec.QueryRowContext(ctx, `SELECT `+campaignColumns+` FROM campaigns c WHERE c.id = $1`, id))
		if err != nil {
			return fmt.Errorf("reading campaign %d: %w", id, err)
		}
		// A draft has sent nothing; if it was finished and sent in the lost life,
		// what it planned here may be something else. So may a campaign made since.
		if c.State == campaign.Draft || c.State == campaign.Failed || c.Created.After(a.since) ||
			c.Provider != a.channel.Provider || c.Channel != a.channel.Channel {
			continue
		}
		a.campaigns[id] = c
	}
	// Read again what the locks protect.
	stand, err := standings(ctx, a.tx, slices.Sorted(maps.Keys(a.recipients)))
	if err != nil {
		return err
	}
	for id, r := range a.recipients {
		r.standing = stand[id]
	}
	return nil
}

// sort tells messages of attempts that the ledger knows from those of others.
func (a *adoption) sort(ctx context.Context, sightings []Sighting) (known map[int64][]Finding, fresh []Sighting, err error) {
	known = map[int64][]Finding{}
	for _, s := range sightings {
		r := a.recipients[s.Recipient]
		if r == nil || a.campaigns[r.campaign] == nil {
			a.done.Strange = append(a.done.Strange, s.ProviderID)
			continue
		}
		line, read := a.lineages[r.batch]
		if !read {
			if line, err = a.l.lineage(ctx, a.tx, r.batch); err != nil {
				return nil, nil, err
			}
			a.lineages[r.batch] = line
		}
		attempt := attemptOf(line, &s)
		switch {
		case attempt == nil && s.Number == 0 && r.state != campaign.Pending && r.state != campaign.Unknown:
			a.done.Known++ // it was matched by guess, and the guess is stale
		case attempt == nil:
			fresh = append(fresh, s)
		case attempt.state == attemptAnswered || attempt.state == attemptUnknown:
			known[attempt.id] = append(known[attempt.id], Finding{Attempt: attempt.id, Outcome: s.Outcome, PriceUnread: s.PriceUnread})
		case s.State == campaign.Accepted && slices.Contains(everywhere, r.state):
			fresh = append(fresh, s) // it was said that it never left
		default:
			a.done.Known++
		}
	}
	return known, fresh, nil
}

// attemptOf is the attempt that a message left with; nil when the ledger knows
// none. A message without a number is of the attempt of which its recipient is
// being found out.
func attemptOf(line []*lineAttempt, s *Sighting) *lineAttempt {
	for _, a := range line {
		of := a.members
		if s.Number == 0 {
			of = a.unresolved
		} else if a.number != s.Number {
			continue
		}
		if _, carried := slices.BinarySearch(of, s.Recipient); carried {
			return a
		}
	}
	return nil
}

// lineage reads the attempts of a batch and of those that its recipients came
// from, the newest first.
func (l *Ledger) lineage(ctx context.Context, tx *tx, batch int64) ([]*lineAttempt, error) {
	rows, err := tx.exec.QueryContext(ctx, `
		WITH RECURSIVE line (id, parent_id) AS (
			SELECT id, parent_id FROM batches WHERE id = $1
			UNION SELECT b.id, b.parent_id FROM batches b JOIN line ON b.id = line.parent_id)
		SELECT a.id, a.batch_id, a.number, a.worker, a.state, a.members, a.unresolved FROM attempts a JOIN line ON a.batch_id = line.id ORDER BY a.id DESC`, batch)
	if err != nil {
		return nil, fmt.Errorf("reading the attempts of batch %d: %w", batch, err)
	}
	defer rows.Close()
	var all []*lineAttempt
	for rows.Next() {
		var (
			a                   lineAttempt
			members, unresolved []byte
		)
		err := rows.Scan(&a.id, &a.batch, &a.number, &a.worker, &a.state, &members, &unresolved)
		if err == nil {
			a.members, err = decodeMembers(members)
		}
		if err == nil {
			a.unresolved, err = decodeMembers(unresolved)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the attempts of batch %d: %w", batch, err)
		}
		all = append(all, &a)
	}
	return all, rows.Err()
}

// applyKnown applies evidence of attempts that the ledger knows.
func (a *adoption) applyKnown(ctx context.Context, known map[int64][]Finding) error {
	attempts, err := a.l.lockAttempts(ctx, a.tx, slices.Sorted(maps.Keys(known)))
	if err != nil {
		return err
	}
	for _, at := range attempts {
		all := known[at.id]
		n, err := a.l.applyEvidence(ctx, a.tx, at, FromHistory, all)
		if err != nil {
			return err
		}
		a.done.Duplicates += n.Duplicates
		a.done.Known += len(all) - n.Found - n.Late
		ids := make([]int64, len(all))
		for i := range all {
			ids[i] = all[i].Recipient
		}
		after, err := standings(ctx, a.tx, ids)
		if err != nil {
			return err
		}
		for id, now := range after { // what the rest of the sightings must know
			r := a.recipients[id]
			if r.state != now.state {
				a.count(now.state)
			}
			r.standing = now
		}
	}
	return nil
}

func (a *adoption) count(to campaign.RecipientState) {
	switch to {
	case campaign.Accepted:
		a.done.Accepted++
	case campaign.Rejected:
		a.done.Rejected++
	case campaign.RecipientCancelled:
		a.done.Cancelled++
	}
}

// madeUp is an attempt that the lost life must have made.
type madeUp struct {
	batch  int64
	number int // 0: whichever is free
}

// applyFresh makes attempts up for messages of which the ledger knows none.
func (a *adoption) applyFresh(ctx context.Context, fresh []Sighting) error {
	// Accepted messages first: what failed before or after them changes nothing.
	slices.SortStableFunc(fresh, func(x, y Sighting) int {
		return cmp.Or(cmp.Compare(fateOrder(x.State), fateOrder(y.State)), cmp.Compare(x.Number, y.Number))
	})
	byAttempt := map[madeUp][]Sighting{}
	for _, s := range fresh {
		k := madeUp{a.recipients[s.Recipient].batch, s.Number}
		byAttempt[k] = append(byAttempt[k], s)
	}
	for _, k := range slices.SortedFunc(maps.Keys(byAttempt), func(x, y madeUp) int {
		return cmp.Or(cmp.Compare(x.batch, y.batch), cmp.Compare(x.number, y.number))
	}) {
		if err := a.applyMadeUp(ctx, k, byAttempt[k]); err != nil {
			return err
		}
	}
	return nil
}

func fateOrder(s campaign.RecipientState) int {
	if s == campaign.Accepted {
		return 0
	}
	return 1
}

func (a *adoption) applyMadeUp(ctx context.Context, k madeUp, all []Sighting) error {
	if k.number > 0 {
		_, err := a.tx.exec.ExecContext(ctx, `UPDATE batches SET attempts = CASE WHEN attempts < $1 THEN $1 ELSE attempts END WHERE id = $2`, k.number, k.batch)
		if err != nil {
			return fmt.Errorf("raising the attempts of batch %d: %w", k.batch, err)
		}
	}
	var (
		c          *Campaign
		kept       []Sighting
		said       []Outcome
		moves      = map[fate][]int64{}
		duplicates []int64
		before     []int64 // of whom something else was adopted before
		spent      campaign.Micros
		seen       = map[int64]bool{}
	)
	for _, s := range all {
		r := a.recipients[s.Recipient]
		c = a.campaigns[r.campaign]
		if seen[s.Recipient] {
			a.done.Known++
			continue
		}
		if s.PriceUnread {
			s.Price = r.quoted
		}
		switch {
		case s.State == campaign.Accepted && slices.Contains(everywhere, r.state):
			if r.state == campaign.Rejected || r.state == campaign.RecipientCancelled {
				before = append(before, s.Recipient)
			}
			r.state = campaign.Accepted
			moves[fate{campaign.Accepted, ""}] = append(moves[fate{campaign.Accepted, ""}], s.Recipient)
			spent += s.Price
			a.count(r.state)
		case s.State == campaign.Accepted:
			duplicates = append(duplicates, s.Recipient)
			spent += s.Price
		case r.state == campaign.Pending:
			r.state = s.State
			moves[fate{s.State, s.Reason}] = append(moves[fate{s.State, s.Reason}], s.Recipient)
			a.count(r.state)
		default:
			a.done.Known++
			continue
		}
		seen[s.Recipient] = true
		kept = append(kept, s)
		said = append(said, s.Outcome)
	}
	if len(kept) == 0 {
		return nil
	}
	attempt, err := a.makeUp(ctx, k, c, kept)
	if err != nil {
		return err
	}
	for f, ids := range moves {
		from := []campaign.RecipientState{campaign.Pending}
		if f.state == campaign.Accepted {
			from = everywhere
		}
		if err := setRecipients(ctx, a.tx, ids, f.state, f.reason, from...); err != nil {
			return err
		}
	}
	if err := a.forget(ctx, attempt, before); err != nil {
		return err
	}
	if err := a.l.writeMessages(ctx, a.tx, attempt, FromHistory, said); err != nil {
		return err
	}
	if _, err := a.tx.exec.ExecContext(ctx, `UPDATE campaigns SET spent = spent + $1 WHERE id = $2`, int64(spent), c.ID); err != nil {
		return fmt.Errorf("settling the spend: %w", err)
	}
	if err := settleBatch(ctx, a.tx, k.batch); err != nil {
		return err
	}
	a.done.Duplicates += len(duplicates)
	e := &evidenced{id: attempt, campaign: c.ID, batch: k.batch, channel: c.Channel, provider: c.Provider}
	return a.l.recordDuplicates(ctx, a.tx, e, duplicates, a.now)
}

// forget takes away what was adopted of failed messages of recipients who were
// accepted with an earlier attempt, so that it does not pass for the newest.
func (a *adoption) forget(ctx context.Context, attempt int64, ids []int64) error {
	for part := range slices.Chunk(ids, 500) {
		args := append([]any{int(FromHistory), attempt}, asArgs(part)...)
		_, err := a.tx.exec.ExecContext(ctx, `DELETE FROM messages WHERE evidence = $1 AND attempt_id > $2 AND recipient_id IN (`+placeholders(3, len(part))+`)`, args...)
		if err != nil {
			return fmt.Errorf("forgetting messages that failed: %w", err)
		}
	}
	return nil
}

// makeUp finds or writes the attempt of a batch with a number, and sees to it
// that it carries the recipients.
func (a *adoption) makeUp(ctx context.Context, k madeUp, c *Campaign, all []Sighting) (int64, error) {
	ids := make([]int64, len(all))
	from, to := all[0].At, all[0].At
	for i, s := range all {
		ids[i] = s.Recipient
		if s.At.Before(from) {
			from = s.At
		}
		if s.At.After(to) {
			to = s.At
		}
	}
	var (
		id             int64
		worker         string
		cell           []byte
		started, until int64
	)
	const find = `SELECT id, worker, members, started_at, deadline FROM attempts WHERE batch_id = $1 AND `
	query, args := find+`number = $2`, []any{k.batch, k.number}
	if k.number == 0 {
		query, args = find+`worker = $2 AND state = $3 ORDER BY id DESC LIMIT 1`, []any{k.batch, adopter, attemptAnswered}
	}
	err := a.tx.exec.QueryRowContext(ctx, query, args...).Scan(&id, &worker, &cell, &started, &until)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		slices.Sort(ids)
		return a.writeAttempt(ctx, c, k, attemptAnswered, adoptedNote, ids, nil, 0, from, to)
	case err != nil:
		return 0, fmt.Errorf("looking for attempt %d of batch %d: %w", k.number, k.batch, err)
	case worker != adopter:
		return id, nil // it carried others, as far as we know
	}
	members, err := decodeMembers(cell)
	if err != nil {
		return 0, fmt.Errorf("attempt %d: %w", id, err)
	}
	members = slices.Compact(slices.Sorted(slices.Values(append(members, ids...))))
	_, err = a.tx.exec.ExecContext(ctx, `UPDATE attempts SET members = $1, size = $2, started_at = $3, deadline = $4 WHERE id = $5`,
		encodeMembers(members), len(members), min(started, from.UnixMilli()), max(until, to.UnixMilli()), id)
	if err != nil {
		return 0, fmt.Errorf("extending attempt %d: %w", id, err)
	}
	return id, nil
}

// writeAttempt writes an attempt that was made up.
func (a *adoption) writeAttempt(ctx context.Context, c *Campaign, k madeUp, state int, note string, members, unresolved []int64, reserved campaign.Micros, from, to time.Time) (int64, error) {
	if k.number == 0 {
		err := a.tx.exec.QueryRowContext(ctx, `UPDATE batches SET attempts = attempts + 1 WHERE id = $1 RETURNING attempts`, k.batch).Scan(&k.number)
		if err != nil {
			return 0, fmt.Errorf("raising the attempts of batch %d: %w", k.batch, err)
		}
	}
	var id int64
	err := a.tx.exec.QueryRowContext(ctx, `
		INSERT INTO attempts (campaign_id, batch_id, channel, number, fence, worker, provider_url, provider_user, state, size, members, reserved,
		                      started_at, deadline, closed_at, note, unresolved, settles_from)
		SELECT $1, $2, $3, $4, fence, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $14 FROM batches WHERE id = $2 RETURNING id`,
		c.ID, k.batch, string(c.Channel), k.number, adopter, c.Provider.URL, c.Provider.User, state, len(members), encodeMembers(members), int64(reserved),
		from.UnixMilli(), to.UnixMilli(), a.now, note, nullBytes(encodeMembers(unresolved))).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("making up attempt %d of batch %d: %w", k.number, k.batch, err)
	}
	return id, nil
}

// settle ends what has nobody left, and lets nothing be discarded of which
// something left.
func (a *adoption) settle(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(a.campaigns)) {
		state, err := a.l.lockCampaign(ctx, a.tx, id)
		if err != nil {
			return err
		}
		switch state {
		case campaign.Quoted: // what is not approved is discarded in the end
			err = a.l.moveCampaign(ctx, a.tx, id, Move{To: campaign.Sending, Actor: "audit", Reason: "it was approved after the ledger was copied, as history shows"})
		case campaign.Cancelling:
			err = withdraw(ctx, a.tx, id)
		}
		if err != nil {
			return err
		}
		if err := a.l.finishIfDone(ctx, a.tx, id); err != nil {
			return err
		}
	}
	return nil
}

// Unclear is a recipient of whom history may show a message, or not.
type Unclear struct {
	Recipient int64
	From, To  time.Time // the dates of the messages that may be theirs
}

// AdoptUnclear makes recipients unknown who were pending, under an attempt that
// was made up for them: nobody sends to them again before a person has decided.
// Those who were unknown already stay so, whatever a look shows that would not
// have met those messages. It returns how many are unclear.
func (l *Ledger) AdoptUnclear(ctx context.Context, d LookDue, all []Unclear) (int, error) {
	n := 0
	err := l.store.write(ctx, func(tx *tx) error {
		n = 0
		a := &adoption{l: l, tx: tx, channel: d, lineages: map[int64][]*lineAttempt{}}
		if err := a.begin(ctx); err != nil {
			return err
		}
		sightings := make([]Sighting, len(all))
		byID := map[int64]Unclear{}
		for i, u := range all {
			sightings[i].Recipient = u.Recipient
			byID[u.Recipient] = u
		}
		if err := a.load(ctx, sightings); err != nil {
			return err
		}
		byBatch := map[int64][]int64{}
		for _, id := range slices.Sorted(maps.Keys(byID)) {
			r := a.recipients[id]
			if r == nil || a.campaigns[r.campaign] == nil || r.state != campaign.Pending && r.state != campaign.Unknown {
				continue
			}
			n++
			if r.state == campaign.Unknown {
				if err := a.widen(ctx, r.batch, byID[id]); err != nil {
					return err
				}
				continue
			}
			byBatch[r.batch] = append(byBatch[r.batch], id)
		}
		for _, batch := range slices.Sorted(maps.Keys(byBatch)) {
			if err := a.setUnclear(ctx, batch, byBatch[batch], byID); err != nil {
				return err
			}
		}
		return a.settle(ctx)
	})
	return n, err
}

// widen lets looks for an unknown recipient meet the messages that may be
// theirs.
func (a *adoption) widen(ctx context.Context, batch int64, u Unclear) error {
	line, err := a.l.lineage(ctx, a.tx, batch)
	if err != nil {
		return err
	}
	attempt := attemptOf(line, &Sighting{Outcome: Outcome{Recipient: u.Recipient}})
	if attempt == nil {
		return nil
	}
	_, err = a.tx.exec.ExecContext(ctx, `UPDATE attempts SET started_at = CASE WHEN started_at > $1 THEN $1 ELSE started_at END,
		deadline = CASE WHEN deadline < $2 THEN $2 ELSE deadline END WHERE id = $3`, u.From.UnixMilli(), u.To.UnixMilli(), attempt.id)
	if err != nil {
		return fmt.Errorf("widening attempt %d: %w", attempt.id, err)
	}
	return nil
}

func (a *adoption) setUnclear(ctx context.Context, batch int64, ids []int64, byID map[int64]Unclear) error {
	c := a.campaigns[a.recipients[ids[0]].campaign]
	var reserved campaign.Micros
	from, to := byID[ids[0]].From, byID[ids[0]].To
	for _, id := range ids {
		reserved += a.recipients[id].quoted
		if u := byID[id]; u.From.Before(from) {
			from = u.From
		}
		if u := byID[id]; u.To.After(to) {
			to = u.To
		}
	}
	if _, err := a.writeAttempt(ctx, c, madeUp{batch: batch}, attemptUnknown, unclearNote, ids, ids, reserved, from, to); err != nil {
		return err
	}
	if err := setRecipients(ctx, a.tx, ids, campaign.Unknown, "", campaign.Pending); err != nil {
		return err
	}
	if _, err := a.tx.exec.ExecContext(ctx, `UPDATE campaigns SET reserved = reserved + $1 WHERE id = $2`, int64(reserved), c.ID); err != nil {
		return fmt.Errorf("reserving the spend: %w", err)
	}
	return settleBatch(ctx, a.tx, batch)
}

// EachOpen hands every recipient who is pending or unknown to fn, of the
// campaigns on a channel of an account that were there when the ledger was
// copied and have not ended.
func (l *Ledger) EachOpen(ctx context.Context, d LookDue, fn func(*Campaign, *ReportRow) error) error {
	q, err := l.Quarantine(ctx)
	if err != nil {
		return err
	}
	all, err := l.Campaigns(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Provider != d.Provider || c.Channel != d.Channel || c.State.Final() || c.State == campaign.Draft || c.Created.After(q.Since) {
			continue
		}
		columns, err := l.listColumns(ctx, c.ListID)
		if err != nil {
			return err
		}
		rows, err := l.store.read().QueryContext(ctx, `SELECT id FROM batches WHERE campaign_id = $1 AND (state <> 2 OR unknown > 0) ORDER BY id`, c.ID)
		if err != nil {
			return fmt.Errorf("reading the batches of campaign %d: %w", c.ID, err)
		}
		batches, err := scanIDs(rows)
		if err != nil {
			return fmt.Errorf("reading the batches of campaign %d: %w", c.ID, err)
		}
		for _, b := range batches {
			err := l.eachOfBatch(ctx, b, columns, func(r *ReportRow) error {
				if r.State != campaign.Pending && r.State != campaign.Unknown {
					return nil
				}
				return fn(c, r)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// HoldRestored makes a quarantined ledger's campaigns wait for a person, before
// the quarantine is lifted: whether they should still go on, and who has opted
// out, was perhaps decided after the ledger was copied. Campaigns of which
// nothing is left end instead, if history shows that they went on. It returns
// the ids of those that wait because of it, now or since an earlier repair that
// did not come to its end.
func (l *Ledger) HoldRestored(ctx context.Context, actor string) ([]int64, error) {
	q, err := l.Quarantine(ctx)
	if err != nil {
		return nil, err
	}
	if q.Reason == "" {
		return nil, errNotQuarantined()
	}
	all, err := l.Campaigns(ctx)
	if err != nil {
		return nil, err
	}
	var held []int64
	for _, c := range slices.Backward(all) {
		if c.State.Final() || c.State == campaign.Draft || c.State == campaign.Quoted || c.State == campaign.Cancelling || c.Created.After(q.Since) {
			continue
		}
		err := l.store.write(ctx, func(tx *tx) error {
			state, err := l.lockCampaign(ctx, tx, c.ID)
			if err != nil {
				return err
			}
			var adopted, left bool
			err = tx.exec.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM attempts WHERE campaign_id = $1 AND worker = $2),
				EXISTS (SELECT 1 FROM batches WHERE campaign_id = $1 AND (state <> 2 OR unknown > 0))`, c.ID, adopter).Scan(&adopted, &left)
			if err != nil {
				return fmt.Errorf("asking what is left of campaign %d: %w", c.ID, err)
			}
			switch {
			case adopted && !left && campaign.CanMove(state, campaign.Sending):
				return l.moveCampaign(ctx, tx, c.ID, Move{To: campaign.Sending, Actor: actor, Reason: "history shows that it went on after the ledger was copied"})
			case state == campaign.Sending || state == campaign.Scheduled:
				return l.moveCampaign(ctx, tx, c.ID, Move{To: campaign.Paused, Actor: actor, Reason: restoredReason})
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("pausing campaign %d: %w", c.ID, err)
		}
		now, err := l.Campaign(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		if now.State == campaign.Paused && now.Reason == restoredReason {
			held = append(held, c.ID)
		}
	}
	return held, nil
}

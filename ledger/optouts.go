package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/crashpoint"
)

// OptOut is an entry of the suppression list, with where it came from.
type OptOut struct {
	campaign.OptOut
	Source string // cli, reply, the name of a file, ...
	Reason string // may be empty
	By     string // who added it: a person's login, or a part of Postrider; empty when it is older than that is recorded
	At     time.Time
}

// OptOutNote says of a change of the suppression list where it comes from, why
// it is made, and by whom.
type OptOutNote struct{ Source, Reason, By string }

// OptOut puts a phone number (E.164) on the suppression list. Nothing leaves
// for it from then on, whatever was planned before.
func (l *Ledger) OptOut(ctx context.Context, phone, source, reason string) error {
	_, err := l.AddOptOuts(ctx, []campaign.OptOut{campaign.NewOptOutPhone(phone)}, OptOutNote{Source: source, Reason: reason})
	return err
}

// AddOptOuts puts a few entries on the suppression list, all or none, and
// returns how many were not there before; those that were stay as they are.
// Nothing leaves for them from then on, whatever was planned before. Many are
// for ImportOptOuts.
func (l *Ledger) AddOptOuts(ctx context.Context, entries []campaign.OptOut, n OptOutNote) (added int, err error) {
	err = l.store.write(ctx, func(tx *tx) error {
		added = 0
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		for i := range entries {
			e := &entries[i]
			res, err := tx.exec.ExecContext(ctx, `INSERT INTO opt_outs (kind, key, value, source, reason, added_by, added_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (kind, key) DO NOTHING`,
				e.Kind.String(), e.Key, packOptOut(e), n.Source, n.Reason, n.By, now)
			if err != nil {
				return fmt.Errorf("writing the suppression list: %w", err)
			}
			k, err := res.RowsAffected()
			if err != nil {
				return err
			}
			added += int(k)
		}
		return nil
	})
	return added, err
}

// RemoveOptOuts takes entries off the suppression list and returns how many
// were on it. What was removed, by whom and why stays on record; it can be added
// again.
func (l *Ledger) RemoveOptOuts(ctx context.Context, keys []campaign.OptOutKey, n OptOutNote) (removed int, err error) {
	err = l.store.write(ctx, func(tx *tx) error {
		removed = 0
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		for _, k := range keys {
			var (
				value, source, reason, by string
				at                        int64
			)
			err := tx.exec.QueryRowContext(ctx, `DELETE FROM opt_outs WHERE kind = $1 AND key = $2 RETURNING value, source, reason, added_by, added_at`,
				k.Kind.String(), k.Key).Scan(&value, &source, &reason, &by, &at)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return fmt.Errorf("writing the suppression list: %w", err)
			}
			_, err = tx.exec.ExecContext(ctx, `INSERT INTO past_opt_outs (kind, key, value, source, reason, added_by, added_at, removed_by, removed_at, removal_reason)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
				k.Kind.String(), k.Key, value, source, reason, by, at, n.By, now, n.Reason)
			if err != nil {
				return fmt.Errorf("recording what was taken off the suppression list: %w", err)
			}
			removed++
		}
		return nil
	})
	return removed, err
}

// OptOutWriter takes in a file of opt-outs. Until Finish nothing of it counts.
type OptOutWriter struct {
	l      *Ledger
	id     int64
	by     string
	total  int
	behind behind // the chunk before is written while the next is made
}

// ImportOptOuts begins to take in many opt-outs, whole or not at all; by is who
// adds them.
func (l *Ledger) ImportOptOuts(ctx context.Context, by string) (*OptOutWriter, error) {
	w := &OptOutWriter{l: l, by: by}
	err := l.store.writeLoosely(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		return tx.exec.QueryRowContext(ctx, `INSERT INTO opt_out_imports (lease_until) VALUES ($1) RETURNING id`, now+importLease.Milliseconds()).Scan(&w.id)
	})
	if err != nil {
		return nil, fmt.Errorf("beginning to take in opt-outs: %w", err)
	}
	return w, nil
}

// Add adds entries, each with its source and reason; who and when are the
// import's. The slice belongs to the caller again when Add is called next, or
// Finish. They are written while the caller goes on: an error may be told by the
// next call, or by Finish.
func (w *OptOutWriter) Add(ctx context.Context, chunk []OptOut) error {
	if len(chunk) == 0 {
		return nil
	}
	w.total += len(chunk)
	// The write outlives the call, and so the context that the call was given.
	ctx = context.WithoutCancel(ctx)
	return w.behind.start(func() error { return w.write(ctx, chunk) })
}

func (w *OptOutWriter) write(ctx context.Context, chunk []OptOut) error {
	return w.l.writeLoosely(ctx, crashpoint.OptOutChunk, func(tx *tx) error {
		now, err := w.l.now(ctx, tx)
		if err != nil {
			return err
		}
		err = oneRow(tx.exec.ExecContext(ctx, `UPDATE opt_out_imports SET lease_until = $1 WHERE id = $2`, now+importLease.Milliseconds(), w.id))
		if err != nil {
			return goneOptOuts(err)
		}
		return w.l.store.insert(ctx, tx, rows{
			table: "incoming_opt_outs", n: len(chunk),
			columns: []column{same("import_id", w.id), differs("kind"), differs("key"), differs("value"), differs("source"), differs("reason")},
			each: func(i int, v []any) {
				o := &chunk[i]
				v[0], v[1], v[2], v[3], v[4] = o.Kind.String(), o.Key, packOptOut(&o.OptOut), o.Source, o.Reason
			},
		})
	})
}

func goneOptOuts(err error) error {
	if errors.Is(err, ErrLostLease) {
		return campaign.Errorf(campaign.CodeConflict, "the opt-outs were silent for a minute, taken for those of a dead process and discarded: import them again; nothing was added")
	}
	return fmt.Errorf("taking in opt-outs: %w", err)
}

// Finish puts everything on the suppression list in one transaction, and returns
// how many entries were not there before.
func (w *OptOutWriter) Finish(ctx context.Context) (added int, err error) {
	if err := w.behind.wait(); err != nil {
		return 0, err
	}
	err = w.l.write(ctx, crashpoint.OptOutFinish, func(tx *tx) error {
		now, err := w.l.now(ctx, tx)
		if err != nil {
			return err
		}
		if err := oneRow(tx.exec.ExecContext(ctx, `DELETE FROM opt_out_imports WHERE id = $1`, w.id)); err != nil {
			return goneOptOuts(err)
		}
		// In the order of the index, the first of several in the file first.
		res, err := tx.exec.ExecContext(ctx, `INSERT INTO opt_outs (kind, key, value, source, reason, added_by, added_at)
			SELECT kind, key, value, source, reason, $1, $2 FROM incoming_opt_outs WHERE import_id = $3 ORDER BY kind, key, id
			ON CONFLICT (kind, key) DO NOTHING`, w.by, now, w.id)
		if err != nil {
			return fmt.Errorf("writing the suppression list: %w", err)
		}
		n, err := res.RowsAffected()
		added = int(n)
		return err
	})
	if err != nil {
		return 0, err
	}
	// They count, whatever becomes of what has served its turn: if not now, the
	// next start removes it.
	_ = w.l.dropIncoming(context.WithoutCancel(ctx))
	return added, nil
}

// Total is how many entries were given to Add.
func (w *OptOutWriter) Total() int { return w.total }

// Abort discards the import; nothing of it stays. After Finish it does nothing.
func (w *OptOutWriter) Abort(ctx context.Context) error {
	_ = w.behind.wait() // whatever came of it goes
	err := w.l.store.write(ctx, func(tx *tx) error {
		_, err := tx.exec.ExecContext(ctx, `DELETE FROM opt_out_imports WHERE id = $1`, w.id)
		return err
	})
	if err != nil {
		return fmt.Errorf("discarding opt-outs: %w", err)
	}
	return w.l.dropIncoming(ctx)
}

// dropIncoming deletes what imports that are over have left behind.
func (l *Ledger) dropIncoming(ctx context.Context) error {
	var left bool // as a rule nothing: look before writing
	err := l.store.read().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM incoming_opt_outs)`).Scan(&left)
	if err == nil && left {
		err = l.deleteInPieces(ctx, `DELETE FROM incoming_opt_outs WHERE id IN (SELECT i.id FROM incoming_opt_outs i
			WHERE NOT EXISTS (SELECT 1 FROM opt_out_imports m WHERE m.id = i.import_id) ORDER BY i.id LIMIT 20000)`)
	}
	if err != nil {
		return fmt.Errorf("removing opt-outs that are taken in or discarded: %w", err)
	}
	return nil
}

// DiscardHalfOptOuts removes what imports of opt-outs have left whose process
// has died. Nothing of it ever counted.
func (l *Ledger) DiscardHalfOptOuts(ctx context.Context) error {
	now, err := l.Now(ctx)
	if err != nil {
		return err
	}
	var dead bool
	err = l.store.read().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM opt_out_imports WHERE lease_until <= $1)`, now.UnixMilli()).Scan(&dead)
	if err == nil && dead {
		err = l.store.write(ctx, func(tx *tx) error {
			_, err := tx.exec.ExecContext(ctx, `DELETE FROM opt_out_imports WHERE lease_until <= $1`, now.UnixMilli())
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("looking for half an import of opt-outs: %w", err)
	}
	return l.dropIncoming(ctx)
}

// optOutKinds are the kinds of which the suppression list has entries.
func optOutKinds(ctx context.Context, tx *tx) (campaign.OptOutKinds, error) {
	var phones, emails, addresses bool
	err := tx.exec.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM opt_outs WHERE kind = 'phone'),
		EXISTS (SELECT 1 FROM opt_outs WHERE kind = 'email'), EXISTS (SELECT 1 FROM opt_outs WHERE kind = 'address')`).Scan(&phones, &emails, &addresses)
	if err != nil {
		return 0, fmt.Errorf("asking the suppression list: %w", err)
	}
	var kinds campaign.OptOutKinds
	for kind, there := range map[campaign.OptOutKind]bool{campaign.OptOutPhone: phones, campaign.OptOutEmail: emails, campaign.OptOutAddress: addresses} {
		if there {
			kinds = kinds.With(kind)
		}
	}
	return kinds, nil
}

// readOptOuts is how many entries are read at a time.
const readOptOuts = 5000

// OptedOut reads the suppression list for import and planning. An opt-out that
// is added meanwhile may be missing: what leaves is asked again.
func (l *Ledger) OptedOut(ctx context.Context) (*campaign.OptOuts, error) {
	all := campaign.NewOptOuts()
	for _, kind := range campaign.EveryOptOutKind() {
		for last := ""; ; {
			var keys, end sql.NullString
			err := l.store.read().QueryRowContext(ctx, `SELECT string_agg(s.key, $1), max(s.key) FROM
				(SELECT key FROM opt_outs WHERE kind = $2 AND key > $3 ORDER BY key LIMIT $4) AS s`, recordSeparator, kind.String(), last, readOptOuts).Scan(&keys, &end)
			if err != nil {
				return nil, fmt.Errorf("reading the suppression list: %w", err)
			}
			if !keys.Valid {
				break
			}
			for key := range strings.SplitSeq(keys.String, recordSeparator) {
				all.Add(campaign.OptOutKey{Kind: kind, Key: key})
			}
			last = end.String
		}
	}
	return all, nil
}

const optOutColumns = `kind, key, value, source, reason, added_by, added_at`

func scanOptOut(row scanner) (*OptOut, error) {
	var (
		o           OptOut
		kind, value string
		at          int64
	)
	if err := row.Scan(&kind, &o.Key, &value, &o.Source, &o.Reason, &o.By, &at); err != nil {
		return nil, err
	}
	o.At = fromMillis(at)
	return &o, unpackOptOut(&o.OptOut, kind, value)
}

// EachOptOut hands every entry of the suppression list to fn, kind by kind in
// the order of their keys.
func (l *Ledger) EachOptOut(ctx context.Context, fn func(*OptOut) error) error {
	for _, kind := range campaign.EveryOptOutKind() {
		for last := ""; ; {
			some, err := l.someOptOuts(ctx, `SELECT `+optOutColumns+` FROM opt_outs WHERE kind = $1 AND key > $2 ORDER BY key LIMIT $3`, kind.String(), last, readOptOuts)
			if err != nil {
				return err
			}
			if len(some) == 0 {
				break
			}
			for _, o := range some {
				if err := fn(o); err != nil {
					return err
				}
			}
			last = some[len(some)-1].Key
		}
	}
	return nil
}

// NewestOptOuts returns the entries that were added last, so many at most; of
// one kind, or of every when it is 0.
func (l *Ledger) NewestOptOuts(ctx context.Context, kind campaign.OptOutKind, limit int) ([]*OptOut, error) {
	return l.someOptOuts(ctx, `SELECT `+optOutColumns+` FROM opt_outs WHERE $1 = '' OR kind = $1 ORDER BY added_at DESC, kind, key LIMIT $2`, kindOrAll(kind), limit)
}

// FindOptOut looks for one entry; nil when it is not on the list.
func (l *Ledger) FindOptOut(ctx context.Context, k campaign.OptOutKey) (*OptOut, error) {
	some, err := l.someOptOuts(ctx, `SELECT `+optOutColumns+` FROM opt_outs WHERE kind = $1 AND key = $2`, k.Kind.String(), k.Key)
	if err != nil || len(some) == 0 {
		return nil, err
	}
	return some[0], nil
}

func (l *Ledger) someOptOuts(ctx context.Context, query string, args ...any) ([]*OptOut, error) {
	rows, err := l.store.read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the suppression list: %w", err)
	}
	defer rows.Close()
	var all []*OptOut
	for rows.Next() {
		o, err := scanOptOut(rows)
		if err != nil {
			return nil, fmt.Errorf("reading the suppression list: %w", err)
		}
		all = append(all, o)
	}
	return all, rows.Err()
}

// kindOrAll is how a query is told a kind: "" is every.
func kindOrAll(kind campaign.OptOutKind) string {
	if kind == 0 {
		return ""
	}
	return kind.String()
}

// OptOutCount is how many entries of a kind came from a source.
type OptOutCount struct {
	Kind   campaign.OptOutKind
	Source string
	Count  int
}

// CountOptOuts counts the suppression list by kind and source, the largest first.
func (l *Ledger) CountOptOuts(ctx context.Context) ([]OptOutCount, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT kind, source, count(*) FROM opt_outs GROUP BY kind, source ORDER BY 3 DESC, kind, source`)
	if err != nil {
		return nil, fmt.Errorf("counting the suppression list: %w", err)
	}
	defer rows.Close()
	var all []OptOutCount
	for rows.Next() {
		var (
			c    OptOutCount
			kind string
		)
		if err := rows.Scan(&kind, &c.Source, &c.Count); err != nil {
			return nil, fmt.Errorf("counting the suppression list: %w", err)
		}
		if c.Kind, err = campaign.ParseOptOutKind(kind); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// OptOutChange is an addition to the suppression list or a removal from it.
type OptOutChange struct {
	campaign.OptOut
	Removed bool
	Source  string // of the addition
	Reason  string // of this change
	By      string
	At      time.Time
}

// OptOutHistory returns the last changes of the suppression list, the newest
// first and so many at most: of one kind, or of every when it is 0; of one
// entry, or of all when key is empty.
func (l *Ledger) OptOutHistory(ctx context.Context, kind campaign.OptOutKind, key string, limit int) ([]OptOutChange, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT h.kind, h.key, h.value, h.removed, h.source, h.reason, h.who, h.at FROM (
			SELECT kind, key, value, 0 AS removed, source, reason, added_by AS who, added_at AS at, 1 AS standing, 0 AS id FROM opt_outs
			UNION ALL SELECT kind, key, value, 0, source, reason, added_by, added_at, 0, id FROM past_opt_outs
			UNION ALL SELECT kind, key, value, 1, source, removal_reason, removed_by, removed_at, 0, id FROM past_opt_outs) AS h
		WHERE ($1 = '' OR h.kind = $1) AND ($2 = '' OR h.key = $2)
		ORDER BY h.at DESC, h.standing DESC, h.id DESC, h.removed DESC, h.kind, h.key LIMIT $3`, kindOrAll(kind), key, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the suppression list's history: %w", err)
	}
	defer rows.Close()
	var all []OptOutChange
	for rows.Next() {
		var (
			c           OptOutChange
			k, value    string
			at, removed int64
		)
		if err := rows.Scan(&k, &c.Key, &value, &removed, &c.Source, &c.Reason, &c.By, &at); err != nil {
			return nil, fmt.Errorf("reading the suppression list's history: %w", err)
		}
		c.Removed, c.At = removed == 1, fromMillis(at)
		if err := unpackOptOut(&c.OptOut, k, value); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// HeldMessages are messages of a campaign that the provider holds for its hour.
type HeldMessages struct {
	Campaign int64
	Until    time.Time
	Messages int
}

// HeldFor counts what the provider holds for phone numbers (E.164; a few). An
// opt-out does not stop that; cancelling it there does.
func (l *Ledger) HeldFor(ctx context.Context, phones []string) ([]HeldMessages, error) {
	if len(phones) == 0 {
		return nil, nil
	}
	now, err := l.Now(ctx)
	if err != nil {
		return nil, err
	}
	args := []any{now.UnixMilli(), int(campaign.Accepted)}
	for _, p := range phones {
		args = append(args, p)
	}
	rows, err := l.store.read().QueryContext(ctx, `SELECT c.id, c.held_until, count(*) FROM campaigns c JOIN batches b ON b.campaign_id = c.id
		CROSS JOIN recipients r JOIN contacts k ON k.id = r.contact_id
		WHERE c.held_until > $1 AND c.channel IN ('sms', 'mms') AND b.accepted > 0
		  AND r.id BETWEEN b.first_id AND b.last_id AND r.batch_id = b.id AND r.state = $2 AND k.phone IN (`+placeholders(3, len(phones))+`)
		GROUP BY c.id, c.held_until ORDER BY c.id`, args...)
	return heldMessages(rows, err)
}

// Held counts what the provider holds, for whomever.
func (l *Ledger) Held(ctx context.Context) ([]HeldMessages, error) {
	now, err := l.Now(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := l.store.read().QueryContext(ctx, `SELECT c.id, c.held_until, sum(b.accepted) FROM campaigns c JOIN batches b ON b.campaign_id = c.id
		WHERE c.held_until > $1 AND b.accepted > 0 GROUP BY c.id, c.held_until ORDER BY c.id`, now.UnixMilli())
	return heldMessages(rows, err)
}

// heldMessages reads campaign, hour and count of each row.
func heldMessages(rows *sql.Rows, err error) ([]HeldMessages, error) {
	if err != nil {
		return nil, fmt.Errorf("asking what the provider holds: %w", err)
	}
	defer rows.Close()
	var all []HeldMessages
	for rows.Next() {
		var (
			h     HeldMessages
			until int64
		)
		if err := rows.Scan(&h.Campaign, &until, &h.Messages); err != nil {
			return nil, fmt.Errorf("asking what the provider holds: %w", err)
		}
		h.Until = fromMillis(until)
		all = append(all, h)
	}
	return all, rows.Err()
}

// packOptOut packs the parts of an address; the other kinds are their key.
func packOptOut(o *campaign.OptOut) string {
	if o.Kind != campaign.OptOutAddress {
		return ""
	}
	a := &o.Address
	return packValues([]string{a.Name, a.Line1, a.Line2, a.City, a.State, a.PostalCode, a.Country})
}

// unpackOptOut is the way back.
func unpackOptOut(o *campaign.OptOut, kind, value string) (err error) {
	if o.Kind, err = campaign.ParseOptOutKind(kind); err != nil || o.Kind != campaign.OptOutAddress {
		return err
	}
	v := unpackValues(value, 7)
	o.Address = campaign.Address{Name: v[0], Line1: v[1], Line2: v[2], City: v[3], State: v[4], PostalCode: v[5], Country: v[6]}
	return nil
}

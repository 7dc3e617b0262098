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

// The states of a batch.
const (
	batchReady    = 0 // has pending recipients and no open attempt
	batchInFlight = 1 // an attempt is open
	batchSettled  = 2 // nothing is pending
)

// Dispatch is a batch that is due, with the number under which the queue may
// hand it to a worker. A handler with an older number must leave it alone.
type Dispatch struct {
	Batch   int64
	Number  int64
	Channel campaign.Channel
}

// DueQuery says which batches Due looks for.
type DueQuery struct {
	Channel campaign.Channel
	// Window is how many dispatched batches may wait for a worker at a time.
	Window int
	// Again is the age at which a dispatch nobody has claimed is given up.
	Again time.Duration
}

// anythingDue asks campaign by campaign, of which few are sending, and not batch
// by batch, of which hundreds of thousands may wait for a window or an hour. The states that are final are named
// for the index campaigns_open, which leaves them out.
const anythingDue = `SELECT EXISTS (SELECT 1 FROM campaigns c WHERE c.state = 'sending' AND c.state NOT IN ('completed', 'cancelled', 'failed')
	AND (SELECT quarantine FROM ledger) = ''
	AND EXISTS (SELECT 1 FROM batches b WHERE b.campaign_id = c.id AND b.channel = $1 AND b.state = 0 AND b.due_at <= $2))`

// Due raises the dispatch number of batches that are due and that nobody
// holds, and returns them. It asks nobody but the ledger: what Redis holds
// does not matter. Batches whose send window is closed become due when it opens.
// In quarantine nothing is due, and ErrFormerID says that this
// process would put batches into queues where nobody looks any more.
func (l *Ledger) Due(ctx context.Context, q DueQuery) ([]Dispatch, error) {
	// Most beats find nothing: look before writing.
	at, err := l.Now(ctx)
	if err != nil {
		return nil, err
	}
	var ready bool
	err = l.store.read().QueryRowContext(ctx, anythingDue, string(q.Channel), at.UnixMilli()).Scan(&ready)
	if err != nil {
		return nil, fmt.Errorf("looking for batches that are due: %w", err)
	}
	if !ready {
		return nil, nil
	}
	var due []Dispatch
	err = l.writeLoosely(ctx, crashpoint.Due, func(tx *tx) error {
		due = nil
		var id, quarantine string
		if err := tx.exec.QueryRowContext(ctx, `SELECT id, quarantine FROM ledger WHERE one = 1`).Scan(&id, &quarantine); err != nil {
			return fmt.Errorf("looking for batches that are due: %w", err)
		}
		if err := l.mayLeave(id, quarantine); errors.Is(err, ErrQuarantined) {
			return nil
		} else if err != nil {
			return err
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		var waiting int
		err = tx.exec.QueryRowContext(ctx, `SELECT count(*) FROM batches b JOIN campaigns c ON c.id = b.campaign_id
			WHERE b.channel = $1 AND b.state = 0 AND b.lease_until <= $2 AND b.dispatched_at > $3 AND c.state = 'sending'`,
			string(q.Channel), now, now-q.Again.Milliseconds()).Scan(&waiting)
		if err != nil {
			return fmt.Errorf("counting dispatched batches: %w", err)
		}
		if waiting >= q.Window {
			return nil
		}
		type standing struct {
			campaign int64
			zone     string
		}
		closed := map[standing]bool{}
		for waiting+len(due) < q.Window {
			found, err := l.dueNow(ctx, tx, q, now, q.Window-waiting-len(due))
			if err != nil {
				return err
			}
			putOff := false
			for _, b := range found {
				if closed[standing{b.campaign, b.zone}] {
					continue
				}
				// What cannot be read is told by the worker that has the batch.
				if may, err := readLeaving(b.timing, b.zone, now); err == nil && !may.open {
					if err := l.putOff(ctx, tx, b.campaign, b.zone, now, may.next); err != nil {
						return err
					}
					closed[standing{b.campaign, b.zone}], putOff = true, true
					continue
				}
				d := Dispatch{Batch: b.id, Channel: q.Channel}
				err := tx.exec.QueryRowContext(ctx, `UPDATE batches SET dispatch = dispatch + 1, dispatched_at = $1 WHERE id = $2 RETURNING dispatch`, now, b.id).Scan(&d.Number)
				if err != nil {
					return fmt.Errorf("dispatching batch %d: %w", b.id, err)
				}
				due = append(due, d)
			}
			if !putOff {
				break // else others have come into their place
			}
		}
		return nil
	})
	return due, err
}

// dueBatch is a batch that is due unless its send window is closed.
type dueBatch struct {
	id, campaign int64
	zone, timing string
}

// dueNow finds and locks batches that are due and that nobody holds, so many at
// most.
func (l *Ledger) dueNow(ctx context.Context, tx *tx, q DueQuery, now int64, most int) ([]dueBatch, error) {
	lock := l.store.forUpdate()
	if lock != "" {
		lock = " FOR UPDATE OF b SKIP LOCKED"
	}
	rows, err := tx.exec.QueryContext(ctx, `SELECT b.id, b.campaign_id, b.zone, c.timing FROM batches b JOIN campaigns c ON c.id = b.campaign_id
		WHERE b.channel = $1 AND b.state = 0 AND b.due_at <= $2 AND b.lease_until <= $2 AND b.dispatched_at <= $3
		  AND c.state = 'sending'
		  AND (b.resend = 0 OR NOT EXISTS (SELECT 1 FROM channels h WHERE h.provider_url = c.provider_url
		       AND h.provider_user = c.provider_user AND h.channel = b.channel AND h.stopped <> ''))
		ORDER BY b.campaign_id, b.id LIMIT $4`+lock,
		string(q.Channel), now, now-q.Again.Milliseconds(), most)
	if err != nil {
		return nil, fmt.Errorf("looking for batches that are due: %w", err)
	}
	defer rows.Close()
	var found []dueBatch
	for rows.Next() {
		var b dueBatch
		if err := rows.Scan(&b.id, &b.campaign, &b.zone, &b.timing); err != nil {
			return nil, fmt.Errorf("looking for batches that are due: %w", err)
		}
		found = append(found, b)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("looking for batches that are due: %w", err)
	}
	return found, nil
}

// ForgetDispatches makes every dispatched batch that nobody has claimed due
// again: the queue has lost its memory.
func (l *Ledger) ForgetDispatches(ctx context.Context) error {
	return l.writeLoosely(ctx, crashpoint.ForgetDispatches, func(tx *tx) error { return forgetDispatches(ctx, tx) })
}

func forgetDispatches(ctx context.Context, tx *tx) error {
	_, err := tx.exec.ExecContext(ctx, `UPDATE batches SET dispatched_at = 0 WHERE state = 0 AND dispatched_at <> 0`)
	if err != nil {
		return fmt.Errorf("forgetting what the queue has lost: %w", err)
	}
	return nil
}

// Claim is a batch that one worker holds until its lease runs out.
type Claim struct {
	Batch    int64
	Campaign *Campaign
	FileKey  string
	Fence    int64
	Worker   string
	Attempts int  // how many attempts the batch has behind it
	Tries    int  // how many passing refusals its recipients have behind them
	Resend   bool // its recipients were in an attempt whose outcome was unknown
	Until    time.Time

	Recipients []Recipient
}

// Recipient is a pending recipient of a claimed batch.
type Recipient struct {
	ID      int64
	Quoted  campaign.Micros
	Contact campaign.Contact
}

// Claim takes a batch for a worker. It returns nil without an error when there
// is nothing to do: the number is stale, somebody else holds the batch, it is
// done, its campaign is not sending, or the ledger lets nothing leave. From here on the lease alone says
// whether somebody has the batch: when it runs out, the batch is due again.
func (l *Ledger) Claim(ctx context.Context, batch, number int64, worker string, lease time.Duration) (*Claim, error) {
	var cl *Claim
	err := l.writeLoosely(ctx, crashpoint.Claim, func(tx *tx) error {
		cl = nil
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		c := &Claim{Batch: batch, Worker: worker, Until: fromMillis(now + lease.Milliseconds())}
		var campaignID int64
		err = tx.exec.QueryRowContext(ctx, `UPDATE batches SET fence = fence + 1, lease_by = $1, lease_until = $2, dispatched_at = 0
			WHERE id = $3 AND dispatch = $4 AND state = 0 AND lease_until <= $5 AND due_at <= $5
			  AND (SELECT c.state FROM campaigns c WHERE c.id = batches.campaign_id) = 'sending'
			  AND EXISTS (SELECT 1 FROM ledger WHERE id = $6 AND quarantine = '')
			RETURNING campaign_id, file_key, fence, attempts, tries, resend = 1`,
			worker, now+lease.Milliseconds(), batch, number, now, l.id).Scan(&campaignID, &c.FileKey, &c.Fence, &c.Attempts, &c.Tries, &c.Resend)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("claiming batch %d: %w", batch, err)
		}
		c.Campaign = &Campaign{ID: campaignID}
		cl = c
		return nil
	})
	if err != nil || cl == nil {
		return nil, err
	}
	if cl.Campaign, err = l.Campaign(ctx, cl.Campaign.ID); err != nil {
		return nil, err
	}
	if cl.Recipients, err = l.pending(ctx, cl); err != nil {
		return nil, err
	}
	return cl, nil
}

// pending reads the recipients of a claimed batch that wait to be sent to.
func (l *Ledger) pending(ctx context.Context, cl *Claim) ([]Recipient, error) {
	columns, err := l.listColumns(ctx, cl.Campaign.ListID)
	if err != nil {
		return nil, err
	}
	var cells sql.NullString
	err = l.store.read().QueryRowContext(ctx, `SELECT string_agg(r.id || ' ' || r.quoted || ' ' || `+contactColumn+`, $2)
		FROM batches b CROSS JOIN recipients r JOIN contacts k ON k.id = r.contact_id
		WHERE r.id BETWEEN b.first_id AND b.last_id AND r.batch_id = b.id AND b.id = $1 AND r.state = 0`,
		cl.Batch, recordSeparator).Scan(&cells)
	if err != nil {
		return nil, fmt.Errorf("reading the recipients of batch %d: %w", cl.Batch, err)
	}
	if !cells.Valid {
		return nil, nil
	}
	all := make([]Recipient, 0, campaign.MaxBatch)
	for cell := range strings.SplitSeq(cells.String, recordSeparator) {
		r, err := readRecipient(cell, columns)
		if err != nil {
			return nil, fmt.Errorf("reading the recipients of batch %d: %w", cl.Batch, err)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Recipient) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// readRecipient reads id, quoted price and contact from one cell.
func readRecipient(cell string, columns *campaign.Columns) (Recipient, error) {
	var (
		r      Recipient
		quoted int64
	)
	rest, err := cutInts(cell, &r.ID, &quoted)
	if err == nil {
		err = readContact(rest, columns, &r.Contact)
	}
	r.Quoted = campaign.Micros(quoted)
	return r, err
}

// ErrLostLease says that a worker no longer holds its batch: it must leave it
// without a trace.
var ErrLostLease = errors.New("the worker no longer holds the batch")

// RenewLease prolongs a claim. ErrLostLease when another worker has it.
func (l *Ledger) RenewLease(ctx context.Context, cl *Claim, lease time.Duration) error {
	return l.writeLoosely(ctx, crashpoint.RenewLease, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		return oneRow(tx.exec.ExecContext(ctx, `UPDATE batches SET lease_until = $1 WHERE id = $2 AND fence = $3 AND lease_by = $4`,
			now+lease.Milliseconds(), cl.Batch, cl.Fence, cl.Worker))
	})
}

// Release gives a claimed batch back before an attempt was begun, to be
// dispatched again after wait.
func (l *Ledger) Release(ctx context.Context, cl *Claim, wait time.Duration) error {
	return l.writeLoosely(ctx, crashpoint.Release, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		err = oneRow(tx.exec.ExecContext(ctx, `UPDATE batches SET lease_until = 0, lease_by = '', dispatched_at = 0, due_at = $1
			WHERE id = $2 AND fence = $3 AND state = 0`, now+wait.Milliseconds(), cl.Batch, cl.Fence))
		if errors.Is(err, ErrLostLease) {
			return nil
		}
		return err
	})
}

// oneRow turns an update that met no row into ErrLostLease.
func oneRow(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrLostLease
	}
	return nil
}

// recount sets a batch's counters from its recipients, and its state unless an
// attempt is open. It returns how many are pending.
func recount(ctx context.Context, tx *tx, batch int64) (int, error) {
	rows, err := tx.exec.QueryContext(ctx, `SELECT r.state, count(*) FROM batches b CROSS JOIN recipients r
		WHERE b.id = $1 AND r.id BETWEEN b.first_id AND b.last_id AND r.batch_id = b.id GROUP BY r.state`, batch)
	if err != nil {
		return 0, fmt.Errorf("counting batch %d: %w", batch, err)
	}
	defer rows.Close()
	var n [8]int
	for rows.Next() {
		var state, count int
		if err := rows.Scan(&state, &count); err != nil {
			return 0, fmt.Errorf("counting batch %d: %w", batch, err)
		}
		n[state] = count
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("counting batch %d: %w", batch, err)
	}
	_, err = tx.exec.ExecContext(ctx, `UPDATE batches SET pending = $1, unknown = $2, accepted = $3, delivered = $4,
		undelivered = $5, rejected = $6, suppressed = $7, cancelled = $8 WHERE id = $9`,
		n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], batch)
	if err != nil {
		return 0, fmt.Errorf("counting batch %d: %w", batch, err)
	}
	return n[campaign.Pending], nil
}

// finishIfDone ends a campaign of which nothing is pending, in flight or unknown;
// one that is being cancelled only when nothing waits to be cancelled at the
// provider either. It is called with the campaign's row locked.
func (l *Ledger) finishIfDone(ctx context.Context, tx *tx, id int64) error {
	var open bool
	err := tx.exec.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM batches WHERE campaign_id = $1 AND (state <> 2 OR unknown > 0))
		OR EXISTS (SELECT 1 FROM cancels k JOIN campaigns c ON c.id = k.campaign_id WHERE k.campaign_id = $1 AND c.state = 'cancelling')`, id).Scan(&open)
	if err != nil {
		return fmt.Errorf("asking whether campaign %d is done: %w", id, err)
	}
	if open {
		return nil
	}
	var (
		state  campaign.State
		reason string
	)
	if err := tx.exec.QueryRowContext(ctx, `SELECT state, reason FROM campaigns WHERE id = $1`, id).Scan(&state, &reason); err != nil {
		return fmt.Errorf("reading campaign %d: %w", id, err)
	}
	switch state {
	case campaign.Sending:
		err = l.moveCampaign(ctx, tx, id, Move{To: campaign.Completed, Actor: "postrider", Reason: "everybody has an outcome"})
	case campaign.Cancelling:
		err = l.moveCampaign(ctx, tx, id, Move{To: campaign.Cancelled, Actor: "postrider", Reason: reason})
	default:
		return nil
	}
	crashpoint.Here(crashpoint.Finish)
	return err
}

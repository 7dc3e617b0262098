package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/crashpoint"
)

// planChunk is how many recipients one transaction of a plan holds at most.
const planChunk = 20_000

// PlanWriter takes in the batches of a campaign. They are committed in chunks;
// the campaign stays a draft until the last, and a draft whose planner has died
// is discarded.
type PlanWriter struct {
	l       *Ledger
	id      int64
	channel campaign.Channel

	batches []campaign.PlannedBatch
	waiting int // recipients in batches
	behind  behind
}

// Plan begins writing the plan of a draft.
func (l *Ledger) Plan(c *Campaign) *PlanWriter {
	return &PlanWriter{l: l, id: c.ID, channel: c.Channel}
}

// Batch adds a batch. Batches are written while the caller goes on: an error may
// be told by a later call, or by Finish.
func (w *PlanWriter) Batch(ctx context.Context, b campaign.PlannedBatch) error {
	if len(b.Recipients) > campaign.MaxBatch {
		return fmt.Errorf("a batch of %d recipients was planned: at most %d are allowed", len(b.Recipients), campaign.MaxBatch)
	}
	b.Recipients = slices.Clone(b.Recipients) // the planner reuses them
	w.batches = append(w.batches, b)
	w.waiting += len(b.Recipients)
	if w.waiting < planChunk {
		return nil
	}
	return w.flush(ctx)
}

func (w *PlanWriter) flush(ctx context.Context) error {
	if len(w.batches) == 0 {
		return nil
	}
	batches, waiting := w.batches, w.waiting
	w.batches, w.waiting = nil, 0
	// The write outlives the call, and so the context that the call was given.
	ctx = context.WithoutCancel(ctx)
	return w.behind.start(func() error { return w.write(ctx, batches, waiting) })
}

func (w *PlanWriter) write(ctx context.Context, batches []campaign.PlannedBatch, recipients int) error {
	return w.l.writeLoosely(ctx, crashpoint.PlanChunk, func(tx *tx) error {
		now, err := w.l.now(ctx, tx)
		if err != nil {
			return err
		}
		if err := w.l.renewPlan(ctx, tx, w.id, now); err != nil {
			return err
		}
		firstBatch, err := takeIDs(ctx, tx, "batch", len(batches))
		if err != nil {
			return err
		}
		firstRecipient, err := takeIDs(ctx, tx, "recipient", recipients)
		if err != nil {
			return err
		}
		pending := make([]int, len(batches))
		for i, b := range batches {
			for _, r := range b.Recipients {
				if r.State == campaign.Pending {
					pending[i]++
				}
			}
		}
		next := firstRecipient
		err = w.l.store.insert(ctx, tx, rows{
			table: "batches", n: len(batches),
			columns: []column{
				counts("id", firstBatch), same("campaign_id", w.id), same("channel", string(w.channel)), same("due_at", int64(0)),
				differs("file_key"), differs("state"), differs("pending"), differs("suppressed"), differs("first_id"), differs("last_id"), differs("zone"),
			},
			each: func(i int, v []any) {
				b := batches[i]
				state := int64(batchReady)
				if pending[i] == 0 {
					state = batchSettled
				}
				v[0], v[1], v[2], v[3] = b.FileKey, state, int64(pending[i]), int64(len(b.Recipients)-pending[i])
				v[4], v[5], v[6] = next, next+int64(len(b.Recipients))-1, b.Zone
				next += int64(len(b.Recipients))
			},
		})
		if err != nil {
			return err
		}
		for i, b := range batches {
			if err := w.writeRecipients(ctx, tx, firstBatch+int64(i), firstRecipient, b.Recipients); err != nil {
				return err
			}
			firstRecipient += int64(len(b.Recipients))
		}
		return nil
	})
}

// writeRecipients adds the recipients of one batch. A stretch of them that
// shares state and reason, as a rule the whole batch, differs in nothing but
// the contacts.
func (w *PlanWriter) writeRecipients(ctx context.Context, tx *tx, batch, first int64, all []campaign.PlannedRecipient) error {
	for start := 0; start < len(all); {
		end := start + 1
		for end < len(all) && all[end].State == all[start].State && all[end].Reason == all[start].Reason {
			end++
		}
		part := all[start:end]
		err := w.l.store.insert(ctx, tx, rows{
			table: "recipients", n: len(part),
			columns: []column{
				counts("id", first+int64(start)), same("batch_id", batch), same("state", int64(part[0].State)),
				same("reason", nullString(part[0].Reason)), differs("contact_id"),
			},
			each: func(i int, v []any) { v[0] = part[i].ContactID },
		})
		if err != nil {
			return err
		}
		start = end
	}
	return nil
}

// renewPlan shows that the planner lives. A draft that was discarded meanwhile
// is an error.
func (l *Ledger) renewPlan(ctx context.Context, tx *tx, id, now int64) error {
	err := oneRow(tx.exec.ExecContext(ctx, `UPDATE campaigns SET lease_until = CASE WHEN lease_until < $1 THEN $1 ELSE lease_until END
		WHERE id = $2 AND state = 'draft'`, now+plannerLease.Milliseconds(), id))
	if errors.Is(err, ErrLostLease) {
		return campaign.Errorf(campaign.CodeConflict, "campaign %d is no draft any more: its planning was taken for dead and discarded; send again", id)
	}
	return err
}

// KeepPlanning shows that somebody still works on a campaign that has not
// started: waits for prices, or for a yes.
func (l *Ledger) KeepPlanning(ctx context.Context, id int64) error {
	return l.store.writeLoosely(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		err = oneRow(tx.exec.ExecContext(ctx, `UPDATE campaigns SET lease_until = CASE WHEN lease_until < $1 THEN $1 ELSE lease_until END
			WHERE id = $2 AND state IN ('draft', 'quoted')`, now+plannerLease.Milliseconds(), id))
		if errors.Is(err, ErrLostLease) {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d has started, or was taken for given up and discarded", id)
		}
		return err
	})
}

// KeepDraft leaves a planned campaign, priced or not, until somebody starts or
// cancels it: nobody need show any more that it is worked on.
func (l *Ledger) KeepDraft(ctx context.Context, id int64) error {
	return l.store.write(ctx, func(tx *tx) error {
		err := oneRow(tx.exec.ExecContext(ctx, `UPDATE campaigns SET lease_until = $1 WHERE id = $2 AND state IN ('draft', 'quoted') AND plan <> ''`, int64(keptLease), id))
		if errors.Is(err, ErrLostLease) {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d has started, or was discarded, or its plan is not whole", id)
		}
		return err
	})
}

// Finish writes what is left and the plan's summary. The campaign stays a
// draft until it is quoted.
func (w *PlanWriter) Finish(ctx context.Context, s campaign.PlanSummary) error {
	if err := errors.Join(w.flush(ctx), w.behind.wait()); err != nil {
		return err
	}
	plan, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	return w.l.write(ctx, crashpoint.PlanFinish, func(tx *tx) error {
		now, err := w.l.now(ctx, tx)
		if err != nil {
			return err
		}
		if err := w.l.renewPlan(ctx, tx, w.id, now); err != nil {
			return err
		}
		if _, err := tx.exec.ExecContext(ctx, `UPDATE campaigns SET plan = $1, total = $2 WHERE id = $3`, string(plan), s.Total, w.id); err != nil {
			return fmt.Errorf("writing the plan: %w", err)
		}
		return nil
	})
}

// DiscardHalfPlans deletes every campaign that has not started, and every half
// import of contacts or opt-outs, whose process has died. It returns how many campaigns and lists went.
func (l *Ledger) DiscardHalfPlans(ctx context.Context) (campaigns, lists int, err error) {
	if err := l.DiscardHalfOptOuts(ctx); err != nil {
		return 0, 0, err
	}
	now, err := l.Now(ctx)
	if err != nil {
		return 0, 0, err
	}
	rows, err := l.store.read().QueryContext(ctx, `SELECT id FROM campaigns
		WHERE lease_until <= $1 AND (state IN ('draft', 'quoted') OR state = 'failed' AND reason = $2)
		  AND EXISTS (SELECT 1 FROM ledger WHERE quarantine = '' OR campaigns.created_at > quarantined_at)`, now.UnixMilli(), discardReason)
	if err != nil {
		return 0, 0, fmt.Errorf("looking for half plans: %w", err)
	}
	drafts, err := scanIDs(rows)
	if err != nil {
		return 0, 0, fmt.Errorf("looking for half plans: %w", err)
	}
	for _, id := range drafts {
		switch err := l.discardUnstarted(ctx, id, now.UnixMilli()); {
		case err == nil:
			campaigns++
		case campaign.ErrorCode(err) == campaign.CodeNotFound, campaign.ErrorCode(err) == campaign.CodeConflict:
			// Somebody works on it after all, or somebody else was quicker.
		default:
			return campaigns, lists, err
		}
	}
	rows, err = l.store.read().QueryContext(ctx, `SELECT id FROM lists WHERE (state = 'importing' AND lease_until <= $1)
		OR (state IN ('retired', 'ready') AND name IS NULL AND lease_until <= $1 AND created_at < $2
		    AND NOT EXISTS (SELECT 1 FROM campaigns c WHERE c.list_id = lists.id))`, now.UnixMilli(), now.Add(-time.Hour).UnixMilli())
	if err != nil {
		return campaigns, lists, fmt.Errorf("looking for half imports: %w", err)
	}
	dead, err := scanIDs(rows)
	if err != nil {
		return campaigns, lists, fmt.Errorf("looking for half imports: %w", err)
	}
	for _, id := range dead {
		if err := l.retireImport(ctx, id, now.UnixMilli()); errors.Is(err, ErrLostLease) {
			continue // somebody uses it after all
		} else if err != nil {
			return campaigns, lists, err
		}
		if err := l.dropList(ctx, id); err != nil {
			return campaigns, lists, err
		}
		lists++
	}
	return campaigns, lists, nil
}

// retireImport takes a list that nobody imports or uses out of sight, so that a
// crash while it is being deleted leaves nothing to see.
func (l *Ledger) retireImport(ctx context.Context, id, now int64) error {
	err := l.store.write(ctx, func(tx *tx) error {
		err := oneRow(tx.exec.ExecContext(ctx, `UPDATE lists SET state = 'retired', name = NULL WHERE id = $1 AND lease_until <= $2`, id, now))
		if err != nil {
			return err
		}
		var used bool
		err = tx.exec.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM campaigns WHERE list_id = $1)`, id).Scan(&used)
		if err == nil && used {
			return ErrLostLease
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("discarding half an import: %w", err)
	}
	return nil
}

// DiscardUnstarted deletes a campaign that has not been approved, its plan, and
// its audience if nobody else uses it: nothing of it stays.
func (l *Ledger) DiscardUnstarted(ctx context.Context, id int64) error {
	return l.discardUnstarted(ctx, id, math.MaxInt64)
}

// discardReason is the reason of a campaign that is being deleted. Should that
// be interrupted, DiscardHalfPlans goes on with it.
const discardReason = "it was given up before its start"

// discardUnstarted discards a campaign whose lease ends no later than before.
func (l *Ledger) discardUnstarted(ctx context.Context, id, before int64) error {
	c, err := l.Campaign(ctx, id)
	if err != nil {
		return err
	}
	// From here on the planner, should it still live, fails at its next chunk.
	err = l.store.write(ctx, func(tx *tx) error {
		from, err := l.lockCampaign(ctx, tx, id)
		if err != nil {
			return err
		}
		err = oneRow(tx.exec.ExecContext(ctx, `UPDATE campaigns SET lease_until = 0
			WHERE id = $2 AND lease_until <= $3 AND (state IN ('draft', 'quoted') OR state = 'failed' AND reason = $1)`, discardReason, id, before))
		if err != nil || from == campaign.Failed {
			return err
		}
		return l.moveCampaign(ctx, tx, id, Move{To: campaign.Failed, Reason: discardReason, Actor: "postrider"})
	})
	if campaign.ErrorCode(err) == campaign.CodeNotFound && err != nil {
		return err
	}
	if errors.Is(err, ErrLostLease) {
		return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s: only what has not been approved can be discarded", id, c.State)
	}
	if err != nil {
		return fmt.Errorf("discarding campaign %d: %w", id, err)
	}
	steps := []string{
		`DELETE FROM recipients WHERE id IN (SELECT r.id FROM batches b CROSS JOIN recipients r
			WHERE b.campaign_id = $1 AND r.id BETWEEN b.first_id AND b.last_id AND r.batch_id = b.id LIMIT 20000)`,
		`DELETE FROM batches WHERE id IN (SELECT id FROM batches WHERE campaign_id = $1 LIMIT 20000)`,
		`DELETE FROM quotes WHERE campaign_id = $1`,
		`DELETE FROM events WHERE campaign_id = $1`,
		`DELETE FROM campaigns WHERE id = $1`,
	}
	for _, step := range steps {
		if err := l.deleteInPieces(ctx, step, id); err != nil {
			return fmt.Errorf("discarding campaign %d: %w", id, err)
		}
	}
	li, err := l.List(ctx, c.ListID)
	if campaign.ErrorCode(err) == campaign.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if li.Name == "" {
		return l.RemoveList(ctx, li.ID)
	}
	return nil
}

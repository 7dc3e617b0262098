package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/postrider/postrider/campaign"
)

// A reference names one personal letter for good: it is mailed once ever,
// whichever run comes first. A run claims references before it makes its
// campaigns, and binds them to these; a claim of a run that has ended without
// a campaign is worth nothing, and neither is one whose campaign is gone.

// OutboxSource is the source of lists that were read from an outbox.
const OutboxSource = "outbox"

// claimed is true of a claim m that stands in the way of run $1. Those of its
// own campaigns do: they are on their way.
const claimed = `(EXISTS (SELECT 1 FROM campaigns c WHERE c.id = m.campaign_id AND c.state <> 'failed')
	OR m.run_id <> $1 AND EXISTS (SELECT 1 FROM runs r WHERE r.id = m.run_id AND r.state IN ('due', 'running')))`

// Mailed tells which references a run must leave alone: mailed before, or about
// to be.
func (l *Ledger) Mailed(ctx context.Context, run int64, refs []string) (map[string]bool, error) {
	mailed := map[string]bool{}
	for part := range slices.Chunk(refs, 500) {
		rows, err := l.store.read().QueryContext(ctx, `SELECT m.reference FROM mailed_references m
			WHERE m.reference IN (`+placeholders(2, len(part))+`) AND `+claimed, append([]any{run}, texts(part)...)...)
		if err != nil {
			return nil, fmt.Errorf("asking which letters were mailed before: %w", err)
		}
		found, err := scanTexts(rows)
		if err != nil {
			return nil, fmt.Errorf("asking which letters were mailed before: %w", err)
		}
		for _, ref := range found {
			mailed[ref] = true
		}
	}
	return mailed, nil
}

// ClaimReferences makes references the run's, all or none: an Error with
// CodeConflict when another run has claimed one of them since they were asked
// for, ErrLostLease when another maker has the run.
func (l *Ledger) ClaimReferences(ctx context.Context, r *Run, refs []string) error {
	run := r.ID
	refs = slices.Sorted(slices.Values(refs)) // one order everywhere, so that no two writes wait for each other
	return l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		if err := l.holdRun(ctx, tx, r); err != nil {
			return err
		}
		for part := range slices.Chunk(refs, 200) {
			args := []any{run, now}
			values := ""
			for i, ref := range part {
				if i > 0 {
					values += ", "
				}
				values += fmt.Sprintf("($%d, $1, 0, $2)", i+3)
				args = append(args, ref)
			}
			res, err := tx.exec.ExecContext(ctx, `INSERT INTO mailed_references AS m (reference, run_id, campaign_id, at) VALUES `+values+`
				ON CONFLICT (reference) DO UPDATE SET run_id = excluded.run_id, at = excluded.at,
					campaign_id = 0
				WHERE NOT `+claimed, args...)
			if err != nil {
				return fmt.Errorf("claiming the references of a run: %w", err)
			}
			if n, err := res.RowsAffected(); err != nil || int(n) != len(part) {
				return campaign.Errorf(campaign.CodeConflict, "another run has taken %d of the letters in this very moment: this one is tried again", len(part)-int(n))
			}
		}
		return nil
	})
}

// holdRun makes sure that the maker of a claimed run still has it, until the
// write ends. ErrLostLease when it has not.
func (l *Ledger) holdRun(ctx context.Context, tx *tx, r *Run) error {
	var id int64
	err := tx.exec.QueryRowContext(ctx, `SELECT id FROM runs WHERE id = $1 AND fence = $2 AND state = 'running' AND campaign_id IS NULL`+l.store.forUpdate(), r.ID, r.Fence).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrLostLease
	}
	if err != nil {
		return fmt.Errorf("reading run %d: %w", r.ID, err)
	}
	return nil
}

// BindReferences says which quoted campaign mails references that the run has
// claimed. ErrLostLease when another maker has the run.
func (l *Ledger) BindReferences(ctx context.Context, r *Run, campaignID int64, refs []string) error {
	run := r.ID
	refs = slices.Sorted(slices.Values(refs))
	return l.store.write(ctx, func(tx *tx) error {
		if state, err := l.lockCampaign(ctx, tx, campaignID); err != nil {
			return err
		} else if state.Final() {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s: nothing is mailed by it", campaignID, state)
		}
		if err := l.holdRun(ctx, tx, r); err != nil {
			return err
		}
		for part := range slices.Chunk(refs, 500) {
			res, err := tx.exec.ExecContext(ctx, `UPDATE mailed_references SET campaign_id = $1 WHERE run_id = $2 AND reference IN (`+placeholders(3, len(part))+`)`,
				append([]any{campaignID, run}, texts(part)...)...)
			if err != nil {
				return fmt.Errorf("binding the references of a run: %w", err)
			}
			if n, err := res.RowsAffected(); err != nil || int(n) != len(part) {
				return campaign.Errorf(campaign.CodeConflict, "another run has taken letters of run %d: it is tried again", run)
			}
		}
		return nil
	})
}

// FreeReferences gives up the run's claims to references that were not mailed:
// a later manifest may name them again. It is an Error with CodeConflict while a
// campaign of the run has not ended, or goes on again: it may mail them yet.
func (l *Ledger) FreeReferences(ctx context.Context, run int64, refs []string) error {
	refs = slices.Sorted(slices.Values(refs))
	campaigns, err := l.RunCampaigns(ctx, run)
	if err != nil {
		return err
	}
	return l.store.write(ctx, func(tx *tx) error {
		for _, c := range campaigns {
			state, err := l.lockCampaign(ctx, tx, c.ID)
			if err != nil {
				return err
			}
			if !state.Final() {
				return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s again: its references are kept until it has ended", c.ID, state)
			}
		}
		for part := range slices.Chunk(refs, 500) {
			_, err := tx.exec.ExecContext(ctx, `DELETE FROM mailed_references WHERE run_id = $1 AND reference IN (`+placeholders(2, len(part))+`)`,
				append([]any{run}, texts(part)...)...)
			if err != nil {
				return fmt.Errorf("freeing the references of a run: %w", err)
			}
		}
		return nil
	})
}

// refuseFreed refuses to send the letters of an outbox again once their run has
// given up the references of those that were not mailed: another run may mail
// them, and each is mailed once.
func refuseFreed(ctx context.Context, tx *tx, id int64) error {
	var schedule string
	err := tx.exec.QueryRowContext(ctx, `SELECT s.name FROM campaigns c JOIN lists li ON li.id = c.list_id
			JOIN runs r ON r.campaign_id = c.id OR r.id IN (SELECT run_id FROM run_campaigns WHERE campaign_id = c.id)
			JOIN schedules s ON s.id = r.schedule_id
		WHERE c.id = $1 AND li.source = $2
		  AND (r.state NOT IN ('due', 'running') OR (SELECT count(*) FROM mailed_references m WHERE m.campaign_id = c.id) < c.total)
		LIMIT 1`, id, OutboxSource).Scan(&schedule)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking whose the letters of campaign %d are: %w", id, err)
	}
	return campaign.Errorf(campaign.CodeConflict,
		"campaign %d mailed an outbox, and its run has ended: the letters that were refused go out with the next run of schedule %q that finds them in a manifest; `postrider schedule run '%s'` begins one now", id, schedule, schedule)
}

// RunCampaigns lists the campaigns of a run, in the order of their making.
func (l *Ledger) RunCampaigns(ctx context.Context, run int64) ([]*Campaign, error) {
	return l.campaigns(ctx, `SELECT `+campaignColumns+` FROM campaigns c
		WHERE c.id IN (SELECT campaign_id FROM run_campaigns WHERE run_id = $1) OR c.id = (SELECT campaign_id FROM runs WHERE id = $1)
		ORDER BY c.id`, run)
}

func scanTexts(rows *sql.Rows) ([]string, error) {
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

func texts(all []string) []any {
	args := make([]any, len(all))
	for i, s := range all {
		args[i] = s
	}
	return args
}

// Doubtful tells which recipients of a campaign were in an attempt whose outcome
// was not known, and who may turn out to have been reached after all.
func (l *Ledger) Doubtful(ctx context.Context, campaignID int64) (map[int64]bool, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT unresolved, absent FROM attempts WHERE campaign_id = $1 AND (unresolved IS NOT NULL OR absent IS NOT NULL)`, campaignID)
	if err != nil {
		return nil, fmt.Errorf("looking for lost answers of campaign %d: %w", campaignID, err)
	}
	defer rows.Close()
	doubtful := map[int64]bool{}
	for rows.Next() {
		var cells [2][]byte
		if err := rows.Scan(&cells[0], &cells[1]); err != nil {
			return nil, fmt.Errorf("looking for lost answers of campaign %d: %w", campaignID, err)
		}
		for _, cell := range cells {
			members, err := decodeMembers(cell)
			if err != nil {
				return nil, fmt.Errorf("looking for lost answers of campaign %d: %w", campaignID, err)
			}
			for _, id := range members {
				doubtful[id] = true
			}
		}
	}
	return doubtful, rows.Err()
}

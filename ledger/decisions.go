package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/campaign"
)

// UnknownAttempt is an attempt of a campaign with members whose outcome is to be
// found out.
type UnknownAttempt struct {
	Attempt  int64     `json:"attempt"`
	Batch    int64     `json:"batch"`
	Number   int       `json:"number"`
	Worker   string    `json:"worker"`
	Started  time.Time `json:"started"`
	Deadline time.Time `json:"deadline"`
	Members  int       `json:"members"` // how many are unknown
	Looks    int       `json:"looks"`   // how often history was read in vain
	NextLook time.Time `json:"next_look"`
	Note     string    `json:"note"` // why nobody knows
	// Problem is why history could not be read the last time; empty when it could.
	Problem string `json:"problem,omitempty"`
}

// UnknownAttempts lists what is to be found out of a campaign, oldest first,
// given how long history may lag behind.
func (l *Ledger) UnknownAttempts(ctx context.Context, id int64, settle time.Duration) ([]UnknownAttempt, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT a.id, a.batch_id, a.number, a.worker, a.started_at, a.deadline, a.unresolved, a.looks, a.settles_from, a.note,
		COALESCE(h.look_error, ''), COALESCE(h.look_until, 0)
		FROM attempts a LEFT JOIN channels h ON h.provider_url = a.provider_url AND h.provider_user = a.provider_user AND h.channel = a.channel
		WHERE a.campaign_id = $1 AND a.unresolved IS NOT NULL AND a.state IN (1, 3) ORDER BY a.id`, id)
	if err != nil {
		return nil, fmt.Errorf("reading what is unknown of campaign %d: %w", id, err)
	}
	defer rows.Close()
	var all []UnknownAttempt
	for rows.Next() {
		var (
			u                              UnknownAttempt
			started, deadline, from, until int64
			unresolved                     []byte
		)
		err := rows.Scan(&u.Attempt, &u.Batch, &u.Number, &u.Worker, &started, &deadline, &unresolved, &u.Looks, &from, &u.Note, &u.Problem, &until)
		if err != nil {
			return nil, fmt.Errorf("reading what is unknown of campaign %d: %w", id, err)
		}
		members, err := decodeMembers(unresolved)
		if err != nil {
			return nil, fmt.Errorf("attempt %d: %w", u.Attempt, err)
		}
		u.Members = len(members)
		u.Started, u.Deadline, u.NextLook = fromMillis(started), fromMillis(deadline), fromMillis(max(from+settle.Milliseconds(), until))
		all = append(all, u)
	}
	return all, rows.Err()
}

// Assume decides by hand what became of the unknown members of an attempt, or
// of all attempts of a campaign when attempt is 0: that they were sent, which
// costs what was quoted, or that they were not, so that they are pending again.
// Who decided is recorded. It returns how many recipients that were.
func (l *Ledger) Assume(ctx context.Context, campaignID, attempt int64, sent bool, actor string) (int, error) {
	n := 0
	err := l.store.write(ctx, func(tx *tx) error {
		n = 0
		rows, err := tx.exec.QueryContext(ctx, `SELECT id FROM attempts WHERE campaign_id = $1 AND unresolved IS NOT NULL AND state IN (1, 3) AND ($2 = 0 OR id = $2) ORDER BY id`, campaignID, attempt)
		if err != nil {
			return fmt.Errorf("reading what is unknown of campaign %d: %w", campaignID, err)
		}
		ids, err := scanIDs(rows)
		if err != nil {
			return fmt.Errorf("reading what is unknown of campaign %d: %w", campaignID, err)
		}
		attempts, err := l.lockAttempts(ctx, tx, ids)
		if err != nil {
			return err
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		for _, a := range attempts {
			members := len(a.unresolved)
			if sent {
				err = l.assumeSent(ctx, tx, a)
			} else {
				gone := map[int64]bool{}
				for _, id := range a.unresolved {
					gone[id] = true
				}
				err = l.returnToPending(ctx, tx, a, gone, 0, 0, now)
				if err == nil {
					err = lookAgain(ctx, tx, a, now)
				}
			}
			if err != nil {
				return err
			}
			what := "were not sent"
			if sent {
				what = "were sent"
			}
			if err := event(ctx, tx, a.campaign, now, actor, "assume", fmt.Sprintf("%d recipients of attempt %d %s", members, a.id, what)); err != nil {
				return err
			}
			n += members
		}
		return l.settleCampaigns(ctx, tx, attempts)
	})
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, campaign.Errorf(campaign.CodeConflict, "nothing of campaign %d is unknown that could be decided: `postrider campaign unknown %d` shows it", campaignID, campaignID)
	}
	return n, nil
}

// lookAgain lets history be read for late evidence of an attempt from now on,
// however often it was read in vain before: a person may have been wrong.
func lookAgain(ctx context.Context, tx *tx, a *evidenced, now int64) error {
	_, err := tx.exec.ExecContext(ctx, `UPDATE attempts SET looks = 0, settles_from = $1 WHERE id = $2`, now, a.id)
	if err != nil {
		return fmt.Errorf("putting off the next look at attempt %d: %w", a.id, err)
	}
	return nil
}

// assumedStatus is the status of messages of which a person said that they were sent.
const assumedStatus = "ASSUMED_SENT"

func (l *Ledger) assumeSent(ctx context.Context, tx *tx, a *evidenced) error {
	stand, err := standings(ctx, tx, a.unresolved)
	if err != nil {
		return err
	}
	var findings []Finding
	for _, id := range a.unresolved {
		findings = append(findings, Finding{Attempt: a.id, Outcome: Outcome{
			Recipient: id, State: campaign.Accepted, Status: assumedStatus, Price: stand[id].quoted,
		}})
	}
	_, err = l.applyEvidence(ctx, tx, a, FromOperator, findings)
	return err
}

// RetryRejected makes recipients pending again who were rejected for good with
// a code, in batches of their own, and lets a completed campaign send again. It
// returns how many they are. Letters of an outbox whose run has ended are an
// Error with CodeConflict: the next run mails them.
func (l *Ledger) RetryRejected(ctx context.Context, id int64, code, actor string) (int, error) {
	n := 0
	err := l.store.write(ctx, func(tx *tx) error {
		n = 0
		state, err := l.lockCampaign(ctx, tx, id)
		if err != nil {
			return err
		}
		switch state {
		case campaign.Sending, campaign.Paused, campaign.Completed:
		default:
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s: only what was sent, is being sent or is paused can be retried", id, state)
		}
		if err := refuseFreed(ctx, tx, id); err != nil {
			return err
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		byBatch, batches, err := rejectedWith(ctx, tx, id, code)
		if err != nil {
			return err
		}
		for _, batch := range batches {
			members := byBatch[batch]
			if err := setRecipients(ctx, tx, members, campaign.Pending, "", campaign.Rejected); err != nil {
				return err
			}
			c := child{parent: batch, members: members, dueAt: now, afresh: true}
			if err := l.childBatch(ctx, tx, c); err != nil {
				return err
			}
			if err := settleBatch(ctx, tx, batch); err != nil {
				return err
			}
			n += len(members)
		}
		if n == 0 {
			return campaign.Errorf(campaign.CodeNotFound, "no recipient of campaign %d was rejected with %s: `postrider campaign report %d` counts the codes", id, code, id)
		}
		if state == campaign.Completed {
			return l.moveCampaign(ctx, tx, id, Move{To: campaign.Sending, Actor: actor, Reason: fmt.Sprintf("%d recipients rejected with %s are tried again", n, code)})
		}
		return event(ctx, tx, id, now, actor, "retry", fmt.Sprintf("%d recipients rejected with %s are tried again", n, code))
	})
	return n, err
}

// rejectedWith finds the recipients of a campaign rejected with a code, by batch.
func rejectedWith(ctx context.Context, tx *tx, id int64, code string) (map[int64][]int64, []int64, error) {
	rows, err := tx.exec.QueryContext(ctx, `SELECT b.id, r.id FROM batches b CROSS JOIN recipients r
		WHERE b.campaign_id = $1 AND b.rejected > 0 AND r.id BETWEEN b.first_id AND b.last_id AND r.batch_id = b.id
		  AND r.state = 5 AND r.reason = $2 ORDER BY b.id, r.id`, id, code)
	if err != nil {
		return nil, nil, fmt.Errorf("looking for recipients rejected with %s: %w", code, err)
	}
	byBatch := map[int64][]int64{}
	var batches []int64
	for rows.Next() {
		var batch, recipient int64
		if err := rows.Scan(&batch, &recipient); err != nil {
			return nil, nil, errors.Join(err, rows.Close())
		}
		if len(byBatch[batch]) == 0 {
			batches = append(batches, batch)
		}
		byBatch[batch] = append(byBatch[batch], recipient)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, nil, fmt.Errorf("looking for recipients rejected with %s: %w", code, err)
	}
	return byBatch, slices.Clip(batches), nil
}

// AllowResends lets a channel of an account send again to recipients who were
// sent to before, after duplicates had stopped that. It reports whether they
// were stopped.
func (l *Ledger) AllowResends(ctx context.Context, c *Campaign, actor string) (bool, error) {
	stopped := false
	err := l.store.write(ctx, func(tx *tx) error {
		err := oneRow(tx.exec.ExecContext(ctx, `UPDATE channels SET stopped = '' WHERE provider_url = $1 AND provider_user = $2 AND channel = $3 AND stopped <> ''`,
			c.Provider.URL, c.Provider.User, string(c.Channel)))
		if stopped = err == nil; errors.Is(err, ErrLostLease) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("allowing the resends of %s: %w", c.Channel, err)
		}
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		return event(ctx, tx, c.ID, now, actor, "resume", "resends are allowed again after duplicates")
	})
	return stopped, err
}

// Stopped is why resends on the channel of a campaign wait for a person; empty
// when they do not.
func (l *Ledger) Stopped(ctx context.Context, c *Campaign) (string, error) {
	var why string
	err := l.store.read().QueryRowContext(ctx, `SELECT COALESCE(max(stopped), '') FROM channels WHERE provider_url = $1 AND provider_user = $2 AND channel = $3`,
		c.Provider.URL, c.Provider.User, string(c.Channel)).Scan(&why)
	if err != nil {
		return "", fmt.Errorf("reading the state of %s: %w", c.Channel, err)
	}
	return why, nil
}

// LookProblem is why the last look into the history of a campaign's channel did
// not tell what became of everybody; empty when it did.
func (l *Ledger) LookProblem(ctx context.Context, c *Campaign) (string, error) {
	var problem string
	err := l.store.read().QueryRowContext(ctx, `SELECT COALESCE(max(look_error), '') FROM channels WHERE provider_url = $1 AND provider_user = $2 AND channel = $3`,
		c.Provider.URL, c.Provider.User, string(c.Channel)).Scan(&problem)
	if err != nil {
		return "", fmt.Errorf("reading the state of %s: %w", c.Channel, err)
	}
	return problem, nil
}

// PauseStopped pauses campaigns that wait for nothing but resends that are
// stopped, so that whoever waits for them learns why. Whom history was read for
// three times in vain are not waited for: they may stay unknown until a person
// decides. It returns the ids of the campaigns.
func (l *Ledger) PauseStopped(ctx context.Context) ([]int64, error) {
	const waiting = `c.state = 'sending' AND h.stopped <> ''
		AND EXISTS (SELECT 1 FROM batches b WHERE b.campaign_id = c.id AND b.state <> 2)
		AND NOT EXISTS (SELECT 1 FROM batches b WHERE b.campaign_id = c.id AND (b.state <> 2 AND b.resend = 0 OR b.state = 1))
		AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.campaign_id = c.id AND a.unresolved IS NOT NULL AND a.state IN (1, 3) AND a.looks < 3)`
	const from = ` FROM campaigns c JOIN channels h ON h.provider_url = c.provider_url AND h.provider_user = c.provider_user AND h.channel = c.channel WHERE `
	rows, err := l.store.read().QueryContext(ctx, `SELECT c.id`+from+waiting)
	if err != nil {
		return nil, fmt.Errorf("looking for campaigns whose resends are stopped: %w", err)
	}
	ids, err := scanIDs(rows)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	var paused []int64
	for _, id := range ids {
		err := l.store.write(ctx, func(tx *tx) error {
			if _, err := l.lockCampaign(ctx, tx, id); err != nil {
				return err
			}
			rows, err := tx.exec.QueryContext(ctx, `SELECT c.id`+from+waiting+` AND c.id = $1`, id)
			if err != nil {
				return err
			}
			still, err := scanIDs(rows)
			if err != nil || len(still) == 0 {
				return err
			}
			var why string
			if err := tx.exec.QueryRowContext(ctx, `SELECT h.stopped`+from+`c.id = $1`, id).Scan(&why); err != nil {
				return err
			}
			paused = append(paused, id)
			return l.moveCampaign(ctx, tx, id, Move{To: campaign.Paused, Actor: "postrider", Reason: why})
		})
		if err != nil {
			return paused, fmt.Errorf("pausing campaign %d: %w", id, err)
		}
	}
	return paused, nil
}

// Duplicates counts the messages that recipients of a campaign got too many, as
// evidence that came late has shown.
func (l *Ledger) Duplicates(ctx context.Context, id int64) (int, error) {
	var n int
	if err := l.store.read().QueryRowContext(ctx, `SELECT count(*) FROM duplicates WHERE campaign_id = $1`, id).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting the duplicates of campaign %d: %w", id, err)
	}
	return n, nil
}

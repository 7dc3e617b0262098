package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/crashpoint"
	"github.com/postrider/postrider/ledger"
)

// Dispatcher enqueues what the ledger says is due. Any number of them may run;
// each is for one goroutine.
type Dispatcher struct {
	Ledger *ledger.Ledger
	Queue  *asynq.Client
	Redis  redis.UniversalClient
	Log    *slog.Logger

	// Window is how many dispatched batches of a channel may wait for a worker
	// at a time; 200 when 0. It bounds what a Redis that loses its memory
	// costs, not how fast batches leave.
	Window int
	// Again is the age at which a dispatch nobody has claimed is given up and
	// made anew; 60 s when 0. A Redis that was flushed is noticed at once.
	Again time.Duration
	// Settle is how long the provider's history may lag behind; see Reconciler.
	Settle time.Duration
	// TaskTimeout is how long a worker may hold a task; see Worker.
	TaskTimeout time.Duration

	housekept time.Time // when this one last enqueued it
}

// Sweep does everything that is due at this moment: campaigns whose hour has
// come start, attempts that nobody answers for become unknown, batches that
// nobody holds are dispatched. It returns how many batches it dispatched. A
// campaign that cannot be started does not stop the others: its error is returned
// when everything else is done.
func (d *Dispatcher) Sweep(ctx context.Context) (int, error) {
	started, late, unstarted := d.Ledger.StartDue(ctx)
	for _, id := range started {
		d.Log.Info("a scheduled campaign starts", "campaign", id)
	}
	for _, id := range late {
		d.Log.Error("a scheduled campaign is too late to start by itself, and is paused", "campaign", id)
	}
	n, err := d.sweep(ctx)
	return n, errors.Join(unstarted, err)
}

// sweep is the rest of Sweep, after the starts.
func (d *Dispatcher) sweep(ctx context.Context) (int, error) {
	lost, err := d.Ledger.SweepAttempts(ctx)
	if err != nil {
		return 0, err
	}
	if lost > 0 {
		d.Log.Warn("attempts were found open and are unknown now", "attempts", lost)
	}
	paused, err := d.Ledger.PauseStopped(ctx)
	for _, id := range paused {
		d.Log.Error("a campaign waits for nothing but resends that duplicates have stopped, and is paused", "campaign", id)
	}
	if err != nil {
		return 0, err
	}
	if err := d.noticeFlush(ctx); err != nil {
		return 0, err
	}
	if err := d.housekeeping(ctx); err != nil {
		return 0, err
	}
	if err := d.cancels(ctx); err != nil {
		return 0, err
	}
	if err := d.looks(ctx); err != nil {
		return 0, err
	}
	total := 0
	for _, c := range campaign.Channels() {
		n, err := d.dispatch(ctx, c)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// cancels enqueues what is to be cancelled at the provider.
func (d *Dispatcher) cancels(ctx context.Context) error {
	due, err := d.Ledger.CancelsDue(ctx)
	if err != nil {
		return err
	}
	for _, c := range due {
		for lane := range cancelLanes {
			task, err := newCancelTask(d.Ledger.ID(), c, lane, time.Now())
			if err != nil {
				return err
			}
			if _, err = d.Queue.EnqueueContext(ctx, task); err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
				return fmt.Errorf("enqueueing what is to be cancelled on %s: %w", c.Channel, err)
			}
		}
	}
	return nil
}

// looks enqueues a look into history for every channel that has something to be
// found out.
func (d *Dispatcher) looks(ctx context.Context) error {
	due, err := d.Ledger.LooksDue(ctx, d.Settle)
	if err != nil {
		return err
	}
	for _, look := range due {
		task, err := newLookTask(d.Ledger.ID(), look, time.Now())
		if err != nil {
			return err
		}
		crashpoint.Here(crashpoint.EnqueueLookBefore)
		if _, err = d.Queue.EnqueueContext(ctx, task); err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
			return fmt.Errorf("enqueueing a look into the history of %s: %w", look.Channel, err)
		}
		crashpoint.Here(crashpoint.EnqueueLookAfter)
	}
	return nil
}

// housekeeping enqueues the control task of this stretch of time, unless
// another scheduler has.
func (d *Dispatcher) housekeeping(ctx context.Context) error {
	now := time.Now()
	if now.Sub(d.housekept) < housekeepingEvery {
		return nil
	}
	_, err := d.Queue.EnqueueContext(ctx, newHousekeepingTask(d.Ledger.ID(), now))
	if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
		return fmt.Errorf("enqueueing the housekeeping: %w", err)
	}
	d.housekept = now
	return nil
}

// noticeFlush looks for the mark that this ledger leaves in Redis. When it is
// gone, so are the tasks: every dispatch is forgotten and made anew.
func (d *Dispatcher) noticeFlush(ctx context.Context) error {
	fresh, err := d.Redis.SetNX(ctx, "postrider:"+d.Ledger.ID()+":alive", "1", 0).Result()
	if err != nil {
		return fmt.Errorf("asking Redis: %w", err)
	}
	if !fresh {
		return nil
	}
	if err := d.Ledger.ForgetDispatches(ctx); err != nil {
		// Without the mark, the next beat tries again.
		return errors.Join(err, d.Redis.Del(ctx, "postrider:"+d.Ledger.ID()+":alive").Err())
	}
	return nil
}

func (d *Dispatcher) dispatch(ctx context.Context, c campaign.Channel) (int, error) {
	q := ledger.DueQuery{Channel: c, Window: d.Window, Again: d.Again}
	if q.Window == 0 {
		q.Window = 200
	}
	if q.Again == 0 {
		q.Again = time.Minute
	}
	due, err := d.Ledger.Due(ctx, q)
	if err != nil {
		return 0, err
	}
	for i, b := range due {
		task, err := newSendTask(d.Ledger.ID(), b, d.TaskTimeout)
		if err != nil {
			return i, err
		}
		crashpoint.Here(crashpoint.EnqueueBefore)
		_, err = d.Queue.EnqueueContext(ctx, task)
		if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
			// The ledger believes them dispatched; without this they would be
			// missed only after Again.
			return i, errors.Join(fmt.Errorf("enqueueing batch %d: %w", b.Batch, err), d.Ledger.ForgetDispatches(ctx))
		}
		crashpoint.Here(crashpoint.EnqueueAfter)
	}
	return len(due), nil
}

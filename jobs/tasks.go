// Package jobs moves batches through the queue to the provider: it dispatches
// what the ledger says is due, and its workers claim, render, wait for the rate
// budget, record the attempt, post, and record the outcomes. Tasks carry ids;
// the ledger is asked for everything else, so that Redis may forget all of it.
package jobs

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/ledger"
)

// TypeSend is the asynq task type of a batch that is due.
const TypeSend = "batch:send"

// TypeHousekeeping is the asynq task type of what need not happen at once:
// discarding what interrupted imports and plans left behind.
const TypeHousekeeping = "control:housekeeping"

// TypeReconcile is the asynq task type of a look into a channel's history.
const TypeReconcile = "control:reconcile"

// lookSlot is how long a look's task id stands in the way of the next one.
const lookSlot = 2 * time.Second

// newLookTask makes the task of a look that is due. Its id holds back others for
// a moment only: the ledger decides who looks.
func newLookTask(ledgerID string, d ledger.LookDue, at time.Time) (*asynq.Task, error) {
	payload, err := json.Marshal(lookPayload{URL: d.Provider.URL, User: d.Provider.User, Channel: d.Channel})
	if err != nil {
		return nil, err
	}
	return asynq.NewTask(TypeReconcile, payload,
		asynq.TaskID(fmt.Sprintf("%s-look-%s-%x-%d", ledgerID, d.Channel, accountHash(d.Provider), at.UnixNano()/int64(lookSlot))),
		asynq.Queue(ControlQueue(ledgerID)), asynq.MaxRetry(1), asynq.Timeout(lookTimeout), asynq.Retention(lookSlot)), nil
}

// lookTimeout is how long a look may take, at a request a second over a hundred
// pages of history and more.
const lookTimeout = 6 * time.Hour

// TypeCancel is the asynq task type of cancelling, on one channel of an account,
// what the provider holds.
const TypeCancel = "control:cancel"

// CancelQueue is the asynq queue of what is to be cancelled at the provider: a long
// look into history must not keep it waiting.
func CancelQueue(ledgerID string) string { return fmt.Sprintf("postrider:%s:cancel", ledgerID) }

// newCancelTask makes a task of what waits to be cancelled. Its id lets a few of
// them be under way at a time; the ledger decides who cancels what.
func newCancelTask(ledgerID string, d ledger.LookDue, lane int, at time.Time) (*asynq.Task, error) {
	payload, err := json.Marshal(lookPayload{URL: d.Provider.URL, User: d.Provider.User, Channel: d.Channel})
	if err != nil {
		return nil, err
	}
	return asynq.NewTask(TypeCancel, payload,
		asynq.TaskID(fmt.Sprintf("%s-cancel-%s-%x-%d-%d", ledgerID, d.Channel, accountHash(d.Provider), lane, at.UnixNano()/int64(cancelSlice))),
		asynq.Queue(CancelQueue(ledgerID)), asynq.MaxRetry(1), asynq.Timeout(lookTimeout)), nil
}

func accountHash(p ledger.Provider) uint32 {
	h := fnv.New32a()
	fmt.Fprint(h, p.URL, " ", p.User) //nolint:errcheck // a hash takes everything
	return h.Sum32()
}

// housekeepingEvery is how often it happens, over all processes together.
const housekeepingEvery = 30 * time.Second

// ControlQueue is the asynq queue of everything that is not a batch.
func ControlQueue(ledgerID string) string { return fmt.Sprintf("postrider:%s:control", ledgerID) }

// newHousekeepingTask makes the task of a stretch of time; its id keeps
// several schedulers from enqueueing it twice.
func newHousekeepingTask(ledgerID string, at time.Time) *asynq.Task {
	return asynq.NewTask(TypeHousekeeping, nil,
		asynq.TaskID(fmt.Sprintf("%s-housekeeping-%d", ledgerID, at.Unix()/int64(housekeepingEvery/time.Second))),
		asynq.Queue(ControlQueue(ledgerID)), asynq.MaxRetry(1), asynq.Timeout(10*time.Minute),
		asynq.Retention(housekeepingEvery))
}

// sendPayload is what a TypeSend task carries: ids only.
type sendPayload struct {
	Batch    int64 `json:"batch"`
	Dispatch int64 `json:"dispatch"`
}

// Queue is the asynq queue of a channel of one ledger. Two ledgers may share a
// Redis without taking each other's tasks.
func Queue(ledgerID string, c campaign.Channel) string {
	return fmt.Sprintf("postrider:%s:%s", ledgerID, c)
}

// newSendTask makes the task of a dispatch. Its id carries the dispatch
// number: asynq refuses an id that is active, orphaned, archived or retained,
// and the ledger raises the number when it wants the batch sent all the same.
func newSendTask(ledgerID string, d ledger.Dispatch, timeout time.Duration) (*asynq.Task, error) {
	payload, err := json.Marshal(sendPayload{Batch: d.Batch, Dispatch: d.Number})
	if err != nil {
		return nil, err
	}
	return asynq.NewTask(TypeSend, payload,
		asynq.TaskID(fmt.Sprintf("%s-%d-%d", ledgerID, d.Batch, d.Number)),
		asynq.Queue(Queue(ledgerID, d.Channel)),
		// A crash uses up a retry, and a task without one is archived; the
		// ledger keeps the count that matters.
		asynq.MaxRetry(3),
		asynq.Timeout(timeout),
	), nil
}

package jobs_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// TestAQueueThatHandsOutEveryTaskTwiceSendsOnce runs two workers on a real Redis
// in which every batch lies twice. One of each pair posts; the other leaves
// nothing in the ledger that tells of it.
func TestAQueueThatHandsOutEveryTaskTwiceSendsOnce(t *testing.T) {
	const batches = 30
	database := services.Postgres(t)
	r := newRig(t, setup{redis: true, database: database, sandbox: sandbox.Options{
		Faults: sandbox.Faults{Slow: 0.5, SlowBy: 30 * time.Millisecond, Endpoints: []string{sendSMS}},
	}})
	c := r.begun(campaign.SMS, batches*campaign.MaxBatch)
	for i := range 2 {
		s := *r.sender
		s.Name = fmt.Sprint("worker ", i)
		w := &jobs.Worker{Sender: &s, Redis: r.rdb, Log: r.log}
		r.ok(w.Start(r.ctx))
		t.Cleanup(w.Shutdown)
	}
	queue := asynq.NewClientFromRedisClient(r.rdb)
	due := r.dispatched(campaign.SMS)
	r.equal(len(due), batches)
	var g errgroup.Group
	for _, d := range due {
		for i := range 2 {
			g.Go(func() error { return handOut(queue, r.l.ID(), d, i) })
		}
	}
	r.ok(g.Wait())
	r.becomes(c.ID, campaign.Completed)
	inspector := asynq.NewInspectorFromRedisClient(r.rdb)
	r.until("both of every pair have been handled", func() bool {
		q, err := inspector.GetQueueInfo(jobs.Queue(r.l.ID(), campaign.SMS))
		r.ok(err)
		if q.Failed != 0 {
			t.Fatalf("%d tasks failed", q.Failed)
		}
		return q.Processed == 2*batches
	})
	r.equal(r.sends(), int64(batches))
	r.equal(r.counts(c.ID), ledger.Counts{Total: batches * campaign.MaxBatch, Accepted: batches * campaign.MaxBatch})
	r.equal(traces(r, database), trace{Claims: batches, Attempts: batches})
	r.once(c.ID)
}

// handOut puts a dispatch into the queue under a task id of its own.
func handOut(queue *asynq.Client, ledgerID string, d ledger.Dispatch, copy int) error {
	payload, err := json.Marshal(map[string]int64{"batch": d.Batch, "dispatch": d.Number})
	if err != nil {
		return err
	}
	_, err = queue.Enqueue(asynq.NewTask(jobs.TypeSend, payload), asynq.TaskID(fmt.Sprintf("%d-%d-%d", d.Batch, d.Number, copy)),
		asynq.Queue(jobs.Queue(ledgerID, d.Channel)), asynq.MaxRetry(0), asynq.Timeout(time.Minute))
	return err
}

// trace is what workers have left in a ledger.
type trace struct{ Claims, Attempts, Failed, Leases int }

func traces(r *rig, database string) (n trace) {
	r.t.Helper()
	conn, err := pgx.Connect(r.ctx, database)
	r.ok(err)
	defer conn.Close(r.ctx) //nolint:errcheck // only read
	r.ok(conn.QueryRow(r.ctx, `SELECT (SELECT sum(fence) FROM batches), (SELECT count(*) FROM attempts),
		(SELECT count(*) FROM attempts WHERE state <> 1), (SELECT count(*) FROM batches WHERE lease_by <> '')`).
		Scan(&n.Claims, &n.Attempts, &n.Failed, &n.Leases))
	return n
}

package jobs_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/services"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// awaiting is a log that keeps nothing and tells when a line with the words
// comes.
type awaiting struct {
	words string
	seen  chan struct{}
}

func (a *awaiting) Enabled(context.Context, slog.Level) bool { return true }
func (a *awaiting) WithAttrs([]slog.Attr) slog.Handler       { return a }
func (a *awaiting) WithGroup(string) slog.Handler            { return a }

func (a *awaiting) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, a.words) {
		select {
		case a.seen <- struct{}{}:
		default:
		}
	}
	return nil
}

// answeredWhileAway posts one batch, whose answer comes when the database has
// been killed, and returns when its record has been tried in vain.
func answeredWhileAway(t *testing.T, more ...func(*jobs.Sender)) (r *rig, c *ledger.Campaign, pg *services.PostgresServer, done chan error) {
	t.Helper()
	pg = services.PostgresAlone(t, services.PostgresOptions{})
	log := &awaiting{words: "waits for the database", seen: make(chan struct{}, 1)}
	r = newRig(t, setup{database: pg.URL("postgres"), sender: func(s *jobs.Sender) {
		s.Log = slog.New(log) // it goes wrong on purpose
		for _, f := range more {
			f(s)
		}
	}})
	c = r.begun(campaign.SMS, 10)
	g := r.gate()
	d := r.dispatched(campaign.SMS)[0]
	done = make(chan error, 1)
	go func() { done <- r.sender.Send(r.ctx, d.Batch, d.Number) }()
	<-g.arrived
	r.ok(pg.Kill())
	g.release()
	<-log.seen
	return r, c, pg, done
}

func TestAnAnswerWaitsUntilTheDatabaseIsBack(t *testing.T) {
	r, c, pg, done := answeredWhileAway(t)
	r.ok(pg.Restart())
	r.ok(<-done)
	r.equal(r.counts(c.ID), ledger.Counts{Total: 10, Accepted: 10})
	r.equal(r.campaign(c.ID).State, campaign.Completed)
	r.once(c.ID)
}

func TestAWorkerThatMustEndLeavesTheAnswerToBeFoundOut(t *testing.T) {
	draining, stop := context.WithCancel(context.Background())
	defer stop()
	r, c, pg, done := answeredWhileAway(t, func(s *jobs.Sender) {
		s.Draining, s.Lease, s.HTTPTimeout = draining, time.Second, 2*time.Second
	})
	stop()
	select {
	case err := <-done:
		if err == nil {
			t.Error("it ended as if the outcome were on record")
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
	r.ok(pg.Restart())
	r.equal(r.counts(c.ID), ledger.Counts{Total: 10, InFlight: 10})
	r.until("the attempt is swept", func() bool {
		_, err := r.l.SweepAttempts(r.ctx)
		r.ok(err)
		return r.counts(c.ID).Unknown == 10
	})
	r.once(c.ID)
}

// asynq gives up a task whose time is over while its post is still under way,
// and would let the process end with it.
func TestAWorkerWaitsForPostsThatItsQueueHasGivenUp(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 10)
	g := r.gate()
	w := &jobs.Worker{Sender: r.sender, Redis: r.rdb, Log: r.log}
	r.ok(w.Start(r.ctx))
	d := r.dispatcher()
	d.TaskTimeout = time.Second
	_, err := d.Sweep(r.ctx)
	r.ok(err)
	<-g.arrived
	retry := "asynq:{" + jobs.Queue(r.l.ID(), campaign.SMS) + "}:retry"
	r.until("the queue gives the task up", func() bool {
		n, err := r.rdb.ZCard(r.ctx, retry).Result()
		r.ok(err)
		return n == 1
	})
	ended := make(chan struct{})
	go func() { w.Shutdown(); close(ended) }()
	servers := asynq.NewInspectorFromRedisClient(r.rdb)
	r.until("the queue's servers have ended", func() bool {
		all, err := servers.Servers()
		r.ok(err)
		return len(all) == 0
	})
	select {
	case <-ended:
		t.Error("the worker ended with a post under way")
	default:
	}
	g.release()
	<-ended
	r.equal(r.counts(c.ID), ledger.Counts{Total: 10, Accepted: 10})
	r.once(c.ID)
}

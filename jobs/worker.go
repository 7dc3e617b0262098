package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/campaign"
)

// Worker takes batches from the queue and sends them: one asynq server for
// each channel, since queues of one server share its concurrency, and a batch
// of letters that waits for its rate budget must not keep an SMS waiting.
type Worker struct {
	Sender *Sender
	// Reconciler finds out what became of batches whose answer was lost; nil
	// leaves that to other processes.
	Reconciler *Reconciler
	// Canceller cancels what the provider holds of cancelled campaigns; nil leaves
	// that to other processes.
	Canceller *Canceller
	Redis     redis.UniversalClient
	Log       *slog.Logger
	// Concurrency is how many batches of a channel one process has in hand at a
	// time; 4 where a channel is missing.
	Concurrency map[campaign.Channel]int

	// ControlConcurrency is how many tasks of the control queue, which are never
	// batches, one process has in hand at a time; 1 when 0.
	ControlConcurrency int

	servers []*asynq.Server
	hands   sync.WaitGroup // the tasks in hand, those that asynq has given up as well
	drain   context.CancelFunc
}

// Start begins to take batches. It fails at once when Redis does not answer.
func (w *Worker) Start(ctx context.Context) error {
	if err := w.Redis.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("no answer from Redis: is it running, and is POSTRIDER_REDIS_URL right? %w", err)
	}
	w.Sender.Draining, w.drain = context.WithCancel(context.Background())
	for _, c := range campaign.Channels() {
		n := w.Concurrency[c]
		if n == 0 {
			n = 4
		}
		if err := w.serve(Queue(w.Sender.Ledger.ID(), c), n, w.Sender); err != nil {
			return err
		}
	}
	if w.Canceller != nil {
		w.Canceller.Draining = w.Sender.Draining
		if err := w.serve(CancelQueue(w.Sender.Ledger.ID()), cancelLanes*len(campaign.Channels()), w.Canceller); err != nil {
			return err
		}
	}
	n := w.ControlConcurrency
	if n == 0 {
		n = 1
	}
	mux := asynq.NewServeMux()
	mux.HandleFunc(TypeHousekeeping, w.housekeep)
	if w.Reconciler != nil {
		w.Reconciler.Draining = w.Sender.Draining
		mux.Handle(TypeReconcile, w.Reconciler)
	}
	return w.serve(ControlQueue(w.Sender.Ledger.ID()), n, mux)
}

// serve starts a server for one queue.
func (w *Worker) serve(queue string, concurrency int, h asynq.Handler) error {
	srv := asynq.NewServerFromRedisClient(w.Redis, asynq.Config{
		Concurrency: concurrency,
		Queues:      map[string]int{queue: 1},
		// Handlers outlive a shutdown only if a post is under way: it must
		// be able to end and be recorded.
		ShutdownTimeout:          w.shutdownLimit(),
		TaskCheckInterval:        200 * time.Millisecond,
		DelayedTaskCheckInterval: 2 * time.Second,
		RetryDelayFunc: func(n int, _ error, _ *asynq.Task) time.Duration {
			return min(time.Second<<min(n, 5), 30*time.Second)
		},
		Logger:   asynqLogger{w.Log},
		LogLevel: asynq.WarnLevel,
	})
	// asynq gives up a task whose time is over, and does not wait for it at the
	// end: we do.
	hands := asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		w.hands.Add(1)
		defer w.hands.Done()
		return h.ProcessTask(ctx, t)
	})
	if err := srv.Start(hands); err != nil {
		w.Shutdown()
		return fmt.Errorf("starting the workers of queue %s: %w", queue, err)
	}
	w.servers = append(w.servers, srv)
	return nil
}

// housekeep discards what planners and importers left behind when they died.
func (w *Worker) housekeep(ctx context.Context, _ *asynq.Task) error {
	campaigns, lists, err := w.Sender.Ledger.DiscardHalfPlans(ctx)
	if campaigns+lists > 0 {
		w.Log.Info("discarded what interrupted imports and plans had left", "campaigns", campaigns, "lists", lists)
	}
	return err
}

// Stop takes no new batch. Those whose post is under way go on; those that
// wait for the rate budget go back to the ledger at once.
func (w *Worker) Stop() {
	if w.drain != nil {
		w.drain()
	}
	for _, s := range w.servers {
		s.Stop()
	}
}

// Shutdown takes no new batch, waits for those in hand to be recorded, and
// ends.
func (w *Worker) Shutdown() {
	w.Stop()
	done := make(chan struct{}, len(w.servers)+1)
	for _, s := range w.servers {
		go func() { s.Shutdown(); done <- struct{}{} }()
	}
	for range w.servers {
		<-done
	}
	w.servers = nil
	go func() { w.hands.Wait(); done <- struct{}{} }()
	select {
	case <-done:
	case <-time.After(w.shutdownLimit()):
		w.Log.Error("a task does not end; what it was about is found out later")
	}
}

// shutdownLimit is how long a task in hand may still take: a post to its end,
// its record, and some room.
func (w *Worker) shutdownLimit() time.Duration {
	return postWithin + w.Sender.httpTimeout() + recordAfterStop + 15*time.Second
}

// asynqLogger writes asynq's own lines. They hold task ids, never messages.
type asynqLogger struct{ log *slog.Logger }

func (l asynqLogger) Debug(args ...any) { l.log.Debug("queue: " + fmt.Sprint(args...)) }
func (l asynqLogger) Info(args ...any)  { l.log.Info("queue: " + fmt.Sprint(args...)) }
func (l asynqLogger) Warn(args ...any)  { l.log.Warn("queue: " + fmt.Sprint(args...)) }
func (l asynqLogger) Error(args ...any) { l.log.Error("queue: " + fmt.Sprint(args...)) }
func (l asynqLogger) Fatal(args ...any) { l.log.Error("queue: " + fmt.Sprint(args...)) }

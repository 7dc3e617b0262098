package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/scheduler"
)

// engine is what moves batches: queue, workers and the sweeper's beat, each of
// them there or not as the role wants it.
type engine struct {
	ledger   *ledger.Ledger
	provider *jobs.Provider
	redis    redis.UniversalClient
	limiter  *ratelimit.Limiter

	lock     *flock.Flock   // held while the embedded queue runs here
	serving  *flock.Flock   // held beside it by serve, which stays
	embedded *jobs.Embedded // nil with a real Redis
	worker   *jobs.Worker
	beat     *scheduler.Beat
	runs     *scheduler.Runs // nil when nobody here makes the campaigns of recurring runs
	queue    *asynq.Client
	once     sync.Once // of close
}

// roles says which parts of an engine run in this process.
type roles struct {
	worker, scheduler bool
	// runs: campaigns of recurring runs are made here. A send does not, whose user
	// asked for one campaign only.
	runs bool
}

// errEngineBusy says that another process holds the embedded engine.
var errEngineBusy = errors.New("another process runs the engine on this data folder")

// openQueue connects to Redis, or starts the embedded one, which only the
// holder of engine.lock may: errEngineBusy when somebody else is.
func (m *Main) openQueue(ctx context.Context) (*engine, error) {
	e := &engine{}
	if m.cfg.UsesEmbeddedRedis() {
		if err := os.MkdirAll(m.cfg.DataDir, 0o700); err != nil {
			return nil, fmt.Errorf("the data folder cannot be made: %w", err)
		}
		e.lock = m.lockFile("engine.lock")
		got, err := tryLock(ctx, e.lock)
		if err != nil {
			return nil, fmt.Errorf("taking engine.lock in the data folder: %w", err)
		}
		if !got {
			return nil, errEngineBusy
		}
		if e.embedded, err = jobs.StartEmbedded(); err != nil {
			return nil, errors.Join(err, e.lock.Unlock())
		}
		e.redis = redis.NewUniversalClient(e.embedded.Options())
	} else {
		opts, err := m.cfg.RedisOptions()
		if err != nil {
			return nil, &usageError{err}
		}
		e.redis = redis.NewUniversalClient(opts)
		ping, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := e.redis.Ping(ping).Err(); err != nil {
			return nil, errors.Join(campaign.Errorf(campaign.CodeUnavailable, "no answer from Redis: is it running, and is POSTRIDER_REDIS_URL right? %w", err), e.redis.Close())
		}
	}
	e.limiter = ratelimit.New(e.redis, m.rateOptions())
	return e, nil
}

func (m *Main) lockFile(name string) *flock.Flock {
	return flock.New(filepath.Join(m.cfg.DataDir, name), flock.SetPermissions(0o600))
}

// tryLock takes a lock unless somebody keeps it: who only looks whether it is
// taken holds it for a moment.
func tryLock(ctx context.Context, lock *flock.Flock) (bool, error) {
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	got, err := lock.TryLockContext(short, 20*time.Millisecond)
	if errors.Is(err, context.DeadlineExceeded) {
		return false, ctx.Err()
	}
	return got, err
}

// showServing marks the holder of the embedded engine as one that stays when a
// campaign has ended, so that others may leave theirs to it.
func (m *Main) showServing(e *engine) error {
	if e.embedded == nil {
		return nil
	}
	// Nobody but the holder of engine.lock takes it for longer than a look.
	e.serving = m.lockFile("serve.lock")
	if err := e.serving.Lock(); err != nil {
		return fmt.Errorf("taking serve.lock in the data folder: %w", err)
	}
	return nil
}

// serveRuns reports whether a serve holds the embedded engine. A send that
// holds it ends with its own campaign, and is none.
func (m *Main) serveRuns() (bool, error) {
	lock := m.lockFile("serve.lock")
	free, err := lock.TryRLock()
	if err != nil {
		return false, fmt.Errorf("looking at serve.lock in the data folder: %w", err)
	}
	if !free {
		return true, nil
	}
	if err := lock.Unlock(); err != nil {
		return false, fmt.Errorf("letting go of serve.lock in the data folder: %w", err)
	}
	return false, nil
}

// run opens what the roles need on an engine whose queue is open, and starts it.
func (m *Main) run(ctx context.Context, e *engine, l *ledger.Ledger, log *slog.Logger, r roles) error {
	// A copy has the queues of what it is a copy of: it must not take from them.
	if err := refuseQuarantined(ctx, l); err != nil {
		return err
	}
	e.ledger = l
	sender := &jobs.Sender{
		Ledger: l, Log: log, Name: workerName(),
		Lease: m.cfg.Lease, HTTPTimeout: m.cfg.HTTPTimeout, RefusalBrake: float64(m.cfg.RefusalBrake) / 100,
	}
	if m.cfg.RefusalBrake == 100 {
		sender.RefusalBrake = 0
	}
	if r.worker {
		p, err := m.openProvider(l, e.limiter)
		if err != nil {
			return err
		}
		e.provider, sender.Provider = p, p
		finder := &jobs.Reconciler{Ledger: l, Provider: p, Log: log, Name: sender.Name, Settle: m.cfg.Settle, Lease: m.cfg.Lease}
		canceller := &jobs.Canceller{Ledger: l, Provider: p, Log: log, Name: sender.Name, Settle: m.cfg.Settle, Lease: m.cfg.Lease}
		e.worker = &jobs.Worker{Sender: sender, Reconciler: finder, Canceller: canceller, Redis: e.redis, Log: log, ControlConcurrency: m.cfg.ConcurrencyControl, Concurrency: map[campaign.Channel]int{
			campaign.SMS: m.cfg.ConcurrencySMS, campaign.MMS: m.cfg.ConcurrencyMMS,
			campaign.Letter: m.cfg.ConcurrencyLetter, campaign.Postcard: m.cfg.ConcurrencyPostcard,
		}}
		if err := e.worker.Start(ctx); err != nil {
			return err
		}
	}
	if r.scheduler {
		e.queue = asynq.NewClientFromRedisClient(e.redis)
		e.beat = &scheduler.Beat{Log: log, Dispatcher: &jobs.Dispatcher{
			Ledger: l, Queue: e.queue, Redis: e.redis, Log: log, TaskTimeout: sender.TaskTimeout(), Settle: m.cfg.Settle,
			// Who takes a silent worker for dead sooner waits less for a task that a
			// dead one took along; a minute as a rule.
			Again: 4 * m.cfg.Lease,
		}}
		e.beat.Start()
	}
	if r.runs {
		return m.startRuns(e, l, log, sender.Name)
	}
	return nil
}

// startRuns sees to recurring runs in this process, which needs an account for
// the prices of their campaigns.
func (m *Main) startRuns(e *engine, l *ledger.Ledger, log *slog.Logger, name string) error {
	if e.provider == nil {
		p, err := m.openProvider(l, e.limiter)
		if campaign.ErrorCode(err) == campaign.CodeConfig {
			log.Warn("recurring runs are left to another scheduler: this one has no account to ask for prices", "error", err)
			return nil
		}
		if err != nil {
			return err
		}
		e.provider = p
	}
	e.runs = &scheduler.Runs{
		Ledger: l, Log: log, Name: name, Lease: 2 * m.cfg.Lease, Alarms: m.alarmer(),
		Runner: &scheduler.Maker{Ledger: l, Provider: e.provider, Log: log, Country: m.cfg.Country, RejectsDir: m.cfg.DataDir},
	}
	e.runs.Start()
	return nil
}

// close ends everything: no new batches, those in hand are recorded first. It
// may be called again.
func (e *engine) close() {
	if e != nil {
		e.once.Do(e.end)
	}
}

func (e *engine) end() {
	if e.runs != nil {
		e.runs.Shutdown()
	}
	if e.beat != nil {
		e.beat.Shutdown()
	}
	if e.worker != nil {
		e.worker.Shutdown()
	}
	if e.provider != nil {
		e.provider.Close()
	}
	if e.redis != nil {
		e.redis.Close() //nolint:errcheck // the process is done with it
	}
	if e.embedded != nil {
		e.embedded.Close()
	}
	if e.serving != nil {
		e.serving.Unlock() //nolint:errcheck // as below
	}
	if e.lock != nil {
		e.lock.Unlock() //nolint:errcheck // the lock ends with the process in any case
	}
}

// workerName tells this process from every other on every machine.
func workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), uuid.NewString()[:8])
}

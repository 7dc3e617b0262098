package acceptance

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/crashpoint"
	"github.com/postrider/postrider/internal/services"
)

// crashable builds the program with its crash points, once.
var crashable = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(built), "postrider-crashpoints")
	return path, buildProgram(path, "-tags", "crashpoints")
})

// armed is the world with a program that ends, or stops, at a crash point.
func (w *world) armed(at crashpoint.Point, more string) *world {
	w.t.Helper()
	path, err := crashable()
	if err != nil {
		w.t.Fatal(err)
	}
	other := w.with("CRASHPOINT", string(at)+more)
	other.program = path
	return other
}

// reached waits until the process has come to its crash point.
func (p *process) reached(at crashpoint.Point) {
	p.t.Helper()
	eventually(p.t, time.Minute, fmt.Sprintf("%s: crash point %s", p.line, at), func() bool {
		if strings.Contains(p.stderr.String(), "crash point "+string(at)+"\n") {
			return true
		}
		if !p.running() {
			p.t.Fatalf("%s ended with exit code %d before it came to %s", p.line, p.code, at)
		}
		return false
	})
}

// hasty is the environment of a deployment that soon takes a silent worker for
// dead: what takes minutes in life takes seconds here.
func (w *world) hasty() *world {
	return w.set("POSTRIDER_LEASE", "1s", "POSTRIDER_HTTP_TIMEOUT", "2s", "POSTRIDER_SETTLE", "1s")
}

// TestChaosStoppedWorker stops a worker in its tracks (SIGSTOP) with a batch in
// hand, lets its lease and its deadline pass while another worker goes on, and
// continues it: it sends nothing.
func TestChaosStoppedWorker(t *testing.T) {
	const n = 3000
	for at, workers := range map[crashpoint.Point]int{ // and how many of the two have attempts on record
		"claim.after": 1, "begin-attempt.inside": 1, "begin-attempt.after": 2, crashpoint.PostBefore: 2,
	} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sandbox.Options{})
			pg := services.PostgresAlone(t, services.PostgresOptions{})
			w.hasty().set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", services.Redis(t).URL(), "POSTRIDER_CONCURRENCY_SMS", "1")
			w.audience("people.csv", 0, n)
			sleeper := w.armed(at, ":stop").role("worker")
			w.role("scheduler")
			w.must(sms("people.csv", "sale")...)
			sleeper.reached(at)
			other := w.role("worker")
			s := w.awaitState(patience(n), "sale", "completed") // long after the lease and the deadline
			requests := w.sends()
			sleeper.signal(syscall.SIGCONT)
			sleeper.stop()
			other.stop()
			w.agree(s, n)
			if w.sends() != requests {
				t.Errorf("%d requests were sent after the campaign's end", w.sends()-requests)
			}
			if by := attemptsBy(t, pg.URL("postgres")); len(by) != workers {
				t.Errorf("attempts by worker: %v, want those of %d", by, workers)
			}
		})
	}
}

// TestChaosRollingRestart restarts every worker of a campaign in turn, twice
// over, as an upgrade does: at no moment is anybody unknown.
func TestChaosRollingRestart(t *testing.T) {
	n := scaled(t, 300_000)
	w := newWorld(t, sandbox.Options{Faults: sandbox.Faults{Slow: 1, SlowBy: 400 * time.Millisecond, Endpoints: []string{"POST /sms/send"}}})
	pg := services.PostgresAlone(t, services.PostgresOptions{})
	w.set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", services.Redis(t).URL())
	w.audience("people.csv", 0, n)
	paced := w.with("POSTRIDER_RATE", spread(n, 12*time.Second))
	workers := []*process{paced.role("worker"), paced.role("worker"), paced.role("worker")}
	w.role("scheduler")
	w.must(sms("people.csv", "sale")...)
	never := w.neverUnknown(pg.URL("postgres"))
	restarts := 2 * len(workers)
	for i := range restarts {
		w.awaitAccepted(n / 2 * i / restarts)
		eventually(t, time.Minute, "posts under way", func() bool { return w.sends() > int(w.provider.Stats().Accepted)/sandbox.MaxBatch })
		p := &workers[i%len(workers)]
		(*p).stop()
		*p = paced.role("worker")
	}
	if s := w.status("sale"); s.State != "sending" {
		t.Errorf("the campaign is %s before the restarts are done: the test shows less than it should", s.State)
	}
	w.agree(w.awaitState(patience(n), "sale", "completed"), n)
	never()
	if by := attemptsBy(t, pg.URL("postgres")); len(by) < restarts {
		t.Errorf("attempts by worker: %v, want of %d workers at least", by, restarts)
	}
}

// neverUnknown looks into a PostgreSQL ledger again and again until it is called:
// no attempt may be unknown at any time.
func (w *world) neverUnknown(url string) func() {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		w.t.Fatal(err)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer conn.Close(ctx) //nolint:errcheck // only read
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for looks := 1; ; looks++ {
			var attempts, recipients int
			err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM attempts WHERE state = 3), (SELECT COALESCE(sum(unknown), 0) FROM batches)`).Scan(&attempts, &recipients)
			if err != nil {
				w.t.Errorf("look %d into the ledger: %v", looks, err)
				return
			}
			if attempts+recipients > 0 {
				w.t.Errorf("look %d into the ledger: %d attempts and %d recipients are unknown", looks, attempts, recipients)
				return
			}
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	}()
	stop := sync.OnceFunc(func() { close(quit); <-done })
	w.t.Cleanup(stop)
	return stop
}

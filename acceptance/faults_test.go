package acceptance

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
)

// spread is a rate at which the batches of n recipients take about so long.
func spread(n int, over time.Duration) string {
	return strconv.FormatFloat(float64(n/sandbox.MaxBatch)/over.Seconds(), 'f', 3, 64)
}

// awaitAccepted waits until the provider has accepted so many messages.
func (w *world) awaitAccepted(n int) {
	w.t.Helper()
	eventually(w.t, patience(n), fmt.Sprintf("%d messages accepted", n), func() bool { return int(w.provider.Stats().Accepted) >= n })
}

// TestAcceptFlushAll empties Redis again and again while a campaign is sent.
func TestAcceptFlushAll(t *testing.T) {
	n := scaled(t, 200_000)
	w := newWorld(t, sandbox.Options{Seed: 3, RefuseRate: 0.02})
	server := services.Redis(t)
	pg := services.PostgresAlone(t, services.PostgresOptions{})
	w.set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", server.URL())
	w.audience("people.csv", 0, n)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close() //nolint:errcheck // the server goes next

	slow := w.with("POSTRIDER_RATE", spread(n, 10*time.Second))
	slow.role("worker")
	slow.role("worker")
	w.role("scheduler")
	begun := time.Now()
	w.must("send", "--channel", "sms", "--to", "people.csv", "--name", "flushed", "--from", "ACME", "--body", "Hi {{first_name}}", "--yes")
	flushes := 0
	for part := 1; part <= 4; part++ {
		w.awaitAccepted(n * part / 6)
		if s := w.status("flushed"); s.State != "sending" {
			t.Fatalf("the campaign is %s before the flush number %d", s.State, part)
		}
		if err := rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		flushes++
	}
	s := w.awaitState(patience(n), "flushed", "completed")
	w.agree(s, n)
	t.Logf("%d recipients, Redis emptied %d times: done in %s", n, flushes, time.Since(begun).Round(time.Millisecond))
}

// TestAcceptKillWorker kills a worker with posts under way. What became of them
// is found out, and everybody is sent to once.
func TestAcceptKillWorker(t *testing.T) {
	t.Parallel()
	n := scaled(t, 100_000)
	w := newWorld(t, sandbox.Options{
		Seed:   5,
		Faults: sandbox.Faults{Slow: 1, SlowBy: 400 * time.Millisecond, Endpoints: []string{"POST /sms/send"}},
	})
	pg := services.PostgresAlone(t, services.PostgresOptions{})
	w.set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", services.Redis(t).URL(),
		"POSTRIDER_HTTP_TIMEOUT", "4s", "POSTRIDER_LEASE", "2s", "POSTRIDER_SETTLE", "2s")
	w.audience("people.csv", 0, n)
	victim := w.role("worker")
	w.role("scheduler")
	w.must("send", "--channel", "sms", "--to", "people.csv", "--name", "killed", "--from", "ACME", "--body", "Hi {{first_name}}", "--yes")

	w.awaitAccepted(1)
	w.awaitPost()
	victim.kill()
	atKill := w.provider.Stats().Accepted
	survivor := w.role("worker")
	s := w.awaitState(patience(n), "killed", "completed")
	w.onceEach(s, n)
	lost := unknownAttempts(t, pg.URL("postgres"))
	if lost == 0 {
		t.Error("no attempt was unknown at any time: the test shows less than it should")
	}
	survivor.stop()
	t.Logf("%d recipients, the worker killed after %d: %d attempts were found out", n, atKill, lost)
}

// TestAcceptRateHeld lets four workers share 20 requests a second. Each letter
// has a file of its own, and so a request of its own.
func TestAcceptRateHeld(t *testing.T) {
	n := scaled(t, 100_000) / 100 * 3 // 300 in 15 s at a scale of 0.1, 3,000 in 150 s whole
	w := newWorld(t, sandbox.Options{})
	pg := services.PostgresAlone(t, services.PostgresOptions{})
	w.set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", services.Redis(t).URL())
	address := w.returnAddress()
	rows := "name,address,city,state,postcode,country,pdf\n"
	for i := range n {
		pdf := w.file(fmt.Sprintf("pdf/%d.pdf", i), page(strconv.Itoa(i)))
		rows += fmt.Sprintf("Ann Miller %d,%d Jarrah Drive,Perth,WA,6000,AU,%s\n", i, i+1, pdf)
	}
	w.file("letters.csv", []byte(rows))
	// Priced without a limit, so that the test is about the sending.
	w.with("POSTRIDER_RATE", "-1").must("send", "--channel", "letter", "--to", "letters.csv", "--name", "paced",
		"--file-column", "pdf", "--return-address", address, "--yes")
	paced := w.with("POSTRIDER_RATE", "20")
	for range 4 {
		paced.role("worker")
	}
	paced.role("scheduler")
	s := w.awaitState(patience(n*100), "paced", "completed")
	w.agree(s, n)
	e := w.provider.Stats().Endpoints["POST /post/letters/send"]
	if int(e.Requests) != n {
		t.Errorf("%d requests, want one for each of %d files", e.Requests, n)
	}
	if e.BusiestSecond > 22 {
		t.Errorf("%d requests in the busiest second, at most 22 are allowed", e.BusiestSecond)
	}
	// How much of the budget is used is for a machine that has nothing else to do.
	if whole() && e.AveragePerSecond < 18 {
		t.Errorf("%.2f requests a second on average, want 18 at least", e.AveragePerSecond)
	}
	// Where the two differ, requests were held up on their way, or at the provider.
	t.Logf("%d requests by four workers: %d in the busiest second (%d attempts begun in the ledger's), %.2f a second on average",
		e.Requests, e.BusiestSecond, busiestAttempts(t, pg.URL("postgres")), e.AveragePerSecond)
}

// TestAcceptStopWorker ends a worker in good order in the middle, and the watch
// of a send --wait: what is in flight is recorded, and the other worker goes on.
func TestAcceptStopWorker(t *testing.T) {
	const n = 30_000
	w := newWorld(t, sandbox.Options{Faults: sandbox.Faults{Slow: 1, SlowBy: 600 * time.Millisecond, Endpoints: []string{"POST /sms/send"}}})
	pg := services.PostgresAlone(t, services.PostgresOptions{})
	w.set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", services.Redis(t).URL(), "POSTRIDER_CONCURRENCY_SMS", "2")
	w.audience("people.csv", 0, n)
	leaver, stayer := w.role("worker"), w.role("worker")
	scheduler := w.role("scheduler")
	watch := w.start(sms("people.csv", "sale", "--wait")...)
	w.awaitAccepted(1)
	leaver.stop()
	watch.signal(interrupt)
	if code := watch.wait(time.Minute); code != 4 || !strings.Contains(watch.stderr.String(), "campaign status") {
		t.Errorf("exit code %d of an interrupted --wait, want 4 and how to go on watching: %s", code, watch.stderr)
	}
	if s := w.status("sale"); s.State != "sending" || s.Pending == 0 {
		t.Fatalf("the worker was stopped too late: %+v", s)
	}
	w.agree(w.awaitState(patience(n), "sale", "completed"), n)
	if by := attemptsBy(t, pg.URL("postgres")); len(by) != 2 {
		t.Errorf("attempts by worker: %v, want two workers", by)
	}
	stayer.stop()
	scheduler.stop()
}

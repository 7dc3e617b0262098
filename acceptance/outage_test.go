package acceptance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
)

// steady is a provider whose answers to sends take a while, so that something
// is under way whenever a server goes away.
func steady() sandbox.Options {
	return sandbox.Options{Faults: sandbox.Faults{Slow: 1, SlowBy: 200 * time.Millisecond, Endpoints: []string{"POST /sms/send"}}}
}

// TestAcceptRedisAway starts without a Redis, and loses it in the middle.
func TestAcceptRedisAway(t *testing.T) {
	t.Parallel()
	const n = 30_000
	w := newWorld(t, steady())
	server := services.Redis(t)
	pg := services.PostgresAlone(t, services.PostgresOptions{})
	w.set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", server.URL(), "POSTRIDER_RATE", "10")
	w.audience("people.csv", 0, n)

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"worker"}, {"scheduler"}, {"serve"}, sms("people.csv", "sale")} {
		w.refused(mistake{args, 1, []string{"Redis", "is it running", "POSTRIDER_REDIS_URL"}})
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	w.role("worker")
	w.role("worker")
	w.role("scheduler")
	w.must(sms("people.csv", "sale")...)
	for _, part := range []int{n / 6, n / 2} {
		w.awaitAccepted(part)
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		away := time.Now()
		// Whatever the workers hold at this moment is brought to its end.
		eventually(t, time.Minute, "nothing in flight while Redis is away", func() bool { return w.status("sale").InFlight == 0 })
		if s := w.status("sale"); s.Unknown != 0 || s.State != "sending" {
			t.Errorf("with Redis away for %s: %+v", time.Since(away), s)
		}
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	w.agree(w.awaitState(patience(n), "sale", "completed"), n)
}

// TestAcceptPostgresAway starts without a database, and loses it in the middle,
// with posts under way whose answers must still be recorded.
func TestAcceptPostgresAway(t *testing.T) {
	t.Parallel()
	const n = 30_000
	w := newWorld(t, steady())
	pg := services.PostgresAlone(t, services.PostgresOptions{})
	w.set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", services.Redis(t).URL(), "POSTRIDER_RATE", "10")
	w.audience("people.csv", 0, n)

	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"worker"}, {"scheduler"}, {"serve"}, sms("people.csv", "sale")} {
		p := w.run(args...)
		if said := p.stderr.String(); p.code != 1 || !strings.Contains(said, "PostgreSQL at") || !strings.Contains(said, "is it running") {
			t.Errorf("%s: exit code %d, want 1 and where the database was looked for: %s", p.line, p.code, said)
		}
	}
	w.nothingSent()
	if err := pg.Restart(); err != nil {
		t.Fatal(err)
	}
	w.nothingKept()
	workers := []*process{w.role("worker"), w.role("worker"), w.role("scheduler")}
	w.must(sms("people.csv", "sale")...)
	for _, part := range []int{n / 6, n / 2} {
		w.awaitAccepted(part)
		if err := pg.Kill(); err != nil {
			t.Fatal(err)
		}
		// The posts under way are answered while nobody can record them.
		w.quiet()
		if err := pg.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	w.agree(w.awaitState(patience(n), "sale", "completed"), n)
	for _, p := range workers {
		p.stop()
	}
}

// TestAcceptFullDisk lets the ledger's disk run full, while the audience is
// stored and while outcomes are recorded.
func TestAcceptFullDisk(t *testing.T) {
	t.Parallel()
	const n = 20_000
	t.Run("while importing", func(t *testing.T) {
		w := newWorld(t, sandbox.Options{})
		w.audience("people.csv", 0, n)
		w.nothingKept() // makes the ledger
		p := w.shell(limited, sms("people.csv", "sale")...)
		if code, said := p.wait(time.Minute), p.stderr.String(); code != 1 || !strings.Contains(said, "disk") || !strings.Contains(said, "make room") {
			t.Errorf("exit code %d, want 1 and what to do about the disk: %s", code, said)
		}
		w.nothingSent()
		w.nothingKept()
		// With room again, the same command does its work.
		w.must(sms("people.csv", "sale")...)
		w.agree(w.status("sale"), n)
	})
	t.Run("while sending", func(t *testing.T) {
		w := newWorld(t, steady())
		w.audience("people.csv", 0, n)
		w.set("POSTRIDER_HTTP_TIMEOUT", "3s", "POSTRIDER_LEASE", "2s", "POSTRIDER_SETTLE", "1s", "POSTRIDER_CONCURRENCY_SMS", "2")
		p := w.start(sms("people.csv", "sale")...)
		w.awaitAccepted(1)
		p.signal(interrupt)
		if code := p.wait(time.Minute); code != 4 {
			t.Fatalf("exit code %d, want 4", code)
		}
		serve := w.shell(limited, "serve")
		serve.await("make room")
		w.quiet()
		serve.kill()
		w.nobodyTwice()

		w.role("serve")
		w.onceEach(w.awaitState(patience(n), "sale", "completed"), n)
	})
	t.Run("and room again", func(t *testing.T) {
		w := newWorld(t, steady())
		disk := filepath.Join(w.dir, "data")
		if err := smallDisk(t, disk, 48<<20); err != nil {
			t.Logf("only root can mount a small disk (%v): the two tests above show what can be shown without", err)
			return
		}
		w.audience("people.csv", 0, n)
		w.set("POSTRIDER_HTTP_TIMEOUT", "10s", "POSTRIDER_CONCURRENCY_SMS", "2")
		p := w.start(sms("people.csv", "sale")...)
		w.awaitAccepted(1)
		ballast := fill(t, disk)
		p.await("make room")
		w.quiet()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(patience(n)); code != 0 {
			t.Errorf("exit code %d with room again, want 0", code)
		}
		w.agree(w.status("sale"), n)
	})
}

// limited is a line of sh that lets no file of the program grow beyond 640 kB.
const limited = `ulimit -f 1250; trap '' XFSZ; exec "$0" "$@"`

// quiet waits until the provider has answered everything that it was sent.
func (w *world) quiet() {
	w.t.Helper()
	eventually(w.t, time.Minute, "every request answered", func() bool {
		return int(w.provider.Stats().Accepted) == w.sends()*sandbox.MaxBatch
	})
}

// fill writes a file until the disk takes no more, and returns its path.
func fill(t testing.TB, dir string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // its content means nothing
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		for err = nil; err == nil; _, err = f.Write(make([]byte, size)) {
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	return f.Name()
}

package acceptance

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/services"
)

// awaitPost waits until a post is under way.
func (w *world) awaitPost() {
	w.t.Helper()
	eventually(w.t, time.Minute, "a post under way", func() bool { return w.sends() > int(w.provider.Stats().Accepted)/1000 })
}

// patient is the environment of a deployment in which nobody is found out during
// a test: whoever is unknown stays so, and the campaign does not end.
func (w *world) patient() *world {
	return w.set("POSTRIDER_LEASE", "1s", "POSTRIDER_HTTP_TIMEOUT", "4s", "POSTRIDER_SETTLE", "1h", "POSTRIDER_RATE", "10")
}

// foundOutNothing fails the test when somebody asked the provider's history.
func (w *world) foundOutNothing() {
	w.t.Helper()
	if n := w.provider.Stats().Endpoints[historySMS].Requests; n != 0 {
		w.t.Errorf("%d pages of history were read: what the workers knew was lost", n)
	}
}

// outage is how long the database is away: longer than a worker's lease and the
// deadline of its posts, and whole longer than a minute.
func outage() time.Duration {
	if whole() {
		return 70 * time.Second
	}
	return 8 * time.Second
}

// TestChaosDatabaseHangs stops PostgreSQL in its tracks with posts under way:
// their answers wait in the workers, and nobody has to be found out.
func TestChaosDatabaseHangs(t *testing.T) {
	t.Parallel()
	const n = 20_000
	w := newWorld(t, steady()).patient()
	pg := services.PostgresAlone(t, services.PostgresOptions{})
	w.set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", services.Redis(t).URL())
	w.audience("people.csv", 0, n)
	roles := []*process{w.role("worker"), w.role("worker"), w.role("scheduler")}
	w.must(sms("people.csv", "sale")...)
	w.awaitAccepted(n / 5)
	w.awaitPost()
	if err := pg.Pause(); err != nil {
		t.Fatal(err)
	}
	away := time.After(outage())
	w.quiet()
	<-away // by now every lease and every deadline is over
	if err := pg.Resume(); err != nil {
		t.Fatal(err)
	}
	w.agree(w.awaitState(patience(n), "sale", "completed"), n)
	w.foundOutNothing()
	for _, p := range roles {
		p.stop()
	}
}

// TestChaosDatabaseLocked locks the SQLite file from another process, for longer
// than anybody waits for it, with posts under way.
func TestChaosDatabaseLocked(t *testing.T) {
	t.Parallel()
	const n = 20_000
	w := newWorld(t, steady()).patient()
	w.audience("people.csv", 0, n)
	serve := w.role("serve")
	w.must(sms("people.csv", "sale")...)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "data", "postrider.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // it wrote nothing
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // it wrote nothing
	w.awaitAccepted(n / 5)
	w.awaitPost()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	away := time.After(outage())
	w.quiet()
	serve.await("waits for the database")
	<-away
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	w.agree(w.awaitState(patience(n), "sale", "completed"), n)
	w.foundOutNothing()
	serve.stop()
}

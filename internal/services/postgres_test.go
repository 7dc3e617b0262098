package services

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// query runs one statement on a connection of its own and returns its one value.
func query[T any](t *testing.T, url, statement string) (value T, err error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		return value, err
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	err = conn.QueryRow(t.Context(), statement).Scan(&value)
	return value, err
}

func mustQuery[T any](t *testing.T, url, statement string) T {
	t.Helper()
	value, err := query[T](t, url, statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return value
}

func TestEveryTestGetsAnEmptyDatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	a, b := Postgres(t), Postgres(t)
	if a == b {
		t.Fatalf("twice the same database: %s", a)
	}
	mustQuery[int](t, a, "WITH x AS (SELECT 1) SELECT * FROM x")
	createTable(t, a)
	for url, want := range map[string]int{a: 1, b: 0} {
		if got := mustQuery[int](t, url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); got != want {
			t.Errorf("%d tables, want %d", got, want)
		}
	}
	if got := mustQuery[string](t, a, "SHOW server_encoding"); got != "UTF8" {
		t.Errorf("encoding %s", got)
	}
}

func createTable(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "CREATE TABLE list (id bigint PRIMARY KEY); INSERT INTO list SELECT generate_series(1, 1000)"); err != nil {
		t.Fatal(err)
	}
}

func TestAPreparedDatabaseIsPreparedOnceAndCopied(t *testing.T) {
	t.Parallel()
	var prepared atomic.Int32
	template := fmt.Sprintf("a thousand rows %p", &prepared) // another one when the test runs again
	for _, name := range []string{"first", "second", "third"} {
		t.Run(name, func(t *testing.T) {
			url := PostgresPrepared(t, template, func(_ context.Context, url string) error {
				prepared.Add(1)
				createTable(t, url)
				return nil
			})
			if got := mustQuery[int](t, url, "SELECT count(*) FROM list"); got != 1000 {
				t.Errorf("%d rows, want 1000", got)
			}
			mustQuery[int](t, url, "WITH gone AS (DELETE FROM list RETURNING 1) SELECT count(*) FROM gone")
		})
	}
	if n := prepared.Load(); n != 1 {
		t.Errorf("prepared %d times", n)
	}
}

func TestPostgresKeepsWhatWasCommittedOverKillAndRestart(t *testing.T) {
	t.Parallel()
	p := PostgresAlone(t, PostgresOptions{})
	url, err := p.NewDatabase(t.Context(), `a "quoted" name`)
	if err != nil {
		t.Fatal(err)
	}
	createTable(t, url)

	// A backend in an endless loop looks at nothing, the death of its server included.
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	looping := make(chan struct{})
	config.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) { close(looping) }
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	busy := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "DO $$ BEGIN RAISE NOTICE 'looping'; LOOP END LOOP; END $$")
		busy <- err
	}()
	<-looping
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-busy; err == nil {
		t.Error("a backend outlived the killed server")
	}
	if _, err := query[int](t, url, "SELECT 1"); err == nil {
		t.Error("a killed server answered")
	}
	if err := p.Restart(); err != nil {
		t.Fatal(err)
	}
	if got := mustQuery[int](t, url, "SELECT count(*) FROM list"); got != 1000 {
		t.Errorf("%d rows after the crash, want 1000", got)
	}
	if err := p.Restart(); err != nil {
		t.Fatalf("restart of a running server: %v", err)
	}
	if got := mustQuery[int](t, url, "SELECT count(*) FROM list"); got != 1000 {
		t.Errorf("%d rows after the restart, want 1000", got)
	}
}

func TestPostgresForBenchmarksWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	p := PostgresAlone(t, PostgresOptions{Fsync: true, Settings: map[string]string{"shared_buffers": "16MB"}})
	for name, want := range map[string]string{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "shared_buffers": "16MB"} {
		if got := mustQuery[string](t, p.URL("postgres"), "SHOW "+name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestPostgresListensOnLoopbackAlone(t *testing.T) {
	t.Parallel()
	url := Postgres(t)
	if got := mustQuery[string](t, url, "SHOW listen_addresses"); got != "127.0.0.1" {
		t.Errorf("listens on %q", got)
	}
	if got := mustQuery[string](t, url, "SHOW unix_socket_directories"); got != "" {
		t.Errorf("socket in %q", got)
	}
}

func TestPostgresRefusesAFolderThatIsNotEmpty(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letter.pdf"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := StartPostgres(t.Context(), dir, PostgresOptions{})
	if err == nil {
		t.Fatal(p.Stop(), "started in a folder that holds other files")
	}
	if !containsAll(err.Error(), "initdb", dir) {
		t.Errorf("the error does not name the folder: %v", err)
	}
}

func TestAPausedPostgresAnswersNobodyUntilItResumes(t *testing.T) {
	t.Parallel()
	p := PostgresAlone(t, PostgresOptions{})
	conn, err := pgx.Connect(t.Context(), p.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the server goes next
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.WithoutCancel(t.Context()), "SELECT 1")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("a paused server answered: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Errorf("after resuming: %v", err)
	}
}

package services

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// orphanEnv makes the test program play a test program that is killed while its
// servers run. Its value is the folder for the servers.
const orphanEnv = "POSTRIDER_TEST_SERVICES_ORPHANS"

func TestServersDieWithTheProgramThatStartedThem(t *testing.T) {
	if dir := os.Getenv(orphanEnv); dir != "" {
		startOrphans(t, dir)
	}
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), orphanEnv+"="+t.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addrs := map[string]string{}
	lines := bufio.NewScanner(out)
	for len(addrs) < 2 && lines.Scan() {
		if server, addr, ok := strings.Cut(lines.Text(), " listens on "); ok {
			addrs[server] = addr
		}
	}
	if len(addrs) < 2 {
		t.Fatal("the other program did not start its servers")
	}
	redisConn, err := net.Dial("tcp", addrs["redis"])
	if err != nil {
		t.Fatal(err)
	}
	defer redisConn.Close()
	postgresConn, err := pgx.Connect(t.Context(), addrs["postgres"])
	if err != nil {
		t.Fatal(err)
	}
	defer postgresConn.Close(context.WithoutCancel(t.Context()))

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the killed program says that it ended well")
	}
	// Neither server says anything to a client that says nothing: what ends the wait
	// is the kernel, which closes the connections of the dead.
	const patience = 30 * time.Second
	if err := redisConn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := redisConn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("Redis outlived the program that started it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := postgresConn.WaitForNotification(ctx); ctx.Err() != nil {
		t.Errorf("PostgreSQL outlived the program that started it: %v", err)
	}
}

// startOrphans starts one server of each kind, says where, and waits to be killed.
func startOrphans(t *testing.T, dir string) {
	r, err := StartRedis(t.Context(), filepath.Join(dir, "redis"), RedisOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := StartPostgres(t.Context(), filepath.Join(dir, "postgres"), PostgresOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nredis listens on %s\npostgres listens on %s\n", r.Addr, p.URL("postgres"))
	select {}
}

func TestATakenPortIsTriedAgainElsewhere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := Redis(t)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	r.process.port = l.Addr().(*net.TCPAddr).Port
	if err := r.Restart(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("started on a taken port, or failed otherwise: %v", err)
	}
	if err := r.process.startOnFreePort(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAMissingServerSaysWhatToInstall(t *testing.T) {
	t.Parallel()
	_, err := findFirst("redis-server", []string{t.TempDir(), "relative", ""})
	var missing *NotInstalledError
	if !errors.As(err, &missing) {
		t.Fatalf("got %v", err)
	}
	if msg := err.Error(); !strings.Contains(msg, "apt-get install redis-server postgresql") || strings.Contains(msg, "\n") {
		t.Errorf("not one line that says what to install: %q", msg)
	}
}

func TestTheJournalKeepsTheLastLinesAndHearsWordsInPieces(t *testing.T) {
	t.Parallel()
	var j journal
	ready := j.await("ready to serve")
	for i := range 100 {
		fmt.Fprintf(&j, "line %d\n", i)
	}
	fmt.Fprint(&j, "now ready ")
	select {
	case <-ready:
		t.Fatal("ready too early")
	default:
	}
	fmt.Fprint(&j, "to serve\nready to serve\nrest")
	<-ready
	got := strings.Split(j.String(), "\n")
	if len(got) != journalLines+1 || got[0] != "line 62" || got[len(got)-1] != "rest" {
		t.Errorf("kept %d lines, from %q to %q", len(got), got[0], got[len(got)-1])
	}
}

func TestGoroutinesLeftOverFailTheProgram(t *testing.T) {
	// Not parallel: the check sees every goroutine of the program.
	check := options{leaks: true, ignored: []goleak.Option{goleak.IgnoreCurrent()}}
	stop := make(chan struct{})
	leak := func() int { go func() { <-stop }(); return 0 }
	if code := runTests(leak, check, &pool{}); code != 1 {
		t.Errorf("exit code %d with a leak, want 1", code)
	}
	close(stop)
	if code := runTests(func() int { return 0 }, check, &pool{}); code != 0 {
		t.Errorf("exit code %d without a leak, want 0", code)
	}
	if code := runTests(func() int { return 2 }, check, &pool{}); code != 2 {
		t.Errorf("exit code %d after failed tests, want theirs, 2", code)
	}
}

func TestASharedServerNeedsMain(t *testing.T) {
	t.Parallel()
	var p pool
	if _, err := p.server(t.Context()); err == nil || !strings.Contains(err.Error(), "services.Main(m)") {
		t.Errorf("got %v", err)
	}
}

func TestTheSharedServerIsGoneAfterTheTests(t *testing.T) {
	t.Parallel()
	var p pool
	p.begin()
	server, err := p.server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := p.dir
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", server.Addr); err == nil {
		t.Error("the server still takes connections")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its files are still there: %v", err)
	}
}

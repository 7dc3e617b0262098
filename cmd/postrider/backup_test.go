package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
	"github.com/postrider/postrider/ledger"
)

// elsewhere is the same person on another machine: another data folder, the
// same provider.
func (s *shell) elsewhere() *shell {
	other := newShell(s.t)
	other.seen = s.seen
	other.env = append(other.env, "CLICKSEND_BASE_URL="+s.seen.BaseURL, "CLICKSEND_USERNAME="+s.seen.Username, "CLICKSEND_API_KEY="+s.seen.APIKey)
	return other
}

func TestABackupIsRestoredElsewhereAndNothingLeavesIt(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	server := s.provider(sandbox.Options{})
	s.sending("spring", 3, "aap")
	s.sending("paused", 2, "")
	s.run("campaign", "pause", "paused").exits(exitDone)
	file := filepath.Join(s.dir, "monday.backup")
	s.run("backup", "monday.backup").exits(exitDone).says("monday.backup", "personal data")
	s.run("backup", "monday.backup").exits(exitFailed).warns("is there already")
	s.run("backup", "--json", "tuesday.backup").exits(exitDone).holds(map[string]any{"kind": "sqlite", "file": filepath.Join(s.dir, "tuesday.backup")})
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup: %v, %v", info, err)
	}

	o := s.elsewhere()
	o.run("restore", file).exits(exitDone).says("with 2 campaigns", "quarantined, since it was restored from a backup of 20", "audit --repair")
	o.run("campaign", "status", "spring").exits(exitDone).says("2  accepted", "1  pending", "nothing leaves: the ledger is quarantined", "audit --repair")
	reason, _ := o.run("campaign", "status", "spring", "--json").exits(exitDone).object()["quarantine"].(string)
	if !strings.HasPrefix(reason, "it was restored from a backup of ") {
		t.Errorf("the reason is %q", reason)
	}
	o.run("campaign", "resume", "paused").exits(exitFailed).warns("quarantined", "audit --repair")
	o.run("campaign", "resume", "paused", "--wait", "--json").exits(exitFailed).holds(map[string]any{"code": "conflict"})
	o.run("doctor", "--json").exits(exitFailed).finds("quarantine", problem, "audit --repair")
	o.file("more.csv", "name,phone\nAda,+61412345671\n")
	send := []string{"send", "--channel", "sms", "--to", "more.csv", "--from", "ACME", "--body", "Hi"}
	o.run(append(send, "--yes")...).exits(exitFailed).warns("quarantined", "audit --repair")
	o.run(append(send, "--yes", "--test-to", "+61411111111")...).exits(exitFailed).warns("quarantined")
	o.run(append(send, "--dry-run")...).exits(exitDone).says("price") // prices are read, nothing is sent
	if n := server.Stats().Accepted; n != 0 {
		t.Errorf("%d messages left", n)
	}
	// The original goes on as before.
	s.run("campaign", "resume", "paused", "--wait").exits(exitDone).says("2  accepted")
}

func TestServeWaitsForTheEndOfAQuarantine(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	server := s.provider(sandbox.Options{})
	id := s.sending("spring", 3, "")
	file := filepath.Join(s.dir, "backup")
	s.run("backup", "backup").exits(exitDone)
	o := s.elsewhere()
	o.run("restore", file).exits(exitDone)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, errs locked
	over := make(chan int, 1)
	go func() { over <- o.main(&out, &errs).Run(ctx, []string{"serve"}) }()
	errs.await(t, func(s string) bool { return strings.Contains(s, "waiting, and sending nothing") })
	o.run("restore", file, "--force", "--yes").exits(exitFailed).warns("a Postrider process is sending on the data folder")
	o.ledger(func(ctx context.Context, l *ledger.Ledger) {
		if n, err := l.Counts(ctx, id); err != nil || n.Pending != 3 {
			t.Errorf("%+v, %v", n, err)
		}
		if _, err := l.LiftQuarantine(ctx); err != nil {
			t.Fatal(err)
		}
	})
	errs.await(t, func(s string) bool { return strings.Contains(s, "running") })
	o.run("campaign", "status", "spring", "--watch", "--every", "10ms").exits(exitDone).says("3  accepted", "is completed")
	stop()
	if code := <-over; code != exitDone || strings.Count(errs.String(), "sending nothing") != 1 {
		t.Errorf("serve ends with %d and says\n%s", code, errs.String())
	}
	if n := server.Stats().Accepted; n != 3 {
		t.Errorf("%d messages left, want 3", n)
	}
}

func TestARestoreOverALedgerAsks(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 2, "")
	file := filepath.Join(s.dir, "backup")
	s.run("backup", "backup").exits(exitDone)
	s.sending("summer", 2, "")
	s.run("restore", "backup").exits(exitFailed).warns("with 2 campaigns", "--force", "nothing was changed")
	s.run("restore", "backup", "--force").exits(exitUsage).warns("add --yes")
	s.run("restore", "backup", "--yes").exits(exitUsage).warns("--force")
	s.run("restore").exits(exitUsage)
	s.run("restore", "nowhere").exits(exitFailed).warns("there is no file")
	s.file("people.csv", "name,phone\n")
	s.run("restore", "people.csv").exits(exitFailed).warns("is no backup of a ledger")
	s.at("no\n").run("restore", "backup", "--force").exits(exitStopped).warns("2 campaigns", "nobody said yes")
	s.run("campaign", "status", "summer").exits(exitDone)
	aside, _ := s.at("yes\n").run("restore", "backup", "--force", "--json").exits(exitDone).
		holds(map[string]any{"campaigns": 1}).object()["replaced"].(string)
	s.run("campaign", "status", "summer").exits(exitFailed)
	s.with("POSTRIDER_DATABASE_URL="+aside).run("campaign", "status", "summer", "--json").exits(exitDone).holds(map[string]any{"quarantine": nil})
	s.with("POSTRIDER_FILES_DIR="+filepath.Join(s.dir, "files")).run("backup", "another").exits(exitDone).warns("files_dir", "is not in the backup")
	newShell(t).run("backup", file+"2").exits(exitFailed).warns("there is no ledger")
}

func TestAPostgreSQLLedgerIsBackedUpAndRestored(t *testing.T) {
	t.Parallel()
	server := services.PostgresAlone(t, services.PostgresOptions{})
	database := func(name string) string {
		url, err := server.NewDatabase(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return "POSTRIDER_DATABASE_URL=" + url
	}
	s := newShell(t).with(database("original"))
	s.run("backup", "nothing").exits(exitFailed).warns("holds no ledger")
	s.run("list", "ls").exits(exitDone)
	s.file("people.csv", "name,phone\nAda,+61412345671\n")
	s.run("list", "import", "friends", "people.csv").exits(exitDone)
	s.run("backup", "--json", "pg.backup").exits(exitDone).holds(map[string]any{"kind": "postgres"})
	file := filepath.Join(s.dir, "pg.backup")

	o := newShell(t).with(database("restored"))
	o.run("restore", file, "--force", "--yes").exits(exitUsage).warns("createdb")
	o.run("restore", file).exits(exitDone).says("quarantined, since it was restored from a backup of 20")
	o.run("list", "show", "friends").exits(exitDone)
	o.run("restore", file).exits(exitFailed).warns("there is a ledger already", "createdb")
	newShell(t).run("restore", file).exits(exitFailed).warns("is a backup of a PostgreSQL ledger")
}

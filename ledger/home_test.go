package ledger

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/services"
)

func TestACopyIsToldFromItsOriginal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		was, here home
		copied    bool
	}{
		{"", "inode 5, born 1.000000001", false}, // opened for the first time
		{"inode 5, born 1.000000001", "inode 5, born 1.000000001", false},
		{"inode 5, born 1.000000001", "inode 6, born 2.000000001", true},
		{"inode 5, born 1.000000001", "inode 5, born 2.000000001", true}, // on another disk
		{"inode 5, born 1.000000001", "inode 5", false},                  // births are not told any more
		{"inode 5", "inode 5, born 1.000000001", false},                  // and now they are
		{"inode 5, born 1.000000001", "inode 6", true},
		{"inode 5", "inode 6, born 1.000000001", true},
		{"inode 5", "inode 6", false}, // made up at every mount
		{"inode 5, born 1.000000001", "", true},
		{"", "", false},
		{"database 5, cluster 7", "database 5, cluster 7", false},
		{"database 5, cluster 7", "database 6, cluster 7", true},
		{"database 5, cluster 7", "database 5, cluster 8", true},
		{"database 5, cluster 7", "database 5", false},
		{"database 5", "database 5, cluster 7", false},
		{"database 5", "database 6", true},
		{"inode 5, born 1.000000001", "database 5, cluster 7", true},
	} {
		if got := c.here.isCopyOf(c.was); got != c.copied {
			t.Errorf("from %q to %q: copied %v, want %v", c.was, c.here, got, c.copied)
		}
	}
}

// reopen closes the world's ledger and opens the one at target.
func (w *world) reopen(target string) {
	w.t.Helper()
	w.ok(w.l.Close())
	w.open(target)
}

// open makes the ledger at target the world's. Whoever held another one closes
// that.
func (w *world) open(target string) {
	w.t.Helper()
	l, err := Open(w.ctx, target, Options{Clock: w.clock.Now})
	w.ok(err)
	w.l, w.target = l, target
}

func (w *world) reason(want string) {
	w.t.Helper()
	q, err := w.l.Quarantine(w.ctx)
	w.ok(err)
	w.equal(q.Reason, want)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAMovedFileIsTheLedgerAndACopiedOneIsNot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newWorld(t, filepath.Join(dir, "ledger.db"), "")
	w.ok(w.l.Close())
	if here, err := fileHome(w.target); err != nil || here == "" {
		t.Fatalf("its home is %q, %v", here, err)
	}
	moved, copied := filepath.Join(dir, "moved.db"), filepath.Join(dir, "copied.db")
	w.ok(os.Rename(w.target, moved))
	w.open(moved)
	w.reason("")
	w.ok(w.l.Close())
	copyFile(t, moved, copied)
	w.open(copied)
	w.reason(reasonCopied)
	q, err := w.l.Quarantine(w.ctx)
	w.ok(err)
	w.equal(q.Since, w.clock.Now())
	w.clock.advance(time.Hour)
	w.reopen(copied)
	w.reason(reasonCopied)
	q2, err := w.l.Quarantine(w.ctx)
	w.ok(err)
	w.equal(q2, q)
	w.reopen(moved) // the original goes on
	w.reason("")
}

func TestACopiedDatabaseIsNotTheLedger(t *testing.T) {
	t.Parallel()
	server := services.PostgresAlone(t, services.PostgresOptions{})
	ctx := context.Background()
	url, err := server.NewDatabase(ctx, "original")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, url, "")
	w.reopen(url)
	w.reason("")
	w.ok(w.l.Close())
	copied, err := server.CopyDatabase(ctx, "copied", "original")
	w.ok(err)
	w.open(copied)
	w.reason(reasonCopied)
	w.ok(w.l.Close())
	w.open(url)
	w.reason("")

	// A user who may not ask which cluster it is has the database's number.
	w.ok(w.l.Close())
	admin, err := pgx.Connect(ctx, url)
	w.ok(err)
	for _, statement := range []string{
		`CREATE ROLE plain LOGIN`, `REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC`,
		`GRANT ALL ON SCHEMA public TO plain`, `GRANT ALL ON ALL TABLES IN SCHEMA public TO plain`,
	} {
		_, err := admin.Exec(ctx, statement)
		w.ok(err)
	}
	w.ok(admin.Close(ctx))
	cfg, err := pgx.ParseConfig(url)
	w.ok(err)
	plain := fmt.Sprintf("postgres://plain@%s:%d/original?sslmode=disable", cfg.Host, cfg.Port)
	w.open(plain)
	w.reason("")
	var kept home
	w.ok(w.l.store.read().QueryRowContext(ctx, `SELECT home FROM ledger`).Scan(&kept))
	if _, mark := kept.parts(); mark == "" {
		t.Errorf("the cluster was forgotten: %q", kept)
	}
}

func TestNothingLeavesAQuarantinedLedger(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(6, 2)
		paused := w.sending(2, 2, func(n *NewCampaign) { n.Name = "paused" })
		later := w.draft(2, func(n *NewCampaign) { n.StartAt = w.clock.Now().Add(time.Minute) })
		w.plan(later, 2)
		w.quote(later)
		w.move(later.ID, campaign.Scheduled)
		claimed, open := w.next(), w.nextAttempt()
		due := w.due() // dispatched, and not claimed
		w.move(paused.ID, campaign.Paused)
		w.ok(w.l.SetQuarantine(w.ctx, "of a test"))

		w.is(func() error { _, err := w.tryBegin(claimed); return err }(), ErrQuarantined)
		w.clock.advance(time.Hour)
		w.equal(w.due(), []Dispatch(nil))
		for _, d := range due {
			cl, err := w.l.Claim(w.ctx, d.Batch, d.Number, "worker", lease)
			w.ok(err)
			if cl != nil {
				t.Errorf("batch %d was claimed", d.Batch)
			}
		}
		started, _, err := w.l.StartDue(w.ctx)
		w.ok(err)
		w.equal(started, []int64(nil))
		w.state(later.ID, campaign.Scheduled)
		lost, err := w.l.SweepAttempts(w.ctx)
		w.ok(err)
		w.equal(lost, 0)
		err = w.l.Resume(w.ctx, paused.ID, "test")
		w.is(err, ErrQuarantined)
		w.code(err, campaign.CodeConflict)
		w.is(w.l.MoveCampaign(w.ctx, paused.ID, Move{To: campaign.Sending, Actor: "test"}), ErrQuarantined)
		// What is told of before is still recorded, and what holds back is allowed.
		w.answered(open, accepted)
		w.ok(w.l.Cancel(w.ctx, later.ID, "test", ""))
		w.check(c.ID)

		old := w.l
		id, err := w.l.LiftQuarantine(w.ctx)
		w.ok(err)
		w.open(w.target)
		w.equal(w.l.ID(), id)
		w.reason("")
		if id == old.ID() || len(id) != campaign.LedgerIDLen {
			t.Errorf("from id %q to %q", old.ID(), id)
		}
		if _, err := w.l.LiftQuarantine(w.ctx); campaign.ErrorCode(err) != campaign.CodeConflict {
			t.Errorf("lifted twice: %v", err)
		}
		w.ok(w.l.Resume(w.ctx, paused.ID, "test"))
		for range 3 {
			w.answered(w.nextAttempt(), accepted)
		}
		w.state(c.ID, campaign.Completed)
		w.state(paused.ID, campaign.Completed)
		w.check(c.ID)
		w.ok(old.Close())
	})
}

func TestABatchHeldBackWaitsAMinute(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(2, 2)
		cl := w.next()
		w.ok(w.l.SetQuarantine(w.ctx, "of a test"))
		w.is(func() error { _, err := w.tryBegin(cl); return err }(), ErrQuarantined)
		at, err := w.l.NextDue(w.ctx, c.ID)
		w.ok(err)
		w.equal(at, w.clock.Now().Add(time.Minute))
		w.check(c.ID)
	})
}

func TestAProcessWithTheFormerIDSendsNothing(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(4, 2)
		cl := w.next()
		w.ok(w.l.SetQuarantine(w.ctx, "of a test"))
		_, err := w.l.LiftQuarantine(w.ctx)
		w.ok(err)
		w.is(func() error { _, err := w.tryBegin(cl); return err }(), ErrFormerID)
		w.is(func() error { _, err := w.l.Due(w.ctx, allDue); return err }(), ErrFormerID)
		w.check(c.ID)

		old := w.l
		w.open(w.target)
		due := w.due()
		w.equal(len(due), 1) // the other waits its minute
		taken, err := old.Claim(w.ctx, due[0].Batch, due[0].Number, "stale", lease)
		w.ok(err)
		if taken != nil {
			t.Error("a process with the former id claimed a batch")
		}
		w.answered(w.begin(w.claim(due[0])), accepted)
		w.ok(old.Close())
	})
}

func TestReferencesOfAFormerLife(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(3, 3)
		first := w.l.ID()
		last := w.nextAttempt().Members[2]
		w.ok(w.l.SetQuarantine(w.ctx, "of a test"))
		second, err := w.l.LiftQuarantine(w.ctx)
		w.ok(err)
		w.reopen(w.target)
		for _, r := range []struct {
			ref  campaign.Reference
			ours bool
		}{
			{campaign.Reference{Ledger: second, Recipient: last, Attempt: 1}, true},
			{campaign.Reference{Ledger: second, Recipient: last + 1, Attempt: 1}, true},
			{campaign.Reference{Ledger: first, Recipient: last, Attempt: 2}, true},
			{campaign.Reference{Ledger: first, Recipient: last + 1, Attempt: 1}, false}, // planned after the backup
			{campaign.Reference{Ledger: "0123456789", Recipient: last, Attempt: 1}, false},
		} {
			got, ok := w.l.ParseReference(r.ref.String())
			if ok != r.ours || ok && got != r.ref {
				t.Errorf("%+v: %+v, %v, want %v", r.ref, got, ok, r.ours)
			}
		}
		w.check(c.ID)
	})
}

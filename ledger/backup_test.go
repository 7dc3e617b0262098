package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/services"
)

// another is a place for a ledger of the world's kind that holds nothing yet.
func (w *world) another(t *testing.T) string {
	if w.l.Kind() == "postgres" {
		return services.Postgres(t)
	}
	return filepath.Join(t.TempDir(), "restored", "ledger.db")
}

// quarantinedBy demands the quarantine of a ledger restored from a backup.
func (w *world) quarantinedBy(b *Backup) {
	w.t.Helper()
	w.reason("it was restored from a backup of " + b.Taken.Format(time.RFC3339))
}

func TestABackupIsTheLedgerAgain(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		file := filepath.Join(t.TempDir(), "ledger.backup")
		c := w.sending(5, 2)
		w.answered(w.nextAttempt(), accepted)
		open := w.nextAttempt()
		_, err := w.l.StoreFile(w.ctx, "a.pdf", "application/pdf", []byte("of a plan"))
		w.ok(err)
		id := w.l.ID()
		before := time.Now().UTC().Truncate(time.Second)

		made, err := MakeBackup(w.ctx, w.target, file)
		w.ok(err)
		info, err := os.Stat(file)
		w.ok(err)
		if info.Mode().Perm() != 0o600 || info.Size() == 0 {
			t.Errorf("the backup has mode %o and %d bytes", info.Mode().Perm(), info.Size())
		}
		left, err := os.ReadDir(filepath.Dir(file))
		w.ok(err)
		w.equal(len(left), 1)
		if made.Taken.Before(before) || made.Taken.After(time.Now()) {
			t.Errorf("taken %s, before %s", made.Taken, before)
		}
		w.answered(open, accepted) // the original goes on
		_, err = MakeBackup(w.ctx, w.target, file)
		w.code(err, campaign.CodeExists)

		read, err := ReadBackup(w.ctx, file)
		w.ok(err)
		w.equal(read.Kind, w.l.Kind())
		w.equal(read.Version, made.Version)
		if d := read.Taken.Sub(made.Taken); d < 0 || d > 5*time.Second {
			t.Errorf("read as taken at %s, want %s", read.Taken, made.Taken)
		}
		to := w.another(t)
		r, err := Restore(w.ctx, to, file, false)
		w.ok(err)
		w.equal(*r, Restored{Ledger: id, Campaigns: 1})
		w.reopen(to)
		w.quarantinedBy(read)
		w.equal(w.l.ID(), id)
		w.equal(w.counts(c.ID), Counts{Total: 5, Pending: 1, InFlight: 2, Accepted: 2})
		w.check(c.ID)
		e, err := Inspect(w.ctx, to)
		w.ok(err)
		w.equal(e, Existing{There: true, Campaigns: 1, Lists: 1})
		_, err = Restore(w.ctx, to, file, false)
		w.code(err, campaign.CodeConflict)
	})
}

func TestABackupIsMadeWhileCampaignsAreSent(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := w.sending(400, 2)
		dir := t.TempDir()
		begun := make(chan struct{})
		var g errgroup.Group
		g.Go(func() error {
			for i := range 200 {
				w.answered(w.nextAttempt(), accepted)
				if i == 20 {
					close(begun)
				}
			}
			return nil
		})
		<-begun
		_, err := MakeBackup(w.ctx, w.target, filepath.Join(dir, "backup"))
		w.ok(err)
		w.ok(g.Wait())
		w.state(c.ID, campaign.Completed)
		to := w.another(t)
		_, err = Restore(w.ctx, to, filepath.Join(dir, "backup"), false)
		w.ok(err)
		w.reopen(to)
		w.check(c.ID)
		if n := w.counts(c.ID); n.Accepted < 40 || n.Total != 400 {
			t.Errorf("restored with %+v", n)
		}
	})
}

func TestABackupUsedAsItIsIsQuarantined(t *testing.T) {
	t.Parallel()
	w := newWorld(t, filepath.Join(t.TempDir(), "ledger.db"), "")
	w.sending(2, 2)
	file := filepath.Join(t.TempDir(), "backup.db")
	made, err := MakeBackup(w.ctx, w.target, file)
	w.ok(err)
	w.reopen(file)
	w.quarantinedBy(made)
}

func TestALedgerIsRestoredOverAnEmptyOne(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.sending(2, 2)
		file := filepath.Join(t.TempDir(), "backup")
		_, err := MakeBackup(w.ctx, w.target, file)
		w.ok(err)
		to := w.another(t)
		empty, err := Open(w.ctx, to, Options{})
		w.ok(err)
		if w.l.Kind() == "sqlite" {
			// The empty one is in use: by whom, nobody knows.
			_, err = Restore(w.ctx, to, file, false)
			w.code(err, campaign.CodeConflict)
			w.ok(empty.Close())
		} else {
			defer empty.Close()
		}
		r, err := Restore(w.ctx, to, file, false)
		w.ok(err)
		w.equal(r.Replaced, "")
		if w.l.Kind() == "postgres" {
			// Who had it open is another ledger now.
			_, err := empty.Due(w.ctx, allDue)
			w.ok(err)
			w.is(empty.store.write(w.ctx, func(tx *tx) error { return empty.refuseQuarantined(w.ctx, tx) }), ErrQuarantined)
		}
		w.reopen(to)
		if q, err := w.l.Quarantine(w.ctx); err != nil || q.Reason == "" {
			t.Errorf("the quarantine is %+v, %v", q, err)
		}
	})
}

func TestAReplacedLedgerLiesAside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, filepath.Join(t.TempDir(), "ledger.db"), "")
	c := w.sending(2, 2)
	file := filepath.Join(t.TempDir(), "backup.db")
	_, err := MakeBackup(w.ctx, w.target, file)
	w.ok(err)
	w.answered(w.nextAttempt(), accepted)
	if _, err := Restore(w.ctx, w.target, file, true); campaign.ErrorCode(err) != campaign.CodeConflict {
		t.Fatalf("restored over a ledger in use: %v", err)
	}
	w.state(c.ID, campaign.Completed)
	w.ok(w.l.Close())
	r, err := Restore(w.ctx, w.target, file, true)
	w.ok(err)
	w.open(r.Replaced)
	w.state(c.ID, campaign.Completed)
	w.reason("") // it is the one it was
	w.reopen(w.target[:strings.Index(w.target, ".replaced")])
	w.state(c.ID, campaign.Sending)
	files, err := os.ReadDir(filepath.Dir(w.target))
	w.ok(err)
	for _, f := range files {
		if strings.Contains(f.Name(), "restore") {
			t.Errorf("%s was left", f.Name())
		}
	}
}

func TestWhatIsNoBackupIsRefused(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		dir := t.TempDir()
		good := filepath.Join(dir, "good")
		w.sending(50, 2)
		_, err := MakeBackup(w.ctx, w.target, good)
		w.ok(err)
		whole, err := os.ReadFile(good)
		w.ok(err)
		file := func(name string, content []byte) string {
			path := filepath.Join(dir, name)
			w.ok(os.WriteFile(path, content, 0o600))
			return path
		}
		half := file("half", whole[:len(whole)/2])
		for path, want := range map[string]campaign.Code{
			filepath.Join(dir, "missing"):            campaign.CodeNotFound,
			file("text", []byte("id,name\n1,Ann\n")): campaign.CodeInvalid,
			file("empty", nil):                       campaign.CodeInvalid,
			half:                                     "",
			file("database", []byte(w.plainDatabase(t))):  campaign.CodeInvalid,
			file("newer", []byte(w.backupOfTheFuture(t))): campaign.CodeInvalid,
		} {
			to := w.another(t)
			_, err := Restore(w.ctx, to, path, false)
			if err == nil || want != "" && campaign.ErrorCode(err) != want {
				t.Errorf("%s: %v, want an error with %s", filepath.Base(path), err, want)
			}
			if e, err := Inspect(w.ctx, to); err != nil || e.There {
				t.Errorf("%s: it left %+v, %v", filepath.Base(path), e, err)
			}
			// And the place is still good for a whole one.
			if path == half {
				_, err := Restore(w.ctx, to, good, false)
				w.ok(err)
			}
		}
		other := services.Postgres(t)
		if w.l.Kind() == "postgres" {
			other = filepath.Join(t.TempDir(), "ledger.db")
		}
		_, err = Restore(w.ctx, other, good, false)
		w.code(err, campaign.CodeInvalid)
		_, err = MakeBackup(w.ctx, other, filepath.Join(dir, "nothing"))
		w.code(err, campaign.CodeNotFound)
		_, err = MakeBackup(w.ctx, w.target, filepath.Join(dir, "no folder", "backup"))
		w.code(err, campaign.CodeInvalid)
	})
}

// plainDatabase is a database of the world's kind that is no ledger, as a
// backup would hold it.
func (w *world) plainDatabase(t *testing.T) string {
	return w.changed(t, `DROP TABLE ledger`)
}

// backupOfTheFuture is a backup that a newer Postrider has made.
func (w *world) backupOfTheFuture(t *testing.T) string {
	return w.changed(t, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, TRUE)`)
}

// changed is the backup of a ledger after a statement has run on it.
func (w *world) changed(t *testing.T, statement string) string {
	to := w.another(t)
	l, err := Open(w.ctx, to, Options{})
	w.ok(err)
	err = l.store.write(w.ctx, func(tx *tx) error {
		_, err := tx.exec.ExecContext(w.ctx, statement)
		return err
	})
	w.ok(errors.Join(err, l.Close()))
	file := filepath.Join(t.TempDir(), "changed")
	if w.l.Kind() == "sqlite" {
		copyFile(t, to, file)
	} else {
		cfg, err := parsePostgres(to)
		w.ok(err)
		_, err = runTool(w.ctx, toolEnv(to, cfg), "pg_dump", "--format=custom", "--file="+file)
		w.ok(err)
	}
	content, err := os.ReadFile(file)
	w.ok(err)
	return string(content)
}

func TestARestoreOverAForeignDatabaseIsRefused(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		good := filepath.Join(t.TempDir(), "good")
		_, err := MakeBackup(w.ctx, w.target, good)
		w.ok(err)
		to := w.another(t)
		if w.l.Kind() == "postgres" {
			conn, err := pgx.Connect(w.ctx, to)
			w.ok(err)
			_, err = conn.Exec(w.ctx, `CREATE TABLE books (title TEXT)`)
			w.ok(errors.Join(err, conn.Close(w.ctx)))
		} else {
			to = filepath.Join(filepath.Dir(good), "books.db")
			w.ok(os.WriteFile(to, []byte(strings.Repeat("books\n", 5000)), 0o600))
		}
		for _, replace := range []bool{false, true} {
			if _, err := Restore(w.ctx, to, good, replace); err == nil {
				t.Errorf("it was restored over somebody else's database, replace %v", replace)
			}
		}
	})
}

func TestARestoreThatDiedIsQuarantinedAtTheNextOpen(t *testing.T) {
	t.Parallel()
	server := services.PostgresAlone(t, services.PostgresOptions{})
	ctx := context.Background()
	url, err := server.NewDatabase(ctx, "here")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, url, "")
	w.sending(2, 2)
	file := filepath.Join(t.TempDir(), "backup")
	_, err = MakeBackup(ctx, url, file)
	w.ok(err)
	b, err := ReadBackup(ctx, file)
	w.ok(err)
	w.ok(w.l.Close())

	// Into the database it came from, so that its home tells nothing; and the
	// restoring process dies once the tables are there.
	db, env, err := connectPlain(ctx, url)
	w.ok(err)
	tables, err := ownTables("postgres")
	w.ok(err)
	_, err = db.ExecContext(ctx, `DROP TABLE `+strings.Join(tables, ", "))
	w.ok(err)
	w.ok(clearPostgres(ctx, db, b))
	_, err = runTool(ctx, env, "pg_restore", "--single-transaction", "--exit-on-error", "--dbname=", file)
	w.ok(err)
	w.ok(db.Close())
	w.open(url)
	w.quarantinedBy(b)
	w.reopen(url)
	w.quarantinedBy(b)
}

func TestThePasswordIsNotOnTheCommandLine(t *testing.T) {
	t.Parallel()
	target := "postgres://ann:hunter2@db1:5432,db2:5433/mail?sslmode=disable&target_session_attrs=read-write&application_name=x"
	cfg, err := parsePostgres(target)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, e := range toolEnv(target, cfg) {
		k, v, _ := strings.Cut(e, "=")
		env[k] = v
	}
	for k, want := range map[string]string{
		"PGHOST": "db1,db2", "PGPORT": "5432,5433", "PGUSER": "ann", "PGPASSWORD": "hunter2", "PGDATABASE": "mail",
		"PGSSLMODE": "disable", "PGTARGETSESSIONATTRS": "read-write",
	} {
		if env[k] != want {
			t.Errorf("%s is %q, want %q", k, env[k], want)
		}
	}
}

func TestAMissingToolSaysWhatToInstall(t *testing.T) {
	t.Parallel()
	_, err := runTool(t.Context(), nil, "pg_dump-of-nobody", "--version")
	if campaign.ErrorCode(err) != campaign.CodeInvalid || !strings.Contains(err.Error(), "postgresql-client") {
		t.Errorf("%v", err)
	}
}

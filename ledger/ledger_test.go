package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/services"
)

func TestManyOpenANewLedgerAtOnce(t *testing.T) {
	t.Parallel()
	for kind, target := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "new folder", "ledger.db") },
		"postgres": func(t *testing.T) string { return services.Postgres(t) },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			where := target(t)
			ledgers := make([]*Ledger, 4)
			var g errgroup.Group
			for i := range ledgers {
				g.Go(func() (err error) {
					ledgers[i], err = Open(context.Background(), where, Options{})
					return err
				})
			}
			err := g.Wait()
			for _, l := range ledgers {
				if l == nil {
					continue
				}
				defer l.Close()
				if l.ID() != ledgers[0].ID() || len(l.ID()) != campaign.LedgerIDLen {
					t.Errorf("ids %q and %q, want the same of %d characters", l.ID(), ledgers[0].ID(), campaign.LedgerIDLen)
				}
				if l.Kind() != kind {
					t.Errorf("kind %q", l.Kind())
				}
				if d, err := l.Describe(context.Background()); err != nil || !strings.Contains(strings.ToLower(d), kind[:6]) {
					t.Errorf("described as %q, %v", d, err)
				}
				if now, err := l.Now(context.Background()); err != nil || now.Year() < 2026 {
					t.Errorf("its clock says %v, %v", now, err)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			r := campaign.Reference{Ledger: ledgers[0].ID(), Recipient: 1, Attempt: 1}
			if _, ok := campaign.ParseReference(r.String(), ledgers[0].ID()); !ok {
				t.Errorf("a reference with the id %q cannot be read", ledgers[0].ID())
			}
		})
	}
}

func TestALedgerStaysAcrossOpens(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		li := w.list("people", 3)
		again, err := Open(w.ctx, w.target, Options{})
		w.ok(err)
		defer again.Close()
		if again.ID() != w.l.ID() {
			t.Errorf("id %q, want %q", again.ID(), w.l.ID())
		}
		got, err := again.FindList(w.ctx, "people")
		w.ok(err)
		w.equal(got, li)
	})
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a database\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ target, want string }{
		"none":          {"", "POSTRIDER_DATABASE_URL"},
		"another file":  {text, "not a SQLite database"},
		"a bad address": {"postgres://user:hunter2@[::1:99/x", "not a postgres:// address"},
		"nobody there":  {"postgres://user:hunter2@127.0.0.1:1/x", "does not answer"},
		"a folder":      {dir, "ledger"},
		"under a file":  {filepath.Join(text, "ledger.db"), "folder"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Open(context.Background(), c.target, Options{})
			if err == nil {
				l.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q, want one with %q and without the password", err, c.want)
			}
		})
	}
}

func TestAClosedLedgerRefusesWrites(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		l, err := Open(w.ctx, w.target, Options{})
		w.ok(err)
		w.ok(l.Close())
		if err := l.OptOut(w.ctx, phone(1), "test", ""); err == nil {
			t.Error("a write on a closed ledger succeeded")
		} else if l.Kind() == "sqlite" && !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}

// An answer is worth keeping until the database is back; one that the database
// refuses is not.
func TestOnlyWhatTheDatabaseRefusesIsThereToStay(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		write := func(queries ...string) error {
			return w.l.store.write(w.ctx, func(tx *tx) error {
				for _, q := range queries {
					if _, err := tx.exec.ExecContext(w.ctx, q); err != nil {
						return fmt.Errorf("writing: %w", err)
					}
				}
				return nil
			})
		}
		lasting := map[string]error{
			"a name that is taken":      write(`INSERT INTO ids (name, next) VALUES ('batch', 1)`),
			"nothing in place of a row": write(`UPDATE ids SET next = NULL`),
			"a refusal of ours":         campaign.Errorf(campaign.CodeConflict, "it is over"),
		}
		ended, cancel := context.WithCancel(w.ctx)
		cancel()
		passing := map[string]error{
			"nothing":       nil,
			"no more time":  w.l.store.write(ended, func(*tx) error { return nil }),
			"another error": errors.New("the network is down"),
		}
		if w.l.Kind() == "postgres" {
			passing["the server ends"] = write(`SELECT pg_terminate_backend(pg_backend_pid())`)
			passing["no server"] = func() error {
				conn, err := pgx.Connect(w.ctx, "postgres://nobody@127.0.0.1:1/none")
				if err == nil {
					return errors.Join(errors.New("there is one"), conn.Close(w.ctx))
				}
				return err
			}()
		} else {
			passing["a full disk"] = write(`PRAGMA max_page_count = 1`, `CREATE TABLE scratch (b BLOB)`, `INSERT INTO scratch (b) VALUES (zeroblob(1000000))`)
			other, err := sql.Open("sqlite", w.target)
			w.ok(err)
			defer other.Close()
			conn, err := other.Conn(w.ctx)
			w.ok(err)
			defer conn.Close()
			_, err = conn.ExecContext(w.ctx, `BEGIN IMMEDIATE`)
			w.ok(err)
			passing["a lock"] = func() error {
				second, err := sql.Open("sqlite", w.target)
				w.ok(err)
				defer second.Close()
				_, err = second.ExecContext(w.ctx, `UPDATE ids SET next = next`)
				return err
			}()
		}
		for name, err := range lasting {
			if err == nil || !Lasting(err) {
				t.Errorf("%s (%v) is taken for something that passes", name, err)
			}
		}
		for name, err := range passing {
			if (err == nil) != (name == "nothing") || Lasting(err) {
				t.Errorf("%s (%v) is taken for something that stays", name, err)
			}
		}
	})
}

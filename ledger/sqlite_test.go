package ledger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/postrider/postrider/campaign"
)

// group runs writes so that one commit takes them together: they queue up
// behind a write that waits. It returns the error of each.
func group(w *world, ctxs []context.Context, writes ...func(tx *tx) error) []error {
	w.t.Helper()
	s := w.l.store.(*sqliteStore)
	begun, goOn := make(chan struct{}), make(chan struct{})
	held := make(chan error, 1)
	go func() {
		held <- s.write(w.ctx, func(*tx) error {
			close(begun)
			<-goOn
			return nil
		})
	}()
	<-begun
	queued := make([]*sqliteWrite, len(writes))
	for i, fn := range writes {
		ctx := w.ctx
		if i < len(ctxs) && ctxs[i] != nil {
			ctx = ctxs[i]
		}
		queued[i] = &sqliteWrite{ctx: ctx, fn: fn, result: make(chan error, 1)}
		s.queue <- queued[i]
	}
	close(goOn)
	w.ok(<-held)
	errs := make([]error, len(writes))
	for i, q := range queued {
		errs[i] = <-q.result
	}
	return errs
}

// optOut is a small write.
func optOut(w *world, i int) func(tx *tx) error {
	return func(tx *tx) error {
		_, err := tx.exec.ExecContext(w.ctx, `INSERT INTO opt_outs (kind, key, value, source, reason, added_by, added_at) VALUES ('phone', $1, '', 'test', '', '', 0)`, phone(i))
		return err
	}
}

func sqliteWorld(t *testing.T) *world {
	t.Parallel()
	return newWorld(t, filepath.Join(t.TempDir(), "ledger.db"), "")
}

// has demands which small writes are on record.
func (w *world) has(want ...int) {
	w.t.Helper()
	got, all := map[string]bool{}, map[string]bool{}
	w.ok(w.l.EachOptOut(w.ctx, func(o *OptOut) error {
		got[o.Key] = true
		return nil
	}))
	for _, i := range want {
		all[phone(i)] = true
	}
	w.equal(got, all)
}

func TestAFailingWriteIsRolledBackAlone(t *testing.T) {
	w := sqliteWorld(t)
	mine := errors.New("mine")
	errs := group(w, nil,
		optOut(w, 0),
		func(tx *tx) error {
			if err := optOut(w, 1)(tx); err != nil {
				return err
			}
			return mine
		},
		optOut(w, 0), // breaks a constraint
		func(tx *tx) error {
			if err := optOut(w, 2)(tx); err != nil {
				return err
			}
			panic("boom")
		},
		optOut(w, 3),
	)
	if errs[0] != nil || errs[4] != nil || !errors.Is(errs[1], mine) || errs[2] == nil || errs[3] == nil || !strings.Contains(errs[3].Error(), "boom") {
		t.Fatalf("errors %v", errs)
	}
	w.has(0, 3)
}

func TestACancelledWriteLeavesItsNeighboursAlone(t *testing.T) {
	w := sqliteWorld(t)
	before, cancelBefore := context.WithCancel(w.ctx)
	cancelBefore()
	during, cancelDuring := context.WithCancel(w.ctx)
	defer cancelDuring()
	errs := group(w, []context.Context{nil, before, during},
		optOut(w, 0),
		optOut(w, 1),
		func(tx *tx) error { // its caller gives up in the middle of it
			if err := optOut(w, 2)(tx); err != nil {
				return err
			}
			cancelDuring()
			var n int
			err := tx.exec.QueryRowContext(during, `WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 300000) SELECT count(*) FROM c`).Scan(&n)
			if err != nil {
				return err
			}
			return w.l.store.insert(during, tx, rows{
				table: "opt_outs", n: 1, columns: []column{same("kind", "phone"), differs("key"), same("value", ""), same("source", "test"), same("reason", ""), same("added_by", ""), same("added_at", 0)},
				each: func(_ int, v []any) { v[0] = phone(3) },
			})
		},
		optOut(w, 4),
	)
	if errs[0] != nil || !errors.Is(errs[1], context.Canceled) || errs[2] != nil || errs[3] != nil {
		t.Fatalf("errors %v", errs)
	}
	w.has(0, 2, 3, 4)
	w.ok(w.l.OptOut(w.ctx, phone(5), "test", ""))
}

func TestAWriteIsNotBegunForACallerWhoHasGone(t *testing.T) {
	w := sqliteWorld(t)
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	for range 20 { // the queue may take it; it must not run all the same
		w.is(w.l.OptOut(ctx, phone(1), "test", ""), context.Canceled)
	}
	w.has()
}

func TestAFullDiskFailsTheWholeGroupAndPasses(t *testing.T) {
	w := sqliteWorld(t)
	s := w.l.store.(*sqliteStore)
	pages := func(n int) func(tx *tx) error {
		return func(tx *tx) error {
			var got int
			return tx.exec.QueryRowContext(w.ctx, fmt.Sprintf(`PRAGMA max_page_count = %d`, n)).Scan(&got)
		}
	}
	fill := func(tx *tx) error {
		_, err := tx.exec.ExecContext(w.ctx, `INSERT INTO files (sha256, name, type, size, content, created_at) VALUES ('x', '', '', 0, zeroblob(4000000), 0)`)
		return err
	}
	w.ok(s.write(w.ctx, pages(1))) // SQLite takes the pages there are
	mine := errors.New("mine")
	errs := group(w, nil, optOut(w, 0), func(*tx) error { return mine }, fill, optOut(w, 1))
	for i, err := range errs {
		var full *sqlite.Error
		if i == 1 {
			w.is(err, mine)
		} else if !errors.As(err, &full) || full.Code() != sqlite3.SQLITE_FULL {
			t.Errorf("write %d: %v, want a full database", i, err)
		}
	}
	w.has()
	w.ok(s.write(w.ctx, pages(1<<30)))
	w.ok(s.write(w.ctx, fill))
	w.ok(w.l.OptOut(w.ctx, phone(2), "test", ""))
	w.has(2)
}

func TestATransactionThatEndedUnderAGroupFailsItWhole(t *testing.T) {
	w := sqliteWorld(t)
	mine := errors.New("mine")
	errs := group(w, nil, optOut(w, 0), func(tx *tx) error {
		// As SQLite does by itself after some errors.
		_, err := tx.exec.ExecContext(w.ctx, `ROLLBACK`)
		return errors.Join(mine, err)
	}, optOut(w, 1))
	for i, err := range errs {
		if err == nil {
			t.Errorf("write %d was told that it is on record", i)
		}
	}
	w.has()
	w.ok(w.l.OptOut(w.ctx, phone(2), "test", ""))
	w.has(2)
}

func TestClosingWhileWritesWait(t *testing.T) {
	t.Parallel()
	w := &world{t: t, ctx: context.Background(), target: filepath.Join(t.TempDir(), "ledger.db")}
	l, err := Open(w.ctx, w.target, Options{})
	w.ok(err)
	const n = 200
	errs := make([]error, n)
	var writers sync.WaitGroup
	some := make(chan struct{}, n)
	for i := range n {
		writers.Go(func() {
			errs[i] = l.OptOut(w.ctx, phone(i), "test", "")
			some <- struct{}{}
		})
	}
	<-some
	w.ok(l.Close())
	writers.Wait()
	w.l, err = Open(w.ctx, w.target, Options{})
	w.ok(err)
	defer w.l.Close()
	var on []int
	for i, err := range errs {
		switch {
		case err == nil:
			on = append(on, i)
		case !errors.Is(err, ErrClosed):
			t.Errorf("write %d: %v", i, err)
		}
	}
	w.has(on...) // exactly those that were told so
}

func TestTwoProcessesWriteTheSameFile(t *testing.T) {
	w := sqliteWorld(t)
	other, err := Open(w.ctx, w.target, Options{})
	w.ok(err)
	defer other.Close()
	var writers sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs {
		writers.Go(func() {
			errs[i] = []*Ledger{w.l, other}[i%2].OptOut(w.ctx, phone(i), "test", "")
		})
	}
	writers.Wait()
	var want []int
	for i, err := range errs {
		w.ok(err)
		want = append(want, i)
	}
	w.has(want...)
}

func TestReadersCannotWrite(t *testing.T) {
	w := sqliteWorld(t)
	if _, err := w.l.store.read().Exec(`DELETE FROM ids`); err == nil {
		t.Error("a reading connection wrote")
	}
	w.equal(w.draft(1).State, campaign.Draft)
}

func TestWhatEveryBeatAsksIsFoundByItsIndex(t *testing.T) {
	w := newWorld(t, filepath.Join(t.TempDir(), "ledger.db"), "")
	for index, query := range map[string]string{
		"batches_due (channel=? AND campaign_id=? AND due_at<?)": anythingDue,
		"campaigns_open (state=?)":                               anythingDue,
		"batches_unknown (campaign_id=? AND unknown>?)":          reserveSpend,
	} {
		args := []any{"sms", 1, 1}[:min(strings.Count(query, "$3"), 1)+2]
		rows, err := w.l.store.read().QueryContext(w.ctx, `EXPLAIN QUERY PLAN `+query, args...)
		w.ok(err)
		var plan strings.Builder
		for rows.Next() {
			var id, parent, unused int
			var step string
			w.ok(rows.Scan(&id, &parent, &unused, &step))
			plan.WriteString(step + "\n")
		}
		w.ok(errors.Join(rows.Err(), rows.Close()))
		if !strings.Contains(plan.String(), index) {
			t.Errorf("%s\nis not found by %s:\n%s", query, index, plan.String())
		}
	}
}

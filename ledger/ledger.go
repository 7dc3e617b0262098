// Package ledger is the truth about every list, contact, campaign, batch,
// recipient, attempt and outcome. It lives in SQL, in a SQLite file or in
// PostgreSQL; Redis only speeds up what the ledger says. Nothing here talks to
// the provider.
//
// Times go in and out as time.Time and lie in the tables as unix milliseconds;
// money is campaign.Micros; ids are integers made here, never by a worker.
package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/crashpoint"
)

// Options of Open. The zero value is right outside tests.
type Options struct {
	// Clock replaces the database's clock, by which leases and deadlines run.
	Clock func() time.Time
	// FileDir is a folder that every process of this ledger shares. When set,
	// files are kept there under their SHA-256; when empty, in the ledger.
	FileDir string
}

// Ledger is an open ledger. It is safe for use by many goroutines.
type Ledger struct {
	store   store
	id      string
	former  []formerID
	fileDir string
	clock   func() time.Time
}

// store is what differs between SQLite and PostgreSQL. Everything else is one
// SQL for both.
type store interface {
	// read is a pool for single statements outside a write.
	read() *sql.DB
	// write runs fn in a transaction. It may run fn again when the database
	// asks for it, so fn must not leave traces outside tx.
	write(ctx context.Context, fn func(tx *tx) error) error
	// writeLoosely is write for what a machine that loses its power may forget:
	// nothing that the provider, or a person, has been told depends on it.
	writeLoosely(ctx context.Context, fn func(tx *tx) error) error
	// now is the database's clock.
	now(ctx context.Context, tx *tx) (time.Time, error)
	// insert adds rows to a table, the fastest way the database has.
	insert(ctx context.Context, tx *tx, r rows) error
	// barred returns those of the keys that are on the suppression list, each
	// found by the index.
	barred(ctx context.Context, tx *tx, keys []campaign.OptOutKey) (map[campaign.OptOutKey]bool, error)
	// serialise holds back every other write that names the same key, until this
	// one ends.
	serialise(ctx context.Context, tx *tx, key string) error
	// forUpdate is appended to a SELECT that locks the row it reads.
	forUpdate() string
	// kind is "sqlite" or "postgres".
	kind() string
	describe(ctx context.Context) (string, error)
	// home is where the database lies, and the reason for a quarantine that a
	// restore into it has left behind, if there was one.
	home(ctx context.Context) (here home, restored string, err error)
	close() error
}

// rows are n rows to be added to a table.
type rows struct {
	table   string
	columns []column
	n       int
	// each fills in the values of row i in the columns that differ from row to
	// row, in their order.
	each func(i int, values []any)
}

// column is one column of rows. What is the same in all of them, or counts up,
// need not be handed to SQLite a million times.
type column struct {
	name  string
	kind  columnKind
	value any   // of a same column
	first int64 // of a counting column
}

type columnKind int

const (
	differing columnKind = iota
	sameInAll
	countingUp
)

func differs(name string) column         { return column{name: name} }
func same(name string, value any) column { return column{name: name, kind: sameInAll, value: value} }
func counts(name string, first int64) column {
	return column{name: name, kind: countingUp, first: first}
}

// tx is a write under way.
type tx struct {
	conn *sql.Conn
	exec execer
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Open opens the ledger at target, a file path or a postgres:// URL, creating
// and migrating it as needed. Two processes may open a new ledger at once. A
// ledger that is not where it was opened before is a copy, and is quarantined.
func Open(ctx context.Context, target string, o Options) (*Ledger, error) {
	var (
		s   store
		err error
	)
	switch {
	case isPostgres(target):
		s, err = openPostgres(ctx, target)
	case target == "":
		return nil, campaign.Errorf(campaign.CodeInvalid, "no database is named: set POSTRIDER_DATABASE_URL to a file path or a postgres:// address")
	default:
		s, err = openSQLite(ctx, target)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	l := &Ledger{store: s, fileDir: o.FileDir, clock: o.Clock}
	if err := l.settleIn(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return l, nil
}

// ID is this ledger's random id, ten characters of [0-9a-f], made by its first
// migration and anew when a quarantine is lifted. It is the one it had when it
// was opened.
func (l *Ledger) ID() string { return l.id }

// Kind is "sqlite" or "postgres".
func (l *Ledger) Kind() string { return l.store.kind() }

// Describe names the database and its version in one line without its address.
func (l *Ledger) Describe(ctx context.Context) (string, error) { return l.store.describe(ctx) }

// Close ends every connection after writes under way have ended.
func (l *Ledger) Close() error { return l.store.close() }

// write is the store's write with the crash points of w.
func (l *Ledger) write(ctx context.Context, w crashpoint.Write, fn func(tx *tx) error) error {
	return crashing(w, fn, func(fn func(tx *tx) error) error { return l.store.write(ctx, fn) })
}

// writeLoosely is the store's writeLoosely with the crash points of w.
func (l *Ledger) writeLoosely(ctx context.Context, w crashpoint.Write, fn func(tx *tx) error) error {
	return crashing(w, fn, func(fn func(tx *tx) error) error { return l.store.writeLoosely(ctx, fn) })
}

// crashing runs a write with the crash points before, inside and after it.
func crashing(w crashpoint.Write, fn func(tx *tx) error, write func(func(tx *tx) error) error) error {
	crashpoint.Before(w)
	err := write(func(tx *tx) error {
		err := fn(tx)
		if err == nil {
			crashpoint.Inside(w)
		}
		return err
	})
	if err == nil {
		crashpoint.After(w)
	}
	return err
}

// Now is the database's clock, or the one handed to Open.
func (l *Ledger) Now(ctx context.Context) (time.Time, error) {
	if l.clock != nil {
		return l.clock(), nil
	}
	return l.store.now(ctx, nil)
}

// now is Now inside a write, in unix milliseconds.
func (l *Ledger) now(ctx context.Context, tx *tx) (int64, error) {
	if l.clock != nil {
		return l.clock().UnixMilli(), nil
	}
	t, err := l.store.now(ctx, tx)
	return t.UnixMilli(), err
}

// Lasting reports whether an error of a write is there to stay: the database
// refuses what was to be written. After any other the same write may succeed
// later, when the database is back, or has room again.
func Lasting(err error) bool {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch pe.Code[:min(2, len(pe.Code))] {
		case "22", "23", "42": // data, constraints, statements and rights
			return true
		}
		return false
	}
	var se *sqlite.Error
	if errors.As(err, &se) {
		switch se.Code() & 0xff {
		case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE:
			return true
		}
		return false
	}
	var ce *campaign.Error
	return errors.As(err, &ce)
}

// takeIDs reserves n consecutive ids of a kind and returns the first.
func takeIDs(ctx context.Context, tx *tx, name string, n int) (int64, error) {
	var next int64
	err := tx.exec.QueryRowContext(ctx, `UPDATE ids SET next = next + $1 WHERE name = $2 RETURNING next`, n, name).Scan(&next)
	if err != nil {
		return 0, fmt.Errorf("taking %d %s ids: %w", n, name, err)
	}
	return next - int64(n), nil
}

// millis turns a time into what the tables hold; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromMillis is the way back, in UTC.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

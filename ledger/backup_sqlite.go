package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
)

func sqlitePath(target string) string { return strings.TrimPrefix(target, "sqlite://") }

// openPlain opens a SQLite file as it is: nothing is made, migrated or set.
func openPlain(path, mode string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode="+mode+"&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// sqliteVersion is the version of a ledger's tables; 0 when it is none.
func sqliteVersion(ctx context.Context, db *sql.DB, path string) (version int64, err error) {
	var tables int
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('ledger', 'campaigns', '`+versionTable+`')`).Scan(&tables)
	if err != nil {
		return 0, describeSQLite(err, path)
	}
	if tables < 3 {
		return 0, nil
	}
	err = db.QueryRowContext(ctx, `SELECT COALESCE(max(version_id), 0) FROM `+versionTable+` WHERE is_applied`).Scan(&version)
	return version, err
}

// quarantineVersion is the migration that brought the quarantine.
const quarantineVersion = 3

// backupSQLite copies a ledger that may be in use: VACUUM INTO reads one
// moment's state, beside which writers go on. The copy says itself that it is a
// backup, so that whoever uses it as it is finds it quarantined.
func backupSQLite(ctx context.Context, target, tmp string) (*Backup, error) {
	path := sqlitePath(target)
	if _, err := os.Stat(path); err != nil {
		return nil, campaign.Errorf(campaign.CodeNotFound, "there is no ledger at %s: is POSTRIDER_DATABASE_URL, or POSTRIDER_DATA_DIR, right?", path)
	}
	db, err := openPlain(path, "rw") // a reader, too, writes the index of the log
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // nothing was written
	b := &Backup{Kind: "sqlite", Taken: time.Now().UTC().Truncate(time.Second)}
	if b.Version, err = sqliteVersion(ctx, db, path); err != nil {
		return nil, err
	}
	if b.Version == 0 {
		return nil, campaign.Errorf(campaign.CodeNotFound, "%s is no ledger", path)
	}
	if err := vacuumInto(ctx, db, tmp); err != nil {
		return nil, err
	}
	if b.Version < quarantineVersion {
		return b, nil
	}
	return b, markBackup(ctx, tmp, b)
}

func vacuumInto(ctx context.Context, db *sql.DB, to string) error {
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, to); err != nil {
		if diskFull(err) {
			return fmt.Errorf("the disk that is to hold the copy is full, or the file may not grow: make room there: %w", err)
		}
		return fmt.Errorf("copying the ledger: %w", err)
	}
	return nil
}

func markBackup(ctx context.Context, path string, b *Backup) error {
	db, err := openPlain(path, "rw")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `UPDATE ledger SET quarantine = $1, quarantined_at = $2 WHERE one = 1`, b.reason(), b.Taken.UnixMilli())
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("marking the copy as a backup: %w", err)
	}
	return nil
}

func readSQLiteBackup(ctx context.Context, path string) (*Backup, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	db, err := openPlain(path, "ro")
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // nothing was written
	b := &Backup{Kind: "sqlite", Taken: info.ModTime().UTC().Truncate(time.Second)}
	if b.Version, err = sqliteVersion(ctx, db, path); err != nil {
		return nil, campaign.Errorf(campaign.CodeInvalid, "%s cannot be read as a backup: %w", path, err)
	}
	if b.Version == 0 {
		return nil, campaign.Errorf(campaign.CodeInvalid, "%s is a database, but no backup of a ledger", path)
	}
	var health string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&health); err != nil || health != "ok" {
		return nil, campaign.Errorf(campaign.CodeInvalid, "%s is damaged (%s): use another backup", path, orError(health, err))
	}
	if b.Version < quarantineVersion {
		return b, nil
	}
	q, err := readQuarantine(ctx, db)
	if err != nil {
		return nil, err
	}
	if text, ok := strings.CutPrefix(q.Reason, reasonRestored); ok {
		if b.Taken, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, fmt.Errorf("reading when the backup was made: %w", err)
		}
	}
	return b, nil
}

func orError(s string, err error) string {
	if err != nil {
		return err.Error()
	}
	return s
}

func inspectSQLite(ctx context.Context, path string) (Existing, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return Existing{}, nil
	}
	if err != nil {
		return Existing{}, fmt.Errorf("looking at the ledger: %w", err)
	}
	db, err := openPlain(path, "rw")
	if err != nil {
		return Existing{}, err
	}
	defer db.Close() //nolint:errcheck // nothing was written
	version, err := sqliteVersion(ctx, db, path)
	if err != nil {
		return Existing{}, err
	}
	if version == 0 {
		return Existing{}, campaign.Errorf(campaign.CodeConflict, "%s is there already, and is no ledger: name another file in POSTRIDER_DATABASE_URL; nothing was changed", path)
	}
	return countContents(ctx, db)
}

// restoreSQLite writes the ledger beside its place, complete and quarantined,
// and moves it there at the end.
func restoreSQLite(ctx context.Context, target, path string, b *Backup, replace bool) (*Restored, error) {
	to := sqlitePath(target)
	there, err := inspectSQLite(ctx, to)
	if err != nil {
		return nil, err
	}
	if !there.Empty() && !replace {
		return nil, errOccupied(there, "name another file in POSTRIDER_DATABASE_URL, or put that ledger aside with --force")
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return nil, fmt.Errorf("the database's folder cannot be made: %w", err)
	}
	folder, err := os.MkdirTemp(filepath.Dir(to), ".postrider-restore-*")
	if err != nil {
		return nil, fmt.Errorf("the database's folder cannot be written: %w", err)
	}
	defer os.RemoveAll(folder)
	made := filepath.Join(folder, "ledger.db")
	from, err := openPlain(path, "ro")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(vacuumInto(ctx, from, made), from.Close()); err != nil {
		return nil, err
	}
	r, err := finishRestore(ctx, made, b.reason())
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(made + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the restored ledger was not closed in full: try again (%w)", err)
	}
	if err := syncFile(made); err != nil {
		return nil, err
	}
	if there.There {
		if r.Replaced, err = putAside(ctx, to, there.Empty()); err != nil {
			return nil, err
		}
	} else if err := removeRemains(to); err != nil {
		return nil, err
	}
	if err := giveName(made, to); err != nil {
		if r.Replaced != "" {
			err = fmt.Errorf("%w; the ledger that was there is %s now", err, r.Replaced)
		}
		return nil, err
	}
	return r, nil
}

// removeRemains takes an empty file out of the way. A log without its database
// would be read into the new one.
func removeRemains(path string) error {
	for _, end := range []string{"-wal", "-journal"} {
		if info, err := os.Stat(path + end); err == nil && info.Size() > 0 {
			return campaign.Errorf(campaign.CodeConflict, "%s%s is what is left of a ledger that is gone: move it away first; nothing was changed", path, end)
		}
	}
	return removeIfThere(path)
}

// putAside gives the ledger at path another name, which it returns, or removes
// it when it is empty. It fails when any process has the ledger open.
func putAside(ctx context.Context, path string, empty bool) (string, error) {
	db, err := openPlain(path, "rw")
	if err != nil {
		return "", err
	}
	defer db.Close() //nolint:errcheck // it lies aside by then
	conn, err := db.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // as above
	if _, err := conn.ExecContext(ctx, `PRAGMA busy_timeout = 500`); err != nil {
		return "", err
	}
	// Leaving the log needs the database for oneself, and so does EXCLUSIVE.
	var mode string
	err = conn.QueryRowContext(ctx, `PRAGMA journal_mode = DELETE`).Scan(&mode)
	if err == nil && mode == "delete" {
		_, err = conn.ExecContext(ctx, `BEGIN EXCLUSIVE`)
	}
	if err != nil || mode != "delete" {
		return "", campaign.Errorf(campaign.CodeConflict, "another process has the ledger at %s open: stop it first; nothing was changed", path)
	}
	if empty {
		if e, err := countContents(ctx, conn); err != nil {
			return "", err
		} else if !e.Empty() {
			return "", errOccupied(e, "somebody has just filled it")
		}
		return "", os.Remove(path)
	}
	aside := path + ".replaced-" + time.Now().UTC().Format("20060102T150405.000")
	return aside, giveName(path, aside)
}

package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
)

// Backup is a copy of a ledger in a file: a SQLite database, or an archive of
// pg_dump's custom format.
type Backup struct {
	Kind    string // sqlite or postgres
	Version int64  // of its tables: the newest migration
	// Taken is when it was made. Of a SQLite file that Postrider's backup has not
	// written it is when that was changed last.
	Taken time.Time
}

// reasonRestored begins the reason of a ledger that was restored.
const reasonRestored = "it was restored from a backup of "

// reason is why a ledger restored from b may not send.
func (b *Backup) reason() string { return reasonRestored + b.Taken.UTC().Format(time.RFC3339) }

// MakeBackup copies the ledger at target, which stays in use, into a new file
// that only its owner may read. A file that is there already is an Error with
// CodeExists, no ledger at target one with CodeNotFound. Files of plans that
// lie in a shared folder are not in it.
func MakeBackup(ctx context.Context, target, path string) (*Backup, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, campaign.Errorf(campaign.CodeExists, "%s is there already: name a new file", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s cannot be written: %w", path, err)
	}
	made := backupSQLite
	if isPostgres(target) {
		made = backupPostgres
	}
	var b *Backup
	err := writeNew(path, func(tmp string) (err error) {
		b, err = made(ctx, target, tmp)
		return err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// ReadBackup looks at a file that Restore is to be given. What is no copy of a
// ledger, is damaged, or was written by a newer Postrider is an Error with
// CodeInvalid.
func ReadBackup(ctx context.Context, path string) (*Backup, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, campaign.Errorf(campaign.CodeNotFound, "there is no file %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("the backup cannot be read: %w", err)
	}
	defer f.Close()
	head := make([]byte, 16)
	if _, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the backup cannot be read: %w", err)
	}
	var b *Backup
	switch {
	case string(head) == "SQLite format 3\x00":
		b, err = readSQLiteBackup(ctx, path)
	case strings.HasPrefix(string(head), "PGDMP"):
		b, err = readPostgresBackup(ctx, path)
	default:
		return nil, campaign.Errorf(campaign.CodeInvalid, "%s is no backup of a ledger", path)
	}
	if err != nil {
		return nil, err
	}
	newest, err := newestMigration(b.Kind)
	if err != nil {
		return nil, err
	}
	if b.Version > newest {
		return nil, campaign.Errorf(campaign.CodeInvalid,
			"%s was made by a newer Postrider (its tables are of version %d, and this one knows %d): restore it with that", path, b.Version, newest)
	}
	return b, nil
}

// Restored is what Restore came to.
type Restored struct {
	Ledger    string // its id
	Campaigns int
	OptOuts   int // on its suppression list; those since the backup are not
	// Replaced is where the ledger that was there before lies now; empty when
	// there was none, or nothing in it.
	Replaced string
}

// Restore makes a ledger at target from a backup. The ledger is quarantined
// from its first moment. A ledger at target that holds anything is an Error
// with CodeConflict, unless replace is set, which SQLite alone allows: then it
// is put aside, whole, beside the new one. Nobody may use the ledger at target
// meanwhile.
func Restore(ctx context.Context, target, path string, replace bool) (*Restored, error) {
	b, err := ReadBackup(ctx, path)
	if err != nil {
		return nil, err
	}
	if kind := kindOf(target); b.Kind != kind {
		return nil, campaign.Errorf(campaign.CodeInvalid, "%s is a backup of a %s ledger, and POSTRIDER_DATABASE_URL leads to %s: name a database of that kind there",
			path, kindName(b.Kind), kindName(kind))
	}
	var r *Restored
	if isPostgres(target) {
		r, err = restorePostgres(ctx, target, path, b, replace)
	} else {
		r, err = restoreSQLite(ctx, target, path, b, replace)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Existing is how much the ledger at target holds, without opening, making or
// migrating it.
type Existing struct {
	There     bool // a ledger is there, be it empty
	Campaigns int
	Lists     int
	OptOuts   int
	Schedules int
}

// Empty reports whether nothing would be lost with it.
func (e Existing) Empty() bool {
	return e.Campaigns == 0 && e.Lists == 0 && e.OptOuts == 0 && e.Schedules == 0
}

func (e Existing) String() string {
	if e.Schedules > 0 {
		return fmt.Sprintf("%d campaigns, %d lists, %d opt-outs and %d schedules", e.Campaigns, e.Lists, e.OptOuts, e.Schedules)
	}
	return fmt.Sprintf("%d campaigns, %d lists and %d opt-outs", e.Campaigns, e.Lists, e.OptOuts)
}

// Inspect reads what the ledger at target holds. What is no ledger is an Error
// with CodeConflict.
func Inspect(ctx context.Context, target string) (Existing, error) {
	if isPostgres(target) {
		return inspectPostgres(ctx, target)
	}
	return inspectSQLite(ctx, sqlitePath(target))
}

// schedulesMigration is the migration that made the table of schedules.
const schedulesMigration = 7

func countContents(ctx context.Context, q execer) (Existing, error) {
	e := Existing{There: true}
	err := q.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM campaigns), (SELECT count(*) FROM lists), (SELECT count(*) FROM opt_outs)`).
		Scan(&e.Campaigns, &e.Lists, &e.OptOuts)
	if err != nil {
		return e, fmt.Errorf("reading what the ledger holds: %w", err)
	}
	var knows int // a ledger that nobody has opened since has no schedules yet
	err = q.QueryRowContext(ctx, `SELECT count(*) FROM `+versionTable+` WHERE version_id = $1`, schedulesMigration).Scan(&knows)
	if err == nil && knows > 0 {
		err = q.QueryRowContext(ctx, `SELECT count(*) FROM schedules`).Scan(&e.Schedules)
	}
	if err != nil {
		return e, fmt.Errorf("reading what the ledger holds: %w", err)
	}
	return e, nil
}

// errOccupied refuses to restore over a ledger that holds something.
func errOccupied(e Existing, how string) error {
	return campaign.Errorf(campaign.CodeConflict, "there is a ledger already, with %s: %s; nothing was changed", e, how)
}

// finishRestore opens what was restored, so that its tables are up to date and
// its home is known, and counts it.
func finishRestore(ctx context.Context, target, reason string) (*Restored, error) {
	l, err := Open(ctx, target, Options{})
	if err != nil {
		return nil, err
	}
	r := &Restored{Ledger: l.ID()}
	err = l.SetQuarantine(ctx, reason)
	if err == nil {
		var e Existing
		e, err = countContents(ctx, l.store.read())
		r.Campaigns, r.OptOuts = e.Campaigns, e.OptOuts
	}
	if err := errors.Join(err, l.Close()); err != nil {
		return nil, err
	}
	return r, nil
}

func isPostgres(target string) bool {
	return strings.HasPrefix(target, "postgres://") || strings.HasPrefix(target, "postgresql://")
}

func kindOf(target string) string {
	if isPostgres(target) {
		return "postgres"
	}
	return "sqlite"
}

func kindName(kind string) string {
	if kind == "postgres" {
		return "PostgreSQL"
	}
	return "SQLite"
}

// newestMigration is the newest version of the tables that this program knows.
func newestMigration(kind string) (int64, error) {
	files, err := fs.Glob(migrations, "migrations/"+kind+"/*.sql")
	if err != nil {
		return 0, err
	}
	var newest int64
	for _, f := range files {
		number, _, _ := strings.Cut(filepath.Base(f), "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("migration %s has no number: %w", f, err)
		}
		newest = max(newest, n)
	}
	return newest, nil
}

// versionTable is where goose keeps which migrations were made.
const versionTable = "goose_db_version"

var createTable = regexp.MustCompile(`(?m)^CREATE TABLE (?:IF NOT EXISTS )?(\w+)`)

// ownTables are all tables of a ledger that any migration has ever made.
func ownTables(kind string) ([]string, error) {
	files, err := fs.Glob(migrations, "migrations/"+kind+"/*.sql")
	if err != nil {
		return nil, err
	}
	all := []string{versionTable}
	for _, f := range files {
		text, err := fs.ReadFile(migrations, f)
		if err != nil {
			return nil, err
		}
		for _, m := range createTable.FindAllStringSubmatch(string(text), -1) {
			all = append(all, m[1])
		}
	}
	return all, nil
}

// writeNew lets fn write a temporary file and gives it its name when it is
// whole. It never takes the place of another file.
func writeNew(path string, fn func(tmp string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if errors.Is(err, fs.ErrNotExist) {
		return campaign.Errorf(campaign.CodeInvalid, "%s cannot be written: there is no such folder", path)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", path, err)
	}
	err = f.Close()
	if err == nil {
		err = fn(f.Name())
	}
	if err == nil {
		err = syncFile(f.Name())
	}
	if err == nil {
		err = giveName(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(f.Name()))
	}
	return nil
}

// giveName moves a file to a name that is free.
func giveName(from, to string) error {
	switch err := os.Link(from, to); {
	case err == nil:
		if err := os.Remove(from); err != nil {
			return err
		}
	case errors.Is(err, fs.ErrExist):
		return campaign.Errorf(campaign.CodeExists, "%s is there already: name a new file", to)
	default:
		// A file system without links. Nobody but us is about to take the name.
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			return campaign.Errorf(campaign.CodeExists, "%s is there already: name a new file", to)
		}
		if err := os.Rename(from, to); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(to))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDir makes a new name in a folder last; not every system can.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	d.Sync() //nolint:errcheck // as the comment says
	return d.Close()
}

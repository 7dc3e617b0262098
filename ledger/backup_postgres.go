package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/postrider/postrider/campaign"
)

// backupPostgres lets pg_dump copy a ledger that may be in use: it reads one
// moment's state and holds nobody up.
func backupPostgres(ctx context.Context, target, tmp string) (*Backup, error) {
	db, env, err := connectPlain(ctx, target)
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // nothing was written
	b := &Backup{Kind: "postgres", Taken: time.Now().UTC().Truncate(time.Second)}
	if b.Version, err = postgresVersion(ctx, db); err != nil {
		return nil, err
	}
	if b.Version == 0 {
		return nil, campaign.Errorf(campaign.CodeNotFound, "the database holds no ledger: is POSTRIDER_DATABASE_URL right?")
	}
	_, err = runTool(ctx, env, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--no-password", "--file="+tmp)
	return b, err
}

// connectPlain connects to a database as it is, and returns what the tools of
// PostgreSQL need in their environment to find the same one. Nothing of it
// stands on their command line, which everybody on the machine can read.
func connectPlain(ctx context.Context, target string) (*sql.DB, []string, error) {
	cfg, err := parsePostgres(target)
	if err != nil {
		return nil, nil, err
	}
	db := stdlib.OpenDB(*cfg)
	if err := pingPostgres(ctx, db, cfg); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, toolEnv(target, cfg), nil
}

// libpqVariables are the settings of an address that libpq's programs take
// from their environment (PostgreSQL 15, libpq, "Environment Variables").
var libpqVariables = map[string]string{
	"sslmode": "PGSSLMODE", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslrootcert": "PGSSLROOTCERT", "sslcrl": "PGSSLCRL",
	"sslsni": "PGSSLSNI", "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION", "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
	"channel_binding": "PGCHANNELBINDING", "gssencmode": "PGGSSENCMODE", "krbsrvname": "PGKRBSRVNAME",
	"target_session_attrs": "PGTARGETSESSIONATTRS", "options": "PGOPTIONS", "passfile": "PGPASSFILE", "service": "PGSERVICE", "servicefile": "PGSERVICEFILE",
}

func toolEnv(target string, cfg *pgx.ConnConfig) []string {
	var hosts, ports []string
	seen := map[string]bool{}
	add := func(host string, port uint16) {
		if at := net.JoinHostPort(host, strconv.Itoa(int(port))); !seen[at] {
			seen[at] = true
			hosts, ports = append(hosts, host), append(ports, strconv.Itoa(int(port)))
		}
	}
	add(cfg.Host, cfg.Port)
	for _, f := range cfg.Fallbacks {
		add(f.Host, f.Port)
	}
	env := append(os.Environ(),
		"PGHOST="+strings.Join(hosts, ","), "PGPORT="+strings.Join(ports, ","), "PGUSER="+cfg.User, "PGDATABASE="+cfg.Database,
		"PGCONNECT_TIMEOUT="+strconv.Itoa(max(2, int(cfg.ConnectTimeout/time.Second))), "PGAPPNAME=postrider",
		"TZ=UTC", "LC_ALL=C") // for what is read from their output
	if cfg.Password != "" {
		env = append(env, "PGPASSWORD="+cfg.Password)
	}
	if u, err := url.Parse(target); err == nil {
		for key, values := range u.Query() {
			if name := libpqVariables[key]; name != "" && len(values) > 0 {
				env = append(env, name+"="+values[len(values)-1])
			}
		}
	}
	return env
}

// runTool runs one of PostgreSQL's programs and returns what it printed.
func runTool(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, campaign.Errorf(campaign.CodeInvalid,
			"%s is not installed here, and a PostgreSQL ledger is backed up and restored with it: install PostgreSQL's client programs, of the server's version or newer (Debian: apt-get install postgresql-client)", name)
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &said
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%s failed (%w): %s", name, err, strings.TrimSpace(said.String()))
	}
	return out.Bytes(), nil
}

// postgresVersion is the version of a ledger's tables; 0 when there are none.
func postgresVersion(ctx context.Context, db *sql.DB) (version int64, err error) {
	var there bool
	err = db.QueryRowContext(ctx, `SELECT to_regclass('ledger') IS NOT NULL AND to_regclass('campaigns') IS NOT NULL AND to_regclass('`+versionTable+`') IS NOT NULL`).Scan(&there)
	if err != nil || !there {
		return 0, err
	}
	err = db.QueryRowContext(ctx, `SELECT COALESCE(max(version_id), 0) FROM `+versionTable+` WHERE is_applied`).Scan(&version)
	return version, err
}

var (
	archiveCreated = regexp.MustCompile(`(?m)^;\s*Archive created at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)`)
	archiveTable   = regexp.MustCompile(`(?m)^\d+; \d+ \d+ TABLE DATA \S+ (\S+) `)
)

func readPostgresBackup(ctx context.Context, path string) (*Backup, error) {
	env := append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	list, err := runTool(ctx, env, "pg_restore", "--list", path)
	if err != nil {
		return nil, err
	}
	b := &Backup{Kind: "postgres"}
	has := map[string]bool{}
	for _, m := range archiveTable.FindAllSubmatch(list, -1) {
		has[string(m[1])] = true
	}
	if !has["ledger"] || !has["campaigns"] || !has[versionTable] {
		return nil, campaign.Errorf(campaign.CodeInvalid, "%s is an archive of pg_dump, but no backup of a ledger", path)
	}
	if m := archiveCreated.FindSubmatch(list); m != nil {
		if b.Taken, err = time.Parse(time.DateTime, string(m[1])); err != nil {
			return nil, fmt.Errorf("reading when the backup was made: %w", err)
		}
	}
	versions, err := runTool(ctx, env, "pg_restore", "--data-only", "--table="+versionTable, "--file=-", path)
	if err != nil {
		return nil, err
	}
	b.Version = archivedVersion(string(versions))
	if b.Version == 0 {
		return nil, campaign.Errorf(campaign.CodeInvalid, "%s does not say of which version its tables are: it is no whole backup of a ledger", path)
	}
	return b, nil
}

// archivedVersion reads the newest migration from COPY's text: id, version,
// whether it was made, when.
func archivedVersion(text string) (newest int64) {
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSpace(line), "\t")
		if len(cells) < 3 || cells[2] != "t" {
			continue
		}
		if v, err := strconv.ParseInt(cells[1], 10, 64); err == nil {
			newest = max(newest, v)
		}
	}
	return newest
}

func inspectPostgres(ctx context.Context, target string) (Existing, error) {
	db, _, err := connectPlain(ctx, target)
	if err != nil {
		return Existing{}, err
	}
	defer db.Close() //nolint:errcheck // nothing was written
	return lookIntoPostgres(ctx, db)
}

func lookIntoPostgres(ctx context.Context, db *sql.DB) (Existing, error) {
	version, err := postgresVersion(ctx, db)
	if err != nil {
		return Existing{}, fmt.Errorf("looking at the database: %w", err)
	}
	if version > 0 {
		return countContents(ctx, db)
	}
	var others int
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_%'
		  AND c.relname <> '`+restoringTable+`'
		  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`).Scan(&others)
	if err != nil {
		return Existing{}, fmt.Errorf("looking at the database: %w", err)
	}
	if others > 0 {
		return Existing{}, campaign.Errorf(campaign.CodeConflict, "the database holds %d tables that are no ledger's: make an empty one (createdb) and name it in POSTRIDER_DATABASE_URL; nothing was changed", others)
	}
	return Existing{}, nil
}

// restorePostgres fills an empty database. The mark that it leaves first makes
// whoever opens the ledger, and be it after a crash, quarantine it.
func restorePostgres(ctx context.Context, target, path string, b *Backup, replace bool) (*Restored, error) {
	if replace {
		return nil, campaign.Errorf(campaign.CodeInvalid, "--force replaces a SQLite file only: make an empty database (createdb) and name it in POSTRIDER_DATABASE_URL, the old one stays as it is")
	}
	db, env, err := connectPlain(ctx, target)
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // everything is committed by then
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // as above
	var alone bool
	if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock(hashtextextended('postrider restore', 0))`).Scan(&alone); err != nil {
		return nil, err
	}
	if !alone {
		return nil, campaign.Errorf(campaign.CodeConflict, "another process is restoring into this database: let it end")
	}
	if err := clearPostgres(ctx, db, b); err != nil {
		return nil, err
	}
	_, err = runTool(ctx, env, "pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-password",
		"--dbname=", path)
	if err != nil {
		return nil, err
	}
	return finishRestore(ctx, target, b.reason())
}

// clearPostgres removes the tables of a ledger that holds nothing, as any
// command makes them in a new database, and leaves the mark.
func clearPostgres(ctx context.Context, db *sql.DB, b *Backup) error {
	there, err := lookIntoPostgres(ctx, db)
	if err != nil {
		return err
	}
	t, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer t.Rollback() //nolint:errcheck // after a commit it does nothing
	if there.There {
		if _, err := t.ExecContext(ctx, `SET LOCAL lock_timeout = '10s'`); err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, `LOCK TABLE ledger, campaigns, lists, opt_outs IN ACCESS EXCLUSIVE MODE`); err != nil {
			return fmt.Errorf("another process is at work on the ledger in this database: stop it first: %w", err)
		}
		if there, err = countContents(ctx, t); err != nil {
			return err
		}
		if !there.Empty() {
			return errOccupied(there, "make an empty database (createdb) and name it in POSTRIDER_DATABASE_URL")
		}
		tables, err := ownTables("postgres")
		if err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, `DROP TABLE IF EXISTS `+strings.Join(tables, ", ")); err != nil {
			return fmt.Errorf("removing the tables of an empty ledger: %w", err)
		}
	}
	for _, statement := range []string{
		`CREATE TABLE IF NOT EXISTS ` + restoringTable + ` (reason TEXT NOT NULL)`,
		`DELETE FROM ` + restoringTable,
	} {
		if _, err := t.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("beginning the restore: %w", err)
		}
	}
	if _, err := t.ExecContext(ctx, `INSERT INTO `+restoringTable+` (reason) VALUES ($1)`, b.reason()); err != nil {
		return fmt.Errorf("beginning the restore: %w", err)
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("beginning the restore: %w", err)
	}
	return nil
}

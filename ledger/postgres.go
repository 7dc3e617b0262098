package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/postrider/postrider/campaign"
)

// postgresStore keeps the ledger in PostgreSQL, shared by many machines.
type postgresStore struct{ db *sql.DB }

func openPostgres(ctx context.Context, url string) (*postgresStore, error) {
	cfg, err := parsePostgres(url)
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(endSleepers))
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(8)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := pingPostgres(ctx, db, cfg); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := migratePostgres(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &postgresStore{db: db}, nil
}

// endSleepers makes the server end the session of a process that is stopped in
// the middle of a write (a machine put to sleep, a container that is frozen): it
// would hold its locks for as long. Ours are never silent inside a transaction
// for longer than it takes to hand over a chunk. Poolers in between refuse it as
// a parameter of the connection.
func endSleepers(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SET idle_in_transaction_session_timeout = '10s'`)
	return err
}

func parsePostgres(url string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		// pgx repeats the address, and with it perhaps the password.
		return nil, errors.New("POSTRIDER_DATABASE_URL is not a postgres:// address that can be read: write postgres://USER:PASSWORD@HOST:5432/DATABASE")
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	return cfg, nil
}

func pingPostgres(ctx context.Context, db *sql.DB, cfg *pgx.ConnConfig) error {
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("PostgreSQL at %s:%d does not answer: is it running, and do user and database exist? %w", cfg.Host, cfg.Port, withoutAddress(err))
	}
	return nil
}

// withoutAddress drops pgx's rendering of the connection string from an error.
func withoutAddress(err error) error {
	var ce *pgconn.ConnectError
	if errors.As(err, &ce) {
		return ce.Unwrap()
	}
	return err
}

func migratePostgres(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations/postgres")
	if err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrating the ledger: %w", err)
	}
	return nil
}

func (s *postgresStore) read() *sql.DB     { return s.db }
func (s *postgresStore) kind() string      { return "postgres" }
func (s *postgresStore) forUpdate() string { return " FOR UPDATE" }
func (s *postgresStore) close() error      { return s.db.Close() }

func (s *postgresStore) now(ctx context.Context, t *tx) (time.Time, error) {
	var q execer = s.db
	if t != nil {
		q = t.exec
	}
	var now time.Time
	if err := q.QueryRowContext(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return time.Time{}, fmt.Errorf("reading the database's clock: %w", err)
	}
	return now, nil
}

func (s *postgresStore) serialise(ctx context.Context, t *tx, key string) error {
	_, err := t.exec.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, key)
	return err
}

// restoringTable stands in a database while a ledger is restored into it, and
// holds the reason of its quarantine: Restore and the ledger's first Open
// together are one step that a crash cannot halve.
const restoringTable = "postrider_restoring"

func (s *postgresStore) home(ctx context.Context) (home, string, error) {
	var (
		oid       int64
		restoring bool
	)
	err := s.db.QueryRowContext(ctx, `SELECT oid::bigint, to_regclass('`+restoringTable+`') IS NOT NULL FROM pg_database WHERE datname = current_database()`).Scan(&oid, &restoring)
	if err != nil {
		return "", "", err
	}
	here := home(fmt.Sprintf("database %d", oid))
	var cluster string
	err = s.db.QueryRowContext(ctx, `SELECT system_identifier::text FROM pg_control_system()`).Scan(&cluster)
	var pe *pgconn.PgError
	switch {
	case err == nil:
		here += home(", cluster " + cluster)
	case !errors.As(err, &pe) || pe.Code != "42501" && pe.Code != "42883" && pe.Code != "0A000":
		return "", "", err // else: not allowed to us, or not there
	}
	reason := ""
	if restoring {
		err := s.db.QueryRowContext(ctx, `SELECT reason FROM `+restoringTable).Scan(&reason)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return "", "", err
		}
	}
	return here, reason, nil
}

func (s *postgresStore) describe(ctx context.Context) (string, error) {
	var v string
	err := s.db.QueryRowContext(ctx, `SHOW server_version`).Scan(&v)
	return "PostgreSQL " + v, err
}

// writeLoosely is write: what a crash of PostgreSQL alone would forget, its
// clients would still believe.
func (s *postgresStore) writeLoosely(ctx context.Context, fn func(tx *tx) error) error {
	return s.write(ctx, fn)
}

// write runs fn in a transaction, and again when PostgreSQL found it in a
// deadlock or a serialisation conflict.
func (s *postgresStore) write(ctx context.Context, fn func(tx *tx) error) error {
	for try := 1; ; try++ {
		err := s.writeOnce(ctx, fn)
		var pe *pgconn.PgError
		if err == nil || try == 5 || !errors.As(err, &pe) || (pe.Code != "40001" && pe.Code != "40P01") {
			return err
		}
		select {
		case <-time.After(time.Duration(try)*20*time.Millisecond + rand.N(20*time.Millisecond)):
		case <-ctx.Done():
			return err
		}
	}
}

func (s *postgresStore) writeOnce(ctx context.Context, fn func(tx *tx) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the ledger: %w", err)
	}
	defer conn.Close() //nolint:errcheck // it goes back to the pool
	t, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning to write to the ledger: %w", err)
	}
	defer t.Rollback() //nolint:errcheck // after a commit it does nothing
	if err := fn(&tx{conn: conn, exec: t}); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("committing to the ledger: %w", err)
	}
	return nil
}

// insert copies the rows in.
func (s *postgresStore) insert(ctx context.Context, t *tx, r rows) error {
	names := make([]string, len(r.columns))
	args := make([]any, len(r.columns))
	var differing []any
	for i, c := range r.columns {
		names[i] = c.name
		if c.kind == sameInAll {
			args[i] = c.value
		}
		if c.kind == 0 {
			differing = append(differing, nil)
		}
	}
	err := t.conn.Raw(func(dc any) error {
		_, err := dc.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{r.table}, names,
			pgx.CopyFromSlice(r.n, func(i int) ([]any, error) {
				r.each(i, differing)
				next := 0
				for k, c := range r.columns {
					switch c.kind {
					case countingUp:
						args[k] = c.first + int64(i)
					case sameInAll:
					default:
						args[k] = differing[next]
						next++
					}
				}
				return args, nil
			}))
		return err
	})
	if err != nil {
		return fmt.Errorf("copying into %s: %w", r.table, err)
	}
	return nil
}

// barred asks kind by kind: so the planner has no choice but the index, whatever
// it knows of the table.
func (s *postgresStore) barred(ctx context.Context, t *tx, keys []campaign.OptOutKey) (map[campaign.OptOutKey]bool, error) {
	found := map[campaign.OptOutKey]bool{}
	for _, kind := range campaign.EveryOptOutKind() {
		var ask []string
		for _, k := range keys {
			if k.Kind == kind {
				ask = append(ask, k.Key)
			}
		}
		if len(ask) == 0 {
			continue
		}
		rows, err := t.exec.QueryContext(ctx, `SELECT key FROM opt_outs WHERE kind = $1 AND key = ANY($2)`, kind.String(), ask)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			k := campaign.OptOutKey{Kind: kind}
			if err := rows.Scan(&k.Key); err != nil {
				return nil, err
			}
			found[k] = true
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return found, nil
}

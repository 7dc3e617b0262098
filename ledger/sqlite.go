package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // pure Go, so that one static binary holds it
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/postrider/postrider/campaign"
)

//go:embed migrations
var migrations embed.FS

// sqliteStore keeps the ledger in one file: WAL, synchronous FULL, and a
// single writer that commits waiting writes together, each in a savepoint of
// its own, so that many workers cost few fsyncs.
type sqliteStore struct {
	path    string
	readers *sql.DB
	writer  *sql.Conn
	pool    *sql.DB // the writer's pool, of one connection
	stmts   map[string]*sql.Stmt
	loose   bool // how the writer commits just now, see setSync

	queue chan *sqliteWrite
	done  chan struct{}
	once  sync.Once
	quit  chan struct{}
}

type sqliteWrite struct {
	ctx    context.Context
	fn     func(tx *tx) error
	loose  bool // may be lost when the machine, not the process, dies
	result chan error
}

// maxGroup is how many waiting writes one commit takes along at most.
const maxGroup = 64

func openSQLite(ctx context.Context, path string) (*sqliteStore, error) {
	path = strings.TrimPrefix(path, "sqlite://")
	if dir := filepath.Dir(path); dir != "." {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("the database's folder cannot be made: %w", err)
		}
	}
	dsn := func(more string) string {
		return "file:" + (&url.URL{Path: path}).EscapedPath() +
			"?_pragma=page_size(8192)&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-16000)&_pragma=temp_store(MEMORY)" + more
	}
	pool, err := sql.Open("sqlite", dsn("&_pragma=wal_autocheckpoint(8000)"))
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(1)
	if err := migrateSQLite(ctx, pool, path); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	// The ledger holds personal data: only its owner may read it.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	writer, err := pool.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	readers, err := sql.Open("sqlite", dsn("&_pragma=query_only(1)"))
	if err != nil {
		return nil, errors.Join(err, writer.Close(), pool.Close())
	}
	readers.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	s := &sqliteStore{
		path: path, readers: readers, writer: writer, pool: pool, stmts: map[string]*sql.Stmt{},
		queue: make(chan *sqliteWrite, maxGroup), done: make(chan struct{}), quit: make(chan struct{}),
	}
	go s.writeLoop()
	return s, nil
}

// migrateSQLite brings the schema up to date under a lock file, since two
// processes may start together.
func migrateSQLite(ctx context.Context, db *sql.DB, path string) error {
	lock := flock.New(path+".migrate", flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return fmt.Errorf("waiting for another process that migrates the ledger: %w", err)
	}
	defer lock.Unlock() //nolint:errcheck // the lock ends with the file handle in any case
	files, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return describeSQLite(err, path)
	}
	return nil
}

func describeSQLite(err error, path string) error {
	if strings.Contains(err.Error(), "not a database") {
		return fmt.Errorf("%s is not a SQLite database: name another file in POSTRIDER_DATABASE_URL: %w", filepath.Base(path), err)
	}
	if diskFull(err) {
		return fmt.Errorf("the disk that is to hold the ledger (%s) is full, or the file may not grow: make room there: %w", path, err)
	}
	return fmt.Errorf("migrating the ledger: %w", err)
}

func (s *sqliteStore) read() *sql.DB     { return s.readers }
func (s *sqliteStore) kind() string      { return "sqlite" }
func (s *sqliteStore) forUpdate() string { return "" }

func (s *sqliteStore) now(context.Context, *tx) (time.Time, error) { return time.Now(), nil }

// serialise has nothing to do: there is one writer, over all processes.
func (s *sqliteStore) serialise(context.Context, *tx, string) error { return nil }

func (s *sqliteStore) home(context.Context) (home, string, error) {
	here, err := fileHome(s.path)
	return here, "", err
}

func (s *sqliteStore) describe(ctx context.Context) (string, error) {
	var v string
	err := s.readers.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&v)
	return "SQLite " + v, err
}

func (s *sqliteStore) close() error {
	s.once.Do(func() { close(s.quit) })
	<-s.done
	for _, st := range s.stmts {
		st.Close() //nolint:errcheck // closing the connection below frees it in any case
	}
	return errors.Join(s.writer.Close(), s.pool.Close(), s.readers.Close())
}

// ErrClosed is returned by a write on a ledger that was closed.
var ErrClosed = errors.New("the ledger is closed")

func (s *sqliteStore) write(ctx context.Context, fn func(tx *tx) error) error {
	return s.enqueue(&sqliteWrite{ctx: ctx, fn: fn, result: make(chan error, 1)})
}

func (s *sqliteStore) writeLoosely(ctx context.Context, fn func(tx *tx) error) error {
	return s.enqueue(&sqliteWrite{ctx: ctx, fn: fn, loose: true, result: make(chan error, 1)})
}

// enqueue hands a write to the writer and waits for its result.
func (s *sqliteStore) enqueue(w *sqliteWrite) error {
	ctx := w.ctx
	select {
	case s.queue <- w:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.quit:
		return ErrClosed
	}
	select {
	case err := <-w.result:
		return err
	case <-s.done:
		// The loop ended; it may have answered just before.
		select {
		case err := <-w.result:
			return err
		default:
			return ErrClosed
		}
	}
}

// writeLoop takes writes from the queue and commits those that wait together.
func (s *sqliteStore) writeLoop() {
	defer close(s.done)
	for {
		var group []*sqliteWrite
		select {
		case w := <-s.queue:
			group = append(group, w)
		case <-s.quit:
			return
		}
	fill:
		for len(group) < maxGroup {
			select {
			case w := <-s.queue:
				group = append(group, w)
			default:
				break fill
			}
		}
		s.commit(group)
	}
}

// commit runs a group in one transaction. A write that fails is rolled back
// alone; when the commit itself fails, every write of the group fails.
func (s *sqliteStore) commit(group []*sqliteWrite) {
	ctx := context.Background()
	loose := true
	for _, w := range group {
		loose = loose && w.loose
	}
	err := s.setSync(ctx, loose)
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		for _, w := range group {
			w.result <- s.explain(err)
		}
		return
	}
	t := &tx{conn: s.writer, exec: uncancelled{s}}
	results := make([]error, len(group))
	end := "COMMIT"
	for i, w := range group {
		if err := w.ctx.Err(); err != nil {
			results[i] = err
			continue
		}
		var whole bool
		if results[i], whole = s.savepoint(ctx, t, w.fn); !whole {
			for j := range group {
				if j < i && results[j] != nil {
					continue // it failed by itself
				}
				results[j] = fmt.Errorf("writing to the ledger: %w", results[i])
			}
			end = "ROLLBACK"
			break
		}
	}
	if err := s.do(ctx, end); err != nil && end == "COMMIT" {
		// After a full disk and its like SQLite has rolled back by itself.
		if _, rerr := s.writer.ExecContext(ctx, "ROLLBACK"); rerr != nil && !takesAllDown(err) {
			err = errors.Join(err, rerr)
		}
		for i := range results {
			if results[i] == nil {
				results[i] = fmt.Errorf("committing to the ledger: %w", err)
			}
		}
	}
	for i, w := range group {
		w.result <- s.explain(results[i])
	}
}

// explain says what to do about a disk that takes no more.
func (s *sqliteStore) explain(err error) error {
	if !diskFull(err) {
		return err
	}
	return fmt.Errorf("the disk that holds the ledger (%s) is full, or the file may not grow: make room there; what is recorded already is safe: %w", s.path, err)
}

// diskFull reports an error of a disk without room. A quota and ulimit -f show
// as a write that failed.
func diskFull(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Code()&0xff == sqlite3.SQLITE_FULL || e.Code() == sqlite3.SQLITE_IOERR_WRITE || e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE
}

// uncancelled runs the statements of a write without their caller's
// cancellation, which is asked for between writes: SQLite rolls the whole
// transaction back when a statement is interrupted, and with it the writes of
// others that are committed together with this one, and the driver gives the
// connection up.
//
// Statements of a fixed text are prepared once: the writer runs few of them,
// and very often.
type uncancelled struct{ s *sqliteStore }

// maxPrepared bounds the statements that are kept, and preparedArgs tells
// those of a fixed text from lists of ids.
const (
	maxPrepared  = 256
	preparedArgs = 16
)

func (u uncancelled) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx = context.WithoutCancel(ctx)
	if st := u.prepared(ctx, query, len(args)); st != nil {
		return st.ExecContext(ctx, args...)
	}
	return u.s.writer.ExecContext(ctx, query, args...)
}

func (u uncancelled) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx = context.WithoutCancel(ctx)
	if st := u.prepared(ctx, query, len(args)); st != nil {
		return st.QueryContext(ctx, args...)
	}
	return u.s.writer.QueryContext(ctx, query, args...)
}

func (u uncancelled) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	ctx = context.WithoutCancel(ctx)
	if st := u.prepared(ctx, query, len(args)); st != nil {
		return st.QueryRowContext(ctx, args...)
	}
	return u.s.writer.QueryRowContext(ctx, query, args...)
}

// do runs a statement without parameters on the writer.
func (s *sqliteStore) do(ctx context.Context, query string) error {
	_, err := uncancelled{s}.ExecContext(ctx, query)
	return err
}

// prepared returns nil for what is better run as it is; an error shows there.
func (u uncancelled) prepared(ctx context.Context, query string, args int) *sql.Stmt {
	if _, there := u.s.stmts[query]; !there && (args > preparedArgs || len(u.s.stmts) >= maxPrepared) {
		return nil
	}
	st, err := u.s.prepared(ctx, query)
	if err != nil {
		return nil
	}
	return st
}

// takesAllDown reports an error after which SQLite may have rolled back the
// whole transaction, not only the savepoint (sqlite.org/lang_transaction.html,
// "Response To Errors Within A Transaction").
func takesAllDown(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY,
		sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_CORRUPT:
		return true
	}
	return false
}

// setSync makes the next commit wait for the disk, or not. A later commit that
// does wait makes all earlier ones safe with it: they stand before it in the
// same log.
func (s *sqliteStore) setSync(ctx context.Context, loose bool) error {
	if loose == s.loose {
		return nil
	}
	pragma := "PRAGMA synchronous = FULL"
	if loose {
		pragma = "PRAGMA synchronous = NORMAL"
	}
	if _, err := s.writer.ExecContext(ctx, pragma); err != nil {
		return fmt.Errorf("beginning to write to the ledger: %w", err)
	}
	s.loose = loose
	return nil
}

func (s *sqliteStore) begin(ctx context.Context) error {
	if err := s.do(ctx, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("beginning to write to the ledger: %w", err)
	}
	return nil
}

// savepoint runs one write of a group. When it fails it is rolled back alone;
// whole is false when that was not possible, so that the group must fail.
func (s *sqliteStore) savepoint(ctx context.Context, t *tx, fn func(tx *tx) error) (err error, whole bool) {
	if err := s.do(ctx, "SAVEPOINT w"); err != nil {
		return err, false
	}
	if err = protect(t, fn); err != nil {
		// Without the savepoint the transaction has ended under us, whatever the
		// error's code says.
		if rerr := s.do(ctx, "ROLLBACK TO w"); rerr != nil {
			return errors.Join(err, rerr), false
		}
	}
	if rerr := s.do(ctx, "RELEASE w"); rerr != nil {
		return errors.Join(err, rerr), false
	}
	return err, !takesAllDown(err)
}

// protect turns a panic of a write into its error: it must not end the writer.
func protect(t *tx, fn func(tx *tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("writing to the ledger: panic: %v", p)
		}
	}()
	return fn(t)
}

// prepared keeps the statements of the hot path.
func (s *sqliteStore) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if st, ok := s.stmts[query]; ok {
		return st, nil
	}
	st, err := s.writer.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.stmts[query] = st
	return st, nil
}

// insertRows is how many rows one INSERT carries; more gains nothing
// (docs/benchmarks.md).
const insertRows = 100

func (s *sqliteStore) insert(ctx context.Context, t *tx, r rows) error {
	ctx = context.WithoutCancel(ctx) // see uncancelled
	var shared, counting []column
	differing := 0
	for _, c := range r.columns {
		switch c.kind {
		case sameInAll:
			shared = append(shared, c)
		case countingUp:
			counting = append(counting, c)
		default:
			differing++
		}
	}
	head := len(shared) + len(counting)
	args := make([]any, head+insertRows*differing)
	for i, c := range shared {
		args[i] = c.value
	}
	for start := 0; start < r.n; start += insertRows {
		n := min(insertRows, r.n-start)
		for i, c := range counting {
			args[len(shared)+i] = c.first + int64(start)
		}
		for i := range n {
			r.each(start+i, args[head+i*differing:head+(i+1)*differing])
		}
		query := insertSQL(r.table, r.columns, n)
		st, err := s.prepared(ctx, query)
		if err != nil {
			return err
		}
		if _, err := st.ExecContext(ctx, args[:head+n*differing]...); err != nil {
			return fmt.Errorf("inserting into %s: %w", r.table, err)
		}
		if n < insertRows { // an odd size is rarely seen again
			delete(s.stmts, query)
			st.Close() //nolint:errcheck // its work is done
		}
	}
	return nil
}

// insertSQL writes an INSERT of n rows. Its parameters are the shared values,
// the first values of the counting columns, and then row by row what differs.
// None of them is numbered: SQLite finds a numbered one by walking all others.
func insertSQL(table string, columns []column, n int) string {
	var names, values, shared, counting []string
	differing := 1 // column1 of the rows is their number
	for _, c := range columns {
		names = append(names, c.name)
		switch c.kind {
		case sameInAll:
			shared = append(shared, "? AS "+c.name)
			values = append(values, "s."+c.name)
		case countingUp:
			counting = append(counting, "? AS "+c.name)
			values = append(values, "s."+c.name+" + r.column1")
		default:
			differing++
			values = append(values, "r.column"+strconv.Itoa(differing))
		}
	}
	var b strings.Builder
	b.WriteString("INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") SELECT " + strings.Join(values, ", ") +
		" FROM (SELECT " + strings.Join(append(shared, counting...), ", ") + ") AS s CROSS JOIN (VALUES ")
	row := strings.Repeat(",?", differing-1) + ")"
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		b.WriteString(strconv.Itoa(i))
		b.WriteString(row)
	}
	b.WriteString(") AS r")
	return b.String()
}

// askedKeys is how many keys one statement of barred asks for.
const askedKeys = 100

// barred asks for the keys of each kind in lists of one length, so that the
// statement is prepared once.
func (s *sqliteStore) barred(ctx context.Context, _ *tx, keys []campaign.OptOutKey) (map[campaign.OptOutKey]bool, error) {
	ctx = context.WithoutCancel(ctx) // see uncancelled
	// Not numbered: see insertSQL.
	st, err := s.prepared(ctx, `SELECT key FROM opt_outs WHERE kind = ? AND key IN (`+strings.Repeat("?,", askedKeys-1)+`?)`)
	if err != nil {
		return nil, err
	}
	found := map[campaign.OptOutKey]bool{}
	ask := func(kind campaign.OptOutKind, args []any) error {
		for i := len(args); i <= askedKeys; i++ {
			args = append(args, args[len(args)-1])
		}
		rows, err := st.QueryContext(ctx, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			k := campaign.OptOutKey{Kind: kind}
			if err := rows.Scan(&k.Key); err != nil {
				return err
			}
			found[k] = true
		}
		return rows.Err()
	}
	args := make([]any, 0, askedKeys+1)
	for _, kind := range campaign.EveryOptOutKind() {
		args = append(args[:0], kind.String())
		for _, k := range keys {
			if k.Kind != kind {
				continue
			}
			if args = append(args, k.Key); len(args) > askedKeys {
				if err := ask(kind, args); err != nil {
					return nil, err
				}
				args = args[:1]
			}
		}
		if len(args) > 1 {
			if err := ask(kind, args); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

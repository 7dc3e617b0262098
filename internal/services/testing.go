package services

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// startTimeout bounds the start of a server for a test: enough for a machine that
// is busy with other packages' tests.
const startTimeout = 2 * time.Minute

// shared is what the tests of one program have in common. It is the one variable of
// its kind: package testing has no way to hand a value from TestMain to a test.
var shared pool

// pool holds the servers that are shared by the tests of one program.
type pool struct {
	mu        sync.Mutex
	open      bool   // Main is running the tests
	dir       string // "" until the first server
	postgres  *PostgresServer
	broken    error // why there is no PostgreSQL, so that each test says so at once
	databases int
	templates map[string]*template
}

// template is a database that prepared databases are copied from.
type template struct {
	once sync.Once
	name string
	err  error
}

// Option changes what Main does.
type Option func(*options)

type options struct {
	leaks   bool
	ignored []goleak.Option
}

// NoLeaks makes Main fail the program when goroutines are left over after all
// tests have passed and all servers have been stopped. The options name the ones
// to overlook.
func NoLeaks(ignored ...goleak.Option) Option {
	return func(o *options) { o.leaks, o.ignored = true, ignored }
}

// Main runs the tests of a package, stops the servers they shared, removes their
// files and exits. It is the whole of a TestMain.
func Main(m *testing.M, opts ...Option) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	os.Exit(runTests(m.Run, o, &shared))
}

// runTests is Main without the exit: it returns the exit code.
func runTests(run func() int, o options, p *pool) int {
	p.begin()
	code := run()
	if err := p.end(); err != nil {
		fmt.Fprintf(os.Stderr, "services: %v\n", err)
		code = max(code, 1)
	}
	if o.leaks && code == 0 {
		if err := goleak.Find(o.ignored...); err != nil {
			fmt.Fprintf(os.Stderr, "goroutines left over after all tests: %v\n", err)
			code = 1
		}
	}
	return code
}

// Redis starts a Redis server for the test alone, which keeps nothing on disk and
// is stopped when the test ends.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	return RedisWith(t, RedisOptions{})
}

// RedisWith is Redis with options.
func RedisWith(t testing.TB, o RedisOptions) *RedisServer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	r, err := StartRedis(ctx, t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, r.Stop(), r.Log) })
	return r
}

// PostgresAlone starts a PostgreSQL server for the test alone, to be killed and
// restarted at will. It takes a second or two: a test that only needs a database
// asks Postgres for one. The server is stopped when the test ends.
func PostgresAlone(t testing.TB, o PostgresOptions) *PostgresServer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	p, err := StartPostgres(ctx, filepath.Join(t.TempDir(), "postgres"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, p.Stop(), p.Log) })
	return p
}

// Postgres makes an empty database for the test alone and returns its URL. All
// tests of a program share one server, which starts with the first of them and
// which nobody may kill. The database is dropped when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	return shared.database(t, "template0")
}

// PostgresPrepared is Postgres for a database that prepare has filled, say with the
// migrations. prepare runs once for each name in a program, and must have closed its
// connections when it returns; the tests get copies.
func PostgresPrepared(t testing.TB, name string, prepare func(ctx context.Context, url string) error) string {
	t.Helper()
	return shared.database(t, shared.template(t, name, prepare))
}

// finish reports a server that did not stop, and shows the log of a failed test's server.
func finish(t testing.TB, err error, log func() string) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("the server's log ends:\n%s", log())
	}
}

func (p *pool) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = true
}

// end stops what the tests shared and removes its files.
func (p *pool) end() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = false
	var err error
	if p.postgres != nil {
		err = p.postgres.Stop()
		p.postgres = nil
	}
	if p.dir != "" {
		err = errors.Join(err, os.RemoveAll(p.dir))
		p.dir = ""
	}
	p.templates = nil
	return err
}

// server is the shared server, started by the first who asks.
func (p *pool) server(ctx context.Context) (*PostgresServer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return nil, errors.New("nobody would stop the server after the tests: add `func TestMain(m *testing.M) { services.Main(m) }` to the package")
	}
	if p.postgres != nil || p.broken != nil {
		return p.postgres, p.broken
	}
	if p.dir, p.broken = os.MkdirTemp("", "postrider-services-"); p.broken != nil {
		return nil, p.broken
	}
	p.postgres, p.broken = StartPostgres(ctx, filepath.Join(p.dir, "postgres"), PostgresOptions{})
	return p.postgres, p.broken
}

// nextName is a database name that was not given out before.
func (p *pool) nextName(kind string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.databases++
	return fmt.Sprintf("%s_%d", kind, p.databases)
}

// database makes a copy of a database for one test.
func (p *pool) database(t testing.TB, from string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), startTimeout)
	defer cancel()
	server, err := p.server(ctx)
	if err != nil {
		t.Fatal(err)
	}
	name := p.nextName("test")
	url, err := server.CopyDatabase(ctx, name, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		finish(t, server.DropDatabase(ctx, name), server.Log)
	})
	return url
}

// template is the name of the prepared database, made by the first who asks.
func (p *pool) template(t testing.TB, name string, prepare func(context.Context, string) error) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), startTimeout)
	defer cancel()
	server, err := p.server(ctx)
	if err != nil {
		t.Fatal(err)
	}

	p.mu.Lock()
	if p.templates == nil {
		p.templates = map[string]*template{}
	}
	tpl := p.templates[name]
	if tpl == nil {
		tpl = &template{}
		p.templates[name] = tpl
	}
	p.mu.Unlock()

	tpl.once.Do(func() {
		tpl.name = p.nextName("template")
		var url string
		if url, tpl.err = server.NewDatabase(ctx, tpl.name); tpl.err == nil {
			tpl.err = prepare(ctx, url)
		}
	})
	if tpl.err != nil {
		t.Fatalf("prepare the database %q: %v", name, tpl.err)
	}
	return tpl.name
}

package services

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// postgresSuperuser owns every database of a test server.
const postgresSuperuser = "postrider"

// PostgresOptions says how a PostgreSQL server keeps its data. The zero value is
// for tests: committed data outlives a killed server, but not a power cut.
type PostgresOptions struct {
	// Fsync makes the server wait for the disk at every commit, as in production:
	// for benchmarks. Default: it hands its writes to the operating system.
	Fsync bool
	// Settings are further settings of postgresql.conf, by their names there, such
	// as {"shared_buffers": "256MB"}. They win over all others.
	Settings map[string]string
}

// PostgresServer is a PostgreSQL server of ours on 127.0.0.1, which trusts every
// connection from there. Its methods may be called from several goroutines.
type PostgresServer struct {
	// Addr is host:port. It stays the same over Restart.
	Addr string

	process *process
}

// StartPostgres makes a cluster in the folder dir, which must be empty or missing,
// starts a server on it and returns when it takes connections. ctx bounds the start
// alone. The caller must call Stop in the end.
//
// PostgreSQL refuses to run as root. For root the server runs as the user postgres,
// else nobody, who is given the folder; folders of root above it and below the
// folder for temporary files are opened for passing through.
func StartPostgres(ctx context.Context, dir string, o PostgresOptions) (*PostgresServer, error) {
	initdb, postgres, err := findPostgres()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("postgres folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make postgres folder: %w", err)
	}
	credential, err := postgresUser(os.Geteuid())
	if err != nil {
		return nil, err
	}
	if credential != nil {
		if err := handOver(dir, credential); err != nil {
			return nil, err
		}
	}
	if err := initCluster(ctx, initdb, dir, credential); err != nil {
		return nil, err
	}

	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"max_connections":         "200",
		"shared_buffers":          "128MB",
		"max_wal_size":            "2GB",
		"checkpoint_timeout":      "30min",
		"jit":                     "off",
		"timezone":                "UTC",
		"log_checkpoints":         "off",
		"fsync":                   "off",
		"full_page_writes":        "off",
		// A commit is always handed to the operating system before it is answered, so
		// that Kill loses nothing that was committed.
		"synchronous_commit": "on",
	}
	if o.Fsync {
		settings["fsync"], settings["full_page_writes"] = "on", "on"
	}
	maps.Copy(settings, o.Settings)

	p := &process{
		name:    "postgres",
		path:    postgres,
		env:     serverEnv(),
		user:    credential,
		ready:   "database system is ready to accept connections",
		term:    syscall.SIGINT, // fast: open connections are ended
		orphan:  syscall.SIGQUIT,
		journal: &journal{},
		args: func(port int) []string {
			args := []string{"-D", dir, "-p", strconv.Itoa(port)}
			for _, name := range slices.Sorted(maps.Keys(settings)) {
				args = append(args, "-c", name+"="+settings[name])
			}
			return args
		},
	}
	if err := p.startOnFreePort(ctx); err != nil {
		return nil, err
	}
	return &PostgresServer{
		Addr:    net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)),
		process: p,
	}, nil
}

// URL is the address of a database on the server, as POSTRIDER_DATABASE_URL takes
// it. The database "postgres" is always there.
func (p *PostgresServer) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(postgresSuperuser),
		Host:     p.Addr,
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// NewDatabase makes an empty database and returns its URL.
func (p *PostgresServer) NewDatabase(ctx context.Context, name string) (string, error) {
	return p.CopyDatabase(ctx, name, "template0")
}

// CopyDatabase makes a database that is a copy of another, which nobody may be
// connected to meanwhile, and returns its URL. A copy of a migrated database is
// quicker than migrating a new one.
func (p *PostgresServer) CopyDatabase(ctx context.Context, name, template string) (string, error) {
	err := p.exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE "+pgx.Identifier{template}.Sanitize())
	if err != nil {
		return "", fmt.Errorf("create database %s from %s: %w", name, template, err)
	}
	return p.URL(name), nil
}

// DropDatabase removes a database and ends the connections to it.
func (p *PostgresServer) DropDatabase(ctx context.Context, name string) error {
	if err := p.exec(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

// Stop ends the server in good order, and with it every connection. Stopping a
// server that does not run is no error.
func (p *PostgresServer) Stop() error { return p.process.stop() }

// Kill ends the server and its backends with SIGKILL and returns when all are gone.
func (p *PostgresServer) Kill() error { return p.process.kill() }

// Restart starts the server again on the same port and folder, after a Stop in
// good order when it is running. It returns when recovery is done and the server
// takes connections.
func (p *PostgresServer) Restart() error { return p.process.restart() }

// Pause stops the server and its backends in their tracks (SIGSTOP): connections
// stay open, and nobody answers.
func (p *PostgresServer) Pause() error { return p.process.pause() }

// Resume lets a paused server go on.
func (p *PostgresServer) Resume() error { return p.process.resume() }

// Log is the last lines of the server's log, for messages of failing tests.
func (p *PostgresServer) Log() string { return p.process.journal.String() }

// exec runs one statement on the database that is always there.
func (p *PostgresServer) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// postgresUser is the user that a server started by euid runs as; nil stands for
// euid itself.
func postgresUser(euid int) (*syscall.Credential, error) {
	if euid != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user id of %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("group id of %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody: run as another user")
}

// handOver gives dir to the user and lets that user reach it.
func handOver(dir string, to *syscall.Credential) error {
	if err := os.Chown(dir, int(to.Uid), int(to.Gid)); err != nil {
		return fmt.Errorf("give the postgres folder to its user: %w", err)
	}
	temp := filepath.Clean(os.TempDir()) + string(filepath.Separator)
	for above := filepath.Dir(dir); above != filepath.Dir(above); above = filepath.Dir(above) {
		info, err := os.Stat(above)
		if err != nil {
			return fmt.Errorf("look at a folder above the postgres folder: %w", err)
		}
		if info.Mode().Perm()&0o001 != 0 {
			continue
		}
		if !strings.HasPrefix(above, temp) {
			return fmt.Errorf("%s may not be entered by others, so PostgreSQL, which does not run as root, cannot reach its folder below: %w; choose a folder below %s", above, fs.ErrPermission, temp)
		}
		if err := os.Chmod(above, info.Mode().Perm()|0o111); err != nil {
			return fmt.Errorf("open a folder above the postgres folder: %w", err)
		}
	}
	return nil
}

// initCluster runs initdb on an empty folder.
func initCluster(ctx context.Context, initdb, dir string, as *syscall.Credential) error {
	locale := "C.UTF-8"
	if runtime.GOOS == "darwin" {
		locale = "en_US.UTF-8" // macOS has no C.UTF-8
	}
	cmd := exec.CommandContext(ctx, initdb,
		"-D", dir, "-U", postgresSuperuser, "--auth=trust", "--encoding=UTF8", "--locale="+locale,
		"--no-sync", "--no-instructions")
	cmd.Env = serverEnv()
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb in %s: %w:\n%s", dir, err, out)
	}
	return nil
}

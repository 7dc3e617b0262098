package services

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// RedisOptions says how a Redis server keeps its data. The zero value keeps
// nothing on disk, evicts nothing and asks for no password.
type RedisOptions struct {
	// AOF makes the server write an append-only file, synced every second, so
	// that its data outlives Kill and Restart. Default: nothing is kept.
	AOF bool
	// Password is what clients must give. Default: none.
	Password string
	// Settings are further settings of redis.conf, by their names there, such as
	// {"maxmemory-policy": "allkeys-lru"}. They win over the ones above.
	Settings map[string]string
}

// RedisServer is a redis-server process of ours on 127.0.0.1. Its methods may be
// called from several goroutines.
type RedisServer struct {
	// Addr is host:port. It stays the same over Restart.
	Addr string

	password string
	process  *process
}

// StartRedis starts redis-server with its files in the folder dir, which is made
// when it is missing, and returns when it takes commands. ctx bounds the start
// alone. The caller must call Stop in the end.
func StartRedis(ctx context.Context, dir string, o RedisOptions) (*RedisServer, error) {
	path, err := findRedis()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("redis folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make redis folder: %w", err)
	}
	settings := map[string]string{
		"bind":                        "127.0.0.1",
		"dir":                         dir,
		"save":                        "",
		"appendonly":                  "no",
		"appendfsync":                 "everysec",
		"maxmemory-policy":            "noeviction",
		"stop-writes-on-bgsave-error": "no",
	}
	if o.AOF {
		settings["appendonly"] = "yes"
	}
	if o.Password != "" {
		settings["requirepass"] = o.Password
	}
	maps.Copy(settings, o.Settings)

	p := &process{
		name:    "redis-server",
		path:    path,
		env:     serverEnv(),
		ready:   "Ready to accept connections",
		term:    syscall.SIGTERM,
		orphan:  syscall.SIGKILL,
		journal: &journal{},
		args: func(port int) []string {
			args := []string{"--port", strconv.Itoa(port)}
			for _, name := range slices.Sorted(maps.Keys(settings)) {
				args = append(args, "--"+name, settings[name])
			}
			return args
		},
	}
	if err := p.startOnFreePort(ctx); err != nil {
		return nil, err
	}
	return &RedisServer{
		Addr:     net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)),
		password: o.Password,
		process:  p,
	}, nil
}

// URL is the server's address as POSTRIDER_REDIS_URL takes it, password included.
func (r *RedisServer) URL() string {
	u := url.URL{Scheme: "redis", Host: r.Addr, Path: "/0"}
	if r.password != "" {
		u.User = url.UserPassword("", r.password)
	}
	return u.String()
}

// Stop ends the server in good order: an append-only file is complete. Stopping a
// server that does not run is no error.
func (r *RedisServer) Stop() error { return r.process.stop() }

// Kill ends the server with SIGKILL and returns when it is gone. What it had not
// handed to the operating system is lost.
func (r *RedisServer) Kill() error { return r.process.kill() }

// Restart starts the server again on the same port and folder, after a Stop in
// good order when it is running. It returns when its data is loaded.
func (r *RedisServer) Restart() error { return r.process.restart() }

// Pause stops the server in its tracks (SIGSTOP): the kernel still takes
// connections for it, and nobody answers.
func (r *RedisServer) Pause() error { return r.process.pause() }

// Resume lets a paused server go on.
func (r *RedisServer) Resume() error { return r.process.resume() }

// Log is the last lines of the server's log, for messages of failing tests.
func (r *RedisServer) Log() string { return r.process.journal.String() }

// serverEnv is the environment the servers run in: nothing of the caller's but
// PATH, so that no PGHOST or locale of a developer changes a test, and English
// messages, which the journal reads.
func serverEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

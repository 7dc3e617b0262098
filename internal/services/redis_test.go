package services

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func redisClient(t *testing.T, r *RedisServer) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	o.MaxRetries = -1
	c := redis.NewClient(o)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestRedisEvictsNothingAndKeepsNothingByDefault(t *testing.T) {
	t.Parallel()
	c := redisClient(t, Redis(t))
	for name, want := range map[string]string{"maxmemory-policy": "noeviction", "appendonly": "no", "save": "", "bind": "127.0.0.1"} {
		got, err := c.ConfigGet(t.Context(), name).Result()
		if err != nil {
			t.Fatal(err)
		}
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestRedisTakesSettingsAndAPassword(t *testing.T) {
	t.Parallel()
	r := RedisWith(t, RedisOptions{Password: "a b:c@d/e", Settings: map[string]string{"maxmemory-policy": "allkeys-lru"}})
	got, err := redisClient(t, r).ConfigGet(t.Context(), "maxmemory-policy").Result()
	if err != nil {
		t.Fatal(err)
	}
	if got["maxmemory-policy"] != "allkeys-lru" {
		t.Errorf("policy is %q", got["maxmemory-policy"])
	}
	stranger := redis.NewClient(&redis.Options{Addr: r.Addr})
	defer stranger.Close()
	if err := stranger.Ping(t.Context()).Err(); err == nil {
		t.Error("a client without the password was let in")
	}
}

func TestRedisWithAOFKeepsItsDataOverKillAndRestart(t *testing.T) {
	t.Parallel()
	r := RedisWith(t, RedisOptions{AOF: true, Settings: map[string]string{"appendfsync": "always"}})
	c := redisClient(t, r)
	if err := c.Set(t.Context(), "campaign", "17", 0).Err(); err != nil {
		t.Fatal(err)
	}
	addr := r.Addr
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Fatal("a killed server answered")
	}
	if err := r.Restart(); err != nil {
		t.Fatal(err)
	}
	if r.Addr != addr {
		t.Errorf("address changed from %s to %s", addr, r.Addr)
	}
	if got, err := c.Get(t.Context(), "campaign").Result(); err != nil || got != "17" {
		t.Errorf("after the restart got %q, %v", got, err)
	}
}

func TestRedisWithoutAOFLosesItsDataOverKillAndRestart(t *testing.T) {
	t.Parallel()
	r := Redis(t)
	c := redisClient(t, r)
	if err := c.Set(t.Context(), "campaign", "17", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := r.Restart(); err != nil {
		t.Fatal(err)
	}
	if n, err := c.DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Errorf("%d keys, %v; want none", n, err)
	}
}

func TestARunningRedisRestarts(t *testing.T) {
	t.Parallel()
	r := RedisWith(t, RedisOptions{AOF: true})
	c := redisClient(t, r)
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.Restart(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAPausedRedisTakesConnectionsButDoesNotAnswer(t *testing.T) {
	t.Parallel()
	r := Redis(t)
	if err := r.Pause(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 7)
	if _, err := conn.Read(answer); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a paused server said %q, %v", answer, err)
	}
	if err := r.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(answer); err != nil || string(answer) != "+PONG\r\n" {
		t.Errorf("after resuming got %q, %v", answer, err)
	}
}

func TestAPausedRedisCanBeStopped(t *testing.T) {
	t.Parallel()
	r := Redis(t)
	if err := r.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(); err != nil {
		t.Errorf("stopping twice: %v", err)
	}
	for what, err := range map[string]error{"kill": r.Kill(), "pause": r.Pause(), "resume": r.Resume()} {
		if err == nil {
			t.Errorf("no error from %s of a stopped server", what)
		}
	}
}

func TestRedisThatEndedByItselfRestarts(t *testing.T) {
	t.Parallel()
	r := Redis(t)
	c := redisClient(t, r)
	exited := r.process.run.exited
	c.ShutdownNoSave(t.Context()) // the answer is a broken connection
	<-exited
	if err := r.Kill(); err == nil {
		t.Error("killed a server that had ended")
	}
	if err := r.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestRedisThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := StartRedis(t.Context(), t.TempDir(), RedisOptions{Settings: map[string]string{"maxmemory-policy": "no-such-policy"}})
	if err == nil {
		t.Fatal("started")
	}
	if want := "no-such-policy"; !containsAll(err.Error(), want, "maxmemory-policy") {
		t.Errorf("the error does not show the server's own words: %v", err)
	}
}

func TestAStartThatIsCancelledLeavesNoServer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := StartRedis(ctx, t.TempDir(), RedisOptions{})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err == nil {
		t.Error("started in spite of a cancelled context")
	}
}

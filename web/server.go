// Package web is what a browser sees: for now asynqmon, the queue's dashboard,
// behind a login of ours.
package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"

	"github.com/hibiken/asynq"
)

// User is the login's user name; the password is configured.
const User = "postrider"

// Root is where the dashboard is mounted.
const Root = "/queues"

// Server serves the dashboard. asynqmon has no login and no protection against
// forged requests (docs/architecture.md): here it has both, and tasks hold ids
// only.
type Server struct {
	Addr     string // host:port
	Password string
	Redis    redis.UniversalClient
	Log      *slog.Logger

	listener net.Listener
	http     *http.Server
}

// Start listens and serves.
func (s *Server) Start() error {
	if s.Password == "" {
		return fmt.Errorf("the dashboard needs a password")
	}
	var err error
	if s.listener, err = net.Listen("tcp", s.Addr); err != nil {
		return fmt.Errorf("the dashboard cannot listen: choose another POSTRIDER_LISTEN: %w", err)
	}
	s.http = &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	go func() {
		if err := s.http.Serve(s.listener); err != nil && err != http.ErrServerClosed {
			s.Log.Error("the dashboard has ended", "error", err)
		}
	}()
	return nil
}

// Address is where the server listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Shutdown ends the server after the requests under way.
func (s *Server) Shutdown(ctx context.Context) error { return s.http.Shutdown(ctx) }

// Handler is the dashboard behind the login.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(Root+"/", asynqmon.New(asynqmon.Options{RootPath: Root, RedisConnOpt: shared{s.Redis}}))
	mux.Handle("/{$}", http.RedirectHandler(Root+"/", http.StatusFound))
	return s.guard(mux)
}

// guard asks for the login, and takes changes only from our own pages.
func (s *Server) guard(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	want := sha256.Sum256([]byte(s.Password))
	return protection.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(password))
		if subtle.ConstantTimeCompare(got[:], want[:])&subtle.ConstantTimeCompare([]byte(user), []byte(User)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="Postrider", charset="UTF-8"`)
			http.Error(w, "a login is needed", http.StatusUnauthorized)
			return
		}
		h := w.Header()
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if !strings.HasPrefix(r.URL.Path, Root+"/static/") {
			h.Set("Cache-Control", "no-store")
		}
		next.ServeHTTP(w, r)
	}))
}

// shared hands asynqmon the connection that the process has already.
type shared struct{ client redis.UniversalClient }

var _ asynq.RedisConnOpt = shared{}

// MakeRedisClient implements asynq.RedisConnOpt.
func (s shared) MakeRedisClient() any { return s.client }

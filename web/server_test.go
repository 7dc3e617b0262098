package web

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/jobs"
)

const password = "correct-horse"

// dashboard serves the handler over an embedded Redis.
func dashboard(t *testing.T) *httptest.Server {
	t.Helper()
	embedded, err := jobs.StartEmbedded()
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewUniversalClient(embedded.Options())
	s := httptest.NewServer((&Server{Password: password, Redis: client, Log: slog.New(slog.DiscardHandler)}).Handler())
	t.Cleanup(func() {
		s.Close()
		client.Close() //nolint:errcheck // the test is over
		embedded.Close()
	})
	return s
}

func ask(t *testing.T, method, url, user, pass string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, pass)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestNothingIsShownWithoutTheLogin(t *testing.T) {
	t.Parallel()
	s := dashboard(t)
	for _, path := range []string{"/", "/queues/", "/queues/api/queues", "/queues/static/js/main.js", "/other"} {
		for _, login := range [][2]string{{"", ""}, {User, ""}, {User, "wrong"}, {"admin", password}, {User, password + "x"}} {
			if code, body := ask(t, http.MethodGet, s.URL+path, login[0], login[1]); code != http.StatusUnauthorized || strings.Contains(body, "queues") {
				t.Errorf("GET %s as %q: %d %q", path, login[0], code, body)
			}
		}
	}
}

func TestTheDashboardAndItsAPIAnswerBehindTheLogin(t *testing.T) {
	t.Parallel()
	s := dashboard(t)
	if code, body := ask(t, http.MethodGet, s.URL+"/", User, password); code != http.StatusOK || !strings.Contains(body, "<!doctype html>") {
		t.Errorf("GET /: %d %.80q", code, body)
	}
	if code, body := ask(t, http.MethodGet, s.URL+"/queues/api/queues", User, password); code != http.StatusOK || !strings.Contains(body, `"queues"`) {
		t.Errorf("GET /queues/api/queues: %d %q", code, body)
	}
}

func TestAnotherSitesPageCannotUseTheLogin(t *testing.T) {
	t.Parallel()
	s := dashboard(t)
	pause := s.URL + "/queues/api/queues/x:pause"
	for _, h := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://elsewhere.example"}} {
		if code, _ := ask(t, http.MethodPost, pause, User, password, h...); code != http.StatusForbidden {
			t.Errorf("POST with %v: %d, want 403", h, code)
		}
	}
}

func TestAServerWithoutAPasswordDoesNotStart(t *testing.T) {
	t.Parallel()
	if err := (&Server{Addr: "127.0.0.1:0"}).Start(); err == nil {
		t.Fatal("it started")
	}
}

func TestAServerStartsAndEnds(t *testing.T) {
	t.Parallel()
	embedded, err := jobs.StartEmbedded()
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close()
	client := redis.NewUniversalClient(embedded.Options())
	defer client.Close()
	s := &Server{Addr: "127.0.0.1:0", Password: password, Redis: client, Log: slog.New(slog.DiscardHandler)}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if code, _ := ask(t, http.MethodGet, "http://"+s.Address()+"/queues/", User, password); code != http.StatusOK {
		t.Errorf("GET /queues/: %d", code)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := http.Get("http://" + s.Address() + "/"); err == nil {
		t.Error("it still answers after Shutdown")
	}
}

package clicksend

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	testUser = "api-user"
	testKey  = "KEY-1F2E3D4C-SECRET"
)

// request is what a test server was sent.
type request struct {
	Method, Path, Query string
	Header              http.Header
	Body                string
}

// provider is a server that gives one answer and keeps what it was sent.
type provider struct {
	status int
	header map[string]string
	body   string

	mu       sync.Mutex // once the server runs
	requests []request
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	p.requests = append(p.requests, request{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header, string(body)})
	status, header, answer := p.status, p.header, p.body
	p.mu.Unlock()
	for k, v := range header {
		w.Header().Set(k, v)
	}
	if status != 0 {
		w.WriteHeader(status)
	}
	_, _ = io.WriteString(w, answer)
}

// answers changes the answer.
func (p *provider) answers(status int, header map[string]string, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.header, p.body = status, header, body
}

// only returns the one request that the server was sent.
func (p *provider) only(t *testing.T) request {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.requests) != 1 {
		t.Fatalf("the server was sent %d requests, want 1", len(p.requests))
	}
	return p.requests[0]
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.requests)
}

// serve starts the handler and a client of it.
func serve(t *testing.T, h http.Handler, change ...func(*Config)) *Client {
	t.Helper()
	return clientOf(t, startServer(t, h)+"/v3", change...)
}

func startServer(t testing.TB, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func clientOf(t *testing.T, base string, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{BaseURL: base, Username: testUser, APIKey: testKey, Timeout: 10 * time.Second}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// example is a body that the documents print (shared/api/examples).
func example(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "examples", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func oneSMS() []SMSMessage {
	return []SMSMessage{{To: "+61411111111", Body: "Hi <Jo> & co", From: "ACME", CustomString: "ref1"}}
}

func sendOne(ctx context.Context, c *Client) error {
	_, err := c.SMS.Send(ctx, oneSMS())
	return err
}

package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a sandbox behind a real socket, and a client with the demo account's
// credentials.
type rig struct {
	t        *testing.T
	s        *Server
	url      string
	clock    *clock
	client   *http.Client
	username string
	apiKey   string
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	c := newClock()
	if o.Clock == nil {
		o.Clock = c.Now
	}
	s := New(o)
	srv := httptest.NewServer(s)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		s.Close()
		client.CloseIdleConnections()
		srv.Close()
	})
	return &rig{t, s, srv.URL, c, client, s.opts.Username, s.opts.APIKey}
}

// as returns the rig with other credentials.
func (r rig) as(username, key string) *rig {
	r.username, r.apiKey = username, key
	return &r
}

// try makes a request; body is marshalled unless it is text or bytes.
func (r *rig) try(method, path string, body any) (*http.Response, []byte, error) {
	r.t.Helper()
	var src io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		src = bytes.NewReader([]byte(b))
	case []byte:
		src = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			r.t.Fatal(err)
		}
		src = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, src)
	if err != nil {
		r.t.Fatal(err)
	}
	req.SetBasicAuth(r.username, r.apiKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := r.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res, text, err
}

type obj = map[string]any

// answer is a decoded envelope.
type answer struct {
	HTTP int    `json:"http_code"`
	Code string `json:"response_code"`
	Msg  string `json:"response_msg"`
	Data any    `json:"data"`
	raw  []byte
	head http.Header
}

func (r *rig) do(method, path string, body any) answer {
	r.t.Helper()
	res, text, err := r.try(method, path, body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	var a answer
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&a); err != nil {
		r.t.Fatalf("%s %s: %v in %q", method, path, err, text)
	}
	if a.HTTP != res.StatusCode {
		r.t.Fatalf("%s %s: http_code %d in an answer with status %d", method, path, a.HTTP, res.StatusCode)
	}
	a.raw, a.head = text, res.Header
	return a
}

func (r *rig) ok(method, path string, body any) answer {
	r.t.Helper()
	a := r.do(method, path, body)
	if a.HTTP != 200 || a.Code != "SUCCESS" {
		r.t.Fatalf("%s %s: %s", method, path, a.raw)
	}
	return a
}

// refused expects an HTTP status.
func (r *rig) refused(code int, method, path string, body any) answer {
	r.t.Helper()
	a := r.do(method, path, body)
	if a.HTTP != code {
		r.t.Fatalf("%s %s: want %d, got %s", method, path, code, a.raw)
	}
	return a
}

func (a answer) get(path ...any) any {
	v := a.Data
	for _, p := range path {
		switch k := p.(type) {
		case string:
			v = v.(map[string]any)[k]
		case int:
			v = v.([]any)[k]
		}
	}
	return v
}

func (a answer) text(path ...any) string { return fmt.Sprint(a.get(path...)) }

// rows returns the rows of a send, price or history answer.
func (a answer) rows() []map[string]any {
	var rows []map[string]any
	for _, name := range []string{"messages", "recipients", "data"} {
		list, ok := a.Data.(map[string]any)[name].([]any)
		if !ok {
			continue
		}
		for _, v := range list {
			rows = append(rows, v.(map[string]any))
		}
	}
	return rows
}

func (a answer) column(name string) []string {
	out := []string{}
	for _, r := range a.rows() {
		out = append(out, fmt.Sprint(r[name]))
	}
	return out
}

func sms1(to, body string, more ...any) obj {
	m := obj{"to": to, "body": body}
	for i := 0; i < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

func messages(m ...obj) obj { return obj{"messages": m} }

func TestAnSMSIsAcceptedChargedAndFoundInTheHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Balance: "1"})
	a := r.ok("POST", "/v3/sms/send", messages(sms1("0412 345 678", "hello", "custom_string", "ref-1", "from", "ACME")))
	row := a.rows()[0]
	if row["to"] != "+61412345678" || row["status"] != "SUCCESS" || row["custom_string"] != "ref-1" || fmt.Sprint(row["message_price"]) != "0.0566" {
		t.Fatalf("row %v", row)
	}
	if got := r.ok("GET", "/v3/account", nil).text("balance"); got != "0.943400" {
		t.Errorf("balance %s", got)
	}
	h := r.ok("GET", "/v3/sms/history", nil).rows()
	if len(h) != 1 || h[0]["message_id"] != row["message_id"] || h[0]["body"] != "hello" || h[0]["custom_string"] != "ref-1" || h[0]["status"] != "Queued" {
		t.Fatalf("history %v", h)
	}
	st := r.s.Stats()
	if st.Accepted != 1 || st.Charged != "0.056600" || st.Requests != 3 {
		t.Errorf("stats %+v", st)
	}
}

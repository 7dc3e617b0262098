package scheduler

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/postrider/postrider/ledger"
)

// The events of a run that somebody may be told of.
const (
	EventFailed  = "failed"  // all its tries went wrong, or its campaign failed
	EventSkipped = "skipped" // it did not take place
	EventPaused  = "paused"  // its campaign stands still
	EventLate    = "late"    // it began late, or waits for long for the run before it
	EventNothing = "nothing" // there was nothing to send
)

// events lists them; defaultEvents are those that are told unless the
// definition says otherwise.
var (
	events        = []string{EventFailed, EventSkipped, EventPaused, EventLate, EventNothing}
	defaultEvents = []string{EventFailed, EventSkipped, EventPaused, EventLate}
)

// wants reports whether somebody is to be told of an event.
func wants(s *ledger.Schedule, event string) bool {
	return (len(s.Alarm.Command) > 0 || s.Alarm.Webhook != "") && slices.Contains(s.Alarm.On, event)
}

// wanted is the event, or "" when nobody is to be told of it.
func wanted(s *ledger.Schedule, event string) string {
	if wants(s, event) {
		return event
	}
	return ""
}

// Event is what an alarm says: the JSON that a command reads from its standard
// input, and a webhook is posted. It has no personal data.
type Event struct {
	// ID is the same each time that one event is told, which may be more than
	// once.
	ID        string    `json:"id"`
	Event     string    `json:"event"`
	Reason    string    `json:"reason"`
	At        time.Time `json:"at"`
	Schedule  string    `json:"schedule"`
	Run       int64     `json:"run"`
	LocalTime string    `json:"local_time"`
	Zone      string    `json:"timezone"`
	DueAt     time.Time `json:"due_at"`
	State     string    `json:"state"` // of the run, now
	Tries     int       `json:"tries"`
	Campaign  int64     `json:"campaign,omitempty"`
}

func eventOf(ledgerID string, a *ledger.Alarm) Event {
	return Event{
		ID: ledgerID + "-" + strconv.FormatInt(a.ID, 10), Event: a.Event, Reason: a.Reason, At: a.At, Schedule: a.Schedule.Name,
		Run: a.Run.ID, LocalTime: a.Run.Local, Zone: a.Schedule.Zone, DueAt: a.Run.DueAt, State: string(a.Run.State), Tries: a.Run.Tries, Campaign: a.Run.Campaign,
	}
}

// The headers of a webhook's request.
const (
	HeaderTimestamp = "Postrider-Timestamp" // unix seconds
	HeaderSignature = "Postrider-Signature" // see Sign
)

// Sign is the value of HeaderSignature: "sha256=" and, in hexadecimal, the
// HMAC-SHA256 under the secret of timestamp, a full stop and body. A receiver
// computes it anew, compares the two in constant time, and refuses a timestamp
// that is more than a few minutes old.
func Sign(secret, timestamp string, body []byte) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(timestamp + "."))
	h.Write(body)
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

// Alarmer tells people of events, by a command or a webhook.
type Alarmer struct {
	// Secret finds the secret that a schedule names, as an environment variable or
	// a file; one of the two is empty.
	Secret func(env, file string) (string, error)
	// Env is the environment that commands get; nothing secret belongs there.
	Env []string
	// Timeout is how long a command or a webhook may take; 30 s when 0.
	Timeout time.Duration
}

func (a *Alarmer) timeout() time.Duration {
	if a.Timeout == 0 {
		return 30 * time.Second
	}
	return a.Timeout
}

// backoffs are the pauses between the tries of one alarm. After the last it is
// given up.
var backoffs = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, 2 * time.Hour}

// alarm sends what is to be sent at this moment.
func (s *Runs) alarm(ctx context.Context) error {
	due, err := s.Ledger.DueAlarms(ctx)
	if err != nil {
		return err
	}
	for i := range due {
		a := &due[i]
		// A sender that dies is waited for as long as both ways may take.
		got, err := s.Ledger.ClaimAlarm(ctx, a, 3*s.Alarms.timeout())
		if err != nil {
			return err
		}
		if !got {
			continue
		}
		problem, wait := "", time.Duration(0)
		if err := s.Alarms.Send(ctx, a.Schedule.Alarm, eventOf(s.Ledger.ID(), a)); err != nil {
			problem = err.Error()
			if a.Tries < len(backoffs) {
				wait = backoffs[a.Tries]
			}
			s.Log.Error("an alarm could not be sent", "schedule", a.Schedule.Name, "run", a.Run.Local, "event", a.Event, "error", err, "again_in", wait)
		}
		record, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		err = s.Ledger.CloseAlarm(record, a, problem, wait)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// Send tells of an event in every way the schedule names.
func (a *Alarmer) Send(ctx context.Context, c ledger.AlarmConfig, e Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("writing the alarm: %w", err)
	}
	var problems []error
	if len(c.Command) > 0 {
		problems = append(problems, a.run(ctx, c.Command, body))
	}
	if c.Webhook != "" {
		problems = append(problems, a.post(ctx, c, body))
	}
	return errors.Join(problems...)
}

// run runs a command without a shell. What it prints goes nowhere: it may be
// anything.
func (a *Alarmer) run(ctx context.Context, argv []string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout())
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = a.Env
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	cmd.Stdin = bytes.NewReader(body)
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("the alarm's command %s did not end within %s", argv[0], a.timeout())
	}
	if err != nil {
		return fmt.Errorf("the alarm's command %s: %w", argv[0], err)
	}
	return nil
}

// post posts to a webhook. It follows no redirect: that would carry the event
// to an address nobody has named.
func (a *Alarmer) post(ctx context.Context, c ledger.AlarmConfig, body []byte) error {
	u, err := checkWebhook(c.Webhook)
	if err != nil {
		return err
	}
	secret, err := a.Secret(c.SecretEnv, c.SecretFile)
	if err != nil {
		return fmt.Errorf("the webhook's secret: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Webhook, bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook's address cannot be used")
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(HeaderTimestamp, timestamp)
	req.Header.Set(HeaderSignature, Sign(secret, timestamp, body))
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		// The address may hold a token: net/http would repeat it.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return fmt.Errorf("the webhook at %s: %w", u.Host, err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("the webhook at %s answered %d: expected 200 to 299", u.Host, res.StatusCode)
	}
	return nil
}

// checkWebhook allows https to anywhere, and http to this machine alone.
func checkWebhook(address string) (*url.URL, error) {
	const expected = "expected https://HOST/..., or http:// to this machine (127.0.0.1, ::1 or localhost), without a name and a password"
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New(expected)
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return nil, errors.New(expected)
	}
	return u, nil
}

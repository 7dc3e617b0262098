package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/scheduler"
)

func failing(context.Context, ledger.Schedule, ledger.Run) (scheduler.Result, error) {
	return scheduler.Result{}, errors.New("no file")
}

func newAlarmer() *scheduler.Alarmer {
	return &scheduler.Alarmer{Env: []string{"PATH=/usr/bin:/bin"},
		Secret: func(env, _ string) (string, error) { return "secret of " + env, nil }}
}

func TestAWebhookIsSignedAndTriedAgainUntilItAnswers(t *testing.T) {
	t.Parallel()
	var bodies []scheduler.Event
	answer := http.StatusBadGateway
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect is followed") }))
	defer elsewhere.Close()
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if got, want := r.Header.Get("Postrider-Signature"), scheduler.Sign("secret of ALARM_SECRET", r.Header.Get("Postrider-Timestamp"), body); got != want {
			t.Errorf("the signature is %s, want %s", got, want)
		}
		var e scheduler.Event
		if err := json.Unmarshal(body, &e); err != nil {
			t.Error(err)
		}
		bodies = append(bodies, e)
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(answer)
	}))
	defer hook.Close()
	d := newDesk(t, failing)
	d.runs.Alarms = newAlarmer()
	s := d.schedule(func(n *ledger.NewSchedule) {
		n.Cron, n.Tries = "0 10 * * *", 1
		n.Alarm = ledger.AlarmConfig{Webhook: hook.URL + "/token", SecretEnv: "ALARM_SECRET", On: []string{"failed"}}
	})
	d.at("10:00:00")
	d.at("10:00:29")
	answer = http.StatusTemporaryRedirect
	d.at("10:00:30")
	answer = http.StatusNoContent
	d.at("10:02:30")
	d.at("23:00:00")
	if len(bodies) != 3 {
		t.Fatalf("the webhook was called %d times, want 3", len(bodies))
	}
	e := bodies[2]
	if e.ID != bodies[0].ID || e.Event != "failed" || e.Reason != "no file" || e.Schedule != "hourly" || e.LocalTime != "2026-11-21T10:00" || e.Zone != "UTC" || e.State != "failed" {
		t.Errorf("it was told %+v", e)
	}
	all, err := d.l.Alarms(t.Context(), s.ID)
	if err != nil || len(all) != 1 || all[0].State != "sent" || all[0].Tries != 3 {
		t.Errorf("on record is %+v (%v)", all, err)
	}
}

func TestAnAlarmThatNobodyTakesIsGivenUpAndSaysWhy(t *testing.T) {
	t.Parallel()
	d := newDesk(t, failing)
	d.runs.Alarms = newAlarmer()
	d.runs.Alarms.Secret = func(string, string) (string, error) { return "", errors.New("ALARM_SECRET is not set") }
	s := d.schedule(func(n *ledger.NewSchedule) {
		n.Cron, n.Tries = "0 10 * * *", 1
		n.Alarm = ledger.AlarmConfig{Webhook: "https://hooks.invalid/token", SecretEnv: "ALARM_SECRET", On: []string{"failed"}}
	})
	for _, at := range []string{"10:00:00", "10:01:00", "10:10:00", "10:30:00", "11:30:00", "15:00:00", "23:00:00"} {
		d.at(at)
	}
	all, err := d.l.Alarms(t.Context(), s.ID)
	if err != nil || len(all) != 1 || all[0].State != "given up" || all[0].Tries != 6 || all[0].Problem != "the webhook's secret: ALARM_SECRET is not set" {
		t.Errorf("on record is %+v (%v)", all, err)
	}
}

func TestACommandReadsTheEventAndSeesNoSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := filepath.Join(dir, "tell")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n{ cat; echo; env; echo \"$1\"; } > '"+dir+"/told'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	a := newAlarmer()
	event := scheduler.Event{Event: "failed", Reason: "it's $HOME; `id`"}
	if err := a.Send(t.Context(), ledger.AlarmConfig{Command: []string{script, "$HOME;id"}}, event); err != nil {
		t.Fatal(err)
	}
	told, err := os.ReadFile(filepath.Join(dir, "told"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(told), "\n")
	var got scheduler.Event
	if err := json.Unmarshal([]byte(lines[0]), &got); err != nil || got.Reason != event.Reason {
		t.Errorf("it read %q (%v)", lines[0], err)
	}
	if !strings.Contains(string(told), "\n$HOME;id\n") {
		t.Errorf("its argument was changed: %s", told)
	}
	for _, l := range lines[1:] {
		if name, _, ok := strings.Cut(l, "="); ok && name != "PATH" && name != "PWD" && name != "_" && name != "SHLVL" && name != "OLDPWD" {
			t.Errorf("it saw %s", l)
		}
	}
	a.Timeout = 50 * time.Millisecond
	for argv, want := range map[string]string{"/bin/sleep 60": "did not end within 50ms", "/bin/false": "exit status 1", "/nowhere/tell": "no such file"} {
		if err := a.Send(t.Context(), ledger.AlarmConfig{Command: strings.Fields(argv)}, event); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", argv, err, want)
		}
	}
}

func TestAWebhookThatIsAwayIsToldWithoutItsAddress(t *testing.T) {
	t.Parallel()
	err := newAlarmer().Send(t.Context(), ledger.AlarmConfig{Webhook: "http://127.0.0.1:1/token?key=abc", SecretEnv: "A"}, scheduler.Event{})
	if err == nil || strings.Contains(err.Error(), "token") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("the error is %v", err)
	}
}

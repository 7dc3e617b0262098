package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
)

func TestCtrlCAtTheQuestionSaysNothingOfWhatIsInFlight(t *testing.T) {
	t.Parallel()
	s := newShell(t).at("")
	server := s.provider(sandbox.Options{})
	s.file("people.csv", "phone\n+61412345678\n")
	var out, err locked
	m := s.main(&out, &err)
	in, typing := io.Pipe() // nobody types anything
	defer typing.Close()
	interrupts := make(chan os.Signal)
	m.Stdin, m.Interrupts = in, interrupts
	ended := make(chan int)
	go func() {
		ended <- m.Run(t.Context(), []string{"send", "--channel", "sms", "--to", "people.csv", "--body", "Hi"})
	}()
	err.await(t, func(said string) bool { return strings.Contains(said, "Type yes:") })
	interrupts <- os.Interrupt
	r := &ran{t, []string{"send"}, <-ended, out.String(), err.String()}
	r.exits(exitStopped).warns("stopping (Ctrl-C again", "interrupted before anything was sent").hides("in flight")
	if n := server.Stats().Accepted; n != 0 {
		t.Errorf("the provider accepted %d messages", n)
	}
}

func TestTheSecondCtrlCNamesTheCommandThatGoesOn(t *testing.T) {
	t.Parallel()
	var plain, logged strings.Builder
	f := &farewell{first: finishing, second: "left at once: `postrider serve` goes on"}
	f.say(&plain, 1)
	f.say(&plain, 2)
	if got := plain.String(); got != "\n"+finishing+"\n\npostrider: left at once: `postrider serve` goes on\n" {
		t.Errorf("it says %q", got)
	}
	plain.Reset()
	f.log = slog.New(slog.NewJSONHandler(&logged, nil))
	f.say(&plain, 1)
	f.say(&plain, 2)
	if plain.Len() > 0 || strings.Count(logged.String(), "\n") != 1 || !strings.Contains(logged.String(), f.second) {
		t.Errorf("it says %q and logs %q", plain.String(), logged.String())
	}
	plain.Reset()
	f = nil
	f.say(&plain, 1)
	f.say(&plain, 2)
	if got := plain.String(); strings.Contains(got, "in flight") || !strings.Contains(got, "left at once") {
		t.Errorf("it says %q", got)
	}
}

func TestARoleThatLogsJSONWritesNothingElse(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	var out, err locked
	m := s.with("POSTRIDER_LOG_FORMAT=json").main(&out, &err)
	interrupts := make(chan os.Signal)
	m.Interrupts = interrupts
	ended := make(chan int)
	go func() { ended <- m.Run(t.Context(), []string{"serve"}) }()
	err.await(t, func(said string) bool { return strings.Contains(said, `"running"`) })
	interrupts <- os.Interrupt
	if code := <-ended; code != exitDone {
		t.Errorf("exit code %d", code)
	}
	lines := 0
	for line := range strings.Lines(err.String()) {
		if lines++; !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %q", line)
		}
	}
	if lines < 2 || out.String() != "" {
		t.Errorf("stderr %q, stdout %q", err.String(), out.String())
	}
}

func TestWithRedisItIsSaidThatNoWorkerRuns(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("people.csv", "phone\n+61412345678\n")
	s = s.with("POSTRIDER_REDIS_URL=" + services.Redis(t).URL())
	s.run("send", "--channel", "sms", "--to", "people.csv", "--body", "Hi", "--name", "spring", "--yes").exits(exitDone).
		warns("campaign 1: no worker is running now").hides("the workers on Redis send it")
	s.run("campaign", "status", "spring").exits(exitDone).says("no worker is running now: start `postrider worker`")
	s.run("doctor", "--json").exits(exitDone).finds("workers", warning, "no worker is running now")

	watch := func() (err *locked, interrupt func() int) {
		var out locked
		err = new(locked)
		m := s.main(&out, err)
		interrupts := make(chan os.Signal)
		m.Interrupts = interrupts
		ended := make(chan int)
		go func() {
			ended <- m.Run(t.Context(), []string{"campaign", "status", "spring", "--watch", "--every", "10ms"})
		}()
		return err, func() int { interrupts <- os.Interrupt; return <-ended }
	}
	err, interrupt := watch()
	err.await(t, func(said string) bool { return strings.Contains(said, "campaign 1: no worker is running now") })
	if code := interrupt(); code != exitStopped || strings.Contains(err.String(), "in flight is finished") {
		t.Errorf("exit code %d, and it says %q", code, err.String())
	}

	var out, log locked
	m := s.main(&out, &log)
	interrupts := make(chan os.Signal)
	m.Interrupts = interrupts
	ended := make(chan int)
	go func() { ended <- m.Run(t.Context(), []string{"serve"}) }()
	s.run("campaign", "status", "spring", "--watch").exits(exitDone).says("1  accepted")
	s.file("more.csv", "phone\n+61412345679\n")
	s.run("send", "--channel", "sms", "--to", "more.csv", "--body", "Hi", "--yes").exits(exitDone).
		says("the workers on Redis send it").hides("no worker is running")
	interrupts <- os.Interrupt
	if code := <-ended; code != exitDone {
		t.Errorf("serve exits %d: %s", code, log.String())
	}
}

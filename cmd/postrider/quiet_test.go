package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/configs"
)

func TestTheEnginesLogStaysOutOfTheBar(t *testing.T) {
	t.Parallel()
	s := newShell(t).at("")
	var out, err locked
	m := s.main(&out, &err)
	m.cfg = &configs.Config{LogLevel: slog.LevelInfo}
	log := m.driveLog().With("worker", "test")
	log.Info("batch done")
	for _, said := range saidInProse {
		log.Error(said + " and so on")
	}
	if got := err.String(); got != "" {
		t.Errorf("it logs %q", got)
	}
	log.Warn("the disk is slow")
	if got := err.String(); !strings.HasPrefix(got, clearLine+"time=") || !strings.Contains(got, "the disk is slow") || !strings.HasSuffix(got, "worker=test\n") {
		t.Errorf("it logs %q", got)
	}
	m.cfg.LogLevel = slog.LevelDebug
	m.driveLog().Info(saidInProse[0])
	if !strings.Contains(err.String(), saidInProse[0]) {
		t.Error("at level debug it is silent")
	}
}

func TestALostAnswerIsSaidInProseAlone(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{Faults: sandbox.Faults{ResetAfter: 1, Limit: 1, Endpoints: []string{"POST /sms/send"}}})
	s.file("people.csv", "phone\n+61412345678\n")
	s.with("POSTRIDER_SETTLE=100ms").
		run("send", "--channel", "sms", "--to", "people.csv", "--body", "Hi", "--yes").exits(exitDone).
		says("1  accepted").warns("what became of 1 recipient is not known").hides("level=", "time=")
}

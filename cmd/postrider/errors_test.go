package main

import (
	"testing"

	"github.com/postrider/postrider/clicksend/sandbox"
)

func TestProgramsCanTellErrorsApart(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", "phone\n+61412345678\n")
	send := []string{"send", "--channel", "sms", "--to", "people.csv", "--body", "Hi", "--yes", "--json"}
	s.run(send...).exits(exitFailed).holds(map[string]any{"code": "config"})
	s.provider(sandbox.Options{})
	s.run(send...).exits(exitDone)
	s.run(send...).exits(exitFailed).holds(map[string]any{"code": "exists", "campaign": 1})
	for _, away := range []string{
		"POSTRIDER_REDIS_URL=redis://127.0.0.1:1",
		"POSTRIDER_DATABASE_URL=postgres://somebody:pass-word@127.0.0.1:1/postrider?sslmode=disable",
		"POSTRIDER_DATABASE_URL=postgres://somebody:pass-word@nowhere.invalid/postrider?sslmode=disable",
	} {
		got := s.with(away).run(send...).exits(exitFailed).hides("pass-word").holds(map[string]any{"code": "unavailable"}).object()
		if _, there := got["campaign"]; there {
			t.Errorf("%s: a campaign stands in the way: %v", away, got)
		}
	}
	s.run("campaign", "status", "77", "--json").exits(exitFailed).holds(map[string]any{"code": "not_found"})
	s.run("campaign", "status", "--json").exits(exitUsage).holds(map[string]any{"code": "usage"})
	s.with("CLICKSEND_API_KEY=wrong").run("address", "ls", "--json").exits(exitFailed).holds(map[string]any{"code": "provider"})
}

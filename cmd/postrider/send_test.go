package main

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/clicksend/sandbox"
)

// Who runs the embedded engine sends all that the ledger holds: a campaign that
// was stopped by Ctrl-C, perhaps for its text, must not leave unannounced.
func TestASendNamesTheCampaignsThatGoOnAlong(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("people.csv", "phone\n+61412345678\n")
	s.sending("wrong text", 3, "")
	send := func(name string, more ...string) *ran {
		return s.run(append([]string{"send", "--channel", "sms", "--to", "people.csv", "--body", "Hi " + name, "--name", name, "--yes", "--rate", "50"}, more...)...)
	}
	send("late", "--at", "2099-01-01T00:00:00Z").exits(exitDone).hides("goes on as well")
	s.run("campaign", "pause", "wrong text").exits(exitDone)
	send("first").exits(exitDone).hides("goes on as well")
	s.run("campaign", "resume", "wrong text").exits(exitDone)
	r := send("second").exits(exitDone).says(`campaign 1 "wrong text" goes on as well, with 3 recipients left: ` + "`postrider campaign pause 1`").
		hides(`"late" goes on`)
	if strings.Index(r.out, "goes on as well") > strings.Index(r.out, "sending from this process") {
		t.Errorf("it is said after the start:\n%s", r.out)
	}
}

func TestACampaignThatSomebodyLeftIsSentHereWhenAskedTo(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	server := s.provider(sandbox.Options{})
	s.sending("spring", 3, "")
	s.run("campaign", "resume", "spring").exits(exitFailed).warns("nobody is sending now: add --wait to send it here")
	s.run("campaign", "resume", "spring", "--wait").exits(exitDone).says("3  accepted", "is completed")
	if n := server.Stats().Accepted; n != 3 {
		t.Errorf("the provider accepted %d messages, want 3", n)
	}
}

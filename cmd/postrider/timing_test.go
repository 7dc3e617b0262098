package main

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
)

// closedNow is a window, on the clock of UTC, that is closed at this moment, and
// when it opens.
func closedNow() (window string, opens time.Time) {
	now := time.Now().UTC()
	opens = now.Truncate(time.Hour).Add(2 * time.Hour)
	return opens.Format("15:04") + "-" + opens.Add(time.Hour).Format("15:04"), opens
}

func TestACampaignWaitsForItsWindow(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	provider := s.provider(sandbox.Options{})
	s.file("people.csv", "first_name,phone,timezone\nAda,0412345671,UTC\nGrace,0412345672,\n")
	window, opens := closedNow()
	s.file("sale.yaml", "name: sale\nchannel: sms\nto: people.csv\nfrom: ACME\nbody: Hi\ncountry: AU\nwindow: "+window+"\nwindow_tz: recipient:UTC\n")
	s.run("campaign", "create", "-f", "sale.yaml").exits(exitDone)
	at := opens.Format("Mon 2 Jan 2006 15:04") + " UTC"
	s.run("campaign", "price", "sale").exits(exitDone).
		says("window        "+window+", on each recipient's clock: UTC 1; of 1 no zone is known, and that of UTC counts", "leaves        "+at)
	s.run("campaign", "price", "sale", "--json").exits(exitDone).
		holds(map[string]any{"window": window, "window_tz": "recipient:UTC", "first_leaves": opens.Format(time.RFC3339)})

	var out, errs locked
	ended := make(chan int, 1)
	go func() { ended <- s.main(&out, &errs).Run(t.Context(), []string{"campaign", "start", "sale", "--yes"}) }()
	errs.await(t, func(said string) bool { return strings.Contains(said, "its send window is closed; it opens at "+at) })
	s.run("campaign", "status", "sale").exits(exitDone).says("is sending", "its send window is closed; it opens at "+at)
	s.run("campaign", "status", "sale", "--json").exits(exitDone).
		holds(map[string]any{"window_closed": true, "next_batch": opens.Format(time.RFC3339), "pending": 2, "window": window})
	s.run("campaign", "pause", "sale").exits(exitDone)
	if code := <-ended; code != exitStopped {
		t.Errorf("the command whose campaign was paused exits %d, want %d", code, exitStopped)
	}
	s.run("campaign", "resume", "sale").exits(exitDone).says("is sending", "its send window is closed; it opens at "+at)
	s.run("campaign", "reschedule", "sale", "--window", "00:00-24:00").exits(exitFailed).warns("only one that waits for its start can be rescheduled")
	if n := provider.Stats().Channels["sms"].Accepted; n != 0 {
		t.Errorf("the provider accepted %d messages, want none", n)
	}
}

func TestACampaignIsRescheduledBeforeItsStart(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("people.csv", "first_name,phone\nAda,0412345671\n")
	s.file("sale.yaml", saleYAML+"at: "+time.Now().Add(48*time.Hour).UTC().Format(time.RFC3339)+"\n")
	s.run("campaign", "create", "-f", "sale.yaml").exits(exitDone)
	later := time.Now().Add(72 * time.Hour).UTC().Format(time.RFC3339)
	s.run("campaign", "reschedule", "sale", "--at", later, "--window", "09:00-20:00", "--days", "mon-fri", "--window-tz", "Australia/Perth").exits(exitDone).
		says("starts at "+later, "window        09:00-20:00 mon-fri, on the clock of Australia/Perth", "it is not approved yet")
	s.run("campaign", "start", "sale", "--yes").exits(exitDone).says("if late       more than 6 h: it waits for a person")
	s.run("campaign", "reschedule", "sale", "--days", "sat,sun", "--if-late", "run", "--late-limit", "1h", "--json").exits(exitDone).
		holds(map[string]any{"state": "scheduled", "window": "09:00-20:00 sat,sun", "window_tz": "Australia/Perth"})
	s.run("campaign", "report", "sale").exits(exitDone).says("rescheduled")

	for args, want := range map[string]string{
		"": "nothing is to be changed",
		"--at " + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339): "is in the past",
		"--at tomorrow":        "is not a time such as",
		"--window 20:00-20:00": "never opens",
		"--window-tz AWST":     `"AWST" is no time zone`,
		"--days weekdays":      "is no day of the week",
		"--late-limit never":   "is no time to be late",
		"--if-late perhaps":    "is no policy",
	} {
		s.run(append([]string{"campaign", "reschedule", "sale"}, strings.Fields(args)...)...).exits(exitUsage).warns(want)
	}
	s.run("campaign", "reschedule", "sale", "--window-tz", "recipient").exits(exitFailed).warns("planned without the recipients' time zones")
}

func TestASendRefusesAWindowThatIsNone(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	provider := s.provider(sandbox.Options{})
	s.file("people.csv", "first_name,phone,time zone\nAda,0412345671,Australia/Perth\nGrace,0412345672,AWST\n")
	send := []string{"send", "--channel", "sms", "--to", "people.csv", "--from", "ACME", "--body", "Hi", "--country", "AU", "--yes"}
	for args, want := range map[string]string{
		"--window 09:00-09:00":                        "--window: the window 09:00-09:00 never opens",
		"--window 09:00-20:00 --window-tz AWST":       `--window-tz: "AWST" is no time zone`,
		"--window 09:00-20:00 --days never":           `--days: "never" is no day of the week`,
		"--window-tz recipient":                       "--window-tz: says on whose clock a window is read",
		"--if-late run":                               "--if-late means nothing without --at",
		"--test-to +61412345678 --window 09:00-20:00": "leave --window out",
	} {
		s.run(append(send, strings.Fields(args)...)...).exits(exitUsage).warns(want)
	}
	s.run(append(send, "--window", "09:00-20:00", "--window-tz", "recipient:UTC")...).exits(exitFailed).warns("line 3: field time_zone holds no time zone")
	s.run("campaign", "ls").exits(exitDone).says("there are no campaigns yet")
	if n := provider.Stats().Channels["sms"].Accepted; n != 0 {
		t.Errorf("the provider accepted %d messages, want none", n)
	}
}

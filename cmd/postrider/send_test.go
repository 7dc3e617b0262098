package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/specimen"
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
	send("late", "--at", time.Now().AddDate(0, 6, 0).Format(time.RFC3339)).exits(exitDone).hides("goes on as well")
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

func TestADryRunSaysWhenThePriceExceedsTheBudget(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("people.csv", "phone\n+61412345678\n")
	dry := func(budget string, more ...string) *ran {
		return s.run(append([]string{"send", "--channel", "sms", "--to", "people.csv", "--body", "Hi", "--dry-run", "--budget", budget}, more...)...).exits(exitDone)
	}
	dry("0.01").says("budget        0.01 AUD, which the price exceeds: this would not be sent")
	dry("5.00").says("budget        5.00 AUD, never exceeded")
	dry("0.01", "--json").holds(map[string]any{"budget": "0.01"})
}

func TestASummaryOfLettersSaysWhatIsPrintedAndHow(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("offer.pdf", string(specimen.Letter("offer", 1)))
	s.file("homes.csv", "Name,Street,City,State,Postcode,Country,pdf\nAnn Example,1 Example Street,Perth,WA,6000,AU,offer.pdf\n")
	letter := func(more ...string) *ran {
		return s.run(append([]string{"send", "--channel", "letter", "--to", "homes.csv", "--return-address", "1", "--dry-run"}, more...)...)
	}
	letter("--file", "offer.pdf").exits(exitDone).says("file          offer.pdf (black and white, one side)")
	letter("--file", "offer.pdf", "--colour", "--duplex", "--priority").exits(exitDone).says("file          offer.pdf (colour, both sides, priority post)")
	letter("--file-column", "pdf", "--template-used").exits(exitDone).
		says("file          each recipient's own, named in column pdf (black and white, one side, bears the address itself)")
	letter("--file-column", "picture").exits(exitFailed).warns("--file-column picture: homes.csv has no such column; it has pdf").hides("{{")
}

func TestAStartMoreThanAYearAheadIsTakenForATypo(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("people.csv", "phone\n+61412345678\n")
	send := func(at time.Time, more ...string) *ran {
		return s.run(append([]string{"send", "--channel", "sms", "--to", "people.csv", "--body", "Hi", "--at", at.Format(time.RFC3339)}, more...)...)
	}
	send(time.Now().AddDate(10, 0, 0), "--yes").exits(exitUsage).warns("more than a year ahead, which is the limit")
	// The hour is shown as it was typed.
	at := time.Now().In(time.FixedZone("", 10*3600+1800)).AddDate(0, 1, 0)
	send(at, "--dry-run").exits(exitDone).says("starts        "+at.Format(time.RFC3339), "takes about   less than a second")
	send(at, "--yes").exits(exitDone).says("starts at " + at.Format(time.RFC3339))
}

func TestMistakesInFlagsAreSaidInPlainWords(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("homes.csv", "Name,Street,City,State,Postcode,Country\nAnn Example,1 Example Street,Perth,WA,6000,AU\n")
	s.file("people.csv", "phone\n+61412345678\n")
	s.file("text.txt", "no picture")
	letter := []string{"send", "--channel", "letter", "--to", "homes.csv", "--dry-run", "--file", "missing.pdf"}
	for _, c := range []struct {
		args []string
		says string
	}{
		{append(letter, "--return-address", "abc"), `--return-address: "abc" is not a whole number`},
		{append(letter, "--return-address", "-1"), "-1 is no return address"},
		{append(letter, "--return-address", "1"), "there is no file " + filepath.Join(s.dir, "missing.pdf")},
		{[]string{"send", "--body", "Hello", "world"}, "was given 1 argument: put the whole text of --body in quotes"},
		{[]string{"campaign", "status", "a", "b"}, "was given 2 arguments"},
		{[]string{"send", "--channel", "mms", "--to", "people.csv", "--from", "ACME", "--subject", "Hi", "--body", "Hi", "--dry-run", "--media", "text.txt"}, "is not of a type that an MMS can have"},
		{[]string{"list", "import", "list:vips", "people.csv"}, "begins with list:"},
	} {
		s.run(c.args...).exits(exitUsage).warns(c.says).hides("strconv", "stat ")
	}
}

func TestABalanceBelowThePriceIsShown(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{Balance: "0.10"})
	s.file("people.csv", "phone\n+61412345678\n+61412345679\n+61412345680\n")
	send := func(to string, more ...string) *ran {
		return s.run(append([]string{"send", "--channel", "sms", "--to", to, "--body", "Hi"}, more...)...)
	}
	send("people.csv", "--dry-run").exits(exitDone).says("balance       0.10 AUD, less than the price")
	s.file("one.csv", "phone\n+61412345678\n")
	send("one.csv", "--dry-run").exits(exitDone).hides("balance ")
	r := send("people.csv", "--yes").exits(exitStopped).says("is paused", "go on with `postrider campaign resume 3`")
	if strings.Count(r.out, "campaign resume") != 1 {
		t.Errorf("it says more than once how to go on:\n%s", r.out)
	}
}

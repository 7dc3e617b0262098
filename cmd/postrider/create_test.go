package main

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
)

const saleYAML = `# The summer sale.
name: sale
channel: sms
to: people.csv
from: ACME
body: |-
  Hi {{first_name|there}},
  our sale starts today.
budget: 10.00
country: AU
`

func TestACampaignInAFileIsPlannedPricedAndStarted(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	provider := s.provider(sandbox.Options{})
	s.file("people.csv", "first_name,phone\nAda,0412345671\nGrace,0412345672\nGrace,0412345672\n")
	s.file("sale.yaml", saleYAML)
	s.run("campaign", "create", "-f", "sale.yaml").exits(exitDone).
		says(`campaign 1 "sale" is planned: 2 of 2 contacts, in 1 request`, "`postrider campaign price 1`", "people.rejects.csv")
	s.run("campaign", "status", "sale").exits(exitDone).says("is draft", "`postrider campaign price 1`")
	s.run("campaign", "price", "sale").exits(exitDone).says("recipients    2 of 2 contacts", "price         0.", "budget        10", "nothing was sent")
	s.run("campaign", "price", "sale", "--json").exits(exitDone).holds(map[string]any{"id": 1, "dry_run": false, "currency": "AUD"})
	s.run("campaign", "start", "sale").exits(exitUsage).warns("add --yes")
	s.at("no\n").run("campaign", "start", "sale").exits(exitStopped).warns("nobody said yes")
	s.run("campaign", "start", "sale", "--yes", "--json").exits(exitDone).holds(map[string]any{"state": "completed", "accepted": 2})
	if n := provider.Stats().Channels["sms"].Accepted; n != 2 {
		t.Errorf("the provider accepted %d messages, want 2", n)
	}
	s.run("campaign", "price", "sale").exits(exitFailed).warns("only what has not been approved is priced")
	s.run("campaign", "start", "sale", "--yes").exits(exitFailed).warns("is completed")
}

func TestADraftStaysUntilItIsStartedOrCancelled(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("people.csv", "first_name,phone\nAda,0412345671\n")
	s.file("sale.yaml", saleYAML)
	s.run("campaign", "create", "-f", "sale.yaml", "--json").exits(exitDone).holds(map[string]any{"state": "draft", "total": 1, "pending": 1})
	// Another command of the day discards what interrupted ones left behind.
	s.run("campaign", "create", "-f", "sale.yaml").exits(exitFailed).warns("campaign 1", "`postrider campaign price 1`")
	s.run("send", "--channel", "sms", "--to", "people.csv", "--country", "AU", "--from", "ACME",
		"--body", "Hi {{first_name|there}},\nour sale starts today.", "--yes").exits(exitFailed).warns("which is draft", "`postrider campaign cancel 1`")
	s.run("campaign", "cancel", "sale", "--yes").exits(exitDone).says("is cancelled")
	s.run("campaign", "start", "sale", "--yes").exits(exitFailed).warns("is cancelled")
}

func TestABudgetBelowTheQuoteStartsNothing(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	provider := s.provider(sandbox.Options{})
	s.file("people.csv", "first_name,phone\nAda,0412345671\n")
	s.file("sale.yaml", "channel: sms\nto: people.csv\nfrom: ACME\nbody: hello\nbudget: 0.01\ncountry: AU\n")
	s.run("campaign", "create", "-f", "sale.yaml").exits(exitDone)
	s.run("campaign", "price", "1").exits(exitDone).says("which the price exceeds")
	s.run("campaign", "start", "1", "--yes").exits(exitStopped).warns("exceeds the budget of 0.01")
	s.run("campaign", "status", "1").exits(exitDone).says("is quoted")
	if n := provider.Stats().Channels["sms"].Accepted; n != 0 {
		t.Errorf("the provider accepted %d messages, want none", n)
	}
}

func TestMistakesInACampaignFileAreNamedWithTheirLine(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("people.csv", "phone\n+61412345671\n")
	for text, want := range map[string]string{
		"":                           "bad.yaml: is empty",
		"channel: sms\n  to: x: y":   "bad.yaml: is not YAML",
		"- sms":                      "bad.yaml:1: should be lines such as",
		"channel: sms\nchanel: mms":  `bad.yaml:2: key "chanel" is not known; there are`,
		"channel: sms\nchannel: mms": "bad.yaml:2: channel is set a second time",
		"channel: fax":               "bad.yaml:1: channel: ",
		"channel: sms":               "bad.yaml: to is missing",
		"channel: sms\nto: people.csv\nfrom: ACME\nbody: x\nat: tomorrow":             `bad.yaml:5: at: "tomorrow" is not a time`,
		"channel: sms\nto: people.csv\nfrom: ACME\nbody: x\nat: 2020-01-01T00:00:00Z": "bad.yaml:5: at: 2020-01-01T00:00:00Z is in the past",
		"channel: sms\nto: people.csv\nbody: x\nbudget: lots":                         `bad.yaml:4: budget: "lots" is not an amount`,
		"channel: sms\nto: people.csv\nbody: x\ncolour: true":                         "bad.yaml:4: colour means nothing on sms",
		"channel: sms\nto: people.csv\nbody: [x]":                                     "bad.yaml:3: body takes one value",
		"channel: letter\nto: people.csv\ncolour: perhaps":                            `bad.yaml:3: colour: "perhaps" is not true or false`,
		"channel: letter\nto: people.csv\nreturn_address: four":                       `bad.yaml:3: return_address: "four" is not a whole number`,
		"channel: letter\nto: people.csv\nfile: none.pdf":                             "bad.yaml:3: file: there is no file",
		"channel: sms\nto: people.csv\nfrom: ACME\nbody: ''":                          "bad.yaml: this cannot be sent: body: is empty",
	} {
		s.file("bad.yaml", text)
		s.run("campaign", "create", "-f", "bad.yaml").exits(exitUsage).warns(want)
	}
	s.run("campaign", "create", "-f", "none.yaml").exits(exitUsage).warns("there is no file none.yaml")
	s.run("campaign", "create").exits(exitUsage).warns("-f campaign.yaml")
	s.run("campaign", "ls").exits(exitDone).says("there are no campaigns yet")
}

func TestACampaignIsEditedByReplacingItBeforeItStarts(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	provider := s.provider(sandbox.Options{})
	s.file("people.csv", "first_name,phone\nAda,0412345671\n")
	s.file("sale.yaml", saleYAML+"at: "+time.Now().Add(time.Hour).Format(time.RFC3339)+"\n")
	s.run("campaign", "create", "-f", "sale.yaml").exits(exitDone)
	s.run("campaign", "start", "sale", "--yes").exits(exitDone).says("starts at")
	s.run("campaign", "status", "sale").exits(exitDone).says("is scheduled")
	s.file("better.yaml", strings.Replace(saleYAML, "starts today", "started yesterday", 1))
	s.run("campaign", "create", "-f", "better.yaml").exits(exitFailed).warns(`campaign named "sale" exists already`)
	s.run("campaign", "create", "-f", "better.yaml", "--replace", "sale").exits(exitDone).says("campaign 1 is cancelled", `campaign 2 "sale" is planned`)
	s.run("campaign", "status", "1").exits(exitDone).says(`"sale (replaced)" (sms) is cancelled: replaced by campaign 2`, "1  cancelled")
	s.run("campaign", "start", "sale", "--yes").exits(exitDone).says("is completed")
	s.run("campaign", "create", "-f", "sale.yaml", "--replace", "sale").exits(exitFailed).warns("only what has not started can be replaced")
	if n := provider.Stats().Channels["sms"].Accepted; n != 1 {
		t.Errorf("the provider accepted %d messages, want 1", n)
	}
}

// duringTheQuestion does something while the prompt waits, then types yes.
type duringTheQuestion struct {
	do    func()
	typed *strings.Reader
}

func (d *duringTheQuestion) Read(b []byte) (int, error) {
	if d.do != nil {
		d.do()
		d.do = nil
	}
	return d.typed.Read(b)
}

func TestAYesIsToWhatStandsWhenItIsSaid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile []string
		code      int
		words     string
		state     string
	}{
		"rescheduled":   {[]string{"campaign", "reschedule", "sale", "--at", time.Now().Add(24 * time.Hour).Format(time.RFC3339)}, exitDone, "", "is scheduled"},
		"priced anew":   {[]string{"campaign", "price", "sale"}, exitFailed, "priced anew meanwhile", "is quoted"},
		"left as it is": {nil, exitDone, "", "is completed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			provider := s.provider(sandbox.Options{})
			s.file("people.csv", "first_name,phone\nAda,0412345671\n")
			s.file("sale.yaml", saleYAML)
			s.run("campaign", "create", "-f", "sale.yaml").exits(exitDone)
			var out, err locked
			m := s.at("").main(&out, &err)
			m.Stdin = &duringTheQuestion{typed: strings.NewReader("yes\n"), do: func() {
				if c.meanwhile != nil {
					s.run(c.meanwhile...).exits(exitDone)
				}
			}}
			args := []string{"campaign", "start", "sale"}
			(&ran{t, args, m.Run(t.Context(), args), out.String(), err.String()}).exits(c.code)
			if !strings.Contains(err.String(), c.words) {
				t.Errorf("%q does not say %q", err.String(), c.words)
			}
			s.run("campaign", "status", "sale").exits(exitDone).says(c.state)
			want := 0
			if c.meanwhile == nil {
				want = 1
			}
			if n := provider.Stats().Channels["sms"].Accepted; int(n) != want {
				t.Errorf("the provider accepted %d messages, want %d", n, want)
			}
		})
	}
}

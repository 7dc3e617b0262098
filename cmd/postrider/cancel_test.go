package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/ledger"
)

// audienceOf writes n people with a number each.
func (s *shell) audienceOf(n int) {
	s.t.Helper()
	var b strings.Builder
	b.WriteString("mobile,first name\n")
	for i := range n {
		fmt.Fprintf(&b, "+614120%05d,Ann\n", i)
	}
	s.file("people.csv", b.String())
}

// hold sends to the audience, held by the provider for an hour.
func (s *shell) hold(name string, more ...string) *ran {
	s.t.Helper()
	return s.run(append([]string{
		"send", "--channel", "sms", "--to", "people.csv", "--from", "ACME", "--body", "Hi {{first_name}}", "--name", name, "--yes", "--again",
		"--at", time.Now().Add(time.Hour).Format(time.RFC3339), "--hold-at", "provider",
	}, more...)...)
}

func TestACampaignThatTheProviderHoldsIsHandedOverAndCancelledThere(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	sb := s.provider(sandbox.Options{})
	s.audienceOf(150)
	s.with("POSTRIDER_RATE=0.5").hold("dry", "--dry-run").exits(exitDone).
		says("by the provider, which gets them now and sends them at", "cancelling all of them there would take about 5m16s at 0.475 requests a second")
	s.hold("json", "--dry-run", "--json").exits(exitDone).holds(map[string]any{"dry_run": true})
	s.hold("spring", "--wait").exits(exitDone).says("is completed", "150  accepted   held by the provider until")
	s.run("campaign", "status", "spring", "--json").exits(exitDone).
		holds(map[string]any{"state": "completed", "accepted": 150, "held": 150, "too_late": 0, "total": 150})
	s.run("campaign", "pause", "spring").exits(exitFailed).warns("the provider still holds 150 messages until", "campaign cancel")

	// One recipient, whose number is not repeated.
	s.run("campaign", "cancel", "spring", "--to", "+61412099999").exits(exitFailed).warns("nobody of campaign").hides("61412099999")
	s.run("campaign", "cancel", "spring", "--to", "nobody").exits(exitUsage)
	s.run("campaign", "cancel", "spring", "--to", "0412000007", "--country", "AU").exits(exitDone).says("the provider holds the message to recipient 308 until").hides("412000007")
	s.run("campaign", "status", "spring", "--json").holds(map[string]any{"state": "completed", "held": 150})

	s.at("no\n").run("campaign", "cancel", "spring").exits(exitStopped).
		warns("0 pending recipients will be cancelled", "150 held by the provider until", "in time for all of them", "nobody said yes")
	s.at("no\n").with("POSTRIDER_RATE=0.01").run("campaign", "cancel", "spring").exits(exitStopped).warns("can be stopped in time, and the others are sent")
	s.run("campaign", "cancel", "spring", "--yes", "--reason", "typo").exits(exitDone).
		says("is cancelling: typo", "the provider still holds 150 messages, which are being cancelled there", "`postrider serve` must run for it")
	s.run("campaign", "status", "spring").says("held by the provider until", "`postrider serve` must run for it")
	s.run("campaign", "cancel", "spring", "--yes", "--wait").exits(exitDone).says("is cancelled: typo", "150  cancelled", "charged 0.00")
	if st := sb.Stats(); st.Channels["sms"].Cancelled != 150 || st.Channels["sms"].Charged != st.Channels["sms"].Refunded || st.CancelAllBare != 0 {
		t.Errorf("the provider cancelled %d, charged %s and refunded %s", st.Channels["sms"].Cancelled, st.Channels["sms"].Charged, st.Channels["sms"].Refunded)
	}
	s.run("campaign", "report", "spring", "--csv", "report.csv").exits(exitDone)
	s.run("audit", "spring").exits(exitDone)
	s.run("campaign", "cancel", "spring", "--yes").exits(exitDone).says("is cancelled: typo")
}

func TestPausingSaysHowManyTheProviderStillHolds(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 3, "aap", func(c *ledger.NewCampaign) { c.Content.Schedule = time.Now().Add(time.Hour).Unix() })
	s.run("campaign", "pause", "spring").exits(exitDone).says("is paused", "the provider still holds 2 messages and sends them at", "`postrider campaign cancel 1` stops them")
	s.run("campaign", "pause", "spring", "--json").exits(exitDone).holds(map[string]any{"state": "paused", "held": 2})
	s.run("campaign", "cancel", "spring", "--yes").exits(exitDone).says("1 pending recipients will be cancelled", "2 held by the provider until")
	s.sending("autumn", 3, "aap")
	s.run("campaign", "pause", "autumn").exits(exitDone).hides("provider still holds")
}

func TestOneRecipientWhoHasNotLeftIsCancelledAtOnce(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 5, "aappu")
	s.run("campaign", "cancel", "spring", "--recipient", "3", "--json").exits(exitDone).holds(map[string]any{"id": 1})
	s.run("campaign", "cancel", "spring", "--recipient", "3").exits(exitDone).says("recipient 3 was cancelled before")
	s.run("campaign", "cancel", "spring", "--recipient", "5").exits(exitFailed).warns("is not known yet", "campaign unknown 1")
	s.run("campaign", "cancel", "spring", "--recipient", "1").exits(exitFailed).warns("is accepted: there is nothing left to cancel")
	s.run("campaign", "cancel", "spring", "--recipient", "77").exits(exitFailed).warns("has no recipient 77")
	s.run("campaign", "cancel", "spring", "--recipient", "0").exits(exitUsage)
	s.run("campaign", "cancel", "spring", "--recipient", "4", "--wait").exits(exitUsage)
	s.run("campaign", "status", "spring", "--json").holds(map[string]any{"state": "sending", "pending": 1, "cancelled": 1})
}

func TestWhatTheProviderCannotHoldIsRefused(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.audienceOf(1)
	send := func(more ...string) *ran {
		return s.run(append([]string{"send", "--to", "people.csv", "--body", "Hi", "--yes"}, more...)...)
	}
	at := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
	send("--channel", "sms", "--hold-at", "provider").exits(exitUsage).warns("--hold-at", "name that with at")
	send("--channel", "sms", "--hold-at", "me", "--at", at(time.Hour)).exits(exitUsage).warns("neither postrider nor provider")
	send("--channel", "mms", "--hold-at", "provider", "--at", at(time.Hour)).exits(exitUsage).warns("no schedule for MMS")
	send("--channel", "sms", "--hold-at", "provider", "--at", at(200*24*time.Hour)).exits(exitUsage).warns("more than four months ahead")
	send("--channel", "sms", "--hold-at", "provider", "--at", at(-30*time.Second)).exits(exitUsage).warns("is over")
	send("--channel", "sms", "--hold-at", "provider", "--at", at(time.Hour), "--test-to", "+61412000000").exits(exitUsage).warns("leave --at out")
}

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/ledger"
)

// numbers is a file of n people with a phone.
func numbers(n int) string {
	var b strings.Builder
	b.WriteString("phone\n")
	for i := range n {
		fmt.Fprintf(&b, "+614120%05d\n", i)
	}
	return b.String()
}

func TestASendFindsOutWhatBecameOfALostAnswer(t *testing.T) {
	t.Parallel()
	s := newShell(t).with("POSTRIDER_SETTLE=1s")
	p := s.provider(sandbox.Options{Faults: sandbox.Faults{ResetAfter: 1, Limit: 1, Endpoints: []string{"POST /sms/send"}}})
	s.file("people.csv", numbers(30))
	s.run("send", "--channel", "sms", "--to", "people.csv", "--name", "sale", "--body", "hello", "--yes").
		exits(exitDone).says("30  accepted", "is completed").
		warns("what became of 30 recipients is not known; the provider's history is read for it", "`postrider campaign unknown 1`")
	if st := p.Stats(); st.Accepted != 30 || st.Again != 0 {
		t.Errorf("the provider accepted %d, %d of them again", st.Accepted, st.Again)
	}
	s.run("campaign", "unknown", "sale").exits(exitDone).says("nobody is unknown")
	s.run("campaign", "unknown", "sale", "--assume", "sent", "--yes").exits(exitFailed).warns("nobody of campaign 1 is unknown")
	s.run("campaign", "status", "sale", "--json").exits(exitDone).holds(map[string]any{"unknown": 0.0, "duplicates": 0.0, "accepted": 30.0})
}

func TestAnOperatorDecidesWhereHistoryCannotTell(t *testing.T) {
	t.Parallel()
	for assume, want := range map[string]struct {
		exit  int
		says  string
		again int64
	}{
		"sent":     {exitDone, "30  accepted", 0},
		"not-sent": {exitDone, "30  accepted", 30}, // the operator was wrong, and was told what that means
	} {
		t.Run(assume, func(t *testing.T) {
			t.Parallel()
			s := newShell(t).with("POSTRIDER_SETTLE=0s")
			p := s.provider(sandbox.Options{Throttle: -1})
			s.file("people.csv", numbers(30))
			p.SetFaults(sandbox.Faults{ResetAfter: 1, Limit: 1, Endpoints: []string{"POST /sms/send"}})
			s.noHistory.Store(true)
			s.run("send", "--channel", "sms", "--to", "people.csv", "--name", "sale", "--body", "hello", "--yes").
				exits(exitStopped).says("30  unknown", "being found out")
			s.run("campaign", "status", "sale").exits(exitDone).says("campaign unknown 1", "the unknown stay so for now", "history could not be read")
			s.run("campaign", "unknown", "sale").exits(exitDone).says("ATTEMPT", "30", "history could not be read").hides("+614120")
			s.run("campaign", "unknown", "sale", "--json").exits(exitDone).holds(map[string]any{"unknown": 30.0})
			s.run("campaign", "unknown", "sale", "--assume", "perhaps").exits(exitUsage).warns("--assume")
			s.run("campaign", "unknown", "sale", "--assume", assume).exits(exitUsage).warns("--yes")
			s.run("campaign", "unknown", "sale", "--attempt", "1").exits(exitUsage).warns("--assume")
			s.run("campaign", "unknown", "sale", "--assume", assume, "--attempt", "99", "--yes").exits(exitFailed)
			s.run("campaign", "unknown", "sale", "--assume", assume, "--yes").exits(exitDone)
			if assume == "not-sent" {
				s.run("campaign", "pause", "sale").exits(exitDone)
				s.run("campaign", "resume", "sale", "--wait").exits(want.exit)
			}
			s.run("campaign", "report", "sale").exits(exitDone).says(want.says, "assume", "30 recipients of attempt 1")
			if st := p.Stats(); st.Again != want.again {
				t.Errorf("%d were sent to again, want %d", st.Again, want.again)
			}
		})
	}
}

// Duplicates show, as a rule, when their campaign has long ended. The command
// that status names lets the channel's resends go all the same.
func TestResendsAreAllowedAgainThroughACampaignThatHasEnded(t *testing.T) {
	t.Parallel()
	s := newShell(t).with("POSTRIDER_SETTLE=0s")
	p := s.provider(sandbox.Options{Throttle: -1, Faults: sandbox.Faults{ResetAfter: 1, Limit: 1, Endpoints: []string{"POST /sms/send"}}})
	s.noHistory.Store(true)
	s.file("people.csv", numbers(3))
	s.run("send", "--channel", "sms", "--to", "people.csv", "--name", "sale", "--body", "hello", "--yes").exits(exitStopped)
	s.run("campaign", "pause", "sale").exits(exitDone)
	s.run("campaign", "unknown", "sale", "--assume", "not-sent", "--yes").exits(exitDone)
	s.run("campaign", "resume", "sale", "--wait").exits(exitDone).says("is completed")
	if st := p.Stats(); st.Again != 3 {
		t.Fatalf("%d were sent to again, want 3", st.Again)
	}
	l, err := ledger.Open(t.Context(), filepath.Join(s.dir, "data", "postrider.db"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	late := ledger.Finding{Attempt: 1, Outcome: ledger.Outcome{Recipient: 1, State: campaign.Accepted, Status: "Sent", ProviderID: "late"}}
	got, err := l.ApplyEvidence(t.Context(), ledger.FromHistory, []ledger.Finding{late})
	if err := errors.Join(err, l.Close()); err != nil || got.Duplicates != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	s.run("campaign", "status", "sale").exits(exitDone).says("is completed", "1  messages too many", "campaign resume 1 --after-duplicates")
	s.run("campaign", "resume", "sale").exits(exitFailed).warns("nothing to resume")
	s.run("campaign", "resume", "sale", "--after-duplicates").exits(exitDone).says("is completed")
	s.run("campaign", "status", "sale").exits(exitDone).hides("resends wait")
	s.run("campaign", "report", "sale").exits(exitDone).says("resends are allowed again")
	s.run("campaign", "resume", "sale", "--after-duplicates").exits(exitFailed).warns("leave --after-duplicates out")
}

func TestRefusedRecipientsAreTriedAgainOnDemand(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	p := s.provider(sandbox.Options{Countries: []string{"AU"}})
	s.file("people.csv", numbers(5)+"+12024561111\n+12024561112\n")
	s.run("send", "--channel", "sms", "--to", "people.csv", "--name", "sale", "--body", "hello", "--yes").
		exits(exitRefused).says("COUNTRY_NOT_ENABLED 2")
	s.run("campaign", "retry", "sale").exits(exitUsage).warns("--code")
	s.run("campaign", "retry", "sale", "--code", "COUNTRY_NOT_ENABLED").exits(exitUsage).warns("--yes")
	s.run("campaign", "retry", "sale", "--code", "SOMETHING_ELSE", "--yes").exits(exitFailed).warns("no recipient", "SOMETHING_ELSE")
	s.run("campaign", "retry", "sale", "--code", "COUNTRY_NOT_ENABLED", "--yes", "--wait").exits(exitRefused).says("2 recipients wait", "COUNTRY_NOT_ENABLED 2")
	client, err := clicksend.New(s.seen)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := enable(t.Context(), client, "AU", "US"); err != nil {
		t.Fatal(err)
	}
	s.run("campaign", "retry", "sale", "--code", "COUNTRY_NOT_ENABLED", "--yes", "--wait").exits(exitDone).says("7  accepted")
	if st := p.Stats(); st.Accepted != 7 || st.Again != 0 {
		t.Errorf("the provider accepted %d, %d of them again", st.Accepted, st.Again)
	}
	s.run("campaign", "report", "sale").exits(exitDone).says("2 recipients rejected with COUNTRY_NOT_ENABLED are tried again")
}

// enable lets the account send to these countries, and to no other.
func enable(ctx context.Context, client *clicksend.Client, codes ...string) error {
	all, err := client.Countries.List(ctx)
	if err != nil {
		return err
	}
	var ids []int64
	for _, c := range all {
		if slices.Contains(codes, c.Code) {
			ids = append(ids, c.ID)
		}
	}
	if _, err := client.Countries.Select(ctx, ids); err != nil {
		return err
	}
	_, err = client.Countries.Agree(ctx, ids)
	return err
}

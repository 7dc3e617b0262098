package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/ledger"
)

func addAddress(s *shell) *ran {
	return s.run("address", "add", "--name", "ACME Pty Ltd", "--line-1", "1 Example St", "--city", "Sydney", "--state", "NSW",
		"--postcode", "2000", "--country", "au", "--json")
}

func TestAReturnAddressIsAddedShownAndRemoved(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.run("address", "rm", "1", "--yes").exits(exitDone) // the one that every sandbox begins with
	s.run("address", "ls").exits(exitDone).says("no return address yet")
	r := addAddress(s).exits(exitDone).holds(map[string]any{"name": "ACME Pty Ltd", "country": "AU", "postal_code": "2000", "line_2": ""})
	id := r.object()["id"].(interface{ String() string }).String()
	s.run("address", "ls").exits(exitDone).says(id, "ACME Pty Ltd", "1 Example St", "Sydney", "2000")
	if list, ok := s.run("address", "ls", "--json").exits(exitDone).object()["addresses"].([]any); !ok || len(list) != 1 {
		t.Errorf("%v instead of one address", list)
	}
	s.run("address", "rm", id, "--yes").exits(exitDone).says("is removed")
	s.run("address", "ls", "--json").exits(exitDone).holds(map[string]any{"addresses": []any{}})
}

func TestAReturnAddressIsRefusedWhen(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.run("address", "add", "--name", "ACME").exits(exitUsage).warns("needs --line-1, --city, --postcode, --country as well")
	s.run("address", "add", "ACME").exits(exitUsage)
	s.run("address", "rm", "first").exits(exitUsage).warns("is no id of a return address")
	s.run("address", "rm", "-1").exits(exitUsage)
	s.run("address", "rm", "1").exits(exitUsage).warns("add --yes")
	s.run("address", "rm", "424242", "--yes").exits(exitFailed).warns("the account has no return address 424242", "`postrider address ls`")
}

func TestAddressesNeedTheRightCredentials(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.run("address", "ls").exits(exitFailed).warns("CLICKSEND_USERNAME", "CLICKSEND_API_KEY")
	s.provider(sandbox.Options{})
	wrong := s.with("CLICKSEND_API_KEY=wrong-key-of-acme")
	for _, args := range [][]string{{"address", "ls"}, {"address", "rm", "3", "--yes"}} {
		wrong.run(args...).exits(exitFailed).warns("refuses the user name or the API key", "CLICKSEND_BASE_URL").hides("wrong-key-of-acme")
	}
	addAddress(wrong).exits(exitFailed).warns("refuses the user name").hides("Example St")
	s.with("CLICKSEND_USERNAME=banned", "CLICKSEND_API_KEY="+sandbox.TestPassword).run("address", "ls").exits(exitFailed).warns("banned")
}

func TestAnAddressWhoseAnswerWasLostIsToBeLookedFor(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	server := s.provider(sandbox.Options{})
	server.SetFaults(sandbox.Faults{Error500After: 1})
	addAddress(s).exits(exitFailed).warns("may or may not have been made", "`postrider address ls`")
	server.SetFaults(sandbox.Faults{TooMany: 1})
	addAddress(s).exits(exitFailed).warns("busy")
	server.SetFaults(sandbox.Faults{})
	if n := len(s.run("address", "ls", "--json").object()["addresses"].([]any)); n != 2 {
		t.Errorf("%d addresses, want the one that every sandbox begins with and the one whose answer was lost", n)
	}
}

func TestAHostThatIsAwayIsNamedAsSuch(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	url := gone.URL
	s := newShell(t).with("CLICKSEND_BASE_URL="+url+"/v3", "CLICKSEND_USERNAME=acme", "CLICKSEND_API_KEY=k3y-of-acme")
	s.run("address", "ls").exits(exitFailed).warns("CLICKSEND_BASE_URL must end in /v3")
	gone.Close()
	s.run("address", "ls").exits(exitFailed).warns("cannot be reached").hides("k3y-of-acme")
}

func TestAnAddressThatACampaignNeedsStays(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	id := addAddress(s).exits(exitDone).object()["id"].(interface{ String() string }).String()
	li := s.list("households", people(1)...)
	var number int64
	s.ledger(func(ctx context.Context, l *ledger.Ledger) {
		c, err := l.CreateCampaign(ctx, ledger.NewCampaign{
			Name: "letters", Content: campaign.Content{Channel: campaign.Letter, ReturnAddressID: atoi(t, id)},
			ListID: li.ID, Digest: "d", Provider: ledger.Provider{URL: s.seen.BaseURL, User: "1"}, Actor: "test",
		})
		if err != nil {
			t.Fatal(err)
		}
		number = c.ID
	})
	s.run("address", "rm", id, "--yes").exits(exitFailed).warns(`"letters" is draft and still needs return address ` + id)
	s.ledger(func(ctx context.Context, l *ledger.Ledger) {
		if err := l.Cancel(ctx, number, "test", ""); err != nil {
			t.Fatal(err)
		}
	})
	if r := s.run("address", "rm", id, "--yes").exits(exitDone); !strings.Contains(r.out, "is removed") {
		t.Errorf("it says %q", r.out)
	}
}

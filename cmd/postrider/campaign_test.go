package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gofrs/flock"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/ledger"
)

func atoi(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestThereAreNoCampaignsAtFirst(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.run("campaign", "ls").exits(exitDone).says("there are no campaigns yet")
	s.run("campaign", "ls", "--json").exits(exitDone).holds(map[string]any{"campaigns": []any{}})
}

func TestCampaignsAreListedWithWhatTheyCameTo(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 5, "aarup")
	s.sending("autumn", 2, "")
	s.run("campaign", "ls").exits(exitDone).says("spring", "autumn", "sending", "0.10 AUD")
	list := s.run("campaign", "ls", "--json").exits(exitDone).object()["campaigns"].([]any)
	if len(list) != 2 {
		t.Fatalf("%d campaigns, want 2", len(list))
	}
	spring := list[1].(map[string]any)
	for key, want := range map[string]any{"name": "spring", "total": 5, "accepted": 2, "rejected": 1, "unknown": 1, "pending": 1} {
		if fmt.Sprint(spring[key]) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", key, spring[key], want)
		}
	}
}

func TestAStatusHoldsEveryKeyAndAddsUp(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	id := s.sending("spring", 6, "aarruu")
	for _, ref := range []string{"spring", fmt.Sprint(id)} {
		got := s.run("campaign", "status", ref, "--json").exits(exitDone).
			holds(map[string]any{"id": id, "name": "spring", "channel": "sms", "total": 6, "accepted": 2, "rejected": 2, "unknown": 2, "spent": "0.10", "currency": "AUD"}).object()
		var sum int64
		for _, key := range []string{"pending", "in_flight", "unknown", "accepted", "delivered", "undelivered", "rejected", "suppressed", "cancelled"} {
			sum += atoi(t, fmt.Sprint(got[key]))
		}
		if total := atoi(t, fmt.Sprint(got["total"])); sum != total {
			t.Errorf("the states add up to %d, and total is %d", sum, total)
		}
		for _, key := range []string{"state", "reason", "quoted"} {
			if _, ok := got[key]; !ok {
				t.Errorf("there is no %s", key)
			}
		}
	}
	s.run("campaign", "status", "spring").exits(exitDone).says(`Campaign 1 "spring" (sms) is`, "6  in all", "INVALID_RECIPIENT 2")
}

func TestACampaignThatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	for _, command := range []string{"status", "report", "pause", "resume", "cancel"} {
		for _, ref := range []string{"77", "nobody"} {
			args := []string{"campaign", command, ref}
			if command == "cancel" {
				args = append(args, "--yes")
			}
			s.run(args...).exits(exitFailed).warns("there is no campaign", "`postrider campaign ls`")
		}
		s.run("campaign", command).exits(exitUsage).warns("the campaign's number or name")
	}
}

func TestAStatusSaysWhatToDoNext(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 3, "app")
	s.run("campaign", "status", "spring").exits(exitDone).says("nobody is sending now", "`postrider serve`")
	unlock := holdEngine(t, s)
	if r := s.run("campaign", "status", "spring").exits(exitDone); strings.Contains(r.out, "nobody is sending") {
		t.Errorf("an engine runs, and it says:\n%s", r.out)
	}
	unlock()
	s.run("campaign", "pause", "spring", "--reason", "wrong price").exits(exitDone).says(`campaign 1 "spring" is paused: wrong price`)
	s.run("campaign", "status", "spring").exits(exitDone).says("is paused: wrong price", "`postrider campaign resume 1`")
}

// holdEngine plays another process that runs the engine.
func holdEngine(t *testing.T, s *shell) (unlock func()) {
	t.Helper()
	lock := flock.New(filepath.Join(s.dir, "data", "engine.lock"))
	if got, err := lock.TryLock(); err != nil || !got {
		t.Fatalf("engine.lock: %v, %v", got, err)
	}
	return func() {
		if err := lock.Unlock(); err != nil {
			t.Error(err)
		}
	}
}

func TestWatchingEndsWithTheReportAndTheCampaignsExitCode(t *testing.T) {
	t.Parallel()
	for outcomes, c := range map[string]struct {
		code int
		says string
	}{
		"aaa": {exitDone, "is completed"},
		"aar": {exitRefused, "is completed"},
		"aau": {exitStopped, "1  unknown"},                 // nothing moves before it is found out
		"aap": {exitStopped, "`postrider serve` must run"}, // and here nobody runs an engine
	} {
		t.Run(outcomes, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.provider(sandbox.Options{})
			s.sending("spring", 3, outcomes)
			s.run("campaign", "status", "spring", "--watch", "--every", "1ms").exits(c.code).says(c.says, "3  in all").warns("of 3 (")
			s.run("campaign", "status", "spring", "--watch", "--every", "1ms", "--json").exits(c.code).holds(map[string]any{"total": 3})
		})
	}
}

func TestWatchingFollowsACampaignToItsEnd(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	id := s.sending("spring", 3, "aap")
	unlock := holdEngine(t, s) // somebody sends
	defer unlock()
	var out, errs locked
	over := make(chan int, 1)
	go func() {
		over <- s.main(&out, &errs).Run(t.Context(), []string{"campaign", "status", "spring", "--watch", "--every", "1ms"})
	}()
	errs.await(t, func(s string) bool {
		return strings.Contains(s, "sending: 2 of 3 (66 %), 2 accepted; charged 0.10 AUD")
	})
	s.ledger(func(ctx context.Context, l *ledger.Ledger) {
		if err := l.Cancel(ctx, id, "test", "enough"); err != nil {
			t.Fatal(err)
		}
	})
	if code := <-over; code != exitStopped || !strings.Contains(out.String(), "is cancelled") {
		t.Errorf("it ends with %d and says %s%s", code, out.String(), errs.String())
	}
}

func TestWatchingRedrawsOnATerminal(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 2, "aa")
	s.at("").run("campaign", "status", "spring", "--watch").exits(exitDone).warns("\r\x1b[Kcompleted: 2 of 2 (100 %)")
	s.run("campaign", "status", "spring", "--watch", "--every", "0s").exits(exitUsage).warns("--every")
}

func TestAReportSaysWhatBecameOfEverybodyAndWhoDidWhat(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 5, "aaru")
	r := s.run("campaign", "report", "spring").exits(exitDone).says("5  in all", "3  accepted", "1  rejected", "1  unknown", "by test: approved")
	r.hides("+6141200000")
	events := s.run("campaign", "report", "spring", "--json").exits(exitDone).holds(map[string]any{"name": "spring", "total": 5}).object()["events"]
	if list, ok := events.([]any); !ok || len(list) < 2 {
		t.Errorf("the events are %v", events)
	}
}

func TestAReportsCSVAddsUpToTheReport(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 1500, "arupaarr") // a second batch has not left
	s.run("campaign", "report", "spring", "--csv", "out.csv").exits(exitDone).says("1,500 recipients: out.csv")
	status := s.run("campaign", "status", "spring", "--json").object()
	b, err := os.ReadFile(filepath.Join(s.dir, "out.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(b))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	states := map[string]int{}
	var charged, quoted campaign.Micros
	for _, row := range rows[1:] {
		states[row[at["state"]]]++
		if p := row[at["price"]]; p != "" {
			m, err := campaign.ParseMicros(p)
			if err != nil {
				t.Fatal(err)
			}
			charged += m
		}
		q, err := campaign.ParseMicros(row[at["quoted"]])
		if err != nil {
			t.Fatal(err)
		}
		quoted += q
	}
	for state, n := range map[string]int{"accepted": 995, "rejected": 3, "unknown": 1, "pending": 501} {
		if states[state] != n || fmt.Sprint(status[state]) != fmt.Sprint(n) {
			t.Errorf("%s: the CSV has %d, the status %v, want %d", state, states[state], status[state], n)
		}
	}
	if charged.String() != status["spent"] || quoted.String() != status["quoted"] {
		t.Errorf("the CSV adds up to %s charged and %s quoted, the status says %v and %v", charged, quoted, status["spent"], status["quoted"])
	}
	first := rows[1]
	for name, want := range map[string]string{
		"phone": "+61412000000", "first_name": "Ann", "last_name": "'=SUM(A1)", "line": "2", "message_id": "ID-0", "status": "SUCCESS",
		"price": "0.05", "parts": "1", "messages": "1", "currency": "AUD",
	} {
		if first[at[name]] != want {
			t.Errorf("%s is %q, want %q", name, first[at[name]], want)
		}
	}
	if first[at["time"]] == "" {
		t.Error("no time is said")
	}
}

func TestAReportsCSVGoesToStdoutAlone(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 2, "aa")
	r := s.run("campaign", "report", "spring", "--csv", "-").exits(exitDone)
	if rows, err := csv.NewReader(strings.NewReader(r.out)).ReadAll(); err != nil || len(rows) != 3 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	s.run("campaign", "report", "spring", "--csv", "-", "--json").exits(exitUsage).warns("name a file with --csv")
	s.run("campaign", "report", "spring", "--csv", "no/folder/out.csv").exits(exitUsage).warns("there is no such folder")
	s.run("campaign", "report", "spring", "--csv", "out.csv", "--json").exits(exitDone).holds(map[string]any{"csv": filepath.Join(s.dir, "out.csv")})
}

func TestPausingIsHeldToWhatCanBePaused(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 3, "aap")
	s.run("campaign", "pause", "spring", "--json").exits(exitDone).holds(map[string]any{"state": "paused"})
	s.run("campaign", "pause", "spring", "--reason", "another").exits(exitDone).hides("another")
	s.sending("done", 1, "a")
	s.run("campaign", "pause", "done").exits(exitFailed).warns("is completed: there is nothing to pause")
}

func TestAResumedCampaignNeedsSomebodyToSendIt(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 3, "aap")
	s.run("campaign", "resume", "spring").exits(exitFailed).warns("is sending, not paused: there is nothing to resume")
	s.run("campaign", "pause", "spring").exits(exitDone)
	s.run("campaign", "resume", "spring").exits(exitDone).says("is sending", "nobody is sending now: run `postrider serve`")
	s.run("campaign", "pause", "spring").exits(exitDone)
	defer holdEngine(t, s)()
	if r := s.run("campaign", "resume", "spring", "--json").exits(exitDone).holds(map[string]any{"state": "sending"}); r.err != "" {
		t.Errorf("an engine runs, and it warns: %s", r.err)
	}
}

func TestAResumedCampaignIsSentHereWhenAskedTo(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	server := s.provider(sandbox.Options{})
	s.sending("spring", 3, "")
	s.run("campaign", "pause", "spring").exits(exitDone)
	s.run("campaign", "resume", "spring", "--wait").exits(exitDone).says("3  accepted", "is completed")
	if n := server.Stats().Accepted; n != 3 {
		t.Errorf("the provider accepted %d messages, want 3", n)
	}
}

func TestACampaignIsOnlyResumedUnderItsOwnAccount(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 3, "aap")
	s.run("campaign", "pause", "spring", "--reason", "a look").exits(exitDone)
	other := newShell(t)
	other.provider(sandbox.Options{})
	r := s.with("CLICKSEND_BASE_URL="+other.seen.BaseURL).run("campaign", "resume", "spring", "--wait").exits(exitFailed)
	r.warns("was quoted at "+s.seen.BaseURL, other.seen.BaseURL, "nothing was changed").hides(s.seen.APIKey)
	s.with("CLICKSEND_USERNAME=nocredit", "CLICKSEND_API_KEY="+sandbox.TestPassword).run("campaign", "resume", "spring").
		exits(exitFailed).warns("was quoted with another account at "+s.seen.BaseURL, "nothing was changed").hides(sandbox.TestPassword)
	s.with("CLICKSEND_API_KEY=wrong-key").run("campaign", "resume", "spring").exits(exitFailed).warns("refuses the user name or the API key").hides("wrong-key")
	s.with("CLICKSEND_API_KEY=").run("campaign", "resume", "spring").exits(exitFailed).warns("no ClickSend credentials")
	s.run("campaign", "status", "spring", "--json").holds(map[string]any{"state": "paused", "reason": "a look"})
}

func TestCancellingSaysWhatCanBeCancelledAndAsks(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 5, "aappu")
	s.run("campaign", "cancel", "spring").exits(exitUsage).warns("add --yes")
	s.at("no\n").run("campaign", "cancel", "spring").exits(exitStopped).
		warns("2 pending recipients will be cancelled", "0 in flight and 1 unknown", "nobody said yes")
	s.run("campaign", "status", "spring", "--json").holds(map[string]any{"state": "sending", "pending": 2})
	s.at("yes\n").run("campaign", "cancel", "spring", "--reason", "typo").exits(exitDone).says("is cancelling: typo")
	s.run("campaign", "status", "spring", "--json").holds(map[string]any{"cancelled": 2, "unknown": 1, "pending": 0})
	s.run("campaign", "cancel", "spring", "--yes").exits(exitDone).says("is cancelling: typo")
}

func TestCancellingWithoutAQuestion(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 3, "aap")
	s.run("campaign", "cancel", "spring", "--yes", "--json").exits(exitDone).holds(map[string]any{"state": "cancelled", "cancelled": 1, "accepted": 2})
	s.sending("done", 1, "a")
	s.run("campaign", "cancel", "done", "--yes").exits(exitFailed).warns("is completed: there is nothing left to cancel")
}

// A cap that the second batch does not fit under pauses, and can be raised.
func TestABudgetPausesAndCanBeRaised(t *testing.T) {
	t.Parallel()
	s := newShell(t).with("POSTRIDER_CONCURRENCY_SMS=1") // the large batch first
	p := s.provider(sandbox.Options{})
	s.sending("sale", 1150, "")
	s.run("campaign", "pause", "sale").exits(exitDone)
	s.run("campaign", "resume", "sale", "--budget", "57.00", "--wait", "--rate", "50").
		exits(exitStopped).says("1,000  accepted", "150  pending", "budget", "of a budget of 57.00 AUD; allow more with `postrider campaign resume 1 --budget AMOUNT`")
	s.run("campaign", "resume", "sale", "--budget", "20.00").exits(exitUsage).warns("--budget: 20.00 is less than the 56.60 AUD that are charged and reserved already")
	s.run("campaign", "resume", "sale", "--budget", "lots").exits(exitUsage).warns("--budget")
	s.run("campaign", "resume", "sale", "--budget", "100.00", "--wait", "--rate", "50").exits(exitDone).says("1,150  accepted")
	if st := p.Stats(); st.Accepted != 1150 || st.Again != 0 {
		t.Errorf("the provider accepted %d, %d of them again", st.Accepted, st.Again)
	}
}

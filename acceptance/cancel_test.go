package acceptance

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
)

// cancelSMS is what cancels a held message.
const cancelSMS = "PUT /sms/{message_id}/cancel"

// TestAcceptCancelHeld cancels a campaign that the provider holds, message by
// message, while whoever does it is killed again and again and answers are lost;
// when most are cancelled, the hour comes. In the end everybody is cancelled or was
// too late, and the provider says the same, to the cent.
func TestAcceptCancelHeld(t *testing.T) {
	t.Parallel()
	for _, embedded := range []bool{true, false} {
		t.Run(map[bool]string{true: "embedded", false: "servers"}[embedded], func(t *testing.T) {
			t.Parallel()
			cancelHeld(t, embedded)
		})
	}
}

func cancelHeld(t *testing.T, embedded bool) {
	n := scaled(t, 50_000)
	var jump atomic.Int64 // of the provider's clock
	w := newWorld(t, sandbox.Options{
		DropBodies: true, Clock: func() time.Time { return time.Now().Add(time.Duration(jump.Load())) },
	})
	w.hasty().set("POSTRIDER_RATE", strconv.FormatFloat(float64(n)/20, 'f', 0, 64))
	roles := []string{"serve"}
	if !embedded {
		pg := services.PostgresAlone(t, services.PostgresOptions{})
		w.set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", services.Redis(t).URL())
		roles = []string{"worker", "worker"}
		w.role("scheduler")
	}
	w.audience("people.csv", 0, n)
	var running []*process
	for _, role := range roles {
		running = append(running, w.role(role))
	}
	w.must(sms("people.csv", "sale", "--at", time.Now().Add(time.Hour).Format(time.RFC3339), "--hold-at", "provider")...)
	s := w.awaitState(patience(n), "sale", "completed")
	if s.Accepted != n || s.Held != n {
		t.Fatalf("%d accepted and %d held, want %d: %+v", s.Accepted, s.Held, n, s)
	}
	w.provider.SetFaults(sandbox.Faults{ResetAfter: 0.01, ResetBefore: 0.01, Error503: 0.005, TooMany: 0.005, Endpoints: []string{cancelSMS}})
	said := w.must("campaign", "cancel", "sale", "--yes", "--reason", "a wrong price")
	if want := "held by the provider until"; !strings.Contains(said, want) {
		t.Errorf("the command does not say %q:\n%s", want, said)
	}
	cancelled := func() int { return int(w.provider.Stats().Channels["sms"].Cancelled) }
	const kills = 6
	for i := range kills {
		eventually(t, patience(n), fmt.Sprintf("death %d", i+1), func() bool { return cancelled() > n*8/10*(i+1)/(kills+1) })
		p := &running[i%len(running)]
		(*p).kill()
		*p = w.role(roles[i%len(roles)])
	}
	eventually(t, patience(n), "most are cancelled", func() bool { return cancelled() > n*8/10 })
	jump.Store(int64(2 * time.Hour))
	if embedded { // the last part by the command itself
		running[0].kill()
		if p := w.run("campaign", "cancel", "sale", "--yes", "--wait"); p.code != 3 {
			t.Errorf("%s: exit code %d, want 3\n%s", p.line, p.code, p.stderr)
		}
	}
	s = w.awaitState(patience(n), "sale", "cancelled")
	if s.Cancelled+s.TooLate != n || s.Accepted != s.TooLate || s.TooLate == 0 || s.Reason != "a wrong price" {
		t.Errorf("%d cancelled and %d too late, want %d together: %+v", s.Cancelled, s.TooLate, n, s)
	}
	st := w.provider.Stats()
	sms := st.Channels["sms"]
	charged, err := campaign.ParseMicros(sms.Charged)
	if err != nil {
		t.Fatal(err)
	}
	refunded, err := campaign.ParseMicros(sms.Refunded)
	if err != nil {
		t.Fatal(err)
	}
	if int(sms.Cancelled) != s.Cancelled || charged-refunded != s.Spent || st.CancelAllBare != 0 || int(sms.Accepted) != n {
		t.Errorf("the provider cancelled %d, charged %s and refunded %s; the status says %d and %s", sms.Cancelled, charged, refunded, s.Cancelled, s.Spent)
	}
	t.Logf("%d messages: %d cancelled, %d too late, in %d requests", n, s.Cancelled, s.TooLate, st.Endpoints[cancelSMS].Requests)
	w.report(s)
	w.must("audit", "sale")
}

package acceptance

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/crashpoint"
	"github.com/postrider/postrider/internal/services"
)

// The processes that may die at a crash point. On the embedded default worker
// and scheduler are one, serve.
const (
	diesSending     = "worker"
	diesDispatching = "scheduler"
	diesPlanning    = "send"
	diesCancelling  = "cancel"
	diesOptingOut   = "optout"
)

// boundary is what has to happen for a crash point to be reached.
type boundary struct {
	dies    string // one of the processes above
	faults  sandbox.Faults
	channel string // sms when empty
	at      bool   // the campaign waits for its hour
	refuse  bool   // the first request to send is refused as a whole
	cancel  bool   // the provider holds the campaign, which is cancelled
	// dead: a worker has died before, with an attempt on record.
	dead bool
	// then are faults from that death on, or from the moment the campaign was
	// given, until the next death.
	then sandbox.Faults
}

const (
	sendSMS    = "POST /sms/send"
	historySMS = "GET /sms/history"
)

// lost is one answer that is lost after the messages were accepted; never is one
// request that is lost before.
var (
	lost  = sandbox.Faults{ResetAfter: 1, Limit: 1, Endpoints: []string{sendSMS}}
	never = sandbox.Faults{ResetBefore: 1, Limit: 1, Endpoints: []string{sendSMS}}
)

// boundaries says how each crash point is reached, by its name up to the dot.
// What is not named is reached by any worker.
var boundaries = map[string]boundary{
	"import-chunk": {dies: diesPlanning}, "import-finish": {dies: diesPlanning}, "create-draft": {dies: diesPlanning},
	"plan-chunk": {dies: diesPlanning}, "plan-finish": {dies: diesPlanning}, "quote-batch": {dies: diesPlanning}, "quote": {dies: diesPlanning},
	"move-campaign": {dies: diesPlanning},

	"optout-chunk": {dies: diesOptingOut}, "optout-finish": {dies: diesOptingOut},

	"start-due": {dies: diesDispatching, at: true}, "forget-dispatches": {dies: diesDispatching},
	"due": {dies: diesDispatching}, "enqueue": {dies: diesDispatching},

	"upload":         {channel: "mms"},
	"release":        {channel: "mms", at: true, then: sandbox.Faults{Error503: 1, Endpoints: []string{"POST /uploads"}}},
	"renew-lease":    {faults: sandbox.Faults{Slow: 1, SlowBy: time.Second, Endpoints: []string{sendSMS}}},
	"close-not-sent": {faults: sandbox.Faults{TooMany: 1, Limit: 1, Endpoints: []string{sendSMS}}},
	"close-refused":  {refuse: true},
	"close-unknown":  {faults: lost},

	"sweep":        {dies: diesDispatching, dead: true},
	"enqueue-look": {dies: diesDispatching, faults: lost},
	"begin-look":   {faults: lost}, "look-page": {faults: lost}, "apply-evidence": {faults: lost},
	"end-look":        {faults: never},
	"renew-look":      {faults: lost, dead: true, then: sandbox.Faults{Slow: 1, SlowBy: time.Second, Endpoints: []string{historySMS}}},
	"cancel-campaign": {dies: diesCancelling, cancel: true}, "claim-cancels": {cancel: true}, "record-cancels": {cancel: true}, "cancel": {cancel: true},
	"put-off-look": {dead: true, then: sandbox.Faults{Error503: 1, Endpoints: []string{"GET /account"}}},
}

// TestChaosEveryBoundary kills a process at every crash point there is, starts
// it again, and drives the campaign to its end: everybody is accepted once. A
// point that is not reached fails the test. At a tenth of the size it is a third of
// the points, every second of them on the embedded default and the others on
// PostgreSQL and Redis; whole, it is all of them on both.
func TestChaosEveryBoundary(t *testing.T) {
	t.Parallel()
	for kind := range boundaries {
		if !slices.ContainsFunc(crashpoint.Points(), func(p crashpoint.Point) bool { return kindOf(p) == kind }) {
			t.Errorf("there is no crash point %s", kind)
		}
	}
	pg := services.PostgresAlone(t, services.PostgresOptions{})
	rd := services.Redis(t)
	busy := make(chan struct{}, 6) // the cases wait most of the time
	var all sync.WaitGroup
	for i, at := range crashpoint.Points() {
		for _, embedded := range []bool{true, false} {
			// One of each three, not always the same of the three of a write.
			if !whole() && (i%3 != i/3%3 || embedded != (i/3%2 == 0)) {
				continue
			}
			name := "servers/" + string(at)
			if embedded {
				name = "embedded/" + string(at)
			}
			busy <- struct{}{}
			all.Go(func() {
				defer func() { <-busy }()
				t.Run(name, func(t *testing.T) { dieAt(t, at, i, embedded, pg, rd) })
			})
		}
	}
	all.Wait()
}

// whole reports whether the suite runs in full size.
func whole() bool { return os.Getenv("POSTRIDER_SCALE") == "1" }

// kindOf is the name of a crash point up to the dot.
func kindOf(p crashpoint.Point) string {
	kind, _, _ := strings.Cut(string(p), ".")
	return kind
}

// dieAt is one case of TestChaosEveryBoundary.
func dieAt(t *testing.T, at crashpoint.Point, number int, embedded bool, pg *services.PostgresServer, rd *services.RedisServer) {
	n := 2500
	b := boundaries[kindOf(at)]
	if b.cancel {
		n = 250 // each of them is a request
	}
	if b.dies == "" {
		b.dies = diesSending
	}
	w := newWorld(t, sandbox.Options{Faults: b.faults})
	w.hasty()
	if !embedded {
		url, err := pg.NewDatabase(t.Context(), fmt.Sprintf("boundary_%d", number))
		if err != nil {
			t.Fatal(err)
		}
		w.set("POSTRIDER_DATABASE_URL", url, "POSTRIDER_REDIS_URL", rd.URL())
	}
	if b.refuse {
		w.refuseOnce("/v3/sms/send")
	}
	w.audience("people.csv", 0, n)
	if b.dies == diesOptingOut {
		w.killOptingOut(at, 2*n) // a number and an address each
		return
	}
	if b.cancel {
		b.killCancelling(w, at, embedded)
		w.running(embedded)
		w.cancelledEach(w.awaitState(patience(n), "sale", "cancelled"), n)
		return
	}
	b.kill(w, at, embedded)

	w.provider.SetFaults(sandbox.Faults{})
	w.running(embedded)
	s := w.awaitState(patience(n), "sale", "completed")
	w.onceEach(s, n)
}

// kill brings a process to the crash point.
func (b *boundary) kill(w *world, at crashpoint.Point, embedded bool) {
	w.t.Helper()
	send := b.send(w)
	if b.dies == diesPlanning {
		w.running(embedded)
		w.armed(at, "").start(send...).died(at)
		// Somebody tries again; if the first came far enough, it stands in the way.
		if p := w.run(send...); p.code != 0 && !strings.Contains(p.stderr.String(), "campaign status") {
			w.t.Fatalf("exit code %d of the second try\n%s", p.code, p.stderr)
		}
		return
	}
	roles := map[string]*world{diesSending: w, diesDispatching: w}
	if b.dead {
		roles[diesSending] = w.armed(crashpoint.PostAfter, "")
	}
	if embedded {
		if !b.dead {
			roles[diesSending] = w.armed(at, "")
		}
		victim := roles[diesSending].role("serve")
		if !b.dead {
			b.give(w, send)
		} else {
			given := w.start(send...)
			victim.died(crashpoint.PostAfter)
			given.kill() // or it goes on with the campaign by itself
			w.provider.SetFaults(b.then)
			victim = w.armed(at, "").start("serve")
		}
		victim.died(at)
		return
	}
	if !b.dead || b.dies == diesDispatching {
		roles[b.dies] = w.armed(at, "")
	}
	processes := map[string]*process{}
	for name, in := range roles {
		processes[name] = in.start(name)
	}
	b.give(w, send)
	if b.dead {
		processes[diesSending].died(crashpoint.PostAfter)
		w.provider.SetFaults(b.then)
		if b.dies == diesSending {
			processes[diesSending] = w.armed(at, "").start("worker")
		}
	}
	processes[b.dies].died(at)
}

// killOptingOut kills an import of the audience as n opt-outs at the crash point: none of them
// counts, or all do, and the next import adds what is missing.
func (w *world) killOptingOut(at crashpoint.Point, n int) {
	w.t.Helper()
	w.must("optout", "ls") // makes the ledger
	importing := []string{"optout", "import", "people.csv", "--json"}
	w.armed(at, "").start(importing...).died(at)
	var there struct{ Total int }
	w.decode(w.must("optout", "ls", "--json"), &there)
	want := 0
	if at == crashpoint.Point(crashpoint.OptOutFinish)+".after" {
		want = n
	}
	if there.Total != want {
		w.t.Errorf("%d opt-outs count after the death, want %d", there.Total, want)
	}
	var again struct{ Added, Entries int }
	w.decode(w.must(importing...), &again)
	if again.Added != n-want || again.Entries != n {
		w.t.Errorf("the second import added %d of %d, want %d of %d", again.Added, again.Entries, n-want, n)
	}
	w.decode(w.must("optout", "ls", "--json"), &there)
	if there.Total != n {
		w.t.Errorf("%d opt-outs count in the end, want %d", there.Total, n)
	}
}

// killCancelling brings a process to the crash point that cancels what the
// provider holds.
func (b *boundary) killCancelling(w *world, at crashpoint.Point, embedded bool) {
	w.t.Helper()
	role := "worker"
	if embedded {
		role = "serve"
	} else {
		w.role("scheduler")
	}
	first := w.role(role)
	w.must(append(b.send(w), "--at", time.Now().Add(time.Hour).Format(time.RFC3339), "--hold-at", "provider")...)
	w.awaitState(patience(1000), "sale", "completed")
	first.stop()
	cancel := []string{"campaign", "cancel", "sale", "--yes"}
	if b.dies == diesCancelling {
		w.armed(at, "").start(cancel...).died(at)
		w.must(cancel...)
		return
	}
	victim := w.armed(at, "").role(role)
	w.must(cancel...)
	victim.died(at)
}

// cancelledEach holds a cancelled campaign against the provider: everybody was
// cancelled there, and refunded.
func (w *world) cancelledEach(s standing, n int) {
	w.t.Helper()
	sms := w.provider.Stats().Channels["sms"]
	if s.Cancelled != n || s.Spent != 0 || int(sms.Cancelled) != n || sms.Charged != sms.Refunded {
		w.t.Errorf("%d of %d are cancelled, %s is charged; the provider cancelled %d, charged %s and refunded %s: %+v", s.Cancelled, n, s.Spent, sms.Cancelled, sms.Charged, sms.Refunded, s)
	}
	w.report(s)
}

// give starts the campaign. On the embedded default the command goes on with it
// when serve dies under it, and says so if it stops short of the end.
func (b *boundary) give(w *world, send []string) {
	w.t.Helper()
	if p := w.run(send...); p.code != 0 && p.code != 4 {
		w.t.Fatalf("%s: exit code %d\n%s", p.line, p.code, p.stderr)
	}
	if !b.dead && b.at {
		w.provider.SetFaults(b.then)
	}
}

// send is the command of the campaign.
func (b *boundary) send(w *world) []string {
	w.t.Helper()
	args := sms("people.csv", "sale")
	if b.channel == "mms" {
		args = []string{"send", "--channel", "mms", "--to", "people.csv", "--name", "sale", "--from", "+61411111112", "--subject", "Sale",
			"--body", "See you, {{first_name}}", "--media", w.file("sale.png", picture(w.t)), "--yes"}
	}
	if b.at {
		args = append(args, "--at", time.Now().Add(12*time.Second).Format(time.RFC3339))
	}
	return args
}

// running starts whatever a deployment has running. On the embedded default a
// serve may have survived, and stays.
func (w *world) running(embedded bool) {
	w.t.Helper()
	if embedded {
		w.start("serve")
		return
	}
	w.start("worker")
	w.start("scheduler")
}

// died waits until the process has been killed at its crash point.
func (p *process) died(at crashpoint.Point) {
	p.t.Helper()
	p.reached(at)
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		p.t.Fatalf("%s lives on after crash point %s", p.line, at)
	}
}

// refuseOnce answers the first request to a path with 400.
func (w *world) refuseOnce(path string) {
	var once sync.Once
	front := func(rw http.ResponseWriter, r *http.Request) (refused bool) {
		if r.URL.Path == path {
			once.Do(func() {
				refused = true
				rw.Header().Set("Content-Type", "application/json")
				rw.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(rw, `{"http_code":400,"response_code":"BAD_REQUEST","response_msg":"One of the messages is malformed.","data":null}`)
			})
		}
		return refused
	}
	w.front.Store(&front)
}

// onceEach holds a finished campaign against the provider: everybody was
// accepted, and once, nobody is unknown, and the sums agree.
func (w *world) onceEach(s standing, n int) {
	w.t.Helper()
	if s.Total != n || s.Accepted != n || s.Unknown != 0 {
		w.t.Errorf("%s: %d recipients: want all of them accepted: %+v", s.Channel, n, s)
	}
	w.account(s, n)
	w.nobodyTwice()
	w.report(s)
}

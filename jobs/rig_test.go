package jobs_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/scheduler"
)

func TestMain(m *testing.M) { services.Main(m, services.NoLeaks()) }

// rig is a whole Postrider with the sandbox as its provider.
type rig struct {
	t       *testing.T
	ctx     context.Context
	log     *slog.Logger
	l       *ledger.Ledger
	target  string // of the ledger
	sb      *sandbox.Server
	srv     *httptest.Server
	wrap    atomic.Pointer[http.Handler] // stands before the sandbox when set
	p       *jobs.Provider
	rdb     redis.UniversalClient
	flush   func()
	sender  *jobs.Sender
	account ledger.Provider
	settle  time.Duration // when unknown recipients are found out; 0: never
}

type setup struct {
	sandbox  sandbox.Options
	redis    bool   // a real one, not the embedded
	postgres bool   // not SQLite
	database string // not a new one
	key      string // API key, the sandbox's own when empty
	rate     float64
	clock    func() time.Time // the ledger's
	sender   func(*jobs.Sender)
	config   func(*jobs.ProviderConfig)
}

func newRig(t *testing.T, o setup) *rig {
	t.Helper()
	t.Parallel()
	r := &rig{t: t, ctx: context.Background(), log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))}
	target := filepath.Join(t.TempDir(), "ledger.db")
	if o.postgres {
		target = services.Postgres(t)
	}
	if o.database != "" {
		target = o.database
	}
	var err error
	r.l, err = ledger.Open(r.ctx, target, ledger.Options{Clock: o.clock})
	r.ok(err)
	r.target = target
	t.Cleanup(func() { r.ok(r.l.Close()) })

	o.sandbox.Throttle = -1
	r.sb = sandbox.New(o.sandbox)
	r.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if h := r.wrap.Load(); h != nil {
			(*h).ServeHTTP(w, req)
			return
		}
		r.sb.ServeHTTP(w, req)
	}))
	t.Cleanup(func() { r.sb.Close(); r.srv.Close() })

	if o.redis {
		server := services.Redis(t)
		r.rdb = redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{server.Addr}})
		r.flush = func() { r.ok(r.rdb.FlushAll(r.ctx).Err()) }
	} else {
		embedded, err := jobs.StartEmbedded()
		r.ok(err)
		t.Cleanup(embedded.Close)
		r.rdb = redis.NewUniversalClient(embedded.Options())
		r.flush = embedded.Flush
	}
	t.Cleanup(func() { r.ok(r.rdb.Close()) })
	if o.key == "" {
		o.key = sandbox.DefaultAPIKey
	}
	if o.rate == 0 {
		o.rate = ratelimit.Unlimited
	}
	r.p = r.provider(o)
	r.account = ledger.Provider{URL: r.srv.URL + "/v3", User: "1"}
	r.sender = &jobs.Sender{Ledger: r.l, Provider: r.p, Log: r.log, Name: "worker", HTTPTimeout: 5 * time.Second, RefusalBrake: 0.2}
	if o.sender != nil {
		o.sender(r.sender)
	}
	return r
}

func (r *rig) provider(o setup) *jobs.Provider {
	r.t.Helper()
	cfg := jobs.ProviderConfig{
		Client:  clicksend.Config{BaseURL: r.srv.URL + "/v3", Username: sandbox.DefaultUsername, APIKey: o.key},
		Limiter: ratelimit.New(r.rdb, ratelimit.Options{Rate: o.rate, FixedRate: true}), Files: r.l,
	}
	if o.config != nil {
		o.config(&cfg)
	}
	p, err := jobs.NewProvider(cfg)
	r.ok(err)
	r.t.Cleanup(p.Close)
	return p
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) equal(got, want any) {
	r.t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		r.t.Fatalf("-want +got:\n%s", diff)
	}
}

// until waits for something that must come true.
func (r *rig) until(what string, is func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited for a minute: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// front puts a handler before the sandbox, or takes it away (nil).
func (r *rig) front(h http.HandlerFunc) {
	if h == nil {
		r.wrap.Store(nil)
		return
	}
	handler := http.Handler(h)
	r.wrap.Store(&handler)
}

// pdf is a document of two pages.
const pdf = "%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 >>\nendobj\n"

// content is something to send on a channel.
func (r *rig) content(ch campaign.Channel) campaign.Content {
	r.t.Helper()
	store := func(name, content string) campaign.File {
		f, err := r.l.StoreFile(r.ctx, name, campaign.FileType(name, []byte(content)), []byte(content))
		r.ok(err)
		return f
	}
	c := campaign.Content{Channel: ch}
	switch ch {
	case campaign.SMS:
		c.From, c.Body = "ACME", "Hi {{first_name}}"
	case campaign.MMS:
		f := store("a.jpg", "\xff\xd8\xff\xe0 picture")
		c.From, c.Body, c.Subject, c.Media = "+61411111111", "Hi {{first_name}}", "News", &f
	default:
		c.Files = []campaign.File{store("a.pdf", pdf)}
		a, err := r.p.Client().ReturnAddresses.Create(r.ctx, clicksend.Address{Name: "ACME", Line1: "1 Way", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"})
		r.ok(err)
		c.ReturnAddressID = a.ID
	}
	return c
}

func phone(i int) string { return fmt.Sprintf("+614120%05d", i) }

// planned makes a campaign of n recipients that is planned and not quoted.
func (r *rig) planned(content campaign.Content, n int, more ...func(*ledger.NewCampaign)) *ledger.Campaign {
	r.t.Helper()
	w, err := r.l.CreateList(r.ctx, "", "people.csv", "number")
	r.ok(err)
	people := make([]campaign.Contact, n)
	for i := range people {
		people[i] = campaign.Contact{Line: i + 2, Phone: phone(i), FirstName: "Ann", Country: "AU",
			Address: campaign.Address{Name: "Ann Lee", Line1: fmt.Sprintf("%d High St", i+1), City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}}
	}
	r.ok(w.Contacts(r.ctx, people))
	list, err := w.Finish(r.ctx, ledger.ListCounts{Rows: n, Imported: n})
	r.ok(err)
	nc := ledger.NewCampaign{Again: true, Content: content, ListID: list.ID, Digest: list.Digest, Provider: r.account, Currency: "AUD", Actor: "test"}
	for _, f := range more {
		f(&nc)
	}
	c, err := r.l.CreateCampaign(r.ctx, nc)
	r.ok(err)
	_, err = jobs.Plan(r.ctx, r.l, c, campaign.Limits{}, jobs.PlanOptions{})
	r.ok(err)
	return r.campaign(c.ID)
}

// quoted is planned, and priced by the sandbox.
func (r *rig) quoted(content campaign.Content, n int, more ...func(*ledger.NewCampaign)) *ledger.Campaign {
	r.t.Helper()
	c := r.planned(content, n, more...)
	_, err := jobs.MakeQuote(r.ctx, r.l, r.p, c, jobs.QuoteOptions{Actor: "test"})
	r.ok(err)
	return r.campaign(c.ID)
}

// begun is quoted, and started.
func (r *rig) begun(ch campaign.Channel, n int, more ...func(*ledger.NewCampaign)) *ledger.Campaign {
	r.t.Helper()
	c := r.quoted(r.content(ch), n, more...)
	r.ok(r.l.Approve(r.ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
	return r.campaign(c.ID)
}

func (r *rig) campaign(id int64) *ledger.Campaign {
	r.t.Helper()
	c, err := r.l.Campaign(r.ctx, id)
	r.ok(err)
	return c
}

func (r *rig) counts(id int64) ledger.Counts {
	r.t.Helper()
	c, err := r.l.Counts(r.ctx, id)
	r.ok(err)
	return c
}

// dispatcher is the one that the beat uses.
func (r *rig) dispatcher() *jobs.Dispatcher {
	return &jobs.Dispatcher{Ledger: r.l, Queue: asynq.NewClientFromRedisClient(r.rdb), Redis: r.rdb, Log: r.log, TaskTimeout: r.sender.TaskTimeout(),
		Settle: cmp.Or(r.settle, time.Hour)}
}

// finder finds out what is unknown after the rig's settling time.
func (r *rig) finder() *jobs.Reconciler {
	return &jobs.Reconciler{Ledger: r.l, Provider: r.p, Log: r.log, Name: "worker", Settle: r.settle}
}

// work runs a worker and the sweeper until the test ends.
func (r *rig) work() *jobs.Worker {
	r.t.Helper()
	w := &jobs.Worker{Sender: r.sender, Redis: r.rdb, Log: r.log}
	if r.settle > 0 {
		w.Reconciler = r.finder()
		w.Canceller = r.canceller()
	}
	r.ok(w.Start(r.ctx))
	r.t.Cleanup(w.Shutdown)
	b := &scheduler.Beat{Dispatcher: r.dispatcher(), Log: r.log, Every: 20 * time.Millisecond}
	b.Start()
	r.t.Cleanup(b.Shutdown)
	return w
}

// dispatched is every batch that is due, dispatched past the queue.
func (r *rig) dispatched(ch campaign.Channel) []ledger.Dispatch {
	r.t.Helper()
	due, err := r.l.Due(r.ctx, ledger.DueQuery{Channel: ch, Window: 1000, Again: time.Hour})
	r.ok(err)
	return due
}

// becomes waits for a campaign's state.
func (r *rig) becomes(id int64, want campaign.State) *ledger.Campaign {
	r.t.Helper()
	var c *ledger.Campaign
	r.until(fmt.Sprintf("campaign %d becomes %s", id, want), func() bool {
		c = r.campaign(id)
		if c.State.Final() && c.State != want {
			r.t.Fatalf("campaign %d is %s (%s), want %s", id, c.State, c.Reason, want)
		}
		return c.State == want
	})
	return c
}

// message is a line of what the sandbox accepted.
type message struct {
	To      string `json:"to"`
	Custom  string `json:"custom_string"`
	Address struct {
		Line1 string `json:"address_line_1"`
	} `json:"address"`
}

// accepted is what a sandbox accepted, by destination; nobody may be there
// twice.
func (r *rig) accepted(servers ...http.Handler) map[string]message {
	r.t.Helper()
	all := map[string]message{}
	for _, sb := range servers {
		req := httptest.NewRequest("GET", "/_sandbox/messages", nil)
		req.SetBasicAuth(sandbox.DefaultUsername, sandbox.DefaultAPIKey)
		rec := httptest.NewRecorder()
		sb.ServeHTTP(rec, req)
		for lines := bufio.NewScanner(rec.Body); lines.Scan(); {
			var m message
			r.ok(json.Unmarshal(lines.Bytes(), &m))
			key := m.To + m.Address.Line1
			if _, twice := all[key]; twice {
				r.t.Fatalf("%s was accepted twice", key)
			}
			all[key] = m
		}
	}
	return all
}

// once demands that exactly those whom the ledger calls accepted (and whoever is
// unknown, at most) were accepted by the sandbox, each once.
func (r *rig) once(id int64) {
	r.t.Helper()
	got := r.accepted(r.sb)
	c, st := r.counts(id), r.sb.Stats()
	if len(got) < c.Accepted || len(got) > c.Accepted+c.Unknown || st.Again != 0 {
		r.t.Fatalf("the sandbox accepted %d, %d of them again; the ledger says %+v", len(got), st.Again, c)
	}
	if st.LargestBatch > campaign.MaxBatch {
		r.t.Fatalf("a batch of %d", st.LargestBatch)
	}
	ca := r.campaign(id)
	r.ok(r.l.EachRecipient(r.ctx, ca, func(row *ledger.ReportRow) error {
		m, there := got[row.Contact.Phone]
		if ca.Channel.IsPost() {
			m, there = got[row.Contact.Address.Line1]
		}
		switch {
		case row.State == campaign.Unknown:
			return nil
		case there != (row.State == campaign.Accepted):
			return fmt.Errorf("recipient %d is %s, and the sandbox has it: %v", row.Recipient, row.State, there)
		case !there:
			return nil
		}
		ref, ours := campaign.ParseReference(m.Custom, r.l.ID())
		if !ours || ref.Recipient != row.Recipient {
			return fmt.Errorf("recipient %d was sent with the reference %q", row.Recipient, m.Custom)
		}
		return nil
	}))
}

package ledger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/services"
)

func TestMain(m *testing.M) { services.Main(m, services.NoLeaks()) }

// both runs a test of the conformance suite against SQLite and PostgreSQL.
func both(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t, filepath.Join(t.TempDir(), "ledger.db"), ""))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t, migratedPostgres(t), ""))
	})
}

func migratedPostgres(t testing.TB) string {
	return services.PostgresPrepared(t, "ledger", func(ctx context.Context, url string) error {
		l, err := Open(ctx, url, Options{})
		if err != nil {
			return err
		}
		// Copies of it are databases of their own, which were never opened.
		err = l.store.write(ctx, func(tx *tx) error {
			_, err := tx.exec.ExecContext(ctx, `UPDATE ledger SET home = ''`)
			return err
		})
		return errors.Join(err, l.Close())
	})
}

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a ledger with what its tests need.
type world struct {
	t            rapid.TB
	ctx          context.Context
	l            *Ledger
	clock        *clock
	cancelClaims int // for the names of workers
	target       string
}

func newWorld(t testing.TB, target, fileDir string) *world {
	t.Helper()
	w := &world{t: t, ctx: context.Background(), target: target, clock: &clock{now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)}}
	l, err := Open(w.ctx, target, Options{Clock: w.clock.Now, FileDir: fileDir})
	w.ok(err)
	w.l = l
	t.Cleanup(func() {
		if err := w.l.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// code demands an error with a code.
func (w *world) code(err error, want campaign.Code) {
	w.t.Helper()
	if err == nil || campaign.ErrorCode(err) != want {
		w.t.Fatalf("got error %v (%s), want one with code %s", err, campaign.ErrorCode(err), want)
	}
}

// is demands an error that is want.
func (w *world) is(err, want error) {
	w.t.Helper()
	if !errors.Is(err, want) {
		w.t.Fatalf("got error %v, want %v", err, want)
	}
}

func (w *world) equal(got, want any) {
	w.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("-want +got:\n%s", diff)
	}
}

// in returns the same world for a subtest.
func (w *world) in(t rapid.TB) *world {
	other := *w
	other.t = t
	return &other
}

func phone(i int) string { return fmt.Sprintf("+614120%05d", i) }

// list imports n contacts; an empty name makes the audience of one campaign.
func (w *world) list(name string, n int) *List {
	w.t.Helper()
	lw, err := w.l.CreateList(w.ctx, name, "people.csv", "number")
	w.ok(err)
	contacts := make([]campaign.Contact, n)
	for i := range contacts {
		contacts[i] = campaign.Contact{Line: i + 2, Phone: phone(i), FirstName: "Ann"}
	}
	w.ok(lw.Contacts(w.ctx, contacts))
	li, err := lw.Finish(w.ctx, ListCounts{Rows: n, Imported: n})
	w.ok(err)
	return li
}

var here = Provider{URL: "http://127.0.0.1/v3", User: "7"}

// draft creates a campaign for a new audience of n.
func (w *world) draft(n int, more ...func(*NewCampaign)) *Campaign {
	w.t.Helper()
	nc := NewCampaign{Again: true,
		Content: campaign.Content{Channel: campaign.SMS, Body: "Hi"},
		Digest:  "digest", Provider: here, Currency: "AUD", Actor: "test",
	}
	for _, f := range more {
		f(&nc)
	}
	if nc.ListID == 0 {
		nc.ListID = w.list("", n).ID
	}
	c, err := w.l.CreateCampaign(w.ctx, nc)
	w.ok(err)
	return c
}

// plan cuts the audience into batches of size.
func (w *world) plan(c *Campaign, size int) {
	w.t.Helper()
	p := w.l.Plan(c)
	var b campaign.PlannedBatch
	total := 0
	w.ok(w.l.EachContact(w.ctx, c.ListID, func(k *campaign.Contact) error {
		total++
		b.Recipients = append(b.Recipients, campaign.PlannedRecipient{ContactID: k.ID})
		if len(b.Recipients) < size {
			return nil
		}
		defer func() { b.Recipients = b.Recipients[:0] }()
		return p.Batch(w.ctx, b)
	}))
	if len(b.Recipients) > 0 {
		w.ok(p.Batch(w.ctx, b))
	}
	w.ok(p.Finish(w.ctx, campaign.PlanSummary{Total: total, Sendable: total}))
}

// price is what every message is quoted at.
const price = campaign.Micros(70_000)

func (w *world) quote(c *Campaign) *Campaign {
	w.t.Helper()
	q := Quote{Basis: "exact", Currency: "AUD"}
	w.ok(w.l.EachPlannedBatch(w.ctx, c, func(b PlannedBatch) error {
		q.Total += price * campaign.Micros(len(b.Recipients))
		q.Messages += len(b.Recipients)
		return w.price(c, b, func(int) campaign.Micros { return price })
	}))
	w.setQuote(c, q)
	return w.campaign(c.ID)
}

// setQuote makes a draft quoted and returns the quote's id.
func (w *world) setQuote(c *Campaign, q Quote) int64 {
	w.t.Helper()
	id, err := w.l.SetQuote(w.ctx, c, q, "test")
	w.ok(err)
	return id
}

// sending makes a campaign of n recipients in batches of size, started. Its
// budget, if it has one, is set after the start, so that it may be too small.
func (w *world) sending(n, size int, more ...func(*NewCampaign)) *Campaign {
	w.t.Helper()
	var budget *campaign.Micros
	c := w.draft(n, append(more, func(n *NewCampaign) { budget, n.Budget = n.Budget, nil })...)
	w.plan(c, size)
	w.quote(c)
	w.move(c.ID, campaign.Sending)
	if budget != nil {
		w.ok(w.l.SetBudget(w.ctx, c.ID, *budget, "test"))
	}
	return w.campaign(c.ID)
}

func (w *world) campaign(id int64) *Campaign {
	w.t.Helper()
	c, err := w.l.Campaign(w.ctx, id)
	w.ok(err)
	return c
}

// price quotes the recipients of a batch.
func (w *world) price(c *Campaign, b PlannedBatch, of func(i int) campaign.Micros) error {
	p := BatchPrices{Batch: b.ID}
	for i, r := range b.Recipients {
		p.Recipients = append(p.Recipients, r.ID)
		p.Prices = append(p.Prices, of(i))
	}
	return w.l.QuoteBatches(w.ctx, c.ID, []BatchPrices{p})
}

// move moves a campaign; a quoted one is approved.
func (w *world) move(id int64, to campaign.State) {
	w.t.Helper()
	if w.campaign(id).State == campaign.Quoted && (to == campaign.Sending || to == campaign.Scheduled) {
		w.ok(w.l.Approve(w.ctx, id, Approval{To: to, Actor: "test"}))
		return
	}
	w.ok(w.l.MoveCampaign(w.ctx, id, Move{To: to, Actor: "test"}))
}

func (w *world) state(id int64, want campaign.State) {
	w.t.Helper()
	if c := w.campaign(id); c.State != want {
		w.t.Fatalf("campaign %d is %s (%s), want %s", id, c.State, c.Reason, want)
	}
}

func (w *world) counts(id int64) Counts {
	w.t.Helper()
	c, err := w.l.Counts(w.ctx, id)
	w.ok(err)
	return c
}

var allDue = DueQuery{Channel: campaign.SMS, Window: 1000, Again: time.Minute}

func (w *world) due() []Dispatch {
	w.t.Helper()
	d, err := w.l.Due(w.ctx, allDue)
	w.ok(err)
	return d
}

const lease = 15 * time.Second

// claim takes a dispatched batch, which must be possible.
func (w *world) claim(d Dispatch) *Claim {
	w.t.Helper()
	cl, err := w.l.Claim(w.ctx, d.Batch, d.Number, "worker", lease)
	w.ok(err)
	if cl == nil {
		w.t.Fatalf("batch %d could not be claimed", d.Batch)
	}
	return cl
}

// next dispatches and claims the first batch that is due.
func (w *world) next() *Claim {
	w.t.Helper()
	due, err := w.l.Due(w.ctx, DueQuery{Channel: campaign.SMS, Window: 1, Again: time.Minute})
	w.ok(err)
	if len(due) == 0 {
		w.t.Fatal("no batch is due")
	}
	return w.claim(due[0])
}

func members(cl *Claim) []int64 {
	ids := make([]int64, len(cl.Recipients))
	for i, r := range cl.Recipients {
		ids[i] = r.ID
	}
	return ids
}

const within = 31 * time.Second

func (w *world) tryBegin(cl *Claim) (*Attempt, error) {
	return w.l.BeginAttempt(w.ctx, cl, Begin{Within: within, Members: members(cl)})
}

func (w *world) begin(cl *Claim) *Attempt {
	w.t.Helper()
	a, err := w.tryBegin(cl)
	w.ok(err)
	return a
}

// nextAttempt is next and begin.
func (w *world) nextAttempt() *Attempt {
	w.t.Helper()
	return w.begin(w.next())
}

// answered closes an attempt with the outcome of f for every member.
func (w *world) answered(a *Attempt, f func(i int) Outcome) {
	w.t.Helper()
	w.ok(w.l.CloseAnswered(w.ctx, a, answer(a, f)))
}

// answer gives every member of an attempt the outcome of f.
func answer(a *Attempt, f func(i int) Outcome) Answer {
	ans := Answer{Currency: "AUD", Outcomes: make([]Outcome, len(a.Members))}
	for i, id := range a.Members {
		ans.Outcomes[i] = f(i)
		ans.Outcomes[i].Recipient = id
	}
	return ans
}

func accepted(int) Outcome {
	return Outcome{State: campaign.Accepted, ProviderID: "id", Status: "SUCCESS", Price: price, Parts: 1}
}

func rejected(int) Outcome {
	return Outcome{State: campaign.Rejected, Status: "INVALID_RECIPIENT", Reason: "INVALID_RECIPIENT"}
}

func unknown(int) Outcome { return Outcome{State: campaign.Unknown, Reason: "no_row"} }

func pending(int) Outcome { return Outcome{State: campaign.Pending} }

func passing(int) Outcome { return Outcome{State: campaign.Pending, Passing: true} }

// check demands the ledger's invariants of a campaign.
func (w *world) check(id int64) {
	w.t.Helper()
	c := w.campaign(id)
	q := w.l.store.read()
	rows, err := q.QueryContext(w.ctx, `SELECT b.id, b.state, b.pending, b.unknown, b.accepted, b.delivered, b.undelivered, b.rejected, b.suppressed, b.cancelled,
		(SELECT count(*) FROM attempts a WHERE a.batch_id = b.id AND a.state = 0) FROM batches b WHERE b.campaign_id = $1`, id)
	w.ok(err)
	defer rows.Close()
	counted := map[int64][8]int{}
	total := 0
	for rows.Next() {
		var (
			batch       int64
			state, open int
			n           [8]int
		)
		w.ok(rows.Scan(&batch, &state, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &open))
		counted[batch] = n
		for _, k := range n {
			total += k
		}
		switch {
		case (state == batchInFlight) != (open == 1) || open > 1:
			w.t.Fatalf("batch %d has state %d and %d open attempts", batch, state, open)
		case state == batchSettled && n[0] > 0 || state == batchReady && n[0] == 0:
			w.t.Fatalf("batch %d has state %d and %d pending", batch, state, n[0])
		}
	}
	w.ok(rows.Err())
	if total != c.Total {
		w.t.Fatalf("%d recipients are counted, want %d", total, c.Total)
	}
	grouped := map[int64][8]int{}
	for batch := range counted {
		grouped[batch] = [8]int{}
	}
	kept := w.keptForUnknown(id)
	states, err := q.QueryContext(w.ctx, `SELECT r.batch_id, r.state, count(*) FROM recipients r JOIN batches b ON b.id = r.batch_id WHERE b.campaign_id = $1 GROUP BY r.batch_id, r.state`, id)
	w.ok(err)
	defer states.Close()
	for states.Next() {
		var (
			batch    int64
			state, n int
		)
		w.ok(states.Scan(&batch, &state, &n))
		g := grouped[batch]
		g[state] = n
		grouped[batch] = g
	}
	w.ok(states.Err())
	if diff := cmp.Diff(grouped, counted); diff != "" {
		w.t.Fatalf("the counters of the batches differ, -recipients +counters:\n%s", diff)
	}
	var open, spent int64
	w.ok(q.QueryRowContext(w.ctx, `SELECT COALESCE(sum(reserved), 0) FROM attempts WHERE campaign_id = $1 AND state = 0`, id).Scan(&open))
	if int64(c.Reserved) != open+kept {
		w.t.Fatalf("%s is reserved; open attempts hold %s and unknown recipients %s", c.Reserved, campaign.Micros(open), campaign.Micros(kept))
	}
	charged := map[int64]int{}
	w.eachSaid(id, func(_, recipient int64, said Said) {
		if said.Price != 0 {
			spent += int64(said.Price)
			charged[recipient]++
		}
	})
	if int64(c.Spent) != spent {
		w.t.Fatalf("%s is spent and the messages cost %s", c.Spent, campaign.Micros(spent))
	}
	var reported campaign.Micros
	w.ok(w.l.EachRecipient(w.ctx, c, func(r *ReportRow) error { reported += r.Charged; return nil }))
	if reported != c.Spent {
		w.t.Fatalf("%s is spent and the report's lines come to %s", c.Spent, reported)
	}
	twice := 0
	for _, n := range charged {
		twice += n - 1
	}
	if n, err := w.l.Duplicates(w.ctx, id); err != nil || n != twice {
		w.t.Fatalf("%d messages were accepted too many, and %d duplicates are on record (%v)", twice, n, err)
	}
	if c.Budget != nil && c.Spent+c.Reserved > *c.Budget {
		w.t.Fatalf("%s spent and %s reserved of a budget of %s", c.Spent, c.Reserved, *c.Budget)
	}
	if n := w.counts(id); c.State.Final() && (n.Left() > 0 || n.Unknown > 0) {
		w.t.Fatalf("campaign %d is %s with %+v", id, c.State, n)
	}
}

// eachSaid hands what the provider said of the campaign's recipients to fn, the
// answers and the single rows.
func (w *world) eachSaid(id int64, fn func(attempt, recipient int64, said Said)) {
	w.t.Helper()
	rows, err := w.l.store.read().QueryContext(w.ctx, `SELECT id, members, answer FROM attempts WHERE campaign_id = $1 AND answer IS NOT NULL`, id)
	w.ok(err)
	defer rows.Close()
	for rows.Next() {
		var (
			attempt      int64
			cell, answer []byte
		)
		w.ok(rows.Scan(&attempt, &cell, &answer))
		members, err := decodeMembers(cell)
		w.ok(err)
		w.ok(unpackAnswer(answer, members, func(recipient int64, said Said) { fn(attempt, recipient, said) }))
	}
	w.ok(rows.Err())
	single, err := w.l.store.read().QueryContext(w.ctx, `SELECT m.attempt_id, m.recipient_id, m.provider_id, m.status, m.price, m.parts
		FROM messages m JOIN attempts a ON a.id = m.attempt_id WHERE a.campaign_id = $1`, id)
	w.ok(err)
	defer single.Close()
	for single.Next() {
		var (
			attempt, recipient int64
			said               Said
		)
		w.ok(single.Scan(&attempt, &recipient, &said.ProviderID, &said.Status, &said.Price, &said.Parts))
		fn(attempt, recipient, said)
	}
	w.ok(single.Err())
}

// keptForUnknown is what the campaign keeps reserved for members who are to be
// found out. Every unknown recipient must be one of them.
func (w *world) keptForUnknown(id int64) int64 {
	w.t.Helper()
	q := w.l.store.read()
	rows, err := q.QueryContext(w.ctx, `SELECT unresolved FROM attempts WHERE campaign_id = $1 AND unresolved IS NOT NULL AND state IN (1, 3)`, id)
	w.ok(err)
	defer rows.Close()
	var all []int64
	for rows.Next() {
		var cell []byte
		w.ok(rows.Scan(&cell))
		members, err := decodeMembers(cell)
		w.ok(err)
		all = append(all, members...)
	}
	w.ok(rows.Err())
	var kept int64
	sought := map[int64]bool{}
	for _, r := range all {
		var quoted int64
		w.ok(q.QueryRowContext(w.ctx, `SELECT quoted FROM recipients WHERE id = $1`, r).Scan(&quoted))
		kept += quoted
		sought[r] = true
	}
	unknown, err := q.QueryContext(w.ctx, `SELECT r.id FROM recipients r JOIN batches b ON b.id = r.batch_id WHERE b.campaign_id = $1 AND r.state = 1`, id)
	w.ok(err)
	ids, err := scanIDs(unknown)
	w.ok(err)
	for _, r := range ids {
		if !sought[r] {
			w.t.Fatalf("recipient %d is unknown, and no attempt has it to find", r)
		}
	}
	return kept
}

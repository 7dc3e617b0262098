package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// leap is a clock that waits by going forward.
type leap struct {
	mu  sync.Mutex
	now time.Time
}

func newLeap() *leap { return &leap{now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)} }

func (c *leap) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *leap) pause(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return ctx.Err()
}

// remoteRig is a rig whose provider's clock is ours.
type remoteRig struct {
	*rig
	*jobs.Remote
	clock *leap
	log   *strings.Builder
}

func newRemoteRig(t *testing.T, o setup) *remoteRig {
	t.Helper()
	clock := newLeap()
	o.sandbox.Clock = clock.Now
	r := &remoteRig{rig: newRig(t, o), clock: clock, log: &strings.Builder{}}
	r.Remote = r.another()
	return r
}

// another is what another process would have.
func (r *remoteRig) another() *jobs.Remote {
	return &jobs.Remote{
		Ledger: r.l, Provider: r.p, Log: slog.New(slog.NewTextHandler(r.log, nil)), DataDir: filepath.Dir(r.target), RejectsDir: filepath.Dir(r.target),
		Quiet: 90 * time.Second, Now: r.clock.Now, Pause: r.clock.pause,
	}
}

// stored makes a list of ours.
func (r *remoteRig) stored(name string, contacts ...campaign.Contact) *ledger.List {
	r.t.Helper()
	w, err := r.l.CreateList(r.ctx, name, name+".csv", "contact")
	r.ok(err)
	r.ok(w.Contacts(r.ctx, contacts))
	li, err := w.Finish(r.ctx, ledger.ListCounts{Rows: len(contacts), Imported: len(contacts)})
	r.ok(err)
	return li
}

// crowd is n people with numbers of their own.
func crowd(n int) []campaign.Contact {
	columns := campaign.NewColumns("tier")
	all := make([]campaign.Contact, n)
	for i := range all {
		all[i] = campaign.Contact{
			Line: i + 2, Phone: fmt.Sprintf("+614%08d", 12000000+i), FirstName: fmt.Sprint("Ann", i%977), LastName: "O'Neil, née Ödön", Country: "AU",
			Fields: campaign.Fields{Columns: columns, Values: []string{"gold \"plus\"\nline two"}},
		}
	}
	return all
}

func (r *remoteRig) push(li *ledger.List, change ...func(*jobs.PushRequest)) (*jobs.PushPlan, *jobs.Pushed) {
	r.t.Helper()
	q := jobs.PushRequest{List: li, RemoteName: li.Name, Wait: 10 * time.Minute}
	for _, f := range change {
		f(&q)
	}
	plan, err := r.PreparePush(r.ctx, q)
	r.ok(err)
	done, err := plan.Run(r.ctx)
	r.ok(err)
	return plan, done
}

// remoteRows reads the provider's list by itself.
func (r *remoteRig) remoteRows(id int64) (all []clicksend.Contact) {
	r.t.Helper()
	for n := 1; ; n++ {
		page, err := r.p.Client().Contacts.View(r.ctx, id, clicksend.ContactsQuery{PageQuery: clicksend.PageQuery{Page: n, Limit: 100}})
		r.ok(err)
		all = append(all, page.Rows...)
		if !page.More() {
			return all
		}
	}
}

// onlyOnce fails the test unless the provider's list has each of the contacts,
// and nobody twice.
func (r *remoteRig) onlyOnce(id int64, want []campaign.Contact) {
	r.t.Helper()
	there := map[string]int{}
	for _, k := range r.remoteRows(id) {
		there[k.PhoneNumber]++
	}
	for _, k := range want {
		if there[k.Phone] != 1 {
			r.t.Errorf("a contact is %d times at the provider", there[k.Phone])
		}
	}
	if len(there) != len(want) {
		r.t.Errorf("%d numbers at the provider, want %d", len(there), len(want))
	}
}

const (
	importContacts = "POST /lists/{list_id}/import"
	viewContacts   = "GET /lists/{list_id}/contacts"
)

func TestAPushCopiesWhatTheProviderKeepsAndTellsTheRest(t *testing.T) {
	r := newRemoteRig(t, setup{})
	columns := campaign.NewColumns("tier", "shop", "organization_name", "fax_number", "remote_id")
	with := func(values ...string) campaign.Fields { return campaign.Fields{Columns: columns, Values: values} }
	home := campaign.Address{Name: "Zoë van Dyk", Line1: "1 High St", Line2: "Flat 2", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}
	li := r.stored("people",
		campaign.Contact{Line: 2, Phone: "+61412000001", Email: "a@b.test", FirstName: "Jo", LastName: "Doe", Reference: "r1", Fields: with("gold", "north", "Acme", "+61298444214", "9")},
		campaign.Contact{Line: 3, Phone: "+61412000002", Address: home, Fields: with("silver", "", "", "", "")},
		campaign.Contact{Line: 4, Phone: "+61412000003", FirstName: "Gone", Fields: with("", "", "", "", "")},
		campaign.Contact{Line: 5, Address: home, Fields: with("", "", "", "", "")},                                   // only a letter reaches it
		campaign.Contact{Line: 6, Phone: "+61412000002", Address: home, Fields: with("silver", "south", "", "", "")}, // the same there
		campaign.Contact{Line: 7, Phone: "+61412000002", FirstName: "Spouse", Address: home, Fields: with("", "", "", "", "")},
	)
	r.ok(r.l.OptOut(r.ctx, "+61412000003", "test", ""))
	plan, done := r.push(li, func(q *jobs.PushRequest) { q.Custom = []string{"tier", "reference"} })
	r.equal([]int{plan.Contacts, plan.Suppressed, plan.Unreachable, plan.Same}, []int{3, 1, 1, 1})
	r.equal(plan.NotCopied, []jobs.ColumnCount{{Column: "shop", Values: 1}})
	r.equal([]int{done.Already, done.Imported, done.Missing, done.Others, done.Removed, int(done.Remote.Contacts)}, []int{0, 3, 0, 0, 0, 3})
	var got []clicksend.Person
	for _, k := range r.remoteRows(done.Remote.ID) {
		got = append(got, k.Person)
	}
	at := clicksend.Person{PhoneNumber: "+61412000002", AddressLine1: "1 High St", AddressLine2: "Flat 2", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}
	second, spouse := at, at
	second.FirstName, second.LastName, second.Custom1 = "Zoë", "van Dyk", "silver"
	spouse.FirstName = "Spouse"
	r.equal(got, []clicksend.Person{
		{PhoneNumber: "+61412000001", FirstName: "Jo", LastName: "Doe", Email: "a@b.test", Custom1: "gold", Custom2: "r1", FaxNumber: "+61298444214", Organization: "Acme"},
		second, spouse,
	})
}

func TestAPushAgainAddsWhatIsMissingAndRemovesWhatCameTwice(t *testing.T) {
	r := newRemoteRig(t, setup{})
	people := crowd(300)
	li := r.stored("people", people...)
	_, first := r.push(li)
	rows := r.remoteRows(first.Remote.ID)
	for _, k := range rows[10:15] {
		r.ok(r.p.Client().Contacts.Delete(r.ctx, first.Remote.ID, k.ID))
	}
	if _, err := r.p.Client().Contacts.Create(r.ctx, first.Remote.ID, rows[0].Person); err != nil {
		t.Fatal(err)
	}
	if _, err := r.p.Client().Contacts.Create(r.ctx, first.Remote.ID, clicksend.Person{Email: "stranger@x.test"}); err != nil {
		t.Fatal(err)
	}
	plan, again := r.push(li)
	r.equal([]int{again.Already, again.Imported, again.Missing, again.Removed, again.Others}, []int{295, 5, 0, 1, 1})
	if !plan.Resumes || again.Remote.ID != first.Remote.ID {
		t.Errorf("the second push went to list %d, the first to %d", again.Remote.ID, first.Remote.ID)
	}
	_, third := r.push(li)
	r.equal([]int{third.Already, third.Imported, third.Missing, third.Removed}, []int{300, 0, 0, 0})
}

func TestANameThatIsTakenIsToldWithItsID(t *testing.T) {
	r := newRemoteRig(t, setup{})
	theirs, err := r.p.Client().Lists.Create(r.ctx, "People")
	r.ok(err)
	people := crowd(20)
	li := r.stored("people", people...)
	_, err = r.PreparePush(r.ctx, jobs.PushRequest{List: li, RemoteName: "people", Wait: time.Minute})
	if campaign.ErrorCode(err) != campaign.CodeExists || !strings.Contains(err.Error(), fmt.Sprintf("--remote-list %d", theirs.ID)) {
		t.Fatalf("%v", err)
	}
	_, done := r.push(li, func(q *jobs.PushRequest) { q.RemoteID = theirs.ID })
	r.equal([]int64{done.Remote.ID, done.Remote.Contacts}, []int64{theirs.ID, 20})
	_, err = r.PreparePush(r.ctx, jobs.PushRequest{List: li, RemoteID: 999, Wait: time.Minute})
	if campaign.ErrorCode(err) != campaign.CodeNotFound {
		t.Errorf("%v", err)
	}
}

func TestColumnsThatCannotBeCopiedAreRefused(t *testing.T) {
	r := newRemoteRig(t, setup{})
	li := r.stored("people", crowd(1)...)
	for _, custom := range [][]string{{"tiers"}, {"tier", "tier"}, {"tier", "reference", "country", "address_name", "tier"}} {
		if _, err := r.PreparePush(r.ctx, jobs.PushRequest{List: li, RemoteName: "x", Custom: custom}); campaign.ErrorCode(err) != campaign.CodeInvalid {
			t.Errorf("%v: %v", custom, err)
		}
	}
}

// TestWhateverHappensToAnImportNobodyComesTwice is about one request in which
// something goes wrong: 6,000 contacts are two files.
func TestWhateverHappensToAnImportNobodyComesTwice(t *testing.T) {
	at := func(f sandbox.Faults, endpoint string) sandbox.Faults {
		f.Limit, f.Endpoints = 1, []string{endpoint}
		return f
	}
	for name, faults := range map[string]sandbox.Faults{
		"answer lost, imported":       at(sandbox.Faults{ResetAfter: 1}, importContacts),
		"answer lost, not imported":   at(sandbox.Faults{ResetBefore: 1}, importContacts),
		"500 and imported":            at(sandbox.Faults{Error500After: 1}, importContacts),
		"500 and not imported":        at(sandbox.Faults{Error500Before: 1}, importContacts),
		"half an answer":              at(sandbox.Faults{CutJSON: 1}, importContacts),
		"said to be queued, and lost": at(sandbox.Faults{Dropped: 1}, importContacts),
		"rows lost":                   at(sandbox.Faults{ImportLoses: 1}, importContacts),
		"slow":                        at(sandbox.Faults{ImportSlow: 1, SlowBy: 50 * time.Second}, importContacts),
		"429":                         at(sandbox.Faults{TooMany: 1}, importContacts),
		"list made, answer lost":      at(sandbox.Faults{ResetAfter: 1}, "POST /lists"),
		"list not made, answer lost":  at(sandbox.Faults{ResetBefore: 1}, "POST /lists"),
		"upload lost":                 at(sandbox.Faults{ResetAfter: 1}, "POST /uploads"),
		"duplicates, answer lost":     at(sandbox.Faults{ResetAfter: 1}, "PUT /lists/{list_id}/remove-duplicates"),
		"pages shift":                 {PageShift: 0.3},
		"a page fails":                at(sandbox.Faults{Error503: 1}, viewContacts),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemoteRig(t, setup{})
			people := crowd(6000)
			li := r.stored("people", people...)
			r.sb.SetFaults(faults)
			_, done := r.push(li)
			r.sb.SetFaults(sandbox.Faults{})
			r.equal([]int{done.Missing, int(done.Remote.Contacts)}, []int{0, len(people)})
			r.onlyOnce(done.Remote.ID, people)
		})
	}
}

func TestContactsThatTheProviderRefusesAreListedMasked(t *testing.T) {
	r := newRemoteRig(t, setup{})
	people := crowd(100)
	people[40].Phone, people[60].Phone = "+6141234567891", "+2101234567"
	people[60].FirstName = "Somebody"
	li := r.stored("people", people...)
	_, done := r.push(li)
	r.equal([]int{done.Missing, int(done.Remote.Contacts)}, []int{2, 98})
	if n := r.sb.Stats().Endpoints[importContacts].Requests; n != 2 {
		t.Errorf("what the provider refuses was imported in %d requests, want 2: once with all, once by itself", n)
	}
	text, err := os.ReadFile(done.MissingFile)
	r.ok(err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "42,phone,missing_at_provider,") || !strings.HasPrefix(lines[2], "62,") {
		t.Errorf("%s", text)
	}
	for _, secret := range []string{people[40].Phone, people[60].Phone, "Somebody"} {
		if strings.Contains(string(text), secret) || strings.Contains(r.log.String(), secret) {
			t.Errorf("%q is shown", secret)
		}
	}
}

func TestAnImportIsWaitedForToTheLimitAndGoesOnLater(t *testing.T) {
	r := newRemoteRig(t, setup{sandbox: sandbox.Options{Imports: sandbox.ImportMode{Delay: 30 * time.Second, RowsPerSecond: 10}}})
	people := crowd(3000)
	li := r.stored("people", people...)
	_, done := r.push(li, func(q *jobs.PushRequest) { q.Wait = 2 * time.Minute })
	if !done.Growing || done.Missing == 0 || done.Missing == 3000 {
		t.Fatalf("%+v", done)
	}
	r.ok(r.clock.pause(r.ctx, 10*time.Minute))
	_, done = r.push(li)
	r.equal([]int{done.Already, done.Imported, done.Missing}, []int{3000, 0, 0})
	_, slow := r.push(li, func(q *jobs.PushRequest) { q.RemoteName, q.Wait = "another", time.Hour })
	if slow.Growing || slow.Missing != 0 {
		t.Errorf("%+v", slow)
	}
}

func TestAPushThatDiesGoesOn(t *testing.T) {
	r := newRemoteRig(t, setup{})
	people := crowd(12_000) // three files
	li := r.stored("people", people...)
	ctx, die := context.WithCancel(r.ctx)
	r.front(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/import") && r.sb.Stats().Endpoints[importContacts].Requests == 1 {
			die()
			return
		}
		r.sb.ServeHTTP(w, req)
	})
	plan, err := r.PreparePush(ctx, jobs.PushRequest{List: li, RemoteName: "people", Wait: 10 * time.Minute})
	r.ok(err)
	if _, err := plan.Run(ctx); err == nil {
		t.Fatal("the push did not die")
	}
	r.front(nil)
	_, done := r.push(li)
	r.equal([]int{done.Already, done.Imported, done.Missing, int(done.Remote.Contacts)}, []int{5000, 7000, 0, 12_000})
	r.onlyOnce(done.Remote.ID, people)
}

// TestAPushThatDiesInASlowImportGoesOn has the first push die while the
// provider imports, before and after the first contacts have arrived.
func TestAPushThatDiesInASlowImportGoesOn(t *testing.T) {
	for _, after := range []time.Duration{0, 2500 * time.Millisecond, 4 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			r := newRemoteRig(t, setup{sandbox: sandbox.Options{Imports: sandbox.ImportMode{Delay: 2 * time.Second, RowsPerSecond: 20}}})
			people := crowd(56)
			li := r.stored("people", people...)
			ctx, die := context.WithCancel(r.ctx)
			defer die()
			until := r.clock.Now().Add(after)
			r.front(func(w http.ResponseWriter, req *http.Request) {
				r.sb.ServeHTTP(w, req)
				if strings.HasSuffix(req.URL.Path, "/import") {
					die()
				}
			})
			plan, err := r.another().PreparePush(ctx, jobs.PushRequest{List: li, RemoteName: "people", Wait: 10 * time.Minute})
			r.ok(err)
			if _, err := plan.Run(ctx); err == nil {
				t.Fatal("the push did not die")
			}
			r.front(nil)
			r.ok(r.clock.pause(r.ctx, max(0, until.Sub(r.clock.Now()))))
			_, done := r.push(li)
			r.ok(r.clock.pause(r.ctx, time.Hour)) // nothing comes later
			r.equal([]int{done.Missing, done.Surplus, done.Removed, len(r.remoteRows(done.Remote.ID))}, []int{0, 0, 0, len(people)})
			r.onlyOnce(done.Remote.ID, people)
		})
	}
}

func TestAListThatSomebodyElseMadeLosesNobody(t *testing.T) {
	r := newRemoteRig(t, setup{})
	theirs, err := r.p.Client().Lists.Create(r.ctx, "theirs")
	r.ok(err)
	people := crowd(20)
	for _, k := range []clicksend.Person{
		{PhoneNumber: people[0].Phone, FirstName: people[0].FirstName, LastName: people[0].LastName},
		{PhoneNumber: people[0].Phone, FirstName: people[0].FirstName, LastName: people[0].LastName},
		{PhoneNumber: "+61412999999"}, {PhoneNumber: "+61412999999"},
	} {
		_, err := r.p.Client().Contacts.Create(r.ctx, theirs.ID, k)
		r.ok(err)
	}
	_, done := r.push(r.stored("people", people...), func(q *jobs.PushRequest) { q.RemoteID = theirs.ID })
	r.equal([]int{done.Already, done.Imported, done.Missing, done.Removed, done.Surplus, done.Others, int(done.Remote.Contacts)}, []int{1, 19, 0, 0, 1, 2, 23})
}

func TestTwoPushesOfOneListDoNotMix(t *testing.T) {
	r := newRemoteRig(t, setup{})
	people := crowd(30)
	li := r.stored("people", people...)
	var once sync.Once
	var second error
	r.front(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/import") {
			once.Do(func() {
				plan, err := r.another().PreparePush(r.ctx, jobs.PushRequest{List: li, RemoteName: "people", Wait: time.Minute})
				if err == nil {
					_, err = plan.Run(r.ctx)
				}
				second = err
			})
		}
		r.sb.ServeHTTP(w, req)
	})
	_, done := r.push(li)
	if campaign.ErrorCode(second) != campaign.CodeConflict || !strings.Contains(second.Error(), "wait until it is done") {
		t.Errorf("the second push: %v", second)
	}
	r.onlyOnce(done.Remote.ID, people)
}

func TestAListComesBackAsItWasPushed(t *testing.T) {
	r := newRemoteRig(t, setup{})
	people := crowd(1234)
	people[3].Address = campaign.Address{Name: "x", Line1: "1 High St", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}
	people[5].FirstName, people[5].Email = "=1+1", "five@x.test"
	_, pushed := r.push(r.stored("people", people...), func(q *jobs.PushRequest) { q.Custom = []string{"tier"} })
	r.sb.SetFaults(sandbox.Faults{PageShift: 0.4})
	done, err := r.Pull(r.ctx, jobs.PullRequest{RemoteID: pushed.Remote.ID, Name: "back"})
	r.ok(err)
	r.equal([]int{done.List.Contacts, done.Summary.Rejected, done.Summary.Duplicates}, []int{len(people), 0, 0})
	r.equal(done.List.Columns, []string{"custom_1", "remote_id"})
	want := map[string]campaign.Contact{}
	for _, k := range people {
		want[k.Phone] = k
	}
	ids := map[string]bool{}
	r.ok(r.l.EachContact(r.ctx, done.List.ID, func(k *campaign.Contact) error {
		w := want[k.Phone]
		delete(want, k.Phone)
		tier, _ := k.Field("custom_1")
		id, _ := k.Field("remote_id")
		ids[id] = true
		if k.FirstName != w.FirstName || k.LastName != w.LastName || k.Email != w.Email || tier != w.Fields.Values[0] || k.Address.Line1 != w.Address.Line1 || k.Address.PostalCode != w.Address.PostalCode {
			t.Errorf("line %d came back as %+v", w.Line, *k)
		}
		return nil
	}))
	if len(want) != 0 || len(ids) != len(people) {
		t.Errorf("%d contacts did not come back; %d numbers of the provider's", len(want), len(ids))
	}
	r.noSpool()
}

// spools are the files of pulls in the data folder.
func (r *remoteRig) spools() []string {
	r.t.Helper()
	all, err := filepath.Glob(filepath.Join(r.DataDir, "pull-*"))
	r.ok(err)
	return all
}

func (r *remoteRig) noSpool() {
	r.t.Helper()
	if left := r.spools(); len(left) > 0 {
		r.t.Errorf("left behind: %v", left)
	}
}

// remoteCrowd is a list of the provider's with n contacts.
func (r *remoteRig) remoteCrowd(n int) int64 {
	r.t.Helper()
	_, done := r.push(r.stored("source", crowd(n)...))
	return done.Remote.ID
}

// dying reads pages until the nth, and then dies.
func (r *remoteRig) dying(id int64, pages int64) {
	r.t.Helper()
	ctx, die := context.WithCancel(r.ctx)
	defer die()
	r.front(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/contacts") {
			if pages--; pages < 0 {
				die()
				panic(http.ErrAbortHandler)
			}
		}
		r.sb.ServeHTTP(w, req)
	})
	if _, err := r.another().Pull(ctx, jobs.PullRequest{RemoteID: id, Name: "back"}); !errors.Is(err, context.Canceled) {
		r.t.Fatalf("the pull did not die: %v", err)
	}
	r.front(nil)
}

func TestAPullThatDiesReadsTheListOnceMore(t *testing.T) {
	for name, damage := range map[string]func(file string) (lost int){
		"as it was":   func(string) int { return 0 },
		"a torn line": func(file string) int { return cutFile(t, file, 100) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemoteRig(t, setup{})
			id := r.remoteCrowd(1000)
			r.dying(id, 4)
			var file string
			for _, f := range r.spools() {
				info, err := os.Stat(f)
				r.ok(err)
				if info.Mode().Perm() != 0o600 {
					t.Errorf("%s may be read by others: %s", f, info.Mode())
				}
				if strings.HasSuffix(f, ".jsonl") {
					file = f
				}
			}
			lost := damage(file)
			before := r.sb.Stats().Endpoints[viewContacts].Requests
			done, err := r.Pull(r.ctx, jobs.PullRequest{RemoteID: id, Name: "back"})
			r.ok(err)
			asked := int(r.sb.Stats().Endpoints[viewContacts].Requests - before)
			r.equal([]int{done.Resumed, asked, done.List.Contacts, done.Passes}, []int{4 - lost, 10, 1000, 1})
			r.noSpool()
		})
	}
}

// cutFile takes bytes off a file's end: the line there is torn.
func cutFile(t *testing.T, file string, n int64) int {
	t.Helper()
	info, err := os.Stat(file)
	if err == nil {
		err = os.Truncate(file, info.Size()-n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 1
}

func TestPagesThatAreTooOldOrNotOfThisAccountAreReadAgain(t *testing.T) {
	for name, change := range map[string]func(r *remoteRig, file string){
		"old": func(r *remoteRig, _ string) { r.ok(r.clock.pause(r.ctx, 25*time.Hour)) },
		"of another account": func(r *remoteRig, file string) {
			text, err := os.ReadFile(file)
			r.ok(err)
			r.ok(os.WriteFile(file, []byte(strings.Replace(string(text), `"user":"1"`, `"user":"2"`, 1)), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemoteRig(t, setup{})
			id := r.remoteCrowd(500)
			r.dying(id, 3)
			change(r, r.spools()[0])
			done, err := r.Pull(r.ctx, jobs.PullRequest{RemoteID: id, Name: "back"})
			r.ok(err)
			r.equal([]int{done.Resumed, done.List.Contacts}, []int{0, 500})
		})
	}
}

func TestAPullThatDiedSeesWhatChangedMeanwhile(t *testing.T) {
	for name, come := range map[string]int{"50 removed": 0, "50 removed, and as many added": 50} {
		t.Run(name, func(t *testing.T) {
			r := newRemoteRig(t, setup{})
			id := r.remoteCrowd(500)
			r.dying(id, 3)
			rows := r.remoteRows(id)
			want := map[string]bool{}
			for i, k := range rows { // all pages move by half a page
				if i < 50 {
					r.ok(r.p.Client().Contacts.Delete(r.ctx, id, k.ID))
				} else {
					want[k.PhoneNumber] = true
				}
			}
			for i := range come {
				phone := fmt.Sprintf("+614130000%02d", i)
				_, err := r.p.Client().Contacts.Create(r.ctx, id, clicksend.Person{PhoneNumber: phone})
				r.ok(err)
				want[phone] = true
			}
			r.dying(id, 4) // once more
			done, err := r.Pull(r.ctx, jobs.PullRequest{RemoteID: id, Name: "back"})
			r.ok(err)
			got := map[string]bool{}
			r.ok(r.l.EachContact(r.ctx, done.List.ID, func(k *campaign.Contact) error { got[k.Phone] = true; return nil }))
			r.equal(got, want)
			r.equal(done.Resumed, 7)
		})
	}
}

func TestThePagesOfAPullThatNobodyRunsAgainGo(t *testing.T) {
	r := newRemoteRig(t, setup{})
	id := r.remoteCrowd(500)
	r.dying(id, 3)
	r.ok(r.clock.pause(r.ctx, 23*time.Hour))
	other, err := r.p.Client().Lists.Create(r.ctx, "other")
	r.ok(err)
	_, err = r.p.Client().Contacts.Create(r.ctx, other.ID, clicksend.Person{PhoneNumber: "+61412999999"})
	r.ok(err)
	pages := func() int {
		all, err := filepath.Glob(filepath.Join(r.DataDir, "pull-*.jsonl"))
		r.ok(err)
		return len(all)
	}
	_, err = r.Pull(r.ctx, jobs.PullRequest{RemoteID: other.ID, Name: "other"})
	r.ok(err)
	r.equal(pages(), 1)
	r.ok(r.clock.pause(r.ctx, 2*time.Hour))
	_, err = r.Pull(r.ctx, jobs.PullRequest{RemoteID: other.ID, Name: "once more"})
	r.ok(err)
	r.noSpool()
}

// TestAnOptOutThatWasSeenOnceCounts has opt-outs go, and as many come, while no
// pull runs.
func TestAnOptOutThatWasSeenOnceCounts(t *testing.T) {
	r := newRemoteRig(t, setup{})
	id := r.remoteCrowd(500)
	before := r.remoteRows(id)
	r.dying(id, 3)
	for i, k := range before[:50] {
		r.ok(r.p.Client().Contacts.Delete(r.ctx, id, k.ID))
		_, err := r.p.Client().Contacts.Create(r.ctx, id, clicksend.Person{PhoneNumber: fmt.Sprintf("+614130000%02d", i)})
		r.ok(err)
	}
	done, err := r.PullOptOuts(r.ctx, id, "", "")
	r.ok(err)
	r.equal([]int{done.Entries, done.Added, done.Resumed}, []int{550, 550, 3})
	r.noSpool()
}

func TestWhoCannotBeSentToIsDroppedWithItsNumberAtTheProvider(t *testing.T) {
	r := newRemoteRig(t, setup{})
	li, err := r.p.Client().Lists.Create(r.ctx, "mixed")
	r.ok(err)
	var ids []int64
	for _, p := range []clicksend.Person{
		{PhoneNumber: "+61412000001", FirstName: "Two\nlines"}, {Email: "only@mail.test"}, {PhoneNumber: "+61412000002"},
		{FaxNumber: "+61298444214"}, {PhoneNumber: "+61412000003"},
	} {
		k, err := r.p.Client().Contacts.Create(r.ctx, li.ID, p)
		r.ok(err)
		ids = append(ids, k.ID)
	}
	r.ok(r.l.OptOut(r.ctx, "+61412000003", "test", ""))
	done, err := r.Pull(r.ctx, jobs.PullRequest{RemoteID: li.ID})
	r.ok(err)
	r.equal([]any{done.List.Name, done.Summary.Imported, done.Summary.Rejected, done.Summary.Suppressed}, []any{"mixed", 2, 2, 1})
	text, err := os.ReadFile(done.RejectsFile)
	r.ok(err)
	for _, i := range []int{1, 3, 4} {
		if !strings.Contains(string(text), fmt.Sprintf("contact %d at the provider", ids[i])) {
			t.Errorf("contact %d is not named:\n%s", ids[i], text)
		}
	}
	if _, err := r.Pull(r.ctx, jobs.PullRequest{RemoteID: li.ID}); campaign.ErrorCode(err) != campaign.CodeExists {
		t.Errorf("a second pull under the same name: %v", err)
	}
}

func TestTwoPullsOfOneListDoNotMix(t *testing.T) {
	r := newRemoteRig(t, setup{})
	id := r.remoteCrowd(300)
	var second error
	r.front(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/contacts") && second == nil {
			_, second = r.another().Pull(r.ctx, jobs.PullRequest{RemoteID: id, Name: "other"})
		}
		r.sb.ServeHTTP(w, req)
	})
	_, err := r.Pull(r.ctx, jobs.PullRequest{RemoteID: id, Name: "back"})
	r.ok(err)
	if campaign.ErrorCode(second) != campaign.CodeConflict {
		t.Errorf("the second pull: %v", second)
	}
}

// TestAListThatNeverStandsStillIsGivenUp has a provider whose total is never
// that of the contacts it shows, and changes.
func TestAListThatNeverStandsStillIsGivenUp(t *testing.T) {
	r := newRemoteRig(t, setup{})
	id := r.remoteCrowd(20)
	n := 0
	r.front(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasSuffix(req.URL.Path, "/contacts") {
			r.sb.ServeHTTP(w, req)
			return
		}
		n++
		row, err := json.Marshal(map[string]any{"contact_id": n, "phone_number": "+61412000001"})
		if err == nil {
			_, err = fmt.Fprintf(w, `{"http_code":200,"response_code":"SUCCESS","response_msg":"","data":{"total":%d,"current_page":1,"last_page":1,"data":[%s]}}`, 1000+n, row)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if _, err := r.Pull(r.ctx, jobs.PullRequest{RemoteID: id, Name: "back"}); campaign.ErrorCode(err) != campaign.CodeConflict {
		t.Fatalf("%v", err)
	}
}

func TestARemovedListIsForgotten(t *testing.T) {
	r := newRemoteRig(t, setup{})
	people := crowd(30)
	li := r.stored("people", people...)
	_, first := r.push(li)
	r.sb.SetFaults(sandbox.Faults{ResetAfter: 1, Limit: 1, Endpoints: []string{"DELETE /lists/{list_id}"}})
	r.ok(r.Remove(r.ctx, first.Remote.ID))
	plan, second := r.push(li)
	if plan.Resumes || second.Remote.ID == first.Remote.ID || second.Imported != 30 {
		t.Errorf("%+v after %+v", second, first)
	}
}

func TestTheProvidersOptOutsAreOurs(t *testing.T) {
	r := newRemoteRig(t, setup{})
	const optOuts = 1 // every account has one
	for _, p := range []clicksend.Person{
		{PhoneNumber: "+61412000001", FirstName: "Jo", AddressLine1: "1 High St", City: "Perth", PostalCode: "6000", Country: "AU"},
		{PhoneNumber: "+61412000002", Email: "Two@x.test"}, {Email: "three@x.test"}, {FaxNumber: "+61298444214"}, {PhoneNumber: "+61412000001"},
	} {
		_, err := r.p.Client().Contacts.Create(r.ctx, optOuts, p)
		r.ok(err)
	}
	done, err := r.PullOptOuts(r.ctx, optOuts, "", "stop")
	r.ok(err)
	r.equal([]int{done.Summary.Rows, done.Entries, done.Added, done.Summary.Rejected}, []int{5, 4, 4, 1})
	var got []string
	r.ok(r.l.EachOptOut(r.ctx, func(o *ledger.OptOut) error {
		got = append(got, fmt.Sprintf("%s %s from %s: %s", o.Kind, o.Key, o.Source, o.Reason))
		return nil
	}))
	slices.Sort(got)
	r.equal(got, []string{
		"email three@x.test from remote list 1: stop", "email two@x.test from remote list 1: stop",
		"phone +61412000001 from remote list 1: stop", "phone +61412000002 from remote list 1: stop",
	})
	again, err := r.PullOptOuts(r.ctx, optOuts, "", "")
	r.ok(err)
	r.equal([]int{again.Entries, again.Added}, []int{4, 0})
	r.noSpool()

	// Whoever is barred by number or by e-mail is copied to the provider no more.
	columns := campaign.NewColumns("x")
	none := campaign.Fields{Columns: columns, Values: []string{""}}
	plan, err := r.PreparePush(r.ctx, jobs.PushRequest{RemoteName: "l", List: r.stored("l",
		campaign.Contact{Line: 2, Phone: "+61412000001", Fields: none}, campaign.Contact{Line: 3, Phone: "+61412000009", Email: "two@X.test", Fields: none},
		campaign.Contact{Line: 4, Phone: "+61412000008", Fields: none})})
	r.ok(err)
	r.equal([]int{plan.Contacts, plan.Suppressed}, []int{1, 2})
	empty, err := r.p.Client().Lists.Create(r.ctx, "empty")
	r.ok(err)
	if nobody, err := r.PullOptOuts(r.ctx, empty.ID, "", ""); err != nil || nobody.Entries != 0 {
		t.Errorf("an empty list: %+v, %v", nobody, err)
	}
	r.noSpool()
}

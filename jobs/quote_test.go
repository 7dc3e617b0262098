package jobs_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/specimen"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

func TestTheQuoteIsWhatIsCharged(t *testing.T) {
	for _, ch := range campaign.Channels() {
		t.Run(string(ch), func(t *testing.T) {
			r := newRig(t, setup{})
			c := r.planned(r.content(ch), 1200)
			var done, total int
			q, err := jobs.MakeQuote(r.ctx, r.l, r.p, c, jobs.QuoteOptions{Actor: "test", Progress: func(d, of int) { done, total = d, of }})
			r.ok(err)
			basis := campaign.BasisExact
			if ch.IsPost() {
				basis = campaign.BasisClasses
			}
			r.equal([]any{q.Basis, q.Messages, q.PartsDiffer, len(q.Refusals), q.Currency, done, total}, []any{basis, 1200, 0, 0, "AUD", 1200, 1200})
			c = r.campaign(c.ID)
			r.equal([]any{c.State, c.Quoted}, []any{campaign.Quoted, q.Total})
			r.ok(r.l.Approve(r.ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
			for _, d := range r.dispatched(ch) {
				r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
			}
			r.equal(micros(r, r.sb.Stats().Charged), q.Total)
			r.equal(r.campaign(c.ID).Spent, q.Total)
		})
	}
}

func TestAQuoteComesThroughWhatPasses(t *testing.T) {
	price := []string{"POST /sms/price"}
	for name, f := range map[string]sandbox.Faults{
		"rows missing":           {MissingRows: 1},
		"rows reordered":         {Reordered: 1},
		"rows without reference": {NoReference: 1},
		"429":                    {TooMany: 1},
		"503":                    {Error503: 1},
		"reset":                  {ResetBefore: 1},
		"half an answer":         {CutJSON: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{})
			c := r.planned(r.content(campaign.SMS), 1500)
			f.Limit, f.Endpoints = 2, price
			r.sb.SetFaults(f)
			q, err := jobs.MakeQuote(r.ctx, r.l, r.p, c, jobs.QuoteOptions{Actor: "test"})
			r.ok(err)
			r.sb.SetFaults(sandbox.Faults{})
			clean := r.quoted(r.content(campaign.SMS), 1500)
			r.equal(q.Total, clean.Quoted)
			r.equal(q.Messages, 1500)
		})
	}
}

func TestAQuoteStopsAtAnErrorThatDoesNotPass(t *testing.T) {
	r := newRig(t, setup{key: "wrong"})
	c := r.planned(r.content(campaign.SMS), 40_000)
	_, err := jobs.MakeQuote(r.ctx, r.l, r.p, c, jobs.QuoteOptions{Actor: "test"})
	if clicksend.KindOf(err) != clicksend.Unauthorised {
		t.Fatalf("error %v, want one that says unauthorised", err)
	}
	if n := r.sb.Stats().Requests; n > 16 {
		t.Errorf("%d requests were made", n)
	}
	r.equal(r.campaign(c.ID).State, campaign.Draft)
}

func TestAQuoteNamesWhomTheProviderWouldRefuse(t *testing.T) {
	r := newRig(t, setup{sandbox: sandbox.Options{Countries: []string{"US"}}})
	c := r.planned(r.content(campaign.SMS), 10)
	q, err := jobs.MakeQuote(r.ctx, r.l, r.p, c, jobs.QuoteOptions{Actor: "test"})
	r.ok(err)
	r.equal(q.Refusals, map[string]int{"COUNTRY_NOT_ENABLED": 10})
	r.equal(q.Total, campaign.Micros(0))
}

func TestAPlanNamesTheRowsThatCannotBeSent(t *testing.T) {
	r := newRig(t, setup{})
	w, err := r.l.CreateList(r.ctx, "", "people.csv", "number")
	r.ok(err)
	r.ok(w.Contacts(r.ctx, []campaign.Contact{{Line: 2, Phone: phone(1), FirstName: "Ann"}, {Line: 3, Phone: phone(2)}}))
	list, err := w.Finish(r.ctx, ledger.ListCounts{})
	r.ok(err)
	c, err := r.l.CreateCampaign(r.ctx, ledger.NewCampaign{Content: campaign.Content{Channel: campaign.SMS, Body: "Hi {{first_name}}"}, ListID: list.ID, Provider: r.account})
	r.ok(err)
	_, err = jobs.Plan(r.ctx, r.l, c, campaign.Limits{}, jobs.PlanOptions{})
	if err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Fatalf("error %v, want one that names line 3", err)
	}
	r.ok(r.l.DiscardUnstarted(r.ctx, c.ID))
}

// price quotes a campaign, though it may be quoted already.
func (r *rig) price(c *ledger.Campaign, o jobs.QuoteOptions) (jobs.Quote, error) {
	r.t.Helper()
	if r.campaign(c.ID).State == campaign.Quoted {
		r.ok(r.l.Unquote(r.ctx, c.ID, "test"))
	}
	return jobs.MakeQuote(r.ctx, r.l, r.p, c, o)
}

// people makes a campaign to contacts of the caller's making.
func (r *rig) people(content campaign.Content, n int, one func(i int, k *campaign.Contact)) *ledger.Campaign {
	r.t.Helper()
	w, err := r.l.CreateList(r.ctx, "", "people.csv", "number")
	r.ok(err)
	all := make([]campaign.Contact, n)
	for i := range all {
		all[i] = campaign.Contact{Line: i + 2, FirstName: "Ann"}
		one(i, &all[i])
	}
	r.ok(w.Contacts(r.ctx, all))
	list, err := w.Finish(r.ctx, ledger.ListCounts{Rows: n, Imported: n})
	r.ok(err)
	c, err := r.l.CreateCampaign(r.ctx, ledger.NewCampaign{Again: true, Content: content, ListID: list.ID, Digest: list.Digest, Provider: r.account, Currency: "AUD", Actor: "test"})
	r.ok(err)
	_, err = jobs.Plan(r.ctx, r.l, c, campaign.Limits{}, jobs.PlanOptions{FileDir: r.t.TempDir()})
	r.ok(err)
	return r.campaign(c.ID)
}

// abroad spreads phone numbers over countries and lengths: of every ten, seven
// go to Australia, one each to Britain, New Zealand and the United States.
func abroad(i int, k *campaign.Contact) {
	k.Phone, k.Country = fmt.Sprintf("+614120%05d", i), "AU"
	switch i % 10 {
	case 7:
		k.Phone, k.Country = fmt.Sprintf("+4474001%05d", i), "GB"
	case 8:
		k.Phone, k.Country = fmt.Sprintf("+642112%05d", i), "NZ"
	case 9:
		k.Phone, k.Country = fmt.Sprintf("+120255%05d", i), "US"
	}
	switch i % 7 {
	case 5:
		k.FirstName = strings.Repeat("Anna ", 40) // two parts
	case 6:
		k.FirstName = "Аня"
	}
}

// prices are the quoted prices of a campaign's recipients, in order.
func (r *rig) prices(c *ledger.Campaign) (all []campaign.Micros) {
	r.t.Helper()
	r.ok(r.l.EachPlannedBatch(r.ctx, c, func(b ledger.PlannedBatch) error {
		for _, rc := range b.Recipients {
			all = append(all, rc.Quoted)
		}
		return nil
	}))
	return all
}

func TestALargeAudienceIsPricedByClassToTheSameTotal(t *testing.T) {
	r := newRig(t, setup{})
	const n = 3000
	c := r.people(r.content(campaign.SMS), n, abroad)
	exact, err := r.price(c, jobs.QuoteOptions{Actor: "test", Exact: true})
	r.ok(err)
	r.equal([]any{exact.Basis, exact.Detail.Calls}, []any{campaign.BasisExact, n / 1000})
	want := r.prices(c)

	var effort jobs.QuoteEffort
	var done []int
	q, err := r.price(c, jobs.QuoteOptions{Actor: "test", ExactUpTo: n - 1,
		Announce: func(e jobs.QuoteEffort) { effort = e }, Progress: func(d, _ int) { done = append(done, d) }})
	r.ok(err)
	r.equal([]any{q.Basis, q.Detail.Calls, q.Detail.Uploads}, []any{campaign.BasisClasses, 1, 0})
	r.equal(effort, jobs.QuoteEffort{ByClass: true, Calls: 1})
	r.equal(slices.IsSorted(done), true)
	r.equal(done[len(done)-1], n)
	r.equal([]any{q.Total, q.Messages, q.Parts, q.Detail.Countries, q.Detail.Lengths},
		[]any{exact.Total, exact.Messages, exact.Parts, exact.Detail.Countries, exact.Detail.Lengths})
	r.equal(r.prices(c), want)

	// The detail adds up, and tells countries and lengths apart.
	var sum, byLength campaign.Micros
	for _, d := range q.Detail.Countries {
		sum += d.Total
	}
	for _, d := range q.Detail.Lengths {
		byLength += d.Total
	}
	r.equal([]any{sum, byLength, len(q.Detail.Countries), len(q.Detail.Lengths), q.Detail.Countries[0].Country}, []any{q.Total, q.Total, 4, 2, "AU"})

	stored, err := r.l.LatestQuote(r.ctx, c.ID)
	r.ok(err)
	r.equal(stored.Detail, q.Detail)
}

func TestAClassWhoseSamplesDisagreeIsPricedExactly(t *testing.T) {
	r := newRig(t, setup{})
	const n = jobs.ExactUpTo + 1000
	c := r.people(r.content(campaign.SMS), n, func(i int, k *campaign.Contact) {
		abroad(i, k)
		if i == 0 { // reaches nobody, for free, and is the first of its class
			k.Phone = "+61411111111"
		}
	})
	q, err := r.price(c, jobs.QuoteOptions{Actor: "test"})
	r.ok(err)
	if q.Basis != campaign.BasisClasses || q.Detail.Calls < 12 || q.Detail.Calls > 14 {
		t.Errorf("basis %s, %d calls: want the class of a good half asked message by message, in full requests", q.Basis, q.Detail.Calls)
	}
	got := r.prices(c)
	r.equal(got[0], campaign.Micros(0))
	exact, err := r.price(c, jobs.QuoteOptions{Actor: "test", Exact: true})
	r.ok(err)
	r.equal([]any{q.Total, got}, []any{exact.Total, r.prices(c)})
}

func TestACountryThatIsNotEnabledIsNamedWithItsRecipients(t *testing.T) {
	for name, n := range map[string]int{"exact": 1000, "by class": 3000} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{sandbox: sandbox.Options{Countries: []string{"AU", "GB", "US"}}})
			c := r.people(r.content(campaign.SMS), n, abroad)
			q, err := r.price(c, jobs.QuoteOptions{Actor: "test", ExactUpTo: 2000})
			r.ok(err)
			r.equal(q.Refusals, map[string]int{"COUNTRY_NOT_ENABLED": n / 10})
			for _, d := range q.Detail.Countries {
				if (d.Country == "NZ") != (d.Refusals["COUNTRY_NOT_ENABLED"] == n/10 && d.Total == 0) || d.Country != "NZ" && len(d.Refusals) > 0 {
					t.Errorf("%+v", d)
				}
			}
			// Should it take them after all, the cap still holds.
			dearest := slices.Max(r.prices(c))
			for i, p := range r.prices(c) {
				if i%10 == 8 && p != dearest {
					t.Fatalf("a message that may be refused is quoted at %s, want the dearest price, %s", p, dearest)
				}
			}
		})
	}
}

func TestPostTakesOneUploadAndOneCallForAllWhoShareAFile(t *testing.T) {
	r := newRig(t, setup{})
	content := r.content(campaign.Letter)
	content.Colour, content.Duplex, content.Priority = true, true, true
	c := r.people(content, 2500, func(i int, k *campaign.Contact) { k.Address = address(i) })
	var effort jobs.QuoteEffort
	q, err := r.price(c, jobs.QuoteOptions{Actor: "test", Announce: func(e jobs.QuoteEffort) { effort = e }})
	r.ok(err)
	r.equal(effort, jobs.QuoteEffort{ByClass: true, Calls: 1, Uploads: 1})
	st := r.sb.Stats()
	r.equal([]any{st.Endpoints["POST /post/letters/price"].Requests, st.Uploads}, []any{int64(1), int64(1)})
	exact, err := r.price(c, jobs.QuoteOptions{Actor: "test", Exact: true})
	r.ok(err)
	r.equal([]any{q.Total, q.Detail.Countries, q.Detail.Files}, []any{exact.Total, exact.Detail.Countries, exact.Detail.Files})
	r.equal(q.Detail.Files, []campaign.FileQuote{{Name: "a.pdf", Files: 1, Colour: true, Duplex: true, Priority: true, Messages: 2500, Total: q.Total}})
}

// address gives every third recipient an address abroad.
func address(i int) campaign.Address {
	a := campaign.Address{Name: "Ann Lee", Line1: fmt.Sprintf("%d High St", i+1), City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}
	if i%3 == 2 {
		a.Country = "NZ"
	}
	return a
}

func TestPersonalLettersAreAskedForOncePerNumberOfPages(t *testing.T) {
	r := newRig(t, setup{})
	dir := t.TempDir()
	for i, pages := range []int{1, 2, 2} {
		r.ok(os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.pdf", i)), specimen.Letter(fmt.Sprint("letter ", i), pages), 0o600))
	}
	content := r.content(campaign.Letter)
	content.Files, content.FileColumn = nil, "pdf"
	columns := campaign.NewColumns("pdf")
	c := r.people(content, 30, func(i int, k *campaign.Contact) {
		k.Address = address(i / 3)
		k.Fields = campaign.Fields{Columns: columns, Values: []string{filepath.Join(dir, fmt.Sprintf("%d.pdf", i%3))}}
	})
	var effort jobs.QuoteEffort
	q, err := r.price(c, jobs.QuoteOptions{Actor: "test", Announce: func(e jobs.QuoteEffort) { effort = e }})
	r.ok(err)
	r.equal(effort, jobs.QuoteEffort{ByClass: true, Calls: 2, Uploads: 2})
	exact, err := r.price(c, jobs.QuoteOptions{Actor: "test", Exact: true, Announce: func(e jobs.QuoteEffort) { effort = e }})
	r.ok(err)
	r.equal(effort, jobs.QuoteEffort{Calls: 3, Uploads: 3})
	r.equal([]any{q.Total, q.Detail.Files}, []any{exact.Total, exact.Detail.Files})
}

func TestWithoutAPriceNothingStarts(t *testing.T) {
	r := newRig(t, setup{})
	c := r.planned(r.content(campaign.SMS), 3)
	r.front(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/price") {
			http.Error(w, `{"http_code":403,"response_code":"FORBIDDEN","response_msg":"no prices here","data":null}`, http.StatusForbidden)
			return
		}
		r.sb.ServeHTTP(w, req)
	})
	_, err := r.price(c, jobs.QuoteOptions{Actor: "test"})
	if err == nil || !strings.Contains(err.Error(), "no prices here") || !strings.Contains(err.Error(), "then ask again") {
		t.Fatalf("error %v, want the provider's word and what to do", err)
	}
	r.equal(r.campaign(c.ID).State, campaign.Draft)
	if r.l.Approve(r.ctx, c.ID, ledger.Approval{To: campaign.Sending}) == nil {
		t.Error("it was started")
	}
}

package jobs_test

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

func TestTheQuoteIsWhatIsCharged(t *testing.T) {
	for _, ch := range campaign.Channels() {
		t.Run(string(ch), func(t *testing.T) {
			r := newRig(t, setup{})
			c := r.planned(r.content(ch), 1200)
			var done, total int
			q, err := jobs.MakeQuote(r.ctx, r.l, r.p, c, "test", func(d, of int) { done, total = d, of })
			r.ok(err)
			r.equal([]any{q.Basis, q.Messages, q.PartsDiffer, len(q.Refusals), q.Currency, done, total}, []any{"exact", 1200, 0, 0, "AUD", 1200, 1200})
			c = r.campaign(c.ID)
			r.equal([]any{c.State, c.Quoted}, []any{campaign.Quoted, q.Total})
			r.ok(r.l.MoveCampaign(r.ctx, c.ID, ledger.Move{To: campaign.Sending, Actor: "test"}))
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
			q, err := jobs.MakeQuote(r.ctx, r.l, r.p, c, "test", nil)
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
	_, err := jobs.MakeQuote(r.ctx, r.l, r.p, c, "test", nil)
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
	q, err := jobs.MakeQuote(r.ctx, r.l, r.p, c, "test", nil)
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

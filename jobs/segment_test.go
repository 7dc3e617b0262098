package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/segment"
)

// list stores contacts with these numbers, and ages from 17 on.
func (r *rig) list(name string, from, n int) *ledger.List {
	r.t.Helper()
	w, err := r.l.CreateList(r.ctx, name, name+".csv", "contact")
	r.ok(err)
	columns := campaign.NewColumns("age")
	for i := range n {
		r.ok(w.Contacts(r.ctx, []campaign.Contact{{Line: i + 2, Phone: phone(from + i), Country: "AU", Fields: campaign.Fields{Columns: columns, Values: []string{fmt.Sprint(17 + i)}}}}))
	}
	list, err := w.Finish(r.ctx, ledger.ListCounts{Rows: n, Imported: n})
	r.ok(err)
	return list
}

func (r *rig) order(yaml string) *jobs.Order {
	r.t.Helper()
	o, err := jobs.ReadOrder("sale.yaml", 1, []byte("channel: sms\nfrom: ACME\nbody: Hi\nto: list:members\n"+yaml))
	r.ok(err)
	return o
}

func TestASegmentIsPlannedAndKept(t *testing.T) {
	for name, o := range map[string]setup{"SQLite": {}, "PostgreSQL": {postgres: true}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			r.list("members", 0, 20)
			r.list("vip", 5, 10)
			p := &jobs.Preparer{Ledger: r.l, Provider: r.p, Log: r.log, Actor: "test"}
			prep, err := p.Prepare(r.ctx, r.order("where: age >= 20\nexclude: [list:vip]\nlimit: 5\n"))
			r.ok(err)
			var selected []string
			r.ok(prep.EachSelected(r.ctx, func(c *campaign.Contact) error {
				selected = append(selected, strings.Clone(c.Phone))
				return nil
			}))
			r.ok(prep.Draft(r.ctx, false))
			r.ok(prep.Keep(r.ctx))
			want := []string{phone(3), phone(4), phone(15), phone(16), phone(17)}
			r.equal(selected, want)
			c := r.campaign(prep.Campaign.ID)
			r.equal(*c.Plan.Segment, campaign.Selection{
				Segment: campaign.Segment{Where: "age >= 20", Exclude: []string{"list:vip"}, Limit: 5},
				Of:      20, Matched: 17, Excluded: []campaign.Exclusion{{From: "list:vip", Contacts: 10}}, Sampled: 7, Selected: 5,
			})
			r.equal(c.Total, 5)
			var planned []string
			r.ok(r.l.EachRecipient(r.ctx, c, func(row *ledger.ReportRow) error {
				planned = append(planned, strings.Clone(row.Contact.Phone))
				return nil
			}))
			r.equal(planned, want)

			// A list of the same name that holds others is another segment.
			again, err := p.Prepare(r.ctx, r.order("where: (age) >= 20.0\nexclude: [list:vip]\nlimit: 5\n"))
			r.ok(err)
			r.ok(again.Draft(r.ctx, true))
			r.ok(again.Discard(r.ctx))
			same, err := p.Prepare(r.ctx, r.order("where: AGE>=20\nexclude: [list:vip]\nlimit: 5\n"))
			r.ok(err)
			var similar *ledger.SimilarError
			if err := same.Draft(r.ctx, false); !errors.As(err, &similar) {
				t.Errorf("the same segment is planned twice: %v", err)
			}
			r.ok(same.Discard(r.ctx))
			vip, err := r.l.FindList(r.ctx, "vip")
			r.ok(err)
			r.ok(r.l.RemoveList(r.ctx, vip.ID))
			r.list("vip", 5, 11)
			other, err := p.Prepare(r.ctx, r.order("where: age >= 20\nexclude: [list:vip]\nlimit: 5\n"))
			r.ok(err)
			r.ok(other.Draft(r.ctx, false))
			r.ok(other.Discard(r.ctx))
		})
	}
}

// Whoever is missed in a list that is to be left out would be sent to.
func TestAListThatGoesWhileItIsReadLeavesNobodyIn(t *testing.T) {
	r := newRig(t, setup{})
	members, vip := r.list("members", 0, 20), r.list("vip", 5, 10)
	p := &jobs.Preparer{Ledger: r.l, Provider: r.p, Log: r.log, Actor: "test"}
	prep, err := p.PrepareAudience(r.ctx, r.order("exclude: [list:vip]\n"), func(context.Context, *campaign.Content) (*jobs.Audience, error) {
		return &jobs.Audience{List: members}, r.l.RemoveList(r.ctx, vip.ID)
	})
	r.ok(err)
	if err := prep.Draft(r.ctx, false); err == nil || !strings.Contains(err.Error(), "list vip was removed or changed while it was read") {
		t.Errorf("it is planned without its list: %v", err)
	}
	r.ok(prep.Discard(r.ctx))
	all, err := r.l.Campaigns(r.ctx)
	r.ok(err)
	r.equal(len(all), 0)
}

// BenchmarkPlanning plans an audience, whole or by a segment that takes all of
// it, so that the difference is what the segment costs.
func BenchmarkPlanning(b *testing.B) {
	const n = 200_000
	ctx := b.Context()
	l, err := ledger.Open(ctx, filepath.Join(b.TempDir(), "ledger.db"), ledger.Options{})
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(err)
	defer l.Close()
	w, err := l.CreateList(ctx, "people", "people.csv", "number")
	must(err)
	columns := campaign.NewColumns("age", "plan", "joined", "spent")
	chunk := make([]campaign.Contact, 0, 10_000)
	for i := range n {
		chunk = append(chunk, campaign.Contact{
			Line: i + 2, Phone: fmt.Sprintf("+614%08d", i), FirstName: "Ann", LastName: "Example", Email: fmt.Sprintf("ann%d@example.org", i), Country: "AU",
			Address: campaign.Address{City: []string{"Perth", "Broome", "Albany"}[i%3]},
			Fields:  campaign.Fields{Columns: columns, Values: []string{fmt.Sprint(18 + i%70), []string{"Gold", "Silver"}[i%2], "2026-01-31", "1234.50"}},
		})
		if len(chunk) == cap(chunk) {
			must(w.Contacts(ctx, chunk))
			chunk = chunk[:0]
		}
	}
	list, err := w.Finish(ctx, ledger.ListCounts{Rows: n, Imported: n})
	must(err)
	content := campaign.Content{Channel: campaign.SMS, From: "ACME", Body: "Hi {{first_name}}, it is time"}
	for name, s := range map[string]*campaign.Segment{
		"everybody": nil,
		"where":     {Where: `city != "Sydney" and age >= 18`},
		"all":       {Where: `city in ("Perth", "Albany", "Broome") and age >= 18 and joined >= "2026-01-01"`, Sample: campaign.Whole, Seed: "x", Exclude: []string{"list:none"}, Limit: n},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				c, err := l.CreateCampaign(ctx, ledger.NewCampaign{Content: content, ListID: list.ID, Currency: "AUD", Actor: "test", Again: true})
				must(err)
				o := jobs.PlanOptions{Unique: true}
				b.StartTimer()
				if s != nil {
					var crowds []*segment.Crowd
					for _, e := range s.Exclude {
						crowds = append(crowds, segment.NewCrowd(e, &content))
						must(l.EachContact(ctx, list.ID, func(k *campaign.Contact) error {
							k.Phone = strings.Replace(k.Phone, "+614", "+615", 1)
							crowds[0].Add(k)
							return nil
						}))
					}
					o.Segment, err = segment.NewSelector(*s, list.Columns, &content, crowds)
					must(err)
				}
				sum, err := jobs.Plan(ctx, l, c, campaign.Limits{}, o)
				must(err)
				b.StopTimer()
				if sum.Sendable != n {
					b.Fatalf("%d of %d are planned", sum.Sendable, n)
				}
				must(l.DiscardUnstarted(ctx, c.ID))
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/contact")
		})
	}
}

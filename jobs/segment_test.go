package jobs_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/segment"
)

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

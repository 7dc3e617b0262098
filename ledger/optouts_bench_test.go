package ledger

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/postrider/postrider/campaign"
)

// BenchmarkAskingTheSuppressionList is what a batch of 1,000 costs in the
// transaction before its post: with nobody on the list, and with 300,000 of whom
// none is in the batch.
func BenchmarkAskingTheSuppressionList(b *testing.B) {
	for _, target := range []string{"sqlite", "postgres"} {
		path := filepath.Join(b.TempDir(), "ledger.db")
		if target == "postgres" {
			path = migratedPostgres(b)
		}
		w := newWorld(b, path, "")
		const n = campaign.MaxBatch
		cl := &Claim{Batch: 1, Campaign: &Campaign{}}
		var members []int64
		for i := range n {
			c := campaign.Contact{Phone: fmt.Sprintf("+6141399%04d", i), Email: fmt.Sprintf("x%d@example.org", i),
				Address: campaign.Address{Name: "Ann Smith", Line1: fmt.Sprint(i, " Other Street"), City: "Perth", PostalCode: "6000", Country: "AU"}}
			cl.Recipients = append(cl.Recipients, Recipient{ID: int64(i + 1), Contact: c})
			members = append(members, int64(i+1))
		}
		measure := func(name string, ch campaign.Channel) {
			b.Run(target+"/"+name, func(b *testing.B) {
				cl.Campaign.Channel = ch
				undo := errors.New("undo")
				err := w.l.store.write(w.ctx, func(tx *tx) error {
					for b.Loop() {
						left, err := w.l.withoutOptedOut(w.ctx, tx, cl, members)
						if err != nil || len(left) != n {
							return errors.Join(err, fmt.Errorf("%d are left", len(left)))
						}
					}
					return undo
				})
				if !errors.Is(err, undo) {
					b.Fatal(err)
				}
			})
		}
		measure("nobody", campaign.SMS)
		in, err := w.l.ImportOptOuts(w.ctx, "")
		w.ok(err)
		for i := range 100 {
			var chunk []OptOut
			for k := range 1000 {
				at := home12("")
				at.Line2 = fmt.Sprint(i*1000 + k)
				chunk = append(chunk, OptOut{OptOut: campaign.NewOptOutPhone(phone(i*1000 + k))},
					OptOut{OptOut: optOutEmail(b, fmt.Sprint("ann", i*1000+k, "@example.com"))}, OptOut{OptOut: optOutAddress(b, at)})
			}
			w.ok(in.Add(w.ctx, chunk))
		}
		_, err = in.Finish(w.ctx)
		w.ok(err)
		measure("sms", campaign.SMS)
		measure("letter", campaign.Letter)
	}
}

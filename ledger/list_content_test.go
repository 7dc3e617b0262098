package ledger

import (
	"testing"

	"github.com/postrider/postrider/campaign"
)

// A ledger keeps the digests of the lists that it was given by earlier releases.
// With others, the same file would be another list, and the same campaign could
// be sent twice. These were made by the last release before empty cells at the
// end of a contact were left out of what is stored.
func TestDigestsStayWhatTheyWere(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		for _, want := range []struct {
			name, digest string
			columns      *campaign.Columns
		}{
			{"without", "ab264ce01a2be4fc5e7399775f4ba5eb5508c732fa1b8188e39873a9178e36a5", nil},
			{"with", "803e7c54b1d2e16a152b0f72ec4cf97afe9176ccd1e9443a7bc453304f80af56", campaign.NewColumns("plan", "club", "note")},
		} {
			all := []campaign.Contact{
				{Line: 2, Phone: "+61412000001", Email: "a@example.com", FirstName: "Zoë", LastName: "O'Neil", Country: "AU", Reference: "r-1",
					Address: campaign.Address{Name: "Zoë", Line1: "1 High St", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}},
				{Line: 3, Phone: "+61412000002", Country: "AU"},
				{Line: 4, Phone: "+61412000003"},
				{Line: 5, Address: campaign.Address{Name: "B", Line1: "2 Low St\x1f", City: "York", PostalCode: "YO1", Country: "GB"}},
				{Line: 6, Phone: "+61412000004", FirstName: "[\x1e<b>"},
			}
			for i, values := range [][]string{{"gold", "x", "y"}, {"", "", ""}, {"", "", ""}, {"silver", "", ""}, {"", "", ""}} {
				if want.columns != nil {
					all[i].Fields = campaign.Fields{Columns: want.columns, Values: values}
				}
			}
			w.equal(w.made(want.name, all).Digest, want.digest)
			lc := NewListContent()
			w.ok(lc.Contacts(w.ctx, all))
			w.equal(lc.Digest(), want.digest)
			w.equal(lc.Digest(), want.digest) // asking changes nothing
		}
	})
}

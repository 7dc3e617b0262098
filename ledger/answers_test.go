package ledger

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
)

func TestAnAnswerIsUnpackedAsItWasPacked(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.OneOf(
			rapid.Just(""), rapid.StringN(0, 40, 80),
			rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`),
			rapid.StringMatching(`[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}`),
			rapid.StringMatching(`[0-9A-Fa-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`),
			rapid.StringMatching(`\{[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}`),
			rapid.StringMatching(`[0-9a-f]{32}|[0-9a-f]{36}`),
		)
		outcomes := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Outcome {
			return Outcome{
				ProviderID: id.Draw(t, "id"), Status: rapid.SampledFrom([]string{"", "SUCCESS", "INVALID_RECIPIENT", "Queued:Stamped"}).Draw(t, "status"),
				Price: campaign.Micros(rapid.Int64().Draw(t, "price")), Parts: rapid.Int().Draw(t, "parts"),
			}
		})).Draw(t, "outcomes")
		var (
			members []int64
			want    []Said
			whom    []int64
		)
		for i := range outcomes {
			outcomes[i].Recipient = int64(7 + 3*i)
			members = append(members, outcomes[i].Recipient)
			if o := outcomes[i]; o.Status != "" {
				want = append(want, Said{o.ProviderID, o.Status, o.Price, o.Parts})
				whom = append(whom, o.Recipient)
			}
		}
		cell := packAnswer(outcomes)
		var (
			got   []Said
			heard []int64
		)
		if err := unpackAnswer(cell, members, func(r int64, s Said) { got, heard = append(got, s), append(heard, r) }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || !slices.Equal(whom, heard) {
			t.Fatalf("heard of %v, want %v; -want +got:\n%s", heard, whom, diff)
		}
		if len(cell) > 0 {
			cell = cell[:rapid.IntRange(1, len(cell)).Draw(t, "cut")-1]
			if len(cell) > 0 && unpackAnswer(cell, members, func(int64, Said) {}) == nil {
				t.Fatalf("a cell that was cut off at %d bytes was read without an error", len(cell))
			}
		}
	})
}

func FuzzUnpackAnswer(f *testing.F) {
	f.Add(packAnswer([]Outcome{{Recipient: 1, ProviderID: "BF7AD270-0DE2-418B-B606-71D527D9C1AE", Status: "SUCCESS", Price: 79000, Parts: 1}, {Recipient: 2}}), 2)
	f.Fuzz(func(_ *testing.T, cell []byte, n int) {
		members := make([]int64, max(0, min(n, 1000)))
		_ = unpackAnswer(cell, members, func(int64, Said) {}) // no panic, no endless work
	})
}

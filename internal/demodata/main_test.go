package main

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/importer"
)

func TestTheDemosAudienceIsWhatThisCommandMakes(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile("../../cmd/postrider/demo/audience.csv")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), file) {
		t.Error("cmd/postrider/demo/audience.csv differs: run go generate ./internal/demodata")
	}
}

// counter counts contacts, and those whom one channel would reach twice.
type counter struct {
	withoutNumber, withoutAddress, again int
	seen                                 *campaign.Seen
}

func (c *counter) Contacts(_ context.Context, chunk []campaign.Contact) error {
	for i := range chunk {
		k := &chunk[i]
		if k.Phone == "" {
			c.withoutNumber++
		} else if !c.seen.Add(k.Phone) {
			c.again++
		}
		if !k.Address.Complete() {
			c.withoutAddress++
		} else if !c.seen.Add(k.Address.Key()) {
			c.again++
		}
	}
	return nil
}

func TestTheDemosAudienceIsNearlyAllGood(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	c := &counter{seen: campaign.NewSeen()}
	sum, err := importer.Import(t.Context(), &b, c, importer.Options{Name: "audience.csv", Country: "AU"})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Rows != 5000 || sum.Imported != 4925 || sum.Duplicates != 60 || sum.Rejected != 15 {
		t.Errorf("%+v", sum)
	}
	if c.withoutNumber != 25 || c.withoutAddress != 0 || c.again != 0 {
		t.Errorf("%d without a number, %d without an address, %d again", c.withoutNumber, c.withoutAddress, c.again)
	}
}

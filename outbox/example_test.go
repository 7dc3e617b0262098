package outbox

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/specimen"
)

// example is the outbox that configs shows.
const example = "../configs/outbox-example"

// TestTheExampleCanBeSent reads the example as it stands. With -update its
// letters are made anew.
func TestTheExampleCanBeSent(t *testing.T) {
	for name, letter := range map[string][]byte{
		"invoice-1001.pdf": specimen.Letter("Invoice 1001: one widget, 12.00 AUD. Payable within 14 days. ACME", 1),
		"invoice-1002.pdf": specimen.Letter("Invoice 1002: two widgets, 24.00 AUD. Payable within 14 days. ACME", 2),
	} {
		if *update {
			if err := os.WriteFile(filepath.Join(example, "letters", name), letter, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := Read(context.Background(), example, Options{
		Now:      func() time.Time { return time.Now().Add(time.Hour) },
		Defaults: Settings{ReturnAddressID: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Rows() != 2 || len(r.Groups) != 2 || len(r.Bad)+len(r.Broken)+len(r.Waiting)+len(r.Unused)+len(r.Warnings) != 0 {
		t.Errorf("%d rows in %d groups; bad %+v, broken %+v, waiting %+v, unused %v, warnings %v",
			r.Rows(), len(r.Groups), r.Bad, r.Broken, r.Waiting, r.Unused, r.Warnings)
	}
}

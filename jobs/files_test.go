package jobs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/document"
	"github.com/postrider/postrider/internal/specimen"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/outbox"
)

func TestAFileIsLookedIntoBeforeItIsStored(t *testing.T) {
	r := newRig(t, setup{})
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		r.ok(os.WriteFile(path, content, 0o600))
		return path
	}
	good := file("a.pdf", specimen.Letter("Dear Ann", 3))
	f, err := jobs.ReadFile(r.ctx, r.l, campaign.Letter, good)
	r.ok(err)
	r.equal(f.Pages, 3)
	r.equal(f.PageSize, "A4")
	again, err := jobs.ReadFile(r.ctx, r.l, campaign.Letter, file("b.pdf", specimen.Letter("Dear Ann", 3)))
	r.ok(err)
	r.equal(again.Name, "b.pdf")
	r.equal(again.SHA256, f.SHA256)
	r.equal(again.Pages, 3)

	card := file("card.pdf", specimen.Card("Sale", 2))
	f, err = jobs.ReadFile(r.ctx, r.l, campaign.Postcard, card)
	r.ok(err)
	r.equal(f.PageSize, "A5")
	// That it is known from a postcard makes no letter of it.
	_, err = jobs.ReadFile(r.ctx, r.l, campaign.Letter, card)
	var fault *document.Fault
	if !errors.As(err, &fault) || fault.Code != document.CodePageSize || fault.Page != 1 {
		t.Errorf("a postcard was taken for a letter: %v", err)
	}
	for name, content := range map[string][]byte{"empty.pdf": nil, "half.pdf": specimen.Letter("", 1)[:300], "words.txt": []byte("words")} {
		path := file(name, content)
		_, err := jobs.ReadFile(r.ctx, r.l, campaign.Letter, path)
		if campaign.ErrorCode(err) != campaign.CodeInvalid || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARowsBadLetterIsTheRowsError(t *testing.T) {
	r := newRig(t, setup{})
	dir := t.TempDir()
	r.ok(os.WriteFile(filepath.Join(dir, "good.pdf"), specimen.Letter("Dear Ann", 1), 0o600))
	r.ok(os.WriteFile(filepath.Join(dir, "bad.pdf"), specimen.PDF{Pages: 2, Sizes: [][2]float64{specimen.A4, specimen.USLetter}}.Bytes(), 0o600))
	content := r.content(campaign.Letter)
	content.Files, content.FileColumn = nil, "file"
	columns := campaign.NewColumns("file")
	w, err := r.l.CreateList(r.ctx, "", "people.csv", "letter")
	r.ok(err)
	var people []campaign.Contact
	for i, path := range []string{"good.pdf", "bad.pdf", "none.pdf"} {
		people = append(people, campaign.Contact{
			Line: i + 2, Reference: path, Fields: campaign.Fields{Columns: columns, Values: []string{path}},
			Address: campaign.Address{Name: "Ann Lee", Line1: "1 High St", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"},
		})
	}
	r.ok(w.Contacts(r.ctx, people))
	list, err := w.Finish(r.ctx, ledger.ListCounts{Rows: 3, Imported: 3})
	r.ok(err)
	c, err := r.l.CreateCampaign(r.ctx, ledger.NewCampaign{Content: content, ListID: list.ID, Digest: list.Digest, Provider: r.account, Currency: "AUD", Actor: "test"})
	r.ok(err)
	_, err = jobs.Plan(r.ctx, r.l, c, campaign.Limits{}, jobs.PlanOptions{FileDir: dir})
	var rows *campaign.PlanError
	if !errors.As(err, &rows) || rows.Total != 2 {
		t.Fatalf("planning: %v", err)
	}
	for i, says := range []string{"bad.pdf, page 2: the page is US Letter", "none.pdf"} {
		var field *campaign.FieldError
		if !errors.As(rows.First[i], &field) || field.Line != i+3 || !strings.Contains(field.Error(), says) {
			t.Errorf("row %d: %v, want %s", i+3, rows.First[i], says)
		}
	}
}

// TestAnOutboxBecomesCampaigns plans every group of the example outbox.
func TestAnOutboxBecomesCampaigns(t *testing.T) {
	r := newRig(t, setup{})
	address := r.content(campaign.Letter).ReturnAddressID
	run, err := outbox.Read(r.ctx, "../configs/outbox-example", outbox.Options{
		Now:      func() time.Time { return time.Now().Add(time.Hour) },
		Defaults: outbox.Settings{ReturnAddressID: address},
	})
	r.ok(err)
	t.Cleanup(func() { r.ok(run.Close()) })
	r.equal(len(run.Groups), 2)
	for _, g := range run.Groups {
		w, err := r.l.CreateList(r.ctx, "", "outbox", "letter")
		r.ok(err)
		n, err := g.WriteAudience(r.ctx, w)
		r.ok(err)
		r.equal(n, g.Rows)
		list, err := w.Finish(r.ctx, ledger.ListCounts{Rows: n, Imported: n})
		r.ok(err)
		c, err := r.l.CreateCampaign(r.ctx, ledger.NewCampaign{Content: g.Content(), ListID: list.ID, Digest: list.Digest, Provider: r.account, Currency: "AUD", Actor: "test"})
		r.ok(err)
		sum, err := jobs.Plan(r.ctx, r.l, c, campaign.Limits{}, jobs.PlanOptions{FileDir: run.Folder, Confined: true, Unique: true})
		r.ok(err)
		r.equal(sum.Sendable, g.Rows)
	}
}

func TestAConfinedPlanReadsNothingOutsideItsFolder(t *testing.T) {
	r := newRig(t, setup{})
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "private.pdf")
	r.ok(os.WriteFile(outside, specimen.Letter("private", 1), 0o600))
	r.ok(os.Symlink(outside, filepath.Join(dir, "link.pdf")))
	address := r.content(campaign.Letter).ReturnAddressID
	for _, path := range []string{"link.pdf", outside, "../private.pdf"} {
		for _, confined := range []bool{true, false} {
			w, err := r.l.CreateList(r.ctx, "", "letters", "letter")
			r.ok(err)
			r.ok(w.Contacts(r.ctx, []campaign.Contact{{
				Line: 2, Reference: "A", Address: campaign.Address{Name: "Ann Lee", Line1: "1 High St", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"},
				Fields: campaign.Fields{Columns: campaign.NewColumns("file"), Values: []string{path}},
			}}))
			list, err := w.Finish(r.ctx, ledger.ListCounts{Rows: 1, Imported: 1})
			r.ok(err)
			c, err := r.l.CreateCampaign(r.ctx, ledger.NewCampaign{
				Content: campaign.Content{Channel: campaign.Letter, FileColumn: "file", ReturnAddressID: address}, ListID: list.ID, Digest: path, Provider: r.account, Actor: "test", Again: true,
			})
			r.ok(err)
			_, err = jobs.Plan(r.ctx, r.l, c, campaign.Limits{}, jobs.PlanOptions{FileDir: dir, Confined: confined})
			var rows *campaign.PlanError
			if refused := errors.As(err, &rows); refused != (confined || path == "../private.pdf") {
				t.Errorf("confined %v: the plan with %s comes to %v", confined, filepath.Base(path), err)
			}
		}
	}
}

package outbox

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/specimen"
)

var update = flag.Bool("update", false, "write the golden files anew")

// box is an outbox whose files have lain there for an hour.
type box struct {
	t   testing.TB
	ctx context.Context
	dir string
	now time.Time
}

func newBox(t testing.TB) *box {
	return &box{t, context.Background(), t.TempDir(), time.Now()}
}

func (b *box) put(name string, content []byte) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.touch(name, -time.Hour)
}

// touch sets when a file was changed, from now.
func (b *box) touch(name string, ago time.Duration) {
	b.t.Helper()
	at := b.now.Add(ago)
	if err := os.Chtimes(filepath.Join(b.dir, name), at, at); err != nil {
		b.t.Fatal(err)
	}
}

const header = "reference,file,address_name,address_line_1,address_line_2,address_city,address_state,address_postal_code,address_country,colour,duplex,priority,template_used,return_address\n"

// row is a good row with the options last.
func row(reference, file, options string) string {
	return reference + "," + file + ",Ann Lee,1 High St,,Perth,WA,6000,AU," + options + "\n"
}

func (b *box) read(o Options) *Run {
	b.t.Helper()
	o.Now = func() time.Time { return b.now }
	if o.Defaults.ReturnAddressID == 0 {
		o.Defaults.ReturnAddressID = 7
	}
	r, err := Read(b.ctx, b.dir, o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := r.Close(); err != nil {
			b.t.Error(err)
		}
	})
	return r
}

func (b *box) contacts(g *Group) (all []campaign.Contact) {
	b.t.Helper()
	for c, err := range g.Contacts(b.ctx) {
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func references(contacts []campaign.Contact) (refs []string) {
	for _, c := range contacts {
		refs = append(refs, c.Reference)
	}
	return refs
}

func TestRowsWithTheSameOptionsMakeOneCampaign(t *testing.T) {
	b := newBox(t)
	b.put("a.pdf", specimen.Letter("a", 1))
	b.put("sub/b.pdf", specimen.Letter("b", 2))
	b.put("letters.csv", []byte(header+
		row("1", "a.pdf", "yes,no,0,false,12")+
		row("2", `sub\b.pdf`, ",,,,")+
		row("3", "./a.pdf", "TRUE,0,no,No,12")+
		row("4", "sub/b.pdf", "no,1,,,7")))
	r := b.read(Options{Defaults: Settings{Duplex: true, ReturnAddressID: 7}})
	if len(r.Groups) != 2 || len(r.Bad) != 0 || len(r.Unused) != 0 || r.Rows() != 4 {
		t.Fatalf("%d groups, bad %+v, unused %v", len(r.Groups), r.Bad, r.Unused)
	}
	if want := (Settings{Colour: true, ReturnAddressID: 12}); r.Groups[0].Settings != want || r.Groups[0].Rows != 2 {
		t.Errorf("the first group is %+v", r.Groups[0])
	}
	if want := (Settings{Duplex: true, ReturnAddressID: 7}); r.Groups[1].Settings != want {
		t.Errorf("the second group is %+v", r.Groups[1].Settings)
	}
	content := r.Groups[0].Content()
	if err := content.Validate(campaign.Limits{}); err != nil {
		t.Error(err)
	}
	got := b.contacts(r.Groups[1])
	want := []campaign.Contact{
		{Line: 3, Reference: "2", Address: campaign.Address{Name: "Ann Lee", Line1: "1 High St", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}},
		{Line: 5, Reference: "4", Address: campaign.Address{Name: "Ann Lee", Line1: "1 High St", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}},
	}
	for i := range got {
		file, _ := got[i].Field(FileColumn)
		manifest, _ := got[i].Field(ManifestColumn)
		if file != "sub/b.pdf" || manifest != "letters.csv" {
			t.Errorf("row %d: file %q of %q", i, file, manifest)
		}
		got[i].Fields = campaign.Fields{}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestABadRowIsNamedAndDoesNotStopTheRest holds every way a row can be wrong to
// a golden report.
func TestABadRowIsNamedAndDoesNotStopTheRest(t *testing.T) {
	b := newBox(t)
	outside := filepath.Join(t.TempDir(), "secret.pdf")
	if err := os.WriteFile(outside, specimen.Letter("secret", 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(b.dir, "link.pdf")); err != nil {
		t.Fatal(err)
	}
	b.put("good.pdf", specimen.Letter("good", 2))
	b.put("a5.pdf", specimen.Card("small", 1))
	b.put("half.pdf", specimen.Letter("half", 1)[:200])
	b.put("words.txt", []byte("words"))
	b.put("empty.pdf", nil)
	b.put("unused.pdf", specimen.Letter("unused", 1))
	b.put("folder/x.pdf", specimen.Letter("x", 1))
	b.put("letters.csv", []byte("\xef\xbb\xbf"+strings.ReplaceAll(header, "reference", " Reference ")+
		row("R-1", "good.pdf", ",,,,")+
		row("", "good.pdf", ",,,,")+
		row(strings.Repeat("r", 101), "good.pdf", ",,,,")+
		row("R-2", "good.pdf", ",,,,")+
		row("R-2", "good.pdf", ",,,,")+
		row("R-3", "", ",,,,")+
		row("R-4", "none.pdf", ",,,,")+
		row("R-5", "../secret.pdf", ",,,,")+
		row("R-6", "/etc/passwd", ",,,,")+
		row("R-7", "link.pdf", ",,,,")+
		row("R-8", "folder", ",,,,")+
		row("R-9", "a5.pdf", ",,,,")+
		row("R-10", "half.pdf", ",,,,")+
		row("R-11", "words.txt", ",,,,")+
		row("R-12", "empty.pdf", ",,,,")+
		row("R-13", "good.pdf", "maybe,,,,")+
		row("R-14", "good.pdf", ",,,,home")+
		row("R-15", "good.pdf", ",,,,,more")+
		"R-16,good.pdf,Ann Lee,,,Perth,WA,,AU\n"+
		"R-17,good.pdf,Ann Lee,1 High St,,Perth,WA,6000,Atlantis\n"+
		"R-18,good.pdf,Ann \xff,1 High St,,Perth,WA,6000,AU\n"+
		"=cmd|' /C calc'!A0,good.pdf,Ann Lee,1 High St,,Perth,WA,6000,AU\n"+
		"\n"+
		row("R-19", "folder/x.pdf", ",,,,")))
	r := b.read(Options{Mailed: func(refs []string) (map[string]bool, error) { return map[string]bool{"R-19": true}, nil }})
	if len(r.Groups) != 1 || len(r.Manifests) != 1 {
		t.Fatalf("%d groups, waiting %+v, broken %+v", len(r.Groups), r.Waiting, r.Broken)
	}
	if got := references(b.contacts(r.Groups[0])); !slices.Equal(got, []string{"R-1", "=cmd|' /C calc'!A0"}) {
		t.Errorf("to be sent: %v", got)
	}
	if !slices.Equal(r.Unused, []string{"unused.pdf"}) {
		t.Errorf("unused: %v", r.Unused)
	}
	m := r.Manifests[0]
	if m.Rows != m.Good+m.Bad+m.Mailed+m.Repeated || m.Bad != len(r.Bad) || m.Mailed != 1 {
		t.Errorf("the sums do not agree: %+v and %d bad", m, len(r.Bad))
	}
	rows, err := r.ReportRows(b.ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	rows[0].Outcome, rows[0].MessageID, rows[0].Price, rows[0].Currency, rows[0].Campaign = OutcomeSent, "A1B2", "1.8700", "AUD", "nightly 2026-11-26"
	golden(t, b, "bad-rows.csv", rows)
}

func golden(t *testing.T, b *box, name string, rows []ReportRow) {
	t.Helper()
	path := ReportPath(b.dir, "letters.csv", time.Date(2026, 11, 26, 1, 30, 5, 0, time.UTC))
	if want := filepath.Join(b.dir, "letters.csv.2026-11-26T013005.report.csv"); path != want {
		t.Errorf("the report is called %s", path)
	}
	if err := WriteReport(path, rows); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Error(d)
	}
	// It reads back, no cell is a formula, and no run takes it for a manifest.
	cells, err := csv.NewReader(strings.NewReader(string(got))).ReadAll()
	if err != nil || len(cells) != len(rows)+1 {
		t.Fatalf("%d lines: %v", len(cells), err)
	}
	for _, line := range cells {
		for _, cell := range line {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("%q is a formula", cell)
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(b.dir, ".report-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	b.touch(filepath.Base(path), -time.Hour)
	if r := b.read(Options{}); len(r.Manifests) != 1 || len(r.Broken) != 0 {
		t.Errorf("the report was read as a manifest: %+v", r.Broken)
	}
}

func TestAManifestThatIsPerhapsStillBeingWrittenIsLeftAlone(t *testing.T) {
	setUp := func(t *testing.T) *box {
		b := newBox(t)
		b.put("a.pdf", specimen.Letter("a", 1))
		b.put("letters.csv", []byte(header+row("1", "a.pdf", ",,,,")))
		return b
	}
	waits := func(t *testing.T, b *box, o Options, says string) {
		t.Helper()
		r := b.read(o)
		if len(r.Waiting) != 1 || len(r.Manifests) != 0 || r.Rows() != 0 || len(r.Bad) != 0 || len(r.Unused) != 0 || !strings.Contains(r.Waiting[0].Reason, says) {
			t.Errorf("it does not wait: %+v, %d rows, %d bad, unused %v", r.Waiting, r.Rows(), len(r.Bad), r.Unused)
		}
	}
	goes := func(t *testing.T, b *box, o Options) {
		t.Helper()
		if r := b.read(o); r.Rows() != 1 {
			t.Errorf("it does not go: %+v", r.Waiting)
		}
	}
	t.Run("manifest", func(t *testing.T) {
		b := setUp(t)
		b.touch("letters.csv", -time.Minute)
		waits(t, b, Options{}, "changed 1m0s ago")
		goes(t, b, Options{Quiet: 30 * time.Second})
		b.touch("letters.csv", time.Hour)
		waits(t, b, Options{}, "changed -1h0m0s ago")
	})
	t.Run("file", func(t *testing.T) {
		b := setUp(t)
		b.touch("a.pdf", -time.Minute)
		waits(t, b, Options{}, "its file a.pdf was changed 1m0s ago")
	})
	t.Run("ready", func(t *testing.T) {
		for _, mark := range []string{"letters.csv.ready", "letters.ready"} {
			b := setUp(t)
			b.touch("letters.csv", -time.Second)
			b.touch("a.pdf", 0)
			b.put(mark, nil)
			b.touch(mark, -2*time.Second) // of what stood there before
			waits(t, b, Options{}, "letters.csv.ready")
			b.touch(mark, -time.Second)
			goes(t, b, Options{})
		}
	})
}

func TestAReferenceIsMailedOnce(t *testing.T) {
	b := newBox(t)
	b.put("a.pdf", specimen.Letter("a", 1))
	b.put("1-old.csv", []byte(header+row("old", "gone.pdf", ",,,,")+row("fails", "none.pdf", ",,,,")+row("both", "a.pdf", ",,,,")))
	b.put("2-new.csv", []byte(header+row("old", "a.pdf", ",,,,")+row("fails", "a.pdf", ",,,,")+row("both", "a.pdf", "yes,,,,")+row("new", "a.pdf", ",,,,")))
	var asked []string
	r := b.read(Options{Mailed: func(refs []string) (map[string]bool, error) {
		asked = append(asked, refs...)
		return map[string]bool{"old": true}, nil
	}})
	if got := references(b.contacts(r.Groups[0])); len(r.Groups) != 1 || !slices.Equal(got, []string{"both", "fails", "new"}) {
		t.Errorf("to be sent: %v", got)
	}
	if len(asked) != 7 {
		t.Errorf("asked for %v", asked)
	}
	rows, err := r.ReportRows(b.ctx, r.Manifests[1])
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []string
	for _, l := range rows {
		outcomes = append(outcomes, l.Outcome)
	}
	if want := []string{OutcomeMailed, OutcomeWaiting, OutcomeRepeated, OutcomeWaiting}; !slices.Equal(outcomes, want) {
		t.Errorf("outcomes %v, want %v", outcomes, want)
	}
	if rows[2].Reason != "1-old.csv, line 4, sends it" {
		t.Errorf("the reason is %q", rows[2].Reason)
	}
	if len(r.Bad) != 1 || r.Bad[0].Code != CodeFileNotFound {
		t.Errorf("bad: %+v", r.Bad)
	}
	_, err = Read(b.ctx, b.dir, Options{Mailed: func([]string) (map[string]bool, error) { return nil, errors.New("away") }})
	if err == nil || !strings.Contains(err.Error(), "1-old.csv") {
		t.Errorf("a ledger that does not answer: %v", err)
	}
}

func TestNothingToSend(t *testing.T) {
	b := newBox(t)
	if r := b.read(Options{}); r.Rows() != 0 || len(r.Manifests)+len(r.Waiting)+len(r.Broken)+len(r.Bad) != 0 {
		t.Errorf("an empty folder holds %+v", r)
	}
	b.put("letters.csv", []byte(header))
	if r := b.read(Options{}); r.Rows() != 0 || len(r.Manifests) != 1 || r.Manifests[0].Rows != 0 {
		t.Errorf("a manifest without rows holds %+v", r)
	}
	b.put("letters.csv", []byte(header+row("1", "a.pdf", ",,,,")+row("2", "b.pdf", ",,,,")))
	if r := b.read(Options{}); r.Rows() != 0 || len(r.Bad) != 2 || r.Bad[1].Line != 3 || r.Bad[1].Code != CodeFileNotFound {
		t.Errorf("a manifest without files holds %+v", r.Bad)
	}
	if _, err := Read(b.ctx, filepath.Join(b.dir, "nowhere"), Options{}); campaign.ErrorCode(err) != campaign.CodeNotFound {
		t.Errorf("no folder: %v", err)
	}
	if _, err := Read(b.ctx, b.dir, Options{Country: "Atlantis"}); campaign.ErrorCode(err) != campaign.CodeInvalid {
		t.Errorf("no country: %v", err)
	}
}

func TestABrokenManifestIsNamedAndTheOthersGo(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"no header":       {"", "the file is empty"},
		"misspelt option": {strings.Replace(header, "colour", "color", 1), `column "color": there is no such column`},
		"a column twice":  {strings.Replace(header, "duplex", "colour", 1), "twice"},
		"no reference":    {strings.Replace(header, "reference,", "", 1), `column "reference": the column is missing`},
		"a nameless one":  {strings.TrimSpace(header) + ",\n", "column 15 of the header has no name"},
		"a workbook":      {"PK\x03\x04", "xlsx"},
		"UTF-16":          {"\xff\xfer\x00", "UTF-16"},
		"open quote":      {header + `"1,a.pdf`, "quote is never closed"},
	} {
		b := newBox(t)
		b.put("a.pdf", specimen.Letter("a", 1))
		b.put("1-bad.csv", []byte(c.text))
		b.put("2-good.csv", []byte(header+row("1", "a.pdf", ",,,,")))
		r := b.read(Options{})
		if r.Rows() != 1 || len(r.Broken) != 1 || r.Broken[0].Manifest != "1-bad.csv" || !strings.Contains(r.Broken[0].Err.Error(), c.says) {
			t.Errorf("%s: %d rows, %+v, want %s", name, r.Rows(), r.Broken, c.says)
		}
	}
}

func TestSemicolonsAndACountryForAll(t *testing.T) {
	b := newBox(t)
	b.put("a.pdf", specimen.Letter("a", 1))
	b.put("letters.csv", []byte("Reference;File;Address_Name;Address_Line_1;Address_City;Address_Postal_Code\r\n1;a.pdf;Ann Lee;\"1 High St; rear\";Perth;6000\r\n"))
	r := b.read(Options{Country: "Australia"})
	if r.Rows() != 1 {
		t.Fatalf("%+v %+v", r.Bad, r.Broken)
	}
	if a := b.contacts(r.Groups[0])[0].Address; a.Country != "AU" || a.Line1 != "1 High St; rear" {
		t.Errorf("the address is %+v", a)
	}
	if r := b.read(Options{}); r.Rows() != 0 || r.Bad[0].Code != CodeIncompleteAddress || r.Bad[0].Column != "address_country" {
		t.Errorf("without a country: %+v", r.Bad)
	}
}

func TestAnAddressIsPrintedAsItsCountryWritesItOrRefused(t *testing.T) {
	b := newBox(t)
	b.put("a.pdf", specimen.Letter("a", 1))
	b.put("letters.csv", []byte("reference,file,address_name,address_line_1,address_city,address_postal_code\n"+
		"1,a.pdf,Ann Lee,1 High St,Darwin,800\n2,a.pdf,Ben Lee,1 High St,Perth,60\n3,a.pdf,Cid 🎉,1 High St,Perth,6000\n"))
	r := b.read(Options{Country: "Australia"})
	if r.Rows() != 1 || len(r.Bad) != 2 {
		t.Fatalf("%+v %+v", r.Bad, r.Broken)
	}
	if a := b.contacts(r.Groups[0])[0].Address; a.PostalCode != "0800" {
		t.Errorf("the address is %+v", a)
	}
	for i, column := range []string{"address_postal_code", "address_name"} {
		if bad := r.Bad[i]; bad.Code != CodeBadAddress || bad.Column != column {
			t.Errorf("%+v", bad)
		}
	}
}

// sink keeps what it is given, or fails.
type sink struct {
	contacts []campaign.Contact
	err      error
}

func (s *sink) Contacts(_ context.Context, chunk []campaign.Contact) error {
	s.contacts = append(s.contacts, chunk...)
	return s.err
}

func TestAChangedManifestIsNotSentAsItIs(t *testing.T) {
	for name, text := range map[string]string{
		"other address": strings.Replace(row("1", "a.pdf", ",,,,"), "1 High St", "2 High St", 1),
		"another row":   row("1", "a.pdf", ",,,,") + row("2", "a.pdf", ",,,,"),
		"no row":        "",
	} {
		b := newBox(t)
		b.put("a.pdf", specimen.Letter("a", 1))
		b.put("letters.csv", []byte(header+row("1", "a.pdf", ",,,,")))
		r := b.read(Options{})
		s := &sink{}
		if n, err := r.Groups[0].WriteAudience(b.ctx, s); err != nil || n != 1 || len(s.contacts) != 1 {
			t.Errorf("%s: %d of %d: %v", name, n, len(s.contacts), err)
		}
		if _, err := r.Groups[0].WriteAudience(b.ctx, &sink{err: errors.New("full")}); err == nil {
			t.Errorf("%s: the sink's error is lost", name)
		}
		b.put("letters.csv", []byte(header+text))
		if _, err := r.Groups[0].WriteAudience(b.ctx, &sink{}); campaign.ErrorCode(err) != campaign.CodeConflict {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := r.ReportRows(b.ctx, r.Manifests[0]); campaign.ErrorCode(err) != campaign.CodeConflict {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// night fills an outbox with letters of n people.
func (b *box) night(n int) {
	var manifest strings.Builder
	manifest.WriteString(header)
	for i := range n {
		name := fmt.Sprintf("pdf/%d/%d.pdf", i/1000, i)
		b.put(name, specimen.Letter(fmt.Sprintf("Dear customer %d, %s", i, strings.Repeat("words ", 300)), 1))
		manifest.WriteString(row(fmt.Sprintf("INV-%d", i), name, ",,,,"))
	}
	b.put("letters.csv", []byte(manifest.String()))
}

// TestMemoryDoesNotGrowWithTheFiles: what is kept of a letter is a verdict.
func TestMemoryDoesNotGrowWithTheFiles(t *testing.T) {
	const letters = 2000
	b := newBox(t)
	b.night(letters)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := b.read(Options{})
	runtime.GC()
	runtime.ReadMemStats(&after)
	if r.Rows() != letters {
		t.Fatalf("%d rows, %+v", r.Rows(), r.Bad[:min(3, len(r.Bad))])
	}
	if kept := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / letters; kept > 600 {
		t.Errorf("%d bytes are kept of each letter", kept)
	}
	runtime.KeepAlive(r)
}

// BenchmarkRead is a night of 20,000 personal letters.
func BenchmarkRead(b *testing.B) {
	const letters = 20_000
	box := newBox(b)
	box.night(letters)
	b.ReportAllocs()
	for b.Loop() {
		r, err := Read(box.ctx, box.dir, Options{Defaults: Settings{ReturnAddressID: 7}, Quiet: time.Nanosecond})
		if err != nil || r.Rows() != letters {
			b.Fatalf("%v", err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(letters*float64(b.N)/b.Elapsed().Seconds(), "letters/s")
}

// FuzzManifest looks for manifests whose rows get lost or are read differently
// the second time.
func FuzzManifest(f *testing.F) {
	f.Add(header + row("1", "a.pdf", "yes,no,1,0,7"))
	f.Add("reference;file;address_name;address_line_1;address_city;address_postal_code\n1;a.pdf;A;1;P;6\n")
	f.Add(header + row("1", "../a.pdf", ",,,,") + row("1", "a.pdf", "x,,,,") + "\n\"")
	f.Add("\xef\xbb\xbf" + header + "1\n,,,\n1,a.pdf,\"A\nB\",x,y,z\n")
	pdf := specimen.Letter("a", 1)
	f.Fuzz(func(t *testing.T, text string) {
		b := newBox(t)
		b.put("a.pdf", pdf)
		b.put("m.csv", []byte(text))
		r := b.read(Options{Country: "AU"})
		if len(r.Manifests)+len(r.Broken) != 1 {
			t.Fatalf("%d manifests, %d broken", len(r.Manifests), len(r.Broken))
		}
		seen := map[string]bool{}
		for _, g := range r.Groups {
			contacts := b.contacts(g)
			if len(contacts) != g.Rows {
				t.Errorf("%d contacts of %d rows", len(contacts), g.Rows)
			}
			for i := range contacts {
				c := &contacts[i]
				if c.Reference == "" || seen[c.Reference] || !c.Address.Complete() || c.Line < 2 {
					t.Errorf("sent: %+v", c)
				}
				seen[c.Reference] = true
				if file, _ := c.Field(FileColumn); file != "a.pdf" {
					t.Errorf("the file is %q", file)
				}
			}
		}
		for _, m := range r.Manifests {
			rows, err := r.ReportRows(b.ctx, m)
			if err != nil || len(rows) != m.Rows || m.Rows != m.Good+m.Bad+m.Mailed+m.Repeated {
				t.Errorf("%d lines of %+v: %v", len(rows), m, err)
			}
		}
	})
}

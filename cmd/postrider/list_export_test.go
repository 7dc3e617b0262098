package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/importer"
	"github.com/postrider/postrider/ledger"
)

// nasty draws texts that spreadsheets, CSV and XML make something of.
func nasty() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`'{0,2}[=+@-]{0,2}[0-9A-Z(".;,|\n' ]{0,6}`),
		rapid.SampledFrom([]string{"007", "6.1412E+10", "=1+1", "'=x", "''@y", "a\r\nb", "a\rb", "\t=x", "_x0041_", "_x000D_", "<&>", "日本語 🙂", "  padded ", "\"quoted\"", "TRUE", "2026-01-02", ""}),
		rapid.StringOfN(rapid.RuneFrom([]rune("aé語🙂'=+-@\"\n,;\t_x05F")), 0, 8, -1),
	)
}

// nastyFile draws a file of contacts, with one recipient in every row.
func nastyFile(t *rapid.T) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	header := []string{"mobile", "email", "first_name", "last_name", "country", "reference", "address_name", "address_line_1", "address_line_2",
		"city", "state", "postcode"}
	// Names that would be taken for something better than what the first are.
	own := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"Mobile", "Tel", "Cell", "given name", "Zip", "Größe", "plan", "=cmd", "Name", "2nd", "phone 2"}), 0, 4, rapid.ID[string]).Draw(t, "columns")
	_ = w.Write(append(header, own...))
	for i := range rapid.IntRange(1, 6).Draw(t, "rows") {
		row := []string{fmt.Sprintf("+6141234%04d", i)}
		for range len(header) + len(own) - 1 {
			row = append(row, nasty().Draw(t, "cell"))
		}
		row[4] = rapid.SampledFrom([]string{"AU", "France", "", "nowhere"}).Draw(t, "country")
		if i%3 == 2 {
			row[0], row[4], row[6], row[7], row[9], row[11] = "", "GB", "N"+row[6], "1 St"+row[7], "C", "P"
		}
		_ = w.Write(row)
	}
	w.Flush()
	return b.String()
}

// digestOf imports rows into nothing.
func digestOf(t rapid.TB, text string) (string, importer.Summary) {
	t.Helper()
	content := ledger.NewListContent()
	sum, err := importer.Import(context.Background(), strings.NewReader(text), content, importer.Options{Name: "people.csv", Identity: campaign.ByContact})
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return content.Digest(), sum
}

func TestAnExportedListImportedAgainIsTheSameList(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l, err := ledger.Open(ctx, filepath.Join(t.TempDir(), "ledger.db"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		w, err := l.CreateList(ctx, fmt.Sprintf("list %d", n), "people.csv", "contact")
		if err != nil {
			t.Fatal(err)
		}
		sum, err := importer.Import(ctx, strings.NewReader(nastyFile(t)), w, importer.Options{Name: "people.csv", Identity: campaign.ByContact})
		if err != nil {
			t.Fatal(err)
		}
		li, err := w.Finish(ctx, ledger.ListCounts{Imported: sum.Imported})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := exportList(ctx, &out, l, li, "csv"); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(bytes.NewReader(out.Bytes())).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			for _, c := range row {
				if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) && !isNumber(c) {
					t.Fatalf("a spreadsheet takes %q for a formula", c)
				}
			}
		}
		if digest, again := digestOf(t, out.String()); digest != li.Digest {
			t.Fatalf("another list (%d of %d contacts) comes back of\n%s", again.Imported, sum.Imported, out.String())
		}

		out.Reset()
		if _, err := exportList(ctx, &out, l, li, "xlsx"); err != nil {
			t.Fatal(err)
		}
		if digest, _ := digestOf(t, sheetAsCSV(t, out.Bytes())); digest != li.Digest {
			t.Fatalf("another list comes back of a workbook with\n%s", sheetAsCSV(t, out.Bytes()))
		}
		if digest, _ := digestOf(t, out.String()); digest != li.Digest {
			t.Fatalf("another list comes back of the workbook itself, with\n%s", sheetAsCSV(t, out.Bytes()))
		}

		out.Reset()
		if _, err := exportList(ctx, &out, l, li, "jsonl"); err != nil {
			t.Fatal(err)
		}
		if digest, _ := digestOf(t, out.String()); digest != li.Digest {
			t.Fatalf("another list comes back of\n%s", out.String())
		}
	})
}

// sheetAsCSV reads a workbook as people see it.
func sheetAsCSV(t rapid.TB, book []byte) string {
	t.Helper()
	f, err := excelize.OpenReader(bytes.NewReader(book))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := f.GetRows(f.GetSheetName(0))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	for _, row := range rows {
		_ = w.Write(append(row, make([]string, len(rows[0])-len(row))...))
	}
	w.Flush()
	return b.String()
}

func TestAWorkbookHoldsTextsAndNoFormulas(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("vips", ann(), bob())
	s.run("list", "export", "vips", "-o", "out.xlsx", "--json").exits(exitDone).
		holds(map[string]any{"list": "vips", "contacts": 2, "format": "xlsx", "file": filepath.Join(s.dir, "out.xlsx")})
	f, err := excelize.OpenFile(filepath.Join(s.dir, "out.xlsx"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at, want := range map[string]string{"A1": "phone", "A2": "+61411111111", "D2": "=SUM(A1)", "L2": "0800", "N2": "-5.50", "O3": "two\nlines"} {
		got, err := f.GetCellValue("Contacts", at)
		kind, kerr := f.GetCellType("Contacts", at)
		formula, ferr := f.GetCellFormula("Contacts", at)
		style, serr := f.GetCellStyle("Contacts", at)
		form, gerr := f.GetStyle(style)
		if got != want || kind != excelize.CellTypeInlineString || formula != "" || form.NumFmt != sheetTextForm {
			t.Errorf("%s is %q of type %v with the formula %q in the format %+v: %v %v %v %v %v", at, got, kind, formula, form, err, kerr, ferr, serr, gerr)
		}
	}
}

func TestJSONLinesHaveTheNamesOfTemplates(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("vips", ann(), bob())
	r := s.run("list", "export", "vips", "--format", "jsonl").exits(exitDone)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), r.out)
	}
	for i, c := range []campaign.Contact{ann(), bob()} {
		var got map[string]string
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for _, name := range slices.Concat(importer.ExportedColumns(), []string{"address_country"}, c.Fields.Columns.Names()) {
			want[name], _ = c.Field(name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestWhatNoWorkbookHoldsIsRefused(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	long := func(text string) campaign.Contact {
		return campaign.Contact{Line: 2, Phone: "+61411111111", Fields: campaign.Fields{Columns: campaign.NewColumns("note"), Values: []string{text}}}
	}
	s.list("long", long(strings.Repeat("x", cellUnits+1)))
	s.list("emoji", long(strings.Repeat("🙂", cellUnits/2+1)))
	s.list("control", long("a\x01b"))
	s.list("just", long(strings.Repeat("é", cellUnits)))
	s.run("list", "export", "long", "-o", "a.xlsx").exits(exitFailed).warns("cell M2", "32,767 characters", "export the list as CSV")
	s.run("list", "export", "emoji", "-o", "a.xlsx").exits(exitFailed).warns("32,767 characters")
	s.run("list", "export", "control", "-o", "a.xlsx").exits(exitFailed).warns("U+0001")
	if left, _ := filepath.Glob(filepath.Join(s.dir, "*.xlsx")); len(left) > 0 {
		t.Errorf("half a workbook was left: %v", left)
	}
	s.run("list", "export", "just", "-o", "a.xlsx").exits(exitDone)
	if _, err := newWorkbook(nil, &ledger.List{Contacts: sheetRows - 1}); err != nil {
		t.Error(err)
	}
	if _, err := newWorkbook(nil, &ledger.List{Contacts: sheetRows}); err == nil || !strings.Contains(err.Error(), "1,048,576 rows") {
		t.Errorf("too many rows: %v", err)
	}
	if _, err := newWorkbook(nil, &ledger.List{Columns: make([]string, sheetColumns-11)}); err == nil || !strings.Contains(err.Error(), "16,384") {
		t.Errorf("too many columns: %v", err)
	}
}

func TestTheFormatIsThatOfTheFlagOrTheFile(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("vips", bob())
	s.run("list", "export", "vips", "-o", "a.JSONL").exits(exitDone)
	s.run("list", "preview", "a.JSONL").exits(exitDone).says("JSONL")
	s.run("list", "export", "vips", "-o", "a.txt").exits(exitDone)
	s.run("list", "preview", "a.txt").exits(exitDone).says("CSV")
	for _, file := range []string{"a.JSONL", "a.txt"} {
		s.run("list", "import", "vips", file).exits(exitDone).says("nothing changed")
	}
	s.run("list", "export", "vips", "--format", "pdf").exits(exitUsage).warns("csv, xlsx, jsonl")
	s.run("list", "export", "vips", "--format", "csv", "-o", "a.xlsx").exits(exitUsage).warns("not the same")
	s.at("").run("list", "export", "vips", "--format", "xlsx").exits(exitUsage).warns("nothing for a terminal")
	if r := s.run("list", "export", "vips", "--format", "xlsx").exits(exitDone); !strings.HasPrefix(r.out, "PK") {
		t.Error("stdout holds no workbook")
	}
}

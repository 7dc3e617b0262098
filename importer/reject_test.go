package importer

import (
	"bytes"
	"encoding/csv"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/gocarina/gocsv"
	"github.com/google/go-cmp/cmp"
)

// A report is written as the import goes, and read by people and spreadsheets.
func TestTheReportOfDroppedRowsIsSafeToOpenAndReadsBack(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/rejects.txt")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	report := NewRejectReport(&b)
	if _, err := Import(t.Context(), bytes.NewReader(text), &keeper{}, Options{Country: "US", Reject: report.Write}); err != nil {
		t.Fatal(err)
	}
	if err := report.Close(); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/rejects.report", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/rejects.report")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Error(d)
	}

	records, err := csv.NewReader(bytes.NewReader(b.Bytes())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records {
		for _, cell := range record {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r\n") {
				t.Errorf("a spreadsheet takes %q for a formula", cell)
			}
		}
	}
	for _, secret := range []string{"412 345", "412345 67", "5550123", "ann@example.com"} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("the report holds %q", secret)
		}
	}
	var rows []rejectRow
	if err := gocsv.UnmarshalBytes(b.Bytes(), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 6 || rows[0].Line != 3 || rows[0].Code != CodeNotANumber || rows[3].First != "2" || rows[3].Code != CodeDuplicate {
		t.Errorf("%+v", rows)
	}
}

func TestAReportOfManyRowsHasOneHeader(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	report := NewRejectReport(&b)
	for i := range 1234 {
		if err := report.Write(Reject{Line: i + 2, Code: CodeNotANumber}); err != nil {
			t.Fatal(err)
		}
	}
	if b.Len() == 0 {
		t.Error("nothing is written before the end: the report would be held in memory")
	}
	if err := report.Close(); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(b.String(), "\n"); lines != 1235 || strings.Count(b.String(), "line,column") != 1 {
		t.Errorf("%d lines", lines)
	}
}

func TestAReportWithoutRowsIsAHeader(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := NewRejectReport(&b).Close(); err != nil {
		t.Fatal(err)
	}
	if b.String() != "line,column,code,reason,advice,first_line,value\n" {
		t.Errorf("%q", b.String())
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAReportThatCannotBeWrittenSaysSo(t *testing.T) {
	t.Parallel()
	report := NewRejectReport(fullDisk{})
	if err := report.Write(Reject{Line: 2}); err != nil {
		t.Fatal(err)
	}
	if err := report.Close(); err == nil || !strings.Contains(err.Error(), "the report of dropped rows: no space left") {
		t.Errorf("%v", err)
	}
}

func TestMaskedValuesCannotBeCalled(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"":                              "",
		"n/a":                           "•••",
		"1234":                          "••••",
		"12345":                         "1•••5",
		"+61 412 345 678":               "+61•••••••••678",
		"Ærøskøbing":                    "Ær••••••ng",
		strings.Repeat("ab", 500) + "c": "aba••••••••••••••••••bab",
	} {
		if got := Mask(value); got != want {
			t.Errorf("%q became %q", value, got)
		}
	}
}

func TestAReportIsKnownByItsFirstLine(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	report := NewRejectReport(&b)
	if err := errors.Join(report.Write(Reject{Line: 2, Code: CodeDuplicate}), report.Close()); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{b.String(): true, "": false, "line,column\n1,2\n": false, "phone,name\n+61412000001,Ann Lee, who is a contact\n": false} {
		if got := IsRejectReport(strings.NewReader(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

package importer

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"github.com/postrider/postrider/campaign"
)

func TestAFileWithoutAHeaderKeepsEveryRow(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	const rows = 3 * guessRows
	for i := range rows {
		fmt.Fprintf(&b, "Ann%d,+614120%05d\n", i, i)
	}
	for _, mode := range []HeaderMode{HeaderAuto, HeaderNo} {
		got := importText(t, b.String(), Options{Header: mode})
		if got.Err != nil || got.Summary.Imported != rows || got.Summary.File.HeaderLine != 0 || len(got.Contacts) != rows {
			t.Fatalf("%+v, %v", got.Summary, got.Err)
		}
		for i, c := range got.Contacts {
			if name, _ := c.Field("column_1"); c.Line != i+1 || name != fmt.Sprintf("Ann%d", i) || c.Phone != fmt.Sprintf("+614120%05d", i) {
				t.Fatalf("the contact of line %d is %+v", i+1, c)
			}
		}
	}
}

func TestWhetherThereIsAHeaderIsFoundOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		o          Options
		line       int // of the header
		above      int
		imported   int
		mapping    string // role=column
	}{
		{name: "a title", text: "Customer list\nPhone,Name\n+61412000001,Ann\n", line: 2, above: 1, imported: 1, mapping: "full name=Name phone=Phone"},
		{name: "a title over one column", text: "Customer list\n\nPhone\n+61412000001\n", line: 3, above: 1, imported: 1, mapping: "phone=Phone"},
		{name: "a title, and a header that is assigned", text: "Liste\nWer,Wohin\nAnn,+61412000001\n", o: Options{Map: map[string]string{"phone": "wohin"}}, line: 2, above: 1, imported: 1, mapping: "phone=Wohin"},
		{name: "dates in the header", text: "Phone,2026-01-01,14/03/2026\n+61412000001,x,y\n", line: 1, imported: 1, mapping: "phone=Phone"},
		{name: "a header that looks like a contact", text: "phone,info@example.com\n+61412000001,x\n", o: Options{Header: HeaderYes}, line: 1, imported: 1, mapping: "phone=phone"},
		{name: "a contact that looks like a header", text: "+61412000001,mobile\n+61412000002,mobile\n", o: Options{Header: HeaderNo}, imported: 2, mapping: "phone=#1"},
		{name: "no header, national numbers", text: "Ann;0412 000 001\nBen;\nCleo;0412 000 003\n", o: Options{Country: "AU"}, imported: 2, mapping: "phone=#2"},
		{name: "no header, a column of countries", text: "0412 000 001,AU,Ann\n021 234 5678,NZ,Ben\n", imported: 2, mapping: "country=#2 phone=#1"},
		{name: "no header, states that look like countries", text: "(512) 555-0123,CA,Ann\n(512) 555-0124,DE,Ben\n", o: Options{Country: "US"}, imported: 2, mapping: "phone=#1"},
		{name: "no header, mobiles beside fixed lines", text: "08 5550 0001,0412 000 001\n08 5550 0002,0412 000 002\n", o: Options{Country: "AU"}, imported: 2, mapping: "phone=#2"},
		{name: "no header, customer numbers beside", text: "1000001,+61412000001\n1000002,+61412000002\n", o: Options{Country: "AU"}, imported: 2, mapping: "phone=#2"},
		{name: "no header, dates beside", text: "2026-01-01,+61412000001\n2026-01-02,+61412000002\n", imported: 2, mapping: "phone=#2"},
		{name: "no header, one to be told", text: "+61412000001,+61412000002\n", o: Options{Map: map[string]string{"phone": "2", "#1": "-"}}, imported: 1, mapping: "phone=#2"},
		{name: "no header, a name that is a column's", text: "Bob,Land,0412345678\nAnn,Lee,0412345679\n", o: Options{Country: "AU"}, imported: 2, mapping: "phone=#3"},
		{name: "no header, a kind that is a column's", text: "Bob,Roe,0412345678,Mobile\nAnn,Lee,0412345679,Mobile\n", o: Options{Country: "AU"}, imported: 2, mapping: "phone=#3"},
		{name: "days in the header", text: "Name,Mobile,20240101,20240201\nAnn,0412345678,12,\n", o: Options{Country: "AU"}, line: 1, imported: 1, mapping: "full name=Name phone=Mobile"},
		{name: "an example in the header", text: "Name,Mobile (e.g. 0412345678)\nAnn,0412345679\n", o: Options{Country: "AU"}, line: 1, imported: 1, mapping: "full name=Name phone=Mobile (e.g. 0412345678)"},
		{name: "no header, delimiters at the end", text: "+61412000001,Ann,,\n+61412000002,Ben,,\n", imported: 2, mapping: "phone=#1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := importText(t, c.text, c.o)
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			var mapping []string
			for role, column := range got.Summary.Mapping {
				mapping = append(mapping, role+"="+column)
			}
			slices.Sort(mapping)
			s := got.Summary
			if s.File.HeaderLine != c.line || s.AboveHeader != c.above || s.Imported != c.imported || strings.Join(mapping, " ") != c.mapping {
				t.Errorf("header on line %d, %d rows above, %d imported, %v", s.File.HeaderLine, s.AboveHeader, s.Imported, mapping)
			}
			for _, column := range s.Columns {
				if c.line == 0 && column.Header != "" {
					t.Errorf("a contact's cell is taken for a header: %+v", column)
				}
			}
		})
	}
}

// What comes before a header is lost, so that a header is believed only where
// it can be one.
func TestARowFurtherDownIsNotTakenForTheHeader(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"as narrow as the rows above": "Given,Shoe size\nAnn,42\nto,x\n+61412000001,Ben\n",
		"below a wide row":            "Given,Shoe size,Hat\nAnn,42,7\nPhone,Name,Tier,Plan\n+61412000001,Ben,a,b\n",
		"below ten rows":              strings.Repeat("x\n", 10) + "Phone,Name\n+61412000001,Ben\n",
	} {
		got := importText(t, text, Options{})
		if got.Err == nil || !strings.Contains(got.Err.Error(), "no column holds a phone number") {
			t.Errorf("%s: %+v, %v", name, got.Summary, got.Err)
		}
	}
}

func TestAMistakeFurtherDownIsToldAlsoWithoutAHeader(t *testing.T) {
	t.Parallel()
	got := importText(t, "+61412000001,Ann\n+61412000002,\"Ben\n", Options{})
	if got.Err == nil || !strings.Contains(got.Err.Error(), "line 2: a quote is never closed") {
		t.Error(got.Err)
	}
	got = importText(t, "+61412000001,Ann\n+61412000002,Ben\n"+strings.Repeat("+61412000003,Cleo\n", guessRows)+"+61412000004,x,y\n", Options{})
	if got.Err != nil || len(got.Rejects) != guessRows || got.Rejects[guessRows-1].Code != CodeTooManyCells || !strings.Contains(got.Rejects[guessRows-1].Reason, "at the beginning of the file") {
		t.Errorf("%v, %+v", got.Err, got.Rejects[len(got.Rejects)-1])
	}
}

func TestEveryReasonComesWithAdviceAndValuesOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	text := "phone,country,address,zip\n+61412000001,,,\n+61412000001,,,\n+6141,,,\nnone,,,\n0412 000 002,Atlantis,,\n,,,\n,,1 Hill Street,\n+61412000009,,,\n+61412000003,,,,x\n"
	o := Options{Country: "AU", OptedOut: func(c *campaign.Contact) bool { return c.Phone == "+61412000009" }}
	codes := map[string]bool{}
	for _, r := range importText(t, text, o).Rejects {
		codes[r.Code] = true
		if r.Reason == "" || r.Advice == "" || strings.Contains(r.Reason+r.Advice, ": ") {
			t.Errorf("%+v", r)
		}
		if strings.Contains(r.Value, "6141") || r.Value == "none" {
			t.Errorf("a value is shown: %+v", r)
		}
	}
	for _, code := range []string{CodeDuplicate, CodeOptedOut, CodeTooManyCells, CodeNoDestination, CodeUnknownCountry, CodeNotANumber, CodeInvalidNumber} {
		if !codes[code] {
			t.Errorf("no row was dropped as %s", code)
		}
	}
	o.ShowValues = true
	shown := map[string]bool{}
	for _, r := range importText(t, text, o).Rejects {
		shown[r.Value] = true
	}
	if !shown["+6141"] || !shown["none"] {
		t.Errorf("%v", shown)
	}
}

// A first row of which nothing is known may be a person's, so that no error
// repeats it.
func TestAnErrorRepeatsNoRowThatMayBeAContact(t *testing.T) {
	t.Parallel()
	const person = "Ann Lee,1 High St,Perth,6000,AU\nBen Roe,2 Low St,Perth,6000,AU\n"
	for name, c := range map[string]struct {
		text string
		o    Options
	}{
		"nothing is known":                {person, Options{}},
		"it is said to be a header":       {person, Options{Header: HeaderYes}},
		"a column that is not there":      {person, Options{Map: map[string]string{"phone": "Handy"}}},
		"a column that is there twice":    {"Ann,Ann,Perth,6000\n", Options{Map: map[string]string{"phone": "Ann"}}},
		"two names for one column":        {person, Options{Header: HeaderYes, Map: map[string]string{"phone": "#1", "email": "#1"}}},
		"without a postcode":              {"Ann Lee,High Street,Perth\n", Options{}},
		"one of its cells is a word":      {"Ann Lee,Land,Perth,6000\n", Options{}},
		"below the header that is missed": {"Ann Lee,1 High St,Perth,WA 6000\nBen Roe,2 Low St,Perth,WA 6000\n", Options{Country: "AU"}},
	} {
		got := importText(t, c.text, c.o)
		if got.Err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, value := range []string{"Ann Lee", "High", "Perth", "6000"} {
			if strings.Contains(got.Err.Error(), value) {
				t.Errorf("%s: the error repeats a cell: %v", name, got.Err)
			}
		}
	}
	// A header is repeated as soon as one of its names is known.
	if err := importText(t, "Name,Shoe size\nAnn,42\n", Options{}).Err; err == nil || !strings.Contains(err.Error(), `"Name", "Shoe size"`) {
		t.Error(err)
	}
}

func TestAnErrorOfACoverSheetNamesTheSheets(t *testing.T) {
	t.Parallel()
	f := excelize.NewFile()
	_, err := f.NewSheet("Data")
	var b bytes.Buffer
	err = errors.Join(err, f.SetCellStr("Sheet1", "A1", "Report of March"),
		f.SetCellStr("Data", "A1", "Phone"), f.SetCellStr("Data", "A2", "+61412000001"), f.Write(&b), f.Close())
	if err != nil {
		t.Fatal(err)
	}
	got := importText(t, b.String(), Options{Name: "people.xlsx"})
	if got.Err == nil || !strings.Contains(got.Err.Error(), `the sheet "Sheet1" was read`) || !strings.Contains(got.Err.Error(), `--sheet; the workbook has "Sheet1", "Data"`) {
		t.Error(got.Err)
	}
	if got := importText(t, b.String(), Options{Name: "people.xlsx", Sheet: "Data"}); got.Err != nil || got.Summary.Imported != 1 {
		t.Errorf("%+v, %v", got.Summary, got.Err)
	}
}

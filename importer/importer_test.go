package importer

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/campaign"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keeper is a sink that keeps the contacts, and fails when it is told to.
type keeper struct {
	contacts []campaign.Contact
	fail     error
}

func (s *keeper) Contacts(_ context.Context, chunk []campaign.Contact) error {
	s.contacts = append(s.contacts, chunk...)
	return s.fail
}

// imported is all that came of a file.
type imported struct {
	Summary  Summary
	Contacts []campaign.Contact
	Rejects  []Reject
	Err      error
}

func importText(t testing.TB, text string, o Options) imported {
	t.Helper()
	var got imported
	s := &keeper{}
	if o.Name == "" {
		o.Name = "people.csv"
	}
	o.Reject = func(r Reject) error { got.Rejects = append(got.Rejects, r); return nil }
	got.Summary, got.Err = Import(t.Context(), strings.NewReader(text), s, o)
	got.Contacts = s.contacts
	if sum := got.Summary; sum.Rows != sum.Imported+sum.Duplicates+sum.Rejected+sum.Suppressed {
		t.Errorf("the sum is wrong: %+v", sum)
	}
	return got
}

// update writes the golden files anew: go test ./importer -update
var update = flag.Bool("update", false, "write the golden files anew")

// golden writes what came of a file for people to read: the summary, then a
// line for each contact and each reject, empty values left out.
func (i imported) golden(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	put := func(label string, v any) {
		b.WriteString(label + " ")
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	sum := i.Summary
	sum.Columns = nil
	put("summary", sum)
	for _, c := range i.Summary.Columns {
		kept := c.Field
		switch {
		case c.Meaning != "":
			kept = c.Meaning
		case kept == "":
			kept = "not read"
		default:
			kept = "{{" + kept + "}}"
		}
		fmt.Fprintf(&b, "column  %d %q: %s\n", c.Number, c.Header, kept)
	}
	const begin, end = 15, 15 // of a long file
	for n, c := range i.Contacts {
		if n == begin && len(i.Contacts) > begin+end {
			fmt.Fprintf(&b, "... and %d more of them\n", len(i.Contacts)-begin-end)
		}
		if n >= begin && n < len(i.Contacts)-end {
			continue
		}
		values := map[string]any{"line": c.Line}
		for _, name := range []string{"phone", "email", "first_name", "last_name", "country", "reference", "address_name", "address_line_1",
			"address_line_2", "address_city", "address_state", "address_postal_code", "address_country"} {
			if v, _ := c.Field(name); v != "" {
				values[name] = v
			}
		}
		if c.Fields.Len() > 0 {
			values["fields"] = c.Fields
		}
		put("contact", values)
	}
	for n, r := range i.Rejects {
		if n == begin && len(i.Rejects) > begin+end {
			fmt.Fprintf(&b, "... and %d more of them\n", len(i.Rejects)-begin-end)
		}
		if n >= begin && n < len(i.Rejects)-end {
			continue
		}
		put("reject ", r)
	}
	return b.String()
}

func TestFilesBecomeTheContactsOfTheirGoldenFiles(t *testing.T) {
	t.Parallel()
	list := campaign.NewOptOuts()
	list.Add(campaign.NewOptOutPhone("+61412000001").OptOutKey)
	list.Add(campaign.NewOptOutPhone("+61412000002").OptOutKey)
	optedOut := func(id campaign.Identity) func(*campaign.Contact) bool {
		return func(c *campaign.Contact) bool { return list.BarsAtImport(c, id) }
	}
	options := map[string]Options{
		"spellings-salesforce":    {},
		"names-of-addresses":      {Identity: campaign.ByPost},
		"countries":               {Country: "AU", Identity: campaign.ByNumber},
		"quoted-newlines":         {Identity: campaign.ByNumber},
		"duplicates-by-number":    {Identity: campaign.ByNumber},
		"duplicates-by-post":      {Identity: campaign.ByPost},
		"duplicates-by-letter":    {Identity: campaign.ByLetter},
		"opted-out":               {OptedOut: optedOut(campaign.ByContact)},
		"numbers-spreadsheet":     {Country: "AU"},
		"numbers-several":         {Country: "AU"},
		"numbers-notes":           {Country: "AU"},
		"numbers-fixed-lines":     {Country: "AU", Identity: campaign.ByNumber},
		"numbers-two-columns":     {Country: "AU"},
		"numbers-other-columns":   {Country: "AU"},
		"addresses-of-countries":  {Identity: campaign.ByPost},
		"addresses-bad":           {},
		"addresses-of-nowhere":    {Country: "AU"},
		"letters-of-nowhere":      {Country: "AU", Identity: campaign.ByLetter},
		"addresses-dropped-zeros": {Identity: campaign.ByPost},
		"addresses-households":    {Identity: campaign.ByHousehold},
		"opted-out-by-number":     {OptedOut: optedOut(campaign.ByNumber), Identity: campaign.ByNumber},
		"mailchimp":               {Country: "AU"},
		"names-not-whole":         {Identity: campaign.ByPost},
		"without-header-mapped": {Identity: campaign.ByPost, Country: "AU", Map: map[string]string{
			"name": "#1", "street": "#2", "address_city": "#3", "state": "4", "address_postal_code": "column_5"}},
		"without-header-two-numbers": {Country: "AU", Map: map[string]string{"first_name": "#1"}},
		"mapped":                     {Country: "AU", Map: map[string]string{"first_name": "kunde", "phone": "Kontakt 2", "tier": "Stufe", "Geheim": "-"}},
	}
	files, err := filepath.Glob("testdata/*.csv")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".csv")
		o := options[name]
		delete(options, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := importText(t, string(text), o)
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			golden := strings.TrimSuffix(file, ".csv") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got.golden(t)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got.golden(t)); d != "" {
				t.Error(d)
			}
		})
	}
	for name := range options {
		t.Errorf("there are options for %s and no such file", name)
	}
}

func TestProgressEndsWithTheWholeFile(t *testing.T) {
	t.Parallel()
	var last Progress
	text := "\xef\xbb\xbfphone\n+61412000001\n\n+61412000001\n+61412000002\n"
	_, err := Import(t.Context(), strings.NewReader(text), &keeper{}, Options{Progress: func(p Progress) {
		if p.Rows < last.Rows || p.Bytes < last.Bytes {
			t.Errorf("%+v after %+v", p, last)
		}
		last = p
	}})
	if err != nil || last != (Progress{Bytes: int64(len(text)), Rows: 3}) {
		t.Errorf("%+v of %d bytes, %v", last, len(text), err)
	}
}

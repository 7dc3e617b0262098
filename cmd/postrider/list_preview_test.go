package main

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/postrider/postrider/ledger"
)

const germans = "Kundenliste, Stand 2026-01-01\n\nVorname,Name,Handy,Kunden Stufe,Notiz\n" +
	"Anna,Muster,0151 23456789,gold,privat\nBernd,Beispiel,0151 23456789,silber,privat\nClara,Probe,12,gold,privat\nDora,Muster,0151 23456780,,\n"

func TestAPreviewShowsWhatAFileIsUnderstoodAs(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("kunden.csv", germans)
	r := s.run("list", "preview", "kunden.csv", "--country", "DE", "--map", "notiz=-", "--for", "sms", "--rejects", "dropped.csv").exits(exitDone).
		says("commas between cells", "header on line 3, below 1 row that is no contact",
			"Handy         phone", "Name          last name", "kept as {{kunden_stufe}}", "Notiz         not stored",
			"line 4: +49", "values are masked", "4 rows: 2 would be imported, 1 duplicate, 1 rejected, 0 suppressed",
			"duplicate: 1, the same recipient as an earlier row", "(line 5)", "in column \"Handy\"", "(line 6)", "dropped.csv", "nothing was stored").
		hides("23456789", "Anna", "Muster", "privat")
	if strings.Contains(r.out, "gold") {
		t.Errorf("a value is shown: %s", r.out)
	}
	s.run("list", "preview", "kunden.csv", "--country", "DE", "--show-values", "--rows", "1").exits(exitDone).
		says("line 4: +4915123456789, Anna Muster, DE, kunden_stufe=gold, notiz=privat").hides("line 5:")
	s.ledger(func(ctx context.Context, l *ledger.Ledger) {
		if all, err := l.Lists(ctx); err != nil || len(all) != 0 {
			t.Errorf("a preview stored %d lists, %v", len(all), err)
		}
	})
}

func TestAPreviewIsOneObject(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("kunden.csv", germans)
	r := s.run("list", "preview", "kunden.csv", "--country", "DE", "--json").exits(exitDone).
		holds(map[string]any{"rows": 4, "would_import": 2, "duplicates": 1, "rejected": 1, "suppressed": 0, "above_header": 1})
	columns, ok := r.object()["columns"].([]any)
	if !ok || len(columns) != 5 || columns[2].(map[string]any)["field"] != "phone" || columns[2].(map[string]any)["header"] != "Handy" {
		t.Errorf("%v", r.object()["columns"])
	}
	dropped, ok := r.object()["dropped"].([]any)
	if !ok || len(dropped) != 2 || dropped[1].(map[string]any)["advice"] == "" {
		t.Errorf("%v", r.object()["dropped"])
	}
	// What cannot be imported is one object as well, and says why.
	r = s.run("list", "preview", "kunden.csv", "--json").exits(exitFailed).holds(map[string]any{"rows": 4, "would_import": 0}).warns("--country")
	if text, _ := r.object()["error"].(string); !strings.Contains(text, "--country") {
		t.Errorf("%q", text)
	}
}

// What would be imported and not be sent to is what a dry run suppresses.
func TestAPreviewForAChannelCountsAsItsCampaignDoes(t *testing.T) {
	t.Parallel()
	for channel, c := range map[string]struct {
		says    []string
		notSent map[string]string
	}{
		"":         {nil, map[string]string{}},
		"sms":      {[]string{"would not be sent to: fixed_line 2 (lines 3, 5)"}, map[string]string{"fixed_line": "2"}},
		"mms":      {[]string{"would not be sent to: fixed_line 2 (lines 3, 5)"}, map[string]string{"fixed_line": "2"}},
		"letter":   {nil, map[string]string{}},
		"postcard": {nil, map[string]string{}},
	} {
		t.Run("for "+channel, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.file("people.csv", "phone,name,street,city,postcode,country\n+61491570006,Ann,1 High St,Perth,6000,AU\n"+
				"+61255501234,Ben,2 High St,Perth,6000,AU\n+61491570156,Cleo,3 High St,Perth,6000,AU\n+61255501235,Dora,4 High St,Perth,6000,AU\n")
			args := []string{"list", "preview", "people.csv"}
			if channel != "" {
				args = append(args, "--for", channel)
			}
			r := s.run(args...).exits(exitDone).says(append(c.says, "4 rows: 4 would be imported")...)
			if len(c.says) == 0 {
				r.hides("would not be sent to")
			}
			got := map[string]string{}
			for _, n := range s.run(append(args, "--json")...).exits(exitDone).object()["not_sent"].([]any) {
				got[n.(map[string]any)["reason"].(string)] = n.(map[string]any)["contacts"].(json.Number).String()
			}
			if !maps.Equal(got, c.notSent) {
				t.Errorf("%v, not %v", got, c.notSent)
			}
		})
	}
}

func TestAPreviewOfAFileWithoutAHeaderSaysHowToNameColumns(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", "Ann,+61491570006,ann@example.com\nBen,+61491570156,ben@example.com\n")
	s.run("list", "preview", "people.csv").exits(exitDone).
		says("no header", "  2    phone", "  3    email", "kept as {{column_1}}", "--map first_name=#1", "2 rows: 2 would be imported")
	s.run("list", "import", "vips", "people.csv", "--map", "first_name=#1").exits(exitDone).says("2 imported")
	s.run("list", "show", "vips", "--show-values").exits(exitDone).says("line 1: +61491570006, Ann, ann@example.com")
}

func TestAPreviewIsRefusedWhen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"the file is missing":         {[]string{"nothing.csv"}, exitFailed, "there is no such file"},
		"no file is named":            {nil, exitUsage, "the file"},
		"the channel is none":         {[]string{"people.csv", "--for", "fax"}, exitUsage, "--for"},
		"the country is none":         {[]string{"people.csv", "--country", "XX"}, exitUsage, "--country: there is no country \"XX\""},
		"too many rows":               {[]string{"people.csv", "--rows", "1001"}, exitUsage, "--rows is from 0 to 1,000"},
		"fewer than none":             {[]string{"people.csv", "--rows", "-1"}, exitUsage, "--rows is from 0"},
		"a map without a column":      {[]string{"people.csv", "--map", "phone"}, exitUsage, "--map: \"phone\" does not say what a column is: write NAME=COLUMN"},
		"a map given twice":           {[]string{"people.csv", "--map", "phone=a", "--map", "phone=b"}, exitUsage, "--map: phone is given twice"},
		"a map of two names for one":  {[]string{"people.csv", "--map", "phone=a", "--map", "mobile=b"}, exitUsage, "--map: mobile and phone are the same"},
		"the header is a maybe":       {[]string{"people.csv", "--header", "maybe"}, exitUsage, `--header: "maybe" is neither auto, yes nor no`},
		"the column is not there":     {[]string{"people.csv", "--map", "tier=Stufe"}, exitFailed, `no column is called "Stufe"; the header is "phone", "name"`},
		"every row is dropped":        {[]string{"dropped.csv"}, exitFailed, "none of the 1 rows"},
		"numbers lack their country":  {[]string{"national.csv"}, exitFailed, "--country AU"},
		"the first line is a contact": {[]string{"bare.csv", "--header", "yes"}, exitFailed, "looks like a contact"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.file("people.csv", "phone,name\n+61411111111,Ann\n")
			s.file("dropped.csv", "phone\nnone\n")
			s.file("national.csv", "phone\n0411 111 111\n")
			s.file("bare.csv", "+61411111111,Ann\n")
			s.run(append([]string{"list", "preview"}, c.args...)...).exits(c.code).warns(c.says).hides("411111111", "411 111 111")
		})
	}
}

func TestTheReportOfDroppedRowsShowsValuesWhenAsked(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", "phone\n+61411111111\n+6141111\n")
	for _, c := range []struct {
		args  []string
		shown bool
	}{{nil, false}, {[]string{"--show-values"}, true}} {
		name := map[bool]string{false: "masked", true: "shown"}[c.shown]
		r := s.run(append([]string{"list", "import", name, "people.csv", "--json"}, c.args...)...).exits(exitDone).hides("6141111\"")
		b, err := os.ReadFile(r.object()["rejects_file"].(string))
		if err != nil || strings.Contains(string(b), "6141111") != c.shown || !strings.Contains(string(b), ",advice,") {
			t.Errorf("%v: %s, %v", c.args, b, err)
		}
	}
}

func TestColumnFlagsMeanNothingWithAStoredList(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("vips", bob())
	for flag, value := range map[string]string{"map": "phone=Handy", "header": "yes", "show-values": "true"} {
		s.run("send", "--channel", "sms", "--to", "list:vips", "--body", "x", "--yes", "--"+flag+"="+value).exits(exitUsage).
			warns("--" + flag + " means nothing with a stored list")
	}
	s.file("people.csv", "phone\n+61411111111\n")
	s.run("send", "--channel", "sms", "--to", "people.csv", "--body", "x", "--yes", "--map=phone").exits(exitUsage).warns("--map: \"phone\" does not say")
}

// The report of an earlier run would be taken for that of a clean one.
func TestACleanImportLeavesNoReportOfAnEarlierOne(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", "phone\n+61411111111\nnone\n")
	old := s.run("list", "import", "first", "people.csv", "--json").exits(exitDone).object()["rejects_file"].(string)
	s.file("people.csv", "phone\n+61411111111\n")
	s.run("list", "import", "second", "people.csv").exits(exitDone)
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", old, err)
	}
	// What is no report is not removed.
	if err := os.WriteFile(old, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run("list", "import", "third", "people.csv").exits(exitDone)
	if b, err := os.ReadFile(old); err != nil || string(b) != "mine\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestAPreviewTellsReasonsApart(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", "phone,street,city,postcode,country\n+61411111111,,,,\n,1 High St,Perth,,AU\n,2 High St,,6000,AU\n,,,,AU\n,3 High St,Perth,,AU\n")
	s.run("list", "preview", "people.csv").exits(exitDone).
		says("address_postal_code missing) (lines 3, 6)", "address_city missing) (line 4)", "no_destination: 1, the row has no phone number and no complete address (line 5)")
}

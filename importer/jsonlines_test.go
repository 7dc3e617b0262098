package importer

import (
	"errors"
	"strings"
	"testing"
)

func TestJSONLinesAreReadByTheirNames(t *testing.T) {
	t.Parallel()
	got := importText(t, "\xef\xbb\xbf"+`{"phone":"+61491570006","first_name":"Ann","tier":"gold","age":41,"vip":true,"note":null}
{"tier":"a, \"b\"\n","phone":"+61491570156"}

{"phone":"+61491570157","first_name":"Cy"}`, Options{})
	if got.Err != nil || got.Summary.File.Format != "jsonl" || len(got.Contacts) != 3 {
		t.Fatalf("%+v, %v", got.Summary, got.Err)
	}
	first, second := got.Contacts[0], got.Contacts[1]
	for name, want := range map[string]string{"first_name": "Ann", "tier": "gold", "age": "41", "vip": "true", "note": ""} {
		if v, ok := first.Field(name); v != want || !ok {
			t.Errorf("%s is %q", name, v)
		}
	}
	if v, _ := second.Field("tier"); v != `a, "b"` || second.Line != 2 || got.Contacts[2].Line != 4 {
		t.Errorf("%q on line %d", v, second.Line)
	}
}

func TestTheCountryOfAnAddressInJSONLinesIsItsOwn(t *testing.T) {
	t.Parallel()
	got := importText(t, `{"phone":"+61491570006","country":"AU","address_name":"Ann","address_line_1":"Ring 1","address_city":"Wien","address_postal_code":"1010","address_country":"AT"}
{"phone":"+61491570156","country":"AU","address_name":"","address_line_1":"","address_city":"","address_postal_code":"","address_country":""}
`, Options{})
	if got.Err != nil || len(got.Contacts) != 2 || got.Contacts[0].Address.Country != "AT" || got.Contacts[1].Country != "AU" || got.Contacts[1].Fields.Len() != 0 {
		t.Errorf("%+v, %v", got.Contacts, got.Err)
	}
}

func TestJSONLinesAreRefusedWhen(t *testing.T) {
	t.Parallel()
	const good = `{"phone":"+61491570006"}` + "\n"
	for name, c := range map[string]struct {
		text, want string
		line       int
	}{
		"a value is an object": {good + `{"phone":{"a":1}}`, "object or a list", 2},
		"a name is new":        {good + `{"phone":"1","mobile":"2"}`, "first object lacks", 2},
		"a name comes twice":   {good + `{"phone":"1","phone":"2"}`, "twice", 2},
		"a line is cut off":    {good + `{"phone":"1`, "not valid JSON", 2},
		"a line has two":       {good + `{"phone":"1"}{"phone":"2"}`, "more than one object", 2},
		"a line is no object":  {good + `7`, "expected an object", 2},
		"no name is a number":  {`{"colour":"red"}` + "\n", "no column holds a phone number", 1},
		"a line is too long":   {good + `{"phone":"` + strings.Repeat("1", 2<<20) + `"}`, "more than", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := importText(t, c.text, Options{})
			var fe *FileError
			if !errors.As(got.Err, &fe) || !strings.Contains(fe.Error(), c.want) || fe.Line != c.line || strings.Contains(fe.Error(), "61491570006") {
				t.Errorf("%v", got.Err)
			}
		})
	}
	if got := importText(t, good, Options{Delimiter: ";"}); got.Err == nil || !strings.Contains(got.Err.Error(), "--delimiter is for CSV") {
		t.Errorf("%v", got.Err)
	}
}

// An exported list is to come back as it was, so what is stored has nothing at
// its beginning that another reading would take off.
func TestAPostalCodeKeepsNothingOfTheApostropheBeforeIt(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"'0800", "'' 0800", "' '0800"} {
		got := importText(t, "phone,postcode\n+61491570006,"+code+"\n", Options{})
		if got.Err != nil || got.Contacts[0].Address.PostalCode != "0800" {
			t.Errorf("%q is %q, %v", code, got.Contacts[0].Address.PostalCode, got.Err)
		}
	}
}

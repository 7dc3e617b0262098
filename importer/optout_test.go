package importer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postrider/postrider/campaign"
)

// optOutsOf imports a file of opt-outs and lists what it came to.
func optOutsOf(t *testing.T, text, country string) (entries, rejects []string, got imported) {
	t.Helper()
	got = importText(t, text, Options{Name: "stop.csv", Country: country, OptOuts: true, Workers: 2})
	for i := range got.Contacts {
		for _, o := range OptOuts(&got.Contacts[i]) {
			entries = append(entries, fmt.Sprintf("%d %s %s", got.Contacts[i].Line, o.Kind, o.Key))
		}
	}
	for _, r := range got.Rejects {
		rejects = append(rejects, fmt.Sprintf("%d %s %q %s", r.Line, r.Code, r.Column, r.Value))
	}
	return entries, rejects, got
}

func TestOptOutsAreReadFromAnyFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text, country    string
		entries, rejects []string
	}{
		"numbers alone": {"0412 345 678\n+61 412 345 679\n'+61412345670\n", "AU",
			[]string{"1 phone +61412345678", "2 phone +61412345679", "3 phone +61412345670"}, nil},
		"e-mail addresses alone, and a number": {"Ann@Example.com\nnobody\n+61412345678\nann@example.com\n", "",
			[]string{"1 email ann@example.com", "3 phone +61412345678"}, []string{`2 not_a_number "" n••••y`, `4 duplicate "" `}},
		"a header of one column": {"Email Address\nann@example.com\n@example.com\n", "",
			[]string{"2 email ann@example.com"}, []string{`3 not_an_email "Email Address" @ex••••••com`}},
		"every kind in one row": {"phone,email,name,address,city,postcode,country\n+61412345678,ann@example.com,Ann Smith,1 Hill St,Perth,6000,Australia\n,,,2 Hill St,Perth,6000,AU\n", "",
			[]string{"2 phone +61412345678", "2 email ann@example.com", "2 address ann smith|1 hill st|perth|6000|au", "3 address |2 hill st|perth|6000|au"}, nil},
		"a fixed line": {"phone\n+61 8 9200 1234\n", "", []string{"2 phone +61892001234"}, nil},
		"rows of which a part cannot be read": {"phone,email,address,city,postcode,country\n12,ann@example.com,,,,\n+61412345678,ann,,,,\n+61412345679,,1 Hill St,,6000,AU\n,,1 Hill St,,6000,AU\n,,,,,AU\n", "",
			[]string{"2 email ann@example.com", "3 phone +61412345678", "4 phone +61412345679"},
			[]string{`2 partly_taken "phone" ••`, `3 partly_taken "email" •••`, `4 partly_taken "address" `, `5 no_destination "address" `, `6 no_destination "" `}},
		"several opt-outs of one number": {"phone,email\n+61412345678,a@example.com\n+61412345678,b@example.com\n+61412345678,A@example.com\n", "",
			[]string{"2 phone +61412345678", "2 email a@example.com", "3 phone +61412345678", "3 email b@example.com"}, []string{`4 duplicate "" `}},
		"what an export marks as no formula": {"phone,email\n,'=a@example.com\n,'o'neil@example.com\n", "",
			[]string{"2 email =a@example.com", "3 email o'neil@example.com"}, nil},
		"every phone column": {"phone,mobile,home phone\n+61412345678,+61412345679,08 9200 1234\n,12,+61412345670\n", "AU",
			[]string{"2 phone +61412345679", "2 phone +61412345678", "2 phone +61892001234", "3 phone +61412345670"}, []string{`3 partly_taken "mobile" ••`}},
		"several numbers in a cell": {"phone\n+61412345678 / +61412345679\n0412 345 670 / 0412 345 671 / 0412 345 670\n", "AU",
			[]string{"2 phone +61412345678", "2 phone +61412345679", "3 phone +61412345670", "3 phone +61412345671"}, nil},
		"every e-mail column": {"email,email 2,note,reason\nAnn <ann@example.com>; a@work.example,mailto:a@home.example,told by bob@example.com,bob@example.com\n", "",
			[]string{"2 email ann@example.com", "2 email a@work.example", "2 email a@home.example"}, nil},
		"several columns without a header": {"+61412345678,+61412345679,ann@example.com,a@work.example\n+61412345670,+61412345671,bob@example.com,\n", "",
			[]string{"1 phone +61412345678", "1 phone +61412345679", "1 email ann@example.com", "1 email a@work.example", "2 phone +61412345670", "2 phone +61412345671", "2 email bob@example.com"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entries, rejects, got := optOutsOf(t, c.text, c.country)
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			if d := cmp.Diff(c.entries, entries); d != "" {
				t.Errorf("entries: %s", d)
			}
			if d := cmp.Diff(c.rejects, rejects); d != "" {
				t.Errorf("rejects: %s", d)
			}
			partly := 0
			for _, r := range got.Rejects {
				if r.Code == CodePartlyTaken {
					partly++
				}
			}
			if got.Summary.Partly != partly {
				t.Errorf("%d rows are partly taken, %d are reported", got.Summary.Partly, partly)
			}
		})
	}
}

func TestFilesOfOptOutsThatAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0412345678\n0412345679\n":          "give --country",
		"phone,email\n0412345678,a@b.cd\n":  "give --country",
		"first name,last name\nAnn,Smith\n": "no column holds a phone number",
		"phone\nnobody\n":                   "none of the 1 rows has a valid phone number, an e-mail address or a whole street address",
		"":                                  "the file is empty",
	} {
		if _, _, got := optOutsOf(t, text, ""); got.Err == nil || !strings.Contains(got.Err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, got.Err, want)
		}
	}
}

func TestANumberIsReadAsThoseOfAFile(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"0412 345 678": "+61412345678", " +44 7400 123456 ": "+447400123456"} {
		if got, err := ParsePhone(text, "AU"); got != want || err != nil {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"0412", "nobody", "+999123456"} {
		if _, err := ParsePhone(text, "AU"); campaign.ErrorCode(err) != campaign.CodeInvalid || strings.Contains(err.Error(), text) {
			t.Errorf("%s: error %v", text, err)
		}
	}
}

// Who wrote STOP must not be written to; whatever stands beside the number, it
// is taken for one.
func TestWordsBesideANumberThatOptsOutDoNotLoseIt(t *testing.T) {
	t.Parallel()
	got := importText(t, "phone\nSTOP +61491570006\n+61491570156 (deceased)\n0491 570 XXX\n", Options{OptOuts: true, Country: "AU"})
	if len(got.Contacts) != 2 || got.Contacts[0].Phone != "+61491570006" || got.Contacts[1].Phone != "+61491570156" || len(got.Rejects) != 1 {
		t.Errorf("%+v %+v", got.Contacts, got.Rejects)
	}
}

func TestWhoHasOptedOutHidesNobodyBehindIt(t *testing.T) {
	t.Parallel()
	text := "name,address,city,postcode,country\nAnn Smith,1 Hill St,Perth,6000,AU\nBob Smith,1 Hill St,Perth,6000,AU\nCas Smith,1 Hill St,Perth,6000,AU\n"
	got := importText(t, text, Options{Identity: campaign.ByHousehold, OptedOut: func(c *campaign.Contact) bool { return c.FirstName == "Ann" }})
	if got.Err != nil || len(got.Contacts) != 1 || got.Contacts[0].FirstName != "Bob" || got.Summary.Suppressed != 1 || got.Summary.Duplicates != 1 {
		t.Errorf("%+v, %v: %+v", got.Summary, got.Err, got.Contacts)
	}
}

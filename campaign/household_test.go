package campaign

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNumbersThatMessagesDoNotReachAreSuppressedUnlessAsked(t *testing.T) {
	t.Parallel()
	mobile, fixed, again, out := smsContact(1), smsContact(2), smsContact(2), smsContact(3)
	fixed.Phone, again.Phone = "+61293744000", "+61293744000"
	again.ID, out.ID = 4, 5
	contacts := []Contact{mobile, fixed, again, out}
	takes := func(phone string) bool { return strings.HasPrefix(phone, "+614") }
	for _, c := range []struct {
		name    string
		content Content
		want    map[string]int
	}{
		{"sms", Content{Channel: SMS, Body: "Hi"}, map[string]int{ReasonFixedLine: 2, ReasonOptedOut: 1}},
		{"mms", Content{Channel: MMS, Body: "Hi", Subject: "Hi", From: "ACME", Media: &File{URL: "https://example.com/a.gif"}}, map[string]int{ReasonFixedLine: 2, ReasonOptedOut: 1}},
		{"asked for", Content{Channel: SMS, Body: "Hi", FixedLines: true}, map[string]int{ReasonDuplicate: 1, ReasonOptedOut: 1}},
	} {
		batches, sum, err := plan(t, c.content, Limits{}, PlanOptions{
			TakesMessages: takes, Seen: NewSeen(), OptedOut: func(k *Contact) bool { return k.ID == 5 },
		}, contacts)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if diff := cmp.Diff(c.want, sum.Suppressed); diff != "" {
			t.Error(c.name, diff)
		}
		if n := len(batches[0].Recipients); n != 4-c.want[ReasonFixedLine]-c.want[ReasonDuplicate]-1 || sum.Sendable != n {
			t.Errorf("%s: %d are sent to, %d of the summary", c.name, n, sum.Sendable)
		}
	}
}

func TestAFractionIsNoFurtherDigitOfAHouse(t *testing.T) {
	t.Parallel()
	key := func(line string) string {
		return string(ByHousehold.AppendKey(nil, &Contact{Address: Address{Name: "Ann", Line1: line, City: "Perth", PostalCode: "6000", Country: "AU"}}, ""))
	}
	if key("1½ High St") != key("1 1/2 High St") || key("1½ High St") == key("11/2 High St") || key("5² High St") == key("52 High St") {
		t.Errorf("%q, %q, %q", key("1½ High St"), key("1 1/2 High St"), key("11/2 High St"))
	}
}

func TestAHouseholdIsAnAddressHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	base := Address{Name: "Ann Example", Line1: "1 St. Mary's Road", Line2: "Flat 2", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}
	key := func(change func(*Address)) string {
		a := base
		change(&a)
		return string(ByHousehold.AppendKey(nil, &Contact{Phone: "+61412345678", Address: a}, ""))
	}
	want := key(func(*Address) {})
	for name, change := range map[string]func(*Address){
		"a spouse":           func(a *Address) { a.Name = "Ben Example" },
		"capitals":           func(a *Address) { a.Line1, a.City = "1 ST. MARY'S ROAD", "PERTH" },
		"punctuation":        func(a *Address) { a.Line1, a.Line2 = "1, St Marys Road", "Flat 2." },
		"white space":        func(a *Address) { a.Line1 = "  1  St. Mary’s\u00a0Road" },
		"all in one line":    func(a *Address) { a.Line1, a.Line2 = "1 St Mary's Road, Flat 2", "" },
		"a dash for a space": func(a *Address) { a.Line2 = "Flat-2" },
	} {
		if got := key(change); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for name, change := range map[string]func(*Address){
		"another flat":       func(a *Address) { a.Line2 = "Flat 3" },
		"a fraction":         func(a *Address) { a.Line2 = "Flat 2 1/2" },
		"a number run on":    func(a *Address) { a.Line2 = "Flat 21" },
		"a number apart":     func(a *Address) { a.Line2 = "Flat 2 1" },
		"a number in points": func(a *Address) { a.Line2 = "Flat 2.1" },
		"another town":       func(a *Address) { a.City = "Fremantle" },
		"another code":       func(a *Address) { a.PostalCode = "6001" },
		"another country":    func(a *Address) { a.Country = "NZ" },
		"an accent":          func(a *Address) { a.City = "Pérth" },
	} {
		if got := key(change); got == want {
			t.Errorf("%s makes no other household: %q", name, got)
		}
	}
	if a, b := key(func(a *Address) { a.Line2 = "Flat 2.1" }), key(func(a *Address) { a.Line2 = "Flat 21" }); a == b {
		t.Error("flat 2.1 is flat 21")
	}
	if a, b := key(func(a *Address) { a.PostalCode = ""; a.Name = "Ann" }), key(func(a *Address) { a.PostalCode = ""; a.Name = "Ben" }); a == b {
		t.Error("two contacts without a whole address are one household")
	}
}

func TestOneOfAHouseholdIsSentTo(t *testing.T) {
	t.Parallel()
	ann, ben, next := postContact(1), postContact(1), postContact(2)
	ben.ID, ben.Address.Name, ben.Address.Line1 = 7, "Ben", "1 HIGH ST."
	content := Content{Channel: Letter, Files: []File{{SHA256: strings.Repeat("a", 64), Name: "a.pdf", Size: 1, Type: "pdf"}}, ReturnAddressID: 1}
	for household, want := range map[bool]map[string]int{false: {}, true: {ReasonDuplicate: 1}} {
		content.Household = household
		if err := content.Validate(Limits{}); err != nil {
			t.Fatal(err)
		}
		_, sum, err := plan(t, content, Limits{}, PlanOptions{Seen: NewSeen()}, []Contact{ann, ben, next})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, sum.Suppressed); diff != "" {
			t.Errorf("household %v: %s", household, diff)
		}
	}
}

func TestWhoIsSentToIsChosenOnlyWhereItMatters(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Content{
		"fixed_lines": {Channel: Letter, FixedLines: true},
		"dedupe":      {Channel: SMS, Household: true},
	} {
		if err := c.Validate(Limits{}); err == nil || !strings.Contains(err.Error(), name+": does not go with") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := Content{Channel: Letter, FileColumn: "pdf", Household: true}
	if err := c.Validate(Limits{}); err == nil || !strings.Contains(err.Error(), "dedupe: each of these letters is somebody's own") {
		t.Error(err)
	}
	seen := map[string]bool{}
	for _, c := range []Content{{Channel: SMS, Body: "Hi"}, {Channel: SMS, Body: "Hi", FixedLines: true}, {Channel: SMS, Body: "Hi", Household: true}} {
		seen[c.Digest()] = true
	}
	if len(seen) != 3 {
		t.Error("the digest does not tell who is sent to")
	}
}

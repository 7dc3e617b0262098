package campaign

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAddressesAreFoundWhateverTheirCaseAndPunctuation(t *testing.T) {
	t.Parallel()
	base := Address{Line1: "12 O'Brien St.", Line2: "Unit 3/7", City: "St.Kilda", State: "VIC", PostalCode: "3182", Country: "AU"}
	key := func(a Address) string {
		o, err := NewOptOutAddress(a)
		if err != nil {
			t.Fatal(err)
		}
		return o.Key
	}
	if got, want := key(base), "|12 obrien st unit 3 7|st kilda|3182|au"; got != want {
		t.Errorf("the key is %s, want %s", got, want)
	}
	for name, change := range map[string]func(*Address){
		"case":           func(a *Address) { a.Line1, a.City = "12 O'BRIEN ST.", "ST.KILDA" },
		"punctuation":    func(a *Address) { a.Line1, a.Line2, a.City = "12, O’Brien St", "Unit 3-7,", "St. Kilda" },
		"white space":    func(a *Address) { a.Line1, a.PostalCode = "  12\tO'Brien  St. ", "31 82" },
		"one line":       func(a *Address) { a.Line1, a.Line2 = "12 O'Brien St, Unit 3/7", "" },
		"no state":       func(a *Address) { a.State = "" },
		"full width":     func(a *Address) { a.Line1 = "１２ O'Brien St" },
		"no accent form": func(a *Address) { a.City = "St Kilda" },
	} {
		a := base
		if change(&a); key(a) != key(base) {
			t.Errorf("%s: the key is %s, want %s", name, key(a), key(base))
		}
	}
	for name, change := range map[string]func(*Address){
		"house number": func(a *Address) { a.Line1 = "1 2 O'Brien St" },
		"unit":         func(a *Address) { a.Line2 = "Unit 37" },
		"city":         func(a *Address) { a.City = "Kilda" },
		"postcode":     func(a *Address) { a.PostalCode = "3183" },
		"country":      func(a *Address) { a.Country = "NZ" },
		"a name":       func(a *Address) { a.Name = "Ann" },
	} {
		a := base
		if change(&a); key(a) == key(base) {
			t.Errorf("%s makes no difference", name)
		}
	}
	for one, same := range map[string]string{
		"Hauptstraße": "HAUPTSTRASSE", "P.O. Box 7": "PO Box 7", "Café": "Cafe\u0301", "ÅRHUS": "a\u030arhus", "D'Arcy & Sons": "darcy sons", "J. Smith": "j smith",
	} {
		if foldWords(one) != foldWords(same) {
			t.Errorf("%q is %q, and %q is %q", one, foldWords(one), same, foldWords(same))
		}
	}
	for one, other := range map[string]string{"1.2": "12", "1/12 High St": "11/2 High St", "Rosé": "Rose", "मार्ग": "मारग"} {
		if foldWords(one) == foldWords(other) {
			t.Errorf("%q and %q are the same", one, other)
		}
	}
}

func TestWhatIsNoOptOutIsRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "quokka", "@example.org", "quokka@", "a@b@c.d", "Ann <ann@example.com", "Ann <ann>", "a@b.cd, e@f.gh", "a b@c.de", strings.Repeat("x", 320) + "@c.de", "a\x00@c.de", "\xff@c.de"} {
		if o, err := NewOptOutEmail(s); ErrorCode(err) != CodeInvalid || err != nil && s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("%q: %v, %v", s, o, err)
		}
	}
	whole := Address{Line1: "1 Hill St", City: "Perth", PostalCode: "6000", Country: "AU"}
	for missing, change := range map[string]func(*Address){
		"no line 1": func(a *Address) { a.Line1 = "--" }, "no city": func(a *Address) { a.City = "" },
		"no postcode": func(a *Address) { a.PostalCode = " " }, "no country": func(a *Address) { a.Country = "" },
		"no letter": func(a *Address) { a.Name = "..." }, "too long": func(a *Address) { a.Line1 = strings.Repeat("x", 2000) },
	} {
		a := whole
		change(&a)
		if _, err := NewOptOutAddress(a); ErrorCode(err) != CodeInvalid || err != nil && (!strings.Contains(err.Error(), missing) || strings.Contains(err.Error(), "Hill")) {
			t.Errorf("%s: %v", missing, err)
		}
	}
}

func TestWhatAnOptOutStops(t *testing.T) {
	t.Parallel()
	at := Address{Name: "The Smiths", Line1: "1 Hill St", City: "Perth", PostalCode: "6000", Country: "AU"}
	c := Contact{Phone: "+61412345678", Email: "Ann@Example.com ", FirstName: "Ann", LastName: "Smith", Address: at}
	address := func(name string) OptOut {
		a := at
		a.Name = name
		o, err := NewOptOutAddress(a)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	email, err := NewOptOutEmail("ann@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]struct {
		o    OptOut
		bars string // channels; import by contact, number, post
	}{
		"the number":             {NewOptOutPhone(c.Phone), "sms mms import-number"},
		"another number":         {NewOptOutPhone("+61412345679"), ""},
		"the e-mail address":     {email, "sms mms letter postcard import-contact import-number import-post"},
		"everybody there":        {address(""), "letter postcard import-post"},
		"the name on the letter": {address("THE SMITHS"), "letter postcard import-post"},
		"the person":             {address("ann smith"), "letter postcard import-post"},
		"somebody else there":    {address("Ben Smith"), ""},
	} {
		list := NewOptOuts()
		list.Add(k.o.OptOutKey)
		var got []string
		for _, ch := range Channels() {
			if list.Bars(&c, ch) {
				got = append(got, string(ch))
			}
		}
		for _, id := range []Identity{ByContact, ByNumber, ByPost} {
			if list.BarsAtImport(&c, id) {
				got = append(got, "import-"+id.String())
			}
		}
		if strings.Join(got, " ") != k.bars {
			t.Errorf("%s stops %v, want %s", name, got, k.bars)
		}
	}
	both := NewOptOuts()
	both.Add(NewOptOutPhone(c.Phone).OptOutKey)
	both.Add(address("").OptOutKey)
	if !both.BarsAtImport(&c, ByContact) {
		t.Error("somebody who cannot be reached any more is imported")
	}
	if both.BarsAtImport(&Contact{Reference: "a"}, ByContact) {
		t.Error("whom nothing reaches is barred")
	}
	var nobody *OptOuts
	if nobody.Bars(&c, SMS) || nobody.BarsAtImport(&c, ByContact) || NewOptOuts().Bars(&c, Letter) {
		t.Error("an empty list bars somebody")
	}
}

// The keys of a contact do not depend on what else is on the list, and each of
// them bars it.
func TestOptOutKeysAreStable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`[a-cA-C1-3 .'’/ß-]{0,8}`), rapid.String())
		c := Contact{Phone: rapid.SampledFrom([]string{"", "+61412345678"}).Draw(t, "phone"), Email: text.Draw(t, "email"), FirstName: text.Draw(t, "first"), LastName: text.Draw(t, "last"),
			Address: Address{text.Draw(t, "name"), text.Draw(t, "1"), text.Draw(t, "2"), text.Draw(t, "city"), text.Draw(t, "state"), text.Draw(t, "postcode"), "AU"}}
		ch := rapid.SampledFrom(Channels()).Draw(t, "channel")
		const every = OptOutKinds(OptOutPhone | OptOutEmail | OptOutAddress)
		all := AppendOptOutKeys(nil, &c, ch, every)
		var parts []OptOutKey
		for _, k := range EveryOptOutKind() {
			parts = AppendOptOutKeys(parts, &c, ch, OptOutKinds(k))
		}
		if !slices.Equal(all, parts) {
			t.Fatalf("together %v, apart %v", all, parts)
		}
		for _, k := range all {
			list := NewOptOuts()
			list.Add(k)
			if !list.Bars(&c, ch) {
				t.Fatalf("%v does not bar %+v", k, c)
			}
		}
		// What a person types from a letter finds the contact that the letter went to.
		if o, err := NewOptOutAddress(Address{Line1: strings.ToUpper(c.Address.Line1), Line2: c.Address.Line2 + " ", City: c.Address.City, PostalCode: c.Address.PostalCode, Country: "au"}); err == nil && ch.IsPost() && c.Address.Complete() && strings.EqualFold(strings.ToUpper(c.Address.Line1), c.Address.Line1) {
			if !slices.Contains(all, o.OptOutKey) {
				t.Fatalf("%v is none of %v", o.OptOutKey, all)
			}
		}
	})
}

func TestSeenHasWhatWasAdded(t *testing.T) {
	t.Parallel()
	s := NewSeen()
	if s.Has([]byte("x")) {
		t.Error("an empty set has something")
	}
	for i := range 50_000 {
		s.Add(fmt.Sprint("+614", 2*i))
	}
	for i := range 100_000 {
		if s.Has(fmt.Append(nil, "+614", i)) != (i%2 == 0) {
			t.Fatalf("key %d", i)
		}
	}
}

func TestEMailAddressesAreFoundAsPeopleHaveThem(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"ann@example.com", " Ann@Example.COM ", "Ann Smith <ann@example.com>", "\"Smith, Ann\" <ann@example.com>", "<ann@example.com>", "mailto:ann@example.com",
		"MAILTO:ann@example.com?subject=Hi", "'ann@example.com", "'ann@example.com'", "ann@example.com.", "ann@example.com,", "Ann <mailto:ann@example.com>",
	} {
		if o, err := NewOptOutEmail(text); err != nil || o.Key != "ann@example.com" {
			t.Errorf("%q is %q, %v", text, o.Key, err)
		}
	}
	list := NewOptOuts()
	list.Add(OptOutKey{OptOutEmail, "ann@example.com"})
	columns := NewColumns("email_2")
	for text, barred := range map[string]bool{
		"ann@example.com; a@work.example": true, "a@work.example, Ann <ann@example.com>": true, "a@work.example|ann@example.com": true, "a@work.example ann@example.com.": true,
		"joann@example.com": false, "ann@example.com.au": false, "ann": false,
	} {
		first := Contact{Phone: "+61412345678", Email: text}
		second := Contact{Phone: "+61412345678", Email: "x@y.example", Fields: Fields{Columns: columns, Values: []string{text}}}
		if list.Bars(&first, SMS) != barred || list.Bars(&second, Letter) != barred {
			t.Errorf("%q: barred %v, and in a further column %v", text, list.Bars(&first, SMS), list.Bars(&second, Letter))
		}
	}
	note := Contact{Phone: "+61412345678", Fields: Fields{Columns: columns, Values: []string{"asked by ann@example.com to call back"}}}
	if list.Bars(&note, SMS) {
		t.Error("a note that speaks of somebody bars the contact")
	}
}

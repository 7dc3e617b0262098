package campaign

import (
	"strings"
	"testing"
)

func TestPostalCodesAreWrittenAsTheirCountryDoes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		country, code, want string
		bad                 bool
	}{
		{"AU", "6000", "6000", false},
		{"AU", "800", "0800", false}, // Darwin, as a spreadsheet leaves it
		{"AU", "6000.0", "6000", false},
		{"AU", "８００", "0800", false},
		{"JP", "１００－０００１", "100-0001", false},
		{"JP", "〒100-0001", "100-0001", false},
		{"JP", "100−0001", "100-0001", false},
		{"JP", "100ー0001", "100-0001", false},
		{"JP", "〒 10-0001", "〒 10-0001", true},
		{"ZA", "1", "0001", false},
		{"NO", "1", "0001", false},
		{"AU", "8", "8", true},
		{"PL", "950", "00950", false},
		{"PL", "00-950", "00-950", false},
		{"AU", "80", "80", true},
		{"AU", "60000", "60000", true},
		{"AU", "WA 6000", "WA 6000", true},
		{"US", "2134", "02134", false},
		{"US", "501", "00501", false},
		{"US", "02134-1000", "02134-1000", false},
		{"US", "021341000", "021341000", false},
		{"US", "21", "21", true},
		{"PR", "601", "00601", false},
		{"DE", "1067", "01067", false},
		{"DE", "D-10115", "10115", false},
		{"DE", "DE-10115", "10115", false},
		{"DE", "106", "106", true},
		{"AT", "A-1010", "1010", false},
		{"AT", "101", "101", true}, // no Austrian code begins with a zero
		{"CH", "CH-8001", "8001", false},
		{"FR", "75 001", "75 001", false},
		{"FR", "1000", "01000", false},
		{"IT", "184", "00184", false},
		{"SE", "111 22", "111 22", false},
		{"SE", "S-111 22", "111 22", false},
		{"NL", "1012ab", "1012AB", false},
		{"NL", "1012  ab", "1012 AB", false},
		{"NL", "1012", "1012", true},
		{"GB", "sw1a 1aa", "SW1A 1AA", false},
		{"GB", "M11AE", "M11AE", false},
		{"GB", "EC1A\u00a01BB", "EC1A 1BB", false},
		{"GB", "12345", "12345", true},
		{"CA", "k1a 0b1", "K1A 0B1", false},
		{"CA", "K1A", "K1A", true},
		{"IE", "D02 X285", "D02 X285", false},
		{"IE", "d6w xy00", "D6W XY00", false},
		{"IE", "Dublin 4", "DUBLIN 4", false},
		{"JP", "100-0001", "100-0001", false},
		{"PL", "00-001", "00-001", false},
		{"PT", "1000-001", "1000-001", false},
		{"BR", "01310-100", "01310-100", false},
		{"BR", "1310100", "01310100", false},
		{"KR", "3187", "03187", false},
		{"LV", "LV-1010", "LV-1010", false},
		{"NZ", "110", "0110", false},
		{"SG", "18956", "018956", false},
		{"AE", "whatever", "whatever", false},
		{"ZZ", "?", "?", false},
		{"", "6000", "6000", false},
		{"AU", "11111", "11111", false}, // the provider's test codes
		{"GB", "33333", "33333", false},
	} {
		got, ok := PostalCode(c.code, c.country)
		if got != c.want || ok == c.bad {
			t.Errorf("%s in %s is %s, %v", c.code, c.country, got, ok)
		}
		if again, ok := PostalCode(got, c.country); !c.bad && (again != got || !ok) {
			t.Errorf("%s in %s becomes %s when it is read again", got, c.country, again)
		}
	}
}

func TestAnAddressIsWrittenAsItIsPrinted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, want Address }{
		{Address{Name: " Ann  Example\t", Line1: "1 High\u00a0Street", City: "Perth", PostalCode: "800", Country: "AU"},
			Address{Name: "Ann Example", Line1: "1 High Street", City: "Perth", PostalCode: "0800", Country: "AU"}},
		{Address{Line1: "1 High Street\r\nUnit 2\nBlock C", Country: "AU"}, Address{Line1: "1 High Street", Line2: "Unit 2, Block C", Country: "AU"}},
		{Address{Line1: "1 High Street,\nUnit 2", Line2: "Block C", Country: "AU"}, Address{Line1: "1 High Street, Unit 2", Line2: "Block C", Country: "AU"}},
		{Address{City: "Dubai", Country: "AE"}, Address{City: "Dubai", Country: "AE", PostalCode: NoPostalCode}},
		{Address{City: "Dubai", Country: "AE", PostalCode: "n/a"}, Address{City: "Dubai", Country: "AE", PostalCode: NoPostalCode}},
		{Address{City: "Dubai", Country: "AE", PostalCode: "123"}, Address{City: "Dubai", Country: "AE", PostalCode: "123"}},
		{Address{City: "Perth", Country: "AU"}, Address{City: "Perth", Country: "AU"}},
		{Address{City: "Zürich,"}, Address{City: "Zürich,"}},
	} {
		got := c.from
		if got.Tidy(); got != c.want {
			t.Errorf("%+v", got)
		}
		again := got
		if again.Tidy(); again != got {
			t.Errorf("a second time: %+v", again)
		}
	}
}

func TestWhatIsWrongWithAnAddressIsSaidWithoutIt(t *testing.T) {
	t.Parallel()
	base := Address{Name: "Ann Example", Line1: "1 High Street", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}
	for name, c := range map[string]struct {
		change      func(*Address)
		code, field string
		says        string
	}{
		"nothing":              {func(*Address) {}, "", "", ""},
		"letters of the world": {func(a *Address) { a.Name, a.City = "Zoë Ångström-O’Brien", "東京" }, "", "", ""},
		"signs in use":         {func(a *Address) { a.Line1, a.Line2 = "№ 5, c/o ℅ “Ann” & Söhne®", "1ª + 2º #3 @4 50 %" }, "", "", ""},
		"fifty characters":     {func(a *Address) { a.Line1 = strings.Repeat("ü", 50) }, "", "", ""},
		"fifty-one":            {func(a *Address) { a.Line1 = strings.Repeat("ü", 51) }, FaultTooLong, "address_line_1", "has 51 characters"},
		"a name too long":      {func(a *Address) { a.Name = strings.Repeat("x", 60) }, FaultTooLong, "address_name", "shows 50"},
		"emoji":                {func(a *Address) { a.Name = "Ann 🎉" }, FaultUnprintable, "address_name", "U+1F389"},
		"a heart":              {func(a *Address) { a.City = "P❤rth" }, FaultUnprintable, "address_city", "U+2764"},
		"a control character":  {func(a *Address) { a.Line2 = "a\x07" }, FaultUnprintable, "address_line_2", "U+0007"},
		"a lost character":     {func(a *Address) { a.City = "Z�rich" }, FaultUnprintable, "address_city", "UTF-8"},
		"a wrong code":         {func(a *Address) { a.PostalCode = "12" }, FaultPostalCode, "address_postal_code", "does not fit AU, whose codes have 4 digits"},
		"a zero lost":          {func(a *Address) { a.PostalCode = "800" }, FaultPostalCode, "address_postal_code", "does not fit AU"},
		"a code elsewhere":     {func(a *Address) { a.Country = "GB" }, FaultPostalCode, "address_postal_code", "like SW1A 1AA"},
		"small letters":        {func(a *Address) { a.Country, a.PostalCode = "GB", "sw1a 1aa" }, "", "", ""},
	} {
		a := base
		c.change(&a)
		fault := a.Fault()
		switch {
		case fault == nil && c.code == "":
		case fault == nil || fault.Code != c.code || fault.Field != c.field || !strings.Contains(fault.Text, c.says):
			t.Errorf("%s: %+v", name, fault)
		}
	}
}

func TestALetterToABadAddressIsNotPlanned(t *testing.T) {
	t.Parallel()
	good, bad := postContact(1), postContact(2)
	bad.Address.PostalCode = "60"
	content := Content{Channel: Letter, Files: []File{{SHA256: strings.Repeat("a", 64), Name: "a.pdf", Size: 1, Type: "pdf"}}, ReturnAddressID: 1}
	_, sum, err := plan(t, content, Limits{}, PlanOptions{}, []Contact{good, bad})
	if err != nil || sum.Sendable != 1 || sum.Suppressed[ReasonBadAddress] != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	good.Phone, bad.Phone = "+61412345678", "+61412345679"
	if _, sum, err = plan(t, Content{Channel: SMS, Body: "Hi"}, Limits{}, PlanOptions{}, []Contact{good, bad}); err != nil || sum.Sendable != 2 {
		t.Errorf("an SMS asks for no address: %+v, %v", sum, err)
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("Ann", "1 High Street\nUnit 2", "Perth", "800", "AU")
	f.Add("Ann\u00a0 B", "\r\n", "D-", "D-10115", "DE")
	f.Add("", ",\n,", "�", ".0", "US")
	f.Fuzz(func(t *testing.T, name, line, city, code, country string) {
		a := Address{Name: name, Line1: line, City: city, PostalCode: code, Country: country}
		a.Tidy()
		b := a
		if b.Tidy(); a != b {
			t.Fatalf("%q becomes %q when it is tidied again", a, b)
		}
		if fault := a.Fault(); fault != nil && (fault.Code == "" || fault.Field == "" || fault.Text == "") {
			t.Fatalf("%+v", fault)
		}
	})
}

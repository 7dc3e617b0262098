package importer

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
)

func TestNumbersAsSpreadsheetsAndPhonesLeaveThem(t *testing.T) {
	t.Parallel()
	n := testNumbers(t)
	for _, c := range []struct {
		text, country string
		e164          string
		err           *numberError
	}{
		{"6.1412345671E+10", "AU", "+61412345671", nil},
		{"6,1412345671E+10", "AU", "+61412345671", nil},
		{"6.1412345671e10", "AU", "+61412345671", nil},
		{"+6.1412345671E+10", "", "+61412345671", nil},
		{"4.12345671E+08", "AU", "+61412345671", nil},
		{"6.1412345600E+10", "AU", "+61412345600", nil},
		{"6.14123E+10", "AU", "", errRounded},
		{"6.14123456E+10", "AU", "", errRounded}, // it may end in two zeros, and may not
		{"4.1E+08", "AU", "", errRounded},
		{"6E+10", "AU", "", errRounded},
		{"6.1412345671E+10", "", "", errNational},
		{"1.5E+02", "AU", "", errNotANumber}, // no phone number at all
		{"0412345675.0", "AU", "+61412345675", nil},
		{"0412345675,0", "AU", "+61412345675", nil},
		{"61412345675.00", "AU", "+61412345675", nil},
		{"412345675.0", "AU", "+61412345675", nil},
		{"0301234567.0", "DE", "+49301234567", nil}, // one digit more would be a number too
		{"61,412,345,675", "AU", "+61412345675", nil},
		{"61.412.345.675,00", "AU", "+61412345675", nil},
		{"61,412,345,675.00", "AU", "+61412345675", nil},
		{"'0412345675", "AU", "+61412345675", nil},
		{"‘0412345675", "AU", "+61412345675", nil},
		{"’0412345675", "AU", "+61412345675", nil},
		{"ʼ0412345675", "AU", "+61412345675", nil},
		{`="0412345675"`, "AU", "+61412345675", nil},
		{`="+61412345675"`, "", "+61412345675", nil},
		{`"0412345675"`, "AU", "+61412345675", nil},
		{"tel:+61412345675", "", "+61412345675", nil},
		{"tel:0412-345-675;phone-context=+61", "", "+61412345675", nil},
		{"TEL:+61-412-345-675", "", "+61412345675", nil},
		{"sms:+61412345675?body=Hi%2099999999", "", "+61412345675", nil},
		{"callto://+61412345675", "", "+61412345675", nil},
		{"whatsapp:+61412345675", "", "+61412345675", nil},
		{"+61 (0)412 345 675", "", "+61412345675", nil},
		{"+34 (0)612 345 678", "", "+34612345678", nil},  // Spain dials none
		{"+39 (0)2 1234 5678", "", "+390212345678", nil}, // and in Italy it belongs to the number
		{"0061412345675", "", "+61412345675", nil},
		{"0061 412 345 675", "AU", "+61412345675", nil},
		{"(0061) 412 345 675", "GB", "+61412345675", nil},
		{"011 61 412 345 675", "US", "+61412345675", nil},
		{"0011 61 412 345 675", "AU", "+61412345675", nil},
		{"011 61 412 345 675", "", "", errNational},
		{"412345675", "AU", "+61412345675", nil},
		{"7400123456", "GB", "+447400123456", nil},
		{"1300 FLOWERS", "AU", "", errNotANumber}, // a letter too many
		{"1-800-FLOWERS", "US", "+18003569377", nil},

		{"02 9374 4000 / 0412 345 675", "AU", "+61412345675", nil}, // the mobile phone wins
		{"0412 345 675 / 0412 345 676", "AU", "+61412345675", nil},
		{"0412345675;0412345676", "AU", "+61412345675", nil},
		{"412345675,412345676", "AU", "+61412345675", nil}, // an extension, to the library
		{"+61293744000 or +61412345675", "", "+61412345675", nil},
		{"(02) 9374 4000\n0412 345 675", "AU", "+61412345675", nil},
		{"+61 2 9374 4000 ::: +61 412 345 675", "", "+61412345675", nil},
		{"+61293744000 +61412345675", "", "+61412345675", nil},
		{"0412345675 - 0412345676", "AU", "+61412345675", nil},
		{"02 9374 4000, 02 9374 4001", "AU", "+61293744000", nil}, // else the first
		{"n/a; 0412 345 675", "AU", "+61412345675", nil},
		{"0412 345 675 / n/a", "AU", "+61412345675", nil},
		{"'0412345675; '0412345676", "AU", "+61412345675", nil},
		{"030 1234567 oder 0151 23456789", "DE", "+4915123456789", nil},
		{"030/12345678", "DE", "+493012345678", nil}, // one number
		{"+49 (0)4131/1234567", "", "+4941311234567", nil},
		{"0475/12.34.56", "BE", "+32475123456", nil},
		{"01/23/45/67/89", "FR", "+33123456789", nil},
		{"0301234567/015123456789", "DE", "+4915123456789", nil},
		{"512-555-0123/0124", "US", "+15125550123", nil},
		{"12345678 / 87654321", "AU", "", errNoSuchNumber},
		{"Home: 02 9374 4000, Mobile: 0412 345 675", "AU", "+61412345675", nil},
		{"Mobile: 0412 345 675", "AU", "+61412345675", nil},
		{"0412 345 675 (Ann's)", "AU", "", errWords},
		{"0412 345 675 (mobile)", "AU", "+61412345675", nil},
		{"p:+61412345675", "", "+61412345675", nil}, // leads of Facebook
		{"Tél. portable : 06 12 34 56 78", "FR", "+33612345678", nil},
		{"携帯 090-1234-5678", "JP", "+819012345678", nil},
		{"1-800-GO-FEDEX", "US", "+18004633339", nil},
		{"0800 REVERSE", "GB", "+448007383773", nil},

		// Digits that are not told, and words that say anything.
		{"61412345xxx", "AU", "", errWords},
		{"+61 412 xxx xxx", "", "", errWords},
		{"0412 XXX XXX", "AU", "", errNotANumber},
		{"+49 171 xxxxxxx", "", "", errWords},
		{"+49 171 123xxxx", "DE", "", errWords},
		{"0412 345 TBA", "AU", "", errWords},
		{"0412 ABC 678", "AU", "", errWords},
		{"512-FLOWERS", "US", "", errNotANumber},
		{"(512) 555-CALL", "US", "", errWords},
		{"1800 XXX XXX", "AU", "", errNotANumber},
		{"+43 664 1234***", "", "", errWords},
		{"+43 664 1234…", "", "", errWords},
		{"+43 664 1234...", "", "", errWords},
		{"+43 664 •••1234", "", "", errWords},
		{"0412 345 67O", "AU", "", errWords},
		{"DO NOT CALL 0412345699", "AU", "", errWords},
		{"wrong number 0412345703", "AU", "", errWords},
		{"0412 345 704 (deceased)", "AU", "", errWords},
		{"not 0412345700", "AU", "", errWords},
		{"0412345697 is disconnected, use 0412345698", "AU", "", errWords},
		{"0412345697 / 0412345698 (both wrong)", "AU", "", errWords},
		{"não 0412345700", "AU", "", errWords},

		// Numbers that somebody reckoned with.
		{"-412345686", "AU", "", errNumberCell},
		{"0.412345683", "AU", "", errNumberCell},
		{"0,412345683", "AU", "", errNumberCell},
		{"4123457.54", "AU", "", errNumberCell},
		{"412345675.5", "AU", "", errNumberCell},
		{"- 0412 345 675", "AU", "+61412345675", nil}, // an item of a list
		{"0412.345675", "AU", "+61412345675", nil},
		{"1.5125550123", "US", "+15125550123", nil},
		{"030 1234567 od. 0151 23456789", "DE", "+4915123456789", nil},
		{"030 1234567 bzw. 0151 23456789", "DE", "+4915123456789", nil},
		{"Mobile: 0061 412 345 675", "", "+61412345675", nil},
		{"Mobile: 0412 345 675", "", "", errNational},

		{"(02) 9374 4000 x123", "AU", "+61293744000", nil},
		{"(02) 9374 4000 ext. 5", "AU", "+61293744000", nil},
		{"(02) 9374 4000 #5", "AU", "+61293744000", nil},
		{"+61293744000;ext=5", "", "+61293744000", nil},
		{"+1 512 555 0123 x123", "", "", errExtension},
		{"+1 512 555 0123,,1234567", "", "", errExtension},
		{"+1 512 555 0123 x5 / +1 512 555 0199", "", "+15125550199", nil},
		{"0412 345 675 ext 5", "AU", "+61412345675", nil}, // a mobile phone has none

		{"０４１２３４５６７５", "AU", "+61412345675", nil},
		{"＋６１　４１２　３４５　６７５", "", "+61412345675", nil},
		{"٠٤١٢٣٤٥٦٧٥", "AU", "+61412345675", nil},
		{"०४१२३४५६७५", "AU", "+61412345675", nil},
		{"\u202a+61 412 345 675\u202c", "", "+61412345675", nil},
		{"+61\u00a0412\u202f345\u2009675", "", "+61412345675", nil},
		{"+61‑412–345—675", "", "+61412345675", nil},
		{"0412\u200b345\ufeff675", "AU", "+61412345675", nil},
		{"'", "AU", "", errNotANumber},
		{`=""`, "AU", "", errNotANumber},
		{"tel:", "AU", "", errNotANumber},
		{"/////", "AU", "", errNotANumber},
		{"E+10", "AU", "", errNotANumber},
	} {
		if e164, _, err := n.parse(c.text, c.country); e164 != c.e164 || err != c.err {
			t.Errorf("%q in %q: %q, %v", c.text, c.country, e164, err)
		}
	}
}

// reference is what the library finds in a text; with one rule that it has not:
// behind the calling code of its own country stands a mobile phone, when the
// digits as they stand are no number that messages reach.
func reference(text, country string) (e164, region string, _ *numberError) {
	whole, of, err := parseWithLibrary(text, country)
	digits := digitsIn(text)
	code := phonenumbers.GetCountryCodeForRegion(country)
	if strings.Contains(text, "+") || code == 0 || !strings.HasPrefix(digits, fmt.Sprint(code)) || err == nil && NumberKind(whole).TakesMessages() {
		return whole, of, err
	}
	if behind, region, refused := parseWithLibrary("+"+digits, ""); refused == nil && NumberKind(behind) == KindMobile {
		return behind, region, nil
	}
	return whole, of, err
}

// A spreadsheet drops the plus, and the country is known.
func TestAMobileNumberWithoutItsPlusIsTheSameInItsOwnCountry(t *testing.T) {
	t.Parallel()
	n := testNumbers(t)
	tried := 0
	for _, region := range allRegions() {
		p := phonenumbers.GetExampleNumberForType(region, phonenumbers.MOBILE)
		if p == nil {
			continue
		}
		e164 := phonenumbers.Format(p, phonenumbers.E164)
		tried++
		bare := e164[1:]
		for _, text := range []string{bare, bare + ".0", bare[:1] + "." + bare[1:] + fmt.Sprintf("E+%d", len(bare)-1), bare[:4] + " " + bare[4:], "'" + bare} {
			if got, _, err := n.parse(text, region); got != e164 {
				t.Errorf("%q in %s is %s (%v)", text, region, got, err)
			}
		}
	}
	if tried < 230 {
		t.Errorf("only %d regions", tried)
	}
	for text, want := range map[string]string{"4915112345678": "+4915112345678", "491711234567": "+491711234567", "4.915112345678E+12": "+4915112345678", "491711234567.0": "+491711234567"} {
		if got, _, err := n.parse(text, "DE"); got != want {
			t.Errorf("%q is %s (%v)", text, got, err)
		}
	}
}

// dressed writes a text, which the library takes for a number, as some program
// or person may leave it.
func dressed(text string, r *rand.Rand) string {
	digits := func(to rune) string {
		return strings.Map(func(c rune) rune {
			if c >= '0' && c <= '9' {
				return to + c - '0'
			}
			return c
		}, text)
	}
	plain := strings.TrimPrefix(text, "+")
	if allDigits(plain) && plain[0] != '0' && r.IntN(2) == 0 { // what a spreadsheet takes for a number
		sign := text[:len(text)-len(plain)]
		switch r.IntN(6) {
		case 0:
			return text + []string{".0", ",0", ".00", ",00"}[r.IntN(4)]
		case 1:
			return fmt.Sprintf("%s%s%s%sE+%d", sign, plain[:1], []string{".", ","}[r.IntN(2)], plain[1:], len(plain)-1)
		case 2:
			return fmt.Sprintf("%s%s.%s00e%d", sign, plain[:1], plain[1:], len(plain)-1)
		case 3:
			if len(plain) < 7 {
				return text
			}
			var b strings.Builder
			for i, c := range plain {
				if i > 0 && (len(plain)-i)%3 == 0 {
					b.WriteByte(',')
				}
				b.WriteRune(c)
			}
			return sign + b.String() + []string{"", ".0", ".00"}[r.IntN(3)]
		}
	}
	switch r.IntN(12) {
	case 0:
		return []string{"'", "‘", "’", "ʼ", "´"}[r.IntN(5)] + text
	case 1:
		return `="` + text + `"`
	case 2:
		return `"` + text + `"`
	case 3:
		return []string{"tel:", "sms:", "callto:", "whatsapp:", "TEL:", "callto://"}[r.IntN(6)] + text
	case 4:
		return digits('０')
	case 5:
		return digits('٠')
	case 6:
		return digits('०')
	case 7:
		return "\u202a" + text + "\u202c"
	case 8:
		return strings.NewReplacer(" ", "\u00a0", "-", "‑").Replace(text)
	case 9:
		return "  " + text + "\t"
	}
	var b strings.Builder
	for i, c := range text {
		if i > 0 && r.IntN(3) == 0 {
			b.WriteString([]string{" ", "-", ".", "(", ")", "/", "\u200b", "–", " - ", "\u00a0"}[r.IntN(10)])
		}
		b.WriteRune(c)
	}
	if plain := plainCharacters(b.String()); endsLikeFraction(plain) || isReckoned(plain) {
		return text // 80.000.00 is such a one
	}
	if _, doubt := numbersIn(plainCharacters(b.String())); doubt == little {
		return text // 0301234/0301235: what a number begins with stands behind the slash
	}
	return b.String()
}

// Whatever dress a number is in, it is the number that the library finds in the
// plain text. The heavy loop: POSTRIDER_SCALE=1 draws a quarter of a million.
func TestADressMakesNoOtherNumber(t *testing.T) {
	t.Parallel()
	n := testNumbers(t)
	regions := allRegions()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 4))
	draws, valid := int(250_000*scale()), 0
	for range draws {
		text, country := drawn(n, regions, r)
		want, region, err := reference(text, country)
		if err != nil || want == "" || strings.ContainsAny(text, "~[|") || endsLikeFraction(text) || isReckoned(text) {
			continue
		}
		valid++
		dress := dressed(text, r)
		got, in, why := n.parse(dress, country)
		if got != want || in != region {
			t.Errorf("seed %d: %q in %s is %s of %s, and dressed as %q %s of %s (%v)", seed, text, country, want, region, dress, got, in, why)
		}
		// The slow way alone comes to the same.
		if got, in, why := n.read(dress, country); got != want || in != region {
			t.Errorf("seed %d: the slow way reads %q in %s as %s of %s (%v)", seed, dress, country, got, in, why)
		}
	}
	if valid < draws/5 {
		t.Errorf("only %d of %d draws were numbers: the loop proves little", valid, draws)
	}
}

func TestTheExamplesOfEveryRegionInEveryDress(t *testing.T) {
	t.Parallel()
	n := testNumbers(t)
	r := rand.New(rand.NewPCG(1, 5))
	for region, texts := range examples() {
		for _, text := range texts {
			want, of, err := reference(text, region)
			if err != nil {
				continue // some are dialled only from within
			}
			for range int(1 + 20*scale()) {
				dress := dressed(text, r)
				if got, in, why := n.parse(dress, region); got != want || in != of {
					t.Errorf("%q in %s is %s, and dressed as %q %s (%v)", text, region, want, dress, got, why)
				}
			}
		}
	}
}

// A zero in brackets behind the calling code changes nothing, unless the
// library reads it as a digit of the number.
func TestAZeroInBracketsMakesNoOtherNumber(t *testing.T) {
	t.Parallel()
	n := testNumbers(t)
	for region := range examples() {
		for _, kind := range kindsOfNumber() {
			p := phonenumbers.GetExampleNumberForType(region, kind)
			if p == nil {
				continue
			}
			e164 := phonenumbers.Format(p, phonenumbers.E164)
			want, _, err := parseWithLibrary(e164, "")
			if err != nil {
				t.Errorf("%s: %v", e164, err)
				continue
			}
			code := fmt.Sprint(p.GetCountryCode())
			text := "+" + code + " (0)" + e164[1+len(code):]
			if as, _, err := parseWithLibrary(text, ""); err == nil {
				want = as
			}
			if got, _, err := n.parse(text, ""); got != want {
				t.Errorf("%q is %s and not %s (%v)", text, got, want, err)
			}
		}
	}
}

func FuzzNumber(f *testing.F) {
	for region, texts := range examples() {
		f.Add(texts[0], region)
	}
	for _, s := range []string{
		"6.1412345671E+10", "6,14E+10", "0412345675.0", "61,412,345,675.00", "'0412345675", `="0412345675"`, "tel:+61412345675;ext=5", "+61 (0)412 345 678",
		"0412 345 678 / 02 9374 4000", "+61412345678 ::: +61412345679", "0412345678 or 0412345679", "０４１２３４５６７５", "1300 FLOWERS", "(02) 9374 4000 x123/x124",
		"tel:863-1234;phone-context=+1-914-555", "\u202a+61 412\u202c", "Mobile: 0061 412 345 678", "+61412345678+61412345679", "0412345678,,123", ":::", "=\"=\"", "+0E9999",
	} {
		f.Add(s, "AU")
		f.Add(s, "")
	}
	n := testNumbers(f)
	f.Fuzz(func(t *testing.T, text, country string) {
		e164, region, err := n.parse(text, country)
		if err != nil {
			if e164 != "" || region != "" || err.code == "" || err.reason == "" {
				t.Fatalf("%q, %q, %+v", e164, region, err)
			}
			return
		}
		number, perr := phonenumbers.Parse(e164, phonenumbers.UNKNOWN_REGION)
		if perr != nil || !phonenumbers.IsValidNumber(number) {
			t.Fatalf("%q in %q is %s, which is no valid number: %v", text, country, e164, perr)
		}
		if differ, _ := kindsDiffer(n, e164); differ {
			t.Fatalf("%s is sorted otherwise than by the library", e164)
		}
		if d, _ := disagree(n, text, country); d != "" {
			t.Fatal(d)
		}
	})
}

func TestOfSeveralNumbersThatOptOutNoneIsLost(t *testing.T) {
	t.Parallel()
	got := importText(t, "phone\n+61491570006\n+61491570156 / +61491570157\n", Options{OptOuts: true})
	if len(got.Contacts) != 2 || len(got.Rejects) != 0 || len(OptOuts(&got.Contacts[1])) != 2 {
		t.Errorf("%+v %+v", got.Contacts, got.Rejects)
	}
	if _, err := ParsePhone("+61491570156, +61491570157", ""); err == nil || !strings.Contains(err.Error(), "one at a time") {
		t.Error(err)
	}
	for _, one := range []string{"+61491570156", "6.1491570156E+10", "61,491,570,156.0", "(02) 5550 0001 x123"} {
		if _, err := ParsePhone(one, "AU"); err != nil {
			t.Errorf("%s: %v", one, err)
		}
	}
}

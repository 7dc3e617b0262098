package importer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"pgregory.net/rapid"
)

// scale is how large the heavy loops are; 1 is their full size.
func scale() float64 {
	if f, err := strconv.ParseFloat(os.Getenv("POSTRIDER_SCALE"), 64); err == nil && f > 0 {
		return f
	}
	return 0.1
}

func testNumbers(t testing.TB) *numbers {
	t.Helper()
	n, err := newNumbers()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// disagree says where the fast path differs from the library, "" when it does
// not, and whether the fast path accepted the text at all.
func disagree(n *numbers, text, country string) (difference string, accepted bool) {
	e164, region, ok := n.fast(text, country)
	if !ok {
		return "", false
	}
	want, wantRegion, err := reference(text, country)
	switch {
	case err != nil:
		return fmt.Sprintf("%q in %q is %s of %s, but the library: %v", text, country, e164, region, err), true
	case e164 != want || region != wantRegion:
		return fmt.Sprintf("%q in %q is %s of %s, but to the library %s of %s", text, country, e164, region, want, wantRegion), true
	}
	return "", true
}

func allRegions() []string {
	var regions []string
	for r := range phonenumbers.GetSupportedRegions() {
		regions = append(regions, r)
	}
	slices.Sort(regions)
	return regions
}

func kindsOfNumber() []phonenumbers.PhoneNumberType {
	return []phonenumbers.PhoneNumberType{
		phonenumbers.FIXED_LINE, phonenumbers.MOBILE, phonenumbers.TOLL_FREE, phonenumbers.PREMIUM_RATE, phonenumbers.SHARED_COST,
		phonenumbers.VOIP, phonenumbers.PERSONAL_NUMBER, phonenumbers.PAGER, phonenumbers.UAN, phonenumbers.VOICEMAIL,
	}
}

// examples are the metadata's own examples, of every region and kind, as
// people write them.
func examples() map[string][]string {
	by := map[string][]string{}
	for _, region := range allRegions() {
		for _, kind := range kindsOfNumber() {
			p := phonenumbers.GetExampleNumberForType(region, kind)
			if p == nil {
				continue
			}
			for _, f := range []phonenumbers.PhoneNumberFormat{phonenumbers.E164, phonenumbers.INTERNATIONAL, phonenumbers.NATIONAL} {
				by[region] = append(by[region], phonenumbers.Format(p, f))
			}
		}
	}
	return by
}

func TestFastNumbersAreTheLibrarysOnTheExamplesOfEveryRegion(t *testing.T) {
	t.Parallel()
	n := testNumbers(t)
	tried, accepted := 0, 0
	byRegion := examples()
	for region, texts := range byRegion {
		for _, text := range texts {
			for _, country := range []string{region, "", "US"} {
				d, ok := disagree(n, text, country)
				if d != "" {
					t.Error(d)
				}
				if country == region {
					tried++
					if ok {
						accepted++
					}
				}
			}
		}
	}
	if len(byRegion) < 240 || accepted*100 < tried*75 {
		t.Errorf("of %d examples of %d regions the fast path took %d: it is meant to take most", tried, len(byRegion), accepted)
	}
}

// A walk through an automaton draws a number that its pattern takes, or one
// that leaves it at the last digit.
func (a *automaton) walk(r *rand.Rand) []byte {
	var digits []byte
	state := int32(0)
	for len(digits) < 17 {
		if a.accept[state] && r.IntN(4) == 0 {
			return digits
		}
		d := r.IntN(10)
		for k := 0; k < 10 && a.next[state][d] < 0; k++ {
			d = (d + 1) % 10
		}
		if a.next[state][d] < 0 {
			return digits
		}
		digits = append(digits, byte('0'+d))
		state = a.next[state][d]
	}
	return digits
}

// drawn is a number of a region, drawn from the metadata's patterns, in a form
// that people write, and often spoilt.
func drawn(n *numbers, regions []string, r *rand.Rand) (text, country string) {
	country = regions[r.IntN(len(regions))]
	m := n.dialing[country].of
	code := n.codes[m.GetCountryCode()]
	code.region([]byte("11"))
	var digits []byte
	if i := slices.IndexFunc(code.regions, func(l regionLines) bool { return l.id == country }); i >= 0 && r.IntN(10) > 0 {
		kinds := code.regions[i].kinds
		digits = kinds[r.IntN(len(kinds))].pattern.walk(r)
	} else {
		for range 3 + r.IntN(12) {
			digits = append(digits, byte('0'+r.IntN(10)))
		}
	}
	switch r.IntN(6) { // spoil it
	case 0:
		if len(digits) > 0 {
			digits[r.IntN(len(digits))] = byte('0' + r.IntN(10))
		}
	case 1:
		i := r.IntN(len(digits) + 1)
		digits = slices.Insert(digits, i, byte('0'+r.IntN(10)))
	case 2:
		if len(digits) > 0 {
			i := r.IntN(len(digits))
			digits = slices.Delete(digits, i, i+1)
		}
	}
	prefix := m.GetNationalPrefix()
	cc := fmt.Sprint(m.GetCountryCode())
	switch r.IntN(10) {
	case 0, 1, 2:
		text = "+" + cc + string(digits)
	case 3:
		text = "+" + cc + prefix + string(digits)
	case 4, 5, 6:
		text = prefix + string(digits)
	case 7:
		text = string(digits)
	case 8:
		text = cc + string(digits)
	case 9:
		text = m.GetInternationalPrefix() + cc + string(digits)
	}
	if r.IntN(2) == 0 {
		var b strings.Builder
		for i, c := range text {
			if i > 0 && r.IntN(4) == 0 {
				b.WriteString([]string{" ", "-", " (", ") ", ".", "  ", "--"}[r.IntN(7)])
			}
			b.WriteRune(c)
		}
		text = b.String()
	}
	if r.IntN(4) == 0 {
		country = regions[r.IntN(len(regions))]
	}
	return text, country
}

// The heavy loop: POSTRIDER_SCALE=1 draws half a million numbers.
func TestFastNumbersAreTheLibrarysOnNumbersDrawnFromThePatternsOfEveryRegion(t *testing.T) {
	t.Parallel()
	n := testNumbers(t)
	regions := allRegions()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	draws, accepted := int(500_000*scale()), 0
	for range draws {
		text, country := drawn(n, regions, r)
		d, ok := disagree(n, text, country)
		if d != "" {
			t.Fatalf("seed %d: %s", seed, d)
		}
		if ok {
			accepted++
		}
	}
	t.Logf("%d of %d numbers taken by the fast path, seed %d", accepted, draws, seed)
	if accepted < draws/8 {
		t.Errorf("only %d of %d draws were taken: the loop proves little", accepted, draws)
	}
}

func TestFastNumbersAreTheLibrarysOnAnyTextOfDigits(t *testing.T) {
	t.Parallel()
	n := testNumbers(t)
	regions := allRegions()
	text := rapid.StringMatching(`[ (]{0,2}\+?[0-9]{1,4}([ ().-]{0,2}[0-9]{1,4}){1,5}[ .)-]{0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		if d, _ := disagree(n, text.Draw(t, "text"), rapid.SampledFrom(regions).Draw(t, "country")); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzFastNumbers(f *testing.F) {
	for region, texts := range examples() {
		f.Add(texts[0], region)
		f.Add(texts[len(texts)-1], region)
	}
	for _, s := range []string{"+61 (0)412 345 678", "0011 61 412 345 678", "61412345678", "+39 02 1234567", "+1-800-FLOWERS", "+ 61412345678", "++61412345678", "(+61) 412345678", "0412345678 ext 5", "+61412345678/9", "+61" + strings.Repeat(".", 300) + "412345678"} {
		f.Add(s, "AU")
	}
	n := testNumbers(f)
	f.Fuzz(func(t *testing.T, text, country string) {
		if d, _ := disagree(n, text, country); d != "" {
			t.Fatal(d)
		}
	})
}

func TestNumbersThatPeopleWrite(t *testing.T) {
	t.Parallel()
	n := testNumbers(t)
	for _, c := range []struct {
		text, country string
		e164, region  string
		err           *numberError
		fast          bool // taken without the library
	}{
		{"+61412345678", "", "+61412345678", "AU", nil, true},
		{"+61 412 345 678", "", "+61412345678", "AU", nil, true},
		{"+61 (0)412-345-678", "", "+61412345678", "AU", nil, true},
		{"0412 345 678", "AU", "+61412345678", "AU", nil, true},
		{"(02) 9374 4000", "AU", "+61293744000", "AU", nil, true},
		{"412345678", "AU", "+61412345678", "AU", nil, true},
		{"07400 123456", "GB", "+447400123456", "GB", nil, true},
		{"(512) 555-0123", "US", "+15125550123", "US", nil, true},
		{"604.555.0123", "CA", "+16045550123", "CA", nil, true},
		{"+1 604 555 0123", "AU", "+16045550123", "CA", nil, true},
		{"021 234 5678", "NZ", "+64212345678", "NZ", nil, true},
		{"61412345678", "AU", "+61412345678", "AU", nil, true},
		{"6140412345678", "AU", "", "", errNoSuchNumber, false},
		{"0011 44 7400 123456", "AU", "+447400123456", "GB", nil, false},
		{"02 1234 5678", "IT", "+390212345678", "IT", nil, false},
		{"+390212345678", "", "+390212345678", "IT", nil, false},
		{"0412 345 678 ext 5", "AU", "+61412345678", "AU", nil, false},
		{"0412 345 678", "", "", "", errNational, false},
		{"61412345678", "", "", "", errNational, false},
		{"n/a", "", "", "", errNotANumber, false},
		{"unknown", "AU", "", "", errNotANumber, false},
		{"", "AU", "", "", errNotANumber, false},
		{"+61", "", "", "", errNotANumber, false},
		{"12", "", "", "", errNotANumber, false},
		{"+999123456789", "", "", "", errCallingCode, false},
		{"+61 41", "", "", "", errTooShort, false},
		{"+61 912 345 678", "", "", "", errNoSuchNumber, false},
		{"+800 1234 5678", "", "+80012345678", "", nil, false},
		{"0412 345 6789 0123", "AU", "", "", errTooLong, false},
		{"+٦١٤١٢٣٤٥٦٧٨", "", "+61412345678", "AU", nil, false},
		{"＋61412345678", "", "+61412345678", "AU", nil, false},
	} {
		t.Run(c.text+" in "+c.country, func(t *testing.T) {
			t.Parallel()
			e164, region, err := n.parse(c.text, c.country)
			if e164 != c.e164 || region != c.region || err != c.err {
				t.Errorf("%q, %q, %v", e164, region, err)
			}
			if _, _, fast := n.fast(c.text, c.country); fast != c.fast {
				t.Errorf("taken without the library: %v", fast)
			}
		})
	}
}

func BenchmarkNumbers(b *testing.B) {
	n := testNumbers(b)
	for _, c := range []struct{ name, text, country string }{
		{"E164", "+61412345678", ""},
		{"international", "+61 412 345 678", ""},
		{"national", "0412 345 678", "AU"},
		{"Canada", "+1 604 555 0123", ""},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, ok := n.fast(c.text, c.country); !ok {
					b.Fatal("not taken")
				}
			}
		})
	}
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := parseWithLibrary("0412 345 678", "AU"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package importer

import (
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

func TestCountriesAreUnderstoodUnderTheNamesThatPeopleGiveThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"AU": "AU", "au": "AU", "AUS": "AU", " Australia ": "AU", "AUSTRALIA": "AU", "Australien": "AU", "Australie": "AU", "オーストラリア": "AU", "Австралия": "AU",
		"UK": "GB", "U.K.": "GB", "England": "GB", "Great Britain": "GB", "Royaume-Uni": "GB", "Vereinigtes Königreich": "GB", "Reino Unido": "GB", "GBR": "GB", "Großbritannien": "GB", "EE.UU.": "US",
		"USA": "US", "U.S.A.": "US", "United States of America": "US", "États-Unis": "US", "etats unis": "US", "Vereinigte Staaten": "US", "Estados Unidos": "US", "美国": "US", "美國": "US",
		"Deutschland": "DE", "GER": "DE", "Allemagne": "DE", "Alemania": "DE", "Niemcy": "DE", "Německo": "DE", "Tyskland": "DE", "Saksa": "DE", "Germania": "DE",
		"Schweiz": "CH", "Suisse": "CH", "Svizzera": "CH", "SUI": "CH", "Österreich": "AT", "Osterreich": "AT", "Autriche": "AT",
		"NED": "NL", "Holland": "NL", "The Netherlands": "NL", "Pays-Bas": "NL", "Nederland": "NL",
		"España": "ES", "Espana": "ES", "Spanien": "ES", "Italia": "IT", "Polska": "PL", "Česko": "CZ", "Czech Republic": "CZ", "Magyarország": "HU",
		"Türkiye": "TR", "Turkey": "TR", "Ελλάδα": "GR", "日本": "JP", "대한민국": "KR", "South Korea": "KR", "Korea, Republic of": "KR", "ไทย": "TH", "भारत": "IN",
		"Côte d'Ivoire": "CI", "Cote d’Ivoire": "CI", "Ivory Coast": "CI", "Bosnia & Herzegovina": "BA", "Bosnia and Herzegovina": "BA",
		"Russia": "RU", "Russian Federation": "RU", "Viet Nam": "VN", "Hong Kong": "HK", "Aotearoa": "NZ", "NZL": "NZ", "Éire": "IE",
		// A code of sport that is another country's in ISO 3166-1 stays that.
		"BRN": "BN", "MNE": "ME", "NIG": "", "GEO": "GE",
		"Atlantis": "", "": "", "-": "", "D": "", "XX": "", "12": "",
	} {
		if got, ok := CountryCode(text); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %v", text, got, ok)
		}
	}
}

func TestWhatStandsInAColumnOfCountriesIsUnderstood(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"السعودية": "SA", "الإمارات": "AE", "한국": "KR", "香港": "HK", "Weißrussland": "BY", "Elfenbeinküste": "CI", "Birma": "MM", "EE. UU.": "US", "Česká republika": "CZ", "Tschechische Republik": "CZ", "République tchèque": "CZ", "Slovenská republika": "SK",
		"Republik Österreich": "AT", "Российская Федерация": "RU", "РФ": "RU", "中华人民共和国": "CN", "ประเทศไทย": "TH", "Pilipinas": "PH", "ایران": "IR", "پاکستان": "PK", "বাংলাদেশ": "BD", "საქართველო": "GE", "Հայաստան": "AM", "Қазақстан": "KZ", "Lëtzebuerg": "LU", "Shqipëria": "AL", "Северна Македонија": "MK",
		"Germany (Deutschland)": "DE", "DE - Germany": "DE", "Great Britain (UK)": "GB", "Australia (+61)": "AU", "Georgia (US)": "", "Korea (North)": "",
		"D": "DE", "A": "AT", "F": "FR", "I": "IT", "X": "", "+61": "AU", "+49": "DE", "+44": "GB", "+1": "", "+7": "", "+999": "", "+": "", "61": "", "49": "", "DE": "DE",
	} {
		if got, ok := newCountries().inColumn(text); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %v", text, got, ok)
		}
	}
}

func TestAForeignNameNeverHidesACodeOrAnEnglishName(t *testing.T) {
	t.Parallel()
	english := display.English.Regions()
	for code := range phonenumbers.GetSupportedRegions() {
		region, err := language.ParseRegion(code)
		if err != nil {
			t.Fatal(err)
		}
		for _, spelt := range []string{code, region.ISO3(), english.Name(region)} {
			if got, _ := CountryCode(spelt); got != code {
				t.Errorf("%s is %q and not %s", spelt, got, code)
			}
		}
	}
	for code, names := range everydayCountries() {
		for _, name := range strings.Split(names, "|") {
			if got, _ := CountryCode(name); got != code {
				t.Errorf("%s is %q and not %s", name, got, code)
			}
		}
	}
	if n := len(foreignNames()); n < 4000 {
		t.Errorf("only %d names are known", n)
	}
}

func BenchmarkCountries(b *testing.B) {
	for _, name := range []string{"AU", "Australia", "Großherzogtum Luxemburg"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				CountryCode(name)
			}
		})
	}
}

package importer

import (
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// countries turns what stands in a country column into an ISO 3166-1 alpha-2
// code: a code of two or three letters, or a name in English.
type countries struct{ codes map[string]string }

// newCountries is made once for the process. It knows the countries that have
// phone numbers, under the names of the Unicode CLDR and some everyday ones.
var newCountries = sync.OnceValue(func() *countries {
	c := &countries{codes: map[string]string{
		"uk": "GB", "england": "GB", "scotland": "GB", "wales": "GB", "great britain": "GB", "northern ireland": "GB",
		"u.s.a.": "US", "u.s.": "US", "united states of america": "US", "america": "US",
		"the netherlands": "NL", "holland": "NL", "czech republic": "CZ", "republic of ireland": "IE",
		"hong kong": "HK", "macau": "MO", "macao": "MO", "korea": "KR", "republic of korea": "KR", "russian federation": "RU",
		"viet nam": "VN", "turkey": "TR", "nz": "NZ", "aus": "AU", "uae": "AE",
	}}
	names := display.English.Regions()
	for code := range phonenumbers.GetSupportedRegions() {
		region, err := language.ParseRegion(code)
		if err != nil {
			continue
		}
		for _, spelt := range []string{code, region.ISO3(), names.Name(region)} {
			c.codes[spelt], c.codes[strings.ToLower(spelt)] = code, code
		}
	}
	return c
})

// CountryCode understands what stands in a column of countries: a code of two
// or three letters, or an English name. It returns the ISO 3166-1 alpha-2 code.
func CountryCode(text string) (code string, ok bool) { return newCountries().code(text) }

func (c *countries) code(text string) (code string, ok bool) {
	if code, ok = c.codes[text]; ok {
		return code, true
	}
	code, ok = c.codes[strings.ToLower(strings.Join(strings.Fields(text), " "))]
	return code, ok
}

package importer

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// countries turns what stands in a country column into an ISO 3166-1 alpha-2
// code: a code of two or three letters, or a name in English.
type countries struct{ codes map[string]string }

func newCountries() *countries {
	c := &countries{codes: map[string]string{
		"uk": "GB", "england": "GB", "scotland": "GB", "wales": "GB", "great britain": "GB", "northern ireland": "GB",
		"usa": "US", "u.s.a.": "US", "u.s.": "US", "united states of america": "US", "america": "US",
		"nz": "NZ", "aus": "AU", "uae": "AE",
	}}
	names := display.English.Regions()
	for code := range phonenumbers.GetSupportedRegions() {
		region, err := language.ParseRegion(code)
		if err != nil {
			continue
		}
		c.codes[strings.ToLower(code)] = code
		c.codes[strings.ToLower(region.ISO3())] = code
		c.codes[strings.ToLower(names.Name(region))] = code
	}
	return c
}

func (c *countries) code(text string) (string, bool) {
	code, ok := c.codes[strings.ToLower(strings.Join(strings.Fields(text), " "))]
	return code, ok
}

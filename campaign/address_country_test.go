package campaign

import (
	"slices"
	"testing"
)

func TestNothingIsPostedToACountryThatIsNotUnderstood(t *testing.T) {
	t.Parallel()
	for country, complete := range map[string]bool{"AU": true, "": false, "Oesterr.": false, "xx": false, "É": false} {
		a := Address{Name: "Ann", Line1: "1 Hill Street", City: "Perth", PostalCode: "6000", Country: country}
		if a.Complete() != complete || slices.Contains(a.Missing(), "address_country") == complete {
			t.Errorf("in %q: complete %v, missing %v", country, a.Complete(), a.Missing())
		}
	}
}

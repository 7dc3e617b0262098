package campaign

import "testing"

func TestAnAddressMovesAsAWhole(t *testing.T) {
	t.Parallel()
	old := Contact{FirstName: "Ann", Country: "AU", Address: Address{
		Name: "Ann", Line1: "12 High St", Line2: "Unit 7", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}}
	for name, c := range map[string]struct {
		row, want Address
		half      bool
	}{
		"another country": {
			Address{Line1: "5 New St", City: "Berlin", PostalCode: "10115", Country: "DE"},
			Address{Name: "Ann", Line1: "5 New St", City: "Berlin", PostalCode: "10115", Country: "DE"}, false,
		},
		"no country": {
			Address{Line1: "5 New St", City: "Hobart", PostalCode: "7000"},
			Address{Name: "Ann", Line1: "5 New St", City: "Hobart", PostalCode: "7000", Country: "AU"}, false,
		},
		"a country without postal codes": {
			Address{Line1: "5 New St", City: "Dubai", Country: "AE"},
			Address{Name: "Ann", Line1: "5 New St", City: "Dubai", PostalCode: NoPostalCode, Country: "AE"}, false,
		},
		"a name of its own": {
			Address{Name: "Ann c/o Bob", Line1: "5 New St", City: "Hobart", PostalCode: "7000"},
			Address{Name: "Ann c/o Bob", Line1: "5 New St", City: "Hobart", PostalCode: "7000", Country: "AU"}, false,
		},
		"only the street": {
			Address{Line1: "5 New St"},
			Address{Name: "Ann", Line1: "5 New St", Country: "AU"}, true,
		},
		"the same street in capitals, and another code": {
			Address{Line1: "12 HIGH ST", PostalCode: "6001"},
			Address{Name: "Ann", Line1: "12 HIGH ST", Line2: "Unit 7", City: "Perth", State: "WA", PostalCode: "6001", Country: "AU"}, false,
		},
		"no street": {
			Address{Line2: "Unit 8"},
			Address{Name: "Ann", Line1: "12 High St", Line2: "Unit 8", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row := Contact{Address: c.row}
			got := UpdateContact(&old, &row, NewColumns(), "NZ")
			if got.Address != c.want || MovedHalf(&old, &row, &got) != c.half {
				t.Errorf("the address is %+v, half: %v", got.Address, MovedHalf(&old, &row, &got))
			}
		})
	}
}

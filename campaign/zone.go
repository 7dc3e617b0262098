package campaign

import (
	"strings"
	"time"
	_ "time/tzdata" // zones are known on machines that have no tz database
)

// LoadZone returns the time zone of a name of the tz database, such as
// Australia/Sydney. Any other name is an Error with CodeInvalid.
func LoadZone(name string) (*time.Location, error) {
	// Go reads "" as UTC, and "Local" as whatever the machine has.
	if name != "" && name != "Local" {
		if loc, err := time.LoadLocation(name); err == nil {
			return loc, nil
		}
	}
	return nil, Errorf(CodeInvalid, "%q is no time zone: write a name of the tz database, such as Australia/Sydney or Europe/London", name)
}

// zoneColumns are the contact fields that may hold a recipient's own zone.
var zoneColumns = [...]string{"timezone", "time_zone"}

// maxKnownZones bounds what a ZoneFinder remembers; the tz database has some 600
// names.
const maxKnownZones = 1024

// ZoneFinder finds out in which time zone contacts live. It is for one
// goroutine.
type ZoneFinder struct {
	known map[string]bool // names of zones, or not
}

// Zone is the contact's time zone: that of its timezone or time_zone column,
// else of its address's state, else of its country when that has one. It is
// empty when none of them tells. A column that holds something else than a zone
// is an error of the row.
func (f *ZoneFinder) Zone(c *Contact) (string, error) {
	for _, column := range zoneColumns {
		cell, _ := c.Field(column)
		if cell = strings.TrimSpace(cell); cell == "" {
			continue
		}
		if !f.isZone(cell) {
			return "", c.fieldError(column, "holds no time zone: write a name of the tz database, such as Australia/Sydney, or leave it empty")
		}
		return cell, nil
	}
	country := c.Address.Country
	if !IsCountryCode(strings.ToUpper(country)) {
		country = c.Country
	}
	country = strings.ToUpper(country)
	if state := strings.TrimSpace(c.Address.State); state != "" {
		if zone := zoneOfState(country, strings.ToUpper(state)); zone != "" {
			return zone, nil
		}
	}
	return zoneOfCountry(country), nil
}

func (f *ZoneFinder) isZone(name string) bool {
	is, known := f.known[name]
	if !known {
		_, err := LoadZone(name)
		is = err == nil
		if f.known == nil || len(f.known) >= maxKnownZones {
			f.known = map[string]bool{}
		}
		f.known[strings.Clone(name)] = is
	}
	return is
}

// zoneOfState is the time zone of a state, by its postal abbreviation or its
// name in capitals; empty where a state's people live by several clocks.
//
// Sources: the comments in zone.tab of the tz database (2025b), and for the
// United States 49 CFR part 71, the boundaries of the standard time zones. The
// few places that keep another clock than the rest of their state are not told
// apart: Broken Hill, Lord Howe Island, Eucla; the Navajo Nation within Arizona.
// Florida, Idaho, Indiana, Kansas, Kentucky, Michigan, Nebraska, Nevada, North
// and South Dakota, Oregon, Tennessee, Texas and Alaska lie in two zones each,
// British Columbia, Labrador with Newfoundland, Nunavut, Ontario, Quebec and
// Saskatchewan in several.
func zoneOfState(country, state string) string {
	switch country {
	case "AU":
		switch state {
		case "NSW", "NEW SOUTH WALES", "ACT", "AUSTRALIAN CAPITAL TERRITORY":
			return "Australia/Sydney"
		case "VIC", "VICTORIA":
			return "Australia/Melbourne"
		case "QLD", "QUEENSLAND":
			return "Australia/Brisbane"
		case "SA", "SOUTH AUSTRALIA":
			return "Australia/Adelaide"
		case "WA", "WESTERN AUSTRALIA":
			return "Australia/Perth"
		case "TAS", "TASMANIA":
			return "Australia/Hobart"
		case "NT", "NORTHERN TERRITORY":
			return "Australia/Darwin"
		}
	case "US":
		switch state {
		case "CT", "CONNECTICUT", "DC", "DISTRICT OF COLUMBIA", "DE", "DELAWARE", "GA", "GEORGIA", "MA", "MASSACHUSETTS", "MD", "MARYLAND",
			"ME", "MAINE", "NC", "NORTH CAROLINA", "NH", "NEW HAMPSHIRE", "NJ", "NEW JERSEY", "NY", "NEW YORK", "OH", "OHIO",
			"PA", "PENNSYLVANIA", "RI", "RHODE ISLAND", "SC", "SOUTH CAROLINA", "VA", "VIRGINIA", "VT", "VERMONT", "WV", "WEST VIRGINIA":
			return "America/New_York"
		case "AL", "ALABAMA", "AR", "ARKANSAS", "IA", "IOWA", "IL", "ILLINOIS", "LA", "LOUISIANA", "MN", "MINNESOTA", "MO", "MISSOURI",
			"MS", "MISSISSIPPI", "OK", "OKLAHOMA", "WI", "WISCONSIN":
			return "America/Chicago"
		case "CO", "COLORADO", "MT", "MONTANA", "NM", "NEW MEXICO", "UT", "UTAH", "WY", "WYOMING":
			return "America/Denver"
		case "AZ", "ARIZONA":
			return "America/Phoenix"
		case "CA", "CALIFORNIA", "WA", "WASHINGTON":
			return "America/Los_Angeles"
		case "HI", "HAWAII":
			return "Pacific/Honolulu"
		// The territories have codes of countries as well, and are addressed either way.
		case "PR", "PUERTO RICO":
			return "America/Puerto_Rico"
		case "VI", "U.S. VIRGIN ISLANDS", "VIRGIN ISLANDS":
			return "America/St_Thomas"
		case "GU", "GUAM":
			return "Pacific/Guam"
		case "MP", "NORTHERN MARIANA ISLANDS":
			return "Pacific/Saipan"
		case "AS", "AMERICAN SAMOA":
			return "Pacific/Pago_Pago"
		}
	case "CA":
		switch state {
		case "AB", "ALBERTA":
			return "America/Edmonton"
		case "MB", "MANITOBA":
			return "America/Winnipeg"
		case "NB", "NEW BRUNSWICK":
			return "America/Moncton"
		case "NS", "NOVA SCOTIA", "PE", "PRINCE EDWARD ISLAND":
			return "America/Halifax"
		case "NT", "NORTHWEST TERRITORIES":
			return "America/Inuvik"
		case "YT", "YUKON":
			return "America/Whitehorse"
		}
	}
	return ""
}

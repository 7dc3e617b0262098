package campaign

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhereARecipientLivesTellsTheZone(t *testing.T) {
	t.Parallel()
	column := func(name, value string, c Contact) Contact {
		c.Fields = FieldsOf(map[string]string{name: value})
		return c
	}
	var f ZoneFinder
	for _, c := range []struct {
		about   string
		contact Contact
		want    string
	}{
		{"a column before all else", column("timezone", " Asia/Tokyo ", Contact{Country: "GB"}), "Asia/Tokyo"},
		{"the column's other name", column("time_zone", "Asia/Tokyo", Contact{Country: "GB"}), "Asia/Tokyo"},
		{"an empty column says nothing", column("timezone", " ", Contact{Country: "GB"}), "Europe/London"},
		{"a state", Contact{Country: "AU", Address: Address{State: "WA"}}, "Australia/Perth"},
		{"a state of the address's country", Contact{Country: "AU", Address: Address{State: "WA", Country: "US"}}, "America/Los_Angeles"},
		{"a state in words", Contact{Country: "AU", Address: Address{State: " Northern Territory "}}, "Australia/Darwin"},
		{"a province", Contact{Address: Address{State: "pe", Country: "ca"}}, "America/Halifax"},
		{"a state with two clocks", Contact{Country: "US", Address: Address{State: "TX"}}, ""},
		{"a state that is none", Contact{Country: "GB", Address: Address{State: "Kent"}}, "Europe/London"},
		{"a country of several clocks", Contact{Country: "AU"}, ""},
		{"a country whose zones agree", Contact{Country: "DE"}, "Europe/Berlin"},
		{"nothing", Contact{}, ""},
		{"a country that is none", Contact{Country: "XX"}, ""},
	} {
		got, err := f.Zone(&c.contact)
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.about, got, err, c.want)
		}
	}
	for _, bad := range []string{"AEST", "Local", "../../etc/passwd", "sydney"} {
		c := column("timezone", bad, Contact{Line: 7, Country: "GB"})
		_, err := f.Zone(&c)
		var fe *FieldError
		if !errors.As(err, &fe) || fe.Line != 7 || fe.Field != "timezone" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestEveryZoneOfTheTablesIsOne(t *testing.T) {
	t.Parallel()
	countries, states := 0, 0
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string([]rune{a, b})
			if name := zoneOfCountry(code); name != "" {
				countries++
				zone(t, name)
			}
			for _, country := range []string{"AU", "US", "CA"} {
				if name := zoneOfState(country, code); name != "" {
					states++
					zone(t, name)
				}
			}
		}
	}
	if countries < 200 || states < 50 {
		t.Errorf("%d countries and %d states have a zone", countries, states)
	}
	for _, several := range []string{"AU", "US", "CA", "BR", "RU", "MX", "ID", "ES", "NZ"} {
		if name := zoneOfCountry(several); name != "" {
			t.Errorf("%s has the one zone %s", several, name)
		}
	}
}

func TestABatchHoldsRecipientsOfOneZone(t *testing.T) {
	t.Parallel()
	zones := []string{"Australia/Perth", "", "Europe/London"}
	var contacts []Contact
	for i := range 4000 {
		contacts = append(contacts, smsContact(i))
	}
	contacts = append(contacts, smsContact(0)) // twice
	byZone := func(c *Contact) (string, error) { return zones[c.ID%3], nil }
	batches, sum, err := plan(t, Content{Channel: SMS, Body: "Hi"}, Limits{}, PlanOptions{Zone: byZone, Seen: NewSeen()}, contacts)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]int{}
	for _, b := range batches {
		if !b.Sendable() {
			if b.Zone != "" || len(b.Recipients) != 1 {
				t.Errorf("%d suppressed recipients with the zone %q", len(b.Recipients), b.Zone)
			}
			continue
		}
		got[b.Zone] = append(got[b.Zone], len(b.Recipients))
		for _, r := range b.Recipients {
			if want := zones[r.ContactID%3]; want != b.Zone {
				t.Fatalf("contact %d is in a batch of %q, want %q", r.ContactID, b.Zone, want)
			}
		}
	}
	if diff := cmp.Diff(map[string][]int{"Australia/Perth": {1000, 334}, "": {1000, 333}, "Europe/London": {1000, 333}}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"Australia/Perth": 1334, "": 1333, "Europe/London": 1333}, sum.Zones); diff != "" {
		t.Error(diff)
	}
}

func TestOpenBatchesOfManyZonesAndFilesAreBounded(t *testing.T) {
	t.Parallel()
	var contacts []Contact
	for i := range 2 * maxWaiting {
		contacts = append(contacts, smsContact(i))
	}
	largest, all := 0, 0
	o := PlanOptions{
		Zone: func(c *Contact) (string, error) { return fmt.Sprint(c.ID % 40_000), nil },
		Emit: func(b PlannedBatch) error {
			all += len(b.Recipients)
			largest = max(largest, len(b.Recipients))
			return nil
		},
	}
	_, sum, err := plan(t, Content{Channel: SMS, Body: "Hi"}, Limits{}, o, contacts)
	if err != nil {
		t.Fatal(err)
	}
	if all != len(contacts) || sum.Batches < maxWaiting || largest > 2 {
		t.Errorf("%d recipients in %d batches, the largest of %d", all, sum.Batches, largest)
	}
}

func TestARowWhoseZoneIsNoneIsNamed(t *testing.T) {
	t.Parallel()
	contacts := []Contact{smsContact(1), smsContact(2)}
	contacts[1].Fields = FieldsOf(map[string]string{"timezone": "Mars/Olympus"})
	var f ZoneFinder
	batches, _, err := plan(t, Content{Channel: SMS, Body: "Hi"}, Limits{}, PlanOptions{Zone: f.Zone}, contacts)
	var pe *PlanError
	if !errors.As(err, &pe) || pe.Total != 1 || len(batches) != 0 {
		t.Fatalf("%v, %d batches", err, len(batches))
	}
	const want = "line 3: field timezone holds no time zone: write a name of the tz database, such as Australia/Sydney, or leave it empty"
	if got := pe.First[0].Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

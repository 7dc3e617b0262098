package importer

import (
	"strings"
	"testing"
)

// An exported list has the countries it had, whatever --country says when it is
// imported again.
func TestTheCountriesOfAnExportedListStayWhatTheyWere(t *testing.T) {
	t.Parallel()
	header := strings.Join(ExportedColumns(), ",") + "\n"
	rows := "'+436641234567,,Hal,,Oesterr.,,Hal,Ringstr. 1,,Wien,,1010\n" +
		"'+436641234568,,Ida,,,,Ida,Ringstr. 2,,Wien,,1010\n" +
		"'+436641234569,,Jan,,DE,,Jan,Ringstr. 3,,Berlin,,10115\n" +
		",,Kim,,,,Kim,1 Hill Street,,Perth,,6000\n" // filled in by hand
	got := importText(t, header+rows, Options{Country: "AU"})
	want := []string{"Oesterr.", "", "DE", "AU"}
	if len(got.Contacts) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, c := range got.Contacts {
		if c.Address.Country != want[i] {
			t.Errorf("line %d: the address is in %q and not in %q", c.Line, c.Address.Country, want[i])
		}
	}
}

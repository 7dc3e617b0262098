package importer

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
)

func TestTwoLettersToOneAddressAreTwoUnlessTheyAreTheSame(t *testing.T) {
	t.Parallel()
	const file = "name,address 1,city,postcode,country,pdf\n" +
		"Ann Lee,1 High St,Perth,6000,AU,may.pdf\n" +
		"Ann Lee,1 High St,Perth,6000,AU,june.pdf\n" +
		"ANN  LEE,1 high st,Perth,6000,AU,june.pdf\n"
	for _, c := range []struct {
		identity         campaign.Identity
		imported, repeat int
	}{
		{campaign.ByLetter, 2, 1},
		{campaign.ByContact, 2, 1},
		{campaign.ByPost, 1, 2}, // they share a file
	} {
		got, err := Import(t.Context(), strings.NewReader(file), &keeper{}, Options{Name: "f.csv", Identity: c.identity, FileColumn: "pdf"})
		if err != nil || got.Imported != c.imported || got.Duplicates != c.repeat {
			t.Errorf("%s: imported %d, duplicates %d, %v; want %d and %d", c.identity, got.Imported, got.Duplicates, err, c.imported, c.repeat)
		}
	}
}

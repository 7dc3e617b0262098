package importer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/postrider/postrider/campaign"
)

// FieldName is the name that templates use for a column with such a header: that
// of "Customer No." is customer_no.
func FieldName(header string) string { return safeName(header, 0) }

// findKey makes sure that the file of an update has the column by which its rows
// are told apart.
func (im *run) findKey(line int) error {
	key, m := im.o.Key, im.mapping
	if key == "" || m.columns.Index(key) >= 0 {
		return nil
	}
	known := []string{}
	for r, name := range map[role]string{
		rolePhone: "phone", roleEmail: "email", roleFirstName: "first_name", roleLastName: "last_name", roleReference: "reference",
	} {
		if m.at[r] < 0 {
			continue
		}
		if name == key {
			return nil
		}
		if r == rolePhone || r == roleEmail || r == roleReference {
			known = append(known, name)
		}
	}
	known = append(slices.Sorted(slices.Values(known)), m.columns.Names()...)
	return &FileError{Name: im.o.Name, Line: line, Problem: fmt.Sprintf(
		"the file has no column %q by which its rows could be told apart: name one of %s", key, strings.Join(known, ", "))}
}

// lacksKey rejects a row of an update that has nothing in its key.
func (rc *rowChecker) lacksKey(k *campaign.Contact) *Reject {
	if rc.o.Key == "" {
		return nil
	}
	if _, ok := campaign.AppendFieldKey(nil, k, rc.o.Key); ok {
		return nil
	}
	return &Reject{Line: k.Line, Column: rc.o.Key, Code: CodeNoKey, Reason: fmt.Sprintf(
		"the row has no %s, so it cannot be told which contact it is of: fill it in", rc.o.Key)}
}

// leaveBare takes from a row of an update what was made of other cells: it must
// not take the place of what the list holds. The country of the address stands
// for one that the row itself names, with or without an address.
func (rc *rowChecker) leaveBare(k *campaign.Contact, row []string, fullName string) {
	m := rc.mapping
	given := cell(row, m.at[roleCountry]) != ""
	if !given {
		k.Country = ""
	}
	k.Address.Country = k.Country
	if k.Address.Name = cell(row, m.at[roleAddressName]); k.Address.Name == "" && k.Address.Line1 != "" {
		k.Address.Name = fullName
	}
}

// HalfAddress is the reject of the row of an update, on that line of the file,
// whose address is another than that of its contact, and not whole: made is the
// contact with it.
func HalfAddress(line int, made *campaign.Contact) Reject {
	return Reject{Line: line, Code: CodeHalfAddress, Reason: fmt.Sprintf(
		"the row has another street than the contact, and not the whole address (%s missing), so the contact stays as it is: fill in what is missing", strings.Join(made.Address.Missing(), ", "))}
}

// Suppressed is the reject of a row whose recipient is on the suppression list.
func Suppressed(line int) Reject {
	return Reject{Line: line, Code: CodeOptedOut, Reason: "the recipient has opted out: nothing, the row stays out"}
}

// NoDestination is the reject of a row of an update that is of no contact in the
// list, and cannot be one of its own.
func NoDestination(k *campaign.Contact) Reject {
	rc := &rowChecker{mapping: &mapping{}}
	return *rc.noDestination(k, "", true)
}

package importer

import "strings"

// ExportedColumns is how the header of an exported list begins: the columns that
// every list has, under names that templates know and this package reads. Behind
// them come the list's own. A row has one country: the address's, where it has
// one; an international number says its own.
//
// A header that begins so says itself what its columns are: of an exported list
// whose own column is called mobile, that column is not taken for the number.
func ExportedColumns() []string {
	names := make([]string, len(exportedRoles))
	for i, r := range exportedRoles {
		names[i] = roleNames[r].field
	}
	return names
}

// exportedRoles are the roles of ExportedColumns, in their order.
var exportedRoles = [...]role{
	rolePhone, roleEmail, roleFirstName, roleLastName, roleCountry, roleReference,
	roleAddressName, roleLine1, roleLine2, roleCity, roleState, rolePostalCode,
}

// held is a cell as a contact holds it: without the white space around it, with
// lines that end in a newline alone, and without the apostrophe that kept a
// spreadsheet from taking it for a formula.
func held(s string) string {
	s = strings.TrimSpace(s)
	if strings.IndexByte(s, '\r') >= 0 {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	if s == "" || s[0] != '\'' || !IsFormula(s) {
		return s
	}
	return strings.TrimSpace(s[1:])
}

// IsFormula reports whether a spreadsheet would take a text for a formula, but
// for the apostrophes before it.
func IsFormula(s string) bool {
	bare := strings.TrimLeft(s, "'")
	return bare != "" && strings.ContainsRune("=+-@\t\r", rune(bare[0]))
}

package campaign

import (
	"strings"
	"unicode/utf8"
)

// Contact is one person or household of a list, as it was imported. Contacts
// never change once stored: an update writes a new one and retires the old, so
// that a planned campaign keeps what was priced and approved.
type Contact struct {
	ID     int64 // 0 until stored
	ListID int64
	Line   int // line of the source file the row began on, 1-based; 0 when unknown

	Phone     string // E.164 with its plus, or empty
	Email     string
	FirstName string
	LastName  string
	Country   string // ISO 3166-1 alpha-2 of the number, or of the row's country column
	Address   Address
	Reference string // the file's own key for the row (personal letters); may be empty
	// Fields holds every further column under a safe lower-case name.
	Fields Fields
}

// Address is a street address in the fields of the ClickSend post API
// (shared/api/semantics.md, section 15).
type Address struct {
	Name       string `json:"name,omitempty"`
	Line1      string `json:"line_1,omitempty"`
	Line2      string `json:"line_2,omitempty"`
	City       string `json:"city,omitempty"`
	State      string `json:"state,omitempty"`
	PostalCode string `json:"postal_code,omitempty"`
	Country    string `json:"country,omitempty"` // ISO 3166-1 alpha-2; what the file had when that was not understood
}

// Complete reports whether the address has what ClickSend requires of every
// recipient: name, first line, city, postal code and country. Line 2 and state
// are transmitted empty where a country has none.
func (a Address) Complete() bool {
	return a.Name != "" && a.Line1 != "" && a.City != "" && a.PostalCode != "" && IsCountryCode(a.Country)
}

// IsCountryCode reports whether a text has the form of a code of ISO 3166-1
// alpha-2: two capitals.
func IsCountryCode(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}

// Missing names the required parts the address lacks, in the order of the form.
func (a Address) Missing() []string {
	var missing []string
	for _, f := range []struct{ name, value string }{
		{"address_name", a.Name}, {"address_line_1", a.Line1}, {"address_city", a.City},
		{"address_postal_code", a.PostalCode}, {"address_country", a.Country},
	} {
		if f.value == "" || f.name == "address_country" && !IsCountryCode(f.value) {
			missing = append(missing, f.name)
		}
	}
	return missing
}

// Key folds the address for comparison: case and surrounding white space do
// not distinguish two addresses, everything else does.
func (a Address) Key() string { return string(a.AppendKey(nil)) }

// AppendKey appends Key to b.
func (a Address) AppendKey(b []byte) []byte {
	for i, p := range [...]string{a.Name, a.Line1, a.Line2, a.City, a.State, a.PostalCode, a.Country} {
		if i > 0 {
			b = append(b, '\x1f')
		}
		b = appendFolded(b, p)
	}
	return b
}

// appendFolded appends s in lower case, its runs of white space made one space
// and those at its ends dropped.
func appendFolded(b []byte, s string) []byte {
	start := len(b)
	due := false // white space was seen since the last word
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			return append(b[:start], strings.ToLower(strings.Join(strings.Fields(s), " "))...)
		case c == ' ' || c >= '\t' && c <= '\r':
			due = true
		default:
			if due && len(b) > start {
				b = append(b, ' ')
			}
			due = false
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			b = append(b, c)
		}
	}
	return b
}

// name is the contact's whole name: first and last, or what stands on its
// letters.
func (c *Contact) name() string {
	switch {
	case c.FirstName != "" && c.LastName != "":
		return c.FirstName + " " + c.LastName
	case c.FirstName+c.LastName != "":
		return c.FirstName + c.LastName
	}
	return c.Address.Name
}

// Field returns the value a template sees under name, and whether the contact
// has such a column at all. Built-in names come first; the rest are Fields.
func (c *Contact) Field(name string) (string, bool) {
	switch name {
	case "phone":
		return c.Phone, true
	case "email":
		return c.Email, true
	case "first_name":
		return c.FirstName, true
	case "name":
		return c.name(), true
	case "last_name":
		return c.LastName, true
	case "country":
		return c.Country, true
	case "reference":
		return c.Reference, true
	case "address_name":
		return c.Address.Name, true
	case "address_line_1":
		return c.Address.Line1, true
	case "address_line_2":
		return c.Address.Line2, true
	case "address_city":
		return c.Address.City, true
	case "address_state":
		return c.Address.State, true
	case "address_postal_code":
		return c.Address.PostalCode, true
	case "address_country":
		return c.Address.Country, true
	}
	return c.Fields.Get(name)
}

package importer

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/postrider/postrider/campaign"
)

// role is what a column holds.
type role int

const (
	roleField role = iota // a further column, kept for templates
	rolePhone
	roleEmail
	roleFirstName
	roleLastName
	roleFullName
	roleReference
	roleAddressName
	roleLine1
	roleLine2
	roleCity
	roleState
	rolePostalCode
	roleCountry
	roles // how many there are
)

func (r role) String() string {
	return [...]string{
		"a field", "phone", "email", "first name", "last name", "full name", "reference", "address name",
		"address line 1", "address line 2", "city", "state", "postal code", "country",
	}[r]
}

// spellings are the header names that are recognised, folded: lower case,
// letters and digits only. The first of several columns for one role wins; the
// others stay fields.

func spell(r role, names ...string) map[string]role {
	m := map[string]role{}
	for _, n := range names {
		m[n] = r
	}
	return m
}

// recognised builds the one table of header names.
func recognised() map[string]role {
	all := map[string]role{}
	for _, m := range []map[string]role{
		spell(rolePhone, "phone", "phonenumber", "phoneno", "mobile", "mobilephone", "mobilenumber", "mobileno", "cell",
			"cellphone", "cellnumber", "cellular", "cellularphone", "msisdn", "tel", "telephone", "telephonenumber", "number", "sms",
			"smsnumber", "contactnumber", "phone1", "mobile1", "primaryphone", "phonemobile", "handphone", "handset", "to"),
		spell(roleEmail, "email", "emailaddress", "mail", "emailid", "email1", "primaryemail"),
		spell(roleFirstName, "firstname", "first", "forename", "givenname", "given", "fname", "christianname"),
		spell(roleLastName, "lastname", "last", "surname", "familyname", "family", "lname", "secondname"),
		spell(roleFullName, "name", "fullname", "contactname", "customername", "contact", "displayname", "recipient", "recipientname"),
		spell(roleReference, "reference", "ref", "referenceno", "referencenumber", "customerreference", "externalid"),
		spell(roleAddressName, "addressname", "addressee", "postalname", "mailingname", "addressto"),
		spell(roleLine1, "addressline1", "address1", "address", "street", "streetaddress", "street1", "line1", "addr1", "addr",
			"mailingaddress", "postaladdress", "mailingstreet", "addressstreet", "streetname", "address1street"),
		spell(roleLine2, "addressline2", "address2", "street2", "line2", "addr2", "unit", "apartment", "suite"),
		spell(roleCity, "addresscity", "city", "suburb", "town", "locality", "mailingcity", "citysuburb", "towncity", "cityortown"),
		spell(roleState, "addressstate", "state", "province", "region", "county", "mailingstate", "stateprovince", "stateterritory"),
		spell(rolePostalCode, "addresspostalcode", "postalcode", "postcode", "zip", "zipcode", "mailingpostalcode", "mailingzip", "zippostalcode", "postcodezip", "pcode"),
		spell(roleCountry, "addresscountry", "country", "countrycode", "mailingcountry", "countryregion", "isocountry", "nation"),
	} {
		for n, r := range m {
			all[n] = r
		}
	}
	return all
}

// mapping says what each column of a file holds.
type mapping struct {
	roles   []role            // by column
	at      [roles]int        // column of a role, -1 when there is none
	fields  []int             // columns that become fields
	columns *campaign.Columns // their names
	title   [roles]string     // the header as the file spells it
}

// mapHeader understands the header row. A header without a phone number and
// without a street is an error that names what was found.
func mapHeader(name string, line int, header []string) (*mapping, error) {
	known := recognised()
	m := &mapping{roles: make([]role, len(header))}
	for r := range m.at {
		m.at[r] = -1
	}
	var names []string
	taken := map[string]bool{}
	for i, h := range header {
		r, ok := known[fold(h)]
		if ok && m.at[r] < 0 {
			m.roles[i], m.at[r], m.title[r] = r, i, strings.TrimSpace(h)
			continue
		}
		m.fields = append(m.fields, i)
		n := safeName(h, i)
		for k := 2; taken[n] || builtIn(n); k++ {
			n = fmt.Sprintf("%s_%d", safeName(h, i), k)
		}
		taken[n] = true
		names = append(names, n)
	}
	if len(names) > 0 {
		m.columns = campaign.NewColumns(names...)
	}
	if m.at[rolePhone] < 0 && (m.at[roleLine1] < 0 || m.at[rolePostalCode] < 0) {
		return nil, &FileError{Name: name, Line: line, Problem: fmt.Sprintf(
			"no column holds a phone number or an address: the header is %s; name a column phone, or address_line_1, city and postcode, in its first line", quoted(header))}
	}
	return m, nil
}

// fold brings a header name into the form of the table.
func fold(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// safeName is a header as templates can name it: lower-case letters, digits
// and underscores, beginning with a letter.
func safeName(h string, column int) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(strings.TrimSpace(h)) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			if gap && b.Len() > 0 {
				b.WriteByte('_')
			}
			gap = false
			b.WriteRune(r)
			continue
		}
		gap = true
	}
	s := b.String()
	switch {
	case s == "":
		return fmt.Sprintf("column_%d", column+1)
	case s[0] >= '0' && s[0] <= '9':
		return "column_" + s
	}
	return s
}

// builtIn reports whether a contact has a field of that name already.
func builtIn(name string) bool {
	var c campaign.Contact
	_, ok := c.Field(name)
	return ok
}

// quoted lists header names for a message, the first dozen of them.
func quoted(header []string) string {
	const most = 12
	var parts []string
	for i, h := range header {
		if i == most {
			parts = append(parts, fmt.Sprintf("… and %d more", len(header)-most))
			break
		}
		if len(h) > 40 {
			h = strings.ToValidUTF8(h[:40], "") + "…"
		}
		parts = append(parts, fmt.Sprintf("%q", h))
	}
	return strings.Join(parts, ", ")
}

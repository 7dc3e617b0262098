package importer

import (
	"fmt"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/postrider/postrider/campaign"
)

// role is what a column holds.
type role int

const (
	rolePhone role = iota
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

// roleNames is how each role is called in Summary.Mapping, and the header names
// that it is known by: lower case, without accents, letters and digits only.
// The names of one role come in groups, the better before the worse; a column
// of a better group is taken before one of a worse, and of several of one group
// the first.
type roleNames struct {
	title  string
	groups []string
}

func knownRoles() [roles]roleNames {
	return [roles]roleNames{
		rolePhone: {"phone", []string{
			"mobile mobilephone mobilenumber mobileno mobile1 phonemobile cell cellphone cellnumber cellular cellularphone msisdn smsnumber handphone handset",
			"phone phonenumber phoneno phone1 primaryphone contactnumber contactphone tel telephone telephonenumber",
			"number sms to",
		}},
		roleEmail:     {"email", []string{"email emailaddress emailid email1 primaryemail mail"}},
		roleFirstName: {"first name", []string{"firstname forename givenname christianname fname first given"}},
		roleLastName:  {"last name", []string{"lastname surname familyname lname secondname last family"}},
		roleFullName:  {"full name", []string{"fullname contactname customername displayname recipientname name", "contact recipient"}},
		roleReference: {"reference", []string{"reference referenceno referencenumber customerreference externalid ref"}},
		roleAddressName: {"address name", []string{
			"addressname addressee postalname mailingname addressto"}},
		roleLine1: {"address line 1", []string{
			"addressline1 address1 addr1 line1 streetaddress street1 street address1street addressstreet mailingstreet streetname",
			"address addr mailingaddress postaladdress"}},
		roleLine2: {"address line 2", []string{"addressline2 address2 addr2 line2 street2", "unit apartment suite"}},
		roleCity:  {"city", []string{"addresscity city suburb town locality mailingcity citysuburb towncity cityortown"}},
		roleState: {"state", []string{"addressstate state province stateprovince stateterritory mailingstate mailingstateprovince", "region county"}},
		rolePostalCode: {"postal code", []string{
			"addresspostalcode postalcode postcode zip zipcode mailingpostalcode mailingzip mailingzippostalcode zippostalcode postcodezip pcode"}},
		roleCountry: {"country", []string{"addresscountry country countrycode isocountry mailingcountry countryregion nation"}},
	}
}

func (r role) String() string { return knownRoles()[r].title }

// spelling is what a header name means.
type spelling struct {
	role role
	rank int // which group of its role it is in: less is better
}

// spellings is the table of all header names that are known.
var spellings = sync.OnceValue(func() map[string]spelling {
	all := map[string]spelling{}
	for r, known := range knownRoles() {
		for rank, group := range known.groups {
			for _, name := range strings.Fields(group) {
				all[name] = spelling{role(r), rank}
			}
		}
	}
	return all
})

// mapping says what each column of a file holds.
type mapping struct {
	width   int               // columns of the header
	at      [roles]int        // column of a role; -1 when there is none
	title   [roles]string     // the header of a role as the file spells it
	fields  []int             // the further columns
	columns *campaign.Columns // and their names, under which templates find them
}

// mapHeader understands the header row. A header without a phone number and
// without an address is a *FileError; for opt-outs, an e-mail address will do.
func mapHeader(file string, line int, header []string, optOuts bool) (*mapping, error) {
	m := &mapping{width: len(header)}
	for r := range m.at {
		m.at[r] = -1
	}
	var rank [roles]int
	for i, h := range header {
		s, known := spellings()[fold(h)]
		if known && (m.at[s.role] < 0 || s.rank < rank[s.role]) {
			m.at[s.role], rank[s.role], m.title[s.role] = i, s.rank, strings.TrimSpace(h)
		}
	}
	if m.at[rolePhone] < 0 && !(optOuts && m.at[roleEmail] >= 0) && (m.at[roleLine1] < 0 || m.at[rolePostalCode] < 0) {
		return nil, &FileError{Name: file, Line: line, Problem: unusable(header)}
	}
	m.nameFields(header)
	return m, nil
}

// nameFields gives every column without a role a name of its own.
func (m *mapping) nameFields(header []string) {
	taken := make([]bool, len(header))
	for _, i := range m.at {
		if i >= 0 {
			taken[i] = true
		}
	}
	var names []string
	used := map[string]bool{}
	suffix := map[string]int{} // the last that was tried for a name
	for i, h := range header {
		if taken[i] {
			continue
		}
		base := safeName(h, i)
		name := base
		for used[name] || builtIn(name) {
			suffix[base] = max(2, suffix[base]+1)
			name = fmt.Sprintf("%s_%d", base, suffix[base])
		}
		used[name] = true
		names = append(names, name)
		m.fields = append(m.fields, i)
	}
	if len(names) > 0 {
		m.columns = campaign.NewColumns(names...)
	}
}

// titles says which column was understood as what.
func (m *mapping) titles() map[string]string {
	titles := map[string]string{}
	for r, i := range m.at {
		if i >= 0 {
			titles[role(r).String()] = m.title[r]
		}
	}
	return titles
}

// unusable says what is wrong with a header that has no destination. A first
// row that is itself a contact is not repeated: errors end up in logs.
func unusable(header []string) string {
	for i, h := range header {
		if strings.Contains(h, "@") || countDigits(h) >= fewestDigits {
			return fmt.Sprintf("the first line looks like a contact and not like a header (see its cell %d): put a line above it that names the columns, such as phone,first_name,last_name", i+1)
		}
	}
	return fmt.Sprintf("no column holds a phone number or an address: the header is %s; name a column phone, or columns name, address_line_1, city, postcode and country", quoted(header))
}

// quoted lists header names for a message, the first dozen of them.
func quoted(header []string) string {
	const most, longest = 12, 40
	var parts []string
	for i, h := range header {
		if i == most {
			parts = append(parts, fmt.Sprintf("… and %d more", len(header)-most))
			break
		}
		if r := []rune(h); len(r) > longest {
			h = string(r[:longest]) + "…"
		}
		parts = append(parts, fmt.Sprintf("%q", h))
	}
	return strings.Join(parts, ", ")
}

// fold brings a header name into the form of the table of spellings.
func fold(header string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(header) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// safeName is a header as templates can name it: lower-case letters, digits
// and underscores, beginning with a letter. Accents are dropped; what is left
// without a letter is named after its place, from 1.
func safeName(header string, column int) string {
	var b strings.Builder
	gap := false
	for _, r := range norm.NFKD.String(header) {
		if unicode.Is(unicode.Mn, r) {
			continue // an accent
		}
		r = unicode.ToLower(r)
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			gap = true
			continue
		}
		if gap && b.Len() > 0 {
			b.WriteByte('_')
		}
		gap = false
		b.WriteRune(r)
	}
	switch name := b.String(); {
	case name == "":
		return fmt.Sprintf("column_%d", column+1)
	case name[0] <= '9':
		return "column_" + name
	default:
		return name
	}
}

// builtIn reports whether every contact has a field of that name.
func builtIn(name string) bool {
	var c campaign.Contact
	_, ok := c.Field(name)
	return ok
}

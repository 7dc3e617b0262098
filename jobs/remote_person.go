package jobs

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
)

// personFields says which columns of a list become which of the provider's
// fields.
type personFields struct {
	custom       [4]string
	organization string
	fax          string
}

// taken reports whether the column becomes a field of the provider's.
func (f *personFields) taken(column string) bool {
	return column != "" && (slices.Contains(f.custom[:], column) || column == f.organization || column == f.fax)
}

// person is a contact as the provider keeps it. A contact without a first and a
// last name bears that of its address, since the provider has no name there.
func (f *personFields) person(c *campaign.Contact) clicksend.Person {
	a := &c.Address
	p := clicksend.Person{
		PhoneNumber: c.Phone, FirstName: c.FirstName, LastName: c.LastName, Email: c.Email,
		AddressLine1: a.Line1, AddressLine2: a.Line2, City: a.City, State: a.State, PostalCode: a.PostalCode, Country: a.Country,
	}
	if p.FirstName == "" && p.LastName == "" {
		first, last, _ := strings.Cut(a.Name, " ")
		p.FirstName, p.LastName = first, strings.TrimSpace(last)
	}
	for i, into := range []*string{&p.Custom1, &p.Custom2, &p.Custom3, &p.Custom4} {
		*into = fieldOf(c, f.custom[i])
	}
	p.Organization, p.FaxNumber = fieldOf(c, f.organization), fieldOf(c, f.fax)
	return p
}

func fieldOf(c *campaign.Contact, column string) string {
	if column == "" {
		return ""
	}
	v, _ := c.Field(column)
	return v
}

// importOrder is the order of the columns of our files: that of the documents'
// sample.
var importOrder = []clicksend.ImportField{
	clicksend.ImportPhone, clicksend.ImportFirstName, clicksend.ImportLastName,
	clicksend.ImportCustom1, clicksend.ImportCustom2, clicksend.ImportCustom3, clicksend.ImportCustom4,
	clicksend.ImportFaxNumber, clicksend.ImportOrganization, clicksend.ImportEmail,
	clicksend.ImportAddressLine1, clicksend.ImportAddressLine2, clicksend.ImportCity, clicksend.ImportState,
	clicksend.ImportPostalCode, clicksend.ImportCountry,
}

// personRow is a person as a row of such a file.
func personRow(row []string, p *clicksend.Person) []string {
	return append(row, p.PhoneNumber, p.FirstName, p.LastName, p.Custom1, p.Custom2, p.Custom3, p.Custom4, p.FaxNumber, p.Organization, p.Email,
		p.AddressLine1, p.AddressLine2, p.City, p.State, p.PostalCode, p.Country)
}

// personKey stands for whom a person is taken for: how they are reached, and
// their name. What else the provider may write in its own way is no part of it.
type personKey [16]byte

func keyOf(p *clicksend.Person) personKey {
	digits := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, s)
	}
	fold := func(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }
	sum := sha256.Sum256([]byte(strings.Join([]string{digits(p.PhoneNumber), digits(p.FaxNumber), fold(p.Email), fold(p.FirstName), fold(p.LastName)}, "\x1f")))
	return personKey(sum[:16])
}

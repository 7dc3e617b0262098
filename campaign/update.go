package campaign

import "strings"

// AppendFieldKey appends to b the key under which two contacts have the same
// value in a field: a built-in name such as reference, or a further column. Case
// does not tell e-mail addresses apart. A contact that has nothing there has no
// key, and ok is false.
func AppendFieldKey(b []byte, c *Contact, field string) (key []byte, ok bool) {
	value, _ := c.Field(field)
	if value == "" {
		return b, false
	}
	if field == "email" {
		value = strings.ToLower(value)
	}
	return append(b, value...), true
}

// UpdateContact is the contact old with what row, a row of a file read for an update
// (see importer.Options.Key), says of it. An empty cell says nothing. The result
// has the columns given, which must hold those of both; country stands for none
// where a new address has none.
//
// An address is one piece: when the row has another first line, nothing stays of
// the address that was there but its name and, if the row names none, its
// country. What the row leaves out is missing then (see MovedHalf).
//
// What was made of other cells follows them: the name on a contact's letters
// when it is that of the contact, and the country of its number.
func UpdateContact(old, row *Contact, columns *Columns, country string) Contact {
	c := *old
	moved := hasMoved(old, row)
	if moved {
		c.Address = Address{Name: old.Address.Name, Country: old.Address.Country}
	}
	ownName := old.Address.Name == "" || old.Address.Name == old.wholeName()
	for _, f := range [...]struct {
		to   *string
		from string
	}{
		{&c.Phone, row.Phone}, {&c.Email, row.Email}, {&c.FirstName, row.FirstName}, {&c.LastName, row.LastName},
		{&c.Reference, row.Reference},
		{&c.Address.Line1, row.Address.Line1}, {&c.Address.Line2, row.Address.Line2}, {&c.Address.City, row.Address.City},
		{&c.Address.State, row.Address.State}, {&c.Address.PostalCode, row.Address.PostalCode}, {&c.Address.Country, row.Address.Country},
	} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	switch {
	case row.Address.Name != "":
		c.Address.Name = row.Address.Name
	case ownName && c.Address.Line1 != "":
		c.Address.Name = c.wholeName()
	}
	switch {
	case row.Country != "" && (row.Phone != "" || c.Phone == ""):
		c.Country = row.Country
	case c.Phone == "" && IsCountryCode(c.Address.Country):
		c.Country = c.Address.Country
	}
	c.settleCountry(country)
	if moved {
		c.Address.Tidy() // its postal code as the country writes it
	}
	c.Fields = c.Fields.with(row.Fields, columns)
	return c
}

// hasMoved reports whether a row of an update has another address than the contact.
func hasMoved(old, row *Contact) bool {
	return old.Address.Line1 != "" && row.Address.Line1 != "" && !strings.EqualFold(old.Address.Line1, row.Address.Line1)
}

// MovedHalf reports whether a row of an update would leave a contact that has
// an address with half of another: made is what UpdateContact made of it.
func MovedHalf(old, row, made *Contact) bool {
	return hasMoved(old, row) && old.Address.Complete() && !made.Address.Complete()
}

// NewContact is a row of a file read for an update that is a contact of its own:
// what the importer makes of other cells is made, with the country that stands
// for none. It may have no destination.
func NewContact(row *Contact, country string) Contact {
	c := *row
	c.settleCountry(country)
	if c.Address.Line1 != "" && c.Address.Name == "" {
		c.Address.Name = c.wholeName()
	}
	return c
}

// settleCountry fills in the countries that are not known, and takes that of an
// address away which has no first line.
func (c *Contact) settleCountry(country string) {
	if c.Country == "" {
		c.Country = country
	}
	switch {
	case c.Address.Line1 == "":
		c.Address.Country = ""
	case c.Address.Country == "":
		c.Address.Country = country
	}
}

// wholeName is first and last name.
func (c *Contact) wholeName() string { return strings.TrimSpace(c.FirstName + " " + c.LastName) }

// with is f with the values that over has, under the columns given.
func (f Fields) with(over Fields, columns *Columns) Fields {
	if len(columns.Names()) == 0 {
		return Fields{}
	}
	out := Fields{Columns: columns, Values: make([]string, len(columns.names))}
	for i, name := range columns.names {
		if v, _ := over.Get(name); v != "" {
			out.Values[i] = v
		} else {
			out.Values[i], _ = f.Get(name)
		}
	}
	return out
}

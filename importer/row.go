package importer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postrider/postrider/campaign"
)

// rowChecker turns rows into contacts or rejects. Several goroutines share it.
type rowChecker struct {
	o       Options
	mapping *mapping
	numbers *numbers
	places  *countries
	seen    *campaign.Seen // only to hash with
	spare   []int          // further columns of phone numbers
	header  []string       // as the file spells it; the first row of a file without one
	own     bool           // it is that of an exported list
}

func newRowChecker(o Options, m *mapping, header []string, seen *campaign.Seen) (*rowChecker, error) {
	n, err := newNumbers()
	if err != nil {
		return nil, err
	}
	return &rowChecker{o: o, mapping: m, numbers: n, places: newCountries(), seen: seen, spare: m.spare, header: header, own: m.line > 0 && isOwnExport(header)}, nil
}

// spareTitle is the header of a further column of phone numbers, or #3 for the
// third column of a file without one.
func (rc *rowChecker) spareTitle(i int) string {
	column := rc.spare[i]
	if rc.mapping.line == 0 || column >= len(rc.header) {
		return fmt.Sprintf("#%d", column+1)
	}
	return strings.TrimSpace(rc.header[column])
}

// check turns a chunk's rows into contacts or rejects.
func (rc *rowChecker) check(c *chunk) {
	var key []byte
	// The sink may keep contacts, so their fields get memory of their own: one
	// piece for a chunk.
	values := make([]string, 0, len(c.ends)*len(rc.mapping.fields))
	start := 0
	for i, end := range c.ends {
		row, line := c.cells[start:end], c.lines[i]
		start = end
		if !isText(row) {
			c.err = &FileError{Name: rc.o.Name, Line: line, Problem: notText}
			return
		}
		c.contacts = append(c.contacts, campaign.Contact{Line: line})
		k := &c.contacts[len(c.contacts)-1]
		reject, note := (*Reject)(nil), (*Reject)(nil)
		if rc.o.OptOuts {
			reject, note = rc.fillOptOut(k, row)
		} else {
			reject = rc.fill(k, row)
		}
		if reject != nil {
			c.contacts = c.contacts[:len(c.contacts)-1]
			c.verdicts = append(c.verdicts, verdict{contact: -1, reject: reject})
			continue
		}
		first := len(values)
		for _, column := range rc.mapping.fields {
			values = append(values, cell(row, column))
		}
		if len(values) > first {
			k.Fields = campaign.Fields{Columns: rc.mapping.columns, Values: values[first:len(values):len(values)]}
		}
		if reject := rc.lacksKey(k); reject != nil {
			c.contacts = c.contacts[:len(c.contacts)-1]
			c.verdicts = append(c.verdicts, verdict{contact: -1, reject: reject})
			continue
		}
		if rc.o.OptOuts {
			key = appendOptOutKey(key[:0], k)
		} else if rc.o.Key != "" {
			key, _ = campaign.AppendFieldKey(key[:0], k, rc.o.Key)
		} else {
			key = rc.o.Identity.AppendKey(key[:0], k, rc.ownFile(k))
		}
		c.digests = append(c.digests, rc.seen.Digest(key))
		c.verdicts = append(c.verdicts, verdict{contact: len(c.contacts) - 1, note: note, optedOut: rc.o.OptedOut != nil && rc.o.OptedOut(k)})
	}
}

// ownFile is what besides number, name and address tells two contacts apart.
func (rc *rowChecker) ownFile(k *campaign.Contact) string {
	switch {
	case rc.o.Identity == campaign.ByLetter && rc.o.FileColumn != "":
		file, _ := k.Field(rc.o.FileColumn)
		return file
	case rc.o.Identity == campaign.ByContact:
		return string(k.Fields.AppendKey(nil))
	}
	return ""
}

const notText = "there is a NUL byte on the line, as there is in no text: the file is damaged, or binary; save the list again as CSV UTF-8"

// isText reports whether the cells hold text that a database takes.
func isText(row []string) bool {
	for _, s := range row {
		plain := true
		for i := 0; i < len(s); i++ {
			if s[i]-1 >= utf8.RuneSelf-1 { // 0, or not ASCII
				plain = false
				break
			}
		}
		if !plain && (!utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0) {
			return false
		}
	}
	return true
}

// cell is a cell of a row as a contact holds it; empty when the
// row, or the file, has no such column.
func cell(row []string, column int) string {
	if column < 0 || column >= len(row) {
		return ""
	}
	return held(row[column])
}

// fill reads a row into a contact, or says why it cannot: the row has neither a
// valid number nor a complete address.
func (rc *rowChecker) fill(k *campaign.Contact, row []string) *Reject {
	m := rc.mapping
	if len(row) > m.width && !blank(row[m.width:]) {
		than := "the header"
		if m.line == 0 {
			than = "no row at the beginning of the file more than"
		}
		return &Reject{Line: k.Line, Code: CodeTooManyCells, Reason: fmt.Sprintf(
			"the row has %d cells and %s %d: put quotes around a cell that holds the character between cells", len(row), than, m.width)}
	}
	k.Email = cell(row, m.at[roleEmail])
	k.FirstName = cell(row, m.at[roleFirstName])
	k.LastName = cell(row, m.at[roleLastName])
	k.Reference = cell(row, m.at[roleReference])
	full := cell(row, m.at[roleFullName])
	if full != "" && k.FirstName == "" && k.LastName == "" {
		k.FirstName, k.LastName = splitName(full, m.lastFirst)
	}
	country, understood := rc.o.Country, true
	inColumn := cell(row, m.at[roleCountry])
	if inColumn != "" {
		// A country that is not understood is not the one of --country.
		country, understood = rc.places.inColumn(inColumn)
	}
	k.Country = country
	rc.fillAddress(k, row, full)
	switch {
	case !understood && k.Address.Line1 != "":
		k.Address.Country = notUnderstood(inColumn) // nor that of the number: somebody has to say which it is
	case inColumn == "" && rc.own && m.at[rolePhone] >= 0 && strings.HasPrefix(cell(row, m.at[rolePhone]), "+"):
		k.Address.Country = "" // as it was when the list was exported
	}
	if rc.o.Key != "" {
		rc.leaveBare(k, row, full)
	}

	phone := cell(row, m.at[rolePhone])
	var inSpare *Reject // why what stands in another column is no number, when this one is empty
	var e164, region string
	err := errNotANumber
	if phone != "" {
		e164, region, err = rc.numbers.parse(phone, country)
	}
	// The person's mobile phone may stand in another column, as within a cell.
	for i := 0; i < len(rc.spare) && (err != nil || !NumberKind(e164).TakesMessages()); i++ {
		if other := cell(row, rc.spare[i]); other != "" {
			number, of, refused := rc.numbers.parse(other, country)
			switch {
			case refused == nil && (err != nil || NumberKind(number).TakesMessages()):
				e164, region, err = number, of, nil
			case refused != nil && phone == "" && inSpare == nil:
				inSpare = &Reject{Line: k.Line, Column: rc.spareTitle(i), Code: refused.code, Reason: refused.reason, Value: other}
			}
		}
	}
	switch {
	case err == nil:
		k.Phone = e164
		if region != "" {
			k.Country = region
		}
		if rc.forPost() && k.Address.Complete() {
			return rc.badAddress(k)
		}
		if rc.forPost() && rc.o.Key == "" {
			return rc.noDestination(k, inColumn, understood)
		}
		return nil // whether its address is good is asked when a letter is planned
	case phone == "" && rc.o.Key != "":
		return nil
	case k.Address.Complete():
		return rc.badAddress(k) // if it is good, a letter can reach it
	case inSpare != nil && (understood || inSpare.Code != CodeNationalNumber):
		return inSpare
	case phone == "":
		return rc.noDestination(k, inColumn, understood)
	case err == errNational && !understood:
		return &Reject{Line: k.Line, Column: m.title[roleCountry], Code: CodeUnknownCountry, Value: inColumn,
			Reason: "the number is in national form, and the country is not understood: write its code of two letters, such as AU"}
	}
	return &Reject{Line: k.Line, Column: m.title[rolePhone], Code: err.code, Reason: err.reason, Value: phone}
}

// splitName takes the first word of a full name for the first name, unless a
// comma after it, or the column, says that it is the last.
func splitName(full string, lastFirst bool) (first, last string) {
	full = strings.ReplaceAll(full, "\u3000", " ") // the space of Chinese and Japanese
	first, last, _ = strings.Cut(full, " ")
	last = strings.TrimSpace(last)
	if surname, ok := strings.CutSuffix(first, ","); ok || lastFirst && last != "" {
		first, last = last, surname
	}
	return first, last
}

// fillAddress reads the address. Without its first line it is none, and gets
// neither a name nor a country.
func (rc *rowChecker) fillAddress(k *campaign.Contact, row []string, fullName string) {
	m, a := rc.mapping, &k.Address
	a.Name = cell(row, m.at[roleAddressName])
	a.Line1 = cell(row, m.at[roleLine1])
	if number := cell(row, m.at[roleHouseNumber]); number != "" && a.Line1 != "" {
		if m.numberFirst {
			a.Line1 = number + " " + a.Line1
		} else {
			a.Line1 += " " + number
		}
	}
	a.Line2 = cell(row, m.at[roleLine2])
	a.City = cell(row, m.at[roleCity])
	a.State = cell(row, m.at[roleState])
	// Spreadsheets keep its zeros by an apostrophe.
	a.PostalCode = strings.TrimLeftFunc(cell(row, m.at[rolePostalCode]), func(r rune) bool { return r == '\'' || unicode.IsSpace(r) })
	if a.Line1 == "" {
		return
	}
	a.Country = k.Country
	if a.Name == "" && (m.wholeName || k.FirstName == "" || k.LastName == "") {
		a.Name = fullName
	}
	switch {
	case a.Name != "":
	case k.FirstName == "" || k.LastName == "":
		a.Name = k.FirstName + k.LastName
	default:
		a.Name = k.FirstName + " " + k.LastName
	}
	a.Tidy()
}

// forPost reports whether the contacts are for letters or postcards only.
func (rc *rowChecker) forPost() bool {
	id := rc.o.Identity
	return id == campaign.ByPost || id == campaign.ByLetter || id == campaign.ByHousehold
}

// badAddress says why nothing can be sent to the address; nil when it can.
func (rc *rowChecker) badAddress(k *campaign.Contact) *Reject {
	fault := k.Address.Fault()
	if fault == nil {
		return nil
	}
	value, _ := k.Field(fault.Field)
	return &Reject{Line: k.Line, Column: rc.titleOf(fault.Field), Code: fault.Code, Reason: fieldWords(fault.Field) + " " + fault.Text, Value: value}
}

// fieldWords is a part of an address in words: the postal code, line 1.
func fieldWords(field string) string {
	words := strings.ReplaceAll(strings.TrimPrefix(field, "address_"), "_", " ")
	if strings.HasPrefix(words, "line") {
		return words
	}
	return "the " + words
}

// titleOf is the header of the column that a part of the address stands in;
// empty when that is not one.
func (rc *rowChecker) titleOf(field string) string {
	r, known := map[string]role{
		"address_line_1": roleLine1, "address_line_2": roleLine2, "address_city": roleCity, "address_state": roleState, "address_postal_code": rolePostalCode,
	}[field]
	switch {
	case !known && rc.mapping.at[roleAddressName] >= 0:
		r = roleAddressName
	case !known:
		r = roleFullName
	case r == roleLine2 && rc.mapping.at[r] < 0:
		r = roleLine1 // whose cell had several lines
	}
	return rc.mapping.title[r]
}

// notUnderstood is a country that is not, as an address holds it until somebody
// says which it is: what looks like a code and is none does not look like one.
func notUnderstood(country string) string {
	if campaign.IsCountryCode(country) {
		return strings.ToLower(country)
	}
	return country
}

// noDestination says what is missing of an address, and of the number if the row
// has none.
func (rc *rowChecker) noDestination(k *campaign.Contact, country string, countryUnderstood bool) *Reject {
	reason := "the row has no phone number and no complete address"
	if k.Phone != "" {
		reason = "the row has no complete address"
	}
	switch {
	case k.Address.Line1 == "" && k.Phone != "":
		reason += ", and letters need one: fill it in"
	case k.Address.Line1 == "":
		reason += ": fill in one of them"
	case !countryUnderstood:
		return &Reject{Line: k.Line, Column: rc.mapping.title[roleCountry], Code: CodeUnknownCountry, Value: country,
			Reason: reason + ", since the country is not understood: write its code of two letters, such as AU"}
	case k.Address.City == "" && k.Address.PostalCode == "" && strings.Contains(k.Address.Line1, ","):
		reason += ": an address in one cell is not taken apart, so give street, city and postal code a column each"
	default:
		reason += " (" + strings.Join(k.Address.Missing(), ", ") + " missing): fill in what is missing"
	}
	return &Reject{Line: k.Line, Code: CodeNoDestination, Reason: reason}
}

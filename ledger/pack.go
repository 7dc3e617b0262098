package ledger

import (
	"encoding/json"
	"strings"

	"github.com/postrider/postrider/campaign"
)

// separator stands between packed values: the ASCII unit separator, which no
// spreadsheet writes. Values that hold one all the same, or a record separator,
// are packed as JSON, which escapes both.
const separator = "\x1f"

// packValues packs a row of strings into one cell; a row of empty strings is
// the empty cell. It is read a million times a campaign, hence not JSON.
func packValues(values []string) string {
	size, plain := 0, true
	for _, v := range values {
		size += len(v)
		plain = plain && strings.IndexByte(v, separator[0]) < 0 && strings.IndexByte(v, recordSeparator[0]) < 0
	}
	switch {
	case size == 0:
		return ""
	case plain:
		var b strings.Builder
		b.Grow(size + len(values)*len(separator))
		for _, v := range values {
			b.WriteString(separator)
			b.WriteString(v)
		}
		return b.String()
	}
	b, err := json.Marshal(values)
	if err != nil { // strings always marshal
		panic(err)
	}
	return string(b)
}

// missingCells is how many of n values a packed row lacks at its end, and
// whether it is packed as JSON. The empty cell lacks none.
func missingCells(s string, n int) (missing int, escaped bool) {
	if s == "" {
		return 0, false
	}
	if strings.HasPrefix(s, separator) {
		return max(0, n-strings.Count(s, separator)), false
	}
	var all []string
	if json.Unmarshal([]byte(s), &all) != nil {
		return 0, true
	}
	return max(0, n-len(all)), true
}

// unpackValues is the way back; the result has n values.
func unpackValues(s string, n int) []string {
	values := make([]string, n)
	switch {
	case s == "":
	case strings.HasPrefix(s, separator):
		rest := s[len(separator):]
		for i := range values {
			v, more, found := strings.Cut(rest, separator)
			values[i] = v
			if !found {
				break
			}
			rest = more
		}
	default:
		var all []string
		if json.Unmarshal([]byte(s), &all) == nil {
			copy(values, all)
		}
	}
	return values
}

// packContact packs what the ledger need not look into: e-mail, names,
// country, reference, the seven parts of the address, and the further columns
// of its list. A row read as one cell costs a third of one read as ten. Empty
// cells at its end are left out, so that it stays what it is when its list gets
// another column.
func packContact(c *campaign.Contact) string {
	a := &c.Address
	values := make([]string, 0, contactParts+len(c.Fields.Values))
	values = append(values, c.Email, c.FirstName, c.LastName, c.Country, c.Reference,
		a.Name, a.Line1, a.Line2, a.City, a.State, a.PostalCode, a.Country)
	values = append(values, c.Fields.Values...)
	for len(values) > 0 && values[len(values)-1] == "" {
		values = values[:len(values)-1]
	}
	return packValues(values)
}

const contactParts = 12

// unpackContact is the way back; columns are those of the contact's list.
func unpackContact(s string, columns *campaign.Columns, c *campaign.Contact) {
	n := len(columns.Names())
	v := unpackValues(s, contactParts+n)
	c.Email, c.FirstName, c.LastName, c.Country, c.Reference = v[0], v[1], v[2], v[3], v[4]
	c.Address = campaign.Address{Name: v[5], Line1: v[6], Line2: v[7], City: v[8], State: v[9], PostalCode: v[10], Country: v[11]}
	if n > 0 {
		c.Fields = campaign.Fields{Columns: columns, Values: v[contactParts:]}
	}
}

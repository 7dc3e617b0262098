package segment

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/agext/levenshtein"
)

// cell reads a field of the contact that is judged.
type cell func(*run) string

// fields are the names that a condition may use.
type fields struct {
	columns []string // of the list itself
	anyName bool     // every name: the list is not known yet
}

// builtIn are the fields that every contact has, under the names that templates
// use.
var builtIn = []string{
	"phone", "email", "first_name", "last_name", "name", "country", "reference",
	"address_name", "address_line_1", "address_line_2", "address_city", "address_state", "address_postal_code", "address_country",
}

// aliases are shorter names of fields, unless the list has a column of its own
// that is called so.
var aliases = map[string]string{
	"city": "address_city", "suburb": "address_city", "town": "address_city",
	"state": "address_state", "province": "address_state",
	"postcode": "address_postal_code", "postal_code": "address_postal_code", "post_code": "address_postal_code", "zip": "address_postal_code", "zip_code": "address_postal_code",
	"mobile": "phone", "surname": "last_name", "firstname": "first_name", "lastname": "last_name",
	"address_postcode": "address_postal_code",
}

// resolve finds a field, and the name it is called by.
func (f fields) resolve(name string, r *run) (string, cell, bool) {
	if slices.Contains(f.columns, name) && !slices.Contains(builtIn, name) {
		return name, r.column(name), true
	}
	if full, ok := aliases[name]; ok {
		name = full
	}
	if read := readBuiltIn(name); read != nil {
		return name, read, true
	}
	if f.anyName {
		return name, r.column(name), true
	}
	return name, nil, false
}

// column reads a column of the list's own.
func (r *run) column(name string) cell {
	i := slices.Index(r.own, name)
	if i < 0 {
		i = len(r.own)
		r.own = append(r.own, name)
		r.at = append(r.at, -1)
	}
	return func(r *run) string {
		if at := r.at[i]; at >= 0 && at < len(r.c.Fields.Values) {
			return r.c.Fields.Values[at]
		}
		return ""
	}
}

// readBuiltIn reads a field that every contact has; nil: it is none.
func readBuiltIn(name string) cell {
	switch name {
	case "phone":
		return func(r *run) string { return r.c.Phone }
	case "email":
		return func(r *run) string { return r.c.Email }
	case "first_name":
		return func(r *run) string { return r.c.FirstName }
	case "last_name":
		return func(r *run) string { return r.c.LastName }
	case "reference":
		return func(r *run) string { return r.c.Reference }
	case "address_city":
		return func(r *run) string { return r.c.Address.City }
	case "address_state":
		return func(r *run) string { return r.c.Address.State }
	case "address_postal_code":
		return func(r *run) string { return r.c.Address.PostalCode }
	case "country":
		// The country of the number, or of the row; where neither is known that of
		// the address, which is what is meant on post.
		return func(r *run) string {
			if r.c.Country != "" {
				return r.c.Country
			}
			return r.c.Address.Country
		}
	case "name", "address_name", "address_line_1", "address_line_2", "address_country":
		return func(r *run) string { s, _ := r.c.Field(name); return s }
	}
	return nil
}

// unknown says that there is no field of that name, and which there are.
func (f fields) unknown(name string) string {
	all := slices.Concat(f.columns, builtIn)
	for short := range aliases {
		all = append(all, short)
	}
	slices.Sort(all)
	best, distance := "", 3
	for _, known := range all {
		d := levenshtein.Distance(name, known, nil)
		if strings.ReplaceAll(name, "_", "") == strings.ReplaceAll(known, "_", "") {
			d = 0
		}
		if d < distance && d*2 < len(name) {
			best, distance = known, d
		}
	}
	text := fmt.Sprintf("there is no field %s", name)
	if best != "" {
		text += fmt.Sprintf(": did you mean %s?", best)
	} else {
		text += ":"
	}
	own := "no columns of its own"
	if len(f.columns) > 0 {
		shown := f.columns[:min(len(f.columns), 40)]
		own = strings.Join(shown, ", ")
		if more := len(f.columns) - len(shown); more > 0 {
			own += fmt.Sprintf(" and %d more", more)
		}
	}
	return text + " besides phone, email, first_name, last_name, name, reference, city, state, postcode, country and address_… the list has " + own
}

// columnName is a name in backticks as columns are called: a header such as
// `Last Order` is the column last_order.
func columnName(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.Join(words, "_")
}

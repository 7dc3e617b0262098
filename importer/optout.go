package importer

import (
	"slices"
	"strings"

	"github.com/postrider/postrider/campaign"
)

// A file of opt-outs is read like one of contacts, and asks less of a row: a
// number of any kind, an e-mail address, or a street address with or without a
// name is enough; whatever of them a row has counts: every number in every column
// of numbers, and every e-mail address. One opt-out too many is better than one lost.

// CodeNotAnEmail is the code of a row whose e-mail address cannot be one.
const CodeNotAnEmail = "not_an_email"

// CodePartlyTaken is the code of a row of which a part cannot be read. The rest
// of it counts.
const CodePartlyTaken = "partly_taken"

// ParsePhone reads one phone number as a file's are read: to E.164, with a
// country for a number in national form. The error says what is wrong with it
// and does not repeat it.
func ParsePhone(text, country string) (e164 string, err error) {
	n, err := newNumbers()
	if err != nil {
		return "", err
	}
	e164, _, refused := n.parse(strings.TrimSpace(text), country)
	if refused == nil && n.holdsSeveral(text, country) {
		return "", campaign.Errorf(campaign.CodeInvalid, "these are several phone numbers: give one at a time")
	}
	if refused != nil {
		return "", campaign.Errorf(campaign.CodeInvalid, "%s", refused.reason)
	}
	return e164, nil
}

// OptOuts are the entries of the suppression list that a row of a file of
// opt-outs stands for.
func OptOuts(c *campaign.Contact) []campaign.OptOut {
	var all []campaign.OptOut
	for _, e164 := range strings.Fields(c.Phone) { // fillOptOut puts all of them there
		all = append(all, campaign.NewOptOutPhone(e164))
	}
	for _, email := range strings.Fields(c.Email) {
		if o, err := campaign.NewOptOutEmail(email); err == nil {
			all = append(all, o)
		}
	}
	if o, err := campaign.NewOptOutAddress(c.Address); err == nil {
		all = append(all, o)
	}
	return all
}

// appendOptOutKey appends what tells a row of opt-outs from every other.
func appendOptOutKey(b []byte, c *campaign.Contact) []byte {
	for _, o := range OptOuts(c) {
		b = append(append(append(b, byte(o.Kind)), o.Key...), '\x1f')
	}
	return b
}

// withoutHeader reports whether the first row of a file of opt-outs is its first
// opt-out: a number or an e-mail address, in the only column.
func withoutHeader(first []string) bool {
	if len(first) != 1 {
		return false
	}
	text := strings.TrimSpace(first[0])
	emails, _ := campaign.EmailsIn(text)
	return len(emails) > 0 || countDigits(text) >= fewestDigits && strings.Trim(text, "0123456789+-() ./'") == ""
}

// bareColumn is the mapping of a file that is one column of numbers, e-mail
// addresses or both, without a header.
func bareColumn() *mapping {
	m := newMapping(0, 1)
	m.at[rolePhone] = 0
	return m
}

// fillOptOut reads a row of opt-outs into a contact, or says why it cannot. The
// note is what is wrong with a row of which a part counts.
func (rc *rowChecker) fillOptOut(k *campaign.Contact, row []string) (reject, note *Reject) {
	m := rc.mapping
	if len(row) > m.width && !blank(row[m.width:]) {
		return &Reject{Line: k.Line, Code: CodeTooManyCells, Reason: "the row has more cells than the header: put quotes around a cell that holds the character between cells"}, nil
	}
	country, understood := rc.o.Country, true
	inColumn := cell(row, m.at[roleCountry])
	if inColumn != "" {
		country, understood = rc.places.inColumn(inColumn)
	}
	k.Country = country

	var wrong *Reject
	var phones, emails []string
	addEmails := func(text string, column int) {
		found, _ := campaign.EmailsIn(text)
		if len(found) == 0 {
			wrong = &Reject{Line: k.Line, Column: rc.headerOf(column), Code: CodeNotAnEmail, Reason: notAnEmail, Value: text}
		}
		emails = appendNew(emails, found...)
	}
	if text := cell(row, m.at[roleEmail]); text != "" {
		addEmails(text, m.at[roleEmail])
	}
	for _, column := range append([]int{m.at[rolePhone]}, rc.spare...) {
		text := cell(row, column)
		if text == "" {
			continue
		}
		if strings.Contains(text, "@") {
			addEmails(text, column)
			continue
		}
		found, err := rc.numbers.all(text, country)
		if err == errWords { // whoever wrote STOP must not be written to
			if others, refused := rc.numbers.all(withoutWords(text), country); refused == nil {
				found, err = appendNew(found, others...), nil
			}
		}
		phones = appendNew(phones, found...)
		switch {
		case err == nil:
		case err == errNational && !understood:
			return &Reject{Line: k.Line, Column: m.title[roleCountry], Code: CodeUnknownCountry, Value: inColumn,
				Reason: "the number is in national form, and the country is not understood: write its code of two letters, such as AU"}, nil
		default:
			wrong = &Reject{Line: k.Line, Column: rc.headerOf(column), Code: err.code, Reason: err.reason, Value: text}
			if err == errNational {
				return wrong, nil // the file as a whole is refused for it
			}
		}
	}
	// A second e-mail column is a further column.
	for i, name := range m.columns.Names() {
		if text := cell(row, m.fields[i]); strings.Contains(text, "@") && name != "source" && name != "reason" {
			if found, alone := campaign.EmailsIn(text); alone {
				emails = appendNew(emails, found...)
			}
		}
	}
	// Neither has white space in it: OptOuts takes them apart again.
	k.Phone, k.Email = strings.Join(phones, " "), strings.Join(emails, " ")
	k.FirstName, k.LastName = cell(row, m.at[roleFirstName]), cell(row, m.at[roleLastName])
	k.Country = country // of the address: a number says its own
	rc.fillAddress(k, row, cell(row, m.at[roleFullName]))
	if k.Address.Line1 != "" {
		if _, err := campaign.NewOptOutAddress(k.Address); err != nil {
			k.Address = campaign.Address{}
			wrong = &Reject{Line: k.Line, Column: m.title[roleLine1], Code: CodeNoDestination, Reason: err.Error()}
		}
	} else {
		k.Address = campaign.Address{}
	}
	switch {
	case k.Phone == "" && k.Email == "" && k.Address == (campaign.Address{}):
		if wrong == nil {
			wrong = &Reject{Line: k.Line, Code: CodeNoDestination, Reason: "the row has no phone number, no e-mail address and no street address: fill in one of them"}
		}
		return wrong, nil
	case wrong != nil:
		wrong.Code, wrong.Reason = CodePartlyTaken, "the rest of the row was taken; "+wrong.Reason
	}
	return nil, wrong
}

const notAnEmail = "this is not an e-mail address: write it like ann@example.com"

// headerOf is what the header calls a column of numbers or e-mail addresses;
// empty for a further one.
func (rc *rowChecker) headerOf(column int) string {
	for _, r := range []role{rolePhone, roleEmail} {
		if rc.mapping.at[r] == column {
			return rc.mapping.title[r]
		}
	}
	return ""
}

func appendNew(all []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// all returns every number in a text in E.164. The error is that of a part that
// is none.
func (n *numbers) all(text, country string) (e164 []string, wrong *numberError) {
	parts := []string{text}
	if plain := unwrap(plainCharacters(text)); n.holdsSeveral(text, country) {
		if _, changed, err := numberInCell(plain); !changed && err == nil {
			parts, _ = numbersIn(plain)
		}
	}
	for _, part := range parts {
		number, _, err := n.parse(unwrap(part), country)
		if err != nil {
			wrong = err
			continue
		}
		e164 = append(e164, number)
	}
	return e164, wrong
}

package importer

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/gosimple/unidecode"
	"golang.org/x/text/unicode/norm"

	"github.com/postrider/postrider/campaign"
)

// Column says what became of a column of a file.
type Column struct {
	Number  int    `json:"number"`            // from 1
	Header  string `json:"header"`            // as the file spells it; empty in a file without a header
	Meaning string `json:"meaning,omitempty"` // phone, first name, ...; empty: a further column
	Field   string `json:"field,omitempty"`   // under which templates find it; empty: it is not stored
}

// mapping says what each column of a file holds.
type mapping struct {
	width     int               // columns of the header
	line      int               // of the header; 0: the file has none
	at        [roles]int        // column of a role; -1 when there is none
	title     [roles]string     // the header of a role as the file spells it, or #3 for the third column
	fields    []int             // the further columns
	columns   *campaign.Columns // and their names, under which templates find them
	fieldName []string          // of every column: of the further ones that name, of the assigned ones the name they got
	dropped   []bool            // columns that are not read
	named     []bool            // columns that --map named, other than by their number
	spare     []int             // further columns that hold phone numbers too, the better first
	purpose   purpose
	known     int // columns whose header name is known, or was named by --map

	lastFirst   bool // full names are written with the last name first
	numberFirst bool // a house number goes before its street
	wholeName   bool // the column of full names is surely that: Full Name, and not Name or Contact
}

func newMapping(line, width int) *mapping {
	m := &mapping{line: line, width: width, fieldName: make([]string, width), dropped: make([]bool, width), named: make([]bool, width)}
	for r := range m.at {
		m.at[r] = -1
	}
	return m
}

// mapHeader understands the header row. A header without a phone number and
// without an address is a *FileError, and so is one without a column that was
// assigned; for opt-outs an e-mail address will do, and an update needs neither.
// The rows below it tell a house number called Number from a phone number.
func mapHeader(file string, line int, header []string, assigned []assignment, why purpose, below ...[]string) (*mapping, error) {
	words, err := newLexicon()
	if err != nil {
		return nil, err
	}
	m := newMapping(line, len(header))
	m.purpose = why
	means, known := words.meansAll(header)
	if isOwnExport(header) {
		for i, h := range header {
			means[i], known[i] = ownSpelling(h)
		}
	}
	if problem := m.assign(header, assigned, means, known); problem != "" {
		return nil, &FileError{Name: file, Line: line, Problem: problem}
	}
	for i := range header {
		if known[i] || m.named[i] {
			m.known++
		}
	}
	m.recognise(header, means, known, below)
	if !m.hasDestination() {
		return nil, &FileError{Name: file, Line: line, Problem: unusable(header)}
	}
	m.nameFields(header)
	return m, nil
}

// purpose is what the rows of a file are.
type purpose int

const (
	newContacts purpose = iota
	changedContacts
	optOuts
)

func (o *Options) purpose() purpose {
	switch {
	case o.OptOuts:
		return optOuts
	case o.Key != "":
		return changedContacts
	}
	return newContacts
}

// hasDestination reports whether the columns are enough for what the rows are:
// whether something can be sent to the contacts.
func (m *mapping) hasDestination() bool {
	return m.purpose == changedContacts || m.at[rolePhone] >= 0 || m.purpose == optOuts && m.at[roleEmail] >= 0 ||
		m.at[roleLine1] >= 0 && m.at[rolePostalCode] >= 0
}

// give says that a column holds a role.
func (m *mapping) give(r role, column int, header []string) {
	m.at[r] = column
	if m.title[r] = fmt.Sprintf("#%d", column+1); m.line > 0 {
		m.title[r] = strings.TrimSpace(header[column])
	}
}

// taken reports whether it is decided what a column holds.
func (m *mapping) taken(column int) bool {
	if m.dropped[column] || m.fieldName[column] != "" {
		return true
	}
	for _, i := range m.at {
		if i == column {
			return true
		}
	}
	return false
}

// recognise finds the columns of the roles that were not assigned, by their
// header names.
func (m *mapping) recognise(header []string, means []spelling, known []bool, below [][]string) {
	// pick is the best free column of a role among those that also suit.
	pick := func(r role, suits func(s spelling) bool) int {
		best := -1
		for i, s := range means {
			if known[i] && s.role == r && !m.taken(i) && suits(s) && (best < 0 || s.better(means[best])) {
				best = i
			}
		}
		return best
	}
	take := func(r role, suits func(s spelling) bool) {
		if m.at[r] >= 0 {
			return
		}
		if i := pick(r, suits); i >= 0 {
			m.give(r, i, header)
		}
	}
	anyone := func(spelling) bool { return true }

	// The parts of an address are taken of one address, never the street of
	// one with the city of another.
	take(roleLine1, anyone)
	ofOne, whose := anyone, ""
	if i := m.at[roleLine1]; i >= 0 {
		if known[i] && means[i].role == roleLine1 {
			whose = means[i].whose
		}
		ofOne = func(s spelling) bool {
			return s.whose == whose || s.whose == "" || whose == "" && s.whoseRank == 1
		}
	}
	numberColumn := m.numberOfHouse(header, means, known, below)
	if numberColumn >= 0 {
		m.give(roleHouseNumber, numberColumn, header)
	}
	for r := range roles {
		switch {
		case r == roleHouseNumber && m.at[roleLine1] < 0:
		case r.ofAddress():
			take(r, ofOne)
		case r != roleFullName && r != roleAddressName:
			take(r, anyone)
		}
	}
	if i := m.at[roleHouseNumber]; i >= 0 {
		m.numberFirst = known[i] && means[i].number1st || i == numberColumn && fold(header[i]) != "nr"
	}

	if i := m.at[roleCountry]; i >= 0 && m.at[roleState] < 0 {
		// Kraj is a region in Czech, where Stát is the country.
		if j := pick(roleCountry, func(s spelling) bool { return s.orState }); j >= 0 {
			m.give(roleState, j, header)
		}
	}
	m.recogniseName(header, means, known, pick(roleSomeName, anyone))
	take(roleFullName, anyone)
	take(roleAddressName, anyone)
	if whose != "" {
		take(roleAddressName, func(s spelling) bool { return s.whose == whose })
		if m.at[roleAddressName] < 0 {
			if i := pick(roleFullName, func(s spelling) bool { return s.whose == whose }); i >= 0 {
				m.give(roleAddressName, i, header) // Shipping Name, beside a Name
			}
		}
	}
	if i := m.at[roleFullName]; i >= 0 {
		m.lastFirst = known[i] && means[i].lastFirst
		m.wholeName = !known[i] || means[i].role == roleFullName && means[i].rank == 1
	}
	for i, s := range means {
		if known[i] && s.role == rolePhone && !m.taken(i) {
			m.spare = append(m.spare, i)
		}
	}
	slices.SortStableFunc(m.spare, func(a, b int) int {
		switch {
		case means[a].better(means[b]):
			return -1
		case means[b].better(means[a]):
			return 1
		}
		return 0
	})
}

// numberOfHouse is a column called Number or No. that holds the numbers of the
// houses: beside a column of streets that have none, and without phone numbers
// in it; else -1.
func (m *mapping) numberOfHouse(header []string, means []spelling, known []bool, below [][]string) int {
	street := m.at[roleLine1]
	if street < 0 || m.at[roleHouseNumber] >= 0 || !known[street] || means[street].role != roleLine1 {
		return -1
	}
	column, otherPhone := -1, false
	for i, h := range header {
		switch name := fold(h); {
		case known[i] && means[i].role == roleHouseNumber:
			return -1
		case m.taken(i):
		case column < 0 && (name == "number" || name == "no" || name == "nr"):
			column = i
		}
		otherPhone = otherPhone || i != column && (i == m.at[rolePhone] || known[i] && means[i].role == rolePhone)
	}
	if column < 0 {
		return -1
	}
	streets, bare, numbers := 0, 0, 0
	for _, row := range below {
		if text := cell(row, street); text != "" {
			streets++
			if countDigits(text) == 0 {
				bare++
			}
		}
		if text := cell(row, column); text != "" {
			if looksLikeNumber(text) {
				return -1
			}
			numbers++
		}
	}
	if 2*bare > streets && numbers > 0 || len(below) == 0 && otherPhone && fold(header[column]) == "number" {
		return column
	}
	return -1
}

// recogniseName finds out what a column called Name holds: beside a Surname it
// is the first name, beside a Vorname the last, else both.
func (m *mapping) recogniseName(header []string, means []spelling, known []bool, column int) {
	if column < 0 {
		return
	}
	first, last := m.at[roleFirstName], m.at[roleLastName]
	switch {
	case first < 0 && last >= 0:
		m.give(roleFirstName, column, header)
	case first >= 0 && last < 0 && known[first] && !means[first].english:
		m.give(roleLastName, column, header)
	case m.at[roleFullName] < 0:
		// Full Name is better, where there is one.
		for i, s := range means {
			if known[i] && s.role == roleFullName && !m.taken(i) && (s.better(means[column]) || !means[column].better(s) && i < column) {
				return
			}
		}
		m.give(roleFullName, column, header)
	}
}

// nameFields gives every column without a role a name of its own.
func (m *mapping) nameFields(header []string) {
	used := map[string]bool{}
	for _, name := range m.fieldName {
		if name != "" {
			used[name] = true
		}
	}
	suffix := map[string]int{} // the last that was tried for a name
	var names []string
	for i := range m.width {
		if m.taken(i) && m.fieldName[i] == "" {
			continue
		}
		if m.fieldName[i] == "" {
			h := ""
			if m.line > 0 {
				h = header[i]
			}
			base := safeName(h, i)
			name := base
			for used[name] || builtIn(name) {
				suffix[base] = max(2, suffix[base]+1)
				name = fmt.Sprintf("%s_%d", base, suffix[base])
			}
			used[name] = true
			m.fieldName[i] = name
		}
		names = append(names, m.fieldName[i])
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

// all says of every column what became of it.
func (m *mapping) all(header []string) []Column {
	all := make([]Column, m.width)
	for i := range all {
		all[i] = Column{Number: i + 1, Field: m.fieldName[i]}
		if m.line > 0 {
			all[i].Header = strings.TrimSpace(header[i])
		}
	}
	for r, i := range m.at {
		if i >= 0 {
			all[i].Meaning, all[i].Field = role(r).String(), roleNames[r].field
		}
	}
	return all
}

// isOwnExport reports whether a list was exported by Postrider. Its columns
// mean what they are called: a mobile_phone beside its phone is a further
// column, and not the better number.
func isOwnExport(header []string) bool {
	if len(header) < len(exportedRoles) {
		return false
	}
	for i, r := range exportedRoles {
		if strings.TrimSpace(header[i]) != roleNames[r].field {
			return false
		}
	}
	return true
}

func ownSpelling(header string) (spelling, bool) {
	for _, r := range exportedRoles {
		if strings.TrimSpace(header) == roleNames[r].field {
			return spelling{role: r, rank: 1}, true
		}
	}
	return spelling{}, false
}

// repeatable reports whether a first row may stand in an error: one of its
// cells is the name of a column, and it does not look like a contact. Errors end
// up in logs, and a row of which nothing is known may be a person's.
func repeatable(header []string) bool {
	words, err := newLexicon()
	return err == nil && words.anyKnown(header) && !looksLikeContact(header) && !hasPostcode(header)
}

// unusable says what is wrong with a header that has no destination.
func unusable(header []string) string {
	if looksLikeContact(header) {
		return "the first line looks like a contact and not like a header: say --header no, or put a line above it that names the columns, such as phone,first_name,last_name"
	}
	if !repeatable(header) {
		return fmt.Sprintf("no column holds a phone number or an address: of the %d cells of the first line none is a known name of a column; name a column phone, or columns name, address_line_1, city, postcode and country, or say which column it is, such as --map phone=#1 (a first line that is already a contact: --header no)",
			len(header))
	}
	return fmt.Sprintf("no column holds a phone number or an address: the header is %s; name a column phone, or columns name, address_line_1, city, postcode and country, or say which column it is, such as --map phone=%s (a first line that is already a contact: --header no)",
		quoted(header), quotedForMap(header))
}

// quotedForMap is a header name as one types it after --map phone=.
func quotedForMap(header []string) string {
	for _, h := range header {
		if h = strings.TrimSpace(h); h != "" && len(h) <= 40 {
			return fmt.Sprintf("%q", h)
		}
	}
	return "#1"
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

// longestName is how many bytes a field name has before a number that keeps it
// apart.
const longestName = 60

// safeName is a header as templates can name it: lower-case letters, digits
// and underscores, beginning with a letter. Other scripts are written in Latin
// letters, without accents; what is left without a letter is named after its
// place, from 1.
func safeName(header string, column int) string {
	if len(header) > 1000 {
		header = strings.ToValidUTF8(header[:1000], "")
	}
	var b strings.Builder
	gap := false
	for _, r := range unidecode.Unidecode(norm.NFKC.String(header)) {
		r = unicode.ToLower(r)
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			gap = gap || r != '\''
			continue
		}
		if gap && b.Len() > 0 {
			b.WriteByte('_')
		}
		gap = false
		if b.WriteRune(r); b.Len() >= longestName {
			break
		}
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

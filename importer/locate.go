package importer

import (
	"errors"
	"fmt"
	"io"
	"net/mail"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"

	"github.com/postrider/postrider/campaign"
)

// HeaderMode says whether a file has a line that names its columns.
type HeaderMode int

const (
	HeaderAuto HeaderMode = iota // found out
	HeaderYes                    // it has
	HeaderNo                     // its first row is a contact
)

// ParseHeaderMode understands auto, yes and no; empty is auto.
func ParseHeaderMode(s string) (HeaderMode, error) {
	switch s {
	case "", "auto":
		return HeaderAuto, nil
	case "yes":
		return HeaderYes, nil
	case "no":
		return HeaderNo, nil
	}
	return HeaderAuto, campaign.Errorf(campaign.CodeInvalid, "%q is neither auto, yes nor no: does the file have a line that names its columns?", s)
}

// What is looked at to find the header, and where there is none, to find out
// what the columns hold.
const (
	headerWithin = 10        // rows in which the header is looked for
	titleCells   = 2         // cells that a row above it has at most
	guessRows    = 50        // rows
	guessBytes   = 256 << 10 // and bytes of them
)

// firstRow is a row that was read ahead.
type firstRow struct {
	cells []string
	line  int
}

// ahead holds the rows that were read to understand the file, until they are
// read as contacts.
type ahead struct {
	rows  []firstRow
	bytes int
	ended error // what came after them
}

// peek returns the row that comes i rows later.
func (im *run) peek(i int) (firstRow, bool) {
	for a := &im.ahead; len(a.rows) <= i; {
		if a.ended != nil || a.bytes > guessBytes {
			return firstRow{}, false
		}
		cells, line, err := im.reader.read()
		if err != nil {
			a.ended = err
			return firstRow{}, false
		}
		a.rows = append(a.rows, firstRow{append([]string(nil), cells...), line})
		for _, c := range cells {
			a.bytes += len(c)
		}
	}
	return im.ahead.rows[i], true
}

// next returns the next row: first those that were read ahead.
func (im *run) next() (row []string, line int, err error) {
	a := &im.ahead
	if len(a.rows) > 0 {
		first := a.rows[0]
		a.rows[0] = firstRow{}
		a.rows = a.rows[1:]
		return first.cells, first.line, nil
	}
	if a.ended != nil {
		return nil, 0, a.ended
	}
	return im.reader.read()
}

// understand finds the header, or what the columns hold where there is none.
func (im *run) understand() error {
	assigned, err := readAssignments(im.o.Map)
	if err != nil {
		return err
	}
	words, err := newLexicon()
	if err != nil {
		return err
	}
	first, ok := im.peek(0)
	switch {
	case !ok && errors.Is(im.ahead.ended, io.EOF):
		return &FileError{Name: im.o.Name, Problem: emptyFile}
	case !ok:
		return im.ahead.ended
	}
	if err := im.checkHead(first); err != nil {
		return err
	}
	if im.o.OptOuts && withoutHeader(first.cells) {
		im.mapping = bareColumn()
		return nil
	}
	if im.o.Header == HeaderNo {
		return im.withoutHeader(assigned)
	}
	if im.o.Header == HeaderAuto && len(assigned) > 0 && allByNumber(assigned) && !words.anyKnown(first.cells) &&
		(looksLikeContact(first.cells) || hasPostcode(first.cells)) {
		return im.withoutHeader(assigned)
	}
	var wrong error
	most := 0 // cells that a row had above
	for i := range headerWithin {
		row, ok := im.peek(i)
		if !ok || im.checkHead(row) != nil || most > titleCells {
			break
		}
		if im.o.Header == HeaderAuto && looksLikeContact(row.cells) && im.likeBelow(words, i) != headerBelow {
			break
		}
		m, err := mapHeader(im.o.Name, row.line, row.cells, assigned, im.o.purpose(), im.rowsBelow(i)...)
		if i == 0 {
			wrong = err
		}
		n := filled(row.cells)
		if err == nil && (i == 0 || n > most || m.known == n) {
			if m.known == 0 && im.o.Header == HeaderAuto && (im.o.Key == "" || m.columns.Index(im.o.Key) < 0) {
				// All that speaks for a header is --map with numbers of columns.
				return &FileError{Name: im.o.Name, Line: row.line, Problem: "nothing tells whether this line names the columns: say --header yes, or --header no when it is a contact"}
			}
			im.mapping, im.header = m, row.cells
			im.sum.AboveHeader = i
			im.ahead.rows = im.ahead.rows[i+1:]
			return nil
		}
		most = max(most, n)
	}
	if im.o.Header == HeaderAuto && looksLikeContact(first.cells) {
		if im.likeBelow(words, 0) == contactBelow {
			return im.withoutHeader(assigned)
		}
		for i, cell := range first.cells {
			if _, known := words.means(cell); known {
				return &FileError{Name: im.o.Name, Line: first.line, Problem: fmt.Sprintf(
					"this line looks like a contact, and yet its cell %d is the name of a column: say --header yes when it names the columns, and --header no when it is a contact", i+1)}
			}
		}
		return im.withoutHeader(assigned)
	}
	if wrong == nil { // --header yes, and the first row is the header: it was taken above
		wrong = &FileError{Name: im.o.Name, Line: first.line, Problem: unusable(first.cells)}
	}
	return wrong
}

// mostBelow is how many rows below a header are looked at to understand it.
const mostBelow = 20

// rowsBelow are the rows that come after row i, as far as they are looked at.
func (im *run) rowsBelow(i int) [][]string {
	var rows [][]string
	for j := i + 1; j <= i+mostBelow; j++ {
		row, ok := im.peek(j)
		if !ok {
			break
		}
		rows = append(rows, row.cells)
	}
	return rows
}

// What the rows below say of a row that looks like a contact and has the name of
// a column in it.
type below int

const (
	nothingBelow below = iota
	contactBelow       // numbers and e-mail addresses stand in its columns further down too: it is a contact
	headerBelow        // they do not, but stand under its names
)

// likeBelow compares row i with those below. Bob, Land, 0412 345 678 is a contact
// among such; Name, Mobile, 20240101 is a header above Ann, 0412 345 678, 12.
func (im *run) likeBelow(words *lexicon, i int) below {
	row, ok := im.peek(i)
	if !ok {
		return nothingBelow
	}
	means, known := words.meansAll(row.cells)
	like, under := 0, 0 // rows with numbers under its numbers, and under its names
	for _, other := range im.rowsBelow(i) {
		alike, named := false, false
		for c, text := range row.cells {
			if !looksLikeContact([]string{cell(other, c)}) {
				continue
			}
			switch {
			case looksLikeContact([]string{text}):
				alike = true
			case known[c] && (means[c].role == rolePhone || means[c].role == roleEmail):
				named = true
			}
		}
		if alike {
			like++
		}
		if named {
			under++
		}
	}
	switch {
	case like > 0 && under == 0:
		return contactBelow
	case under > 0 && like == 0:
		return headerBelow
	}
	return nothingBelow
}

// checkHead refuses a row that cannot be the head of a file.
func (im *run) checkHead(row firstRow) error {
	switch {
	case len(row.cells) > im.o.MaxColumns:
		return &FileError{Name: im.o.Name, Line: row.line, Problem: fmt.Sprintf("the header has %d columns, and at most %d are read: remove those that are not needed", len(row.cells), im.o.MaxColumns)}
	case !isText(row.cells):
		return &FileError{Name: im.o.Name, Line: row.line, Problem: notText}
	}
	return nil
}

// withoutHeader finds out from the first rows what the columns hold.
func (im *run) withoutHeader(assigned []assignment) error {
	rows, width := [][]string(nil), 0
	for i := range guessRows {
		row, ok := im.peek(i)
		if !ok {
			break
		}
		if err := im.checkHead(row); err != nil {
			return err
		}
		rows = append(rows, row.cells)
		width = max(width, len(row.cells))
	}
	for width > 1 && emptyColumn(rows, width-1) {
		width-- // delimiters at the end of every row
	}
	m := newMapping(0, width)
	m.purpose = im.o.purpose()
	if problem := m.assign(nil, assigned, nil, nil); problem != "" {
		return &FileError{Name: im.o.Name, Line: im.ahead.rows[0].line, Problem: problem}
	}
	if problem := m.guess(rows, im.o.Country); problem != "" {
		return &FileError{Name: im.o.Name, Problem: problem}
	}
	m.nameFields(nil)
	im.mapping = m
	return nil
}

func emptyColumn(rows [][]string, column int) bool {
	for _, row := range rows {
		if cell(row, column) != "" {
			return false
		}
	}
	return true
}

// guess finds the columns of numbers, e-mail addresses and countries by what
// they hold, and returns what is wrong with them. Names and addresses are not
// guessed: they are further columns unless they are assigned.
func (m *mapping) guess(rows [][]string, country string) (problem string) {
	country1st := m.at[roleCountry]
	if m.at[rolePhone] < 0 {
		best, other := -1, -1
		var bestSeen seenNumbers
		for i := range m.width {
			seen := m.numbersOf(rows, i, country, country1st)
			if m.taken(i) || seen.numbers == 0 || seen.numbers*10 < seen.filled*6 {
				continue
			}
			switch {
			case best < 0 || seen.betterThan(bestSeen):
				best, other, bestSeen = i, -1, seen
			case !bestSeen.betterThan(seen):
				other = i
			}
		}
		if other >= 0 && m.purpose != optOuts {
			return fmt.Sprintf("the file has no header, its columns %d and %d both hold phone numbers, and nothing tells which are to be used: say it with --map phone=#%d or --map phone=#%d",
				best+1, other+1, best+1, other+1)
		}
		if best >= 0 {
			m.give(rolePhone, best, nil)
		}
		if m.purpose == optOuts {
			m.spareNumbers(rows, country, country1st)
		}
	}
	if m.at[roleEmail] < 0 {
		best, most := -1, 0
		for i := range m.width {
			n, all := 0, 0
			for _, row := range rows {
				if c := cell(row, i); c != "" {
					all++
					if isEmail(c) {
						n++
					}
				}
			}
			if !m.taken(i) && n > most && n*10 >= all*6 {
				best, most = i, n
			}
		}
		if best >= 0 {
			m.give(roleEmail, best, nil)
		}
	}
	if m.at[roleCountry] < 0 && m.at[rolePhone] >= 0 {
		for i := range m.width {
			if !m.taken(i) && m.isCountryOfNumbers(rows, i) {
				m.give(roleCountry, i, nil)
				break
			}
		}
	}
	if !m.hasDestination() {
		hint := ""
		if country == "" {
			hint = "; numbers in national form need --country, such as --country AU"
		}
		return fmt.Sprintf("the file has no header, and no column of its first %d rows holds phone numbers%s: say what its %d columns are, such as --map phone=#1, or --map name=#1 --map address_line_1=#2 --map address_city=#3 --map address_postal_code=#4",
			len(rows), hint, m.width)
	}
	return ""
}

// spareNumbers finds the further columns of numbers: of opt-outs all count.
func (m *mapping) spareNumbers(rows [][]string, country string, countries int) {
	for i := range m.width {
		if seen := m.numbersOf(rows, i, country, countries); !m.taken(i) && seen.valid > 0 && seen.valid*10 >= seen.filled*6 {
			m.spare = append(m.spare, i)
		}
	}
}

// seenNumbers is what a column was seen to hold.
type seenNumbers struct{ filled, numbers, valid, mobile int }

// betterThan reports whether a column is surely the better one to write to:
// most of its numbers exist and most of the other's do not, or most are mobiles
// and most of the other's are not.
func (s seenNumbers) betterThan(o seenNumbers) bool {
	most := func(n, of int) bool { return 2*n > of }
	if a, b := most(s.valid, s.filled), most(o.valid, o.filled); a != b {
		return a
	}
	return most(s.mobile, s.filled) && !most(o.mobile, o.filled)
}

// numbersOf looks for numbers in a column: in international form, in that of
// the country, or of the row's country where a column of countries is known.
func (m *mapping) numbersOf(rows [][]string, column int, country string, countries int) seenNumbers {
	var seen seenNumbers
	places := newCountries()
	for _, row := range rows {
		text := cell(row, column)
		if text == "" {
			continue
		}
		seen.filled++
		from := []string{country}
		if code, ok := places.code(cell(row, countries)); ok {
			from = []string{code}
		} else if country == "" {
			for i := range row { // a country that stands in the row, in a column not known yet
				if code, ok := places.code(cell(row, i)); ok {
					from = append(from, code)
				}
			}
		}
		if !looksLikeNumber(text) {
			continue
		}
		seen.numbers++
		for _, c := range from {
			n, err := phonenumbers.Parse(text, orUnknown(c))
			if err != nil || !phonenumbers.IsValidNumber(n) {
				continue
			}
			seen.valid++
			if t := phonenumbers.GetNumberType(n); t == phonenumbers.MOBILE || t == phonenumbers.FIXED_LINE_OR_MOBILE {
				seen.mobile++
			}
			break
		}
	}
	return seen
}

// isCountryOfNumbers reports whether a column holds the countries of the
// numbers beside it. (A column of states may look like one: CA is California,
// and Canada.)
func (m *mapping) isCountryOfNumbers(rows [][]string, column int) bool {
	filled, right := 0, 0
	for _, row := range rows {
		text, number := cell(row, column), cell(row, m.at[rolePhone])
		if text == "" || number == "" {
			continue
		}
		filled++
		code, ok := newCountries().code(text)
		if !ok {
			continue
		}
		n, err := phonenumbers.Parse(number, code)
		if err == nil && phonenumbers.IsValidNumber(n) && phonenumbers.GetRegionCodeForNumber(n) == code {
			right++
		}
	}
	return filled > 0 && right*10 >= filled*9
}

func orUnknown(country string) string {
	if country == "" {
		return phonenumbers.UNKNOWN_REGION
	}
	return country
}

// looksLikeContact reports whether a row holds a phone number or an e-mail
// address: then it is no header.
func looksLikeContact(row []string) bool {
	for _, c := range row {
		if c = strings.TrimSpace(c); isEmail(c) || looksLikeNumber(c) {
			return true
		}
	}
	return false
}

func isEmail(text string) bool {
	at := strings.IndexByte(text, '@')
	if at <= 0 || len(text) > 254 || strings.ContainsAny(text, " \t\n<>") {
		return false
	}
	a, err := mail.ParseAddress(text)
	return err == nil && a.Address == text && strings.Contains(text[at:], ".")
}

// numberDigits is how many digits a text has that looks like a phone number.
const numberDigits = 7

var (
	numberText = regexp.MustCompile(`^['’]?[+＋]?[-0-9０-９\s().·/–]+$`)
	bigNumber  = regexp.MustCompile(`^[0-9][.,][0-9]+[eE]\+?[0-9]{1,2}$`) // as spreadsheets show it
	dateText   = regexp.MustCompile(`^([0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4})([ T].*)?$`)
)

func looksLikeNumber(text string) bool {
	if len(text) > maxText || bigNumber.MatchString(text) {
		return len(text) <= maxText
	}
	n := countDigits(text)
	return n >= numberDigits && n <= maxDigits && numberText.MatchString(text) && !dateText.MatchString(text)
}

var postcodeText = regexp.MustCompile(`^([0-9]{4,6}|[0-9]{5}-[0-9]{3,4}|[0-9]{3} ?[0-9]{2}|[0-9]{2}-[0-9]{3}|[A-Za-z]{1,2}[0-9][0-9A-Za-z]? ?[0-9][A-Za-z]{2}|[A-Za-z][0-9][A-Za-z] ?[0-9][A-Za-z][0-9]|[0-9]{4} ?[A-Za-z]{2})$`)

// hasPostcode reports whether a cell looks like a postcode.
func hasPostcode(row []string) bool {
	for _, c := range row {
		if c = strings.TrimSpace(c); utf8.RuneCountInString(c) <= 10 && postcodeText.MatchString(c) {
			return true
		}
	}
	return false
}

func filled(row []string) int {
	n := 0
	for _, c := range row {
		if strings.TrimSpace(c) != "" {
			n++
		}
	}
	return n
}

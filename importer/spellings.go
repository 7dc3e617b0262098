package importer

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/gocarina/gocsv"
	"golang.org/x/text/unicode/norm"
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
	roleHouseNumber // stands apart from its street
	roleLine2
	roleCity
	roleState
	rolePostalCode
	roleCountry
	roles // how many there are

	// Three more stand in the table of spellings only.
	roleSomeName // a name, of which the other columns say whether it is the first, the last or both
	roleWhose    // words around a name, such as those of Billing City
	roleNote     // words in brackets that say how a column is filled in, such as (required)
)

// names of the roles: how Summary calls one, and how templates, --map and the
// table of spellings do.
var roleNames = [...]struct{ title, field string }{
	rolePhone:       {"phone", "phone"},
	roleEmail:       {"email", "email"},
	roleFirstName:   {"first name", "first_name"},
	roleLastName:    {"last name", "last_name"},
	roleFullName:    {"full name", "name"},
	roleReference:   {"reference", "reference"},
	roleAddressName: {"address name", "address_name"},
	roleLine1:       {"address line 1", "address_line_1"},
	roleHouseNumber: {"house number", "address_house_number"},
	roleLine2:       {"address line 2", "address_line_2"},
	roleCity:        {"city", "address_city"},
	roleState:       {"state", "address_state"},
	rolePostalCode:  {"postal code", "address_postal_code"},
	roleCountry:     {"country", "country"},
	roleSomeName:    {"", "some_name"},
	roleWhose:       {"", "whose"},
	roleNote:        {"", "note"},
}

func (r role) String() string { return roleNames[r].title }

// ofAddress reports whether the role is a part of an address, whose parts must
// come of one address.
func (r role) ofAddress() bool { return r >= roleLine1 && r <= roleCountry }

// ofName reports whether the role is a person's name, or a part of it.
func (r role) ofName() bool {
	return r == roleFirstName || r == roleLastName || r == roleFullName || r == roleSomeName
}

// spellingsTable lists the names of columns, as spreadsheets and programs
// export them in many languages. A row holds those of one role and rank; of two
// columns for a role the one of the lower rank is taken, then the first. Names
// of rank 3 are taken only as they stand, the others also with words around
// them that say whose they are (role whose): Billing City, Phone (home). The
// rank of those words is which of several addresses, and which of several
// numbers, is taken first. Via, Ad and other words that are English as well stand
// in rows "among its own": spelling.amongOwn. A fax number is in no row.
//
//go:embed spellings.tsv
var spellingsTable string

// spellingsRow is a row of the table.
type spellingsRow struct {
	Role      string `csv:"role"`
	Rank      int    `csv:"rank"`
	Language  string `csv:"language"`
	Spellings string `csv:"spellings"` // with " | " between them
}

func readSpellings() ([]spellingsRow, error) {
	in := csv.NewReader(strings.NewReader(spellingsTable))
	in.Comma, in.LazyQuotes = '\t', true
	var rows []spellingsRow
	if err := gocsv.UnmarshalCSV(in, &rows); err != nil {
		return nil, fmt.Errorf("reading the table of header names: %w", err)
	}
	return rows, nil
}

// spelling is what a header name means.
type spelling struct {
	role      role
	rank      int
	whoseRank int    // of the words around it; 0: there are none
	whose     string // these words, folded, without "address" at their end
	english   bool
	lastFirst bool // a full name, or a name, is written with the last name first
	number1st bool // a house number is written before its street

	// An English word too, or an abbreviation of many things: what it means in
	// its languages it means only beside another header name of one of them.
	amongOwn  bool
	orState   bool     // of a country: a state where another column has the country
	languages []string // in which it means that; of a name without words around it
}

// better reports whether a column so called is taken before the other.
func (s spelling) better(other spelling) bool {
	if s.rank != other.rank {
		return s.rank < other.rank
	}
	return s.whoseRank < other.whoseRank
}

// lexicon is all header names that are known, folded.
type lexicon struct {
	names map[string]spelling
	whose map[string]int // rank
	notes map[string]bool
}

// newLexicon is made once for the process.
var newLexicon = sync.OnceValues(func() (*lexicon, error) {
	rows, err := readSpellings()
	if err != nil {
		return nil, err
	}
	fields := map[string]role{}
	for r := range role(len(roleNames)) {
		fields[roleNames[r].field] = r
	}
	l := &lexicon{names: map[string]spelling{}, whose: map[string]int{}, notes: map[string]bool{}}
	for _, row := range rows {
		r, ok := fields[row.Role]
		if !ok {
			return nil, fmt.Errorf("the table of header names has no role %q", row.Role)
		}
		languages := strings.Split(row.Language, ", ")
		if slices.Contains(languages, "Scandinavian") {
			languages = append(languages, "Danish", "Norwegian", "Swedish")
		}
		for _, name := range strings.Split(row.Spellings, " | ") {
			if r == roleWhose {
				l.whose[fold(name)] = row.Rank
				continue
			}
			if r == roleNote {
				l.notes[fold(name)] = true
				continue
			}
			l.names[fold(name)] = spelling{
				role: r, rank: row.Rank, english: strings.Contains(row.Language, "English"),
				lastFirst: strings.Contains(row.Language, "last name first"), number1st: strings.Contains(row.Language, "number first"),
				amongOwn: slices.Contains(languages, "among its own"), orState: slices.Contains(languages, "a state beside a country"), languages: languages,
			}
		}
	}
	return l, nil
})

// combining is the last rank of names that are taken with words around them.
const combining = 2

// lastOfPerson is the last rank of words that go with a name: Business Name and
// Second Name are not the name of the person.
const lastOfPerson = 3

// longestHeader is how many bytes a folded header has in which words around a
// name are looked for.
const longestHeader = 120

// furtherNumber is the rank of the second number or address, like that of other
// such words: Mobile 2.
const furtherNumber = 5

var (
	bracketed = regexp.MustCompile(`[(（\[【][^()（）\[\]【】]*[)）\]】]`)
	// An example in brackets may be a number.
	exampleOf = regexp.MustCompile(`^(e\.?\s?g\b|ex\b|example|for example|such as|z\.?\s?b\b|beispiel|format|ejemplo|exemple|例)`)
)

// withoutNotes is a header name without words in brackets that say how the
// column is filled in: Mobile Number (required).
func (l *lexicon) withoutNotes(header string) string {
	if len(header) > 4*longestHeader || !strings.ContainsAny(header, "(（[【") {
		return header
	}
	return bracketed.ReplaceAllStringFunc(header, func(group string) string {
		inner := strings.ToLower(strings.TrimSpace(strings.Trim(group, "()（）[]【】")))
		if l.notes[fold(inner)] || exampleOf.MatchString(inner) {
			return " "
		}
		return group
	})
}

// means says what a header name means.
func (l *lexicon) means(header string) (spelling, bool) {
	name := fold(header)
	if s, ok := l.names[name]; ok {
		return s, true
	}
	name = fold(l.withoutNotes(header))
	if s, ok := l.names[name]; ok {
		return s, true
	}
	if len(name) > longestHeader || name == "" {
		return spelling{}, false
	}
	if last := name[len(name)-1]; last >= '1' && last <= '9' && countDigits(name) == 1 {
		// Mobile 1 is the first of them, Mobile 2 comes behind all others.
		if s, ok := l.names[name[:len(name)-1]]; ok && (s.role == rolePhone || s.role == roleEmail) && s.rank <= combining && !s.amongOwn {
			if s.whoseRank = 1; last > '1' {
				s.whoseRank = furtherNumber
			}
			s.languages = nil
			return s, true
		}
	}
	best, found := spelling{}, false
	for from := range name {
		for to := len(name); to > from; to-- {
			s, known := l.names[name[from:to]]
			if !known || s.rank > combining || s.amongOwn {
				continue
			}
			before, ok1 := l.whoseWords(name[:from])
			after, ok2 := l.whoseWords(name[to:])
			rank := max(before, after)
			if !ok1 || !ok2 || rank > lastOfPerson && s.role.ofName() {
				continue
			}
			s.languages = nil
			s.whoseRank, s.whose = rank, strings.TrimSuffix(name[:from]+name[to:], "address")
			if s.role == roleSomeName {
				s.role = roleFullName
			}
			if !found || s.better(best) {
				best, found = s, true
			}
		}
	}
	return best, found
}

// meansAll says what each name of a header means, beside the others.
func (l *lexicon) meansAll(header []string) (means []spelling, known []bool) {
	means, known = make([]spelling, len(header)), make([]bool, len(header))
	spoken := map[string]bool{}
	for i, h := range header {
		if means[i], known[i] = l.means(h); known[i] && !means[i].amongOwn && !means[i].english {
			for _, language := range means[i].languages {
				spoken[language] = true
			}
		}
	}
	for i, s := range means {
		if known[i] && s.amongOwn {
			known[i] = slices.ContainsFunc(s.languages, func(language string) bool { return spoken[language] })
		}
	}
	return means, known
}

// anyKnown reports whether a row has the name of a column in it.
func (l *lexicon) anyKnown(row []string) bool {
	_, known := l.meansAll(row)
	return slices.Contains(known, true)
}

// whoseWords is the rank of no such words (0), one or two: "customer billing" is
// that of billing.
func (l *lexicon) whoseWords(words string) (rank int, ok bool) {
	if words == "" {
		return 0, true
	}
	if rank, ok = l.whose[words]; ok {
		return rank, true
	}
	for cut := range words {
		first, ok1 := l.whose[words[:cut]]
		second, ok2 := l.whose[words[cut:]]
		if ok1 && ok2 && (!ok || max(first, second) < rank) {
			rank, ok = max(first, second), true
		}
	}
	return rank, ok
}

// fold brings a header name into the form that names are compared in: lower
// case, letters and digits only, without accents and vowel points.
func fold(header string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(header) {
		if isAccent(r) || r == 'ـ' || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			continue
		}
		switch r = unicode.ToLower(r); r {
		case 'ß':
			b.WriteString("ss")
		case 'æ':
			b.WriteString("ae")
		case 'œ':
			b.WriteString("oe")
		case 'ø':
			b.WriteByte('o')
		case 'ł':
			b.WriteByte('l')
		case 'đ':
			b.WriteByte('d')
		case 'ı':
			b.WriteByte('i')
		case 'ς':
			b.WriteRune('σ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isAccent reports whether r is a mark that spellings are compared without:
// the accents of Latin, Greek and Cyrillic, the points of Hebrew and Arabic, the
// dot below of Hindi.
// (The vowel signs of Hindi and the voicing marks of Japanese are letters.)
func isAccent(r rune) bool {
	return r >= 0x300 && r <= 0x36f || r >= 0x591 && r <= 0x5c7 || r >= 0x64b && r <= 0x65f || r >= 0xfe00 && r <= 0xfe0f || r == 0x93c
}

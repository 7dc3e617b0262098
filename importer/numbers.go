package importer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// numbers turns phone numbers into E.164. The library is the judge: it costs
// some 14 µs a number. What surely is a valid number is accepted before it is
// asked, at a hundredth of that, by automata made of the library's own metadata
// that follow its steps; where they are not sure they stand back. A property
// test over every region holds the two equal.
//
// It may be used by any number of goroutines.
type numbers struct {
	codes   [1000]*callingCode      // by country calling code
	dialing map[string]*dialingRule // by region
}

// newNumbers is made once for the process: the metadata never changes.
var newNumbers = sync.OnceValues(func() (*numbers, error) {
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		return nil, fmt.Errorf("reading the metadata of phone numbers: %w", err)
	}
	n := &numbers{dialing: map[string]*dialingRule{}}
	regions := map[string]*phonenumbers.PhoneMetadata{}
	for _, m := range all.GetMetadata() {
		if m.GetId() != phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY {
			regions[m.GetId()] = m
			n.dialing[m.GetId()] = &dialingRule{of: m, code: strconv.Itoa(int(m.GetCountryCode()))}
		}
	}
	for code := range n.codes {
		// The order is the library's: the first region of a code that takes a
		// number has it.
		ids := phonenumbers.GetRegionCodesForCountryCode(code)
		if len(ids) == 0 || n.dialing[ids[0]] == nil {
			continue
		}
		c := &callingCode{digits: strconv.Itoa(code), dialing: n.dialing[ids[0]]}
		for _, id := range ids {
			c.of = append(c.of, regions[id])
		}
		n.codes[code] = c
	}
	return n, nil
})

// numberError is a reason why a text is no number that can be sent to, with its
// code.
type numberError struct{ code, reason string }

func (e *numberError) Error() string { return e.reason }

var (
	errNational     = &numberError{CodeNationalNumber, "a national number, and no country is known for it: give --country, or a country column"}
	errNotANumber   = &numberError{CodeNotANumber, "this is not a phone number: write it like +61412345678"}
	errCallingCode  = &numberError{CodeInvalidNumber, "no country has this calling code: check the first digits"}
	errTooShort     = &numberError{CodeInvalidNumber, "the number is too short: check its digits"}
	errTooLong      = &numberError{CodeInvalidNumber, "the number is too long: check its digits"}
	errNoSuchNumber = &numberError{CodeInvalidNumber, "no such number can exist in its country: check its digits"}
	errRounded      = &numberError{CodeRoundedNumber, "a spreadsheet rounded the number and its last digits are lost: format the column as text there, fill the numbers in anew, and export again"}
	errExtension    = &numberError{CodeExtension, "a number with an extension rings a switchboard, which takes no messages: give the person's own number"}
)

// fewestDigits is how many make a national number of an unknown country: a cell
// with fewer holds something else, and is no reason to refuse the whole file.
const fewestDigits = 5

// parse returns the number in E.164 and its region (ISO 3166-1 alpha-2; empty
// for a number of no country), or why it is no number. A national number needs
// a country; without one it is errNational. Of several numbers in the text it
// is the first that messages reach, else the first.
func (n *numbers) parse(text, country string) (e164, region string, _ *numberError) {
	if e164, region, ok := n.fast(text, country); ok {
		return e164, region, nil
	}
	return n.read(text, country)
}

// parseWithLibrary is the number that the library alone finds in a text.
func parseWithLibrary(text, country string) (e164, region string, _ *numberError) {
	e164, region, _, err := askLibrary(text, country)
	return e164, region, err
}

// askLibrary is parseWithLibrary, and whether an extension follows the number.
func askLibrary(text, country string) (e164, region string, extension bool, _ *numberError) {
	from := country
	if from == "" {
		from = phonenumbers.UNKNOWN_REGION
	}
	number, err := phonenumbers.Parse(text, from)
	switch {
	case errors.Is(err, phonenumbers.ErrInvalidCountryCode) && !strings.ContainsAny(text, "+＋"):
		if countDigits(text) < fewestDigits {
			return "", "", false, errNotANumber
		}
		return "", "", false, errNational
	case errors.Is(err, phonenumbers.ErrInvalidCountryCode):
		return "", "", false, errCallingCode
	case err != nil:
		return "", "", false, errNotANumber
	}
	if !phonenumbers.IsValidNumber(number) {
		switch phonenumbers.IsPossibleNumberWithReason(number) {
		case phonenumbers.TOO_SHORT, phonenumbers.IS_POSSIBLE_LOCAL_ONLY:
			return "", "", false, errTooShort
		case phonenumbers.TOO_LONG:
			return "", "", false, errTooLong
		}
		return "", "", false, errNoSuchNumber
	}
	if region = phonenumbers.GetRegionCodeForNumber(number); region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY {
		region = ""
	}
	return phonenumbers.Format(number, phonenumbers.E164), region, number.GetExtension() != "", nil
}

func countDigits(text string) int {
	n := 0
	for _, r := range text {
		if r >= '0' && r <= '9' || r >= '０' && r <= '９' {
			n++
		}
	}
	return n
}

// maxDigits is how many the automata look at: a calling code and a national
// number have at most 15, and what one dials before them a few.
const (
	maxDigits = 20
	maxText   = 60 // the library has a limit too: 250
)

// fast accepts a number that is surely valid: with a plus, or as it is dialled
// within the country; made of digits, spaces, dashes, dots and parentheses.
func (n *numbers) fast(text, country string) (e164, region string, ok bool) {
	if len(text) > maxText || endsLikeFraction(text) || isReckoned(text) || strings.HasSuffix(text, "...") {
		return "", "", false
	}
	var buf [maxDigits]byte
	digits, plus, ok := digitsOf(buf[:0], text)
	if !ok {
		return "", "", false
	}
	code, national, ok := n.underCode(digits, plus, country)
	// A zero that is part of the number (Italy) is left to the library.
	if !ok || len(national) < 2 || national[0] == '0' {
		return "", "", false
	}
	if region, ok = code.region(national); !ok {
		return "", "", false
	}
	if length := 1 + len(code.digits) + len(national); plus && len(text) == length {
		return text, region, true // it is E.164 already
	}
	var out [1 + 3 + maxDigits]byte
	return string(append(append(append(out[:0], '+'), code.digits...), national...)), region, true
}

// digitsOf appends the digits of text to buf, and says whether a plus comes
// before them. It is not ok when the text has anything else in it than what
// people put between digits, or more digits than there is room for.
func digitsOf(buf []byte, text string) (digits []byte, plus, ok bool) {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			if len(buf) == cap(buf) {
				return nil, false, false
			}
			buf = append(buf, c)
		case c == '+':
			if plus || len(buf) > 0 {
				return nil, false, false
			}
			plus = true
		case c != ' ' && c != '-' && c != '.' && c != '(' && c != ')':
			return nil, false, false
		}
	}
	return buf, plus, len(buf) >= fewestDigits
}

// underCode finds the calling code that the digits stand under, and the national
// number behind it.
func (n *numbers) underCode(digits []byte, plus bool, country string) (code *callingCode, national []byte, ok bool) {
	if plus {
		code, national = n.callingCode(digits)
		if code == nil {
			return nil, nil, false
		}
		national, ok = code.dialing.strip(national)
		return code, national, ok
	}
	rule := n.dialing[country]
	if rule == nil || !rule.known() {
		return nil, nil, false
	}
	if shortest, _ := rule.abroad.prefixes(digits); shortest >= 0 {
		return nil, nil, false // perhaps 0011 61 ...
	}
	code = n.codes[rule.of.GetCountryCode()]
	if !strings.HasPrefix(string(digits), rule.code) {
		national, ok = rule.strip(digits)
		return code, national, ok
	}
	// The calling code stands there without its plus when the digits are a
	// number only without it.
	national = digits[len(rule.code):]
	if rule.general.pattern.matches(digits) || !rule.general.pattern.matches(national) || rule.hasPrefix(national) {
		return nil, nil, false
	}
	national, ok = code.dialing.strip(national)
	return code, national, ok
}

// callingCode splits what follows a plus. Calling codes are prefix-free, and
// none begins with a zero. It returns nil for those of no country.
func (n *numbers) callingCode(digits []byte) (*callingCode, []byte) {
	code := 0
	for i := range 3 {
		code = 10*code + int(digits[i]-'0')
		if c := n.codes[code]; c != nil && digits[0] != '0' {
			return c, digits[i+1:]
		}
	}
	return nil, nil
}

// dialingRule is how a number is dialled within a region. Its automata are made
// when they are first asked for.
type dialingRule struct {
	of   *phonenumbers.PhoneMetadata
	code string // the region's calling code

	once    sync.Once
	unsure  bool       // something in the metadata is not about digits alone
	abroad  *automaton // what one dials before a foreign number
	prefix  *automaton // what one dials before a national number; nil when nothing
	general line       // any number of the region
}

// known makes the automata, and reports whether they can be trusted.
func (r *dialingRule) known() bool {
	r.once.Do(func() {
		r.abroad = compileDigits(r.of.GetInternationalPrefix())
		if p := r.of.GetNationalPrefixForParsing(); p != "" {
			r.prefix = compileDigits(p)
			r.unsure = r.prefix == nil
		}
		r.general = newLine(r.of.GetGeneralDesc())
		for _, l := range r.of.GetGeneralDesc().GetPossibleLengthLocalOnly() {
			r.general.lengths &^= 1 << l
		}
		r.unsure = r.unsure || r.abroad == nil || r.general.pattern == nil
	})
	return !r.unsure
}

func (r *dialingRule) hasPrefix(digits []byte) bool {
	if r.prefix == nil {
		return false
	}
	shortest, _ := r.prefix.prefixes(digits)
	return shortest >= 0
}

// strip takes the national prefix off, if there is one. It is not ok when the
// library might do anything but that.
func (r *dialingRule) strip(digits []byte) (national []byte, ok bool) {
	if !r.known() {
		return nil, false
	}
	if r.prefix == nil {
		return digits, true
	}
	shortest, longest := r.prefix.prefixes(digits)
	if shortest < 0 {
		return digits, true
	}
	// The rule may rewrite what follows, or match in two ways of which only
	// the order of its alternatives tells the right one.
	if r.of.GetNationalPrefixTransformRule() != "" || shortest != longest {
		return nil, false
	}
	rest := digits[longest:]
	return rest, r.general.matches(rest)
}

// callingCode knows the numbers of all regions that share a calling code.
type callingCode struct {
	digits  string
	of      []*phonenumbers.PhoneMetadata // in the library's order
	dialing *dialingRule                  // of the first of them

	once    sync.Once
	regions []regionLines // in the same order, up to the first that has to be left to the library
}

// regionLines are the numbers of one region.
type regionLines struct {
	id      string
	leading *automaton // what all of its numbers begin with; nil when nothing says
	general line
	kinds   []kindLine
	alike   bool // mobile phones and fixed lines have the same pattern
}

// kindLine is a line whose kind is known.
type kindLine struct {
	kind Kind
	line
}

// region finds the region of a national number as the library does, and
// reports whether the number is valid there.
func (c *callingCode) region(national []byte) (string, bool) {
	r, ok := c.find(national)
	if !ok {
		return "", false
	}
	return r.id, true
}

// find is region, with all that is known of it.
func (c *callingCode) find(national []byte) (*regionLines, bool) {
	c.once.Do(func() {
		for _, m := range c.of {
			r, ok := newRegionLines(m)
			if !ok {
				return
			}
			c.regions = append(c.regions, r)
		}
	})
	for i := range c.regions {
		r := &c.regions[i]
		if r.leading == nil {
			if r.has(national) {
				return r, true
			}
			continue
		}
		if shortest, _ := r.leading.prefixes(national); shortest >= 0 {
			return r, r.has(national)
		}
	}
	return nil, false
}

func newRegionLines(m *phonenumbers.PhoneMetadata) (r regionLines, ok bool) {
	r.id = m.GetId()
	r.alike = m.GetSameMobileAndFixedLinePattern()
	if l := m.GetLeadingDigits(); l != "" {
		if r.leading = compileDigits(l); r.leading == nil {
			return r, false
		}
	}
	if r.general = newLine(m.GetGeneralDesc()); r.general.pattern == nil {
		return r, false
	}
	// Those that most numbers are of come first; of the others the first that
	// matches is the library's answer.
	for _, k := range []struct {
		kind Kind
		desc *phonenumbers.PhoneNumberDesc
	}{
		{KindMobile, m.GetMobile()}, {KindFixedLine, m.GetFixedLine()},
		{KindPremiumRate, m.GetPremiumRate()}, {KindTollFree, m.GetTollFree()}, {KindSharedCost, m.GetSharedCost()}, {KindVoIP, m.GetVoip()},
		{KindPersonal, m.GetPersonalNumber()}, {KindPager, m.GetPager()}, {KindUAN, m.GetUan()}, {KindVoicemail, m.GetVoicemail()},
	} {
		if k.desc.GetNationalNumberPattern() == "" || k.kind == KindMobile && r.alike {
			continue
		}
		l := kindLine{k.kind, newLine(k.desc)}
		if l.pattern == nil {
			return r, false
		}
		r.kinds = append(r.kinds, l)
	}
	return r, true
}

// has reports whether it is a valid number of the region.
func (r *regionLines) has(national []byte) bool {
	if !r.general.matches(national) {
		return false
	}
	for i := range r.kinds {
		if r.kinds[i].matches(national) {
			return true
		}
	}
	return false
}

// line is a kind of number: mobile, fixed, toll-free, or any.
type line struct {
	pattern *automaton // nil when it is not about digits alone
	lengths uint32     // bit n: a national number of n digits is possible
}

func newLine(d *phonenumbers.PhoneNumberDesc) line {
	l := line{pattern: compileDigits(d.GetNationalNumberPattern())}
	for _, n := range d.GetPossibleLength() {
		if n > 0 && n < 32 {
			l.lengths |= 1 << n
		}
	}
	if len(d.GetPossibleLength()) == 0 {
		l.lengths = ^uint32(0) // those of the general description
	}
	return l
}

func (l *line) matches(national []byte) bool {
	return l.lengths&(1<<len(national)) != 0 && l.pattern.matches(national)
}

package importer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file reads numbers as spreadsheets, phones and people leave them, into
// the form that the library is asked about. What the library takes as it stands
// is never read as anything else, with the exceptions that are named below and
// in words.go.

// read is parse for what the fast path does not take.
func (n *numbers) read(text, country string) (e164, region string, _ *numberError) {
	text = unwrap(plainCharacters(text))
	if strings.Contains(text, ";phone-context=") { // RFC 3966: the library's
		return parseWithLibrary(text, country)
	}
	if _, changed, err := numberInCell(text); !changed && err == nil {
		if parts, doubt := numbersIn(text); len(parts) > 1 && (doubt == none || n.several(text, country, parts, doubt)) {
			return n.best(parts, country)
		}
	}
	return n.one(text, country)
}

// holdsSeveral reports whether a text that holds a number holds another.
func (n *numbers) holdsSeveral(text, country string) bool {
	if _, _, ok := n.fast(text, country); ok {
		return false
	}
	text = unwrap(plainCharacters(text))
	parts, doubt := numbersIn(text)
	return len(parts) > 1 && (doubt == none || n.several(text, country, parts, doubt))
}

// best is the first of several numbers that messages reach, else the first.
func (n *numbers) best(parts []string, country string) (e164, region string, _ *numberError) {
	var why *numberError
	reached := false
	for _, part := range parts {
		number, of, err := n.one(unwrap(part), country)
		switch {
		case err == errWords:
			return "", "", err // the words may be about all of them
		case err != nil && why == nil:
			why = err
		case err != nil || reached:
		case NumberKind(number).TakesMessages():
			e164, region, reached = number, of, true
		case e164 == "":
			e164, region = number, of
		}
	}
	if e164 != "" {
		why = nil
	}
	return e164, region, why
}

// one reads a text that holds one number.
func (n *numbers) one(text, country string) (e164, region string, _ *numberError) {
	text, changed, err := numberInCell(text)
	if err != nil {
		return "", "", err
	}
	if e164, region, ok := n.fast(text, country); ok {
		return e164, region, nil
	}
	text, w := words(text)
	switch w {
	case doubtful:
		return "", "", errOfWords(text)
	case perhapsIn:
		return withLetters(text, country)
	}
	if e164, region, ok := n.behindCode(text, country); ok {
		return e164, region, nil
	}
	e164, region, extension, err := askLibrary(text, country)
	if err != nil && !changed {
		for _, other := range otherReadings(text) {
			if e, r, x, refused := askLibrary(other, country); refused == nil {
				e164, region, extension, err = e, r, x, nil
				break
			}
		}
	}
	// Where the digits do not tell a mobile phone from a line in a house, the
	// extension does. A fixed line is told by its digits when it is planned, and
	// a mobile phone has none, whatever somebody wrote behind its number.
	if err == nil && extension && NumberKind(e164) == KindFixedOrMobile {
		return "", "", errExtension
	}
	return e164, region, err
}

// behindCode reads a number that begins with the calling code of its country and
// has lost its plus, as a spreadsheet leaves it: 4915112345678 in Germany. The
// library takes the whole for a national number wherever that can exist, and in
// Germany almost any can. Nobody has written a mobile phone's number with its
// calling code by chance: it is that, unless the digits are a number as they stand
// that messages reach.
func (n *numbers) behindCode(text, country string) (e164, region string, ok bool) {
	rule := n.dialing[country]
	var buf [maxDigits]byte
	digits, plus, fine := digitsOf(buf[:0], strings.ReplaceAll(text, "/", " "))
	if rule == nil || !fine || plus || !strings.HasPrefix(string(digits), rule.code) {
		return "", "", false
	}
	behind, of, err := parseWithLibrary("+"+string(digits), "")
	if err != nil || NumberKind(behind) != KindMobile {
		return "", "", false
	}
	if whole, _, err := parseWithLibrary(text, country); err == nil && NumberKind(whole).TakesMessages() {
		return "", "", false
	}
	return behind, of, true
}

// plainCharacters writes a text in ASCII as far as it is about numbers: digits
// of any script, full-width forms, the many dashes and spaces; and leaves out
// what has no width, such as the marks around numbers that were copied out of a
// phone's address book.
func plainCharacters(text string) string {
	ascii := true
	for i := 0; i < len(text) && ascii; i++ {
		ascii = text[i] < utf8.RuneSelf
	}
	if ascii {
		return text
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r < utf8.RuneSelf:
			return r
		case unicode.Is(unicode.Nd, r):
			return '0' + digitValue(r)
		case r >= '！' && r <= '～':
			return r - '！' + '!'
		case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Mn, r), unicode.Is(unicode.Me, r):
			return -1
		case unicode.Is(unicode.Pd, r), r == '−', r == 'ー':
			return '-'
		case unicode.Is(unicode.Zs, r):
			return ' '
		case unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r), r == '\u0085':
			return '\n'
		}
		return r
	}, text)
}

// digitValue is what a decimal digit of any script stands for: Unicode keeps
// them in runs of ten, from zero on.
func digitValue(r rune) rune {
	for _, run := range unicode.Nd.R16 {
		if uint32(r) >= uint32(run.Lo) && uint32(r) <= uint32(run.Hi) {
			return (r - rune(run.Lo)) % 10
		}
	}
	for _, run := range unicode.Nd.R32 {
		if uint32(r) >= run.Lo && uint32(r) <= run.Hi {
			return (r - rune(run.Lo)) % 10
		}
	}
	return 0
}

// quotes are what a spreadsheet, or a person who fights one, puts before a
// number to keep its zeros, and what stands around a quoted one.
const quotes = "'\"`´‘’‛“”„ʼʹ′«»"

// unwrap takes off what stands around a number: white space, quotes, the
// formula ="0412345678", and the scheme of a link.
func unwrap(text string) string {
	for {
		before := text
		text = strings.Trim(text, quotes+" \t\r\n")
		if rest, ok := strings.CutPrefix(text, "="); ok && strings.HasPrefix(strings.TrimSpace(rest), `"`) {
			text = rest
		}
		if scheme, rest, ok := strings.Cut(text, ":"); ok {
			switch strings.ToLower(scheme) {
			case "tel", "sms", "smsto", "callto", "whatsapp":
				text = strings.TrimPrefix(rest, "//")
				if i := strings.IndexByte(text, '?'); i >= 0 {
					text = text[:i] // sms:+61412345678?body=...
				}
			}
		}
		if text == before {
			return text
		}
	}
}

// fewestInCell is how many digits the shortest numbers have that somebody can be
// called on: those of Tokelau, Niue and Tristan da Cunha.
const fewestInCell = 4

// numberInCell undoes what a spreadsheet does to a cell that it takes for a
// number: 6.1412345671E+10, 412345675.0 or 61,412,345,671; also with a comma for
// the point. The library would read the zero behind the point as a digit of the
// number. It is errRounded when digits were lost.
func numberInCell(text string) (plain string, changed bool, _ *numberError) {
	if plain, ok, err := scientific(text); ok || err != nil {
		return plain, true, err
	}
	if isReckoned(text) && !endsLikeFraction(text) {
		return "", false, errNumberCell
	}
	if endsLikeFraction(text) {
		text, changed = text[:strings.LastIndexAny(text, ".,")], true
	}
	if plain, ok := ungrouped(text, ','); ok {
		return plain, true, nil
	}
	if changed {
		if plain, ok := ungrouped(text, '.'); ok {
			return plain, true, nil
		}
	}
	return text, changed, nil
}

// endsLikeFraction reports whether a text is a whole number as programs write
// those that they hold as fractions: 412345678.0, 412345678,00, also with its
// thousands set apart by the other mark.
func endsLikeFraction(text string) bool {
	i := len(text)
	for i > 0 && text[i-1] == '0' {
		i--
	}
	if i == len(text) || len(text)-i > 2 || i == 0 || text[i-1] != '.' && text[i-1] != ',' {
		return false
	}
	thousands := byte(',')
	if text[i-1] == ',' {
		thousands = '.'
	}
	whole := strings.TrimPrefix(text[:i-1], "+")
	if _, ok := ungrouped(whole, thousands); ok {
		return true
	}
	return len(whole) >= fewestInCell && allDigits(whole)
}

// ungrouped is a number without the marks between its thousands. It is not ok
// when they stand elsewhere, or there are less than two of them.
func ungrouped(text string, mark byte) (string, bool) {
	plus := strings.HasPrefix(text, "+")
	groups := strings.Split(strings.TrimPrefix(text, "+"), string(mark))
	if len(groups) < 3 {
		return "", false
	}
	for i, g := range groups {
		if !allDigits(g) || len(g) != 3 && (i > 0 || len(g) == 0 || len(g) > 3) {
			return "", false
		}
	}
	plain := strings.Join(groups, "")
	if plus {
		plain = "+" + plain
	}
	return plain, true
}

func allDigits(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}

// scientific writes 6.1412345671E+10 out. Digits were lost when fewer stand
// there than the number has: 6.14123E+10 has eleven and shows six. A number that
// ends in zeros may show fewer by right, but nothing tells that it does. It is
// not ok when the text is nothing of the kind.
func scientific(text string) (plain string, ok bool, _ *numberError) {
	e := strings.IndexAny(text, "eE")
	if e < 0 {
		return "", false, nil
	}
	power := 0
	exponent := strings.TrimPrefix(text[e+1:], "+")
	if !allDigits(exponent) || len(exponent) > 3 {
		return "", false, nil
	}
	for _, d := range exponent {
		power = power*10 + int(d-'0')
	}
	whole, fraction := strings.TrimPrefix(text[:e], "+"), ""
	if i := strings.IndexAny(whole, ".,"); i >= 0 {
		if whole, fraction = whole[:i], whole[i+1:]; !allDigits(fraction) {
			return "", false, nil
		}
	}
	if !allDigits(whole) || len(whole) > 3 || power+len(whole) < fewestInCell {
		return "", false, nil
	}
	if len(fraction) < power || power > maxDigits {
		return "", false, errRounded
	}
	if strings.Trim(fraction[power:], "0") != "" {
		return "", false, nil // a fraction of a number
	}
	plain = whole + fraction[:power]
	if text[0] == '+' {
		plain = "+" + plain
	}
	return plain, true, nil
}

// The library takes digits behind a comma or a semicolon for an extension, and
// those behind a slash for more of the number. A whole number stands there when
// it has as many digits as the shortest that are in use.
const digitsOfWhole = 7

// maxParts is how many numbers of a cell are looked at.
const maxParts = 16

// doubt is whether a text that can be cut may be a single number.
type doubt int

const (
	none   doubt = iota
	little       // a slash or dash, and behind it what a number begins with
	great        // a slash or dash, and behind it what may be more of the number
)

// several reports whether a text in doubt is more than one number: the library
// takes the whole for none, or each part looks like one and is.
func (n *numbers) several(text, country string, parts []string, d doubt) bool {
	if _, _, err := parseWithLibrary(text, country); err != nil {
		return true
	}
	if d == great {
		return false
	}
	for _, p := range parts {
		if _, _, err := n.one(unwrap(p), country); err != nil {
			return false
		}
	}
	return true
}

// numbersIn cuts a text between its numbers: 0412 345 678 / 02 9374 4000. It
// differs from the library where that would take a whole number for an
// extension of another.
func numbersIn(text string) (parts []string, d doubt) {
	begin, digits := 0, 0 // of the part under way
	for i := 0; i < len(text) && len(parts) < maxParts; {
		if strings.HasPrefix(text[i:], ",,") { // a pause, then the extension
			i += 2
			continue
		}
		c := text[i]
		width := separator(text[i:])
		if c >= '0' && c <= '9' {
			digits++
		}
		if width == 0 && (c != '+' || digits < digitsOfWhole) {
			i++
			continue
		}
		next := text[i+width:]
		if digits < digitsOfWhole || digitsBefore(next) < digitsOfWhole {
			i += max(width, 1)
			continue
		}
		if c == '/' || strings.HasPrefix(text[i:], " - ") {
			if first := strings.TrimLeft(next, " ("); first[0] == '0' || first[0] == '+' {
				d = max(d, little)
			} else {
				d = great
			}
		}
		parts = append(parts, text[begin:i])
		i += width
		if begin, digits = i, 0; c == '+' {
			i++
		}
	}
	return append(parts, text[begin:]), d
}

// separator is the length of what separates two numbers, when one begins the
// text; else 0.
func separator(text string) int {
	switch text[0] {
	case '/', ';', ',', '|', '\n', '\r', '\t', '&', '\\':
		return 1
	case ':':
		if strings.HasPrefix(text, ":::") { // between values in exports of Google Contacts
			return 3
		}
	case ' ':
		word, _, ok := strings.Cut(text[1:], " ")
		if !ok {
			return 0
		}
		switch strings.ToLower(word) {
		case "or", "and", "oder", "und", "od.", "od", "bzw.", "bzw", "ou", "et", "o", "y", "e", "of", "en", "eller", "och", "og", "lub", "i", "-":
			return len(word) + 2
		}
	}
	return 0
}

// digitsBefore counts the digits before the next separator.
func digitsBefore(text string) int {
	digits := 0
	for i := 0; i < len(text); i++ {
		if text[i] >= '0' && text[i] <= '9' {
			digits++
		}
		if digits > 0 && separator(text[i:]) > 0 && text[i] != '/' { // 0475/12.34.56 is one number
			break
		}
	}
	return digits
}

// otherReadings are what a text that the library refuses may be meant to say.
// Nothing that it takes is ever read so.
func otherReadings(text string) []string {
	var readings []string
	add := func(s string) {
		if s = strings.TrimSpace(s); s != "" && s != text {
			readings = append(readings, s)
		}
	}
	// +34 (0)612 345 678: many write the zero also where none is dialled.
	if strings.Contains(text, "+") {
		add(strings.NewReplacer("(0)", "", "( 0 )", "", "[0]", "").Replace(text))
	}
	// 0061 412 345 678: two zeros stand for the plus by ITU-T E.164, also in the
	// lists of countries where something else is dialled.
	if rest, ok := strings.CutPrefix(strings.TrimLeft(text, "( "), "00"); ok {
		add("+" + rest)
	}
	// Mobile: 0412 345 678 (Ann): words around the number.
	bare := strings.TrimFunc(text, func(r rune) bool { return !unicode.IsDigit(r) && r != '+' && r != '#' })
	if bare != text {
		add(bare)
		if strings.HasPrefix(bare, "00") {
			add("+" + bare[2:])
		}
	}
	// 512 555 0123/0124: the lines of one house.
	if i := strings.IndexByte(text, '/'); i > 0 && countDigits(text[:i]) >= digitsOfWhole {
		add(text[:i])
	}
	return readings
}

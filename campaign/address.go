package campaign

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxAddressLine is how many characters a line of an address has room for. The
// provider documents no limit; the window of a long envelope (DL: 90 mm, less a
// margin of 5 mm on both sides) shows about so many of a 9 point type, and what
// stands beyond it is not seen by the post.
const MaxAddressLine = 50

// AddressFault says why nothing can be sent to a complete address.
type AddressFault struct {
	Code  string // one of those below
	Field string // as templates call it: address_postal_code
	Text  string // what is wrong, and what to do; never the value
}

// Codes of AddressFault.
const (
	FaultPostalCode  = "bad_postal_code"
	FaultTooLong     = "address_too_long"
	FaultUnprintable = "unprintable_address"
)

// Fault says what is wrong with an address that is complete; nil when nothing
// is. What an address lacks, Missing says.
func (a *Address) Fault() *AddressFault {
	for _, f := range [...]struct{ name, value string }{
		{"address_name", a.Name}, {"address_line_1", a.Line1}, {"address_line_2", a.Line2},
		{"address_city", a.City}, {"address_state", a.State}, {"address_postal_code", a.PostalCode},
	} {
		if bad := unprintable(f.value); bad != 0 {
			what := fmt.Sprintf("holds %U, which cannot be printed: leave out emoji, and what is neither letter, digit nor punctuation", bad)
			if bad == utf8.RuneError {
				what = "holds � for a character that was lost when the file was written: export it anew, as CSV UTF-8"
			}
			return &AddressFault{FaultUnprintable, f.name, what}
		}
		if len(f.value) > MaxAddressLine && utf8.RuneCountInString(f.value) > MaxAddressLine {
			return &AddressFault{FaultTooLong, f.name, fmt.Sprintf(
				"has %d characters, and the window of an envelope shows %d: shorten it, or put a part of it on another line", utf8.RuneCountInString(f.value), MaxAddressLine)}
		}
	}
	// One that lacks its zeros is wrong too; Tidy mends it.
	if written, ok := PostalCode(a.PostalCode, a.Country); !ok || len(written) > len(a.PostalCode) {
		return &AddressFault{FaultPostalCode, "address_postal_code", fmt.Sprintf(
			"does not fit %s%s: check both", a.Country, likeThis(a.Country))}
	}
	return nil
}

// likeThis shows how a country writes its postal codes.
func likeThis(country string) string {
	p, known := formsOf(country)
	if !known {
		return ""
	}
	form, _, _ := strings.Cut(p.forms, "|")
	switch country {
	case "GB", "JE", "GG", "IM":
		return ", whose codes are like SW1A 1AA"
	case "CA":
		return ", whose codes are like K1A 0B1"
	case "NL":
		return ", whose codes are like 1012 AB"
	case "IE":
		return ", whose codes are like D02 X285"
	}
	if onlyDigits(form) {
		return fmt.Sprintf(", whose codes have %d digits", len(form))
	}
	return ""
}

// unprintable is the first character of a text that no printer has; 0 when there
// is none. Marks that have no width are not printed and do no harm.
func unprintable(text string) rune {
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
			if r < ' ' || r == 0x7f {
				return r
			}
		case unicode.Is(unicode.Cf, r):
		case r == utf8.RuneError, !unicode.IsGraphic(r), r >= 0xFE00 && r <= 0xFE0F:
			return r
		case r >= 0x2190 && unicode.IsSymbol(r): // arrows, dingbats, emoji; № and ℅ lie before
			return r
		}
	}
	return 0
}

// Tidy writes an address as it is printed: one space for every stretch of white
// space, the postal code as its country writes it, and NoPostalCode where the
// country has none. A first line of several, as exports of CRMs have it, is put
// on both.
func (a *Address) Tidy() {
	if a.Line2 == "" && strings.ContainsAny(a.Line1, "\r\n") {
		first, rest, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(a.Line1), "\r", "\n"), "\n")
		a.Line1, a.Line2 = first, rest
	}
	for _, f := range [...]*string{&a.Name, &a.Line1, &a.Line2, &a.City, &a.State, &a.PostalCode} {
		*f = oneLine(*f)
	}
	// What stands for a code where there are none, such as n/a, has no digit.
	if a.Country != "" && !HasPostalCodes(a.Country) && !strings.ContainsAny(plainCode(a.PostalCode), "0123456789") {
		a.PostalCode = NoPostalCode
	}
	a.PostalCode, _ = PostalCode(a.PostalCode, a.Country)
}

// oneLine makes one line of a text: its line breaks are commas, unless one
// stands there, and every other stretch of white space is a space.
func oneLine(text string) string {
	plain := true
	for i := 0; i < len(text) && plain; i++ {
		plain = text[i] > ' ' && text[i] < utf8.RuneSelf || text[i] == ' ' && i > 0 && text[i-1] != ' '
	}
	if plain && !strings.HasSuffix(text, " ") {
		return text
	}
	var lines []string
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029' || r == '\u0085' }) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	for i := range max(0, len(lines)-1) {
		lines[i] = strings.TrimRight(lines[i], ",")
	}
	return strings.Join(lines, ", ")
}

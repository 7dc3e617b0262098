package campaign

import "unicode/utf8"

// Encoding is how the characters of a message travel.
type Encoding uint8

// The two encodings. One character outside GSM 03.38 makes the whole message
// Unicode (shared/api/semantics.md, section 10).
const (
	GSM7 Encoding = iota // GSM 03.38: a character is one septet, of the extension table two
	UCS2                 // UTF-16: a character is one unit, beyond U+FFFF two
)

func (e Encoding) String() string {
	if e == UCS2 {
		return "unicode"
	}
	return "gsm"
}

// Single is how many units a message of one part holds: 160 septets or 70
// UTF-16 units.
func (e Encoding) Single() int {
	if e == UCS2 {
		return 70
	}
	return 160
}

// PerPart is how many units each part of a longer message holds, the header
// that joins the parts taken off: 153 septets or 67 UTF-16 units.
func (e Encoding) PerPart() int {
	if e == UCS2 {
		return 67
	}
	return 153
}

// Parts says how many parts a body is sent, and paid, as.
type Parts struct {
	Count   int  // parts; 0 for an empty body
	Unicode bool // the body is sent as Unicode
	Units   int  // septets, or UTF-16 units when Unicode
}

// Encoding is the encoding that was counted in.
func (p Parts) Encoding() Encoding {
	if p.Unicode {
		return UCS2
	}
	return GSM7
}

// CountParts counts the parts of an SMS by GSM 03.38 and 03.40: neither the
// two septets of an extension character (^ { } \ [ ~ ] | € and form feed) nor
// the two units of a character beyond U+FFFF are split between two parts, so
// that a part may stay one unit short. A byte that is not UTF-8 counts as
// U+FFFD. The provider's own count wins where it differs.
func CountParts(body string) Parts {
	septets, pairs := 0, 0
	for i := 0; i < len(body); {
		if b := body[i]; b < utf8.RuneSelf {
			w := asciiSeptets[b]
			if w == 0 {
				return countUnicode(body)
			}
			septets += int(w)
			pairs += int(w >> 1)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(body[i:])
		w := wideSeptets(r)
		if w == 0 {
			return countUnicode(body)
		}
		septets += w
		pairs += w >> 1
		i += size
	}
	count := partsOf(septets, GSM7)
	if pairs > 0 && count > 1 {
		count = packSeptets(body)
	}
	return Parts{Count: count, Units: septets}
}

// countUnicode counts a body that is not GSM 03.38.
func countUnicode(body string) Parts {
	units, pairs := 0, 0
	for _, r := range body {
		units++
		if r > 0xFFFF {
			units++
			pairs++
		}
	}
	count := partsOf(units, UCS2)
	if pairs > 0 && count > 1 {
		count = packUnits(body)
	}
	return Parts{Count: count, Unicode: true, Units: units}
}

// partsOf is the number of parts when nothing in the body must stay together.
func partsOf(units int, e Encoding) int {
	switch {
	case units == 0:
		return 0
	case units <= e.Single():
		return 1
	}
	return (units + e.PerPart() - 1) / e.PerPart()
}

// packSeptets fills part after part with a GSM 03.38 body of several parts.
func packSeptets(body string) int {
	parts, room := 1, GSM7.PerPart()
	for _, r := range body {
		w := Septets(r)
		if w > room {
			parts++
			room = GSM7.PerPart()
		}
		room -= w
	}
	return parts
}

// packUnits fills part after part with a Unicode body of several parts.
func packUnits(body string) int {
	parts, room := 1, UCS2.PerPart()
	for _, r := range body {
		w := 1
		if r > 0xFFFF {
			w = 2
		}
		if w > room {
			parts++
			room = UCS2.PerPart()
		}
		room -= w
	}
	return parts
}

// NonGSM returns the distinct characters of body that GSM 03.38 does not have,
// in the order in which they first appear. It is nil when there are none.
func NonGSM(body string) []rune {
	var runes []rune
next:
	for _, r := range body {
		if Septets(r) != 0 {
			continue
		}
		for _, seen := range runes {
			if seen == r {
				continue next
			}
		}
		runes = append(runes, r)
	}
	return runes
}

// Septets is how many septets r takes in GSM 03.38 with its default alphabet
// and extension table (3GPP TS 23.038, 6.2.1): 1, 2, or 0 when it has none.
func Septets(r rune) int {
	if r >= 0 && r < utf8.RuneSelf {
		return int(asciiSeptets[r])
	}
	return wideSeptets(r)
}

// asciiSeptets is Septets of the ASCII characters, sixteen to a line. Of the
// control characters only line feed and carriage return are in the alphabet,
// and form feed in the extension table; tab and ` are in neither.
const asciiSeptets = "" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x02\x01\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01" + //  !"#$%&'()*+,-./
	"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01" + // 0123456789:;<=>?
	"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01" + // @ABCDEFGHIJKLMNO
	"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x02\x02\x02\x02\x01" + // PQRSTUVWXYZ[\]^_
	"\x00\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01" + // `abcdefghijklmno
	"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x02\x02\x02\x02\x00" //  pqrstuvwxyz{|}~

// wideSeptets is Septets of the characters beyond ASCII.
func wideSeptets(r rune) int {
	switch r {
	case '£', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', 'Ø', 'ø', 'Å', 'å', 'Æ', 'æ', 'ß', 'É', '¤', '¡',
		'Ä', 'Ö', 'Ñ', 'Ü', '§', '¿', 'ä', 'ö', 'ñ', 'ü', 'à',
		'Δ', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ':
		return 1
	case '€':
		return 2
	}
	return 0
}

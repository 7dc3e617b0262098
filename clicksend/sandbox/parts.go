package sandbox

import "unicode/utf8"

// gsmBasic holds the letters of the GSM 03.38 default alphabet beyond ASCII.
const gsmBasic = "£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉÄÖÑÜ§¿äöñüà¡¤"

// gsmTable says what a character costs: 1 septet, 2 when it is in the
// extension table of GSM 03.38, 0 when it is in neither and the whole message
// becomes UCS-2.
type gsmTable struct {
	ascii [128]uint8
	rest  map[rune]uint8
}

func newGSMTable() *gsmTable {
	t := &gsmTable{rest: map[rune]uint8{'€': 2}}
	for c := ' '; c <= '~'; c++ {
		t.ascii[c] = 1
	}
	t.ascii['\n'], t.ascii['\r'] = 1, 1
	t.ascii['`'] = 0
	for _, c := range "^{}\\[~]|\f" {
		t.ascii[c] = 2
	}
	for _, c := range gsmBasic {
		t.rest[c] = 1
	}
	return t
}

func (t *gsmTable) cost(r rune) uint8 {
	if r < 128 {
		return t.ascii[r]
	}
	return t.rest[r]
}

// measure counts a body: its length in septets, or in UTF-16 units when a
// character is outside GSM 03.38.
func (t *gsmTable) measure(body []byte) (length int, unicode bool) {
	for i := 0; i < len(body); {
		if b := body[i]; b < 128 {
			c := t.ascii[b]
			if c == 0 {
				return utf16Len(body), true
			}
			length += int(c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(body[i:])
		c := t.rest[r]
		if c == 0 {
			return utf16Len(body), true
		}
		length += int(c)
		i += n
	}
	return length, false
}

func utf16Len(body []byte) int {
	n := 0
	for i := 0; i < len(body); {
		r, size := utf8.DecodeRune(body[i:])
		i += size
		if n++; r > 0xFFFF {
			n++
		}
	}
	return n
}

// cut shortens body to at most limit septets or UTF-16 units, at a character's
// border.
func (t *gsmTable) cut(body []byte, limit int, unicode bool) []byte {
	used := 0
	for i := 0; i < len(body); {
		r, size := utf8.DecodeRune(body[i:])
		cost := int(t.cost(r))
		if unicode {
			if cost = 1; r > 0xFFFF {
				cost = 2
			}
		}
		if used += cost; used > limit {
			return body[:i]
		}
		i += size
	}
	return body
}

// smsParts counts the parts of a body by the provider's table (160 and then
// 153 septets, 70 and then 67 units: shared/api/semantics.md, 10) and cuts it
// at maxParts parts.
func (t *gsmTable) smsParts(body []byte, maxParts int) (kept []byte, parts int) {
	length, unicode := t.measure(body)
	single, multi := 160, 153
	if unicode {
		single, multi = 70, 67
	}
	if length <= single {
		return body, 1
	}
	if parts = (length + multi - 1) / multi; parts <= maxParts {
		return body, parts
	}
	if maxParts == 1 {
		return t.cut(body, single, unicode), 1
	}
	return t.cut(body, maxParts*multi, unicode), maxParts
}

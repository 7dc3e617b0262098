package campaign

import (
	"unicode/utf8"
)

// PlainPunctuation replaces the punctuation that word processors and web pages
// put in, and that GSM 03.38 lacks, by its plain equivalent, so that one curly
// quote does not make a whole message Unicode. Letters, currency signs and
// emoji are left alone. The table:
//
//	‘ ’ ‚ ‛ ′ ‵ ´ ` ‹ ›           '
//	“ ” „ ‟ ″ ‶ « »               "
//	‐ ‑ ‒ – — ― − ⁃ ﹣ －         -
//	…                             ...
//	• ‣ ∙ ∗                       *
//	· ․                           .
//	⁄ ∕                           /
//	no-break and other wide, thin or typographic spaces, tab      space
//	line and paragraph separator, next line                       line feed
//	soft hyphen, zero-width space, word joiner, byte order mark   nothing
func PlainPunctuation(s string) string {
	at := 0
	for at < len(s) && s[at] < utf8.RuneSelf && s[at] != '`' && s[at] != '\t' {
		at++
	}
	if at == len(s) {
		return s
	}
	return string(appendPlain(make([]byte, 0, len(s)+8), s))
}

// appendPlain appends s with its punctuation made plain.
func appendPlain(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf && c != '`' && c != '\t' {
			b = append(b, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if plain, ok := plainPunctuation(r); ok {
			b = append(b, plain...)
		} else {
			b = append(b, s[i:i+size]...)
		}
		i += size
	}
	return b
}

// plainPunctuation is the table of PlainPunctuation.
func plainPunctuation(r rune) (string, bool) {
	switch r {
	case '\u2018', '\u2019', '\u201A', '\u201B', '\u2032', '\u2035', '\u00B4', '`', '\u2039', '\u203A':
		return "'", true
	case '\u201C', '\u201D', '\u201E', '\u201F', '\u2033', '\u2036', '\u00AB', '\u00BB':
		return `"`, true
	case '\u2010', '\u2011', '\u2012', '\u2013', '\u2014', '\u2015', '\u2212', '\u2043', '\uFE63', '\uFF0D':
		return "-", true
	case '\u2026':
		return "...", true
	case '\u2022', '\u2023', '\u2219', '\u2217':
		return "*", true
	case '\u00B7', '\u2024':
		return ".", true
	case '\u2044', '\u2215':
		return "/", true
	case '\t', '\u00A0', '\u1680', '\u2000', '\u2001', '\u2002', '\u2003', '\u2004', '\u2005', '\u2006',
		'\u2007', '\u2008', '\u2009', '\u200A', '\u202F', '\u205F', '\u3000':
		return " ", true
	case '\u2028', '\u2029', '\u0085':
		return "\n", true
	case '\u00AD', '\u200B', '\u2060', '\uFEFF':
		return "", true
	}
	return "", false
}

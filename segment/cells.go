package segment

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/campaign"
)

// parseNumber reads a cell as a number: digits with an optional sign before
// them and an optional fraction after a point. Thousands separators, currencies,
// exponents and decimal commas are not guessed at: 1,234 is a thousand and more
// to one and little more than one to another.
func parseNumber(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	digits := s
	if digits != "" && (digits[0] == '+' || digits[0] == '-') {
		digits = digits[1:]
	}
	if !plainNumber(digits) {
		return 0, false
	}
	// A count or an age needs no more than this.
	if len(digits) <= 9 {
		n := int64(0)
		for i := 0; ; i++ {
			if i == len(digits) {
				if s[0] == '-' {
					n = -n
				}
				return float64(n), true
			}
			if digits[i] == '.' {
				break
			}
			n = n*10 + int64(digits[i]-'0')
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// plainNumber reports whether s is digits with at most one point among them
// and a digit on at least one side of it.
func plainNumber(s string) bool {
	point, digits := false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.' && !point:
			point = true
		default:
			return false
		}
	}
	return digits > 0
}

// dateLength is that of 2026-01-31.
const dateLength = len(time.DateOnly)

// parseDate reads a cell as a date: 2026-01-31, with or without a time behind
// it. The result compares as dates do.
func parseDate(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if len(s) < dateLength || len(s) > dateLength && s[dateLength] != ' ' && s[dateLength] != 'T' && s[dateLength] != 't' {
		return "", false
	}
	s = s[:dateLength]
	for i := 0; i < dateLength; i++ {
		if c := s[i]; i == 4 || i == 7 {
			if c != '-' {
				return "", false
			}
		} else if c < '0' || c > '9' {
			return "", false
		}
	}
	month, day := int(s[5]-'0')*10+int(s[6]-'0'), int(s[8]-'0')*10+int(s[9]-'0')
	if month < 1 || month > 12 || day < 1 || day > 31 {
		return "", false
	}
	if day > 28 {
		if _, err := time.Parse(time.DateOnly, s); err != nil {
			return "", false
		}
	}
	return s, true
}

// looksLikeDate reports whether a text is a date in some way of writing: three
// groups of digits with the same sign between them.
func looksLikeDate(s string) bool {
	s = strings.TrimSpace(s)
	at := strings.IndexAny(s, "-/.")
	if at < 1 {
		return false
	}
	parts := strings.Split(s, s[at:at+1])
	for _, p := range parts {
		if p == "" || len(p) > 4 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return len(parts) == 3
}

// fold is a text as comparisons see it: in lower case, without white space at
// its ends, and with one space for more of them.
func fold(s string) string { return string(campaign.AppendFolded(nil, s)) }

// folded is fold of a cell, in the run's buffer until the next.
func (r *run) folded(s string) []byte {
	r.buf = campaign.AppendFolded(r.buf[:0], s)
	return r.buf
}

// mayBegin reports whether the text may be folded to one that begins as the
// folded one does. Most cells are told from what is looked for by their first
// letter.
func mayBegin(s string, folded []byte) bool {
	if s == "" || len(folded) == 0 {
		return true
	}
	c := s[0]
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c == folded[0] || c >= utf8.RuneSelf || folded[0] >= utf8.RuneSelf || c <= ' '
}

// length is the number of characters of a cell, without white space at its ends.
func length(s string) float64 { return float64(utf8.RuneCountInString(strings.TrimSpace(s))) }

package campaign

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// EmailsIn returns the e-mail addresses in a text as people have them, in lower
// case and each once: ann@example.com, Ann <ann@example.com>, mailto:ann@example.com,
// several with ; , or | between them. They are alone when there is nothing in the text
// but them and the names that go with them, and then the text is not about
// something else.
func EmailsIn(text string) (emails []string, alone bool) {
	if plainEmail(text) {
		return []string{strings.ToLower(text)}, true
	}
	if alone = utf8.ValidString(text); !alone {
		return nil, false
	}
	for piece := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(",;|\r\n", r) }) {
		words := strings.Fields(piece)
		if i, j := strings.LastIndexByte(piece, '<'), strings.LastIndexByte(piece, '>'); i >= 0 && j > i {
			words = []string{piece[i+1 : j]} // before it stands the name
		}
		for _, word := range words {
			email := unwrapEmail(word)
			switch {
			case !isEmail(email):
				// "Smith, Ann" <ann@example.com>: the piece before the comma.
				alone = alone && !strings.Contains(word, "@") && strings.HasPrefix(strings.TrimSpace(piece), `"`)
			case !slices.Contains(emails, email):
				emails = append(emails, email)
			}
		}
	}
	return emails, alone && len(emails) > 0
}

// unwrapEmail takes off what stands around an e-mail address, and case, which
// tells none from another though the part before the @ could in theory depend
// on it.
func unwrapEmail(s string) string {
	const around = " \t\u00a0\u200b\ufeff<>()[]{}\"'`´‘’“”„«»"
	for {
		before := s
		s = strings.Trim(s, around)
		s = strings.TrimRight(s, ".:")
		if scheme, rest, ok := strings.Cut(s, ":"); ok && strings.EqualFold(scheme, "mailto") {
			s, _, _ = strings.Cut(rest, "?")
		}
		if s == before {
			return strings.ToLower(s)
		}
	}
}

// isEmail reports whether a text can be an e-mail address and nothing else.
func isEmail(s string) bool {
	name, domain, ok := strings.Cut(s, "@")
	return ok && name != "" && domain != "" && !strings.Contains(domain, "@") && len(s) <= 320 &&
		!strings.ContainsFunc(s, func(r rune) bool {
			return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("<>,;\"", r)
		})
}

// plainEmail reports whether a text is surely an e-mail address with nothing
// around it: most are.
func plainEmail(s string) bool {
	at := -1
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '+':
		case c == '.' && i > 0 && i < len(s)-1:
		case c == '@' && at < 0 && i > 0 && i < len(s)-1:
			at = i
		default:
			return false
		}
	}
	return at >= 0 && len(s) <= 320
}

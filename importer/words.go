package importer

import (
	"strings"
	"unicode"
)

// What stands beside a number may be what it is (Mobile: 0412 345 678), and may
// as well be why nobody should be written to on it (wrong number, deceased). The
// library leaves words out, and takes letters among digits for those of a
// telephone's keys: 0412 345 TBA would be somebody's number. So that nothing is
// sent to a stranger, words are taken only when they are known to change nothing.

// errWords is the reason of a number with such words.
var errWords = &numberError{CodeNotANumber, "beside the digits stands what is no part of a phone number: if the number is good, leave nothing but it in the cell"}

// labels are what people, phones and exports write beside a number to say which
// one it is. They are in lower case.
var labels = func() map[string]bool {
	all := map[string]bool{}
	for _, l := range strings.Fields(`
		mobile mob mbl m cell cellphone cellular phone phones ph p telephone tel t home h work w office business bus b direct dir d private
		personal main primary preferred landline whatsapp wa sms text txt viber signal telegram iphone number num nr and ah bh none nil
		handy mobil mobiltelefon mobilnummer mobilnr mobiltel handynr handynummer telefon telefonnummer telefonnr telnr fon nummer festnetz privat geschäftlich geschaeftlich
		dienstlich arbeit firma büro buero haupt
		portable téléphone telephone tél domicile bureau travail numéro numero fixe
		móvil movil celular cel teléfono telefono tlf tfno tfn fijo casa trabajo oficina telemóvel telemovel telefone
		cellulare cellulari telefono ufficio fisso mobiel mobiele thuis werk telefoon kantoor
		mobilnummer arbejde hjem arbete hem jobb matkapuhelin puhelin puh gsm komórka komorka kom telefon dom praca mobilní mobilni domů mobiltelefon
		тел моб телефон мобильный сот дом раб мобільний κινητό κιν τηλ τηλέφωνο cep telefonu iş ev
		携帯 携帯電話 電話 電話番号 自宅 手机 手機 手机号 电话 電話 휴대폰 전화 핸드폰 جوال هاتف موبايل נייד טלפון โทร มือถือ đt di động`) {
		all[l] = true
	}
	return all
}()

// extensions are the words that the library takes for the beginning of an
// extension when digits follow.
var extensions = map[string]bool{
	"x": true, "ext": true, "extn": true, "xt": true, "xtn": true, "extension": true, "extensión": true, "extensio": true, "extensió": true, "int": true, "anexo": true, "доб": true,
}

// wording is what the letters of a text are.
type wording int

const (
	harmless  wording = iota // there are none, or they change nothing
	perhapsIn                // they may be digits: 1800 FLOWERS
	doubtful                 // they may say anything, or hide digits
)

// words sorts the letters of a text that has digits, and returns it without
// those that only say what the number is.
func words(text string) (bare string, w wording) {
	if strings.IndexFunc(text, isASCIIDigit) < 0 {
		return text, harmless // the library knows that it is none
	}
	text = strings.NewReplacer("n/a", "", "N/A", "").Replace(text)
	var out strings.Builder
	digits := 0
	for at := 0; at < len(text); {
		rest := text[at:]
		end := strings.IndexFunc(rest, func(r rune) bool { return !isWord(r) })
		if end < 0 {
			end = len(rest)
		}
		if end == 0 {
			c := rest[0]
			switch {
			case c >= '0' && c <= '9':
				digits++
			case digits > 0 && hidesDigits(rest):
				return text, doubtful
			}
			out.WriteByte(c)
			at++
			continue
		}
		word := rest[:end]
		low := strings.ToLower(word)
		switch {
		case digits > 0 && extensions[low] && digitFollows(rest[end:]):
			out.WriteString(word)
		case labels[low] && !(at > 0 && isASCIIDigit(rune(text[at-1])) && end < len(rest) && isASCIIDigit(rune(rest[end]))):
			out.WriteByte(' ')
		case digits < fewestBeforeLetters || strings.Trim(low, "x") == "" || strings.Trim(low, "abcdefghijklmnopqrstuvwxyz") != "":
			return text, doubtful
		default:
			w = perhapsIn
		}
		if w == perhapsIn {
			out.WriteString(word)
		}
		at += end
	}
	if w == perhapsIn {
		return text, w
	}
	return out.String(), w
}

// fewestBeforeLetters is how many digits stand before letters that are digits:
// 13 CATS.
const fewestBeforeLetters = 2

func isASCIIDigit(r rune) bool { return r >= '0' && r <= '9' }

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsMark(r) }

// hidesDigits reports whether a text behind digits begins with what stands for
// digits that are not told.
func hidesDigits(rest string) bool {
	if strings.HasPrefix(rest, "...") && strings.Trim(rest, ". ") == "" {
		return true
	}
	for _, mark := range []string{"*", "?", "_", "•", "●", "·", "█", "…"} {
		if strings.HasPrefix(rest, mark) {
			return true
		}
	}
	return false
}

// digitFollows reports whether the next thing of a text is a digit.
func digitFollows(rest string) bool {
	rest = strings.TrimLeft(rest, " .:=#-")
	return rest != "" && isASCIIDigit(rune(rest[0]))
}

// withoutWords is a text without its words, for those who would rather have the
// number than miss it: who wrote STOP beside it must not be written to.
func withoutWords(text string) string {
	return strings.Map(func(r rune) rune {
		if isWord(r) {
			return ' '
		}
		return r
	}, text)
}

// withLetters reads a number some of whose digits are letters. People who get
// messages have none: such are the numbers of firms, which are free or cost
// the same from anywhere.
func withLetters(text, country string) (e164, region string, _ *numberError) {
	e164, region, err := parseWithLibrary(text, country)
	if err == errNational {
		return "", "", err
	}
	if err == nil {
		switch NumberKind(e164) {
		case KindTollFree, KindPremiumRate, KindSharedCost, KindUAN:
			return e164, region, nil
		}
	}
	return "", "", errOfWords(text)
}

// errOfWords is why a text with words in it is no number.
func errOfWords(text string) *numberError {
	if countDigits(text) < fewestDigits {
		return errNotANumber
	}
	return errWords
}

// errNumberCell is the reason of a number that a spreadsheet reckoned with.
var errNumberCell = &numberError{CodeNotANumber, "this is a negative number or a fraction, and no phone number: write it like +61412345678"}

// isReckoned reports whether a text is a negative number, or a fraction as no
// phone number is written: 0.412345683, 4123457.54.
func isReckoned(text string) bool {
	if len(text) > 1 && text[0] == '-' && isASCIIDigit(rune(text[1])) {
		return true
	}
	i := strings.IndexAny(text, ".,")
	if i < 1 || strings.TrimPrefix(text[:i], "+") == "" {
		return false
	}
	whole, fraction := strings.TrimPrefix(text[:i], "+"), text[i+1:]
	if !allDigits(whole) || !allDigits(fraction) {
		return false
	}
	return whole == "0" || whole[0] != '0' && len(whole) >= fewestDigits && len(fraction) <= mostOfFraction
}

// mostOfFraction is how many digits behind a point make a fraction, when there
// are as many before it as a number has: 51255.50123 is one in two parts.
const mostOfFraction = 3

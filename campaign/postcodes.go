package campaign

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// postalCodes says how a country writes its postal codes.
type postalCodes struct {
	// forms they may have, without the spaces and dashes that stand in them: 9 is
	// a digit, A a letter, * either; other characters stand for themselves.
	forms string
	// zeros is how many a code may begin with that a spreadsheet drops, because it
	// takes the code for a number.
	zeros int
}

// formsOf is the table. Its source are the patterns of the Unicode CLDR
// (postalCodeData.xml; Unicode licence), which are no longer kept up, with what
// changed since by the Universal Postal Union's descriptions of the countries'
// addresses: Ireland, Israel, Kazakhstan, Korea, Latvia, Lithuania, Serbia,
// Taiwan. Where a code may be right by either, it is; a country that is not in
// the table takes any code.
func formsOf(country string) (postalCodes, bool) {
	switch country {
	case "AU", "DK", "GE", "NZ", "PH":
		return postalCodes{"9999", 1}, true
	case "SJ":
		return postalCodes{"9999", 2}, true
	case "NO", "ZA":
		return postalCodes{"9999", 3}, true // 0001 is in Oslo, and in Pretoria
	case "AL", "AT", "BD", "BE", "BG", "CH", "CY", "HU", "LI", "LU", "MK", "SI", "TN":
		return postalCodes{"9999", 0}, true
	case "LV", "MD", "AZ":
		return postalCodes{"9999|" + country + "9999", 0}, true
	case "AM":
		return postalCodes{"9999|999999", 0}, true
	case "DE", "DZ", "ES", "FR", "GT", "MX", "MY", "SK", "TR", "UA":
		return postalCodes{"99999", 1}, true
	case "FI", "AX", "IT", "VA", "KE", "LK", "PL":
		return postalCodes{"99999", 2}, true
	case "BA", "CR", "CZ", "DO", "EE", "GR", "HR", "ID", "MA", "MC", "ME", "PK", "SE", "SM", "TH", "UY",
		"GP", "MQ", "GF", "RE", "YT", "PM", "NC", "PF", "WF":
		return postalCodes{"99999", 0}, true
	case "US", "PR", "VI", "GU", "AS", "MP":
		return postalCodes{"99999|999999999", 2}, true
	case "LT":
		return postalCodes{"99999|LT99999", 1}, true
	case "KR":
		return postalCodes{"99999|999999", 1}, true
	case "RS":
		return postalCodes{"99999|999999", 0}, true
	case "SA":
		return postalCodes{"99999|999999999", 0}, true
	case "EG", "IL":
		return postalCodes{"99999|9999999", 0}, true
	case "BR":
		return postalCodes{"99999999|99999", 1}, true
	case "CN", "CO", "EC", "RO", "SG":
		return postalCodes{"999999", 1}, true
	case "KZ":
		return postalCodes{"999999|A99A9A9", 1}, true
	case "BY", "IN", "RU", "UZ":
		return postalCodes{"999999", 0}, true
	case "CL":
		return postalCodes{"9999999", 0}, true
	case "JP":
		return postalCodes{"9999999", 2}, true
	case "PT":
		return postalCodes{"9999999|9999", 0}, true
	case "TW":
		return postalCodes{"999|99999|999999", 0}, true
	case "VN":
		return postalCodes{"999999|99999", 0}, true
	case "IS", "FO":
		return postalCodes{"999", 0}, true
	case "AD":
		return postalCodes{"AD999", 0}, true
	case "AR":
		return postalCodes{"9999|A9999AAA", 0}, true
	case "CA":
		return postalCodes{"A9A9A9", 0}, true
	case "GB", "JE", "GG", "IM":
		return postalCodes{"A99AA|A999AA|AA99AA|AA999AA|A9A9AA|AA9A9AA|GIR0AA|BFPO9|BFPO99|BFPO999|BFPO9999", 0}, true
	case "IE":
		return postalCodes{"A99****|A9W****|D9|D99|D6W|DUBLIN9|DUBLIN99|DUBLIN6W", 0}, true
	case "MT":
		return postalCodes{"AAA9999|AAA999|AAA99", 0}, true
	case "NL":
		return postalCodes{"9999AA", 0}, true
	}
	return postalCodes{}, false
}

// HasPostalCodes reports whether a country has postal codes at all, by the
// Universal Postal Union. The provider asks for one all the same.
func HasPostalCodes(country string) bool {
	switch country {
	case "AE", "AG", "AO", "AW", "BF", "BI", "BJ", "BO", "BQ", "BS", "BW", "BZ", "CD", "CF", "CG", "CI", "CK", "CM", "CW", "DJ", "DM",
		"ER", "FJ", "GA", "GD", "GM", "GQ", "GY", "HK", "JM", "KI", "KM", "KN", "KP", "LY", "ML", "MO", "MR", "MW", "NR", "NU", "QA", "RW",
		"SB", "SC", "SL", "SR", "SS", "ST", "SX", "SY", "TD", "TG", "TK", "TL", "TO", "TV", "UG", "VU", "YE", "ZW":
		return false
	}
	return true
}

// NoPostalCode is what is sent for a postal code to a country that has none: the
// provider requires the field (shared/api/semantics.md, section 15).
const NoPostalCode = "0000"

// plate is the letter that people put before a postal code from abroad, where it
// is not the country's code: D-10115.
func plate(country string) string {
	switch country {
	case "DE", "FR", "IT", "BE", "LU", "NO", "PT", "HU":
		return country[:1]
	case "AT":
		return "A"
	case "ES":
		return "E"
	case "SE":
		return "S"
	case "FI":
		return "FIN"
	}
	return country
}

// PostalCode writes a postal code as its country does: in capitals, with the
// zeros that a spreadsheet dropped, without the ".0" that it added and without
// the country before it. It is not ok when it is none that the country can have;
// it is then as it was.
func PostalCode(code, country string) (written string, ok bool) {
	p, known := formsOf(country)
	if !known || code == "" {
		return code, true
	}
	written = strings.ToUpper(strings.Join(strings.Fields(plainCode(code)), " "))
	if p.fits(written) || isTestPostalCode(written) {
		return written, true
	}
	for _, prefix := range [...]string{country, plate(country)} {
		if rest, cut := strings.CutPrefix(written, prefix); cut {
			if rest = strings.TrimLeft(rest, " -"); p.fits(rest) {
				return rest, true
			}
		}
	}
	if whole, cut := strings.CutSuffix(written, ".0"); cut && onlyDigits(whole) {
		written = whole
	}
	form, _, _ := strings.Cut(p.forms, "|")
	if missing := len(form) - len(written); missing > 0 && missing <= p.zeros && onlyDigits(written) {
		written = strings.Repeat("0", missing) + written
	}
	if p.fits(written) {
		return written, true
	}
	return code, false
}

// plainCode writes a code in ASCII as far as it is one: １００－０００１ and 〒100-0001
// are 100-0001.
func plainCode(code string) string {
	if strings.IndexFunc(code, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return code
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '〒', r == '〠', unicode.Is(unicode.Cf, r):
			return -1
		case r >= '！' && r <= '～':
			return r - '！' + '!'
		case r == '−', r == 'ー', r == 'ｰ', unicode.Is(unicode.Pd, r):
			return '-'
		}
		return r
	}, code)
}

// isTestPostalCode reports whether the provider takes a letter to that code for
// a test (shared/api/semantics.md, section 5), whatever the country.
func isTestPostalCode(code string) bool { return code == "11111" || code == "22222" || code == "33333" }

func onlyDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// fits reports whether a code in capitals has one of the forms.
func (p postalCodes) fits(code string) bool {
	for rest := p.forms; rest != ""; {
		var form string
		form, rest, _ = strings.Cut(rest, "|")
		if fitsForm(code, form) {
			return true
		}
	}
	return false
}

func fitsForm(code, form string) bool {
	i := 0
	for _, c := range []byte(code) {
		if c == ' ' || c == '-' || c == '.' {
			continue
		}
		if i == len(form) {
			return false
		}
		digit, letter := c >= '0' && c <= '9', c >= 'A' && c <= 'Z'
		switch form[i] {
		case '9':
			if !digit {
				return false
			}
		case 'A':
			if !letter {
				return false
			}
		case '*':
			if !digit && !letter {
				return false
			}
		default:
			if c != form[i] {
				return false
			}
		}
		i++
	}
	return i == len(form)
}

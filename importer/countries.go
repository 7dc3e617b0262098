package importer

import (
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
	"golang.org/x/text/unicode/norm"
)

// countries turns what stands in a country column into an ISO 3166-1 alpha-2
// code: a code of two or three letters, or a name in one of many languages.
type countries struct {
	exact  map[string]string // as it is mostly written, to find it without folding
	folded map[string]string
}

// newCountries is made once for the process. It knows the countries that have
// phone numbers, under the names of the Unicode CLDR in the languages that most
// people write in, and some everyday and official ones. A name that is that of
// one country in one language and of another in another is left out, unless it
// is English.
var newCountries = sync.OnceValue(func() *countries {
	c := &countries{exact: map[string]string{}, folded: map[string]string{}}
	set := func(name, code string) {
		c.folded[foldCountry(name)] = code
	}
	english := display.English.Regions()
	for code := range phonenumbers.GetSupportedRegions() {
		region, err := language.ParseRegion(code)
		if err != nil {
			continue
		}
		for _, spelt := range []string{code, region.ISO3(), english.Name(region)} {
			set(spelt, code)
			c.exact[spelt], c.exact[strings.ToLower(spelt)] = code, code
		}
	}
	for code, names := range everydayCountries() {
		for _, name := range strings.Split(names, "|") {
			set(name, code)
		}
	}
	return c
})

// foreignNames are the names in other languages, folded; empty where one names
// several countries. They take a tenth of a second to gather, and are, when a
// name is no other.
var foreignNames = sync.OnceValue(func() map[string]string {
	foreign := map[string]string{}
	for _, tag := range namingLanguages() {
		names := display.Regions(tag)
		if names == nil {
			continue
		}
		for code := range phonenumbers.GetSupportedRegions() {
			region, err := language.ParseRegion(code)
			if err != nil {
				continue
			}
			name := foldCountry(names.Name(region))
			if other, known := foreign[name]; known && other != code {
				foreign[name] = ""
				continue
			}
			foreign[name] = code
		}
	}
	return foreign
})

// namingLanguages are those whose names of countries are understood besides
// English.
func namingLanguages() []language.Tag {
	return []language.Tag{
		language.German, language.French, language.Spanish, language.Portuguese, language.EuropeanPortuguese, language.Italian, language.Dutch,
		language.Danish, language.Swedish, language.Norwegian, language.Finnish, language.Icelandic, language.Polish, language.Czech, language.Slovak,
		language.Hungarian, language.Romanian, language.Bulgarian, language.Greek, language.Croatian, language.Serbian, language.Slovenian,
		language.Estonian, language.Latvian, language.Lithuanian, language.Russian, language.Ukrainian, language.Turkish, language.Arabic,
		language.Hebrew, language.Hindi, language.Indonesian, language.Malay, language.Vietnamese, language.Thai, language.Japanese, language.Korean,
		language.SimplifiedChinese, language.TraditionalChinese, language.Catalan,
	}
}

// everydayCountries are names and codes that the CLDR does not have: what people
// call a country, what it calls itself on paper, and the codes of FIFA and the
// IOC where they are not another country's in ISO 3166-1.
func everydayCountries() map[string]string {
	return map[string]string{
		"AE": "الإمارات|uae|u.a.e.|emirates|the united arab emirates",
		"AG": "antigua",
		"AL": "shqipëria|shqipëri",
		"AM": "հայաստան",
		"AT": "republik österreich",
		"AU": "aus|commonwealth of australia|straya",
		"AZ": "azərbaycan",
		"BA": "bosnia|bosnia herzegovina|bosnia and herzegovina|bih",
		"BD": "বাংলাদেশ",
		"BE": "kingdom of belgium",
		"BG": "bul",
		"BN": "brunei darussalam",
		"BO": "plurinational state of bolivia|bolivia (plurinational state of)",
		"BR": "federative republic of brazil",
		"BS": "the bahamas",
		"BY": "weißrussland|weissrussland",
		"CD": "democratic republic of the congo|dr congo|drc|d.r. congo|congo, democratic republic of the|congo kinshasa",
		"CG": "republic of the congo|congo|congo brazzaville",
		"CH": "sui|swiss confederation|confoederatio helvetica",
		"CI": "elfenbeinküste|ivory coast|cote d ivoire",
		"CL": "chi",
		"CN": "中华人民共和国|中國|中国|people's republic of china|prc|p.r. china|pr china|mainland china",
		"CV": "cape verde|cabo verde",
		"CZ": "česká republika|tschechische republik|république tchèque|república checa|repubblica ceca|tsjechische republiek|republika czeska|čr|czech republic|the czech republic",
		"DE": "ger|federal republic of germany|brd|bundesrepublik deutschland",
		"DK": "den|kingdom of denmark",
		"DO": "the dominican republic",
		"ES": "kingdom of spain",
		"FR": "french republic|république française|metropolitan france",
		"GB": "uk|u.k.|england|scotland|wales|great britain|northern ireland|britain|the united kingdom|united kingdom of great britain and northern ireland|united kingdom (uk)|g.b.|großbritannien|grossbritannien|grande-bretagne|gran bretaña|grã-bretanha|gran bretagna|groot-brittannië|storbritannien|wielka brytania|angleterre|inglaterra|inghilterra|великобритания",
		"GE": "საქართველო",
		"GM": "the gambia",
		"GR": "hellas|hellenic republic|gre",
		"HK": "香港|hong kong|hong kong sar|hongkong|hong kong, china",
		"HR": "cro",
		"ID": "ina",
		"IE": "republic of ireland|eire|southern ireland|ireland, republic of",
		"IN": "republic of india|bharat",
		"IR": "ایران|islamic republic of iran|iran, islamic republic of|iran (islamic republic of)",
		"KH": "កម្ពុជា",
		"KP": "democratic people's republic of korea|korea, democratic people's republic of|dprk",
		"KR": "한국|korea|republic of korea|korea, republic of|korea, south|rok|s. korea|south korea",
		"KZ": "қазақстан",
		"LA": "lao people's democratic republic|lao pdr",
		"LK": "ශ්\u200dරී ලංකාව",
		"LU": "lëtzebuerg",
		"LV": "lat",
		"MD": "republic of moldova|moldova, republic of",
		"MK": "северна македонија|македонија|macedonia|former yugoslav republic of macedonia|fyrom|republic of north macedonia",
		"MM": "birma|burma|union of myanmar",
		"MN": "монгол улс",
		"MO": "macau|macao|macau sar",
		"MT": "malta",
		"MX": "united mexican states",
		"MY": "mas",
		"NL": "the netherlands|holland|hollande|holanda|olanda|kingdom of the netherlands|ned",
		"NP": "नेपाल",
		"NZ": "aotearoa|new zealand / aotearoa|aotearoa new zealand",
		"PH": "pilipinas|the philippines|phi|republic of the philippines",
		"PK": "پاکستان",
		"PS": "palestine|state of palestine|palestine, state of",
		"PT": "por|portuguese republic",
		"PY": "par",
		"RU": "российская федерация|рф|russian federation|the russian federation",
		"SA": "السعودية|ksa|kingdom of saudi arabia|saudi",
		"SG": "republic of singapore|sin",
		"SI": "slo",
		"SK": "slovenská republika|slovak republic|slowakische republik",
		"SY": "syrian arab republic",
		"SZ": "swaziland",
		"TH": "ประเทศไทย",
		"TL": "east timor",
		"TR": "turkey|türkiye|republic of turkey",
		"TT": "trinidad|tri",
		"TW": "taiwan, province of china|taiwan, republic of china|r.o.c.|chinese taipei|tpe",
		"TZ": "united republic of tanzania|tanzania, united republic of|tan",
		"US": "ee. uu.|u.s.a.|u.s.|united states of america|america|the united states|the united states of america|united states (us)|us of a|estados unidos de américa|états-unis d'amérique|vereinigte staaten von amerika|stati uniti d'america|ee.uu.|eeuu|eua|сша",
		"UY": "uru",
		"UZ": "oʻzbekiston|o'zbekiston",
		"VA": "holy see|vatican|vatican city state",
		"VE": "bolivarian republic of venezuela|venezuela, bolivarian republic of|venezuela (bolivarian republic of)",
		"VN": "viet nam|socialist republic of vietnam|vie",
		"ZA": "rsa|republic of south africa|s. africa",
		"ZM": "zam",
		"ZW": "zim",
	}
}

// CountryCode understands what stands in a column of countries: a code of two
// or three letters, or a name in one of many languages. It returns the
// ISO 3166-1 alpha-2 code.
func CountryCode(text string) (code string, ok bool) { return newCountries().code(text) }

func (c *countries) code(text string) (code string, ok bool) {
	if code, ok = c.exact[text]; ok {
		return code, true
	}
	name := foldCountry(text)
	if code, ok = c.folded[name]; ok || name == "" {
		return code, ok
	}
	if code = foreignNames()[name]; code != "" {
		return code, true
	}
	return c.twice(text)
}

// twice understands a country that stands there in two ways: DE - Germany,
// Great Britain (UK). Both have to be the same.
func (c *countries) twice(text string) (code string, ok bool) {
	parts := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("()[]/-–—,;:|", r) })
	named := 0
	for _, part := range parts {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if len(part) == len(text) {
			return "", false
		}
		of, ok := c.inColumn(part)
		if !ok || code != "" && of != code {
			return "", false
		}
		code = of
		named++
	}
	return code, named > 1
}

// inColumn is code for a cell of which it is sure that it is meant for a country:
// it understands the letter on the country's cars, and a dialling code with its
// plus where that is of one country. (Without it 61 may be the key of some table.)
func (c *countries) inColumn(text string) (code string, ok bool) {
	if code, ok = c.code(text); ok {
		return code, true
	}
	if digits, cut := strings.CutPrefix(text, "+"); cut && allDigits(digits) && len(digits) <= 3 {
		return ofDiallingCode(digits)
	}
	code, ok = map[string]string{
		"A": "AT", "B": "BE", "D": "DE", "E": "ES", "F": "FR", "H": "HU", "I": "IT", "L": "LU", "N": "NO", "P": "PT", "S": "SE",
	}[text]
	return code, ok
}

// ofDiallingCode is the country that has a calling code for itself, or but for
// an island or two.
func ofDiallingCode(digits string) (code string, ok bool) {
	number, err := strconv.Atoi(digits)
	if err != nil {
		return "", false
	}
	regions := phonenumbers.GetRegionCodesForCountryCode(number)
	switch {
	case len(regions) == 0 || regions[0] == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY:
		return "", false
	case len(regions) == 1:
		return regions[0], true
	}
	switch number {
	case 39, 44, 47, 61, 212, 358:
		return regions[0], true
	}
	return "", false
}

// foldCountry is a name without regard to case, accents, punctuation and white
// space.
func foldCountry(name string) string {
	var b strings.Builder
	gap := false
	for _, r := range norm.NFKD.String(name) {
		switch {
		case unicode.Is(unicode.Mn, r) && r < 0x370: // an accent of the Latin script
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
			if gap && b.Len() > 0 {
				b.WriteByte(' ')
			}
			gap = false
			b.WriteRune(unicode.ToLower(r))
		case r == '.' || r == '\'' || r == '’':
		case r == '&':
			b.WriteString(" and ")
			gap = false
		default:
			gap = true
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

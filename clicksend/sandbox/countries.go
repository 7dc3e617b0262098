package sandbox

// country is one country of the provider's list. Its id on the wire is its
// position in countries plus one; Australia is 1, as in the documents
// (shared/api/examples/GET_country_list.json).
type country struct {
	code    string // ISO 3166-1 alpha-2
	name    string
	region  string
	calling string // country calling code, without plus
	min     int    // fewest digits after the calling code the sandbox believes
	max     int    // most digits after the calling code
	main    bool   // owns the calling code where several countries share it
}

// countries is the provider's list of countries: calling codes and possible
// lengths are those of Google's libphonenumber.
var countries = [...]country{
	{"AU", "Australia", "Oceania", "61", 9, 9, true},
	{"AF", "Afghanistan", "Asia", "93", 7, 9, true},
	{"AL", "Albania", "Europe", "355", 6, 9, true},
	{"DZ", "Algeria", "Africa", "213", 8, 9, true},
	{"AS", "American Samoa", "Oceania", "1", 10, 10, false},
	{"AD", "Andorra", "Europe", "376", 6, 9, true},
	{"AO", "Angola", "Africa", "244", 9, 9, true},
	{"AI", "Anguilla", "Americas", "1", 10, 10, false},
	{"AG", "Antigua & Barbuda", "Americas", "1", 10, 10, false},
	{"AR", "Argentina", "Americas", "54", 6, 11, true},
	{"AM", "Armenia", "Asia", "374", 6, 8, true},
	{"AW", "Aruba", "Americas", "297", 7, 7, true},
	{"AC", "Ascension Island", "Oceania", "247", 6, 6, true},
	{"AT", "Austria", "Europe", "43", 6, 13, true},
	{"AZ", "Azerbaijan", "Asia", "994", 7, 9, true},
	{"BS", "Bahamas", "Americas", "1", 10, 10, false},
	{"BH", "Bahrain", "Asia", "973", 8, 8, true},
	{"BD", "Bangladesh", "Asia", "880", 6, 10, true},
	{"BB", "Barbados", "Americas", "1", 10, 10, false},
	{"BY", "Belarus", "Europe", "375", 6, 11, true},
	{"BE", "Belgium", "Europe", "32", 8, 9, true},
	{"BZ", "Belize", "Americas", "501", 7, 11, true},
	{"BJ", "Benin", "Africa", "229", 8, 10, true},
	{"BM", "Bermuda", "Americas", "1", 10, 10, false},
	{"BT", "Bhutan", "Asia", "975", 6, 8, true},
	{"BO", "Bolivia", "Americas", "591", 7, 9, true},
	{"BA", "Bosnia & Herzegovina", "Europe", "387", 6, 9, true},
	{"BW", "Botswana", "Africa", "267", 7, 10, true},
	{"BR", "Brazil", "Americas", "55", 8, 11, true},
	{"IO", "British Indian Ocean Territory", "Oceania", "246", 7, 7, true},
	{"VG", "British Virgin Islands", "Americas", "1", 10, 10, false},
	{"BN", "Brunei", "Asia", "673", 7, 7, true},
	{"BG", "Bulgaria", "Europe", "359", 6, 12, true},
	{"BF", "Burkina Faso", "Africa", "226", 8, 8, true},
	{"BI", "Burundi", "Africa", "257", 8, 8, true},
	{"KH", "Cambodia", "Asia", "855", 6, 10, true},
	{"CM", "Cameroon", "Africa", "237", 8, 9, true},
	{"CA", "Canada", "Americas", "1", 10, 10, false},
	{"CV", "Cape Verde", "Africa", "238", 7, 7, true},
	{"BQ", "Caribbean Netherlands", "Americas", "599", 7, 8, false},
	{"KY", "Cayman Islands", "Americas", "1", 10, 10, false},
	{"CF", "Central African Republic", "Africa", "236", 8, 8, true},
	{"TD", "Chad", "Africa", "235", 8, 8, true},
	{"CL", "Chile", "Americas", "56", 9, 11, true},
	{"CN", "China", "Asia", "86", 10, 11, true},
	{"CX", "Christmas Island", "Oceania", "61", 6, 12, false},
	{"CC", "Cocos (Keeling) Islands", "Oceania", "61", 6, 12, false},
	{"CO", "Colombia", "Americas", "57", 6, 11, true},
	{"KM", "Comoros", "Africa", "269", 6, 7, true},
	{"CG", "Congo - Brazzaville", "Africa", "242", 9, 9, true},
	{"CD", "Congo - Kinshasa", "Africa", "243", 7, 10, true},
	{"CK", "Cook Islands", "Oceania", "682", 5, 5, true},
	{"CR", "Costa Rica", "Americas", "506", 8, 10, true},
	{"HR", "Croatia", "Europe", "385", 6, 9, true},
	{"CU", "Cuba", "Americas", "53", 6, 10, true},
	{"CW", "Curaçao", "Americas", "599", 7, 8, true},
	{"CY", "Cyprus", "Asia", "357", 8, 8, true},
	{"CZ", "Czechia", "Europe", "420", 9, 12, true},
	{"CI", "Côte d’Ivoire", "Africa", "225", 10, 10, true},
	{"DK", "Denmark", "Europe", "45", 8, 8, true},
	{"DJ", "Djibouti", "Africa", "253", 8, 8, true},
	{"DM", "Dominica", "Americas", "1", 10, 10, false},
	{"DO", "Dominican Republic", "Americas", "1", 10, 10, false},
	{"EC", "Ecuador", "Americas", "593", 7, 11, true},
	{"EG", "Egypt", "Africa", "20", 6, 10, true},
	{"SV", "El Salvador", "Americas", "503", 7, 11, true},
	{"GQ", "Equatorial Guinea", "Africa", "240", 9, 9, true},
	{"ER", "Eritrea", "Africa", "291", 6, 7, true},
	{"EE", "Estonia", "Europe", "372", 7, 10, true},
	{"ET", "Ethiopia", "Africa", "251", 7, 9, true},
	{"FK", "Falkland Islands", "Americas", "500", 5, 5, true},
	{"FO", "Faroe Islands", "Europe", "298", 6, 6, true},
	{"FJ", "Fiji", "Oceania", "679", 7, 11, true},
	{"FI", "Finland", "Europe", "358", 6, 12, true},
	{"FR", "France", "Europe", "33", 9, 9, true},
	{"GF", "French Guiana", "Americas", "594", 9, 9, true},
	{"PF", "French Polynesia", "Oceania", "689", 6, 9, true},
	{"GA", "Gabon", "Africa", "241", 7, 8, true},
	{"GM", "Gambia", "Africa", "220", 7, 7, true},
	{"GE", "Georgia", "Asia", "995", 6, 9, true},
	{"DE", "Germany", "Europe", "49", 6, 13, true},
	{"GH", "Ghana", "Africa", "233", 7, 9, true},
	{"GI", "Gibraltar", "Europe", "350", 8, 8, true},
	{"GR", "Greece", "Europe", "30", 10, 12, true},
	{"GL", "Greenland", "Americas", "299", 6, 6, true},
	{"GD", "Grenada", "Americas", "1", 10, 10, false},
	{"GP", "Guadeloupe", "Americas", "590", 9, 9, true},
	{"GU", "Guam", "Oceania", "1", 10, 10, false},
	{"GT", "Guatemala", "Americas", "502", 8, 11, true},
	{"GG", "Guernsey", "Europe", "44", 6, 10, false},
	{"GN", "Guinea", "Africa", "224", 8, 9, true},
	{"GW", "Guinea-Bissau", "Africa", "245", 7, 9, true},
	{"GY", "Guyana", "Americas", "592", 7, 7, true},
	{"HT", "Haiti", "Americas", "509", 8, 8, true},
	{"HN", "Honduras", "Americas", "504", 8, 11, true},
	{"HK", "Hong Kong SAR China", "Asia", "852", 6, 11, true},
	{"HU", "Hungary", "Europe", "36", 6, 9, true},
	{"IS", "Iceland", "Europe", "354", 7, 9, true},
	{"IN", "India", "Asia", "91", 6, 13, true},
	{"ID", "Indonesia", "Asia", "62", 6, 13, true},
	{"IR", "Iran", "Asia", "98", 6, 10, true},
	{"IQ", "Iraq", "Asia", "964", 6, 10, true},
	{"IE", "Ireland", "Europe", "353", 6, 10, true},
	{"IM", "Isle of Man", "Europe", "44", 6, 10, false},
	{"IL", "Israel", "Asia", "972", 7, 12, true},
	{"IT", "Italy", "Europe", "39", 6, 12, true},
	{"JM", "Jamaica", "Americas", "1", 10, 10, false},
	{"JP", "Japan", "Asia", "81", 8, 13, true},
	{"JE", "Jersey", "Europe", "44", 6, 10, false},
	{"JO", "Jordan", "Asia", "962", 8, 9, true},
	{"KZ", "Kazakhstan", "Asia", "7", 7, 14, false},
	{"KE", "Kenya", "Africa", "254", 7, 10, true},
	{"KI", "Kiribati", "Oceania", "686", 6, 8, true},
	{"XK", "Kosovo", "Europe", "383", 8, 12, true},
	{"KW", "Kuwait", "Asia", "965", 7, 8, true},
	{"KG", "Kyrgyzstan", "Asia", "996", 6, 10, true},
	{"LA", "Laos", "Asia", "856", 6, 10, true},
	{"LV", "Latvia", "Europe", "371", 8, 8, true},
	{"LB", "Lebanon", "Asia", "961", 7, 8, true},
	{"LS", "Lesotho", "Africa", "266", 8, 8, true},
	{"LR", "Liberia", "Africa", "231", 7, 9, true},
	{"LY", "Libya", "Africa", "218", 7, 9, true},
	{"LI", "Liechtenstein", "Europe", "423", 7, 9, true},
	{"LT", "Lithuania", "Europe", "370", 8, 8, true},
	{"LU", "Luxembourg", "Europe", "352", 6, 11, true},
	{"MO", "Macau SAR China", "Asia", "853", 7, 8, true},
	{"MK", "Macedonia", "Europe", "389", 6, 8, true},
	{"MG", "Madagascar", "Africa", "261", 7, 9, true},
	{"MW", "Malawi", "Africa", "265", 7, 9, true},
	{"MY", "Malaysia", "Asia", "60", 6, 10, true},
	{"MV", "Maldives", "Asia", "960", 7, 10, true},
	{"ML", "Mali", "Africa", "223", 8, 8, true},
	{"MT", "Malta", "Europe", "356", 8, 8, true},
	{"MH", "Marshall Islands", "Oceania", "692", 7, 7, true},
	{"MQ", "Martinique", "Americas", "596", 9, 9, true},
	{"MR", "Mauritania", "Africa", "222", 8, 8, true},
	{"MU", "Mauritius", "Africa", "230", 7, 10, true},
	{"YT", "Mayotte", "Africa", "262", 9, 9, false},
	{"MX", "Mexico", "Americas", "52", 7, 10, true},
	{"FM", "Micronesia", "Oceania", "691", 7, 7, true},
	{"MD", "Moldova", "Europe", "373", 8, 8, true},
	{"MC", "Monaco", "Europe", "377", 8, 9, true},
	{"MN", "Mongolia", "Asia", "976", 6, 10, true},
	{"ME", "Montenegro", "Europe", "382", 6, 9, true},
	{"MS", "Montserrat", "Americas", "1", 10, 10, false},
	{"MA", "Morocco", "Africa", "212", 9, 9, true},
	{"MZ", "Mozambique", "Africa", "258", 8, 9, true},
	{"MM", "Myanmar (Burma)", "Asia", "95", 6, 10, true},
	{"NA", "Namibia", "Africa", "264", 8, 9, true},
	{"NR", "Nauru", "Oceania", "674", 7, 7, true},
	{"NP", "Nepal", "Asia", "977", 6, 11, true},
	{"NL", "Netherlands", "Europe", "31", 6, 11, true},
	{"NC", "New Caledonia", "Oceania", "687", 6, 6, true},
	{"NZ", "New Zealand", "Oceania", "64", 8, 10, true},
	{"NI", "Nicaragua", "Americas", "505", 8, 8, true},
	{"NE", "Niger", "Africa", "227", 8, 8, true},
	{"NG", "Nigeria", "Africa", "234", 6, 12, true},
	{"NU", "Niue", "Oceania", "683", 6, 7, true},
	{"NF", "Norfolk Island", "Oceania", "672", 6, 6, true},
	{"KP", "North Korea", "Asia", "850", 6, 10, true},
	{"MP", "Northern Mariana Islands", "Oceania", "1", 10, 10, false},
	{"NO", "Norway", "Europe", "47", 6, 8, true},
	{"OM", "Oman", "Asia", "968", 7, 9, true},
	{"PK", "Pakistan", "Asia", "92", 6, 12, true},
	{"PW", "Palau", "Oceania", "680", 7, 7, true},
	{"PS", "Palestinian Territories", "Asia", "970", 7, 10, true},
	{"PA", "Panama", "Americas", "507", 7, 11, true},
	{"PG", "Papua New Guinea", "Oceania", "675", 7, 8, true},
	{"PY", "Paraguay", "Americas", "595", 6, 11, true},
	{"PE", "Peru", "Americas", "51", 6, 9, true},
	{"PH", "Philippines", "Asia", "63", 6, 13, true},
	{"PL", "Poland", "Europe", "48", 6, 10, true},
	{"PT", "Portugal", "Europe", "351", 9, 9, true},
	{"PR", "Puerto Rico", "Americas", "1", 10, 10, false},
	{"QA", "Qatar", "Asia", "974", 7, 11, true},
	{"RO", "Romania", "Europe", "40", 6, 9, true},
	{"RU", "Russia", "Europe", "7", 7, 14, true},
	{"RW", "Rwanda", "Africa", "250", 8, 9, true},
	{"RE", "Réunion", "Africa", "262", 9, 9, true},
	{"WS", "Samoa", "Oceania", "685", 6, 10, true},
	{"SM", "San Marino", "Europe", "378", 6, 10, true},
	{"SA", "Saudi Arabia", "Asia", "966", 7, 10, true},
	{"SN", "Senegal", "Africa", "221", 9, 9, true},
	{"RS", "Serbia", "Europe", "381", 6, 12, true},
	{"SC", "Seychelles", "Africa", "248", 7, 7, true},
	{"SL", "Sierra Leone", "Africa", "232", 6, 8, true},
	{"SG", "Singapore", "Asia", "65", 8, 11, true},
	{"SX", "Sint Maarten", "Americas", "1", 10, 10, false},
	{"SK", "Slovakia", "Europe", "421", 6, 9, true},
	{"SI", "Slovenia", "Europe", "386", 6, 8, true},
	{"SB", "Solomon Islands", "Oceania", "677", 6, 7, true},
	{"SO", "Somalia", "Africa", "252", 6, 9, true},
	{"ZA", "South Africa", "Africa", "27", 6, 10, true},
	{"KR", "South Korea", "Asia", "82", 6, 13, true},
	{"SS", "South Sudan", "Africa", "211", 9, 9, true},
	{"ES", "Spain", "Europe", "34", 9, 9, true},
	{"LK", "Sri Lanka", "Asia", "94", 7, 9, true},
	{"BL", "St. Barthélemy", "Americas", "590", 9, 9, false},
	{"SH", "St. Helena", "Africa", "290", 4, 5, true},
	{"KN", "St. Kitts & Nevis", "Americas", "1", 10, 10, false},
	{"LC", "St. Lucia", "Americas", "1", 10, 10, false},
	{"MF", "St. Martin", "Americas", "590", 9, 9, false},
	{"PM", "St. Pierre & Miquelon", "Americas", "508", 6, 9, true},
	{"VC", "St. Vincent & Grenadines", "Americas", "1", 10, 10, false},
	{"SD", "Sudan", "Africa", "249", 9, 9, true},
	{"SR", "Suriname", "Americas", "597", 6, 7, true},
	{"SJ", "Svalbard & Jan Mayen", "Europe", "47", 6, 8, false},
	{"SZ", "Swaziland", "Africa", "268", 8, 9, true},
	{"SE", "Sweden", "Europe", "46", 6, 12, true},
	{"CH", "Switzerland", "Europe", "41", 9, 12, true},
	{"SY", "Syria", "Asia", "963", 6, 9, true},
	{"ST", "São Tomé & Príncipe", "Africa", "239", 7, 7, true},
	{"TW", "Taiwan", "Asia", "886", 7, 11, true},
	{"TJ", "Tajikistan", "Asia", "992", 6, 9, true},
	{"TZ", "Tanzania", "Africa", "255", 9, 9, true},
	{"TH", "Thailand", "Asia", "66", 8, 13, true},
	{"TL", "Timor-Leste", "Asia", "670", 7, 8, true},
	{"TG", "Togo", "Africa", "228", 8, 8, true},
	{"TK", "Tokelau", "Oceania", "690", 6, 7, true},
	{"TO", "Tonga", "Oceania", "676", 6, 7, true},
	{"TT", "Trinidad & Tobago", "Americas", "1", 10, 10, false},
	{"TA", "Tristan da Cunha", "Oceania", "290", 4, 5, false},
	{"TN", "Tunisia", "Africa", "216", 8, 8, true},
	{"TR", "Turkey", "Asia", "90", 7, 13, true},
	{"TM", "Turkmenistan", "Asia", "993", 8, 8, true},
	{"TC", "Turks & Caicos Islands", "Americas", "1", 10, 10, false},
	{"TV", "Tuvalu", "Oceania", "688", 6, 7, true},
	{"VI", "U.S. Virgin Islands", "Americas", "1", 10, 10, false},
	{"UG", "Uganda", "Africa", "256", 6, 9, true},
	{"UA", "Ukraine", "Europe", "380", 6, 10, true},
	{"AE", "United Arab Emirates", "Asia", "971", 6, 12, true},
	{"GB", "United Kingdom", "Europe", "44", 9, 10, true},
	{"US", "United States", "Americas", "1", 10, 10, true},
	{"UY", "Uruguay", "Americas", "598", 6, 12, true},
	{"UZ", "Uzbekistan", "Asia", "998", 9, 9, true},
	{"VU", "Vanuatu", "Oceania", "678", 6, 7, true},
	{"VA", "Vatican City", "Europe", "39", 6, 12, false},
	{"VE", "Venezuela", "Americas", "58", 7, 10, true},
	{"VN", "Vietnam", "Asia", "84", 7, 10, true},
	{"WF", "Wallis & Futuna", "Oceania", "681", 6, 9, true},
	{"EH", "Western Sahara", "Africa", "212", 9, 9, false},
	{"YE", "Yemen", "Asia", "967", 6, 9, true},
	{"ZM", "Zambia", "Africa", "260", 6, 9, true},
	{"ZW", "Zimbabwe", "Africa", "263", 6, 10, true},
	{"AX", "Åland Islands", "Europe", "358", 6, 12, false},
}

// areaCodes names the countries that share the calling code 1 by their area
// codes; every other area code is taken for the United States.
var areaCodes = map[string]string{
	"CA": "204 226 236 249 250 257 263 289 306 343 354 365 367 368 382 387 403 416 418 428 431 437 438 450 468 474 506 514 519 548 579 581 584 587 600 604 613 639 647 672 683 705 709 742 753 778 780 782 807 819 825 867 873 879 902 905 942",
	"BS": "242", "BB": "246", "AI": "264", "AG": "268", "VG": "284", "VI": "340", "KY": "345", "BM": "441", "GD": "473",
	"TC": "649", "JM": "658 876", "MS": "664", "MP": "670", "GU": "671", "AS": "684", "SX": "721", "LC": "758", "DM": "767",
	"VC": "784", "PR": "787 939", "DO": "809 829 849", "TT": "868", "KN": "869",
}

const noCountry = -1

// countryIndex returns the position of an ISO code in countries, in any case,
// or noCountry.
func countryIndex(code []byte) int {
	if len(code) != 2 {
		return noCountry
	}
	a, b := code[0]&^0x20, code[1]&^0x20
	for i := range countries {
		if countries[i].code[0] == a && countries[i].code[1] == b {
			return i
		}
	}
	return noCountry
}

// dialPlan answers which country a number belongs to by its first four digits.
type dialPlan struct {
	byPrefix [10000]int16 // country index, or noCountry
}

func newDialPlan() *dialPlan {
	p := &dialPlan{}
	for i := range p.byPrefix {
		p.byPrefix[i] = noCountry
	}
	fill := func(prefix string, country int) {
		lo, span := 0, 10000
		for _, d := range prefix {
			span /= 10
			lo += int(d-'0') * span
		}
		for i := lo; i < lo+span; i++ {
			p.byPrefix[i] = int16(country)
		}
	}
	for i := range countries {
		if countries[i].main {
			fill(countries[i].calling, i)
		}
	}
	for code, areas := range areaCodes {
		i := countryIndex([]byte(code))
		for rest := areas; rest != ""; {
			fill("1"+rest[:3], i)
			rest = rest[3:]
			if rest != "" {
				rest = rest[1:]
			}
		}
	}
	kz := countryIndex([]byte("KZ"))
	fill("76", kz)
	fill("77", kz)
	return p
}

// e164 formats a recipient's number the way the provider does: a number in
// international format stands for itself; a national one is completed with the
// message's country, or else with the account's default country. It appends the
// result to dst and returns its country. ok is false when the result is not a
// plausible number of that country; the appended text is then what the answer
// shows.
func (p *dialPlan) e164(dst, raw []byte, home int) (out []byte, country int, ok bool) {
	start := len(dst)
	dst = append(dst, '+')
	plus := false
	for i, c := range raw {
		switch {
		case c >= '0' && c <= '9':
			dst = append(dst, c)
		case c == '+' && i == 0:
			plus = true
		case c == ' ' || c == '-' || c == '(' || c == ')' || c == '.':
		default:
			return append(dst[:start], raw...), noCountry, false
		}
	}
	digits := dst[start+1:]
	if !plus && len(digits) > 2 && digits[0] == '0' && digits[1] == '0' {
		plus = true
		dst = append(dst[:start+1], digits[2:]...)
		digits = dst[start+1:]
	}
	if !plus && home != noCountry {
		c := &countries[home]
		n := len(digits) - len(c.calling)
		if n < c.min || n > c.max || string(digits[:len(c.calling)]) != c.calling {
			if len(digits) > 0 && digits[0] == '0' && c.code != "IT" {
				digits = digits[1:]
			}
			var national [32]byte
			if len(digits) > len(national) {
				return append(dst[:start], raw...), noCountry, false
			}
			k := copy(national[:], digits)
			dst = append(dst[:start+1], c.calling...)
			dst = append(dst, national[:k]...)
			digits = dst[start+1:]
		}
	}
	if len(digits) < 7 || len(digits) > 15 || digits[0] == '0' {
		return append(dst[:start], raw...), noCountry, false
	}
	country = int(p.byPrefix[int(digits[0]-'0')*1000+int(digits[1]-'0')*100+int(digits[2]-'0')*10+int(digits[3]-'0')])
	if country == noCountry {
		return dst, noCountry, false
	}
	n := len(digits) - len(countries[country].calling)
	return dst, country, n >= countries[country].min && n <= countries[country].max
}

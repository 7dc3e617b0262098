package sandbox

// The price card. The documents give no prices, only examples
// (shared/api/semantics.md, section 11), so the card is the sandbox's own; it
// passes through the figures of the examples where they agree: 0.0566 for an
// Australian SMS part, 2.42 for an MMS, 1.10 and 1.87 for one and three
// black-and-white pages, 13.42 for seven coloured ones, 1.71 for a postcard.
// Every price is a multiple of 0.0001.

// smsPrices are per part, mmsPrices per message, in millionths; the empty code
// stands for every other country.
var (
	smsPrices = map[string]money{"AU": 56_600, "NZ": 84_700, "US": 13_400, "CA": 13_400, "GB": 41_200, "": 95_000}
	mmsPrices = map[string]money{"AU": 2_420_000, "NZ": 2_640_000, "US": 330_000, "CA": 330_000, "GB": 2_860_000, "": 3_300_000}
)

func priceIn(card map[string]money, country int) money {
	if p, ok := card[countries[country].code]; ok {
		return p
	}
	return card[""]
}

// letterOptions is what a letter's price depends on beside its country.
type letterOptions struct {
	pages                    int
	colour, duplex, priority bool
}

// letterPrice is a first page and further pages, black-and-white or coloured,
// cheaper when both sides are used; then priority and postage abroad.
func letterPrice(o letterOptions, country []byte) money {
	first, further := money(1_100_000), money(385_000)
	if o.colour {
		first, further = 2_200_000, 1_870_000
	}
	if o.duplex {
		further -= 35_000
	}
	p := first + money(o.pages-1)*further
	if o.priority {
		p += 550_000
	}
	if !isHome(country) {
		p += 1_650_000
	}
	return p
}

func postcardPrice(country []byte) money {
	if isHome(country) {
		return 1_710_000
	}
	return 2_420_000
}

func isHome(country []byte) bool {
	return len(country) == 2 && country[0]&^0x20 == home[0] && country[1]&^0x20 == home[1]
}

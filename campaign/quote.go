package campaign

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// The bases of a quote: how its prices are known.
const (
	// BasisExact: the provider was asked for the price of every message.
	BasisExact = "exact"
	// BasisClasses: it was asked for a few messages of each class, and the rest of
	// the class costs the same (docs/quotes.md).
	BasisClasses = "classes"
	// BasisNone: prices were switched off, so that nothing is known.
	BasisNone = "none"
)

// QuoteDetail is how a quote comes to its total. It is stored with the quote as
// JSON. Totals leave out what the provider says it would refuse.
type QuoteDetail struct {
	Countries []CountryQuote `json:"countries,omitempty"` // most messages first
	Lengths   []LengthQuote  `json:"lengths,omitempty"`   // SMS, fewest parts first
	Files     []FileQuote    `json:"files,omitempty"`     // most messages first, MaxQuoteFiles of them

	Shortest Extent `json:"shortest,omitzero"` // SMS and MMS
	Longest  Extent `json:"longest,omitzero"`

	Requests int     `json:"requests"`          // that sending takes
	Rate     float64 `json:"rate,omitempty"`    // requests a second that are allowed; 0 is no limit
	Seconds  int64   `json:"seconds,omitempty"` // that sending takes at that rate, at least

	Calls   int `json:"calls"`             // price requests that the quote took
	Uploads int `json:"uploads,omitempty"` // of files, before them
}

// CountryQuote is what one country comes to.
type CountryQuote struct {
	Country  string         `json:"country"` // ISO 3166-1 alpha-2; "" where unknown
	Messages int            `json:"messages"`
	Parts    int            `json:"parts"`
	Total    Micros         `json:"total"`
	Refusals map[string]int `json:"refusals,omitempty"` // messages the provider says it would refuse, by its status
}

// LengthQuote is what the messages of one length come to.
type LengthQuote struct {
	Parts    int    `json:"parts"` // of each message
	Messages int    `json:"messages"`
	Total    Micros `json:"total"`
}

// FileQuote is what one file comes to, or several that cannot be told apart by
// their price, with the options it is printed with.
type FileQuote struct {
	Name         string `json:"name,omitempty"` // empty when it stands for several
	Files        int    `json:"files"`
	Pages        int    `json:"pages,omitempty"` // 0 when nobody counted them
	Colour       bool   `json:"colour,omitempty"`
	Duplex       bool   `json:"duplex,omitempty"`
	Priority     bool   `json:"priority,omitempty"`
	TemplateUsed bool   `json:"template_used,omitempty"`
	Messages     int    `json:"messages"`
	Total        Micros `json:"total"`
}

// MaxQuoteFiles is how many files a quote lists; what the others come to is in
// one line.
const MaxQuoteFiles = 50

// PricedMessages are messages alike in all that a quote tells apart.
type PricedMessages struct {
	Country  string
	Parts    int    // of each
	File     string // its key; "" on SMS
	Messages int
	Price    Micros // of each
	Refused  string // the provider's status when it would refuse them; "" when not
}

// QuoteTally adds up a quote. Its memory grows with countries, lengths and
// files, not with messages.
type QuoteTally struct {
	Total    Micros
	Messages int
	Parts    int
	Refusals map[string]int // by status

	countries map[string]*CountryQuote
	lengths   map[int]*LengthQuote
	files     map[string]*FileQuote
}

// NewQuoteTally makes an empty one.
func NewQuoteTally() *QuoteTally {
	return &QuoteTally{
		Refusals: map[string]int{}, countries: map[string]*CountryQuote{}, lengths: map[int]*LengthQuote{}, files: map[string]*FileQuote{},
	}
}

// Add counts messages.
func (t *QuoteTally) Add(m PricedMessages) {
	country := entry(t.countries, m.Country)
	file := entry(t.files, m.File)
	t.Messages += m.Messages
	country.Messages += m.Messages
	file.Messages += m.Messages
	if m.Refused != "" {
		if country.Refusals == nil {
			country.Refusals = map[string]int{}
		}
		country.Refusals[m.Refused] += m.Messages
		t.Refusals[m.Refused] += m.Messages
		return
	}
	length := entry(t.lengths, m.Parts)
	parts, total := m.Parts*m.Messages, m.Price*Micros(m.Messages)
	t.Parts += parts
	t.Total += total
	country.Parts += parts
	country.Total += total
	file.Total += total
	length.Messages += m.Messages
	length.Total += total
}

func entry[K comparable, V any](all map[K]*V, key K) *V {
	v := all[key]
	if v == nil {
		v = new(V)
		all[key] = v
	}
	return v
}

// Detail writes what was added up. Describe gives name, pages and whatever else
// is known of a file by its key.
func (t *QuoteTally) Detail(ch Channel, describe func(key string) FileQuote) QuoteDetail {
	var d QuoteDetail
	for code, c := range t.countries {
		c.Country = code
		d.Countries = append(d.Countries, *c)
	}
	slices.SortFunc(d.Countries, func(a, b CountryQuote) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Country, b.Country))
	})
	if ch == SMS {
		for _, parts := range slices.Sorted(maps.Keys(t.lengths)) {
			l := t.lengths[parts]
			l.Parts = parts
			d.Lengths = append(d.Lengths, *l)
		}
		return d
	}
	d.Files = t.fileQuotes(describe)
	return d
}

// fileQuotes lists files; those of which nothing but the number of pages is
// known are summed up by it.
func (t *QuoteTally) fileQuotes(describe func(key string) FileQuote) []FileQuote {
	alike := map[FileQuote]*FileQuote{}
	for _, key := range slices.Sorted(maps.Keys(t.files)) {
		f := describe(key)
		sum := entry(alike, f)
		sum.Files++
		sum.Messages += t.files[key].Messages
		sum.Total += t.files[key].Total
	}
	var all []FileQuote
	for f, sum := range alike {
		f.Files, f.Messages, f.Total = sum.Files, sum.Messages, sum.Total
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b FileQuote) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Pages, b.Pages), cmp.Compare(a.Name, b.Name))
	})
	if len(all) <= MaxQuoteFiles {
		return all
	}
	rest := all[MaxQuoteFiles-1]
	rest.Name, rest.Pages = "", 0
	for _, f := range all[MaxQuoteFiles:] {
		rest.Files += f.Files
		rest.Messages += f.Messages
		rest.Total += f.Total
	}
	return append(all[:MaxQuoteFiles-1], rest)
}

// PriceDigest is a stable hash, 64 hexadecimal digits, of all of the content
// that a price may depend on. A quote is good for the content it was made of.
func (c *Content) PriceDigest() string {
	h := sha256.Sum256(fmt.Appendf(nil, "price 1 %s %t", c.Digest(), c.Priority))
	return hex.EncodeToString(h[:])
}

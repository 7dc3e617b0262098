package ledger

import (
	"encoding/json"
	"strings"

	"github.com/postrider/postrider/campaign"
)

// separator stands between packed values: the ASCII unit separator, which no
// spreadsheet writes. Values that hold one all the same are packed as JSON.
const separator = "\x1f"

// packValues packs a row of strings into one cell; a row of empty strings is
// the empty cell. It is read a million times a campaign, hence not JSON.
func packValues(values []string) string {
	empty, plain := true, true
	for _, v := range values {
		empty = empty && v == ""
		plain = plain && !strings.Contains(v, separator)
	}
	switch {
	case empty:
		return ""
	case plain:
		return separator + strings.Join(values, separator)
	}
	b, err := json.Marshal(values)
	if err != nil { // strings always marshal
		panic(err)
	}
	return string(b)
}

// unpackValues is the way back; the result has n values.
func unpackValues(s string, n int) []string {
	values := make([]string, n)
	switch {
	case s == "":
	case strings.HasPrefix(s, separator):
		rest := s[len(separator):]
		for i := range values {
			v, more, found := strings.Cut(rest, separator)
			values[i] = v
			if !found {
				break
			}
			rest = more
		}
	default:
		var all []string
		if json.Unmarshal([]byte(s), &all) == nil {
			copy(values, all)
		}
	}
	return values
}

func packAddress(a *campaign.Address) string {
	parts := [...]string{a.Name, a.Line1, a.Line2, a.City, a.State, a.PostalCode, a.Country}
	return packValues(parts[:])
}

func unpackAddress(s string) campaign.Address {
	if s == "" {
		return campaign.Address{}
	}
	p := unpackValues(s, 7)
	return campaign.Address{Name: p[0], Line1: p[1], Line2: p[2], City: p[3], State: p[4], PostalCode: p[5], Country: p[6]}
}

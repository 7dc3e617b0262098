package clicksend

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Amount is money in millionths of the currency's unit: 70000 is 0.07. The
// provider quotes up to six decimals (shared/api/semantics.md, section 11), so
// every price it names is exact; no float is ever involved. The currency
// stands beside it.
type Amount int64

// AmountPerUnit is how many Amounts make one unit of a currency.
const AmountPerUnit Amount = 1_000_000

// amountDecimals is how many decimals of a unit an Amount holds.
const amountDecimals = 6

// ParseAmount reads a decimal amount: "0.07", "13.2000", "1.0e-5". An empty
// text is 0. Digits after the sixth decimal are an error, unless they are what
// a binary float leaves behind (0.30000000000000004): three zeros or three
// nines right after the sixth decimal.
func ParseAmount(s string) (Amount, error) {
	n, err := parseFixed(s, amountDecimals, true)
	return Amount(n), err
}

// String writes the amount with at least two and at most six decimals: 0.07,
// 12.3456.
func (a Amount) String() string {
	sign, u := "", uint64(a)
	if a < 0 {
		sign, u = "-", -u
	}
	frac := fmt.Sprintf("%06d", u%uint64(AmountPerUnit))
	for len(frac) > 2 && frac[len(frac)-1] == '0' {
		frac = frac[:len(frac)-1]
	}
	return sign + strconv.FormatUint(u/uint64(AmountPerUnit), 10) + "." + frac
}

// MarshalJSONTo writes the amount as a string, so that no reader makes a float
// of it.
func (a Amount) MarshalJSONTo(enc *jsontext.Encoder) error {
	return enc.WriteToken(jsontext.String(a.String()))
}

// MarshalJSON is MarshalJSONTo for encoding/json.
func (a Amount) MarshalJSON() ([]byte, error) { return []byte(`"` + a.String() + `"`), nil }

// UnmarshalJSONFrom reads a number, a string, "" or null.
func (a *Amount) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	text, err := readScalar(dec)
	if err != nil {
		return err
	}
	*a, err = ParseAmount(text)
	return err
}

// UnmarshalJSON is UnmarshalJSONFrom for encoding/json.
func (a *Amount) UnmarshalJSON(b []byte) error {
	text, err := scalarText(b)
	if err != nil {
		return err
	}
	*a, err = ParseAmount(text)
	return err
}

// errNotNumber is what parseFixed says of any text it cannot take. It does not
// repeat the text.
var errNotNumber = errors.New("not a number that can be kept exactly")

// parseFixed reads a decimal number as an integer of 10^-decimals. Spaces
// around it and one comma after it are dropped ("1721099039," was printed by
// the provider); an empty text is 0. Further decimals must be zeros; with noise
// those of a binary float's rounding are accepted too.
func parseFixed(s string, decimals int, noise bool) (int64, error) {
	if n, ok := plainFixed(s, decimals); ok {
		return n, nil
	}
	return anyFixed(s, decimals, noise)
}

// plainFixed reads what nearly every number is: a few digits, perhaps with a
// point among them. It declines all others.
func plainFixed(s string, decimals int) (n int64, ok bool) {
	if s == "" || len(s)+decimals > 18 { // an int64 holds any 18 digits
		return 0, false
	}
	point := len(s) - 1
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c):
			n = n*10 + int64(c-'0')
		case c == '.' && 0 < i && i < point:
			point = i
		default:
			return 0, false
		}
	}
	missing := decimals
	if s[point] == '.' {
		missing -= len(s) - 1 - point
	}
	for range missing {
		n *= 10
	}
	return n, missing >= 0
}

// anyFixed is parseFixed for numbers of any form.
func anyFixed(s string, decimals int, noise bool) (int64, error) {
	s = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), ","))
	if s == "" {
		return 0, nil
	}
	if len(s) > 64 {
		return 0, errNotNumber
	}
	negative := s[0] == '-'
	if negative || s[0] == '+' {
		s = s[1:]
	}
	exponent := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		var err error
		if exponent, err = strconv.Atoi(s[i+1:]); err != nil || exponent < -64 || exponent > 64 {
			return 0, errNotNumber
		}
		s = s[:i]
	}
	whole, frac, point := strings.Cut(s, ".")
	digits := whole + frac
	if digits == "" || (point && whole == "" && frac == "") || strings.Trim(digits, "0123456789") != "" {
		return 0, errNotNumber
	}
	// keep is how many of the digits stand before the last decimal we hold.
	keep := len(whole) + exponent + decimals
	var tail string
	switch {
	case keep <= 0:
		digits, tail = "0", strings.Repeat("0", -keep)+digits
	case keep < len(digits):
		digits, tail = digits[:keep], digits[keep:]
	default:
		digits += strings.Repeat("0", keep-len(digits))
	}
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		digits = "0"
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, errNotNumber
	}
	switch {
	case strings.Trim(tail, "0") == "":
	case noise && strings.HasPrefix(tail, "000"):
	case noise && strings.HasPrefix(tail, "999") && n < 1<<62:
		n++
	default:
		return 0, errNotNumber
	}
	if negative {
		n = -n
	}
	return n, nil
}

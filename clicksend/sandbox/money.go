package sandbox

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// money is an exact amount in millionths of the account's currency: the finest
// figure the provider prints has six decimals (shared/api/semantics.md, 11).
type money int64

const unit money = 1_000_000

// parseMoney reads a decimal of at most six decimals.
func parseMoney(s string) (money, error) {
	r, ok := new(big.Rat).SetString(s)
	if !ok || strings.ContainsAny(s, "eE/_xX") {
		return 0, fmt.Errorf("amount %q is not a decimal number: write it like 250.00", s)
	}
	r.Mul(r, big.NewRat(int64(unit), 1))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, fmt.Errorf("amount %q has more than six decimals or is too large", s)
	}
	return money(r.Num().Int64()), nil
}

// appendDecimals writes the amount with exactly n decimals, 0 to 6; what lies
// beyond them is cut. Prices of the card have four.
func (m money) appendDecimals(out []byte, n int) []byte {
	if m < 0 {
		out = append(out, '-')
		m = -m
	}
	out = strconv.AppendInt(out, int64(m/unit), 10)
	if n == 0 {
		return out
	}
	frac := int64(m % unit)
	out = append(out, '.')
	for scale := int64(unit / 10); n > 0; n-- {
		out = append(out, byte('0'+frac/scale%10))
		scale /= 10
	}
	return out
}

// appendNumber writes the amount as the shortest JSON number: 0.28, 11.
func (m money) appendNumber(out []byte) []byte {
	out = m.appendDecimals(out, 6)
	for out[len(out)-1] == '0' {
		out = out[:len(out)-1]
	}
	if out[len(out)-1] == '.' {
		out = out[:len(out)-1]
	}
	return out
}

// String writes the amount with six decimals.
func (m money) String() string { return string(m.appendDecimals(nil, 6)) }

package campaign

import (
	"fmt"
	"math/big"
	"strings"
)

// Micros is an amount of money in millionths of the currency's unit: 70000 is
// 0.07. ClickSend quotes up to six decimals (shared/api/semantics.md, section
// 11), so every price it names is exact. The currency stands beside it.
type Micros int64

// MicrosPerUnit is how many Micros make one unit of a currency.
const MicrosPerUnit Micros = 1_000_000

// ParseMicros reads a decimal amount such as "250.00". More than six decimals,
// an exponent or anything else that would have to be rounded is an error.
func ParseMicros(s string) (Micros, error) {
	t := strings.TrimSpace(s)
	r, ok := new(big.Rat).SetString(t)
	if !ok || strings.ContainsAny(t, "eE/_xX") {
		return 0, Errorf(CodeInvalid, "amount %q is not a decimal number: write it like 250.00", s)
	}
	r.Mul(r, big.NewRat(int64(MicrosPerUnit), 1))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, Errorf(CodeInvalid, "amount %q has more than six decimals or is too large", s)
	}
	return Micros(r.Num().Int64()), nil
}

// String writes the amount with at least two and at most six decimals: 0.07,
// 12.3456.
func (m Micros) String() string {
	sign := ""
	u := uint64(m)
	if m < 0 {
		sign, u = "-", uint64(-m)
	}
	frac := fmt.Sprintf("%06d", u%uint64(MicrosPerUnit))
	for len(frac) > 2 && frac[len(frac)-1] == '0' {
		frac = frac[:len(frac)-1]
	}
	return fmt.Sprintf("%s%d.%s", sign, u/uint64(MicrosPerUnit), frac)
}

// MarshalJSON writes the amount as a JSON string, so that no reader turns it
// into a float: "12.34".
func (m Micros) MarshalJSON() ([]byte, error) { return []byte(`"` + m.String() + `"`), nil }

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Micros) UnmarshalJSON(b []byte) error {
	v, err := ParseMicros(strings.Trim(string(b), `"`))
	if err != nil {
		return err
	}
	*m = v
	return nil
}

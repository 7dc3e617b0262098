package campaign

import (
	"fmt"
	"math"
)

// Reference is what every message carries in the provider's custom_string, so
// that an answer row, a history row, a receipt or a reply finds its recipient
// without a search. Written, it is ReferenceLen characters of [0-9a-z]:
//
//	ledger id (10)  recipient id (13)  attempt number (6)  check (3)
//
// All numbers are in base 36, padded with zeros. The check is the remainder of
// the 29 characters before it, read as one number, by the prime 46,649: every
// wrong character and every pair of neighbours swapped is found out.
type Reference struct {
	Ledger    string // LedgerIDLen characters of [0-9a-z]; the ledger makes it with its first tables
	Recipient int64  // primary key of the recipient, 0 or more
	Attempt   int    // attempt number, 0 to MaxReferenceAttempt
}

// The lengths of a reference and of its parts, in characters. The provider
// gives no limit for custom_string; ours is 32.
const (
	ReferenceLen = LedgerIDLen + recipientLen + attemptLen + checkLen
	LedgerIDLen  = 10

	recipientLen = 13 // holds every int64 from 0 up
	attemptLen   = 6
	checkLen     = 3
)

// MaxReferenceAttempt is the largest attempt number a reference can hold.
const MaxReferenceAttempt = 36*36*36*36*36*36 - 1

const (
	base36Digits = "0123456789abcdefghijklmnopqrstuvwxyz"

	checkPrime = 46649 // the largest prime below 36^3
	// 36^13 and 36^6 modulo checkPrime: what the parts further right shift by.
	recipientShift = 39787
	attemptShift   = 49
)

// String writes the reference. It panics as AppendTo does.
func (r Reference) String() string {
	return string(r.AppendTo(make([]byte, 0, ReferenceLen)))
}

// AppendTo appends the written reference to b. It panics when a part is out of
// range: such a reference would come back from the provider unreadable, and
// the message would have no owner.
func (r Reference) AppendTo(b []byte) []byte {
	ledger, ok := parseBase36(r.Ledger)
	if !ok || len(r.Ledger) != LedgerIDLen || r.Recipient < 0 || r.Attempt < 0 || r.Attempt > MaxReferenceAttempt {
		panic(fmt.Sprintf("campaign: reference out of range: ledger %q, recipient %d, attempt %d", r.Ledger, r.Recipient, r.Attempt))
	}
	b = append(b, r.Ledger...)
	b = appendBase36(b, uint64(r.Recipient), recipientLen)
	b = appendBase36(b, uint64(r.Attempt), attemptLen)
	return appendBase36(b, referenceCheck(ledger, uint64(r.Recipient), uint64(r.Attempt)), checkLen)
}

// ParseReference reads a reference of the given ledger. It reports false for
// anything else: other systems' custom strings, references of another ledger,
// and ones that were cut or changed on their way. Such rows are not ours.
func ParseReference(s, ledger string) (Reference, bool) {
	if len(s) != ReferenceLen || s[:LedgerIDLen] != ledger {
		return Reference{}, false
	}
	const attemptAt = LedgerIDLen + recipientLen
	const checkAt = attemptAt + attemptLen
	id, ok1 := parseBase36(s[:LedgerIDLen])
	recipient, ok2 := parseBase36(s[LedgerIDLen:attemptAt])
	attempt, ok3 := parseBase36(s[attemptAt:checkAt])
	check, ok4 := parseBase36(s[checkAt:])
	if !ok1 || !ok2 || !ok3 || !ok4 || recipient > math.MaxInt64 || check != referenceCheck(id, recipient, attempt) {
		return Reference{}, false
	}
	return Reference{Ledger: ledger, Recipient: int64(recipient), Attempt: int(attempt)}, true
}

// referenceCheck is the number ledger·36^19 + recipient·36^6 + attempt modulo
// checkPrime.
func referenceCheck(ledger, recipient, attempt uint64) uint64 {
	sum := ledger%checkPrime*recipientShift + recipient%checkPrime
	return (sum%checkPrime*attemptShift + attempt) % checkPrime
}

// appendBase36 appends n in base 36, padded to width; n must fit.
func appendBase36(b []byte, n uint64, width int) []byte {
	for range width {
		b = append(b, '0')
	}
	for i := len(b) - 1; n > 0; i-- {
		b[i] = base36Digits[n%36]
		n /= 36
	}
	return b
}

// parseBase36 reads a number of [0-9a-z] that fits 64 bits.
func parseBase36(s string) (n uint64, ok bool) {
	for i := 0; i < len(s); i++ {
		var d byte
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			d = c - '0'
		case 'a' <= c && c <= 'z':
			d = c - 'a' + 10
		default:
			return 0, false
		}
		if n > (math.MaxUint64-uint64(d))/36 {
			return 0, false
		}
		n = n*36 + uint64(d)
	}
	return n, true
}

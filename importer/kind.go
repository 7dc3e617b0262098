package importer

import (
	"github.com/nyaruka/phonenumbers"
)

// Kind is what a phone number is good for.
type Kind uint8

// The kinds are the library's (phonenumbers.PhoneNumberType).
const (
	KindUnknown       Kind = iota // no valid number, or one that the metadata does not sort
	KindFixedLine                 // a line in a house
	KindMobile                    // a mobile phone
	KindFixedOrMobile             // one of both: in North America the digits do not tell
	KindTollFree                  // free to call, such as 1800
	KindPremiumRate               // dear to call
	KindSharedCost                // caller and called pay, such as 1300
	KindVoIP                      // a line on the Internet
	KindPersonal                  // follows a person to any line
	KindPager
	KindUAN       // a company's one number, led on to its lines
	KindVoicemail // the box itself
)

func (k Kind) String() string {
	return [...]string{
		"unknown", "fixed line", "mobile", "fixed line or mobile", "toll-free", "premium rate", "shared cost",
		"VoIP", "personal number", "pager", "company number", "voicemail",
	}[k]
}

// TakesMessages reports whether an SMS or MMS to such a number can arrive. Of a
// number that is not sorted nobody knows; the provider may.
func (k Kind) TakesMessages() bool {
	switch k {
	case KindMobile, KindFixedOrMobile, KindVoIP, KindPersonal, KindUnknown:
		return true
	}
	return false
}

// NumberKind tells the kind of a number in E.164, as the library sorts it. It
// takes some 50 ns; what the automata are not sure of goes to the library and
// takes some 15 µs. It may be called from any number of goroutines.
func NumberKind(e164 string) Kind {
	n, err := newNumbers()
	if err != nil {
		return KindUnknown // an import would have failed for it
	}
	if kind, ok := n.fastKind(e164); ok {
		return kind
	}
	return kindOfLibrary(e164)
}

// kindOfLibrary is NumberKind as the library alone has it.
func kindOfLibrary(e164 string) Kind {
	number, err := phonenumbers.Parse(e164, phonenumbers.UNKNOWN_REGION)
	if err != nil {
		return KindUnknown
	}
	switch phonenumbers.GetNumberType(number) {
	case phonenumbers.FIXED_LINE:
		return KindFixedLine
	case phonenumbers.MOBILE:
		return KindMobile
	case phonenumbers.FIXED_LINE_OR_MOBILE:
		return KindFixedOrMobile
	case phonenumbers.TOLL_FREE:
		return KindTollFree
	case phonenumbers.PREMIUM_RATE:
		return KindPremiumRate
	case phonenumbers.SHARED_COST:
		return KindSharedCost
	case phonenumbers.VOIP:
		return KindVoIP
	case phonenumbers.PERSONAL_NUMBER:
		return KindPersonal
	case phonenumbers.PAGER:
		return KindPager
	case phonenumbers.UAN:
		return KindUAN
	case phonenumbers.VOICEMAIL:
		return KindVoicemail
	}
	return KindUnknown
}

// fastKind sorts a number that surely is valid.
func (n *numbers) fastKind(e164 string) (Kind, bool) {
	if len(e164) < 1+fewestDigits || len(e164) > 1+maxDigits || e164[0] != '+' {
		return KindUnknown, false
	}
	var buf [maxDigits]byte
	digits := buf[:copy(buf[:], e164[1:])]
	zeros := true // what is nothing but zeros the library reads as one zero
	for _, d := range digits {
		if d < '0' || d > '9' {
			return KindUnknown, false
		}
	}
	code, national := n.callingCode(digits)
	if code == nil {
		return KindUnknown, false
	}
	national, ok := code.dialing.strip(national)
	for _, d := range national {
		zeros = zeros && d == '0'
	}
	if !ok || len(national) < 2 || zeros {
		return KindUnknown, false
	}
	r, ok := code.find(national)
	if !ok {
		return KindUnknown, false
	}
	return r.kind(national), true
}

// kind sorts a valid number of the region, in the library's order.
func (r *regionLines) kind(national []byte) Kind {
	fixed, mobile := false, false
	for i := range r.kinds {
		k := &r.kinds[i]
		switch k.kind {
		case KindFixedLine:
			fixed = k.matches(national)
		case KindMobile:
			mobile = k.matches(national)
		default:
			if k.matches(national) {
				return k.kind
			}
		}
	}
	switch {
	case fixed && (r.alike || mobile):
		return KindFixedOrMobile
	case fixed:
		return KindFixedLine
	case mobile:
		return KindMobile
	}
	return KindUnknown
}

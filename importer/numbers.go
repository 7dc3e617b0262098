package importer

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// numbers turns phone numbers into E.164. The library is the judge; a digit
// automaton made of the library's own metadata accepts what it is sure of at a
// hundredth of the cost, and everything else goes to the library. A property
// test holds the two equal.
type numbers struct {
	quick map[string]*quickCountry // by country calling code
}

// quickCountry accepts mobile and fixed-line numbers of the main region of a
// calling code.
type quickCountry struct {
	region   string
	general  *automaton
	prefix   *automaton // national prefix for parsing; nil when there is none
	accepted []kindOfLine
}

type kindOfLine struct {
	pattern *automaton
	lengths uint32 // bit n: a national number of n digits is possible
}

// newNumbers is made once for the process: the metadata never changes.
var newNumbers = sync.OnceValues(func() (*numbers, error) {
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		return nil, fmt.Errorf("reading the metadata of phone numbers: %w", err)
	}
	n := &numbers{quick: map[string]*quickCountry{}}
	for _, m := range all.GetMetadata() {
		code := fmt.Sprint(m.GetCountryCode())
		main := phonenumbers.GetRegionCodeForCountryCode(int(m.GetCountryCode()))
		// The first region of a calling code is the one that the library finds
		// first, unless it has leading digits of its own.
		if m.GetId() != main || main == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY || m.GetLeadingDigits() != "" {
			continue
		}
		if q := quickFor(m); q != nil {
			n.quick[code] = q
		}
	}
	return n, nil
})

func quickFor(m *phonenumbers.PhoneMetadata) *quickCountry {
	q := &quickCountry{region: m.GetId(), general: compileDigits(m.GetGeneralDesc().GetNationalNumberPattern())}
	if q.general == nil {
		return nil
	}
	if p := m.GetNationalPrefixForParsing(); p != "" {
		if q.prefix = compileDigits(p); q.prefix == nil {
			return nil
		}
	}
	for _, d := range []*phonenumbers.PhoneNumberDesc{m.GetMobile(), m.GetFixedLine()} {
		a := compileDigits(d.GetNationalNumberPattern())
		if a == nil || d.GetNationalNumberPattern() == "" {
			continue
		}
		k := kindOfLine{pattern: a}
		lengths := d.GetPossibleLength()
		if len(lengths) == 0 {
			lengths = m.GetGeneralDesc().GetPossibleLength()
		}
		for _, l := range lengths {
			if l > 0 && l < 32 {
				k.lengths |= 1 << l
			}
		}
		q.accepted = append(q.accepted, k)
	}
	if len(q.accepted) == 0 {
		return nil
	}
	return q
}

// parse returns the number in E.164 and its region, or a reason why it is not
// a number. A national number without a country is errNational.
func (n *numbers) parse(text, country string) (e164, region string, err error) {
	if e, r, ok := n.fast(text); ok {
		return e, r, nil
	}
	t := strings.TrimSpace(text)
	if country == "" && !strings.HasPrefix(t, "+") && !strings.HasPrefix(t, "＋") {
		return "", "", errNational
	}
	if country == "" {
		country = "ZZ" // the library's region for "none"
	}
	p, err := phonenumbers.Parse(t, country)
	if err != nil {
		return "", "", errNotANumber
	}
	if !phonenumbers.IsValidNumber(p) {
		return "", "", errNoSuchNumber
	}
	return phonenumbers.Format(p, phonenumbers.E164), phonenumbers.GetRegionCodeForNumber(p), nil
}

// fast accepts a number that is already in E.164 and surely valid.
func (n *numbers) fast(s string) (e164, region string, ok bool) {
	if len(s) < 8 || len(s) > 16 || s[0] != '+' {
		return "", "", false
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return "", "", false
		}
	}
	// Calling codes are prefix-free: at most one of these is one.
	for l := 1; l <= 3; l++ {
		q := n.quick[s[1:1+l]]
		if q == nil {
			continue
		}
		national := s[1+l:]
		if national[0] == '0' || !q.general.matches(national) || q.prefix != nil && q.prefix.matchesPrefix(national) {
			return "", "", false
		}
		for _, k := range q.accepted {
			if k.lengths&(1<<len(national)) != 0 && k.pattern.matches(national) {
				return s, q.region, true
			}
		}
		return "", "", false
	}
	return "", "", false
}

// numberError is a reason why a text is no number, with its code.
type numberError struct{ code, reason string }

func (e *numberError) Error() string { return e.reason }

var (
	errNational     = &numberError{"national_number", "a national number, and no country is known for it: give --country, or a country column"}
	errNotANumber   = &numberError{"not_a_number", "this is not a phone number: write it like +61412345678"}
	errNoSuchNumber = &numberError{"invalid_number", "no such number can exist in its country: check its digits"}
)

// automaton is a deterministic automaton over the ten digits, made of a
// pattern of the metadata.
type automaton struct {
	next   [][10]int32 // -1: dead
	accept []bool
}

// maxStates bounds an automaton; no pattern of the metadata comes near.
const maxStates = 20_000

// compileDigits makes the automaton of a pattern, anchored at its beginning,
// or nil when the pattern holds something that is not about digits.
func compileDigits(pattern string) *automaton {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil
	}
	for i := range prog.Inst {
		if prog.Inst[i].Op == syntax.InstEmptyWidth {
			return nil
		}
	}
	a := &automaton{}
	ids := map[string]int32{}
	var sets [][]uint32
	add := func(set []uint32) int32 {
		key := fmt.Sprint(set)
		if id, ok := ids[key]; ok {
			return id
		}
		id := int32(len(sets))
		ids[key] = id
		sets = append(sets, set)
		a.next = append(a.next, [10]int32{})
		final := false
		for _, pc := range set {
			final = final || prog.Inst[pc].Op == syntax.InstMatch
		}
		a.accept = append(a.accept, final)
		return id
	}
	add(closure(prog, []uint32{uint32(prog.Start)}))
	for s := 0; s < len(sets); s++ {
		if s > maxStates {
			return nil
		}
		for d := range 10 {
			var to []uint32
			for _, pc := range sets[s] {
				inst := &prog.Inst[pc]
				switch inst.Op {
				case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
					if inst.MatchRune(rune('0' + d)) {
						to = append(to, inst.Out)
					}
				}
			}
			if len(to) == 0 {
				a.next[s][d] = -1
				continue
			}
			a.next[s][d] = add(closure(prog, to))
		}
	}
	return a
}

// closure follows everything that consumes nothing, in a fixed order.
func closure(prog *syntax.Prog, from []uint32) []uint32 {
	seen := make([]bool, len(prog.Inst))
	var walk func(pc uint32)
	walk = func(pc uint32) {
		if seen[pc] {
			return
		}
		seen[pc] = true
		inst := &prog.Inst[pc]
		switch inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			walk(inst.Out)
			walk(inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			walk(inst.Out)
		}
	}
	for _, pc := range from {
		walk(pc)
	}
	var set []uint32
	for pc, ok := range seen {
		if !ok {
			continue
		}
		switch prog.Inst[pc].Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL, syntax.InstMatch:
			set = append(set, uint32(pc))
		}
	}
	return set
}

// matches reports whether all of the digits match.
func (a *automaton) matches(digits string) bool {
	state := int32(0)
	for i := 0; i < len(digits); i++ {
		if state = a.next[state][digits[i]-'0']; state < 0 {
			return false
		}
	}
	return a.accept[state]
}

// matchesPrefix reports whether a beginning of the digits matches, the empty
// one included.
func (a *automaton) matchesPrefix(digits string) bool {
	state := int32(0)
	for i := 0; ; i++ {
		if a.accept[state] {
			return true
		}
		if i == len(digits) {
			return false
		}
		if state = a.next[state][digits[i]-'0']; state < 0 {
			return false
		}
	}
}

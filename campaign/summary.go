package campaign

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// PlanSummary is what the plan of a whole audience came to. It is stored with
// the campaign as JSON.
type PlanSummary struct {
	Total      int            `json:"total"`    // contacts of the audience, or of its segment
	Sendable   int            `json:"sendable"` // recipients that will be sent to
	Suppressed map[string]int `json:"suppressed,omitempty"`
	Batches    int            `json:"batches"` // requests: batches with something to send

	Parts           int         `json:"parts"`                       // the sum of all messages' parts
	MessagesByParts map[int]int `json:"messages_by_parts,omitempty"` // parts -> messages

	UnicodeMessages int `json:"unicode_messages,omitempty"`
	// UnicodeCharacters are the characters outside GSM 03.38 in the most
	// messages, at most MaxUnicodeCharacters of them.
	UnicodeCharacters []CharacterCount `json:"unicode_characters,omitempty"`
	// UnicodeParts is how many parts fewer it would be with a plain character
	// of one septet for each that made a message Unicode.
	UnicodeParts int `json:"unicode_parts,omitempty"`
	// ExtraParts is how many parts fewer it would be with PlainPunctuation.
	ExtraParts int `json:"extra_parts,omitempty"`

	Shortest Extent `json:"shortest,omitzero"` // the message of the fewest parts and units
	Longest  Extent `json:"longest,omitzero"`  // the message of the most

	ByCountry map[string]int `json:"by_country,omitempty"` // ISO 3166-1 alpha-2 -> messages; "" where unknown
	// Zones are the messages by the time zone their batch was cut for, "" where
	// it is not known; nil when batches were not cut by zone.
	Zones    map[string]int `json:"zones,omitempty"`
	Examples []Message      `json:"examples,omitempty"`
	// Warnings are what a person should read before saying yes.
	Warnings []string `json:"warnings,omitempty"`

	// Segment is which contacts of the audience the plan is for; nil: all.
	Segment *Selection `json:"segment,omitempty"`

	// Limits of the account that the messages were planned under; the sender
	// renders under the same.
	Limits Limits `json:"limits"`
}

// CharacterCount is in how many messages a character appears.
type CharacterCount struct {
	Character string `json:"character"`
	Code      string `json:"code"` // U+2019
	Messages  int    `json:"messages"`
}

// Extent is how long one message is.
type Extent struct {
	Line    int  `json:"line,omitempty"`
	Parts   int  `json:"parts"`
	Units   int  `json:"units"` // septets, or UTF-16 units when Unicode
	Unicode bool `json:"unicode,omitempty"`
}

// MaxUnicodeCharacters is how many characters a summary lists.
const MaxUnicodeCharacters = 20

// tally counts the messages of a plan. Its memory does not grow with them.
type tally struct {
	r          *Renderer
	examples   int
	sum        PlanSummary
	byParts    []int
	countries  []countryCount
	characters map[rune]*characterCount
	plain      []byte
}

type countryCount struct {
	country  string
	messages int
}

type characterCount struct {
	messages int
	last     int // the message it was last seen in
}

func newTally(r *Renderer, examples int) tally {
	return tally{
		r:          r,
		examples:   examples,
		sum:        PlanSummary{Suppressed: map[string]int{}},
		characters: map[rune]*characterCount{},
	}
}

// count adds a message to the summary.
func (t *tally) count(c *Contact, m *rendered) {
	t.sum.Sendable++
	t.sum.Parts += m.Parts
	for len(t.byParts) <= m.Parts {
		t.byParts = append(t.byParts, 0)
	}
	t.byParts[m.Parts]++

	country := c.Country
	if t.r.content.Channel.IsPost() {
		country = c.Address.Country
	}
	t.countCountry(country)

	if t.r.content.Channel.IsPhone() {
		t.countExtent(c, m)
		if m.Unicode {
			t.countUnicode(m)
		}
	}
	if len(t.sum.Examples) < t.examples {
		example := m.Message
		example.Body, example.Subject = strings.Clone(m.Body), strings.Clone(m.Subject)
		t.sum.Examples = append(t.sum.Examples, example)
	}
}

// countZone counts a message for the time zone its batch is cut for.
func (t *tally) countZone(zone string) {
	if t.sum.Zones == nil {
		t.sum.Zones = map[string]int{}
	}
	if n, known := t.sum.Zones[zone]; known {
		t.sum.Zones[zone] = n + 1
		return
	}
	t.sum.Zones[strings.Clone(zone)] = 1
}

// countCountry counts in a short list in which what is hit moves up: audiences
// have few countries, in runs.
func (t *tally) countCountry(country string) {
	for i := range t.countries {
		if t.countries[i].country == country {
			t.countries[i].messages++
			if i > 0 {
				t.countries[i], t.countries[i-1] = t.countries[i-1], t.countries[i]
			}
			return
		}
	}
	t.countries = append(t.countries, countryCount{strings.Clone(country), 1})
}

func (t *tally) countExtent(c *Contact, m *rendered) {
	e := Extent{Line: c.Line, Parts: m.Parts, Units: m.parts.Units, Unicode: m.Unicode}
	if t.sum.Sendable == 1 || e.Parts < t.sum.Shortest.Parts || e.Parts == t.sum.Shortest.Parts && e.Units < t.sum.Shortest.Units {
		t.sum.Shortest = e
	}
	if e.Parts > t.sum.Longest.Parts || e.Parts == t.sum.Longest.Parts && e.Units > t.sum.Longest.Units {
		t.sum.Longest = e
	}
}

// countUnicode counts the characters that made a message Unicode, and what
// plain punctuation would have saved.
func (t *tally) countUnicode(m *rendered) {
	t.sum.UnicodeMessages++
	septets := 0
	for _, r := range m.Body {
		if n := Septets(r); n != 0 {
			septets += n
			continue
		}
		septets++
		n := t.characters[r]
		if n == nil {
			n = &characterCount{}
			t.characters[r] = n
		}
		if n.last != t.sum.UnicodeMessages {
			n.last = t.sum.UnicodeMessages
			n.messages++
		}
	}
	if t.r.content.Channel == SMS {
		t.sum.UnicodeParts += max(0, m.Parts-partsOf(septets, GSM7))
	}
	if t.r.content.Channel == SMS && !t.r.content.PlainPunctuation {
		t.plain = appendPlain(t.plain[:0], m.Body)
		t.sum.ExtraParts += m.Parts - CountParts(view(t.plain)).Count
	}
}

// finish writes what was counted into the summary. Filled says of each of the
// renderer's fields whether a contact had a value for it.
func (t *tally) finish(filled []bool) PlanSummary {
	s := &t.sum
	s.MessagesByParts = map[int]int{}
	for parts, n := range t.byParts {
		if n > 0 {
			s.MessagesByParts[parts] = n
		}
	}
	s.ByCountry = map[string]int{}
	for _, c := range t.countries {
		s.ByCountry[c.country] = c.messages
	}
	for r, n := range t.characters {
		s.UnicodeCharacters = append(s.UnicodeCharacters, CharacterCount{Character: string(r), Code: fmt.Sprintf("%U", r), Messages: n.messages})
	}
	slices.SortFunc(s.UnicodeCharacters, func(a, b CharacterCount) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Character, b.Character))
	})
	if len(s.UnicodeCharacters) > MaxUnicodeCharacters {
		s.UnicodeCharacters = s.UnicodeCharacters[:MaxUnicodeCharacters]
	}
	t.warn(filled)
	return *s
}

// warn adds what a person should know before saying yes.
func (t *tally) warn(filled []bool) {
	s, content := &t.sum, &t.r.content
	warn := func(format string, args ...any) { s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...)) }
	if s.Sendable > 0 {
		for i, field := range t.r.fields {
			if !filled[i] {
				warn("no recipient has a value for {{%s}}, so everybody gets its default: check the column's name", field)
			}
		}
	}
	if content.Channel == SMS && s.UnicodeMessages > 0 && t.r.limits != (Limits{}) && !t.r.limits.UnicodeAllowed {
		warn("%d messages have characters outside GSM 03.38 and the account's Unicode setting is off; the provider does not say what then becomes of them: "+
			"switch it on in its dashboard, replace the characters, or try --plain-punctuation", s.UnicodeMessages)
	}
	if content.Channel.IsPhone() && !content.SenderTakesReplies() && asksForStop(content.Body) {
		warn("the text speaks of STOP, and a sender that is a name cannot be answered: send from a number, or give another way out")
	}
	for i := range content.Files {
		s.Warnings = append(s.Warnings, content.Files[i].Warnings(content.Channel)...)
	}
}

// asksForStop reports whether a text has the word STOP in capitals.
func asksForStop(text string) bool {
	return slices.Contains(strings.FieldsFunc(text, func(r rune) bool { return !isASCIIAlphanumeric(r) }), "STOP")
}

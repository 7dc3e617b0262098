package campaign

import (
	"fmt"
	"strconv"
	"strings"
)

// Segment says which contacts of an audience a campaign is for: those who meet
// a condition, without those who are left out, of these a sample, and of that the
// first. The zero value is everybody. docs/segments.md describes it to users.
type Segment struct {
	// Where is a condition on the fields of a contact, as it was written.
	Where string `json:"where,omitempty"`
	// Exclude are lists (list:NAME) and campaigns (campaign:ID) whose contacts are
	// left out.
	Exclude []string `json:"exclude,omitempty"`
	// Sample is the share of those who are left that is taken; 0: all.
	Sample Share `json:"sample,omitempty"`
	// Seed decides who is in a sample: the same seed takes the same people.
	Seed string `json:"seed,omitempty"`
	// Limit is how many are taken at most, the first of the list; 0: all.
	Limit int `json:"limit,omitempty"`
}

// Everybody reports whether the segment leaves nobody out.
func (s *Segment) Everybody() bool {
	return s.Where == "" && len(s.Exclude) == 0 && s.Sample == 0 && s.Limit == 0
}

// String says in words who is meant, in the order in which it is applied.
func (s *Segment) String() string {
	var parts []string
	if s.Where != "" {
		parts = append(parts, "where "+strings.Join(strings.Fields(s.Where), " "))
	}
	for _, e := range s.Exclude {
		kind, name, _ := strings.Cut(e, ":")
		parts = append(parts, "without "+kind+" "+name)
	}
	if s.Sample > 0 {
		parts = append(parts, "a sample of "+s.Sample.String())
	}
	if s.Limit > 0 {
		parts = append(parts, "the first "+strconv.Itoa(s.Limit))
	}
	return strings.Join(parts, ", ")
}

// Share is a part of a whole, in hundred-millionths of it: one percent is
// 1,000,000.
type Share int64

// Whole is the share that is all of it.
const Whole Share = 100 * percent

const percent Share = 1_000_000

const shareDecimals = 6 // of a percentage

// ParseShare reads a percentage above 0 and up to 100, such as 1% or 0.5 %, with
// at most six decimals. The error says what was expected.
func ParseShare(s string) (Share, error) {
	digits, ok := strings.CutSuffix(strings.TrimSpace(s), "%")
	if !ok {
		return 0, fmt.Errorf("%q is no percentage: write one such as 1%% or 0.5%%; to send to so many, use a limit", s)
	}
	whole, decimals, point := strings.Cut(strings.TrimSpace(digits), ".")
	share := Share(0)
	for i, c := range []byte(whole + decimals + strings.Repeat("0", max(0, shareDecimals-len(decimals)))) {
		if c < '0' || c > '9' || i > 8 {
			return 0, fmt.Errorf("%q is no percentage such as 1%% or 0.5%%, of at most six decimals", s)
		}
		share = share*10 + Share(c-'0')
	}
	if whole == "" || point && decimals == "" || len(decimals) > shareDecimals {
		return 0, fmt.Errorf("%q is no percentage such as 1%% or 0.5%%, of at most six decimals", s)
	}
	if share <= 0 || share > Whole {
		return 0, fmt.Errorf("%q is not above 0%% and up to 100%%", s)
	}
	return share, nil
}

// String is the percentage, such as 0.5%.
func (s Share) String() string {
	text := strconv.FormatInt(int64(s/percent), 10)
	if rest := s % percent; rest != 0 {
		text += "." + strings.TrimRight(fmt.Sprintf("%0*d", shareDecimals, rest), "0")
	}
	return text + "%"
}

// MarshalText writes what String says.
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what ParseShare does.
func (s *Share) UnmarshalText(b []byte) (err error) {
	*s, err = ParseShare(string(b))
	return err
}

// Selection is a segment, and whom it came to.
type Selection struct {
	Segment
	Of       int         `json:"of"`                 // contacts of the audience
	Matched  int         `json:"matched"`            // who meet the condition
	Excluded []Exclusion `json:"excluded,omitempty"` // in the order of Exclude
	Sampled  int         `json:"sampled"`            // who are left then, and in the sample
	Selected int         `json:"selected"`
}

// Exclusion is how many were left out since they are of a list or campaign.
// Who is of several counts for the first.
type Exclusion struct {
	From     string `json:"from"`
	Contacts int    `json:"contacts"`
}

// Steps says how many contacts each part of the segment left.
func (s *Selection) Steps() string {
	var parts []string
	left := s.Of
	if s.Where != "" {
		left = s.Matched
		parts = append(parts, fmt.Sprintf("%d meet the condition", left))
	}
	for _, e := range s.Excluded {
		left -= e.Contacts
		kind, name, _ := strings.Cut(e.From, ":")
		parts = append(parts, fmt.Sprintf("%d of them are of %s %s", e.Contacts, kind, name))
	}
	if s.Sample > 0 {
		parts = append(parts, fmt.Sprintf("%d of the remaining %d are in the sample", s.Sampled, left))
	}
	return strings.Join(parts, ", ")
}

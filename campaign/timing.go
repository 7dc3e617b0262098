package campaign

import (
	"strings"
	"time"
)

// DefaultLateLimit is how late a campaign may start by itself unless something
// else was said.
const DefaultLateLimit = 6 * time.Hour

// LatePolicy says what becomes of a campaign that is later than its limit.
type LatePolicy string

// The policies.
const (
	LateSkip LatePolicy = "skip" // it does not start by itself, and waits for a person
	LateRun  LatePolicy = "run"  // it starts all the same
)

// Timing says when a campaign starts and when its messages may leave. It is no
// part of its content: what is sent stays the same when it is moved. It is
// stored with the campaign as JSON. The zero value is any time of any day.
type Timing struct {
	// Window is when messages may leave; nil: at any time.
	Window *Window `json:"window,omitempty"`
	// ByRecipient says that the window is read on the clock of each recipient,
	// and on that of Zone for those of whom no zone is known.
	ByRecipient bool `json:"by_recipient,omitempty"`
	// Zone is a name of the tz database. Needed with a window.
	Zone string `json:"zone,omitempty"`

	// IfLate is what happens when nobody was running at the campaign's hour, nor
	// for LateLimit after it; LateSkip when empty.
	IfLate LatePolicy `json:"if_late,omitempty"`
	// LateLimit is how late is not late yet, in nanoseconds; DefaultLateLimit
	// when 0.
	LateLimit time.Duration `json:"late_limit,omitempty"`
}

// Validate reports what is wrong with it as an Error with CodeInvalid.
func (t *Timing) Validate() error {
	if t.Window != nil {
		if err := t.Window.Validate(); err != nil {
			return err
		}
		if _, err := LoadZone(t.Zone); err != nil {
			return err
		}
	}
	switch {
	case t.IfLate != "" && t.IfLate != LateRun && t.IfLate != LateSkip:
		return Errorf(CodeInvalid, "%q is no policy for a campaign that is late: use run or skip", string(t.IfLate))
	case t.LateLimit < 0:
		return Errorf(CodeInvalid, "the late limit %s is negative: write how late is still in time, such as 6h", t.LateLimit)
	}
	return nil
}

// Limit is LateLimit or its default.
func (t *Timing) Limit() time.Duration {
	if t.LateLimit == 0 {
		return DefaultLateLimit
	}
	return t.LateLimit
}

// Late is IfLate or its default.
func (t *Timing) Late() LatePolicy {
	if t.IfLate == "" {
		return LateSkip
	}
	return t.IfLate
}

// TooLate reports whether a campaign that was due at startAt must not start by
// itself any more.
func (t *Timing) TooLate(startAt, now time.Time) bool {
	return t.Late() == LateSkip && now.Sub(startAt) > t.Limit()
}

// BatchZone is the zone by whose clock the window is read for a batch that was
// planned for zone, empty for one whose recipients' zone is not known.
func (t *Timing) BatchZone(zone string) (*time.Location, error) {
	if !t.ByRecipient || zone == "" {
		zone = t.Zone
	}
	return LoadZone(zone)
}

// byRecipient is what stands for the recipients' own zones.
const byRecipient = "recipient"

// ParseWindowZone reads whose clock a window is read on: a zone, recipient, or
// recipient:ZONE, where ZONE is for recipients of whom no zone is known; without
// it home is.
func ParseWindowZone(s, home string) (zone string, ofRecipient bool, err error) {
	zone = strings.TrimSpace(s)
	switch rest, named := strings.CutPrefix(zone, byRecipient+":"); {
	case named:
		zone, ofRecipient = rest, true
	case zone == byRecipient:
		zone, ofRecipient = home, true
	case zone == "":
		zone = home
	}
	if _, err := LoadZone(zone); err != nil {
		return "", false, err
	}
	return zone, ofRecipient, nil
}

// WindowZone is what ParseWindowZone reads.
func (t *Timing) WindowZone() string {
	if t.ByRecipient {
		return byRecipient + ":" + t.Zone
	}
	return t.Zone
}

// MarshalText writes the window as UnmarshalText reads it.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads what String writes.
func (w *Window) UnmarshalText(text []byte) error {
	hours, days, _ := strings.Cut(string(text), " ")
	parsed, err := ParseWindow(hours, days)
	if err == nil {
		*w = parsed
	}
	return err
}

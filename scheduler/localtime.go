package scheduler

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zones must be known, and be the same, on every machine

	"github.com/postrider/postrider/campaign"
)

// LocalTime is a date and time of day as a wall clock shows it, to the minute:
// what a schedule names, and what a run is known by. It is the number of
// minutes from 1970-01-01 00:00 on that clock, as if the clock were never put
// forward or back. Later ones are larger.
type LocalTime int64

// layout of a LocalTime; sorted as text, the earlier come first.
const localLayout = "2006-01-02T15:04"

// Local makes a LocalTime of its parts.
func Local(year int, month time.Month, day, hour, minute int) LocalTime {
	return LocalTime(time.Date(year, month, day, hour, minute, 0, 0, time.UTC).Unix() / 60)
}

// ParseLocal reads what String writes.
func ParseLocal(s string) (LocalTime, error) {
	t, err := time.Parse(localLayout, s)
	if err != nil {
		return 0, fmt.Errorf("%q is no local time: expected one such as 2026-10-04T02:00", s)
	}
	return LocalTime(t.Unix() / 60), nil
}

// clock is the time in UTC at which a clock in UTC shows the same.
func (l LocalTime) clock() time.Time { return time.Unix(int64(l)*60, 0).UTC() }

// String is the local time as 2026-10-04T02:00.
func (l LocalTime) String() string { return l.clock().Format(localLayout) }

// Name is the local time as a person writes it, 2026-10-04 02:00.
func (l LocalTime) Name() string { return strings.Replace(l.String(), "T", " ", 1) }

// farthest is more than any clock of the world ever was ahead of or behind
// UTC, and less than twice it: what is farther away than that in time cannot
// show the same on its clock.
const farthest = 24 * time.Hour

// Instant is the first moment at which the clocks of a zone show the local time
// or a later one. So a time that clocks skip when they are put forward comes at
// the moment they are put forward, which is the next time that exists; one that
// they show twice comes at the first.
func (l LocalTime) Instant(loc *time.Location) time.Time {
	wall := l.clock()
	for t := wall.Add(-farthest).In(loc); ; {
		_, offset := t.Zone()
		start, end := t.ZoneBounds()
		at := wall.Add(-time.Duration(offset) * time.Second).In(loc)
		if at.Before(start) {
			return start // skipped
		}
		if end.IsZero() || at.Before(end) {
			return at
		}
		t = end
	}
}

// Reading is the latest local time that the clocks of a zone have shown, or
// skipped, up to a moment: the last one whose Instant is not after it. While
// clocks show an hour for the second time it stays at the end of that hour.
func Reading(at time.Time, loc *time.Location) LocalTime {
	t := at.In(loc)
	_, offset := t.Zone()
	latest := LocalTime(floorDiv(t.Unix()+int64(offset), 60))
	for {
		start, _ := t.ZoneBounds()
		if start.IsZero() || at.Sub(start) > 2*farthest {
			return latest
		}
		t = start.Add(-time.Nanosecond)
		_, offset := t.Zone()
		// Up to its end, exclusive, that part of the zone's history showed this.
		latest = max(latest, LocalTime(floorDiv(start.Unix()+int64(offset)-1, 60)))
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Zone finds an IANA time zone by its name. The machine's own zone is none: a
// schedule must mean the same wherever it runs.
func Zone(name string) (*time.Location, error) {
	const expected = "expected an IANA time zone such as Australia/Sydney, Europe/London or UTC"
	if name == "" || strings.EqualFold(name, "local") || strings.TrimSpace(name) != name {
		return nil, campaign.Errorf(campaign.CodeInvalid, "%q is no time zone: %s", name, expected)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, campaign.Errorf(campaign.CodeInvalid, "%q is no time zone: %s", name, expected)
	}
	return loc, nil
}

package campaign

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// TimeOfDay is what a clock on the wall shows, in minutes since midnight: 0 to
// 1440, which is 24:00, the end of the day.
type TimeOfDay int

// endOfDay is 24:00.
const endOfDay TimeOfDay = 24 * 60

// ParseTimeOfDay reads 09:00 or 9:00, up to 24:00.
func ParseTimeOfDay(s string) (TimeOfDay, error) {
	h, m, ok := strings.Cut(s, ":")
	if ok && digits(h, 1, 2) && digits(m, 2, 2) {
		hour, _ := strconv.Atoi(h)
		minute, _ := strconv.Atoi(m)
		if t := TimeOfDay(hour*60 + minute); minute < 60 && t <= endOfDay {
			return t, nil
		}
	}
	return 0, Errorf(CodeInvalid, "%q is no time of day: write hours and minutes, 00:00 to 24:00, such as 09:00", s)
}

// digits reports whether s is made of least to most digits.
func digits(s string, least, most int) bool {
	if len(s) < least || len(s) > most {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (t TimeOfDay) String() string { return fmt.Sprintf("%02d:%02d", int(t)/60, int(t)%60) }

// Days is a set of days of the week, one bit for each time.Weekday.
type Days uint8

// EveryDay is the whole week.
const EveryDay Days = 1<<7 - 1

// dayNames are the names of the days, by time.Weekday.
var dayNames = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseDays reads days and ranges of days with commas between: mon-fri,
// sat-sun, or mon,wed,sat. A range may go over the end of the week: fri-mon.
func ParseDays(s string) (Days, error) {
	var all Days
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := parseDay(first)
		if err != nil {
			return 0, err
		}
		to := from
		if isRange {
			if to, err = parseDay(last); err != nil {
				return 0, err
			}
		}
		for d := from; ; d = (d + 1) % 7 {
			all |= 1 << d
			if d == to {
				break
			}
		}
	}
	return all, nil
}

// parseDay reads the name of a day, whole or its first three letters.
func parseDay(s string) (time.Weekday, error) {
	name := strings.ToLower(strings.TrimSpace(s))
	for d, short := range dayNames {
		if name == short || name == strings.ToLower(time.Weekday(d).String()) {
			return time.Weekday(d), nil
		}
	}
	return 0, Errorf(CodeInvalid, "%q is no day of the week: write mon, tue, wed, thu, fri, sat or sun, with - for a range and commas between, such as mon-fri", strings.TrimSpace(s))
}

// Has reports whether the day is in the set.
func (d Days) Has(day time.Weekday) bool { return d&(1<<day) != 0 }

// String writes the days as ParseDays reads them, the week from Monday on.
func (d Days) String() string {
	week := [...]time.Weekday{1, 2, 3, 4, 5, 6, 0}
	var parts []string
	for i := 0; i < len(week); i++ {
		if !d.Has(week[i]) {
			continue
		}
		j := i
		for j+1 < len(week) && d.Has(week[j+1]) {
			j++
		}
		switch {
		case j > i+1:
			parts = append(parts, dayNames[week[i]]+"-"+dayNames[week[j]])
		case j == i+1:
			parts = append(parts, dayNames[week[i]], dayNames[week[j]])
		default:
			parts = append(parts, dayNames[week[i]])
		}
		i = j
	}
	return strings.Join(parts, ",")
}

// Window is the part of the week in which messages may leave, by the clock on
// the wall of some time zone: from From, until just before To, on Days. A window
// whose To is earlier than its From goes over midnight, and belongs to the day
// on which it begins.
//
// Only what the clock shows counts. An hour that a change of the clock leaves
// out is not in any window: a window that begins in it opens when the clock goes
// on behind it. An hour that the clock shows twice is in the window both times.
type Window struct {
	From, To TimeOfDay
	Days     Days
}

// ParseWindow reads a window such as 09:00-20:00 or, over midnight,
// 22:00-06:00, and its days, every day when they are empty. A window that would
// never open is an error.
func ParseWindow(hours, days string) (Window, error) {
	w := Window{Days: EveryDay}
	from, to, ok := strings.Cut(hours, "-")
	if !ok {
		return w, Errorf(CodeInvalid, "the window %q is not FROM-TO: write two times of day such as 09:00-20:00", hours)
	}
	var err error
	if w.From, err = ParseTimeOfDay(strings.TrimSpace(from)); err != nil {
		return w, err
	}
	if w.To, err = ParseTimeOfDay(strings.TrimSpace(to)); err != nil {
		return w, err
	}
	if strings.TrimSpace(days) != "" {
		if w.Days, err = ParseDays(days); err != nil {
			return w, err
		}
	}
	return w, w.Validate()
}

// Validate reports a window that would never open, or is not one.
func (w Window) Validate() error {
	switch {
	case w.From < 0 || w.From > endOfDay || w.To < 0 || w.To > endOfDay || w.Days&^EveryDay != 0:
		return Errorf(CodeInvalid, "the window %s is none: its times lie between 00:00 and 24:00", w)
	case w.Days == 0:
		return Errorf(CodeInvalid, "the window never opens: it has no day; write days such as mon-fri")
	case w.From == w.To, w.From == endOfDay && w.To == 0:
		return Errorf(CodeInvalid, "the window %s-%s never opens: it ends when it begins; the whole day is 00:00-24:00", w.From, w.To)
	}
	return nil
}

// String is the window as a person reads it: 09:00-20:00 mon-fri.
func (w Window) String() string {
	s := w.From.String() + "-" + w.To.String()
	if w.Days != EveryDay {
		s += " " + w.Days.String()
	}
	return s
}

// Open reports whether the window is open at t in the zone loc.
func (w Window) Open(t time.Time, loc *time.Location) bool {
	return w.openAt(wall(t.In(loc)))
}

// Next is the first moment, not before t, at which the window is open in the
// zone loc: t itself when it is open then. It is zero for a window that never
// opens.
func (w Window) Next(t time.Time, loc *time.Location) time.Time { return w.turn(t, loc, true) }

// Closes is the first moment, not before t, at which the window is not open in
// the zone loc: t itself when it is not open then. It is zero for a window that
// never closes.
func (w Window) Closes(t time.Time, loc *time.Location) time.Time { return w.turn(t, loc, false) }

// turn finds the first moment from t on at which the window is open, or is not.
// Between two changes of its clock a zone has one offset, and what the clock
// shows goes on as evenly as time itself.
func (w Window) turn(t time.Time, loc *time.Location, open bool) time.Time {
	const changes = 100 // more than any zone makes in the two weeks that matter
	limit := t.Add(16 * 24 * time.Hour)
	for range changes {
		local := t.In(loc)
		shown := wall(local)
		_, end := local.ZoneBounds()
		at, found := w.wallTurn(shown, open)
		if found {
			if moment := t.Add(at.Sub(shown)); end.IsZero() || moment.Before(end) {
				return moment
			}
		}
		if end.IsZero() || end.After(limit) {
			return time.Time{}
		}
		t = end
	}
	return time.Time{}
}

// wall is what a clock in the zone of t shows, as if it were UTC, so that it can
// be reckoned with.
func wall(t time.Time) time.Time {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	return time.Date(year, month, day, hour, minute, second, t.Nanosecond(), time.UTC)
}

// openAt is Open for what a clock shows.
func (w Window) openAt(shown time.Time) bool {
	hour, minute, _ := shown.Clock()
	now, today := TimeOfDay(hour*60+minute), shown.Weekday()
	if w.From < w.To {
		return w.Days.Has(today) && now >= w.From && now < w.To
	}
	yesterday := (today + 6) % 7
	return w.Days.Has(today) && now >= w.From || w.Days.Has(yesterday) && now < w.To
}

// wallTurn is turn for a clock that is never changed. Whether the window is open
// changes at its times and at midnight only.
func (w Window) wallTurn(shown time.Time, open bool) (time.Time, bool) {
	if w.openAt(shown) == open {
		return shown, true
	}
	year, month, day := shown.Date()
	for d := range 9 {
		for _, at := range [...]TimeOfDay{0, min(w.From, w.To), max(w.From, w.To)} {
			next := time.Date(year, month, day+d, int(at)/60, int(at)%60, 0, 0, time.UTC)
			if next.After(shown) && w.openAt(next) == open {
				return next, true
			}
		}
	}
	return time.Time{}, false
}

package scheduler

import (
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
)

// Spec is a cron expression of five fields: minute, hour, day of the month,
// month and day of the week. It names local date-times; which moments those
// are in a zone is the business of LocalTime.Instant.
//
// It is written here and not taken from robfig/cron, which skips the nights
// that have no 02:00, fires twice in those that have two, and says of a wrong
// expression neither which field nor what was expected. The meaning of the
// fields is that of Vixie cron, and a test holds them against robfig's.
type Spec struct {
	text                                  string
	minutes, hours, days, months, weekday uint64 // bit n: n is in the set
	// anyDay and anyWeekday: the field begins with a star. When neither does, a
	// day is named when either field has it; else both must have it.
	anyDay, anyWeekday bool
}

// field is one of the five.
type field struct {
	name        string
	least, most int
	names       []string // of the numbers from least on; nil: numbers alone
}

var monthNames = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func cronFields() [5]field {
	return [5]field{
		{name: "minute", least: 0, most: 59},
		{name: "hour", least: 0, most: 23},
		{name: "day of the month", least: 1, most: 31},
		{name: "month", least: 1, most: 12, names: monthNames},
		{name: "day of the week", least: 0, most: 7, names: dayNames},
	}
}

// shorthands are expressions with a name.
var shorthands = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// Parse reads a cron expression. Its error, with CodeInvalid, names the field
// and what was expected there. An expression that names no date that ever comes,
// such as 30 February, is an error.
func Parse(expr string) (*Spec, error) {
	bad := func(format string, args ...any) (*Spec, error) {
		return nil, campaign.Errorf(campaign.CodeInvalid, "cron expression %q: "+format, append([]any{expr}, args...)...)
	}
	text := strings.TrimSpace(expr)
	if strings.HasPrefix(text, "@") {
		long, ok := shorthands[strings.ToLower(text)]
		if !ok {
			return bad("%s is not known: expected @hourly, @daily, @weekly, @monthly or @yearly, or five fields such as 0 2 * * *", text)
		}
		text = long
	}
	if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
		return bad("the time zone has a key of its own: leave it out here")
	}
	parts := strings.Fields(text)
	if len(parts) != 5 {
		return bad("it has %d fields: expected five, minute hour day-of-month month day-of-week, such as 0 2 * * mon-fri", len(parts))
	}
	s := &Spec{text: strings.Join(strings.Fields(expr), " ")}
	sets := [5]*uint64{&s.minutes, &s.hours, &s.days, &s.months, &s.weekday}
	for i, f := range cronFields() {
		set, problem := f.parse(strings.ToLower(parts[i]))
		if problem != "" {
			return bad("%s is %q: %s", f.name, parts[i], problem)
		}
		*sets[i] = set
	}
	if s.weekday&(1<<7) != 0 {
		s.weekday = s.weekday&^(1<<7) | 1 // 7 is Sunday, too
	}
	s.anyDay, s.anyWeekday = strings.HasPrefix(parts[2], "*"), strings.HasPrefix(parts[4], "*")
	if _, ok := s.After(Local(2000, 1, 1, 0, 0)); !ok {
		return bad("no such date ever comes: expected a day that its month has")
	}
	return s, nil
}

// String is the expression as it was given.
func (s *Spec) String() string { return s.text }

// parse reads a field: a list of *, N, N-M, */S and N-M/S. The problem is empty
// when there is none.
func (f field) parse(text string) (set uint64, problem string) {
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		low, high := f.least, f.most
		switch from, to, ranged := strings.Cut(span, "-"); {
		case span == "*":
			if f.most == 7 {
				high = 6
			}
		case ranged:
			var ok, ok2 bool
			low, ok = f.number(from)
			high, ok2 = f.number(to)
			if !ok || !ok2 {
				return 0, f.expected()
			}
			if f.most == 7 && high == 0 && low > 0 {
				high = 7 // fri-sun
			}
			if low > high {
				return 0, "a range goes upwards: expected " + span + " in two parts, " + from + "-" + f.write(f.last()) + "," + f.write(f.least) + "-" + to
			}
		case stepped:
			return 0, "a step needs a range: expected */" + stepText + " or " + span + "-" + f.write(f.last()) + "/" + stepText
		default:
			n, ok := f.number(span)
			if !ok {
				return 0, f.expected()
			}
			low, high = n, n
		}
		step := 1
		if stepped {
			n, err := strconv.Atoi(stepText)
			if err != nil || n < 1 || n > f.most || !digits(stepText) {
				return 0, "expected a step from 1 to " + strconv.Itoa(f.most) + " after the /"
			}
			step = n
		}
		for n := low; n <= high; n += step {
			set |= 1 << n
		}
	}
	return set, ""
}

// number reads a number or a name of the field.
func (f field) number(s string) (int, bool) {
	for i, name := range f.names {
		if s == name {
			return f.least + i, true
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= f.least && n <= f.most && digits(s)
}

// last is the largest number that stands for something of its own.
func (f field) last() int {
	if f.most == 7 {
		return 6
	}
	return f.most
}

// write is the way back from number.
func (f field) write(n int) string {
	if f.names != nil {
		return f.names[n-f.least]
	}
	return strconv.Itoa(n)
}

func (f field) expected() string {
	numbers := strconv.Itoa(f.least) + " to " + strconv.Itoa(f.most)
	if f.names != nil {
		numbers += " or " + f.names[0] + " to " + f.names[len(f.names)-1]
	}
	return "expected " + numbers + ", a range such as " + f.write(f.least+1) + "-" + f.write(f.least+3) + ", a list with commas, * or */2"
}

// digits refuses the signs that Atoi takes.
func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// cycle is after how many years the calendar begins anew.
const cycle = 400

// After is the first local time after another that the expression names. It
// reports false when none comes.
func (s *Spec) After(l LocalTime) (LocalTime, bool) {
	t := (l + 1).clock()
	year, month, day := t.Date()
	hour, minute := t.Hour(), t.Minute()
	for last := year + cycle; year <= last; {
		switch {
		case s.months&(1<<month) == 0:
			year, month, day = nextMonth(year, month)
			hour, minute = 0, 0
			continue
		case day > daysIn(year, month):
			year, month, day = nextMonth(year, month)
			continue
		case s.names(year, month, day):
			if h, m, ok := s.timeFrom(hour, minute); ok {
				return Local(year, month, day, h, m), true
			}
		}
		day++
		hour, minute = 0, 0
	}
	return 0, false
}

func nextMonth(year int, month time.Month) (int, time.Month, int) {
	if month == time.December {
		return year + 1, time.January, 1
	}
	return year, month + 1, 1
}

func daysIn(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// names reports whether the day is one of those.
func (s *Spec) names(year int, month time.Month, day int) bool {
	byDay := s.days&(1<<day) != 0
	byWeekday := s.weekday&(1<<time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Weekday()) != 0
	if s.anyDay || s.anyWeekday {
		return byDay && byWeekday
	}
	return byDay || byWeekday
}

// timeFrom is the first time of day from hour:minute on.
func (s *Spec) timeFrom(hour, minute int) (int, int, bool) {
	if s.hours&(1<<hour) != 0 {
		if m, ok := from(s.minutes, minute); ok {
			return hour, m, true
		}
	}
	h, ok := from(s.hours, hour+1)
	m, _ := from(s.minutes, 0)
	return h, m, ok
}

// from is the least number of a set that is n or more.
func from(set uint64, n int) (int, bool) {
	m := bits.TrailingZeros64(set >> n << n)
	return m, m < 64
}

// Next is the first named local time whose moment in the zone is later than
// after, and that moment. Where clocks skip an hour, several named times come
// at the same moment: After goes through all of them, Next finds the first.
func (s *Spec) Next(after time.Time, loc *time.Location) (LocalTime, time.Time) {
	local, ok := s.After(Reading(after, loc))
	if !ok {
		return 0, time.Time{} // Parse has seen to it that one comes
	}
	return local, local.Instant(loc)
}

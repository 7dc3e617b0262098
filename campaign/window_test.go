package campaign

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func window(t testing.TB, hours, days string) Window {
	t.Helper()
	w, err := ParseWindow(hours, days)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestAWindowIsReadAndWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ hours, days, want string }{
		{"09:00-20:00", "", "09:00-20:00"},
		{"9:00-20:00", "mon-fri", "09:00-20:00 mon-fri"},
		{" 22:00 - 06:00 ", "Sat-Sun", "22:00-06:00 sat,sun"},
		{"00:00-24:00", "mon,wed,sat", "00:00-24:00 mon,wed,sat"},
		{"08:30-08:31", "fri-mon, wednesday", "08:30-08:31 mon,wed,fri-sun"},
		{"08:30-08:00", "mon-sun", "08:30-08:00"},
		{"08:30-09:00", "tue-mon", "08:30-09:00"},
		{"08:30-09:00", "tue,tue-tue", "08:30-09:00 tue"},
	} {
		w := window(t, c.hours, c.days)
		if got := w.String(); got != c.want {
			t.Errorf("%q on %q is %q, want %q", c.hours, c.days, got, c.want)
		}
		cell, err := json.Marshal(Timing{Window: &w})
		if err != nil {
			t.Fatal(err)
		}
		var back Timing
		if err := json.Unmarshal(cell, &back); err != nil || *back.Window != w {
			t.Errorf("%s comes back as %+v, %v", cell, back.Window, err)
		}
	}
}

func TestAWindowThatIsNoneSaysWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ hours, days, want string }{
		{"09:00-09:00", "", "the window 09:00-09:00 never opens: it ends when it begins; the whole day is 00:00-24:00"},
		{"24:00-00:00", "", "the window 24:00-00:00 never opens: it ends when it begins; the whole day is 00:00-24:00"},
		{"", "", `the window "" is not FROM-TO: write two times of day such as 09:00-20:00`},
		{"9-17", "", `"9" is no time of day: write hours and minutes, 00:00 to 24:00, such as 09:00`},
		{"09:00-24:01", "", `"24:01" is no time of day: write hours and minutes, 00:00 to 24:00, such as 09:00`},
		{"09:60-10:00", "", `"09:60" is no time of day: write hours and minutes, 00:00 to 24:00, such as 09:00`},
		{"+9:00-10:00", "", `"+9:00" is no time of day: write hours and minutes, 00:00 to 24:00, such as 09:00`},
		{"09:00-20:00", "mon-", `"" is no day of the week: write mon, tue, wed, thu, fri, sat or sun, with - for a range and commas between, such as mon-fri`},
		{"09:00-20:00", "weekdays", `"weekdays" is no day of the week: write mon, tue, wed, thu, fri, sat or sun, with - for a range and commas between, such as mon-fri`},
	} {
		_, err := ParseWindow(c.hours, c.days)
		if err == nil || err.Error() != c.want || ErrorCode(err) != CodeInvalid {
			t.Errorf("%q on %q: %v, want %s", c.hours, c.days, err, c.want)
		}
	}
	if err := (Window{From: 1, To: 2}).Validate(); err == nil {
		t.Error("a window without a day is valid")
	}
}

func TestAWindowFollowsTheClockOnTheWall(t *testing.T) {
	t.Parallel()
	const layout = "2006-01-02 15:04 MST"
	for _, c := range []struct {
		about, hours, days, zone, at, next, closes string
	}{
		{"opens in the morning", "09:00-20:00", "", "Australia/Sydney", "2026-11-25 03:00 AEDT", "2026-11-25 09:00 AEDT", ""},
		{"is open", "09:00-20:00", "", "Australia/Sydney", "2026-11-25 19:59 AEDT", "2026-11-25 19:59 AEDT", "2026-11-25 20:00 AEDT"},
		{"closes on the minute", "09:00-20:00", "", "Australia/Sydney", "2026-11-25 20:00 AEDT", "2026-11-26 09:00 AEDT", ""},
		{"waits over the weekend", "09:00-20:00", "mon-fri", "Europe/London", "2026-11-27 20:00 GMT", "2026-11-30 09:00 GMT", ""},
		{"over midnight belongs to its first day", "22:00-06:00", "fri", "Europe/London", "2026-11-28 05:59 GMT", "2026-11-28 05:59 GMT", "2026-11-28 06:00 GMT"},
		{"over midnight is closed on the next evening", "22:00-06:00", "fri", "Europe/London", "2026-11-28 22:00 GMT", "2026-12-04 22:00 GMT", ""},
		{"whole days close at the end of the last", "00:00-24:00", "mon-fri", "Europe/London", "2026-11-25 12:00 GMT", "2026-11-25 12:00 GMT", "2026-11-28 00:00 GMT"},
		{"the clock goes forward within it", "01:00-04:00", "", "Australia/Sydney", "2026-10-04 01:59 AEST", "2026-10-04 01:59 AEST", "2026-10-04 04:00 AEDT"},
		{"begins in the hour that is left out", "02:30-04:00", "", "Australia/Sydney", "2026-10-04 01:00 AEST", "2026-10-04 03:00 AEDT", ""},
		{"lies in the hour that is left out", "02:00-03:00", "", "Australia/Sydney", "2026-10-04 01:00 AEST", "2026-10-05 02:00 AEDT", ""},
		{"the clock goes back: open the first time", "02:15-02:45", "", "Australia/Sydney", "2027-04-04 02:30 AEDT", "2027-04-04 02:30 AEDT", "2027-04-04 02:45 AEDT"},
		{"the clock goes back: open the second time", "02:15-02:45", "", "Australia/Sydney", "2027-04-04 02:45 AEDT", "2027-04-04 02:15 AEST", ""},
		{"the clock goes back by half an hour", "01:30-02:00", "", "Australia/Lord_Howe", "2027-04-04 01:45 +11", "2027-04-04 01:45 +11", "2027-04-04 02:00 +1030"},
		{"a day that never was", "09:00-20:00", "", "Pacific/Apia", "2011-12-29 21:00 -10", "2011-12-31 09:00 +14", ""},
		{"a day that never was is no Friday", "09:00-20:00", "fri", "Pacific/Apia", "2011-12-29 21:00 -10", "2012-01-06 09:00 +14", ""},
		{"a day that never was does not open its evening", "00:00-24:00", "", "Pacific/Apia", "2011-12-29 21:00 -10", "2011-12-29 21:00 -10", "never"},
	} {
		loc := zone(t, c.zone)
		// Parse takes an abbreviation for an offset only where the zone has it then.
		at, err := time.ParseInLocation(layout, c.at, loc)
		if err != nil {
			t.Fatalf("%s: %v", c.about, err)
		}
		if at.Format(layout) != c.at {
			t.Fatalf("%s: %s is %s", c.about, c.at, at.Format(layout))
		}
		w := window(t, c.hours, c.days)
		if got := w.Next(at, loc).In(loc).Format(layout); got != c.next {
			t.Errorf("%s: next %s, want %s", c.about, got, c.next)
		}
		switch got := w.Closes(at, loc); {
		case c.closes == "" && !got.Equal(at), c.closes == "never" && !got.IsZero():
			t.Errorf("%s: closes %s", c.about, got)
		case c.closes != "" && c.closes != "never" && got.In(loc).Format(layout) != c.closes:
			t.Errorf("%s: closes %s, want %s", c.about, got.In(loc).Format(layout), c.closes)
		}
	}
}

// TestAWindowAgreesWithEveryMinuteOfTheClock holds Open, Next and Closes to a
// scan, minute by minute, of what the zone's clock shows.
func TestAWindowAgreesWithEveryMinuteOfTheClock(t *testing.T) {
	t.Parallel()
	type change struct {
		zone string
		near time.Time // about a change of its clock
	}
	changes := []change{
		{"Australia/Sydney", time.Date(2026, 10, 3, 16, 0, 0, 0, time.UTC)},
		{"Australia/Sydney", time.Date(2027, 4, 3, 16, 0, 0, 0, time.UTC)},
		{"Europe/London", time.Date(2027, 3, 28, 1, 0, 0, 0, time.UTC)},
		{"Europe/London", time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)},
		{"America/New_York", time.Date(2027, 3, 14, 7, 0, 0, 0, time.UTC)},
		{"America/New_York", time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC)},
		{"Australia/Lord_Howe", time.Date(2026, 10, 3, 15, 30, 0, 0, time.UTC)},
		{"Australia/Lord_Howe", time.Date(2027, 4, 3, 15, 0, 0, 0, time.UTC)},
		{"Asia/Kathmandu", time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)},
		{"Pacific/Apia", time.Date(2011, 12, 30, 10, 0, 0, 0, time.UTC)},    // a day was left out
		{"America/Havana", time.Date(2026, 11, 1, 5, 0, 0, 0, time.UTC)},    // midnight comes twice
		{"America/Santiago", time.Date(2026, 9, 6, 4, 0, 0, 0, time.UTC)},   // midnight is left out
		{"Africa/Casablanca", time.Date(2026, 2, 15, 2, 0, 0, 0, time.UTC)}, // back for Ramadan
		{"Kwajalein", time.Date(1993, 8, 21, 12, 0, 0, 0, time.UTC)},        // a day was left out
	}
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(changes).Draw(t, "change")
		loc, err := LoadZone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		clock := rapid.OneOf(rapid.IntRange(0, 1440), rapid.SampledFrom([]int{0, 60, 90, 119, 120, 121, 150, 180, 1380, 1439, 1440}))
		w := Window{From: TimeOfDay(clock.Draw(t, "from")), To: TimeOfDay(clock.Draw(t, "to")), Days: Days(rapid.IntRange(1, int(EveryDay)).Draw(t, "days"))}
		if w.Validate() != nil {
			t.Skip("never opens")
		}
		at := c.near.Add(time.Duration(rapid.IntRange(-3*1440, 3*1440).Draw(t, "minutes")) * time.Minute)
		seconds := time.Duration(rapid.IntRange(0, 59).Draw(t, "seconds")) * time.Second

		isOpen := func(t time.Time) bool {
			local := t.In(loc)
			minute := TimeOfDay(local.Hour()*60 + local.Minute())
			year, month, day := local.Date()
			before := time.Date(year, month, day-1, 12, 0, 0, 0, time.UTC).Weekday()
			if w.From < w.To {
				return w.Days.Has(local.Weekday()) && w.From <= minute && minute < w.To
			}
			return w.Days.Has(local.Weekday()) && w.From <= minute || w.Days.Has(before) && minute < w.To
		}
		// scan finds the first whole minute from at on at which the window is, or is
		// not, open; zero when there is none in 17 days.
		scan := func(open bool) time.Time {
			if isOpen(at.Add(seconds)) == open {
				return at.Add(seconds)
			}
			for m := 1; m <= 17*1440; m++ {
				if next := at.Add(time.Duration(m) * time.Minute); isOpen(next) == open {
					return next
				}
			}
			return time.Time{}
		}
		from := at.Add(seconds)
		if got := w.Open(from, loc); got != isOpen(from) {
			t.Fatalf("%s at %s in %s: open %v", w, from.In(loc), c.zone, got)
		}
		if got, want := w.Next(from, loc), scan(true); !got.Equal(want) {
			t.Fatalf("%s after %s in %s opens %s, want %s", w, from.In(loc), c.zone, got.In(loc), want.In(loc))
		}
		if got, want := w.Closes(from, loc), scan(false); !got.Equal(want) {
			t.Fatalf("%s after %s in %s closes %s, want %s", w, from.In(loc), c.zone, got.In(loc), want.In(loc))
		}
	})
}

func TestTimingSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := window(t, "09:00-20:00", "")
	for want, timing := range map[string]Timing{
		`"" is no time zone: write a name of the tz database, such as Australia/Sydney or Europe/London`:      {Window: &w},
		`"AEST" is no time zone: write a name of the tz database, such as Australia/Sydney or Europe/London`:  {Window: &w, Zone: "AEST"},
		`"Local" is no time zone: write a name of the tz database, such as Australia/Sydney or Europe/London`: {Window: &w, Zone: "Local"},
		`"later" is no policy for a campaign that is late: use run or skip`:                                   {IfLate: "later"},
		`the late limit -1h0m0s is negative: write how late is still in time, such as 6h`:                     {LateLimit: -time.Hour},
		`the window never opens: it has no day; write days such as mon-fri`:                                   {Window: &Window{From: 1, To: 2}, Zone: "UTC"},
	} {
		if err := timing.Validate(); err == nil || err.Error() != want || ErrorCode(err) != CodeInvalid {
			t.Errorf("%+v: %v, want %s", timing, err, want)
		}
	}
	for _, timing := range []Timing{{}, {Window: &w, Zone: "UTC"}, {Window: &w, Zone: "Europe/London", ByRecipient: true, IfLate: LateRun, LateLimit: time.Hour}} {
		if err := timing.Validate(); err != nil {
			t.Errorf("%+v: %v", timing, err)
		}
	}
}

func TestWhoseClockAWindowIsReadOn(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Timing{
		"Europe/London":            {Zone: "Europe/London"},
		"":                         {Zone: "Australia/Perth"},
		"recipient":                {Zone: "Australia/Perth", ByRecipient: true},
		"recipient:Asia/Kathmandu": {Zone: "Asia/Kathmandu", ByRecipient: true},
	} {
		zone, by, err := ParseWindowZone(in, "Australia/Perth")
		if err != nil || zone != want.Zone || by != want.ByRecipient {
			t.Errorf("%q is %q, %v, %v", in, zone, by, err)
		}
		if again, by2, err := ParseWindowZone(want.WindowZone(), "UTC"); err != nil || again != zone || by2 != by {
			t.Errorf("%q is written as %q", in, want.WindowZone())
		}
	}
	for _, in := range []string{"recipients", "recipient:", "recipient:Mars", "AEST", "Local"} {
		if _, _, err := ParseWindowZone(in, "UTC"); ErrorCode(err) != CodeInvalid || err == nil {
			t.Errorf("%q: %v", in, err)
		}
	}
	w := window(t, "09:00-20:00", "")
	timing := Timing{Window: &w, Zone: "Europe/London", ByRecipient: true}
	for zone, want := range map[string]string{"": "Europe/London", "Asia/Tokyo": "Asia/Tokyo"} {
		if loc, err := timing.BatchZone(zone); err != nil || loc.String() != want {
			t.Errorf("a batch of %q is read in %v, %v", zone, loc, err)
		}
	}
	timing.ByRecipient = false
	if loc, err := timing.BatchZone("Asia/Tokyo"); err != nil || loc.String() != "Europe/London" {
		t.Errorf("a batch is read in %v, %v", loc, err)
	}
}

func TestHowLateIsTooLate(t *testing.T) {
	t.Parallel()
	due := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		timing Timing
		late   time.Duration
		want   bool
	}{
		{Timing{}, 6 * time.Hour, false},
		{Timing{}, 6*time.Hour + time.Millisecond, true},
		{Timing{IfLate: LateRun}, 1000 * time.Hour, false},
		{Timing{IfLate: LateSkip, LateLimit: time.Minute}, time.Minute, false},
		{Timing{IfLate: LateSkip, LateLimit: time.Minute}, 2 * time.Minute, true},
	} {
		if got := c.timing.TooLate(due, due.Add(c.late)); got != c.want {
			t.Errorf("%+v is too late after %s: %v", c.timing, c.late, got)
		}
	}
}

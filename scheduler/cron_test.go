package scheduler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/scheduler"
)

func mustParse(t rapid.TB, expr string) *scheduler.Spec {
	t.Helper()
	s, err := scheduler.Parse(expr)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func zone(t rapid.TB, name string) *time.Location {
	t.Helper()
	loc, err := scheduler.Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// listed are the runs of an expression after one moment, up to another.
func listed(s *scheduler.Spec, loc *time.Location, after, to time.Time) []string {
	all := []string{}
	for l, ok := s.After(scheduler.Reading(after, loc)); ok && !l.Instant(loc).After(to); l, ok = s.After(l) {
		all = append(all, l.String()+" at "+l.Instant(loc).Format("2006-01-02T15:04:05-07:00"))
	}
	return all
}

func TestNightsInWhichTheClocksChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, expr, zone, after, to string
		want                        []string
	}{
		{"spring in Sydney", "0 2 * * *", "Australia/Sydney", "2026-10-02T20:00:00Z", "2026-10-05T00:00:00Z", []string{
			"2026-10-04T02:00 at 2026-10-04T03:00:00+11:00", "2026-10-05T02:00 at 2026-10-05T02:00:00+11:00",
		}},
		{"spring in Sydney, two times at one moment", "0,30 2,3 * * *", "Australia/Sydney", "2026-10-03T14:00:00Z", "2026-10-03T23:00:00Z", []string{
			"2026-10-04T02:00 at 2026-10-04T03:00:00+11:00", "2026-10-04T02:30 at 2026-10-04T03:00:00+11:00",
			"2026-10-04T03:00 at 2026-10-04T03:00:00+11:00", "2026-10-04T03:30 at 2026-10-04T03:30:00+11:00",
		}},
		{"autumn in Sydney", "0,30 2 * * *", "Australia/Sydney", "2027-04-03T00:00:00Z", "2027-04-04T20:00:00Z", []string{
			"2027-04-04T02:00 at 2027-04-04T02:00:00+11:00", "2027-04-04T02:30 at 2027-04-04T02:30:00+11:00",
			"2027-04-05T02:00 at 2027-04-05T02:00:00+10:00", "2027-04-05T02:30 at 2027-04-05T02:30:00+10:00",
		}},
		{"spring in London", "30 1 * * *", "Europe/London", "2027-03-27T12:00:00Z", "2027-03-29T12:00:00Z", []string{
			"2027-03-28T01:30 at 2027-03-28T02:00:00+01:00", "2027-03-29T01:30 at 2027-03-29T01:30:00+01:00",
		}},
		{"autumn in London", "30 1 * * *", "Europe/London", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", []string{
			"2026-10-25T01:30 at 2026-10-25T01:30:00+01:00", "2026-10-26T01:30 at 2026-10-26T01:30:00+00:00",
		}},
		{"spring in New York", "30 2 * * *", "America/New_York", "2027-03-13T12:00:00Z", "2027-03-15T12:00:00Z", []string{
			"2027-03-14T02:30 at 2027-03-14T03:00:00-04:00", "2027-03-15T02:30 at 2027-03-15T02:30:00-04:00",
		}},
		{"autumn in New York", "*/30 1 * * *", "America/New_York", "2026-11-01T04:30:00Z", "2026-11-01T12:00:00Z", []string{
			"2026-11-01T01:00 at 2026-11-01T01:00:00-04:00", "2026-11-01T01:30 at 2026-11-01T01:30:00-04:00",
		}},
		{"half an hour on Lord Howe", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-05T00:00:00Z", []string{
			"2026-10-04T02:15 at 2026-10-04T02:30:00+11:00", "2026-10-05T02:15 at 2026-10-05T02:15:00+11:00",
		}},
		{"midnight that is not there", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T12:00:00Z", []string{
			"2026-09-06T00:00 at 2026-09-06T01:00:00-03:00",
		}},
		{"a day that is not there", "0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z", []string{
			"2011-12-29T12:00 at 2011-12-29T12:00:00-10:00", "2011-12-30T12:00 at 2011-12-31T00:00:00+14:00", "2011-12-31T12:00 at 2011-12-31T12:00:00+14:00",
		}},
	} {
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		to, err := time.Parse(time.RFC3339, c.to)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, listed(mustParse(t, c.expr), zone(t, c.zone), after, to)); diff != "" {
			t.Errorf("%s, -want +got:\n%s", c.name, diff)
		}
	}
}

var zones = []string{
	"Australia/Sydney", "Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca",
	"Asia/Kathmandu", "Pacific/Chatham", "America/St_Johns", "Antarctica/Troll", "UTC",
}

// expressions draws expressions that both parsers take.
func expressions(minute *rapid.Generator[string]) *rapid.Generator[string] {
	part := func(choices ...string) *rapid.Generator[string] { return rapid.SampledFrom(choices) }
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join([]string{
			minute.Draw(t, "minute"),
			part("*", "2", "1,2,3", "0-3", "*/6", "1-23/2", "23", "0").Draw(t, "hour"),
			part("*", "1", "4,28", "25-31", "1-31/10", "31", "29").Draw(t, "day"),
			part("*", "3-4", "oct,NOV", "*/3", "2", "1-12/5", "9,10").Draw(t, "month"),
			part("*", "0", "sun", "mon-fri", "Sun,4", "0-6/2", "6").Draw(t, "weekday"),
		}, " ")
	})
}

// TestTheFieldsMeanWhatTheyMeanToOthers holds the sets against the parser of
// robfig/cron, in UTC, where its computation is right. Steps of a star are left
// out for days: to Vixie cron, and to us, the field still begins with a star.
func TestTheFieldsMeanWhatTheyMeanToOthers(t *testing.T) {
	t.Parallel()
	minutes := rapid.SampledFrom([]string{"*", "0", "0,30", "5-10", "*/15", "10-50/20", "59"})
	rapid.Check(t, func(t *rapid.T) {
		expr := expressions(minutes).Draw(t, "expression")
		start := time.Unix(rapid.Int64Range(1767225600, 1924992000).Draw(t, "start"), 0).UTC()
		theirs, err := cron.ParseStandard(expr)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := scheduler.Parse(expr)
		if err != nil {
			if theirs.Next(start).IsZero() {
				return
			}
			t.Fatal(err)
		}
		at := start
		for range 30 {
			want := theirs.Next(at)
			if want.IsZero() {
				return // robfig looks five years ahead
			}
			_, got := ours.Next(at, time.UTC)
			if !got.Equal(want) {
				t.Fatalf("%s after %s: %s, want %s", expr, at, got, want)
			}
			at = want
		}
	})
}

// TestEveryNamedTimeComesOnceAndInOrder holds the run times of a few days
// against a scan of every minute in them.
func TestEveryNamedTimeComesOnceAndInOrder(t *testing.T) {
	t.Parallel()
	minutes := rapid.SampledFrom([]string{"0", "0,30", "*/15", "15", "7-50/11", "59"})
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		// Days around the changes of the clocks, most of the time.
		start := time.Unix(rapid.Int64Range(1767225600, 1830297600).Draw(t, "start"), 0)
		if _, change := start.In(loc).ZoneBounds(); !change.IsZero() && rapid.Bool().Draw(t, "near a change") {
			start = change.Add(-time.Duration(rapid.IntRange(0, 1440).Draw(t, "before")) * time.Minute)
		}
		start = start.Truncate(time.Minute)
		end := start.Add(40 * time.Hour)
		s := mustParse(t, rapid.SampledFrom([]string{
			minutes.Draw(t, "minute") + " * * * *", minutes.Draw(t, "minute") + " 0-3 * * *", minutes.Draw(t, "minute") + " 1,2,3,23 * * sun",
		}).Draw(t, "expression"))

		// The scan: at which minute does the clock show a named time that it has
		// not shown or passed before?
		const show = "2006-01-02T15:04"
		want := []string{}
		shown := start.Add(-49 * time.Hour).In(loc)
		latest := shown.Format(show)
		for at := shown; !at.After(end); at = at.Add(time.Minute) {
			now := at.Format(show)
			for latest < now {
				l, err := scheduler.ParseLocal(latest)
				if err != nil {
					t.Fatal(err)
				}
				latest = (l + 1).String()
				if named(s, l+1) && at.After(start) {
					want = append(want, latest+" at "+at.Format("2006-01-02T15:04:05-07:00"))
				}
			}
		}
		if diff := cmp.Diff(want, listed(s, loc, start, end)); diff != "" {
			t.Fatalf("%s in %s from %s, -scan +got:\n%s", s, loc, start.In(loc), diff)
		}
	})
}

// named reports whether the expression names the local time.
func named(s *scheduler.Spec, l scheduler.LocalTime) bool {
	next, ok := s.After(l - 1)
	return ok && next == l
}

func TestALocalTimeHasComeWhenTheClockHasReachedIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(append(zones, "Pacific/Apia", "Pacific/Kwajalein")).Draw(t, "zone"))
		at := time.Unix(rapid.Int64Range(-800000000, 2000000000).Draw(t, "moment"), 0).In(loc)
		if _, change := at.ZoneBounds(); !change.IsZero() && rapid.Bool().Draw(t, "near a change") {
			at = change.Add(time.Duration(rapid.IntRange(-90000, 90000).Draw(t, "after")) * time.Second)
		}
		r := scheduler.Reading(at, loc)
		l := r + scheduler.LocalTime(rapid.IntRange(-3000, 3000).Draw(t, "minutes"))
		if came := !l.Instant(loc).After(at); came != (l <= r) {
			t.Fatalf("at %s the reading is %s, and %s comes at %s", at, r, l, l.Instant(loc))
		}
		if back, err := scheduler.ParseLocal(l.String()); err != nil || back != l {
			t.Fatalf("%s reads back as %s, %v", l, back, err)
		}
	})
}

func TestAWrongExpressionNamesTheFieldAndWhatWasExpected(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"":                      "it has 0 fields: expected five",
		"0 2 * *":               "it has 4 fields: expected five",
		"0 0 2 * * *":           "it has 6 fields: expected five",
		"60 2 * * *":            `minute is "60": expected 0 to 59`,
		"0 24 * * *":            `hour is "24": expected 0 to 23`,
		"0 2 0 * *":             `day of the month is "0": expected 1 to 31`,
		"0 2 * 13 *":            `month is "13": expected 1 to 12 or jan to dec`,
		"0 2 * * 8":             `day of the week is "8": expected 0 to 7 or sun to sat`,
		"0 2 * * monday":        `day of the week is "monday": expected 0 to 7 or sun to sat`,
		"+1 2 * * *":            `minute is "+1": expected 0 to 59`,
		"1- 2 * * *":            `minute is "1-": expected 0 to 59`,
		"1,,2 2 * * *":          `minute is "1,,2": expected 0 to 59`,
		"0 22-2 * * *":          "a range goes upwards: expected 22-2 in two parts, 22-23,0-2",
		"0 2 * * fri-mon":       "a range goes upwards: expected fri-mon in two parts, fri-sat,sun-mon",
		"*/0 2 * * *":           "expected a step from 1 to 59 after the /",
		"*/x 2 * * *":           "expected a step from 1 to 59 after the /",
		"5/15 2 * * *":          "a step needs a range: expected */15 or 5-59/15",
		"0 0 30 2 *":            "no such date ever comes",
		"0 0 31 4,6,9,11 *":     "no such date ever comes",
		"@every 5m":             "@every 5m is not known: expected @hourly",
		"@reboot":               "@reboot is not known",
		"CRON_TZ=UTC 0 2 * * *": "the time zone has a key of its own",
		"0 2 L * *":             `day of the month is "L": expected 1 to 31`,
	} {
		if _, err := scheduler.Parse(expr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", expr, err, want)
		}
	}
	for _, name := range []string{"", "Local", "local", "Sydney", "AEST+10", " UTC", "../etc/passwd", "+10:00"} {
		if _, err := scheduler.Zone(name); err == nil || !strings.Contains(err.Error(), "expected an IANA time zone") {
			t.Errorf("zone %q: %v", name, err)
		}
	}
}

func TestWhatAnExpressionCanSay(t *testing.T) {
	t.Parallel()
	after := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC) // a Saturday
	for expr, want := range map[string]string{
		"@daily":              "2026-11-22T00:00",
		" @Hourly ":           "2026-11-21T10:00",
		"0 2 * * 7":           "2026-11-22T02:00",
		"0 2 * * 5-7":         "2026-11-22T02:00",
		"0 2 * * Fri-Sun":     "2026-11-22T02:00",
		"0 2 * * MON":         "2026-11-23T02:00",
		"0 0 29 feb *":        "2028-02-29T00:00",
		"0 2 13 * fri":        "2026-11-27T02:00", // the 13th, or a Friday
		"0 2 */13 * fri":      "2026-11-27T02:00", // a star: both
		"0 0 1 1 *":           "2027-01-01T00:00",
		"59 23 31 12 *":       "2026-12-31T23:59",
		"0 9 * * *":           "2026-11-22T09:00",
		"1-3,58 9 * * *":      "2026-11-21T09:01",
		"10-20/5 8,9 21 11 *": "2026-11-21T09:10",
	} {
		if got, _ := mustParse(t, expr).Next(after, time.UTC); got.String() != want {
			t.Errorf("%q comes next at %s, want %s", expr, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0 2 * * *", "@daily", "*/5 1-3,4 1,15 jan-mar mon", "0 0 30 2 *", "5/15 * * * *", "- - - - -", "0 2 * * sun-sun"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		s, err := scheduler.Parse(expr)
		if err != nil {
			return
		}
		l, ok := s.After(0)
		if !ok {
			t.Fatalf("%q was taken and never comes", expr)
		}
		if again, ok := s.After(l); !ok || again <= l {
			t.Fatalf("%q comes at %s and then at %s", expr, l, again)
		}
	})
}

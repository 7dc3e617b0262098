package jobs_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
)

// timingFlags parses flags as a command line has them.
func timingFlags(t *testing.T, args ...string) *jobs.TimingFlags {
	t.Helper()
	var f jobs.TimingFlags
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.AddFlags(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &f
}

func TestFlagsSayWhenMessagesMayLeave(t *testing.T) {
	t.Parallel()
	read := func(hours, days string) *campaign.Window {
		w, err := campaign.ParseWindow(hours, days)
		if err != nil {
			t.Fatal(err)
		}
		return &w
	}
	before := campaign.Timing{Window: read("09:00-20:00", "mon-fri"), Zone: "Europe/London", ByRecipient: true, IfLate: campaign.LateRun}
	for _, c := range []struct {
		from campaign.Timing
		args string
		want campaign.Timing
	}{
		{campaign.Timing{}, "", campaign.Timing{}},
		{campaign.Timing{}, "--window 9:00-20:00 --window-tz Asia/Tokyo", campaign.Timing{Window: read("09:00-20:00", ""), Zone: "Asia/Tokyo"}},
		{campaign.Timing{}, "--window 9:00-20:00 --days sat-sun --window-tz recipient:Asia/Tokyo", campaign.Timing{Window: read("09:00-20:00", "sat,sun"), Zone: "Asia/Tokyo", ByRecipient: true}},
		{campaign.Timing{}, "--days mon-fri --window-tz Asia/Tokyo", campaign.Timing{Window: read("00:00-24:00", "mon-fri"), Zone: "Asia/Tokyo"}},
		{campaign.Timing{}, "--if-late run --late-limit 90m", campaign.Timing{IfLate: campaign.LateRun, LateLimit: 90 * time.Minute}},
		// What is not named stays.
		{before, "--window 10:00-12:00", campaign.Timing{Window: read("10:00-12:00", "mon-fri"), Zone: "Europe/London", ByRecipient: true, IfLate: campaign.LateRun}},
		{before, "--days sat", campaign.Timing{Window: read("09:00-20:00", "sat"), Zone: "Europe/London", ByRecipient: true, IfLate: campaign.LateRun}},
		{before, "--window-tz Asia/Tokyo --if-late skip", campaign.Timing{Window: read("09:00-20:00", "mon-fri"), Zone: "Asia/Tokyo", IfLate: campaign.LateSkip}},
		{before, "--window-tz recipient", before},
	} {
		got, err := timingFlags(t, strings.Fields(c.args)...).Change(c.from)
		if err != nil || got.WindowZone() != c.want.WindowZone() || got.IfLate != c.want.IfLate || got.LateLimit != c.want.LateLimit ||
			(got.Window == nil) != (c.want.Window == nil) || got.Window != nil && *got.Window != *c.want.Window {
			t.Errorf("%q: %+v, %v", c.args, got, err)
		}
	}
	if before.Window.String() != "09:00-20:00 mon-fri" {
		t.Error("the timing that was to be changed has changed itself")
	}
}

func TestFlagsThatSayNoTimeAreNamed(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--window 9-17":                             `--window: "9" is no time of day`,
		"--window=":                                 `--window: the window "" is not FROM-TO`,
		"--window 09:00-09:00":                      "--window: the window 09:00-09:00 never opens",
		"--window 09:00-20:00 --days weekend":       `--days: "weekend" is no day of the week`,
		"--window 09:00-20:00 --days=":              `--days: "" is no day of the week`,
		"--window 09:00-20:00 --window-tz AEST":     `--window-tz: "AEST" is no time zone`,
		"--window 09:00-20:00 --window-tz=":         "--window-tz: is empty",
		"--window 09:00-20:00 --window-tz everyone": `--window-tz: "everyone" is no time zone`,
		"--window-tz Europe/London":                 "--window-tz: says on whose clock a window is read: give --window",
		"--if-late never":                           `--if-late: "never" is no policy: run or skip`,
		"--late-limit 6":                            `--late-limit: "6" is no time to be late`,
		"--late-limit -1h":                          `--late-limit: "-1h" is no time to be late`,
		"--late-limit 0s":                           `--late-limit: "0s" is no time to be late`,
	} {
		_, err := timingFlags(t, strings.Fields(args)...).Change(campaign.Timing{})
		var te *jobs.TimingError
		if !errors.As(err, &te) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

func TestAnOrderSaysWhenItsMessagesMayLeave(t *testing.T) {
	t.Parallel()
	const order = "channel: sms\nto: people.csv\nfrom: ACME\nbody: hello\n"
	p := jobs.Preparer{Now: func() time.Time { return time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC) }}
	for more, want := range map[string]string{
		"window: 09:00-20:00\nwindow_tz: recipient:Australia/Sydney\ndays: mon-fri\n": "",
		"at: 2026-11-27T00:00:00Z\nif_late: run\nlate_limit: 2h\n":                    "",
		"window: 09:00-09:00\n":                               "sale.yaml:5: window: the window 09:00-09:00 never opens: it ends when it begins; the whole day is 00:00-24:00",
		"window: 09:00-20:00\nwindow_tz: Mars\n":              `sale.yaml:6: window_tz: "Mars" is no time zone: write a name of the tz database, such as Australia/Sydney or Europe/London`,
		"if_late: run\n":                                      "sale.yaml:5: if_late means nothing without --at: a campaign that starts at once is never late",
		"at: 2026-11-25T00:00:00Z\n":                          "sale.yaml:5: at: 2026-11-25T00:00:00Z is in the past",
		"at: 2026-11-27T00:00:00Z\nif_late: sometimes\n":      `sale.yaml:6: if_late: "sometimes" is no policy: run or skip`,
		"at: 2026-11-27T00:00:00Z\nlate_limit: a long time\n": `sale.yaml:6: late_limit: "a long time" is no time to be late, such as 6h or 90m`,
	} {
		o, err := jobs.ReadOrder("sale.yaml", 1, []byte(order+more))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := p.Check(o); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", more, got, want)
		}
	}
}

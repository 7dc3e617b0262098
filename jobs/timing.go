package jobs

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/postrider/postrider/campaign"
)

// TimingFlags say when messages may leave, and what becomes of a campaign that
// is late: as flags, or as keys of a file.
type TimingFlags struct {
	Window    string // 09:00-20:00; empty: the whole day, if Days is given
	Days      string // mon-fri; empty: every day
	WindowTZ  string // recipient, recipient:ZONE, or ZONE; empty: the machine's
	IfLate    string // run or skip; empty: skip
	LateLimit string // 6h; empty: campaign.DefaultLateLimit

	flags *pflag.FlagSet
}

// AddFlags makes the flags.
func (t *TimingFlags) AddFlags(f *pflag.FlagSet) {
	t.flags = f
	f.StringVar(&t.Window, "window", "", "let messages leave between these times of day only, such as 09:00-20:00")
	f.StringVar(&t.Days, "days", "", "let messages leave on these days only, such as mon-fri or mon,wed,sat")
	f.StringVar(&t.WindowTZ, "window-tz", "", "whose clock --window is read on: a zone such as Australia/Sydney, recipient, or recipient:ZONE with the zone for those of whom none is known (default: this machine's zone)")
	f.StringVar(&t.IfLate, "if-late", "", "when nobody was running at the hour of --at nor --late-limit after it: run, or skip, which pauses the campaign (default: skip)")
	f.StringVar(&t.LateLimit, "late-limit", "", "how late is still in time, such as 90m (default: 6h)")
}

// A TimingError says which of the flags is wrong.
type TimingError struct {
	Flag string // without dashes
	Err  error  // in words that follow the flag and a colon
}

func (e *TimingError) Error() string { return "--" + e.Flag + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *TimingError) Unwrap() error { return e.Err }

// HasWindow reports whether the flags say when messages may leave.
func (t *TimingFlags) HasWindow() bool {
	return t.given("window", t.Window) || t.given("days", t.Days) || t.given("window-tz", t.WindowTZ)
}

// HasLate reports whether the flags say what becomes of a campaign that is late.
func (t *TimingFlags) HasLate() bool {
	return t.given("if-late", t.IfLate) || t.given("late-limit", t.LateLimit)
}

// given reports whether a flag was given, whatever its value.
func (t *TimingFlags) given(flag, value string) bool {
	return value != "" || t.flags != nil && t.flags.Changed(flag)
}

// Change gives a timing what the flags say, and leaves the rest of it as it is.
// Without a zone in either, the window is read on the clock of this machine.
// Errors are of kind *TimingError.
func (t *TimingFlags) Change(timing campaign.Timing) (campaign.Timing, error) {
	if err := t.changeWindow(&timing); err != nil {
		return timing, err
	}
	if t.given("if-late", t.IfLate) {
		timing.IfLate = campaign.LatePolicy(t.IfLate)
		if timing.IfLate != campaign.LateRun && timing.IfLate != campaign.LateSkip {
			return timing, &TimingError{"if-late", fmt.Errorf("%q is no policy: run or skip", t.IfLate)}
		}
	}
	if t.given("late-limit", t.LateLimit) {
		limit, err := time.ParseDuration(t.LateLimit)
		if err != nil || limit <= 0 {
			return timing, &TimingError{"late-limit", fmt.Errorf("%q is no time to be late, such as 6h or 90m", t.LateLimit)}
		}
		timing.LateLimit = limit
	}
	return timing, timing.Validate()
}

func (t *TimingFlags) changeWindow(timing *campaign.Timing) error {
	if !t.HasWindow() {
		return nil
	}
	var w campaign.Window
	if timing.Window != nil {
		w = *timing.Window
	}
	switch {
	case t.given("window", t.Window):
		read, err := campaign.ParseWindow(t.Window, "")
		if err != nil {
			return &TimingError{"window", err}
		}
		if w.Days != 0 {
			read.Days = w.Days
		}
		w = read
	case timing.Window != nil:
	case t.given("days", t.Days):
		w, _ = campaign.ParseWindow("00:00-24:00", "") // is one
	default:
		return &TimingError{"window-tz", fmt.Errorf("says on whose clock a window is read: give --window or --days as well, or leave it out")}
	}
	if t.given("days", t.Days) {
		days, err := campaign.ParseDays(t.Days)
		if err != nil {
			return &TimingError{"days", err}
		}
		w.Days = days
	}
	zone := t.WindowTZ
	if !t.given("window-tz", zone) {
		zone = timing.WindowZone()
	}
	home := timing.Zone
	if home == "" && (zone == "" || zone == "recipient") {
		var err error
		if home, err = LocalZone(); err != nil {
			return &TimingError{"window-tz", err}
		}
	}
	if t.given("window-tz", t.WindowTZ) && zone == "" {
		return &TimingError{"window-tz", fmt.Errorf("is empty: a zone such as Australia/Sydney, or recipient")}
	}
	name, byRecipient, err := campaign.ParseWindowZone(zone, home)
	if err != nil {
		return &TimingError{"window-tz", err}
	}
	timing.Window, timing.Zone, timing.ByRecipient = &w, name, byRecipient
	return nil
}

// LocalZone is the tz database's name of this machine's zone, as TZ or
// /etc/localtime tell it.
func LocalZone() (string, error) {
	name := time.Local.String()
	if name == "Local" {
		if link, err := os.Readlink("/etc/localtime"); err == nil {
			name = link
		}
	}
	if _, after, found := strings.Cut(name, "zoneinfo/"); found {
		name = after
	}
	if _, err := campaign.LoadZone(name); err != nil {
		return "", fmt.Errorf("the zone of this machine has no name: name one, such as Australia/Sydney (or set TZ)")
	}
	return name, nil
}
